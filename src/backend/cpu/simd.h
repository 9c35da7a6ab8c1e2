/* Elementwise mathematics that the compiler can vectorise: no calls, no branches, no errno.
 *
 * Accuracy is measured by tests/backend: exp within 2 ulp over [-70, 88]; erf within 1.5e-7.
 * Functions that use it are marked CN_SIMD (base/simd.h).
 */
#ifndef CN_BACKEND_CPU_SIMD_H
#define CN_BACKEND_CPU_SIMD_H

#include "base/base.h"
#include "base/simd.h"

#define CN_INLINE static inline __attribute__((always_inline))

/* 2^round(x/ln 2) times a polynomial of the remainder (Cephes' expf, S. Moshier). */
CN_INLINE float cn_simd_exp(float x)
{
    union {
        float f;
        uint32_t i;
    } scale;
    float k, r, p;

    x = x < -70.0f ? -70.0f : x; /* 4e-31: as good as zero, and products with it stay normal */
    x = x > 88.0f ? 88.0f : x;
    k = (x * 1.44269504088896341f + 12582912.0f) - 12582912.0f; /* round to nearest integer */
    r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    scale.i = ((uint32_t)(int32_t)k + 127) << 23; /* of NaN: any number; p is NaN */
    return p * scale.f;
}

/* Abramowitz and Stegun 7.1.26. */
CN_INLINE float cn_simd_erf(float x)
{
    float a = x < 0 ? -x : x;
    float t = 1.0f / (1.0f + 0.3275911f * a);
    float p = 1.061405429f;
    float y;

    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    y = 1.0f - p * t * cn_simd_exp(-a * a);
    return x < 0 ? -y : y;
}

CN_INLINE float cn_simd_silu(float x)
{
    return x / (1.0f + cn_simd_exp(-x));
}

CN_INLINE float cn_simd_gelu(float x)
{
    return 0.5f * x * (1.0f + cn_simd_erf(x * 0.70710678118654752f));
}

CN_INLINE float cn_simd_sigmoid(float x)
{
    return 1.0f / (1.0f + cn_simd_exp(-x));
}

/* Of a small x the odd Taylor polynomial: the quotient would lose its last digits. */
CN_INLINE float cn_simd_tanh(float x)
{
    float e = cn_simd_exp(2.0f * x), q = x * x;
    float series = x * (1.0f + q * (-0.333333333f + q * (0.133333333f - q * 0.053968254f)));

    return q < 0.01f ? series : 1.0f - 2.0f / (e + 1.0f);
}

CN_INLINE float cn_simd_leaky_relu(float x, float slope)
{
    return x > 0 ? x : slope * x;
}

CN_INLINE float cn_simd_quick_gelu(float x)
{
    return x / (1.0f + cn_simd_exp(-1.702f * x));
}

#endif
