/* The types in which plans store their values, and working memory that is given back. */
#include "base/base.h"
#include "backend/backend.h"
#include "tests/backend/op_run.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const enum cn_dtype types[] = {CN_F32, CN_F16, CN_BF16};

static struct cn_graph *small_graph(int size, int flags)
{
    struct cn_graph *g = cn_graph_new("small");
    cn_val x = cn_graph_input(g, "x", cn_shape4(1, 16, size, size), CN_F32, flags);

    x = cn_act(g, op_conv3(g, x, "w1", 32), CN_SILU);
    x = op_conv3(g, cn_add(g, x, cn_scale(g, x, 0.5f)), "w2", 16);
    cn_graph_output(g, "y", x, flags);
    return g;
}

static bool stores(const struct op_session *s, enum cn_dtype t)
{
    return cn_backend_caps(s->b)->stores & 1u << t;
}

/* Runs g in type t on host data; the result is the caller's. */
static struct op_result run_as(struct op_session *s, const struct cn_graph *g, enum cn_dtype t,
                               size_t *ret_arena)
{
    const struct cn_io *i = &g->input[0], *o = &g->output[0];
    float *x = op_data(g, i->val);
    struct cn_err err = CN_ERR_INIT;
    struct cn_buffer *in, *out;
    struct cn_plan *p;
    struct op_result r;

    if (cn_plan_compile(s->b, g, s->w, t, 0, &p, &err) < 0 ||
        cn_buffer_new(s->b, &g->value[i->val], t, i->flags, &in, &err) < 0 ||
        cn_buffer_new(s->b, &g->value[o->val], t, o->flags, &out, &err) < 0)
        fail_msg("%s: %s", cn_backend_name(s->b), err.msg);
    cn_buffer_write(in, x);
    if (cn_plan_run(p, &in, &out, &err) < 0)
        fail_msg("%s: %s", cn_backend_name(s->b), err.msg);
    r = op_read(out, cn_shape_of(g, o->val));
    if (ret_arena != NULL)
        *ret_arena = cn_plan_arena_bytes(p);
    cn_buffer_free(in);
    cn_buffer_free(out);
    cn_plan_free(p);
    free(x);
    return r;
}

/* Rounded to 11 and to 8 bits: near the truth, and not the truth. */
static const double most[CN_DTYPE_COUNT] = {[CN_F32] = 1e-5, [CN_F16] = 2e-3, [CN_BF16] = 2e-2};
static const double least[CN_DTYPE_COUNT] = {[CN_F16] = 1e-5, [CN_BF16] = 1e-4};

static void check_types(const char *backend)
{
    for (int flags = 0; flags <= CN_IO_NATIVE; flags += CN_IO_NATIVE) {
        struct cn_graph *g = small_graph(9, flags);
        struct op_result expect, r;
        struct op_session s;

        op_run("reference", g, &expect);
        op_session_open(&s, backend, g, &op_opts);
        for (size_t i = 0; i < CN_LEN(types); i++) {
            enum cn_dtype t = types[i];

            if (!stores(&s, t))
                continue;
            r = run_as(&s, g, t, NULL);
            assert_true(op_distance(&r, &expect) <= most[t]);
            assert_true(op_distance(&r, &expect) >= least[t]);
            op_result_release(&r);
        }
        op_session_close(&s);
        op_result_release(&expect);
        cn_graph_free(g);
    }
}

static void a_plan_stores_values_in_its_type(void **state)
{
    (void)state;
    op_each_backend(check_types);
}

static void check_refusals(const char *backend)
{
    struct cn_graph *g = small_graph(5, 0);
    struct op_session s;

    op_session_open(&s, backend, g, &op_opts);
    assert_true(stores(&s, cn_backend_caps(s.b)->dtype));
    for (size_t i = 0; i < CN_LEN(types); i++) {
        struct cn_value v = {.shape = cn_shape1(4), .dtype = CN_F32};
        struct cn_err err = CN_ERR_INIT;
        struct cn_buffer *buf;
        struct cn_plan *p;

        if (stores(&s, types[i]))
            continue;
        assert_int_equal(cn_plan_compile(s.b, g, s.w, types[i], 0, &p, &err), CN_EINVAL);
        assert_non_null(strstr(err.msg, cn_dtype_name(types[i])));
        assert_non_null(strstr(err.msg, backend));
        err = (struct cn_err)CN_ERR_INIT;
        assert_int_equal(cn_buffer_new(s.b, &v, types[i], CN_IO_NATIVE, &buf, &err), CN_EINVAL);
        g->value[g->output[0].val].dtype = types[i];
        assert_int_equal(cn_plan_compile(s.b, g, s.w, CN_DTYPE_COUNT, 0, &p, &err), CN_EINVAL);
        g->value[g->output[0].val].dtype = CN_F32;
    }
    op_session_close(&s);
    cn_graph_free(g);
}

static void what_cannot_be_stored_is_refused(void **state)
{
    (void)state;
    op_each_backend(check_refusals);
}

/* The host sees F32 whatever a value is stored in. */
static void a_graph_can_declare_a_type(void **state)
{
    struct cn_graph *g = small_graph(7, 0);
    struct op_result wide, r;
    struct op_session s;

    (void)state;
    op_session_open(&s, "reference", g, &op_opts);
    wide = run_as(&s, g, CN_F32, NULL);
    g->value[g->output[0].val].dtype = CN_BF16;
    r = run_as(&s, g, CN_F32, NULL);
    for (size_t i = 0; i < r.count; i++)
        assert_true(r.data[i] == cn_bf16_to_f32(cn_f32_to_bf16(wide.data[i])));
    op_result_release(&r);
    op_result_release(&wide);
    op_session_close(&s);
    cn_graph_free(g);
}

/* An identity chain long enough that its values, not the F32 copies of one node, fill the arena. */
static void halves_take_half_the_room(void **state)
{
    struct cn_graph *g = cn_graph_new("wide");
    cn_val x = cn_graph_input(g, "x", cn_shape2(1, 4096), CN_F32, 0), v[8];
    struct op_session s;
    size_t bytes[2];

    (void)state;
    for (int i = 0; i < 8; i++)
        v[i] = cn_scale(g, x, (float)i);
    for (int i = 1; i < 8; i++)
        v[0] = cn_add(g, v[0], v[i]);
    cn_graph_output(g, "y", v[0], 0);
    op_session_open(&s, "reference", g, &op_opts);
    for (int i = 0; i < 2; i++) {
        struct op_result r = run_as(&s, g, i ? CN_BF16 : CN_F32, &bytes[i]);

        op_result_release(&r);
    }
    assert_int_equal(bytes[0], 9 * 4096 * sizeof(float));
    assert_int_equal(bytes[1], 9 * 4096 * sizeof(uint16_t) + 3 * 4096 * sizeof(float));
    op_session_close(&s);
    cn_graph_free(g);
}

/* What a large picture took is given back, and taken again. */
static void check_trim(const char *backend)
{
    struct cn_graph *g[2] = {small_graph(8, 0), small_graph(64, 0)};
    struct op_result before[2], after;
    struct op_session s;
    size_t small, large;

    op_session_open(&s, backend, g[0], &op_opts);
    before[0] = run_as(&s, g[0], CN_DTYPE_COUNT, NULL);
    small = cn_backend_bytes(s.b);
    before[1] = run_as(&s, g[1], CN_DTYPE_COUNT, NULL);
    large = cn_backend_bytes(s.b);
    assert_true(large > small);
    assert_true(cn_backend_trim(s.b) >= large - small);
    assert_true(cn_backend_bytes(s.b) <= small);
    assert_int_equal(cn_backend_trim(s.b), 0);
    for (int i = 0; i < 2; i++) {
        after = run_as(&s, g[i], CN_DTYPE_COUNT, NULL);
        assert_memory_equal(after.data, before[i].data, after.count * sizeof(float));
        op_result_release(&after);
        op_result_release(&before[i]);
        cn_graph_free(g[i]);
    }
    op_session_close(&s);
}

/* A plan that was compiled before still runs: it takes its memory again. */
static void check_old_plans(const char *backend)
{
    struct cn_graph *g = small_graph(20, 0);
    struct cn_buffer *in, *out;
    struct op_session s;
    struct cn_plan *p;
    struct cn_err err = CN_ERR_INIT;

    op_session_open(&s, backend, g, &op_opts);
    p = op_compile(&s, g);
    in = op_buffer(&s, g, &g->input[0]);
    out = op_buffer(&s, g, &g->output[0]);
    for (int i = 0; i < 2; i++) {
        cn_backend_trim(s.b);
        assert_int_equal(cn_plan_run(p, &in, &out, &err), CN_OK);
        assert_true(cn_backend_bytes(s.b) >= cn_plan_arena_bytes(p));
    }
    cn_buffer_free(in);
    cn_buffer_free(out);
    cn_plan_free(p);
    op_session_close(&s);
    cn_graph_free(g);
}

static void working_memory_is_given_back(void **state)
{
    (void)state;
    op_each_backend(check_trim);
    op_each_backend(check_old_plans);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_stores_values_in_its_type),
        cmocka_unit_test(what_cannot_be_stored_is_refused),
        cmocka_unit_test(a_graph_can_declare_a_type),
        cmocka_unit_test(halves_take_half_the_room),
        cmocka_unit_test(working_memory_is_given_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
