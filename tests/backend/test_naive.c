/* The reference backend against a second computation that shares nothing with it: every element of
 * the result on its own, straight from the definition in tensor/graph.h, for the single-op rows of
 * the op table. And against published numbers. */
#include "base/base.h"
#include "tests/backend/op_cases.h"
#include "tests/backend/op_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MAX_NAMES = 16 };

/* One case with its data; an element is asked for by its index along each dimension. */
struct naive {
    const struct op_case *c;
    const struct cn_graph *g;
    const char *name[MAX_NAMES];
    float *data[MAX_NAMES];
    int n;
};

typedef double (*element_fn)(const struct naive *e, const int *at);

/* The data of an input or parameter; NULL when the case has none of that name. */
static const float *get(const struct naive *e, const char *name)
{
    for (int i = 0; i < e->n; i++)
        if (strcmp(e->name[i], name) == 0)
            return e->data[i];
    return NULL;
}

static double activate_with(double x, enum cn_activation act, double slope)
{
    switch (act) {
    case CN_SILU:
        return x * 0.5 * (1.0 + tanh(0.5 * x));
    case CN_GELU:
        return x * 0.5 * erfc(-x / sqrt(2.0));
    case CN_QUICK_GELU:
        return x * 0.5 * (1.0 + tanh(0.5 * 1.702 * x));
    case CN_RELU:
        return fmax(x, 0.0);
    case CN_SIGMOID:
        return 0.5 * (1.0 + tanh(0.5 * x));
    case CN_TANH:
        return 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
    case CN_LEAKY_RELU:
        return fmax(x, 0.0) + slope * fmin(x, 0.0);
    default:
        return x;
    }
}

static double activate(double x, enum cn_activation act)
{
    return activate_with(x, act, NAN);
}

static double map_at(const struct naive *e, const char *name, int n, int c, int y, int x)
{
    const struct op_case *k = e->c;

    if (y < 0 || y >= k->h || x < 0 || x >= k->w)
        return 0.0;
    return get(e, name)[((n * k->c + c) * k->h + y) * k->w + x];
}

/* bias + residual, then the activation; o: channel or column, at: position in the result. */
static double finish(const struct naive *e, double sum, int o, int at)
{
    if (e->c->bias)
        sum += get(e, "bias")[o];
    if (e->c->residual)
        sum += get(e, "r")[at];
    return activate_with(sum, e->c->act, e->c->alpha);
}

/* Sizes along height and width, with what the case leaves out. */
struct sizes {
    int k[2], step[2], spread[2], groups;
};

static struct sizes sizes_of(const struct op_case *c)
{
    struct sizes z = {.k = {c->k, c->k_w ? c->k_w : c->k}, .groups = CN_MAX(c->groups, 1)};

    z.step[0] = CN_MAX(c->stride, 1);
    z.step[1] = c->stride_w ? c->stride_w : z.step[0];
    z.spread[0] = CN_MAX(c->dilation, 1);
    z.spread[1] = c->dilation_w ? c->dilation_w : z.spread[0];
    return z;
}

static double conv2d(const struct naive *e, const int *at)
{
    const struct op_case *c = e->c;
    const struct cn_shape *o = cn_shape_of(e->g, e->g->output[0].val);
    const float *w = get(e, "weight");
    struct sizes z = sizes_of(c);
    int in = c->c / z.groups, first = at[1] / (c->out / z.groups) * in;
    double sum = 0.0;

    for (int ky = 0; ky < z.k[0]; ky++)
        for (int kx = 0; kx < z.k[1]; kx++)
            for (int i = 0; i < in; i++)
                sum += (double)w[((at[1] * in + i) * z.k[0] + ky) * z.k[1] + kx] *
                       map_at(e, "x", at[0], first + i,
                              at[2] * z.step[0] + ky * z.spread[0] - c->pad[0],
                              at[3] * z.step[1] + kx * z.spread[1] - c->pad[1]);
    return finish(e, sum, at[1],
                  ((at[0] * c->out + at[1]) * (int)o->dim[2] + at[2]) * (int)o->dim[3] + at[3]);
}

/* From the scattering definition: every input position whose kernel covers the result's. */
static double conv_transpose(const struct naive *e, const int *at)
{
    const struct op_case *c = e->c;
    const float *w = get(e, "weight");
    struct sizes z = sizes_of(c);
    int in = c->c / z.groups, out = c->out / z.groups, first = at[1] / out * in;
    double sum = c->bias ? get(e, "bias")[at[1]] : 0.0;

    for (int y = 0; y < c->h; y++)
        for (int x = 0; x < c->w; x++)
            for (int ky = 0; ky < z.k[0]; ky++)
                for (int kx = 0; kx < z.k[1]; kx++) {
                    if (y * z.step[0] + ky * z.spread[0] - c->pad[0] != at[2] ||
                        x * z.step[1] + kx * z.spread[1] - c->pad[1] != at[3])
                        continue;
                    for (int i = first; i < first + in; i++)
                        sum += (double)w[((i * out + at[1] % out) * z.k[0] + ky) * z.k[1] + kx] *
                               map_at(e, "x", at[0], i, y, x);
                }
    return sum;
}

static double pool(const struct naive *e, const int *at)
{
    const struct op_case *c = e->c;
    struct sizes z = sizes_of(c);
    double sum = 0.0, most = -1e30;

    for (int ky = 0; ky < z.k[0]; ky++)
        for (int kx = 0; kx < z.k[1]; kx++) {
            int y = at[2] * z.step[0] + ky - c->pad[0], x = at[3] * z.step[1] + kx - c->pad[1];

            sum += map_at(e, "x", at[0], at[1], y, x);
            if (y >= 0 && y < c->h && x >= 0 && x < c->w)
                most = fmax(most, map_at(e, "x", at[0], at[1], y, x));
        }
    return c->reduction == CN_MAX_OF ? most : sum / (z.k[0] * z.k[1]);
}

/* Row of a [n, s, d] or [n, d] index, and its last index. */
static int row_of(const struct naive *e, const int *at)
{
    return e->c->s > 0 ? at[0] * e->c->s + at[1] : at[0];
}

static int column_of(const struct naive *e, const int *at)
{
    return at[e->c->s > 0 ? 2 : 1];
}

static double linear(const struct naive *e, const int *at)
{
    int r = row_of(e, at), o = column_of(e, at), d = e->c->d;
    double sum = 0.0;

    for (int i = d - 1; i >= 0; i--)
        sum += (double)get(e, "x")[r * d + i] * get(e, "weight")[o * d + i];
    return finish(e, sum, o, r * e->c->out + o);
}

static double with_time(const struct naive *e, int n, int c, int y, int x)
{
    double t = e->c->width > 0 ? get(e, "t")[n * e->c->width + e->c->offset + c] : 0.0;

    return map_at(e, "x", n, c, y, x) + t;
}

static double group_norm(const struct naive *e, const int *at)
{
    const struct op_case *c = e->c;
    int per_group = c->c / c->groups, first = at[1] / per_group * per_group;
    double s1 = 0.0, s2 = 0.0, count = (double)per_group * c->h * c->w, mean, v;

    for (int i = first; i < first + per_group; i++)
        for (int p = 0; p < c->h * c->w; p++) {
            v = with_time(e, at[0], i, p / c->w, p % c->w);
            s1 += v;
            s2 += v * v;
        }
    mean = s1 / count;
    v = (with_time(e, at[0], at[1], at[2], at[3]) - mean) / sqrt(s2 / count - mean * mean + 1e-5);
    if (!c->bias) /* which stands for: neither */
        v = v * get(e, "gamma")[at[1]] + get(e, "beta")[at[1]];
    return activate_with(v, c->act, c->alpha);
}

static double layer_norm(const struct naive *e, const int *at)
{
    int d = e->c->d, o = column_of(e, at);
    const float *x = get(e, "x") + row_of(e, at) * d;
    double s1 = 0.0, s2 = 0.0, mean;

    for (int i = 0; i < d; i++) {
        s1 += x[i];
        s2 += (double)x[i] * x[i];
    }
    mean = s1 / d;
    return (x[o] - mean) / sqrt(s2 / d - mean * mean + 1e-5) * get(e, "gamma")[o] +
           get(e, "beta")[o];
}

/* Position in an input of the result's own shape. */
static int flat(const struct naive *e, const int *at)
{
    const struct cn_shape *s = cn_shape_of(e->g, e->g->output[0].val);
    int i = 0;

    for (int k = 0; k < s->rank; k++)
        i = i * (int)s->dim[k] + at[k];
    return i;
}

static double act(const struct naive *e, const int *at)
{
    return activate_with(get(e, "x")[flat(e, at)], e->c->act, e->c->alpha);
}

static double geglu(const struct naive *e, const int *at)
{
    int r = row_of(e, at), i = column_of(e, at), d = e->c->d;

    return get(e, "x")[2 * r * d + i] * activate(get(e, "x")[(2 * r + 1) * d + i], CN_GELU);
}

static double add(const struct naive *e, const int *at)
{
    return (double)get(e, "x")[flat(e, at)] + get(e, "y")[flat(e, at)];
}

static double add_channel(const struct naive *e, const int *at)
{
    return with_time(e, at[0], at[1], at[2], at[3]);
}

static double add_rows(const struct naive *e, const int *at)
{
    double w = get(e, "w")[at[0] * e->c->width + e->c->offset];

    return get(e, "x")[flat(e, at)] + w * get(e, "y")[flat(e, at)];
}

static double scale(const struct naive *e, const int *at)
{
    return (double)e->c->alpha * get(e, "x")[flat(e, at)];
}

/* exp of the score of query at and key j. Scores are small: no maximum is taken away. */
static double attention_weight(const struct naive *e, const int *at, int j)
{
    const struct op_case *c = e->c;
    int dh = c->d / c->heads, head = at[2] / dh;
    const float *q = get(e, "q") + (at[0] * c->s + at[1]) * c->d + head * dh;
    const float *k = get(e, "k") + (at[0] * c->t + j) * c->d + head * dh;
    double score = 0.0;

    if (c->causal && j > at[1])
        return 0.0;
    for (int i = 0; i < dh; i++)
        score += (double)q[i] * k[i];
    return exp(score / sqrt(dh));
}

static double attention(const struct naive *e, const int *at)
{
    double sum = 0.0, out = 0.0;

    for (int j = 0; j < e->c->t; j++) {
        double p = attention_weight(e, at, j);

        sum += p;
        out += p * get(e, "v")[(at[0] * e->c->t + j) * e->c->d + at[2]];
    }
    return out / sum;
}

static double upsample(const struct naive *e, const int *at)
{
    int y = (int)floor((double)at[2] * e->c->h / e->c->s);
    int x = (int)floor((double)at[3] * e->c->w / e->c->t);

    return map_at(e, "x", at[0], at[1], y, x);
}

/* A tent of width one around the source position, which is held inside the picture. */
static double resize(const struct naive *e, const int *at)
{
    const struct op_case *c = e->c;
    int in[2] = {c->h, c->w}, out[2] = {c->s, c->t};
    double p[2], sum = 0.0;

    for (int i = 0; i < 2; i++) {
        p[i] = (at[2 + i] + 0.5) * in[i] / out[i] - 0.5;
        if (c->align_corners)
            p[i] = out[i] == 1 ? 0.0 : at[2 + i] * (in[i] - 1.0) / (out[i] - 1.0);
        p[i] = fmin(fmax(p[i], 0.0), in[i] - 1.0);
    }
    for (int y = 0; y < c->h; y++)
        for (int x = 0; x < c->w; x++)
            sum += fmax(1.0 - fabs(p[0] - y), 0.0) * fmax(1.0 - fabs(p[1] - x), 0.0) *
                   map_at(e, "x", at[0], at[1], y, x);
    return sum;
}

/* Walks i steps from the edge and turns around at the ends. */
static int bounce(int i, int n)
{
    int at = 0, step = i < 0 ? -1 : 1;

    if (n > 1 && i < 0)
        step = 1;
    for (i = abs(i); i > 0; i--) {
        if (at + step < 0 || at + step >= n)
            step = -step;
        at += step;
    }
    return at;
}

static double pad_reflect(const struct naive *e, const int *at)
{
    return map_at(e, "x", at[0], at[1], bounce(at[2] - e->c->pad[0], e->c->h),
                  bounce(at[3] - e->c->pad[1], e->c->w));
}

static double unshuffle(const struct naive *e, const int *at)
{
    int r = e->c->factor, part = at[1] % (r * r);

    return map_at(e, "x", at[0], at[1] / (r * r), at[2] * r + part / r, at[3] * r + part % r);
}

static double shuffle(const struct naive *e, const int *at)
{
    int r = e->c->factor;

    return map_at(e, "x", at[0], (at[1] * r + at[2] % r) * r + at[3] % r, at[2] / r, at[3] / r);
}

static double prelu(const struct naive *e, const int *at)
{
    double x = get(e, "x")[flat(e, at)], slope = get(e, "slope")[e->c->out > 1 ? at[1] : 0];

    return fmax(x, 0.0) + slope * fmin(x, 0.0);
}

static double mul(const struct naive *e, const int *at)
{
    return (double)get(e, "x")[flat(e, at)] * get(e, "y")[flat(e, at)];
}

/* Element `at` of an input of any shape. */
static double any_at(const struct naive *e, const char *name, int rank, const int *size,
                     const int *at)
{
    int i = 0;

    for (int k = 0; k < rank; k++)
        i = i * size[k] + at[k];
    return get(e, name)[i];
}

/* Sizes of input 0 of the node that makes the result. */
static int input_sizes(const struct naive *e, int *size)
{
    const struct cn_shape *s =
        cn_shape_of(e->g, e->g->node[e->g->output[0].val].in[0]);

    for (int k = 0; k < s->rank; k++)
        size[k] = (int)s->dim[k];
    return s->rank;
}

static double matmul(const struct naive *e, const int *at)
{
    const struct op_case *c = e->c;
    int batch = c->h > 0 ? at[0] * c->h + at[1] : at[0], r = c->h > 0 ? 2 : 1;
    int x0 = batch * c->s * c->t, y0 = c->bound ? 0 : batch * c->t * c->d;
    double sum = 0.0;

    for (int k = c->t - 1; k >= 0; k--)
        sum += (double)get(e, "x")[x0 + (c->transpose[0] ? k * c->s + at[r] : at[r] * c->t + k)] *
               get(e, "y")[y0 + (c->transpose[1] ? at[r + 1] * c->t + k : k * c->d + at[r + 1])];
    return c->alpha * sum;
}

static double reshape(const struct naive *e, const int *at)
{
    return get(e, "x")[flat(e, at)];
}

static double permute(const struct naive *e, const int *at)
{
    int size[CN_GRAPH_RANK], rank = input_sizes(e, size), from[CN_GRAPH_RANK];

    for (int k = 0; k < rank; k++)
        from[e->c->perm[k]] = at[k];
    return any_at(e, "x", rank, size, from);
}

static double slice(const struct naive *e, const int *at)
{
    int size[CN_GRAPH_RANK], rank = input_sizes(e, size), from[CN_GRAPH_RANK];

    for (int k = 0; k < rank; k++)
        from[k] = at[k] + (k == e->c->axis ? e->c->offset : 0);
    return any_at(e, "x", rank, size, from);
}

static double gather(const struct naive *e, const int *at)
{
    const int32_t *ids = (const int32_t *)(const void *)get(e, "ids");
    const struct op_case *c = e->c;

    return get(e, "x")[(at[0] * c->s + ids[at[0] * c->t + at[1]]) * c->d + at[2]];
}

static double reduce(const struct naive *e, const int *at)
{
    int size[CN_GRAPH_RANK], rank = input_sizes(e, size), from[CN_GRAPH_RANK];
    int first = e->c->axis, last = first + e->c->axes, count = 1;
    double sum = 0.0, most = -1e30;

    for (int k = first; k < last; k++)
        count *= size[k];
    for (int i = 0; i < count; i++) {
        int rest = i;

        for (int k = 0; k < rank; k++)
            from[k] = at[k];
        for (int k = first; k < last; k++) {
            from[k] = rest % size[k];
            rest /= size[k];
        }
        sum += any_at(e, "x", rank, size, from);
        most = fmax(most, any_at(e, "x", rank, size, from));
    }
    return e->c->reduction == CN_MAX_OF ? most : e->c->reduction == CN_MEAN ? sum / count : sum;
}

static double concat(const struct naive *e, const int *at)
{
    static const char *const names[] = {"x", "y", "z"};
    int size[CN_GRAPH_RANK], rank = input_sizes(e, size), from[CN_GRAPH_RANK];
    int axis = CN_MAX(e->c->axis, 1), widths[] = {size[axis], e->c->out, CN_MAX(e->c->length, 1)};

    for (int k = 0; k < rank; k++)
        from[k] = at[k];
    for (int i = 0; i < 3; i++) {
        size[axis] = widths[i];
        if (from[axis] < widths[i])
            return any_at(e, names[i], rank, size, from);
        from[axis] -= widths[i];
    }
    return NAN;
}

static double to_tokens(const struct naive *e, const int *at)
{
    return map_at(e, "x", at[0], at[2], at[1] / e->c->w, at[1] % e->c->w);
}

static double from_tokens(const struct naive *e, const int *at)
{
    int p = at[2] * e->c->w + at[3];

    return get(e, "x")[(at[0] * e->c->h * e->c->w + p) * e->c->c + at[1]];
}

static double pool_hw(const struct naive *e, const int *at)
{
    double sum = 0.0;

    for (int p = 0; p < e->c->h * e->c->w; p++)
        sum += map_at(e, "x", at[0], at[1], p / e->c->w, p % e->c->w);
    return sum / (e->c->h * e->c->w);
}

static const struct {
    op_build_fn build;
    element_fn element;
} kinds[] = {
    {op_conv2d, conv2d},
    {op_linear, linear},
    {op_group_norm, group_norm},
    {op_layer_norm, layer_norm},
    {op_act, act},
    {op_geglu, geglu},
    {op_add, add},
    {op_add_channel, add_channel},
    {op_add_rows, add_rows},
    {op_scale, scale},
    {op_attention, attention},
    {op_upsample, upsample},
    {op_concat, concat},
    {op_to_tokens, to_tokens},
    {op_from_tokens, from_tokens},
    {op_pool_hw, pool_hw},
    {op_conv_transpose, conv_transpose},
    {op_pool, pool},
    {op_resize, resize},
    {op_pad_reflect, pad_reflect},
    {op_unshuffle, unshuffle},
    {op_shuffle, shuffle},
    {op_prelu, prelu},
    {op_mul, mul},
    {op_matmul, matmul},
    {op_reshape, reshape},
    {op_permute, permute},
    {op_slice, slice},
    {op_gather, gather},
    {op_reduce, reduce},
};

static void load(struct naive *e, const struct op_case *c, const struct cn_graph *g)
{
    *e = (struct naive){.c = c, .g = g};
    for (int i = 0; i < g->count; i++)
        if (g->value[i].name != NULL) {
            assert_true(e->n < MAX_NAMES);
            e->name[e->n] = g->value[i].name;
            e->data[e->n++] = op_data(g, i);
        }
}

/* Every element, or about 2000 of them: attention and norms start from nothing for each. */
static double distance(const struct naive *e, element_fn element, const struct op_result *r)
{
    const struct cn_shape *s = cn_shape_of(e->g, e->g->output[0].val);
    size_t step = r->count / 2000 + 1;
    double d = 0.0, norm = 0.0;

    for (size_t i = 0; i < r->count; i += step) {
        int at[CN_GRAPH_RANK];
        size_t rest = i;
        double v;

        for (int k = s->rank - 1; k >= 0; k--) {
            at[k] = (int)(rest % (size_t)s->dim[k]);
            rest /= (size_t)s->dim[k];
        }
        v = element(e, at);
        d += (r->data[i] - v) * (r->data[i] - v);
        norm += v * v;
    }
    return sqrt(d / norm);
}

static int check_case(const struct op_case *c, element_fn element)
{
    struct cn_graph *g = op_case_graph(c);
    struct op_result r;
    struct naive e;
    double d;

    op_run("reference", g, &r);
    load(&e, c, g);
    d = distance(&e, element, &r);
    for (int i = 0; i < e.n; i++)
        free(e.data[i]);
    op_result_release(&r);
    cn_graph_free(g);
    if (d <= 1e-6)
        return 0;
    fprintf(stderr, "%s: the reference differs from the naive computation by %g\n", c->name, d);
    return 1;
}

static void reference_agrees_with_the_definition(void **state)
{
    int bad = 0, checked = 0;

    (void)state;
    for (const struct op_case *c = op_cases; c->name != NULL; c++)
        for (size_t i = 0; i < CN_LEN(kinds); i++)
            if (kinds[i].build == c->build) {
                bad += check_case(c, kinds[i].element);
                checked++;
            }
    assert_int_equal(bad, 0);
    assert_true(checked > 150);
}

/* One value through one op of the reference. */
static void run_values(struct cn_graph *g, cn_val y, const float *in, float *out)
{
    struct cn_backend_opts opts = CN_BACKEND_DEFAULTS;
    struct cn_param_source source = op_source(g);
    struct cn_backend *b;
    struct cn_weights *w;
    struct cn_plan *p;
    struct cn_buffer *x, *z;

    cn_graph_output(g, "y", y, 0);
    assert_int_equal(cn_backend_open("reference", &opts, &b, NULL), 0);
    assert_int_equal(cn_weights_new(b, &source, &w, NULL), 0);
    assert_int_equal(cn_plan_compile(b, g, w, CN_DTYPE_COUNT, 0, &p, NULL), 0);
    assert_int_equal(cn_buffer_new(b, &g->value[g->input[0].val], CN_DTYPE_COUNT, 0, &x, NULL), 0);
    assert_int_equal(cn_buffer_new(b, &g->value[y], CN_DTYPE_COUNT, 0, &z, NULL), 0);
    cn_buffer_write(x, in);
    assert_int_equal(cn_plan_run(p, &x, &z, NULL), 0);
    cn_buffer_read(z, out);
    cn_buffer_free(x);
    cn_buffer_free(z);
    cn_plan_free(p);
    cn_weights_free(w);
    cn_backend_close(b);
    cn_graph_free(g);
}

static void check_near(float have, double want, double tolerance)
{
    if (!(fabs(have - want) <= tolerance))
        fail_msg("%.9g instead of %.9g", have, want);
}

/* PyTorch 2 on the CPU, float32: get_timestep_embedding of diffusers, dim 320. */
static void timesteps_are_those_of_diffusers(void **state)
{
    static const float t[2] = {1.0f, 999.0f};
    static const struct {
        int n, i;
        double value;
    } expect[] = {
        {0, 0, 0.540302},   {0, 1, 0.586504},  {0, 2, 0.628439},    {0, 160, 0.841471},
        {0, 161, 0.809946}, {0, 162, 0.777858}, {1, 0, 0.999650},   {1, 1, 0.802681},
        {1, 2, -0.278114},  {1, 160, -0.026461}, {1, 161, 0.596409}, {1, 162, -0.960548},
    };
    float cosines[2][320], sines[2][320];

    (void)state;
    for (int first = 0; first < 2; first++) {
        struct cn_graph *g = cn_graph_new("timestep");
        cn_val x = cn_graph_input(g, "t", cn_shape1(2), CN_F32, 0);

        x = cn_timestep(g, x, 320, first == 0, 0);
        run_values(g, x, t, first == 0 ? cosines[0] : sines[0]);
    }
    for (size_t i = 0; i < CN_LEN(expect); i++) {
        check_near(cosines[expect[i].n][expect[i].i], expect[i].value, 1e-5);
        check_near(sines[expect[i].n][(expect[i].i + 160) % 320], expect[i].value, 1e-5);
    }
}

/* Frequencies run from 1 to 1/10000 when freq_shift is 1, and a tenth short of it when it is 0. */
static void freq_shift_moves_the_last_frequency(void **state)
{
    static const float t = 10000.0f;
    float y[2][20];

    (void)state;
    for (int shift = 0; shift < 2; shift++) {
        struct cn_graph *g = cn_graph_new("shift");
        cn_val x = cn_graph_input(g, "t", cn_shape1(1), CN_F32, 0);

        run_values(g, cn_timestep(g, x, 20, false, shift), &t, y[shift]);
    }
    check_near(y[0][9], sin(pow(10000.0, 0.1)), 1e-5);
    check_near(y[1][9], sin(1.0), 1e-5);
    check_near(y[1][19], cos(1.0), 1e-5);
}

static void activations_reach_their_limits(void **state)
{
    static const float x[6] = {-1000.0f, -1.0f, 0.0f, 0.5f, 1.0f, 1000.0f};
    static const double expect[CN_ACTIVATION_COUNT][6] = {
        [CN_SILU] = {0.0, -0.26894142137, 0.0, 0.31122966560, 0.73105857863, 1000.0},
        [CN_GELU] = {0.0, -0.15865525393, 0.0, 0.34573123064, 0.84134474607, 1000.0},
        [CN_QUICK_GELU] = {0.0, -0.15420423265, 0.0, 0.35038843661, 0.84579576735, 1000.0},
        [CN_RELU] = {0.0, 0.0, 0.0, 0.5, 1.0, 1000.0},
        [CN_SIGMOID] = {0.0, 0.26894142137, 0.5, 0.62245933120, 0.73105857863, 1.0},
        [CN_TANH] = {-1.0, -0.76159415596, 0.0, 0.46211715726, 0.76159415596, 1.0},
        [CN_LEAKY_RELU] = {-250.0, -0.25, 0.0, 0.5, 1.0, 1000.0},
    };

    (void)state;
    for (int a = CN_SILU; a < CN_ACTIVATION_COUNT; a++) {
        struct cn_graph *g = cn_graph_new("act");
        cn_val v = cn_graph_input(g, "x", cn_shape2(1, 6), CN_F32, 0);
        float y[6];

        v = a == CN_LEAKY_RELU ? cn_leaky_relu(g, v, 0.25f) : cn_act(g, v, (enum cn_activation)a);
        run_values(g, v, x, y);
        for (int i = 0; i < 6; i++)
            check_near(y[i], expect[a][i], 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_agrees_with_the_definition),
        cmocka_unit_test(timesteps_are_those_of_diffusers),
        cmocka_unit_test(freq_shift_moves_the_last_frequency),
        cmocka_unit_test(activations_reach_their_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
