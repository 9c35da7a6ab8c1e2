/* Emits the graphs of the autoencoder: pixels to the parameters of latents, and latents to pixels
 * (AutoencoderKL of latent diffusion, arXiv:2112.10752). */
#include "base/base.h"
#include "model/vae.h"
#include "model/nn.h"

#include <math.h>

static const double eps = 1e-6; /* not the UNet's 1e-5 */

int cn_vae_factor(const struct cn_vae_config *c)
{
    return 1 << (c->blocks - 1);
}

/* One head as wide as the block. */
static cn_val attention(struct nn *nn, cn_val x, int groups)
{
    const struct cn_shape s = *cn_shape_of(nn->g, x);
    int d = (int)s.dim[1];
    cn_val h = cn_to_tokens(nn->g, nn_group_norm(nn, x, "group_norm", groups, eps));
    cn_val q = nn_linear(nn, h, "to_q", d);
    cn_val k = nn_linear(nn, h, "to_k", d);
    cn_val v = nn_linear(nn, h, "to_v", d);

    h = cn_attention(nn->g, q, k, v, 1, 1.0f / sqrtf((float)d), false);
    h = nn_linear(nn, h, "to_out.0", d);
    return cn_add(nn->g, cn_from_tokens(nn->g, h, (int)s.dim[2], (int)s.dim[3]), x);
}

static cn_val res(struct nn *nn, cn_val x, const char *kind, int index, int out, int groups)
{
    nn_enter(nn, "%s.%d", kind, index);
    x = nn_res_block(nn, x, out, groups, eps, -1, 0);
    nn_leave(nn);
    return x;
}

static cn_val mid_block(struct nn *nn, cn_val x, const struct cn_vae_config *c)
{
    int d = c->channels[c->blocks - 1];

    nn_enter(nn, "mid_block");
    x = res(nn, x, "resnets", 0, d, c->norm_groups);
    if (c->mid_attention) {
        nn_enter(nn, "attentions.0");
        x = attention(nn, x, c->norm_groups);
        nn_leave(nn);
    }
    x = res(nn, x, "resnets", 1, d, c->norm_groups);
    nn_leave(nn);
    return x;
}

static cn_val out_layers(struct nn *nn, cn_val x, int groups, int out)
{
    x = cn_act(nn->g, nn_group_norm(nn, x, "conv_norm_out", groups, eps), CN_SILU);
    return nn_conv3(nn, x, "conv_out", out);
}

static cn_val up_block(struct nn *nn, cn_val x, const struct cn_vae_config *c, int i)
{
    int out = c->channels[c->blocks - 1 - i];

    for (int j = 0; j < c->layers_per_block + 1; j++)
        x = res(nn, x, "resnets", j, out, c->norm_groups);
    if (i + 1 < c->blocks) {
        const struct cn_shape *s = cn_shape_of(nn->g, x);

        x = cn_upsample(nn->g, x, (int)s->dim[2] * 2, (int)s->dim[3] * 2);
        x = nn_conv3(nn, x, "upsamplers.0.conv", out);
    }
    return x;
}

struct cn_graph *cn_vae_decoder_graph(const struct cn_vae_config *c, int n, int h, int w)
{
    struct nn nn = {.g = cn_graph_new("vae decoder")};
    cn_val x = cn_graph_input(nn.g, "latent", cn_shape4(n, c->latent_channels, h, w), CN_F32, 0);

    if (c->use_post_quant_conv)
        x = nn_conv1(&nn, x, "post_quant_conv", c->latent_channels);
    nn_enter(&nn, "decoder");
    x = nn_conv3(&nn, x, "conv_in", c->channels[c->blocks - 1]);
    x = mid_block(&nn, x, c);
    for (int i = 0; i < c->blocks; i++) {
        nn_enter(&nn, "up_blocks.%d", i);
        x = up_block(&nn, x, c, i);
        nn_leave(&nn);
    }
    x = out_layers(&nn, x, c->norm_groups, c->out_channels);
    nn_leave(&nn);
    cn_graph_output(nn.g, "image", x, 0);
    return nn.g;
}

/* Pads right and bottom only, unlike the UNet's downsampler. */
static cn_val downsample(struct nn *nn, cn_val x, int out)
{
    struct cn_conv conv = {.out = out, .k = 3, .stride = 2, .pad = {0, 0, 1, 1}};

    return cn_conv2d(nn->g, x, nn_name(nn, "downsamplers.0.conv", "weight"),
                     nn_name(nn, "downsamplers.0.conv", "bias"), &conv);
}

struct cn_graph *cn_vae_encoder_graph(const struct cn_vae_config *c, int n, int height, int width)
{
    struct nn nn = {.g = cn_graph_new("vae encoder")};
    cn_val x =
        cn_graph_input(nn.g, "image", cn_shape4(n, c->in_channels, height, width), CN_F32, 0);

    nn_enter(&nn, "encoder");
    x = nn_conv3(&nn, x, "conv_in", c->channels[0]);
    for (int i = 0; i < c->blocks; i++) {
        nn_enter(&nn, "down_blocks.%d", i);
        for (int j = 0; j < c->layers_per_block; j++)
            x = res(&nn, x, "resnets", j, c->channels[i], c->norm_groups);
        if (i + 1 < c->blocks)
            x = downsample(&nn, x, c->channels[i]);
        nn_leave(&nn);
    }
    x = mid_block(&nn, x, c);
    x = out_layers(&nn, x, c->norm_groups, 2 * c->latent_channels);
    nn_leave(&nn);
    if (c->use_quant_conv)
        x = nn_conv1(&nn, x, "quant_conv", 2 * c->latent_channels);
    cn_graph_output(nn.g, "moments", x, 0);
    return nn.g;
}
