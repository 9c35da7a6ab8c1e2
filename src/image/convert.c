/* Conversions of channels and number formats. */
#include "base/base.h"
#include "image/convert.h"

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

/* [-1,1] to a byte; written so that NaN gives 0. */
static uint8_t quantize(float y)
{
    float v = y * 0.5f + 0.5f;

    if (!(v > 0))
        return 0;
    return (uint8_t)lrintf((v < 1 ? v : 1) * 255);
}

int cn_image_from_planar(const float *planar, int w, int h, struct cn_image *ret,
                         struct cn_err *err)
{
    size_t n = (size_t)w * (size_t)h;
    int rc = cn_image_init(ret, w, h, 3, err);

    if (rc < 0)
        return rc;
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < n; i++)
            ret->px[3 * i + k] = quantize(planar[k * n + i]);
    return CN_OK;
}
