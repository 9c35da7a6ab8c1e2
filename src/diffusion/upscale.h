/* A latent of another size: what lies between two passes over a picture. Any thread. */
#ifndef CN_DIFFUSION_UPSCALE_H
#define CN_DIFFUSION_UPSCALE_H

#include "base/base.h"
#include "base/spec.h"

/* Cells [channels, h, w]. */
struct cn_latent_size {
    int channels, h, w;
};

/* The size in cells, at least b, that covers b with the aspect of a. */
void cn_latent_cover(const struct cn_latent_size *a, const struct cn_latent_size *b, int *ret_w,
                     int *ret_h);

/* from, of size a, becomes to, of size b: as large as covers b with the same aspect, then cut in
 * the middle. kind is one of those of latents; no side of b is smaller than a's. */
void cn_latent_upscale(enum cn_upscaler kind, const float *from, const struct cn_latent_size *a,
                       float *to, const struct cn_latent_size *b);

/* The same without cutting: each side by its own factor, which may be below 1. */
void cn_latent_stretch(enum cn_upscaler kind, const float *from, const struct cn_latent_size *a,
                       float *to, const struct cn_latent_size *b);

#endif
