/* The engine from outside: opening and closing it, its models, its profile. */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/buf.h"
#include "runtime/overlay.h"

#include <stdlib.h>
#include <string.h>

static const char *const stage_names[CN_ENGINE_STAGE_COUNT] = {
    "load", "decode", "prepare", "text", "hint", "controlnet", "unet", "vae"};

const char *cn_engine_stage_name(enum cn_engine_stage stage)
{
    return stage_names[stage];
}

/* The annotators that need no network. */
static void add_functions(struct cn_engine *e)
{
    for (int i = 0; i < cn_n_annotators; i++) {
        const struct cn_annotator *a = &cn_annotators[i];
        int rc = cn_engine_add_annotator(
            e, &(struct cn_engine_annotator){.name = a->name, .help = a->help, .function = a},
            NULL);

        CN_ASSERT(rc == CN_OK);
    }
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
    rc = cn_backend_open(opts->backend, &b, &e->rt.backend, err);
    if (rc == CN_OK && opts->taesd != NULL) {
        rc = cn_tiny_decoder_open(opts->taesd, &e->tiny, err);
        if (rc < 0)
            cn_backend_close(e->rt.backend);
    }
    if (rc < 0) {
        free(e);
        return rc;
    }
    e->rt.memory = opts->memory;
    e->rt.ema = opts->ema;
    e->rt.model_hook = opts->hooks.model;
    e->rt.change_hook = opts->hooks.change;
    e->rt.hook_ctx = opts->hooks.ctx;
    cn_engine_set_max_batch(e, opts->max_batch);
    add_functions(e);
    *ret = e;
    return CN_OK;
}

void cn_engine_free(struct cn_engine *e)
{
    if (e == NULL)
        return;
    cn_engine_drop_jobs(e);
    cn_batchers_drop_idle(e, 0);
    cn_annotators_free(e);
    cn_tiny_decoder_free(e->tiny);
    cn_runtime_release(&e->rt);
    free(e->work);
    cn_backend_close(e->rt.backend);
    free(e);
}

const struct cn_engine_opts *cn_engine_options(const struct cn_engine *e)
{
    return &e->opts;
}

const char *cn_engine_backend(const struct cn_engine *e)
{
    return cn_backend_name(e->rt.backend);
}

const char *cn_engine_device(const struct cn_engine *e)
{
    return cn_backend_about(e->rt.backend);
}

/* ---- models ---- */

int cn_engine_scan(struct cn_engine *e, const char *dir, struct cn_err *err)
{
    return cn_runtime_scan(&e->rt, dir, err);
}

int cn_engine_add(struct cn_engine *e, const char *path, struct cn_err *err)
{
    return cn_runtime_add(&e->rt, path, err);
}

int cn_engine_scan_embeddings(struct cn_engine *e, const char *dir, struct cn_err *err)
{
    return cn_embeddings_scan(&e->rt.embeddings, dir, err);
}

int cn_engine_embeddings(const struct cn_engine *e)
{
    return e->rt.embeddings.now != NULL ? e->rt.embeddings.now->n : 0;
}

const struct cn_embedding *cn_engine_embedding_at(const struct cn_engine *e, int i)
{
    return e->rt.embeddings.now->item[i].of;
}

int cn_engine_scan_adapters(struct cn_engine *e, const char *dir, struct cn_err *err)
{
    return cn_adapters_scan(&e->rt.adapters, dir, err);
}

int cn_engine_add_adapter(struct cn_engine *e, const char *path, const char **ret,
                          struct cn_err *err)
{
    return cn_adapters_add(&e->rt.adapters, path, ret, err);
}

int cn_engine_adapters(const struct cn_engine *e)
{
    return e->rt.adapters.n;
}

const struct cn_adapter_entry *cn_engine_adapter_at(const struct cn_engine *e, int i)
{
    return &e->rt.adapters.item[i];
}

struct cn_model_changes cn_engine_refresh(struct cn_engine *e)
{
    struct cn_model_changes n = cn_runtime_refresh(&e->rt);

    cn_engine_trim(e);
    return n;
}

int cn_engine_passed_count(const struct cn_engine *e)
{
    return (int)e->rt.n_passed;
}

const struct cn_passed *cn_engine_passed_at(const struct cn_engine *e, int i)
{
    return &e->rt.passed[i];
}

int cn_engine_count(const struct cn_engine *e)
{
    return e->rt.n_models;
}

void cn_engine_at(const struct cn_engine *e, int i, struct cn_model_facts *ret)
{
    const struct cn_model *m = e->rt.model[i];

    cn_model_describe(m, ret);
    ret->tiny_decoder = m->role == CN_ROLE_BASE && m->broken == NULL &&
                        cn_tiny_decoder_fits(e->tiny, cn_checkpoint_vae(m->checkpoint));
}

int cn_engine_set_default(struct cn_engine *e, const char *name, struct cn_err *err)
{
    return cn_runtime_set_default(&e->rt, name, err);
}

const char *cn_engine_default(const struct cn_engine *e)
{
    return cn_runtime_default(&e->rt);
}

/* ---- profile ---- */

static void profile_network(struct cn_buf *b, const char *model, const struct cn_network *n)
{
    for (int i = 0; i < CN_MAX_PLANS; i++) {
        const struct cn_plan_slot *s = &n->slot[i];
        char *text = s->entry.plan ? cn_plan_profile(s->entry.plan) : NULL;

        if (text != NULL && text[0] != '\0')
            cn_buf_printf(b, NULL, "%s: %s, %s\n%s", model, s->entry.g->name, s->key, text);
        free(text);
    }
}

char *cn_engine_profile(const struct cn_engine *e)
{
    struct cn_buf b;
    size_t len;

    cn_buf_init(&b, 4u << 20);
    for (int i = 0; i < e->rt.n_models; i++) {
        const struct cn_network *n;

        for (size_t k = 0; (n = cn_model_network(e->rt.model[i], k)) != NULL; k++)
            profile_network(&b, e->rt.model[i]->name, n);
    }
    for (size_t i = 0; i < e->rt.n_overlays; i++)
        for (int k = 0; k < CN_COMP_COUNT; k++)
            profile_network(&b, e->rt.overlay[i]->base->name, &e->rt.overlay[i]->net[k]);
    return (char *)cn_buf_steal(&b, &len);
}
