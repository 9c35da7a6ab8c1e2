/* The core of the HTTP server: connections, requests, answers, limits. Loop thread only.
 *
 * It knows no job, no model and no store: what is served is a table of routes (handler.h), and who
 * may ask is decided by `access`, both handed down by the server. `app` is what the handlers find
 * their own things in.
 *
 *     core = cn_core_new(&options);
 *     cn_listener_open(&listener, core, fd, ...);         -- mhd_transport.h
 *     cn_core_drain(core); cn_core_shutdown(core); ... cn_core_settled(core) ... cn_core_cut(core);
 *     cn_core_stop(core); ... cn_core_gone(core) ... cn_core_free(core);
 */
#ifndef CN_HTTP_CORE_CORE_H
#define CN_HTTP_CORE_CORE_H

#include "base/base.h"
#include "base/metrics.h"
#include "http/core/handler.h"
#include "http/core/hangup.h"
#include "http/core/outflight.h"

#include <uv.h>

struct cn_core_options {
    uv_loop_t *loop;
    struct cn_metrics *metrics;
    struct cn_routes routes;
    void *app; /* cn_request_app */
    /* Before every route, after it was looked for (q->route may be NULL): fills in q->who and
     * q->origin_allowed, or answers. */
    void (*access)(void *access_arg, struct cn_request *q);
    void *access_arg;
    bool cors;            /* pages of some other origins may read answers */
    size_t max_body;      /* bytes of one request */
    size_t max_inflight;  /* bytes of all bodies, and what handlers add to core->inflight */
    size_t max_outflight; /* bytes of memory that answers on their way may hold together */
    int max_connections;  /* besides streams */
    int max_streams;      /* answers that are written as things happen */
    int stall_timeout_s;  /* that the reader of an answer may stand still */
    int header_timeout_s, body_timeout_s, idle_timeout_s;
};

struct cn_core_metrics {
    struct cn_metric *requests, *duration, *connections, *rejected, *streams_cut, *outflight;
};

enum { CN_SPARE_REQUESTS = 16 };

struct cn_core {
    struct cn_core_options o;
    struct cn_core_metrics m;
    struct cn_conn *conns; /* all of them */
    struct cn_request *spare[CN_SPARE_REQUESTS]; /* memory of requests that are over */
    int n_spare;
    int n_conns, n_suspended, n_streams;
    int refs;        /* objects whose handles are still closing */
    size_t inflight; /* bytes of bodies held, and of the images of jobs */
    struct cn_outflight out;
    struct cn_hangup hangup;
    bool is_draining;
    bool is_split; /* there is an admin listener */
    bool is_closing;
    int64_t drain_ns;
};

enum { CN_DRAIN_PATIENCE_S = 1 /* for a request that is on its way on an idle connection */ };

/* Nothing asks again sooner than it makes sense, nor later than clients are patient. */
enum { CN_RETRY_AFTER_MAX_S = 120 };

struct cn_core *cn_core_new(const struct cn_core_options *o);
void cn_core_free(struct cn_core *core);

/* What may change while it runs: everything but loop, metrics, routes, app, access, the numbers of
 * connections and streams, idle_timeout_s. */
void cn_core_configure(struct cn_core *core, const struct cn_core_options *o);

/* Brings the gauges up to date. */
void cn_core_collect(struct cn_core *core);

/* Answers end their connections from now on. */
void cn_core_drain(struct cn_core *core);

/* No connection has a request under way, nor had one in the last second. Streams do not count: they
 * are told when the server closes. */
bool cn_core_drained(const struct cn_core *core);

/* Every request that waits, and every stream, is told (handler's shutdown). */
void cn_core_shutdown(struct cn_core *core);

/* Ends connections on which nothing is under way. */
void cn_core_cut_idle(struct cn_core *core);

/* Ends whatever still waits, answered or not: no bound of the shutdown may depend on a handler. */
void cn_core_cut(struct cn_core *core);

bool cn_core_settled(const struct cn_core *core); /* nobody is suspended: the transport may stop */

/* After the transport: what is open here closes in the next turns of the loop. */
void cn_core_stop(struct cn_core *core);
bool cn_core_gone(const struct cn_core *core);

#endif
