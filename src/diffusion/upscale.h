/* A latent of another size: what lies between two passes over a picture. Any thread. */
#ifndef CN_DIFFUSION_UPSCALE_H
#define CN_DIFFUSION_UPSCALE_H

#include "base/base.h"
#include "base/spec.h"

/* Cells [channels, h, w]. */
struct cn_latent_size {
    int channels, h, w;
};

/* from, of size a, becomes to, of size b: as large as covers b with the same aspect, then cut in
 * the middle. CN_UP_LATENT is bilinear, as PyTorch's interpolate without antialiasing. */
void cn_latent_upscale(enum cn_upscaler kind, const float *from, const struct cn_latent_size *a,
                       float *to, const struct cn_latent_size *b);

#endif
