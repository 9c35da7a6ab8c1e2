/* The clean latent that a network's answer stands for, in the two coordinate systems of samplers.
 */
#include "base/base.h"

#include "diffusion/sampler_priv.h"

#include <math.h>

/* x = signal x0 + noise e. Epsilon: x0 = (x - noise e) / signal. v = signal e - noise x0
 * (arXiv:2202.00512): x0 = signal x - noise v. */
float cn_sampler_x0_vp(enum cn_prediction p, struct cn_mix m, float x, float out)
{
    if (p == CN_PREDICT_V)
        return m.signal * x - m.noise * out;
    return (x - m.noise * out) / m.signal;
}

/* The same where X = x0 + sigma e, and v belongs to x = X / sqrt(sigma^2 + 1). */
float cn_sampler_x0_ve(enum cn_prediction p, float sigma, float x, float out)
{
    if (p == CN_PREDICT_V)
        return out * (-sigma / sqrtf(sigma * sigma + 1.0f)) + x / (sigma * sigma + 1.0f);
    return x - sigma * out;
}
