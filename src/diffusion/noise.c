/* PyTorch's normal distributions: MT19937 on the CPU, Philox4x32-10 on CUDA.
 *
 * Bits are the contract here. The file is compiled with -ffp-contract=off; every fused multiply-add
 * that torch's build makes is written fmaf(), every other operation rounds once. fmaf() is exact
 * by definition, with or without the instruction, so the machine does not matter.
 * The algorithms are those of ATen (CPUGeneratorImpl, DistributionTemplates.h: normal_fill) and
 * of its AVX2 vector mathematics, whose logarithm, sine and cosine use the Cephes polynomials.
 * Measured against torch 2.15 (tests/diffusion and its generator): no differing bit.
 */
#include "base/base.h"

#include "diffusion/noise.h"

#include <math.h>
#include <string.h>

#ifdef __FAST_MATH__
#error "with -ffast-math the noise is not PyTorch's: compile without it"
#endif

enum { MT_SHIFT = 397, BLOCK = 16 };

/* MT19937 (Matsumoto and Nishimura 1998), init_genrand: torch ignores the seed's upper half. */
static void mt_seed(struct cn_noise *z, uint32_t seed)
{
    z->mt[0] = seed;
    for (uint32_t i = 1; i < CN_MT_WORDS; i++)
        z->mt[i] = UINT32_C(1812433253) * (z->mt[i - 1] ^ (z->mt[i - 1] >> 30)) + i;
    z->next = CN_MT_WORDS;
}

static void mt_refill(struct cn_noise *z)
{
    uint32_t *mt = z->mt;

    for (int i = 0; i < CN_MT_WORDS; i++) {
        int next = i + 1 < CN_MT_WORDS ? i + 1 : 0;
        int far = i + MT_SHIFT < CN_MT_WORDS ? i + MT_SHIFT : i + MT_SHIFT - CN_MT_WORDS;
        uint32_t y = (mt[i] & UINT32_C(0x80000000)) | (mt[next] & UINT32_C(0x7fffffff));

        mt[i] = mt[far] ^ (y >> 1) ^ ((y & 1) != 0 ? UINT32_C(0x9908b0df) : 0);
    }
    z->next = 0;
}

static uint32_t mt_word(struct cn_noise *z)
{
    if (z->next == CN_MT_WORDS)
        mt_refill(z);
    uint32_t y = z->mt[z->next++];
    y ^= y >> 11;
    y ^= (y << 7) & UINT32_C(0x9d2c5680);
    y ^= (y << 15) & UINT32_C(0xefc60000);
    return y ^ (y >> 18);
}

/* [0,1), 24 bits: exact in float. */
static float mt_uniform(struct cn_noise *z)
{
    return (float)(mt_word(z) & 0xffffff) * 0x1p-24f;
}

/* [0,1), 53 bits. */
static double mt_uniform_double(struct cn_noise *z)
{
    uint64_t high = mt_word(z);
    uint64_t bits = high << 32 | mt_word(z);

    return (double)(bits & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

/* Natural logarithm of a positive normal number: u = m 2^e, m in [sqrt(1/2), sqrt(2)), t = m - 1,
 * ln u = t - t^2/2 + t^3 P(t) + e ln 2 with ln 2 in two parts (Cephes logf). */
static float log_cephes(float u)
{
    static const float p[] = {7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,
                              -1.2420140846e-1f, 1.4249322787e-1f,  -1.6668057665e-1f,
                              2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f};
    uint32_t bits;
    float m;

    memcpy(&bits, &u, sizeof(bits));
    float e = (float)((int)(bits >> 23) - 126);
    bits = (bits & UINT32_C(0x007fffff)) | UINT32_C(0x3f000000);
    memcpy(&m, &bits, sizeof(m)); /* [1/2, 1) */
    float t = m - 1.0f;
    if (m < 0.707106781186547524f) {
        t += m;
        e -= 1.0f;
    }
    float t2 = t * t;
    float y = p[0];
    for (size_t i = 1; i < CN_LEN(p); i++)
        y = fmaf(y, t, p[i]);
    y = y * t;
    y = fmaf(y, t2, e * -2.12194440e-4f);
    y = fmaf(t2, -0.5f, y);
    return fmaf(e, 0.693359375f, t + y);
}

/* Sine and cosine of a in [0, 2 pi]: r = a - j pi/4, j the octant rounded up to even and pi/4 in
 * three parts (Cephes sinf, cosf). */
static void sincos_cephes(float a, float *ret_sin, float *ret_cos)
{
    int j = ((int)(a * 1.27323954473516f) + 1) & ~1;
    float octant = (float)j;
    float r = fmaf(octant, -0.78515625f, a);
    r = fmaf(octant, -2.4187564849853515625e-4f, r);
    r = fmaf(octant, -3.77489497744594108e-8f, r);
    float z = r * r;

    float c = fmaf(2.443315711809948e-5f, z, -1.388731625493765e-3f);
    c = fmaf(c, z, 4.166664568298827e-2f);
    c = fmaf(c * z, z, -(z * 0.5f)) + 1.0f;
    float s = fmaf(-1.9515295891e-4f, z, 8.3321608736e-3f);
    s = fmaf(s, z, -1.6666654611e-1f);
    s = fmaf(s * z, r, r);

    bool swap = (j & 2) != 0;
    float sine = swap ? c : s, cosine = swap ? s : c;
    *ret_sin = (j & 4) != 0 ? -sine : sine;
    *ret_cos = ((j - 2) & 4) != 0 ? cosine : -cosine;
}

/* Box-Muller on 16 uniforms in place: value k and k + 8 make a pair. */
static void normal_block(float *x)
{
    for (int k = 0; k < BLOCK / 2; k++) {
        float radius = sqrtf(-2.0f * log_cephes(1.0f - x[k]));
        float s, c;

        sincos_cephes(6.283185307179586f * x[k + BLOCK / 2], &s, &c);
        /* torch computes value * std + mean with std 1, mean 0: a negative zero becomes positive */
        x[k] = radius * c + 0.0f;
        x[k + BLOCK / 2] = radius * s + 0.0f;
    }
}

/* One value in double precision, as draws of fewer than 16 use; the sine half waits in the cache,
 * which longer draws neither use nor clear. */
static double normal_double(struct cn_noise *z)
{
    if (z->has_cached) {
        z->has_cached = false;
        return z->cached;
    }
    double angle = 2.0 * 3.14159265358979323846 * mt_uniform_double(z);
    double radius = sqrt(-2.0 * log1p(-mt_uniform_double(z)));
    z->cached = radius * sin(angle);
    z->has_cached = true;
    return radius * cos(angle);
}

static void mt_normal(struct cn_noise *z, size_t n, float *ret)
{
    if (n < BLOCK) {
        for (size_t i = 0; i < n; i++)
            ret[i] = (float)normal_double(z);
        return;
    }
    cn_noise_uniform(z, n, ret);
    for (size_t i = 0; i + BLOCK <= n; i += BLOCK)
        normal_block(ret + i);
    if (n % BLOCK == 0)
        return;
    /* the last 16 are drawn anew, over values that were finished already */
    cn_noise_uniform(z, BLOCK, ret + n - BLOCK);
    normal_block(ret + n - BLOCK);
}

/* Philox4x32-10 (Salmon et al. 2011): ctr is the counter on entry and four random words on exit. */
static void philox(uint32_t ctr[4], uint32_t key0, uint32_t key1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = UINT64_C(0xd2511f53) * ctr[0];
        uint64_t p1 = UINT64_C(0xcd9e8d57) * ctr[2];
        uint32_t c0 = (uint32_t)(p1 >> 32) ^ ctr[1] ^ key0;
        uint32_t c2 = (uint32_t)(p0 >> 32) ^ ctr[3] ^ key1;

        ctr[0] = c0;
        ctr[1] = (uint32_t)p1;
        ctr[2] = c2;
        ctr[3] = (uint32_t)p0;
        key0 += UINT32_C(0x9e3779b9);
        key1 += UINT32_C(0xbb67ae85);
    }
}

/* torch.randn on CUDA while each thread makes one value, that is up to 256 x blocks values (270,336
 * on an H200; the latent of a 1024 x 1024 picture has 65,536): element i is thread i's first
 * normal. Uniforms are made in float like cuRAND's (its constants, fused), because a double there
 * changes values close to 0 by up to 2e-4; the rest is done in double and rounded once, which
 * differs from the GPU's approximate sine by about 1e-6. */
static void philox_normal(struct cn_noise *z, size_t n, float *ret)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t ctr[4] = {(uint32_t)z->offset, (uint32_t)(z->offset >> 32), (uint32_t)i,
                           (uint32_t)((uint64_t)i >> 32)};

        philox(ctr, (uint32_t)z->seed, (uint32_t)(z->seed >> 32));
        float u = fmaf((float)ctr[0], 2.3283064e-10f, 2.3283064e-10f / 2.0f);
        float v =
            fmaf((float)ctr[1], 2.3283064e-10f * 6.2831855f, 2.3283064e-10f * 6.2831855f / 2.0f);
        ret[i] = (float)(sqrt(-2.0 * log((double)u)) * sin((double)v));
    }
    z->offset++;
}

void cn_noise_init(struct cn_noise *z, enum cn_rng kind, uint64_t seed)
{
    memset(z, 0, sizeof(*z));
    z->kind = kind;
    z->seed = seed;
    mt_seed(z, (uint32_t)seed);
}

void cn_noise_normal(struct cn_noise *z, size_t n, float *ret)
{
    if (z->kind == CN_RNG_CUDA)
        philox_normal(z, n, ret);
    else
        mt_normal(z, n, ret);
}

void cn_noise_uniform(struct cn_noise *z, size_t n, float *ret)
{
    CN_ASSERT(z->kind == CN_RNG_CPU);
    for (size_t i = 0; i < n; i++)
        ret[i] = mt_uniform(z);
}
