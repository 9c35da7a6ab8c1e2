/* Strided moves, joined parts, gathered rows, reductions, products and PReLU of kernels/cuda
 * against their twins. */
#include "base/base.h"

#include "tests/kernels/case.h"

struct arg {
    void *y;
    const void *x, *z;
    const int32_t *ids;
    const float *slope;
    size_t outer, width, whole, at;
    int inner;
    const void *sizes;
};

/* ---- moves ---- */

static int launch_strided(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_strided(t->dt, a->y, a->x, a->sizes, NULL);
}

static void test_strided(void **state)
{
    static const struct {
        struct cnk_strided s;
        size_t count; /* of x */
    } cases[] = {
        {{{2, 4, 16, 1, 1, 1}, {256, 64, 1, 0, 0, 0}, 16}, 512}, /* a slice of columns */
        {{{2, 4, 16, 1, 1, 1}, {256, 64, 1, 0, 0, 0}, 5}, 512},  /* off its alignment */
        {{{3, 5, 7, 1, 1, 1}, {1, 3, 15, 0, 0, 0}, 0}, 105},     /* all turned */
        {{{1, 1, 1, 1, 1, 1}, {0, 0, 0, 0, 0, 0}, 3}, 4},        /* one element */
        {{{2, 3, 2, 4, 2, 8}, {192, 32, 16, 96, 8, 1}, 0}, 768}, /* six dimensions */
        {{{2, 8, 1, 1, 1, 1}, {0, 1, 0, 0, 0, 0}, 0}, 8},        /* a row again and again */
    };

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(cases); i++) {
            struct arg arg = {.sizes = &cases[i].s};
            struct test_case t;
            float *x, *want;
            size_t count = 1;

            for (int k = 0; k < CNK_STRIDED; k++)
                count *= (size_t)cases[i].s.dim[k];
            case_begin(&t, case_types[d], 0);
            arg.x = case_input(&t, cases[i].count, &x);
            arg.y = case_output(&t, count);
            want = case_floats(&t, count);
            cnk_ref_strided(want, x, &cases[i].s);
            case_run(&t, launch_strided, &arg);
            case_exact(&t, "strided", arg.y, want, count);
            case_end(&t);
        }
}

static int launch_place(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_place(t->dt, a->y, a->x, a->outer, a->width, a->whole, a->at, NULL);
}

/* Three parts, one launch each; the result is whole after the last. */
static int launch_parts(struct test_case *t, void *arg)
{
    struct arg *a = arg, part = *a;
    const size_t width[3] = {a->width, a->whole - 2 * a->width, a->width};
    int rc = 0;

    for (int i = 0; i < 3 && rc == 0; i++) {
        part.width = width[i];
        rc = launch_place(t, &part);
        part.at += width[i];
        part.x = (const unsigned char *)part.x + a->outer * width[i] * case_size(t->dt);
    }
    return rc;
}

static void test_parts(void **state)
{
    static const size_t sizes[][3] = {{3, 8, 32}, {2, 5, 17}, {1, 16, 40}, {4, 1, 2}};

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(sizes); i++) {
            size_t outer = sizes[i][0], width = sizes[i][1], whole = sizes[i][2];
            const size_t part[3] = {width, whole - 2 * width, width};
            struct arg arg = {.outer = outer, .width = width, .whole = whole};
            struct cnk_concat twin = {.outer = outer, .whole = whole};
            struct test_case t;
            float *x, *want;

            case_begin(&t, case_types[d], 0);
            arg.x = case_input(&t, outer * whole, &x);
            arg.y = case_output(&t, outer * whole);
            want = case_floats(&t, outer * whole);
            for (int k = 0; k < 3; k++) {
                twin.width = part[k];
                cnk_ref_concat(want, x, &twin);
                twin.at += part[k];
                x += outer * part[k];
            }
            case_run(&t, launch_parts, &arg);
            case_exact(&t, "parts", arg.y, want, outer * whole);
            case_end(&t);
        }
}

static void test_parts_refused(void **state)
{
    struct arg arg = {.outer = 1, .width = 4, .whole = 6, .at = 3};
    struct test_case t;

    (void)state;
    case_begin(&t, CN_F32, 0);
    case_refused(&t, launch_place, &arg, 1);
    case_end(&t);
}

static int launch_gather(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_gather(t->dt, a->y, a->x, a->ids, a->sizes, NULL);
}

static void test_gather(void **state)
{
    static const int32_t ids[6] = {0, 4, -1, 5, 3, 3}; /* of 5 rows: two are outside */
    static const int widths[] = {1, 8, 20, 16};

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(widths); i++) {
            struct cnk_gather s = {.n = 2, .s = 5, .t = 3, .d = widths[i]};
            size_t width = (size_t)s.d;
            struct arg arg = {.sizes = &s};
            struct test_case t;
            float *x, *want;

            case_begin(&t, case_types[d], i == 3 ? 1 : 0);
            arg.x = case_input(&t, 10 * width, &x);
            arg.y = case_output(&t, 6 * width);
            arg.ids = case_bytes(&t, ids, sizeof(ids));
            want = case_floats(&t, 6 * width);
            assert_int_equal(cnk_ref_gather(want, x, ids, &s), 2);
            case_run(&t, launch_gather, &arg);
            case_exact(&t, "gather", arg.y, want, 6 * width);
            case_end(&t);
        }
}

/* ---- reductions ---- */

static int launch_reduce(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_reduce(t->dt, a->y, a->x, a->sizes, NULL);
}

/* As the twin counts: [outer, count, inner], the middle one goes. */
static void reduce(enum cn_dtype dt, int64_t outer, int64_t count, int64_t inner,
                   enum cnk_reduction kind, float *special)
{
    struct cnk_reduce twin = {outer, count, inner, kind};
    struct cnk_strided_reduce s = {.kept = {1, 1, outer, inner},
                                   .kept_stride = {0, 0, count * inner, 1},
                                   .reduced = {1, 1, 1, count},
                                   .reduced_stride = {0, 0, 0, inner},
                                   .kind = kind};
    struct arg arg = {.sizes = &s};
    struct test_case t;
    float *x, *want;
    void *dx;

    case_begin(&t, dt, 0);
    arg.x = dx = case_input(&t, (size_t)(outer * count * inner), &x);
    if (special != NULL) {
        x[count * inner / 2] = *special;
        case_put(&t, dx, dt, x, (size_t)(outer * count * inner));
    }
    arg.y = case_output(&t, (size_t)(outer * inner));
    want = case_floats(&t, (size_t)(outer * inner));
    cnk_ref_reduce(want, x, &twin);
    case_run(&t, launch_reduce, &arg);
    case_close(&t,
               kind == CNK_MAX    ? "max"
               : kind == CNK_MEAN ? "mean"
                                  : "sum",
               arg.y, want, (size_t)(outer * inner));
    case_end(&t);
}

static void test_reductions(void **state)
{
    static const int64_t sizes[][3] = {
        {3, 7, 5}, {2, 300, 1}, {1, 1, 9}, {4, 257, 3}, {1, 1000, 1}};
    float nan = NAN, infinite = INFINITY;

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(sizes); i++)
            for (int kind = 0; kind < 3; kind++) {
                const int64_t *s = sizes[i];
                enum cnk_reduction k = (enum cnk_reduction)kind;

                reduce(case_types[d], s[0], s[1], s[2], k, NULL);
                reduce(case_types[d], s[0], s[1], s[2], k, &nan);
                reduce(case_types[d], s[0], s[1], s[2], k, &infinite);
            }
}

/* Two dimensions that do not lie together: [a, b, c, d] without a and c. */
static void test_apart(void **state)
{
    enum { A = 3, B = 4, C = 5, D = 2 };
    struct cnk_strided_reduce s = {.kept = {1, 1, B, D},
                                   .kept_stride = {0, 0, C * D, 1},
                                   .reduced = {1, 1, A, C},
                                   .reduced_stride = {0, 0, B * C * D, D},
                                   .kind = CNK_SUM};
    struct arg arg = {.sizes = &s};
    struct test_case t;
    float *x, *want;

    (void)state;
    case_begin(&t, CN_F32, 0);
    arg.x = case_input(&t, A * B * C * D, &x);
    arg.y = case_output(&t, B * D);
    want = case_floats(&t, B * D);
    for (int i = 0; i < A * B * C * D; i++)
        want[i / (C * D) % B * D + i % D] += x[i];
    case_run(&t, launch_reduce, &arg);
    case_close(&t, "apart", arg.y, want, B * D);
    case_end(&t);
}

/* ---- products, slopes ---- */

static int launch_mul(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_mul(t->dt, a->y, a->x, a->z, a->width, NULL);
}

static void test_mul(void **state)
{
    static const size_t counts[] = {1, 8, 31, 4096};

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(counts); i++) {
            struct arg arg = {.width = counts[i]};
            struct test_case t;
            float *x, *z, *want;

            case_begin(&t, case_types[d], i == 3 ? 2 : 0);
            arg.x = case_input(&t, counts[i], &x);
            arg.z = case_input(&t, counts[i], &z);
            arg.y = case_output(&t, counts[i]);
            want = case_floats(&t, counts[i]);
            cnk_ref_mul(want, x, z, counts[i]);
            case_run(&t, launch_mul, &arg);
            case_exact(&t, "mul", arg.y, want, counts[i]);
            case_end(&t);
        }
}

static int launch_prelu(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_prelu(t->dt, a->y, a->x, a->slope, a->sizes, a->inner, NULL);
}

/* Channels before the rest, as the twin has them. */
static void test_prelu(void **state)
{
    (void)state;
    for (int d = 0; d < 3; d++)
        for (int slopes = 1; slopes <= 6; slopes += 5) {
            struct cnk_prelu s = {.n = 2, .c = 6, .p = 11, .slopes = slopes};
            struct arg arg = {.sizes = &s, .inner = 11};
            struct test_case t;
            float *x, *slope, *want;

            case_begin(&t, case_types[d], 0);
            arg.x = case_input(&t, 132, &x);
            arg.slope = case_f32(&t, (size_t)slopes, &slope);
            arg.y = case_output(&t, 132);
            want = case_floats(&t, 132);
            cnk_ref_prelu(want, x, slope, &s);
            case_run(&t, launch_prelu, &arg);
            case_close(&t, "prelu", arg.y, want, 132);
            case_end(&t);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strided),       cmocka_unit_test(test_parts),
        cmocka_unit_test(test_parts_refused), cmocka_unit_test(test_gather),
        cmocka_unit_test(test_reductions),    cmocka_unit_test(test_apart),
        cmocka_unit_test(test_mul),           cmocka_unit_test(test_prelu),
    };

    return cmocka_run_group_tests(tests, NULL, case_report);
}
