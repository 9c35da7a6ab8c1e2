/* Rows of the op table, and those of its graphs that are more than one operation. */
#include "base/base.h"
#include "tests/backend/op_cases.h"

#include <math.h>
#include <stdio.h>

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

/* What an annotator's network is made of: reflected borders, instance norms, a way down by strides
 * and up by transposed convolutions. */
static cn_val line_art(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = cn_pad_reflect(g, op_map_input(g, "x", c), 3, 3, 3, 3);
    struct cn_conv wide = {.out = c->out, .k = 7, .stride = 1};
    struct cn_conv down = {.out = 2 * c->out, .k = 3, .stride = 2, .pad = {1, 1, 1, 1}};
    struct cn_conv up = {.out = c->out, .k = 3, .stride = 2, .pad = {1, 1, 0, 0}};

    x = cn_instance_norm(g, cn_conv2d(g, x, "w1", "b1", &wide), NULL, NULL, 1e-5f);
    x = cn_act(g, x, CN_RELU);
    x = cn_instance_norm(g, cn_conv2d(g, x, "w2", "b2", &down), NULL, NULL, 1e-5f);
    x = cn_conv_transpose(g, cn_act(g, x, CN_RELU), "w3", "b3", &up);
    x = cn_act(g, cn_instance_norm(g, x, NULL, NULL, 1e-5f), CN_RELU);
    return cn_act(g, conv(g, x, "w4", 3, 1), CN_SIGMOID);
}

/* Attention in parts: one packed projection, its thirds as views, products of values. */
static cn_val packed_attention(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = linear(g, op_token_input(g, "x", c, c->d), "qkv", 3 * c->d), part[3];
    int heads_first[] = {0, 2, 1, 3}, width = c->d / c->heads;

    for (int i = 0; i < 3; i++) {
        part[i] = cn_slice(g, x, 2, i * c->d, c->d);
        part[i] = cn_reshape(g, part[i], cn_shape4(c->n, c->s, c->heads, width));
        part[i] = cn_permute(g, part[i], heads_first);
    }
    x = cn_matmul(g, part[0], part[1], false, true, 1.0f / sqrtf((float)width));
    x = cn_matmul(g, cn_act(g, x, CN_SIGMOID), part[2], false, false, 1.0f);
    x = cn_reshape(g, cn_permute(g, x, heads_first), cn_shape3(c->n, c->s, c->d));
    return cn_reduce(g, x, CN_MEAN, 1, 1);
}

/* The ResBlock of a UNet, with a 1x1 shortcut when the number of channels changes. */
static cn_val res_block(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = op_map_input(g, "x", c), t = op_row_input(g, "t", c), h;

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
    cn_val x = op_map_input(g, "x", c), h = conv3(g, x, "weight", c->out);

    h = cn_act(g, cn_group_norm(g, h, "gamma", "beta", c->groups, 1e-6f), CN_SILU);
    return cn_add(g, conv3(g, h, "weight2", c->c), x);
}

/* The transformer block of a UNet: norm, tokens, self-attention, cross-attention, GEGLU, back. */
static cn_val transformer(struct cn_graph *g, const struct op_case *c)
{
    cn_val in = op_map_input(g, "x", c), x, h, k, v;
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
    cn_val in = op_map_input(g, "x", c), x, q, k, v;

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
    return conv3(g, cn_upsample(g, op_map_input(g, "x", c), c->s, c->t), "weight", c->out);
}

static cn_val concat_norm_conv(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = cn_group_norm(g, op_concat(g, c), "gamma", "beta", c->groups, 1e-5f);

    return conv3(g, cn_act(g, x, CN_SILU), "weight", c->c);
}

/* Control residuals: a zero convolution's result, weighted per row, onto a skip. */
static cn_val control(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = op_map_input(g, "x", c), y = op_map_input(g, "y", c), w = op_row_input(g, "w", c);

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

/* A layer of the text encoder's shape: norm, causal attention, quick GELU. */
static cn_val text_layer(struct cn_graph *g, const struct op_case *c)
{
    cn_val x = cn_graph_input(g, "x", cn_shape3(c->n, c->s, c->d), CN_F32, 0), h, k, v;

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
    cn_val x = op_map_input(g, "x", c), t = cn_to_tokens(g, conv1(g, x, "weight", c->c));

    t = cn_scale(g, t, c->alpha);
    return cn_add(g, cn_from_tokens(g, t, c->h, c->w), x);
}

struct cn_graph *op_case_graph(const struct op_case *c)
{
    struct cn_graph *g = cn_graph_new(c->name);

    cn_graph_output(g, "y", c->build(g, c), 0);
    for (int i = 0; i < g->count && c->bound; i++)
        if (g->node[i].op == CN_OP_PARAM)
            cn_graph_bind(g, i);
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
    {"act sigmoid", op_act, TOKENS(2, 9, 33), .act = CN_SIGMOID},
    {"act tanh", op_act, MAP(2, 32, 5, 6), .act = CN_TANH},
    {"act leaky relu", op_act, MAP(2, 7, 5, 6), .act = CN_LEAKY_RELU, .alpha = 0.2f},
    {"conv 3x3, leaky relu", op_conv2d, MAP(1, 16, 8, 8), KERNEL(3, 1, 32), .bias = true,
     .act = CN_LEAKY_RELU, .alpha = 0.1f},
    {"conv 3x3, sigmoid", op_conv2d, MAP(1, 16, 8, 8), KERNEL(3, 1, 1), .act = CN_SIGMOID},
    {"linear, tanh", op_linear, TOKENS(2, 5, 24), .out = 17, .bias = true, .act = CN_TANH},
    {"group norm, sigmoid", op_group_norm, MAP(2, 32, 5, 5), .groups = 8, .act = CN_SIGMOID},
    {"group norm, tanh, odd", op_group_norm, MAP(1, 6, 5, 3), .groups = 3, .act = CN_TANH},
    {"group norm, leaky relu", op_group_norm, MAP(1, 16, 5, 3), .groups = 2, .act = CN_LEAKY_RELU,
     .alpha = 0.3f},
    {"instance norm", op_group_norm, MAP(2, 12, 6, 7), .groups = 12, .bias = true},
    {"instance norm, relu, blocks", op_group_norm, MAP(1, 32, 9, 9), .groups = 32, .bias = true,
     .act = CN_RELU},
    {"prelu, a slope each", op_prelu, MAP(2, 10, 5, 4), .out = 10},
    {"prelu, one slope", op_prelu, MAP(1, 32, 4, 4), .out = 1},
    {"conv 1x7", op_conv2d, MAP(2, 8, 9, 11), .k = 1, .k_w = 7, .pad = {0, 3, 0, 3}, .out = 12,
     .bias = true},
    {"conv 5x3, strides 2x1", op_conv2d, MAP(1, 6, 11, 9), .k = 5, .k_w = 3, .stride = 2,
     .stride_w = 1, .pad = {2, 1, 2, 1}, .out = 10, .bias = true},
    {"conv 3x3, dilated", op_conv2d, MAP(1, 16, 12, 12), KERNEL(3, 2, 32), .dilation = 2,
     .bias = true},
    {"conv 3x3, dilated 1x4", op_conv2d, MAP(1, 5, 12, 12), .k = 3, .dilation = 1, .dilation_w = 4,
     .pad = {1, 4, 1, 4}, .out = 7},
    {"conv 3x3, depthwise", op_conv2d, MAP(2, 32, 9, 8), KERNEL(3, 1, 32), .groups = 32,
     .bias = true, .act = CN_RELU},
    {"conv 3x3, depthwise, odd", op_conv2d, MAP(1, 11, 6, 5), KERNEL(3, 1, 22), .groups = 11},
    {"conv 3x3, 4 groups", op_conv2d, MAP(1, 32, 8, 8), KERNEL(3, 1, 48), .groups = 4, .bias = true,
     .residual = true},
    {"conv 3x3, 3 groups of 5", op_conv2d, MAP(2, 15, 7, 6), .k = 3, .stride = 2,
     .pad = {1, 1, 1, 1}, .out = 9, .groups = 3, .bias = true},
    {"conv 3x3, weights in buffers", op_conv2d, MAP(2, 32, 8, 8), KERNEL(3, 1, 48), .bias = true,
     .residual = true, .bound = true},
    {"linear, weights in buffers", op_linear, TOKENS(2, 9, 40), .out = 33, .bias = true,
     .act = CN_GELU, .bound = true},
    {"layer norm, weights in buffers", op_layer_norm, TOKENS(3, 5, 32), .bound = true},
    {"group norm, weights in buffers", op_group_norm, MAP(2, 32, 5, 5), .groups = 8, .bound = true},
    {"transposed conv 2x2", op_conv_transpose, MAP(2, 16, 5, 6), .k = 2, .stride = 2, .out = 8,
     .bias = true},
    {"transposed conv 4x4", op_conv_transpose, MAP(1, 12, 6, 5), .k = 4, .stride = 2,
     .pad = {1, 1, 1, 1}, .out = 20},
    {"transposed conv 3x3, more", op_conv_transpose, MAP(1, 8, 7, 7), .k = 3, .stride = 2,
     .pad = {1, 1, 0, 0}, .out = 6, .bias = true},
    {"transposed conv 3x2, groups", op_conv_transpose, MAP(2, 12, 4, 6), .k = 3, .k_w = 2,
     .stride = 1, .stride_w = 3, .dilation = 2, .dilation_w = 1, .pad = {1, 0, 2, 1}, .out = 8,
     .groups = 4, .bias = true},
    {"max pool 2x2", op_pool, MAP(2, 16, 8, 6), .k = 2, .stride = 2, .reduction = CN_MAX_OF},
    {"max pool 3x3, padded", op_pool, MAP(1, 5, 9, 8), .k = 3, .stride = 2, .pad = {1, 1, 1, 1},
     .reduction = CN_MAX_OF},
    {"mean pool 2x3", op_pool, MAP(2, 7, 8, 9), .k = 2, .k_w = 3, .stride = 2, .stride_w = 3,
     .reduction = CN_MEAN},
    {"mean pool 3x3, padded", op_pool, MAP(1, 32, 7, 7), .k = 3, .stride = 1, .pad = {1, 1, 1, 1},
     .reduction = CN_MEAN},
    {"resize up", op_resize, MAP(2, 6, 5, 7), .s = 10, .t = 15},
    {"resize down", op_resize, MAP(1, 16, 12, 9), .s = 5, .t = 4},
    {"resize, corners", op_resize, MAP(1, 3, 6, 5), .s = 11, .t = 9, .align_corners = true},
    {"resize, corners, to one", op_resize, MAP(1, 3, 6, 5), .s = 1, .t = 1, .align_corners = true},
    {"pad reflect", op_pad_reflect, MAP(2, 5, 4, 6), .pad = {3, 2, 1, 5}},
    {"pixel unshuffle 2", op_unshuffle, MAP(2, 4, 6, 8), .factor = 2},
    {"pixel unshuffle 8", op_unshuffle, MAP(1, 3, 16, 8), .factor = 8},
    {"pixel shuffle 3", op_shuffle, MAP(2, 18, 3, 4), .factor = 3},
    {"mul", op_mul, MAP(2, 20, 5, 4)},
    {"matmul", op_matmul, .n = 3, .s = 7, .t = 9, .d = 5, .alpha = 1.0f},
    {"matmul, x transposed", op_matmul, .n = 2, .s = 8, .t = 6, .d = 16, .alpha = 0.5f,
     .transpose = {true, false}},
    {"matmul, y transposed", op_matmul, .n = 1, .h = 4, .s = 16, .t = 24, .d = 16, .alpha = 1.0f,
     .transpose = {false, true}},
    {"matmul, both transposed", op_matmul, .n = 2, .h = 3, .s = 5, .t = 7, .d = 11, .alpha = 2.0f,
     .transpose = {true, true}},
    {"matmul, one y for all", op_matmul, .n = 3, .s = 7, .t = 9, .d = 5, .alpha = 1.0f,
     .bound = true, .transpose = {false, true}},
    {"reshape to tokens", op_reshape, MAP(2, 16, 3, 5), .s = 40, .d = 6},
    {"reshape to a map", op_reshape, MAP(2, 16, 3, 4), .out = 32, .s = 3, .d = 2},
    {"permute, last two", op_permute, MAP(2, 16, 3, 5), .perm = {0, 1, 3, 2}},
    {"permute, all", op_permute, MAP(2, 6, 3, 5), .perm = {3, 1, 0, 2}},
    {"permute tokens", op_permute, TOKENS(2, 7, 9), .perm = {0, 2, 1}},
    {"slice channels", op_slice, MAP(2, 32, 4, 5), .axis = 1, .offset = 5, .length = 16},
    {"slice rows of a batch", op_slice, MAP(4, 8, 3, 3), .axis = 0, .offset = 1, .length = 2},
    {"slice columns", op_slice, TOKENS(2, 6, 48), .axis = 2, .offset = 16, .length = 16},
    {"slice the width", op_slice, MAP(1, 16, 4, 9), .axis = 3, .offset = 8, .length = 1},
    {"gather", op_gather, TOKENS(3, 11, 20), .t = 4},
    {"gather one", op_gather, TOKENS(2, 77, 16), .t = 1},
    {"sum of columns", op_reduce, TOKENS(2, 9, 33), .axis = 2, .axes = 1},
    {"mean of a map", op_reduce, MAP(2, 16, 5, 7), .axis = 2, .axes = 2, .reduction = CN_MEAN},
    {"max of channels", op_reduce, MAP(2, 16, 5, 7), .axis = 1, .axes = 1, .reduction = CN_MAX_OF},
    {"sum of rows", op_reduce, MAP(3, 5, 4, 4), .axis = 0, .axes = 1},
    {"sum of everything", op_reduce, MAP(3, 5, 6, 6), .axis = 0, .axes = 4},
    {"concat three", op_concat, MAP(2, 16, 4, 5), .out = 7, .length = 32},
    {"concat along the height", op_concat, MAP(2, 16, 4, 5), .out = 3, .axis = 2, .length = 2},
    {"concat columns", op_concat, TOKENS(2, 5, 12), .out = 20, .axis = 2, .length = 4},
    {"line art network", line_art, MAP(1, 3, 18, 14), .out = 16, .tolerance = 1e-4},
    {"attention in parts", packed_attention, TOKENS(2, 9, 32), .heads = 4},
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
