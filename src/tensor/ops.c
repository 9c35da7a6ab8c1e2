/* The operations: one table that says of each its name, its inputs, its attributes, the shape of
 * its result and its backward rule; and the functions that add them to a graph. A wrong shape is a
 * fault of ours, so rules assert. */
#include "base/base.h"
#include "tensor/ops_priv.h"
#include "base/buf.h"

typedef cn_val (*grad_fn)(struct cn_graph *g, cn_val v, int k, cn_val dy);

/* Which attributes an op has, and prints. */
enum field {
    WINDOW = 1 << 0,
    PAD = 1 << 1,
    GROUPS = 1 << 2,
    EPS = 1 << 3,
    ACT = 1 << 4,
    HEADS = 1 << 5,
    ALPHA = 1 << 6,
    CAUSAL = 1 << 7,
    OFFSET = 1 << 8,
    TIME = 1 << 10,
    AXIS = 1 << 11,
    AXES = 1 << 12,
    LENGTH = 1 << 13,
    PERM = 1 << 14,
    TRANSPOSE = 1 << 15,
    REDUCTION = 1 << 16,
    CORNERS = 1 << 17,
    FACTOR = 1 << 18,
    ADAPTS = 1 << 19
};

struct op {
    const char *name;
    int inputs, required; /* at most; the first ones that must be there */
    cn_shape_fn shape;
    unsigned fields;
    grad_fn grad; /* NULL: none yet */
};

static const struct op ops[CN_OP_COUNT];

/* ---- adding nodes ---- */

static cn_val emit(struct cn_graph *g, enum cn_op op, const cn_val *in, int n,
                   const struct cn_attr *a)
{
    const struct cn_shape *s[CN_MAX_IN] = {NULL};
    struct cn_node node = {.op = op, .attr = *a};

    CN_ASSERT(n <= ops[op].inputs);
    for (int k = 0; k < CN_MAX_IN; k++) {
        node.in[k] = k < n ? in[k] : -1;
        CN_ASSERT(node.in[k] >= 0 || k >= ops[op].required);
        if (node.in[k] >= 0)
            s[k] = cn_shape_of(g, node.in[k]);
    }
    return cn_graph_add(g, &node, ops[op].shape(s, a), CN_F32, NULL);
}

static cn_val unary(struct cn_graph *g, enum cn_op op, cn_val x, const struct cn_attr *a)
{
    return emit(g, op, &x, 1, a);
}

static cn_val plain(struct cn_graph *g, enum cn_op op, cn_val x, cn_val y)
{
    const cn_val in[] = {x, y};

    return emit(g, op, in, y < 0 ? 1 : 2, &(struct cn_attr){0});
}

static cn_val optional_param(struct cn_graph *g, const char *name, int64_t n)
{
    return name != NULL ? cn_param(g, name, cn_shape1(n)) : -1;
}

/* Everything that the caller left out. */
static struct cn_conv completed(const struct cn_conv *c)
{
    struct cn_conv r = *c;

    r.k_w = c->k_w > 0 ? c->k_w : c->k;
    r.stride_w = c->stride_w > 0 ? c->stride_w : c->stride;
    r.dilation = CN_MAX(c->dilation, 1);
    r.dilation_w = c->dilation_w > 0 ? c->dilation_w : r.dilation;
    r.groups = CN_MAX(c->groups, 1);
    return r;
}

bool cn_conv_is_plain(const struct cn_conv *c)
{
    return c->k == c->k_w && c->stride == c->stride_w && c->dilation == 1 && c->dilation_w == 1 &&
           c->groups == 1;
}

void cn_graph_adapt(struct cn_graph *g, cn_val v)
{
    CN_ASSERT(v >= 0 && v < g->count);
    CN_ASSERT(g->node[v].op == CN_OP_CONV2D || g->node[v].op == CN_OP_LINEAR);
    CN_ASSERT(g->node[v].op == CN_OP_LINEAR || cn_conv_is_plain(&g->node[v].attr.conv));
    CN_ASSERT(g->node[g->node[v].in[1]].op == CN_OP_PARAM);
    g->node[v].attr.adapts = true;
}

cn_val cn_conv2d(struct cn_graph *g, cn_val x, const char *weight, const char *bias,
                 const struct cn_conv *conv)
{
    struct cn_attr a = {.conv = completed(conv)};
    const struct cn_conv *c = &a.conv;
    int64_t ci = cn_shape_of(g, x)->dim[1];
    cn_val in[3] = {x};

    in[1] = cn_param(g, weight, cn_shape4(c->out, ci / c->groups, c->k, c->k_w));
    in[2] = optional_param(g, bias, c->out);
    return emit(g, CN_OP_CONV2D, in, 3, &a);
}

cn_val cn_conv_transpose(struct cn_graph *g, cn_val x, const char *weight, const char *bias,
                         const struct cn_conv *conv)
{
    struct cn_attr a = {.conv = completed(conv)};
    const struct cn_conv *c = &a.conv;
    int64_t ci = cn_shape_of(g, x)->dim[1];
    cn_val in[3] = {x};

    in[1] = cn_param(g, weight, cn_shape4(ci, c->out / c->groups, c->k, c->k_w));
    in[2] = optional_param(g, bias, c->out);
    return emit(g, CN_OP_CONV_TRANSPOSE, in, 3, &a);
}

cn_val cn_linear(struct cn_graph *g, cn_val x, const char *weight, const char *bias, int out)
{
    const struct cn_shape *s = cn_shape_of(g, x);
    cn_val in[3] = {x};

    in[1] = cn_param(g, weight, cn_shape2(out, s->dim[s->rank - 1]));
    in[2] = optional_param(g, bias, out);
    return emit(g, CN_OP_LINEAR, in, 3, &(struct cn_attr){0});
}

cn_val cn_group_norm(struct cn_graph *g, cn_val x, const char *gamma, const char *beta, int groups,
                     float eps)
{
    int64_t c = cn_shape_of(g, x)->dim[1];
    cn_val in[3] = {x};

    in[1] = optional_param(g, gamma, c);
    in[2] = optional_param(g, beta, c);
    return emit(g, CN_OP_GROUP_NORM, in, 3, &(struct cn_attr){.groups = groups, .eps = eps});
}

cn_val cn_instance_norm(struct cn_graph *g, cn_val x, const char *gamma, const char *beta,
                        float eps)
{
    return cn_group_norm(g, x, gamma, beta, (int)cn_shape_of(g, x)->dim[1], eps);
}

cn_val cn_layer_norm(struct cn_graph *g, cn_val x, const char *gamma, const char *beta, float eps)
{
    const struct cn_shape *s = cn_shape_of(g, x);
    cn_val in[3] = {x};
    int64_t d = s->dim[s->rank - 1];

    in[1] = cn_param(g, gamma, cn_shape1(d));
    in[2] = cn_param(g, beta, cn_shape1(d));
    return emit(g, CN_OP_LAYER_NORM, in, 3, &(struct cn_attr){.eps = eps});
}

cn_val cn_act(struct cn_graph *g, cn_val x, enum cn_activation act)
{
    CN_ASSERT(act != CN_LEAKY_RELU);
    return unary(g, CN_OP_ACT, x, &(struct cn_attr){.act = act});
}

cn_val cn_leaky_relu(struct cn_graph *g, cn_val x, float slope)
{
    return unary(g, CN_OP_ACT, x, &(struct cn_attr){.act = CN_LEAKY_RELU, .slope = slope});
}

cn_val cn_prelu(struct cn_graph *g, cn_val x, const char *slope, int slopes)
{
    return plain(g, CN_OP_PRELU, x, cn_param(g, slope, cn_shape1(slopes)));
}

cn_val cn_geglu(struct cn_graph *g, cn_val x)
{
    return plain(g, CN_OP_GEGLU, x, -1);
}

cn_val cn_add(struct cn_graph *g, cn_val x, cn_val y)
{
    return plain(g, CN_OP_ADD, x, y);
}

cn_val cn_mul(struct cn_graph *g, cn_val x, cn_val y)
{
    return plain(g, CN_OP_MUL, x, y);
}

cn_val cn_add_channel(struct cn_graph *g, cn_val x, cn_val t, int offset)
{
    const cn_val in[] = {x, t};

    return emit(g, CN_OP_ADD_CHANNEL, in, 2, &(struct cn_attr){.offset = offset});
}

cn_val cn_add_rows(struct cn_graph *g, cn_val x, cn_val y, cn_val w, int offset)
{
    const cn_val in[] = {x, y, w};

    return emit(g, CN_OP_ADD_ROWS, in, 3, &(struct cn_attr){.offset = offset});
}

cn_val cn_scale(struct cn_graph *g, cn_val x, float alpha)
{
    return unary(g, CN_OP_SCALE, x, &(struct cn_attr){.alpha = alpha});
}

cn_val cn_matmul(struct cn_graph *g, cn_val x, cn_val y, bool transpose_x, bool transpose_y,
                 float alpha)
{
    const cn_val in[] = {x, y};

    return emit(g, CN_OP_MATMUL, in, 2,
                &(struct cn_attr){.transpose = {transpose_x, transpose_y}, .alpha = alpha});
}

cn_val cn_attention(struct cn_graph *g, cn_val q, cn_val k, cn_val v, int heads, float scale,
                    bool causal)
{
    const cn_val in[] = {q, k, v};

    return emit(g, CN_OP_ATTENTION, in, 3,
                &(struct cn_attr){.heads = heads, .alpha = scale, .causal = causal});
}

cn_val cn_upsample(struct cn_graph *g, cn_val x, int oh, int ow)
{
    return unary(g, CN_OP_UPSAMPLE, x, &(struct cn_attr){.oh = oh, .ow = ow});
}

cn_val cn_resize(struct cn_graph *g, cn_val x, int oh, int ow, bool align_corners)
{
    return unary(g, CN_OP_RESIZE, x,
                 &(struct cn_attr){.oh = oh, .ow = ow, .align_corners = align_corners});
}

cn_val cn_pad_reflect(struct cn_graph *g, cn_val x, int top, int left, int bottom, int right)
{
    return unary(g, CN_OP_PAD_REFLECT, x,
                 &(struct cn_attr){.conv.pad = {top, left, bottom, right}});
}

cn_val cn_pool(struct cn_graph *g, cn_val x, enum cn_reduction kind, const struct cn_conv *window)
{
    return unary(g, CN_OP_POOL, x, &(struct cn_attr){.conv = completed(window), .reduction = kind});
}

cn_val cn_unshuffle(struct cn_graph *g, cn_val x, int factor)
{
    return unary(g, CN_OP_UNSHUFFLE, x, &(struct cn_attr){.factor = factor});
}

cn_val cn_shuffle(struct cn_graph *g, cn_val x, int factor)
{
    return unary(g, CN_OP_SHUFFLE, x, &(struct cn_attr){.factor = factor});
}

cn_val cn_concat(struct cn_graph *g, cn_val x, cn_val y)
{
    const cn_val in[] = {x, y};

    return cn_concat_n(g, in, 2, 1);
}

cn_val cn_concat_n(struct cn_graph *g, const cn_val *x, int n, int axis)
{
    return emit(g, CN_OP_CONCAT, x, n, &(struct cn_attr){.axis = axis});
}

cn_val cn_slice(struct cn_graph *g, cn_val x, int axis, int from, int length)
{
    return unary(g, CN_OP_SLICE, x,
                 &(struct cn_attr){.axis = axis, .offset = from, .length = length});
}

cn_val cn_reshape(struct cn_graph *g, cn_val x, struct cn_shape shape)
{
    return unary(g, CN_OP_RESHAPE, x, &(struct cn_attr){.shape = shape});
}

cn_val cn_permute(struct cn_graph *g, cn_val x, const int *perm)
{
    struct cn_attr a = {0};

    for (int i = 0; i < cn_shape_of(g, x)->rank; i++)
        a.perm[i] = perm[i];
    return unary(g, CN_OP_PERMUTE, x, &a);
}

cn_val cn_reduce(struct cn_graph *g, cn_val x, enum cn_reduction kind, int axis, int axes)
{
    return unary(g, CN_OP_REDUCE, x,
                 &(struct cn_attr){.reduction = kind, .axis = axis, .axes = axes});
}

cn_val cn_gather(struct cn_graph *g, cn_val x, cn_val ids)
{
    CN_ASSERT(g->value[ids].dtype == CN_I32);
    return plain(g, CN_OP_GATHER, x, ids);
}

cn_val cn_to_tokens(struct cn_graph *g, cn_val x)
{
    return plain(g, CN_OP_TO_TOKENS, x, -1);
}

cn_val cn_from_tokens(struct cn_graph *g, cn_val x, int h, int w)
{
    return unary(g, CN_OP_FROM_TOKENS, x, &(struct cn_attr){.oh = h, .ow = w});
}

cn_val cn_timestep(struct cn_graph *g, cn_val t, int dim, bool cos_first, int freq_shift)
{
    return unary(
        g, CN_OP_TIMESTEP, t,
        &(struct cn_attr){.length = dim, .cos_first = cos_first, .freq_shift = freq_shift});
}

cn_val cn_pool_hw(struct cn_graph *g, cn_val x)
{
    return plain(g, CN_OP_POOL_HW, x, -1);
}

/* ---- backward rules: one value for each gradient ---- */

static cn_val input_of(const struct cn_graph *g, cn_val v, int k)
{
    return g->node[v].in[k];
}

static cn_val grad_pass(struct cn_graph *g, cn_val v, int k, cn_val dy)
{
    (void)g;
    (void)v;
    (void)k;
    return dy;
}

static cn_val grad_mul(struct cn_graph *g, cn_val v, int k, cn_val dy)
{
    return cn_mul(g, dy, input_of(g, v, 1 - k));
}

static cn_val grad_scale(struct cn_graph *g, cn_val v, int k, cn_val dy)
{
    (void)k;
    return cn_scale(g, dy, g->node[v].attr.alpha);
}

/* With y = a x z: dx = a dy z^T and dz = a x^T dy, or their transposes where x or z stand
 * transposed. A z without leading dimensions would need a sum over them. */
static cn_val grad_matmul(struct cn_graph *g, cn_val v, int k, cn_val dy)
{
    const struct cn_attr a = g->node[v].attr;
    cn_val x = input_of(g, v, 0), z = input_of(g, v, 1);

    if (k == 1 && cn_shape_of(g, x)->rank != cn_shape_of(g, z)->rank)
        return -1;
    if (k == 0)
        return a.transpose[0] ? cn_matmul(g, z, dy, a.transpose[1], true, a.alpha)
                              : cn_matmul(g, dy, z, false, !a.transpose[1], a.alpha);
    return a.transpose[1] ? cn_matmul(g, dy, x, true, a.transpose[0], a.alpha)
                          : cn_matmul(g, x, dy, !a.transpose[0], false, a.alpha);
}

static cn_val grad_reshape(struct cn_graph *g, cn_val v, int k, cn_val dy)
{
    return cn_reshape(g, dy, *cn_shape_of(g, input_of(g, v, k)));
}

static cn_val grad_permute(struct cn_graph *g, cn_val v, int k, cn_val dy)
{
    int inverse[CN_GRAPH_RANK] = {0};

    (void)k;
    for (int i = 0; i < cn_shape_of(g, v)->rank; i++)
        inverse[g->node[v].attr.perm[i]] = i;
    return cn_permute(g, dy, inverse);
}

static cn_val grad_concat(struct cn_graph *g, cn_val v, int k, cn_val dy)
{
    int axis = g->node[v].attr.axis, from = 0;

    for (int i = 0; i < k; i++)
        from += (int)cn_shape_of(g, input_of(g, v, i))->dim[axis];
    return cn_slice(g, dy, axis, from, (int)cn_shape_of(g, input_of(g, v, k))->dim[axis]);
}

static cn_val grad_to_tokens(struct cn_graph *g, cn_val v, int k, cn_val dy)
{
    const struct cn_shape *s = cn_shape_of(g, input_of(g, v, k));

    return cn_from_tokens(g, dy, (int)s->dim[2], (int)s->dim[3]);
}

static cn_val grad_from_tokens(struct cn_graph *g, cn_val v, int k, cn_val dy)
{
    (void)v;
    (void)k;
    return cn_to_tokens(g, dy);
}

static cn_val grad_unshuffle(struct cn_graph *g, cn_val v, int k, cn_val dy)
{
    (void)k;
    return cn_shuffle(g, dy, g->node[v].attr.factor);
}

static cn_val grad_shuffle(struct cn_graph *g, cn_val v, int k, cn_val dy)
{
    (void)k;
    return cn_unshuffle(g, dy, g->node[v].attr.factor);
}

cn_val cn_grad(struct cn_graph *g, cn_val v, int k, cn_val dy)
{
    grad_fn fn = ops[g->node[v].op].grad;

    CN_ASSERT(cn_shape_equal(cn_shape_of(g, v), cn_shape_of(g, dy)));
    CN_ASSERT(k >= 0 && k < CN_MAX_IN && g->node[v].in[k] >= 0);
    return fn != NULL ? fn(g, v, k, dy) : -1;
}

/* ---- the table ---- */

static const struct op ops[CN_OP_COUNT] = {
    [CN_OP_INPUT] = {"input", 0, 0, NULL, 0, NULL},
    [CN_OP_PARAM] = {"param", 0, 0, NULL, 0, NULL},
    [CN_OP_CONV2D] = {"conv2d", 4, 2, cn_shape_conv2d, WINDOW | PAD | ACT | ADAPTS, NULL},
    [CN_OP_LINEAR] = {"linear", 4, 2, cn_shape_linear, ACT | ADAPTS, NULL},
    [CN_OP_GROUP_NORM] = {"group_norm", 4, 1, cn_shape_group_norm, GROUPS | EPS | OFFSET | ACT,
                          NULL},
    [CN_OP_LAYER_NORM] = {"layer_norm", 3, 3, cn_shape_layer_norm, EPS, NULL},
    [CN_OP_ACT] = {"act", 1, 1, cn_shape_same, ACT, NULL},
    [CN_OP_GEGLU] = {"geglu", 1, 1, cn_shape_geglu, 0, NULL},
    [CN_OP_ADD] = {"add", 2, 2, cn_shape_same_pair, 0, grad_pass},
    [CN_OP_ADD_CHANNEL] = {"add_channel", 2, 2, cn_shape_add_channel, OFFSET, NULL},
    [CN_OP_ADD_ROWS] = {"add_rows", 3, 3, cn_shape_add_rows, OFFSET, NULL},
    [CN_OP_SCALE] = {"scale", 1, 1, cn_shape_same, ALPHA, grad_scale},
    [CN_OP_ATTENTION] = {"attention", 3, 3, cn_shape_attention, HEADS | ALPHA | CAUSAL, NULL},
    [CN_OP_UPSAMPLE] = {"upsample", 1, 1, cn_shape_sized, 0, NULL},
    [CN_OP_CONCAT] = {"concat", CN_MAX_IN, 2, cn_shape_concat, AXIS, grad_concat},
    [CN_OP_TO_TOKENS] = {"to_tokens", 1, 1, cn_shape_to_tokens, 0, grad_to_tokens},
    [CN_OP_FROM_TOKENS] = {"from_tokens", 1, 1, cn_shape_from_tokens, 0, grad_from_tokens},
    [CN_OP_TIMESTEP] = {"timestep", 1, 1, cn_shape_timestep, TIME, NULL},
    [CN_OP_POOL_HW] = {"pool_hw", 1, 1, cn_shape_map, 0, NULL},
    [CN_OP_MUL] = {"mul", 2, 2, cn_shape_same_pair, 0, grad_mul},
    [CN_OP_MATMUL] = {"matmul", 2, 2, cn_shape_matmul, TRANSPOSE | ALPHA, grad_matmul},
    [CN_OP_RESHAPE] = {"reshape", 1, 1, cn_shape_reshape, 0, grad_reshape},
    [CN_OP_PERMUTE] = {"permute", 1, 1, cn_shape_permute, PERM, grad_permute},
    [CN_OP_SLICE] = {"slice", 1, 1, cn_shape_slice, AXIS | OFFSET | LENGTH, NULL},
    [CN_OP_GATHER] = {"gather", 2, 2, cn_shape_gather, 0, NULL},
    [CN_OP_REDUCE] = {"reduce", 1, 1, cn_shape_reduce, REDUCTION | AXIS | AXES, NULL},
    [CN_OP_POOL] = {"pool", 1, 1, cn_shape_pool, REDUCTION | WINDOW | PAD, NULL},
    [CN_OP_CONV_TRANSPOSE] = {"conv_transpose", 3, 2, cn_shape_conv_transpose, WINDOW | PAD, NULL},
    [CN_OP_RESIZE] = {"resize", 1, 1, cn_shape_sized, CORNERS, NULL},
    [CN_OP_PAD_REFLECT] = {"pad_reflect", 1, 1, cn_shape_pad, PAD, NULL},
    [CN_OP_UNSHUFFLE] = {"unshuffle", 1, 1, cn_shape_unshuffle, FACTOR, grad_unshuffle},
    [CN_OP_SHUFFLE] = {"shuffle", 1, 1, cn_shape_shuffle, FACTOR, grad_shuffle},
    [CN_OP_PRELU] = {"prelu", 2, 2, cn_shape_prelu, 0, NULL},
};

const char *cn_op_name(enum cn_op op)
{
    return ops[op].name;
}

int cn_op_inputs(enum cn_op op)
{
    return ops[op].inputs;
}

static const char *activation_name(enum cn_activation act)
{
    static const char *const names[CN_ACTIVATION_COUNT] = {
        [CN_NONE] = "none", [CN_SILU] = "silu",
        [CN_GELU] = "gelu", [CN_QUICK_GELU] = "quick_gelu",
        [CN_RELU] = "relu", [CN_SIGMOID] = "sigmoid",
        [CN_TANH] = "tanh", [CN_LEAKY_RELU] = "leaky_relu",
    };

    return names[act];
}

/* ---- printing ---- */

static void print_window(const struct cn_conv *c, struct cn_buf *b)
{
    cn_buf_printf(b, NULL, " k=%dx%d", c->k, c->k_w);
    if (c->stride != 1 || c->stride_w != 1)
        cn_buf_printf(b, NULL, " stride=%dx%d", c->stride, c->stride_w);
    if (c->dilation != 1 || c->dilation_w != 1)
        cn_buf_printf(b, NULL, " dilation=%dx%d", c->dilation, c->dilation_w);
    if (c->groups != 1)
        cn_buf_printf(b, NULL, " groups=%d", c->groups);
}

/* What stands for itself is left out: no activation, no padding, offset 0, factor 1. */
static void print_fields(unsigned f, const struct cn_attr *a, int rank, struct cn_buf *b)
{
    static const char *const reductions[] = {"sum", "mean", "max"};
    const int *pad = a->conv.pad;

    if (f & REDUCTION)
        cn_buf_printf(b, NULL, " %s", reductions[a->reduction]);
    if (f & WINDOW)
        print_window(&a->conv, b);
    if (f & PAD && (pad[0] || pad[1] || pad[2] || pad[3]))
        cn_buf_printf(b, NULL, " pad=%d,%d,%d,%d", pad[0], pad[1], pad[2], pad[3]);
    if (f & GROUPS)
        cn_buf_printf(b, NULL, " groups=%d", a->groups);
    if (f & EPS)
        cn_buf_printf(b, NULL, " eps=%g", (double)a->eps);
    if (f & HEADS)
        cn_buf_printf(b, NULL, " heads=%d", a->heads);
    if (f & ALPHA && a->alpha != 1.0f)
        cn_buf_printf(b, NULL, " alpha=%g", (double)a->alpha);
    if (f & CAUSAL && a->causal)
        cn_buf_adds(b, " causal", NULL);
    if (f & AXIS)
        cn_buf_printf(b, NULL, " axis=%d", a->axis);
    if (f & AXES)
        cn_buf_printf(b, NULL, "+%d", a->axes);
    if (f & OFFSET && a->offset != 0)
        cn_buf_printf(b, NULL, " offset=%d", a->offset);
    if (f & LENGTH)
        cn_buf_printf(b, NULL, " length=%d", a->length);
    for (int i = 0; f & PERM && i < rank; i++)
        cn_buf_printf(b, NULL, i ? ",%d" : " perm=%d", a->perm[i]);
    if (f & TRANSPOSE && (a->transpose[0] || a->transpose[1]))
        cn_buf_printf(b, NULL, " transpose=%d,%d", a->transpose[0], a->transpose[1]);
    if (f & CORNERS && a->align_corners)
        cn_buf_adds(b, " align_corners", NULL);
    if (f & FACTOR)
        cn_buf_printf(b, NULL, " factor=%d", a->factor);
    if (f & TIME)
        cn_buf_printf(b, NULL, " %s shift=%d", a->cos_first ? "cos,sin" : "sin,cos", a->freq_shift);
    if (f & ADAPTS && a->adapts)
        cn_buf_adds(b, " adapts", NULL);
    if (f & ACT && a->act != CN_NONE)
        cn_buf_printf(b, NULL, " act=%s", activation_name(a->act));
    if (f & ACT && a->act == CN_LEAKY_RELU)
        cn_buf_printf(b, NULL, " slope=%g", (double)a->slope);
}

static void dump_node(const struct cn_graph *g, int i, struct cn_buf *b)
{
    const struct cn_node *n = &g->node[i];
    char shape[96];

    cn_buf_printf(b, NULL, "%%%d = %s", i, cn_op_name(n->op));
    for (int k = 0; k < cn_op_inputs(n->op); k++)
        if (n->in[k] >= 0)
            cn_buf_printf(b, NULL, " %%%d", n->in[k]);
    if (g->value[i].name != NULL)
        cn_buf_printf(b, NULL, " \"%s\"", g->value[i].name);
    print_fields(ops[n->op].fields, &n->attr, g->value[i].shape.rank, b);
    cn_buf_printf(b, NULL, " %s\n", cn_shape_text(&g->value[i].shape, shape, sizeof(shape)));
}

char *cn_graph_dump(const struct cn_graph *g)
{
    struct cn_buf b;
    size_t len;

    cn_buf_init(&b, 64u << 20);
    for (int i = 0; i < g->count; i++)
        dump_node(g, i, &b);
    for (int i = 0; i < g->n_outputs; i++)
        cn_buf_printf(&b, NULL, "output \"%s\" %%%d\n", g->output[i].name, g->output[i].val);
    return (char *)cn_buf_steal(&b, &len);
}
