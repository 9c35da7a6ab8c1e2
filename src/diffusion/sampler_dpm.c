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

/* Moves the outputs one on and writes this call's x0 to buf[0]. */
static void push_x0(struct cn_sampler_state *s, const float *x, const float *out)
{
    struct cn_mix m = cn_sampler_mix_dpm(s, s->at);
    float *oldest = s->buf[2];

    memmove(&s->buf[1], &s->buf[0], 2 * sizeof(s->buf[0]));
    s->buf[0] = oldest;
    for (size_t i = 0; i < s->n; i++)
        oldest[i] = cn_sampler_x0_vp(s->prediction, m, x[i], out[i]);
}

/* A step of a multistep solver: how many outputs it uses, and its differences
 * D1 and D2 from m0 (newest), m1 and m2. */
struct multistep {
    int order;
    float h;
    float r0, r1; /* h0 / h, h1 / h: lengths of the steps before; only those that order uses */
};

/* DPMSolverMultistepScheduler.step: lower orders at the start and at the end of few steps. Between
 * equal noise levels, where a ratio would be 0, the order is lower too. */
static struct multistep multistep(const struct cn_sampler_state *s)
{
    const struct cn_solver_config *c = &s->t.config.solver;
    int left = s->t.calls - s->at, known = s->at - s->first;
    bool lower = !c->full_order_final && s->t.calls < 15;
    float lambda = level_at(s, s->at).lambda;
    struct multistep m = {.order = CN_MIN(c->order, known + 1),
                          .h = level_at(s, s->at + 1).lambda - lambda};

    if (left == 1 && (lower || c->euler_at_final || s->t.sigma[s->at + 1] == 0))
        m.order = 1;
    if (left == 2 && lower)
        m.order = CN_MIN(m.order, 2);
    if (m.order > 1) {
        float before = level_at(s, s->at - 1).lambda;

        m.r0 = (lambda - before) / m.h;
        if (!(lambda > before && m.h > 0))
            m.order = 1;
        else if (m.order > 2) {
            m.r1 = (before - level_at(s, s->at - 2).lambda) / m.h;
            if (!(m.r1 > 0))
                m.order = 2;
        }
    }
    return m;
}

/* D1 and D2 of element i. */
static void differences(const struct cn_sampler_state *s, const struct multistep *m, size_t i,
                        float ret[2])
{
    float d0 = 1.0f / m->r0 * (s->buf[0][i] - s->buf[1][i]), d1;

    ret[0] = d0;
    if (m->order < 3)
        return;
    d1 = 1.0f / m->r1 * (s->buf[1][i] - s->buf[2][i]);
    ret[0] = d0 + m->r0 / (m->r0 + m->r1) * (d0 - d1);
    ret[1] = 1.0f / (m->r0 + m->r1) * (d0 - d1);
}

/* x = keep x + c0 m0 + c1 D1 + c2 D2 */
static void combine(const struct cn_sampler_state *s, const struct multistep *m, float keep,
                    const float c[3], float *x)
{
    for (size_t i = 0; i < s->n; i++) {
        float d[2] = {0, 0};

        x[i] = keep * x[i] + c[0] * s->buf[0][i];
        if (m->order < 2)
            continue;
        differences(s, m, i, d);
        x[i] = x[i] + c[1] * d[0];
        if (m->order > 2)
            x[i] = x[i] + c[2] * d[1];
    }
}

static bool is_heun(const struct cn_sampler_state *s, const struct multistep *m)
{
    return m->order > 2 || s->t.config.solver.type == CN_SOLVER_HEUN ||
           s->kind == CN_DPMPP_2M_SDE_HEUN;
}

/* DPM-Solver++ multistep (arXiv:2211.01095 algorithm 2), DPMSolverMultistepScheduler:
 *     x_t = s_t/s_s x - alpha_t (e^-h - 1) m0 + c1 D1 + c2 D2
 *     midpoint: c1 = -alpha_t (e^-h - 1) / 2
 *     heun and order 3: c1 = alpha_t ((e^-h - 1)/h + 1), c2 = -alpha_t ((e^-h - 1 + h)/h^2 - 1/2)
 */
void cn_sampler_advance_dpmpp(struct cn_sampler_state *s, float *x, const float *out,
                              const float *z)
{
    struct level from = level_at(s, s->at), to = level_at(s, s->at + 1);
    struct multistep m = multistep(s);
    float h = m.h, fall = exp_float(-h) - 1.0f, c = to.alpha * fall;
    float by[3] = {-c, -0.5f * c, 0};

    (void)z;
    if (m.order > 1 && is_heun(s, &m)) {
        by[1] = to.alpha * (fall / h + 1.0f);
        by[2] = -(to.alpha * ((fall + h) / (h * h) - 0.5f));
    }
    push_x0(s, x, out);
    combine(s, &m, to.s / from.s, by, x);
}

/* SDE-DPM-Solver++ multistep, the same class with algorithm_type sde-dpmsolver++:
 *     x_t = s_t/s_s e^-h x + alpha_t (1 - e^-2h) m0 + c1 D1 + c2 D2 + s_t sqrt(1 - e^-2h) z
 *     midpoint: c1 = alpha_t (1 - e^-2h) / 2
 *     heun and order 3: c1 = alpha_t ((1 - e^-2h)/(-2h) + 1),
 *                       c2 = alpha_t ((1 - e^-2h - 2h)/(2h)^2 - 1/2)
 * where the expansion of c2 has + 1/2: the sign is diffusers'. */
void cn_sampler_advance_dpmpp_2m_sde(struct cn_sampler_state *s, float *x, const float *out,
                                     const float *z)
{
    struct level from = level_at(s, s->at), to = level_at(s, s->at + 1);
    struct multistep m = multistep(s);
    float h = m.h, fade = 1.0f - exp_float(-2.0f * h), c = to.alpha * fade;
    float by[3] = {c, 0.5f * c, 0};
    float spread = to.s * sqrtf(fade);

    if (m.order > 1 && is_heun(s, &m)) {
        by[1] = to.alpha * (fade / (-2.0f * h) + 1.0f);
        by[2] = to.alpha * ((fade - 2.0f * h) / (4.0f * h * h) - 0.5f);
    }
    push_x0(s, x, out);
    combine(s, &m, to.s / from.s * exp_float(-h), by, x);
    for (size_t i = 0; i < s->n; i++)
        x[i] = x[i] + spread * z[i];
}

/* ---- DEIS ---- */

/* The integral of a line in log rho that is 1 at b and 0 at c; t, b, c: rho = s / alpha. */
static float deis_line(float t, float b, float c)
{
    return t * (-log_float(c) + log_float(t) - 1.0f) / (log_float(b) - log_float(c));
}

/* The same of a parabola that is 1 at b and 0 at c and d. */
static float deis_parabola(float t, float b, float c, float d)
{
    float lt = log_float(t), lb = log_float(b), lc = log_float(c), ld = log_float(d);
    float numerator = t * (lc * (ld - lt + 1.0f) - ld * lt + ld + lt * lt - 2.0f * lt + 2.0f);

    return numerator / ((lb - lc) * (lb - ld));
}

/* DEIS (arXiv:2204.13902), log rho; DEISMultistepScheduler:
 * x_t = alpha_t (x / alpha_s + c0 e0 + c1 e1 + c2 e2), which is DDIM's step at first. The list of
 * levels does not end at 0. buf[0] .. buf[2]: noise, newest first. */
void cn_sampler_advance_deis(struct cn_sampler_state *s, float *x, const float *out, const float *z)
{
    struct level from = level_at(s, s->at), to = level_at(s, s->at + 1);
    struct multistep m = multistep(s);
    float c[3] = {-(to.s * (exp_float(m.h) - 1.0f)), 0, 0}, rho[3], end = to.s / to.alpha;
    float keep = to.alpha / from.alpha;

    (void)z;
    push_x0(s, x, out);
    for (size_t i = 0; i < s->n; i++)
        s->buf[0][i] = (x[i] - from.alpha * s->buf[0][i]) / from.s;
    for (int k = 0; k < m.order; k++) {
        struct level v = level_at(s, s->at - k);

        rho[k] = v.s / v.alpha;
    }
    if (m.order == 2) {
        c[0] = deis_line(end, rho[0], rho[1]) - deis_line(rho[0], rho[0], rho[1]);
        c[1] = deis_line(end, rho[1], rho[0]) - deis_line(rho[0], rho[1], rho[0]);
    }
    for (int k = 0; m.order == 3 && k < 3; k++) {
        float a = rho[(k + 1) % 3], b = rho[(k + 2) % 3];

        c[k] = deis_parabola(end, rho[k], a, b) - deis_parabola(rho[0], rho[k], a, b);
    }
    for (size_t i = 0; i < s->n; i++) {
        float v = c[0] * s->buf[0][i];

        if (m.order == 1) {
            x[i] = keep * x[i] + v;
            continue;
        }
        v = x[i] / from.alpha + v + c[1] * s->buf[1][i];
        if (m.order == 3)
            v = v + c[2] * s->buf[2][i];
        x[i] = to.alpha * v;
    }
}

/* ---- UniPC ---- */

/* UniPC (arXiv:2302.04867), B(h) = e^-h - 1 ("bh2") or -h ("bh1"): what both halves need for a step
 * from level "from" to "to". rk = (lambda_older - lambda_from) / h, 0 when there is no older
 * output. */
struct unipc {
    float keep; /* s_to / s_from */
    float c;    /* alpha_to (e^-h - 1) */
    float b;    /* alpha_to B(h) */
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
    float span = s->t.config.solver.type == CN_SOLVER_BH1 ? hh : phi1;
    float b[2];
    struct unipc u = {
        .keep = to.s / from.s, .c = to.alpha * phi1, .b = to.alpha * span, .rho = {0, 0.5f}};

    if (order < 2)
        return u;
    u.rk = (level_at(s, from_at - 1).lambda - from.lambda) / h;
    b[0] = phi / span;
    b[1] = (phi / hh - 0.5f) * 2.0f / span;
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
        x[i] = base - u.b * residual;
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
            base = base - u.b * (0.5f * ((m1[i] - m0[i]) / u.rk));
        x[i] = base;
    }
}

/* UniPCMultistepScheduler.step, solver_order 1 or 2, predict_x0. buf[0..2]: x0, newest first;
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
    s->order = CN_MIN(CN_MIN(s->t.config.solver.order, left), known + 1);
    if (s->order == 2 && still(s, s->at - 1))
        s->order = 1;
    memcpy(s->buf[3], x, s->n * sizeof(*x));
    if (!still(s, s->at))
        unipc_predict(s, x);
}
