/* Curves of noise levels, in double as numpy computes them.
 *
 * Karras et al. (arXiv:2206.00364); exponential and beta (arXiv:2407.12173) as in diffusers 0.35;
 * the others as in k-diffusion and AUTOMATIC1111, beta_timesteps as in ComfyUI.
 */
#include "base/base.h"

#include "diffusion/curve.h"

#include <math.h>

/* numpy's float32 logarithm, here rounded correctly (numpy's may be one bit off). */
static float log_float(float x)
{
    return (float)log((double)x);
}

double cn_curve_sigma_to_t(double sigma, const float *table, int n)
{
    double target = log(fmax(sigma, 1e-10));
    int low = 0, above = n; /* the last entry that is not above the target lies in [low, above) */

    while (above - low > 1) {
        int mid = low + (above - low) / 2;

        if (target >= (double)log_float(table[mid]))
            low = mid;
        else
            above = mid;
    }
    low = CN_MIN(low, n - 2);
    float a = log_float(table[low]), b = log_float(table[low + 1]);
    if (a == b)
        return low + 1;
    double w = ((double)a - target) / (double)(a - b); /* a - b rounds to float in numpy too */
    w = fmin(fmax(w, 0), 1);
    return (1 - w) * low + w * (low + 1);
}

/* The other way, between timesteps linear in log sigma (k-diffusion's t_to_sigma). */
static double t_to_sigma(const struct cn_curve *c, double t)
{
    int low = CN_MIN((int)t, c->total - 2);
    double w = t - low;
    double a = log((double)c->table[low]), b = log((double)c->table[low + 1]);

    return exp((1 - w) * a + w * b);
}

/* From a down to b, position i of n, evenly; one alone is a. */
static double between(double a, double b, int n, int i)
{
    if (n == 1)
        return a;
    if (i == n - 1)
        return b;
    return a + (double)i * ((b - a) / (double)(n - 1));
}

/* ---- beta distribution ---- */

enum { BETA_TERMS = 300, BETA_HALVINGS = 200 };

static const double beta_shape = 0.6;
static const double beta_complete = 2.4153442080024714; /* gamma(0.6)^2 / gamma(1.2) */

/* The continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8) by Lentz's
 * method; converges in some ten terms below the mean. */
static double beta_fraction(double x)
{
    const double a = beta_shape, tiny = 1e-300;
    double c = 1, d = 1 / fmax(1 - 2 * a * x / (a + 1), tiny), f = d;

    for (int m = 1; m < BETA_TERMS; m++) {
        double even = m * (a - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (2 * a + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double step;

        d = 1 / (1 + even * d);
        c = 1 + even / c;
        f *= d * c;
        d = 1 / (1 + odd * d);
        c = 1 + odd / c;
        step = d * c;
        f *= step;
        if (fabs(step - 1) < 1e-16)
            break;
    }
    return f;
}

/* I_x(0.6, 0.6) for x up to 1/2 */
static double beta_lower(double x)
{
    return pow(x * (1 - x), beta_shape) * beta_fraction(x) / (beta_shape * beta_complete);
}

double cn_curve_beta_quantile(double p)
{
    double low = 0, high = 0.5;

    if (p > 0.5)
        return 1 - cn_curve_beta_quantile(1 - p);
    if (p <= 0)
        return 0;
    if (p == 0.5) /* exactly: half of an odd number of timesteps is rounded */
        return 0.5;
    for (int i = 0; i < BETA_HALVINGS && low < high; i++) {
        double mid = low + (high - low) / 2;

        if (mid == low || mid == high)
            break;
        if (beta_lower(mid) < p)
            low = mid;
        else
            high = mid;
    }
    return high;
}

/* ---- the curves ---- */

/* Align Your Steps (Sabour et al. 2024, arXiv:2404.14507): levels found for SD 1.5 in 10 steps;
 * other numbers by interpolation of their logarithms. */
static double aligned(int n, int i)
{
    static const double level[] = {14.615, 6.475, 3.861, 2.697, 1.886, 1.396,
                                   0.963,  0.652, 0.399, 0.152, 0.029};
    int last = (int)CN_LEN(level) - 1;
    double at = between(0, last, n, i);
    int low = CN_MIN((int)at, last - 1);
    double w = at - low;

    return exp((1 - w) * log(level[low]) + w * log(level[low + 1]));
}

/* arXiv:2206.00364 eq. 5 with rho = 7 */
static double karras(double max, double min, int n, int i)
{
    double a = pow(max, 1.0 / 7), b = pow(min, 1.0 / 7);

    return pow(a + between(0, 1, n, i) * (b - a), 7);
}

static double exponential(const struct cn_curve *c, int n, int i)
{
    if (c->float_logs)
        return exp(
            between((double)log_float((float)c->max), (double)log_float((float)c->min), n, i));
    return exp(between(log(c->max), log(c->min), n, i));
}

/* Evenly in the arc tangent of sigma (arXiv:2404.14507, theorem 3.1); the only curve whose level n
 * is not 0. */
static double kl_optimal(double max, double min, int n, int i)
{
    double r = (double)i / n;

    return tan(r * atan(min) + (1 - r) * atan(max));
}

/* The timestep of curves that choose whole or evenly spaced ones; -1 for the others. */
static double timestep_of(const struct cn_curve *c, int n, int i)
{
    int end = c->total - 1;

    switch (c->kind) {
    case CN_SCHEDULE_SGM_UNIFORM:
        return between(end, 0, n + 1, i);
    case CN_SCHEDULE_NORMAL:
        return between(end, 0, n, i);
    case CN_SCHEDULE_SIMPLE:
        return end - (int)(i * ((double)c->total / n));
    case CN_SCHEDULE_BETA_TIMESTEPS:
        return rint(cn_curve_beta_quantile(1 - (double)i / n) * end);
    default:
        return -1;
    }
}

static double sigma_of(const struct cn_curve *c, int n, int i)
{
    double max = (double)c->table[c->total - 1], min = (double)c->table[0];

    switch (c->kind) {
    case CN_KARRAS:
        return karras(c->max, c->min, n, i);
    case CN_SCHEDULE_BETA:
        return c->min + cn_curve_beta_quantile(1 - between(0, 1, n, i)) * (c->max - c->min);
    case CN_SCHEDULE_POLYEXPONENTIAL: /* with rho = 1, the default everywhere */
        return exp(between(0, 1, n, i) * (log(min) - log(max)) + log(max));
    case CN_SCHEDULE_KL_OPTIMAL:
        return kl_optimal(max, min, n, i);
    case CN_SCHEDULE_AYS:
        return aligned(n, i);
    default:
        return exponential(c, n, i);
    }
}

static struct cn_visit visit(const struct cn_curve *c, int n, int i)
{
    double t = timestep_of(c, n, i), sigma;

    if (t >= 0)
        return (struct cn_visit){t_to_sigma(c, t), t};
    sigma = sigma_of(c, n, i);
    return (struct cn_visit){sigma, cn_curve_sigma_to_t(sigma, c->table, c->total)};
}

int cn_curve_fill(const struct cn_curve *c, int n, struct cn_visit *ret)
{
    int count = 0;

    for (int i = 0; i < n; i++) {
        ret[count] = visit(c, n, i);
        if (c->kind == CN_SCHEDULE_BETA_TIMESTEPS && count > 0 && ret[count].t == ret[count - 1].t)
            continue;
        count++;
    }
    ret[count] = (struct cn_visit){0, 0};
    if (c->kind == CN_SCHEDULE_KL_OPTIMAL)
        ret[count] = visit(c, n, n);
    return count;
}
