/* Gaussian noise with the bits that PyTorch would have drawn.
 *
 * Two generators: torch's CPU one (MT19937; torch.randn float32 of an x86-64 build with AVX2 or
 * AVX-512, bit for bit) and torch's CUDA one (Philox4x32-10, cuRAND's Box-Muller, within 1e-6).
 * A generator belongs to one image: image i of a request is seeded with seed + i, so that nothing
 * that runs beside it changes its noise. How much is drawn per call matters: one call of n values
 * is one torch.randn(n), and two calls of n/2 give other numbers.
 *
 * Plain data, owned by whoever holds the struct; any thread, one at a time. Nothing allocates.
 *
 *     struct cn_noise noise;
 *     cn_noise_init(&noise, spec->rng, spec->seed + i);
 *     cn_noise_normal(&noise, 4 * h * w, x);
 *     cn_sampler_advance(s, x, eps, &noise);     -- draws more from the same generator
 */
#ifndef CN_DIFFUSION_NOISE_H
#define CN_DIFFUSION_NOISE_H

#include "base/base.h"

#include "base/spec.h"

enum { CN_MT_WORDS = 624 };

struct cn_noise {
    enum cn_rng kind;
    uint64_t seed;
    /* CN_RNG_CPU */
    uint32_t mt[CN_MT_WORDS];
    int next; /* words of mt already used */
    bool has_cached;
    double cached; /* second value of a Box-Muller pair; only draws of fewer than 16 use it */
    /* CN_RNG_CUDA */
    uint64_t offset; /* counter blocks used: one per call of cn_noise_normal */
};

void cn_noise_init(struct cn_noise *z, enum cn_rng kind, uint64_t seed);

/* n values of N(0,1) as torch.randn(n, dtype=float32) draws them. */
void cn_noise_normal(struct cn_noise *z, size_t n, float *ret);

/* n values in [0,1) as torch.rand(n, dtype=float32) on the CPU draws them. CN_RNG_CPU only. */
void cn_noise_uniform(struct cn_noise *z, size_t n, float *ret);

#endif
