/* Pools, bilinear resize, reflected borders and convolutions of kernels/cuda, channels last,
 * against their twins, which are planar. */
#include "base/base.h"

#include "tests/kernels/case.h"

struct arg {
    void *y;
    const void *x, *w;
    int c;
    const void *sizes;
};

static float *planar(struct test_case *t, const float *x, int n, int c, int hw)
{
    float *y = case_floats(t, (size_t)n * (size_t)c * (size_t)hw);
    struct cnk_layout s = {.n = n, .c = c, .hw = hw, .stride = c};

    cnk_ref_from_nhwc(y, x, &s);
    return y;
}

static float *channels_last(struct test_case *t, const float *x, int n, int c, int hw)
{
    float *y = case_floats(t, (size_t)n * (size_t)c * (size_t)hw);
    struct cnk_layout s = {.n = n, .c = c, .hw = hw, .stride = c};

    cnk_ref_to_nhwc(y, x, &s);
    return y;
}

/* A map [n,hw,c] on the device, and as its twin wants it. */
static const void *map_input(struct test_case *t, int n, int c, int hw, float **ret)
{
    float *x;
    const void *device = case_input(t, (size_t)n * (size_t)c * (size_t)hw, &x);

    *ret = planar(t, x, n, c, hw);
    return device;
}

static void check_map(struct test_case *t, const char *what, const void *y, const float *want,
                      int n, int c, int hw)
{
    case_close(t, what, y, channels_last(t, want, n, c, hw), (size_t)n * (size_t)c * (size_t)hw);
}

/* ---- pools ---- */

static int launch_pool(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_pool(t->dt, a->y, a->x, a->sizes, a->c, NULL);
}

static void pool(enum cn_dtype dt, const struct cnk_pool *s, int c, unsigned off)
{
    int n = s->planes / c;
    struct arg arg = {.c = c, .sizes = s};
    float *x, *want;
    struct test_case t;

    case_begin(&t, dt, off);
    arg.x = map_input(&t, n, c, s->h * s->w, &x);
    arg.y = case_output(&t, (size_t)s->planes * (size_t)s->oh * (size_t)s->ow);
    want = case_floats(&t, (size_t)s->planes * (size_t)s->oh * (size_t)s->ow);
    cnk_ref_pool(want, x, s);
    case_run(&t, launch_pool, &arg);
    check_map(&t, s->max ? "max pool" : "mean pool", arg.y, want, n, c, s->oh * s->ow);
    case_end(&t);
}

static void test_pools(void **state)
{
    static const struct cnk_window two = {{2, 2}, {2, 2}, {1, 1}, 0, 0};
    static const struct cnk_window three = {{3, 3}, {2, 1}, {1, 1}, 1, 1};
    static const struct cnk_window wide = {{1, 5}, {1, 2}, {1, 2}, 0, 3};
    static const int channels[] = {1, 7, 16, 40};

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(channels); i++)
            for (int max = 0; max < 2; max++) {
                int c = channels[i];
                unsigned off = i == 3 ? 2 : 0;

                pool(case_types[d], &(struct cnk_pool){2 * c, 6, 8, 3, 4, max, two}, c, off);
                pool(case_types[d], &(struct cnk_pool){c, 7, 5, 4, 5, max, three}, c, 0);
                pool(case_types[d], &(struct cnk_pool){3 * c, 4, 9, 4, 4, max, wide}, c, 0);
            }
}

/* NaN wins over every number, wherever it stands. */
static void test_pool_of_nan(void **state)
{
    struct cnk_pool s = {1, 1, 4, 1, 1, 1, {{1, 4}, {1, 1}, {1, 1}, 0, 0}};

    (void)state;
    for (int at = 0; at < 4; at++) {
        struct arg arg = {.c = 1, .sizes = &s};
        struct test_case t;
        float *x, want;
        void *dx;

        case_begin(&t, CN_F32, 0);
        arg.x = dx = case_input(&t, 4, &x);
        x[at] = NAN;
        case_put(&t, dx, CN_F32, x, 4);
        arg.y = case_output(&t, 1);
        cnk_ref_pool(&want, x, &s);
        assert_true(isnan(want));
        case_run(&t, launch_pool, &arg);
        case_close(&t, "max pool of NaN", arg.y, &want, 1);
        case_end(&t);
    }
}

/* ---- resize, borders ---- */

static int launch_resize(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_resize(t->dt, a->y, a->x, a->sizes, a->c, NULL);
}

static void resize(enum cn_dtype dt, const struct cnk_resize *s, int c, unsigned off)
{
    int n = s->planes / c;
    struct arg arg = {.c = c, .sizes = s};
    float *x, *want;
    struct test_case t;

    case_begin(&t, dt, off);
    arg.x = map_input(&t, n, c, s->h * s->w, &x);
    arg.y = case_output(&t, (size_t)s->planes * (size_t)s->oh * (size_t)s->ow);
    want = case_floats(&t, (size_t)s->planes * (size_t)s->oh * (size_t)s->ow);
    cnk_ref_resize(want, x, s);
    case_run(&t, launch_resize, &arg);
    check_map(&t, "resize", arg.y, want, n, c, s->oh * s->ow);
    case_end(&t);
}

static void test_resize(void **state)
{
    static const int sizes[][4] = {{5, 7, 10, 14}, {12, 9, 5, 4}, {3, 3, 1, 1}, {1, 4, 3, 8}};
    static const int channels[] = {1, 3, 8, 24};

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(sizes); i++)
            for (int corners = 0; corners < 2; corners++) {
                const int *s = sizes[i];
                int c = channels[i];

                resize(case_types[d], &(struct cnk_resize){2 * c, s[0], s[1], s[2], s[3], corners},
                       c, corners ? CASE_ALL_OFF : 0);
            }
}

static int launch_pad(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_pad_reflect(t->dt, a->y, a->x, a->sizes, a->c, NULL);
}

static void test_pad_reflect(void **state)
{
    static const struct cnk_pad_reflect cases[] = {{5, 4, 6, 3, 2, 1, 5},
                                                   {16, 2, 2, 1, 1, 1, 1},
                                                   {48, 3, 5, 0, 4, 2, 0},
                                                   {3, 1, 3, 0, 2, 0, 0}};
    static const int channels[] = {5, 16, 16, 1};

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(cases); i++) {
            const struct cnk_pad_reflect *s = &cases[i];
            int c = channels[i], n = s->planes / c;
            int hw = (s->top + s->h + s->bottom) * (s->left + s->w + s->right);
            struct arg arg = {.c = c, .sizes = s};
            struct test_case t;
            float *x, *want;

            case_begin(&t, case_types[d], 0);
            arg.x = map_input(&t, n, c, s->h * s->w, &x);
            arg.y = case_output(&t, (size_t)s->planes * (size_t)hw);
            want = case_floats(&t, (size_t)s->planes * (size_t)hw);
            cnk_ref_pad_reflect(want, x, s);
            case_run(&t, launch_pad, &arg);
            check_map(&t, "pad_reflect", arg.y, want, n, c, hw);
            case_end(&t);
        }
}

/* ---- convolutions ---- */

static int launch_conv(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_conv(t->dt, a->y, a->x, a->w, a->sizes, NULL);
}

static int launch_conv_transpose(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_conv_transpose(t->dt, a->y, a->x, a->w, a->sizes, NULL);
}

static void convolve(enum cn_dtype dt, const struct cnk_conv_nhwc *s, bool transposed)
{
    int first = transposed ? s->ci : s->co, inner = (transposed ? s->co : s->ci) / s->groups;
    int taps = s->window.k[0] * s->window.k[1];
    size_t count = (size_t)s->n * (size_t)s->co * (size_t)s->oh * (size_t)s->ow;
    struct cnk_conv2d twin = {.n = s->n,
                              .ci = s->ci,
                              .h = s->h,
                              .w = s->w,
                              .co = s->co,
                              .oh = s->oh,
                              .ow = s->ow,
                              .groups = s->groups,
                              .window = s->window};
    struct arg arg = {.sizes = s};
    float *x, *w, *want;
    struct test_case t;

    case_begin(&t, dt, 0);
    arg.x = map_input(&t, s->n, s->ci, s->h * s->w, &x);
    arg.w = map_input(&t, first, inner, taps, &w);
    arg.y = case_output(&t, count);
    want = case_floats(&t, count);
    if (transposed)
        cnk_ref_conv_transpose(want, x, w, NULL, &twin);
    else
        cnk_ref_conv2d(want, x, w, NULL, NULL, &twin);
    case_run(&t, transposed ? launch_conv_transpose : launch_conv, &arg);
    check_map(&t, transposed ? "conv_transpose" : "conv", arg.y, want, s->n, s->co, s->oh * s->ow);
    case_end(&t);
}

static void test_convolutions(void **state)
{
    static const struct cnk_conv_nhwc cases[] = {
        {2, 6, 5, 4, 6, 5, 3, 1, {{3, 3}, {1, 1}, {1, 1}, 1, 1}},
        {1, 9, 8, 6, 4, 6, 9, 3, {{5, 3}, {2, 1}, {1, 1}, 2, 0}},
        {1, 7, 7, 8, 7, 7, 8, 8, {{3, 3}, {1, 1}, {2, 2}, 2, 2}},
        {3, 4, 10, 2, 4, 6, 4, 2, {{1, 7}, {1, 2}, {1, 1}, 0, 3}},
    };

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(cases); i++)
            convolve(case_types[d], &cases[i], false);
}

static void test_transposed_convolutions(void **state)
{
    static const struct cnk_conv_nhwc cases[] = {
        {2, 5, 6, 4, 10, 12, 3, 1, {{2, 2}, {2, 2}, {1, 1}, 0, 0}},
        {1, 6, 5, 3, 12, 10, 5, 1, {{4, 4}, {2, 2}, {1, 1}, 1, 1}},
        {1, 4, 6, 12, 5, 16, 8, 4, {{3, 2}, {1, 3}, {2, 1}, 1, 0}},
        {1, 3, 3, 2, 6, 6, 2, 2, {{3, 3}, {2, 2}, {1, 1}, 1, 1}},
    };

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(cases); i++)
            convolve(case_types[d], &cases[i], true);
}

static void test_groups_refused(void **state)
{
    struct cnk_conv_nhwc s = {1, 2, 2, 4, 2, 2, 4, 3, {{1, 1}, {1, 1}, {1, 1}, 0, 0}};
    struct arg arg = {.sizes = &s};
    struct test_case t;

    (void)state;
    case_begin(&t, CN_F32, 0);
    case_refused(&t, launch_conv, &arg, 1);
    case_refused(&t, launch_conv_transpose, &arg, 1);
    case_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pools),          cmocka_unit_test(test_pool_of_nan),
        cmocka_unit_test(test_resize),         cmocka_unit_test(test_pad_reflect),
        cmocka_unit_test(test_convolutions),   cmocka_unit_test(test_transposed_convolutions),
        cmocka_unit_test(test_groups_refused),
    };

    return cmocka_run_group_tests(tests, NULL, case_report);
}
