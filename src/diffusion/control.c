/* How much each level of each ControlNet counts in a step (strength, window, weighting), and
 * guidance: arithmetic on plain arrays. */
#include "base/base.h"

#include "diffusion/control.h"

#include <math.h>
#include <stdio.h>

int cn_control_check(const struct cn_spec_control *c, int index, int levels, struct cn_err *err)
{
    char where[64];

    if (c->weights != CN_W_CUSTOM || c->n_weights == levels)
        return CN_OK;
    snprintf(where, sizeof(where), "/controls/%d/weights", index);
    return cn_fail_at(err, CN_EINVAL, where,
                      "%d numbers were given and \"%s\" has %d levels: one for each is needed",
                      c->n_weights, c->model, levels);
}

bool cn_control_active(const struct cn_spec_control *c, enum cn_sampler sampler, int call,
                       int calls)
{
    int per_step = c->window == CN_WINDOW_A1111 ? cn_spec_calls_per_step(sampler) : 1;

    if (c->strength == 0 ||
        !cn_spec_in_window(c, call / per_step, (calls + per_step - 1) / per_step))
        return false;
    if (c->weights != CN_W_CUSTOM)
        return true;
    for (int i = 0; i < c->n_weights; i++)
        if (c->weight[i] != 0)
            return true;
    return false;
}

/* Soft: 0.825^(k-1-i) (ControlNet's guess mode, gradio_*.py: 0.825^(12-i)). Resolution: 64 / h_i
 * (arXiv:2302.05543, "CFG resolution weighting"; the paper's 64 is the height of the top level of
 * a 512 pixel picture, so it is written as the ratio to the top level here and means the same at
 * every size). */
static double shape(const struct cn_spec_control *c, int i, int levels, const int *side)
{
    switch (c->weights) {
    case CN_W_SOFT:
        return pow(0.825, levels - 1 - i);
    case CN_W_RESOLUTION:
        return (double)side[0] / (double)side[i];
    case CN_W_CUSTOM:
        return i < c->n_weights ? c->weight[i] : 0;
    default:
        return 1;
    }
}

void cn_control_weights(const struct cn_spec_control *c, enum cn_row row, int levels,
                        const int *side, float *ret)
{
    bool none = row == CN_ROW_UNCOND && c->branch == CN_BRANCH_COND;

    for (int i = 0; i < levels; i++)
        ret[i] = none ? 0 : (float)(c->strength * shape(c, i, levels, side));
}

void cn_guidance(size_t n, const float *eps_u, const float *eps_c, float scale, float *ret)
{
    for (size_t i = 0; i < n; i++)
        ret[i] = eps_u[i] + scale * (eps_c[i] - eps_u[i]);
}

void cn_guidance_add(size_t n, const float *eps_u, const float *eps_c, float scale, float *eps)
{
    for (size_t i = 0; i < n; i++)
        eps[i] += scale * (eps_c[i] - eps_u[i]);
}

static double deviation(size_t n, const float *v)
{
    double mean = 0, sum = 0;

    for (size_t i = 0; i < n; i++)
        mean += v[i];
    mean /= (double)n;
    for (size_t i = 0; i < n; i++)
        sum += (v[i] - mean) * (v[i] - mean);
    return sqrt(sum);
}

void cn_guidance_embedding(double scale, int dim, float *ret)
{
    int half = dim / 2;
    float step = -logf(10000.0f) / (float)CN_MAX(half - 1, 1); /* float32, as there */
    float w = (float)(scale - 1) * 1000.0f;

    for (int i = 0; i < half; i++) {
        float x = w * expf((float)i * step);

        ret[i] = sinf(x);
        ret[half + i] = cosf(x);
    }
    if (dim % 2 != 0)
        ret[dim - 1] = 0;
}

void cn_number_embedding(double x, int dim, bool cos_first, int freq_shift, float *ret)
{
    int half = dim / 2;

    for (int i = 0; i < half; i++) {
        /* float32, as there */
        float exponent = -logf(10000.0f) * (float)i / (float)CN_MAX(half - freq_shift, 1);
        float a = (float)x * expf(exponent);

        ret[i] = cos_first ? cosf(a) : sinf(a);
        ret[half + i] = cos_first ? sinf(a) : cosf(a);
    }
    if (dim % 2 != 0)
        ret[dim - 1] = 0;
}

void cn_guidance_rescale(size_t n, const float *eps_c, float phi, float *eps)
{
    double own = deviation(n, eps);
    float factor;

    if (own == 0) /* a constant stays what it is */
        return;
    factor = phi * (float)(deviation(n, eps_c) / own) + (1 - phi);
    for (size_t i = 0; i < n; i++)
        eps[i] *= factor;
}
