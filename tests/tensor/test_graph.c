/* tensor: shapes, what fuses and what must not, lifetimes, packing. */
#include "base/base.h"
#include "tensor/graph.h"
#include "tensor/passes.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static const struct cn_conv conv3 = {.out = 8, .k = 3, .stride = 1, .pad = {1, 1, 1, 1}};

static cn_val map_input(struct cn_graph *g, const char *name)
{
    return cn_graph_input(g, name, cn_shape4(2, 8, 6, 5), CN_F32, 0);
}

static void check_shape(const struct cn_graph *g, cn_val v, const char *expect)
{
    char text[96];

    assert_string_equal(cn_shape_text(cn_shape_of(g, v), text, sizeof(text)), expect);
}

static int count_op(const struct cn_graph *g, enum cn_op op)
{
    int n = 0;

    for (int i = 0; i < g->count; i++)
        n += g->node[i].op == op;
    return n;
}

/* The only node of that op. */
static const struct cn_node *only(const struct cn_graph *g, enum cn_op op)
{
    assert_int_equal(count_op(g, op), 1);
    for (int i = 0; i < g->count; i++)
        if (g->node[i].op == op)
            return &g->node[i];
    return NULL;
}

/* Every node reads only what stands before it; names, shapes and outputs exist. */
static void check_order(const struct cn_graph *g)
{
    for (int i = 0; i < g->count; i++) {
        assert_in_range(g->node[i].op, 0, CN_OP_COUNT - 1);
        for (int k = 0; k < CN_MAX_IN; k++)
            assert_true(g->node[i].in[k] < i);
        if (g->node[i].op == CN_OP_INPUT || g->node[i].op == CN_OP_PARAM)
            assert_non_null(g->value[i].name);
        assert_true(cn_shape_elements(&g->value[i].shape) > 0);
    }
    for (int i = 0; i < g->n_outputs; i++)
        assert_in_range(g->output[i].val, 0, g->count - 1);
}

static struct cn_graph *fuse(struct cn_graph *g)
{
    struct cn_graph *f = cn_graph_fuse(g);

    check_order(g);
    check_order(f);
    assert_int_equal(f->n_inputs, g->n_inputs);
    assert_int_equal(f->n_outputs, g->n_outputs);
    for (int i = 0; i < g->n_outputs; i++) {
        assert_string_equal(f->output[i].name, g->output[i].name);
        assert_int_equal(f->output[i].flags, g->output[i].flags);
        assert_true(cn_shape_equal(cn_shape_of(f, f->output[i].val),
                                   cn_shape_of(g, g->output[i].val)));
    }
    cn_graph_free(g);
    return f;
}

static void shapes_are_inferred(void **state)
{
    struct cn_graph *g = cn_graph_new("shapes");
    cn_val x = map_input(g, "x"), y, t;

    (void)state;
    check_shape(g, cn_conv2d(g, x, "w3", "b3", &conv3), "[2, 8, 6, 5]");
    y = cn_conv2d(g, x, "ws", NULL,
                  &(struct cn_conv){.out = 12, .k = 3, .stride = 2, .pad = {0, 0, 1, 1}});
    check_shape(g, y, "[2, 12, 3, 2]");
    check_shape(g, cn_conv2d(g, x, "w1", NULL, &(struct cn_conv){.out = 3, .k = 1, .stride = 1}),
                "[2, 3, 6, 5]");
    check_shape(g, cn_upsample(g, x, 13, 9), "[2, 8, 13, 9]");
    check_shape(g, cn_concat(g, x, x), "[2, 16, 6, 5]");
    check_shape(g, cn_pool_hw(g, x), "[2, 8, 6, 5]");
    t = cn_to_tokens(g, x);
    check_shape(g, t, "[2, 30, 8]");
    check_shape(g, cn_linear(g, t, "wl", "bl", 20), "[2, 30, 20]");
    check_shape(g, cn_geglu(g, t), "[2, 30, 4]");
    check_shape(g, cn_attention(g, t, t, t, 2, 0.5f, true), "[2, 30, 8]");
    check_shape(g, cn_from_tokens(g, t, 5, 6), "[2, 8, 5, 6]");
    check_shape(g, cn_concat(g, t, t), "[2, 60, 8]");
    y = cn_graph_input(g, "t", cn_shape1(2), CN_F32, 0);
    check_shape(g, cn_timestep(g, y, 320, true, 0), "[2, 320]");
    y = cn_graph_input(g, "ids", cn_shape2(2, 77), CN_I32, 0);
    check_shape(g, cn_gather(g, t, y), "[2, 77, 8]");
    check_order(g);
    cn_graph_free(g);
}

static void equivalent_shapes_ignore_ones(void **state)
{
    struct cn_shape conv = cn_shape4(320, 640, 1, 1), linear = cn_shape2(320, 640);
    struct cn_shape turned = cn_shape2(640, 320), one = cn_shape1(1), ones = cn_shape4(1, 1, 1, 1);

    (void)state;
    assert_true(cn_shape_equivalent(&conv, &linear));
    assert_false(cn_shape_equal(&conv, &linear));
    assert_false(cn_shape_equivalent(&conv, &turned));
    assert_true(cn_shape_equivalent(&one, &ones));
}

static void shape_text_stops_at_its_size(void **state)
{
    struct cn_shape s = cn_shape4(1234567, 1234567, 1234567, 1234567);
    char text[96];

    (void)state;
    for (size_t size = 1; size < sizeof(text); size++) {
        memset(text, 'x', sizeof(text));
        cn_shape_text(&s, text, size);
        assert_true(strlen(text) < size);
        assert_int_equal(text[size], 'x');
    }
}

static void parameters_are_shared_by_name(void **state)
{
    struct cn_graph *g = cn_graph_new("shared");
    cn_val x = map_input(g, "x");

    (void)state;
    cn_conv2d(g, x, "w", "b", &conv3);
    cn_conv2d(g, x, "w", NULL, &conv3);
    assert_int_equal(count_op(g, CN_OP_PARAM), 2);
    assert_int_equal(cn_param(g, "w", cn_shape4(8, 8, 3, 3)), g->node[g->count - 1].in[1]);
    cn_graph_free(g);
}

/* Runs build in a child: a wrong network is a fault of ours and must stop the program. */
static bool dies(void (*build)(struct cn_graph *g))
{
    struct cn_graph *g;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(0);
        g = cn_graph_new("wrong");
        build(g);
        _exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static void build_fine(struct cn_graph *g)
{
    cn_conv2d(g, map_input(g, "x"), "w", NULL, &conv3);
}

static void build_small_image(struct cn_graph *g)
{
    cn_val x = cn_graph_input(g, "x", cn_shape4(1, 8, 2, 2), CN_F32, 0);

    cn_conv2d(g, x, "w", NULL, &(struct cn_conv){.out = 8, .k = 3, .stride = 2});
}

static void build_unequal_add(struct cn_graph *g)
{
    cn_val x = map_input(g, "x");

    cn_add(g, x, cn_upsample(g, x, 7, 5));
}

static void build_two_shapes(struct cn_graph *g)
{
    cn_val x = map_input(g, "x");

    cn_conv2d(g, x, "w", NULL, &conv3);
    cn_conv2d(g, x, "w", NULL, &(struct cn_conv){.out = 9, .k = 3, .stride = 1});
}

static void build_group_norm(struct cn_graph *g)
{
    cn_group_norm(g, map_input(g, "x"), "gamma", "beta", 3, 1e-5f);
}

static void build_offset(struct cn_graph *g)
{
    cn_val t = cn_graph_input(g, "t", cn_shape2(2, 10), CN_F32, 0);

    cn_add_channel(g, map_input(g, "x"), t, 3);
}

static void wrong_networks_stop_the_program(void **state)
{
    (void)state;
    assert_false(dies(build_fine));
    assert_true(dies(build_small_image));
    assert_true(dies(build_unequal_add));
    assert_true(dies(build_two_shapes));
    assert_true(dies(build_group_norm));
    assert_true(dies(build_offset));
}

static void activation_folds_into_its_producer(void **state)
{
    struct cn_graph *g = cn_graph_new("act"), *f;
    cn_val x = cn_conv2d(g, map_input(g, "x"), "w", "b", &conv3);

    (void)state;
    x = cn_group_norm(g, cn_act(g, x, CN_RELU), "gamma", "beta", 4, 1e-5f);
    x = cn_to_tokens(g, cn_act(g, x, CN_SILU));
    x = cn_act(g, cn_linear(g, x, "wl", NULL, 4), CN_GELU);
    cn_graph_output(g, "y", x, 0);
    f = fuse(g);
    assert_int_equal(count_op(f, CN_OP_ACT), 0);
    assert_int_equal(only(f, CN_OP_CONV2D)->attr.act, CN_RELU);
    assert_int_equal(only(f, CN_OP_GROUP_NORM)->attr.act, CN_SILU);
    assert_int_equal(only(f, CN_OP_LINEAR)->attr.act, CN_GELU);
    cn_graph_free(f);
}

static void second_activation_stays(void **state)
{
    struct cn_graph *g = cn_graph_new("act"), *f;
    cn_val x = cn_conv2d(g, map_input(g, "x"), "w", "b", &conv3);

    (void)state;
    x = cn_act(g, cn_act(g, x, CN_RELU), CN_SILU);
    cn_graph_output(g, "y", cn_act(g, cn_scale(g, x, 2.0f), CN_SILU), 0);
    f = fuse(g);
    assert_int_equal(count_op(f, CN_OP_ACT), 2); /* one after another, one after scale */
    assert_int_equal(only(f, CN_OP_CONV2D)->attr.act, CN_RELU);
    cn_graph_free(f);
}

static void value_read_twice_is_not_folded(void **state)
{
    struct cn_graph *g = cn_graph_new("twice"), *f;
    cn_val x = map_input(g, "x"), y = cn_conv2d(g, x, "w", "b", &conv3);

    (void)state;
    cn_graph_output(g, "a", cn_act(g, y, CN_SILU), 0);
    cn_graph_output(g, "b", cn_add(g, y, x), 0);
    f = fuse(g);
    assert_int_equal(count_op(f, CN_OP_ACT), 1);
    assert_int_equal(count_op(f, CN_OP_ADD), 1);
    assert_int_equal(only(f, CN_OP_CONV2D)->attr.act, CN_NONE);
    assert_true(only(f, CN_OP_CONV2D)->in[3] < 0);
    cn_graph_free(f);
}

static void output_is_not_folded(void **state)
{
    struct cn_graph *g = cn_graph_new("output"), *f;
    cn_val x = map_input(g, "x"), y = cn_conv2d(g, x, "w", "b", &conv3), z;

    (void)state;
    cn_graph_output(g, "skip", y, CN_IO_NATIVE);
    z = cn_add_channel(g, x, cn_graph_input(g, "t", cn_shape2(2, 8), CN_F32, 0), 0);
    cn_graph_output(g, "sum", z, 0);
    z = cn_group_norm(g, z, "gamma", "beta", 4, 1e-5f);
    cn_graph_output(g, "norm", z, 0);
    cn_graph_output(g, "act", cn_act(g, z, CN_SILU), 0);
    cn_graph_output(g, "y", cn_act(g, y, CN_SILU), 0);
    f = fuse(g);
    assert_int_equal(count_op(f, CN_OP_ACT), 2);
    assert_int_equal(count_op(f, CN_OP_ADD_CHANNEL), 1);
    assert_true(only(f, CN_OP_GROUP_NORM)->in[3] < 0);
    cn_graph_free(f);
}

static void residual_folds_from_either_side(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct cn_graph *g = cn_graph_new("residual"), *f;
        cn_val x = map_input(g, "x"), y = cn_conv2d(g, x, "w", "b", &conv3);

        y = side == 0 ? cn_add(g, x, y) : cn_add(g, y, x);
        cn_graph_output(g, "y", cn_act(g, y, CN_RELU), 0);
        f = fuse(g);
        assert_int_equal(count_op(f, CN_OP_ADD) + count_op(f, CN_OP_ACT), 0);
        assert_int_equal(f->node[only(f, CN_OP_CONV2D)->in[3]].op, CN_OP_INPUT);
        assert_int_equal(only(f, CN_OP_CONV2D)->attr.act, CN_RELU); /* after the sum */
        cn_graph_free(f);
    }
}

/* act(conv) + x must not become act(conv + x), and a layer takes one residual only. */
static void residual_after_activation_stays(void **state)
{
    struct cn_graph *g = cn_graph_new("residual"), *f;
    cn_val x = map_input(g, "x"), y = cn_conv2d(g, x, "w", "b", &conv3);

    (void)state;
    cn_graph_output(g, "y", cn_add(g, cn_act(g, y, CN_RELU), x), 0);
    y = cn_add(g, cn_conv2d(g, x, "w2", "b", &conv3), x);
    cn_graph_output(g, "z", cn_add(g, y, x), 0);
    f = fuse(g);
    assert_int_equal(count_op(f, CN_OP_ADD), 2);
    assert_int_equal(count_op(f, CN_OP_ACT), 0);
    cn_graph_free(f);
}

/* conv moves behind the node that makes its residual; of two candidates only one is folded. */
static void absorber_moves_behind_its_residual(void **state)
{
    struct cn_graph *g = cn_graph_new("shortcut"), *f;
    cn_val x = map_input(g, "x"), h = cn_conv2d(g, x, "w", "b", &conv3), shortcut;

    (void)state;
    shortcut = cn_conv2d(g, x, "ws", "bs", &(struct cn_conv){.out = 8, .k = 1, .stride = 1});
    cn_graph_output(g, "y", cn_add(g, h, shortcut), 0);
    x = cn_conv2d(g, x, "w2", NULL, &conv3);
    cn_graph_output(g, "double", cn_add(g, x, x), 0);
    f = fuse(g);
    assert_int_equal(count_op(f, CN_OP_ADD), 1); /* x + x reads the value twice */
    assert_int_equal(count_op(f, CN_OP_CONV2D), 3);
    assert_true(f->node[f->output[0].val].in[3] >= 0);
    cn_graph_free(f);
}

static void channel_add_folds_into_group_norm(void **state)
{
    struct cn_graph *g = cn_graph_new("time"), *f;
    cn_val x = map_input(g, "x"), t = cn_graph_input(g, "t", cn_shape2(2, 20), CN_F32, 0);

    (void)state;
    x = cn_add_channel(g, cn_conv2d(g, x, "w", "b", &conv3), t, 12);
    x = cn_act(g, cn_group_norm(g, x, "gamma", "beta", 4, 1e-5f), CN_SILU);
    cn_graph_output(g, "y", x, 0);
    f = fuse(g);
    assert_int_equal(count_op(f, CN_OP_ADD_CHANNEL) + count_op(f, CN_OP_ACT), 0);
    assert_int_equal(only(f, CN_OP_GROUP_NORM)->attr.offset, 12);
    assert_int_equal(only(f, CN_OP_GROUP_NORM)->attr.groups, 4);
    assert_int_equal(f->node[only(f, CN_OP_GROUP_NORM)->in[0]].op, CN_OP_CONV2D);
    assert_string_equal(f->value[only(f, CN_OP_GROUP_NORM)->in[3]].name, "t");
    cn_graph_free(f);
}

static void dead_code_goes_and_inputs_stay(void **state)
{
    struct cn_graph *g = cn_graph_new("dead"), *f;
    cn_val x = map_input(g, "x"), y;

    (void)state;
    map_input(g, "unused");
    cn_act(g, cn_conv2d(g, x, "dead", "dead too", &conv3), CN_SILU);
    y = cn_conv2d(g, x, "w", "b", &conv3);
    cn_graph_output(g, "y", y, 0);
    cn_graph_output(g, "again", y, 0);
    cn_graph_output(g, "x", x, 0);
    f = fuse(g);
    assert_int_equal(f->count, 5); /* x, unused, w, b, conv */
    assert_string_equal(f->value[f->input[1].val].name, "unused");
    assert_int_equal(f->output[0].val, f->output[1].val);
    assert_int_equal(f->output[2].val, f->input[0].val);
    cn_graph_free(f);
}

/* What nobody needs does not count as a reader: it would keep its neighbours from fusing. */
static void dead_reader_does_not_prevent_fusion(void **state)
{
    struct cn_graph *g = cn_graph_new("dead reader"), *f;
    cn_val y = cn_conv2d(g, map_input(g, "x"), "w", "b", &conv3);

    (void)state;
    cn_scale(g, y, 3.0f);
    cn_act(g, y, CN_RELU); /* must not take the convolution either */
    cn_graph_output(g, "y", cn_act(g, y, CN_SILU), 0);
    f = fuse(g);
    assert_int_equal(count_op(f, CN_OP_SCALE) + count_op(f, CN_OP_ACT), 0);
    assert_int_equal(only(f, CN_OP_CONV2D)->attr.act, CN_SILU);
    cn_graph_free(f);
}

static void fused_graph_outlives_the_old_one(void **state)
{
    struct cn_graph *g = cn_graph_new("names"), *f;
    char *dump;

    (void)state;
    cn_graph_output(g, "y", cn_conv2d(g, map_input(g, "x"), "w", "b", &conv3), 0);
    f = fuse(g); /* frees g */
    dump = cn_graph_dump(f);
    assert_string_equal(dump, "%0 = input \"x\" [2, 8, 6, 5]\n"
                              "%1 = param \"w\" [8, 8, 3, 3]\n"
                              "%2 = param \"b\" [8]\n"
                              "%3 = conv2d %0 %1 %2 k=3x3 pad=1,1,1,1 [2, 8, 6, 5]\n"
                              "output \"y\" %3\n");
    free(dump);
    cn_graph_free(f);
}

static void last_use_is_the_last_reader(void **state)
{
    struct cn_graph *g = cn_graph_new("last");
    cn_val x = map_input(g, "x"), a = cn_scale(g, x, 2.0f), b = cn_scale(g, a, 3.0f);
    cn_val c = cn_add(g, a, b), dead = cn_scale(g, x, 4.0f);
    int *last;

    (void)state;
    cn_graph_output(g, "c", c, 0);
    last = cn_graph_last_use(g);
    assert_int_equal(last[x], dead);
    assert_int_equal(last[a], c);
    assert_int_equal(last[b], c);
    assert_int_equal(last[c], g->count);
    assert_int_equal(last[dead], -1);
    free(last);
    cn_graph_free(g);
}

static unsigned random_state = 1;

static unsigned random_below(unsigned n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

enum { MAX_BUFFERS = 60 };

struct intervals {
    int n, from[MAX_BUFFERS], to[MAX_BUFFERS];
    size_t bytes[MAX_BUFFERS], offset[MAX_BUFFERS];
};

static void make_intervals(struct intervals *v)
{
    v->n = (int)random_below(MAX_BUFFERS + 1);
    for (int i = 0; i < v->n; i++) {
        v->from[i] = (int)random_below(40);
        v->to[i] = v->from[i] + (int)random_below(random_below(2) ? 5 : 40);
        v->bytes[i] = random_below(8) == 0 ? 0 : random_below(random_below(2) ? 10 : 5000);
    }
}

static void check_packing(const struct intervals *v, size_t total)
{
    size_t sum = 0;

    for (int i = 0; i < v->n; i++) {
        sum += (v->bytes[i] + 63) / 64 * 64;
        assert_int_equal(v->offset[i] % 64, 0);
        assert_true(v->bytes[i] == 0 || v->offset[i] + v->bytes[i] <= total);
        for (int j = 0; j < i; j++)
            if (v->from[i] <= v->to[j] && v->from[j] <= v->to[i])
                assert_true(v->offset[i] + v->bytes[i] <= v->offset[j] || v->bytes[i] == 0 ||
                            v->offset[j] + v->bytes[j] <= v->offset[i] || v->bytes[j] == 0);
    }
    assert_true(total <= sum);
}

static void live_buffers_never_overlap(void **state)
{
    struct intervals v;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        make_intervals(&v);
        check_packing(&v, cn_pack_buffers(v.n, v.bytes, v.from, v.to, v.offset));
    }
}

/* A chain needs two buffers at a time, however long it is. */
static void chain_is_packed_in_two_buffers(void **state)
{
    struct intervals v = {.n = MAX_BUFFERS};

    (void)state;
    for (int i = 0; i < v.n; i++) {
        v.from[i] = i;
        v.to[i] = i + 1;
        v.bytes[i] = 640;
    }
    assert_int_equal(cn_pack_buffers(v.n, v.bytes, v.from, v.to, v.offset), 1280);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_inferred),
        cmocka_unit_test(equivalent_shapes_ignore_ones),
        cmocka_unit_test(shape_text_stops_at_its_size),
        cmocka_unit_test(parameters_are_shared_by_name),
        cmocka_unit_test(wrong_networks_stop_the_program),
        cmocka_unit_test(activation_folds_into_its_producer),
        cmocka_unit_test(second_activation_stays),
        cmocka_unit_test(value_read_twice_is_not_folded),
        cmocka_unit_test(output_is_not_folded),
        cmocka_unit_test(residual_folds_from_either_side),
        cmocka_unit_test(residual_after_activation_stays),
        cmocka_unit_test(absorber_moves_behind_its_residual),
        cmocka_unit_test(channel_add_folds_into_group_norm),
        cmocka_unit_test(dead_code_goes_and_inputs_stay),
        cmocka_unit_test(dead_reader_does_not_prevent_fusion),
        cmocka_unit_test(fused_graph_outlives_the_old_one),
        cmocka_unit_test(last_use_is_the_last_reader),
        cmocka_unit_test(live_buffers_never_overlap),
        cmocka_unit_test(chain_is_packed_in_two_buffers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
