/* Running the networks of a job. */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"
#include "image/convert.h"
#include "model/text.h"
#include "model/vae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Time projections are made for this many steps at once, so that every step count uses one plan. */
enum { TIME_ROWS = 32 };

/* ---- graphs by their sizes ---- */

struct text_arg {
    const struct cn_text_config *c;
    int n, s, skip;
};

static struct cn_graph *build_text(const void *arg)
{
    const struct text_arg *a = arg;

    return cn_text_graph(a->c, a->n, a->s, a->skip);
}

struct unet_arg {
    const struct cn_unet_config *c;
    enum cn_net net;
    struct cn_step_size z;
};

static struct cn_graph *build_context(const void *arg)
{
    const struct unet_arg *a = arg;

    return cn_context_graph(a->c, a->net, a->z.n, a->z.s);
}

static struct cn_graph *build_time(const void *arg)
{
    const struct unet_arg *a = arg;

    return cn_time_graph(a->c, a->net, TIME_ROWS);
}

static struct cn_graph *build_unet(const void *arg)
{
    const struct unet_arg *a = arg;

    return cn_unet_graph(a->c, &a->z);
}

struct control_arg {
    const struct cn_control_config *c;
    struct cn_step_size z;
    int height, width;
};

static struct cn_graph *build_hint(const void *arg)
{
    const struct control_arg *a = arg;

    return cn_hint_graph(a->c, a->z.n, a->height, a->width);
}

static struct cn_graph *build_control(const void *arg)
{
    const struct control_arg *a = arg;

    return cn_control_graph(a->c, &a->z);
}

struct vae_arg {
    const struct cn_vae_config *c;
    int h, w;
};

static struct cn_graph *build_decoder(const void *arg)
{
    const struct vae_arg *a = arg;

    return cn_vae_decoder_graph(a->c, 1, a->h, a->w);
}

static struct cn_graph *build_encoder(const void *arg)
{
    const struct vae_arg *a = arg;

    return cn_vae_encoder_graph(a->c, 1, a->h, a->w);
}

static struct cn_step_size step_size(const struct cn_job *j, int controls)
{
    return (struct cn_step_size){j->rows, j->h, j->w, j->tokens, controls};
}

/* ---- the model at its own size ---- */

enum { USUAL_SIDE = 64 }; /* of a latent, for a model that does not say */

static struct cn_step_size own_size(const struct cn_job *j)
{
    int side = j->unet->sample_size > 0 ? j->unet->sample_size : USUAL_SIDE;

    return (struct cn_step_size){2, side, side, j->tokens, 0};
}

static void settle_control(const struct cn_job *j, const struct cn_job_control *c)
{
    struct unet_arg u = {&c->config->unet, CN_NET_CONTROL, own_size(j)};
    struct control_arg a = {c->config, u.z, u.z.h * cn_vae_factor(j->vae),
                            u.z.w * cn_vae_factor(j->vae)};

    if (c->branch.net->settled)
        return;
    cn_network_settle(c->branch.net, build_control, &a);
    cn_network_settle(c->branch.net, build_context, &u);
    cn_network_settle(c->branch.net, build_hint, &a);
    c->branch.net->settled = true;
}

/* Which kernels a network uses is decided here, once, and not by the sizes of the first request:
 * the same request gives the same picture to the last bit, whatever was drawn before. */
static void settle_all(struct cn_job *j)
{
    struct unet_arg u = {j->unet, CN_NET_UNET, own_size(j)};
    struct vae_arg decoder = {j->vae, u.z.h, u.z.w}, encoder = decoder;
    struct text_arg text = {cn_checkpoint_text(j->base->checkpoint), 2, j->tokens, 0};

    encoder.h *= cn_vae_factor(j->vae);
    encoder.w *= cn_vae_factor(j->vae);
    for (int i = 0; i < j->n_controls; i++)
        settle_control(j, &j->control[i]);
    if (j->base->unet.settled)
        return;
    cn_network_settle(&j->base->text, build_text, &text);
    cn_network_settle(&j->base->unet, build_unet, &u);
    cn_network_settle(&j->base->unet, build_context, &u);
    cn_network_settle(&j->base->vae, build_decoder, &decoder);
    cn_network_settle(&j->base->vae, build_encoder, &encoder);
    j->base->unet.settled = true;
}

/* ---- plans ---- */

/* A tensor is missing, or has another shape than the configuration says: the model is broken, which
 * is not the same as a model that is not there. */
static int blame_model(const struct cn_job *j, const struct cn_network *net, struct cn_err *err)
{
    if (err == NULL)
        return CN_EFORMAT;
    err->code = CN_EFORMAT;
    snprintf(err->where, sizeof(err->where), "/model");
    for (int i = 0; i < j->n_controls; i++)
        if (j->control[i].branch.net == net) {
            snprintf(err->where, sizeof(err->where), "/controls/%d/model", i);
            break;
        }
    return CN_EFORMAT;
}

/* The plan for this job's sizes, asked for before every network call; what it cost to compile
 * counts as loading. */
static int plan(struct cn_job *j, struct cn_network *net, const char *key, cn_build_fn build,
                const void *arg, const struct cn_compiled **ret, struct cn_err *err)
{
    double start = cn_now_s();
    int rc;

    if (cn_job_cancelled(j))
        return cn_fail(err, CN_ECANCELED, "cancelled before \"%s\"", key);
    rc = cn_network_plan(j->e, net, key, build, arg, ret, err);
    cn_job_stage(j, CN_ENGINE_LOAD, &start);
    return rc == CN_ENOTFOUND || rc == CN_EFORMAT ? blame_model(j, net, err) : rc;
}

static int input_buffer(struct cn_job *j, const struct cn_compiled *c, int i,
                        struct cn_buffer **ret, struct cn_err *err)
{
    const struct cn_io *io = &c->g->input[i];

    return cn_job_buffer(j, &c->g->value[io->val], io->flags, ret, err);
}

static int output_buffer(struct cn_job *j, const struct cn_compiled *c, int i,
                         struct cn_buffer **ret, struct cn_err *err)
{
    const struct cn_io *io = &c->g->output[i];

    return cn_job_buffer(j, &c->g->value[io->val], io->flags, ret, err);
}

/* ---- once per job ---- */

/* Token ids of all rows: the negative prompt first, as diffusers orders the two. */
static int tokenize(struct cn_job *j, int32_t *ids, struct cn_err *err)
{
    const char *text[2] = {j->spec->negative_prompt, j->spec->prompt};
    const char *where[2] = {"/negative_prompt", "/prompt"};

    for (int r = 0; r < j->rows; r++) {
        int which = j->rows == 2 ? r : 1;
        int rc = cn_tokenizer_encode(j->base->tokenizer, text[which], ids + r * j->tokens,
                                     j->tokens, NULL, err);

        if (rc < 0) {
            if (err != NULL)
                snprintf(err->where, sizeof(err->where), "%s", where[which]);
            return rc;
        }
    }
    return CN_OK;
}

/* The context of n rows of ids, made by the text encoder without its last `skip` layers. */
static int encode_rows(struct cn_job *j, const int32_t *ids, int n, int skip, float *ret,
                       struct cn_err *err)
{
    const struct cn_text_config *c = cn_checkpoint_text(j->base->checkpoint);
    struct text_arg a = {c, n, j->tokens, skip};
    const struct cn_compiled *p;
    struct cn_buffer *in, *out;
    char key[64];
    int rc;

    snprintf(key, sizeof(key), "text n%d s%d skip%d", a.n, a.s, a.skip);
    if ((rc = plan(j, &j->base->text, key, build_text, &a, &p, err)) < 0 ||
        (rc = input_buffer(j, p, 0, &in, err)) < 0 || (rc = output_buffer(j, p, 0, &out, err)) < 0)
        return rc;
    cn_buffer_write(in, ids);
    rc = cn_plan_run(p->plan, &in, &out, err);
    cn_buffer_read(out, ret);
    return rc;
}

/* As in diffusers, only the prompt skips layers: the negative prompt goes through all of them. */
static int encode_text(struct cn_job *j, struct cn_buffer **ret, struct cn_err *err)
{
    const struct cn_text_config *c = cn_checkpoint_text(j->base->checkpoint);
    int32_t *ids = cn_arena_alloc(&j->arena, (size_t)(j->rows * j->tokens) * sizeof(*ids));
    size_t row = (size_t)j->tokens * (size_t)c->hidden_size;
    struct cn_value v = {.dtype = CN_F32};
    int rc, skip = j->spec->clip_skip, last = j->rows - 1;
    float *rows;

    if (skip >= c->layers)
        return cn_fail_at(err, CN_EINVAL, "/clip_skip",
                          "%d is too many: the text encoder of \"%s\" has %d layers", skip,
                          j->base->name, c->layers);
    v.shape = cn_shape3(j->rows, j->tokens, c->hidden_size);
    if ((rc = tokenize(j, ids, err)) < 0 ||
        (rc = cn_job_buffer(j, &v, CN_IO_NATIVE, ret, err)) < 0 ||
        (rc = cn_job_floats(j, (size_t)j->rows * row, &rows, err)) < 0)
        return rc;
    if (skip == 0 || j->rows == 1) {
        rc = encode_rows(j, ids, j->rows, skip, rows, err);
    } else {
        rc = encode_rows(j, ids, 1, 0, rows, err);
        if (rc == CN_OK)
            rc = encode_rows(j, ids + last * j->tokens, 1, skip, rows + row, err);
    }
    cn_buffer_write(*ret, rows);
    return rc;
}

static int project_context(struct cn_job *j, struct cn_net_inputs *b, struct cn_buffer *context,
                           struct cn_err *err)
{
    struct unet_arg a = {b->config, b->kind, step_size(j, 0)};
    const struct cn_compiled *p;
    char key[64];
    int rc;

    snprintf(key, sizeof(key), "context n%d s%d", a.z.n, a.z.s);
    if ((rc = plan(j, b->net, key, build_context, &a, &p, err)) < 0)
        return rc;
    b->n_kv = p->g->n_outputs;
    b->kv = cn_arena_alloc(&j->arena, (size_t)b->n_kv * sizeof(struct cn_buffer *) + 1);
    for (int i = 0; i < b->n_kv; i++)
        if ((rc = output_buffer(j, p, i, &b->kv[i], err)) < 0)
            return rc;
    return cn_plan_run(p->plan, &context, b->kv, err);
}

static int project_time(struct cn_job *j, struct cn_net_inputs *b, const float *timesteps,
                        struct cn_err *err)
{
    struct unet_arg a = {b->config, b->kind, step_size(j, 0)};
    const struct cn_compiled *p;
    struct cn_buffer *in, *out;
    float *all;
    int rc, padded = (j->calls + TIME_ROWS - 1) / TIME_ROWS * TIME_ROWS;

    if ((rc = plan(j, b->net, "time", build_time, &a, &p, err)) < 0 ||
        (rc = input_buffer(j, p, 0, &in, err)) < 0 || (rc = output_buffer(j, p, 0, &out, err)) < 0)
        return rc;
    b->time_width = (int)cn_shape_of(p->g, p->g->output[0].val)->dim[1];
    if ((rc = cn_job_floats(j, (size_t)padded * (size_t)b->time_width, &b->time, err)) < 0 ||
        (rc = cn_job_floats(j, (size_t)padded, &all, err)) < 0)
        return rc;
    memset(all, 0, (size_t)padded * sizeof(*all));
    memcpy(all, timesteps, (size_t)j->calls * sizeof(*all));
    for (int i = 0; i < padded && rc == CN_OK; i += TIME_ROWS) {
        cn_buffer_write(in, all + i);
        rc = cn_plan_run(p->plan, &in, &out, err);
        cn_buffer_read(out, b->time + (size_t)i * (size_t)b->time_width);
    }
    return rc;
}

static int prepare_branch(struct cn_job *j, struct cn_net_inputs *b, struct cn_buffer *context,
                          const float *timesteps, struct cn_err *err)
{
    struct cn_value time = {.dtype = CN_F32};
    int rc;

    if ((rc = project_context(j, b, context, err)) < 0 ||
        (rc = project_time(j, b, timesteps, err)) < 0)
        return rc;
    time.shape = cn_shape2(j->rows, b->time_width);
    return cn_job_buffer(j, &time, 0, &b->time_in, err);
}

/* Every row sees the same hint. */
static int encode_hint(struct cn_job *j, struct cn_job_control *c, struct cn_err *err)
{
    struct control_arg a = {c->config, step_size(j, 0), j->height, j->width};
    size_t image = (size_t)3 * (size_t)j->width * (size_t)j->height;
    const struct cn_compiled *p;
    struct cn_buffer *in;
    float *rows;
    char key[64];
    int rc;

    snprintf(key, sizeof(key), "hint n%d %dx%d", j->rows, j->width, j->height);
    if ((rc = plan(j, c->branch.net, key, build_hint, &a, &p, err)) < 0 ||
        (rc = input_buffer(j, p, 0, &in, err)) < 0 ||
        (rc = output_buffer(j, p, 0, &c->hint, err)) < 0 ||
        (rc = cn_job_floats(j, (size_t)j->rows * image, &rows, err)) < 0)
        return rc;
    for (int r = 0; r < j->rows; r++)
        for (int k = 0; k < 3; k++) /* some nets were trained on blue first */
            memcpy(rows + (size_t)r * image + (size_t)k * (image / 3),
                   c->pixels + (size_t)(c->config->bgr ? 2 - k : k) * (image / 3),
                   image / 3 * sizeof(float));
    cn_buffer_write(in, rows);
    return cn_plan_run(p->plan, &in, &c->hint, err);
}

static int prepare_control(struct cn_job *j, struct cn_job_control *c, struct cn_err *err)
{
    struct cn_step_size z = step_size(j, 0);
    struct cn_value v = {.dtype = CN_F32};
    int rc;

    for (int i = 0; i < c->levels; i++) {
        v.shape = cn_control_shape(&c->config->unet, &z, i);
        c->side[i] = (int)v.shape.dim[2];
        if ((rc = cn_job_buffer(j, &v, CN_IO_NATIVE, &c->residual[i], err)) < 0)
            return rc;
    }
    v.shape = cn_shape2(j->rows, c->levels);
    return cn_job_buffer(j, &v, 0, &c->weights, err);
}

/* The latent's buffers are the same for every network of the family. */
static int prepare_latent(struct cn_job *j, struct cn_err *err)
{
    struct cn_value v = {.dtype = CN_F32};
    int rc;

    v.shape = cn_shape4(j->rows, j->channels, j->h, j->w);
    if ((rc = cn_job_buffer(j, &v, 0, &j->sample, err)) < 0)
        return rc;
    v.shape.dim[1] = j->unet->out_channels;
    if ((rc = cn_job_buffer(j, &v, 0, &j->out, err)) < 0)
        return rc;
    v.shape.dim[1] = j->unet->in_channels;
    if (j->unet->in_channels != j->channels)
        rc = cn_job_buffer(j, &v, 0, &j->sample9, err);
    return rc;
}

int cn_job_prepare(struct cn_job *j, const float *timesteps, struct cn_err *err)
{
    double start = cn_now_s(), load = j->ms[CN_ENGINE_LOAD];
    struct cn_buffer *context;
    int rc;

    settle_all(j);
    cn_job_stage(j, CN_ENGINE_LOAD, &start);
    load = j->ms[CN_ENGINE_LOAD];
    if ((rc = prepare_latent(j, err)) < 0 || (rc = encode_text(j, &context, err)) < 0 ||
        (rc = prepare_branch(j, &j->main, context, timesteps, err)) < 0)
        return rc;
    for (int i = 0; i < j->n_controls; i++)
        if ((rc = prepare_branch(j, &j->control[i].branch, context, timesteps, err)) < 0 ||
            (rc = prepare_control(j, &j->control[i], err)) < 0)
            return rc;
    start += (j->ms[CN_ENGINE_LOAD] - load) * 1e-3;
    cn_job_stage(j, CN_ENGINE_TEXT, &start);
    load = j->ms[CN_ENGINE_LOAD];
    for (int i = 0; i < j->n_controls; i++)
        if ((rc = encode_hint(j, &j->control[i], err)) < 0)
            return rc;
    start += (j->ms[CN_ENGINE_LOAD] - load) * 1e-3;
    cn_job_stage(j, CN_ENGINE_HINT, &start);
    return CN_OK;
}

/* ---- every step ---- */

static void write_time(const struct cn_job *j, const struct cn_net_inputs *b, int call)
{
    size_t width = (size_t)b->time_width;

    for (int r = 0; r < j->rows; r++)
        memcpy(j->rows_in + (size_t)r * width, b->time + (size_t)call * width,
               width * sizeof(float));
    cn_buffer_write(b->time_in, j->rows_in);
}

/* sample, time, k0, v0, ... into list; returns how many. */
static int common_inputs(struct cn_buffer **list, struct cn_buffer *sample,
                         const struct cn_net_inputs *b)
{
    list[0] = sample;
    list[1] = b->time_in;
    memcpy(list + 2, b->kv, (size_t)b->n_kv * sizeof(struct cn_buffer *));
    return 2 + b->n_kv;
}

static int run_control(struct cn_job *j, struct cn_job_control *c, int call, struct cn_err *err)
{
    struct control_arg a = {c->config, step_size(j, 0), j->height, j->width};
    struct cn_buffer **in = cn_xcalloc((size_t)c->branch.n_kv + 3, sizeof(*in));
    float w[2 * CN_MAX_LEVELS];
    const struct cn_compiled *p;
    char key[64];
    int n, rc;

    snprintf(key, sizeof(key), "step n%d %dx%d s%d", j->rows, j->w, j->h, j->tokens);
    write_time(j, &c->branch, call);
    if (j->rows == 2)
        cn_control_weights(c->spec, CN_ROW_UNCOND, c->levels, c->side, w);
    cn_control_weights(c->spec, CN_ROW_COND, c->levels, c->side, w + (j->rows - 1) * c->levels);
    cn_buffer_write(c->weights, w);
    n = common_inputs(in, j->sample, &c->branch);
    in[n] = c->hint;
    rc = plan(j, c->branch.net, key, build_control, &a, &p, err);
    if (rc == CN_OK)
        rc = cn_plan_run(p->plan, in, c->residual, err);
    free(in);
    return rc;
}

static int run_unet(struct cn_job *j, int call, int active, struct cn_err *err)
{
    struct unet_arg a = {j->unet, CN_NET_UNET, step_size(j, active)};
    struct cn_buffer **in = cn_xcalloc(
        (size_t)j->main.n_kv + 2 + CN_MAX_CONTROLS * (CN_MAX_LEVELS + 1), sizeof(*in));
    const struct cn_compiled *p;
    char key[64];
    int n, rc;

    snprintf(key, sizeof(key), "step n%d %dx%d s%d c%d", j->rows, j->w, j->h, j->tokens, active);
    write_time(j, &j->main, call);
    n = common_inputs(in, j->sample9 ? j->sample9 : j->sample, &j->main);
    for (int i = 0; i < j->n_controls; i++) {
        const struct cn_job_control *c = &j->control[i];

        if (!cn_control_active(c->spec, call, j->calls))
            continue;
        in[n++] = c->weights;
        memcpy(in + n, c->residual, (size_t)c->levels * sizeof(*in));
        n += c->levels;
    }
    rc = plan(j, &j->base->unet, key, build_unet, &a, &p, err);
    if (rc == CN_OK)
        rc = cn_plan_run(p->plan, in, &j->out, err);
    free(in);
    return rc;
}

/* Every row starts from the same latent; a 9-channel UNet also sees the mask and what it hides. */
static void write_sample(struct cn_job *j, const float *x)
{
    size_t pixels = (size_t)j->h * (size_t)j->w, extra = pixels + j->latent, row;

    for (int r = 0; r < j->rows; r++)
        memcpy(j->rows_in + (size_t)r * j->latent, x, j->latent * sizeof(*x));
    cn_buffer_write(j->sample, j->rows_in);
    if (j->sample9 == NULL)
        return;
    row = j->latent + extra;
    for (int r = 0; r < j->rows; r++) {
        float *at = j->rows_in + (size_t)r * row;

        memcpy(at, x, j->latent * sizeof(*x));
        memcpy(at + j->latent, j->mask, pixels * sizeof(*x));
        memcpy(at + j->latent + pixels, j->masked_latent, j->latent * sizeof(*x));
    }
    cn_buffer_write(j->sample9, j->rows_in);
}

int cn_job_step(struct cn_job *j, int call, const float *x, float *eps, struct cn_err *err)
{
    double start = cn_now_s(), load = j->ms[CN_ENGINE_LOAD];
    int active = 0, rc;

    write_sample(j, x);
    for (int i = 0; i < j->n_controls; i++) {
        if (!cn_control_active(j->control[i].spec, call, j->calls))
            continue;
        active++;
        if ((rc = run_control(j, &j->control[i], call, err)) < 0)
            return rc;
    }
    start += (j->ms[CN_ENGINE_LOAD] - load) * 1e-3;
    cn_job_stage(j, CN_ENGINE_CONTROL, &start);
    load = j->ms[CN_ENGINE_LOAD];
    if ((rc = run_unet(j, call, active, err)) < 0)
        return rc;
    cn_buffer_read(j->out, j->rows_in);
    if (j->rows == 2)
        cn_guidance(j->latent, j->rows_in, j->rows_in + j->latent,
                    (float)j->spec->guidance_scale, eps);
    else
        memcpy(eps, j->rows_in, j->latent * sizeof(*eps));
    start += (j->ms[CN_ENGINE_LOAD] - load) * 1e-3;
    cn_job_stage(j, CN_ENGINE_UNET, &start);
    return CN_OK;
}

/* ---- pixels and latents ---- */

/* Runs a plan of one input and one output on host arrays. */
static int run_vae(struct cn_job *j, const struct cn_compiled *p, const float *in, float *out,
                   struct cn_err *err)
{
    struct cn_buffer *bin, *bout = NULL;
    const struct cn_io *i = &p->g->input[0], *o = &p->g->output[0];
    int rc = cn_buffer_new(j->e->backend, &p->g->value[i->val], i->flags, &bin, err);

    if (rc < 0)
        return rc;
    rc = cn_buffer_new(j->e->backend, &p->g->value[o->val], o->flags, &bout, err);
    if (rc == CN_OK) {
        cn_buffer_write(bin, in);
        rc = cn_plan_run(p->plan, &bin, &bout, err);
    }
    if (rc == CN_OK)
        cn_buffer_read(bout, out);
    cn_buffer_free(bin);
    cn_buffer_free(bout);
    return rc;
}

int cn_job_decode(struct cn_job *j, const float *latent, struct cn_image *ret, struct cn_err *err)
{
    size_t pixels = (size_t)j->width * (size_t)j->height;
    struct vae_arg a = {j->vae, j->h, j->w};
    float *image = cn_try_alloc(3 * pixels * sizeof(*image));
    const struct cn_compiled *p;
    double start;
    char key[64];
    int rc;

    if (image == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for the picture");
    snprintf(key, sizeof(key), "decode %dx%d", j->w, j->h);
    rc = plan(j, &j->base->vae, key, build_decoder, &a, &p, err);
    start = cn_now_s();
    for (size_t i = 0; i < j->latent; i++)
        j->rows_in[i] = latent[i] / (float)j->vae->scaling_factor + (float)j->vae->shift_factor;
    if (rc == CN_OK)
        rc = run_vae(j, p, j->rows_in, image, err);
    if (rc == CN_OK)
        rc = cn_image_from_planar(image, j->width, j->height, ret, err);
    free(image);
    cn_job_stage(j, CN_ENGINE_VAE, &start);
    return rc;
}

int cn_job_encode(struct cn_job *j, const float *pixels, const float *noise, float *ret,
                  struct cn_err *err)
{
    struct vae_arg a = {j->vae, j->height, j->width};
    const struct cn_compiled *p;
    float *moments;
    double start;
    char key[64];
    int rc;

    snprintf(key, sizeof(key), "encode %dx%d", j->width, j->height);
    if ((rc = plan(j, &j->base->vae, key, build_encoder, &a, &p, err)) < 0)
        return rc;
    start = cn_now_s();
    moments = cn_try_alloc(2 * j->latent * sizeof(*moments));
    if (moments == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for the latent");
    rc = run_vae(j, p, pixels, moments, err);
    for (size_t i = 0; i < j->latent && rc == CN_OK; i++) {
        float logvar = fminf(fmaxf(moments[j->latent + i], -30.0f), 20.0f);
        float z = moments[i] + expf(0.5f * logvar) * noise[i];

        ret[i] = (z - (float)j->vae->shift_factor) * (float)j->vae->scaling_factor;
    }
    free(moments);
    cn_job_stage(j, CN_ENGINE_VAE, &start);
    return rc;
}
