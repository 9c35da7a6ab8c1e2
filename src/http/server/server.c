/* Server: listeners and the life of the whole. */
#include "base/base.h"
#include "http/http_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/server/listen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    FULL_S = 30,           /* a queue that is full so long makes the server unready */
    CONNECTION_SLACK = 64, /* MHD's own limit lies above ours: at its limit it goes deaf */
    CONNECTION_MEMORY = 32 * 1024
};

#define SECOND INT64_C(1000000000)

static const double duration_bound[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                        1,     2.5,  5,     10,   30,  60,   120};

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
    static const char *const reason[] = {"bad_request", "auth",      "too_large",
                                         "queue_full",  "draining",  "timeout",
                                         "overloaded",  "not_ready", "storage"};

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
    s->m.streams_cut =
        cn_metric_add(r, CN_COUNTER, "controlnetd_http_streams_cut_total",
                      "Event streams that were cut because their reader had stopped.", NULL);
    cn_metric_inc(s->m.streams_cut, 0);
    s->m.draining = cn_metric_add(r, CN_GAUGE, "controlnetd_draining",
                                  "1 when the server is shutting down.", NULL);
}

struct cn_server *cn_server_new(const struct cn_server_options *o)
{
    struct cn_server *s = cn_xcalloc(1, sizeof(*s));

    s->o = *o;
    uv_timer_init(o->loop, &s->beat);
    s->beat.data = s;
    s->refs++;
    s->is_handoff = cn_listen_inherited(false, 0) >= 0;
    init_metrics(s);
    return s;
}

static struct MHD_Daemon *start_mhd(struct cn_endpoint *e, int fd)
{
    const struct cn_server_options *o = &e->s->o;

    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        cn_request_handle, e, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(o->max_connections + o->max_streams + CONNECTION_SLACK),
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)o->idle_timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_CONNECTION,
        cn_conn_notify, e, MHD_OPTION_NOTIFY_COMPLETED, cn_request_completed, e,
        MHD_OPTION_URI_LOG_CALLBACK, cn_request_line, e, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

/* Without keys whoever reaches the socket may do everything: that must be said, or nobody beyond
 * this machine reaches it. The listener for operators asks for no key anyway. */
static int check_exposure(const struct cn_server *s, int fd, bool admin, const char *address,
                          struct cn_err *err)
{
    if (s->o.keys != NULL || s->o.allow_anonymous || admin || cn_listen_is_local(fd))
        return CN_OK;
    return cn_fail(err, CN_EINVAL,
                   "\"%s\" listens beyond this machine and there are no keys: add some "
                   "(auth.keys_file), or set auth.allow_anonymous = true",
                   address);
}

/* Takes fd. address is for people. */
static int open_endpoint(struct cn_server *s, int fd, bool admin, const char *address,
                         struct cn_err *err)
{
    struct cn_endpoint *e = &s->endpoint[s->n_endpoints];
    struct MHD_Daemon *daemon;
    int rc = check_exposure(s, fd, admin, address, err);

    if (rc < 0) {
        close(fd);
        return rc;
    }
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
    s->o.hosts = o->hosts;
    s->o.keys = o->keys;
    s->o.allow_anonymous = o->allow_anonymous;
    s->o.limits = o->limits;
    s->o.max_body = o->max_body;
    s->o.max_image = o->max_image;
    s->o.max_inflight = o->max_inflight;
    s->o.stall_timeout_s = o->stall_timeout_s;
    s->o.header_timeout_s = o->header_timeout_s;
    s->o.body_timeout_s = o->body_timeout_s;
}

bool cn_server_handoff(const struct cn_server *s)
{
    return s->is_handoff;
}

/* Full now, and when it was looked at FULL_S ago: a full queue is work, one that stays full is a
 * reason to ask another node. */
static bool stays_full(struct cn_server *s)
{
    int64_t now = cn_now_ns();

    if (cn_dispatch_refuses(s->o.dispatch, NULL).kind != CN_REFUSED_FULL)
        s->full_ns = 0;
    else if (s->full_ns == 0)
        s->full_ns = now;
    return s->full_ns != 0 && now - s->full_ns > FULL_S * SECOND;
}

static const char *trouble_of_store(const struct cn_server *s)
{
    switch (cn_jobs_storage(s->o.jobs, NULL)) {
    case CN_EBUSY:
        return "the job store is not open yet";
    case CN_ESTORAGE:
        return "the job store fails or has no room";
    default:
        return NULL;
    }
}

bool cn_server_ready(struct cn_server *s, const char **ret_why)
{
    const struct cn_dispatch *d = s->o.dispatch;
    const char *why = trouble_of_store(s);
    bool full = stays_full(s);

    if (s->is_draining)
        why = "the server is shutting down";
    else if (cn_dispatch_ready_workers(d) == 0)
        why = cn_dispatch_trouble(d)[0] != '\0' ? "no worker is ready: it failed to start"
                                                : "no worker is ready";
    else if (why == NULL && full)
        why = "the queue stays full";
    if (ret_why != NULL)
        *ret_why = why == NULL ? "" : why;
    return why == NULL;
}

void cn_server_drain(struct cn_server *s)
{
    if (s->is_draining)
        return;
    s->drain_ns = cn_now_ns();
    s->is_draining = true;
    for (int i = 0; i < s->n_endpoints; i++)
        if (s->endpoint[i].inherited)
            cn_mhd_quiesce(&s->endpoint[i].mhd);
}

/* Streams do not count: they are told when the server closes. */
bool cn_server_drained(const struct cn_server *s)
{
    int64_t past = cn_now_ns() - CN_DRAIN_PATIENCE_S * SECOND;

    for (const struct cn_conn *c = s->conns; c != NULL; c = c->next)
        if (c->phase != CN_PHASE_STREAM && (c->phase != CN_PHASE_IDLE || c->since_ns > past))
            return false;
    return true;
}

/* A request may be on its way on an idle connection: such a one stays until it was answered (with
 * "Connection: close"), or was silent for a while after the drain began. */
static void cut_idle(struct cn_server *s)
{
    int64_t past = cn_now_ns() - CN_DRAIN_PATIENCE_S * SECOND;

    for (struct cn_conn *c = s->conns; c != NULL; c = c->next) {
        int unread = 0;

        if (c->phase == CN_PHASE_IDLE && c->since_ns < past && s->drain_ns < past &&
            (ioctl(c->fd, FIONREAD, &unread) < 0 || unread == 0))
            cn_conn_cut(c);
    }
}

void cn_server_close(struct cn_server *s)
{
    cn_server_drain(s);
    s->is_closing = true;
    for (int i = 0; i < s->n_endpoints; i++)
        cn_mhd_quiesce(&s->endpoint[i].mhd);
    cn_requests_close(s);
    cn_streams_close(s);
    cut_idle(s);
}

bool cn_server_settled(const struct cn_server *s)
{
    return s->n_suspended == 0;
}

bool cn_server_quiet(struct cn_server *s)
{
    cut_idle(s);
    for (int i = 0; i < s->n_endpoints; i++)
        if (cn_mhd_connections(&s->endpoint[i].mhd) > 0)
            return false;
    return true;
}

static void on_closed(uv_handle_t *h)
{
    ((struct cn_server *)h->data)->refs--;
}

void cn_server_stop(struct cn_server *s)
{
    CN_ASSERT(s->n_suspended == 0); /* MHD would abort with less to say */
    if (!uv_is_closing((uv_handle_t *)&s->beat))
        uv_close((uv_handle_t *)&s->beat, on_closed);
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
    if (s == NULL)
        return;
    for (int i = 0; i < CN_TEXT_CACHE; i++)
        cn_text_unref(s->cache[i].text);
    cn_tickets_release(&s->tickets);
    free(s);
}
