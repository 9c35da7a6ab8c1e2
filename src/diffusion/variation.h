/* The first noise of an image that is a variation of another: between the noises of two seeds, or
 * that of a picture of another size in the middle (AUTOMATIC1111's modules/rng.py).
 *
 * Plain functions on arrays; any thread.
 *
 *     struct cn_noise noise;
 *     cn_noise_init(&noise, rng, seed);
 *     cn_variation_noise(&noise, &v, channels, h, w, start, err);  -- then as ever from noise
 */
#ifndef CN_DIFFUSION_VARIATION_H
#define CN_DIFFUSION_VARIATION_H

#include "diffusion/noise.h"

struct cn_variation {
    double strength;  /* [0,1]: how far it is to the noise of subseed; 0: not at all */
    uint64_t subseed;
    int from_h, from_w; /* of the latent whose noise is in the middle; 0: this one's */
};

/* ret [channels, h, w]. z is fresh, and goes on behind one drawing of that size. */
int cn_variation_noise(struct cn_noise *z, const struct cn_variation *v, int channels, int h, int w,
                       float *ret, struct cn_err *err);

#endif
