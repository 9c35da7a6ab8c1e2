/* From graph nodes to kernels/ref. */
#include "base/base.h"
#include "backend/cpu/reference_priv.h"
#include "kernels/ref/cnk_ref.h"

/* One node with its data. */
struct step {
    const struct cn_attr *a;
    const struct cn_shape *s[CN_MAX_IN]; /* shapes of the inputs */
    const struct cn_shape *o;            /* shape of the result */
    const float *in[CN_MAX_IN];
    const int32_t *ids; /* EMBED: the first input */
    float *out;
    int bad_ids; /* EMBED: how many are outside the table */
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

static void conv2d(struct step *t)
{
    const struct cn_conv *c = &t->a->conv;
    struct cnk_conv2d a = {.n = dim(t->s[0], 0),
                           .ci = dim(t->s[0], 1),
                           .h = dim(t->s[0], 2),
                           .w = dim(t->s[0], 3),
                           .co = c->out,
                           .oh = dim(t->o, 2),
                           .ow = dim(t->o, 3),
                           .k = c->k,
                           .stride = c->stride,
                           .top = c->pad[0],
                           .left = c->pad[1],
                           .act = t->a->act};

    cnk_ref_conv2d(t->out, t->in[0], t->in[1], t->in[2], t->in[3], &a);
}

static void linear(struct step *t)
{
    struct cnk_linear a = {.rows = product(t->o, 0, 1),
                           .k = dim(t->s[0], t->s[0]->rank - 1),
                           .out = dim(t->o, t->o->rank - 1),
                           .act = t->a->act};

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
                               .act = t->a->act};

    cnk_ref_group_norm(t->out, t->in[0], t->in[1], t->in[2], t->in[3], &a);
}

static void layer_norm(struct step *t)
{
    struct cnk_layer_norm a = {
        .rows = product(t->o, 0, 1), .d = dim(t->o, t->o->rank - 1), .eps = t->a->eps};

    cnk_ref_layer_norm(t->out, t->in[0], t->in[1], t->in[2], &a);
}

static size_t count(const struct step *t)
{
    return (size_t)cn_shape_elements(t->o);
}

static void act(struct step *t)
{
    cnk_ref_act(t->out, t->in[0], count(t), t->a->act);
}

static void geglu(struct step *t)
{
    cnk_ref_geglu(t->out, t->in[0], product(t->o, 0, 1), dim(t->o, t->o->rank - 1));
}

static void add(struct step *t)
{
    cnk_ref_add(t->out, t->in[0], t->in[1], count(t));
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
                             .row = count(t) / (size_t)t->o->dim[0],
                             .w_width = dim(t->s[2], 1),
                             .w_offset = t->a->offset};

    cnk_ref_add_rows(t->out, t->in[0], t->in[1], t->in[2], &a);
}

static void scale(struct step *t)
{
    cnk_ref_scale(t->out, t->in[0], count(t), t->a->alpha);
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
    struct cnk_concat a = {.n = dim(t->o, 0),
                           .cx = dim(t->s[0], 1),
                           .cz = dim(t->s[1], 1),
                           .inner = (size_t)product(t->o, 2, 0)};

    cnk_ref_concat(t->out, t->in[0], t->in[1], &a);
}

static void to_tokens(struct step *t)
{
    cnk_ref_to_tokens(t->out, t->in[0], dim(t->o, 0), dim(t->o, 2), dim(t->o, 1));
}

static void from_tokens(struct step *t)
{
    cnk_ref_from_tokens(t->out, t->in[0], dim(t->o, 0), dim(t->o, 1), product(t->o, 2, 0));
}

static void embed(struct step *t)
{
    struct cnk_embed a = {.n = dim(t->o, 0),
                          .s = dim(t->o, 1),
                          .d = dim(t->o, 2),
                          .vocab = dim(t->s[1], 0)};

    t->bad_ids = cnk_ref_embed(t->out, t->ids, t->in[1], t->in[2], &a);
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
    [CN_OP_CONV2D] = conv2d,         [CN_OP_LINEAR] = linear,
    [CN_OP_GROUP_NORM] = group_norm, [CN_OP_LAYER_NORM] = layer_norm,
    [CN_OP_ACT] = act,               [CN_OP_GEGLU] = geglu,
    [CN_OP_ADD] = add,               [CN_OP_ADD_CHANNEL] = add_channel,
    [CN_OP_ADD_ROWS] = add_rows,     [CN_OP_SCALE] = scale,
    [CN_OP_ATTENTION] = attention,   [CN_OP_UPSAMPLE] = upsample,
    [CN_OP_CONCAT] = concat,         [CN_OP_TO_TOKENS] = to_tokens,
    [CN_OP_FROM_TOKENS] = from_tokens, [CN_OP_EMBED] = embed,
    [CN_OP_TIMESTEP] = timestep,     [CN_OP_POOL_HW] = pool_hw,
};

int cn_reference_step(const struct cn_graph *g, int i, const void *const *in, float *out,
                      struct cn_err *err)
{
    const struct cn_node *n = &g->node[i];
    struct step t = {.a = &n->attr, .o = &g->value[i].shape, .out = out};

    CN_ASSERT(steps[n->op] != NULL);
    if (n->op == CN_OP_EMBED)
        t.ids = in[0];
    for (int k = 0; k < CN_MAX_IN; k++)
        if (n->in[k] >= 0) {
            t.s[k] = &g->value[n->in[k]].shape;
            t.in[k] = in[k];
        }
    steps[n->op](&t);
    if (t.bad_ids > 0)
        return cn_fail(err, CN_EINVAL, "%d token ids are outside the table of %d", t.bad_ids,
                       dim(t.s[1], 0));
    return CN_OK;
}
