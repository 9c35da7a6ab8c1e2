/* What a mask hides, in colours from around it: the web UI's masking.fill. Blurred copies of what
 * is seen, from coarse to fine, are laid over each other; blur, premultiplied colours and layers in
 * Pillow's integers (BoxBlur.c, Convert.c, AlphaComposite.c). */
#include "base/base.h"
#include "image/webui_fit.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Boxes, three of which are a Gaussian; the radius has a fraction. */
struct box {
    int radius;
    uint32_t inner, outer; /* weights, of 1 << 24 */
};

static struct box box_of(double sigma)
{
    enum { PASSES = 3 };
    float sigma2 = (float)(sigma * sigma / PASSES);
    float whole = floorf((float)((sqrt(12.0 * (double)sigma2 + 1.0) - 1.0) / 2.0));
    float part = (2 * whole + 1) * (whole * (whole + 1) - 3 * sigma2);
    float radius = whole + part / (6 * (sigma2 - (whole + 1) * (whole + 1)));
    struct box b = {.radius = (int)radius};

    b.inner = (uint32_t)((float)(1 << 24) / (radius * 2 + 1));
    b.outer = ((1u << 24) - (uint32_t)(b.radius * 2 + 1) * b.inner) / 2;
    return b;
}

/* One channel of a line of n pixels that lie pitch apart. line [n] is scratch. */
static void box_line(const struct box *b, uint8_t *px, int n, size_t pitch, uint8_t *line)
{
    int r = b->radius, last = n - 1;
    uint32_t sum = 0;

    for (int i = 0; i < n; i++)
        line[i] = px[(size_t)i * pitch];
    for (int i = -r - 1; i < r; i++) /* the window before the first */
        sum += line[CN_MIN(CN_MAX(i, 0), last)];
    for (int i = 0; i < n; i++) {
        uint32_t before = line[CN_MAX(i - r - 1, 0)], after = line[CN_MIN(i + r + 1, last)];

        sum += line[CN_MIN(i + r, last)];
        sum -= before;
        px[(size_t)i * pitch] =
            (uint8_t)((sum * b->inner + (before + after) * b->outer + (1u << 23)) >> 24);
    }
}

/* px [h, w, 4], in place. line [max(w, h)]. */
static void blur(uint8_t *px, int w, int h, double sigma, uint8_t *line)
{
    struct box b = box_of(sigma);

    for (int pass = 0; pass < 3; pass++)
        for (int y = 0; y < h; y++)
            for (size_t k = 0; k < 4; k++)
                box_line(&b, px + (size_t)y * (size_t)w * 4 + k, w, 4, line);
    for (int pass = 0; pass < 3; pass++)
        for (int x = 0; x < w; x++)
            for (size_t k = 0; k < 4; k++)
                box_line(&b, px + (size_t)x * 4 + k, h, (size_t)w * 4, line);
}

static uint8_t part_of(unsigned v, unsigned of_255)
{
    unsigned t = v * of_255 + 128;

    return (uint8_t)(((t >> 8) + t) >> 8);
}

static uint32_t by_255(uint32_t v)
{
    return ((v >> 8) + v) >> 8;
}

/* src, premultiplied, over dst, which is not. */
static void lay_over(const uint8_t *src, uint8_t *dst)
{
    uint32_t a = src[3], under = dst[3] * (255 - a), whole = a * 255 + under, coef, rest;

    if (a == 0)
        return;
    coef = a * 255 * 255 * 128 / whole;
    rest = 255 * 128 - coef;
    for (int k = 0; k < 3; k++) {
        uint32_t plain = a == 255 ? src[k] : CN_MIN(255u * src[k] / a, 255u);

        dst[k] = (uint8_t)(by_255(plain * coef + dst[k] * rest + (128u << 7)) >> 7);
    }
    dst[3] = (uint8_t)by_255(whole + 128);
}

/* What is seen, premultiplied: transparent under the mask. */
static void show(const struct cn_image *img, const uint8_t *mask, uint8_t *ret)
{
    for (size_t i = 0; i < (size_t)img->w * (size_t)img->h; i++) {
        unsigned seen = 255u - mask[i];

        for (size_t k = 0; k < 3; k++)
            ret[4 * i + k] = part_of(img->px[3 * i + k], seen);
        ret[4 * i + 3] = (uint8_t)seen;
    }
}

int cn_webui_fill(struct cn_image *img, const struct cn_image *mask, struct cn_err *err)
{
    static const struct {
        int sigma, layers;
    } step[] = {{256, 1}, {64, 1}, {16, 2}, {4, 4}, {2, 2}, {0, 1}};
    size_t pixels = (size_t)img->w * (size_t)img->h;
    uint8_t *line = cn_try_alloc((size_t)CN_MAX(img->w, img->h));
    uint8_t *layer = cn_try_alloc(4 * pixels), *out = cn_try_alloc(4 * pixels);
    bool room = line != NULL && layer != NULL && out != NULL;

    if (room)
        memset(out, 0, 4 * pixels);
    for (size_t s = 0; room && s < CN_LEN(step); s++) {
        show(img, mask->px, layer);
        if (step[s].sigma > 0)
            blur(layer, img->w, img->h, step[s].sigma, line);
        for (int n = 0; n < step[s].layers; n++)
            for (size_t i = 0; i < pixels; i++)
                lay_over(layer + 4 * i, out + 4 * i);
    }
    for (size_t i = 0; room && i < pixels; i++)
        memcpy(img->px + 3 * i, out + 4 * i, 3);
    free(line);
    free(layer);
    free(out);
    return room ? CN_OK : cn_fail(err, CN_ENOMEM, "no memory to fill what a mask hides");
}
