/* One image in progress: its latent, its noise, its sampler.
 *
 * A lane has its own generator (seed + index) and sampler state, so that nothing that runs beside
 * it changes it. What is drawn from the generator, and in which order, is part of the result: it
 * follows diffusers' pipelines (text to image; img2img; inpainting).
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/mem.h"
#include "diffusion/inpaint.h"
#include "diffusion/variation.h"
#include "model/vae.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool nine_channels(const struct cn_job *j)
{
    return cn_unet_extra(j->unet, j->channels) == CN_UNET_SEES_MASK;
}

/* z = (mean + std * noise - shift) * scaling factor, with the next noise of the generator. */
static void sample_posterior(struct cn_lane *l, const float *moments, float *ret)
{
    const struct cn_job *j = l->job;

    cn_noise_normal(&l->noise, j->latent, ret);
    for (size_t i = 0; i < j->latent; i++) {
        float logvar = fminf(fmaxf(moments[j->latent + i], -30.0f), 20.0f);
        float z = moments[i] + expf(0.5f * logvar) * ret[i];

        ret[i] = (z - (float)j->vae->shift_factor) * (float)j->vae->scaling_factor;
    }
}

static size_t drawn_cells(const struct cn_job *j)
{
    const struct cn_latent_size *s = &j->drawn_size;

    return (size_t)s->channels * (size_t)s->h * (size_t)s->w;
}

/* Is it the second pass of a picture? */
static bool continues(const struct cn_job *j)
{
    return j->drawn != NULL || j->drawn_picture != NULL;
}

/* The seed's, or on the way to another one's. */
static int first_noise(struct cn_lane *l, struct cn_err *err)
{
    const struct cn_job *j = l->job;
    const struct cn_spec *s = j->spec;
    int factor = cn_vae_factor(j->vae);
    const struct cn_variation v = {.strength = s->subseed_strength,
                                   .subseed = cn_spec_subseed_of(s, l->image),
                                   .from_h = s->seed_height / factor,
                                   .from_w = s->seed_width / factor};

    if (v.strength <= 0 && s->seed_width == 0) {
        cn_noise_normal(&l->noise, j->latent, l->start);
        return CN_OK;
    }
    return cn_variation_noise(&l->noise, &v, j->channels, j->h, j->w, l->start, err);
}

/* Under the mask: the noise of the seed, or nothing. */
static void fill_latent(struct cn_lane *l)
{
    const struct cn_job *j = l->job;
    size_t cells = (size_t)j->h * (size_t)j->w;
    bool noise = j->spec->mask_fill == CN_FILL_NOISE;
    struct cn_noise z;

    if (!noise && j->spec->mask_fill != CN_FILL_NOTHING)
        return;
    cn_noise_init(&z, j->spec->rng, l->seed);
    cn_noise_normal(&z, j->latent, l->x); /* which is not in use yet */
    for (size_t i = 0; i < j->latent; i++)
        l->init_latent[i] = (1 - j->mask[i % cells]) * l->init_latent[i] +
                            (noise ? j->mask[i % cells] * l->x[i] : 0);
}

/* The latent before the first call. */
static int lane_start(struct cn_lane *l, struct cn_err *err)
{
    const struct cn_job *j = l->job;
    bool mask = j->mask != NULL;
    bool from_noise = !continues(j) && (j->init_pixels == NULL || cn_job_paints_from_noise(j));
    int rc;

    if (j->drawn != NULL)
        cn_latent_upscale(j->spec->hires.upscaler, j->drawn + (size_t)l->image * drawn_cells(j),
                          &j->drawn_size, l->init_latent,
                          &(struct cn_latent_size){j->channels, j->h, j->w});
    if (j->drawn_picture != NULL)
        sample_posterior(l, j->drawn_moments, l->init_latent);
    if (j->init_pixels != NULL && !(nine_channels(j) && from_noise))
        sample_posterior(l, j->init_moments, l->init_latent);
    if ((rc = first_noise(l, err)) < 0)
        return rc;
    if (!from_noise && mask)
        fill_latent(l);
    if (from_noise)
        for (size_t i = 0; i < j->latent; i++)
            l->x[i] = l->start[i] * cn_sampler_init_sigma(l->sampler);
    else
        cn_sampler_add_noise(l->sampler, l->init_latent, l->start, l->x);
    if (mask)
        sample_posterior(l, j->masked_moments, l->masked_latent);
    return CN_OK;
}

int cn_lane_sampler(const struct cn_job *j, size_t n, struct cn_sampler_state **ret,
                    struct cn_err *err)
{
    const struct cn_spec *s = j->spec;
    struct cn_sampler_opts opts = {
        .kind = s->sampler,
        .schedule = s->schedule,
        .spacing = s->spacing,
        .steps = s->steps,
        .denoise = s->init_image.len > 0 || continues(j) ? s->denoise : 1,
        .eta = s->eta,
    };

    return cn_sampler_new(cn_checkpoint_schedule(j->base->checkpoint), &opts, n, ret, err);
}

/* One block for all arrays. */
static int allocate(struct cn_lane *l, struct cn_err *err)
{
    const struct cn_job *j = l->job;
    size_t arrays = j->init_pixels == NULL && !continues(j) ? 2 : 4, n;

    if (!cn_mul_size(arrays, j->latent, &n) || !cn_mul_size(n, sizeof(float), &n))
        return cn_fail_at(err, CN_ETOOBIG, "/width", "%d x %d pixels are too many", j->width,
                          j->height);
    l->x = cn_try_alloc(n);
    if (l->x == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for %zu bytes of a picture", n);
    memset(l->x, 0, n);
    l->start = l->x + j->latent;
    if (arrays == 4) {
        l->init_latent = l->start + j->latent;
        l->masked_latent = l->init_latent + j->latent;
    }
    return CN_OK;
}

int cn_lane_new(struct cn_job *j, int image, struct cn_lane **ret, struct cn_err *err)
{
    struct cn_lane *l = cn_xcalloc(1, sizeof(*l));
    int rc;

    l->job = j;
    l->image = image;
    l->seed = cn_spec_seed_of(j->spec, image);
    cn_noise_init(&l->noise, j->spec->rng, l->seed);
    rc = allocate(l, err);
    if (rc == CN_OK)
        rc = cn_lane_sampler(j, j->latent, &l->sampler, err);
    if (rc == CN_OK)
        rc = lane_start(l, err);
    if (rc < 0) {
        cn_lane_free(l);
        return rc;
    }
    *ret = l;
    return CN_OK;
}

void cn_lane_free(struct cn_lane *l)
{
    cn_sampler_free(l->sampler);
    free(l->x);
    free(l);
}

/* Outside the mask the picture is put back, as noisy as the rest. 9-channel UNets see it in their
 * input instead. */
static void put_back(struct cn_lane *l, float *work)
{
    const struct cn_job *j = l->job;

    if (j->mask == NULL || nine_channels(j))
        return;
    cn_sampler_add_noise(l->sampler, l->init_latent, l->start, work);
    cn_inpaint_blend((size_t)j->channels, (size_t)j->h * (size_t)j->w, j->mask, work, l->x);
}

int cn_lane_advance(struct cn_lane *l, const float *eps, const float *uncond, float *work,
                    struct cn_err *err)
{
    int rc = cn_sampler_advance_both(l->sampler, l->x, eps, uncond, &l->noise);

    if (rc < 0)
        return cn_fail(err, rc, "the sampler has no step left");
    put_back(l, work);
    return CN_OK;
}

bool cn_lane_is_finite(const struct cn_lane *l)
{
    return cn_all_finite(l->x, CN_F32, l->job->latent);
}
