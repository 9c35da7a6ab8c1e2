/* Inpainting with a network of 4 latent channels: what is not masked is put back after each step.
 *
 * Mask values: 1 is painted anew, 0 is kept. Pure functions; any thread. Rule of diffusers 0.35
 * StableDiffusionControlNetInpaintPipeline (init_latents_proper).
 *
 *     cn_inpaint_mask(gray, W, H, w, h, mask);                   -- once
 *     ... cn_sampler_advance(s, x, eps, &z);
 *     cn_sampler_add_noise(s, original, noise, kept);            -- clean after the last call
 *     cn_inpaint_blend(c, h * w, mask, kept, x);
 */
#ifndef CN_DIFFUSION_INPAINT_H
#define CN_DIFFUSION_INPAINT_H

#include "base/base.h"

/* Pixels in [0,1], [src_h, src_w], to a mask of zeros and ones of latent size [h, w]: first
 * binarised (1 when >= 0.5), then nearest neighbour, src = floor(dst * src_size / size). */
void cn_inpaint_mask(const float *src, int src_w, int src_h, int w, int h, float *ret);

/* The same, but 1 for each cell of which any pixel reaches 0.5: strokes are not missed. */
void cn_inpaint_cover(const float *src, int src_w, int src_h, int w, int h, float *ret);

/* x = (1 - mask) kept + mask x; x and kept: [channels, pixels], mask: [pixels]. */
void cn_inpaint_blend(size_t channels, size_t pixels, const float *mask, const float *kept,
                      float *x);

#endif
