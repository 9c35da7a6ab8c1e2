/* Kernels on rows and flat arrays. */
#include "base/base.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/simd.h"

#include <math.h>

enum { PARTS = 16 }; /* pieces that a flat array is cut into, whatever the number of threads */

#define FLAT(name, expr)                                                                           \
    CN_SIMD static void flat_##name(float *d, const float *x, int64_t count, float slope)          \
    {                                                                                              \
        (void)slope;                                                                               \
        for (int64_t i = 0; i < count; i++) {                                                      \
            float v = x[i];                                                                        \
                                                                                                   \
            d[i] = (expr);                                                                         \
        }                                                                                          \
    }

FLAT(none, v)
FLAT(silu, cn_simd_silu(v))
FLAT(gelu, cn_simd_gelu(v))
FLAT(quick_gelu, cn_simd_quick_gelu(v))
FLAT(relu, v > 0 ? v : 0)
FLAT(sigmoid, cn_simd_sigmoid(v))
FLAT(tanh, cn_simd_tanh(v))
FLAT(leaky_relu, cn_simd_leaky_relu(v, slope))

void cn_cpu_act(float *dst, const float *x, int64_t count, const struct cn_attr *a)
{
    static void (*const fn[CN_ACTIVATION_COUNT])(float *, const float *, int64_t, float) = {
        [CN_NONE] = flat_none,
        [CN_SILU] = flat_silu,
        [CN_GELU] = flat_gelu,
        [CN_QUICK_GELU] = flat_quick_gelu,
        [CN_RELU] = flat_relu,
        [CN_SIGMOID] = flat_sigmoid,
        [CN_TANH] = flat_tanh,
        [CN_LEAKY_RELU] = flat_leaky_relu,
    };

#pragma omp parallel for schedule(static)
    for (int64_t part = 0; part < PARTS; part++) {
        int64_t from = count * part / PARTS, to = count * (part + 1) / PARTS;

        fn[a->act](dst + from, x + from, to - from, a->slope);
    }
}

void cn_cpu_scale(float *dst, const float *x, int64_t count, float alpha)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = x[i] * alpha;
}

CN_SIMD static void layer_norm_row(float *d, const float *x, const float *gamma, const float *beta,
                                   int64_t n, float eps)
{
    float sum[16] = {0}, sq[16] = {0}, mean, inv;
    double m = 0, v = 0;
    int64_t i;

    for (i = 0; i + 16 <= n; i += 16)
        for (int k = 0; k < 16; k++)
            sum[k] += x[i + k];
    for (int k = 0; k < 16; k++)
        m += sum[k];
    for (; i < n; i++)
        m += x[i];
    mean = (float)(m / (double)n);
    for (i = 0; i + 16 <= n; i += 16)
        for (int k = 0; k < 16; k++)
            sq[k] += (x[i + k] - mean) * (x[i + k] - mean);
    for (int k = 0; k < 16; k++)
        v += sq[k];
    for (; i < n; i++)
        v += (double)(x[i] - mean) * (x[i] - mean);
    inv = (float)(1 / sqrt(v / (double)n + eps));
    for (i = 0; i < n; i++)
        d[i] = (x[i] - mean) * inv * gamma[i] + beta[i];
}

void cn_cpu_layer_norm(float *dst, const float *x, const float *gamma, const float *beta,
                       int64_t rows, int64_t d, float eps)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++)
        layer_norm_row(dst + r * d, x + r * d, gamma, beta, d, eps);
}

CN_SIMD static void geglu_row(float *d, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        d[i] = x[i] * cn_simd_gelu(x[n + i]);
}

void cn_cpu_geglu(float *dst, const float *x, int64_t rows, int64_t d)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++)
        geglu_row(dst + r * d, x + r * 2 * d, d);
}

void cn_cpu_timestep(float *dst, const float *t, int64_t rows, int64_t d, bool cos_first,
                     int freq_shift)
{
    int64_t half = d / 2;

    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < half; i++) {
            /* float32 as in get_timestep_embedding: the argument's rounding is part of the model */
            float e = -9.210340371976184f * (float)i / (float)(half - freq_shift);
            float arg = t[r] * expf(e);
            float *s = dst + r * d + (cos_first ? half : 0),
                  *c = dst + r * d + (cos_first ? 0 : half);

            s[i] = sinf(arg);
            c[i] = cosf(arg);
            if (i == 0 && d % 2 == 1)
                dst[r * d + d - 1] = 0;
        }
}
