/* 3x3 convolutions by Winograd's algorithm, F(4x4, 3x3) (Lavin and Gray 2015, arXiv:1509.09308).
 *
 * A tile of 4 x 4 results is made of 6 x 6 inputs with 36 multiplications for each pair of channels
 * instead of 144. Tiles are taken in chunks whose transformed inputs stay in a core's cache, so no
 * transformed map is written to memory. Stride 1, one group, any padding, channels in blocks of 16.
 *
 * Called by the thread that runs the plan; the work is spread over OpenMP threads. A result depends
 * neither on their number nor on what else is in the batch.
 *
 *     cn_winograd_transform(u, weights, co, ci);              -- once
 *     cn_winograd_run(&y, &x, &(struct cn_winograd){.u = u, .top = 1, .left = 1}, scratch);
 */
#ifndef CN_BACKEND_CPU_WINOGRAD_KERNEL_H
#define CN_BACKEND_CPU_WINOGRAD_KERNEL_H

#include "backend/cpu/kernels.h"

struct cn_winograd {
    const float *u;                 /* transformed weights */
    const float *bias;              /* [co]; NULL: none */
    const struct cn_fmap *residual; /* NULL, or added: it may be dst */
    int top, left;                  /* padding; that of the other sides follows from the sizes */
};

/* Floats of co x ci transformed filters. co and ci are multiples of 16. */
size_t cn_winograd_floats(int64_t co, int64_t ci);
/* w [co, ci, 3, 3]; computed in double precision and rounded once. */
void cn_winograd_transform(float *u, const float *w, int64_t co, int64_t ci);
/* Scratch for cn_winograd_run(), in floats, with as many threads as the caller would get now. */
size_t cn_winograd_scratch(int64_t co, int64_t ci);
/* Whether it pays for results of h x w: most of the tiles' pixels are wanted ones. */
bool cn_winograd_pays(int64_t h, int64_t w);
/* All maps in blocks of 16 channels or with all channels together; residual in dst's layout. */
void cn_winograd_run(const struct cn_fmap *dst, const struct cn_fmap *x,
                     const struct cn_winograd *p, float *scratch);

#endif
