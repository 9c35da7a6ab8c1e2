/* Hands waiting jobs to workers with room, and answers for every job that was accepted.
 *
 * DESIGN. Loop thread only. A job is in the queue or with exactly one worker. A worker that is lost
 * gives its jobs back to the head of the queue until their attempts are used up. A job that is
 * cancelled or expires while it runs is final at once; its place in the worker stays taken until
 * the worker has said so too. on_end is called from the loop, never from inside cn_dispatch_submit.
 *
 *     d = cn_dispatch_new(&options);
 *     cn_dispatch_start(d);
 *     if (cn_dispatch_submit(d, job, &err) < 0) ...        -- CN_EBUSY: full, draining, no worker
 *     cn_dispatch_cancel(d, job);
 *     cn_dispatch_drain(d, false); ... cn_dispatch_idle(d) ... cn_dispatch_stop(d); ...
 * cn_dispatch_gone(d) cn_dispatch_free(d);
 */
#ifndef CN_JOB_DISPATCH_H
#define CN_JOB_DISPATCH_H

#include "base/base.h"
#include "base/metrics.h"
#include "job/catalog.h"
#include "job/job.h"

#include <uv.h>

struct cn_dispatch_options {
    uv_loop_t *loop;
    struct cn_metrics *metrics;
    const char *program;     /* the worker */
    const char *const *args; /* NULL-terminated; must outlive the dispatcher */
    int workers;
    int queue_capacity;
    int max_attempts;    /* of one job, when workers are lost under it */
    int timeout_s;       /* of a job that does not choose, from submission to end */
    int start_timeout_s; /* for a worker to become ready */
    int hang_timeout_s;  /* without any sign of progress in a running job */
};

#define CN_DISPATCH_DEFAULTS                                                                       \
    {                                                                                              \
        .workers = 1, .queue_capacity = 64, .max_attempts = 2, .timeout_s = 300,                   \
        .start_timeout_s = 600, .hang_timeout_s = 600                                              \
    }

enum cn_refusal { CN_REFUSED_NOT, CN_REFUSED_FULL, CN_REFUSED_DRAINING, CN_REFUSED_NO_WORKER };

struct cn_dispatch;

struct cn_dispatch *cn_dispatch_new(const struct cn_dispatch_options *o);
void cn_dispatch_start(struct cn_dispatch *d);

/* Takes of *o what may change while workers run: queue_capacity (jobs that wait already stay),
 * max_attempts, timeout_s (of jobs to come), hang_timeout_s. */
void cn_dispatch_configure(struct cn_dispatch *d, const struct cn_dispatch_options *o);

/* Would a job be accepted now? For refusing a request before its body is read. */
enum cn_refusal cn_dispatch_refuses(const struct cn_dispatch *d);

/* Takes a reference of its own. The spec must be resolved against the catalogue. */
int cn_dispatch_submit(struct cn_dispatch *d, struct cn_job *job, struct cn_err *err);

/* The job becomes cancelled (unless it is final already); on_end is not called. */
void cn_dispatch_cancel(struct cn_dispatch *d, struct cn_job *job);

const struct cn_catalog *cn_dispatch_catalog(const struct cn_dispatch *d);

/* Ready now: workers that can take jobs. known: any worker was ready since the start. */
int cn_dispatch_ready_workers(const struct cn_dispatch *d);
bool cn_dispatch_known(const struct cn_dispatch *d);
const char *cn_dispatch_trouble(const struct cn_dispatch *d); /* of the first worker that has one */
const char *cn_dispatch_backend(const struct cn_dispatch *d); /* "cpu"; "" before the first HELLO */

int cn_dispatch_waiting(const struct cn_dispatch *d);
int cn_dispatch_running(const struct cn_dispatch *d);
int cn_dispatch_retry_after_s(const struct cn_dispatch *d); /* 1 .. 600, with jitter */

/* Brings the gauges up to date; called before the metrics are rendered. */
void cn_dispatch_collect(struct cn_dispatch *d);

/* The end is near. admit: jobs are still accepted (from clients that were connected before). */
void cn_dispatch_drain(struct cn_dispatch *d, bool admit);
bool cn_dispatch_idle(const struct cn_dispatch *d); /* nothing waits, nothing runs */
void cn_dispatch_fail_all(struct cn_dispatch *d, int code, const char *why);
void cn_dispatch_stop(struct cn_dispatch *d); /* workers end; idle jobs were failed before */
bool cn_dispatch_gone(struct cn_dispatch *d);
void cn_dispatch_free(struct cn_dispatch *d);

#endif
