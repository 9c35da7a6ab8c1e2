/* Between pictures of different channels, and between pictures and the floats of networks. */
#include "base/base.h"
#include "image/convert.h"
#include "base/simd.h"

#include <math.h>
#include <string.h>

/* Floor of the exact blend; ControlNet's HWC3 truncates too. */
static uint8_t blend(unsigned px, unsigned alpha, unsigned ground)
{
    return (uint8_t)((px * alpha + ground * (255 - alpha)) / 255);
}

int cn_image_to_rgb(const struct cn_image *src, uint8_t ground, struct cn_image *ret,
                    struct cn_err *err)
{
    size_t n = (size_t)src->w * (size_t)src->h;
    const uint8_t *from = src->px;
    int rc;

    if (src->c == 3)
        return cn_image_copy(src, ret, err);
    rc = cn_image_init(ret, src->w, src->h, 3, err);
    if (rc < 0)
        return rc;
    if (src->c == 1) {
        for (size_t i = 0; i < n; i++)
            memset(ret->px + 3 * i, from[i], 3);
        return CN_OK;
    }
    for (size_t i = 0; i < n; i++, from += 4)
        for (size_t k = 0; k < 3; k++)
            ret->px[3 * i + k] = blend(from[k], from[3], ground);
    return CN_OK;
}

int cn_image_to_rgba(const struct cn_image *src, struct cn_image *ret, struct cn_err *err)
{
    size_t n = (size_t)src->w * (size_t)src->h, c = (size_t)src->c;
    int rc;

    if (c == 4)
        return cn_image_copy(src, ret, err);
    rc = cn_image_init(ret, src->w, src->h, 4, err);
    for (size_t i = 0; rc == CN_OK && i < n; i++) {
        for (size_t k = 0; k < 3; k++)
            ret->px[4 * i + k] = src->px[i * c + (c == 1 ? 0 : k)];
        ret->px[4 * i + 3] = 255;
    }
    return rc;
}

int cn_image_to_grey(const struct cn_image *src, struct cn_image *ret, struct cn_err *err)
{
    size_t n = (size_t)src->w * (size_t)src->h, c = (size_t)src->c;
    const uint8_t *from = src->px;
    int rc;

    if (c == 1)
        return cn_image_copy(src, ret, err);
    rc = cn_image_init(ret, src->w, src->h, 1, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++, from += c)
        ret->px[i] =
            (uint8_t)((from[0] * 19595u + from[1] * 38470u + from[2] * 7471u + 0x8000u) >> 16);
    return CN_OK;
}

void cn_image_to_planar(const struct cn_image *src, float *dst, float scale, float offset)
{
    size_t n = (size_t)src->w * (size_t)src->h, c = (size_t)src->c;

    for (size_t k = 0; k < c; k++)
        for (size_t i = 0; i < n; i++)
            *dst++ = (float)src->px[i * c + k] * scale + offset;
}

/* The decoder's floats, STRIDE pixels at a time: a number that the compiler knows, and no branches,
 * so that it makes vectors of the loops. */
enum { STRIDE = 64 };

/* [-1,1] to a byte; NaN gives 0. The sum with 1.5 2^23 has no bits left for a fraction: the
 * addition rounds it away, half to even, and the lowest 8 bits are the number. */
static inline uint8_t quantize(float y)
{
    float v = y * 0.5f + 0.5f;
    uint32_t bits;

    v = v > 0 ? v : 0;
    v = (v < 1 ? v : 1) * 255 + 0x1.8p23f;
    memcpy(&bits, &v, 4);
    return (uint8_t)bits;
}

/* from points to three planes that are `plane` floats apart; px gets STRIDE pixels. Returns how
 * many of the floats are infinite or NaN. */
CN_SIMD
static unsigned quantize_stride(const float *restrict from, size_t plane, uint8_t *restrict px)
{
    uint8_t row[3][STRIDE];
    unsigned bad = 0;

    for (int k = 0; k < 3; k++)
        for (int i = 0; i < STRIDE; i++) {
            float y = from[(size_t)k * plane + (size_t)i];
            uint32_t bits;

            memcpy(&bits, &y, 4);
            bad += (bits & 0x7f800000u) == 0x7f800000u;
            row[k][i] = quantize(y);
        }
    for (int i = 0; i < STRIDE; i++)
        for (int k = 0; k < 3; k++)
            px[3 * i + k] = row[k][i];
    return bad;
}

int cn_image_from_planar(const float *planar, int w, int h, struct cn_image *ret,
                         size_t *ret_nonfinite, struct cn_err *err)
{
    size_t n = (size_t)w * (size_t)h, i = 0, bad = 0;
    int rc = cn_image_init(ret, w, h, 3, err);

    if (rc < 0)
        return rc;
    for (; i + STRIDE <= n; i += STRIDE)
        bad += quantize_stride(planar + i, n, ret->px + 3 * i);
    for (; i < n; i++)
        for (size_t k = 0; k < 3; k++) {
            bad += isfinite(planar[k * n + i]) ? 0 : 1;
            ret->px[3 * i + k] = quantize(planar[k * n + i]);
        }
    if (ret_nonfinite != NULL)
        *ret_nonfinite = bad;
    return CN_OK;
}
