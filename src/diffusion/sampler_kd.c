/* Samplers of k-diffusion and the programs around it, in variance exploding coordinates,
 * X = x0 + sigma e: DPM-Solver-2 and its ancestral form, DPM++ 2S ancestral, DPM++ SDE, DPM++ 3M
 * SDE, LMS, Heun++ 2, Restart, Euler CFG++.
 *
 * D is the clean picture that the network's answer stands for, d = (X - D) / sigma the slope.
 * Where k-diffusion draws from a Brownian tree each draw is a fresh normal one here: as valid, and
 * another picture.
 */
#include "base/base.h"

#include "diffusion/sampler_priv.h"

#include <math.h>
#include <string.h>

static float sigma_at(const struct cn_sampler_state *s, int at)
{
    return s->t.sigma[at];
}

static float denoised(const struct cn_sampler_state *s, float sigma, float x, float out)
{
    return cn_sampler_x0_ve(s->prediction, sigma, x, out);
}

static float slope(const struct cn_sampler_state *s, float sigma, float x, float out)
{
    return (x - denoised(s, sigma, x, out)) / sigma;
}

static void euler(struct cn_sampler_state *s, float *x, const float *out, float from, float to)
{
    for (size_t i = 0; i < s->n; i++)
        x[i] += slope(s, from, x[i], out[i]) * (to - from);
}

/* A step with a call in the middle: calls 0, 2, 4 .. begin one; the last has none when it ends
 * at 0. */
struct middle {
    bool second, alone;
    float from, mid, to; /* sigma */
};

static struct middle middle_at(const struct cn_sampler_state *s)
{
    struct middle m = {.second = s->at % 2 != 0};
    int begin = s->at - m.second;

    m.alone = begin + 1 == s->t.calls;
    m.from = sigma_at(s, begin);
    m.mid = m.alone ? 0 : sigma_at(s, begin + 1);
    m.to = sigma_at(s, m.alone ? begin + 1 : begin + 2);
    return m;
}

/* DPM-Solver-2 (arXiv:2206.00364 algorithm 2; KDPM2DiscreteScheduler): the slope of the middle for
 * the whole step. buf[0]: the sample before the step. */
static void dpm2(struct cn_sampler_state *s, float *x, const float *out, const struct middle *m,
                 float to)
{
    float *saved = s->buf[0];

    if (m->alone) {
        euler(s, x, out, m->from, m->to);
        return;
    }
    if (!m->second) {
        memcpy(saved, x, s->n * sizeof(*x));
        euler(s, x, out, m->from, m->mid);
        return;
    }
    for (size_t i = 0; i < s->n; i++)
        x[i] = saved[i] + slope(s, m->mid, x[i], out[i]) * (to - m->from);
}

void cn_sampler_advance_dpm2(struct cn_sampler_state *s, float *x, const float *out, const float *z)
{
    struct middle m = middle_at(s);

    (void)z;
    dpm2(s, x, out, &m, m.to);
}

static void add(struct cn_sampler_state *s, float *x, const float *z, float by)
{
    for (size_t i = 0; i < s->n; i++)
        x[i] += z[i] * by;
}

/* KDPM2AncestralDiscreteScheduler */
void cn_sampler_advance_dpm2_a(struct cn_sampler_state *s, float *x, const float *out,
                               const float *z)
{
    struct middle m = middle_at(s);
    struct cn_ancestral a = cn_sampler_ancestral_single(m.from, m.to);

    dpm2(s, x, out, &m, (float)a.down);
    if (m.second)
        add(s, x, z, (float)a.up);
}

/* x = (to / from) x + (1 - to / from) D: DPM-Solver++ of first order, from x at "from". */
static void exponential_step(const struct cn_sampler_state *s, const float *x, const float *d,
                             double from, double to, float *ret)
{
    float keep = (float)(to / from), take = (float)(1 - to / from);

    for (size_t i = 0; i < s->n; i++)
        ret[i] = keep * x[i] + take * d[i];
}

/* buf[1] = D */
static const float *denoise(struct cn_sampler_state *s, float sigma, const float *x,
                            const float *out)
{
    for (size_t i = 0; i < s->n; i++)
        s->buf[1][i] = denoised(s, sigma, x[i], out[i]);
    return s->buf[1];
}

/* DPM-Solver++(2S) with ancestral noise (k-diffusion sample_dpmpp_2s_ancestral): D of the middle
 * for the whole step. buf[0]: the sample before the step. */
void cn_sampler_advance_dpmpp_2s_a(struct cn_sampler_state *s, float *x, const float *out,
                                   const float *z)
{
    struct middle m = middle_at(s);
    struct cn_ancestral a = cn_sampler_ancestral((double)m.from, (double)m.to);
    const float *d = denoise(s, m.second ? m.mid : m.from, x, out);

    if (m.alone) {
        exponential_step(s, x, d, (double)m.from, (double)m.to, x);
        return;
    }
    if (!m.second) {
        memcpy(s->buf[0], x, s->n * sizeof(*x));
        exponential_step(s, x, d, (double)m.from, (double)m.mid, x);
        return;
    }
    exponential_step(s, s->buf[0], d, (double)m.from, a.down, x);
    add(s, x, z, (float)a.up);
}

/* DPM-Solver++ (stochastic), r = 1/2 (k-diffusion sample_dpmpp_sde, DPMSolverSDEScheduler): both
 * halves go down further and up again. buf[0]: the sample before the step. */
void cn_sampler_advance_dpmpp_sde(struct cn_sampler_state *s, float *x, const float *out,
                                  const float *z)
{
    struct middle m = middle_at(s);
    float to = m.alone || m.second ? m.to : m.mid;
    struct cn_ancestral a = cn_sampler_ancestral((double)m.from, (double)to);
    const float *d = denoise(s, m.second ? m.mid : m.from, x, out);

    if (!m.second)
        memcpy(s->buf[0], x, s->n * sizeof(*x));
    exponential_step(s, s->buf[0], d, (double)m.from, a.down, x);
    if (z != NULL)
        add(s, x, z, (float)a.up);
}

/* DPM-Solver++(3M) SDE (k-diffusion sample_dpmpp_3m_sde, eta 1). buf[0] .. buf[2]: D, newest first.
 * Equal noise levels lower the order. */
void cn_sampler_advance_dpmpp_3m_sde(struct cn_sampler_state *s, float *x, const float *out,
                                     const float *z)
{
    double from = (double)sigma_at(s, s->at), to = (double)sigma_at(s, s->at + 1);
    int known = s->at - s->first;
    double h = log(from) - log(to), g = 2 * h, r0 = 0, r1 = 0;
    float *oldest = s->buf[2];

    memmove(&s->buf[1], &s->buf[0], 2 * sizeof(s->buf[0]));
    s->buf[0] = oldest;
    for (size_t i = 0; i < s->n; i++)
        oldest[i] = denoised(s, (float)from, x[i], out[i]);
    if (to <= 0) {
        memcpy(x, oldest, s->n * sizeof(*x));
        return;
    }
    if (known > 0 && h > 0)
        r0 = (log((double)sigma_at(s, s->at - 1)) - log(from)) / h;
    if (known > 1 && r0 > 0)
        r1 = (log((double)sigma_at(s, s->at - 2)) - log((double)sigma_at(s, s->at - 1))) / h;
    double fall = expm1(-g), phi2 = h > 0 ? fall / g + 1 : 0, phi3 = h > 0 ? phi2 / g - 0.5 : 0;
    float spread = (float)(to * sqrt(fmax(-fall, 0)));
    for (size_t i = 0; i < s->n; i++) {
        double m0 = (double)s->buf[0][i], m1 = (double)s->buf[1][i], m2 = (double)s->buf[2][i];
        double v = exp(-g) * (double)x[i] - fall * m0;

        if (r0 > 0 && r1 > 0) {
            double d0 = (m0 - m1) / r0, d1 = (m1 - m2) / r1;

            v += phi2 * (d0 + (d0 - d1) * r0 / (r0 + r1)) - phi3 * (d0 - d1) / (r0 + r1);
        } else if (r0 > 0) {
            v += phi2 * (m0 - m1) / r0;
        }
        x[i] = (float)v + spread * z[i];
    }
}

/* The integral from sigma 0 of the list to "to" of the polynomial that is 1 at sigma[j] and 0 at
 * the others: of degree 3 at most, for which two points of Gauss are exact. */
static double lms_weight(const double *sigma, int order, int j, double to)
{
    double half = (to - sigma[0]) / 2, middle = (to + sigma[0]) / 2, sum = 0;

    for (int side = -1; side <= 1; side += 2) {
        double at = middle + side * half / sqrt(3), product = 1;

        for (int k = 0; k < order; k++)
            if (k != j)
                product *= (at - sigma[k]) / (sigma[j] - sigma[k]);
        sum += product;
    }
    return half * sum;
}

/* Linear multistep of order 4 (k-diffusion sample_lms, LMSDiscreteScheduler). buf[0] .. buf[3]:
 * slopes, newest first. From an image diffusers uses the weights of order 4 at once, with slopes
 * that are not there; here the order grows as from the start. */
void cn_sampler_advance_lms(struct cn_sampler_state *s, float *x, const float *out, const float *z)
{
    int known = CN_MIN(s->at - s->first + 1, CN_LMS_ORDER), order = 1;
    double sigma[CN_LMS_ORDER], weight[CN_LMS_ORDER];
    float *oldest = s->buf[CN_LMS_ORDER - 1];

    (void)z;
    memmove(&s->buf[1], &s->buf[0], (CN_LMS_ORDER - 1) * sizeof(s->buf[0]));
    s->buf[0] = oldest;
    for (size_t i = 0; i < s->n; i++)
        oldest[i] = slope(s, sigma_at(s, s->at), x[i], out[i]);
    for (int k = 0; k < known; k++)
        sigma[k] = (double)sigma_at(s, s->at - k);
    while (order < known && sigma[order] > sigma[order - 1]) /* equal levels have no polynomial */
        order++;
    for (int j = 0; j < order; j++)
        weight[j] = lms_weight(sigma, order, j, (double)sigma_at(s, s->at + 1));
    for (size_t i = 0; i < s->n; i++) {
        double sum = (double)x[i];

        for (int j = 0; j < order; j++)
            sum += weight[j] * (double)s->buf[j][i];
        x[i] = (float)sum;
    }
}

/* Heun++ 2: three slopes, weighted by their noise levels; two in the step before the last, one in
 * the last. buf[0]: the sample before the step; buf[1], buf[2]: its slopes. */
void cn_sampler_advance_heunpp2(struct cn_sampler_state *s, float *x, const float *out,
                                const float *z)
{
    int left = s->t.calls - s->at, stage = left > 3 ? s->at % 3 : 3 - left;
    float first = sigma_at(s, s->first), here = sigma_at(s, s->at);
    float *saved = s->buf[0], *d1 = s->buf[1], *d2 = s->buf[2];
    bool two = left == 2;

    (void)z;
    if (left == 1) {
        euler(s, x, out, here, sigma_at(s, s->at + 1));
        return;
    }
    if (stage == 0)
        memcpy(saved, x, s->n * sizeof(*x));
    if (stage < 2 && !two) {
        for (size_t i = 0; i < s->n; i++) {
            float d = slope(s, here, x[i], out[i]);

            (stage == 0 ? d1 : d2)[i] = d;
            x[i] += d * (sigma_at(s, s->at + 1) - here);
        }
        return;
    }
    float begin = sigma_at(s, s->at - stage), end = sigma_at(s, s->at - stage + 1);
    float w = (two ? 2 : 3) * first, w2 = end / w, w3 = two ? 0 : here / w, w1 = 1 - w2 - w3;
    for (size_t i = 0; i < s->n; i++) {
        float d = slope(s, here, x[i], out[i]);
        float mean = two ? w1 * d1[i] + w2 * d : w1 * d1[i] + w2 * d2[i] + w3 * d;

        x[i] = saved[i] + mean * (end - begin);
    }
}

/* Restart (arXiv:2306.14878): steps of Heun; where the list of levels rises again, as much noise as
 * that takes. buf[0]: the sample before the step; buf[1]: its slope. */
void cn_sampler_advance_restart(struct cn_sampler_state *s, float *x, const float *out,
                                const float *z)
{
    struct middle m = middle_at(s); /* mid is where the step ends */
    float *saved = s->buf[0], *first = s->buf[1];

    if (m.alone) {
        euler(s, x, out, m.from, m.to);
        return;
    }
    if (!m.second) {
        memcpy(saved, x, s->n * sizeof(*x));
        for (size_t i = 0; i < s->n; i++) {
            first[i] = slope(s, m.from, x[i], out[i]);
            x[i] += first[i] * (m.mid - m.from);
        }
        return;
    }
    for (size_t i = 0; i < s->n; i++) {
        float mean = (first[i] + slope(s, m.mid, x[i], out[i])) / 2;

        x[i] = saved[i] + mean * (m.mid - m.from);
    }
    if (z != NULL)
        add(s, x, z, sqrtf(m.to * m.to - m.mid * m.mid));
}

/* Euler CFG++ (arXiv:2406.08070): the picture of both rows, and the noise of the row without the
 * prompt: X = D + (to / from) (X - D_u). */
void cn_sampler_advance_euler_cfgpp(struct cn_sampler_state *s, float *x, const float *out,
                                    const float *z)
{
    float from = sigma_at(s, s->at), ratio = sigma_at(s, s->at + 1) / from;
    const float *uncond = s->uncond != NULL ? s->uncond : out;

    (void)z;
    for (size_t i = 0; i < s->n; i++)
        x[i] =
            denoised(s, from, x[i], out[i]) + ratio * (x[i] - denoised(s, from, x[i], uncond[i]));
}
