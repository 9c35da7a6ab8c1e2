/* Our own kernel of Winograd's algorithm against the definition: borders, remainders of tiles and
 * chunks, residuals, layouts; and that a picture does not depend on its neighbours. */
#include "base/base.h"
#include "backend/cpu/winograd_kernel.h"
#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#ifdef _OPENMP
#include <omp.h>
#endif

/* pad: top, left, bottom, right */
struct size {
    int64_t n, ci, co, h, w;
    int pad[4];
};

#define SAME                                                                                       \
    {                                                                                              \
        1, 1, 1, 1                                                                                 \
    }

static int64_t out_h(const struct size *z)
{
    return z->h + z->pad[0] + z->pad[2] - 2;
}

static int64_t out_w(const struct size *z)
{
    return z->w + z->pad[1] + z->pad[3] - 2;
}

static float value(size_t i, unsigned salt)
{
    uint32_t x = (uint32_t)i * 2654435761u + salt * 40503u;

    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    return (float)(x & 0xffff) / 32768.0f - 1.0f;
}

static float *values(size_t n, unsigned salt)
{
    float *p = cn_xcalloc(n, sizeof(*p));

    for (size_t i = 0; i < n; i++)
        p[i] = value(i, salt);
    return p;
}

/* From [n, c, h, w] to the layout of m, or back. */
static void relayout(const struct cn_fmap *m, float *plain, bool back)
{
    int64_t hw = m->h * m->w;

    for (int64_t n = 0; n < m->n; n++)
        for (int64_t c = 0; c < m->c; c++)
            for (int64_t p = 0; p < hw; p++) {
                float *at = m->data + ((n * (m->c / m->block) + c / m->block) * hw + p) * m->block +
                            c % m->block;
                float *flat = plain + (n * m->c + c) * hw + p;

                *(back ? flat : at) = *(back ? at : flat);
            }
}

static size_t count(const struct cn_fmap *m)
{
    return (size_t)(m->n * m->c * m->h * m->w);
}

/* y [n, co, h, w] by our kernel. residual NULL: none. in_place: it lies where the result will. */
static float *convolve(const struct size *z, const float *x, const float *w, const float *bias,
                       const float *residual, bool tokens, bool in_place)
{
    struct cn_fmap in = {NULL, z->n, z->ci, z->h, z->w, tokens ? z->ci : 16};
    struct cn_fmap out = {NULL, z->n, z->co, out_h(z), out_w(z), tokens ? z->co : 16};
    struct cn_fmap other = out;
    float *u = cn_xcalloc(cn_winograd_floats(z->co, z->ci), sizeof(*u));
    float *scratch = cn_xcalloc(cn_winograd_scratch(z->co, z->ci), sizeof(*scratch));
    float *y = cn_xcalloc(count(&out), sizeof(*y));
    struct cn_winograd p = {.u = u, .bias = bias, .top = z->pad[0], .left = z->pad[1]};

    in.data = cn_xcalloc(count(&in), sizeof(float));
    out.data = cn_xcalloc(count(&out), sizeof(float));
    other.data = in_place ? out.data : cn_xcalloc(count(&out), sizeof(float));
    relayout(&in, (float *)(uintptr_t)x, false);
    if (residual != NULL) {
        relayout(&other, (float *)(uintptr_t)residual, false);
        p.residual = &other;
    }
    cn_winograd_transform(u, w, z->co, z->ci);
    cn_winograd_run(&out, &in, &p, scratch);
    relayout(&out, y, true);
    if (!in_place)
        free(other.data);
    free(in.data);
    free(out.data);
    free(u);
    free(scratch);
    return y;
}

/* The definition, in double precision. */
static double plain(const struct size *z, const float *x, const float *w, int64_t n, int64_t o,
                    int64_t py, int64_t px)
{
    double sum = 0;

    for (int64_t i = 0; i < z->ci; i++)
        for (int64_t k = 0; k < 9; k++) {
            int64_t r = py + k / 3 - z->pad[0], c = px + k % 3 - z->pad[1];

            if (r >= 0 && c >= 0 && r < z->h && c < z->w)
                sum +=
                    (double)w[(o * z->ci + i) * 9 + k] * x[((n * z->ci + i) * z->h + r) * z->w + c];
        }
    return sum;
}

static void check_size(const struct size *z, bool bias, bool residual, bool tokens, bool in_place)
{
    int64_t h = out_h(z), wide = out_w(z);
    size_t n_out = (size_t)(z->n * z->co * h * wide);
    float *x = values((size_t)(z->n * z->ci * z->h * z->w), 1);
    float *w = values((size_t)(z->co * z->ci * 9), 2), *b = values((size_t)z->co, 3);
    float *r = values(n_out, 4);
    float *y = convolve(z, x, w, bias ? b : NULL, residual ? r : NULL, tokens, in_place);
    double off = 0, all = 0;

    for (size_t i = 0; i < n_out; i++) {
        int64_t px = (int64_t)i % wide, py = (int64_t)i / wide % h;
        int64_t o = (int64_t)i / (wide * h) % z->co, n = (int64_t)i / (wide * h * z->co);
        double want = plain(z, x, w, n, o, py, px) + (bias ? (double)b[o] : 0) +
                      (residual ? (double)r[i] : 0);

        off += (want - y[i]) * (want - y[i]);
        all += want * want;
    }
    if (!(sqrt(off / all) < 4e-6)) /* measured: 8e-7 to 1.4e-6 */
        fail_msg("%dx%d, %d to %d channels: %g", (int)z->h, (int)z->w, (int)z->ci, (int)z->co,
                 sqrt(off / all));
    free(x);
    free(w);
    free(b);
    free(r);
    free(y);
}

static void test_sizes(void **state)
{
    static const struct size sizes[] = {
        {1, 16, 16, 8, 8, SAME},          {2, 32, 16, 9, 13, SAME},
        {1, 16, 48, 1, 1, SAME},          {1, 16, 16, 3, 30, SAME},
        {3, 48, 32, 7, 4, SAME},          {7, 16, 32, 16, 16, SAME},
        {1, 64, 64, 24, 20, SAME},        {5, 16, 16, 5, 6, SAME},
        {2, 16, 16, 9, 8, {0}},           {1, 16, 32, 6, 9, {0, 1, 1, 1}},
        {1, 32, 16, 11, 7, {1, 1, 0, 1}}, {2, 16, 16, 5, 7, {2, 0, 1, 3}},
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(sizes); i++) {
        check_size(&sizes[i], false, false, false, false);
        check_size(&sizes[i], true, true, false, i % 2);
        check_size(&sizes[i], true, i % 2, true, false);
    }
}

/* Weights that no cache holds are read for larger chunks. */
static void test_many_channels(void **state)
{
    (void)state;
    check_size(&(struct size){1, 256, 256, 4, 8, SAME}, true, false, false, false);
}

/* Every bit: the third picture of a batch, the same picture alone, and on three threads. */
static void test_neighbours(void **state)
{
    struct size z = {3, 32, 48, 12, 10, SAME}, one = z;
    size_t in = (size_t)(z.ci * z.h * z.w), out = (size_t)(z.co * z.h * z.w);
    float *x = values(3 * in, 5), *w = values((size_t)(z.co * z.ci * 9), 6), *y, *alone;

    (void)state;
    one.n = 1;
    y = convolve(&z, x, w, NULL, NULL, false, false);
    alone = convolve(&one, x + 2 * in, w, NULL, NULL, false, false);
    assert_memory_equal(y + 2 * out, alone, out * sizeof(float));
    free(alone);
#ifdef _OPENMP
    int old = omp_get_max_threads();

    omp_set_num_threads(old == 3 ? 1 : 3);
    alone = convolve(&one, x + 2 * in, w, NULL, NULL, false, false);
    omp_set_num_threads(old);
    assert_memory_equal(y + 2 * out, alone, out * sizeof(float));
    free(alone);
#endif
    free(x);
    free(w);
    free(y);
}

static void test_pays(void **state)
{
    (void)state;
    assert_true(cn_winograd_pays(8, 8));
    assert_true(cn_winograd_pays(13, 9));
    assert_false(cn_winograd_pays(4, 4)); /* one tile for each matrix of weights */
    assert_false(cn_winograd_pays(1, 64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_many_channels),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_pays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
