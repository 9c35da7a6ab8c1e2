/* What all connections share: options, metrics, and the steps of a shutdown. */
#include "base/base.h"
#include "http/core/core.h"
#include "base/clock.h"
#include "base/mem.h"
#include "http/core/conn.h"
#include "http/core/request.h"

#include <stdlib.h>
#include <sys/ioctl.h>

static const double duration_bound[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                        1,     2.5,  5,     10,   30,  60,   120};

static void init_metrics(struct cn_core *core)
{
    struct cn_metrics *r = core->o.metrics;
    static const char *const reason[] = {"bad_request", "auth",    "too_large",  "queue_full",
                                         "draining",    "timeout", "overloaded", "not_ready",
                                         "storage",     "rate"};

    core->m.requests = cn_metric_add(r, CN_COUNTER, "controlnetd_http_requests_total",
                                     "HTTP requests answered.", "route,method,code");
    core->m.duration =
        cn_metric_add_histogram(r, "controlnetd_http_request_duration_seconds",
                                "Time from the request line to the last byte of the answer.",
                                "route", duration_bound, (int)CN_LEN(duration_bound));
    core->m.connections = cn_metric_add(r, CN_GAUGE, "controlnetd_http_connections",
                                        "Open client connections.", "state");
    core->m.rejected = cn_metric_add(r, CN_COUNTER, "controlnetd_http_rejected_total",
                                     "Requests refused before they reached the queue.", "reason");
    for (size_t i = 0; i < CN_LEN(reason); i++)
        cn_metric_inc(core->m.rejected, 0, reason[i]);
    core->m.streams_cut =
        cn_metric_add(r, CN_COUNTER, "controlnetd_http_streams_cut_total",
                      "Answers that were cut because their reader had stopped.", NULL);
    cn_metric_inc(core->m.streams_cut, 0);
    core->m.outflight =
        cn_metric_add(r, CN_GAUGE, "controlnetd_http_outflight_bytes",
                      "Memory that answers on their way out hold, each picture once.", NULL);
}

static void on_hangup(void *data)
{
    struct cn_conn *conn = data;

    conn->has_hung_up = true;
    if (conn->request != NULL)
        cn_request_hung_up(conn->request);
}

struct cn_core *cn_core_new(const struct cn_core_options *o)
{
    struct cn_core *core = cn_xcalloc(1, sizeof(*core));

    cn_routes_check(&o->routes);
    core->o = *o;
    core->out.max = o->max_outflight;
    cn_hangup_open(&core->hangup, o->loop, on_hangup);
    init_metrics(core);
    return core;
}

void cn_core_free(struct cn_core *core)
{
    cn_outflight_release(&core->out);
    while (core->n_spare > 0)
        free(core->spare[--core->n_spare]);
    free(core);
}

void cn_core_configure(struct cn_core *core, const struct cn_core_options *o)
{
    core->o.cors = o->cors;
    core->o.max_body = o->max_body;
    core->o.max_inflight = o->max_inflight;
    core->o.max_outflight = core->out.max = o->max_outflight;
    core->o.stall_timeout_s = o->stall_timeout_s;
    core->o.header_timeout_s = o->header_timeout_s;
    core->o.body_timeout_s = o->body_timeout_s;
}

void cn_core_collect(struct cn_core *core)
{
    int active = 0, idle = 0, waiting = 0;

    for (const struct cn_conn *c = core->conns; c != NULL; c = c->next) {
        idle += c->phase == CN_PHASE_IDLE;
        waiting += c->phase == CN_PHASE_WAIT;
        active +=
            c->phase != CN_PHASE_IDLE && c->phase != CN_PHASE_WAIT && c->phase != CN_PHASE_STREAM;
    }
    cn_metric_set(core->m.connections, active, "active");
    cn_metric_set(core->m.connections, idle, "idle");
    cn_metric_set(core->m.connections, waiting, "suspended");
    cn_metric_set(core->m.connections, core->n_streams, "streaming");
    cn_metric_set(core->m.outflight, (double)core->out.bytes);
}

/* ---- the end ---- */

void cn_core_drain(struct cn_core *core)
{
    core->drain_ns = cn_now_ns();
    core->is_draining = true;
}

bool cn_core_drained(const struct cn_core *core)
{
    int64_t past = cn_now_ns() - CN_DRAIN_PATIENCE_S * CN_SECOND_NS;

    for (const struct cn_conn *c = core->conns; c != NULL; c = c->next)
        if (c->phase != CN_PHASE_STREAM && (c->phase != CN_PHASE_IDLE || c->since_ns > past))
            return false;
    return true;
}

/* A request may be on its way on an idle connection: such a one stays until it was answered (with
 * "Connection: close"), or was silent for a while after the drain began. */
void cn_core_cut_idle(struct cn_core *core)
{
    int64_t past = cn_now_ns() - CN_DRAIN_PATIENCE_S * CN_SECOND_NS;

    for (struct cn_conn *c = core->conns; c != NULL; c = c->next) {
        int unread = 0;

        if (c->phase == CN_PHASE_IDLE && c->since_ns < past && core->drain_ns < past &&
            (ioctl(c->fd, FIONREAD, &unread) < 0 || unread == 0))
            cn_conn_cut(c);
    }
}

/* Nobody is answered from in here: the transport takes the next step later. */
void cn_core_shutdown(struct cn_core *core)
{
    core->is_closing = true;
    for (struct cn_conn *c = core->conns; c != NULL; c = c->next) {
        struct cn_request *q = c->request;

        if (q == NULL || !q->started || q->route->handler->shutdown == NULL)
            continue;
        if (q->sending ? q->streaming : q->suspended)
            q->route->handler->shutdown(q);
    }
}

void cn_core_cut(struct cn_core *core)
{
    for (struct cn_conn *c = core->conns; c != NULL; c = c->next) {
        struct cn_request *q = c->request;

        if (q == NULL)
            continue;
        q->gone = true;
        cn_request_resume(q);
        cn_conn_cut(c);
    }
}

bool cn_core_settled(const struct cn_core *core)
{
    return core->n_suspended == 0;
}

void cn_core_stop(struct cn_core *core)
{
    cn_hangup_close(&core->hangup);
}

bool cn_core_gone(const struct cn_core *core)
{
    return core->refs == 0 && cn_hangup_is_closed(&core->hangup);
}
