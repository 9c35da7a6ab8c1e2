/* Activations. */
#include "kernels/ref/ref_priv.h"

#include <math.h>

static double gelu(double x)
{
    return 0.5 * x * (1.0 + erf(x * 0.70710678118654752440));
}

double cnk_ref_activate(double x, enum cn_activation act, float slope)
{
    switch (act) {
    case CN_SILU:
        return x / (1.0 + exp(-x));
    case CN_GELU:
        return gelu(x);
    case CN_QUICK_GELU:
        return x / (1.0 + exp(-1.702 * x));
    case CN_RELU:
        return x < 0.0 ? 0.0 : x; /* NaN stays NaN */
    case CN_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    case CN_TANH:
        return tanh(x);
    case CN_LEAKY_RELU:
        return x > 0.0 ? x : slope * x;
    default:
        return x;
    }
}

void cnk_ref_act(float *y, const float *x, size_t count, enum cn_activation act, float slope)
{
    CNK_OMP(omp parallel for schedule(static) if (count > CNK_SMALL))
    for (size_t i = 0; i < count; i++)
        y[i] = (float)cnk_ref_activate(x[i], act, slope);
}

void cnk_ref_geglu(float *y, const float *x, int rows, int d)
{
    CNK_OMP(omp parallel for schedule(static) if ((double)rows * d > CNK_SMALL))
    for (int r = 0; r < rows; r++) {
        const float *value = x + 2 * (size_t)r * d, *gate = value + d;
        float *out = y + (size_t)r * d;

        for (int i = 0; i < d; i++)
            out[i] = (float)(value[i] * gelu(gate[i]));
    }
}

void cnk_ref_prelu(float *y, const float *x, const float *slope, const struct cnk_prelu *a)
{
    CNK_OMP(omp parallel for collapse(2) schedule(static)
            if ((double)a->n * a->c * a->p > CNK_SMALL))
    for (int n = 0; n < a->n; n++)
        for (int c = 0; c < a->c; c++) {
            size_t at = ((size_t)n * a->c + c) * a->p;
            float s = slope[a->slopes > 1 ? c : 0];

            for (int p = 0; p < a->p; p++)
                y[at + p] = x[at + p] > 0.0f ? x[at + p] : s * x[at + p];
        }
}
