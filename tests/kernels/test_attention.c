/* Attention of kernels/cuda against its twin. */
#include "base/base.h"

#include "tests/kernels/case.h"

struct arg {
    void *y;
    const void *q, *k, *v;
    struct cnk_strided_attention a;
};

static int launch(struct test_case *t, void *arg)
{
    struct arg *g = arg;

    return cnk_attention(t->dt, g->y, g->q, g->k, g->v, &g->a, NULL);
}

/* [rows,d] out of rows of that stride. */
static float *dense(struct test_case *t, const float *x, int rows, int d, int stride)
{
    float *y = case_floats(t, (size_t)rows * (size_t)d);

    for (int r = 0; r < rows; r++)
        memcpy(y + (size_t)r * (size_t)d, x + (size_t)r * (size_t)stride, (size_t)d * sizeof(*y));
    return y;
}

/* [rows,d] in rows of that stride, with NaN between. */
static void *columns(struct test_case *t, int rows, int d, int stride, float **ret)
{
    size_t count = (size_t)rows * (size_t)stride;
    void *p = case_input(t, count, ret);

    for (size_t i = 0; i < count; i++)
        if (i % (size_t)stride >= (size_t)d)
            (*ret)[i] = NAN;
    case_put(t, p, t->dt, *ret, count);
    return p;
}

/* q, k and v are columns of wider rows; what lies beside them must stay out of it. */
static void attention(enum cn_dtype dt, int n, int s, int tokens, int heads, int dh, bool causal,
                      int extra)
{
    int d = heads * dh;
    struct cnk_attention plain = {n, s, tokens, d, heads, 1.0f / sqrtf((float)dh), causal};
    struct arg arg = {.a = {n, s, tokens, heads, dh, plain.scale, causal, d + extra,
                            d + 2 * extra, d + 3 * extra, d + extra}};
    size_t out = (size_t)n * (size_t)s * (size_t)(d + extra);
    float *q, *k, *v, *want, *all;
    struct test_case t;

    case_begin(&t, dt, extra % 2 != 0 ? CASE_ALL_OFF : 0);
    arg.q = columns(&t, n * s, d, arg.a.q_stride, &q);
    arg.k = columns(&t, n * tokens, d, arg.a.k_stride, &k);
    arg.v = columns(&t, n * tokens, d, arg.a.v_stride, &v);
    arg.y = case_input(&t, out, &all);
    want = case_floats(&t, (size_t)(n * s) * (size_t)d);
    cnk_ref_attention(want, dense(&t, q, n * s, d, arg.a.q_stride),
                      dense(&t, k, n * tokens, d, arg.a.k_stride),
                      dense(&t, v, n * tokens, d, arg.a.v_stride), &plain);
    for (int r = 0; r < n * s; r++)
        memcpy(all + (size_t)r * (size_t)(d + extra), want + (size_t)r * (size_t)d,
               (size_t)d * sizeof(*all));
    case_run(&t, launch, &arg);
    case_close(&t, causal ? "attention, causal" : "attention", arg.y, all, out);
    for (int r = 0; r < n * s && extra > 0; r++) /* between the rows of y */
        case_exact(&t, "attention, outside",
                   (char *)arg.y + ((size_t)r * (size_t)(d + extra) + (size_t)d) * case_size(dt),
                   all + (size_t)r * (size_t)(d + extra) + d, (size_t)extra);
    case_end(&t);
}

static void test_attention(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        enum cn_dtype dt = case_types[i];

        attention(dt, 1, 1, 1, 1, 1, false, 0);
        attention(dt, 2, 3, 7, 2, 3, false, 3);
        attention(dt, 1, 31, 33, 3, 7, false, 0);
        attention(dt, 2, 17, 65, 2, 40, false, 8);
        attention(dt, 1, 33, 77, 1, 64, false, 0);
        attention(dt, 1, 5, 31, 2, 80, false, 5);
        attention(dt, 1, 16, 40, 1, 160, false, 0);
        attention(dt, 1, 4, 33, 1, 250, false, 0);
        attention(dt, 1, 18, 37, 1, 512, false, 0);
        attention(dt, 1, 2, 3, 1, 300, false, 1);
    }
}

/* The text encoder's mask; more queries than keys and the other way round. */
static void test_causal(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        enum cn_dtype dt = case_types[i];

        attention(dt, 2, 77, 77, 2, 64, true, 0);
        attention(dt, 1, 1, 5, 1, 8, true, 0);
        attention(dt, 1, 40, 35, 1, 33, true, 1);
        attention(dt, 1, 20, 70, 2, 65, true, 0);
    }
}

/* Scores far apart: the running maximum moves from tile to tile, and exp() of all else is 0. */
static void test_large_scores(void **state)
{
    enum { S = 5, T = 100, D = 16 };
    struct cnk_attention plain = {1, S, T, D, 1, 40.0f, 0};
    struct arg arg = {.a = {1, S, T, 1, D, 40.0f, 0, D, D, D, D}};
    float *q, *k, *v, *want;
    struct test_case t;

    (void)state;
    case_begin(&t, CN_F32, 0);
    arg.q = case_input(&t, S * D, &q);
    arg.k = case_input(&t, T * D, &k);
    arg.v = case_input(&t, T * D, &v);
    arg.y = case_output(&t, S * D);
    want = case_floats(&t, S * D);
    cnk_ref_attention(want, q, k, v, &plain);
    case_run(&t, launch, &arg);
    case_close(&t, "attention, large scores", arg.y, want, S * D);
    case_end(&t);
}

static void test_refused(void **state)
{
    struct arg wide = {.a = {1, 1, 1, 1, 513, 1.0f, 0, 513, 513, 513, 513}};
    struct arg none = {.a = {1, 1, 0, 1, 8, 1.0f, 0, 8, 8, 8, 8}};
    struct arg empty = {.a = {1, 0, 4, 1, 8, 1.0f, 0, 8, 8, 8, 8}};
    struct test_case t;

    (void)state;
    case_begin(&t, CN_F16, 0);
    case_refused(&t, launch, &wide, 1);
    case_refused(&t, launch, &none, 1);
    case_refused(&t, launch, &empty, 0);
    case_end(&t);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_causal),
        cmocka_unit_test(test_large_scores),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, case_report);
}
