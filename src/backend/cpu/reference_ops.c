/* From graph nodes to kernels/ref. */
#include "base/base.h"
#include "backend/cpu/reference_priv.h"
#include "backend/cpu/cpu_factors.h"
#include "base/mem.h"
#include "kernels/ref/cnk_ref.h"

#include <stdlib.h>
#include <string.h>

/* One node with its data. */
struct step {
    const struct cn_attr *a;
    const struct cn_shape *s[CN_MAX_IN]; /* shapes of the inputs */
    const struct cn_shape *o;            /* shape of the result */
    const float *in[CN_MAX_IN];
    const int32_t *ids; /* GATHER: the input that holds numbers of rows */
    float *out;
    int bad_ids; /* how many of them are outside the table */
};

typedef void (*step_fn)(struct step *t);

static int dim(const struct cn_shape *s, int i)
{
    return (int)s->dim[i];
}

/* Product of the dimensions from first to last but `but`. */
static int product(const struct cn_shape *s, int first, int but)
{
    int64_t n = 1;

    for (int i = first; i < s->rank - but; i++)
        n *= s->dim[i];
    return (int)n;
}

static struct cnk_window window_of(const struct cn_conv *c)
{
    return (struct cnk_window){.k = {c->k, c->k_w},
                               .step = {c->stride, c->stride_w},
                               .spread = {c->dilation, c->dilation_w},
                               .top = c->pad[0],
                               .left = c->pad[1]};
}

static struct cnk_conv2d conv_of(const struct step *t)
{
    return (struct cnk_conv2d){.n = dim(t->s[0], 0),
                               .ci = dim(t->s[0], 1),
                               .h = dim(t->s[0], 2),
                               .w = dim(t->s[0], 3),
                               .co = dim(t->o, 1),
                               .oh = dim(t->o, 2),
                               .ow = dim(t->o, 3),
                               .groups = t->a->conv.groups,
                               .window = window_of(&t->a->conv),
                               .act = t->a->act,
                               .slope = t->a->slope};
}

static void conv2d(struct step *t)
{
    struct cnk_conv2d a = conv_of(t);

    cnk_ref_conv2d(t->out, t->in[0], t->in[1], t->in[2], t->in[3], &a);
}

static void conv_transpose(struct step *t)
{
    struct cnk_conv2d a = conv_of(t);

    cnk_ref_conv_transpose(t->out, t->in[0], t->in[1], t->in[2], &a);
}

static void linear(struct step *t)
{
    struct cnk_linear a = {.rows = product(t->o, 0, 1),
                           .k = dim(t->s[0], t->s[0]->rank - 1),
                           .out = dim(t->o, t->o->rank - 1),
                           .act = t->a->act,
                           .slope = t->a->slope};

    cnk_ref_linear(t->out, t->in[0], t->in[1], t->in[2], t->in[3], &a);
}

static void group_norm(struct step *t)
{
    struct cnk_group_norm a = {.n = dim(t->o, 0),
                               .c = dim(t->o, 1),
                               .hw = product(t->o, 2, 0),
                               .groups = t->a->groups,
                               .eps = t->a->eps,
                               .t_width = t->in[3] != NULL ? dim(t->s[3], 1) : 0,
                               .t_offset = t->a->offset,
                               .act = t->a->act,
                               .slope = t->a->slope};

    cnk_ref_group_norm(t->out, t->in[0], t->in[1], t->in[2], t->in[3], &a);
}

static void layer_norm(struct step *t)
{
    struct cnk_layer_norm a = {
        .rows = product(t->o, 0, 1), .d = dim(t->o, t->o->rank - 1), .eps = t->a->eps};

    cnk_ref_layer_norm(t->out, t->in[0], t->in[1], t->in[2], &a);
}

static size_t elements_of(const struct step *t)
{
    return (size_t)cn_shape_elements(t->o);
}

static void act(struct step *t)
{
    cnk_ref_act(t->out, t->in[0], elements_of(t), t->a->act, t->a->slope);
}

static void geglu(struct step *t)
{
    cnk_ref_geglu(t->out, t->in[0], product(t->o, 0, 1), dim(t->o, t->o->rank - 1));
}

static void add_values(struct step *t)
{
    cnk_ref_add(t->out, t->in[0], t->in[1], elements_of(t));
}

static void add_channel(struct step *t)
{
    struct cnk_add_channel a = {.n = dim(t->o, 0),
                                .c = dim(t->o, 1),
                                .hw = product(t->o, 2, 0),
                                .t_width = dim(t->s[1], 1),
                                .t_offset = t->a->offset};

    cnk_ref_add_channel(t->out, t->in[0], t->in[1], &a);
}

static void add_rows(struct step *t)
{
    struct cnk_add_rows a = {.n = dim(t->o, 0),
                             .row = elements_of(t) / (size_t)t->o->dim[0],
                             .w_width = dim(t->s[2], 1),
                             .w_offset = t->a->offset};

    cnk_ref_add_rows(t->out, t->in[0], t->in[1], t->in[2], &a);
}

static void scale(struct step *t)
{
    cnk_ref_scale(t->out, t->in[0], elements_of(t), t->a->alpha);
}

static void attention(struct step *t)
{
    struct cnk_attention a = {.n = dim(t->o, 0),
                              .s = dim(t->o, 1),
                              .t = dim(t->s[1], 1),
                              .d = dim(t->o, 2),
                              .heads = t->a->heads,
                              .scale = t->a->alpha,
                              .causal = t->a->causal};

    cnk_ref_attention(t->out, t->in[0], t->in[1], t->in[2], &a);
}

static void upsample(struct step *t)
{
    struct cnk_upsample a = {.planes = product(t->o, 0, 2),
                             .h = dim(t->s[0], 2),
                             .w = dim(t->s[0], 3),
                             .oh = dim(t->o, 2),
                             .ow = dim(t->o, 3)};

    cnk_ref_upsample(t->out, t->in[0], &a);
}

static void concat(struct step *t)
{
    size_t inner = (size_t)product(t->o, t->a->axis + 1, 0);
    struct cnk_concat a = {.outer = 1, .whole = (size_t)t->o->dim[t->a->axis] * inner};

    for (int i = 0; i < t->a->axis; i++)
        a.outer *= (size_t)t->o->dim[i];
    for (int k = 0; k < CN_MAX_IN && t->s[k] != NULL; k++) {
        a.width = (size_t)t->s[k]->dim[t->a->axis] * inner;
        cnk_ref_concat(t->out, t->in[k], &a);
        a.at += a.width;
    }
}

static void mul(struct step *t)
{
    cnk_ref_mul(t->out, t->in[0], t->in[1], elements_of(t));
}

static void matmul(struct step *t)
{
    int r = t->o->rank;
    struct cnk_matmul a = {.batch = 1,
                           .m = t->o->dim[r - 2],
                           .k = t->s[0]->dim[t->a->transpose[0] ? r - 2 : r - 1],
                           .n = t->o->dim[r - 1],
                           .transpose_x = t->a->transpose[0],
                           .transpose_z = t->a->transpose[1],
                           .shared = t->s[1]->rank < r,
                           .alpha = t->a->alpha};

    for (int i = 0; i < r - 2; i++)
        a.batch *= t->o->dim[i];
    cnk_ref_matmul(t->out, t->in[0], t->in[1], &a);
}

static void reshape(struct step *t)
{
    memcpy(t->out, t->in[0], elements_of(t) * sizeof(float));
}

/* Distance in memory of neighbours along dimension i. */
static int64_t stride(const struct cn_shape *s, int i)
{
    return product(s, i + 1, 0);
}

static struct cnk_strided strided_of(void)
{
    struct cnk_strided a = {.offset = 0};

    for (int i = 0; i < CNK_STRIDED; i++)
        a.dim[i] = 1;
    return a;
}

static void permute(struct step *t)
{
    struct cnk_strided a = strided_of();

    for (int i = 0; i < t->o->rank; i++) {
        a.dim[i] = t->o->dim[i];
        a.stride[i] = stride(t->s[0], t->a->perm[i]);
    }
    cnk_ref_strided(t->out, t->in[0], &a);
}

static void slice(struct step *t)
{
    struct cnk_strided a = strided_of();

    for (int i = 0; i < t->o->rank; i++) {
        a.dim[i] = t->o->dim[i];
        a.stride[i] = stride(t->s[0], i);
    }
    a.offset = t->a->offset * a.stride[t->a->axis];
    cnk_ref_strided(t->out, t->in[0], &a);
}

/* [n,c,h r,w r] -> [n,c,r,r,h,w], and back with the other order of loops. */
static void unshuffle(struct step *t)
{
    int64_t r = t->a->factor, w = t->s[0]->dim[3], plane = t->s[0]->dim[2] * w;
    struct cnk_strided a = {
        .dim = {t->o->dim[0], t->s[0]->dim[1], r, r, t->o->dim[2], t->o->dim[3]},
        .stride = {t->s[0]->dim[1] * plane, plane, w, 1, r * w, r}};

    cnk_ref_strided(t->out, t->in[0], &a);
}

static void shuffle(struct step *t)
{
    int64_t r = t->a->factor, w = t->s[0]->dim[3], plane = t->s[0]->dim[2] * w;
    struct cnk_strided a = {
        .dim = {t->o->dim[0], t->o->dim[1], t->s[0]->dim[2], r, w, r},
        .stride = {t->s[0]->dim[1] * plane, r * r * plane, w, r * plane, 1, plane}};

    cnk_ref_strided(t->out, t->in[0], &a);
}

static void gather(struct step *t)
{
    struct cnk_gather a = {
        .n = dim(t->o, 0), .s = dim(t->s[0], 1), .t = dim(t->o, 1), .d = dim(t->o, 2)};

    t->bad_ids = cnk_ref_gather(t->out, t->in[0], t->ids, &a);
}

static void reduce(struct step *t)
{
    static const enum cnk_reduction kind[] = {
        [CN_SUM] = CNK_SUM, [CN_MEAN] = CNK_MEAN, [CN_MAX_OF] = CNK_MAX};
    const struct cn_shape *x = t->s[0];
    struct cnk_reduce a = {.outer = 1, .count = 1, .kind = kind[t->a->reduction]};

    for (int i = 0; i < t->a->axis; i++)
        a.outer *= x->dim[i];
    for (int i = 0; i < t->a->axes; i++)
        a.count *= x->dim[t->a->axis + i];
    a.inner = product(x, t->a->axis + t->a->axes, 0);
    cnk_ref_reduce(t->out, t->in[0], &a);
}

static void pool(struct step *t)
{
    struct cnk_pool a = {.planes = product(t->o, 0, 2),
                         .h = dim(t->s[0], 2),
                         .w = dim(t->s[0], 3),
                         .oh = dim(t->o, 2),
                         .ow = dim(t->o, 3),
                         .max = t->a->reduction == CN_MAX_OF,
                         .window = window_of(&t->a->conv)};

    cnk_ref_pool(t->out, t->in[0], &a);
}

static void resize(struct step *t)
{
    struct cnk_resize a = {.planes = product(t->o, 0, 2),
                           .h = dim(t->s[0], 2),
                           .w = dim(t->s[0], 3),
                           .oh = dim(t->o, 2),
                           .ow = dim(t->o, 3),
                           .align_corners = t->a->align_corners};

    cnk_ref_resize(t->out, t->in[0], &a);
}

static void pad_reflect(struct step *t)
{
    const int *pad = t->a->conv.pad;
    struct cnk_pad_reflect a = {.planes = product(t->o, 0, 2),
                                .h = dim(t->s[0], 2),
                                .w = dim(t->s[0], 3),
                                .top = pad[0],
                                .left = pad[1],
                                .bottom = pad[2],
                                .right = pad[3]};

    cnk_ref_pad_reflect(t->out, t->in[0], &a);
}

static void prelu(struct step *t)
{
    struct cnk_prelu a = {
        .n = dim(t->o, 0), .c = dim(t->o, 1), .p = product(t->o, 2, 0), .slopes = dim(t->s[1], 0)};

    cnk_ref_prelu(t->out, t->in[0], t->in[1], &a);
}

static void to_tokens(struct step *t)
{
    cnk_ref_to_tokens(t->out, t->in[0], dim(t->o, 0), dim(t->o, 2), dim(t->o, 1));
}

static void from_tokens(struct step *t)
{
    cnk_ref_from_tokens(t->out, t->in[0], dim(t->o, 0), dim(t->o, 1), product(t->o, 2, 0));
}

static void timestep(struct step *t)
{
    struct cnk_timestep a = {.n = dim(t->o, 0),
                             .dim = dim(t->o, 1),
                             .cos_first = t->a->cos_first,
                             .freq_shift = t->a->freq_shift};

    cnk_ref_timestep(t->out, t->in[0], &a);
}

static void pool_hw(struct step *t)
{
    cnk_ref_pool_hw(t->out, t->in[0], product(t->o, 0, 2), product(t->o, 2, 0));
}

static const step_fn steps[CN_OP_COUNT] = {
    [CN_OP_CONV2D] = conv2d,
    [CN_OP_LINEAR] = linear,
    [CN_OP_GROUP_NORM] = group_norm,
    [CN_OP_LAYER_NORM] = layer_norm,
    [CN_OP_ACT] = act,
    [CN_OP_GEGLU] = geglu,
    [CN_OP_ADD] = add_values,
    [CN_OP_ADD_CHANNEL] = add_channel,
    [CN_OP_ADD_ROWS] = add_rows,
    [CN_OP_SCALE] = scale,
    [CN_OP_ATTENTION] = attention,
    [CN_OP_UPSAMPLE] = upsample,
    [CN_OP_CONCAT] = concat,
    [CN_OP_TO_TOKENS] = to_tokens,
    [CN_OP_FROM_TOKENS] = from_tokens,
    [CN_OP_TIMESTEP] = timestep,
    [CN_OP_POOL_HW] = pool_hw,
    [CN_OP_MUL] = mul,
    [CN_OP_MATMUL] = matmul,
    [CN_OP_RESHAPE] = reshape,
    [CN_OP_PERMUTE] = permute,
    [CN_OP_SLICE] = slice,
    [CN_OP_GATHER] = gather,
    [CN_OP_REDUCE] = reduce,
    [CN_OP_POOL] = pool,
    [CN_OP_CONV_TRANSPOSE] = conv_transpose,
    [CN_OP_RESIZE] = resize,
    [CN_OP_PAD_REFLECT] = pad_reflect,
    [CN_OP_UNSHUFFLE] = unshuffle,
    [CN_OP_SHUFFLE] = shuffle,
    [CN_OP_PRELU] = prelu,
};

int cn_reference_step(const struct cn_graph *g, int i, const void *const *in, float *out,
                      struct cn_err *err)
{
    const struct cn_node *n = &g->node[i];
    struct step t = {.a = &n->attr, .o = &g->value[i].shape, .out = out};

    CN_ASSERT(steps[n->op] != NULL);
    for (int k = 0; k < CN_MAX_IN; k++) {
        if (n->in[k] < 0)
            continue;
        t.s[k] = &g->value[n->in[k]].shape;
        t.in[k] = in[k];
        if (g->value[n->in[k]].dtype == CN_I32)
            t.ids = in[k];
    }
    steps[n->op](&t);
    if (t.bad_ids > 0)
        return cn_fail(err, CN_EINVAL, "%d ids are outside the %d rows", t.bad_ids, dim(t.s[0], 1));
    return CN_OK;
}

/* The layer `down` alone: x -> t, of a's rows. */
static void run_down(const struct cn_graph *g, int i, const struct cpu_addition *a, const float *x,
                     float *t)
{
    const struct cn_node *n = &g->node[i];
    struct cn_shape in = g->value[n->in[0]].shape, out = g->value[i].shape;
    struct cn_attr attr = n->attr;
    struct step s = {.a = &attr, .s = {&in}, .o = &out, .in = {x, a->factor->down}, .out = t};

    attr.act = CN_NONE;
    in.dim[0] = out.dim[0] = a->rows;
    out.dim[n->op == CN_OP_CONV2D ? 1 : out.rank - 1] = a->factor->rank;
    if (n->op == CN_OP_CONV2D)
        conv2d(&s);
    else
        linear(&s);
}

int cn_reference_adapt(const struct cn_graph *g, int i, const struct cpu_addition *a,
                       const float *x, float *y, struct cn_err *err)
{
    const struct cn_shape *in = &g->value[g->node[i].in[0]].shape, *out = &g->value[i].shape;
    int64_t x_row = cn_shape_elements(in) / in->dim[0];
    int64_t y_row = cn_shape_elements(out) / out->dim[0];
    struct cnk_low_rank k = {.n = a->rows,
                             .positions = (int)(y_row / a->factor->out),
                             .rank = (int)a->factor->rank,
                             .out = (int)a->factor->out,
                             .tokens = g->node[i].op == CN_OP_LINEAR,
                             .strength = a->strength};
    size_t bytes = (size_t)(k.n * k.rank) * (size_t)k.positions * sizeof(float);
    float *t = cn_try_alloc(bytes);

    if (t == NULL)
        return cn_fail(err, CN_EDEVMEM, "no memory for %zu bytes of an adapter", bytes);
    run_down(g, i, a, x + a->row * x_row, t);
    cnk_ref_add_low_rank(y + a->row * y_row, t, a->factor->up, &k);
    free(t);
    return CN_OK;
}

void cn_reference_act(const struct cn_graph *g, int i, float *y)
{
    const struct cn_attr *a = &g->node[i].attr;

    cnk_ref_act(y, y, (size_t)cn_shape_elements(&g->value[i].shape), a->act, a->slope);
}
