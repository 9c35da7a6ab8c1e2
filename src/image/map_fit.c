/* Control maps of another size. Filters are OpenCV's: areas when it shrinks, without which cubic
 * convolution with a = -0.75 does not blur. */
#include "base/base.h"
#include "image/map_fit.h"
#include "base/mem.h"
#include "image/annotate.h"
#include "image/map_thin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum kernel { KERNEL_NEAREST, KERNEL_AREA, KERNEL_CUBIC };

/* ---- resampling ---- */

/* What each place along one side is made of. */
struct side {
    int n, most;   /* places; taps of each, at most */
    int *from;     /* [n, most]: positions in the source */
    float *weight; /* [n, most] */
};

static void side_release(struct side *s)
{
    free(s->from);
    free(s->weight);
}

static void set_tap(struct side *s, int i, int k, int at, int in, double weight)
{
    size_t to = (size_t)i * (size_t)s->most + (size_t)k;

    s->from[to] = CN_MIN(CN_MAX(at, 0), in - 1);
    s->weight[to] = (float)weight;
}

/* How much of each source pixel lies in [i, i + 1) scale. */
static void area_taps(struct side *s, int i, int in, double scale)
{
    double begin = i * scale, end = fmin(begin + scale, in);

    for (int k = 0; k < s->most; k++) {
        int at = (int)begin + k;
        double part = fmin(end, at + 1.0) - fmax(begin, at);

        set_tap(s, i, k, at, in, part > 1e-3 ? part / (end - begin) : 0);
    }
}

static void cubic_taps(struct side *s, int i, int in, double scale)
{
    static const double a = -0.75;
    double at = (i + 0.5) * scale - 0.5, t = at - floor(at);
    double w0 = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a;
    double w1 = ((a + 2) * t - (a + 3)) * t * t + 1;
    double w2 = ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1;
    const double w[4] = {w0, w1, w2, 1 - w0 - w1 - w2};

    for (int k = 0; k < 4; k++)
        set_tap(s, i, k, (int)floor(at) - 1 + k, in, w[k]);
}

static int side_init(struct side *s, int in, int n, enum kernel kernel)
{
    double scale = (double)in / n;
    size_t taps;

    *s = (struct side){.n = n, .most = kernel == KERNEL_CUBIC ? 4 : 1};
    if (kernel == KERNEL_AREA)
        s->most = (int)ceil(scale) + 1;
    taps = (size_t)n * (size_t)s->most;
    s->from = cn_try_alloc(taps * sizeof(*s->from));
    s->weight = cn_try_alloc(taps * sizeof(*s->weight));
    if (s->from == NULL || s->weight == NULL)
        return CN_ENOMEM;
    for (int i = 0; i < n; i++)
        if (kernel == KERNEL_AREA)
            area_taps(s, i, in, scale);
        else if (kernel == KERNEL_CUBIC)
            cubic_taps(s, i, in, scale);
        else
            set_tap(s, i, 0, (int)(i * scale), in, 1);
    return CN_OK;
}

/* One row [x->n, c] of sums along x. */
static void sum_row(const struct cn_image *src, int y, const struct side *x, float *to)
{
    size_t c = (size_t)src->c;
    const uint8_t *row = src->px + (size_t)y * (size_t)src->w * c;

    for (int i = 0; i < x->n; i++, to += c)
        for (size_t k = 0; k < c; k++) {
            const int *from = x->from + (size_t)i * (size_t)x->most;
            const float *w = x->weight + (size_t)i * (size_t)x->most;
            float sum = 0;

            for (int t = 0; t < x->most; t++)
                sum += w[t] * (float)row[(size_t)from[t] * c + k];
            to[k] = sum;
        }
}

static uint8_t to_byte(float v)
{
    return (uint8_t)lrintf(v < 0 ? 0 : v > 255 ? 255 : v);
}

static int resample_sides(const struct cn_image *src, const struct side *x, const struct side *y,
                          struct cn_image *dst)
{
    size_t n = (size_t)dst->w * (size_t)dst->c;
    float *row = cn_try_alloc(n * sizeof(*row)), *sum = cn_try_alloc(n * sizeof(*sum));

    for (int i = 0; i < y->n && row != NULL && sum != NULL; i++) {
        memset(sum, 0, n * sizeof(*sum));
        for (int t = 0; t < y->most; t++) {
            size_t tap = (size_t)i * (size_t)y->most + (size_t)t;

            if (y->weight[tap] == 0)
                continue;
            sum_row(src, y->from[tap], x, row);
            for (size_t k = 0; k < n; k++)
                sum[k] += y->weight[tap] * row[k];
        }
        for (size_t k = 0; k < n; k++)
            dst->px[(size_t)i * n + k] = to_byte(sum[k]);
    }
    free(sum);
    free(row);
    return row == NULL || sum == NULL ? CN_ENOMEM : CN_OK;
}

static int resample(const struct cn_image *src, int w, int h, enum kernel kernel,
                    struct cn_image *ret, struct cn_err *err)
{
    struct side x = {0}, y = {0};
    int rc = cn_image_init(ret, w, h, src->c, err);

    if (rc < 0)
        return rc;
    rc = side_init(&x, src->w, w, kernel);
    if (rc == CN_OK)
        rc = side_init(&y, src->h, h, kernel);
    if (rc == CN_OK)
        rc = resample_sides(src, &x, &y, ret);
    side_release(&x);
    side_release(&y);
    if (rc < 0) {
        cn_image_release(ret);
        return cn_fail(err, rc, "no memory to resize a control map to %d by %d pixels", w, h);
    }
    return CN_OK;
}

/* ---- what kind of map ---- */

struct look {
    int colours; /* at most FEW */
    bool binary; /* black and white */
    bool thin;   /* and in lines of one pixel */
};

enum { FEW = 200 };

/* Counts up to FEW different colours. */
static int count_colours(const struct cn_image *img)
{
    uint32_t seen[FEW], last = UINT32_MAX;
    size_t pixels = (size_t)img->w * (size_t)img->h, c = (size_t)img->c;
    int n = 0;

    for (size_t i = 0; i < pixels && n < FEW; i++) {
        const uint8_t *px = img->px + i * c;
        uint32_t v = (uint32_t)px[0] << 16 | (uint32_t)px[1] << 8 | px[2];
        int k = 0;

        if (v == last)
            continue;
        last = v;
        while (k < n && seen[k] != v)
            k++;
        if (k == n)
            seen[n++] = v;
    }
    return n;
}

static void find_range(const struct cn_image *img, uint8_t *low, uint8_t *high)
{
    size_t pixels = (size_t)img->w * (size_t)img->h, c = (size_t)img->c;

    *low = 255;
    *high = 0;
    for (size_t i = 0; i < pixels; i++)
        for (size_t k = 0; k < 3; k++) {
            *low = CN_MIN(*low, img->px[i * c + k]);
            *high = CN_MAX(*high, img->px[i * c + k]);
        }
}

/* [h, w]: the mean of the three channels, rounded down. NULL: no memory. */
static uint8_t *mean_of(const struct cn_image *img)
{
    size_t pixels = (size_t)img->w * (size_t)img->h, c = (size_t)img->c;
    uint8_t *mean = cn_try_alloc(pixels);

    for (size_t i = 0; mean != NULL && i < pixels; i++) {
        const uint8_t *px = img->px + i * c;

        mean[i] = (uint8_t)((px[0] + px[1] + px[2]) / 3);
    }
    return mean;
}

/* Most of what is white goes when it is eroded and grown again. */
static int is_thin(const struct cn_image *img, bool *ret)
{
    size_t pixels = (size_t)img->w * (size_t)img->h, gone = 0, white = 0;
    uint8_t *px = mean_of(img), *opened = mean_of(img);
    int rc = px == NULL || opened == NULL ? CN_ENOMEM : cn_map_open(opened, img->w, img->h);

    for (size_t i = 0; rc == CN_OK && i < pixels; i++) {
        gone += opened[i] < px[i];
        white += px[i] > 127;
    }
    *ret = 2 * gone > white;
    free(px);
    free(opened);
    return rc;
}

static int look_at(const struct cn_image *img, struct look *ret)
{
    uint8_t low, high;

    *ret = (struct look){.colours = count_colours(img)};
    if (ret->colours != 2)
        return CN_OK;
    find_range(img, &low, &high);
    ret->binary = low < 16 && high > 240;
    return ret->binary ? is_thin(img, &ret->thin) : CN_OK;
}

bool cn_map_is_thin(const struct cn_image *map)
{
    struct look look;

    return look_at(map, &look) == CN_OK && look.thin;
}

/* ---- resizing ---- */

/* Black and white again, after a filter has made greys. */
static int sharpen(struct cn_image *img, const struct look *look, bool grew)
{
    size_t pixels = (size_t)img->w * (size_t)img->h, c = (size_t)img->c;
    uint8_t *px = mean_of(img);
    int rc = px == NULL ? CN_ENOMEM : CN_OK, t;

    if (rc == CN_OK && look->thin)
        rc = cn_map_ridges(px, img->w, img->h);
    if (rc == CN_OK) {
        t = cn_otsu(px, pixels);
        for (size_t i = 0; i < pixels; i++)
            px[i] = px[i] > t ? 255 : 0;
    }
    if (rc == CN_OK && look->thin)
        rc = cn_map_thin(px, img->w, img->h, grew);
    for (size_t i = 0; rc == CN_OK && i < pixels; i++)
        memset(img->px + i * c, px[i], 3);
    free(px);
    return rc;
}

int cn_map_resize(const struct cn_image *src, int w, int h, struct cn_image *ret,
                  struct cn_err *err)
{
    bool grows = (double)w * h >= (double)src->w * src->h;
    struct look look;
    enum kernel kernel;
    int rc;

    if (w == src->w && h == src->h)
        return cn_image_copy(src, ret, err);
    if ((rc = look_at(src, &look)) < 0)
        return cn_fail(err, rc, "no memory for a control map");
    kernel = grows ? KERNEL_CUBIC : KERNEL_AREA;
    if (look.colours > 2 && look.colours < FEW)
        kernel = KERNEL_NEAREST;
    if ((rc = resample(src, w, h, kernel, ret, err)) < 0)
        return rc;
    if (look.binary)
        rc = sharpen(ret, &look, grows);
    for (size_t i = 3; src->c == 4 && i < cn_image_bytes(ret); i += 4)
        ret->px[i] = ret->px[i] > 127 ? 255 : 0;
    if (rc < 0) {
        cn_image_release(ret);
        return cn_fail(err, rc, "no memory for a control map");
    }
    return CN_OK;
}

/* ---- fitting ---- */

int cn_map_resolution(int w0, int h0, int w, int h, enum cn_resize mode)
{
    double kh = (double)h / h0, kw = (double)w / w0;
    double k = mode == CN_PAD ? fmin(kh, kw) : fmax(kh, kw);

    return (int)rint(k * CN_MIN(w0, h0));
}

static int compare_bytes(const void *a, const void *b)
{
    return *(const uint8_t *)a - *(const uint8_t *)b;
}

/* Value k of the pixels at the border, in reading order of top, bottom, left and right. */
static uint8_t border_value(const struct cn_image *img, size_t i, size_t k)
{
    size_t w = (size_t)img->w, h = (size_t)img->h, c = (size_t)img->c, x, y;

    if (i < 2 * w) {
        x = i % w;
        y = i < w ? 0 : h - 1;
    } else {
        x = i - 2 * w < h ? 0 : w - 1;
        y = (i - 2 * w) % h;
    }
    return img->px[(y * w + x) * c + k];
}

int cn_map_border(const struct cn_image *img, uint8_t colour[4])
{
    size_t n = 2 * ((size_t)img->w + (size_t)img->h);
    uint8_t *v = cn_try_alloc(n);

    for (size_t k = 0; v != NULL && k < (size_t)img->c; k++) {
        for (size_t i = 0; i < n; i++)
            v[i] = border_value(img, i, k);
        qsort(v, n, 1, compare_bytes);
        colour[k] = (uint8_t)((v[n / 2 - 1] + v[n / 2]) / 2);
    }
    free(v);
    return v == NULL ? CN_ENOMEM : CN_OK;
}

int cn_map_surround(const struct cn_image *img, int w, int h, const uint8_t *colour,
                    struct cn_image *ret, struct cn_err *err)
{
    size_t c = (size_t)img->c, pixels = (size_t)w * (size_t)h, row = (size_t)img->w * c;
    size_t left = (size_t)CN_MAX((w - img->w) / 2, 0), top = (size_t)CN_MAX((h - img->h) / 2, 0);
    int rc = cn_image_init(ret, w, h, img->c, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < pixels; i++)
        memcpy(ret->px + i * c, colour, c);
    for (size_t y = 0; y < (size_t)img->h; y++)
        memcpy(ret->px + ((top + y) * (size_t)w + left) * c, img->px + y * row, row);
    return CN_OK;
}

static int cut(const struct cn_image *img, int w, int h, struct cn_image *ret, struct cn_err *err)
{
    size_t c = (size_t)img->c;
    size_t left = (size_t)CN_MAX((img->w - w) / 2, 0), top = (size_t)CN_MAX((img->h - h) / 2, 0);
    int rc = cn_image_init(ret, w, h, img->c, err);

    for (size_t y = 0; rc == CN_OK && y < (size_t)h; y++)
        memcpy(ret->px + y * (size_t)w * c, img->px + ((top + y) * (size_t)img->w + left) * c,
               (size_t)w * c);
    return rc;
}

int cn_map_fit(const struct cn_image *src, int w, int h, enum cn_resize mode, struct cn_image *ret,
               struct cn_err *err)
{
    double kw = (double)w / src->w, kh = (double)h / src->h;
    double k = mode == CN_PAD ? fmin(kw, kh) : fmax(kw, kh);
    int inner_w = CN_MAX((int)rint(src->w * k), 1), inner_h = CN_MAX((int)rint(src->h * k), 1);
    uint8_t ground[4] = {0};
    struct cn_image inner;
    int rc;

    if (mode == CN_STRETCH)
        return cn_map_resize(src, w, h, ret, err);
    if (mode == CN_CROP) { /* a rounded side may be short of a pixel */
        inner_w = CN_MAX(inner_w, w);
        inner_h = CN_MAX(inner_h, h);
    } else {
        inner_w = CN_MIN(inner_w, w);
        inner_h = CN_MIN(inner_h, h);
        if ((rc = cn_map_border(src, ground)) < 0)
            return cn_fail(err, rc, "no memory for a control map");
        ground[3] = 0;
    }
    if ((rc = cn_map_resize(src, inner_w, inner_h, &inner, err)) < 0)
        return rc;
    rc = mode == CN_CROP ? cut(&inner, w, h, ret, err)
                         : cn_map_surround(&inner, w, h, ground, ret, err);
    cn_image_release(&inner);
    return rc;
}
