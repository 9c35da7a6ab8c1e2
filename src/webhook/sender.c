/* Deliveries: libcurl's multi interface on libuv, with a queue of our own before it, so that the
 * time of an attempt counts from its beginning and not from when it was asked for. */
#include "base/base.h"
#include "webhook/sender.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/hmac.h"
#include "base/mem.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

enum {
    ANSWER_MAX = 64 << 10, /* bytes of an answer that are read */
    RETRY_AFTER_MAX = 3600 /* s */
};

struct cn_webhook_delivery {
    struct cn_webhook_sender *s;
    cn_webhook_done_fn done;
    void *arg;
    char *url, *host, *id;
    unsigned char *body, *secret;
    size_t len, secret_len;
    CURL *easy; /* NULL: it waits */
    struct curl_slist *headers;
    size_t answered;         /* bytes */
    int n_passed, n_refused; /* addresses of the host, by the rules */
    struct cn_webhook_result result;
    char reason[160];
    TAILQ_ENTRY(cn_webhook_delivery) link;
};

TAILQ_HEAD(deliveries, cn_webhook_delivery);

struct cn_webhook_sender {
    struct cn_webhook_options o;
    CURLM *multi;
    uv_timer_t timeout; /* libcurl's */
    uv_idle_t soon;     /* runs while something can be begun or told */
    struct deliveries waiting, flying, over;
    LIST_HEAD(, watch) watches;
    int n_flying;
    int open_handles; /* of libuv */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* A socket of libcurl's. */
struct watch {
    struct cn_webhook_sender *s;
    uv_poll_t poll;
    curl_socket_t fd;
    LIST_ENTRY(watch) link;
};

static void begin_what_may(struct cn_webhook_sender *s);
static void take_messages(struct cn_webhook_sender *s);

static void delivery_free(struct cn_webhook_delivery *d)
{
    if (d->easy != NULL)
        curl_easy_cleanup(d->easy);
    curl_slist_free_all(d->headers);
    free(d->url);
    free(d->host);
    free(d->id);
    free(d->body);
    if (d->secret_len > 0)
        explicit_bzero(d->secret, d->secret_len);
    free(d->secret);
    free(d);
}

static void on_handle_closed(struct cn_webhook_sender *s)
{
    if (--s->open_handles > 0 || !s->closing)
        return;
    if (s->closed != NULL)
        s->closed(s->closed_arg);
    free(s);
}

/* ---- telling ---- */

static void on_soon(uv_idle_t *h)
{
    struct cn_webhook_sender *s = h->data;
    struct cn_webhook_delivery *d;

    uv_idle_stop(h);
    begin_what_may(s);
    take_messages(s);
    while (!s->closing && (d = TAILQ_FIRST(&s->over)) != NULL) {
        TAILQ_REMOVE(&s->over, d, link);
        d->done(d->arg, &d->result);
        delivery_free(d);
    }
}

static void wake(struct cn_webhook_sender *s)
{
    if (!s->closing)
        uv_idle_start(&s->soon, on_soon);
}

static void conclude(struct cn_webhook_delivery *d, enum cn_webhook_outcome outcome)
{
    d->result.outcome = outcome;
    d->result.reason = d->reason;
    TAILQ_INSERT_TAIL(&d->s->over, d, link);
    wake(d->s);
}

static void land(struct cn_webhook_delivery *d)
{
    struct cn_webhook_sender *s = d->s;

    curl_multi_remove_handle(s->multi, d->easy);
    TAILQ_REMOVE(&s->flying, d, link);
    s->n_flying--;
}

static int retry_after_of(CURL *easy)
{
    curl_off_t s = 0;

    if (curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &s) != CURLE_OK || s < 0)
        return 0;
    return (int)CN_MIN(s, (curl_off_t)RETRY_AFTER_MAX);
}

/* Standard Webhooks: 2xx is success, 410 asks not to be called again, all else is a failure. */
static void judge(struct cn_webhook_delivery *d, CURLcode code)
{
    long status = 0;

    curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
    d->result.status = (int)status;
    if (d->n_refused > 0 && d->n_passed == 0) {
        snprintf(d->reason, sizeof(d->reason),
                 "the host's address is neither public nor in webhook.networks");
        conclude(d, CN_WEBHOOK_GIVE_UP);
    } else if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && status >= 200)) {
        snprintf(d->reason, sizeof(d->reason), "%s",
                 code == CURLE_OUT_OF_MEMORY /* also what libcurl says of a header too long */
                     ? "no memory for the answer's header"
                     : curl_easy_strerror(code));
        conclude(d, CN_WEBHOOK_RETRY);
    } else {
        d->result.retry_after_s = retry_after_of(d->easy);
        snprintf(d->reason, sizeof(d->reason), "the receiver answered %ld", status);
        conclude(d, status / 100 == 2 ? CN_WEBHOOK_DELIVERED
                    : status == 410   ? CN_WEBHOOK_GIVE_UP
                                      : CN_WEBHOOK_RETRY);
    }
}

static void take_messages(struct cn_webhook_sender *s)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(s->multi, &left)) != NULL) {
        struct cn_webhook_delivery *d = NULL;
        CURLcode code = m->data.result;

        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&d);
        land(d);
        judge(d, code);
    }
}

/* ---- libcurl on the loop ---- */

static void act(struct cn_webhook_sender *s, curl_socket_t fd, int mask)
{
    int running;

    curl_multi_socket_action(s->multi, fd, mask, &running);
    take_messages(s);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct watch *w = h->data;
    int mask = status < 0 ? CURL_CSELECT_ERR : 0;

    if (events & UV_READABLE)
        mask |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        mask |= CURL_CSELECT_OUT;
    act(w->s, w->fd, mask);
}

static void on_watch_closed(uv_handle_t *h)
{
    struct watch *w = h->data;
    struct cn_webhook_sender *s = w->s;

    free(w);
    on_handle_closed(s);
}

static void watch_close(struct watch *w)
{
    LIST_REMOVE(w, link);
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *slot)
{
    struct cn_webhook_sender *s = arg;
    struct watch *w = slot;
    int events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w != NULL) {
            curl_multi_assign(s->multi, fd, NULL);
            watch_close(w);
        }
        return 0;
    }
    if (w == NULL) {
        w = cn_xcalloc(1, sizeof(*w));
        w->s = s;
        w->fd = fd;
        w->poll.data = w;
        if (uv_poll_init_socket(s->o.loop, &w->poll, fd) != 0) {
            free(w);
            return -1;
        }
        s->open_handles++;
        LIST_INSERT_HEAD(&s->watches, w, link);
        curl_multi_assign(s->multi, fd, w);
    }
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    uv_poll_start(&w->poll, events, on_poll);
    return 0;
}

static void on_timeout(uv_timer_t *h)
{
    act(h->data, CURL_SOCKET_TIMEOUT, 0);
}

/* libcurl forbids to act from inside of this call, also for 0 ms: hence the timer. */
static int on_timer_wish(CURLM *multi, long ms, void *arg)
{
    struct cn_webhook_sender *s = arg;

    (void)multi;
    if (s->closing)
        return 0;
    if (ms < 0)
        uv_timer_stop(&s->timeout);
    else
        uv_timer_start(&s->timeout, on_timeout, (uint64_t)ms, 0);
    return 0;
}

/* ---- one request ---- */

/* The last word on where a request goes: the address itself, after the name was looked up. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct cn_webhook_delivery *d = arg;

    if (purpose != CURLSOCKTYPE_IPCXN || !cn_webhook_rules_pass(d->s->o.rules, &a->addr)) {
        d->n_refused++;
        return CURL_SOCKET_BAD;
    }
    d->n_passed++;
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static size_t on_answer(char *data, size_t size, size_t n, void *arg)
{
    struct cn_webhook_delivery *d = arg;

    (void)data;
    d->answered += size * n;
    return d->answered > ANSWER_MAX ? 0 : size * n;
}

static bool add_header(struct cn_webhook_delivery *d, const char *text)
{
    struct curl_slist *list = curl_slist_append(d->headers, text);

    if (list == NULL)
        return false;
    d->headers = list;
    return true;
}

static bool add_signature(struct cn_webhook_delivery *d)
{
    unsigned char mac[CN_SHA256_BYTES];
    char stamp[24], line[200];
    struct cn_hmac h;
    struct cn_buf text;
    bool ok;

    snprintf(stamp, sizeof(stamp), "%lld", (long long)time(NULL));
    snprintf(line, sizeof(line), "webhook-id: %s", d->id);
    ok = add_header(d, line);
    snprintf(line, sizeof(line), "webhook-timestamp: %s", stamp);
    ok = add_header(d, line) && ok;
    if (d->secret_len == 0)
        return ok;
    cn_hmac_init(&h, d->secret, d->secret_len);
    cn_hmac_add(&h, d->id, strlen(d->id));
    cn_hmac_add(&h, ".", 1);
    cn_hmac_add(&h, stamp, strlen(stamp));
    cn_hmac_add(&h, ".", 1);
    cn_hmac_add(&h, d->body, d->len);
    cn_hmac_end(&h, mac);
    cn_buf_init(&text, 256);
    ok = cn_buf_adds(&text, "webhook-signature: v1,", NULL) == CN_OK &&
         cn_base64_encode(&text, mac, sizeof(mac), NULL) == CN_OK &&
         add_header(d, (const char *)text.data) && ok;
    cn_buf_release(&text);
    return ok;
}

static bool set_up(struct cn_webhook_delivery *d)
{
    CURL *e = d->easy;
    bool ok = add_header(d, "Content-Type: application/json") && add_header(d, "Expect:") &&
              add_header(d, "Accept:") && add_signature(d);

    ok = ok && curl_easy_setopt(e, CURLOPT_URL, d->url) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https,http") == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
    /* A name server that does not answer holds a thread of libcurl's, not whoever cuts the request:
     * without this the loop would wait for the thread. */
    ok = ok && curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)d->s->o.timeout_ms) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_USERAGENT, "controlnetd/" PACKAGE_VERSION) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_HTTPHEADER, d->headers) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_POST, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_POSTFIELDS, (char *)d->body) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)d->len) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_answer) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_WRITEDATA, d) == CURLE_OK;
    /* Addresses are judged when a socket is made: one that is kept would outlive a change of the
     * rules. */
    ok = ok && curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, d) == CURLE_OK;
    return ok && curl_easy_setopt(e, CURLOPT_PRIVATE, (char *)d) == CURLE_OK;
}

/* d is in no list. */
static void begin(struct cn_webhook_delivery *d)
{
    struct cn_webhook_sender *s = d->s;
    struct cn_err err = CN_ERR_INIT;

    if (cn_webhook_rules_check(s->o.rules, d->url, &err) < 0) {
        snprintf(d->reason, sizeof(d->reason), "%.150s", err.msg);
        conclude(d, err.code == CN_ENOMEM ? CN_WEBHOOK_RETRY : CN_WEBHOOK_GIVE_UP);
        return;
    }
    d->easy = curl_easy_init();
    if (d->easy == NULL || !set_up(d) || curl_multi_add_handle(s->multi, d->easy) != CURLM_OK) {
        snprintf(d->reason, sizeof(d->reason), "no memory for a request");
        conclude(d, CN_WEBHOOK_RETRY);
        return;
    }
    TAILQ_INSERT_TAIL(&s->flying, d, link);
    s->n_flying++;
}

static int flying_to(const struct cn_webhook_sender *s, const char *host)
{
    const struct cn_webhook_delivery *d;
    int n = 0;

    TAILQ_FOREACH(d, &s->flying, link)
    n += strcmp(d->host, host) == 0;
    return n;
}

static void begin_what_may(struct cn_webhook_sender *s)
{
    struct cn_webhook_delivery *d, *next;

    for (d = TAILQ_FIRST(&s->waiting); d != NULL && s->n_flying < s->o.parallel; d = next) {
        next = TAILQ_NEXT(d, link);
        if (flying_to(s, d->host) >= s->o.per_host)
            continue;
        TAILQ_REMOVE(&s->waiting, d, link);
        begin(d);
    }
}

static unsigned char *copy_bytes(const void *data, size_t len)
{
    unsigned char *copy = cn_xmalloc(len + 1);

    if (len > 0)
        memcpy(copy, data, len);
    copy[len] = '\0';
    return copy;
}

struct cn_webhook_delivery *cn_webhook_send(struct cn_webhook_sender *s,
                                            const struct cn_webhook_message *message,
                                            cn_webhook_done_fn done, void *arg)
{
    struct cn_webhook_delivery *d = cn_xcalloc(1, sizeof(*d));

    CN_ASSERT(!s->closing);
    d->s = s;
    d->done = done;
    d->arg = arg;
    d->url = cn_xstrdup(message->url);
    d->host = cn_webhook_host(message->url);
    d->id = cn_xstrdup(message->id);
    d->body = copy_bytes(message->body, message->len);
    d->len = message->len;
    d->secret = copy_bytes(message->secret, message->secret_len);
    d->secret_len = message->secret_len;
    TAILQ_INSERT_TAIL(&s->waiting, d, link);
    wake(s);
    return d;
}

void cn_webhook_cancel(struct cn_webhook_delivery *d)
{
    struct cn_webhook_sender *s = d->s;
    struct cn_webhook_delivery *i;
    bool waits = false;

    TAILQ_FOREACH(i, &s->waiting, link)
    waits = waits || i == d;
    if (waits)
        TAILQ_REMOVE(&s->waiting, d, link);
    else if (d->result.reason != NULL)
        TAILQ_REMOVE(&s->over, d, link);
    else {
        land(d);
        wake(s);
    }
    delivery_free(d);
}

void cn_webhook_sender_set_rules(struct cn_webhook_sender *s, const struct cn_webhook_rules *rules,
                                 int timeout_ms)
{
    s->o.rules = rules;
    s->o.timeout_ms = timeout_ms;
}

struct cn_webhook_sender *cn_webhook_sender_new(const struct cn_webhook_options *o)
{
    struct cn_webhook_sender *s = cn_xcalloc(1, sizeof(*s));

    s->o = *o;
    TAILQ_INIT(&s->waiting);
    TAILQ_INIT(&s->flying);
    TAILQ_INIT(&s->over);
    LIST_INIT(&s->watches);
    CN_ASSERT(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    s->multi = curl_multi_init();
    CN_ASSERT(s->multi != NULL);
    curl_multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s);
    curl_multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, on_timer_wish);
    curl_multi_setopt(s->multi, CURLMOPT_TIMERDATA, s);
    uv_timer_init(o->loop, &s->timeout);
    uv_idle_init(o->loop, &s->soon);
    s->timeout.data = s->soon.data = s;
    s->open_handles = 2;
    return s;
}

static void on_own_closed(uv_handle_t *h)
{
    on_handle_closed(h->data);
}

static void free_all(struct deliveries *list)
{
    struct cn_webhook_delivery *d;

    while ((d = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, d, link);
        delivery_free(d);
    }
}

void cn_webhook_sender_close(struct cn_webhook_sender *s, void (*closed)(void *arg), void *arg)
{
    struct cn_webhook_delivery *d;

    s->closing = true;
    s->closed = closed;
    s->closed_arg = arg;
    TAILQ_FOREACH(d, &s->flying, link)
    curl_multi_remove_handle(s->multi, d->easy);
    free_all(&s->flying);
    free_all(&s->waiting);
    free_all(&s->over);
    curl_multi_cleanup(s->multi);
    while (!LIST_EMPTY(&s->watches))
        watch_close(LIST_FIRST(&s->watches));
    curl_global_cleanup();
    uv_timer_stop(&s->timeout);
    uv_idle_stop(&s->soon);
    uv_close((uv_handle_t *)&s->timeout, on_own_closed);
    uv_close((uv_handle_t *)&s->soon, on_own_closed);
}
