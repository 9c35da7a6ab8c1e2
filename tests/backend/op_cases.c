/* Rows of the op table, and the graphs they stand for. */
#include "base/base.h"
#include "tests/backend/op_cases.h"

#include <math.h>
#include <stdio.h>

static cn_val map_input(struct cn_graph *g, const char *name, const struct op_case *c)
{
    return cn_graph_input(g, name, cn_shape4(c->n, c->c, c->h, c->w), CN_F32, 0);
}

/* [n, s, width], or [n, width] when the case has no tokens. */
static cn_val token_input(struct cn_graph *g, const char *name, const struct op_case *c, int width)
{
    struct cn_shape s = c->s > 0 ? cn_shape3(c->n, c->s, width) : cn_shape2(c->n, width);

    return cn_graph_input(g, name, s, CN_F32, 0);
}

/* A feature map when the case has channels, else tokens or vectors. */
static cn_val any_input(struct cn_graph *g, const char *name, const struct op_case *c)
{
    return c->c > 0 ? map_input(g, name, c) : token_input(g, name, c, c->d);
}

static cn_val row_input(struct cn_graph *g, const char *name, const struct op_case *c)
{
    return cn_graph_input(g, name, cn_shape2(c->n, c->width), CN_F32, 0);
}

/* x (+ residual) (activated), as the case says. */
static cn_val finish(struct cn_graph *g, cn_val x, const struct op_case *c)
{
    if (c->residual)
        x = cn_add(g, x, cn_graph_input(g, "r", *cn_shape_of(g, x), CN_F32, 0));
    return c->act != CN_NONE ? cn_act(g, x, c->act) : x;
}

cn_val op_conv2d(struct cn_graph *g, const struct op_case *c)
{
    struct cn_conv a = {.out = c->out, .k = c->k, .stride = CN_MAX(c->stride, 1)};

    for (int i = 0; i < 4; i++)
        a.pad[i] = c->pad[i];
    return finish(g, cn_conv2d(g, map_input(g, "x", c), "weight", c->bias ? "bias" : NULL, &a), c);
}

cn_val op_linear(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = token_input(g, "x", c, c->d);

    return finish(g, cn_linear(g, x, "weight", c->bias ? "bias" : NULL, c->out), c);
}

cn_val op_group_norm(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = map_input(g, "x", c);

    if (c->width > 0)
        x = cn_add_channel(g, x, row_input(g, "t", c), c->offset);
    x = cn_group_norm(g, x, "gamma", "beta", c->groups, 1e-5f);
    return c->act != CN_NONE ? cn_act(g, x, c->act) : x;
}

cn_val op_layer_norm(struct cn_graph *g, const struct op_case *c)
{
    return cn_layer_norm(g, token_input(g, "x", c, c->d), "gamma", "beta", 1e-5f);
}

cn_val op_act(struct cn_graph *g, const struct op_case *c)
{
    return cn_act(g, any_input(g, "x", c), c->act);
}

cn_val op_geglu(struct cn_graph *g, const struct op_case *c)
{
    return cn_geglu(g, token_input(g, "x", c, 2 * c->d));
}

cn_val op_add(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = any_input(g, "x", c);

    return cn_add(g, x, any_input(g, "y", c));
}

cn_val op_add_channel(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = map_input(g, "x", c);

    return cn_add_channel(g, x, row_input(g, "t", c), c->offset);
}

cn_val op_add_rows(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = any_input(g, "x", c), y = any_input(g, "y", c);

    return cn_add_rows(g, x, y, row_input(g, "w", c), c->offset);
}

cn_val op_scale(struct cn_graph *g, const struct op_case *c)
{
    return cn_scale(g, any_input(g, "x", c), c->alpha);
}

cn_val op_attention(struct cn_graph *g, const struct op_case *c)
{
    struct cn_shape keys = cn_shape3(c->n, c->t, c->d);
    cn_val q = token_input(g, "q", c, c->d), k = cn_graph_input(g, "k", keys, CN_F32, 0);
    cn_val v = cn_graph_input(g, "v", keys, CN_F32, 0);

    return cn_attention(g, q, k, v, c->heads, 1.0f / sqrtf((float)c->d / (float)c->heads),
                        c->causal);
}

cn_val op_upsample(struct cn_graph *g, const struct op_case *c)
{
    return cn_upsample(g, map_input(g, "x", c), c->s, c->t); /* to height s, width t */
}

/* x with c channels, y with out channels; tokens: s and t of them. */
cn_val op_concat(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = any_input(g, "x", c);
    struct cn_shape s = *cn_shape_of(g, x);

    s.dim[1] = c->out;
    return cn_concat(g, x, cn_graph_input(g, "y", s, CN_F32, 0));
}

cn_val op_to_tokens(struct cn_graph *g, const struct op_case *c)
{
    return cn_to_tokens(g, map_input(g, "x", c));
}

cn_val op_from_tokens(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = cn_graph_input(g, "x", cn_shape3(c->n, c->h * c->w, c->c), CN_F32, 0);

    return cn_from_tokens(g, x, c->h, c->w);
}

/* A table of `out` tokens. */
cn_val op_embed(struct cn_graph *g, const struct op_case *c)
{
    cn_val ids = cn_graph_input(g, "ids", cn_shape2(c->n, c->s), CN_I32, 0);

    return cn_embed(g, ids, "table", c->out, c->d, "position", 77);
}

cn_val op_timestep(struct cn_graph *g, const struct op_case *c)
{
    cn_val t = cn_graph_input(g, "x", cn_shape1(c->n), CN_F32, 0);

    return cn_timestep(g, t, c->d, c->cos_first, c->freq_shift);
}

cn_val op_pool_hw(struct cn_graph *g, const struct op_case *c)
{
    return cn_pool_hw(g, map_input(g, "x", c));
}

/* Layers with a bias, "NAME bias". */
static cn_val conv(struct cn_graph *g, cn_val x, const char *name, int k, int out)
{
    int pad = k / 2;
    char bias[40];

    snprintf(bias, sizeof(bias), "%s bias", name);
    return cn_conv2d(g, x, name, bias, &(struct cn_conv){.out = out, .k = k, .stride = 1,
                                                         .pad = {pad, pad, pad, pad}});
}

static cn_val conv3(struct cn_graph *g, cn_val x, const char *name, int out)
{
    return conv(g, x, name, 3, out);
}

static cn_val conv1(struct cn_graph *g, cn_val x, const char *name, int out)
{
    return conv(g, x, name, 1, out);
}

static cn_val linear(struct cn_graph *g, cn_val x, const char *name, int out)
{
    char bias[40];

    snprintf(bias, sizeof(bias), "%s bias", name);
    return cn_linear(g, x, name, bias, out);
}

/* The ResBlock of a UNet, with a 1x1 shortcut when the number of channels changes. */
static cn_val res_block(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = map_input(g, "x", c), t = row_input(g, "t", c), h;

    h = cn_act(g, cn_group_norm(g, x, "gamma", "beta", c->groups, 1e-5f), CN_SILU);
    h = conv3(g, h, "weight", c->out);
    h = cn_add_channel(g, h, t, c->offset);
    h = cn_act(g, cn_group_norm(g, h, "gamma2", "beta2", c->groups, 1e-5f), CN_SILU);
    h = conv3(g, h, "weight2", c->out);
    if (c->out != c->c)
        x = conv1(g, x, "shortcut", c->out);
    return cn_add(g, x, h);
}

/* conv -> norm + SiLU -> conv, plus what came in. */
static cn_val conv_norm_conv(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = map_input(g, "x", c), h = conv3(g, x, "weight", c->out);

    h = cn_act(g, cn_group_norm(g, h, "gamma", "beta", c->groups, 1e-6f), CN_SILU);
    return cn_add(g, conv3(g, h, "weight2", c->c), x);
}

/* The transformer block of a UNet: norm, tokens, self-attention, cross-attention, GEGLU, back. */
static cn_val transformer(struct cn_graph *g, const struct op_case *c)
{
    cn_val in = map_input(g, "x", c), x, h, k, v;
    cn_val text = cn_graph_input(g, "text", cn_shape3(c->n, c->t, c->d), CN_F32, 0);
    float scale = 1.0f / sqrtf((float)c->c / (float)c->heads);

    x = cn_group_norm(g, in, "gamma", "beta", c->groups, 1e-6f);
    x = cn_to_tokens(g, conv1(g, x, "proj_in", c->c));
    h = cn_layer_norm(g, x, "gamma1", "beta1", 1e-5f);
    k = cn_linear(g, h, "k1", NULL, c->c);
    v = cn_linear(g, h, "v1", NULL, c->c);
    h = cn_attention(g, cn_linear(g, h, "q1", NULL, c->c), k, v, c->heads, scale, false);
    x = cn_add(g, linear(g, h, "o1", c->c), x);
    h = cn_layer_norm(g, x, "gamma2", "beta2", 1e-5f);
    k = cn_linear(g, text, "k2", NULL, c->c);
    v = cn_linear(g, text, "v2", NULL, c->c);
    h = cn_attention(g, cn_linear(g, h, "q2", NULL, c->c), k, v, c->heads, scale, false);
    x = cn_add(g, linear(g, h, "o2", c->c), x);
    h = cn_layer_norm(g, x, "gamma3", "beta3", 1e-5f);
    h = cn_geglu(g, linear(g, h, "ff1", 8 * c->c));
    x = cn_add(g, linear(g, h, "ff2", c->c), x);
    x = cn_from_tokens(g, x, c->h, c->w);
    return cn_add(g, conv1(g, x, "proj_out", c->c), in);
}

/* The attention of the VAE: one head, linear layers on tokens, residual on the feature map. */
static cn_val vae_attention(struct cn_graph *g, const struct op_case *c)
{
    cn_val in = map_input(g, "x", c), x, q, k, v;

    x = cn_to_tokens(g, cn_group_norm(g, in, "gamma", "beta", c->groups, 1e-6f));
    q = linear(g, x, "q", c->c);
    k = linear(g, x, "k", c->c);
    v = linear(g, x, "v", c->c);
    x = cn_attention(g, q, k, v, 1, 1.0f / sqrtf((float)c->c), false);
    x = cn_from_tokens(g, linear(g, x, "o", c->c), c->h, c->w);
    return cn_add(g, x, in);
}

static cn_val upsample_conv(struct cn_graph *g, const struct op_case *c)
{
    return conv3(g, cn_upsample(g, map_input(g, "x", c), c->s, c->t), "weight", c->out);
}

static cn_val concat_norm_conv(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = cn_group_norm(g, op_concat(g, c), "gamma", "beta", c->groups, 1e-5f);

    return conv3(g, cn_act(g, x, CN_SILU), "weight", c->c);
}

/* Control residuals: a zero convolution's result, weighted per row, onto a skip. */
static cn_val control(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = map_input(g, "x", c), y = map_input(g, "y", c), w = row_input(g, "w", c);

    y = cn_add_rows(g, x, conv1(g, y, "zero", c->c), w, c->offset);
    return conv3(g, cn_concat(g, y, x), "weight", c->out);
}

/* ADM-style timestep MLP. */
static cn_val time_mlp(struct cn_graph *g, const struct op_case *c)
{
    cn_val t = op_timestep(g, c);

    t = cn_act(g, linear(g, t, "weight", c->out), CN_SILU);
    return cn_act(g, linear(g, t, "weight2", c->out), CN_SILU);
}

/* Two layers of the text encoder's shape: embed, norm, causal attention, quick GELU. */
static cn_val text_layer(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = op_embed(g, c), h, k, v;

    h = cn_layer_norm(g, x, "gamma1", "beta1", 1e-5f);
    k = linear(g, h, "k", c->d);
    v = linear(g, h, "v", c->d);
    h = cn_attention(g, linear(g, h, "q", c->d), k, v, c->heads,
                     1.0f / sqrtf((float)c->d / (float)c->heads), true);
    x = cn_add(g, x, linear(g, h, "o", c->d));
    h = cn_layer_norm(g, x, "gamma2", "beta2", 1e-5f);
    h = cn_act(g, linear(g, h, "fc1", 4 * c->d), CN_QUICK_GELU);
    return cn_layer_norm(g, cn_add(g, x, linear(g, h, "fc2", c->d)), "gamma3", "beta3",
                         1e-5f);
}

/* The same numbers through two layouts and back. */
static cn_val tokens_and_back(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = map_input(g, "x", c), t = cn_to_tokens(g, conv1(g, x, "weight", c->c));

    t = cn_scale(g, t, c->alpha);
    return cn_add(g, cn_from_tokens(g, t, c->h, c->w), x);
}

struct cn_graph *op_case_graph(const struct op_case *c)
{
    struct cn_graph *g = cn_graph_new(c->name);

    cn_graph_output(g, "y", c->build(g, c), 0);
    return g;
}

#define MAP(n_, c_, h_, w_)    .n = n_, .c = c_, .h = h_, .w = w_
#define TOKENS(n_, s_, d_)     .n = n_, .s = s_, .d = d_
#define KERNEL(k_, p_, out_)   .k = k_, .pad = {p_, p_, p_, p_}, .out = out_
#define DOWN(out_)             .k = 3, .stride = 2, .pad = {0, 0, 1, 1}, .out = out_

/* Channel counts below, at and between multiples of 8, 16 and 32: what blocked layouts pad. */
const struct op_case op_cases[] = {
    {"conv 3x3, 4 to 32", op_conv2d, MAP(1, 4, 8, 8), KERNEL(3, 1, 32), .bias = true},
    {"conv 3x3, 5 to 7", op_conv2d, MAP(2, 5, 7, 9), KERNEL(3, 1, 7), .bias = true},
    {"conv 3x3, 16 to 16", op_conv2d, MAP(1, 16, 10, 6), KERNEL(3, 1, 16)},
    {"conv 3x3, 32 to 48, 3 rows", op_conv2d, MAP(3, 32, 9, 9), KERNEL(3, 1, 48), .bias = true},
    {"conv 3x3, 24 to 40", op_conv2d, MAP(1, 24, 12, 12), KERNEL(3, 1, 40), .bias = true},
    {"conv 3x3, 64 to 4", op_conv2d, MAP(2, 64, 16, 16), KERNEL(3, 1, 4), .bias = true},
    {"conv 3x3, 320 to 320", op_conv2d, MAP(1, 320, 8, 8), KERNEL(3, 1, 320), .bias = true},
    {"conv 3x3, wide", op_conv2d, MAP(1, 3, 2, 70), KERNEL(3, 1, 9), .bias = true},
    {"conv 3x3, 1x1 image", op_conv2d, MAP(1, 32, 1, 1), KERNEL(3, 1, 32), .bias = true},
    {"conv 3x3, residual", op_conv2d, MAP(2, 32, 8, 8), KERNEL(3, 1, 32), .bias = true,
     .residual = true},
    {"conv 3x3, residual, odd", op_conv2d, MAP(2, 6, 5, 5), KERNEL(3, 1, 10), .residual = true},
    {"conv 3x3, residual, silu", op_conv2d, MAP(1, 16, 8, 8), KERNEL(3, 1, 32), .bias = true,
     .residual = true, .act = CN_SILU},
    {"conv 3x3, silu", op_conv2d, MAP(1, 16, 8, 8), KERNEL(3, 1, 32), .bias = true, .act = CN_SILU},
    {"conv 3x3, relu", op_conv2d, MAP(1, 64, 8, 8), KERNEL(3, 1, 64), .bias = true, .act = CN_RELU},
    {"conv 3x3, gelu, no bias", op_conv2d, MAP(1, 17, 8, 8), KERNEL(3, 1, 33), .act = CN_GELU},
    {"conv 3x3, quick gelu", op_conv2d, MAP(1, 8, 8, 8), KERNEL(3, 1, 16), .bias = true,
     .act = CN_QUICK_GELU},
    {"conv 3x3, residual, relu", op_conv2d, MAP(1, 64, 8, 8), KERNEL(3, 1, 64), .bias = true,
     .residual = true, .act = CN_RELU},
    {"conv 3x3, stride 2", op_conv2d, MAP(2, 32, 8, 8), .k = 3, .stride = 2, .pad = {1, 1, 1, 1},
     .out = 32, .bias = true},
    {"conv 3x3, stride 2, odd", op_conv2d, MAP(2, 10, 9, 7), .k = 3, .stride = 2,
     .pad = {1, 1, 1, 1}, .out = 13, .bias = true, .act = CN_SILU},
    {"conv 3x3, stride 2, one-sided padding", op_conv2d, MAP(2, 32, 8, 8), DOWN(32), .bias = true},
    {"conv 3x3, stride 2, one-sided padding, odd", op_conv2d, MAP(1, 12, 9, 11), DOWN(20),
     .bias = true},
    {"conv 3x3, no padding", op_conv2d, MAP(1, 16, 8, 8), KERNEL(3, 0, 16), .bias = true},
    {"conv 3x3, four paddings", op_conv2d, MAP(1, 8, 6, 7), .k = 3, .pad = {2, 0, 1, 3}, .out = 8,
     .bias = true},
    {"conv 4x4, stride 4", op_conv2d, MAP(1, 3, 16, 12), .k = 4, .stride = 4, .out = 32,
     .bias = true},
    {"conv 1x1, 32 to 64", op_conv2d, MAP(2, 32, 8, 8), KERNEL(1, 0, 64), .bias = true},
    {"conv 1x1, 4 to 4", op_conv2d, MAP(1, 4, 9, 5), KERNEL(1, 0, 4), .bias = true},
    {"conv 1x1, 33 to 17, residual", op_conv2d, MAP(3, 33, 4, 4), KERNEL(1, 0, 17), .bias = true,
     .residual = true},
    {"conv 1x1, residual", op_conv2d, MAP(1, 32, 8, 8), KERNEL(1, 0, 32), .residual = true},

    {"linear, vectors", op_linear, TOKENS(2, 0, 32), .out = 64, .bias = true},
    {"linear, one vector", op_linear, TOKENS(1, 0, 320), .out = 1280, .bias = true},
    {"linear, vectors, odd", op_linear, TOKENS(3, 0, 7), .out = 5},
    {"linear, vectors, silu", op_linear, TOKENS(3, 0, 32), .out = 48, .bias = true, .act = CN_SILU},
    {"linear, vectors, residual", op_linear, TOKENS(3, 0, 20), .out = 48, .bias = true,
     .residual = true},
    {"linear, tokens", op_linear, TOKENS(2, 16, 32), .out = 96},
    {"linear, tokens, bias", op_linear, TOKENS(2, 77, 64), .out = 32, .bias = true},
    {"linear, tokens, odd", op_linear, TOKENS(1, 13, 19), .out = 23, .bias = true},
    {"linear, tokens, residual", op_linear, TOKENS(2, 9, 40), .out = 40, .bias = true,
     .residual = true},
    {"linear, tokens, residual, no bias", op_linear, TOKENS(2, 9, 40), .out = 40, .residual = true},
    {"linear, tokens, gelu", op_linear, TOKENS(2, 9, 32), .out = 64, .bias = true, .act = CN_GELU},
    {"linear, tokens, quick gelu", op_linear, TOKENS(1, 77, 48), .out = 64, .bias = true,
     .act = CN_QUICK_GELU},
    {"linear, tokens, relu, no bias", op_linear, TOKENS(1, 5, 48), .out = 64, .act = CN_RELU},
    {"linear, tokens, residual, silu", op_linear, TOKENS(3, 5, 48), .out = 64, .bias = true,
     .residual = true, .act = CN_SILU},

    {"group norm", op_group_norm, MAP(2, 32, 8, 8), .groups = 32},
    {"group norm, 64 in 32", op_group_norm, MAP(2, 64, 6, 5), .groups = 32},
    {"group norm, 320 in 32", op_group_norm, MAP(1, 320, 4, 4), .groups = 32},
    {"group norm, 40 in 8", op_group_norm, MAP(3, 40, 7, 7), .groups = 8},
    {"group norm, 6 in 3, odd", op_group_norm, MAP(1, 6, 5, 3), .groups = 3},
    {"group norm, one group", op_group_norm, MAP(2, 16, 5, 3), .groups = 1},
    {"group norm, silu", op_group_norm, MAP(2, 64, 8, 8), .groups = 32, .act = CN_SILU},
    {"group norm, relu, odd", op_group_norm, MAP(2, 9, 3, 3), .groups = 3, .act = CN_RELU},
    {"group norm, time", op_group_norm, MAP(2, 64, 8, 8), .groups = 32, .width = 64},
    {"group norm, time at offset", op_group_norm, MAP(2, 48, 8, 8), .groups = 8, .width = 200,
     .offset = 97},
    {"group norm, time, silu", op_group_norm, MAP(3, 96, 8, 8), .groups = 32, .width = 160,
     .offset = 64, .act = CN_SILU},
    {"group norm, time, silu, odd", op_group_norm, MAP(2, 10, 3, 7), .groups = 5, .width = 23,
     .offset = 13, .act = CN_SILU},

    {"layer norm, tokens", op_layer_norm, TOKENS(2, 77, 64)},
    {"layer norm, tokens, odd", op_layer_norm, TOKENS(3, 5, 37)},
    {"layer norm, vectors", op_layer_norm, TOKENS(4, 0, 320)},

    {"silu, map", op_act, MAP(2, 32, 5, 5), .act = CN_SILU},
    {"silu, vectors", op_act, TOKENS(2, 0, 1280), .act = CN_SILU},
    {"gelu, tokens", op_act, TOKENS(2, 7, 33), .act = CN_GELU},
    {"quick gelu, tokens", op_act, TOKENS(2, 7, 32), .act = CN_QUICK_GELU},
    {"relu, map, odd", op_act, MAP(1, 3, 5, 7), .act = CN_RELU},
    {"geglu, tokens", op_geglu, TOKENS(2, 9, 64)},
    {"geglu, tokens, odd", op_geglu, TOKENS(1, 3, 21)},
    {"geglu, vectors", op_geglu, TOKENS(2, 0, 16)},
    {"add, map", op_add, MAP(2, 32, 5, 5)},
    {"add, map, odd", op_add, MAP(1, 7, 3, 5)},
    {"add, tokens", op_add, TOKENS(2, 77, 40)},
    {"add, vectors", op_add, TOKENS(2, 0, 19)},
    {"add channel", op_add_channel, MAP(2, 32, 5, 5), .width = 32},
    {"add channel at offset, odd", op_add_channel, MAP(3, 9, 4, 6), .width = 31, .offset = 22},
    {"add rows", op_add_rows, MAP(2, 32, 6, 6), .width = 13, .offset = 12},
    {"add rows, odd", op_add_rows, MAP(3, 5, 3, 7), .width = 2},
    {"add rows, tokens", op_add_rows, TOKENS(2, 9, 24), .width = 4, .offset = 3},
    {"scale, map", op_scale, MAP(2, 32, 5, 5), .alpha = 0.18215f},
    {"scale, map, odd", op_scale, MAP(1, 4, 5, 5), .alpha = -2.0f},
    {"scale, tokens", op_scale, TOKENS(2, 5, 12), .alpha = 3.0f},

    {"attention, heads of 40", op_attention, TOKENS(2, 64, 320), .t = 64, .heads = 8},
    {"attention, heads of 80", op_attention, TOKENS(1, 16, 640), .t = 16, .heads = 8},
    {"attention, heads of 160", op_attention, TOKENS(1, 9, 1280), .t = 9, .heads = 8},
    {"attention, heads of 64, causal", op_attention, TOKENS(2, 77, 128), .t = 77, .heads = 2,
     .causal = true},
    {"attention, heads of 4", op_attention, TOKENS(2, 36, 32), .t = 36, .heads = 8},
    {"attention, heads of 4, causal", op_attention, TOKENS(1, 9, 8), .t = 9, .heads = 2,
     .causal = true},
    {"attention, heads of 5, odd", op_attention, TOKENS(3, 7, 15), .t = 11, .heads = 3},
    {"attention, text, heads of 40", op_attention, TOKENS(2, 64, 320), .t = 77, .heads = 8},
    {"attention, text, heads of 8", op_attention, TOKENS(2, 25, 64), .t = 154, .heads = 8},
    {"attention, one key", op_attention, TOKENS(2, 5, 16), .t = 1, .heads = 2},
    {"attention, one query", op_attention, TOKENS(2, 1, 16), .t = 5, .heads = 2},
    {"attention, 300 keys", op_attention, TOKENS(1, 130, 16), .t = 300, .heads = 2},
    {"attention, one head of 512", op_attention, TOKENS(1, 70, 512), .t = 70, .heads = 1},
    {"attention, one head of 300", op_attention, TOKENS(1, 10, 300), .t = 10, .heads = 1},

    {"upsample to twice", op_upsample, MAP(2, 32, 4, 5), .s = 8, .t = 10},
    {"upsample to twice, 6 channels", op_upsample, MAP(1, 6, 4, 5), .s = 8, .t = 10},
    {"upsample to odd sizes", op_upsample, MAP(2, 16, 4, 5), .s = 7, .t = 9},
    {"upsample to odd sizes, 5 channels", op_upsample, MAP(1, 5, 3, 5), .s = 7, .t = 13},
    {"concat, 32 and 32", op_concat, MAP(2, 32, 5, 5), .out = 32},
    {"concat, 16 and 48", op_concat, MAP(2, 16, 5, 5), .out = 48},
    {"concat, 8 and 16", op_concat, MAP(2, 8, 5, 5), .out = 16},
    {"concat, 4 and 5", op_concat, MAP(3, 4, 5, 3), .out = 5},
    {"concat, 20 and 12", op_concat, MAP(1, 20, 3, 3), .out = 12},
    {"concat, tokens", op_concat, TOKENS(2, 77, 24), .out = 77},
    {"concat, vectors", op_concat, TOKENS(2, 0, 24), .out = 9},
    {"to tokens", op_to_tokens, MAP(2, 32, 4, 6)},
    {"to tokens, odd", op_to_tokens, MAP(2, 7, 3, 5)},
    {"from tokens", op_from_tokens, MAP(2, 32, 4, 6)},
    {"from tokens, odd", op_from_tokens, MAP(2, 7, 3, 5)},
    {"embed", op_embed, TOKENS(2, 77, 32), .out = 100},
    {"embed, few", op_embed, TOKENS(1, 3, 7), .out = 11},
    {"timestep, cosines first", op_timestep, .n = 4, .d = 320, .cos_first = true},
    {"timestep, sines first", op_timestep, .n = 2, .d = 64},
    {"timestep, shifted", op_timestep, .n = 2, .d = 32, .cos_first = true, .freq_shift = 1},
    {"timestep, odd", op_timestep, .n = 3, .d = 9},
    {"pool", op_pool_hw, MAP(2, 32, 5, 7)},
    {"pool, odd", op_pool_hw, MAP(1, 5, 3, 3)},

    {"conv, norm, conv", conv_norm_conv, MAP(2, 32, 8, 8), .out = 64, .groups = 32},
    {"conv, norm, conv, odd", conv_norm_conv, MAP(1, 5, 7, 6), .out = 12, .groups = 4},
    {"res block", res_block, MAP(2, 32, 8, 8), .out = 32, .groups = 8, .width = 32},
    {"res block, shortcut", res_block, MAP(2, 32, 8, 8), .out = 64, .groups = 32, .width = 160,
     .offset = 64},
    {"res block, shortcut, odd", res_block, MAP(3, 12, 5, 7), .out = 20, .groups = 4, .width = 51,
     .offset = 31},
    {"transformer", transformer, MAP(2, 32, 6, 6), .t = 77, .d = 48, .heads = 8, .groups = 8},
    {"transformer, heads of 40", transformer, MAP(1, 80, 4, 4), .t = 77, .d = 96, .heads = 2,
     .groups = 16},
    {"transformer, odd", transformer, MAP(1, 12, 5, 3), .t = 7, .d = 10, .heads = 3, .groups = 4},
    {"vae attention", vae_attention, MAP(1, 64, 6, 6), .groups = 32},
    {"vae attention, odd", vae_attention, MAP(2, 12, 5, 3), .groups = 4},
    {"upsample, conv", upsample_conv, MAP(2, 32, 4, 4), .s = 8, .t = 8, .out = 32},
    {"upsample, conv, odd", upsample_conv, MAP(1, 9, 3, 4), .s = 5, .t = 7, .out = 6},
    {"concat, norm, conv", concat_norm_conv, MAP(2, 32, 6, 6), .out = 64, .groups = 32},
    {"concat, norm, conv, uneven", concat_norm_conv, MAP(2, 24, 6, 6), .out = 8, .groups = 4},
    {"control", control, MAP(2, 32, 6, 6), .out = 32, .width = 13, .offset = 7},
    {"control, odd", control, MAP(3, 10, 5, 5), .out = 7, .width = 13, .offset = 12},
    {"time mlp", time_mlp, .n = 3, .d = 32, .out = 128, .cos_first = true},
    {"text layer", text_layer, TOKENS(2, 77, 32), .out = 60, .heads = 4},
    {"text layer, odd", text_layer, TOKENS(1, 9, 21), .out = 60, .heads = 3},
    {"tokens and back", tokens_and_back, MAP(2, 32, 4, 6), .alpha = 0.5f},
    {"tokens and back, odd", tokens_and_back, MAP(2, 11, 3, 5), .alpha = 0.5f},
    {0},
};

/* Batch 2: guidance. Latent 64x64; VAE decoder up to 512x512. */
const struct op_case op_shapes[] = {
    {"conv 3x3 4-320 @64", op_conv2d, MAP(2, 4, 64, 64), KERNEL(3, 1, 320), .bias = true},
    {"conv 3x3 320-320 @64", op_conv2d, MAP(2, 320, 64, 64), KERNEL(3, 1, 320), .bias = true},
    {"conv 3x3 960-320 @64", op_conv2d, MAP(2, 960, 64, 64), KERNEL(3, 1, 320), .bias = true},
    {"conv 3x3 640-640 @32", op_conv2d, MAP(2, 640, 32, 32), KERNEL(3, 1, 640), .bias = true},
    {"conv 3x3 1920-640 @32", op_conv2d, MAP(2, 1920, 32, 32), KERNEL(3, 1, 640), .bias = true},
    {"conv 3x3 1280-1280 @16", op_conv2d, MAP(2, 1280, 16, 16), KERNEL(3, 1, 1280), .bias = true},
    {"conv 3x3 2560-1280 @16", op_conv2d, MAP(2, 2560, 16, 16), KERNEL(3, 1, 1280), .bias = true},
    {"conv 3x3 1280-1280 @8", op_conv2d, MAP(2, 1280, 8, 8), KERNEL(3, 1, 1280), .bias = true},
    {"conv 3x3 stride 2 320 @64", op_conv2d, MAP(2, 320, 64, 64), .k = 3, .stride = 2,
     .pad = {1, 1, 1, 1}, .out = 320, .bias = true},
    {"conv 1x1 960-320 @64", op_conv2d, MAP(2, 960, 64, 64), KERNEL(1, 0, 320), .bias = true},
    {"conv 3x3 320-4 @64", op_conv2d, MAP(2, 320, 64, 64), KERNEL(3, 1, 4), .bias = true},
    {"conv 3x3 512-512 @128", op_conv2d, MAP(1, 512, 128, 128), KERNEL(3, 1, 512), .bias = true},
    {"conv 3x3 128-128 @512", op_conv2d, MAP(1, 128, 512, 512), KERNEL(3, 1, 128), .bias = true},
    {"conv 3x3 128-3 @512", op_conv2d, MAP(1, 128, 512, 512), KERNEL(3, 1, 3), .bias = true},
    {"linear 320-320 x4096", op_linear, TOKENS(2, 4096, 320), .out = 320, .bias = true,
     .residual = true},
    {"linear 320-2560 x4096", op_linear, TOKENS(2, 4096, 320), .out = 2560, .bias = true},
    {"linear 1280-320 x4096", op_linear, TOKENS(2, 4096, 1280), .out = 320, .bias = true,
     .residual = true},
    {"linear 640-640 x1024", op_linear, TOKENS(2, 1024, 640), .out = 640, .bias = true},
    {"linear 1280-10240 x256", op_linear, TOKENS(2, 256, 1280), .out = 10240, .bias = true},
    {"linear 768-640 x77", op_linear, TOKENS(2, 77, 768), .out = 640},
    {"linear 1280-1280 x1", op_linear, TOKENS(2, 0, 1280), .out = 1280, .bias = true,
     .act = CN_SILU},
    {"attention 4096x4096 8x40", op_attention, TOKENS(2, 4096, 320), .t = 4096, .heads = 8},
    {"attention 1024x1024 8x80", op_attention, TOKENS(2, 1024, 640), .t = 1024, .heads = 8},
    {"attention 256x256 8x160", op_attention, TOKENS(2, 256, 1280), .t = 256, .heads = 8},
    {"attention 4096x77 8x40", op_attention, TOKENS(2, 4096, 320), .t = 77, .heads = 8},
    {"attention 4096x4096 1x512", op_attention, TOKENS(1, 4096, 512), .t = 4096, .heads = 1},
    {"attention 77x77 12x64", op_attention, TOKENS(2, 77, 768), .t = 77, .heads = 12,
     .causal = true},
    {"group norm silu 320 @64", op_group_norm, MAP(2, 320, 64, 64), .groups = 32, .act = CN_SILU},
    {"group norm time silu 640 @32", op_group_norm, MAP(2, 640, 32, 32), .groups = 32,
     .width = 640, .act = CN_SILU},
    {"group norm silu 128 @512", op_group_norm, MAP(1, 128, 512, 512), .groups = 32,
     .act = CN_SILU},
    {"layer norm 320 x4096", op_layer_norm, TOKENS(2, 4096, 320)},
    {"geglu 1280 x4096", op_geglu, TOKENS(2, 4096, 1280)},
    {"add 320 @64", op_add, MAP(2, 320, 64, 64)},
    {"add rows 320 @64", op_add_rows, MAP(2, 320, 64, 64), .width = 13},
    {"concat 320 320 @64", op_concat, MAP(2, 320, 64, 64), .out = 320},
    {"concat 640 320 @64", op_concat, MAP(2, 640, 64, 64), .out = 320},
    {"upsample 640 @32", op_upsample, MAP(2, 640, 32, 32), .s = 64, .t = 64},
    {"upsample conv 256 @256", upsample_conv, MAP(1, 256, 256, 256), .s = 512, .t = 512,
     .out = 256},
    {"to tokens 320 @64", op_to_tokens, MAP(2, 320, 64, 64)},
    {"from tokens 320 @64", op_from_tokens, MAP(2, 320, 64, 64)},
    {"res block 320 @64", res_block, MAP(2, 320, 64, 64), .out = 320, .groups = 32, .width = 320},
    {"transformer 320 @64", transformer, MAP(2, 320, 64, 64), .t = 77, .d = 768, .heads = 8,
     .groups = 32},
    {0},
};
