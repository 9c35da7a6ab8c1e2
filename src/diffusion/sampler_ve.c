/* Samplers in variance exploding coordinates, X = x0 + sigma e: Euler, Euler ancestral, Heun.
 *
 * Every line of arithmetic is one float32 operation of diffusers 0.35, in its order.
 */
#include "base/base.h"

#include "diffusion/sampler_priv.h"

#include <math.h>
#include <string.h>

struct cn_mix cn_sampler_mix_ve(const struct cn_sampler_state *s, int at)
{
    return (struct cn_mix){1, s->t.sigma[at]};
}

/* dX/dsigma = (X - x0) / sigma (arXiv:2206.00364 eq. 3) */
static float slope(const struct cn_sampler_state *s, float sigma, float x, float out)
{
    float x0 = cn_sampler_clip(s, cn_sampler_x0_ve(s->prediction, sigma, x, out));

    return (x - x0) / sigma;
}

/* EulerDiscreteScheduler.step without churn. */
void cn_sampler_advance_euler(struct cn_sampler_state *s, float *x, const float *out,
                              const float *z)
{
    float sigma = s->t.sigma[s->at], dt = s->t.sigma[s->at + 1] - sigma;

    (void)z;
    for (size_t i = 0; i < s->n; i++)
        x[i] = x[i] + slope(s, sigma, x[i], out[i]) * dt;
}

/* EulerAncestralDiscreteScheduler.step: down to sigma_down, then up again with fresh noise;
 * sigma_up^2 = to^2 (from^2 - to^2) / from^2, sigma_down^2 = to^2 - sigma_up^2. */
void cn_sampler_advance_euler_a(struct cn_sampler_state *s, float *x, const float *out,
                                const float *z)
{
    float from = s->t.sigma[s->at], to = s->t.sigma[s->at + 1];
    float up = sqrtf(to * to * (from * from - to * to) / (from * from));
    /* where to is far below from, rounding may leave a little below 0 */
    float down = sqrtf(fmaxf(to * to - up * up, 0.0f));
    float dt = down - from;

    for (size_t i = 0; i < s->n; i++) {
        float ahead = x[i] + slope(s, from, x[i], out[i]) * dt;

        x[i] = ahead + z[i] * up;
    }
}

/* HeunDiscreteScheduler.step (arXiv:2206.00364 algorithm 1, no churn): calls alternate between a
 * tentative Euler step and its correction from the saved sample; a step to sigma 0 is not
 * corrected. buf[0]: the sample before the step; buf[1]: its slope. */
void cn_sampler_advance_heun(struct cn_sampler_state *s, float *x, const float *out, const float *z)
{
    bool second = s->at % 2 != 0; /* calls 0, 2, 4 .. begin a step */
    int begin = second ? s->at - 1 : s->at;
    float sigma = s->t.sigma[begin], next = s->t.sigma[begin + 1], dt = next - sigma;
    float *saved = s->buf[0], *first = s->buf[1];

    (void)z;
    if (second) {
        for (size_t i = 0; i < s->n; i++) {
            float mean = (first[i] + slope(s, next, x[i], out[i])) / 2.0f;

            x[i] = saved[i] + mean * dt;
        }
        return;
    }
    memcpy(saved, x, s->n * sizeof(*x));
    for (size_t i = 0; i < s->n; i++) {
        first[i] = slope(s, sigma, x[i], out[i]);
        x[i] = x[i] + first[i] * dt;
    }
}
