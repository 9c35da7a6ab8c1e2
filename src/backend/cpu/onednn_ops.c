/* The steps of a plan that are not oneDNN primitives: kernels of kernels.h, and for operations that
 * no network of ours spends time in the plain ones of kernels/ref. */
#include "base/base.h"
#include "backend/cpu/onednn_priv.h"
#include "backend/cpu/reference_priv.h"

#include <stdio.h>
#include <string.h>

static float *scratch_of(const struct onednn_plan *p)
{
    return (float *)(void *)onednn_scratch(p);
}

/* Parameter number k of the step, which is its input in[k + 1]: constant, or what a buffer holds;
 * NULL: absent. */
static const float *param_of(const struct onednn_plan *p, const struct onednn_step *s, int k)
{
    cn_val v = s->node.in[k + 1];

    if (v < 0)
        return NULL;
    return s->param[k] != NULL ? s->param[k]->plain : onednn_address(p, v);
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
        .gamma = param_of(p, s, 0),
        .beta = param_of(p, s, 1),
        .t = t >= 0 ? onednn_address(p, t) + s->node.attr.offset : NULL,
        .t_stride = t >= 0 ? last_dim(p, t) : 0,
        .groups = s->node.attr.groups,
        .eps = s->node.attr.eps,
        .act = s->node.attr.act,
        .slope = s->node.attr.slope,
    };

    cn_cpu_group_norm(&d, &x, &norm, scratch_of(p));
    return CN_OK;
}

static int run_layer_norm(struct onednn_plan *p, struct onednn_step *s)
{
    int64_t d = last_dim(p, s->out);

    cn_cpu_layer_norm(onednn_address(p, s->out), onednn_address(p, s->node.in[0]),
                      param_of(p, s, 0), param_of(p, s, 1), count_of(p, s->out) / d, d,
                      s->node.attr.eps);
    return CN_OK;
}

/* in[0] in the layout of the result, there where it differs; returns its address. */
static float *to_layout(struct onednn_plan *p, struct onednn_step *s)
{
    float *dst = onednn_address(p, s->out), *src = onednn_address(p, s->node.in[0]);

    if (p->g->value[s->out].shape.rank == 4) {
        struct cn_fmap d = onednn_fmap(p, s->out), x = onednn_fmap(p, s->node.in[0]);

        if (d.block == x.block)
            return src;
        cn_cpu_copy(&d, &x);
        return dst;
    }
    return src;
}

static int run_act(struct onednn_plan *p, struct onednn_step *s)
{
    cn_cpu_act(onednn_address(p, s->out), to_layout(p, s), count_of(p, s->out), &s->node.attr);
    return CN_OK;
}

static int run_scale(struct onednn_plan *p, struct onednn_step *s)
{
    cn_cpu_scale(onednn_address(p, s->out), to_layout(p, s), count_of(p, s->out),
                 s->node.attr.alpha);
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
    return (struct cn_fmap){
        onednn_address(p, v), s->dim[0], cn_shape_elements(s) / s->dim[0], 1, 1, 1};
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

    return cn_cpu_attend(onednn_address(p, s->out), onednn_address(p, s->node.in[0]),
                         onednn_address(p, s->node.in[1]), onednn_address(p, s->node.in[2]), &a,
                         scratch_of(p));
}

static int run_upsample(struct onednn_plan *p, struct onednn_step *s)
{
    struct cn_fmap d = onednn_fmap(p, s->out), x = onednn_fmap(p, s->node.in[0]);

    cn_cpu_upsample(&d, &x);
    return CN_OK;
}

/* Channels of feature maps; for anything else, rows of different lengths side by side. */
static int run_concat(struct onednn_plan *p, struct onednn_step *s)
{
    const struct cn_shape *out = &p->g->value[s->out].shape;
    int axis = s->node.attr.axis;
    int64_t outer = 1, whole, at = 0;

    for (int i = 0; i < axis; i++)
        outer *= out->dim[i];
    whole = count_of(p, s->out) / outer;
    for (int k = 0; k < CN_MAX_IN && s->node.in[k] >= 0; k++) {
        cn_val v = s->node.in[k];
        int64_t width = count_of(p, v) / outer;

        if (out->rank == 4) {
            struct cn_fmap d = onednn_fmap(p, s->out), x = onednn_fmap(p, v);

            cn_cpu_concat(&d, at, &x);
            at += x.c;
            continue;
        }
        for (int64_t i = 0; i < outer; i++)
            memcpy(onednn_address(p, s->out) + i * whole + at, onednn_address(p, v) + i * width,
                   (size_t)width * sizeof(float));
        at += width;
    }
    return CN_OK;
}

/* Tokens are the feature map in NHWC. */
static struct cn_fmap as_tokens(const struct onednn_plan *p, cn_val tokens, cn_val map)
{
    struct cn_fmap m = onednn_fmap(p, map);

    m.data = onednn_address(p, tokens);
    m.block = m.c;
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

/* ---- what kernels/ref does, on values in the logical layout ---- */

/* Whether v lies in another layout than the logical one. */
static bool is_blocked(const struct onednn_plan *p, cn_val v)
{
    return p->g->node[v].op != CN_OP_PARAM && p->g->value[v].shape.rank == 4 &&
           p->place[v].block != 1;
}

static size_t copy_bytes(const struct onednn_plan *p, cn_val v)
{
    return v >= 0 && is_blocked(p, v) ? onednn_align((size_t)count_of(p, v) * sizeof(float)) : 0;
}

/* What lies in another layout is copied, there and back. */
static int run_plain(struct onednn_plan *p, struct onednn_step *s)
{
    unsigned char *at = onednn_scratch(p);
    const void *data[CN_MAX_IN] = {NULL};
    float *out = onednn_address(p, s->out);
    int rc;

    for (int k = 0; k < CN_MAX_IN; k++) {
        cn_val v = s->node.in[k];

        if (v < 0)
            continue;
        if (p->g->node[v].op == CN_OP_PARAM) {
            data[k] = s->param[k - 1]->plain;
        } else if (is_blocked(p, v)) {
            struct cn_fmap x = onednn_fmap(p, v), copy = x;

            copy.data = (float *)(void *)at;
            copy.block = 1;
            cn_cpu_copy(&copy, &x);
            data[k] = at;
            at += copy_bytes(p, v);
        } else {
            data[k] = onednn_address(p, v);
        }
    }
    if (is_blocked(p, s->out))
        out = (float *)(void *)at;
    rc = cn_reference_step(p->g, s->out, data, out, NULL);
    if (rc == CN_OK && is_blocked(p, s->out)) {
        struct cn_fmap to = onednn_fmap(p, s->out), copy = to;

        copy.data = out;
        copy.block = 1;
        cn_cpu_copy(&to, &copy);
    }
    return rc;
}

static const onednn_run_fn run_table[CN_OP_COUNT] = {
    [CN_OP_GROUP_NORM] = run_group_norm,
    [CN_OP_LAYER_NORM] = run_layer_norm,
    [CN_OP_ACT] = run_act,
    [CN_OP_GEGLU] = run_geglu,
    [CN_OP_ADD] = run_add,
    [CN_OP_ADD_CHANNEL] = run_add_channel,
    [CN_OP_ADD_ROWS] = run_add_rows,
    [CN_OP_SCALE] = run_scale,
    [CN_OP_ATTENTION] = run_attention,
    [CN_OP_UPSAMPLE] = run_upsample,
    [CN_OP_CONCAT] = run_concat,
    [CN_OP_TO_TOKENS] = run_to_tokens,
    [CN_OP_FROM_TOKENS] = run_from_tokens,
    [CN_OP_TIMESTEP] = run_timestep,
    [CN_OP_POOL_HW] = run_pool,
};

/* Fetches the constant ones of in[1] and following, row-major. */
static int fetch_params(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err)
{
    int rc = CN_OK;

    for (int k = 1; k < CN_MAX_IN && rc == CN_OK; k++) {
        cn_val v = s->node.in[k];

        if (v < 0 || p->g->node[v].op != CN_OP_PARAM)
            continue;
        CN_ASSERT(k - 1 < (int)CN_LEN(s->param));
        rc = onednn_param_plain(p->weights, p->g, v, &s->param[k - 1], err);
    }
    return rc;
}

int onednn_op_init(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err)
{
    bool plain = onednn_is_plain(&s->node) || run_table[s->op] == NULL;

    if (s->op == CN_OP_POOL || s->op == CN_OP_RESIZE || s->op == CN_OP_MATMUL ||
        s->op == CN_OP_CONV_TRANSPOSE) {
        int rc = onednn_values_init(p, s, err);

        snprintf(s->label, sizeof(s->label), "%s", cn_op_name(s->op));
        if (rc != CN_ENOTFOUND)
            return rc;
    }
    s->run = plain ? run_plain : run_table[s->op];
    snprintf(s->label, sizeof(s->label), "%s", cn_op_name(s->op));
    for (int k = 0; k < CN_MAX_IN && plain; k++)
        s->scratch_bytes += copy_bytes(p, s->node.in[k]);
    if (plain)
        s->scratch_bytes += copy_bytes(p, s->out);
    if (s->op == CN_OP_GROUP_NORM) {
        const struct cn_shape *x = &p->g->value[s->out].shape;

        s->scratch_bytes = (size_t)(4 * x->dim[0] * x->dim[1]) * sizeof(float);
    } else if (s->op == CN_OP_ATTENTION) {
        struct cn_cpu_attention a = attention_of(p, s);

        s->scratch_bytes = cn_cpu_attention_scratch(&a) * sizeof(float);
    }
    return fetch_params(p, s, err);
}
