/* From the dispatcher's news to the store and to the events.
 *
 * The order of a durable job's operations in the store is the order of its life (added, started,
 * pictures, end), and the store keeps that order: so an end is never told before the pictures are
 * kept, and the store itself turns a success that lacks one into a failure.
 */
#include "base/base.h"
#include "job/jobs_priv.h"
#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

_Static_assert((int)CN_JOB_EXPIRED == (int)CN_STORE_EXPIRED &&
                   (int)CN_JOB_STATE_COUNT == (int)CN_STORE_STATE_COUNT,
               "the states of jobs and of the store are the same");

/* The record that the news are for. */
static struct cn_record *live(struct cn_jobs *js, const struct cn_job *job)
{
    struct cn_record *r = cn_record_of(js, job);

    return r != NULL && r->phase == CN_RECORD_LIVE ? r : NULL;
}

static void on_start_stored(void *arg, const struct cn_store_done *done)
{
    (void)done;
    cn_record_unref(arg);
}

static void on_state(void *arg, struct cn_job *job)
{
    struct cn_record *r = live(arg, job);

    if (r == NULL)
        return;
    if (cn_job_final(job)) {
        cn_record_end(r);
        return;
    }
    r->state = job->state;
    r->started_us = job->state == CN_JOB_RUNNING ? cn_wall_us() : 0;
    r->progress_id = r->preview_id = 0;
    if (job->state == CN_JOB_RUNNING)
        cn_record_uncache_inputs(r);
    else
        cn_record_cache_inputs(r);
    if (r->durable)
        cn_store_start(r->js->store, r->id, job->attempt, job->deaths, job->state == CN_JOB_QUEUED,
                       on_start_stored, cn_record_ref(r));
    cn_record_emit(r, CN_EVENT_STATE, 0);
}

static void on_progress(void *arg, struct cn_job *job)
{
    struct cn_record *r = live(arg, job);

    if (r != NULL)
        cn_record_progress(r);
}

static void on_preview(void *arg, struct cn_job *job, const struct cn_msg_preview *m)
{
    struct cn_record *r = live(arg, job);

    if (r != NULL)
        cn_record_preview(r, m);
}

/* ---- pictures ---- */

struct keeping {
    struct cn_record *record; /* a reference */
    int k;
    struct cn_job_view_image image;
};

static void on_result_stored(void *arg, const struct cn_store_done *done)
{
    struct keeping *keep = arg;
    struct cn_record *r = keep->record;

    r->js->store_ops--;
    if (done->outcome == CN_STORE_OK) {
        if (r->phase < CN_RECORD_OVER && !r->image[keep->k].ready) {
            r->image[keep->k] = keep->image;
            cn_record_emit(r, CN_EVENT_IMAGE, keep->k);
        }
    } else if (done->outcome != CN_STORE_WAS_FINAL && r->phase == CN_RECORD_LIVE &&
               r->storage.code == 0) {
        r->storage = done->err; /* no use in drawing on: it ends as failed, for this reason */
        cn_record_cancel(r);
    }
    cn_record_unref(r);
    free(keep);
}

static void on_image(void *arg, struct cn_job *job, int k)
{
    struct cn_job_image *image = &job->image[k];
    struct cn_record *r = live(arg, job);
    struct cn_job_view_image view = {true, image->meta};
    struct cn_store_result result = {k, image->meta};
    struct keeping *keep;

    if (r == NULL)
        return;
    if (!r->durable) {
        r->image[k] = view;
        cn_record_emit(r, CN_EVENT_IMAGE, k);
        return;
    }
    keep = cn_xcalloc(1, sizeof(*keep));
    keep->record = cn_record_ref(r);
    keep->k = k;
    keep->image = view;
    r->js->store_ops++;
    cn_store_result(r->js->store, r->id, &result, image->data, on_result_stored, keep);
    image->data = NULL; /* the store's; meta says that it came */
}

void cn_jobs_observe(struct cn_jobs *js)
{
    cn_dispatch_set_observer(js->o.dispatch,
                             &(struct cn_dispatch_observer){.arg = js,
                                                            .on_state = on_state,
                                                            .on_progress = on_progress,
                                                            .on_image = on_image,
                                                            .on_preview = on_preview,
                                                            .fetch = cn_jobs_fetch_inputs});
}
