/* Element types: what they are called, how large they are, and the way to floats and back. */
#include "base/base.h"
#include "base/dtype.h"
#include "base/simd.h"

#include <string.h>

static const struct {
    const char *name;
    size_t size;
} types[CN_DTYPE_COUNT] = {
    [CN_F32] = {"F32", 4}, [CN_F16] = {"F16", 2}, [CN_BF16] = {"BF16", 2}, [CN_F64] = {"F64", 8},
    [CN_I64] = {"I64", 8}, [CN_I32] = {"I32", 4}, [CN_U8] = {"U8", 1},
};

size_t cn_dtype_size(enum cn_dtype t)
{
    return types[t].size;
}

const char *cn_dtype_name(enum cn_dtype t)
{
    return types[t].name;
}

static float from_bits(uint32_t u)
{
    float f;

    memcpy(&f, &u, 4);
    return f;
}

static uint32_t to_bits(float f)
{
    uint32_t u;

    memcpy(&u, &f, 4);
    return u;
}

float cn_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exp = (h >> 10) & 0x1fu, frac = h & 0x3ffu;

    if (exp == 0x1f)
        return from_bits(sign | 0x7f800000u | frac << 13);
    if (exp == 0) /* zero and subnormals: frac * 2^-24 is exact in binary32 */
        return from_bits(sign | to_bits((float)frac * 0x1p-24f));
    return from_bits(sign | (exp + 112) << 23 | frac << 13);
}

uint16_t cn_f32_to_f16(float f)
{
    uint32_t u = to_bits(f), sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;

    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (a >= 0x477ff000u) /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) /* subnormal result: let binary32 addition do the rounding */
        return (uint16_t)(sign | (to_bits(from_bits(a) + 0.5f) - 0x3f000000u));
    a += 0xfffu + ((a >> 13) & 1u);
    return (uint16_t)(sign | ((a - 0x38000000u) >> 13));
}

float cn_bf16_to_f32(uint16_t h)
{
    return from_bits((uint32_t)h << 16);
}

uint16_t cn_f32_to_bf16(float f)
{
    uint32_t u = to_bits(f);

    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

static float load(const unsigned char *p, enum cn_dtype t)
{
    uint16_t h;
    int32_t i;
    int64_t l;
    double d;
    float f;

    switch (t) {
    case CN_F32:
        memcpy(&f, p, 4);
        return f;
    case CN_F16:
        memcpy(&h, p, 2);
        return cn_f16_to_f32(h);
    case CN_BF16:
        memcpy(&h, p, 2);
        return cn_bf16_to_f32(h);
    case CN_F64:
        memcpy(&d, p, 8);
        return (float)d;
    case CN_I64:
        memcpy(&l, p, 8);
        return (float)l;
    case CN_I32:
        memcpy(&i, p, 4);
        return (float)i;
    case CN_U8:
        return *p;
    default:
        CN_ASSERT(!"known dtype");
        return 0;
    }
}

/* Halves are what weights are stored in: billions of them are converted when a model is loaded. The
 * loops below have no branches, so that the compiler makes vectors of them: STRIDE elements at a
 * time, a number that it knows. */
enum { STRIDE = 64 };

/* cn_f16_to_f32() by masks: all three cases are computed, and one is taken. */
static inline float f16_by_masks(uint32_t h)
{
    uint32_t sign = (h & 0x8000u) << 16, a = (h & 0x7fffu) << 13, exp = a & 0x0f800000u;
    uint32_t none = 0u - (uint32_t)(exp == 0), all = 0u - (uint32_t)(exp == 0x0f800000u);
    /* 2^-14 (1 + frac / 1024) - 2^-14 is frac 2^-24, exactly */
    uint32_t small = to_bits(from_bits(a + 0x38800000u) - 0x1p-14f);

    return from_bits(sign | (small & none) | ((a + 0x38000000u) & ~none) | (0x7f800000u & all));
}

CN_SIMD
static void f16_stride(float *restrict dst, const unsigned char *restrict p)
{
    for (int i = 0; i < STRIDE; i++) {
        uint16_t h;

        memcpy(&h, p + 2 * i, 2);
        dst[i] = f16_by_masks(h);
    }
}

CN_SIMD
static void bf16_stride(float *restrict dst, const unsigned char *restrict p)
{
    for (int i = 0; i < STRIDE; i++) {
        uint16_t h;

        memcpy(&h, p + 2 * i, 2);
        dst[i] = from_bits((uint32_t)h << 16);
    }
}

void cn_to_f32(float *dst, const void *src, enum cn_dtype t, size_t n)
{
    const unsigned char *p = src;
    size_t size = cn_dtype_size(t);

    if (t == CN_F32) {
        memcpy(dst, src, n * 4);
        return;
    }
    size_t i = 0;

    if (t == CN_F16)
        for (; i + STRIDE <= n; i += STRIDE)
            f16_stride(dst + i, p + 2 * i);
    if (t == CN_BF16)
        for (; i + STRIDE <= n; i += STRIDE)
            bf16_stride(dst + i, p + 2 * i);
    for (; i < n; i++)
        dst[i] = load(p + i * size, t);
}

/* cn_f32_to_f16() by masks. */
static inline uint16_t f16_of(float f)
{
    uint32_t u = to_bits(f), sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
    uint32_t nan = 0u - (uint32_t)(a > 0x7f800000u), all = 0u - (uint32_t)(a >= 0x477ff000u);
    uint32_t small = 0u - (uint32_t)(a < 0x38800000u);
    uint32_t usual = (a + 0xfffu + ((a >> 13) & 1u) - 0x38000000u) >> 13;
    uint32_t tiny = to_bits(from_bits(a & small) + 0.5f) - 0x3f000000u;
    uint32_t r = (usual & ~small) | (tiny & small);

    r = (0x7c00u & all) | (r & ~all);
    return (uint16_t)(sign | ((0x7e00u & nan) | (r & ~nan)));
}

CN_SIMD
static void f16_stride_of(uint16_t *restrict dst, const float *restrict src)
{
    for (int i = 0; i < STRIDE; i++)
        dst[i] = f16_of(src[i]);
}

void cn_from_f32(void *dst, const float *src, enum cn_dtype t, size_t n)
{
    uint16_t *half = dst;
    size_t i = 0;

    CN_ASSERT(t == CN_F32 || t == CN_F16 || t == CN_BF16);
    if (t == CN_F32) {
        memcpy(dst, src, n * 4);
    } else if (t == CN_F16) {
        for (; i + STRIDE <= n; i += STRIDE)
            f16_stride_of(half + i, src + i);
        for (; i < n; i++)
            half[i] = cn_f32_to_f16(src[i]);
    }
    if (t == CN_BF16)
        for (; i < n; i++)
            half[i] = cn_f32_to_bf16(src[i]);
}

/* A value is not finite when all bits of its exponent are set. Without a branch, so that compilers
 * make vectors of it. */
static bool any_exponent16(const uint16_t *x, uint16_t exponent, size_t n)
{
    bool found = false;

    for (size_t i = 0; i < n; i++)
        found |= (x[i] & exponent) == exponent;
    return found;
}

static bool any_exponent32(const uint32_t *x, size_t n)
{
    bool found = false;

    for (size_t i = 0; i < n; i++)
        found |= (x[i] & 0x7f800000u) == 0x7f800000u;
    return found;
}

static bool any_exponent64(const uint64_t *x, size_t n)
{
    const uint64_t exponent = (uint64_t)0x7ff << 52;
    bool found = false;

    for (size_t i = 0; i < n; i++)
        found |= (x[i] & exponent) == exponent;
    return found;
}

bool cn_all_finite(const void *src, enum cn_dtype t, size_t n)
{
    switch (t) {
    case CN_F16:
        return !any_exponent16(src, 0x7c00, n);
    case CN_BF16:
        return !any_exponent16(src, 0x7f80, n);
    case CN_F32:
        return !any_exponent32(src, n);
    case CN_F64:
        return !any_exponent64(src, n);
    default:
        return true;
    }
}
