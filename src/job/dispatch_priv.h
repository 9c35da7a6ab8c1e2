/* Shared by dispatch.c and dispatch_metrics.c. Loop thread only; there are no locks in job/. */
#ifndef CN_JOB_DISPATCH_PRIV_H
#define CN_JOB_DISPATCH_PRIV_H

#include "job/dispatch.h"
#include "job/process.h"
#include "job/queue.h"

enum { CN_SLOT_JOBS = 64 };

/* A job that is with a worker. job is NULL when it is final here but not yet over there. */
struct cn_assigned {
    uint64_t id;
    struct cn_job *job;
    int64_t heard_ns; /* last sign of progress */
};

struct cn_slot {
    struct cn_dispatch *d;
    struct cn_process *process;
    int index, capacity, n;
    struct cn_assigned job[CN_SLOT_JOBS];
    char backend[32];
    struct cn_msg_gauges gauges; /* the last that the worker sent */
};

struct cn_dispatch_metrics {
    struct cn_metric *submitted, *finished, *failed, *retried;
    struct cn_metric *queue_jobs, *queue_capacity, *oldest;
    struct cn_metric *queue_time, *run_time, *stage_time, *steps, *images;
    struct cn_metric *up, *busy, *restarts, *heartbeat, *gauge;
};

struct cn_dispatch {
    struct cn_dispatch_options o;
    struct cn_queue queue;
    struct cn_catalog catalog;
    struct cn_slot *slot;
    struct cn_dispatch_metrics m;
    uv_timer_t tick;
    uv_idle_t soon; /* ends that must not be told from inside cn_dispatch_submit */
    int handles;    /* open ones of this struct */
    bool known, draining, stopping, soon_on;
    double service_s; /* moving average of a job's running time */
};

void cn_dispatch_metrics_init(struct cn_dispatch *d);
void cn_dispatch_count_end(struct cn_dispatch *d, const struct cn_job *job);

#endif
