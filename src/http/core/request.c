/* Requests: from the request line to the last byte of the answer. */
#include "base/base.h"
#include "http/http_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/auth/site.h"
#include "http/core/head_check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

struct cn_request *cn_request_ref(struct cn_request *q)
{
    q->refs++;
    return q;
}

void cn_request_unref(struct cn_request *q)
{
    struct cn_field *f;

    if (--q->refs > 0)
        return;
    q->e->s->refs--;
    while ((f = q->fields) != NULL) {
        q->fields = f->next;
        free(f->value);
        free(f);
    }
    free(q->uri);
    free(q);
}

/* MHD calls this with the request line: the first moment of a request. */
void *cn_request_line(void *cls, const char *uri, struct MHD_Connection *c)
{
    struct cn_endpoint *e = cls;
    struct cn_request *q = cn_xcalloc(1, sizeof(*q));

    q->e = e;
    q->c = c;
    q->refs = 1;
    memcpy(q->tenant, "anonymous", sizeof("anonymous"));
    q->admin = e->s->o.keys == NULL;
    q->uri = cn_xstrdup(uri);
    q->start_ns = cn_now_ns();
    q->conn = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    cn_buf_init(&q->body, e->s->o.max_body);
    e->s->refs++;
    if (q->conn != NULL) {
        q->conn->requests++;
        q->conn->body_bytes = 0;
        cn_conn_phase(q->conn, CN_PHASE_HEAD);
    }
    return q;
}

void cn_request_drop_body(struct cn_request *q)
{
    q->e->s->inflight -= q->body.len;
    cn_buf_release(&q->body);
}

static enum cn_method method_of(const char *name)
{
    static const struct {
        const char *name;
        enum cn_method method;
    } table[] = {{"GET", CN_GET},    {"HEAD", CN_HEAD},     {"POST", CN_POST},
                 {"PUT", CN_PUT},    {"DELETE", CN_DELETE}, {"OPTIONS", CN_OPTIONS},
                 {"PATCH", CN_PATCH}};

    for (size_t i = 0; i < CN_LEN(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return table[i].method;
    return CN_OTHER_METHOD;
}

static const char *method_label(enum cn_method m)
{
    switch (m) {
    case CN_GET:
        return "GET";
    case CN_HEAD:
        return "HEAD";
    case CN_POST:
        return "POST";
    case CN_PUT:
        return "PUT";
    case CN_DELETE:
        return "DELETE";
    case CN_OPTIONS:
        return "OPTIONS";
    case CN_PATCH:
        return "PATCH";
    default:
        return "other";
    }
}

/* The client's id when it is harmless, else one of ours. */
static void choose_id(struct cn_request *q)
{
    static const char ok[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    const char *given = cn_request_header(q, "X-Request-Id");
    size_t n = given == NULL ? 0 : strlen(given);

    if (n > 0 && n < sizeof(q->id) && strspn(given, ok) == n)
        memcpy(q->id, given, n + 1);
    else
        snprintf(q->id, sizeof(q->id), "%013lx%07lx", (unsigned long)cn_random_seed(),
                 (unsigned long)(cn_random_seed() & 0xfffffff));
}

/* The route as this listener offers it. */
static const struct cn_route *offered(struct cn_request *q, const char *path)
{
    const struct cn_route *r = cn_route_find(path, q->arg);
    bool split = q->e->s->is_split;

    if (r == NULL || !split)
        return r;
    if (q->e->admin)
        return r->admin || r->on_both ? r : NULL;
    return r->admin ? NULL : r;
}

static void is(struct cn_request *q, const char *key_name, const char *tenant, bool admin)
{
    snprintf(q->key_name, sizeof(q->key_name), "%s", key_name);
    snprintf(q->tenant, sizeof(q->tenant), "%s", tenant);
    q->admin = admin;
}

static bool has_ticket(struct cn_request *q)
{
    const char *text = q->route->takes_ticket ? cn_request_argument(q, "ticket") : NULL;
    struct cn_ticket t;

    if (text == NULL || !cn_ticket_use(&q->e->s->tickets, text, q->arg[0], q->start_ns, &t))
        return false;
    is(q, t.key_name, t.tenant, t.admin);
    return true;
}

static bool authenticated(struct cn_request *q)
{
    const struct cn_keys *keys = q->e->s->o.keys;
    const char *given = cn_request_header(q, "Authorization");
    const struct cn_key *key;

    if (keys == NULL || q->route->open || (q->e->admin && q->route->admin))
        return true;
    if (given == NULL)
        given = cn_request_header(q, "X-Api-Key");
    if (given == NULL)
        return has_ticket(q);
    key = cn_keys_check(keys, given);
    if (key != NULL)
        is(q, key->name, key->tenant, key->admin);
    return key != NULL;
}

const char *cn_request_view(const struct cn_request *q)
{
    return q->admin && q->e->s->o.keys != NULL ? NULL : q->tenant;
}

/* Bytes that the head announces; -1: chunked, nobody knows. */
static int64_t announced(const struct cn_request *q)
{
    const char *length = cn_request_header(q, "Content-Length");

    if (cn_request_header(q, "Transfer-Encoding") != NULL)
        return -1;
    return length == NULL ? 0 : (int64_t)strtoll(length, NULL, 10);
}

/* Refuses by the head alone, before a body is read. MHD_YES without an answer: go on. */
static enum MHD_Result admit(struct cn_request *q)
{
    struct cn_server *s = q->e->s;
    int64_t length = announced(q);

    q->close = length != 0; /* an answer now leaves the body unread */
    if (q->method == CN_OPTIONS)
        return cn_reply_allow(q, false);
    if (!(q->route->methods & q->method))
        return cn_reply_allow(q, true);
    if (!authenticated(q))
        return cn_reply_fault(q, CN_FAULT_UNAUTHENTICATED, NULL, NULL);
    if (q->route->admins_only && !q->admin)
        return cn_reply_fault(q, CN_FAULT_FORBIDDEN, "the key has not the role admin", NULL);
    if (!(q->route->takes_body && q->method == CN_POST) && length != 0)
        return cn_reply_fault(q, CN_FAULT_BAD_REQUEST, "no body is expected here", NULL);
    if (length > 0 && (uint64_t)length > s->o.max_body)
        return cn_reply_fault(q, CN_FAULT_TOO_LARGE, "the body is over the limit", NULL);
    if (s->n_conns - s->n_streams > s->o.max_connections && !q->route->admin && !q->route->on_both)
        return cn_reply_fault(q, CN_FAULT_OVERLOADED, "there are too many connections", NULL);
    if (length > 0 && s->inflight + (size_t)length > s->o.max_inflight)
        return cn_reply_fault(q, CN_FAULT_OVERLOADED, "too many uploads are under way", NULL);
    if (q->route->admit != NULL && (q->route->admit(q) != MHD_YES || q->answered))
        return q->answered ? MHD_YES : MHD_NO;
    q->close = false;
    if (length != 0 && q->conn != NULL)
        cn_conn_phase(q->conn, CN_PHASE_BODY);
    return MHD_YES;
}

/* A browser may speak for somebody who does not know it. MHD_YES without an answer: go on. */
static enum MHD_Result check_site(struct cn_request *q)
{
    const struct cn_server_options *o = &q->e->s->o;
    const struct cn_site_rules rules = {o->keys != NULL, o->hosts, o->cors_origins};
    const struct cn_site_request r = {.host = cn_request_header(q, "Host"),
                                      .origin = cn_request_header(q, "Origin"),
                                      .changes = !(q->method & (CN_GET | CN_HEAD | CN_OPTIONS)),
                                      .over_unix = q->e->port == 0};
    enum cn_site_verdict verdict = cn_site_check(&r, &rules);

    if (verdict == CN_SITE_OK)
        return MHD_YES;
    q->close = announced(q) != 0;
    return cn_reply_fault(q, CN_FAULT_CROSS_SITE,
                          verdict == CN_SITE_HOST
                              ? "the name in Host is none of this server's: see http.hosts"
                              : "pages of this Origin may change nothing: see http.cors_origins",
                          NULL);
}

static enum MHD_Result begin(struct cn_request *q, const char *path, const char *method,
                             const char *version)
{
    const char *fault = cn_gate_check(q->c, version, q->uri);

    q->begun = true;
    q->method = method_of(method);
    choose_id(q);
    if (fault != NULL) {
        char text[160];

        q->close = true;
        snprintf(text, sizeof(text), "the request has %s", fault);
        return cn_reply_fault(q, CN_FAULT_BAD_REQUEST, text, NULL);
    }
    if (check_site(q) != MHD_YES || q->answered)
        return q->answered ? MHD_YES : MHD_NO;
    q->route = offered(q, path);
    if (q->route == NULL) {
        q->close = announced(q) != 0;
        return cn_reply_fault(q, CN_FAULT_NOT_FOUND, NULL, NULL);
    }
    return admit(q);
}

/* MHD_NO: the connection ends without an answer. */
static enum MHD_Result take_body(struct cn_request *q, const char *data, size_t n)
{
    struct cn_server *s = q->e->s;

    q->body_bytes += n;
    if (q->conn != NULL)
        q->conn->body_bytes += n;
    if (q->answered)
        return MHD_YES;
    if (q->body_bytes > 2 * s->o.max_body)
        return MHD_NO; /* told to stop, it sends on and on */
    if (q->too_large || q->overloaded)
        return MHD_YES;
    if (q->body_bytes > s->o.max_body)
        q->too_large = true;
    else if (s->inflight + n > s->o.max_inflight || cn_buf_add(&q->body, data, n, NULL) < 0)
        q->overloaded = true;
    else
        s->inflight += n;
    if (q->too_large || q->overloaded) {
        q->close = true;
        cn_request_drop_body(q);
    }
    return MHD_YES;
}

enum MHD_Result cn_request_handle(void *cls, struct MHD_Connection *c, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **slot)
{
    struct cn_request *q = *slot;
    enum MHD_Result rc;
    cn_next_fn next;

    (void)cls;
    (void)c;
    if (q == NULL)
        return MHD_NO;
    if (!q->begun)
        return begin(q, path, method, version);
    if (*size > 0) {
        rc = take_body(q, data, *size);
        *size = 0;
        return rc;
    }
    if (q->answered)
        return MHD_YES;
    if (q->gone)
        return MHD_NO;
    if (q->too_large)
        return cn_reply_fault(q, CN_FAULT_TOO_LARGE, "the body is over the limit", NULL);
    if (q->overloaded)
        return cn_reply_fault(q, CN_FAULT_OVERLOADED, "too many uploads are under way", NULL);
    next = q->next != NULL ? q->next : q->route->handle;
    q->next = NULL;
    return next(q);
}

static void on_watch_closed(uv_handle_t *h)
{
    cn_request_unref(h->data);
    free(h);
}

static void stop_watch(struct cn_request *q)
{
    if (q->watch == NULL)
        return;
    uv_poll_stop(q->watch);
    uv_close((uv_handle_t *)q->watch, on_watch_closed);
    q->watch = NULL;
}

/* A handle of its own for each watch: the one before may still be closing. */
void cn_request_watch(struct cn_request *q, uv_poll_cb on_hangup)
{
    uv_poll_t *watch;

    if (q->conn == NULL)
        return;
    watch = cn_xcalloc(1, sizeof(*watch));
    if (uv_poll_init(q->e->s->o.loop, watch, q->conn->fd) < 0) {
        free(watch); /* then nobody hears that the client left */
        return;
    }
    watch->data = cn_request_ref(q);
    q->watch = watch;
    uv_poll_start(watch, UV_DISCONNECT, on_hangup);
}

static void on_hangup(uv_poll_t *h, int status, int events)
{
    struct cn_request *q = h->data;

    (void)status;
    (void)events;
    q->gone = true;
    cn_request_resume(q);
}

void cn_request_suspend(struct cn_request *q, cn_next_fn next, bool watched)
{
    q->suspended = true;
    q->next = next;
    q->e->s->n_suspended++;
    MHD_suspend_connection(q->c);
    if (q->conn != NULL)
        cn_conn_phase(q->conn, CN_PHASE_WAIT);
    if (watched)
        cn_request_watch(q, on_hangup);
}

static void unlink_leaver(struct cn_request *q)
{
    if (q->on_close == NULL)
        return;
    if (q->prev_leaver != NULL)
        q->prev_leaver->next_leaver = q->next_leaver;
    else
        q->e->s->leavers = q->next_leaver;
    if (q->next_leaver != NULL)
        q->next_leaver->prev_leaver = q->prev_leaver;
    q->on_close = NULL;
}

void cn_request_on_close(struct cn_request *q, void (*on_close)(struct cn_request *q))
{
    struct cn_server *s = q->e->s;

    q->on_close = on_close;
    q->next_leaver = s->leavers;
    if (q->next_leaver != NULL)
        q->next_leaver->prev_leaver = q;
    s->leavers = q;
    if (s->is_closing)
        on_close(q);
}

/* Nobody is answered from in here: MHD calls the handlers later. */
void cn_requests_close(struct cn_server *s)
{
    for (struct cn_request *q = s->leavers; q != NULL; q = q->next_leaver)
        q->on_close(q);
}

void cn_request_resume(struct cn_request *q)
{
    if (!q->suspended)
        return;
    q->suspended = false;
    q->e->s->n_suspended--;
    stop_watch(q);
    MHD_resume_connection(q->c);
    cn_mhd_wake(&q->e->mhd);
}

/* ---- the end of a request ---- */

static void peer_text(struct MHD_Connection *c, char *text, size_t size)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *sa = info == NULL ? NULL : info->client_addr;

    text[0] = '\0';
    if (sa != NULL && sa->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)sa)->sin_addr, text, (socklen_t)size);
    else if (sa != NULL && sa->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)sa)->sin6_addr, text, (socklen_t)size);
    else
        snprintf(text, size, "unix");
}

/* The target for the log. A ticket in it is as good as a key, if only once. */
static const char *path_text(const struct cn_request *q, char *text, size_t size)
{
    const char *ticket = strstr(q->uri, "ticket=");

    if (ticket == NULL)
        return q->uri;
    snprintf(text, size, "%.*s", (int)(ticket - q->uri), q->uri);
    return text;
}

static void account(struct cn_request *q)
{
    struct cn_server_metrics *m = &q->e->s->m;
    const char *route = q->route == NULL ? "other" : q->route->path;
    double s = (double)(cn_now_ns() - q->start_ns) * 1e-9;
    int status = q->gone ? 499 : q->status;
    char code[16], peer[INET6_ADDRSTRLEN], path[256];

    if (!q->begun || status == 0) { /* MHD refused it by itself, or it broke off */
        cn_metric_inc(m->rejected, 1, "bad_request");
        return;
    }
    snprintf(code, sizeof(code), "%d", status);
    cn_metric_inc(m->requests, 1, route, method_label(q->method), code);
    cn_metric_observe(m->duration, s, route);
    if (!cn_log_on(CN_LOG_INFO))
        return;
    peer_text(q->c, peer, sizeof(peer));
    cn_log(CN_LOG_INFO, "http.request", "",
           "request_id=%s peer=%s method=%s route=%s path=%s status=%d dur_ms=%.3f bytes_in=%zu "
           "bytes_out=%zu key_id=%s tenant=%s job_id=%s",
           q->id, peer, method_label(q->method), route, path_text(q, path, sizeof(path)), status,
           s * 1e3, q->body_bytes, q->bytes_out, q->key_name, q->tenant, q->job_id);
}

void cn_request_completed(void *cls, struct MHD_Connection *c, void **slot,
                          enum MHD_RequestTerminationCode why)
{
    struct cn_request *q = *slot;

    (void)cls;
    (void)c;
    (void)why;
    if (q == NULL)
        return;
    *slot = NULL;
    account(q);
    if (q->stream != NULL)
        cn_stream_release(q->stream);
    unlink_leaver(q);
    if (q->call_release != NULL)
        q->call_release(q);
    stop_watch(q);
    cn_request_drop_body(q);
    if (q->conn != NULL)
        cn_conn_phase(q->conn, CN_PHASE_IDLE);
    q->conn = NULL;
    q->over = true;
    cn_reading_abandon(q);
    cn_request_unref(q);
}
