/* Memory, as jobs see it: their models, and what can be given up when it is short or of no use.
 *
 * Working memory (the plans' arenas, the buffers of batches) grows with the largest picture. It
 * goes back when only much smaller ones are drawn, when models are unloaded, when memory is short,
 * and when nothing was to do for a while; whoever needs it next takes it again, which costs a
 * fraction of what a picture takes. At rest the plans of sizes other than a model's own go too, and
 * the layouts of parameters that only they wanted.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "runtime/adapted.h"

#include <malloc.h>
#include <stdlib.h>

int cn_engine_pin_models(struct cn_engine *e, struct cn_job *j, struct cn_err *err)
{
    struct cn_model *model[2 + CN_MAX_CONTROLS];
    int n = 0, rc;

    if (j->base == NULL) /* it has none */
        return CN_OK;
    model[n++] = j->base;
    model[n++] = j->vae_model; /* may be the same */
    for (int i = 0; i < j->n_controls; i++)
        model[n++] = j->control[i].model;
    rc = cn_runtime_make_room(&e->rt, model, n, j->adapted, err);
    cn_batchers_drop_unloaded(e);
    if (rc < 0)
        return rc;
    for (int i = 0; i < n && !j->pinned; i++)
        cn_runtime_pin(&e->rt, model[i]);
    if (!j->pinned)
        cn_adapted_pin(&e->rt, j->adapted);
    j->pinned = true;
    return CN_OK;
}

void cn_engine_unpin_models(struct cn_engine *e, struct cn_job *j)
{
    if (!j->pinned)
        return;
    cn_runtime_unpin(&e->rt, j->base);
    cn_runtime_unpin(&e->rt, j->vae_model);
    cn_adapted_unpin(&e->rt, j->adapted);
    for (int i = 0; i < j->n_controls; i++)
        cn_runtime_unpin(&e->rt, j->control[i].model);
    j->pinned = false;
}

/* Working memory that nothing uses at the moment, to the system. The C library keeps what was freed
 * until it is told. */
static void give_back(struct cn_engine *e)
{
    cn_backend_trim(e->rt.backend);
    malloc_trim(0);
}

/* Nobody but batchers knows them any more. */
static void free_retired(struct cn_engine *e)
{
    if (!cn_runtime_close_retired(&e->rt))
        return;
    cn_batchers_drop_unloaded(e);
    cn_runtime_free_retired(&e->rt);
}

void cn_engine_trim(struct cn_engine *e)
{
    free_retired(e);
    if (e->rt.memory > 0 && cn_engine_bytes(e) > e->rt.memory)
        cn_annotators_unload(e);
    cn_runtime_trim(&e->rt);
    cn_batchers_drop_unloaded(e);
    cn_runtime_free_overlays(&e->rt);
    cn_runtime_tell_models(&e->rt);
}

void cn_engine_drop_caches(struct cn_engine *e)
{
    cn_batchers_drop_idle(e, 0);
    cn_batchers_clear(e);
    cn_annotators_unload(e);
    cn_tiny_decoder_unload(e->tiny);
    cn_runtime_drop_caches(&e->rt);
    give_back(e);
}

/* Pictures are so much smaller than the largest one before it is worth while to start anew. */
enum { SHRINK = 4 };

void cn_engine_shrink(struct cn_engine *e)
{
    int64_t largest = 0;
    bool decoding = false;

    for (const struct cn_job *j = e->jobs; j != NULL; j = j->next) {
        largest = CN_MAX(largest, (int64_t)j->width * j->height);
        decoding = decoding || j->finishing > 0;
    }
    if (largest > 0 && largest < e->largest / SHRINK) {
        if (decoding) /* its memory is in use: tried again in the next turn */
            return;
        cn_batchers_drop_idle(e, 0);
        give_back(e);
        e->largest = 0;
    }
    e->largest = CN_MAX(e->largest, largest);
}

void cn_engine_rest(struct cn_engine *e)
{
    if (e->jobs != NULL)
        return;
    cn_batchers_drop_idle(e, 0);
    free(e->work);
    e->work = NULL;
    e->work_n = 0;
    e->largest = 0;
    cn_runtime_rest(&e->rt);
    give_back(e);
}

int cn_engine_unload(struct cn_engine *e, const char *name, struct cn_err *err)
{
    int rc = cn_runtime_unload(&e->rt, name, err);

    cn_batchers_drop_unloaded(e);
    give_back(e);
    return rc;
}

bool cn_engine_wants_bands(const struct cn_engine *e, size_t bytes)
{
    size_t most = e->opts.vae_memory;

    if (most == 0)
        most = cn_backend_caps(e->rt.backend)->host_memory ? CN_ENGINE_VAE_MEMORY : SIZE_MAX;
    return bytes > most;
}

int cn_engine_plans(const struct cn_engine *e)
{
    int count = 0;

    for (int i = 0; i < e->rt.n_models + e->rt.n_retired; i++)
        count += cn_model_plan_count(e->rt.model[i]);
    return count;
}

size_t cn_engine_bytes(const struct cn_engine *e)
{
    return e->band_bytes + cn_backend_bytes(e->rt.backend) + cn_batchers_bytes(e) +
           cn_annotators_bytes(e) + cn_tiny_decoder_bytes(e->tiny) + cn_runtime_bytes(&e->rt);
}
