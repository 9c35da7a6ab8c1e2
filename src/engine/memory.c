/* Memory of the device, as jobs see it: their models, and what can be given up when it is short. */
#include "base/base.h"
#include "engine/job_priv.h"

int cn_engine_pin_models(struct cn_engine *e, struct cn_job *j, struct cn_err *err)
{
    struct cn_model *model[1 + CN_MAX_CONTROLS];
    int n = 0, rc;

    model[n++] = j->base;
    for (int i = 0; i < j->n_controls; i++)
        model[n++] = j->control[i].model;
    rc = cn_runtime_make_room(&e->rt, model, n, err);
    cn_batchers_drop_unloaded(e);
    if (rc < 0)
        return rc;
    for (int i = 0; i < n && !j->pinned; i++)
        cn_runtime_pin(&e->rt, model[i]);
    j->pinned = true;
    return CN_OK;
}

void cn_engine_unpin_models(struct cn_engine *e, struct cn_job *j)
{
    if (!j->pinned)
        return;
    cn_runtime_unpin(&e->rt, j->base);
    for (int i = 0; i < j->n_controls; i++)
        cn_runtime_unpin(&e->rt, j->control[i].model);
    j->pinned = false;
}

void cn_engine_trim(struct cn_engine *e)
{
    cn_runtime_trim(&e->rt);
    cn_batchers_drop_unloaded(e);
    cn_runtime_tell_models(&e->rt);
}

void cn_engine_drop_caches(struct cn_engine *e)
{
    cn_batchers_drop_idle(e, 0);
    cn_batchers_clear(e);
    cn_runtime_drop_caches(&e->rt);
}

int cn_engine_unload(struct cn_engine *e, const char *name, struct cn_err *err)
{
    int rc = cn_runtime_unload(&e->rt, name, err);

    cn_batchers_drop_unloaded(e);
    return rc;
}

size_t cn_engine_bytes(const struct cn_engine *e)
{
    return cn_backend_bytes(e->rt.backend) + cn_batchers_bytes(e) + cn_runtime_bytes(&e->rt);
}
