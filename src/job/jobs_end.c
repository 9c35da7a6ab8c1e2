/* The end of a job: told to the store first where it is kept, then to everybody who waits. */
#include "base/base.h"
#include "job/jobs_priv.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>

/* ---- who waits ---- */

static void on_deferred(struct cn_deferred *d)
{
    struct cn_jobs_read *q = (struct cn_jobs_read *)d;
    struct cn_err err = q->err;

    q->done.deleted(q->arg, false, err.code < 0 ? &err : NULL);
    free(q->tenant);
    free(q);
}

static void notify_waiters(struct cn_record *r, const struct cn_err *err)
{
    struct cn_jobs_read *q;

    while ((q = LIST_FIRST(&r->waiters)) != NULL) {
        LIST_REMOVE(q, link);
        q->record = NULL;
        if (err != NULL)
            q->err = *err;
        cn_defer(&r->js->deferred, &q->deferred, on_deferred);
        cn_record_unref(r); /* never the last one */
    }
}

/* ---- the end ---- */

/* What clients see is final from here on. */
static void conclude(struct cn_record *r, enum cn_job_state state, const struct cn_err *err,
                     int64_t ended_us)
{
    r->state = state;
    r->err = *err;
    r->ended_us = ended_us;
    cn_record_emit(r, CN_EVENT_DONE, 0);
    notify_waiters(r, NULL);
    cn_record_drop_inputs(r);
    cn_record_enter_history(r);
}

/* Its end is to be told, from now on. */
static void begin_delivery(struct cn_record *r)
{
    r->delivery.state = CN_STORE_WEBHOOK_PENDING;
    cn_jobs_webhook_due(r->js);
}

/* The store has the end, or has had another one before, which then is the one that counts. */
static void on_end_stored(void *arg, const struct cn_store_done *done)
{
    struct cn_record *r = arg;

    r->js->store_ops--;
    if (r->phase == CN_RECORD_FORGOTTEN) {
        cn_record_unref(r);
        return;
    }
    if (done->webhook_due)
        begin_delivery(r);
    if (done->outcome == CN_STORE_OK || done->outcome == CN_STORE_WAS_FINAL) {
        conclude(r, (enum cn_job_state)done->state, &done->why, cn_wall_us());
    } else if (done->outcome == CN_STORE_UNKNOWN) { /* somebody has removed it under us */
        cn_log(CN_LOG_ERROR, "job.end_not_kept", done->err.msg, "job_id=%s", r->id);
        conclude(r, r->job->state, &r->job->err, cn_wall_us());
    } else {
        /* The store closed without having been able to write it: the next life draws it again. */
        CN_ASSERT(done->outcome == CN_STORE_CLOSED || done->outcome == CN_STORE_NOT_OPEN);
        cn_log(CN_LOG_ERROR, "job.end_not_kept", done->err.msg, "job_id=%s", r->id);
        notify_waiters(r, &done->err);
    }
    cn_record_unref(r);
}

static void end_durable(struct cn_record *r)
{
    struct cn_store_end end = {.state = (enum cn_store_state)r->job->state,
                               .attempt = r->job->attempt,
                               .deaths = r->job->deaths,
                               .started_us = r->started_us,
                               .ended_us = cn_wall_us(),
                               .err = r->job->err};
    char *warnings;

    if (r->storage.code != 0) {
        end.state = CN_STORE_FAILED;
        end.err = r->storage;
    }
    if (end.state == CN_STORE_SUCCEEDED)
        end.err = (struct cn_err)CN_ERR_INIT;
    end.warnings = warnings = cn_warnings_write(&r->job->warnings);
    cn_record_set_phase(r, CN_RECORD_ENDING);
    r->js->store_ops++;
    cn_store_end(r->js->store, r->id, &end, on_end_stored, cn_record_ref(r));
    free(warnings);
}

static void end_volatile(struct cn_record *r)
{
    struct cn_job *job = r->job;

    for (int i = 0; i < cn_spec_pictures(&job->spec); i++)
        if (job->image[i].meta.bytes > 0)
            r->image[i] = (struct cn_job_view_image){true, job->image[i].meta};
    conclude(r, job->state, &job->err, cn_wall_us());
}

void cn_record_end(struct cn_record *r)
{
    cn_record_uncache_inputs(r);
    if (r->durable)
        end_durable(r);
    else
        end_volatile(r);
}

void cn_record_cancel(struct cn_record *r)
{
    struct cn_job *job = cn_job_ref(r->job);

    if (r->phase == CN_RECORD_LIVE) {
        cn_dispatch_cancel(r->js->o.dispatch, job);
        if (!cn_job_final(job)) { /* the dispatcher never had it */
            job->err = (struct cn_err)CN_ERR_INIT;
            cn_fail(&job->err, CN_ECANCELED, "cancelled by the client");
            cn_job_move(job, CN_JOB_CANCELLED);
            cn_record_end(r);
        }
    }
    cn_job_unref(job);
}
