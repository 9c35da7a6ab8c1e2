/* Promises of single operations that a relative error does not show: what a weight of zero leaves
 * alone, parameters that buffers hold, and backward rules against differences. */
#include "base/base.h"
#include "backend/backend.h"
#include "tests/backend/op_run.h"
#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Runs g, which has one output, on host arrays in the order of its inputs. */
static void run_on(const char *backend, const struct cn_graph *g, float *const *in, float *out)
{
    struct cn_buffer *buf[8], *result;
    struct op_session s;
    struct cn_plan *p;

    assert_in_range(g->n_inputs, 1, 8);
    op_session_open(&s, backend, g, &op_opts);
    p = op_compile(&s, g);
    for (int i = 0; i < g->n_inputs; i++) {
        buf[i] = op_buffer(&s, g, &g->input[i]);
        cn_buffer_write(buf[i], in[i]);
    }
    result = op_buffer(&s, g, &g->output[0]);
    assert_int_equal(cn_plan_run(p, buf, &result, NULL), CN_OK);
    cn_buffer_read(result, out);
    for (int i = 0; i < g->n_inputs; i++)
        cn_buffer_free(buf[i]);
    cn_buffer_free(result);
    cn_plan_free(p);
    op_session_close(&s);
}

/* Row 1 has weight 0, and its y is not a number. In blocks of 16 channels, and not. */
static void check_weight_zero(const char *backend, int channels, bool mixed)
{
    struct cn_graph *g = cn_graph_new("rows");
    struct cn_shape s = cn_shape4(2, channels, 3, 3);
    size_t n = (size_t)cn_shape_elements(&s), half = n / 2;
    float *x = cn_xcalloc(n, sizeof(*x)), *y = cn_xcalloc(n, sizeof(*y));
    float *out = cn_xcalloc(n, sizeof(*out)), w[2] = {2.0f, 0.0f};
    cn_val a = cn_graph_input(g, "x", s, CN_F32, 0), b = cn_graph_input(g, "y", s, CN_F32, 0);
    cn_val c = cn_graph_input(g, "w", cn_shape2(2, 1), CN_F32, 0);

    if (mixed) /* another layout than x's, where the backend has several */
        b = cn_upsample(g, b, 3, 3);
    cn_graph_output(g, "z", cn_add_rows(g, a, b, c, 0), 0);
    op_fill(x, n, "x", 1.0);
    op_fill(y, n, "y", 1.0);
    x[half] = -0.0f;
    for (size_t i = half; i < n; i++)
        y[i] = i % 2 ? NAN : INFINITY;
    run_on(backend, g, (float *[]){x, y, w}, out);
    assert_memory_equal(out + half, x + half, half * sizeof(*x));
    for (size_t i = 0; i < half; i++)
        assert_true(fabsf(out[i] - (x[i] + 2.0f * y[i])) <= 1e-6f);
    cn_graph_free(g);
    free(x);
    free(y);
    free(out);
}

static void check_weights_of_zero(const char *backend)
{
    static const int channels[] = {5, 16};

    for (size_t i = 0; i < CN_LEN(channels); i++) {
        check_weight_zero(backend, channels[i], false);
        check_weight_zero(backend, channels[i], true);
    }
}

static void a_weight_of_zero_leaves_the_value_alone(void **state)
{
    (void)state;
    op_each_backend(check_weights_of_zero);
}

static void a_bound_parameter_is_an_input(void **state)
{
    struct cn_graph *g = cn_graph_new("bound");
    cn_val x = cn_graph_input(g, "x", cn_shape2(1, 2), CN_F32, 0);
    float in[2] = {1.0f, 10.0f}, w[2] = {3.0f, 4.0f}, y;

    (void)state;
    cn_graph_output(g, "y", cn_linear(g, x, "w", NULL, 1), 0);
    cn_graph_bind(g, cn_param(g, "w", cn_shape2(1, 2)));
    assert_int_equal(g->n_inputs, 2);
    assert_string_equal(g->input[1].name, "w");
    assert_int_equal(cn_param(g, "w", cn_shape2(1, 2)), g->input[1].val);
    for (int i = 0; i < 2; i++) {
        w[0] += (float)i;
        run_on("reference", g, (float *[]){in, w}, &y);
        assert_true(y == w[0] + 10.0f * w[1]);
    }
    cn_graph_free(g);
}

/* ---- gradients ---- */

typedef cn_val (*make_fn)(struct cn_graph *g, cn_val x, cn_val y);

static cn_val make_mul(struct cn_graph *g, cn_val x, cn_val y)
{
    return cn_mul(g, cn_scale(g, x, 1.5f), y);
}

static cn_val make_product(struct cn_graph *g, cn_val x, cn_val y)
{
    return cn_matmul(g, x, y, false, true, 0.5f);
}

static cn_val make_transposed(struct cn_graph *g, cn_val x, cn_val y)
{
    return cn_matmul(g, x, y, true, false, 2.0f);
}

static cn_val make_moves(struct cn_graph *g, cn_val x, cn_val y)
{
    static const int perm[] = {2, 0, 1};

    x = cn_permute(g, cn_concat(g, x, y), perm);
    return cn_reshape(g, cn_add(g, x, x), cn_shape2(4, 16));
}

static cn_val make_both_transposed(struct cn_graph *g, cn_val x, cn_val y)
{
    return cn_matmul(g, x, y, true, true, 1.0f);
}

/* What every value of g that d depends on gets: sums over its readers, back to front. */
static cn_val gradient(struct cn_graph *g, cn_val result, cn_val dy, cn_val of)
{
    int count = result + 1;
    cn_val *d = cn_xmalloc((size_t)count * sizeof(*d)), r;

    for (int i = 0; i < count; i++)
        d[i] = i == result ? dy : -1;
    for (int i = result; i > of; i--)
        for (int k = 0; k < CN_MAX_IN && d[i] >= 0; k++) {
            cn_val in = g->node[i].in[k], part;

            if (in < 0)
                continue;
            part = cn_grad(g, i, k, d[i]);
            assert_true(part >= 0);
            d[in] = d[in] < 0 ? part : cn_add(g, d[in], part);
        }
    r = d[of];
    free(d);
    return r;
}

enum { SIDE = 4, COUNT = 2 * SIDE * SIDE };

/* f(x, y) . dy, which all rules here make linear in x and in y: differences are exact but for
 * rounding. */
static double dot_result(make_fn make, float *x, float *y, const float *dy)
{
    struct cn_graph *g = cn_graph_new("forward");
    cn_val a = cn_graph_input(g, "x", cn_shape3(2, SIDE, SIDE), CN_F32, 0);
    cn_val b = cn_graph_input(g, "y", cn_shape3(2, SIDE, SIDE), CN_F32, 0), z = make(g, a, b);
    int64_t n = cn_shape_elements(cn_shape_of(g, z));
    float out[2 * COUNT];
    double sum = 0;

    cn_graph_output(g, "z", z, 0);
    run_on("reference", g, (float *[]){x, y}, out);
    for (int64_t i = 0; i < n; i++)
        sum += (double)out[i] * dy[i];
    cn_graph_free(g);
    return sum;
}

static void check_gradient(make_fn make, bool of_y)
{
    struct cn_graph *g = cn_graph_new("backward");
    cn_val a = cn_graph_input(g, "x", cn_shape3(2, SIDE, SIDE), CN_F32, 0);
    cn_val b = cn_graph_input(g, "y", cn_shape3(2, SIDE, SIDE), CN_F32, 0), z = make(g, a, b), d;
    float x[COUNT], y[COUNT], dy[2 * COUNT], have[COUNT], *at = of_y ? y : x;

    d = cn_graph_input(g, "dy", *cn_shape_of(g, z), CN_F32, 0);
    cn_graph_output(g, "dx", gradient(g, z, d, of_y ? b : a), 0);
    op_fill(x, COUNT, "x", 1.0);
    op_fill(y, COUNT, "y", 1.0);
    op_fill(dy, 2 * COUNT, "dy", 1.0);
    run_on("reference", g, (float *[]){x, y, dy}, have);
    for (int i = 0; i < COUNT; i += 3) {
        float kept = at[i];
        double up, down;

        at[i] = kept + 0.5f;
        up = dot_result(make, x, y, dy);
        at[i] = kept - 0.5f;
        down = dot_result(make, x, y, dy);
        at[i] = kept;
        assert_true(fabs(up - down - have[i]) <= 1e-4);
    }
    cn_graph_free(g);
}

static void backward_rules_agree_with_differences(void **state)
{
    static const make_fn makes[] = {make_mul, make_product, make_transposed, make_both_transposed,
                                    make_moves};

    (void)state;
    for (size_t i = 0; i < CN_LEN(makes); i++) {
        check_gradient(makes[i], false);
        check_gradient(makes[i], true);
    }
}

static void an_op_without_a_rule_says_so(void **state)
{
    struct cn_graph *g = cn_graph_new("none");
    cn_val x = cn_graph_input(g, "x", cn_shape2(1, 2), CN_F32, 0), y = cn_act(g, x, CN_SILU);

    (void)state;
    assert_int_equal(cn_grad(g, y, 0, x), -1);
    cn_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_weight_of_zero_leaves_the_value_alone),
        cmocka_unit_test(a_bound_parameter_is_an_input),
        cmocka_unit_test(backward_rules_agree_with_differences),
        cmocka_unit_test(an_op_without_a_rule_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
