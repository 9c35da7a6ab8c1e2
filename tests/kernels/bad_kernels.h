/* Launchers of kernels with one mistake each: bad_kernels.cc. All return 0 or a cudaError_t. */
#ifndef TESTS_KERNELS_BAD_KERNELS_H
#define TESTS_KERNELS_BAD_KERNELS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* y [64] = x [64] reversed, rotated by two; sound when barrier is not 0. */
int bad_reverse(float *y, const float *x, int barrier);
int bad_rotate(float *y, const float *x, int barrier);

/* The first `who` of 64 threads wait at a barrier: sound when who is 0 or 64. */
int bad_divergent(float *y, unsigned who);
/* Odd and even threads wait at different barriers. */
int bad_two_barriers(float *y);
/* The first `who` of 32 lanes add up their ones: sound when who is 32. */
int bad_early_exit(float *y, unsigned who);
int bad_outside_mask(float *y); /* lanes read lanes that take no part */
int bad_half_warp(float *y);    /* a block of 16 adds up 32 lanes */

int bad_write(float *y, int at);
int bad_write_shared(float *y, int at); /* an array of 4; y [1] */
int bad_unset(float *y);                /* y[0] = shared memory that nobody has written */
int bad_block_race(float *y);           /* y[0] = the last of 5 blocks */

int bad_shuffles(float *y); /* y [4,32]: down 3, up 3, lane 7, xor 5 */
int bad_grid(float *y);     /* 24 blocks of 24 threads: y[i] = i */
int bad_sizes(float *y, unsigned blocks, unsigned threads, size_t shared);

#ifdef __cplusplus
}
#endif

#endif
