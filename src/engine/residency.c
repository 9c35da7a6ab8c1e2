/* Which models are resident: loading ahead, giving up, and the memory budget.
 *
 * DESIGN. A model is loaded by the first job that needs it and stays until room is needed or
 * somebody asks for its end. Jobs pin their models from their preparation on; only what nobody pins
 * can go, the least recently used first. What a model will need is what it needed the last time, or
 * else its parameters in the backend's precision; when a new one turns out to be larger, others go
 * afterwards. Plans and working memory are not counted: they belong to the jobs at hand.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/buf.h"
#include "base/mem.h"
#include "image/codec.h"
#include "model/vae.h"

#include <stdlib.h>
#include <string.h>

bool cn_model_loaded(const struct cn_model *m)
{
    for (int i = 0; i < m->n_nets; i++)
        if (m->nets[i].net.weights != NULL)
            return true;
    return m->unet.weights != NULL;
}

size_t cn_model_bytes(const struct cn_model *m)
{
    size_t sum =
        cn_network_bytes(&m->text) + cn_network_bytes(&m->unet) + cn_network_bytes(&m->vae);

    for (int i = 0; i < m->n_nets; i++)
        sum += cn_network_bytes(&m->nets[i].net);
    return sum;
}

static size_t resident_bytes(const struct cn_engine *e)
{
    size_t sum = 0;

    for (int i = 0; i < e->n_models; i++)
        sum += cn_model_bytes(e->model[i]);
    return sum;
}

/* ---- unloading ---- */

void cn_engine_tell_models(struct cn_engine *e)
{
    const struct cn_engine_hooks *h = &e->opts.hooks;

    for (int i = 0; i < e->n_models; i++) {
        struct cn_model *m = e->model[i];
        size_t bytes = cn_model_bytes(m);

        if (bytes == m->reported_bytes)
            continue;
        m->reported_bytes = bytes;
        if (h->model != NULL)
            h->model(h->ctx, m->name, bytes > 0, bytes);
    }
}

/* Networks of difference ControlNets that were made with this base read its file, so they go too;
 * a job that used them would have pinned the base. The array keeps its order: others hold pointers
 * into it. */
static void close_differences(struct cn_engine *e, const struct cn_model *base)
{
    for (int i = 0; i < e->n_models; i++) {
        struct cn_model *m = e->model[i];

        for (int k = 0; k < m->n_nets; k++)
            if (m->nets[k].base == base) {
                cn_batchers_drop(e, 0, m);
                cn_network_close(&m->nets[k].net);
            }
    }
}

static void unload(struct cn_engine *e, struct cn_model *m)
{
    CN_ASSERT(m->users == 0);
    m->peak_bytes = CN_MAX(cn_model_bytes(m), m->peak_bytes);
    cn_batchers_drop(e, CN_ENGINE_MAX_LANES, m);
    close_differences(e, m);
    cn_model_close(m);
}

/* The least recently used model that nobody pins and that j does not need; NULL: there is none. */
static struct cn_model *find_victim(const struct cn_engine *e, const struct cn_job *j)
{
    struct cn_model *oldest = NULL;

    for (int i = 0; i < e->n_models; i++) {
        struct cn_model *m = e->model[i];
        bool needed = j != NULL && m == j->base;

        for (int k = 0; j != NULL && k < j->n_controls; k++)
            needed = needed || m == j->control[k].model;
        if (!needed && m->users == 0 && cn_model_bytes(m) > 0 &&
            (oldest == NULL || m->used < oldest->used))
            oldest = m;
    }
    return oldest;
}

int cn_engine_unload(struct cn_engine *e, const char *name, struct cn_err *err)
{
    struct cn_model *m = cn_engine_find(e, name);

    if (m == NULL)
        return cn_fail(err, CN_ENOTFOUND, "there is no model \"%s\"", name);
    if (m->users > 0)
        return cn_fail(err, CN_EBUSY, "model \"%s\" is in use by %d jobs", name, m->users);
    unload(e, m);
    cn_engine_tell_models(e);
    return CN_OK;
}

void cn_engine_drop_caches(struct cn_engine *e)
{
    struct cn_model *m;

    cn_batchers_drop(e, 0, NULL);
    cn_batchers_clear(e);
    while ((m = find_victim(e, NULL)) != NULL)
        unload(e, m);
    for (int i = 0; i < e->n_models; i++) {
        m = e->model[i];
        cn_network_evict_plans(&m->text);
        cn_network_evict_plans(&m->unet);
        cn_network_evict_plans(&m->vae);
        for (int k = 0; k < m->n_nets; k++)
            cn_network_evict_plans(&m->nets[k].net);
    }
    cn_engine_tell_models(e);
}

/* ---- the budget ---- */

static size_t bytes_to_come(const struct cn_engine *e, const struct cn_model *m)
{
    size_t parameter = strcmp(cn_backend_name(e->backend), "cuda") == 0 ? 2 : sizeof(float);
    struct cn_engine_model facts;
    size_t have = cn_model_bytes(m), want = m->peak_bytes;

    if (want == 0) {
        for (int i = 0; i < e->n_models; i++)
            if (e->model[i] == m) {
                cn_engine_at(e, i, &facts);
                want = (size_t)facts.parameters * parameter;
            }
    }
    return want > have ? want - have : 0;
}

static size_t job_bytes(const struct cn_engine *e, const struct cn_job *j, size_t *ret_all)
{
    size_t more = bytes_to_come(e, j->base);

    *ret_all = more + cn_model_bytes(j->base);
    for (int i = 0; i < j->n_controls; i++) {
        bool again = false; /* one ControlNet may be used twice */

        for (int k = 0; k < i; k++)
            again = again || j->control[k].model == j->control[i].model;
        if (again)
            continue;
        more += bytes_to_come(e, j->control[i].model);
        *ret_all += bytes_to_come(e, j->control[i].model) + cn_model_bytes(j->control[i].model);
    }
    return more;
}

int cn_engine_make_room(struct cn_engine *e, const struct cn_job *j, struct cn_err *err)
{
    size_t budget = e->opts.memory, all, more = job_bytes(e, j, &all);

    if (budget == 0)
        return CN_OK;
    if (all > budget)
        return cn_fail_at(err, CN_EDEVMEM, "/model",
                          "the models of this job need about %zu MB of memory, and %zu MB are "
                          "allowed",
                          all >> 20, budget >> 20);
    while (resident_bytes(e) + more > budget) {
        struct cn_model *m = find_victim(e, j);

        if (m == NULL)
            return cn_fail(err, CN_EBUSY, "other jobs use the memory");
        unload(e, m);
    }
    cn_engine_tell_models(e);
    return CN_OK;
}

void cn_engine_trim(struct cn_engine *e)
{
    struct cn_model *m;

    while (e->opts.memory > 0 && resident_bytes(e) > e->opts.memory &&
           (m = find_victim(e, NULL)) != NULL)
        unload(e, m);
}

static void count_users(struct cn_engine *e, struct cn_job *j, int by)
{
    j->base->users += by;
    j->base->used = ++e->clock;
    for (int i = 0; i < j->n_controls; i++) {
        j->control[i].model->users += by;
        j->control[i].model->used = e->clock;
    }
}

void cn_engine_pin(struct cn_engine *e, struct cn_job *j)
{
    if (!j->pinned)
        count_users(e, j, 1);
    j->pinned = true;
}

void cn_engine_unpin(struct cn_engine *e, struct cn_job *j)
{
    if (j->pinned)
        count_users(e, j, -1);
    j->pinned = false;
}

/* ---- loading ahead ---- */

static int ignore_image(void *ctx, const struct cn_engine_image *m, struct cn_err *err)
{
    (void)ctx;
    (void)m;
    (void)err;
    return CN_OK;
}

/* A black hint. */
static int add_control(struct cn_spec *s, const struct cn_model *m, int side, struct cn_err *err)
{
    struct cn_spec_control *c = cn_spec_add_control(s);
    struct cn_image img = CN_IMAGE_NONE;
    struct cn_buf file;
    int rc = cn_image_init(&img, side, side, 3, err);

    if (rc < 0)
        return rc;
    memset(img.px, 0, cn_image_bytes(&img));
    cn_buf_init(&file, 1u << 20);
    rc = cn_png_encode(&img, NULL, 0, CN_PNG_LEVEL, &file, err);
    cn_image_release(&img);
    free(c->model);
    c->model = cn_xstrdup(m->name);
    if (rc == CN_OK)
        c->image.data = cn_buf_steal(&file, &c->image.len);
    cn_buf_release(&file);
    return rc;
}

/* Loading is drawing one step: afterwards everything that a job of the model's own size needs is
 * packed and compiled, for guidance on. */
static int draw_step(struct cn_engine *e, const struct cn_model *base,
                     const struct cn_model *control, struct cn_err *err)
{
    struct cn_engine_cb cb = {.image = ignore_image};
    struct cn_spec s;
    int rc = CN_OK;

    cn_spec_init(&s);
    free(s.model);
    s.model = cn_xstrdup(base->name);
    s.steps = 1;
    s.sampler = CN_EULER;
    s.has_seed = true;
    if (cn_checkpoint_unet(base->checkpoint)->sample_size == 0)
        s.width = s.height = 64 * cn_vae_factor(cn_checkpoint_vae(base->checkpoint));
    if (control != NULL)
        rc = add_control(&s, control, 64, err);
    if (rc == CN_OK)
        rc = cn_engine_run(e, &s, &cb, err);
    cn_spec_release(&s);
    return rc;
}

/* An inpainting model cannot draw from nothing. */
static bool draws_from_nothing(const struct cn_model *m)
{
    const struct cn_unet_config *c = cn_checkpoint_unet(m->checkpoint);

    return c->in_channels == c->out_channels;
}

/* The base model to load a ControlNet with: one of its family, best one that is resident. */
static const struct cn_model *base_for(const struct cn_engine *e, const struct cn_model *control)
{
    const struct cn_control_config *c = cn_checkpoint_control(control->checkpoint);
    const struct cn_model *best = NULL;

    for (int i = 0; i < e->n_models; i++) {
        const struct cn_model *m = e->model[i];

        if (m->broken != NULL || m->control || !draws_from_nothing(m) ||
            cn_control_matches(c, cn_checkpoint_unet(m->checkpoint), NULL) < 0)
            continue;
        if (best == NULL || (cn_model_loaded(m) && !cn_model_loaded(best)))
            best = m;
    }
    return best;
}

int cn_engine_load(struct cn_engine *e, const char *name, struct cn_err *err)
{
    const struct cn_model *m = cn_engine_find(e, name), *base;

    if (m == NULL)
        return cn_fail(err, CN_ENOTFOUND, "there is no model \"%s\"", name);
    if (m->broken != NULL)
        return cn_fail(err, CN_EFORMAT, "model \"%s\" cannot be used: %s", name, m->broken);
    if (m->control) {
        base = base_for(e, m);
        if (base == NULL)
            return cn_fail(err, CN_ENOTFOUND, "there is no base model for ControlNet \"%s\"", name);
        return draw_step(e, base, m, err);
    }
    if (!draws_from_nothing(m)) /* its weights load with its first job */
        return cn_model_open(e, cn_engine_find(e, name), err);
    return draw_step(e, m, NULL, err);
}
