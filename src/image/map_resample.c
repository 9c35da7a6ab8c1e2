/* Pictures of another size, as OpenCV's resize.cpp makes them of 8-bit ones.
 *
 * Sums along a row are kept for each source row as they are needed, and rows are summed in order.
 * Areas and cubic convolution are sums of floats. Linear coefficients are multiples of 1/2048: sums
 * along rows are exact, those of columns are 16-bit products that lose bits on the way.
 */
#include "base/base.h"
#include "image/map_resample.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ONE = 2048 }; /* of coefficients */

/* What each place along one side is made of. */
struct side {
    int n, most;   /* places; taps of each, at most */
    int *count;    /* [n] */
    int *from;     /* [n, most]: positions in the source */
    float *weight; /* [n, most] */
};

typedef void (*taps_fn)(struct side *s, int i, int in, double scale);

static void side_release(struct side *s)
{
    free(s->count);
    free(s->from);
    free(s->weight);
}

static void add_tap(struct side *s, int i, int at, double weight)
{
    size_t to = (size_t)i * (size_t)s->most + (size_t)s->count[i]++;

    s->from[to] = at;
    s->weight[to] = (float)weight;
}

static void nearest_tap(struct side *s, int i, int in, double scale)
{
    add_tap(s, i, CN_MIN((int)floor(i * scale), in - 1), 1);
}

/* How much of each source pixel lies in [i, i + 1) scale. */
static void area_taps(struct side *s, int i, int in, double scale)
{
    double begin = i * scale, end = begin + scale, width = fmin(scale, in - begin);
    int last = CN_MIN((int)floor(end), in - 1), first = CN_MIN((int)ceil(begin), last);

    if (first - begin > 1e-3)
        add_tap(s, i, first - 1, (first - begin) / width);
    for (int at = first; at < last; at++)
        add_tap(s, i, at, 1.0 / width);
    if (end - last > 1e-3)
        add_tap(s, i, last, fmin(fmin(end - last, 1), width) / width);
}

static double in_steps(float weight)
{
    return rintf(weight * ONE);
}

static int within(int at, int in)
{
    return CN_MIN(CN_MAX(at, 0), in - 1);
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
        add_tap(s, i, within((int)floor(at) - 1 + k, in), w[k]);
}

/* Of areas where a side grows: linear between neighbours, and level in the middle of a pixel. */
static void linear_rows(struct side *s, int i, int in, double scale)
{
    int at = (int)floor(i * scale);
    float t = (float)((i + 1) - (at + 1) * ((double)s->n / in));

    t = t <= 0 ? 0 : t - floorf(t);
    add_tap(s, i, within(at, in), in_steps(1.0f - t));
    add_tap(s, i, within(at + 1, in), in_steps(t));
}

/* The last column is not mixed with itself, which would lose bits. */
static void linear_columns(struct side *s, int i, int in, double scale)
{
    if ((int)floor(i * scale) >= in - 1)
        add_tap(s, i, in - 1, ONE);
    else
        linear_rows(s, i, in, scale);
}

static int side_init(struct side *s, int in, int n, taps_fn taps, int most)
{
    double scale = 1.0 / ((double)n / in);
    size_t all = (size_t)n * (size_t)most;

    *s = (struct side){.n = n, .most = most};
    s->count = cn_try_alloc((size_t)n * sizeof(*s->count));
    s->from = cn_try_alloc(all * sizeof(*s->from));
    s->weight = cn_try_alloc(all * sizeof(*s->weight));
    if (s->count == NULL || s->from == NULL || s->weight == NULL)
        return CN_ENOMEM;
    memset(s->count, 0, (size_t)n * sizeof(*s->count));
    for (int i = 0; i < n; i++)
        taps(s, i, in, scale);
    return CN_OK;
}

/* ---- sums ---- */

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

            for (int t = 0; t < x->count[i]; t++)
                sum += (float)row[(size_t)from[t] * c + k] * w[t];
            to[k] = sum;
        }
}

static uint8_t to_byte(float v)
{
    return (uint8_t)lrintf(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* row[t] [n]: the sums along x of the rows that weigh w[t]. */
typedef void (*column_fn)(float *const *row, const float *w, int taps, size_t n, uint8_t *to);

static void sum_floats(float *const *row, const float *w, int taps, size_t n, uint8_t *to)
{
    for (size_t i = 0; i < n; i++) {
        float sum = 0;

        for (int t = 0; t < taps; t++)
            sum += w[t] * row[t][i];
        to[i] = to_byte(sum);
    }
}

static void sum_linear(float *const *row, const float *w, int taps, size_t n, uint8_t *to)
{
    for (size_t i = 0; i < n; i++) {
        int sum = 2;

        for (int t = 0; t < taps; t++)
            sum += ((int)w[t] * ((int)row[t][i] >> 4)) >> 16;
        to[i] = (uint8_t)CN_MIN(sum >> 2, 255);
    }
}

/* ---- rows ---- */

/* The sums along x of the source rows that are in use. */
struct rows {
    int most;
    float **row; /* [most] */
    int *is;     /* [most]: which source row; -1: none */
};

static void rows_release(struct rows *r)
{
    for (int i = 0; i < r->most && r->row != NULL; i++)
        free(r->row[i]);
    free(r->row);
    free(r->is);
}

static int rows_init(struct rows *r, int most, size_t n)
{
    *r = (struct rows){.most = most};
    r->row = cn_try_alloc((size_t)most * sizeof(*r->row));
    if (r->row == NULL)
        return CN_ENOMEM;
    memset(r->row, 0, (size_t)most * sizeof(*r->row));
    r->is = cn_try_alloc((size_t)most * sizeof(*r->is));
    if (r->is == NULL)
        return CN_ENOMEM;
    for (int i = 0; i < most; i++) {
        r->is[i] = -1;
        if ((r->row[i] = cn_try_alloc(n * sizeof(**r->row))) == NULL)
            return CN_ENOMEM;
    }
    return CN_OK;
}

/* Rows lie where their number says; those of one sum do not share a place. */
static float *row_of(struct rows *r, const struct cn_image *src, int y, const struct side *x)
{
    int at = y % r->most;

    if (r->is[at] != y) {
        sum_row(src, y, x, r->row[at]);
        r->is[at] = y;
    }
    return r->row[at];
}

static int resample_sides(const struct cn_image *src, const struct side *x, const struct side *y,
                          column_fn sum, struct cn_image *dst)
{
    size_t n = (size_t)dst->w * (size_t)dst->c;
    float **taps = cn_try_alloc((size_t)y->most * sizeof(*taps));
    struct rows rows = {0};
    int rc = taps == NULL ? CN_ENOMEM : rows_init(&rows, y->most, n);

    for (int i = 0; rc == CN_OK && i < y->n; i++) {
        size_t first = (size_t)i * (size_t)y->most;

        for (int t = 0; t < y->count[i]; t++)
            taps[t] = row_of(&rows, src, y->from[first + (size_t)t], x);
        sum(taps, y->weight + first, y->count[i], n, dst->px + (size_t)i * n);
    }
    rows_release(&rows);
    free(taps);
    return rc;
}

/* Blocks of whole pixels: their mean, of 2 x 2 rounded up from the half on, of others to even. */
static void shrink_blocks(const struct cn_image *src, int by_x, int by_y, struct cn_image *dst)
{
    size_t c = (size_t)src->c, pitch = (size_t)src->w * c;
    float part = 1.0f / (float)(by_x * by_y);
    uint8_t *to = dst->px;

    for (size_t y = 0; y < (size_t)dst->h; y++)
        for (size_t x = 0; x < (size_t)dst->w; x++)
            for (size_t k = 0; k < c; k++) {
                const uint8_t *from = src->px + y * (size_t)by_y * pitch + x * (size_t)by_x * c + k;
                int sum = 0;

                for (int i = 0; i < by_x * by_y; i++)
                    sum += from[(size_t)(i / by_x) * pitch + (size_t)(i % by_x) * c];
                *to++ = by_x == 2 && by_y == 2 ? (uint8_t)((sum + 2) >> 2)
                                               : to_byte((float)sum * part);
            }
}

static const struct method {
    taps_fn x, y;
    column_fn sum;
} method[] = {[CN_MAP_NEAREST] = {nearest_tap, nearest_tap, sum_floats},
              [CN_MAP_AREA] = {area_taps, area_taps, sum_floats},
              [CN_MAP_CUBIC] = {cubic_taps, cubic_taps, sum_floats}},
  method_linear = {linear_columns, linear_rows, sum_linear};

int cn_map_resample(const struct cn_image *src, int w, int h, enum cn_map_kernel kernel,
                    struct cn_image *ret, struct cn_err *err)
{
    const struct method *m = &method[kernel];
    struct side x = {0}, y = {0};
    int rc = cn_image_init(ret, w, h, src->c, err);

    if (rc < 0)
        return rc;
    if (kernel == CN_MAP_AREA && src->w % w == 0 && src->h % h == 0) {
        shrink_blocks(src, src->w / w, src->h / h, ret);
        return CN_OK;
    }
    if (kernel == CN_MAP_AREA && (src->w < w || src->h < h))
        m = &method_linear;
    rc = side_init(&x, src->w, w, m->x, src->w / w + 4);
    if (rc == CN_OK)
        rc = side_init(&y, src->h, h, m->y, src->h / h + 4);
    if (rc == CN_OK)
        rc = resample_sides(src, &x, &y, m->sum, ret);
    side_release(&x);
    side_release(&y);
    if (rc < 0) {
        cn_image_release(ret);
        return cn_fail(err, rc, "no memory to resize a control map to %d by %d pixels", w, h);
    }
    return CN_OK;
}
