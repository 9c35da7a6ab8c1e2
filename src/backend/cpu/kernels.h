/* The CPU backend's own kernels: everything that is neither a convolution nor a matrix product.
 *
 * Feature maps stand in memory as [n, c / block, h, w, block]: a block of 1 is NCHW, 16 is what
 * oneDNN calls nChw16c, c is NHWC, which is also the token layout. Each kernel takes every input
 * and gives its output in any of these, so that changing layout costs no extra pass where it can be
 * avoided.
 * Work is spread over OpenMP threads; results do not depend on how many there are.
 *
 * Called by the thread that runs the plan. F32 only. No allocation but the stated scratch.
 */
#ifndef CN_BACKEND_CPU_KERNELS_H
#define CN_BACKEND_CPU_KERNELS_H

#include "base/base.h"
#include "tensor/graph.h"

/* A feature map in memory. */
struct cn_fmap {
    float *data;
    int64_t n, c, h, w;
    int64_t block; /* channels that lie together: 1, 16 or c */
};

/* dst and src may not overlap unless they are identical in layout and address. */
void cn_cpu_copy(const struct cn_fmap *dst, const struct cn_fmap *src);
/* dst = x + y (dst may be x or y when the layouts agree) */
void cn_cpu_add(const struct cn_fmap *dst, const struct cn_fmap *x, const struct cn_fmap *y);
/* dst = x + w[n * stride] * y; where that is 0, x bit for bit, and y is not read */
void cn_cpu_add_rows(const struct cn_fmap *dst, const struct cn_fmap *x, const struct cn_fmap *y,
                     const float *w, int64_t stride);
/* dst = x + t[n * stride + c] */
void cn_cpu_add_channel(const struct cn_fmap *dst, const struct cn_fmap *x, const float *t,
                        int64_t stride);

struct cn_cpu_norm {
    const float *gamma, *beta; /* [c]; NULL: 1 and 0 */
    const float *t; /* NULL, or added to channel c of row n before: t[n * t_stride + c] */
    int64_t t_stride;
    int groups;
    float eps;
    enum cn_activation act;
    float slope; /* CN_LEAKY_RELU */
};

/* scratch: 4 * n * c floats. */
void cn_cpu_group_norm(const struct cn_fmap *dst, const struct cn_fmap *x,
                       const struct cn_cpu_norm *p, float *scratch);

/* x to channels [at, at + x->c) of dst */
void cn_cpu_concat(const struct cn_fmap *dst, int64_t at, const struct cn_fmap *x);
void cn_cpu_upsample(const struct cn_fmap *dst, const struct cn_fmap *x);
void cn_cpu_pool_hw(const struct cn_fmap *dst, const struct cn_fmap *x);

/* Flat arrays and rows of d elements. */
void cn_cpu_act(float *dst, const float *x, int64_t count, const struct cn_attr *a); /* act */
void cn_cpu_scale(float *dst, const float *x, int64_t count, float alpha);
void cn_cpu_layer_norm(float *dst, const float *x, const float *gamma, const float *beta,
                       int64_t rows, int64_t d, float eps);
void cn_cpu_geglu(float *dst, const float *x, int64_t rows, int64_t d); /* x has 2d columns */
void cn_cpu_timestep(float *dst, const float *t, int64_t rows, int64_t d, bool cos_first,
                     int freq_shift);

/* softmax(q k^T * scale) v, [n, s, d] with d = heads * width; k and v have t tokens. The scores are
 * made in blocks with a running maximum (Milakov and Gimelshein 2018, arXiv:1805.02867; Dao et al.
 * 2022, arXiv:2205.14135), so memory stays small: cn_cpu_attention_scratch() floats. */
struct cn_cpu_attention {
    int64_t n, s, t, d;
    int heads;
    float scale;
    bool causal;
};

size_t cn_cpu_attention_scratch(const struct cn_cpu_attention *a); /* floats */
/* CN_EDEVMEM: a matrix product found no memory; dst is not to be used. */
int cn_cpu_attend(float *dst, const float *q, const float *k, const float *v,
                  const struct cn_cpu_attention *a, float *scratch);

#endif
