/* Winograd's algorithm: transformations, and the products between them.
 *
 * The points of interpolation are 0, +-A, +-B and infinity. With A = 5/8 and B = 3/2 the error of a
 * result is half of what 1 and 2 give (1.0e-6 against 2.3e-6, 128 channels).
 *
 *     y = At [ sum over ci of (G g Gt) . (Bt d B) ] A
 *
 * Of a chunk of `tiles` tiles, v is [36, ci, tiles] in panels: [36][ci / 16][tiles][16]. For each
 * block of 16 output channels m = [36][tiles][16] is made of it and turned into pixels at once.
 */
#include "base/base.h"
#include "backend/cpu/winograd_kernel.h"
#include "backend/cpu/simd.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#include <string.h>

#define A 0.625f
#define B 1.5f
#define A2 (A * A)
#define B2 (B * B)

enum {
    BLOCK = 16, /* channels */
    SIDE = 6,   /* of a transformed tile */
    STEP = 4,   /* of its results */
    POINTS = SIDE * SIDE,
    ROWS = 6,         /* tiles that a product keeps in registers */
    MAX_CHUNK = 48,   /* tiles */
    CACHE = 96 << 10, /* floats of transformed inputs that stay in a core's second-level cache */
    SHARED = 2 << 20  /* floats of weights that stay in a cache beyond it, read for every chunk */
};

size_t cn_winograd_floats(int64_t co, int64_t ci)
{
    return (size_t)(POINTS * co * ci);
}

/* ---- weights ---- */

/* u = g of one filter's row or column: the values of its polynomial at the points. */
static void evaluate(double u[SIDE], const double g[3])
{
    double a = A, b = B, even, odd, n;

    u[0] = g[0] / (a * a * b * b);
    n = 2 * a * a * (a * a - b * b);
    even = (g[0] + a * a * g[2]) / n;
    odd = a * g[1] / n;
    u[1] = even + odd;
    u[2] = even - odd;
    n = 2 * b * b * (b * b - a * a);
    even = (g[0] + b * b * g[2]) / n;
    odd = b * g[1] / n;
    u[3] = even + odd;
    u[4] = even - odd;
    u[5] = g[2];
}

static void transform_filter(double u[POINTS], const float *w)
{
    double half[3][SIDE];

    for (int i = 0; i < 3; i++)
        evaluate(half[i], (double[]){w[3 * i], w[3 * i + 1], w[3 * i + 2]});
    for (int j = 0; j < SIDE; j++) {
        double column[SIDE];

        evaluate(column, (double[]){half[0][j], half[1][j], half[2][j]});
        for (int i = 0; i < SIDE; i++)
            u[i * SIDE + j] = column[i];
    }
}

/* u is [co / 16][36][ci][16]. */
void cn_winograd_transform(float *u, const float *w, int64_t co, int64_t ci)
{
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < co; o++)
        for (int64_t i = 0; i < ci; i++) {
            double t[POINTS];
            float *to = u + (o / BLOCK * POINTS * ci + i) * BLOCK + o % BLOCK;

            transform_filter(t, w + (o * ci + i) * 9);
            for (int64_t k = 0; k < POINTS; k++)
                to[k * ci * BLOCK] = (float)t[k];
        }
}

/* ---- inputs ---- */

/* Six inputs, `step` blocks apart, to six values. */
CN_INLINE void line_in(float *restrict to, int64_t to_step, const float *restrict from,
                       int64_t from_step)
{
    for (int c = 0; c < BLOCK; c++) {
        float d0 = from[c], d1 = from[from_step + c], d2 = from[2 * from_step + c];
        float d3 = from[3 * from_step + c], d4 = from[4 * from_step + c];
        float d5 = from[5 * from_step + c], even = d4 - B2 * d2, odd = A * (d3 - B2 * d1);

        to[c] = A2 * B2 * d0 - (A2 + B2) * d2 + d4;
        to[to_step + c] = even + odd;
        to[2 * to_step + c] = even - odd;
        even = d4 - A2 * d2;
        odd = B * (d3 - A2 * d1);
        to[3 * to_step + c] = even + odd;
        to[4 * to_step + c] = even - odd;
        to[5 * to_step + c] = A2 * B2 * d1 - (A2 + B2) * d3 + d5;
    }
}

/* One tile of one block of channels: d with pixels `pixel` and rows `row` floats apart, to v whose
 * points are `point` floats apart. */
CN_SIMD static void transform_tile(float *restrict v, int64_t point, const float *restrict d,
                                   int64_t pixel, int64_t row)
{
    float half[POINTS * BLOCK];

    for (int i = 0; i < SIDE; i++)
        line_in(half + i * SIDE * BLOCK, BLOCK, d + i * row, pixel);
    for (int j = 0; j < SIDE; j++)
        line_in(v + j * point, SIDE * point, half + j * BLOCK, SIDE * BLOCK);
}

/* Of one row of a batch, channels [c, c + 16): its first pixel, and the distance between pixels. */
struct plane {
    float *at;
    int64_t step;
};

static struct plane plane_of(const struct cn_fmap *m, int64_t n, int64_t c)
{
    int64_t hw = m->h * m->w;

    return (struct plane){
        m->data + (n * (m->c / m->block) + c / m->block) * hw * m->block + c % m->block, m->block};
}

/* A tile of which some pixels are outside the map: those are 0. */
static void copy_border(float to[POINTS * BLOCK], const struct cn_fmap *x, struct plane from,
                        int64_t y0, int64_t x0)
{
    memset(to, 0, POINTS * BLOCK * sizeof(*to));
    for (int64_t i = CN_MAX(0, -y0); i < CN_MIN((int64_t)SIDE, x->h - y0); i++)
        for (int64_t j = CN_MAX(0, -x0); j < CN_MIN((int64_t)SIDE, x->w - x0); j++)
            memcpy(to + (i * SIDE + j) * BLOCK, from.at + ((y0 + i) * x->w + x0 + j) * from.step,
                   BLOCK * sizeof(float));
}

/* Where tile number t lies. */
struct tile {
    int64_t n, y, x;
};

static struct tile tile_at(const struct cn_fmap *m, int64_t t)
{
    int64_t across = (m->w + STEP - 1) / STEP, down = (m->h + STEP - 1) / STEP;

    return (struct tile){t / (across * down), t / across % down * STEP, t % across * STEP};
}

/* What tiles [first, first + count) of dst are made of, all channels, to v. */
static void transform_chunk(float *v, const struct cn_fmap *dst, const struct cn_fmap *x,
                            const struct cn_winograd *w, int64_t first, int64_t count)
{
    int64_t panels = x->c / BLOCK, point = panels * count * BLOCK;
    float border[POINTS * BLOCK];

    for (int64_t p = 0; p < panels; p++)
        for (int64_t t = 0; t < count; t++) {
            struct tile at = tile_at(dst, first + t);
            struct plane from = plane_of(x, at.n, p * BLOCK);
            int64_t y0 = at.y - w->top, x0 = at.x - w->left;
            float *to = v + (p * count + t) * BLOCK;

            if (y0 >= 0 && x0 >= 0 && y0 + SIDE <= x->h && x0 + SIDE <= x->w) {
                transform_tile(to, point, from.at + (y0 * x->w + x0) * from.step, from.step,
                               x->w * from.step);
            } else {
                copy_border(border, x, from, y0, x0);
                transform_tile(to, point, border, BLOCK, SIDE * BLOCK);
            }
        }
}

/* ---- products ---- */

typedef float vec8 __attribute__((vector_size(32), aligned(4), may_alias));

/* m [rows, 16] = v [panels][rows of `count`][16] times u [panels * 16][16] */
#define PRODUCT(R)                                                                                 \
    CN_SIMD static void product##R(float *restrict m, const float *restrict v, int64_t count,      \
                                   const float *restrict u, int64_t panels)                        \
    {                                                                                              \
        vec8 sum[R][2] = {{{0}}};                                                                  \
                                                                                                   \
        for (int64_t p = 0; p < panels; p++, v += count * BLOCK)                                   \
            for (int k = 0; k < BLOCK; k++, u += BLOCK) {                                          \
                vec8 low = *(const vec8 *)u, high = *(const vec8 *)(u + 8);                        \
                                                                                                   \
                _Pragma("GCC unroll 6") for (int r = 0; r < R; r++)                                \
                {                                                                                  \
                    sum[r][0] += v[r * BLOCK + k] * low;                                           \
                    sum[r][1] += v[r * BLOCK + k] * high;                                          \
                }                                                                                  \
            }                                                                                      \
        _Pragma("GCC unroll 6") for (int r = 0; r < R; r++)                                        \
        {                                                                                          \
            *(vec8 *)(m + r * BLOCK) = sum[r][0];                                                  \
            *(vec8 *)(m + r * BLOCK + 8) = sum[r][1];                                              \
        }                                                                                          \
    }

PRODUCT(1)
PRODUCT(2)
PRODUCT(3)
PRODUCT(4)
PRODUCT(5)
PRODUCT(6)

typedef void (*product_fn)(float *, const float *, int64_t, const float *, int64_t);

/* m [36][count][16] of one block of output channels. */
static void multiply(float *m, const float *v, int64_t count, const float *u, int64_t panels)
{
    static const product_fn fn[ROWS + 1] = {NULL,     product1, product2, product3,
                                            product4, product5, product6};

    for (int64_t k = 0; k < POINTS; k++)
        for (int64_t t = 0; t < count; t += ROWS)
            fn[CN_MIN((int64_t)ROWS, count - t)](m + (k * count + t) * BLOCK,
                                                 v + (k * panels * count + t) * BLOCK, count,
                                                 u + k * panels * BLOCK * BLOCK, panels);
}

/* ---- results ---- */

/* Six products, to four results. */
CN_INLINE void line_out(float *restrict to, int64_t to_step, const float *restrict from,
                        int64_t from_step)
{
    for (int c = 0; c < BLOCK; c++) {
        float m1 = from[from_step + c], m2 = from[2 * from_step + c];
        float m3 = from[3 * from_step + c], m4 = from[4 * from_step + c];
        float s1 = m1 + m2, e1 = m1 - m2, s2 = m3 + m4, e2 = m3 - m4;

        to[c] = from[c] + s1 + s2;
        to[to_step + c] = A * e1 + B * e2;
        to[2 * to_step + c] = A2 * s1 + B2 * s2;
        to[3 * to_step + c] = A2 * A * e1 + B2 * B * e2 + from[5 * from_step + c];
    }
}

/* y [4][4][16] = bias + the results of m, whose points are `point` floats apart. */
CN_SIMD static void transform_back(float *restrict y, const float *restrict m, int64_t point,
                                   const float *restrict bias)
{
    float half[STEP * SIDE * BLOCK];

    for (int j = 0; j < SIDE; j++)
        line_out(half + j * BLOCK, SIDE * BLOCK, m + j * point, SIDE * point);
    for (int i = 0; i < STEP; i++)
        line_out(y + i * STEP * BLOCK, BLOCK, half + i * SIDE * BLOCK, BLOCK);
    for (int i = 0; i < STEP * STEP; i++)
        for (int c = 0; c < BLOCK; c++)
            y[i * BLOCK + c] += bias[c];
}

CN_SIMD static void put_pixels(float *restrict d, int64_t step, const float *restrict y,
                               int64_t count)
{
    for (int64_t j = 0; j < count; j++)
        for (int c = 0; c < BLOCK; c++)
            d[j * step + c] = y[j * BLOCK + c];
}

/* d may be r. */
CN_SIMD static void put_sums(float *d, const float *r, int64_t step, const float *restrict y,
                             int64_t count)
{
    for (int64_t j = 0; j < count; j++) {
        float sum[BLOCK];

        for (int c = 0; c < BLOCK; c++)
            sum[c] = y[j * BLOCK + c] + r[j * step + c];
        memcpy(d + j * step, sum, sizeof(sum));
    }
}

/* One block of output channels of a chunk. */
static void write_chunk(const struct cn_fmap *dst, const struct cn_winograd *p, int64_t c,
                        const float *m, int64_t first, int64_t count)
{
    static const float none[BLOCK];
    float y[STEP * STEP * BLOCK];

    for (int64_t t = 0; t < count; t++) {
        struct tile at = tile_at(dst, first + t);
        struct plane to = plane_of(dst, at.n, c);
        int64_t wide = CN_MIN((int64_t)STEP, dst->w - at.x);

        transform_back(y, m + t * BLOCK, count * BLOCK, p->bias ? p->bias + c : none);
        for (int64_t i = 0; i < CN_MIN((int64_t)STEP, dst->h - at.y); i++) {
            int64_t pixel = ((at.y + i) * dst->w + at.x) * to.step;

            if (p->residual != NULL)
                put_sums(to.at + pixel, plane_of(p->residual, at.n, c).at + pixel, to.step,
                         y + i * STEP * BLOCK, wide);
            else
                put_pixels(to.at + pixel, to.step, y + i * STEP * BLOCK, wide);
        }
    }
}

/* ---- chunks ---- */

static int threads(void)
{
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

static int thread(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

/* Tiles of a chunk: as many as leave its inputs in a core's cache; where the weights do not stay in
 * any, more, because each chunk reads them all. */
static int64_t chunk_of(int64_t co, int64_t ci)
{
    int64_t fits = CACHE / (POINTS * ci) / ROWS * ROWS;

    if (POINTS * co * ci > SHARED)
        return MAX_CHUNK;
    return CN_MIN(CN_MAX(fits, (int64_t)ROWS), (int64_t)MAX_CHUNK);
}

static size_t scratch_of_one(int64_t co, int64_t ci)
{
    return (size_t)(POINTS * chunk_of(co, ci) * (ci + BLOCK));
}

size_t cn_winograd_scratch(int64_t co, int64_t ci)
{
    return (size_t)threads() * scratch_of_one(co, ci);
}

/* Four times fewer multiplications, but for the pixels beyond the border. */
bool cn_winograd_pays(int64_t h, int64_t w)
{
    int64_t tiles = (h + STEP - 1) / STEP * ((w + STEP - 1) / STEP);

    return tiles >= 4 && 2 * h * w >= tiles * STEP * STEP;
}

void cn_winograd_run(const struct cn_fmap *dst, const struct cn_fmap *x,
                     const struct cn_winograd *p, float *scratch)
{
    int64_t blocks = dst->c / BLOCK, most = chunk_of(dst->c, x->c);
    int64_t tiles = dst->n * ((dst->h + STEP - 1) / STEP) * ((dst->w + STEP - 1) / STEP);
    int64_t chunks, groups, busy = threads();

    /* Small maps are cut by output channels as well; each of these parts transforms for itself. */
    if (most * busy > tiles)
        most = CN_MIN(most, CN_MAX((tiles / busy + ROWS - 1) / ROWS * ROWS, (int64_t)2 * ROWS));
    chunks = (tiles + most - 1) / most;
    groups = CN_MIN(blocks, (busy + chunks - 1) / chunks);
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t i = 0; i < chunks; i++)
        for (int64_t k = 0; k < groups; k++) {
            float *v = scratch + (size_t)thread() * scratch_of_one(dst->c, x->c);
            int64_t first = i * most, count = CN_MIN(most, tiles - first);
            float *m = v + POINTS * count * x->c;

            transform_chunk(v, dst, x, p, first, count);
            for (int64_t b = blocks * k / groups; b < blocks * (k + 1) / groups; b++) {
                multiply(m, v, count, p->u + b * POINTS * x->c * BLOCK, x->c / BLOCK);
                write_chunk(dst, p, b * BLOCK, m, first, count);
            }
        }
}
