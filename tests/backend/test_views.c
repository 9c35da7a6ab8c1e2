/* Views on every backend: slices of whole rows and reshapes that are not copied mean what copies
 * would, for as long as they are read. Numbers are compared with a closed form, because no backend
 * makes copies of these. */
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

enum { ROWS = 4, WIDTH = 128 };

/* The graph's outputs as functions of x, whose element i is x[i]. */
struct expected {
    const char *name;
    int from, n; /* elements of x */
    float factor;
    int plus_from; /* and of those that are added to them; negative: none */
    float plus_factor;
};

/* y is read by views only, and these are read after the chain, whose values would take its memory
 * if it went with its last direct reader. */
static struct cn_graph *views(int flags)
{
    struct cn_graph *g = cn_graph_new("views");
    cn_val x = cn_graph_input(g, "x", cn_shape2(ROWS, WIDTH), CN_F32, flags);
    cn_val y = cn_scale(g, x, 2), out = cn_scale(g, x, 7), chain = x, first, a, b, c, d;

    first = cn_slice(g, y, 0, 0, 1);
    a = cn_slice(g, y, 0, 1, 2); /* rows 1, 2 of y */
    b = cn_reshape(g, a, cn_shape1(2 * WIDTH));
    c = cn_slice(g, b, 0, WIDTH, WIDTH);                                /* row 2 */
    d = cn_slice(g, cn_reshape(g, c, cn_shape3(1, 1, WIDTH)), 2, 3, 7); /* at no round address */
    for (int i = 0; i < 3; i++)
        chain = cn_scale(g, chain, -1);
    cn_graph_output(g, "chain", cn_scale(g, chain, 1), 0);
    cn_graph_output(g, "end", cn_scale(g, c, 1.5f), 0);
    cn_graph_output(g, "odd", cn_scale(g, d, 3), 0);
    cn_graph_output(g, "view of a value", a, 0);
    cn_graph_output(g, "view of an input", cn_slice(g, x, 0, 3, 1), flags);
    cn_graph_output(g, "sum", cn_add(g, cn_slice(g, x, 0, 2, 1), first), 0);
    cn_graph_output(g, "view of an output", cn_scale(g, cn_slice(g, out, 0, 1, 1), 1), 0);
    cn_graph_output(g, "output with a view", out, 0);
    return g;
}

static const struct expected expected[] = {
    {"chain", 0, ROWS *WIDTH, -1, -1, 0},
    {"end", 2 * WIDTH, WIDTH, 3, -1, 0},
    {"odd", 2 * WIDTH + 3, 7, 6, -1, 0},
    {"view of a value", WIDTH, 2 * WIDTH, 2, -1, 0},
    {"view of an input", 3 * WIDTH, WIDTH, 1, -1, 0},
    {"sum", 2 * WIDTH, WIDTH, 1, 0, 2},
    {"view of an output", WIDTH, WIDTH, 7, -1, 0},
    {"output with a view", 0, ROWS *WIDTH, 7, -1, 0},
};

static void check_views(const char *backend)
{
    for (int flags = 0; flags <= CN_IO_NATIVE; flags++) {
        struct cn_graph *g = views(flags);
        float *x = op_data(g, g->input[0].val);
        struct op_result r;
        const float *have;

        op_run(backend, g, &r);
        have = r.data;
        for (size_t k = 0; k < CN_LEN(expected); have += expected[k++].n) {
            const struct expected *e = &expected[k];

            for (int i = 0; i < e->n; i++) {
                float want = e->factor * x[e->from + i];

                if (e->plus_from >= 0)
                    want += e->plus_factor * x[e->plus_from + i];
                if (have[i] != want)
                    fail_msg("%s: %s: %d: %g, not %g", backend, e->name, i, (double)have[i],
                             (double)want);
            }
        }
        assert_int_equal(have - r.data, r.count);
        op_result_release(&r);
        free(x);
        cn_graph_free(g);
    }
}

static void views_mean_what_copies_would(void **state)
{
    (void)state;
    op_each_backend(check_views);
}

/* A residual that nobody reads afterwards may be overwritten, but not while a view of it lives. */
static void check_residuals(const char *backend)
{
    struct cn_graph *g = cn_graph_new("residuals");
    cn_val x = cn_graph_input(g, "x", cn_shape2(ROWS, WIDTH), CN_F32, 0), y, z, view;
    float *in, *w, error = 0;
    struct op_result r;

    y = cn_scale(g, x, 4);
    view = cn_slice(g, y, 0, 2, 2);
    z = cn_add(g, cn_linear(g, cn_scale(g, x, 1), "w", NULL, WIDTH), y);
    cn_graph_output(g, "z", cn_scale(g, z, 1), 0);
    cn_graph_output(g, "view", cn_scale(g, view, 0.5f), 0);
    /* and this is the last reader: the sum may stand in the view's place */
    cn_graph_output(
        g, "in place",
        cn_scale(g, cn_add(g, cn_linear(g, cn_slice(g, x, 0, 0, 2), "w", NULL, WIDTH), view), 1),
        0);
    in = op_data(g, x);
    w = op_data(g, g->node[g->node[z].in[0]].in[1]);
    op_run(backend, g, &r);
    for (int i = 0; i < ROWS * WIDTH; i++) {
        double sum = 0;

        for (int k = 0; k < WIDTH; k++)
            sum += (double)in[i / WIDTH * WIDTH + k] * w[i % WIDTH * WIDTH + k];
        error = CN_MAX(error, (float)fabs(r.data[i] - sum - 4 * (double)in[i]));
        if (i >= 2 * WIDTH)
            continue;
        assert_true(r.data[ROWS * WIDTH + i] == 2 * in[2 * WIDTH + i]);
        sum += 4 * (double)in[2 * WIDTH + i];
        error = CN_MAX(error, (float)fabs(r.data[(ROWS + 2) * WIDTH + i] - sum));
    }
    if (!(error < 1e-3f))
        fail_msg("%s: %g", backend, (double)error);
    op_result_release(&r);
    free(in);
    free(w);
    cn_graph_free(g);
}

static void residuals_do_not_overwrite_views(void **state)
{
    (void)state;
    op_each_backend(check_residuals);
}

/* Rows of maps, in whatever layout these are. */
static void check_maps(const char *backend)
{
    static const int channels[] = {16, 5, 48};

    for (size_t k = 0; k < CN_LEN(channels); k++)
        for (int flags = 0; flags <= CN_IO_NATIVE; flags++) {
            struct cn_shape shape = cn_shape4(ROWS, channels[k], 2, 4);
            int row = 8 * channels[k];
            struct cn_graph *g = cn_graph_new("maps");
            cn_val x = cn_graph_input(g, "x", shape, CN_F32, flags), y = cn_scale(g, x, 2), a;
            struct op_result r;
            float *in;

            a = cn_slice(g, y, 0, 1, 2);
            x = cn_scale(g, cn_scale(g, x, -1), -1); /* would take y's memory */
            cn_graph_output(g, "x", x, flags);
            cn_graph_output(g, "a", cn_scale(g, a, 3), flags);
            cn_graph_output(g, "end", cn_slice(g, a, 0, 1, 1), flags);
            in = op_data(g, g->input[0].val);
            op_run(backend, g, &r);
            for (int i = 0; i < ROWS * row; i++)
                assert_true(r.data[i] == in[i]);
            for (int i = 0; i < 2 * row; i++)
                assert_true(r.data[ROWS * row + i] == 6 * in[row + i]);
            for (int i = 0; i < row; i++)
                assert_true(r.data[(ROWS + 2) * row + i] == 2 * in[2 * row + i]);
            op_result_release(&r);
            free(in);
            cn_graph_free(g);
        }
}

static void rows_of_maps_keep_their_layout(void **state)
{
    (void)state;
    op_each_backend(check_maps);
}

static void check_steps(const char *backend)
{
    struct cn_graph *g = cn_graph_new("no copies");
    cn_val x = cn_graph_input(g, "x", cn_shape2(ROWS, WIDTH), CN_F32, 0);
    cn_val maps = cn_graph_input(g, "maps", cn_shape4(2, 64, 4, 4), CN_F32, CN_IO_NATIVE);
    struct cn_backend_opts opts = op_plan_opts;
    struct cn_buffer *in[2], *out[2];
    struct op_session s;
    struct cn_plan *p;
    char *text;

    cn_graph_output(g, "maps", cn_scale(g, cn_slice(g, cn_scale(g, maps, 2), 0, 1, 1), 2),
                    CN_IO_NATIVE);
    x = cn_slice(g, cn_scale(g, x, 2), 0, 1, 2);
    x = cn_slice(g, cn_reshape(g, x, cn_shape1(2 * WIDTH)), 0, WIDTH, WIDTH);
    cn_graph_output(g, "y", cn_scale(g, x, 2), 0);
    opts.profile = true;
    op_session_open(&s, backend, g, &opts);
    p = op_compile(&s, g);
    for (int i = 0; i < 2; i++) {
        in[i] = op_buffer(&s, g, &g->input[i]);
        out[i] = op_buffer(&s, g, &g->output[i]);
    }
    assert_int_equal(cn_plan_run(p, in, out, NULL), CN_OK);
    text = cn_plan_profile(p);
    assert_non_null(strstr(text, "scale"));
    assert_null(strstr(text, "slice"));
    assert_null(strstr(text, "reshape"));
    free(text);
    for (int i = 0; i < 2; i++) {
        cn_buffer_free(in[i]);
        cn_buffer_free(out[i]);
    }
    cn_plan_free(p);
    op_session_close(&s);
    cn_graph_free(g);
}

static void views_are_no_steps(void **state)
{
    (void)state;
    op_each_backend(check_steps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_mean_what_copies_would),
        cmocka_unit_test(residuals_do_not_overwrite_views),
        cmocka_unit_test(rows_of_maps_keep_their_layout),
        cmocka_unit_test(views_are_no_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
