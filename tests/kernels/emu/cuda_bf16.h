/* bfloat16 in place of CUDA's header of the same name. */
#ifndef TESTS_KERNELS_EMU_CUDA_BF16_H
#define TESTS_KERNELS_EMU_CUDA_BF16_H

#include <cmath>
#include <cstdint>
#include <cstring>

struct __nv_bfloat16 {
    uint16_t bits;
};

static inline float __bfloat162float(__nv_bfloat16 h)
{
    uint32_t bits = (uint32_t)h.bits << 16;
    float x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* To nearest even. */
static inline __nv_bfloat16 __float2bfloat16_rn(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    if (std::isnan(x))
        return {0x7fff};
    return {(uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

#endif
