/* Samplers in variance preserving coordinates that step from timestep to timestep: DDIM, PNDM, LCM.
 *
 * Every line of arithmetic is one float32 operation of diffusers 0.35, in its order.
 */
#include "base/base.h"

#include "diffusion/sampler_priv.h"

#include <math.h>
#include <string.h>

/* abar at a timestep that may lie outside the table: before its start the model's final value;
 * after its end (leading spacing with as many steps as timesteps and an offset; an IndexError in
 * diffusers) the last. */
static float abar_at(const struct cn_timetable *t, int timestep)
{
    if (timestep < 0)
        return t->final_abar;
    return t->abar[CN_MIN(timestep, t->train_steps - 1)];
}

enum { CN_PRK_CALLS = 12 /* of PNDM's warm-up */ };

static int timestep_at(const struct cn_sampler_state *s, int at)
{
    return (int)s->t.timestep[at];
}

/* What diffusers subtracts to get the previous timestep, whatever the spacing. */
static int stride(const struct cn_sampler_state *s)
{
    return s->t.train_steps / s->t.steps;
}

struct cn_mix cn_sampler_mix_vp(const struct cn_sampler_state *s, int at)
{
    float abar = abar_at(&s->t, timestep_at(s, at));

    return (struct cn_mix){sqrtf(abar), sqrtf(1.0f - abar)};
}

/* DDIM (arXiv:2010.02502) eq. 12 and 16; DDIMScheduler.step:
 * x_prev = sqrt(abar_p) x0 + sqrt(1 - abar_p - s^2) e + s z,
 * s = eta sqrt((1 - abar_p) / (1 - abar_t) (1 - abar_t / abar_p)). */
void cn_sampler_advance_ddim(struct cn_sampler_state *s, float *x, const float *out, const float *z)
{
    int t = timestep_at(s, s->at);
    float abar = abar_at(&s->t, t), abar_p = abar_at(&s->t, t - stride(s));
    struct cn_mix m = {sqrtf(abar), sqrtf(1.0f - abar)};
    float variance = (1.0f - abar_p) / (1.0f - abar) * (1.0f - abar / abar_p);
    float spread = s->eta * sqrtf(fmaxf(variance, 0.0f));
    /* rounding may leave a little below 0 when eta is 1 and abar is 0 */
    float direction = sqrtf(fmaxf(1.0f - abar_p - spread * spread, 0.0f));
    float signal = sqrtf(abar_p);

    for (size_t i = 0; i < s->n; i++) {
        float x0 = cn_sampler_clip(s, cn_sampler_x0_vp(s->prediction, m, x[i], out[i]));
        float eps = out[i];

        if (s->prediction == CN_PREDICT_V)
            eps = m.signal * out[i] + m.noise * x[i];
        x[i] = signal * x0 + direction * eps;
        if (z != NULL)
            x[i] = x[i] + spread * z[i];
    }
}

/* PNDM (arXiv:2202.09778) eq. 9; PNDMScheduler._get_prev_sample. */
static void pndm_transfer(const struct cn_sampler_state *s, int t, int previous, const float *from,
                          const float *e, float *ret)
{
    float abar = abar_at(&s->t, t), abar_p = abar_at(&s->t, previous);
    float signal = sqrtf(abar), noise = sqrtf(1.0f - abar);
    float keep = sqrtf(abar_p / abar);
    float denominator = abar * sqrtf(1.0f - abar_p) + sqrtf(abar * (1.0f - abar) * abar_p);
    float difference = abar_p - abar;

    for (size_t i = 0; i < s->n; i++) {
        float eps = e[i];

        if (s->prediction == CN_PREDICT_V)
            eps = signal * e[i] + noise * from[i];
        ret[i] = keep * from[i] - difference * eps / denominator;
    }
}

/* Linear multistep combination of the outputs e[0] (newest) .. e[3] (eq. 12 and below). */
static void pndm_combine(size_t n, int known, float *const e[4], float *ret)
{
    for (size_t i = 0; i < n; i++)
        switch (known) {
        case 1:
            ret[i] = e[0][i];
            break;
        case 2:
            ret[i] = (3.0f * e[0][i] - e[1][i]) / 2.0f;
            break;
        case 3:
            ret[i] = (23.0f * e[0][i] - 16.0f * e[1][i] + 5.0f * e[2][i]) / 12.0f;
            break;
        default:
            ret[i] = (float)(1.0 / 24) *
                     (55.0f * e[0][i] - 59.0f * e[1][i] + 37.0f * e[2][i] - 9.0f * e[3][i]);
        }
}

/* The newest output first; buf[0] .. buf[3]. */
static void pndm_push(struct cn_sampler_state *s, const float *out)
{
    float *oldest = s->buf[3];

    memmove(&s->buf[1], &s->buf[0], 3 * sizeof(s->buf[0]));
    s->buf[0] = oldest;
    memcpy(s->buf[0], out, s->n * sizeof(*out));
}

/* PNDMScheduler.step_plms. With skip_prk_steps the first two calls are a pseudo improved Euler
 * step: a plain step, then the same step again from the saved sample with the mean of both answers.
 * buf[4]: the saved sample, and scratch afterwards. */
static void pndm_plms(struct cn_sampler_state *s, float *x, const float *out, int counter)
{
    int t = timestep_at(s, s->at);
    float *scratch = s->buf[4];

    if (counter == 1) {
        for (size_t i = 0; i < s->n; i++)
            x[i] = (out[i] + s->buf[0][i]) / 2.0f;
        pndm_transfer(s, t + stride(s), t, scratch, x, x);
        return;
    }
    pndm_push(s, out);
    if (counter == 0) {
        memcpy(scratch, x, s->n * sizeof(*x));
        pndm_transfer(s, t, t - stride(s), x, out, x);
        return;
    }
    pndm_combine(s->n, CN_MIN(counter, 4), s->buf, scratch);
    pndm_transfer(s, t, t - stride(s), x, scratch, x);
}

/* PNDMScheduler.step_prk: Runge-Kutta of fourth order (arXiv:2202.09778 eq. 13), four calls for a
 * step. buf[4]: the sample before the step; buf[5]: the sum of its answers so far. From an image
 * diffusers counts calls from the start of the cut list, timesteps from that of the whole one. */
static void pndm_prk(struct cn_sampler_state *s, float *x, const float *out, int counter)
{
    static const float weight[] = {(float)(1.0 / 6), (float)(1.0 / 3), (float)(1.0 / 3),
                                   (float)(1.0 / 6)};
    int stage = counter % 4, from = timestep_at(s, counter - stage);
    int to = timestep_at(s, s->at) - (counter % 2 ? 0 : stride(s) / 2);
    float *saved = s->buf[4], *sum = s->buf[5];

    if (stage == 0) {
        pndm_push(s, out);
        memcpy(saved, x, s->n * sizeof(*x));
    }
    for (size_t i = 0; i < s->n; i++)
        sum[i] = stage == 0 ? weight[0] * out[i] : sum[i] + weight[stage] * out[i];
    pndm_transfer(s, from, to, saved, stage == 3 ? sum : out, x);
}

void cn_sampler_advance_pndm(struct cn_sampler_state *s, float *x, const float *out, const float *z)
{
    int counter = s->at - s->first;

    (void)z;
    if (s->t.config.prk_steps && counter < CN_PRK_CALLS)
        pndm_prk(s, x, out, counter);
    else
        pndm_plms(s, x, out, counter);
}

/* Latent consistency models (arXiv:2310.04378); LCMScheduler.step: denoise by the boundary scalings
 * c_skip and c_out of 10 t (timestep_scaling; sigma_data 1/2), then add fresh noise of the next
 * timestep. */
void cn_sampler_advance_lcm(struct cn_sampler_state *s, float *x, const float *out, const float *z)
{
    struct cn_mix m = cn_sampler_mix_vp(s, s->at), next = {1, 0};
    float scaled = s->t.timestep[s->at] * (float)s->t.config.solver.timestep_scaling;
    float denominator = scaled * scaled + 0.25f;
    float c_skip = 1.0f / denominator * 0.25f;
    float c_out = scaled / sqrtf(denominator);
    bool last = s->at + 1 == s->t.calls;

    if (!last)
        next = cn_sampler_mix_vp(s, s->at + 1);
    for (size_t i = 0; i < s->n; i++) {
        float x0 = cn_sampler_clip(s, cn_sampler_x0_vp(s->prediction, m, x[i], out[i]));

        x[i] = c_out * x0 + c_skip * x[i];
        if (!last)
            x[i] = next.signal * x[i] + next.noise * z[i];
    }
}

/* Trajectory consistency distillation (arXiv:2402.19159); TCDScheduler.step: to timestep
 * s = (1 - gamma) t_next by the answer, from there to t_next with fresh noise. */
void cn_sampler_advance_tcd(struct cn_sampler_state *s, float *x, const float *out, const float *z)
{
    struct cn_mix m = cn_sampler_mix_vp(s, s->at);
    bool last = s->at + 1 == s->t.calls;
    int next = last ? 0 : timestep_at(s, s->at + 1);
    int between = (int)floorf((float)(1.0 - (double)s->eta) * (float)next);
    float abar_s = abar_at(&s->t, between), abar_n = abar_at(&s->t, next);
    float signal = sqrtf(abar_s), noise = sqrtf(1.0f - abar_s);
    float keep = sqrtf(abar_n / abar_s), spread = sqrtf(fmaxf(1.0f - abar_n / abar_s, 0.0f));

    for (size_t i = 0; i < s->n; i++) {
        float x0 = cn_sampler_x0_vp(s->prediction, m, x[i], out[i]), eps = out[i];

        if (s->prediction == CN_PREDICT_V)
            eps = m.signal * out[i] + m.noise * x[i];
        x[i] = signal * x0 + noise * eps;
        if (z != NULL)
            x[i] = keep * x[i] + spread * z[i];
    }
}
