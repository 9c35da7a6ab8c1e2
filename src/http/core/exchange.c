/* The way of a request: head, access, admission, body, handler, answer, account. What is refused by
 * the head alone is refused before a byte of the body is read. */
#include "base/base.h"
#include "http/core/exchange.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "http/core/answer.h"
#include "http/core/core.h"
#include "http/core/handler.h"
#include "http/core/sender.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- the head ---- */

struct cn_request *cn_exchange_begin(struct cn_conn *conn, const struct cn_transport *io, void *c,
                                     const char *uri)
{
    struct cn_core *core = conn->core;
    struct cn_request *q = cn_request_new(core);

    q->conn = conn;
    q->io = io;
    q->c = c;
    q->uri = cn_log_on(CN_LOG_INFO) ? cn_xstrdup(uri) : NULL;
    q->start_ns = cn_now_ns();
    cn_buf_init(&q->body, core->o.max_body);
    conn->request = q;
    q->nth = ++conn->requests;
    conn->body_bytes = 0;
    cn_conn_phase(conn, CN_PHASE_HEAD);
    return q;
}

static const struct {
    const char *name;
    enum cn_method method;
} methods[] = {{"GET", CN_GET},     {"HEAD", CN_HEAD},         {"POST", CN_POST},
               {"PUT", CN_PUT},     {"DELETE", CN_DELETE},     {"OPTIONS", CN_OPTIONS},
               {"PATCH", CN_PATCH}, {"other", CN_OTHER_METHOD}};

static enum cn_method method_of(const char *name)
{
    for (size_t i = 0; i + 1 < CN_LEN(methods); i++)
        if (strcmp(methods[i].name, name) == 0)
            return methods[i].method;
    return CN_OTHER_METHOD;
}

static const char *method_label(enum cn_method m)
{
    size_t i = 0;

    while (i + 1 < CN_LEN(methods) && methods[i].method != m)
        i++;
    return methods[i].name;
}

static void on_header(void *arg, const char *name, const char *value)
{
    struct cn_asked *a = arg;
    const char *want = "", **to = NULL;

    switch (strlen(name)) {
    case 4:
        want = "Host";
        to = &a->host;
        break;
    case 6:
        want = "Origin";
        to = &a->origin;
        break;
    case 12:
        want = "X-Request-Id";
        to = &a->id;
        break;
    case 14:
        want = "Content-Length";
        to = &a->length;
        break;
    case 17:
        want = "Transfer-Encoding";
        to = &a->coding;
        break;
    default:
        return;
    }
    if (*to == NULL && strcasecmp(name, want) == 0)
        *to = value;
}

/* The client's id when it is harmless, else one of ours. */
static void choose_id(struct cn_request *q)
{
    static const char ok[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    const char *given = q->asked.id;
    size_t n = given == NULL ? 0 : strlen(given);

    if (n > 0 && n < sizeof(q->id) && strspn(given, ok) == n)
        memcpy(q->id, given, n + 1);
    else
        cn_random_hex(q->id, 20);
}

/* The route as this listener offers it. */
static const struct cn_route *offered(struct cn_request *q, const char *path)
{
    const struct cn_route *r = cn_routes_find(&q->core->o.routes, path, q->method, q->arg);

    if (r == NULL || !q->core->is_split)
        return r;
    if (q->conn->admin)
        return r->admin || r->on_both ? r : NULL;
    return r->admin ? NULL : r;
}

/* Bytes that the head announces; -1: chunked, nobody knows. */
static int64_t announced(const struct cn_request *q)
{
    if (q->asked.coding != NULL)
        return -1;
    return q->asked.length == NULL ? 0 : (int64_t)strtoll(q->asked.length, NULL, 10);
}

/* Refuses what core itself refuses by the head. */
static void check_limits(struct cn_request *q, int64_t length)
{
    struct cn_core *core = q->core;
    const struct cn_route *r = q->route;

    if (!(r->takes_body && q->method == CN_POST) && length != 0)
        cn_answer_problem(q, CN_PROBLEM_BAD_REQUEST, "no body is expected here", NULL);
    else if (length > 0 && (uint64_t)length > core->o.max_body)
        cn_answer_problem(q, CN_PROBLEM_TOO_LARGE, "the body is over the limit", NULL);
    else if (core->n_conns - core->n_streams > core->o.max_connections && !r->admin && !r->on_both)
        cn_answer_problem(q, CN_PROBLEM_OVERLOADED, "there are too many connections", NULL);
    else if (length > 0 && core->inflight + (size_t)length > core->o.max_inflight)
        cn_answer_problem(q, CN_PROBLEM_OVERLOADED, "too many uploads are under way", NULL);
}

static void make_ctx(struct cn_request *q)
{
    const struct cn_handler *h = q->route->handler;

    if (h->ctx_size > 0)
        q->ctx = cn_xcalloc(1, h->ctx_size);
}

static void admit(struct cn_request *q)
{
    int64_t length = announced(q);

    q->close = length != 0; /* an answer now leaves the body unread */
    q->core->o.access(q->core->o.access_arg, q);
    if (q->status != 0)
        return;
    if (q->route == NULL) {
        cn_answer_problem(q, CN_PROBLEM_NOT_FOUND, NULL, NULL);
        return;
    }
    if (q->method == CN_OPTIONS || !(q->route->methods & (unsigned)q->method)) {
        cn_answer_allow(q, q->method != CN_OPTIONS);
        return;
    }
    check_limits(q, length);
    if (q->status == 0)
        make_ctx(q);
    if (q->status == 0 && q->route->handler->admit != NULL)
        q->route->handler->admit(q);
    if (q->status != 0)
        return;
    q->close = false;
    if (length != 0)
        cn_conn_phase(q->conn, CN_PHASE_BODY);
}

/* ---- the answer ---- */

static void on_prepared(void *arg)
{
    cn_request_resume(arg);
}

/* The answer may go out now, or waits until its file is in memory. */
static enum cn_exchange send_answer(struct cn_request *q)
{
    struct cn_source *s = q->answer;

    if (s != NULL && s->kind->prepare != NULL && q->method != CN_HEAD) {
        s->wake = on_prepared;
        s->arg = q;
        if (!s->kind->prepare(s)) {
            cn_request_suspend(q, true);
            return CN_EXCHANGE_GO_ON;
        }
    }
    cn_answer_complete(q);
    cn_sender_begin(q);
    return CN_EXCHANGE_SEND;
}

static void refuse(struct cn_request *q, const struct cn_fault *fault)
{
    char text[160];

    q->close = true;
    snprintf(text, sizeof(text), "the request has %s", fault->text);
    cn_answer_problem(q, fault->kind, text, NULL);
}

enum cn_exchange cn_exchange_head(struct cn_request *q, const char *path, const char *method,
                                  const struct cn_fault *fault)
{
    q->begun = true;
    q->method = fault->text != NULL ? CN_OTHER_METHOD : method_of(method); /* a substitute's */
    cn_request_each_header(q, on_header, &q->asked);
    choose_id(q);
    if (fault->text != NULL) {
        refuse(q, fault);
        return send_answer(q);
    }
    q->route = offered(q, path);
    q->dialect = cn_routes_dialect(&q->core->o.routes, path);
    admit(q);
    return q->status != 0 ? send_answer(q) : CN_EXCHANGE_GO_ON;
}

enum cn_exchange cn_exchange_body(struct cn_request *q, const char *data, size_t n)
{
    struct cn_core *core = q->core;

    q->body_bytes += n;
    q->conn->body_bytes += n;
    if (q->status != 0)
        return CN_EXCHANGE_GO_ON;
    if (q->body_bytes > 2 * core->o.max_body)
        return CN_EXCHANGE_CUT; /* told to stop, it sends on and on */
    if (q->too_large || q->overloaded)
        return CN_EXCHANGE_GO_ON;
    if (q->body_bytes > core->o.max_body)
        q->too_large = true;
    else if (core->inflight + n > core->o.max_inflight || cn_buf_add(&q->body, data, n, NULL) < 0)
        q->overloaded = true;
    else
        core->inflight += n;
    if (q->too_large || q->overloaded) {
        q->close = true;
        cn_request_drop_body(q);
    }
    return CN_EXCHANGE_GO_ON;
}

enum cn_exchange cn_exchange_step(struct cn_request *q, const struct cn_fault *fault)
{
    if (q->sending)
        return CN_EXCHANGE_GO_ON;
    if (q->gone)
        return CN_EXCHANGE_CUT;
    if (q->status != 0)
        return send_answer(q); /* its file is in memory now */
    q->has_waited = false;
    if (fault->text != NULL) {
        refuse(q, fault);
    } else if (q->too_large) {
        cn_answer_problem(q, CN_PROBLEM_TOO_LARGE, "the body is over the limit", NULL);
    } else if (q->overloaded) {
        cn_answer_problem(q, CN_PROBLEM_OVERLOADED, "too many uploads are under way", NULL);
    } else if (!q->started) {
        q->started = true;
        q->route->handler->start(q);
    } else {
        q->route->handler->resume(q);
    }
    CN_ASSERT(q->status != 0 || q->has_waited);
    return q->status != 0 ? send_answer(q) : CN_EXCHANGE_GO_ON;
}

/* ---- the end of a request ---- */

/* The target for the log. A ticket in it is as good as a key. */
static const char *path_text(const struct cn_request *q, char *text, size_t size)
{
    const char *ticket = q->uri == NULL ? NULL : strstr(q->uri, "ticket=");

    if (q->uri == NULL)
        return "";
    if (ticket == NULL)
        return q->uri;
    snprintf(text, size, "%.*s", (int)(ticket - q->uri), q->uri);
    return text;
}

static void account(struct cn_request *q)
{
    struct cn_core_metrics *m = &q->core->m;
    const char *route = q->route == NULL ? "other" : q->route->path;
    double s = (double)(cn_now_ns() - q->start_ns) * 1e-9;
    int status = q->gone ? 499 : q->status;
    char code[4] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                    (char)('0' + status % 10), '\0'};
    char path[256];

    if (!q->begun || status == 0) { /* the transport refused it by itself, or it broke off */
        cn_metric_inc(m->rejected, 1, "bad_request");
        return;
    }
    cn_metric_inc(m->requests, 1, route, method_label(q->method), code);
    cn_metric_observe(m->duration, s, route);
    if (!cn_log_on(CN_LOG_INFO))
        return;
    if (q->peer[0] == '\0')
        q->io->peer(q->c, q->peer, sizeof(q->peer));
    cn_log(CN_LOG_INFO, "http.request", q->gone ? "the client hung up" : "answered",
           "request_id=%s peer=%s method=%s route=%s path=%s status=%d dur_ms=%.3f bytes_in=%zu "
           "bytes_out=%lu key_id=%s tenant=%s job_id=%s",
           q->id, q->peer, method_label(q->method), route, path_text(q, path, sizeof(path)), status,
           s * 1e3, q->body_bytes, (unsigned long)q->bytes_out, q->who.key, q->who.tenant,
           q->subject);
}

/* What the client has got of an answer that broke off. */
static void count_taken(struct cn_request *q)
{
    q->gone = true;
    if (q->sending)
        q->bytes_out = cn_sender_taken(q, q->bytes_out);
}

void cn_exchange_end(struct cn_request *q, bool all)
{
    if (!all)
        count_taken(q);
    account(q);
    cn_source_free(q->answer); /* before what it may look into */
    q->answer = NULL;
    if (q->ctx != NULL && q->route->handler->dispose != NULL)
        q->route->handler->dispose(q);
    free(q->ctx);
    q->ctx = NULL;
    if (q->streaming)
        q->core->n_streams--;
    cn_request_unwatch(q);
    cn_request_drop_body(q);
    q->conn->request = NULL;
    cn_conn_phase(q->conn, CN_PHASE_IDLE);
    q->conn = NULL;
    cn_request_unref(q);
}
