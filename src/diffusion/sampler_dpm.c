/* The DPM family: DPM-Solver++ 2M and its SDE form, UniPC. VP coordinates, steps in
 * lambda = ln(alpha / s), data prediction (m = x0).
 *
 * Scalars are float32 as in diffusers 0.35, which keeps them in 0-dimensional tensors. exp, log and
 * expm1 are rounded from double: torch's vector forms differ from that in the last bit at most,
 * and libm's float forms are not the same everywhere.
 */
#include "base/base.h"

#include "diffusion/sampler_priv.h"

#include <math.h>
#include <string.h>

/* A noise level in VP coordinates: alpha = 1 / sqrt(sigma^2 + 1), s = sigma alpha. */
struct level {
    float alpha, s, lambda;
};

static float log_float(float x)
{
    return (float)log((double)x);
}

static float exp_float(float x)
{
    return (float)exp((double)x);
}

static float expm1_float(float x)
{
    return (float)expm1((double)x);
}

/* sigma = 0 gives lambda = infinity, as it should. */
static struct level level_at(const struct cn_sampler_state *s, int at)
{
    float sigma = s->t.sigma[at];
    struct level v;

    v.alpha = 1.0f / sqrtf(sigma * sigma + 1.0f);
    v.s = sigma * v.alpha;
    v.lambda = log_float(v.alpha) - log_float(v.s);
    return v;
}

struct cn_mix cn_sampler_mix_dpm(const struct cn_sampler_state *s, int at)
{
    struct level v = level_at(s, at);

    return (struct cn_mix){v.alpha, v.s};
}

/* Moves the newest output to buf[1] and writes this call's x0 to buf[0]. */
static void push_x0(struct cn_sampler_state *s, const float *x, const float *out)
{
    struct cn_mix m = cn_sampler_mix_dpm(s, s->at);
    float *oldest = s->buf[1];

    s->buf[1] = s->buf[0];
    s->buf[0] = oldest;
    for (size_t i = 0; i < s->n; i++)
        oldest[i] = cn_sampler_x0_vp(s->prediction, m, x[i], out[i]);
}

/* 1 / r0 = h / h0 of the second order step, or 0 when a step of first order is due: at the start,
 * for the last step (final sigma 0), and between equal noise levels, where r0 is 0. */
static float inverse_ratio(const struct cn_sampler_state *s, float h, float lambda)
{
    bool last = s->at + 1 == s->t.calls;

    if (s->at == s->first || last)
        return 0;
    float h0 = lambda - level_at(s, s->at - 1).lambda;
    return h0 > 0 && h > 0 ? 1.0f / (h0 / h) : 0;
}

/* DPM-Solver++(2M) (arXiv:2211.01095 algorithm 2, midpoint); DPMSolverMultistepScheduler:
 * x_t = s_t/s_s x - alpha_t (e^-h - 1) (m0 + D/2), D = (m0 - m1) / r0. */
void cn_sampler_advance_dpmpp(struct cn_sampler_state *s, float *x, const float *out,
                              const float *z)
{
    struct level from = level_at(s, s->at), to = level_at(s, s->at + 1);
    float h = to.lambda - from.lambda, inverse = inverse_ratio(s, h, from.lambda);
    float keep = to.s / from.s, c = to.alpha * (exp_float(-h) - 1.0f);

    (void)z;
    push_x0(s, x, out);
    const float *m0 = s->buf[0], *m1 = s->buf[1];
    if (inverse == 0) {
        for (size_t i = 0; i < s->n; i++)
            x[i] = keep * x[i] - c * m0[i];
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        float d = inverse * (m0[i] - m1[i]);

        x[i] = keep * x[i] - c * m0[i] - 0.5f * c * d;
    }
}

/* SDE-DPM-Solver++(2M), midpoint; DPMSolverMultistepScheduler, algorithm_type sde-dpmsolver++:
 * x_t = s_t/s_s e^-h x + alpha_t (1 - e^-2h) (m0 + D/2) + s_t sqrt(1 - e^-2h) z. */
void cn_sampler_advance_dpmpp_sde(struct cn_sampler_state *s, float *x, const float *out,
                                  const float *z)
{
    struct level from = level_at(s, s->at), to = level_at(s, s->at + 1);
    float h = to.lambda - from.lambda, inverse = inverse_ratio(s, h, from.lambda);
    float keep = to.s / from.s * exp_float(-h), fade = 1.0f - exp_float(-2.0f * h);
    float c = to.alpha * fade, spread = to.s * sqrtf(fade);

    push_x0(s, x, out);
    const float *m0 = s->buf[0], *m1 = s->buf[1];
    if (inverse == 0) {
        for (size_t i = 0; i < s->n; i++)
            x[i] = keep * x[i] + c * m0[i] + spread * z[i];
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        float d = inverse * (m0[i] - m1[i]);

        x[i] = keep * x[i] + c * m0[i] + 0.5f * c * d + spread * z[i];
    }
}

/* UniPC (arXiv:2302.04867), B(h) = e^-h - 1 ("bh2"): what both halves need for a step from level
 * "from" to "to". rk = (lambda_older - lambda_from) / h, 0 when there is no older output. */
struct unipc {
    float keep; /* s_to / s_from */
    float c;    /* alpha_to (e^-h - 1) */
    float rk;
    float rho[2]; /* corrector: weights of the older difference and of the new one */
};

/* Solves [1 1; rk 1] rho = b in float32 as torch.linalg.solve does, by LU of the transpose. */
static void unipc_solve(float rk, const float b[2], float ret[2])
{
    ret[1] = (b[1] - rk * b[0]) / (1.0f - rk);
    ret[0] = b[0] - ret[1];
}

static struct unipc unipc_coefficients(const struct cn_sampler_state *s, int from_at, int order)
{
    struct level from = level_at(s, from_at), to = level_at(s, from_at + 1);
    float h = to.lambda - from.lambda, hh = -h;
    float phi1 = expm1_float(hh), phi = phi1 / hh - 1.0f;
    float b[2];
    struct unipc u = {.keep = to.s / from.s, .c = to.alpha * phi1, .rho = {0, 0.5f}};

    if (order < 2)
        return u;
    u.rk = (level_at(s, from_at - 1).lambda - from.lambda) / h;
    b[0] = phi / phi1;
    b[1] = (phi / hh - 0.5f) * 2.0f / phi1;
    unipc_solve(u.rk, b, u.rho);
    return u;
}

/* Two equal noise levels in a row: diffusers divides 0 by 0 here. */
static bool still(const struct cn_sampler_state *s, int at)
{
    return level_at(s, at).lambda == level_at(s, at + 1).lambda;
}

/* UniC: x at this level again, now that the network's answer there (m, buf[0] after the push) is
 * known; m0 = buf[1] and m1 = buf[2] are the answers before. */
static void unipc_correct(struct cn_sampler_state *s, float *x)
{
    struct unipc u = unipc_coefficients(s, s->at - 1, s->order);
    const float *m = s->buf[0], *m0 = s->buf[1], *m1 = s->buf[2], *last = s->buf[3];

    for (size_t i = 0; i < s->n; i++) {
        float base = u.keep * last[i] - u.c * m0[i];
        float residual = u.rho[1] * (m[i] - m0[i]);

        if (s->order == 2)
            residual = u.rho[0] * ((m1[i] - m0[i]) / u.rk) + residual;
        x[i] = base - u.c * residual;
    }
}

/* UniP: one level down. */
static void unipc_predict(struct cn_sampler_state *s, float *x)
{
    struct unipc u = unipc_coefficients(s, s->at, s->order);
    const float *m0 = s->buf[0], *m1 = s->buf[1];

    for (size_t i = 0; i < s->n; i++) {
        float base = u.keep * x[i] - u.c * m0[i];

        if (s->order == 2)
            base = base - u.c * (0.5f * ((m1[i] - m0[i]) / u.rk));
        x[i] = base;
    }
}

/* UniPCMultistepScheduler.step, solver_order 2, bh2, predict_x0. buf[0..2]: x0, newest first;
 * buf[3]: the corrected sample of the call before. */
void cn_sampler_advance_unipc(struct cn_sampler_state *s, float *x, const float *out,
                              const float *z)
{
    struct cn_mix m = cn_sampler_mix_dpm(s, s->at);
    float *oldest = s->buf[2];
    int known = s->at - s->first, left = s->t.calls - s->at;

    (void)z;
    memmove(&s->buf[1], &s->buf[0], 2 * sizeof(s->buf[0]));
    s->buf[0] = oldest;
    for (size_t i = 0; i < s->n; i++)
        oldest[i] = cn_sampler_x0_vp(s->prediction, m, x[i], out[i]);
    if (known > 0 && !still(s, s->at - 1))
        unipc_correct(s, x);
    s->order = CN_MIN(CN_MIN(2, left), known + 1);
    if (s->order == 2 && still(s, s->at - 1))
        s->order = 1;
    memcpy(s->buf[3], x, s->n * sizeof(*x));
    if (!still(s, s->at))
        unipc_predict(s, x);
}
