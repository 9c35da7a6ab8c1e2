/* Images of waiting durable jobs. Within a bound they stay in memory; beyond it they are dropped,
 * for the store has them, and read again when the job is about to go to a worker. */
#include "base/base.h"
#include "job/jobs_priv.h"
#include "base/mem.h"

#include <stdlib.h>

static void drop(struct cn_blob *b)
{
    free(b->data);
    b->data = NULL; /* its size stays */
}

void cn_record_drop_inputs(struct cn_record *r)
{
    struct cn_blob *b;

    for (int k = 0; (b = cn_spec_file(&r->job->spec, k)) != NULL; k++)
        drop(b);
    r->job->inputs_evicted = true;
}

void cn_record_cache_inputs(struct cn_record *r)
{
    size_t bytes = cn_spec_image_bytes(&r->job->spec);

    if (!r->durable || r->job->inputs_evicted || r->cached_bytes > 0 || bytes == 0)
        return;
    if (r->js->cached_bytes + bytes > r->js->o.keep_bytes) {
        cn_record_drop_inputs(r);
        return;
    }
    r->cached_bytes = bytes;
    r->js->cached_bytes += bytes;
}

void cn_record_uncache_inputs(struct cn_record *r)
{
    r->js->cached_bytes -= r->cached_bytes;
    r->cached_bytes = 0;
}

/* ---- reading them again ---- */

static void take_image(struct cn_blob *to, struct cn_blob *from)
{
    free(to->data);
    *to = *from;
    *from = (struct cn_blob){NULL, 0};
}

static void take_images(struct cn_job *job, struct cn_spec *spec)
{
    struct cn_blob *to, *from;

    for (int k = 0; (to = cn_spec_file(&job->spec, k)) != NULL &&
                    (from = cn_spec_file(spec, k)) != NULL;
         k++)
        take_image(to, from);
    job->inputs_evicted = false;
}

static bool is_transient(enum cn_store_outcome o)
{
    return o == CN_STORE_RETRY || o == CN_STORE_NOT_OPEN || o == CN_STORE_CLOSED;
}

static void on_inputs(void *arg, struct cn_store_answer *a)
{
    struct cn_record *r = arg;
    struct cn_err err = CN_ERR_INIT;

    r->fetch = NULL;
    if (r->phase == CN_RECORD_LIVE && a->outcome == CN_STORE_OK) {
        take_images(r->job, &a->spec);
        r->cached_bytes = cn_spec_image_bytes(&r->job->spec);
        r->js->cached_bytes += r->cached_bytes;
        cn_dispatch_inputs_ready(r->js->o.dispatch, r->job, NULL);
    } else if (r->phase == CN_RECORD_LIVE) {
        cn_fail(&err, is_transient(a->outcome) ? CN_EBUSY : CN_ESTORAGE,
                "the images of the job cannot be read again: %s", a->err.msg);
        cn_dispatch_inputs_ready(r->js->o.dispatch, r->job, &err);
    }
    cn_record_unref(r);
}

void cn_jobs_fetch_inputs(void *arg, struct cn_job *job)
{
    struct cn_jobs *js = arg;
    struct cn_record *r = cn_record_of(js, job);

    CN_ASSERT(r != NULL && r->fetch == NULL);
    r->fetch = cn_store_inputs(js->store, r->id, on_inputs, cn_record_ref(r));
}
