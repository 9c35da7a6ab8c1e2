/* From the dispatcher's news to the store and to the events; and back from the store at the start.
 *
 * The order of a durable job's operations in the store is the order of its life (added, started,
 * pictures, end), and the store keeps that order: so an end is never told before the pictures are
 * kept, and the store itself turns a success that lacks one into a failure.
 */
#include "base/base.h"
#include "job/jobs_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)CN_JOB_EXPIRED == (int)CN_STORE_EXPIRED &&
                   (int)CN_JOB_STATE_COUNT == (int)CN_STORE_STATE_COUNT,
               "the states of jobs and of the store are the same");

/* ---- images of waiting jobs ---- */

void cn_record_drop_images(struct cn_record *r)
{
    struct cn_spec *s = &r->job->spec;

    free(s->init_image.data);
    free(s->mask.data);
    s->init_image.data = s->mask.data = NULL;
    for (int i = 0; i < s->n_controls; i++) {
        free(s->control[i].image.data);
        s->control[i].image.data = NULL;
    }
    r->job->inputs_evicted = true;
}

void cn_record_hold(struct cn_record *r)
{
    size_t bytes = cn_spec_image_bytes(&r->job->spec);

    if (!r->durable || r->job->inputs_evicted || r->held_bytes > 0 || bytes == 0)
        return;
    if (r->js->held + bytes > r->js->o.keep_bytes) {
        cn_record_drop_images(r);
        return;
    }
    r->held_bytes = bytes;
    r->js->held += bytes;
}

void cn_record_unhold(struct cn_record *r)
{
    r->js->held -= r->held_bytes;
    r->held_bytes = 0;
}

static void take_image(struct cn_blob *to, struct cn_blob *from)
{
    free(to->data);
    *to = *from;
    *from = (struct cn_blob){NULL, 0};
}

static int fetch(void *arg, struct cn_job *job, struct cn_err *err)
{
    struct cn_jobs *js = arg;
    struct cn_spec spec;
    int rc = cn_store_spec(js->store, job->name, &spec, err);

    if (rc < 0)
        return rc;
    take_image(&job->spec.init_image, &spec.init_image);
    take_image(&job->spec.mask, &spec.mask);
    for (int i = 0; i < CN_MIN(job->spec.n_controls, spec.n_controls); i++)
        take_image(&job->spec.control[i].image, &spec.control[i].image);
    cn_spec_release(&spec);
    job->inputs_evicted = false;
    return CN_OK;
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
    cn_submission_end(r);
    cn_record_tell_cancels(r, CN_OK);
    cn_record_retire(r);
}

/* The store has the end, or has had another one before, which then is the one that counts. */
static void on_end_stored(void *arg, const struct cn_store_done *done)
{
    struct cn_record *r = arg;
    struct cn_jobs *js = r->js;
    int64_t now = cn_wall_us();

    js->store_ops--;
    if (done->rc == CN_OK || (done->rc == CN_EBUSY && done->state > CN_STORE_RUNNING)) {
        conclude(r, (enum cn_job_state)done->state, &done->why, now);
        return;
    }
    /* The store closed without having been able to write it: the next life draws the job again. */
    cn_log(CN_LOG_ERROR, "job.end_not_kept", done->err.msg, "job_id=%s", r->id);
    r->ending = false;
    cn_record_tell_cancels(r, CN_ESTORAGE);
}

static void end_durable(struct cn_record *r)
{
    struct cn_store_end end = {.state = (enum cn_store_state)r->job->state,
                               .attempt = r->job->attempt,
                               .deaths = r->job->deaths,
                               .started_us = r->started_us,
                               .ended_us = cn_wall_us(),
                               .err = r->job->err};

    if (r->storage.code != 0) {
        end.state = CN_STORE_FAILED;
        end.err = r->storage;
    }
    if (end.state == CN_STORE_SUCCEEDED)
        end.err = (struct cn_err)CN_ERR_INIT;
    r->ending = true;
    r->js->store_ops++;
    cn_store_end(r->js->store, r->id, &end, on_end_stored, r);
}

static void end_sync(struct cn_record *r)
{
    struct cn_job *job = r->job;

    for (int i = 0; i < job->spec.n; i++)
        if (job->image[i].len > 0)
            r->image[i] = (struct cn_job_view_image){true,
                                                     job->image[i].seed,
                                                     job->image[i].format,
                                                     job->image[i].width,
                                                     job->image[i].height,
                                                     job->image[i].len};
    conclude(r, job->state, &job->err, cn_wall_us());
}

void cn_record_end(struct cn_record *r)
{
    cn_record_unhold(r);
    if (r->durable)
        end_durable(r);
    else
        end_sync(r);
}

/* ---- the dispatcher's news ---- */

static void on_state(void *arg, struct cn_job *job)
{
    struct cn_record *r = cn_record_of(arg, job);

    if (r == NULL || r->ending || r->recent)
        return;
    if (cn_job_final(job)) {
        cn_record_end(r);
        return;
    }
    r->state = job->state;
    r->started_us = job->state == CN_JOB_RUNNING ? cn_wall_us() : 0;
    r->progress_id = r->preview_id = 0;
    if (job->state == CN_JOB_RUNNING)
        cn_record_unhold(r);
    else
        cn_record_hold(r);
    if (r->durable)
        cn_store_start(r->js->store, r->id, job->attempt, job->deaths, job->state == CN_JOB_QUEUED);
    cn_record_emit(r, CN_EVENT_STATE, 0);
}

static void on_progress(void *arg, struct cn_job *job)
{
    struct cn_record *r = cn_record_of(arg, job);

    if (r != NULL && !r->ending && !r->recent)
        cn_record_progress(r);
}

static void on_preview(void *arg, struct cn_job *job, const struct cn_msg_preview *m)
{
    struct cn_record *r = cn_record_of(arg, job);

    if (r != NULL && !r->ending && !r->recent)
        cn_record_preview(r, m);
}

struct keeping {
    struct cn_jobs *js;
    char id[CN_STORE_ID];
    int k;
    struct cn_job_view_image image;
};

static void on_result_stored(void *arg, const struct cn_store_done *done)
{
    struct keeping *keep = arg;
    struct cn_record *r = cn_record_find(keep->js, NULL, keep->id);

    keep->js->store_ops--;
    if (r != NULL && !r->recent) {
        if (done->rc == CN_OK && !r->image[keep->k].ready) {
            r->image[keep->k] = keep->image;
            cn_record_emit(r, CN_EVENT_IMAGE, keep->k);
        } else if (done->rc < 0 && done->rc != CN_EBUSY && !r->ending && r->storage.code == 0) {
            r->storage = done->err; /* no use in drawing on: it ends as failed, for this reason */
            cn_record_cancel(r);
        }
    }
    free(keep);
}

static void on_image(void *arg, struct cn_job *job, int k)
{
    struct cn_job_image *image = &job->image[k];
    struct cn_record *r = cn_record_of(arg, job);
    struct cn_store_result result = {
        k, image->seed, image->format, image->width, image->height, image->len};
    struct keeping *keep;

    if (r == NULL || r->ending || r->recent)
        return;
    if (!r->durable) {
        r->image[k] = (struct cn_job_view_image){true,         image->seed,   image->format,
                                                 image->width, image->height, image->len};
        cn_record_emit(r, CN_EVENT_IMAGE, k);
        return;
    }
    keep = cn_xcalloc(1, sizeof(*keep));
    keep->js = r->js;
    memcpy(keep->id, r->id, sizeof(keep->id));
    keep->k = k;
    keep->image = (struct cn_job_view_image){true,         image->seed,   image->format,
                                             image->width, image->height, image->len};
    r->js->store_ops++;
    cn_store_result(r->js->store, r->id, &result, image->data, on_result_stored, keep);
    image->data = NULL; /* the store's; len says that it came */
}

void cn_jobs_observe(struct cn_jobs *js)
{
    cn_dispatch_set_observer(js->o.dispatch,
                             &(struct cn_dispatch_observer){.arg = js,
                                                            .on_state = on_state,
                                                            .on_progress = on_progress,
                                                            .on_image = on_image,
                                                            .on_preview = on_preview,
                                                            .fetch = fetch});
}

/* ---- the last life's jobs ---- */

struct recovery {
    struct cn_jobs *js;
    int n, unreadable;
    int64_t now_us, now_ns;
};

static void on_unreadable_stored(void *arg, const struct cn_store_done *done)
{
    struct cn_jobs *js = arg;

    (void)done;
    js->store_ops--;
}

static void fail_unreadable(struct recovery *v, const struct cn_store_job *row)
{
    struct cn_store_end end = {.state = CN_STORE_FAILED,
                               .attempt = row->attempt,
                               .deaths = row->deaths,
                               .ended_us = v->now_us};

    cn_fail(&end.err, CN_EFORMAT, "the job was stored by another release and cannot be read");
    v->unreadable++;
    v->js->store_ops++;
    cn_store_end(v->js->store, row->id, &end, on_unreadable_stored, v->js);
}

static void queue_again(void *arg, struct cn_store_job *row)
{
    struct recovery *v = arg;
    struct cn_record *r = cn_record_load(v->js, row, NULL);

    if (r == NULL) {
        fail_unreadable(v, row);
        return;
    }
    /* Wall clock becomes monotonic: how long ago, and how long still. */
    r->job->queued_ns = CN_MAX(v->now_ns - CN_MAX(v->now_us - row->created_us, 0) * 1000, 1);
    r->job->deadline_ns = v->now_ns + (row->deadline_us - v->now_us) * 1000;
    r->job->deadline_ns = CN_MAX(r->job->deadline_ns, 1);
    v->n++;
    cn_record_emit(r, CN_EVENT_STATE, 0);
    for (int k = 0; k < r->job->spec.n; k++)
        if (r->image[k].ready)
            cn_record_emit(r, CN_EVENT_IMAGE, k);
    cn_dispatch_restore(v->js->o.dispatch, r->job, r->tenant);
}

void cn_jobs_recover(struct cn_jobs *js)
{
    struct recovery v = {.js = js, .now_us = cn_wall_us(), .now_ns = cn_now_ns()};
    struct cn_err err = CN_ERR_INIT;
    int64_t began = cn_now_ns();

    if (cn_store_unfinished(js->store, queue_again, &v, &err) < 0)
        cn_log(CN_LOG_ERROR, "store.recovery", err.msg, "jobs=%d", v.n);
    cn_log(CN_LOG_INFO, "store.open", "", "jobs=%d unreadable=%d ms=%.1f", v.n, v.unreadable,
           (double)(cn_now_ns() - began) * 1e-6);
}

struct cn_store_job cn_record_row(const struct cn_record *r)
{
    struct cn_store_job row = {.attempt = r->job->attempt,
                               .deaths = r->job->deaths,
                               .priority = r->job->spec.priority,
                               .n = r->job->spec.n,
                               .cost = r->job->cost,
                               .created_us = r->created_us};

    memcpy(row.id, r->id, sizeof(row.id));
    memcpy(row.tenant, r->tenant, sizeof(row.tenant));
    return row;
}
