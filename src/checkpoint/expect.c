/* Tensors by configuration, in the words of the networks' own structure. */
#include "base/base.h"
#include "checkpoint/expect.h"

#include <stdarg.h>
#include <stdio.h>

struct out {
    cn_expect_fn fn;
    void *ctx;
};

/* One tensor; rank dimensions of dim, the rest of which is 0. */
static void put(const struct out *o, const int64_t dim[4], const char *fmt, ...) CN_PRINTF(3, 4);

static void put(const struct out *o, const int64_t dim[4], const char *fmt, ...)
{
    char name[192];
    va_list ap;
    int rank = 0;

    va_start(ap, fmt);
    vsnprintf(name, sizeof(name), fmt, ap);
    va_end(ap);
    while (rank < 4 && dim[rank] != 0)
        rank++;
    o->fn(o->ctx, name, rank, dim);
}

#define DIM(...) ((const int64_t[4]){__VA_ARGS__})

static void conv(const struct out *o, const char *name, int from, int to, int kernel)
{
    put(o, DIM(to, from, kernel, kernel), "%s.weight", name);
    put(o, DIM(to), "%s.bias", name);
}

static void linear(const struct out *o, const char *name, int from, int to)
{
    put(o, DIM(to, from), "%s.weight", name);
    put(o, DIM(to), "%s.bias", name);
}

static void norm(const struct out *o, const char *name, int c)
{
    put(o, DIM(c), "%s.weight", name);
    put(o, DIM(c), "%s.bias", name);
}

/* A name below a prefix, in a buffer of the caller. */
static const char *sub(char text[160], const char *prefix, const char *name)
{
    snprintf(text, 160, "%s.%s", prefix, name);
    return text;
}

/* temb 0: no time embedding (autoencoder). */
static void resnet(const struct out *o, const char *prefix, int from, int to, int temb)
{
    char s[160];

    norm(o, sub(s, prefix, "norm1"), from);
    conv(o, sub(s, prefix, "conv1"), from, to, 3);
    if (temb > 0)
        linear(o, sub(s, prefix, "time_emb_proj"), temb, to);
    norm(o, sub(s, prefix, "norm2"), to);
    conv(o, sub(s, prefix, "conv2"), to, to, 3);
    if (from != to)
        conv(o, sub(s, prefix, "conv_shortcut"), from, to, 1);
}

static void attention(const struct out *o, const char *prefix, int c, int context)
{
    char s[160];

    put(o, DIM(c, c), "%s.to_q.weight", prefix);
    put(o, DIM(c, context), "%s.to_k.weight", prefix);
    put(o, DIM(c, context), "%s.to_v.weight", prefix);
    linear(o, sub(s, prefix, "to_out.0"), c, c);
}

static void transformer_block(const struct out *o, const char *prefix, int c, int context)
{
    char s[160];

    norm(o, sub(s, prefix, "norm1"), c);
    attention(o, sub(s, prefix, "attn1"), c, c);
    norm(o, sub(s, prefix, "norm2"), c);
    attention(o, sub(s, prefix, "attn2"), c, context);
    norm(o, sub(s, prefix, "norm3"), c);
    linear(o, sub(s, prefix, "ff.net.0.proj"), c, 8 * c);
    linear(o, sub(s, prefix, "ff.net.2"), 4 * c, c);
}

static void transformer(const struct out *o, const char *prefix, const struct cn_unet_config *u,
                        int level)
{
    int c = u->channels[level];
    char s[160], block[32];

    norm(o, sub(s, prefix, "norm"), c);
    if (u->linear_projection)
        linear(o, sub(s, prefix, "proj_in"), c, c);
    else
        conv(o, sub(s, prefix, "proj_in"), c, c, 1);
    for (int i = 0; i < u->transformer_layers[level]; i++) {
        snprintf(block, sizeof(block), "transformer_blocks.%d", i);
        transformer_block(o, sub(s, prefix, block), c, u->cross_attention_dim);
    }
    if (u->linear_projection)
        linear(o, sub(s, prefix, "proj_out"), c, c);
    else
        conv(o, sub(s, prefix, "proj_out"), c, c, 1);
}

static void down_block(const struct out *o, const struct cn_unet_config *u, int b)
{
    int to = u->channels[b], from = b > 0 ? u->channels[b - 1] : to, temb = 4 * u->channels[0];
    char s[64];

    for (int i = 0; i < u->layers_per_block; i++) {
        snprintf(s, sizeof(s), "down_blocks.%d.resnets.%d", b, i);
        resnet(o, s, i > 0 ? to : from, to, temb);
        snprintf(s, sizeof(s), "down_blocks.%d.attentions.%d", b, i);
        if (u->down_attention[b])
            transformer(o, s, u, b);
    }
    snprintf(s, sizeof(s), "down_blocks.%d.downsamplers.0.conv", b);
    if (b < u->blocks - 1)
        conv(o, s, to, to, 3);
}

static void up_block(const struct out *o, const struct cn_unet_config *u, int b)
{
    int level = u->blocks - 1 - b; /* of the channels, which are in down order */
    int to = u->channels[level], before = u->channels[CN_MIN(level + 1, u->blocks - 1)];
    char s[64];

    for (int i = 0; i <= u->layers_per_block; i++) {
        /* Skips come in reverse: the last of a block is what came into its down block. */
        int skip = i < u->layers_per_block ? to : u->channels[CN_MAX(level - 1, 0)];

        snprintf(s, sizeof(s), "up_blocks.%d.resnets.%d", b, i);
        resnet(o, s, (i > 0 ? to : before) + skip, to, 4 * u->channels[0]);
        snprintf(s, sizeof(s), "up_blocks.%d.attentions.%d", b, i);
        if (u->up_attention[b])
            transformer(o, s, u, level);
    }
    snprintf(s, sizeof(s), "up_blocks.%d.upsamplers.0.conv", b);
    if (level > 0)
        conv(o, s, to, to, 3);
}

/* What UNet and ControlNet share: the way down and the middle. */
static void encoder(const struct out *o, const struct cn_unet_config *u)
{
    int c0 = u->channels[0], last = u->channels[u->blocks - 1];

    conv(o, "conv_in", u->in_channels, c0, 3);
    linear(o, "time_embedding.linear_1", c0, 4 * c0);
    linear(o, "time_embedding.linear_2", 4 * c0, 4 * c0);
    if (u->time_cond_proj_dim > 0)
        put(o, DIM(c0, u->time_cond_proj_dim), "time_embedding.cond_proj.weight");
    for (int b = 0; b < u->blocks; b++)
        down_block(o, u, b);
    resnet(o, "mid_block.resnets.0", last, last, 4 * c0);
    if (u->mid_attention)
        transformer(o, "mid_block.attentions.0", u, u->blocks - 1);
    resnet(o, "mid_block.resnets.1", last, last, 4 * c0);
}

void cn_expect_unet(const struct cn_unet_config *u, cn_expect_fn fn, void *ctx)
{
    struct out o = {fn, ctx};

    encoder(&o, u);
    for (int b = 0; b < u->blocks; b++)
        up_block(&o, u, b);
    norm(&o, "conv_norm_out", u->channels[0]);
    conv(&o, "conv_out", u->channels[0], u->out_channels, 3);
}

static void hint(const struct out *o, const struct cn_control_config *c)
{
    int last = c->hint_out[c->hint_blocks - 1];
    char s[64];

    conv(o, "controlnet_cond_embedding.conv_in", c->hint_channels, c->hint_out[0], 3);
    for (int i = 0; i + 1 < c->hint_blocks; i++) {
        snprintf(s, sizeof(s), "controlnet_cond_embedding.blocks.%d", 2 * i);
        conv(o, s, c->hint_out[i], c->hint_out[i], 3);
        snprintf(s, sizeof(s), "controlnet_cond_embedding.blocks.%d", 2 * i + 1);
        conv(o, s, c->hint_out[i], c->hint_out[i + 1], 3);
    }
    conv(o, "controlnet_cond_embedding.conv_out", last, c->unet.channels[0], 3);
}

void cn_expect_control(const struct cn_control_config *c, cn_expect_fn fn, void *ctx)
{
    const struct cn_unet_config *u = &c->unet;
    struct out o = {fn, ctx};
    char s[64];
    int n = 0;

    encoder(&o, u);
    hint(&o, c);
    /* One zero convolution for conv_in, each layer and each downsampler. */
    for (int b = 0; b < u->blocks; b++) {
        int count = u->layers_per_block + (b < u->blocks - 1) + (b == 0);

        for (int i = 0; i < count; i++) {
            snprintf(s, sizeof(s), "controlnet_down_blocks.%d", n++);
            conv(&o, s, u->channels[b], u->channels[b], 1);
        }
    }
    conv(&o, "controlnet_mid_block", u->channels[u->blocks - 1], u->channels[u->blocks - 1], 1);
}

static void vae_middle(const struct out *o, const struct cn_vae_config *v, const char *half)
{
    static const char *const parts[] = {"to_q", "to_k", "to_v", "to_out.0"};
    int c = v->channels[v->blocks - 1];
    char s[96];

    for (int i = 0; i < 2; i++) {
        snprintf(s, sizeof(s), "%s.mid_block.resnets.%d", half, i);
        resnet(o, s, c, c, 0);
    }
    if (!v->mid_attention)
        return;
    snprintf(s, sizeof(s), "%s.mid_block.attentions.0.group_norm", half);
    norm(o, s, c);
    for (size_t i = 0; i < CN_LEN(parts); i++) {
        snprintf(s, sizeof(s), "%s.mid_block.attentions.0.%s", half, parts[i]);
        linear(o, s, c, c);
    }
}

static void vae_encoder(const struct out *o, const struct cn_vae_config *v)
{
    char s[96];

    conv(o, "encoder.conv_in", v->in_channels, v->channels[0], 3);
    for (int b = 0; b < v->blocks; b++) {
        int to = v->channels[b], from = b > 0 ? v->channels[b - 1] : to;

        for (int i = 0; i < v->layers_per_block; i++) {
            snprintf(s, sizeof(s), "encoder.down_blocks.%d.resnets.%d", b, i);
            resnet(o, s, i > 0 ? to : from, to, 0);
        }
        snprintf(s, sizeof(s), "encoder.down_blocks.%d.downsamplers.0.conv", b);
        if (b < v->blocks - 1)
            conv(o, s, to, to, 3);
    }
    vae_middle(o, v, "encoder");
    norm(o, "encoder.conv_norm_out", v->channels[v->blocks - 1]);
    conv(o, "encoder.conv_out", v->channels[v->blocks - 1], 2 * v->latent_channels, 3);
}

static void vae_decoder(const struct out *o, const struct cn_vae_config *v)
{
    char s[96];

    conv(o, "decoder.conv_in", v->latent_channels, v->channels[v->blocks - 1], 3);
    vae_middle(o, v, "decoder");
    for (int b = 0; b < v->blocks; b++) {
        int level = v->blocks - 1 - b, to = v->channels[level];
        int from = v->channels[CN_MIN(level + 1, v->blocks - 1)];

        for (int i = 0; i <= v->layers_per_block; i++) {
            snprintf(s, sizeof(s), "decoder.up_blocks.%d.resnets.%d", b, i);
            resnet(o, s, i > 0 ? to : from, to, 0);
        }
        snprintf(s, sizeof(s), "decoder.up_blocks.%d.upsamplers.0.conv", b);
        if (level > 0)
            conv(o, s, to, to, 3);
    }
    norm(o, "decoder.conv_norm_out", v->channels[0]);
    conv(o, "decoder.conv_out", v->channels[0], v->out_channels, 3);
}

void cn_expect_vae(const struct cn_vae_config *v, cn_expect_fn fn, void *ctx)
{
    struct out o = {fn, ctx};

    vae_encoder(&o, v);
    vae_decoder(&o, v);
    if (v->use_quant_conv)
        conv(&o, "quant_conv", 2 * v->latent_channels, 2 * v->latent_channels, 1);
    if (v->use_post_quant_conv)
        conv(&o, "post_quant_conv", v->latent_channels, v->latent_channels, 1);
}

void cn_expect_text(const struct cn_text_config *t, cn_expect_fn fn, void *ctx)
{
    static const char *const parts[] = {"q_proj", "k_proj", "v_proj", "out_proj"};
    struct out o = {fn, ctx};
    int d = t->hidden_size;
    char p[64], s[160];

    put(&o, DIM(t->vocab_size, d), "text_model.embeddings.token_embedding.weight");
    put(&o, DIM(t->max_position, d), "text_model.embeddings.position_embedding.weight");
    for (int i = 0; i < t->layers; i++) {
        snprintf(p, sizeof(p), "text_model.encoder.layers.%d", i);
        norm(&o, sub(s, p, "layer_norm1"), d);
        for (size_t k = 0; k < CN_LEN(parts); k++) {
            char name[32];

            snprintf(name, sizeof(name), "self_attn.%s", parts[k]);
            linear(&o, sub(s, p, name), d, d);
        }
        norm(&o, sub(s, p, "layer_norm2"), d);
        linear(&o, sub(s, p, "mlp.fc1"), d, t->intermediate_size);
        linear(&o, sub(s, p, "mlp.fc2"), t->intermediate_size, d);
    }
    norm(&o, "text_model.final_layer_norm", d);
}
