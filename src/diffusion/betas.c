/* From the betas that a model was trained with to alphas_cumprod, as in diffusers 0.35:
 * float32 where it uses torch, double where it uses numpy, to the last bit. Compiled with
 * -ffp-contract=off for that reason.
 */
#include "base/base.h"

#include "diffusion/schedule.h"
#include "diffusion/schedule_priv.h"

#include <math.h>

enum { MAX_TRAIN_STEPS = 100000 /* the number comes from a file; real models have 1000 */ };

/* torch.linspace, float32: counted from the nearer end, multiply and add fused in torch's build. */
static float linspace_torch(float start, float end, int n, int i)
{
    float step = (end - start) / (float)(n - 1);

    if (i < n / 2)
        return fmaf(step, (float)i, start);
    return fmaf(-step, (float)(n - 1 - i), end);
}

/* squaredcos_cap_v2: beta_t = 1 - f(t+1)/f(t), f(t) = cos^2((t/T + 0.008) / 1.008 pi/2)
 * (arXiv:2102.09672 eq. 17), in double. */
static float cosine_beta(int total, int i)
{
    const double half_pi = 3.14159265358979323846 / 2;
    double a = cos(((double)i / total + 0.008) / 1.008 * half_pi);
    double b = cos(((double)(i + 1) / total + 0.008) / 1.008 * half_pi);

    return (float)fmin(1.0 - b * b / (a * a), 0.999);
}

static float beta_at(const struct cn_schedule_config *c, int i)
{
    float root;

    switch (c->beta_schedule) {
    case CN_BETA_LINEAR:
        return linspace_torch((float)c->beta_start, (float)c->beta_end, c->train_steps, i);
    case CN_BETA_SCALED_LINEAR:
        root =
            linspace_torch((float)sqrt(c->beta_start), (float)sqrt(c->beta_end), c->train_steps, i);
        return root * root;
    case CN_BETA_COSINE:
        break;
    }
    return cosine_beta(c->train_steps, i);
}

/* torch.cumprod of 1 - beta in place: accumulated in double, stored as float. */
static void cumprod(float *beta, int n)
{
    double product = 1;

    for (int i = 0; i < n; i++) {
        product *= (double)(1.0f - beta[i]);
        beta[i] = (float)product;
    }
}

/* abar to the betas whose terminal SNR is zero, in place (arXiv:2305.08891, algorithm 1). */
static void zero_terminal_snr(float *abar, int n)
{
    float first = sqrtf(abar[0]), last = sqrtf(abar[n - 1]);
    float ratio = first / (first - last);
    float previous = 1;

    for (int i = 0; i < n; i++) {
        float root = (sqrtf(abar[i]) - last) * ratio;
        float square = root * root;

        abar[i] = 1.0f - square / previous;
        previous = square;
    }
}

int cn_schedule_check_total(int n, struct cn_err *err)
{
    if (n < 2 || n > MAX_TRAIN_STEPS)
        return cn_fail(err, CN_EFORMAT, "%d training timesteps: 2 to %d are accepted", n,
                       MAX_TRAIN_STEPS);
    return CN_OK;
}

int cn_schedule_abar(const struct cn_schedule_config *c, bool zero_snr, float *ret,
                     struct cn_err *err)
{
    int n = c->train_steps;
    bool ends_in_zero = zero_snr && c->rescale_zero_snr;
    int rc;

    if ((rc = cn_schedule_check_total(n, err)) < 0)
        return rc;
    if (c->beta_schedule != CN_BETA_COSINE &&
        !(c->beta_start > 0 && c->beta_start < 1 && c->beta_end > 0 && c->beta_end < 1))
        return cn_fail(err, CN_EFORMAT, "betas from %g to %g do not lie between 0 and 1",
                       c->beta_start, c->beta_end);
    for (int i = 0; i < n; i++)
        ret[i] = beta_at(c, i);
    cumprod(ret, n);
    if (ends_in_zero) {
        zero_terminal_snr(ret, n);
        cumprod(ret, n);
    }
    if (!(ret[0] < 1) || !(ret[n - 1 - ends_in_zero] > 0))
        return cn_fail(err, CN_EFORMAT,
                       "betas from %g to %g in %d timesteps leave no noise at the start or no "
                       "signal at the end",
                       c->beta_start, c->beta_end, n);
    return CN_OK;
}
