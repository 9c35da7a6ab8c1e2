/* Dispatcher: jobs that wait for something else than a worker: for their images, or for a while.
 *
 * In the queue such a job is put aside: it counts as waiting and has its place, but is not handed
 * out. A suspect keeps its place among suspects, or the worker that is reserved for it.
 */
#include "base/base.h"
#include "job/dispatch_priv.h"
#include "base/clock.h"
#include "base/log.h"

#define DELAY_FIRST (CN_SECOND_NS / 4)
#define DELAY_MAX   (30 * CN_SECOND_NS)
#define BUSY_MAX    20 /* after that, somebody counts wrong: about eight minutes */

static void delay(struct cn_dispatch *d, struct cn_job *job)
{
    int64_t ns = DELAY_FIRST << CN_MIN(job->delays, 10);

    job->delays++;
    cn_treap_add(&d->delayed, &job->delay, (double)(cn_now_ns() + CN_MIN(ns, DELAY_MAX)), job->id,
                 0);
}

/* It may be handed out again. */
static void end_wait(struct cn_dispatch *d, struct cn_job *job)
{
    if (cn_treap_has(&job->age) && !cn_treap_has(&job->order))
        cn_queue_release(&d->queue, job);
    d->pump_wanted = true;
}

void cn_dispatch_end_delays(struct cn_dispatch *d, int64_t now)
{
    struct cn_treap_node *node;

    while ((node = cn_treap_first(&d->delayed)) != NULL && node->key <= (double)now) {
        struct cn_job *job = CN_TREAP_OF(node, struct cn_job, delay);

        cn_dispatch_leave_delays(d, job);
        end_wait(d, job);
    }
}

bool cn_dispatch_is_due(struct cn_dispatch *d, struct cn_job *job)
{
    const struct cn_dispatch_observer *o = &d->o.observer;

    if (job->fetching || cn_treap_has(&job->delay))
        return false;
    if (!job->inputs_evicted)
        return true;
    CN_ASSERT(o->fetch != NULL);
    job->fetching = true;
    d->fetching++;
    o->fetch(o->arg, job);
    return false; /* also when it is there by now: the next pump hands it out */
}

void cn_dispatch_inputs_ready(struct cn_dispatch *d, struct cn_job *job, const struct cn_err *err)
{
    if (!job->fetching)
        return; /* it is over, or left to the next life */
    job->fetching = false;
    d->fetching--;
    if (err == NULL) {
        CN_ASSERT(!job->inputs_evicted);
        job->delays = 0;
        end_wait(d, job);
    } else if (err->code == CN_EBUSY) {
        cn_log(CN_LOG_WARNING, "job.inputs", err->msg, "job_id=%s", job->name);
        delay(d, job);
    } else {
        job->err = *err;
        cn_dispatch_finish(d, job, CN_JOB_FAILED, true);
    }
}

void cn_dispatch_wait_for_room(struct cn_dispatch *d, struct cn_job *job)
{
    cn_queue_put_aside(&d->queue, job);
    cn_treap_add(&d->delayed, &job->delay, (double)(cn_now_ns() + DELAY_FIRST), job->id, 0);
    TAILQ_INSERT_TAIL(&d->roomless, job, roomless);
    job->is_roomless = true;
}

void cn_dispatch_end_roomless(struct cn_dispatch *d, cn_dispatch_fits_fn fits)
{
    enum { LOOK_MAX = 256 }; /* in one go; the end of their delay brings the others */
    struct cn_job *job = TAILQ_FIRST(&d->roomless), *next;

    for (int i = 0; i < LOOK_MAX && job != NULL; i++, job = next) {
        next = TAILQ_NEXT(job, roomless);
        if (!fits(d, job))
            continue;
        cn_dispatch_leave_delays(d, job);
        end_wait(d, job);
    }
}

void cn_dispatch_worker_busy(struct cn_dispatch *d, struct cn_job *job)
{
    if (++job->busy > BUSY_MAX) {
        job->err = (struct cn_err)CN_ERR_INIT;
        cn_fail(&job->err, CN_EINTERNAL, "no worker had room for the job, asked %d times",
                BUSY_MAX);
        cn_queue_done(&d->queue, job, 0);
        cn_dispatch_end(d, job, CN_JOB_FAILED, true);
        return;
    }
    cn_log(CN_LOG_WARNING, "job.retry", job->err.msg, "job_id=%s attempt=%d busy=%d", job->name,
           job->attempt, job->busy);
    cn_metric_inc(d->m.retried, 1, "worker_busy");
    cn_job_move(job, CN_JOB_QUEUED);
    cn_job_forget_attempt(job);
    if (job->alone)
        cn_treap_add(&d->suspects, &job->order, (double)job->seq, job->seq, job->cost);
    else
        cn_queue_put_aside(&d->queue, job);
    delay(d, job);
    cn_job_ref(job);
    cn_dispatch_notify(d, job);
    if (!cn_job_final(job) && d->ending && job->may_be_deferred)
        cn_dispatch_detach(d, job);
    cn_job_unref(job);
}
