/* Server: listeners, connections, the life of a request. */
#include "base/base.h"
#include "http/http_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/gate.h"
#include "http/listen.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BODY_GRACE_S = 10, /* a slow body may start slowly */
    BODY_CHECK_S = 5,
    BODY_MIN_RATE = 1024, /* bytes per second after that */
    SEND_BASE_S = 60,
    SEND_MIN_RATE = 8192,
    CONNECTION_SLACK = 64, /* MHD's own limit lies above ours: at its limit it goes deaf */
    CONNECTION_MEMORY = 32 * 1024,
    LINGER_S = 1 /* a client that keeps its connection may be about to use it */
};

#define SECOND INT64_C(1000000000)

static const double duration_bound[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                        1,     2.5,  5,     10,   30,  60,   120};

/* ---- connections ---- */

static void release(struct cn_server *s)
{
    s->refs--;
}

static void on_conn_closed(uv_handle_t *h)
{
    struct cn_conn *conn = h->data;

    release(conn->e->s);
    free(conn);
}

/* The descriptor stays MHD's: it sees the end and cleans up. */
static void cut(struct cn_conn *conn)
{
    shutdown(conn->fd, SHUT_RDWR);
}

/* Milliseconds until the next look at a body that arrives; 0: it is too slow, or took too long. */
static uint64_t body_may_take(const struct cn_conn *conn)
{
    int64_t ms = (cn_now_ns() - conn->since_ns) / 1000000 + 1; /* timers may be early by less */
    int64_t left = conn->e->s->o.body_timeout_s * INT64_C(1000) - ms;
    int64_t counted = ms - BODY_GRACE_S * INT64_C(1000) - 1000;

    if (left <= 0 || (counted > 0 && conn->body_bytes < (size_t)counted * BODY_MIN_RATE / 1000))
        return 0;
    return (uint64_t)CN_MIN(left, BODY_CHECK_S * INT64_C(1000));
}

static void on_deadline(uv_timer_t *t)
{
    struct cn_conn *conn = t->data;
    uint64_t more = conn->phase == CN_PHASE_BODY ? body_may_take(conn) : 0;

    if (more > 0) {
        uv_timer_start(t, on_deadline, more, 0);
        return;
    }
    if (conn->phase != CN_PHASE_IDLE)
        cn_metric_inc(conn->e->s->m.rejected, 1, "timeout");
    cn_log(CN_LOG_DEBUG, "http.deadline", "connection was too slow", "phase=%d", (int)conn->phase);
    cut(conn);
}

void cn_conn_phase(struct cn_conn *conn, enum cn_phase phase)
{
    const struct cn_server_options *o = &conn->e->s->o;
    int seconds[] = {
        [CN_PHASE_HEAD] = o->header_timeout_s,
        [CN_PHASE_BODY] = CN_MIN(BODY_GRACE_S, o->body_timeout_s),
        [CN_PHASE_WAIT] = 0,
        [CN_PHASE_SEND] = SEND_BASE_S + (int)(conn->send_bytes / SEND_MIN_RATE),
        [CN_PHASE_IDLE] = o->idle_timeout_s,
    };

    conn->phase = phase;
    conn->since_ns = cn_now_ns();
    if (phase == CN_PHASE_WAIT)
        uv_timer_stop(&conn->timer);
    else
        uv_timer_start(&conn->timer, on_deadline, (uint64_t)seconds[phase] * 1000, 0);
}

static void open_conn(struct cn_endpoint *e, struct MHD_Connection *c, void **slot)
{
    struct cn_server *s = e->s;
    struct cn_conn *conn = cn_xcalloc(1, sizeof(*conn));

    conn->e = e;
    conn->fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    uv_timer_init(s->o.loop, &conn->timer);
    conn->timer.data = conn;
    conn->next = s->conns;
    if (s->conns != NULL)
        s->conns->prev = conn;
    s->conns = conn;
    s->n_conns++;
    s->refs++;
    *slot = conn;
    cn_conn_phase(conn, CN_PHASE_IDLE);
}

static void close_conn(struct cn_conn *conn)
{
    struct cn_server *s = conn->e->s;

    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        s->conns = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    s->n_conns--;
    uv_close((uv_handle_t *)&conn->timer, on_conn_closed);
}

static void on_connection(void *cls, struct MHD_Connection *c, void **slot,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        open_conn(cls, c, slot);
    } else if (*slot != NULL) {
        close_conn(*slot);
        *slot = NULL;
    }
}

/* ---- requests ---- */

struct cn_request *cn_request_ref(struct cn_request *q)
{
    q->refs++;
    return q;
}

void cn_request_unref(struct cn_request *q)
{
    if (--q->refs > 0)
        return;
    release(q->e->s);
    free(q->uri);
    free(q);
}

/* MHD calls this with the request line: the first moment of a request. */
static void *on_request_line(void *cls, const char *uri, struct MHD_Connection *c)
{
    struct cn_endpoint *e = cls;
    struct cn_request *q = cn_xcalloc(1, sizeof(*q));

    q->e = e;
    q->c = c;
    q->refs = 1;
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
static const struct cn_route *offered(const struct cn_request *q, const char *path)
{
    const struct cn_route *r = cn_route_find(path);
    bool split = q->e->s->is_split;

    if (r == NULL || !split)
        return r;
    if (q->e->admin)
        return r->admin || r->on_both ? r : NULL;
    return r->admin ? NULL : r;
}

static bool authenticated(struct cn_request *q)
{
    const struct cn_keys *keys = q->e->s->o.keys;
    const char *given = cn_request_header(q, "Authorization"), *name;

    if (keys == NULL || q->route->open || (q->e->admin && q->route->admin))
        return true;
    if (given == NULL)
        given = cn_request_header(q, "X-Api-Key");
    name = cn_keys_check(keys, given);
    if (name != NULL) /* a copy: a reload may take the key away before the request ends */
        snprintf(q->key_name, sizeof(q->key_name), "%s", name);
    return name != NULL;
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
    if (!q->route->takes_body && length != 0)
        return cn_reply_fault(q, CN_FAULT_BAD_REQUEST, "no body is expected here", NULL);
    if (length > 0 && (uint64_t)length > s->o.max_body)
        return cn_reply_fault(q, CN_FAULT_TOO_LARGE, "the body is over the limit", NULL);
    if (s->n_conns > s->o.max_connections && !q->route->admin && !q->route->on_both)
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

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **slot)
{
    struct cn_request *q = *slot;
    enum MHD_Result rc;

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
    return q->job != NULL ? q->route->resume(q) : q->route->handle(q);
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

/* A handle of its own for each suspension: the one before may still be closing. */
static void start_watch(struct cn_request *q, uv_poll_cb on_hangup)
{
    uv_poll_t *watch = cn_xcalloc(1, sizeof(*watch));

    if (uv_poll_init(q->e->s->o.loop, watch, q->conn->fd) < 0) {
        free(watch); /* then the job runs to its end for nobody */
        return;
    }
    watch->data = cn_request_ref(q);
    q->watch = watch;
    uv_poll_start(watch, UV_DISCONNECT, on_hangup);
}

void cn_request_suspend(struct cn_request *q, uv_poll_cb on_hangup)
{
    q->suspended = true;
    q->e->s->n_suspended++;
    MHD_suspend_connection(q->c);
    if (q->conn == NULL)
        return;
    cn_conn_phase(q->conn, CN_PHASE_WAIT);
    start_watch(q, on_hangup);
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

static void account(struct cn_request *q)
{
    struct cn_server_metrics *m = &q->e->s->m;
    const char *route = q->route == NULL ? "other" : q->route->path;
    double s = (double)(cn_now_ns() - q->start_ns) * 1e-9;
    int status = q->gone ? 499 : q->status;
    char code[16], peer[INET6_ADDRSTRLEN];

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
           "bytes_out=%zu key_id=%s job_id=%s",
           q->id, peer, method_label(q->method), route, q->uri, status, s * 1e3, q->body_bytes,
           q->bytes_out, q->key_name, q->job == NULL ? "" : q->job->name);
}

static void on_completed(void *cls, struct MHD_Connection *c, void **slot,
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
    cn_images_abandon(q);
    stop_watch(q);
    cn_request_drop_body(q);
    if (q->conn != NULL)
        cn_conn_phase(q->conn, CN_PHASE_IDLE);
    q->conn = NULL;
    q->over = true;
    cn_reading_abandon(q);
    cn_request_unref(q);
}

/* ---- the server ---- */

static void on_mhd_log(void *cls, const char *fmt, va_list ap)
{
    char text[300];

    (void)cls;
    if (!cn_log_on(CN_LOG_DEBUG))
        return;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    vsnprintf(text, sizeof(text), fmt, ap);
#pragma GCC diagnostic pop
    cn_log(CN_LOG_DEBUG, "http.mhd", text, "source=%s", "libmicrohttpd");
}

static void init_metrics(struct cn_server *s)
{
    struct cn_metrics *r = s->o.metrics;
    static const char *const reason[] = {"bad_request", "auth",    "too_large",  "queue_full",
                                         "draining",    "timeout", "overloaded", "not_ready"};

    s->m.requests = cn_metric_add(r, CN_COUNTER, "controlnetd_http_requests_total",
                                  "HTTP requests answered.", "route,method,code");
    s->m.duration =
        cn_metric_add_histogram(r, "controlnetd_http_request_duration_seconds",
                                "Time from the request line to the last byte of the answer.",
                                "route", duration_bound, (int)CN_LEN(duration_bound));
    s->m.connections = cn_metric_add(r, CN_GAUGE, "controlnetd_http_connections",
                                     "Open client connections.", "state");
    s->m.rejected = cn_metric_add(r, CN_COUNTER, "controlnetd_http_rejected_total",
                                  "Requests refused before they reached the queue.", "reason");
    for (size_t i = 0; i < CN_LEN(reason); i++)
        cn_metric_inc(s->m.rejected, 0, reason[i]);
    s->m.ready =
        cn_metric_add(r, CN_GAUGE, "controlnetd_ready", "1 when /readyz would answer 200.", NULL);
    s->m.draining = cn_metric_add(r, CN_GAUGE, "controlnetd_draining",
                                  "1 when the server is shutting down.", NULL);
}

struct cn_server *cn_server_new(const struct cn_server_options *o)
{
    struct cn_server *s = cn_xcalloc(1, sizeof(*s));

    s->o = *o;
    s->is_handoff = cn_listen_inherited(false, 0) >= 0;
    init_metrics(s);
    return s;
}

static struct MHD_Daemon *start_mhd(struct cn_endpoint *e, int fd)
{
    const struct cn_server_options *o = &e->s->o;

    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, e,
        MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)(o->max_connections + CONNECTION_SLACK),
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)o->idle_timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, e, MHD_OPTION_NOTIFY_COMPLETED, on_completed, e, MHD_OPTION_URI_LOG_CALLBACK,
        on_request_line, e, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_END);
}

/* Takes fd. address is for people. */
static int open_endpoint(struct cn_server *s, int fd, bool admin, const char *address,
                         struct cn_err *err)
{
    struct cn_endpoint *e = &s->endpoint[s->n_endpoints];
    struct MHD_Daemon *daemon;
    int rc;

    e->s = s;
    e->admin = admin;
    e->port = cn_listen_port(fd);
    daemon = start_mhd(e, fd);
    if (daemon == NULL) {
        close(fd);
        return cn_fail(err, CN_EIO, "cannot start libmicrohttpd on \"%s\"", address);
    }
    if ((rc = cn_mhd_start(&e->mhd, s->o.loop, daemon, err)) < 0)
        return rc;
    s->n_endpoints++;
    s->is_split = s->is_split || admin;
    cn_log(CN_LOG_INFO, "http.listen", "listening", "address=%s port=%d admin=%d inherited=%d",
           address, e->port, (int)admin, (int)e->inherited);
    return CN_OK;
}

/* All sockets that were passed for this use. */
static int take_inherited(struct cn_server *s, bool admin, struct cn_err *err)
{
    int fd, rc = CN_OK;

    for (int nth = 0; rc == CN_OK && s->n_endpoints < CN_ENDPOINTS; nth++) {
        if ((fd = cn_listen_inherited(admin, nth)) < 0)
            break;
        s->endpoint[s->n_endpoints].inherited = true;
        rc = open_endpoint(s, fd, admin, "inherited", err);
    }
    return rc;
}

static int open_own(struct cn_server *s, const char *address, bool admin, struct cn_err *err)
{
    int fd, rc;

    if ((rc = cn_listen_open(address, &fd, err)) < 0)
        return rc;
    if (strncmp(address, "unix:", 5) == 0)
        snprintf(s->endpoint[s->n_endpoints].unix_path, sizeof(s->endpoint[0].unix_path), "%s",
                 address + 5);
    return open_endpoint(s, fd, admin, address, err);
}

int cn_server_listen(struct cn_server *s, struct cn_err *err)
{
    int rc = CN_OK;

    if (cn_listen_inherited(true, 0) >= 0)
        rc = take_inherited(s, true, err);
    else if (s->o.admin_listen[0] != '\0')
        rc = open_own(s, s->o.admin_listen, true, err);
    if (rc == CN_OK && !cn_server_handoff(s))
        rc = open_own(s, s->o.listen, false, err);
    return rc;
}

int cn_server_accept(struct cn_server *s, struct cn_err *err)
{
    return cn_server_handoff(s) ? take_inherited(s, false, err) : CN_OK;
}

int cn_server_port(const struct cn_server *s, bool admin)
{
    int fd = cn_listen_inherited(admin, 0);

    for (int i = 0; i < s->n_endpoints; i++)
        if (s->endpoint[i].admin == admin)
            return s->endpoint[i].port;
    return fd < 0 ? 0 : cn_listen_port(fd); /* passed, and not yet accepted from */
}

void cn_server_configure(struct cn_server *s, const struct cn_server_options *o)
{
    s->o.cors_origins = o->cors_origins;
    s->o.keys = o->keys;
    s->o.limits = o->limits;
    s->o.max_body = o->max_body;
    s->o.max_image = o->max_image;
    s->o.max_inflight = o->max_inflight;
    s->o.header_timeout_s = o->header_timeout_s;
    s->o.body_timeout_s = o->body_timeout_s;
}

bool cn_server_handoff(const struct cn_server *s)
{
    return s->is_handoff;
}

bool cn_server_ready(struct cn_server *s, const char **ret_why)
{
    const struct cn_dispatch *d = s->o.dispatch;
    const char *why = NULL;

    if (s->is_draining)
        why = "the server is shutting down";
    else if (cn_dispatch_ready_workers(d) == 0)
        why = cn_dispatch_trouble(d)[0] != '\0' ? "no worker is ready: it failed to start"
                                                : "no worker is ready";
    if (ret_why != NULL)
        *ret_why = why == NULL ? "" : why;
    return why == NULL;
}

void cn_server_drain(struct cn_server *s)
{
    s->is_draining = true;
    for (int i = 0; i < s->n_endpoints; i++)
        if (s->endpoint[i].inherited)
            cn_mhd_quiesce(&s->endpoint[i].mhd);
}

bool cn_server_drained(const struct cn_server *s)
{
    int64_t now = cn_now_ns();

    for (const struct cn_conn *c = s->conns; c != NULL; c = c->next)
        if (c->phase != CN_PHASE_IDLE || now - c->since_ns < LINGER_S * SECOND)
            return false;
    return true;
}

void cn_server_close(struct cn_server *s)
{
    s->is_draining = true;
    for (int i = 0; i < s->n_endpoints; i++)
        cn_mhd_quiesce(&s->endpoint[i].mhd);
    for (struct cn_conn *c = s->conns; c != NULL; c = c->next)
        if (c->phase == CN_PHASE_IDLE)
            cut(c);
}

bool cn_server_settled(const struct cn_server *s)
{
    return s->n_suspended == 0;
}

bool cn_server_quiet(struct cn_server *s)
{
    for (int i = 0; i < s->n_endpoints; i++)
        if (cn_mhd_connections(&s->endpoint[i].mhd) > 0)
            return false;
    return true;
}

void cn_server_stop(struct cn_server *s)
{
    CN_ASSERT(s->n_suspended == 0); /* MHD would abort with less to say */
    for (int i = 0; i < s->n_endpoints; i++) {
        cn_mhd_quiesce(&s->endpoint[i].mhd);
        cn_mhd_stop(&s->endpoint[i].mhd);
        if (s->endpoint[i].unix_path[0] != '\0')
            unlink(s->endpoint[i].unix_path);
    }
}

bool cn_server_gone(const struct cn_server *s)
{
    int handles = s->refs;

    for (int i = 0; i < s->n_endpoints; i++)
        handles += s->endpoint[i].mhd.handles;
    return handles == 0;
}

void cn_server_free(struct cn_server *s)
{
    free(s);
}
