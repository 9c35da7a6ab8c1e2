/* Opening and closing the engine, loading ahead, sums. */
#include "base/base.h"
#include "engine/engine_priv.h"
#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

static const char *const stage_names[CN_ENGINE_STAGE_COUNT] = {
    "load", "decode", "prepare", "text", "hint", "controlnet", "unet", "vae"};

const char *cn_engine_stage_name(enum cn_engine_stage stage)
{
    return stage_names[stage];
}

int cn_engine_new(const struct cn_engine_opts *opts, struct cn_engine **ret, struct cn_err *err)
{
    struct cn_backend_opts b = CN_BACKEND_DEFAULTS;
    struct cn_engine *e = cn_xcalloc(1, sizeof(*e));
    int rc;

    b.threads = opts->threads;
    b.winograd_ratio = opts->winograd_ratio;
    b.profile = opts->profile;
    e->opts = *opts;
    rc = cn_backend_open(opts->backend, &b, &e->backend, err);
    if (rc < 0) {
        free(e);
        return rc;
    }
    *ret = e;
    return CN_OK;
}

void cn_engine_free(struct cn_engine *e)
{
    if (e == NULL)
        return;
    for (int i = 0; i < e->n_models; i++)
        cn_model_free(e->model[i]);
    free(e->model);
    cn_backend_close(e->backend);
    free(e);
}

const char *cn_engine_backend(const struct cn_engine *e)
{
    return cn_backend_name(e->backend);
}

static int ignore_image(void *ctx, const struct cn_engine_image *m, struct cn_err *err)
{
    (void)ctx;
    (void)m;
    (void)err;
    return CN_OK;
}

/* Loading is drawing one step: afterwards everything that a job of the model's own size needs is
 * packed and compiled, for guidance on. */
static int load_base(struct cn_engine *e, const char *name, struct cn_err *err)
{
    struct cn_engine_cb cb = {.image = ignore_image};
    struct cn_spec s;
    int rc;

    cn_spec_init(&s);
    free(s.model);
    s.model = cn_xstrdup(name);
    s.steps = 1;
    s.sampler = CN_EULER;
    s.has_seed = true;
    rc = cn_engine_run(e, &s, &cb, err);
    cn_spec_release(&s);
    return rc;
}

int cn_engine_load(struct cn_engine *e, const char *name, struct cn_err *err)
{
    struct cn_model *m = cn_engine_find(e, name);

    if (m == NULL)
        return cn_fail(err, CN_ENOTFOUND, "there is no model \"%s\"", name);
    if (m->broken != NULL)
        return cn_fail(err, CN_EFORMAT, "model \"%s\" cannot be used: %s", name, m->broken);
    if (m->control)
        return CN_OK; /* which plans it needs depends on the base it is used with */
    /* An inpainting model cannot draw from nothing; its weights load with its first job. */
    if (cn_checkpoint_unet(m->checkpoint) != NULL &&
        cn_checkpoint_unet(m->checkpoint)->in_channels !=
            cn_checkpoint_unet(m->checkpoint)->out_channels)
        return cn_model_open(e, m, err);
    return load_base(e, name, err);
}

static size_t network_bytes(const struct cn_network *n)
{
    return n->weights ? cn_weights_bytes(n->weights) : 0;
}

size_t cn_engine_bytes(const struct cn_engine *e)
{
    size_t sum = cn_backend_bytes(e->backend);

    for (int i = 0; i < e->n_models; i++) {
        const struct cn_model *m = e->model[i];

        sum += network_bytes(&m->text) + network_bytes(&m->unet) + network_bytes(&m->vae);
        for (int k = 0; k < m->n_nets; k++)
            sum += network_bytes(&m->nets[k].net);
    }
    return sum;
}

static void profile_network(struct cn_buf *b, const char *model, const struct cn_network *n)
{
    for (int i = 0; i < n->plans.n; i++) {
        char *text = cn_plan_profile(n->plans.slot[i].compiled.plan);

        if (text[0] != '\0')
            cn_buf_printf(b, NULL, "%s: %s, %s\n%s", model, n->plans.slot[i].compiled.g->name,
                          n->plans.slot[i].key, text);
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
