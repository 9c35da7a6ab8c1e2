/* The annotators that draw lines: differences of Gaussians with thresholds, in the arithmetic of
 * the scripts whose maps the published ControlNets were trained on; and Otsu's threshold. */
#include "base/base.h"
#include "image/annotate.h"
#include "image/annotate_blur.h"
#include "base/mem.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

static bool plausible(int w, int h)
{
    return w >= 1 && h >= 1 && w <= CN_IMAGE_MAX_SIDE && h <= CN_IMAGE_MAX_SIDE;
}

/* Smallest of the three channels of a[i] - b[i]. */
static float least_difference(const float *a, const float *b)
{
    float d0 = a[0] - b[0], d1 = a[1] - b[1], d2 = a[2] - b[2];
    float d = d0 < d1 ? d0 : d1;

    return d < d2 ? d : d2;
}

/* sd-webui-controlnet scribble_xdog: g1 = G(0.5), g2 = G(5), dog = uint8(clip(255 - min_c(g2 -
 * g1))), a line where 2 (255 - dog) > thr. There the product is taken in 8 bits and wraps, which
 * punches holes into the strongest lines (255 - dog from 128 to 128 + thr / 2); here it does not
 * wrap. */
static uint8_t xdog(float difference, int thr)
{
    float dog = 255 - difference;
    int line = 255 - (int)(dog < 0 ? 0 : dog > 255 ? 255 : dog);

    return 2 * line > thr ? 255 : 0;
}

int cn_scribble_xdog(const uint8_t *rgb, int w, int h, int thr, uint8_t *out)
{
    struct cn_blur fine, coarse;
    float *row;
    int rc;

    if (!plausible(w, h))
        return CN_EINVAL;
    rc = cn_blur_init(&fine, rgb, w, h, 3, 0.5);
    if (cn_blur_init(&coarse, rgb, w, h, 3, 5.0) < 0)
        rc = CN_ENOMEM;
    row = cn_try_alloc(6 * (size_t)w * sizeof(float)); /* both blurs of one row, [2, w, 3] */
    if (row == NULL)
        rc = CN_ENOMEM;
    for (int y = 0; rc == CN_OK && y < h; y++) {
        cn_blur_row(&fine, y, row);
        cn_blur_row(&coarse, y, row + 3 * w);
        for (int x = 0; x < w; x++)
            *out++ = xdog(least_difference(row + 3 * (w + x), row + 3 * x), thr);
    }
    free(row);
    cn_blur_release(&fine);
    cn_blur_release(&coarse);
    return rc;
}

/* Rank k (from 0) among the values of v [n] that lie above floor. Such floats are ordered like
 * their bits, so two histograms of 16 bits each find the value without sorting. */
static float value_of_rank(const float *v, size_t n, float floor, size_t k, uint32_t *histogram)
{
    uint32_t bits, prefix = 0;

    for (int shift = 16; shift >= 0; shift -= 16) {
        uint32_t digit = 0;

        memset(histogram, 0, 65536 * sizeof(*histogram));
        for (size_t i = 0; i < n; i++) {
            memcpy(&bits, &v[i], sizeof(bits));
            if (v[i] > floor && (shift == 16 || bits >> 16 == prefix))
                histogram[bits >> shift & 0xffff]++;
        }
        while (k >= histogram[digit])
            k -= histogram[digit++];
        prefix = prefix << 16 | digit;
    }
    float value;
    memcpy(&value, &prefix, sizeof(value));
    return value;
}

/* Median of the values above 8, the mean of the middle two for an even count; 0 if there is none.
 * *ret is the divisor: never below 16, so that faint noise stays faint. */
static int strength(const float *v, size_t n, float *ret)
{
    uint32_t *histogram = cn_try_alloc(65536 * sizeof(*histogram));
    size_t above = 0;
    float median = 0;

    if (histogram == NULL)
        return CN_ENOMEM;
    for (size_t i = 0; i < n; i++)
        above += v[i] > 8;
    if (above > 0)
        median = (value_of_rank(v, n, 8, (above - 1) / 2, histogram) +
                  value_of_rank(v, n, 8, above / 2, histogram)) /
                 2;
    free(histogram);
    *ret = median > 16 ? median : 16;
    return CN_OK;
}

static void darker_than_around(struct cn_blur *b, float *row, float *v)
{
    const uint8_t *px = b->px;

    for (int y = 0; y < b->h; y++) {
        cn_blur_row(b, y, row);
        for (int x = 0; x < b->w; x++, px += 3) {
            const float here[3] = {px[0], px[1], px[2]};
            float d = least_difference(row + 3 * x, here);

            *v++ = d < 0 ? 0 : d > 255 ? 255 : d;
        }
    }
}

/* sd-webui-controlnet lineart_standard: I = clip(min_c(G(6) - x)); I / max(16, median(I > 8)) 127.
 */
int cn_lineart_standard(const uint8_t *rgb, int w, int h, uint8_t *out)
{
    struct cn_blur blur;
    size_t n = (size_t)w * (size_t)h;
    float *row, *v, scale;
    int rc;

    if (!plausible(w, h))
        return CN_EINVAL;
    rc = cn_blur_init(&blur, rgb, w, h, 3, 6.0);
    row = cn_try_alloc(3 * (size_t)w * sizeof(float));
    v = cn_try_alloc(n * sizeof(float));
    if (row == NULL || v == NULL)
        rc = CN_ENOMEM;
    if (rc == CN_OK) {
        darker_than_around(&blur, row, v);
        rc = strength(v, n, &scale);
    }
    for (size_t i = 0; rc == CN_OK && i < n; i++) {
        float level = v[i] / scale * 127;

        out[i] = (uint8_t)(level > 255 ? 255 : level);
    }
    free(row);
    free(v);
    cn_blur_release(&blur);
    return rc;
}

/* Moments are updated as OpenCV does (THRESH_OTSU), so that near ties fall the same way. */
int cn_otsu(const uint8_t *grey, size_t n)
{
    size_t histogram[256] = {0};
    double mean = 0, below = 0, mean_below = 0, best = 0;
    int threshold = 0;

    for (size_t i = 0; i < n; i++)
        histogram[grey[i]]++;
    for (int i = 0; i < 256; i++)
        mean += i * (double)histogram[i] / (double)n;
    for (int i = 0; i < 256; i++) {
        double p = (double)histogram[i] / (double)n, above, mean_above, variance;

        mean_below *= below;
        below += p;
        above = 1 - below;
        if (CN_MIN(below, above) < FLT_EPSILON)
            continue;
        mean_below = (mean_below + i * p) / below;
        mean_above = (mean - below * mean_below) / above;
        variance = below * above * (mean_below - mean_above) * (mean_below - mean_above);
        if (variance > best) {
            best = variance;
            threshold = i;
        }
    }
    return threshold;
}
