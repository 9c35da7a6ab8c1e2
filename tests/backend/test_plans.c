/* Plans and buffers of every backend: buffers that go from plan to plan, unusual outputs, shared
 * working memory, random graphs, memory that does not suffice. */
#include "base/base.h"
#include "backend/backend.h"
#include "tests/backend/op_run.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void check_near(const char *backend, const char *what, struct op_result *r,
                       const struct op_result *expect, double tolerance)
{
    double d = op_distance(r, expect);

    if (!(d <= tolerance))
        fail_msg("%s: %s: relative L2 %g", backend, what, d);
    op_result_release(r);
}

static cn_val first_half(struct cn_graph *g, int channels)
{
    return op_conv3(g, cn_graph_input(g, "x", cn_shape4(2, 4, 6, 5), CN_F32, 0), "w1", channels);
}

static cn_val second_half(struct cn_graph *g, cn_val x)
{
    int channels = (int)cn_shape_of(g, x)->dim[1];
    cn_val y = cn_act(g, cn_group_norm(g, x, "gamma", "beta", 1, 1e-5f), CN_SILU);

    y = cn_from_tokens(g, cn_linear(g, cn_to_tokens(g, y), "wl", NULL, channels), 6, 5);
    return op_conv3(g, cn_concat(g, cn_add(g, y, x), x), "w2", 7);
}

struct halves {
    struct cn_graph *whole, *first, *second;
};

static struct halves make_halves(int channels)
{
    struct halves h = {cn_graph_new("whole"), cn_graph_new("first"), cn_graph_new("second")};
    cn_val x = first_half(h.whole, channels);

    cn_graph_output(h.whole, "middle", x, 0);
    cn_graph_output(h.whole, "y", second_half(h.whole, x), 0);
    cn_graph_output(h.first, "middle", first_half(h.first, channels), CN_IO_NATIVE);
    x = cn_graph_input(h.second, "middle", cn_shape4(2, channels, 6, 5), CN_F32, CN_IO_NATIVE);
    cn_graph_output(h.second, "y", second_half(h.second, x), 0);
    return h;
}

/* expect: middle and y of the whole. */
static void run_halves(const char *backend, const struct halves *h, const struct op_result *expect)
{
    struct op_session s;
    struct cn_buffer *x, *middle, *y;
    struct cn_plan *first, *second;
    struct op_result r, e = *expect;
    float *host = op_data(h->first, h->first->input[0].val);

    op_session_open(&s, backend, h->whole, &op_plan_opts);
    first = op_compile(&s, h->first);
    second = op_compile(&s, h->second);
    x = op_buffer(&s, h->first, &h->first->input[0]);
    middle = op_buffer(&s, h->first, &h->first->output[0]);
    y = op_buffer(&s, h->second, &h->second->output[0]);
    cn_buffer_write(x, host);
    free(host);
    assert_int_equal(cn_plan_run(first, &x, &middle, NULL), CN_OK);
    assert_int_equal(cn_plan_run(second, &middle, &y, NULL), CN_OK);
    r = op_read(middle, cn_shape_of(h->first, h->first->output[0].val));
    e.count = r.count;
    check_near(backend, "native output read by the host", &r, &e, 1e-5);
    e.data += e.count;
    r = op_read(y, cn_shape_of(h->second, h->second->output[0].val));
    e.count = r.count;
    check_near(backend, "native output read by a plan", &r, &e, 1e-5);
    cn_buffer_free(x);
    cn_buffer_free(middle);
    cn_buffer_free(y);
    cn_plan_free(first);
    cn_plan_free(second);
    op_session_close(&s);
}

static void check_halves(const char *backend)
{
    static const int channels[] = {3, 8, 16, 20, 32, 48};

    for (size_t i = 0; i < CN_LEN(channels); i++) {
        struct halves h = make_halves(channels[i]);
        struct op_result expect;

        op_run("reference", h.whole, &expect);
        run_halves(backend, &h, &expect);
        op_result_release(&expect);
        cn_graph_free(h.whole);
        cn_graph_free(h.first);
        cn_graph_free(h.second);
    }
}

static void native_buffers_go_from_plan_to_plan(void **state)
{
    (void)state;
    op_each_backend(check_halves);
}

static void check_round_trip(struct op_session *s, const struct cn_shape *shape, int flags)
{
    struct cn_value value = {.shape = *shape, .dtype = CN_F32};
    size_t n = (size_t)cn_shape_elements(shape);
    float *x = cn_xcalloc(n, sizeof(*x)), *y = cn_xcalloc(n, sizeof(*y));
    struct cn_buffer *buf;

    op_fill(x, n, "round trip", 1.0);
    op_fill(y, n, "something else", 1.0);
    assert_int_equal(cn_buffer_new(s->b, &value, CN_DTYPE_COUNT, flags, &buf, NULL), CN_OK);
    assert_true(cn_buffer_bytes(buf) >= n * sizeof(*x));
    cn_buffer_read(buf, y);
    for (size_t i = 0; i < n; i++)
        assert_true(y[i] == 0.0f);
    cn_buffer_write(buf, x);
    cn_buffer_read(buf, y);
    assert_memory_equal(x, y, n * sizeof(*x));
    cn_buffer_free(buf);
    free(x);
    free(y);
}

static void check_round_trips(const char *backend)
{
    const struct cn_shape shapes[] = {
        cn_shape1(3),           cn_shape2(2, 19),          cn_shape2(1, 320),
        cn_shape3(2, 7, 40),    cn_shape3(1, 77, 768),     cn_shape4(1, 3, 5, 7),
        cn_shape4(2, 8, 4, 4),  cn_shape4(3, 16, 1, 1),    cn_shape4(2, 20, 3, 3),
        cn_shape4(1, 32, 9, 2), cn_shape4(1, 320, 16, 16),
    };
    struct cn_graph *g = cn_graph_new("none");
    struct op_session s;

    op_session_open(&s, backend, g, &op_plan_opts);
    for (size_t i = 0; i < CN_LEN(shapes); i++) {
        check_round_trip(&s, &shapes[i], 0);
        check_round_trip(&s, &shapes[i], CN_IO_NATIVE);
    }
    op_session_close(&s);
    cn_graph_free(g);
}

static void buffers_return_what_was_written(void **state)
{
    (void)state;
    op_each_backend(check_round_trips);
}

/* Outputs: an input; a value twice; values that are read later; one native, one not. */
static struct cn_graph *unusual_outputs(int flags)
{
    struct cn_graph *g = cn_graph_new("unusual outputs");
    cn_val x = cn_graph_input(g, "x", cn_shape4(2, 12, 5, 6), CN_F32, flags), y, z;

    cn_graph_input(g, "nobody reads this", cn_shape2(2, 3), CN_F32, 0);
    y = op_conv3(g, x, "w1", 12);
    z = cn_act(g, y, CN_SILU);
    cn_graph_output(g, "x", x, 0);
    cn_graph_output(g, "x again", x, CN_IO_NATIVE);
    cn_graph_output(g, "y", y, flags);
    cn_graph_output(g, "y again", y, 0);
    cn_graph_output(g, "z", z, CN_IO_NATIVE);
    cn_graph_output(g, "end", op_conv3(g, cn_add(g, z, x), "w2", 12), 0);
    return g;
}

static void check_unusual_outputs(const char *backend)
{
    for (int flags = 0; flags <= CN_IO_NATIVE; flags++) {
        struct cn_graph *g = unusual_outputs(flags);
        float *x = op_data(g, g->input[0].val);
        struct op_result r, expect;
        size_t n = 2 * 12 * 5 * 6;

        op_run("reference", g, &expect);
        op_run(backend, g, &r);
        assert_int_equal(r.count, 6 * n);
        assert_memory_equal(r.data, x, n * sizeof(float));
        assert_memory_equal(r.data + n, x, n * sizeof(float));
        assert_memory_equal(r.data + 2 * n, r.data + 3 * n, n * sizeof(float));
        check_near(backend, g->name, &r, &expect, 1e-5);
        op_result_release(&expect);
        free(x);
        cn_graph_free(g);
    }
}

static void outputs_may_be_inputs_and_may_repeat(void **state)
{
    (void)state;
    op_each_backend(check_unusual_outputs);
}

/* Plans of growing and shrinking size take turns. */
static void check_shared_memory(const char *backend)
{
    static const int sizes[] = {6, 20, 3, 33};
    struct cn_graph *g[CN_LEN(sizes)];
    struct cn_plan *p[CN_LEN(sizes)];
    struct op_session s;
    struct op_result r, expect;

    for (size_t i = 0; i < CN_LEN(sizes); i++)
        g[i] = op_sized_graph(sizes[i]);
    op_session_open(&s, backend, g[0], &op_plan_opts);
    for (size_t i = 0; i < CN_LEN(sizes); i++) {
        p[i] = op_compile(&s, g[i]);
        assert_true(cn_plan_arena_bytes(p[i]) > 0);
        for (size_t k = 0; k <= i; k++) {
            op_run_once(&s, p[k], g[k], &r);
            op_run("reference", g[k], &expect);
            check_near(backend, "plans taking turns", &r, &expect, 1e-5);
            op_result_release(&expect);
        }
    }
    for (size_t i = 0; i < CN_LEN(sizes); i++) {
        cn_plan_free(p[i]);
        cn_graph_free(g[i]);
    }
    op_session_close(&s);
}

static void plans_share_working_memory(void **state)
{
    (void)state;
    op_each_backend(check_shared_memory);
}

static unsigned random_state;

static int below(int n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (int)(random_state >> 8) % n;
}

/* One more node on values that all have the same shape; t is [2, 40]. */
static cn_val random_node(struct cn_graph *g, cn_val x, cn_val y, cn_val t, int i)
{
    const struct cn_shape s = *cn_shape_of(g, x);
    int c = (int)s.dim[1];
    char w[16], gamma[16];

    snprintf(w, sizeof(w), "w%d", i);
    snprintf(gamma, sizeof(gamma), "gamma%d", i);
    switch (below(9)) {
    case 0:
        return op_conv3(g, x, w, c);
    case 1:
        return cn_group_norm(g, x, gamma, w, c / 4, 1e-5f);
    case 2:
        return cn_act(g, x, (enum cn_activation)(1 + below(CN_RELU)));
    case 3:
    case 4:
        return cn_add(g, x, y);
    case 5:
        return cn_add_channel(g, x, t, below(40 - c));
    case 6:
        return op_conv3(g, cn_concat(g, x, y), w, c);
    case 7:
        return cn_add_rows(g, x, y, t, below(40));
    default:
        x = cn_linear(g, cn_to_tokens(g, x), w, NULL, c);
        return cn_from_tokens(g, x, (int)s.dim[2], (int)s.dim[3]);
    }
}

/* The last result and some others are outputs; what leads nowhere is dead code. */
static struct cn_graph *random_graph(unsigned seed)
{
    static const int channels[] = {4, 8, 16, 20, 32};
    struct cn_graph *g = cn_graph_new("random");
    cn_val made[32], t = cn_graph_input(g, "t", cn_shape2(2, 40), CN_F32, 0);
    int n = 1, steps;

    random_state = seed;
    steps = 4 + below(20);
    made[0] = cn_graph_input(g, "x", cn_shape4(2, channels[below(5)], 5, 4), CN_F32,
                             below(2) ? CN_IO_NATIVE : 0);
    for (; n <= steps; n++) /* mostly chains, so that there is something to fuse */
        made[n] = random_node(g, made[below(4) ? n - 1 : below(n)], made[below(n)], t, n);
    cn_graph_output(g, "last", made[n - 1], 0);
    for (int i = below(3); i > 0; i--)
        cn_graph_output(g, "some", made[below(n)], below(2) ? CN_IO_NATIVE : 0);
    return g;
}

static void check_random_graphs(const char *backend)
{
#ifdef OP_BACKEND
    unsigned last = op_quick() ? 20 : 60;
#else
    unsigned last = op_quick() ? 50 : 150;
#endif

    for (unsigned seed = 1; seed <= last; seed++) {
        struct cn_graph *g = random_graph(seed), *whole = random_graph(seed);
        struct op_result r, expect;
        char what[32];

        snprintf(what, sizeof(what), "random graph %u", seed);
        op_expose_all(whole); /* not fused, nothing shares memory */
        op_run("reference", whole, &expect);
        op_run(backend, g, &r);
        expect.count = r.count;
        check_near(backend, what, &r, &expect, 1e-5);
        op_result_release(&expect);
        cn_graph_free(g);
        cn_graph_free(whole);
    }
}

static void random_graphs_mean_the_same_fused(void **state)
{
    (void)state;
    op_each_backend(check_random_graphs);
}

static void threads_do_not_change_the_reference(void **state)
{
    struct cn_graph *g = cn_graph_new("threads");
    cn_val x = cn_graph_input(g, "x", cn_shape4(1, 64, 33, 33), CN_F32, 0);
    struct op_result r[2];

    (void)state;
    x = cn_act(g, cn_group_norm(g, op_conv3(g, x, "w", 64), "gamma", "beta", 32, 1e-5f), CN_SILU);
    x = cn_to_tokens(g, x);
    x = cn_attention(g, cn_linear(g, x, "q", NULL, 64), x, x, 8, 0.35f, false);
    cn_graph_output(g, "y", x, 0);
    for (int i = 0; i < 2; i++) {
        struct cn_backend_opts opts = {.threads = 1 + 2 * i};
        struct op_session s;
        struct cn_plan *p;

        op_session_open(&s, "reference", g, &opts);
        p = op_compile(&s, g);
        op_run_once(&s, p, g, &r[i]);
        cn_plan_free(p);
        op_session_close(&s);
    }
    assert_memory_equal(r[0].data, r[1].data, r[0].count * sizeof(float));
    op_result_release(&r[0]);
    op_result_release(&r[1]);
    cn_graph_free(g);
}

/* A backend opened later, with more threads, must not change how many run the plans of the first:
 * their scratch memory was planned for as many as it had. */
static void check_own_threads(const char *backend)
{
    struct cn_backend_opts few = op_opts, many = op_opts;
    struct cn_graph *g = cn_graph_new("threads");
    int tokens = strcmp(backend, "cuda") == 0 ? 150 : 700; /* which is no matter of threads there */
    cn_val x = cn_graph_input(g, "x", cn_shape3(2, tokens, 64), CN_F32, 0);
    struct op_session s, other;
    struct op_result before, after;
    struct cn_plan *p;

    few.threads = 1;
    many.threads = 4;
    cn_graph_output(g, "y", cn_attention(g, x, x, x, 8, 0.35f, false), 0);
    op_session_open(&s, backend, g, &few);
    p = op_compile(&s, g);
    op_run_once(&s, p, g, &before);
    op_session_open(&other, backend, g, &many);
    op_run_once(&s, p, g, &after);
    assert_memory_equal(before.data, after.data, before.count * sizeof(float));
    op_result_release(&before);
    op_result_release(&after);
    cn_plan_free(p);
    op_session_close(&s);
    op_session_close(&other);
    cn_graph_free(g);
}

static void backends_keep_their_threads(void **state)
{
    (void)state;
    op_each_backend(check_own_threads);
}

/* A small network of both kinds of products at one size. */
static struct cn_graph *products(int n, int side)
{
    struct cn_graph *g = cn_graph_new("products");
    cn_val x = cn_graph_input(g, "x", cn_shape4(n, 64, side, side), CN_F32, 0);

    x = op_conv3(g, op_conv3(g, x, "a", 128), "b", 64);
    x = cn_linear(g, cn_to_tokens(g, x), "c", NULL, 96);
    x = cn_linear(g, x, "d", NULL, 64);
    x = cn_conv2d(g, cn_from_tokens(g, x, side, side), "e", NULL,
                  &(struct cn_conv){.out = 192, .k = 1, .stride = 1});
    cn_graph_output(g, "y", x, 0);
    return g;
}

/* What one graph gives after others were compiled, in the order given; -1 ends the list. */
static void run_after(const char *backend, bool settle, const int *sides, int side,
                      struct op_result *ret)
{
    struct cn_backend_opts opts = op_opts;
    struct cn_graph *g = products(1, side), *own = products(2, 16);
    struct op_session s;
    struct cn_plan *p;

    op_session_open(&s, backend, g, &opts);
    if (settle)
        cn_weights_fix_layouts(s.w, own);
    for (; *sides > 0; sides++) {
        struct cn_graph *before = products(1 + *sides % 2, *sides);

        cn_plan_free(op_compile(&s, before));
        cn_graph_free(before);
    }
    p = op_compile(&s, g);
    op_run_once(&s, p, g, ret);
    cn_plan_free(p);
    op_session_close(&s);
    cn_graph_free(g);
    cn_graph_free(own);
}

static void check_history(const char *backend)
{
#ifdef OP_BACKEND /* a backend that may be slow here, and has one form of each parameter */
    static const int sides[] = {1, 3, 8};
#else
    static const int sides[] = {1, 3, 8, 16, 33, 64};
#endif

    for (size_t i = 0; i < CN_LEN(sides); i++)
        for (size_t k = 0; k < CN_LEN(sides); k++) {
            struct op_result alone, after;

            run_after(backend, true, (const int[]){-1}, sides[i], &alone);
            run_after(backend, true, (const int[]){sides[k], -1}, sides[i], &after);
            if (memcmp(alone.data, after.data, alone.count * sizeof(float)) != 0)
                fail_msg("%s: %d differs after %d: %g", backend, sides[i], sides[k],
                         op_distance(&after, &alone));
            op_result_release(&alone);
            op_result_release(&after);
        }
}

static void settled_weights_forget_the_order_of_plans(void **state)
{
    (void)state;
    check_history(op_backends()[0]);
}

static void check_profile(const char *backend)
{
    for (int on = 0; on < 2; on++) {
        struct cn_backend_opts opts = op_opts;
        struct cn_graph *g = op_sized_graph(6);
        struct op_session s;
        struct cn_plan *p;
        struct op_result r;
        char *text;

        opts.profile = on;
        op_session_open(&s, backend, g, &opts);
        p = op_compile(&s, g);
        op_run_once(&s, p, g, &r);
        text = cn_plan_profile(p);
        assert_int_equal(strstr(text, "conv") != NULL, on);
        assert_true(on || *text == '\0');
        free(text);
        op_result_release(&r);
        cn_plan_free(p);
        op_session_close(&s);
        cn_graph_free(g);
    }
}

static void profile_names_the_steps_when_asked(void **state)
{
    (void)state;
    op_each_backend(check_profile);
}

static void check_huge_buffer(const char *backend)
{
    static const int64_t side[] = {1 << 20, INT64_C(1) << 40};
    struct cn_graph *g = cn_graph_new("none");
    struct op_session s;

    op_session_open(&s, backend, g, &op_plan_opts);
    for (size_t i = 0; i < CN_LEN(side); i++) {
        struct cn_value value = {.shape = cn_shape4(1, 64, side[i], side[i]), .dtype = CN_F32};
        struct cn_err err = CN_ERR_INIT;
        struct cn_buffer *buf;

        assert_int_equal(cn_buffer_new(s.b, &value, CN_DTYPE_COUNT, 0, &buf, &err), CN_EDEVMEM);
        assert_int_equal(err.code, CN_EDEVMEM);
    }
    op_session_close(&s);
    cn_graph_free(g);
}

static void buffer_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    op_each_backend(check_huge_buffer);
}

/* An arena that no machine has, while the input and the output are small. Older plans still run. */
static void plan_that_does_not_fit_is_refused(void **state)
{
    struct cn_graph *small = op_sized_graph(6), *g = cn_graph_new("huge");
    cn_val x = cn_graph_input(g, "x", cn_shape4(1, 4, 2, 2), CN_F32, 0);
    struct cn_err err = CN_ERR_INIT;
    struct cn_plan *p, *older;
    struct op_result r, expect;
    struct op_session s;

    (void)state;
    x = cn_pool_hw(g, cn_upsample(g, x, 1 << 22, 1 << 22));
    x = cn_conv2d(g, cn_act(g, x, CN_SILU), "w3", NULL,
                  &(struct cn_conv){.out = 4, .k = 1, .stride = 1 << 21});
    cn_graph_output(g, "y", x, 0);
    cn_param(small, "w3", cn_shape4(4, 4, 1, 1));
    op_session_open(&s, "reference", small, &op_plan_opts);
    older = op_compile(&s, small);
    assert_int_equal(cn_plan_compile(s.b, g, s.w, CN_DTYPE_COUNT, 0, &p, &err), CN_EDEVMEM);
    assert_non_null(strstr(err.msg, "working space"));
    op_run_once(&s, older, small, &r);
    op_run("reference", small, &expect);
    check_near("reference", "a plan after a refused one", &r, &expect, 0.0);
    op_result_release(&expect);
    cn_plan_free(older);
    op_session_close(&s);
    cn_graph_free(small);
    cn_graph_free(g);
}

static void unknown_backend_is_not_found(void **state)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_backend *b;

    (void)state;
    assert_int_equal(cn_backend_open("abacus", &op_plan_opts, &b, &err), CN_ENOTFOUND);
    assert_non_null(strstr(err.msg, "abacus"));
    assert_int_equal(cn_backend_open("auto", &op_plan_opts, &b, NULL), CN_OK);
    assert_string_equal(cn_backend_name(b), cn_backend_list()[0]);
    cn_backend_close(b);
}

static void an_id_outside_the_rows_is_refused(void **state)
{
    static const int32_t ids[3] = {0, 7, 8};
    struct cn_graph *g = cn_graph_new("ids");
    cn_val x = cn_graph_input(g, "ids", cn_shape2(1, 3), CN_I32, 0);
    struct cn_err err = CN_ERR_INIT;
    struct cn_buffer *in, *out;
    struct cn_plan *p;
    struct op_session s;

    (void)state;
    cn_graph_output(g, "y", cn_gather(g, cn_param(g, "table", cn_shape3(1, 8, 4)), x), 0);
    op_session_open(&s, "reference", g, &op_plan_opts);
    p = op_compile(&s, g);
    in = op_buffer(&s, g, &g->input[0]);
    out = op_buffer(&s, g, &g->output[0]);
    cn_buffer_write(in, ids);
    assert_int_equal(cn_plan_run(p, &in, &out, &err), CN_EINVAL);
    cn_buffer_free(in);
    cn_buffer_free(out);
    cn_plan_free(p);
    op_session_close(&s);
    cn_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(native_buffers_go_from_plan_to_plan),
        cmocka_unit_test(buffers_return_what_was_written),
        cmocka_unit_test(outputs_may_be_inputs_and_may_repeat),
        cmocka_unit_test(plans_share_working_memory),
        cmocka_unit_test(random_graphs_mean_the_same_fused),
        cmocka_unit_test(threads_do_not_change_the_reference),
        cmocka_unit_test(backends_keep_their_threads),
        cmocka_unit_test(settled_weights_forget_the_order_of_plans),
        cmocka_unit_test(profile_names_the_steps_when_asked),
        cmocka_unit_test(buffer_that_does_not_fit_is_refused),
        cmocka_unit_test(plan_that_does_not_fit_is_refused),
        cmocka_unit_test(unknown_backend_is_not_found),
        cmocka_unit_test(an_id_outside_the_rows_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
