/* Gaussian blur for the annotators that draw lines, a row at a time: only as many rows as the
 * kernel is high are held as floats, however large the picture. */
#include "base/base.h"
#include "image/annotate_blur.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

/* Position i outside [0, n) mirrored at the edge pixels, which are not repeated. */
static int reflect(int i, int n)
{
    if (n == 1)
        return 0;
    while (i < 0 || i >= n)
        i = i < 0 ? -i : 2 * (n - 1) - i;
    return i;
}

/* The sum is taken in double and the taps are rounded last, as OpenCV does. */
static void gauss_taps(float *tap, int radius, double sigma)
{
    double sum = 1;

    for (int i = 1; i <= radius; i++)
        sum += 2 * exp(-0.5 * i * i / (sigma * sigma));
    for (int i = 0; i <= radius; i++)
        tap[i] = (float)(exp(-0.5 * i * i / (sigma * sigma)) / sum);
}

int cn_blur_init(struct cn_blur *b, const uint8_t *px, int w, int h, int c, double sigma)
{
    int taps = (int)lrint(sigma * 8 + 1) | 1;
    size_t row = (size_t)w * (size_t)c;

    *b = (struct cn_blur){.px = px, .w = w, .h = h, .c = c, .radius = taps / 2};
    b->rows = CN_MIN(taps, h);
    b->tap = cn_try_alloc(((size_t)b->radius + 1) * sizeof(float));
    b->padded = cn_try_alloc((row + 2 * (size_t)b->radius * (size_t)c) * sizeof(float));
    b->ring = cn_try_alloc((size_t)b->rows * row * sizeof(float));
    if (b->tap == NULL || b->padded == NULL || b->ring == NULL)
        return CN_ENOMEM;
    gauss_taps(b->tap, b->radius, sigma);
    return CN_OK;
}

void cn_blur_release(struct cn_blur *b)
{
    free(b->tap);
    free(b->padded);
    free(b->ring);
    *b = (struct cn_blur){0};
}

static float *ring_row(const struct cn_blur *b, int y)
{
    return b->ring + (size_t)(y % b->rows) * (size_t)b->w * (size_t)b->c;
}

static void pad_row(struct cn_blur *b, int y)
{
    const uint8_t *src = b->px + (size_t)y * (size_t)b->w * (size_t)b->c;

    for (int x = -b->radius; x < b->w + b->radius; x++) {
        const uint8_t *from = src + reflect(x, b->w) * b->c;
        float *to = b->padded + (x + b->radius) * b->c;

        for (int k = 0; k < b->c; k++)
            to[k] = from[k];
    }
}

/* Horizontal pass of source row y into the ring. Taps are added from left to right: the order
 * decides the last bit. */
static void filter_row(struct cn_blur *b, int y)
{
    float *out = ring_row(b, y);
    int n = b->w * b->c;

    pad_row(b, y);
    for (int i = 0; i < n; i++)
        out[i] = b->tap[b->radius] * b->padded[i];
    for (int t = 1; t <= 2 * b->radius; t++) {
        const float *in = b->padded + t * b->c;
        float k = b->tap[abs(t - b->radius)];

        for (int i = 0; i < n; i++)
            out[i] += k * in[i];
    }
}

void cn_blur_row(struct cn_blur *b, int y, float *out)
{
    int n = b->w * b->c;
    const float *mid;

    for (; b->done < CN_MIN(y + b->radius + 1, b->h); b->done++)
        filter_row(b, b->done);
    mid = ring_row(b, y);
    for (int i = 0; i < n; i++)
        out[i] = b->tap[0] * mid[i];
    for (int t = 1; t <= b->radius; t++) {
        const float *up = ring_row(b, reflect(y - t, b->h));
        const float *down = ring_row(b, reflect(y + t, b->h));
        float k = b->tap[t];

        for (int i = 0; i < n; i++)
            out[i] += k * (up[i] + down[i]);
    }
}
