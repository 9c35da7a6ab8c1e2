/* The annotators that keep colours: blur, tile, shuffle, the grid of colours, and segments. Sizes
 * and filters are those of the ControlNet extension's; its shuffle draws from another generator. */
#include "base/base.h"
#include "image/annotate.h"
#include "image/annotate_blur.h"
#include "image/resize.h"
#include "base/mem.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- blur ---- */

int cn_blur_picture(const uint8_t *px, int w, int h, int c, double sigma, uint8_t *out)
{
    size_t n = (size_t)w * (size_t)c;
    float *row = cn_try_alloc(n * sizeof(*row));
    struct cn_blur b;
    int rc = cn_blur_init(&b, px, w, h, c, sigma);

    if (row == NULL)
        rc = CN_ENOMEM;
    for (int y = 0; rc == CN_OK && y < h; y++, out += n) {
        cn_blur_row(&b, y, row);
        for (size_t i = 0; i < n; i++)
            out[i] = (uint8_t)lrintf(row[i] < 0 ? 0 : row[i] > 255 ? 255 : row[i]);
    }
    cn_blur_release(&b);
    free(row);
    return rc;
}

/* ---- smaller and back ---- */

/* Down to w x h by areas, and up again by the filter. */
static int through(const struct cn_image *src, int w, int h, enum cn_filter up,
                   struct cn_image *ret)
{
    struct cn_image small, back;
    int rc = cn_image_resize(src, w, h, CN_BOX, &small, NULL);

    if (rc < 0)
        return rc;
    rc = cn_image_resize(&small, src->w, src->h, up, &back, NULL);
    cn_image_release(&small);
    if (rc < 0)
        return rc;
    memcpy(ret->px, back.px, cn_image_bytes(&back));
    cn_image_release(&back);
    return CN_OK;
}

int cn_tile_picture(const struct cn_image *src, double factor, struct cn_image *ret)
{
    if (factor < 1.1) {
        memcpy(ret->px, src->px, cn_image_bytes(src));
        return CN_OK;
    }
    return through(src, CN_MAX((int)(src->w / factor), 1), CN_MAX((int)(src->h / factor), 1),
                   CN_BICUBIC, ret);
}

int cn_colour_grid(const struct cn_image *src, int cell, struct cn_image *ret)
{
    return through(src, CN_MAX(src->w / cell, 1), CN_MAX(src->h / cell, 1), CN_NEAREST, ret);
}

/* ---- shuffle ---- */

/* SplitMix64: the same field for the same seed, whatever the system. */
static double uniform(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* Weights of the four neighbours at fraction t: cubic convolution, a = -0.75. */
static void cubic(double t, double weight[4])
{
    static const double a = -0.75;

    weight[0] = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a;
    weight[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    weight[2] = ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1;
    weight[3] = 1 - weight[0] - weight[1] - weight[2];
}

/* A field [h, w] from 0 to 1 that changes smoothly, one random number for each cell of size. */
static int smooth_field(uint64_t *random, int w, int h, int size, float *ret)
{
    int cols = w / size + 2, rows = h / size + 2;
    double *cell = cn_try_alloc((size_t)cols * (size_t)rows * sizeof(*cell)), wx[4], wy[4];
    float low = FLT_MAX, high = -FLT_MAX, *at = ret;

    if (cell == NULL)
        return CN_ENOMEM;
    for (int i = 0; i < cols * rows; i++)
        cell[i] = uniform(random);
    for (int y = 0; y < h; y++) {
        double v = (y + size + 0.5) * rows / (h + 2.0 * size) - 0.5;

        cubic(v - floor(v), wy);
        for (int x = 0; x < w; x++, at++) {
            double u = (x + size + 0.5) * cols / (w + 2.0 * size) - 0.5, sum = 0;

            cubic(u - floor(u), wx);
            for (int i = 0; i < 4; i++)
                for (int k = 0; k < 4; k++) {
                    int cy = CN_MIN(CN_MAX((int)floor(v) - 1 + i, 0), rows - 1);
                    int cx = CN_MIN(CN_MAX((int)floor(u) - 1 + k, 0), cols - 1);

                    sum += wy[i] * wx[k] * cell[cy * cols + cx];
                }
            *at = (float)sum;
            low = *at < low ? *at : low;
            high = *at > high ? *at : high;
        }
    }
    free(cell);
    for (size_t i = 0; i < (size_t)w * (size_t)h; i++)
        ret[i] = high > low ? (ret[i] - low) / (high - low) : 0;
    return CN_OK;
}

static void sample(const struct cn_image *src, float x, float y, uint8_t *to)
{
    int x0 = (int)x, y0 = (int)y;
    int x1 = CN_MIN(x0 + 1, src->w - 1), y1 = CN_MIN(y0 + 1, src->h - 1);
    float u = x - (float)x0, v = y - (float)y0;
    size_t row = (size_t)src->w;

    for (size_t k = 0; k < 3; k++) {
        float a = src->px[((size_t)y0 * row + (size_t)x0) * 3 + k];
        float b = src->px[((size_t)y0 * row + (size_t)x1) * 3 + k];
        float c = src->px[((size_t)y1 * row + (size_t)x0) * 3 + k];
        float d = src->px[((size_t)y1 * row + (size_t)x1) * 3 + k];

        to[k] = (uint8_t)lrintf((a * (1 - u) + b * u) * (1 - v) + (c * (1 - u) + d * u) * v);
    }
}

int cn_shuffle_picture(const struct cn_image *src, int size, uint64_t seed, struct cn_image *ret)
{
    size_t n = (size_t)src->w * (size_t)src->h;
    float *x = cn_try_alloc(n * sizeof(*x)), *y = cn_try_alloc(n * sizeof(*y));
    int rc = x == NULL || y == NULL ? CN_ENOMEM : CN_OK;

    if (rc == CN_OK)
        rc = smooth_field(&seed, src->w, src->h, size, x);
    if (rc == CN_OK)
        rc = smooth_field(&seed, src->w, src->h, size, y);
    for (size_t i = 0; rc == CN_OK && i < n; i++)
        sample(src, x[i] * (float)(src->w - 1), y[i] * (float)(src->h - 1), ret->px + 3 * i);
    free(x);
    free(y);
    return rc;
}

/* ---- segments ---- */

enum { ROUNDS = 12, MAX_COLOURS = 32 };

/* Squared distance; the eye sees green best and blue least. */
static long distance(const uint8_t *px, const double *colour)
{
    double r = px[0] - colour[0], g = px[1] - colour[1], b = px[2] - colour[2];

    return lrint(3 * r * r + 6 * g * g + b * b);
}

static int nearest_colour(const uint8_t *px, double (*colour)[3], int n)
{
    long least = LONG_MAX;
    int best = 0;

    for (int i = 0; i < n; i++) {
        long d = distance(px, colour[i]);

        if (d < least) {
            least = d;
            best = i;
        }
    }
    return best;
}

/* The first is the mean; each other one is the pixel that is furthest from those before. */
static int choose_colours(const struct cn_image *img, int wanted, double (*colour)[3])
{
    size_t pixels = (size_t)img->w * (size_t)img->h;
    int n = 1;

    memset(colour, 0, sizeof(colour[0]));
    for (size_t i = 0; i < pixels; i++)
        for (int k = 0; k < 3; k++)
            colour[0][k] += (double)img->px[3 * i + (size_t)k] / (double)pixels;
    for (; n < wanted; n++) {
        long most = 0;
        size_t at = 0;

        for (size_t i = 0; i < pixels; i++) {
            const uint8_t *px = img->px + 3 * i;
            long d = distance(px, colour[nearest_colour(px, colour, n)]);

            if (d > most) {
                most = d;
                at = i;
            }
        }
        if (most == 0)
            return n;
        for (int k = 0; k < 3; k++)
            colour[n][k] = img->px[3 * at + (size_t)k];
    }
    return n;
}

/* Lloyd's rounds. */
static void settle_colours(const struct cn_image *img, double (*colour)[3], int n)
{
    size_t pixels = (size_t)img->w * (size_t)img->h;

    for (int round = 0; round < ROUNDS; round++) {
        double sum[MAX_COLOURS][3] = {{0}};
        size_t count[MAX_COLOURS] = {0};

        for (size_t i = 0; i < pixels; i++) {
            const uint8_t *px = img->px + 3 * i;
            int at = nearest_colour(px, colour, n);

            count[at]++;
            for (int k = 0; k < 3; k++)
                sum[at][k] += px[k];
        }
        for (int i = 0; i < n; i++)
            for (int k = 0; k < 3 && count[i] > 0; k++)
                colour[i][k] = sum[i][k] / (double)count[i];
    }
}

int cn_segments(const struct cn_image *src, int colours, struct cn_image *ret)
{
    enum { SIDE = 128 }; /* of the picture that the colours are chosen of */
    double colour[MAX_COLOURS][3], k = (double)SIDE / CN_MAX(src->w, src->h);
    struct cn_image small;
    int n, rc = cn_image_resize(src, CN_MAX((int)(src->w * CN_MIN(k, 1.0)), 1),
                                CN_MAX((int)(src->h * CN_MIN(k, 1.0)), 1), CN_BOX, &small, NULL);

    if (rc < 0)
        return rc;
    n = choose_colours(&small, CN_MIN(colours, MAX_COLOURS), colour);
    settle_colours(&small, colour, n);
    cn_image_release(&small);
    rc = cn_blur_picture(src->px, src->w, src->h, 3, 1.5, ret->px); /* noise makes no segment */
    for (size_t i = 0; rc == CN_OK && i < (size_t)src->w * (size_t)src->h; i++) {
        uint8_t *px = ret->px + 3 * i;
        const double *c = colour[nearest_colour(px, colour, n)];

        for (int j = 0; j < 3; j++)
            px[j] = (uint8_t)lrint(c[j]);
    }
    return rc;
}
