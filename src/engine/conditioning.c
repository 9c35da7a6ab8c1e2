/* What is computed once for a job: projections of its texts and times, hints, the initial image. */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"
#include "base/mem.h"
#include "image/convert.h"
#include "runtime/adapted.h"
#include "runtime/token_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int new_io_buffer(struct cn_job *j, const struct cn_plan_entry *p, const struct cn_io *io,
                         struct cn_buffer **ret, struct cn_err *err)
{
    return cn_job_buffer(j, &p->g->value[io->val], io->flags, ret, err);
}

/* The plan's output as an input of the network's rows, of the same name: its buffer is filled by
 * running the plan. entries: 1 when every row has the same. */
static int add_fixed(struct cn_job *j, struct cn_net_inputs *to, const struct cn_plan_entry *p,
                     const struct cn_io *io, int entries, struct cn_buffer **ret,
                     struct cn_err *err)
{
    struct cn_shape shape = *cn_shape_of(p->g, io->val);
    struct cn_row_input *in;
    int rc = new_io_buffer(j, p, io, ret, err);

    if (rc < 0)
        return rc;
    shape.dim[0] = 1;
    in = cn_row_inputs_add(&to->rows, CN_ROW_FIXED, io->name, shape, io->flags);
    in->entries = entries;
    in->buffer = *ret;
    return CN_OK;
}

/* ---- what every step of a network needs ---- */

/* Keys and values of the texts, for each attention: [texts, s, width] native. */
static int project_context(struct cn_job *j, struct cn_net_inputs *b, struct cn_buffer *context,
                           struct cn_err *err)
{
    struct cn_row_adapter list[CN_MAX_ADAPTERS];
    struct cn_plan_entry *p;
    struct cn_buffer **kv;
    double start = cn_now_s();
    int rc = cn_job_go_on(j, "keys and values", err);

    if (rc == CN_OK)
        rc = cn_job_planned(j, cn_plan_for_context(&b->of, j->n_texts, j->tokens, &p, err),
                            b->of.net, start, err);
    if (rc < 0)
        return rc;
    kv = cn_arena_alloc(&j->arena, (size_t)p->g->n_outputs * sizeof(struct cn_buffer *) + 1);
    for (int i = 0; i < p->g->n_outputs; i++)
        if ((rc = add_fixed(j, b, p, &p->g->output[i], j->n_texts, &kv[i], err)) < 0)
            return rc;
    return cn_plan_run_adapted(p->plan, &context, kv, list,
                               cn_job_net_adapters(j, b, j->n_texts, list), err);
}

static int prepare_network(struct cn_job *j, struct cn_net_inputs *b, struct cn_buffer *context,
                           const float *timesteps, struct cn_err *err)
{
    int rc = cn_unet_reads_text(b->of.config) ? project_context(j, b, context, err) : CN_OK;

    return rc < 0 ? rc : cn_times_project(j, b, timesteps, err);
}

/* ---- pictures ---- */

/* The control map, made of the picture by the annotator's network. */
static int run_annotator(struct cn_job *j, struct cn_job_control *c, struct cn_err *err)
{
    struct cn_plan_entry *p;
    double start = cn_now_s();
    int rc = cn_job_go_on(j, "an annotator", err);

    if (rc == CN_OK)
        rc = cn_job_planned(j, cn_annotator_plan(j->e, c->annotator, j->height, j->width, &p, err),
                            &c->annotator->net, start, err);
    if (rc == CN_OK)
        rc = cn_job_floats(j, (size_t)3 * (size_t)j->width * (size_t)j->height, &c->pixels, err);
    start = cn_now_s();
    if (rc == CN_OK)
        rc = cn_plan_run_host(p, c->picture, c->pixels, err);
    cn_job_stage(j, CN_ENGINE_PREPARE, &start);
    return rc;
}

static int encode_hint(struct cn_job *j, struct cn_job_control *c, struct cn_err *err)
{
    size_t plane = (size_t)j->width * (size_t)j->height;
    struct cn_plan_entry *p;
    struct cn_buffer *in, *hint;
    double start = cn_now_s();
    float *bgr;
    int rc = cn_job_go_on(j, "a hint", err);

    if (rc == CN_OK)
        rc = cn_job_planned(
            j, cn_plan_for_hint(c->net.of.net, c->config, j->height, j->width, &p, err),
            c->net.of.net, start, err);
    if (rc < 0 || (rc = new_io_buffer(j, p, &p->g->input[0], &in, err)) < 0 ||
        (rc = add_fixed(j, &c->net, p, &p->g->output[0], 1, &hint, err)) < 0)
        return rc;
    if (c->config->bgr) { /* some nets were trained on blue first */
        if ((rc = cn_job_floats(j, 3 * plane, &bgr, err)) < 0)
            return rc;
        for (size_t k = 0; k < 3; k++)
            memcpy(bgr + k * plane, c->pixels + (2 - k) * plane, plane * sizeof(*bgr));
        cn_buffer_write(in, bgr);
    } else {
        cn_buffer_write(in, c->pixels);
    }
    return cn_plan_run(p->plan, &in, &hint, err);
}

static int make_hint(struct cn_job *j, struct cn_job_control *c, struct cn_err *err)
{
    int rc = c->picture != NULL ? run_annotator(j, c, err) : CN_OK;

    return rc < 0 ? rc : encode_hint(j, c, err);
}

static int encode_whole(struct cn_job *j, const float *pixels, float *ret, struct cn_err *err)
{
    struct cn_plan_entry *p;
    double start = cn_now_s(), at;
    int rc = cn_job_planned(j, cn_plan_for_encoder(j->vae_model, j->height, j->width, &p, err),
                            &j->vae_model->vae, start, err);

    if (rc < 0)
        return rc;
    at = cn_now_s();
    rc = cn_plan_run_host(p, pixels, ret, err);
    cn_job_stage(j, CN_ENGINE_VAE, &at);
    return rc;
}

static bool cancelled(void *ctx)
{
    return cn_job_cancelled(ctx);
}

/* In bands of rows. again: they did not fit into their type. */
static int encode_bands(struct cn_job *j, const float *pixels, enum cn_dtype store, float *ret,
                        bool *again, struct cn_err *err)
{
    struct cn_bands_opts opts = CN_BANDS_DEFAULTS;
    double start = cn_now_s();
    struct cn_bands *b;
    int rc, more = 1;

    *again = false;
    opts.store = store;
    opts.cancelled = cancelled;
    opts.ctx = j;
    if ((rc = cn_bands_for_encoder(j->vae_model, j->height, j->width, &opts, &b, err)) < 0)
        return rc;
    rc = cn_bands_write(b, pixels, err);
    while (rc == CN_OK && !*again && (more = cn_bands_next(b, err)) > 0) {
        rc = cn_bands_run(b, err);
        *again = rc == CN_OK && store != CN_F32 && cn_bands_not_finite(b);
    }
    if (more < 0)
        rc = cn_job_planned(j, more, &j->vae_model->vae, cn_now_s(), err);
    if (rc == CN_OK && !*again)
        cn_bands_read(b, ret);
    cn_bands_free(b);
    cn_job_stage(j, CN_ENGINE_VAE, &start);
    return rc;
}

/* Mean and log variance of pixels [3, H, W], from which each image draws its own latent. */
static int encode_pixels(struct cn_job *j, const float *pixels, float *ret, struct cn_err *err)
{
    bool split = cn_engine_wants_bands(j->e, cn_encoder_bytes(j->vae_model, j->height, j->width));
    int rc = cn_job_go_on(j, "the encoder", err);
    bool again;

    if (rc < 0)
        return rc;
    if (!split) {
        struct cn_err why = CN_ERR_INIT;

        rc = encode_whole(j, pixels, ret, &why);
        split = rc == CN_ENOMEM || rc == CN_EDEVMEM;
        if (!split && rc < 0 && err != NULL)
            *err = why;
    }
    if (!split)
        return rc;
    rc = encode_bands(j, pixels, CN_F16, ret, &again, err);
    return rc == CN_OK && again ? encode_bands(j, pixels, CN_F32, ret, &again, err) : rc;
}

static int encode_image(struct cn_job *j, const float *pixels, float **ret, struct cn_err *err)
{
    int rc = cn_job_floats(j, 2 * j->latent, ret, err);

    return rc < 0 ? rc : encode_pixels(j, pixels, *ret, err);
}

int cn_job_encode_drawn(struct cn_job *j, int image, struct cn_err *err)
{
    size_t n = (size_t)3 * (size_t)j->width * (size_t)j->height;
    float *pixels = cn_try_alloc(n * sizeof(*pixels));
    int rc;

    if (pixels == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for %zu bytes of a picture", n * sizeof(*pixels));
    cn_image_to_planar(&j->drawn_picture[image], pixels, 2.0f / 255, -1);
    rc = encode_pixels(j, pixels, j->drawn_moments, err);
    free(pixels);
    return rc;
}

static int encode_images(struct cn_job *j, struct cn_err *err)
{
    bool nine = cn_unet_extra(j->unet, j->channels) == CN_UNET_SEES_MASK;
    bool from_noise = cn_job_paints_from_noise(j);
    int rc = CN_OK;

    if (j->init_pixels != NULL && !(nine && from_noise))
        rc = encode_image(j, j->init_pixels, &j->init_moments, err);
    if (rc == CN_OK && j->mask != NULL)
        rc = encode_image(j, j->masked_pixels, &j->masked_moments, err);
    return rc;
}

/* ---- all of it ---- */

static int open_models(struct cn_job *j, struct cn_err *err)
{
    double start = cn_now_s();
    int rc = cn_model_open(j->base, j->e->rt.backend, err);

    if (rc < 0)
        return rc;
    cn_plans_fix_layouts(j->base, j->positions);
    if ((rc = cn_model_open_vae(j->vae_model, j->e->rt.backend, err)) < 0)
        return rc;
    cn_plans_fix_vae_layouts(j->vae_model);
    if (j->adapted != NULL && (rc = cn_adapted_open(j->adapted, err)) < 0)
        return rc;
    for (int i = 0; i < j->n_controls; i++) {
        struct cn_job_control *c = &j->control[i];

        if ((rc = cn_model_control(c->model, j->e->rt.backend, j->base, &c->net.of.net, err)) < 0)
            return rc;
        cn_plans_fix_control_layouts(c->net.of.net, c->config, j->base, j->positions);
    }
    cn_job_stage(j, CN_ENGINE_LOAD, &start);
    return CN_OK;
}

static int prepare_text(struct cn_job *j, struct cn_err *err)
{
    struct cn_buffer *context;
    float *timesteps;
    int rc;

    if ((rc = cn_times_find(j, &timesteps, err)) < 0 ||
        (rc = cn_contexts_encode(j, &context, err)) < 0)
        return rc;
    cn_prompts_warn_unseen(j);
    cn_job_warn_of_adapters(j);
    rc = prepare_network(j, &j->main, context, timesteps, err);
    for (int i = 0; i < j->n_controls && rc == CN_OK; i++)
        rc = prepare_network(j, &j->control[i].net, context, timesteps, err);
    return rc;
}

/* The map of a network's annotator as a picture. */
static int keep_map(struct cn_job *j, struct cn_job_control *c, struct cn_err *err)
{
    size_t n = (size_t)3 * (size_t)j->width * (size_t)j->height;
    float *map;
    int rc = cn_job_floats(j, n, &map, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++)
        map[i] = c->pixels[i] * 2 - 1;
    return cn_image_from_planar(map, j->width, j->height, &c->map, NULL, err);
}

int cn_job_annotate(struct cn_job *j, struct cn_err *err)
{
    int rc = CN_OK;

    for (int i = 0; i < j->n_controls && rc == CN_OK; i++) {
        struct cn_job_control *c = &j->control[i];

        if (!cn_job_keeps_map(j, i) || c->map.px != NULL)
            continue;
        rc = c->picture != NULL ? run_annotator(j, c, err) : CN_OK;
        if (rc == CN_OK)
            rc = keep_map(j, c, err);
    }
    return rc;
}

/* Frees what a failed try has allocated. */
static void roll_back(struct cn_job *j, size_t buffers, size_t floats)
{
    cn_row_inputs_clear(&j->main.rows);
    for (int i = 0; i < j->n_controls; i++)
        cn_row_inputs_clear(&j->control[i].net.rows);
    while (j->n_buffers > buffers)
        cn_buffer_free(j->buffers[--j->n_buffers]);
    while (j->n_floats > floats)
        free(j->floats[--j->n_floats]);
}

int cn_job_prepare(struct cn_job *j, struct cn_err *err)
{
    size_t buffers = j->n_buffers, floats = j->n_floats;
    double start, load;
    int rc = open_models(j, err);

    start = cn_now_s();
    load = j->ms[CN_ENGINE_LOAD];
    if (rc == CN_OK) {
        rc = prepare_text(j, err);
        j->warned = true;
    }
    start += (j->ms[CN_ENGINE_LOAD] - load) * 1e-3;
    cn_job_stage(j, CN_ENGINE_TEXT, &start);
    load = j->ms[CN_ENGINE_LOAD] + j->ms[CN_ENGINE_PREPARE];
    for (int i = 0; i < j->n_controls && rc == CN_OK; i++)
        if ((rc = make_hint(j, &j->control[i], err)) == CN_OK && cn_job_keeps_map(j, i) &&
            j->control[i].map.px == NULL)
            rc = keep_map(j, &j->control[i], err);
    start += (j->ms[CN_ENGINE_LOAD] + j->ms[CN_ENGINE_PREPARE] - load) * 1e-3;
    cn_job_stage(j, CN_ENGINE_HINT, &start);
    if (rc == CN_OK)
        rc = encode_images(j, err);
    if (rc < 0)
        roll_back(j, buffers, floats);
    return rc;
}
