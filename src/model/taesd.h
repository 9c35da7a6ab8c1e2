/* TAESD's decoder: a small network that does roughly what the autoencoder's does (diffusers
 * AutoencoderTiny). Any thread. */
#ifndef CN_MODEL_TAESD_H
#define CN_MODEL_TAESD_H

#include "tensor/graph.h"

enum { CN_TAESD_LEVELS = 5 };

struct cn_taesd_config {
    int latent_channels, channels;
    int levels;                  /* each but the last one doubles the sides */
    int blocks[CN_TAESD_LEVELS]; /* of each level */
};

/* Pixels per latent cell along one side. */
int cn_taesd_factor(const struct cn_taesd_config *c);
/* input "latent" [1, latent_channels, h, w], as samplers have it; output "image"
 * [1, 3, h * factor, w * factor], nominally [0,1]. */
struct cn_graph *cn_taesd_decoder_graph(const struct cn_taesd_config *c, int h, int w) CN_MUST_USE;

#endif
