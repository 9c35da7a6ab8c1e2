/* What adapters add to rows of a run: to each row what its adapters say, computed here from the
 * definition, at ranks that differ, on every backend that holds factors; and nothing afterwards. */
#include "base/base.h"
#include "backend/backend.h"
#include "tests/backend/op_run.h"
#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { ROWS = 5, TOKENS = 70, SIDE = 9 };

/* ---- the graph ---- */

/* A layer of its own: x -> out channels. k 0: tokens. */
struct layer {
    const char *name;
    int in, out, k, stride;
    bool residual;
};

static const struct layer layers[] = {
    {"linear", 24, 40, 0, 1, true},  {"wide", 32, 16, 0, 1, false},
    {"conv", 32, 48, 3, 1, true},    {"stride", 16, 32, 3, 2, false},
    {"one", 32, 16, 1, 1, false},    {"odd", 4, 20, 3, 1, false},
};

static struct cn_shape input_shape(const struct layer *l)
{
    return l->k == 0 ? cn_shape3(ROWS, TOKENS, l->in) : cn_shape4(ROWS, l->in, SIDE, SIDE);
}

static cn_val add_layer(struct cn_graph *g, const struct layer *l, cn_val x)
{
    char weight[64], bias[64];
    int pad = l->k / 2;
    cn_val y;

    snprintf(weight, sizeof(weight), "%s.weight", l->name);
    snprintf(bias, sizeof(bias), "%s.bias", l->name);
    if (l->k == 0)
        y = cn_linear(g, x, weight, bias, l->out);
    else
        y = cn_conv2d(g, x, weight, bias,
                      &(struct cn_conv){.out = l->out, .k = l->k, .stride = l->stride,
                                        .pad = {pad, pad, pad, pad}});
    cn_graph_adapt(g, y);
    return y;
}

/* Each layer's result, and an activation of it. */
static struct cn_graph *graph_of(void)
{
    struct cn_graph *g = cn_graph_new("adapted");

    for (size_t i = 0; i < CN_LEN(layers); i++) {
        cn_val x = cn_graph_input(g, layers[i].name, input_shape(&layers[i]), CN_F32, 0), y;

        y = add_layer(g, &layers[i], cn_scale(g, x, 1));
        if (layers[i].residual)
            y = cn_add(g, y, cn_scale(g, y, 0.5f));
        cn_graph_output(g, layers[i].name, y, 0);
        cn_graph_output(g, "act", cn_act(g, add_layer(g, &layers[i], cn_scale(g, x, 1)), CN_SILU),
                        0);
    }
    return g;
}

/* ---- adapters ---- */

struct adapter {
    int rank;
    bool only_first; /* layer */
};

static const struct adapter adapters[] = {{4, false}, {20, false}, {1, true}, {128, false}};

/* Who acts where: rows 0 and 1 share one, row 2 has two, row 4 has none. */
static const struct {
    int row, rows, adapter;
    float strength;
} acting[] = {{0, 2, 0, 1}, {2, 1, 1, 0.5f}, {2, 1, 3, -1}, {3, 1, 2, 2}};

static float *factor_of(int a, const struct layer *l, bool down)
{
    int k = l->k == 0 ? 1 : l->k;
    size_t n = (size_t)(adapters[a].rank * (down ? l->in * k * k : l->out));
    float *w = cn_try_alloc(n * sizeof(*w));
    char name[64];

    assert_non_null(w);
    snprintf(name, sizeof(name), "%s %d %d", l->name, a, down);
    op_fill(w, n, name, 0.2);
    return w;
}

static struct cn_factors *make_factors(struct cn_backend *b, int a)
{
    struct cn_factors *f;
    struct cn_err err = CN_ERR_INIT;

    assert_int_equal(cn_factors_new(b, &f, &err), CN_OK);
    for (size_t i = 0; i < CN_LEN(layers) && !(adapters[a].only_first && i > 0); i++) {
        const struct layer *l = &layers[i];

        assert_int_equal(cn_factors_add(f,
                                        &(struct cn_factor){.layer = l->name,
                                                            .out = l->out,
                                                            .in = l->in,
                                                            .k = l->k == 0 ? 1 : l->k,
                                                            .rank = adapters[a].rank,
                                                            .down = factor_of(a, l, true),
                                                            .up = factor_of(a, l, false)},
                                        &err),
                         CN_OK);
    }
    assert_true(cn_factors_bytes(f) > 0);
    return f;
}

/* ---- the definition ---- */

static double input_at(const struct layer *l, const float *x, int row, int c, int i, int j)
{
    if (l->k == 0)
        return x[((size_t)row * TOKENS + (size_t)i) * (size_t)l->in + (size_t)c];
    if (i < 0 || j < 0 || i >= SIDE || j >= SIDE)
        return 0;
    return x[(((size_t)row * (size_t)l->in + (size_t)c) * SIDE + (size_t)i) * SIDE + (size_t)j];
}

/* t[r] of one position. */
static void down_at(const struct layer *l, const float *x, const float *down, int rank, int row,
                    int i, int j, double *t)
{
    int k = l->k == 0 ? 1 : l->k;

    for (int r = 0; r < rank; r++) {
        const float *w = down + (size_t)r * (size_t)(l->in * k * k);

        t[r] = 0;
        for (int c = 0; c < l->in; c++)
            for (int u = 0; u < k; u++)
                for (int v = 0; v < k; v++)
                    t[r] += (double)w[(c * k + u) * k + v] *
                            input_at(l, x, row, c, i * l->stride - k / 2 + u,
                                     l->k == 0 ? 0 : j * l->stride - k / 2 + v);
    }
}

/* y += what an adapter adds to the row; positions [height, width]. */
static void add_to_row(const struct layer *l, const float *x, int a, int row, double strength,
                       int height, int width, double *y)
{
    float *down = factor_of(a, l, true), *up = factor_of(a, l, false);
    double t[CN_MAX_FACTOR_RANK];

    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) {
            down_at(l, x, down, adapters[a].rank, row, i, j, t);
            for (int o = 0; o < l->out; o++) {
                size_t at = l->k == 0
                                ? ((size_t)row * TOKENS + (size_t)i) * (size_t)l->out + (size_t)o
                                : (((size_t)row * (size_t)l->out + (size_t)o) * (size_t)height +
                                   (size_t)i) * (size_t)width + (size_t)j;

                for (int r = 0; r < adapters[a].rank; r++)
                    y[at] += strength * up[o * adapters[a].rank + r] * t[r];
            }
        }
    free(down);
    free(up);
}

/* What is added to the layer's plain result. */
static double *additions(const struct layer *l, const float *x, const struct cn_shape *out)
{
    double *y = cn_xcalloc((size_t)cn_shape_elements(out), sizeof(*y));
    int height = l->k == 0 ? TOKENS : (int)out->dim[2], width = l->k == 0 ? 1 : (int)out->dim[3];

    for (size_t k = 0; k < CN_LEN(acting); k++)
        if (!adapters[acting[k].adapter].only_first || l == layers)
            for (int r = 0; r < acting[k].rows; r++)
                add_to_row(l, x, acting[k].adapter, acting[k].row + r,
                           (double)acting[k].strength, height, width, y);
    return y;
}

/* ---- running ---- */

struct outputs {
    float *data[2 * CN_LEN(layers)];
};

struct fixture {
    struct op_session s;
    struct cn_graph *g;
    struct cn_plan *plan;
    struct cn_buffer *in[CN_LEN(layers)], *out[2 * CN_LEN(layers)];
    float *x[CN_LEN(layers)];
};

static void run(struct fixture *f, const struct cn_row_adapter *list, int n, struct outputs *ret)
{
    struct cn_err err = CN_ERR_INIT;

    if (cn_plan_run_adapted(f->plan, f->in, f->out, list, n, &err) < 0)
        fail_msg("%s", err.msg);
    for (int i = 0; i < f->g->n_outputs; i++) {
        size_t k = (size_t)cn_shape_elements(cn_shape_of(f->g, f->g->output[i].val));

        ret->data[i] = cn_xcalloc(k, sizeof(float));
        cn_buffer_read(f->out[i], ret->data[i]);
    }
}

static void release(const struct fixture *f, struct outputs *o)
{
    for (int i = 0; i < f->g->n_outputs; i++)
        free(o->data[i]);
}

/* Both results of layer i against the definition, of whose plain results these are. */
static void check_layer(const struct fixture *f, size_t i, const struct outputs *plain,
                        const struct outputs *have, const char *backend)
{
    const struct layer *l = &layers[i];
    const struct cn_shape *shape = cn_shape_of(f->g, f->g->output[2 * i].val);
    double *more = additions(l, f->x[i], shape), error = 0, act_error = 0, sum = 0;
    double factor = l->residual ? 1.5 : 1;

    for (int64_t k = 0; k < cn_shape_elements(shape); k++) {
        double before = (double)plain->data[2 * i][k] / factor, y = before + more[k];
        double d = have->data[2 * i][k] - factor * y;
        double a = have->data[2 * i + 1][k] - y / (1 + exp(-y));

        error += d * d;
        act_error += a * a;
        sum += more[k] * more[k];
    }
    if (!(sqrt(error / sum) < 2e-5 && sqrt(act_error / sum) < 2e-5 && sum > 0))
        fail_msg("%s: %s: relative errors %.2e, %.2e", backend, l->name, sqrt(error / sum),
                 sqrt(act_error / sum));
    free(more);
}

static void check_same(const struct fixture *f, const struct outputs *a, const struct outputs *b)
{
    for (int i = 0; i < f->g->n_outputs; i++)
        assert_memory_equal(a->data[i], b->data[i],
                            (size_t)cn_shape_elements(cn_shape_of(f->g, f->g->output[i].val)) *
                                sizeof(float));
}

static void open_fixture(struct fixture *f, const char *backend)
{
    f->g = graph_of();
    op_session_open(&f->s, backend, f->g, &op_opts);
    f->plan = op_compile(&f->s, f->g);
    for (int i = 0; i < f->g->n_inputs; i++) {
        f->in[i] = op_buffer(&f->s, f->g, &f->g->input[i]);
        f->x[i] = op_data(f->g, f->g->input[i].val);
        cn_buffer_write(f->in[i], f->x[i]);
    }
    for (int i = 0; i < f->g->n_outputs; i++)
        f->out[i] = op_buffer(&f->s, f->g, &f->g->output[i]);
}

static void close_fixture(struct fixture *f)
{
    for (int i = 0; i < f->g->n_inputs; i++) {
        cn_buffer_free(f->in[i]);
        free(f->x[i]);
    }
    for (int i = 0; i < f->g->n_outputs; i++)
        cn_buffer_free(f->out[i]);
    cn_plan_free(f->plan);
    op_session_close(&f->s);
    cn_graph_free(f->g);
}

static void check_backend(const char *backend)
{
    struct cn_row_adapter list[CN_LEN(acting)];
    struct cn_factors *factors[CN_LEN(adapters)];
    float strength[CN_LEN(acting)][CN_LEN(layers)];
    struct outputs plain, adapted, again, after;
    struct fixture f;

    open_fixture(&f, backend);
    if (!cn_backend_caps(f.s.b)->adapts_rows) {
        close_fixture(&f);
        return;
    }
    for (int a = 0; a < (int)CN_LEN(adapters); a++)
        factors[a] = make_factors(f.s.b, a);
    for (size_t k = 0; k < CN_LEN(acting); k++) {
        for (size_t i = 0; i < CN_LEN(layers); i++)
            strength[k][i] = acting[k].strength;
        list[k] = (struct cn_row_adapter){acting[k].row, acting[k].rows,
                                          factors[acting[k].adapter], strength[k]};
    }
    run(&f, NULL, 0, &plain);
    run(&f, list, CN_LEN(list), &adapted);
    run(&f, list, CN_LEN(list), &again);
    for (size_t i = 0; i < CN_LEN(layers); i++)
        check_layer(&f, i, &plain, &adapted, backend);
    check_same(&f, &adapted, &again);
    for (size_t a = 0; a < CN_LEN(adapters); a++)
        cn_factors_free(factors[a]);
    run(&f, NULL, 0, &after);
    check_same(&f, &plain, &after);
    release(&f, &plain);
    release(&f, &adapted);
    release(&f, &again);
    release(&f, &after);
    close_fixture(&f);
}

static void rows_get_what_their_adapters_add(void **state)
{
    (void)state;
    op_each_backend(check_backend);
}

/* The same layer twice in one adapter is its reader's fault. */
static void check_twice(const char *backend)
{
    struct fixture f;

    open_fixture(&f, backend);
    if (cn_backend_caps(f.s.b)->adapts_rows) {
        struct cn_factors *factors = make_factors(f.s.b, 0);
        struct cn_err err = CN_ERR_INIT;

        assert_int_equal(cn_factors_add(factors,
                                        &(struct cn_factor){.layer = layers[0].name,
                                                            .out = layers[0].out,
                                                            .in = layers[0].in,
                                                            .k = 1,
                                                            .rank = 4,
                                                            .down = factor_of(0, layers, true),
                                                            .up = factor_of(0, layers, false)},
                                        &err),
                         CN_EINVAL);
        assert_non_null(strstr(err.msg, layers[0].name));
        cn_factors_free(factors);
    }
    close_fixture(&f);
}

static void a_layer_has_one_entry(void **state)
{
    (void)state;
    op_each_backend(check_twice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_get_what_their_adapters_add),
        cmocka_unit_test(a_layer_has_one_entry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
