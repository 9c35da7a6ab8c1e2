/* Launchers of the CUDA kernels, for what cuDNN and cuBLASLt do not have. Plain C: no header of
 * CUDA is needed to include this one.
 *
 * Layout. Feature maps are channels last, [n,h,w,c], dense; tokens [n,s,d] are then the same bytes
 * as the map they come from. x, y, z and so on are device pointers to elements of `dt`. What is
 * small or delicate is always binary32: gamma, beta, bias, time embeddings t, row weights w,
 * timesteps, coefficients. All arithmetic is binary32 (statistics of norms, softmax and sums
 * included); results are rounded once, to nearest even.
 *
 * Alignment. A pointer is aligned to its element, no more. Where every tensor of a call is aligned
 * to 16 bytes and rows are whole 16-byte vectors (c a multiple of 8 for 16-bit types, of 4 for
 * binary32) loads and stores are 16 bytes wide; otherwise one element at a time.
 *
 * In place. y may be x (or residual, or z of cnk_add_rows) where a comment says "in place";
 * otherwise no output overlaps an input, and never in part.
 *
 * Rows. What a row of the batch becomes never depends on the other rows, nor on how many there are:
 * grids are cut by the size of one row. Nothing uses atomic additions of floats: the same call
 * gives the same bits.
 *
 * Errors. Every launcher returns 0 or a cudaError_t: of the launch (an error left over from an
 * earlier call is neither returned nor cleared), or 1, cudaErrorInvalidValue, for sizes that it
 * cannot do (more than 65535 rows, among others). Empty tensors are fine and launch nothing.
 * Nothing is allocated and nothing waits, so all of it can be captured into a graph; sizes and
 * pointers are then frozen, and what may change between runs (weights of rows, coefficients,
 * timesteps, indices) is read from device memory. CUDA loads a kernel when it is first launched,
 * which a capture may not allow: run a sequence once before it is captured.
 *
 * Threads: any, as CUDA says of the stream; the device of the stream is current.
 *
 *     struct cnk_group_norm a = {.n = 2, .c = 320, .hw = 4096, .groups = 32, .eps = 1e-5f,
 *                                .act = CN_SILU};
 *     void *scratch = ... cnk_group_norm_scratch(CN_F16, &a) bytes ...;
 *     if (cnk_group_norm(CN_F16, y, x, gamma, beta, NULL, scratch, &a, stream) != 0) ...
 */
#ifndef CNK_H
#define CNK_H

#include "kernels/cnk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st; /* what a cudaStream_t points to */

/* ---- norms (norm.cu, group_norm.cu) ---- */

/* x, y [n,hw,c] · gamma, beta, t [n,t_width] or NULL. In place. scratch: as many bytes as asked for
 * here, aligned to 16; used until the kernels have run; NULL when 0. */
size_t cnk_group_norm_scratch(enum cn_dtype dt, const struct cnk_group_norm *a);
int cnk_group_norm(enum cn_dtype dt, void *y, const void *x, const float *gamma,
                   const float *beta, const float *t, void *scratch,
                   const struct cnk_group_norm *a, struct CUstream_st *stream);

/* x, y [rows,d]. In place. */
int cnk_layer_norm(enum cn_dtype dt, void *y, const void *x, const float *gamma,
                   const float *beta, const struct cnk_layer_norm *a, struct CUstream_st *stream);

/* y[r,j] = softmax over j of (scale x[r,j]). x [rows,columns] of xdt · y of ydt. In place when the
 * types are the same. */
int cnk_softmax(enum cn_dtype ydt, void *y, enum cn_dtype xdt, const void *x, size_t rows,
                int columns, float scale, struct CUstream_st *stream);

/* ---- elementwise (elementwise.cu) ---- */

/* An epilogue, and by itself ACT (alpha 1, no bias, no residual), ADD (alpha 1, residual) and
 * SCALE. x, y [rows,c] · bias [c] or NULL · residual [rows,c] or NULL. In place. */
int cnk_bias_act(enum cn_dtype dt, void *y, const void *x, const float *bias,
                 const void *residual, const struct cnk_bias_act *a, struct CUstream_st *stream);

/* y[i] = x[i] z[i]. In place. */
int cnk_mul(enum cn_dtype dt, void *y, const void *x, const void *z, size_t count,
            struct CUstream_st *stream);

/* y[i] = x[i] where positive, else slope x[i]; the slope of element i is number i / inner % c.
 * inner: 1 where channels lie innermost, the elements behind one channel otherwise. slope
 * [a->slopes], c or 1 of them. In place. */
int cnk_prelu(enum cn_dtype dt, void *y, const void *x, const float *slope,
              const struct cnk_prelu *a, int inner, struct CUstream_st *stream);

/* y[r,i] = x[r,i] gelu(x[r, d + i]), exact erf. x [rows,2d] · y [rows,d] */
int cnk_geglu(enum cn_dtype dt, void *y, const void *x, size_t rows, int d,
              struct CUstream_st *stream);

/* x, y [n,hw,c]. In place. */
int cnk_add_channel(enum cn_dtype dt, void *y, const void *x, const float *t,
                    const struct cnk_add_channel *a, struct CUstream_st *stream);

/* x, z, y [n,row] · w [n,w_width]. In place, y = x or y = z. Where w is 0 the row of y becomes x
 * bit for bit, whatever z holds (NaN too); with y = x it is then neither read nor written. */
int cnk_add_rows(enum cn_dtype dt, void *y, const void *x, const void *z, const float *w,
                 const struct cnk_add_rows *a, struct CUstream_st *stream);

/* y[i] = x[i] in the other type. In place when the types are of one size. */
int cnk_convert(enum cn_dtype ydt, void *y, enum cn_dtype xdt, const void *x, size_t count,
                struct CUstream_st *stream);

/* ---- moves (layout.cu, resample.cu) ---- */

/* x [n,c,hw] of xdt -> y [n,hw,stride] of ydt, padding becomes zero. Also weights of a convolution
 * [co,ci,k,k] -> [co,k,k,ci], with hw = k k. */
int cnk_to_nhwc(enum cn_dtype ydt, void *y, enum cn_dtype xdt, const void *x,
                const struct cnk_layout *a, struct CUstream_st *stream);
/* x [n,hw,stride] of xdt -> y [n,c,hw] of ydt. */
int cnk_from_nhwc(enum cn_dtype ydt, void *y, enum cn_dtype xdt, const void *x,
                  const struct cnk_layout *a, struct CUstream_st *stream);

/* y[r] = x[r] before z[r]. x [rows,cx] · z [rows,cz] · y [rows,cx+cz]. Maps along channels:
 * rows = n h w; tokens [n,s,d] along s: rows = n, cx = s d. */
int cnk_concat(enum cn_dtype dt, void *y, const void *x, const void *z, size_t rows, size_t cx,
               size_t cz, struct CUstream_st *stream);

/* Nearest: y[n,i,j,:] = x[n, floor(i h / oh), floor(j w / ow), :]. x [n,h,w,c] · y [n,oh,ow,c] */
struct cnk_upsample_nhwc {
    int n, h, w, c, oh, ow;
};

int cnk_upsample(enum cn_dtype dt, void *y, const void *x, const struct cnk_upsample_nhwc *a,
                 struct CUstream_st *stream);

/* y[n,p,c] = mean over p of x[n,p,c]. x, y [n,hw,c]. In place. */
int cnk_pool_hw(enum cn_dtype dt, void *y, const void *x, int n, int hw, int c,
                struct CUstream_st *stream);

/* ---- places (strided.cu) ---- */

/* What a->dim and a->stride say, both in the order in which the memory lies. */
int cnk_strided(enum cn_dtype dt, void *y, const void *x, const struct cnk_strided *a,
                struct CUstream_st *stream);

/* One part of what is joined: y[o, at + i] = x[o, i]. x [outer,width] · y [outer,whole] */
int cnk_place(enum cn_dtype dt, void *y, const void *x, size_t outer, size_t width, size_t whole,
              size_t at, struct CUstream_st *stream);

/* An id outside [0, s) gives zeros. */
int cnk_gather(enum cn_dtype dt, void *y, const void *x, const int32_t *ids,
               const struct cnk_gather *a, struct CUstream_st *stream);

/* y[i] = sum, mean or maximum over k of x[kept(i) + reduced(k)]: i and k run through dimensions in
 * the order given, unused ones are 1. y is dense. At least one element is reduced. */
enum { CNK_REDUCED = 4 };

struct cnk_strided_reduce {
    int64_t kept[CNK_REDUCED], kept_stride[CNK_REDUCED];
    int64_t reduced[CNK_REDUCED], reduced_stride[CNK_REDUCED];
    enum cnk_reduction kind;
};

int cnk_reduce(enum cn_dtype dt, void *y, const void *x, const struct cnk_strided_reduce *a,
               struct CUstream_st *stream);

/* ---- windows (window.cu) ---- */

/* Channels last: x [planes / c, h, w, c] · y [planes / c, oh, ow, c]. */
int cnk_pool(enum cn_dtype dt, void *y, const void *x, const struct cnk_pool *a, int c,
             struct CUstream_st *stream);
int cnk_resize(enum cn_dtype dt, void *y, const void *x, const struct cnk_resize *a, int c,
               struct CUstream_st *stream);
int cnk_pad_reflect(enum cn_dtype dt, void *y, const void *x, const struct cnk_pad_reflect *a,
                    int c, struct CUstream_st *stream);

/* Convolutions of any kind: what cuDNN does not take. No bias, no activation: cnk_bias_act().
 * x [n,h,w,ci] · w [co,kh,kw,ci/groups] · y [n,oh,ow,co]; transposed: w [ci,kh,kw,co/groups], and
 * the window says which x reach a y. */
struct cnk_conv_nhwc {
    int n, h, w, ci, oh, ow, co, groups;
    struct cnk_window window;
};

int cnk_conv(enum cn_dtype dt, void *y, const void *x, const void *w, const struct cnk_conv_nhwc *a,
             struct CUstream_st *stream);
int cnk_conv_transpose(enum cn_dtype dt, void *y, const void *x, const void *w,
                       const struct cnk_conv_nhwc *a, struct CUstream_st *stream);

/* ---- embeddings of timesteps (timestep.cu) ---- */

/* t [n] binary32 · y [n,dim] */
int cnk_timestep(enum cn_dtype dt, void *y, const float *t, const struct cnk_timestep *a,
                 struct CUstream_st *stream);

/* ---- attention (attention.cu) ---- */

/* Per head: y = softmax(scale q k^T) v, the sum over keys; causal: key j <= query i only. For what
 * cuDNN does not take: the causal mask, odd or large head dimensions. Head m owns columns
 * [m dh, (m + 1) dh) of a token, dh <= 512. Strides, in elements from one token to the next, allow
 * q, k, v to be parts of one projection; row n begins n s (or n t) tokens after the first. */
struct cnk_strided_attention {
    int n, s, t, heads, dh;
    float scale;
    int causal;
    int q_stride, k_stride, v_stride, y_stride;
};

enum { CNK_MAX_HEAD = 512 };

int cnk_attention(enum cn_dtype dt, void *y, const void *q, const void *k, const void *v,
                  const struct cnk_strided_attention *a, struct CUstream_st *stream);

#ifdef __cplusplus
}
#endif

#endif
