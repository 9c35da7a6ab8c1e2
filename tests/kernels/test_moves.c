/* Layouts, concatenation, upsampling, pooling and embeddings of kernels/cuda against
 * their twins. Where nothing is computed the result is exact. */
#include "base/base.h"

#include "tests/kernels/case.h"

struct arg {
    void *y;
    const void *x, *z;
    const int32_t *ids;
    int32_t *count;
    const float *f;
    enum cn_dtype other;
    size_t rows, cx, cz;
    const void *sizes;
};

/* ---- layouts ---- */

static int launch_to_nhwc(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_to_nhwc(t->dt, a->y, a->other, a->x, a->sizes, NULL);
}

static int launch_from_nhwc(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_from_nhwc(t->dt, a->y, a->other, a->x, a->sizes, NULL);
}

static void layout(enum cn_dtype dt, enum cn_dtype other, struct cnk_layout s, unsigned off)
{
    size_t dense = (size_t)s.n * (size_t)s.c * (size_t)s.hw;
    size_t wide = (size_t)s.n * (size_t)s.hw * (size_t)s.stride;
    struct arg arg = {.other = other, .sizes = &s};
    float *x, *want;
    struct test_case t;

    case_begin(&t, dt, off);
    arg.x = case_input_as(&t, other, dense, &x);
    arg.y = case_output(&t, wide);
    want = case_floats(&t, wide);
    cnk_ref_to_nhwc(want, x, &s);
    case_run(&t, launch_to_nhwc, &arg);
    case_exact(&t, "to_nhwc", arg.y, want, wide);
    case_end(&t);
    case_begin(&t, dt, off);
    arg.x = case_input_as(&t, other, wide, &x);
    arg.y = case_output(&t, dense);
    want = case_floats(&t, dense);
    cnk_ref_from_nhwc(want, x, &s);
    case_run(&t, launch_from_nhwc, &arg);
    case_exact(&t, "from_nhwc", arg.y, want, dense);
    case_end(&t);
}

/* Few channels, many; with padding that crosses a tile; a weight of 3x3. */
static void test_layouts(void **state)
{
    static const struct cnk_layout cases[] = {
        {1, 1, 1, 1},   {2, 3, 65, 8},   {3, 4, 33, 4},  {1, 16, 7, 16}, {2, 17, 31, 17},
        {1, 31, 65, 40}, {2, 33, 33, 65}, {5, 64, 9, 64}, {1, 20, 40, 72},
    };

    (void)state;
    for (int d = 0; d < 3; d++)
        for (int e = 0; e < 3; e++)
            for (size_t i = 0; i < CN_LEN(cases); i++)
                layout(case_types[d], case_types[e], cases[i], i % 2 != 0 ? CASE_ALL_OFF : 0);
}

static void test_layouts_refused(void **state)
{
    struct cnk_layout s = {1, 4, 4, 3};
    struct arg arg = {.sizes = &s};
    struct test_case t;

    (void)state;
    case_begin(&t, CN_F32, 0);
    case_refused(&t, launch_to_nhwc, &arg, 1);
    case_refused(&t, launch_from_nhwc, &arg, 1);
    case_end(&t);
}

/* ---- concatenation ---- */

static int launch_concat(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_concat(t->dt, a->y, a->x, a->z, a->rows, a->cx, a->cz, NULL);
}

static void test_concat(void **state)
{
    static const size_t widths[][2] = {{1, 1},   {3, 7},   {8, 16},  {33, 31}, {65, 1}, {64, 8},
                                       {64, 64}, {64, 64}, {64, 64}, {0, 16},  {16, 0}, {0, 0}};

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(widths); i++) {
            struct arg arg = {.rows = 1 + i % 5, .cx = widths[i][0], .cz = widths[i][1]};
            struct cnk_concat s = {arg.rows, arg.cx, arg.cx + arg.cz, 0};
            struct cnk_concat s2 = {arg.rows, arg.cz, arg.cx + arg.cz, arg.cx};
            size_t count = arg.rows * (arg.cx + arg.cz);
            struct test_case t;
            float *x, *z, *want;

            case_begin(&t, case_types[d], i < 6 || i > 8 ? 0 : 1u << (i - 6));
            arg.x = case_input(&t, arg.rows * arg.cx, &x);
            arg.z = case_input(&t, arg.rows * arg.cz, &z);
            arg.y = case_output(&t, count);
            want = case_floats(&t, count);
            cnk_ref_concat(want, x, &s);
            cnk_ref_concat(want, z, &s2);
            case_run(&t, launch_concat, &arg);
            case_exact(&t, "concat", arg.y, want, count);
            case_end(&t);
        }
}

/* ---- upsampling, pooling ---- */

static int launch_upsample(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_upsample(t->dt, a->y, a->x, a->sizes, NULL);
}

static void test_upsample(void **state)
{
    static const struct cnk_upsample_nhwc cases[] = {
        {1, 1, 1, 1, 3, 5},  {2, 3, 5, 7, 6, 10},    {1, 4, 4, 64, 8, 8}, {3, 7, 3, 33, 13, 5},
        {2, 5, 7, 8, 3, 4},  {1, 2, 31, 16, 3, 65},  {1, 1, 1, 40, 1, 1},
        {2, 4, 3, 64, 8, 9},
    };

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(cases); i++) {
            struct cnk_upsample_nhwc s = cases[i];
            struct cnk_upsample planar = {s.n * s.c, s.h, s.w, s.oh, s.ow};
            size_t in = (size_t)s.n * (size_t)s.c * (size_t)(s.h * s.w);
            size_t out = (size_t)s.n * (size_t)s.c * (size_t)(s.oh * s.ow);
            struct arg arg = {.sizes = &s};
            float *x, *a, *b, *want;
            struct test_case t;

            case_begin(&t, case_types[d], i < 4 ? 0 : 1u << (i - 4));
            arg.x = case_input(&t, in, &x);
            arg.y = case_output(&t, out);
            a = case_floats(&t, in);
            b = case_floats(&t, out);
            want = case_floats(&t, out);
            cnk_ref_from_tokens(a, x, s.n, s.c, s.h * s.w);
            cnk_ref_upsample(b, a, &planar);
            cnk_ref_to_tokens(want, b, s.n, s.c, s.oh * s.ow);
            case_run(&t, launch_upsample, &arg);
            case_exact(&t, "upsample", arg.y, want, out);
            case_end(&t);
        }
}

static void test_upsample_refused(void **state)
{
    struct cnk_upsample_nhwc s = {1, 1, 65536, 1, 1, 1};
    struct arg arg = {.sizes = &s};
    struct test_case t;

    (void)state;
    case_begin(&t, CN_F16, 0);
    case_refused(&t, launch_upsample, &arg, 1);
    case_end(&t);
}

static int launch_pool(struct test_case *t, void *arg)
{
    struct arg *a = arg;
    const int *s = a->sizes;

    return cnk_pool_hw(t->dt, a->y, a->x, s[0], s[1], s[2], NULL);
}

static void test_pool_hw(void **state)
{
    static const int cases[][3] = {{1, 1, 1},   {2, 7, 3}, {3, 65, 33},
                                   {1, 64, 64}, {1, 9, 64}, {5, 9, 320}};

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(cases); i++) {
            int n = cases[i][0], hw = cases[i][1], c = cases[i][2];
            size_t count = (size_t)n * (size_t)hw * (size_t)c;
            struct arg arg = {.sizes = cases[i]};
            float *x, *a, *b, *want;
            struct test_case t;

            case_begin(&t, case_types[d], i < 3 ? 0 : 1u << (i - 3));
            arg.x = case_input(&t, count, &x);
            arg.y = i == 1 || i == 2 ? (void *)(uintptr_t)arg.x : case_output(&t, count);
            a = case_floats(&t, count);
            b = case_floats(&t, count);
            want = case_floats(&t, count);
            cnk_ref_from_tokens(a, x, n, c, hw);
            cnk_ref_pool_hw(b, a, n * c, hw);
            cnk_ref_to_tokens(want, b, n, c, hw);
            case_run(&t, launch_pool, &arg);
            case_close(&t, "pool_hw", arg.y, want, count);
            case_end(&t);
        }
}

/* ---- embeddings of timesteps ---- */

static int launch_timestep(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_timestep(t->dt, a->y, a->f, a->sizes, NULL);
}

static void test_timestep(void **state)
{
    static const struct cnk_timestep cases[] = {
        {1, 2, 1, 0}, {5, 320, 1, 0}, {2, 33, 0, 1}, {3, 7, 1, 1}, {1, 65, 0, 0}};
    static const float times[5] = {0.0f, 999.0f, 1.0f, 501.25f, 37.0f};

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(cases); i++) {
            size_t count = (size_t)cases[i].n * (size_t)cases[i].dim;
            struct arg arg = {.sizes = &cases[i]};
            struct test_case t;
            float *want;

            case_begin(&t, case_types[d], i % 2 != 0 ? CASE_ALL_OFF : 0);
            arg.f = case_bytes(&t, times, (size_t)cases[i].n * sizeof(*times));
            arg.y = case_output(&t, count);
            want = case_floats(&t, count);
            cnk_ref_timestep(want, times, &cases[i]);
            case_run(&t, launch_timestep, &arg);
            case_close(&t, "timestep", arg.y, want, count);
            case_end(&t);
        }
}

/* The same with indices of 64 bits. */
static int set_wide(void **state)
{
    (void)state;
    emu_index_limit = 0;
    return 0;
}

static int set_narrow(void **state)
{
    (void)state;
    emu_index_limit = UINT64_C(1) << 31;
    return 0;
}

static void test_wide_indices(void **state)
{
    test_layouts(state);
    test_concat(state);
    test_upsample(state);
    test_timestep(state);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_layouts_refused),
        cmocka_unit_test(test_concat),
        cmocka_unit_test(test_upsample),
        cmocka_unit_test(test_upsample_refused),
        cmocka_unit_test(test_pool_hw),
        cmocka_unit_test(test_timestep),
        cmocka_unit_test_setup_teardown(test_wide_indices, set_wide, set_narrow),
    };

    return cmocka_run_group_tests(tests, NULL, case_report);
}
