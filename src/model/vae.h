/* The autoencoder between pixels and latents: AutoencoderKL (Rombach et al. 2022,
 * arXiv:2112.10752; diffusers AutoencoderKL). Any thread. */
#ifndef CN_MODEL_VAE_H
#define CN_MODEL_VAE_H

#include "tensor/graph.h"
#include "checkpoint/config.h"

/* Pixels per latent cell along one side: 2^(blocks - 1). */
int cn_vae_factor(const struct cn_vae_config *c);

/* input "latent" [n, latent_channels, h, w], scaling factor already divided out; output "image"
 * [n, 3, h * factor, w * factor], nominally [-1,1]. */
struct cn_graph *cn_vae_decoder_graph(const struct cn_vae_config *c, int n, int h,
                                      int w) CN_MUST_USE;

/* input "image" [n, 3, H, W] in [-1,1]; output "moments" [n, 2 * latent_channels, H / factor,
 * W / factor]: means, then log variances. */
struct cn_graph *cn_vae_encoder_graph(const struct cn_vae_config *c, int n, int height,
                                      int width) CN_MUST_USE;

#endif
