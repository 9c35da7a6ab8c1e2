/* Previews: colours guessed from a latent, without the decoder.
 *
 * To a good part the decoder is linear in each latent cell (that is what makes "latent RGB"
 * previews work, as in ComfyUI's latent_formats.py, whose numbers hold for one autoencoder). Here
 * the numbers are fitted to the model at hand: a few patchwork latents are decoded, and the mean
 * colour of each cell is explained by its channels, least squares with a little ridge.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/mem.h"
#include "image/convert.h"
#include "image/resize.h"
#include "model/vae.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIDE = 16,  /* cells of a latent that is decoded for the fit */
    PATCH = 4,  /* cells of one colour along a side: the decoder looks at neighbours */
    ROUNDS = 4, /* 64 patches in all */
    GROW = 4,   /* pixels of a preview for each cell */
    MAX_SIDE = 512
};

/* ---- the fit ---- */

/* The normal equations of colour = weight * (channels, 1): a [n, n], b [3, n]. */
struct fit {
    int n;
    double a[(CN_MAX_LATENT_CHANNELS + 1) * (CN_MAX_LATENT_CHANNELS + 1)];
    double b[3][CN_MAX_LATENT_CHANNELS + 1];
};

static void add_sample(struct fit *f, const double *x, const double *rgb)
{
    for (int i = 0; i < f->n; i++) {
        for (int k = 0; k < f->n; k++)
            f->a[i * f->n + k] += x[i] * x[k];
        for (int c = 0; c < 3; c++)
            f->b[c][i] += x[i] * rgb[c];
    }
}

/* Gauss-Jordan without pivoting: the matrix is positive definite thanks to the ridge. */
static void solve(struct fit *f)
{
    int n = f->n;

    for (int i = 0; i < n; i++)
        f->a[i * n + i] += 1e-3;
    for (int i = 0; i < n; i++) {
        double p = 1 / f->a[i * n + i];

        for (int k = 0; k < n; k++)
            f->a[i * n + k] *= p;
        for (int c = 0; c < 3; c++)
            f->b[c][i] *= p;
        for (int r = 0; r < n; r++) {
            double q = r == i ? 0 : f->a[r * n + i];

            for (int k = 0; k < n; k++)
                f->a[r * n + k] -= q * f->a[i * n + k];
            for (int c = 0; c < 3; c++)
                f->b[c][r] -= q * f->b[c][i];
        }
    }
}

/* One patch: the channels are constant over it; its inner cells' mean colour is the sample. */
static void add_patch(struct fit *f, const float *latent, const float *pixels, int factor, int py,
                      int px)
{
    double x[CN_MAX_LATENT_CHANNELS + 1], rgb[3] = {0};
    int side = SIDE * factor, inner = (PATCH - 2) * factor;
    int y0 = (py * PATCH + 1) * factor, x0 = (px * PATCH + 1) * factor;

    for (int c = 0; c + 1 < f->n; c++)
        x[c] = latent[(c * SIDE + py * PATCH) * SIDE + px * PATCH];
    x[f->n - 1] = 1;
    for (int c = 0; c < 3; c++) {
        for (int y = y0; y < y0 + inner; y++)
            for (int k = x0; k < x0 + inner; k++)
                rgb[c] += pixels[(c * side + y) * side + k];
        rgb[c] /= inner * inner;
    }
    add_sample(f, x, rgb);
}

static void paint_patches(struct cn_noise *z, int channels, float *latent)
{
    float colour[CN_MAX_LATENT_CHANNELS * 16];
    int per_side = SIDE / PATCH;

    cn_noise_normal(z, (size_t)(channels * per_side * per_side), colour);
    for (int c = 0; c < channels; c++)
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                latent[(c * SIDE + y) * SIDE + x] =
                    colour[(c * per_side + y / PATCH) * per_side + x / PATCH];
}

static int fit_round(struct cn_job *j, const struct cn_plan_entry *p, struct cn_noise *z,
                     struct fit *f, struct cn_err *err)
{
    int channels = f->n - 1, factor = cn_vae_factor(j->vae), side = SIDE * factor, rc;
    size_t n = (size_t)(channels * SIDE * SIDE);
    float *latent = cn_xcalloc(2 * n, sizeof(*latent)), *in = latent + n;
    float *pixels = cn_xcalloc((size_t)(3 * side * side), sizeof(*pixels));

    paint_patches(z, channels, latent);
    for (size_t i = 0; i < n; i++)
        in[i] = latent[i] / (float)j->vae->scaling_factor + (float)j->vae->shift_factor;
    rc = cn_plan_run_host(p, in, pixels, err);
    for (int y = 0; y < SIDE / PATCH && rc == CN_OK; y++)
        for (int x = 0; x < SIDE / PATCH; x++)
            add_patch(f, latent, pixels, factor, y, x);
    free(latent);
    free(pixels);
    return rc;
}

static bool is_for(const struct cn_rgb_map *map, const struct cn_job *j)
{
    return map->made && map->scaling == j->vae->scaling_factor &&
           map->shift == j->vae->shift_factor;
}

/* Once for each loading of the model. Previews are no reason to fail: a failure is remembered, but
 * not a lack of memory, which may be over at the next preview. */
static void make_map(struct cn_job *j)
{
    struct cn_rgb_map *map = &j->vae_model->rgb;
    struct fit *f = cn_xcalloc(1, sizeof(*f));
    struct cn_plan_entry *p;
    struct cn_noise z;
    int rc;

    *map = (struct cn_rgb_map){.channels = j->channels,
                               .scaling = j->vae->scaling_factor,
                               .shift = j->vae->shift_factor};
    f->n = j->channels + 1;
    cn_noise_init(&z, CN_RNG_CPU, 0);
    rc = cn_plan_for_decoder(j->vae_model, SIDE, SIDE, 0, &p, NULL);
    for (int i = 0; i < ROUNDS && rc == CN_OK; i++)
        rc = fit_round(j, p, &z, f, NULL);
    if (rc == CN_OK) {
        solve(f);
        for (int c = 0; c < 3; c++)
            for (int i = 0; i < f->n; i++)
                map->weight[c][i] = (float)f->b[c][i];
        map->usable = true;
    }
    map->made = rc != CN_ENOMEM && rc != CN_EDEVMEM;
    free(f);
}

/* ---- the picture ---- */

static uint8_t level(float y)
{
    float v = (y * 0.5f + 0.5f) * 255;

    return !(v > 0) ? 0 : v > 255 ? 255 : (uint8_t)(v + 0.5f);
}

static void paint(const struct cn_rgb_map *map, const float *latent, struct cn_image *img)
{
    size_t pixels = (size_t)img->w * (size_t)img->h;

    for (size_t i = 0; i < pixels; i++)
        for (int c = 0; c < 3; c++) {
            float y = map->weight[c][map->channels];

            for (int k = 0; k < map->channels; k++)
                y += map->weight[c][k] * latent[(size_t)k * pixels + i];
            img->px[3 * i + (size_t)c] = level(y);
        }
}

/* By the tiny autoencoder, when the engine has one that knows such latents. */
static int draw_tiny(struct cn_job *j, const float *latent, struct cn_image *ret,
                     struct cn_err *err)
{
    int factor = cn_taesd_factor(cn_tiny_decoder_config(j->e->tiny));
    int w = j->w * factor, h = j->h * factor, most = CN_MAX(w, h);
    size_t n = (size_t)3 * (size_t)w * (size_t)h, bad;
    float *pixels = cn_try_alloc(n * sizeof(*pixels));
    struct cn_image whole = CN_IMAGE_NONE;
    struct cn_fit fit = CN_FIT_DEFAULTS;
    struct cn_plan_entry *p;
    int rc = pixels != NULL ? CN_OK : cn_fail(err, CN_ENOMEM, "no memory for a preview");

    if (rc == CN_OK)
        rc = cn_tiny_decoder_plan(j->e->tiny, j->e->rt.backend, j->h, j->w, 0, &p, err);
    if (rc == CN_OK)
        rc = cn_plan_run_host(p, latent, pixels, err);
    for (size_t i = 0; i < n && rc == CN_OK; i++)
        pixels[i] = pixels[i] * 2 - 1;
    if (rc == CN_OK)
        rc = cn_image_from_planar(pixels, w, h, &whole, &bad, err);
    free(pixels);
    if (rc == CN_OK && most > MAX_SIDE) {
        rc = cn_image_fit(&whole, CN_MAX(w * MAX_SIDE / most, 1), CN_MAX(h * MAX_SIDE / most, 1),
                          &fit, ret, err);
        cn_image_release(&whole);
    } else if (rc == CN_OK) {
        *ret = whole;
    }
    return rc;
}

int cn_preview_draw(struct cn_job *j, const float *latent, struct cn_image *ret, struct cn_err *err)
{
    struct cn_rgb_map *map = &j->vae_model->rgb;
    struct cn_image cells = CN_IMAGE_NONE;
    struct cn_fit fit = CN_FIT_DEFAULTS;
    int grow = GROW, rc;

    if (cn_job_has_tiny(j))
        return draw_tiny(j, latent, ret, err);
    if (!is_for(map, j) && j->channels <= CN_MAX_LATENT_CHANNELS)
        make_map(j);
    if (!map->usable)
        return cn_fail(err, CN_ENOTFOUND, "model \"%s\" gives no previews", j->vae_model->name);
    while (grow > 1 && CN_MAX(j->w, j->h) * grow > MAX_SIDE)
        grow--;
    rc = cn_image_init(&cells, j->w, j->h, 3, err);
    if (rc == CN_OK) {
        paint(map, latent, &cells);
        rc = cn_image_fit(&cells, j->w * grow, j->h * grow, &fit, ret, err);
    }
    cn_image_release(&cells);
    return rc;
}
