/* The steps of a plan that are not oneDNN primitives. */
#include "base/base.h"
#include "backend/cpu/onednn_priv.h"

#include <stdio.h>
#include <string.h>

static float *scratch_of(const struct onednn_plan *p)
{
    return (float *)(p->arena->data + p->values_bytes);
}

static int64_t last_dim(const struct onednn_plan *p, cn_val v)
{
    const struct cn_shape *s = &p->g->value[v].shape;

    return s->dim[s->rank - 1];
}

static int64_t count_of(const struct onednn_plan *p, cn_val v)
{
    return cn_shape_elements(&p->g->value[v].shape);
}

static int run_group_norm(struct onednn_plan *p, struct onednn_step *s)
{
    struct cn_fmap d = onednn_fmap(p, s->out), x = onednn_fmap(p, s->node.in[0]);
    cn_val t = s->node.in[3];
    struct cn_cpu_norm norm = {
        .gamma = s->param[0]->plain,
        .beta = s->param[1]->plain,
        .t = t >= 0 ? onednn_address(p, t) + s->node.attr.offset : NULL,
        .t_stride = t >= 0 ? last_dim(p, t) : 0,
        .groups = s->node.attr.groups,
        .eps = s->node.attr.eps,
        .act = s->node.attr.act,
    };

    cn_cpu_group_norm(&d, &x, &norm, scratch_of(p));
    return CN_OK;
}

static int run_layer_norm(struct onednn_plan *p, struct onednn_step *s)
{
    int64_t d = last_dim(p, s->out);

    cn_cpu_layer_norm(onednn_address(p, s->out), onednn_address(p, s->node.in[0]),
                      s->param[0]->plain, s->param[1]->plain, count_of(p, s->out) / d, d,
                      s->node.attr.eps);
    return CN_OK;
}

/* Brings in[0] into the result's place and layout; returns its address. */
static float *bring(struct onednn_plan *p, struct onednn_step *s)
{
    float *dst = onednn_address(p, s->out), *src = onednn_address(p, s->node.in[0]);

    if (p->g->value[s->out].shape.rank == 4) {
        struct cn_fmap d = onednn_fmap(p, s->out), x = onednn_fmap(p, s->node.in[0]);

        if (d.b == x.b)
            return src;
        cn_cpu_copy(&d, &x);
        return dst;
    }
    return src;
}

static int run_act(struct onednn_plan *p, struct onednn_step *s)
{
    cn_cpu_act(onednn_address(p, s->out), bring(p, s), count_of(p, s->out), s->node.attr.act);
    return CN_OK;
}

static int run_scale(struct onednn_plan *p, struct onednn_step *s)
{
    cn_cpu_scale(onednn_address(p, s->out), bring(p, s), count_of(p, s->out), s->node.attr.alpha);
    return CN_OK;
}

static int run_geglu(struct onednn_plan *p, struct onednn_step *s)
{
    int64_t d = last_dim(p, s->out);

    cn_cpu_geglu(onednn_address(p, s->out), onednn_address(p, s->node.in[0]),
                 count_of(p, s->out) / d, d);
    return CN_OK;
}

/* Tokens and vectors as a feature map of one pixel, so that one kernel adds everything. */
static struct cn_fmap any_fmap(const struct onednn_plan *p, cn_val v)
{
    const struct cn_shape *s = &p->g->value[v].shape;

    if (s->rank == 4)
        return onednn_fmap(p, v);
    return (struct cn_fmap){onednn_address(p, v), s->dim[0], cn_shape_elements(s) / s->dim[0], 1, 1,
                            1};
}

static int run_add(struct onednn_plan *p, struct onednn_step *s)
{
    struct cn_fmap d = any_fmap(p, s->out), x = any_fmap(p, s->node.in[0]);
    struct cn_fmap y = any_fmap(p, s->node.in[1]);

    cn_cpu_add(&d, &x, &y);
    return CN_OK;
}

static int run_add_rows(struct onednn_plan *p, struct onednn_step *s)
{
    struct cn_fmap d = any_fmap(p, s->out), x = any_fmap(p, s->node.in[0]);
    struct cn_fmap y = any_fmap(p, s->node.in[1]);

    cn_cpu_add_rows(&d, &x, &y, onednn_address(p, s->node.in[2]) + s->node.attr.offset,
                    last_dim(p, s->node.in[2]));
    return CN_OK;
}

static int run_add_channel(struct onednn_plan *p, struct onednn_step *s)
{
    struct cn_fmap d = onednn_fmap(p, s->out), x = onednn_fmap(p, s->node.in[0]);

    cn_cpu_add_channel(&d, &x, onednn_address(p, s->node.in[1]) + s->node.attr.offset,
                       last_dim(p, s->node.in[1]));
    return CN_OK;
}

static struct cn_cpu_attention attention_of(const struct onednn_plan *p,
                                            const struct onednn_step *s)
{
    const struct cn_shape *q = &p->g->value[s->node.in[0]].shape;

    return (struct cn_cpu_attention){
        .n = q->dim[0],
        .s = q->dim[1],
        .t = p->g->value[s->node.in[1]].shape.dim[1],
        .d = q->dim[2],
        .heads = s->node.attr.heads,
        .scale = s->node.attr.alpha,
        .causal = s->node.attr.causal,
    };
}

static int run_attention(struct onednn_plan *p, struct onednn_step *s)
{
    struct cn_cpu_attention a = attention_of(p, s);

    cn_cpu_attend(onednn_address(p, s->out), onednn_address(p, s->node.in[0]),
                  onednn_address(p, s->node.in[1]), onednn_address(p, s->node.in[2]), &a,
                  scratch_of(p));
    return CN_OK;
}

static int run_upsample(struct onednn_plan *p, struct onednn_step *s)
{
    struct cn_fmap d = onednn_fmap(p, s->out), x = onednn_fmap(p, s->node.in[0]);

    cn_cpu_upsample(&d, &x);
    return CN_OK;
}

/* Rows of different lengths side by side; for feature maps, channels. */
static int run_concat(struct onednn_plan *p, struct onednn_step *s)
{
    int64_t n = p->g->value[s->out].shape.dim[0];
    int64_t a = count_of(p, s->node.in[0]) / n, b = count_of(p, s->node.in[1]) / n;
    float *d = onednn_address(p, s->out);

    if (p->g->value[s->out].shape.rank == 4) {
        struct cn_fmap dm = onednn_fmap(p, s->out), x = onednn_fmap(p, s->node.in[0]);
        struct cn_fmap y = onednn_fmap(p, s->node.in[1]);

        cn_cpu_concat(&dm, &x, &y);
        return CN_OK;
    }
    for (int64_t i = 0; i < n; i++) {
        memcpy(d + i * (a + b), onednn_address(p, s->node.in[0]) + i * a, (size_t)a * sizeof(*d));
        memcpy(d + i * (a + b) + a, onednn_address(p, s->node.in[1]) + i * b,
               (size_t)b * sizeof(*d));
    }
    return CN_OK;
}

/* Tokens are the feature map in NHWC. */
static struct cn_fmap as_tokens(const struct onednn_plan *p, cn_val tokens, cn_val map)
{
    struct cn_fmap m = onednn_fmap(p, map);

    m.data = onednn_address(p, tokens);
    m.b = m.c;
    return m;
}

static int run_to_tokens(struct onednn_plan *p, struct onednn_step *s)
{
    struct cn_fmap x = onednn_fmap(p, s->node.in[0]), d = as_tokens(p, s->out, s->node.in[0]);

    cn_cpu_copy(&d, &x); /* nothing, when the plan gave both one place */
    return CN_OK;
}

static int run_from_tokens(struct onednn_plan *p, struct onednn_step *s)
{
    struct cn_fmap d = onednn_fmap(p, s->out), x = as_tokens(p, s->node.in[0], s->out);

    cn_cpu_copy(&d, &x);
    return CN_OK;
}

static int run_embed(struct onednn_plan *p, struct onednn_step *s)
{
    const int32_t *ids = (const int32_t *)onednn_address(p, s->node.in[0]);
    const struct cn_param_data *table = &s->param[0]->raw;
    int64_t tokens = count_of(p, s->node.in[0]), d = last_dim(p, s->out);
    int64_t len = last_dim(p, s->node.in[0]), vocab = p->g->value[s->node.in[1]].shape.dim[0];
    size_t row = (size_t)d * cn_dtype_size(table->dtype);
    float *out = onednn_address(p, s->out);

    for (int64_t i = 0; i < tokens; i++) {
        const float *pos = s->param[1]->plain + (i % len) * d;

        if (ids[i] < 0 || ids[i] >= vocab)
            return CN_EINVAL;
        cn_to_f32(out + i * d, (const unsigned char *)table->data + (size_t)ids[i] * row,
                  table->dtype, (size_t)d);
        for (int64_t k = 0; k < d; k++)
            out[i * d + k] += pos[k];
    }
    return CN_OK;
}

static int run_timestep(struct onednn_plan *p, struct onednn_step *s)
{
    cn_cpu_timestep(onednn_address(p, s->out), onednn_address(p, s->node.in[0]),
                    count_of(p, s->node.in[0]), last_dim(p, s->out), s->node.attr.cos_first,
                    s->node.attr.freq_shift);
    return CN_OK;
}

static int run_pool(struct onednn_plan *p, struct onednn_step *s)
{
    struct cn_fmap d = onednn_fmap(p, s->out), x = onednn_fmap(p, s->node.in[0]);

    cn_cpu_pool_hw(&d, &x);
    return CN_OK;
}

static const onednn_run_fn run_table[CN_OP_COUNT] = {
    [CN_OP_GROUP_NORM] = run_group_norm,   [CN_OP_LAYER_NORM] = run_layer_norm,
    [CN_OP_ACT] = run_act,                 [CN_OP_GEGLU] = run_geglu,
    [CN_OP_ADD] = run_add,                 [CN_OP_ADD_CHANNEL] = run_add_channel,
    [CN_OP_ADD_ROWS] = run_add_rows,       [CN_OP_SCALE] = run_scale,
    [CN_OP_ATTENTION] = run_attention,     [CN_OP_UPSAMPLE] = run_upsample,
    [CN_OP_CONCAT] = run_concat,           [CN_OP_TO_TOKENS] = run_to_tokens,
    [CN_OP_FROM_TOKENS] = run_from_tokens, [CN_OP_EMBED] = run_embed,
    [CN_OP_TIMESTEP] = run_timestep,       [CN_OP_POOL_HW] = run_pool,
};

int onednn_op_init(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err)
{
    const struct cn_node *n = &s->node;
    int rc = CN_OK;

    s->run = run_table[s->op];
    CN_ASSERT(s->run != NULL);
    snprintf(s->label, sizeof(s->label), "%s", cn_op_name(s->op));
    if (s->op == CN_OP_GROUP_NORM || s->op == CN_OP_LAYER_NORM) {
        rc = onednn_param_plain(p->weights, p->g, n->in[1], &s->param[0], err);
        if (rc == CN_OK)
            rc = onednn_param_plain(p->weights, p->g, n->in[2], &s->param[1], err);
    } else if (s->op == CN_OP_EMBED) {
        rc = onednn_param_raw(p->weights, p->g, n->in[1], &s->param[0], err);
        if (rc == CN_OK)
            rc = onednn_param_plain(p->weights, p->g, n->in[2], &s->param[1], err);
    }
    if (s->op == CN_OP_GROUP_NORM) {
        const struct cn_shape *x = &p->g->value[s->out].shape;

        s->scratch_bytes = (size_t)(4 * x->dim[0] * x->dim[1]) * sizeof(float);
    } else if (s->op == CN_OP_ATTENTION) {
        struct cn_cpu_attention a = attention_of(p, s);

        s->scratch_bytes = cn_cpu_attention_scratch(&a) * sizeof(float);
    }
    return rc;
}
