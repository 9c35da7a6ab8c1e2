/* Loading a model ahead: one step is drawn with it. */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/buf.h"
#include "base/mem.h"
#include "image/codec.h"
#include "model/vae.h"

#include <stdlib.h>
#include <string.h>

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
    struct cn_engine_cb cb = {.ctx = NULL};
    struct cn_spec s;
    int rc = CN_OK;

    cn_spec_init(&s);
    free(s.model);
    s.model = cn_xstrdup(base->name);
    s.steps = 1;
    s.sampler = CN_EULER;
    s.has_seed = true;
    if (cn_checkpoint_unet(base->checkpoint)->sample_width == 0)
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

    for (int i = 0; i < e->rt.n_models; i++) {
        const struct cn_model *m = e->rt.model[i];

        if (m->broken != NULL || m->role != CN_ROLE_BASE || !draws_from_nothing(m) ||
            cn_control_matches(c, cn_checkpoint_unet(m->checkpoint), NULL) < 0)
            continue;
        if (best == NULL || (cn_model_loaded(m) && !cn_model_loaded(best)))
            best = m;
    }
    return best;
}

int cn_engine_load(struct cn_engine *e, const char *name, struct cn_err *err)
{
    struct cn_model *m = cn_runtime_find(&e->rt, name);
    const struct cn_model *base;

    if (m == NULL)
        return cn_fail(err, CN_ENOTFOUND, "there is no model \"%s\"", name);
    if (m->broken != NULL)
        return cn_fail(err, CN_EFORMAT, "model \"%s\" cannot be used: %s", name, m->broken);
    if (m->role == CN_ROLE_VAE) /* its weights load with its first picture */
        return cn_model_open_vae(m, e->rt.backend, err);
    if (m->role == CN_ROLE_CONTROL) {
        base = base_for(e, m);
        if (base == NULL)
            return cn_fail(err, CN_ENOTFOUND, "there is no base model for ControlNet \"%s\"", name);
        return draw_step(e, base, m, err);
    }
    if (!draws_from_nothing(m)) /* its weights load with its first job */
        return cn_model_open(m, e->rt.backend, err);
    return draw_step(e, m, NULL, err);
}
