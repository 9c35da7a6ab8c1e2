/* A job from description to pictures.
 *
 * DESIGN. cn_engine_run() resolves the models, reads the inputs, computes what is constant, then
 * draws the images one after the other; each has its own noise generator (seed + index) and sampler
 * state, so that nothing that runs beside it changes it. Cancellation is seen before every network
 * call. Everything that a job allocates is in its arena or its lists and goes at the end, also
 * after an error; weights and plans stay with the models.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"
#include "diffusion/inpaint.h"
#include "model/vae.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cn_job_buffer(struct cn_job *j, const struct cn_value *v, int flags, struct cn_buffer **ret,
                  struct cn_err *err)
{
    int rc = cn_buffer_new(j->e->backend, v, flags, ret, err);

    if (rc < 0)
        return rc;
    j->buffers = cn_grow(j->buffers, j->n_buffers, &j->buffers_cap, sizeof(*j->buffers));
    j->buffers[j->n_buffers++] = *ret;
    return CN_OK;
}

int cn_job_floats(struct cn_job *j, size_t n, float **ret, struct cn_err *err)
{
    size_t bytes;

    if (!cn_mul_size(n, sizeof(float), &bytes) || bytes > (size_t)4 << 30)
        return cn_fail_at(err, CN_ETOOBIG, "/width", "%d x %d pixels are too many", j->width,
                          j->height);
    *ret = cn_try_alloc(bytes);
    if (*ret == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for %zu bytes of a picture", bytes);
    memset(*ret, 0, bytes);
    j->floats = cn_grow(j->floats, j->n_floats, &j->floats_cap, sizeof(*j->floats));
    j->floats[j->n_floats++] = *ret;
    return CN_OK;
}

void cn_job_stage(struct cn_job *j, enum cn_engine_stage stage, double *start)
{
    double now = cn_now_s();

    j->ms[stage] += (now - *start) * 1e3;
    *start = now;
}

bool cn_job_cancelled(const struct cn_job *j)
{
    return j->cb->cancelled != NULL && j->cb->cancelled(j->cb->ctx);
}

/* ---- models ---- */

static int find_base(struct cn_job *j, struct cn_err *err)
{
    const char *name = j->spec->model;

    if (name[0] == '\0')
        name = cn_engine_default(j->e);
    if (name == NULL)
        return cn_fail_at(err, CN_ENOTFOUND, "/model", "there is no base model here");
    j->base = cn_engine_find(j->e, name);
    if (j->base == NULL)
        return cn_fail_at(err, CN_ENOTFOUND, "/model", "there is no model \"%s\"", name);
    if (j->base->broken != NULL)
        return cn_fail_at(err, CN_EFORMAT, "/model", "model \"%s\" cannot be used: %s", name,
                          j->base->broken);
    if (j->base->control)
        return cn_fail_at(err, CN_EINVAL, "/model", "\"%s\" is a ControlNet, not a base model",
                          name);
    return cn_model_open(j->e, j->base, err);
}

static int find_control(struct cn_job *j, int i, struct cn_err *err)
{
    const struct cn_spec_control *spec = &j->spec->control[i];
    struct cn_model *m = cn_engine_find(j->e, spec->model);
    struct cn_job_control *c = &j->control[i];
    char where[48];
    int rc;

    snprintf(where, sizeof(where), "/controls/%d/model", i);
    if (m == NULL)
        return cn_fail_at(err, CN_ENOTFOUND, where, "there is no ControlNet \"%s\"", spec->model);
    if (m->broken != NULL)
        return cn_fail_at(err, CN_EFORMAT, where, "ControlNet \"%s\" cannot be used: %s",
                          spec->model, m->broken);
    if (!m->control)
        return cn_fail_at(err, CN_EINVAL, where, "\"%s\" is a base model, not a ControlNet",
                          spec->model);
    c->own = *spec;
    c->spec = &c->own;
    c->config = cn_checkpoint_control(m->checkpoint);
    c->levels = cn_control_levels(&c->config->unet);
    if (c->config->global_pool) /* trained to act on the conditional branch alone */
        c->own.branch = CN_BRANCH_COND;
    rc = cn_control_matches(c->config, j->unet, err);
    if (rc == CN_OK && 1 << (c->config->hint_blocks - 1) != cn_vae_factor(j->vae))
        rc = cn_fail(err, CN_EINVAL,
                     "its hint encoder divides sides by %d, the model's latent by %d",
                     1 << (c->config->hint_blocks - 1), cn_vae_factor(j->vae));
    if (rc == CN_OK && c->config->hint_channels != 3)
        rc = cn_fail(err, CN_EINVAL, "it wants hints of %d channels", c->config->hint_channels);
    if (rc == CN_OK && c->config->unet.in_channels != j->channels)
        rc = cn_fail(err, CN_EINVAL, "it wants %d channels, the model's latent has %d",
                     c->config->unet.in_channels, j->channels);
    if (rc < 0) {
        cn_err_prefix(err, "ControlNet \"%s\" does not fit model \"%s\"", spec->model,
                      j->base->name);
        if (err != NULL)
            snprintf(err->where, sizeof(err->where), "%s", where);
        return rc;
    }
    if ((rc = cn_control_check(spec, i, c->levels, err)) < 0)
        return rc;
    c->branch.config = &c->config->unet;
    c->branch.kind = CN_NET_CONTROL;
    return cn_model_control(j->e, m, j->base, &c->branch.net, err);
}

/* ---- sizes ---- */

/* Each part agrees with its own file, which is checked when plans are compiled; here, that they
 * agree with each other. */
static int check_parts(const struct cn_job *j, struct cn_err *err)
{
    const struct cn_text_config *t = cn_checkpoint_text(j->base->checkpoint);
    const char *name = j->base->name;

    if (t->hidden_size != j->unet->cross_attention_dim)
        return cn_fail_at(err, CN_EFORMAT, "/model",
                          "model \"%s\": the text encoder's hidden_size is %d, the UNet's "
                          "cross_attention_dim %d",
                          name, t->hidden_size, j->unet->cross_attention_dim);
    if (t->max_position < 2)
        return cn_fail_at(err, CN_EFORMAT, "/model",
                          "model \"%s\": the text encoder has no room for a prompt", name);
    if (j->vae->in_channels != 3 || j->vae->out_channels != 3)
        return cn_fail_at(err, CN_EFORMAT, "/model",
                          "model \"%s\": the autoencoder has %d to %d channels of colour, not 3",
                          name, j->vae->in_channels, j->vae->out_channels);
    if (cn_control_levels(j->unet) > CN_MAX_LEVELS)
        return cn_fail_at(err, CN_EFORMAT, "/model", "model \"%s\": the UNet has too many layers",
                          name);
    return CN_OK;
}

static int check_kind(const struct cn_job *j, struct cn_err *err)
{
    bool inpaint = j->unet->in_channels != j->channels;

    if (j->unet->time_cond_proj_dim > 0)
        return cn_fail_at(err, CN_EINVAL, "/model",
                          "model \"%s\" takes guidance as an embedding, which is not supported",
                          j->base->name);
    if (j->unet->out_channels != j->channels ||
        (inpaint && j->unet->in_channels != 2 * j->channels + 1))
        return cn_fail_at(err, CN_EINVAL, "/model",
                          "model \"%s\": a UNet of %d to %d channels on latents of %d is not "
                          "supported",
                          j->base->name, j->unet->in_channels, j->unet->out_channels, j->channels);
    if (j->spec->mask.len > 0 && j->spec->init_image.len == 0)
        return cn_fail_at(err, CN_EINVAL, "/mask", "a mask needs an \"init_image\"");
    if (inpaint && j->spec->mask.len == 0)
        return cn_fail_at(err, CN_EINVAL, "/mask",
                          "model \"%s\" is made for inpainting: it needs an \"init_image\" and a "
                          "\"mask\"",
                          j->base->name);
    return CN_OK;
}

static int choose_sizes(struct cn_job *j, struct cn_err *err)
{
    int factor = cn_vae_factor(j->vae), native = j->unet->sample_size * factor, rc;

    j->width = j->spec->width ? j->spec->width : native;
    j->height = j->spec->height ? j->spec->height : native;
    if (j->width == 0 || j->height == 0)
        return cn_fail_at(err, CN_EINVAL, j->width == 0 ? "/width" : "/height",
                          "model \"%s\" has no size of its own: say one", j->base->name);
    if (j->width % factor != 0 || j->width <= 0)
        return cn_fail_at(err, CN_EINVAL, "/width", "%d is not a multiple of %d", j->width, factor);
    if (j->height % factor != 0 || j->height <= 0)
        return cn_fail_at(err, CN_EINVAL, "/height", "%d is not a multiple of %d", j->height,
                          factor);
    j->channels = j->vae->latent_channels;
    j->w = j->width / factor;
    j->h = j->height / factor;
    j->latent = (size_t)j->channels * (size_t)j->h * (size_t)j->w;
    j->rows = j->spec->guidance_scale > 1 ? 2 : 1;
    j->tokens = CN_MIN(CN_CLIP_LENGTH, cn_checkpoint_text(j->base->checkpoint)->max_position);
    rc = check_parts(j, err);
    return rc < 0 ? rc : check_kind(j, err);
}

/* rows_in holds any network's host input or output for all rows. */
static int allocate(struct cn_job *j, struct cn_err *err)
{
    size_t row = 2 * j->latent + (size_t)j->h * (size_t)j->w;
    struct cn_sites sites;
    int rc;

    cn_sites_init(&sites, j->unet, CN_NET_UNET);
    row = CN_MAX(row, (size_t)sites.time_width);
    cn_sites_release(&sites);
    if ((rc = cn_job_floats(j, j->latent, &j->x, err)) < 0 ||
        (rc = cn_job_floats(j, j->latent, &j->in, err)) < 0 ||
        (rc = cn_job_floats(j, j->latent, &j->eps, err)) < 0 ||
        (rc = cn_job_floats(j, j->latent, &j->noise, err)) < 0 ||
        (rc = cn_job_floats(j, j->latent, &j->kept, err)) < 0 ||
        (rc = cn_job_floats(j, j->latent, &j->init_latent, err)) < 0 ||
        (rc = cn_job_floats(j, j->latent, &j->masked_latent, err)) < 0)
        return rc;
    return cn_job_floats(j, (size_t)j->rows * row, &j->rows_in, err);
}

/* ---- one image ---- */

static int new_sampler(const struct cn_job *j, struct cn_sampler_state **ret, struct cn_err *err)
{
    const struct cn_spec *s = j->spec;
    struct cn_sampler_opts opts = {
        .kind = s->sampler,
        .schedule = s->schedule,
        .spacing = s->spacing,
        .steps = s->steps,
        .denoise = j->init_pixels ? s->denoise : 1,
        .eta = s->eta,
    };

    return cn_sampler_new(cn_checkpoint_schedule(j->base->checkpoint), &opts, j->latent, ret, err);
}

/* z of pixels, sampled from the posterior with the next noise of the image's generator. */
static int sample_posterior(struct cn_job *j, const float *pixels, struct cn_noise *z, float *ret,
                            struct cn_err *err)
{
    cn_noise_normal(z, j->latent, j->kept);
    return cn_job_encode(j, pixels, j->kept, ret, err);
}

/* The latent before the first call. What is drawn from the generator, and in which order, is part
 * of the result: it follows diffusers' pipelines (text to image; img2img; inpainting). */
static int start_latent(struct cn_job *j, const struct cn_sampler_state *s, struct cn_noise *z,
                        struct cn_err *err)
{
    bool inpaint9 = j->unet->in_channels != j->channels, mask = j->mask != NULL;
    bool from_noise = j->init_pixels == NULL || (mask && j->spec->denoise >= 1);
    int rc = CN_OK;

    if (j->init_pixels != NULL && !(inpaint9 && from_noise))
        rc = sample_posterior(j, j->init_pixels, z, j->init_latent, err);
    if (rc < 0)
        return rc;
    cn_noise_normal(z, j->latent, j->noise);
    if (from_noise)
        for (size_t i = 0; i < j->latent; i++)
            j->x[i] = j->noise[i] * cn_sampler_init_sigma(s);
    else
        cn_sampler_add_noise(s, j->init_latent, j->noise, j->x);
    if (mask)
        rc = sample_posterior(j, j->masked_pixels, z, j->masked_latent, err);
    return rc;
}

/* Outside the mask the picture is put back, as noisy as the rest. 9-channel UNets see it in their
 * input instead. */
static void put_back(struct cn_job *j, const struct cn_sampler_state *s)
{
    if (j->mask == NULL || j->unet->in_channels != j->channels)
        return;
    cn_sampler_add_noise(s, j->init_latent, j->noise, j->kept);
    cn_inpaint_blend((size_t)j->channels, (size_t)j->h * (size_t)j->w, j->mask, j->kept, j->x);
}

static void report_step(const struct cn_job *j, int image, int call, const double *before)
{
    const struct cn_engine_cb *cb = j->cb;

    if (cb->step != NULL)
        cb->step(cb->ctx, j->ms[CN_ENGINE_CONTROL] - before[CN_ENGINE_CONTROL],
                 j->ms[CN_ENGINE_UNET] - before[CN_ENGINE_UNET]);
    if (cb->progress != NULL)
        cb->progress(cb->ctx, image, call + 1, j->calls);
}

static int sample(struct cn_job *j, struct cn_sampler_state *s, struct cn_noise *z, int image,
                  struct cn_err *err)
{
    int rc = start_latent(j, s, z, err);

    while (rc == CN_OK && !cn_sampler_done(s)) {
        int call = cn_sampler_call(s);
        double before[CN_ENGINE_STAGE_COUNT];

        memcpy(before, j->ms, sizeof(before));
        if (cn_job_cancelled(j))
            return cn_fail(err, CN_ECANCELED, "cancelled before call %d of %d", call + 1, j->calls);
        cn_sampler_scale_input(s, j->x, j->in);
        if ((rc = cn_job_step(j, call, j->in, j->eps, err)) < 0 ||
            (rc = cn_sampler_advance(s, j->x, j->eps, z)) < 0)
            return rc;
        put_back(j, s);
        report_step(j, image, call, before);
    }
    return rc;
}

static int draw_image(struct cn_job *j, int i, struct cn_err *err)
{
    uint64_t seed = j->spec->seed + (uint64_t)i;
    struct cn_image img = CN_IMAGE_NONE;
    struct cn_engine_image m = {&img, i, seed};
    struct cn_sampler_state *s = NULL;
    struct cn_noise *z = cn_xmalloc(sizeof(*z));
    int rc = new_sampler(j, &s, err);

    cn_noise_init(z, j->spec->rng, seed);
    if (rc == CN_OK)
        rc = sample(j, s, z, i, err);
    if (rc == CN_OK)
        rc = cn_job_decode(j, j->x, &img, err);
    if (rc == CN_OK)
        rc = j->cb->image(j->cb->ctx, &m, err);
    cn_image_release(&img);
    cn_sampler_free(s);
    free(z);
    return rc;
}

/* The timesteps of all calls; they do not depend on what the network says. */
static int find_timesteps(struct cn_job *j, float **ret, struct cn_err *err)
{
    const struct cn_spec *spec = j->spec;
    struct cn_sampler_state *s;
    struct cn_noise *z;
    int rc = new_sampler(j, &s, err);

    if (rc < 0)
        return rc;
    z = cn_xmalloc(sizeof(*z));
    cn_noise_init(z, spec->rng, 0);
    j->calls = cn_sampler_calls(s);
    rc = cn_job_floats(j, (size_t)j->calls, ret, err);
    for (int i = 0; i < j->calls && rc == CN_OK; i++) {
        (*ret)[i] = cn_sampler_timestep(s);
        rc = cn_sampler_advance(s, j->x, j->eps, z);
    }
    cn_sampler_free(s);
    free(z);
    return rc;
}

static int draw(struct cn_job *j, struct cn_err *err)
{
    float *timesteps = NULL;
    int rc;

    if ((rc = find_base(j, err)) < 0)
        return rc;
    j->unet = cn_checkpoint_unet(j->base->checkpoint);
    j->vae = cn_checkpoint_vae(j->base->checkpoint);
    if ((rc = choose_sizes(j, err)) < 0)
        return rc;
    j->main = (struct cn_net_inputs){
        .net = &j->base->unet, .config = j->unet, .kind = CN_NET_UNET};
    for (j->n_controls = 0; j->n_controls < j->spec->n_controls; j->n_controls++)
        if ((rc = find_control(j, j->n_controls, err)) < 0)
            return rc;
    if ((rc = cn_job_read_inputs(j, err)) < 0 || (rc = allocate(j, err)) < 0 ||
        (rc = find_timesteps(j, &timesteps, err)) < 0 ||
        (rc = cn_job_prepare(j, timesteps, err)) < 0)
        return rc;
    for (int i = 0; i < j->spec->n && rc == CN_OK; i++)
        rc = draw_image(j, i, err);
    return rc;
}

static void job_release(struct cn_job *j)
{
    for (size_t i = 0; i < j->n_buffers; i++)
        cn_buffer_free(j->buffers[i]);
    for (size_t i = 0; i < j->n_floats; i++)
        free(j->floats[i]);
    free(j->buffers);
    free(j->floats);
    cn_arena_release(&j->arena);
}

int cn_engine_run(struct cn_engine *e, const struct cn_spec *spec, const struct cn_engine_cb *cb,
                  struct cn_err *err)
{
    struct cn_job *j = cn_xcalloc(1, sizeof(*j));
    int rc;

    CN_ASSERT(spec->has_seed);
    j->e = e;
    j->spec = spec;
    j->cb = cb;
    cn_arena_init(&j->arena);
    rc = draw(j, err);
    if (cb->stage != NULL)
        for (int i = 0; i < CN_ENGINE_STAGE_COUNT; i++)
            cb->stage(cb->ctx, (enum cn_engine_stage)i, j->ms[i]);
    job_release(j);
    free(j);
    return rc;
}
