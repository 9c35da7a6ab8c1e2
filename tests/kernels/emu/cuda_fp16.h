/* IEEE binary16 in place of CUDA's header of the same name. */
#ifndef TESTS_KERNELS_EMU_CUDA_FP16_H
#define TESTS_KERNELS_EMU_CUDA_FP16_H

#include <cmath>
#include <cstdint>
#include <cstring>

struct __half {
    uint16_t bits;
};

static inline float __half2float(__half h)
{
    uint32_t exponent = h.bits >> 10 & 31, fraction = h.bits & 1023, bits;
    float x;

    if (exponent == 0) {
        x = (float)fraction * 0x1p-24f;
    } else {
        bits = (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13;
        memcpy(&x, &bits, sizeof(x));
    }
    return h.bits & 0x8000 ? -x : x;
}

/* To nearest even: the bits that are cut off decide. */
static inline __half __float2half_rn(float x)
{
    uint32_t bits, kept, cut, half;
    int exponent, shift;

    memcpy(&bits, &x, sizeof(bits));
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    exponent = (int)(bits >> 23 & 255) - 127;
    if (std::isnan(x))
        return {(uint16_t)(sign | 0x7e00)};
    if (exponent > 15)
        return {(uint16_t)(sign | 0x7c00)};
    if (exponent < -25)
        return {sign};
    /* below 2^-14 fractions have no hidden bit and lose one more bit per power of two */
    shift = exponent < -14 ? 13 + (-14 - exponent) : 13;
    kept = (bits & 0x7fffff) | 0x800000;
    cut = kept & ((1u << shift) - 1);
    half = 1u << (shift - 1);
    kept >>= shift;
    kept += cut > half || (cut == half && (kept & 1) != 0);
    if (exponent >= -14)
        kept += ((uint32_t)exponent + 14) << 10; /* the hidden bit is the 15th */
    return {(uint16_t)(sign | kept)}; /* a carry went into the exponent, as it should */
}

#endif
