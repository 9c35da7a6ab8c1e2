/* Opening and closing the engine, sums. */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

static const char *const stage_names[CN_ENGINE_STAGE_COUNT] = {
    "load", "decode", "prepare", "text", "hint", "controlnet", "unet", "vae"};

const char *cn_engine_stage_name(enum cn_engine_stage stage)
{
    return stage_names[stage];
}

static bool is_gpu(const struct cn_engine *e)
{
    return strcmp(cn_backend_name(e->backend), "cuda") == 0;
}

/* On processors, of a step's images together: small ones leave cores waiting for each other, which
 * a larger batch cures; large ones do not, and would only make everybody's steps longer. Measured
 * on two cores: docs/SPEED.md. */
enum { BEST_PIXELS = 8 * 128 * 128 };

static int round_batch(int n)
{
    int batch = 1;

    while (2 * batch <= CN_MIN(n, CN_ENGINE_MAX_BATCH))
        batch *= 2;
    return batch;
}

int cn_engine_new(const struct cn_engine_opts *opts, struct cn_engine **ret, struct cn_err *err)
{
    struct cn_backend_opts b = CN_BACKEND_DEFAULTS;
    struct cn_engine *e = cn_xcalloc(1, sizeof(*e));
    int rc;

    b.threads = opts->threads;
    b.winograd_ratio = opts->winograd_ratio;
    b.profile = opts->profile;
    b.dtype = opts->dtype;
    b.device = opts->device;
    b.first_choice = opts->first_choice;
    e->opts = *opts;
    e->opts.lanes = CN_MIN(CN_MAX(opts->lanes, 1), CN_ENGINE_MAX_LANES);
    rc = cn_backend_open(opts->backend, &b, &e->backend, err);
    if (rc < 0) {
        free(e);
        return rc;
    }
    e->opts.mix_controls = opts->mix_controls || is_gpu(e);
    cn_engine_set_max_batch(e, opts->max_batch);
    *ret = e;
    return CN_OK;
}

void cn_engine_free(struct cn_engine *e)
{
    if (e == NULL)
        return;
    cn_engine_drop_jobs(e);
    cn_batchers_drop(e, 0, NULL);
    for (int i = 0; i < e->n_models; i++)
        cn_model_free(e->model[i]);
    free(e->model);
    free(e->work);
    cn_backend_close(e->backend);
    free(e);
}

void cn_engine_set_max_batch(struct cn_engine *e, int n)
{
    e->opts.max_batch = round_batch(n > 0 ? n : CN_ENGINE_MAX_BATCH);
    e->best_batch = n <= 0 && !is_gpu(e);
}

int cn_engine_batch(const struct cn_engine *e, int width, int height)
{
    if (!e->best_batch)
        return e->opts.max_batch;
    return round_batch((int)CN_MAX(BEST_PIXELS / ((int64_t)width * height), 1));
}

const struct cn_engine_opts *cn_engine_options(const struct cn_engine *e)
{
    return &e->opts;
}

const char *cn_engine_backend(const struct cn_engine *e)
{
    return cn_backend_name(e->backend);
}

const char *cn_engine_device(const struct cn_engine *e)
{
    return cn_backend_about(e->backend);
}

size_t cn_engine_bytes(const struct cn_engine *e)
{
    size_t sum = cn_backend_bytes(e->backend) + cn_batchers_bytes(e);

    for (int i = 0; i < e->n_models; i++)
        sum += cn_model_bytes(e->model[i]);
    return sum;
}

static void profile_network(struct cn_buf *b, const char *model, const struct cn_network *n)
{
    for (int i = 0; i < CN_MAX_PLANS; i++) {
        const struct cn_plan_slot *s = &n->slot[i];
        char *text = s->compiled.plan ? cn_plan_profile(s->compiled.plan) : NULL;

        if (text != NULL && text[0] != '\0')
            cn_buf_printf(b, NULL, "%s: %s, %s\n%s", model, s->compiled.g->name, s->key, text);
        free(text);
    }
}

char *cn_engine_profile(const struct cn_engine *e)
{
    struct cn_buf b;
    size_t len;

    cn_buf_init(&b, 4u << 20);
    for (int i = 0; i < e->n_models; i++) {
        const struct cn_model *m = e->model[i];

        profile_network(&b, m->name, &m->text);
        profile_network(&b, m->name, &m->unet);
        profile_network(&b, m->name, &m->vae);
        for (int k = 0; k < m->n_nets; k++)
            profile_network(&b, m->name, &m->nets[k].net);
    }
    return (char *)cn_buf_steal(&b, &len);
}
