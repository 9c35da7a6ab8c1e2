/* Group norm, layer norm and softmax of kernels/cuda against their twins. */
#include "base/base.h"

#include "tests/kernels/case.h"

/* ---- group norm ---- */

struct group_case {
    struct cnk_group_norm a;
    double mean; /* of the data */
    unsigned off;
};

struct group_arg {
    void *y, *scratch;
    const void *x;
    const float *gamma, *beta, *t;
    struct cnk_group_norm a;
};

static int launch_group(struct test_case *t, void *arg)
{
    struct group_arg *g = arg;

    return cnk_group_norm(t->dt, g->y, g->x, g->gamma, g->beta, g->t, g->scratch, &g->a, NULL);
}

/* x [n,hw,c] on the device; the twin wants [n,c,hw]. */
static void want_group(struct test_case *t, float *want, const float *x, const float *gamma,
                       const float *beta, const float *add, const struct cnk_group_norm *a)
{
    size_t count = (size_t)a->n * (size_t)a->c * (size_t)a->hw;
    float *planar = case_floats(t, count), *out = case_floats(t, count);

    cnk_ref_from_tokens(planar, x, a->n, a->c, a->hw);
    cnk_ref_group_norm(out, planar, gamma, beta, add, a);
    cnk_ref_to_tokens(want, out, a->n, a->c, a->hw);
}

static void group_norm(enum cn_dtype dt, const struct group_case *g, bool in_place)
{
    const struct cnk_group_norm *a = &g->a;
    size_t count = (size_t)a->n * (size_t)a->c * (size_t)a->hw;
    float *x, *gamma, *beta, *add = NULL, *want;
    struct group_arg arg = {.a = *a};
    struct test_case t;
    void *dx;

    case_begin(&t, dt, g->off);
    dx = case_input(&t, count, &x);
    for (size_t i = 0; i < count; i++) /* channels differ from each other */
        x[i] = (float)(x[i] * (1.0 + (double)(i % (size_t)a->c) / a->c) + g->mean);
    case_put(&t, dx, dt, x, count);
    arg.x = dx;
    arg.y = in_place ? dx : case_output(&t, count);
    arg.gamma = case_f32(&t, (size_t)a->c, &gamma);
    arg.beta = case_f32(&t, (size_t)a->c, &beta);
    if (a->t_width > 0)
        arg.t = case_f32(&t, (size_t)a->n * (size_t)a->t_width, &add);
    if (cnk_group_norm_scratch(dt, a) > 0)
        arg.scratch = case_bytes(&t, NULL, cnk_group_norm_scratch(dt, a));
    case_run(&t, launch_group, &arg);
    want = case_floats(&t, count);
    want_group(&t, want, x, gamma, beta, add, a);
    case_close(&t, g->mean > 10 ? "group_norm, mean 50" : "group_norm", arg.y, want, count);
    case_end(&t);
}

/* One block per group; several per map; slabs of channels; one channel per group; one group. */
static void test_group_norm(void **state)
{
    static const struct group_case cases[] = {
        {{.n = 1, .c = 4, .hw = 1, .groups = 2, .eps = 1e-5f}, 0, 0},
        {{.n = 2, .c = 32, .hw = 9, .groups = 32, .eps = 1e-5f, .act = CN_SILU}, 0, 0},
        {{.n = 3, .c = 33, .hw = 7, .groups = 3, .eps = 1e-6f}, 0, CASE_ALL_OFF},
        {{.n = 2, .c = 30, .hw = 65, .groups = 3, .eps = 1e-5f, .t_width = 40, .t_offset = 5},
         0, 0},
        {{.n = 5, .c = 64, .hw = 31, .groups = 4, .eps = 1e-5f, .t_width = 64, .act = CN_SILU},
         0, 0},
        {{.n = 1, .c = 24, .hw = 33, .groups = 6, .eps = 1e-5f, .act = CN_GELU}, 0, 0},
        {{.n = 2, .c = 320, .hw = 130, .groups = 2, .eps = 1e-5f, .t_width = 700, .t_offset = 64,
          .act = CN_SILU}, 0, 0},
        {{.n = 1, .c = 40, .hw = 1333, .groups = 1, .eps = 1e-5f, .act = CN_SILU}, 0, 0},
        {{.n = 1, .c = 35, .hw = 801, .groups = 1, .eps = 1e-5f, .t_width = 36, .t_offset = 1},
         0, 0},
        {{.n = 2, .c = 64, .hw = 900, .groups = 2, .eps = 1e-6f, .act = CN_SILU}, 0, 1},
        {{.n = 1, .c = 64, .hw = 801, .groups = 1, .eps = 1e-6f}, 0, 2},
        {{.n = 1, .c = 64, .hw = 801, .groups = 1, .eps = 1e-6f, .t_width = 67, .t_offset = 1}, 0,
         CASE_PARAMS_OFF},
        {{.n = 2, .c = 64, .hw = 9, .groups = 4, .eps = 1e-6f, .t_width = 67, .t_offset = 3}, 0,
         CASE_PARAMS_OFF},
        {{.n = 2, .c = 4096, .hw = 2, .groups = 2, .eps = 1e-6f, .act = CN_RELU}, 0, 0},
        {{.n = 1, .c = 1999, .hw = 3, .groups = 1, .eps = 1e-6f, .act = CN_QUICK_GELU}, 0, 0},
        {{.n = 2, .c = 32, .hw = 9, .groups = 2, .eps = 1e-6f}, 0, 1},
        {{.n = 2, .c = 32, .hw = 10, .groups = 2, .eps = 1e-6f}, 0, 2},
        {{.n = 1, .c = 5120, .hw = 24, .groups = 4, .eps = 1e-5f, .t_width = 5121, .t_offset = 1},
         0, 0},
    };

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(cases); i++)
            group_norm(case_types[d], &cases[i], i % 2 != 0 && cases[i].off == 0);
}

/* Far from zero: the variance is 1, its square of the mean 2500. bf16 itself then keeps no more
 * than the variance's order. */
static void test_group_norm_large_mean(void **state)
{
    static const struct group_case cases[] = {
        {{.n = 1, .c = 32, .hw = 65, .groups = 4, .eps = 1e-6f}, 50, 0},
        {{.n = 1, .c = 32, .hw = 1601, .groups = 1, .eps = 1e-6f}, 50, 0},
        {{.n = 1, .c = 31, .hw = 1601, .groups = 1, .eps = 1e-6f, .t_width = 31}, 50, 0},
    };

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(cases); i++)
            group_norm(case_types[d], &cases[i], false);
}

/* The first row is the same whatever follows it. */
static void test_group_norm_rows(void **state)
{
    struct group_arg one = {.a = {.n = 1, .c = 40, .hw = 1301, .groups = 2, .eps = 1e-5f}}, two;
    size_t count = 40 * 1301;
    float *x, *gamma, *beta;
    struct test_case t;

    (void)state;
    case_begin(&t, CN_F16, 0);
    one.x = case_input(&t, 2 * count, &x);
    one.gamma = case_f32(&t, 40, &gamma);
    one.beta = case_f32(&t, 40, &beta);
    two = one;
    two.a.n = 2;
    one.y = case_output(&t, count);
    two.y = case_output(&t, 2 * count);
    one.scratch = case_bytes(&t, NULL, cnk_group_norm_scratch(CN_F16, &one.a));
    two.scratch = case_bytes(&t, NULL, cnk_group_norm_scratch(CN_F16, &two.a));
    case_run(&t, launch_group, &one);
    case_run(&t, launch_group, &two);
    assert_memory_equal(one.y, two.y, count * 2);
    case_end(&t);
}

/* The first level of SD 1.5 at 512x512, as the UNet asks for it. */
static void test_group_norm_real(void **state)
{
    static const struct group_case real = {
        {.n = 1, .c = 320, .hw = 4096, .groups = 32, .eps = 1e-5f, .t_width = 320, .act = CN_SILU},
        0, 0};

    (void)state;
    group_norm(CN_F16, &real, false);
}

static void test_group_norm_refuses(void **state)
{
    struct group_arg uneven = {.a = {.n = 1, .c = 10, .hw = 4, .groups = 3}};
    struct group_arg wide = {.a = {.n = 1, .c = 8192, .hw = 4, .groups = 1}};
    struct group_arg empty = {.a = {.n = 0, .c = 32, .hw = 4, .groups = 4}};
    struct test_case t;

    (void)state;
    case_begin(&t, CN_F32, 0);
    case_refused(&t, launch_group, &uneven, 1);
    case_refused(&t, launch_group, &wide, 1);
    case_refused(&t, launch_group, &empty, 0);
    assert_int_equal(cnk_group_norm_scratch(CN_F32, &wide.a), 0);
    case_end(&t);
}

/* ---- layer norm ---- */

struct layer_arg {
    void *y;
    const void *x;
    const float *gamma, *beta;
    struct cnk_layer_norm a;
};

static int launch_layer(struct test_case *t, void *arg)
{
    struct layer_arg *l = arg;

    return cnk_layer_norm(t->dt, l->y, l->x, l->gamma, l->beta, &l->a, NULL);
}

static void layer_norm(enum cn_dtype dt, int rows, int d, unsigned off, bool in_place)
{
    size_t count = (size_t)rows * (size_t)d;
    struct layer_arg arg = {.a = {.rows = rows, .d = d, .eps = 1e-5f}};
    float *x, *gamma, *beta, *want;
    struct test_case t;
    void *dx;

    case_begin(&t, dt, off);
    dx = case_input(&t, count, &x);
    for (size_t i = 0; i < count; i++)
        x[i] += 3.0f;
    case_put(&t, dx, dt, x, count);
    arg.x = dx;
    arg.y = in_place ? dx : case_output(&t, count);
    arg.gamma = case_f32(&t, (size_t)d, &gamma);
    arg.beta = case_f32(&t, (size_t)d, &beta);
    want = case_floats(&t, count);
    cnk_ref_layer_norm(want, x, gamma, beta, &arg.a);
    case_run(&t, launch_layer, &arg);
    case_close(&t, "layer_norm", arg.y, want, count);
    case_end(&t);
}

/* Rows kept in registers and wider ones, whole vectors and single elements. */
static void test_layer_norm(void **state)
{
    static const struct {
        int rows, d;
        unsigned off;
        bool in_place;
    } cases[] = {
        {1, 1, 0, false},    {2, 3, 0, true},      {3, 7, CASE_ALL_OFF, false},
        {4, 31, 0, false},   {5, 33, 0, true},     {1, 65, 0, false},
        {2, 64, 1, false},   {3, 64, 2, false},    {4, 64, CASE_PARAMS_OFF, false},
        {5, 320, 0, false},  {1, 768, 0, true},    {2, 1277, 0, false},
        {3, 1280, 0, false}, {4, 1280, CASE_ALL_OFF, true},
        {5, 1288, 0, true},  {1, 2051, 0, false},  {2, 2056, CASE_PARAMS_OFF, false},
    };

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(cases); i++)
            layer_norm(case_types[d], cases[i].rows, cases[i].d, cases[i].off, cases[i].in_place);
}

/* ---- softmax ---- */

struct softmax_arg {
    enum cn_dtype xdt;
    void *y;
    const void *x;
    size_t rows;
    int columns;
    float scale;
};

static int launch_softmax(struct test_case *t, void *arg)
{
    struct softmax_arg *s = arg;

    return cnk_softmax(t->dt, s->y, s->xdt, s->x, s->rows, s->columns, s->scale, NULL);
}

static void softmax(enum cn_dtype dt, enum cn_dtype xdt, size_t rows, int columns, float scale,
                    unsigned off)
{
    struct softmax_arg arg = {.xdt = xdt, .rows = rows, .columns = columns, .scale = scale};
    size_t count = rows * (size_t)columns;
    float *x, *want;
    struct test_case t;

    case_begin(&t, dt, off);
    arg.x = case_input_as(&t, xdt, count, &x);
    arg.y = dt == xdt && columns % 2 != 0 ? (void *)(uintptr_t)arg.x : case_output(&t, count);
    want = case_floats(&t, count);
    cnk_ref_softmax(want, x, rows, columns, scale);
    case_run(&t, launch_softmax, &arg);
    case_close(&t, "softmax", arg.y, want, count);
    case_end(&t);
}

static void test_softmax(void **state)
{
    static const int columns[] = {1, 3, 64, 64, 64, 31, 257, 2056, 4099};

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(columns); i++) {
            softmax(case_types[d], case_types[d], 1 + i % 3, columns[i], 0.7f,
                    i == 2 ? 1 : i == 3 ? 2 : i == 5 ? CASE_ALL_OFF : 0);
            softmax(case_types[d], CN_F32, 2, columns[i], 30.0f, 0);
        }
    softmax(CN_F32, CN_F16, 2, 40, 1.0f, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_norm),      cmocka_unit_test(test_group_norm_large_mean),
        cmocka_unit_test(test_group_norm_rows), cmocka_unit_test(test_group_norm_real),
        cmocka_unit_test(test_group_norm_refuses), cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_softmax),
    };

    return cmocka_run_group_tests(tests, NULL, case_report);
}
