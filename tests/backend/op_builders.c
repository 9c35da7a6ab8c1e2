/* One builder for each operation: tiny graphs that the rows of the op table name. */
#include "base/base.h"
#include "tests/backend/op_cases.h"

#include <math.h>

cn_val op_map_input(struct cn_graph *g, const char *name, const struct op_case *c)
{
    return cn_graph_input(g, name, cn_shape4(c->n, c->c, c->h, c->w), CN_F32, 0);
}

/* [n, s, width], or [n, width] when the case has no tokens. */
cn_val op_token_input(struct cn_graph *g, const char *name, const struct op_case *c, int width)
{
    struct cn_shape s = c->s > 0 ? cn_shape3(c->n, c->s, width) : cn_shape2(c->n, width);

    return cn_graph_input(g, name, s, CN_F32, 0);
}

/* A feature map when the case has channels, else tokens or vectors. */
static cn_val any_input(struct cn_graph *g, const char *name, const struct op_case *c)
{
    return c->c > 0 ? op_map_input(g, name, c) : op_token_input(g, name, c, c->d);
}

cn_val op_row_input(struct cn_graph *g, const char *name, const struct op_case *c)
{
    return cn_graph_input(g, name, cn_shape2(c->n, c->width), CN_F32, 0);
}

static cn_val activated(struct cn_graph *g, cn_val x, const struct op_case *c)
{
    if (c->act == CN_LEAKY_RELU)
        return cn_leaky_relu(g, x, c->alpha);
    return c->act != CN_NONE ? cn_act(g, x, c->act) : x;
}

/* x (+ residual) (activated), as the case says. */
static cn_val finish(struct cn_graph *g, cn_val x, const struct op_case *c)
{
    if (c->residual)
        x = cn_add(g, x, cn_graph_input(g, "r", *cn_shape_of(g, x), CN_F32, 0));
    return activated(g, x, c);
}

static struct cn_conv window_of(const struct op_case *c)
{
    struct cn_conv a = {.out = c->out,
                        .k = c->k,
                        .stride = CN_MAX(c->stride, 1),
                        .k_w = c->k_w,
                        .stride_w = c->stride_w,
                        .dilation = c->dilation,
                        .dilation_w = c->dilation_w,
                        .groups = c->groups};

    for (int i = 0; i < 4; i++)
        a.pad[i] = c->pad[i];
    return a;
}

cn_val op_conv2d(struct cn_graph *g, const struct op_case *c)
{
    struct cn_conv a = window_of(c);

    return finish(g, cn_conv2d(g, op_map_input(g, "x", c), "weight", c->bias ? "bias" : NULL, &a),
                  c);
}

cn_val op_linear(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = op_token_input(g, "x", c, c->d);

    return finish(g, cn_linear(g, x, "weight", c->bias ? "bias" : NULL, c->out), c);
}

cn_val op_group_norm(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = op_map_input(g, "x", c);

    if (c->width > 0)
        x = cn_add_channel(g, x, op_row_input(g, "t", c), c->offset);
    x = cn_group_norm(g, x, c->bias ? NULL : "gamma", c->bias ? NULL : "beta", c->groups, 1e-5f);
    return activated(g, x, c);
}

cn_val op_layer_norm(struct cn_graph *g, const struct op_case *c)
{
    return cn_layer_norm(g, op_token_input(g, "x", c, c->d), "gamma", "beta", 1e-5f);
}

cn_val op_act(struct cn_graph *g, const struct op_case *c)
{
    return activated(g, any_input(g, "x", c), c);
}

cn_val op_geglu(struct cn_graph *g, const struct op_case *c)
{
    return cn_geglu(g, op_token_input(g, "x", c, 2 * c->d));
}

cn_val op_add(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = any_input(g, "x", c);

    return cn_add(g, x, any_input(g, "y", c));
}

cn_val op_add_channel(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = op_map_input(g, "x", c);

    return cn_add_channel(g, x, op_row_input(g, "t", c), c->offset);
}

cn_val op_add_rows(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = any_input(g, "x", c), y = any_input(g, "y", c);

    return cn_add_rows(g, x, y, op_row_input(g, "w", c), c->offset);
}

cn_val op_scale(struct cn_graph *g, const struct op_case *c)
{
    return cn_scale(g, any_input(g, "x", c), c->alpha);
}

cn_val op_attention(struct cn_graph *g, const struct op_case *c)
{
    struct cn_shape keys = cn_shape3(c->n, c->t, c->d);
    cn_val q = op_token_input(g, "q", c, c->d), k = cn_graph_input(g, "k", keys, CN_F32, 0);
    cn_val v = cn_graph_input(g, "v", keys, CN_F32, 0);

    return cn_attention(g, q, k, v, c->heads, 1.0f / sqrtf((float)c->d / (float)c->heads),
                        c->causal);
}

cn_val op_upsample(struct cn_graph *g, const struct op_case *c)
{
    return cn_upsample(g, op_map_input(g, "x", c), c->s, c->t); /* to height s, width t */
}

/* x, and along the axis (1, when the case says none) y of width out; then, when there is a length,
 * z of that. */
cn_val op_concat(struct cn_graph *g, const struct op_case *c)
{
    cn_val in[3] = {any_input(g, "x", c)};
    struct cn_shape s = *cn_shape_of(g, in[0]);
    int axis = c->axis > 0 ? c->axis : 1;

    s.dim[axis] = c->out;
    in[1] = cn_graph_input(g, "y", s, CN_F32, 0);
    if (c->length == 0 && axis == 1)
        return cn_concat(g, in[0], in[1]);
    s.dim[axis] = CN_MAX(c->length, 1);
    in[2] = cn_graph_input(g, "z", s, CN_F32, 0);
    return cn_concat_n(g, in, c->length > 0 ? 3 : 2, axis);
}

cn_val op_to_tokens(struct cn_graph *g, const struct op_case *c)
{
    return cn_to_tokens(g, op_map_input(g, "x", c));
}

cn_val op_from_tokens(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = cn_graph_input(g, "x", cn_shape3(c->n, c->h * c->w, c->c), CN_F32, 0);

    return cn_from_tokens(g, x, c->h, c->w);
}

cn_val op_timestep(struct cn_graph *g, const struct op_case *c)
{
    cn_val t = cn_graph_input(g, "x", cn_shape1(c->n), CN_F32, 0);

    return cn_timestep(g, t, c->d, c->cos_first, c->freq_shift);
}

cn_val op_pool_hw(struct cn_graph *g, const struct op_case *c)
{
    return cn_pool_hw(g, op_map_input(g, "x", c));
}

cn_val op_conv_transpose(struct cn_graph *g, const struct op_case *c)
{
    struct cn_conv a = window_of(c);

    return cn_conv_transpose(g, op_map_input(g, "x", c), "weight", c->bias ? "bias" : NULL, &a);
}

cn_val op_prelu(struct cn_graph *g, const struct op_case *c)
{
    return cn_prelu(g, any_input(g, "x", c), "slope", c->out);
}

cn_val op_mul(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = any_input(g, "x", c);

    return cn_mul(g, x, any_input(g, "y", c));
}

/* [n, h, s, t] times [n, h, t, d], or without h, or y without n; each may stand transposed. */
cn_val op_matmul(struct cn_graph *g, const struct op_case *c)
{
    int s[2] = {c->s, c->t}, t[2] = {c->t, c->d};
    const bool *flip = c->transpose;
    struct cn_shape x = cn_shape3(c->n, s[flip[0]], s[!flip[0]]);
    struct cn_shape y = cn_shape3(c->n, t[flip[1]], t[!flip[1]]);
    cn_val a, b;

    if (c->h > 0) {
        x = cn_shape4(c->n, c->h, x.dim[1], x.dim[2]);
        y = cn_shape4(c->n, c->h, y.dim[1], y.dim[2]);
    } else if (c->bound) {
        y = cn_shape2(y.dim[1], y.dim[2]);
    }
    a = cn_graph_input(g, "x", x, CN_F32, 0);
    b = cn_graph_input(g, "y", y, CN_F32, 0);
    return cn_matmul(g, a, b, flip[0], flip[1], c->alpha);
}

/* To tokens, which are [n, s, d], or to a map [n, out, s, d]. */
cn_val op_reshape(struct cn_graph *g, const struct op_case *c)
{
    struct cn_shape s =
        c->out > 0 ? cn_shape4(c->n, c->out, c->s, c->d) : cn_shape3(c->n, c->s, c->d);

    return cn_reshape(g, op_map_input(g, "x", c), s);
}

cn_val op_permute(struct cn_graph *g, const struct op_case *c)
{
    return cn_permute(g, any_input(g, "x", c), c->perm);
}

cn_val op_slice(struct cn_graph *g, const struct op_case *c)
{
    return cn_slice(g, any_input(g, "x", c), c->axis, c->offset, c->length);
}

cn_val op_gather(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = op_token_input(g, "x", c, c->d);

    return cn_gather(g, x, cn_graph_input(g, "ids", cn_shape2(c->n, c->t), CN_I32, 0));
}

cn_val op_reduce(struct cn_graph *g, const struct op_case *c)
{
    return cn_reduce(g, any_input(g, "x", c), c->reduction, c->axis, c->axes);
}

cn_val op_pool(struct cn_graph *g, const struct op_case *c)
{
    struct cn_conv a = window_of(c);

    return cn_pool(g, op_map_input(g, "x", c), c->reduction, &a);
}

/* To height s, width t. */
cn_val op_resize(struct cn_graph *g, const struct op_case *c)
{
    return cn_resize(g, op_map_input(g, "x", c), c->s, c->t, c->align_corners);
}

cn_val op_pad_reflect(struct cn_graph *g, const struct op_case *c)
{
    return cn_pad_reflect(g, op_map_input(g, "x", c), c->pad[0], c->pad[1], c->pad[2], c->pad[3]);
}

cn_val op_unshuffle(struct cn_graph *g, const struct op_case *c)
{
    return cn_unshuffle(g, op_map_input(g, "x", c), c->factor);
}

cn_val op_shuffle(struct cn_graph *g, const struct op_case *c)
{
    return cn_shuffle(g, op_map_input(g, "x", c), c->factor);
}
