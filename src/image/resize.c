/* Separable resampling with the fixed-point arithmetic of Pillow (libImaging Resample.c): weights
 * in 22 fractional bits, two passes, 8-bit intermediate.
 */
#include "base/base.h"
#include "image/resize.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* 8 bits of pixel, 2 of headroom for negative lobes: the rest of an int is fraction. */
enum { FRACTION_BITS = 22 };

/* One direction of a resampling: in source positions become full ones, of which only [skip, skip +
 * n) are wanted. A crop thus costs no more than what is kept of it. */
struct axis {
    int in, n;
    int64_t full, skip;
};

/* For each output position the source positions [first, first + n) and their weights. */
struct window {
    int first, n;
};

struct taps {
    struct window *win; /* [out] */
    int *weight;        /* [out, pitch], fixed point */
    int pitch;
};

static double box(double x)
{
    return x > -0.5 && x <= 0.5 ? 1 : 0;
}

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* Keys 1981 with a = -0.5. */
static double bicubic(double x)
{
    const double a = -0.5;

    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static double sinc(double x)
{
    if (x == 0)
        return 1;
    x *= M_PI;
    return sin(x) / x;
}

static double lanczos(double x)
{
    return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

static const struct {
    double (*weight)(double);
    double support; /* half the width, in source pixels when enlarging */
} filters[CN_FILTER_COUNT] = {
    [CN_BOX] = {box, 0.5},
    [CN_BILINEAR] = {bilinear, 1},
    [CN_BICUBIC] = {bicubic, 2},
    [CN_LANCZOS] = {lanczos, 3},
};

static void taps_release(struct taps *t)
{
    free(t->win);
    free(t->weight);
}

/* Weights of output position skip + at. The window is cut at the border and renormalised: no source
 * pixel is repeated. room has pitch doubles. */
static void fill_taps(struct taps *t, const struct axis *a, int at, enum cn_filter filter,
                      double *room)
{
    double scale = (double)a->in / (double)a->full, stretch = scale > 1 ? scale : 1;
    double support = filters[filter].support * stretch, inverse = 1 / stretch, sum = 0;
    double centre = ((double)(a->skip + at) + 0.5) * scale;
    int first = CN_MAX((int)(centre - support + 0.5), 0);
    int n = CN_MIN((int)(centre + support + 0.5), a->in) - first;
    int *weight = t->weight + (size_t)at * (size_t)t->pitch;

    for (int i = 0; i < n; i++) {
        room[i] = filters[filter].weight((i + first - centre + 0.5) * inverse);
        sum += room[i];
    }
    for (int i = 0; i < n; i++) {
        double w = (sum != 0 ? room[i] / sum : room[i]) * (1 << FRACTION_BITS);

        weight[i] = (int)(w < 0 ? w - 0.5 : w + 0.5);
    }
    t->win[at] = (struct window){first, n};
}

static int taps_init(struct taps *t, const struct axis *a, enum cn_filter filter)
{
    double scale = (double)a->in / (double)a->full;
    double support = filters[filter].support * (scale > 1 ? scale : 1);
    double *room;

    t->pitch = (int)ceil(support) * 2 + 1;
    t->win = cn_try_alloc((size_t)a->n * sizeof(*t->win));
    t->weight = cn_try_alloc((size_t)a->n * (size_t)t->pitch * sizeof(*t->weight));
    room = cn_try_alloc((size_t)t->pitch * sizeof(*room));
    if (t->win == NULL || t->weight == NULL || room == NULL) {
        free(room);
        return CN_ENOMEM;
    }
    for (int i = 0; i < a->n; i++)
        fill_taps(t, a, i, filter, room);
    free(room);
    return CN_OK;
}

static uint8_t to_byte(int sum)
{
    sum >>= FRACTION_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* One pixel of c channels: n taps over pixels that lie c bytes apart. */
static void weigh_pixel(const uint8_t *from, const int *weight, int n, int c, uint8_t *to)
{
    int sum[4];

    for (int k = 0; k < c; k++)
        sum[k] = 1 << (FRACTION_BITS - 1);
    for (int i = 0; i < n; i++, from += c)
        for (int k = 0; k < c; k++)
            sum[k] += from[k] * weight[i];
    for (int k = 0; k < c; k++)
        to[k] = to_byte(sum[k]);
}

/* The number of channels is spelled out so that the compiler unrolls over it. */
static void horizontal_row(const struct taps *t, const uint8_t *from, int w, int c, uint8_t *to)
{
    for (int x = 0; x < w; x++, to += c) {
        const int *weight = t->weight + (size_t)x * (size_t)t->pitch;
        const uint8_t *first = from + t->win[x].first * c;

        if (c == 3)
            weigh_pixel(first, weight, t->win[x].n, 3, to);
        else if (c == 4)
            weigh_pixel(first, weight, t->win[x].n, 4, to);
        else
            weigh_pixel(first, weight, t->win[x].n, 1, to);
    }
}

static int horizontal(const struct cn_image *src, const struct axis *x, enum cn_filter filter,
                      struct cn_image *dst)
{
    size_t from = (size_t)src->w * (size_t)src->c, to = (size_t)x->n * (size_t)src->c;
    struct taps t;
    int rc = taps_init(&t, x, filter);

    for (size_t i = 0; rc == CN_OK && i < (size_t)src->h; i++)
        horizontal_row(&t, src->px + i * from, x->n, src->c, dst->px + i * to);
    taps_release(&t);
    return rc;
}

/* sum is [row bytes]. */
static void vertical_row(const struct taps *t, int y, const uint8_t *from, size_t row, int *sum,
                         uint8_t *to)
{
    const int *weight = t->weight + (size_t)y * (size_t)t->pitch;

    from += (size_t)t->win[y].first * row;
    for (size_t i = 0; i < row; i++)
        sum[i] = 1 << (FRACTION_BITS - 1);
    for (int k = 0; k < t->win[y].n; k++, from += row)
        for (size_t i = 0; i < row; i++)
            sum[i] += from[i] * weight[k];
    for (size_t i = 0; i < row; i++)
        to[i] = to_byte(sum[i]);
}

static int vertical(const struct cn_image *src, const struct axis *y, enum cn_filter filter,
                    struct cn_image *dst)
{
    size_t row = (size_t)src->w * (size_t)src->c;
    int *sum = cn_try_alloc(row * sizeof(*sum));
    struct taps t;
    int rc = taps_init(&t, y, filter);

    if (sum == NULL)
        rc = CN_ENOMEM;
    for (int i = 0; rc == CN_OK && i < y->n; i++)
        vertical_row(&t, i, src->px, row, sum, dst->px + (size_t)i * row);
    taps_release(&t);
    free(sum);
    return rc;
}

/* Position in the source of each wanted output position. The sum is accumulated, as Pillow does:
 * the rounding of a product would choose other pixels now and then. */
static int *nearest_positions(const struct axis *a)
{
    double step = (double)a->in / (double)a->full, at = step * 0.5 + step * (double)a->skip;
    int *position = cn_try_alloc((size_t)a->n * sizeof(*position));

    for (int i = 0; position != NULL && i < a->n; i++, at += step)
        position[i] = CN_MIN((int)at, a->in - 1);
    return position;
}

static int nearest(const struct cn_image *src, const struct axis *x, const struct axis *y,
                   struct cn_image *dst)
{
    size_t c = (size_t)src->c, row = (size_t)src->w * c;
    int *xs = nearest_positions(x), *ys = nearest_positions(y);
    uint8_t *to = dst->px;
    int rc = xs == NULL || ys == NULL ? CN_ENOMEM : CN_OK;

    for (int i = 0; rc == CN_OK && i < dst->h; i++) {
        const uint8_t *from = src->px + (size_t)ys[i] * row;

        for (int k = 0; k < dst->w; k++, to += c)
            memcpy(to, from + (size_t)xs[k] * c, c);
    }
    free(xs);
    free(ys);
    return rc;
}

/* Rounded px * alpha / 255, without a division. */
static uint8_t times(unsigned px, unsigned alpha)
{
    unsigned v = px * alpha + 128;

    return (uint8_t)(((v >> 8) + v) >> 8);
}

static void premultiply(struct cn_image *img)
{
    uint8_t *px = img->px, *end = px + cn_image_bytes(img);

    for (; px < end; px += 4)
        for (int k = 0; k < 3; k++)
            px[k] = times(px[k], px[3]);
}

static void unpremultiply(struct cn_image *img)
{
    uint8_t *px = img->px, *end = px + cn_image_bytes(img);

    for (; px < end; px += 4)
        for (int k = 0; k < 3 && px[3] != 0 && px[3] != 255; k++)
            px[k] = (uint8_t)CN_MIN(255 * px[k] / px[3], 255);
}

static bool identity(const struct axis *a)
{
    return a->full == a->in && a->n == a->in;
}

/* The order of the passes decides the last bit. Pillow 13 takes rows first when the height loses
 * more than twice what the width loses; versions up to 11 always took columns of output first. */
static bool rows_first(const struct axis *x, const struct axis *y)
{
    int64_t less_w = x->in - x->full, less_h = y->in - y->full;

    return less_h > 0 && less_h > 2 * less_w;
}

/* A pass that would not change the size is left out, as in Pillow. */
static int two_passes(const struct cn_image *src, const struct axis *x, const struct axis *y,
                      enum cn_filter filter, struct cn_image *dst)
{
    bool rows = rows_first(x, y);
    struct cn_image mid;
    int rc;

    if (identity(y))
        return horizontal(src, x, filter, dst);
    if (identity(x))
        return vertical(src, y, filter, dst);
    rc = cn_image_init(&mid, rows ? src->w : dst->w, rows ? dst->h : src->h, src->c, NULL);
    if (rc < 0)
        return rc;
    rc = rows ? vertical(src, y, filter, &mid) : horizontal(src, x, filter, &mid);
    if (rc == CN_OK)
        rc = rows ? horizontal(&mid, x, filter, dst) : vertical(&mid, y, filter, dst);
    cn_image_release(&mid);
    return rc;
}

/* Colours under transparent pixels must not bleed into their neighbours. */
static int filter_rgba(const struct cn_image *src, const struct axis *x, const struct axis *y,
                       enum cn_filter filter, struct cn_image *dst)
{
    struct cn_image pre;
    int rc = cn_image_copy(src, &pre, NULL);

    if (rc < 0)
        return rc;
    premultiply(&pre);
    rc = two_passes(&pre, x, y, filter, dst);
    cn_image_release(&pre);
    if (rc == CN_OK)
        unpremultiply(dst);
    return rc;
}

static int resample(const struct cn_image *src, const struct axis *x, const struct axis *y,
                    enum cn_filter filter, struct cn_image *ret, struct cn_err *err)
{
    struct cn_image dst;
    int rc;

    if (identity(x) && identity(y))
        return cn_image_copy(src, ret, err);
    if (x->full == x->in && y->full == y->in)
        filter = CN_NEAREST; /* a mere crop: nothing is to be rounded */
    rc = cn_image_init(&dst, x->n, y->n, src->c, err);
    if (rc < 0)
        return rc;
    if (filter == CN_NEAREST)
        rc = nearest(src, x, y, &dst);
    else if (src->c == 4)
        rc = filter_rgba(src, x, y, filter, &dst);
    else
        rc = two_passes(src, x, y, filter, &dst);
    if (rc < 0) {
        cn_image_release(&dst);
        return cn_fail(err, rc, "no memory to resize a picture to %d by %d pixels", x->n, y->n);
    }
    *ret = dst;
    return CN_OK;
}

int cn_image_resize(const struct cn_image *src, int w, int h, enum cn_filter filter,
                    struct cn_image *ret, struct cn_err *err)
{
    const struct axis x = {.in = src->w, .n = w, .full = w};
    const struct axis y = {.in = src->h, .n = h, .full = h};

    return resample(src, &x, &y, filter, ret, err);
}

/* Scales by the larger of the two factors, so that the picture covers w by h, and keeps its middle.
 */
static int crop(const struct cn_image *src, int w, int h, enum cn_filter filter,
                struct cn_image *ret, struct cn_err *err)
{
    double k = fmax((double)w / src->w, (double)h / src->h);
    struct axis x = {.in = src->w, .n = w, .full = llrint(src->w * k)};
    struct axis y = {.in = src->h, .n = h, .full = llrint(src->h * k)};

    x.skip = (x.full - w) / 2;
    y.skip = (y.full - h) / 2;
    return resample(src, &x, &y, filter, ret, err);
}

/* img [h, w, c] is surrounded by colour up to the size of dst. */
static void surround(const struct cn_image *img, const uint8_t *colour, struct cn_image *dst)
{
    size_t c = (size_t)img->c, row = (size_t)img->w * c, n = (size_t)dst->w * (size_t)dst->h;
    size_t left = (size_t)(dst->w - img->w) / 2, top = (size_t)(dst->h - img->h) / 2;

    for (size_t i = 0; i < n; i++)
        memcpy(dst->px + i * c, colour, c);
    for (size_t y = 0; y < (size_t)img->h; y++)
        memcpy(dst->px + ((top + y) * (size_t)dst->w + left) * c, img->px + y * row, row);
}

/* Scales by the smaller factor, so that all of the picture is there; no side shrinks to nothing. */
static int pad(const struct cn_image *src, int w, int h, const struct cn_fit *fit,
               struct cn_image *ret, struct cn_err *err)
{
    double k = fmin((double)w / src->w, (double)h / src->h);
    int inner_w = (int)fmax(rint(src->w * k), 1), inner_h = (int)fmax(rint(src->h * k), 1);
    struct cn_image inner;
    int rc = cn_image_resize(src, inner_w, inner_h, fit->filter, &inner, err);

    if (rc < 0 || (inner_w == w && inner_h == h)) {
        if (rc == CN_OK)
            *ret = inner;
        return rc;
    }
    rc = cn_image_init(ret, w, h, src->c, err);
    if (rc == CN_OK)
        surround(&inner, fit->pad, ret);
    cn_image_release(&inner);
    return rc;
}

int cn_image_fit(const struct cn_image *src, int w, int h, const struct cn_fit *fit,
                 struct cn_image *ret, struct cn_err *err)
{
    if (w < 1 || h < 1 || w > CN_IMAGE_MAX_SIDE || h > CN_IMAGE_MAX_SIDE)
        return cn_fail(err, CN_EINVAL, "a picture cannot have %d by %d pixels", w, h);
    if (fit->mode == CN_CROP)
        return crop(src, w, h, fit->filter, ret, err);
    if (fit->mode == CN_PAD)
        return pad(src, w, h, fit, ret, err);
    return cn_image_resize(src, w, h, fit->filter, ret, err);
}
