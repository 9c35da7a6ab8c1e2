/* What the CUDA backend keeps and gives back, on the stand-in: plans of cuDNN, arenas, choices of
 * algorithms; and which way an attention goes. */
#include "base/base.h"
#include "backend/backend.h"
#include "base/mem.h"
#include "tests/backend/op_run.h"
#include "tests/standin/standin.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct cn_graph *sized(int size)
{
    struct cn_graph *g = cn_graph_new("sized");
    cn_val x = cn_graph_input(g, "x", cn_shape4(1, 8, size, size), CN_F32, 0);
    struct cn_conv same = {.out = 8, .k = 3, .stride = 1, .pad = {1, 1, 1, 1}};

    x = cn_conv2d(g, x, "w1", "b1", &same);
    cn_graph_output(g, "y", cn_add(g, x, cn_conv2d(g, x, "w2", NULL, &same)), 0);
    return g;
}

static void check_clean(void)
{
    if (standin_complaint() != NULL)
        fail_msg("%s", standin_complaint());
    assert_int_equal(standin_counts().live_bytes, 0);
    assert_int_equal(standin_counts().live_objects, 0);
}

static struct op_result run_plan(struct op_session *s, struct cn_plan *p, const struct cn_graph *g)
{
    struct cn_buffer *in = op_buffer(s, g, &g->input[0]), *out = op_buffer(s, g, &g->output[0]);
    struct cn_err err = CN_ERR_INIT;
    struct op_result r;
    void *x = op_data(g, g->input[0].val);

    cn_buffer_write(in, x);
    if (cn_plan_run(p, &in, &out, &err) < 0)
        fail_msg("%s", err.msg);
    r = op_read(out, cn_shape_of(g, g->output[0].val));
    cn_buffer_free(in);
    cn_buffer_free(out);
    free(x);
    return r;
}

/* Whoever varies the size of pictures leaves nothing behind. */
static void cudnn_plans_go_with_the_last_that_uses_them(void **state)
{
    struct op_session s;
    struct cn_graph *first = sized(8);
    long objects[2];

    (void)state;
    standin_reset();
    op_session_open(&s, "cuda", first, &op_opts);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 6; i++) {
            struct cn_graph *g = sized(8 + round * 6 + i);

            cn_plan_free(op_compile(&s, g));
            cn_graph_free(g);
        }
        objects[round] = standin_counts().live_objects;
    }
    assert_int_equal(objects[1], objects[0]);
    op_session_close(&s);
    cn_graph_free(first);
    check_clean();
}

/* Two plans with the same convolutions share them: the first one's end is not the other's. */
static void shared_cudnn_plans_outlive_the_first(void **state)
{
    struct op_session s;
    struct cn_graph *g = sized(8);
    struct op_result before, after;
    struct cn_plan *a, *b;
    long plans;

    (void)state;
    standin_reset();
    op_session_open(&s, "cuda", g, &op_opts);
    a = op_compile(&s, g);
    plans = standin_calls("cudnnBackendFinalize");
    b = op_compile(&s, g);
    assert_true(standin_calls("cudnnBackendFinalize") - plans < plans);
    before = run_plan(&s, a, g);
    cn_plan_free(a);
    after = run_plan(&s, b, g);
    assert_memory_equal(before.data, after.data, before.count * sizeof(float));
    op_result_release(&before);
    op_result_release(&after);
    cn_plan_free(b);
    op_session_close(&s);
    cn_graph_free(g);
    check_clean();
}

/* Times of candidates since the last call. */
static long trials(void)
{
    static long before;
    long now = standin_counts().trials, n = now - before;

    before = now;
    return n;
}

/* Only the network's own size, at any number of rows, is worth the stall of timing; what other
 * sizes get does not depend on what was timed before. */
static void other_sizes_are_not_timed(void **state)
{
    struct cn_backend_opts opts = op_opts;
    struct cn_graph *own = sized(8), *other = sized(12);
    struct op_session s;

    (void)state;
    standin_reset();
    opts.first_choice = false;
    opts.cache_dir = "";
    op_session_open(&s, "cuda", own, &opts);
    cn_weights_fix_layouts(s.w, own);
    (void)trials();
    cn_plan_free(op_compile(&s, own));
    assert_true(trials() > 0);
    cn_plan_free(op_compile(&s, other));
    assert_int_equal(trials(), 0);
    op_session_close(&s);
    cn_graph_free(own);
    cn_graph_free(other);
    check_clean();
}

/* A concurrent plan whose arena was given back takes it again on the thread that runs it. */
struct beside {
    struct op_session *s;
    struct cn_plan *p;
    struct cn_buffer *in, *out;
    const float *x, *expect;
    float *y;
    size_t n;
    int wrong;
};

static void *run_beside(void *arg)
{
    struct beside *b = arg;

    for (int i = 0; i < 20; i++) {
        cn_buffer_write(b->in, b->x);
        b->wrong += cn_plan_run(b->p, &b->in, &b->out, NULL) < 0;
        cn_buffer_read(b->out, b->y);
        b->wrong += memcmp(b->y, b->expect, b->n * sizeof(float)) != 0;
    }
    return NULL;
}

static void arenas_may_be_given_back_at_any_time(void **state)
{
    struct cn_graph *g = sized(9);
    struct cn_err err = CN_ERR_INIT;
    struct beside b = {0};
    struct op_session s;
    struct op_result r;
    struct cn_plan *main_plan;
    pthread_t thread;

    (void)state;
    standin_reset();
    op_session_open(&s, "cuda", g, &op_opts);
    main_plan = op_compile(&s, g);
    r = run_plan(&s, main_plan, g);
    assert_int_equal(cn_plan_compile(s.b, g, s.w, CN_DTYPE_COUNT, CN_PLAN_CONCURRENT, &b.p, &err),
                     CN_OK);
    b.in = op_buffer(&s, g, &g->input[0]);
    b.out = op_buffer(&s, g, &g->output[0]);
    b.x = op_data(g, g->input[0].val);
    b.expect = r.data;
    b.n = r.count;
    b.y = cn_xcalloc(b.n, sizeof(float));
    assert_int_equal(pthread_create(&thread, NULL, run_beside, &b), 0);
    for (int i = 0; i < 20; i++) {
        struct op_result again;

        cn_backend_trim(s.b);
        again = run_plan(&s, main_plan, g);
        assert_memory_equal(again.data, r.data, r.count * sizeof(float));
        op_result_release(&again);
    }
    pthread_join(thread, NULL);
    assert_int_equal(b.wrong, 0);
    cn_backend_trim(s.b);
    assert_int_equal(cn_backend_bytes(s.b), 0);
    cn_buffer_free(b.in);
    cn_buffer_free(b.out);
    free((void *)(uintptr_t)b.x);
    free(b.y);
    cn_plan_free(b.p);
    cn_plan_free(main_plan);
    op_result_release(&r);
    op_session_close(&s);
    cn_graph_free(g);
    check_clean();
}

/* ---- the way of an attention ---- */

static struct cn_graph *attention(int tokens, int d, bool causal)
{
    struct cn_graph *g = cn_graph_new("attention");
    cn_val x = cn_graph_input(g, "x", cn_shape3(1, tokens, d), CN_F32, 0);

    cn_graph_output(g, "y", cn_attention(g, x, x, x, 1, 0.3f, causal), 0);
    return g;
}

static void check_way(struct op_session *s, int tokens, int d, bool causal, const char *way)
{
    struct cn_graph *g = attention(tokens, d, causal);
    struct cn_plan *p = op_compile(s, g);
    struct op_result r = run_plan(s, p, g);
    char *text = cn_plan_profile(p);

    if (strstr(text, way) == NULL)
        fail_msg("%d tokens of %d: not by %s:\n%s", tokens, d, way, text);
    free(text);
    op_result_release(&r);
    cn_plan_free(p);
    cn_graph_free(g);
}

static void way_of_an_attention_is_told(void **state)
{
    (void)state;
    for (int refused = 0; refused < 2; refused++) {
        struct cn_backend_opts opts = op_opts;
        struct cn_graph *none = cn_graph_new("none");
        struct op_session s;

        standin_reset();
        standin_refuse_attention(refused == 1);
        opts.dtype = CN_F16;
        opts.profile = true;
        op_session_open(&s, "cuda", none, &opts);
        check_way(&s, 16, 16, true, " kernel ");
        check_way(&s, 16, 264, false, " products ");
        assert_null(strstr(cn_backend_about(s.b), "without cuDNN"));
        check_way(&s, 16, 16, false, refused ? " products " : " cudnn ");
        check_way(&s, 13, 16, false, refused ? " kernel " : " cudnn ");
        assert_true((strstr(cn_backend_about(s.b), "attention without cuDNN") != NULL) ==
                    (refused == 1));
        op_session_close(&s);
        cn_graph_free(none);
        check_clean();
    }
}

/* ---- convolutions that cuDNN does not take ---- */

static struct cn_graph *windows(void)
{
    struct cn_graph *g = cn_graph_new("windows");
    cn_val x = cn_graph_input(g, "x", cn_shape4(2, 8, 7, 6), CN_F32, 0);
    struct cn_conv depthwise = {.out = 8, .k = 3, .stride = 1, .pad = {1, 1, 1, 1}, .groups = 8};
    struct cn_conv uneven = {
        .out = 4, .k = 3, .stride = 1, .pad = {2, 1, 1, 2}, .dilation = 2, .groups = 2};

    x = cn_add(g, cn_conv2d(g, x, "w1", "b1", &depthwise), x);
    cn_graph_output(g, "y", cn_act(g, cn_conv2d(g, x, "w2", "b2", &uneven), CN_SIGMOID), 0);
    return g;
}

static void what_cudnn_refuses_runs_by_a_kernel(void **state)
{
    struct cn_graph *g = windows();
    struct op_result expect;

    (void)state;
    op_run("reference", g, &expect);
    for (int refused = 0; refused < 2; refused++) {
        struct op_session s;
        struct op_result r;
        struct cn_plan *p;

        standin_reset();
        standin_refuse_groups(refused == 1);
        op_session_open(&s, "cuda", g, &op_opts);
        p = op_compile(&s, g);
        r = run_plan(&s, p, g);
        assert_true(op_distance(&r, &expect) <= 1e-5);
        assert_true((standin_calls("cudnnBackendExecute") == 0) == (refused == 1));
        op_result_release(&r);
        cn_plan_free(p);
        op_session_close(&s);
        check_clean();
    }
    op_result_release(&expect);
    cn_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cudnn_plans_go_with_the_last_that_uses_them),
        cmocka_unit_test(shared_cudnn_plans_outlive_the_first),
        cmocka_unit_test(other_sizes_are_not_timed),
        cmocka_unit_test(arenas_may_be_given_back_at_any_time),
        cmocka_unit_test(way_of_an_attention_is_told),
        cmocka_unit_test(what_cudnn_refuses_runs_by_a_kernel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
