/* Types that the kernels of every device share: sizes of operations.
 * The launchers of cnk.h (CUDA) and the plain C twins of ref/cnk_ref.h take the same structs. */
#ifndef CNK_TYPES_H
#define CNK_TYPES_H

#include "kernels/types.h"

#include <stddef.h>
#include <stdint.h>

/* z[n,c,p] = x[n,c,p] + t[n, t_offset + c];
 * y[n,c,p] = act((z - mean) / sqrt(variance + eps) gamma[c] + beta[c])
 * Mean and biased variance of z over the (c / groups) channels of a group and all positions p:
 * Wu and He 2018, arXiv:1803.08494. gamma, beta [c] · t [n,t_width]? */
struct cnk_group_norm {
    int n, c, hw, groups;
    float eps;
    int t_width, t_offset;
    enum cn_activation act;
    float slope; /* of CN_LEAKY_RELU, here and below */
};

/* y[r,i] = (x[r,i] - mean_r) / sqrt(variance_r + eps) gamma[i] + beta[i], biased variance over i:
 * Ba et al. 2016, arXiv:1607.06450. x, y [rows,d] · gamma, beta [d] */
struct cnk_layer_norm {
    int rows, d;
    float eps;
};

/* y[r,i] = act(alpha x[r,i] + bias[i] + residual[r,i])
 * x, y [rows,c] · bias [c]? · residual [rows,c]? */
struct cnk_bias_act {
    size_t rows;
    int c;
    float alpha;
    enum cn_activation act;
    float slope;
};

/* y[n,c,p] = x[n,c,p] + t[n, t_offset + c]. t [n,t_width] */
struct cnk_add_channel {
    int n, c, hw, t_width, t_offset;
};

/* y[n,i] = x[n,i] + w[n, w_offset] z[n,i]; where w is 0, x bit for bit, whatever z holds.
 * x, z, y [n,row] · w [n,w_width] */
struct cnk_add_rows {
    int n;
    size_t row;
    int w_width, w_offset;
};

/* How a window moves over a map: taps, step, distance of taps, along the height and the width. The
 * tap (u, v) of result (i, j) is at
 *     (i step[0] + u spread[0] - top, j step[1] + v spread[1] - left) */
struct cnk_window {
    int k[2], step[2], spread[2], top, left;
};

/* y[n,c,i,j] = mean or maximum over the window's taps of x[n,c,..]. Taps outside count as zeros in
 * a mean and as nothing in a maximum. x [planes,h,w] · y [planes,oh,ow] */
struct cnk_pool {
    int planes, h, w, oh, ow, max;
    struct cnk_window window;
};

/* y[b] = alpha op(x[b]) op(z[b]): op transposes where the flag says so. x [batch,m,k] or
 * [batch,k,m] · z [batch,k,n] or [batch,n,k], or one for all (shared) · y [batch,m,n] */
struct cnk_matmul {
    int64_t batch, m, k, n;
    int transpose_x, transpose_z, shared;
    float alpha;
};

/* y[i0,i1,..] = x[offset + i0 stride[0] + i1 stride[1] + ..]: slices, permutations, shuffles. y is
 * dense; unused dimensions are 1 with stride 0. */
enum { CNK_STRIDED = 6 };

struct cnk_strided {
    int64_t dim[CNK_STRIDED], stride[CNK_STRIDED], offset;
};

/* y[o,i] = sum, mean or maximum over r of x[o,r,i]. x [outer,count,inner] · y [outer,inner] */
enum cnk_reduction { CNK_SUM, CNK_MEAN, CNK_MAX };

struct cnk_reduce {
    int64_t outer, count, inner;
    enum cnk_reduction kind;
};

/* y[n,t,:] = x[n, ids[n,t], :]. ids [n,t] · x [n,s,d] · y [n,t,d]. An id outside [0, s) gives a row
 * of zeros, and is counted. */
struct cnk_gather {
    int n, s, t, d;
};

/* Bilinear, as PyTorch's interpolate: the source of position i is (i + 1/2) h / oh - 1/2, not below
 * 0, or i (h - 1) / (oh - 1) with align_corners. x [planes,h,w] · y [planes,oh,ow] */
struct cnk_resize {
    int planes, h, w, oh, ow, align_corners;
};

/* Mirrored at the edges, which are not repeated; less than h, w of padding. x [planes,h,w] ·
 * y [planes, top + h + bottom, left + w + right] */
struct cnk_pad_reflect {
    int planes, h, w, top, left, bottom, right;
};

/* y[n,c,p] = x where positive, else slope[c] x (slope[0] when there is one). x, y [n,c,p] */
struct cnk_prelu {
    int n, c, p, slopes;
};

/* Sinusoids of the timestep: f_i = exp(-ln(10000) i / (half - freq_shift)), half = dim / 2;
 * y[n] = [sin(t f), cos(t f)], or cosines first; an odd dim ends with a zero. diffusers
 * embeddings.py get_timestep_embedding. The angles are rounded to binary32 at each step as
 * PyTorch does: at t = 999 exact angles would differ by up to 3e-5. t [n] · y [n,dim] */
struct cnk_timestep {
    int n, dim, cos_first, freq_shift;
};

/* Feature maps between [n,c,hw] (the host's layout) and [n,hw,stride] (channels last): channel c of
 * position p of row n is at (n hw + p) stride + c; stride >= c, the rest is padding. */
struct cnk_layout {
    int n, c, hw, stride;
};

#endif
