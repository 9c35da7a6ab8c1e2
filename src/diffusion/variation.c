/* Noise between two seeds, and noise of another size. */
#include "base/base.h"

#include "base/mem.h"
#include "diffusion/variation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What one column [h] of a channel is made of: elements lie w apart. */
struct column {
    const float *low, *high;
    size_t pitch;
    int h;
};

static float length(const float *v, size_t pitch, int h)
{
    double sum = 0;

    for (int y = 0; y < h; y++)
        sum += (double)v[(size_t)y * pitch] * (double)v[(size_t)y * pitch];
    return (float)sqrt(sum);
}

static float cosine(const struct column *c)
{
    float low = length(c->low, c->pitch, c->h), high = length(c->high, c->pitch, c->h);
    double sum = 0;

    for (int y = 0; y < c->h; y++) {
        size_t i = (size_t)y * c->pitch;

        sum += (double)(c->low[i] / low * (c->high[i] / high));
    }
    return (float)sum;
}

/* Spherical, of each column by itself, as there: "dim 1" of [channels, h, w] is the height. Where
 * both are all but the same it is linear, and there the weights have changed places. high becomes
 * the result. */
static void slerp(float t, const float *low, float *high, int channels, int h, int w)
{
    size_t plane = (size_t)h * (size_t)w;
    double mean = 0;

    for (int k = 0; k < channels; k++)
        for (int x = 0; x < w; x++) {
            size_t at = (size_t)k * plane + (size_t)x;

            mean += (double)cosine(&(struct column){low + at, high + at, (size_t)w, h});
        }
    mean /= (double)channels * w;
    for (int k = 0; k < channels; k++)
        for (int x = 0; x < w; x++) {
            size_t at = (size_t)k * plane + (size_t)x;
            float dot = cosine(&(struct column){low + at, high + at, (size_t)w, h});
            float omega = acosf(dot), so = sinf(omega);
            float a = sinf((1.0f - t) * omega) / so, b = sinf(t * omega) / so;

            if (mean > 0.9995) {
                a = t;
                b = 1.0f - t;
            }
            for (int y = 0; y < h; y++, at += (size_t)w)
                high[at] = a * low[at] + b * high[at];
        }
}

/* Rounded down, as Python divides. */
static int half(int v)
{
    return v / 2 - (v % 2 < 0);
}

/* from [channels, from_h, from_w] into the middle of ret [channels, h, w]; what is more is cut. */
static void paste(const float *from, int from_h, int from_w, int channels, int h, int w, float *ret)
{
    int dx = half(w - from_w), dy = half(h - from_h);
    int nw = dx >= 0 ? from_w : from_w + 2 * dx, nh = dy >= 0 ? from_h : from_h + 2 * dy;
    int to_x = CN_MAX(dx, 0), to_y = CN_MAX(dy, 0), x = CN_MAX(-dx, 0), y = CN_MAX(-dy, 0);

    nw = CN_MIN(nw, w - to_x);
    nh = CN_MIN(nh, h - to_y);
    for (int k = 0; k < channels; k++)
        for (int i = 0; i < nh; i++) {
            size_t to = ((size_t)k * (size_t)h + (size_t)(to_y + i)) * (size_t)w + (size_t)to_x;
            size_t at = ((size_t)k * (size_t)from_h + (size_t)(y + i)) * (size_t)from_w + (size_t)x;

            memcpy(ret + to, from + at, (size_t)nw * sizeof(*ret));
        }
}

static void draw(enum cn_rng kind, uint64_t seed, size_t n, float *ret)
{
    struct cn_noise z;

    cn_noise_init(&z, kind, seed);
    cn_noise_normal(&z, n, ret);
}

/* low and high: [channels, h, w], scratch. The result is in low. */
static void between(const struct cn_noise *z, const struct cn_variation *v, int channels, int h,
                    int w, float *low, float *high)
{
    size_t n = (size_t)channels * (size_t)h * (size_t)w;

    draw(z->kind, z->seed, n, low);
    if (v->strength <= 0)
        return;
    draw(z->kind, v->subseed, n, high);
    slerp((float)v->strength, low, high, channels, h, w);
    memcpy(low, high, n * sizeof(*low));
}

int cn_variation_noise(struct cn_noise *z, const struct cn_variation *v, int channels, int h, int w,
                       float *ret, struct cn_err *err)
{
    bool other = v->from_h > 0 && v->from_w > 0 && (v->from_h != h || v->from_w != w);
    int from_h = other ? v->from_h : h, from_w = other ? v->from_w : w;
    size_t n = (size_t)channels * (size_t)from_h * (size_t)from_w;
    float *low, *high;

    cn_noise_normal(z, (size_t)channels * (size_t)h * (size_t)w, ret);
    if (!other && v->strength <= 0)
        return CN_OK;
    low = cn_try_alloc(n * sizeof(*low));
    high = cn_try_alloc(n * sizeof(*high));
    if (low != NULL && high != NULL) {
        between(z, v, channels, from_h, from_w, low, high);
        if (other)
            paste(low, from_h, from_w, channels, h, w, ret);
        else
            memcpy(ret, low, n * sizeof(*ret));
    }
    free(low);
    free(high);
    return low == NULL || high == NULL ? cn_fail(err, CN_ENOMEM, "no memory for noise") : CN_OK;
}
