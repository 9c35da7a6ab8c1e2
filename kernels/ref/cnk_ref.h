/* Every operation of the networks in plain C: the truth that tests compare with, and the plain twin
 * of each accelerated kernel.
 *
 * Tensors are dense, row-major, outermost dimension first, binary32 in and out; sums are carried
 * in binary64 and rounded once. No output may overlap an input. Optional inputs are NULL. The
 * result does not depend on the number of OpenMP threads: every output element is computed by one
 * thread in a fixed order. Any thread; nothing is allocated, nothing is kept.
 *
 *     struct cnk_linear a = {.rows = n * s, .k = 320, .out = 1280, .act = CN_SILU};
 *     cnk_ref_linear(y, x, w, bias, NULL, &a);
 */
#ifndef CNK_REF_H
#define CNK_REF_H

#include "kernels/cnk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y[n,co,i,j] = act(residual[n,co,i,j] + bias[co]
 *                   + sum over ci of co's group and taps (u,v) of
 *                     w[co,ci,u,v] x[n,ci, window(i,j,u,v)])
 * x [n,ci,h,w], zero outside · w [co,ci/groups,kh,kw] · bias [co]? · residual, y [n,co,oh,ow].
 * Padding below and to the right is what oh and ow imply. */
struct cnk_conv2d {
    int n, ci, h, w;
    int co, oh, ow;
    int groups;
    struct cnk_window window;
    enum cn_activation act;
    float slope;
};

void cnk_ref_conv2d(float *y, const float *x, const float *w, const float *bias,
                    const float *residual, const struct cnk_conv2d *a);

/* The same with x and y exchanged: y[n,co,i,j] = bias[co] + sum over all (ci,p,q,u,v) with
 * window(p,q,u,v) = (i,j) of w[ci,co,u,v] x[n,ci,p,q]. w [ci,co/groups,kh,kw]; act is not used. */
void cnk_ref_conv_transpose(float *y, const float *x, const float *w, const float *bias,
                            const struct cnk_conv2d *a);

/* y[r,o] = act(residual[r,o] + bias[o] + sum over i of x[r,i] w[o,i])
 * x [rows,k] · w [out,k] · bias [out]? · residual [rows,out]? · y [rows,out] */
struct cnk_linear {
    int rows, k, out;
    enum cn_activation act;
    float slope;
};

void cnk_ref_linear(float *y, const float *x, const float *w, const float *bias,
                    const float *residual, const struct cnk_linear *a);

/* y += strength up t, in place, where t is what a layer of `rank` outputs made of the same input:
 * tokens: t [n,positions,rank] · y [n,positions,out]; else t [n,rank,positions] ·
 * y [n,out,positions] · up [out,rank]. Hu et al. 2021, arXiv:2106.09685 */
struct cnk_low_rank {
    int n, positions, rank, out, tokens;
    float strength;
};

void cnk_ref_add_low_rank(float *y, const float *t, const float *up, const struct cnk_low_rank *a);

/* x, y [n,c,hw] · gamma, beta and t may be NULL. */
void cnk_ref_group_norm(float *y, const float *x, const float *gamma, const float *beta,
                        const float *t, const struct cnk_group_norm *a);

void cnk_ref_layer_norm(float *y, const float *x, const float *gamma, const float *beta,
                        const struct cnk_layer_norm *a);

/* y[i] = act(x[i]), count elements; y may be x */
void cnk_ref_act(float *y, const float *x, size_t count, enum cn_activation act, float slope);

void cnk_ref_prelu(float *y, const float *x, const float *slope, const struct cnk_prelu *a);

/* y[r,i] = x[r,i] gelu(x[r, d + i]), exact erf. x [rows,2d] · y [rows,d]. Shazeer 2020,
 * arXiv:2002.05202; the value half comes first (diffusers GEGLU). */
void cnk_ref_geglu(float *y, const float *x, int rows, int d);

/* y[i] = x[i] + z[i] */
void cnk_ref_add(float *y, const float *x, const float *z, size_t count);

/* y[i] = x[i] z[i] */
void cnk_ref_mul(float *y, const float *x, const float *z, size_t count);

/* y[i] = alpha x[i] */
void cnk_ref_scale(float *y, const float *x, size_t count, float alpha);

/* x, y [rows,c] · bias [c]? · residual [rows,c]? */
void cnk_ref_bias_act(float *y, const float *x, const float *bias, const float *residual,
                      const struct cnk_bias_act *a);

/* x, y [n,c,hw] */
void cnk_ref_add_channel(float *y, const float *x, const float *t, const struct cnk_add_channel *a);

void cnk_ref_add_rows(float *y, const float *x, const float *z, const float *w,
                      const struct cnk_add_rows *a);

/* Per head: y = softmax(scale q k^T) v, the sum over keys; causal: key j <= query i only.
 * q, y [n,s,d] · k, v [n,t,d]; head number m owns columns [m d/heads, (m + 1) d/heads).
 * Vaswani et al. 2017, arXiv:1706.03762 */
struct cnk_attention {
    int n, s, t, d, heads;
    float scale;
    int causal;
};

void cnk_ref_attention(float *y, const float *q, const float *k, const float *v,
                       const struct cnk_attention *a);

/* y[r,j] = exp(scale x[r,j]) / sum over i of exp(scale x[r,i]). x, y [rows,columns] */
void cnk_ref_softmax(float *y, const float *x, size_t rows, int columns, float scale);

/* Nearest: y[p,i,j] = x[p, floor(i h / oh), floor(j w / ow)]. x [planes,h,w] · y [planes,oh,ow] */
struct cnk_upsample {
    int planes, h, w, oh, ow;
};

void cnk_ref_upsample(float *y, const float *x, const struct cnk_upsample *a);

void cnk_ref_resize(float *y, const float *x, const struct cnk_resize *a);
void cnk_ref_pool(float *y, const float *x, const struct cnk_pool *a);
void cnk_ref_pad_reflect(float *y, const float *x, const struct cnk_pad_reflect *a);

void cnk_ref_matmul(float *y, const float *x, const float *z, const struct cnk_matmul *a);
void cnk_ref_reduce(float *y, const float *x, const struct cnk_reduce *a);
void cnk_ref_strided(float *y, const float *x, const struct cnk_strided *a);
/* Returns the number of ids outside [0, s). */
int cnk_ref_gather(float *y, const float *x, const int32_t *ids, const struct cnk_gather *a);

/* y[p,i] = mean over j of x[p,j]. x, y [planes,hw] */
void cnk_ref_pool_hw(float *y, const float *x, int planes, int hw);

/* One part of several that lie side by side: y[o, at + i] = x[o, i]. x [outer,width] ·
 * y [outer,whole] */
struct cnk_concat {
    size_t outer, width, whole, at;
};

void cnk_ref_concat(float *y, const float *x, const struct cnk_concat *a);

/* y[n,p,c] = x[n,c,p]. x [n,c,hw] · y [n,hw,c] */
void cnk_ref_to_tokens(float *y, const float *x, int n, int c, int hw);

/* y[n,c,p] = x[n,p,c]. x [n,hw,c] · y [n,c,hw] */
void cnk_ref_from_tokens(float *y, const float *x, int n, int c, int hw);

/* x [n,c,hw] -> y [n,hw,stride], padding zero; and back. */
void cnk_ref_to_nhwc(float *y, const float *x, const struct cnk_layout *a);
void cnk_ref_from_nhwc(float *y, const float *x, const struct cnk_layout *a);

void cnk_ref_timestep(float *y, const float *t, const struct cnk_timestep *a);

#ifdef __cplusplus
}
#endif

#endif
