/* Epilogues, GEGLU, additions and conversions of kernels/cuda against their twins. */
#include "base/base.h"

#include "tests/kernels/case.h"

struct arg {
    void *y;
    const void *x, *z;
    const float *f;
    int32_t *flag;
    enum cn_dtype other;
    size_t rows, count;
    int d;
    float value;
    const void *sizes;
};

/* ---- epilogue ---- */

static int launch_bias_act(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_bias_act(t->dt, a->y, a->x, a->f, a->z, a->sizes, NULL);
}

enum place { APART, ON_X, ON_RESIDUAL };

static void bias_act(enum cn_dtype dt, struct cnk_bias_act s, bool bias, bool residual,
                     unsigned which, enum place place)
{
    size_t count = s.rows * (size_t)s.c;
    struct arg arg = {.sizes = &s};
    float *x, *b = NULL, *z = NULL, *want;
    struct test_case t;
    void *dx, *dz = NULL;

    case_begin(&t, dt, which);
    arg.x = dx = case_input(&t, count, &x);
    for (size_t i = 0; i < count; i += 3) /* the tails of the activations too */
        x[i] *= 5.0f;
    case_put(&t, dx, dt, x, count);
    if (residual)
        arg.z = dz = case_input(&t, count, &z);
    if (bias)
        arg.f = case_f32(&t, (size_t)s.c, &b);
    arg.y = place == ON_X ? dx : place == ON_RESIDUAL && residual ? dz : case_output(&t, count);
    want = case_floats(&t, count);
    cnk_ref_bias_act(want, x, b, z, &s);
    case_run(&t, launch_bias_act, &arg);
    case_close(&t, "bias_act", arg.y, want, count);
    case_end(&t);
}

static const int widths[] = {1, 3, 7, 8, 31, 33, 65, 320, 64, 64, 64, 64, 320};
/* Off their alignment: nothing, all tensors, one tensor, parameters. */
static const unsigned off[] = {0, CASE_ALL_OFF, 1, 2, 4, CASE_PARAMS_OFF};

static void test_bias_act(void **state)
{
    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(widths); i++)
            for (int how = 0; how < 8; how++)
                bias_act(case_types[d],
                         (struct cnk_bias_act){.rows = 1 + i % 5,
                                               .c = widths[i],
                                               .alpha = how < 4 ? 1.0f : -0.7f,
                                               .act = (enum cn_activation)((how + (int)i) % 5)},
                         how & 1, how & 2, off[i % 6], (enum place)((how + (int)i) % 3));
}

/* Without bias, residual or activation: a copy to the bit; more than one sweep of the grid. */
static void test_copy(void **state)
{
    (void)state;
    for (int d = 0; d < 3; d++) {
        struct cnk_bias_act s = {.rows = 5, .c = 77, .alpha = 1.0f};
        struct arg arg = {.sizes = &s};
        float *x;
        struct test_case t;
        void *dx;

        case_begin(&t, case_types[d], 0);
        arg.x = dx = case_input(&t, 385, &x);
        x[0] = -0.0f;
        x[1] = INFINITY;
        x[2] = NAN;
        x[3] = 1e-7f; /* not normal in binary16 */
        case_put(&t, dx, t.dt, x, 385);
        arg.y = case_output(&t, 385);
        case_run(&t, launch_bias_act, &arg);
        case_exact(&t, "bias_act, copy", arg.y, x, 385);
        case_end(&t);
    }
}

/* ---- GEGLU ---- */

static int launch_geglu(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_geglu(t->dt, a->y, a->x, a->rows, a->d, NULL);
}

static void test_geglu(void **state)
{
    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(widths); i++) {
            size_t rows = 1 + i % 5, count = rows * (size_t)widths[i];
            struct arg arg = {.rows = rows, .d = widths[i]};
            float *x, *want;
            struct test_case t;

            case_begin(&t, case_types[d], off[i % 6]);
            arg.x = case_input(&t, 2 * count, &x);
            arg.y = case_output(&t, count);
            want = case_floats(&t, count);
            cnk_ref_geglu(want, x, (int)rows, widths[i]);
            case_run(&t, launch_geglu, &arg);
            case_close(&t, "geglu", arg.y, want, count);
            case_end(&t);
        }
}

/* ---- additions ---- */

static int launch_add_channel(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_add_channel(t->dt, a->y, a->x, a->f, a->sizes, NULL);
}

static void add_channel(enum cn_dtype dt, struct cnk_add_channel s, unsigned which, bool in_place)
{
    size_t count = (size_t)s.n * (size_t)s.c * (size_t)s.hw;
    struct arg arg = {.sizes = &s};
    float *x, *add, *want, *planar, *out;
    struct test_case t;
    void *dx;

    case_begin(&t, dt, which);
    arg.x = dx = case_input(&t, count, &x);
    arg.f = case_f32(&t, (size_t)s.n * (size_t)s.t_width, &add);
    arg.y = in_place ? dx : case_output(&t, count);
    want = case_floats(&t, count);
    planar = case_floats(&t, count);
    out = case_floats(&t, count);
    cnk_ref_from_tokens(planar, x, s.n, s.c, s.hw);
    cnk_ref_add_channel(out, planar, add, &s);
    cnk_ref_to_tokens(want, out, s.n, s.c, s.hw);
    case_run(&t, launch_add_channel, &arg);
    case_close(&t, "add_channel", arg.y, want, count);
    case_end(&t);
}

static void test_add_channel(void **state)
{
    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(widths); i++) {
            struct cnk_add_channel s = {.n = 1 + (int)i % 4, .c = widths[i], .hw = 1 + (int)i * 5,
                                        .t_width = widths[i] + 12, .t_offset = (int)i};

            add_channel(case_types[d], s, off[i % 6], i % 2 != 0);
        }
}

static int launch_add_rows(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_add_rows(t->dt, a->y, a->x, a->z, a->f, a->sizes, NULL);
}

/* Some rows have weight 0. There y is x, to the bit, whatever z holds. */
static void add_rows(enum cn_dtype dt, int n, size_t row, unsigned which, enum place place)
{
    enum { WIDTH = 13, OFFSET = 4 };
    struct cnk_add_rows s = {.n = n, .row = row, .w_width = WIDTH, .w_offset = OFFSET};
    size_t count = (size_t)n * row;
    struct arg arg = {.sizes = &s};
    float *x, *z, *w, *want;
    struct test_case t;
    void *dx, *dz;

    case_begin(&t, dt, which);
    arg.x = dx = case_input(&t, count, &x);
    arg.z = dz = case_input(&t, count, &z);
    arg.f = case_f32(&t, (size_t)n * WIDTH, &w);
    for (int r = 0; r < n; r += 2) {
        w[r * WIDTH + OFFSET] = r % 4 == 0 ? 0.0f : -0.0f;
        x[(size_t)r * row] = -0.0f;
        z[(size_t)r * row] = r % 4 == 0 ? NAN : 1.0f;
    }
    case_put(&t, dx, dt, x, count);
    case_put(&t, dz, dt, z, count);
    case_put(&t, (void *)(uintptr_t)arg.f, CN_F32, w, (size_t)n * WIDTH);
    arg.y = place == ON_X ? dx : place == ON_RESIDUAL ? dz : case_output(&t, count);
    want = case_floats(&t, count);
    for (int r = 0; r < n; r++) {
        size_t at = (size_t)r * row;
        struct cnk_add_rows one = {.n = 1, .row = row, .w_width = WIDTH, .w_offset = OFFSET};

        memcpy(want + at, x + at, row * sizeof(*x));
        if (w[r * WIDTH + OFFSET] != 0.0f)
            cnk_ref_add_rows(want + at, x + at, z + at, w + r * WIDTH, &one);
    }
    case_run(&t, launch_add_rows, &arg);
    case_close(&t, "add_rows", arg.y, want, count);
    for (int r = 0; r < n; r += 2) {
        size_t at = (size_t)r * row;

        case_exact(&t, "add_rows, weight 0", (char *)arg.y + at * case_size(dt), x + at, row);
    }
    case_end(&t);
}

static void test_add_rows(void **state)
{
    static const size_t rows[] = {1, 3, 7, 31, 33, 64, 65, 64, 64, 64, 64, 2056};

    (void)state;
    for (int d = 0; d < 3; d++)
        for (size_t i = 0; i < CN_LEN(rows); i++)
            for (int p = 0; p < 3; p++)
                add_rows(case_types[d], 1 + (int)(i + (size_t)p) % 5, rows[i],
                         i < 6 ? 0 : i == 6 ? CASE_ALL_OFF : i < 11 ? 1u << (i - 7) : 0,
                         (enum place)p);
}

/* ---- convert ---- */

static int launch_convert(struct test_case *t, void *arg)
{
    struct arg *a = arg;

    return cnk_convert(t->dt, a->y, a->other, a->x, a->count, NULL);
}

static void test_convert(void **state)
{
    static const size_t counts[] = {1, 7, 8, 33, 1001};

    (void)state;
    for (int d = 0; d < 3; d++)
        for (int e = 0; e < 3; e++)
            for (size_t i = 0; i < CN_LEN(counts); i++) {
                bool in_place = i % 2 != 0 && case_size(case_types[d]) == case_size(case_types[e]);
                struct arg arg = {.other = case_types[e], .count = counts[i]};
                struct test_case t;
                float *x;

                case_begin(&t, case_types[d], i == 3);
                arg.x = case_input_as(&t, case_types[e], counts[i], &x);
                arg.y = in_place ? (void *)(uintptr_t)arg.x : case_output(&t, counts[i]);
                case_run(&t, launch_convert, &arg);
                case_exact(&t, "convert", arg.y, x, counts[i]);
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
    test_copy(state);
    test_geglu(state);
    test_add_channel(state);
    test_add_rows(state);
    test_convert(state);
}

/* Enough for the grid to take more than one step. */
static void test_large(void **state)
{
    enum { COUNT = 8192 * 256 * 8 + 12345 };
    struct test_case t;
    float *x, *y;

    (void)state;
    case_begin(&t, CN_F16, 0);
    const void *dx = case_input(&t, COUNT, &x);
    void *dy = case_output(&t, COUNT);

    assert_int_equal(cnk_convert(CN_F16, dy, CN_F16, dx, COUNT, NULL), 0);
    y = case_get(&t, dy, CN_F16, COUNT);
    assert_memory_equal(x, y, COUNT * sizeof(*x));
    case_end(&t);
}

static void test_empty(void **state)
{
    struct cnk_bias_act s = {.rows = 0, .c = 8, .alpha = 1.0f};
    struct arg arg = {.sizes = &s};
    struct test_case t;

    (void)state;
    case_begin(&t, CN_F32, 0);
    case_refused(&t, launch_bias_act, &arg, 0);
    case_refused(&t, launch_convert, &arg, 0);
    t.dt = CN_DTYPE_COUNT;
    case_refused(&t, launch_convert, &arg, 1);
    case_end(&t);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bias_act),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_geglu),
        cmocka_unit_test(test_add_channel),
        cmocka_unit_test(test_add_rows),
        cmocka_unit_test(test_convert),
        cmocka_unit_test_setup_teardown(test_wide_indices, set_wide, set_narrow),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_empty),
    };

    return cmocka_run_group_tests(tests, NULL, case_report);
}
