/* Emits the graph of TAESD's decoder. The file numbers the layers, activations and upsampling
 * included; the numbers go on over all levels. */
#include "base/base.h"
#include "model/taesd.h"
#include "model/nn.h"

#include <stdio.h>

static const float range = 3; /* latents are squashed into it */

int cn_taesd_factor(const struct cn_taesd_config *c)
{
    return 1 << (c->levels - 1);
}

static cn_val block(struct nn *nn, cn_val x, int channels)
{
    static const char *const name[] = {"conv.0", "conv.2", "conv.4"};
    cn_val h = x;

    for (int i = 0; i < 3; i++) {
        h = nn_conv3(nn, h, name[i], channels);
        if (i < 2)
            h = cn_act(nn->g, h, CN_RELU);
    }
    return cn_act(nn->g, cn_add(nn->g, h, x), CN_RELU);
}

/* Without a bias, but for the last one. */
static cn_val conv(struct nn *nn, cn_val x, int layer, int out, bool bias)
{
    struct cn_conv c = {.out = out, .k = 3, .stride = 1, .pad = {1, 1, 1, 1}};
    char name[16];

    snprintf(name, sizeof(name), "%d", layer);
    return cn_conv2d(nn->g, x, nn_name(nn, name, "weight"),
                     bias ? nn_name(nn, name, "bias") : NULL, &c);
}

struct cn_graph *cn_taesd_decoder_graph(const struct cn_taesd_config *c, int h, int w)
{
    struct nn nn = {.g = cn_graph_new("taesd")};
    cn_val x = cn_graph_input(nn.g, "latent", cn_shape4(1, c->latent_channels, h, w), CN_F32, 0);
    int layer = 0;

    x = cn_scale(nn.g, cn_act(nn.g, cn_scale(nn.g, x, 1 / range), CN_TANH), range);
    nn_enter(&nn, "decoder.layers");
    x = cn_act(nn.g, conv(&nn, x, layer, c->channels, true), CN_RELU);
    layer += 2;
    for (int i = 0; i < c->levels; i++) {
        bool last = i + 1 == c->levels;

        for (int k = 0; k < c->blocks[i]; k++) {
            nn_enter(&nn, "%d", layer++);
            x = block(&nn, x, c->channels);
            nn_leave(&nn);
        }
        if (!last) {
            h *= 2;
            w *= 2;
            x = cn_upsample(nn.g, x, h, w);
            layer++;
        }
        x = conv(&nn, x, layer++, last ? 3 : c->channels, last);
    }
    nn_leave(&nn);
    cn_graph_output(nn.g, "image", x, 0); /* [0,1] */
    return nn.g;
}
