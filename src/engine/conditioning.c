/* What is computed once for a job: text, its projections, times, hints, the initial image. */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Stands before every network call: whoever cancels does not wait for the rest. */
static int go_on(const struct cn_job *j, const char *what, struct cn_err *err)
{
    return cn_job_cancelled(j) ? cn_fail(err, CN_ECANCELED, "cancelled before %s", what) : CN_OK;
}

/* Stands after asking for a plan: what it cost to compile counts as loading. */
static int planned(struct cn_job *j, int rc, const struct cn_network *net, double start,
                   struct cn_err *err)
{
    cn_job_stage(j, CN_ENGINE_LOAD, &start);
    return rc == CN_ENOTFOUND || rc == CN_EFORMAT ? cn_job_blame_model(j, net, err) : rc;
}

static int new_io_buffer(struct cn_job *j, const struct cn_plan_entry *p, const struct cn_io *io,
                         struct cn_buffer **ret, struct cn_err *err)
{
    return cn_job_buffer(j, &p->g->value[io->val], io->flags, ret, err);
}

/* The plan's output as an input of the network's rows, of the same name: its buffer is filled by
 * running the plan. rows: 1 when every row has the same. */
static int add_fixed(struct cn_job *j, struct cn_net_inputs *to, const struct cn_plan_entry *p,
                     const struct cn_io *io, int rows, struct cn_buffer **ret, struct cn_err *err)
{
    struct cn_shape shape = *cn_shape_of(p->g, io->val);
    struct cn_row_input *in;
    int rc = new_io_buffer(j, p, io, ret, err);

    if (rc < 0)
        return rc;
    shape.dim[0] = 1;
    in = cn_row_inputs_add(&to->rows, CN_ROW_FIXED, io->name, shape, io->flags);
    in->rows = rows;
    in->buffer = *ret;
    return CN_OK;
}

/* ---- text ---- */

/* Ids and weights of all rows for all text encoders: [texts][rows]. */
struct tokens {
    struct cn_prompt_chunks of[CN_MAX_TEXTS][CN_MAX_IMAGE_ROWS];
};

static void release_tokens(struct cn_job *j, struct tokens *t)
{
    for (int i = 0; i < j->base->n_texts; i++)
        for (int r = 0; r < j->rows; r++)
            cn_prompt_chunks_release(&t->of[i][r]);
}

/* All have the same number of chunks in the end: shorter ones get empty ones. */
static int tokenize(struct cn_job *j, struct tokens *t, struct cn_err *err)
{
    int rc = CN_OK;

    *t = (struct tokens){0};
    j->chunks = 1;
    for (int i = 0; i < j->base->n_texts; i++)
        for (int r = 0; r < j->rows && rc == CN_OK; r++) {
            rc = cn_prompts_tokenize(j, i, r, &t->of[i][r], err);
            j->chunks = CN_MAX(j->chunks, t->of[i][r].n);
        }
    for (int i = 0; i < j->base->n_texts; i++)
        for (int r = 0; r < j->rows && rc == CN_OK; r++)
            while (t->of[i][r].n < j->chunks)
                cn_prompt_chunks_add_empty(j->base->text[i].tokenizer, &t->of[i][r]);
    j->tokens = j->positions * j->chunks;
    return rc;
}

/* n chunks of ids through text encoder i without its last `skip` layers. */
static int run_encoder(struct cn_job *j, int i, const int32_t *ids, int n, int skip, float *ret,
                       struct cn_err *err)
{
    struct cn_text_use use = cn_text_usual(cn_checkpoint_text(j->base->checkpoint, i), skip);
    struct cn_plan_entry *p;
    double start = cn_now_s();
    int rc = go_on(j, "the text encoder", err);

    if (rc == CN_OK)
        rc = planned(j, cn_plan_for_text(j->base, i, n, j->positions, &use, &p, err),
                     &j->base->text[i].net, start, err);
    return rc < 0 ? rc : cn_plan_run_host(p, ids, ret, err);
}

/* One chunk of all rows: ret is [rows, positions, hidden]. As in diffusers, only the prompt skips
 * layers: the negative prompt goes through all of them. */
static int encode_chunk(struct cn_job *j, int i, const int32_t *ids, size_t row, float *ret,
                        struct cn_err *err)
{
    int rc, skip = j->spec->clip_skip, last = j->rows - 1;

    if (skip == 0 || j->rows == 1)
        return run_encoder(j, i, ids, j->rows, skip, ret, err);
    rc = run_encoder(j, i, ids, 1, 0, ret, err);
    return rc < 0 ? rc : run_encoder(j, i, ids + last * j->positions, 1, skip, ret + row, err);
}

/* What text encoder i makes of all rows, chunk by chunk: ret is [rows, chunks, positions, hidden],
 * scratch has room for one chunk of all rows. */
static int encode_with(struct cn_job *j, int i, const struct tokens *t, float *scratch, float *ret,
                       struct cn_err *err)
{
    const struct cn_text_config *c = cn_checkpoint_text(j->base->checkpoint, i);
    size_t n = (size_t)j->positions, width = (size_t)c->hidden_size, row = n * width;
    int32_t ids[CN_MAX_IMAGE_ROWS * CN_CLIP_LENGTH];
    int rc = CN_OK;

    if (cn_text_usual(c, j->spec->clip_skip).skip >= c->layers)
        return cn_fail_at(err, CN_EINVAL, "/clip_skip",
                          "%d is too many: the text encoder of \"%s\" has %d layers",
                          j->spec->clip_skip, j->base->name, c->layers);
    for (size_t k = 0; k < (size_t)j->chunks && rc == CN_OK; k++) {
        for (int r = 0; r < j->rows; r++)
            memcpy(ids + (size_t)r * n, t->of[i][r].id + k * n, n * sizeof(*ids));
        rc = encode_chunk(j, i, ids, row, scratch, err);
        for (int r = 0; r < j->rows && rc == CN_OK; r++) {
            float *z = ret + ((size_t)r * (size_t)j->chunks + k) * row;

            memcpy(z, scratch + (size_t)r * row, row * sizeof(*z));
            cn_prompts_emphasize(t->of[i][r].weight + k * n, n, width, z);
        }
    }
    return rc;
}

/* Columns [at, at + width) of the context [rows * tokens, context] become part. */
static void place_columns(const struct cn_job *j, float *context, size_t at, const float *part,
                          size_t width)
{
    for (size_t k = 0; k < (size_t)j->rows * (size_t)j->tokens; k++)
        memcpy(context + k * (size_t)j->context + at, part + k * width, width * sizeof(*part));
}

/* The contexts of all rows: ret is [rows, tokens, context]. */
static int encode_tokens(struct cn_job *j, const struct tokens *t, size_t all, float *ret,
                         struct cn_err *err)
{
    float *part, *scratch;
    size_t at = 0;
    int rc;

    if ((rc = cn_job_floats(j, all, &part, err)) < 0 ||
        (rc = cn_job_floats(j, all / (size_t)j->chunks, &scratch, err)) < 0)
        return rc;
    for (int i = 0; i < j->base->n_texts; i++) {
        size_t width = (size_t)cn_checkpoint_text(j->base->checkpoint, i)->hidden_size;

        if ((rc = encode_with(j, i, t, scratch, part, err)) < 0)
            return rc;
        place_columns(j, ret, at, part, width);
        at += width;
    }
    return CN_OK;
}

/* The context of all rows: [rows, tokens, context] native. */
static int encode_text(struct cn_job *j, struct cn_buffer **ret, struct cn_err *err)
{
    struct tokens t;
    struct cn_value v = {.dtype = CN_F32};
    size_t row = 0;
    float *all;
    int rc = tokenize(j, &t, err);

    if (rc == CN_OK) {
        v.shape = cn_shape3(j->rows, j->tokens, j->context);
        row = (size_t)j->tokens * (size_t)j->context;
        rc = cn_job_buffer(j, &v, CN_IO_NATIVE, ret, err);
    }
    if (rc == CN_OK)
        rc = cn_job_floats(j, (size_t)j->rows * row, &all, err);
    if (rc == CN_OK)
        rc = encode_tokens(j, &t, (size_t)j->rows * row, all, err);
    release_tokens(j, &t);
    if (rc < 0)
        return rc;
    if (j->rows == 2 && j->spec->negative_prompt[0] == '\0' &&
        cn_checkpoint_zeroes_empty(j->base->checkpoint))
        memset(all, 0, row * sizeof(*all));
    cn_buffer_write(*ret, all);
    return CN_OK;
}

/* ---- what every step of a network needs ---- */

/* Keys and values of the prompt, for each attention: [rows, s, width] native. */
static int project_context(struct cn_job *j, struct cn_net_inputs *b, struct cn_buffer *context,
                           struct cn_err *err)
{
    struct cn_plan_entry *p;
    struct cn_buffer **kv;
    double start = cn_now_s();
    int rc = go_on(j, "keys and values", err);

    if (rc == CN_OK)
        rc = planned(j, cn_plan_for_context(&b->of, j->rows, j->tokens, &p, err), b->of.net, start,
                     err);
    if (rc < 0)
        return rc;
    kv = cn_arena_alloc(&j->arena, (size_t)p->g->n_outputs * sizeof(struct cn_buffer *) + 1);
    for (int i = 0; i < p->g->n_outputs; i++)
        if ((rc = add_fixed(j, b, p, &p->g->output[i], j->rows, &kv[i], err)) < 0)
            return rc;
    return cn_plan_run(p->plan, &context, kv, err);
}

/* The residual blocks' projections of the time embedding: [calls, width], the same for all rows. */
static int project_time(struct cn_job *j, struct cn_net_inputs *b, const float *timesteps,
                        struct cn_err *err)
{
    int padded = (j->calls + CN_TIME_ROWS - 1) / CN_TIME_ROWS * CN_TIME_ROWS;
    struct cn_plan_entry *p;
    double start = cn_now_s();
    float *all, *time;
    int rc = go_on(j, "times", err);
    size_t width;

    if (rc == CN_OK)
        rc = planned(j, cn_plan_for_time(&b->of, &p, err), b->of.net, start, err);
    if (rc < 0)
        return rc;
    width = (size_t)cn_shape_of(p->g, p->g->output[0].val)->dim[1];
    if ((rc = cn_job_floats(j, (size_t)padded * width, &time, err)) < 0 ||
        (rc = cn_job_floats(j, (size_t)padded, &all, err)) < 0)
        return rc;
    memcpy(all, timesteps, (size_t)j->calls * sizeof(*all));
    for (int i = 0; i < padded && rc == CN_OK; i += CN_TIME_ROWS)
        rc = cn_plan_run_host(p, all + i, time + (size_t)i * width, err);
    b->rows.calls = j->calls;
    cn_row_inputs_add(&b->rows, CN_ROW_BY_CALL, p->g->output[0].name, cn_shape2(1, (int64_t)width),
                      0)
        ->values = time;
    return rc;
}

static int prepare_network(struct cn_job *j, struct cn_net_inputs *b, struct cn_buffer *context,
                           const float *timesteps, struct cn_err *err)
{
    int rc = project_context(j, b, context, err);

    return rc < 0 ? rc : project_time(j, b, timesteps, err);
}

/* The timesteps of all calls; they do not depend on the size of the latent. */
static int find_timesteps(struct cn_job *j, float **ret, struct cn_err *err)
{
    struct cn_sampler_state *s;
    int rc = cn_lane_sampler(j, 1, &s, err);

    if (rc < 0)
        return rc;
    j->calls = cn_sampler_calls(s);
    rc = cn_job_floats(j, (size_t)j->calls, ret, err);
    for (int i = 0; i < j->calls && rc == CN_OK; i++)
        (*ret)[i] = cn_sampler_timestep_at(s, i);
    cn_sampler_free(s);
    return rc;
}

/* ---- pictures ---- */

/* The control map, made of the picture by the annotator's network. */
static int run_annotator(struct cn_job *j, struct cn_job_control *c, struct cn_err *err)
{
    struct cn_plan_entry *p;
    double start = cn_now_s();
    int rc = go_on(j, "an annotator", err);

    if (rc == CN_OK)
        rc = planned(j, cn_annotator_plan(j->e, c->annotator, j->height, j->width, &p, err),
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
    int rc = go_on(j, "a hint", err);

    if (rc == CN_OK)
        rc = planned(j, cn_plan_for_hint(c->net.of.net, c->config, j->height, j->width, &p, err),
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

/* Mean and log variance of pixels [3, H, W], from which each image draws its own latent. */
static int encode_image(struct cn_job *j, const float *pixels, float **ret, struct cn_err *err)
{
    struct cn_plan_entry *p;
    double start = cn_now_s(), at;
    int rc = go_on(j, "the encoder", err);

    if (rc == CN_OK)
        rc = planned(j, cn_plan_for_encoder(j->base, j->height, j->width, &p, err), &j->base->vae,
                     start, err);
    if (rc < 0 || (rc = cn_job_floats(j, 2 * j->latent, ret, err)) < 0)
        return rc;
    at = cn_now_s();
    rc = cn_plan_run_host(p, pixels, *ret, err);
    cn_job_stage(j, CN_ENGINE_VAE, &at);
    return rc;
}

static int encode_images(struct cn_job *j, struct cn_err *err)
{
    bool nine = j->unet->in_channels != j->channels;
    bool from_noise = j->mask != NULL && j->spec->denoise >= 1;
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

    if ((rc = find_timesteps(j, &timesteps, err)) < 0 || (rc = encode_text(j, &context, err)) < 0)
        return rc;
    rc = prepare_network(j, &j->main, context, timesteps, err);
    for (int i = 0; i < j->n_controls && rc == CN_OK; i++)
        rc = prepare_network(j, &j->control[i].net, context, timesteps, err);
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
        rc = make_hint(j, &j->control[i], err);
    start += (j->ms[CN_ENGINE_LOAD] + j->ms[CN_ENGINE_PREPARE] - load) * 1e-3;
    cn_job_stage(j, CN_ENGINE_HINT, &start);
    if (rc == CN_OK)
        rc = encode_images(j, err);
    if (rc < 0)
        roll_back(j, buffers, floats);
    return rc;
}
