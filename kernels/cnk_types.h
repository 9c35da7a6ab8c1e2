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
};

/* y[n,c,p] = x[n,c,p] + t[n, t_offset + c]. t [n,t_width] */
struct cnk_add_channel {
    int n, c, hw, t_width, t_offset;
};

/* y[n,i] = x[n,i] + w[n, w_offset] z[n,i]. x, z, y [n,row] · w [n,w_width] */
struct cnk_add_rows {
    int n;
    size_t row;
    int w_width, w_offset;
};

/* y[n,s,i] = table[ids[n,s], i] + position[s,i]. ids [n,s] · table [vocab,d] · position [>= s,d].
 * An id outside [0, vocab) gives a row of zeros, and is counted. */
struct cnk_embed {
    int n, s, d, vocab;
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

/* Pictures as bytes: [n,hw,3], from [n,hw,stride] with stride >= 3, or, planar, from [n,3,hw]. */
struct cnk_quantize {
    int n, hw, stride, planar;
};

/* One picture in progress: what one call of its network does to its latent.
 *
 * Every sampler of src/diffusion is linear in what it knows: the latent x, the network's answer e,
 * fresh noise z, and at most CNK_HISTORY arrays h kept from earlier calls. With
 *
 *     e  = e_uncond + guidance (e_cond - e_uncond)         (e_cond when there is no such row)
 *     v  = [x, e, z, h0, h1, h2]
 *     x' = sum over i of m[0][i] v[i] ;   hk' = sum over i of m[1 + k][i] v[i]
 *
 * one table of numbers per picture describes any of them at any call, and pictures of different
 * samplers and steps share a launch. Let x0 = p x + q e be what the answer says of the clean latent
 * (epsilon, x = signal x0 + noise e: p = 1 / signal, q = -noise / signal; v: p = signal,
 * q = -noise; X = x0 + sigma e: p = 1, q = -sigma). Then
 *
 *     DDIM         x' = signal' x0 + direction e + spread z
 *     LCM          x' = signal' (c_out x0 + c_skip x) + noise' z
 *     Euler        x' = x + dt (x - x0) / sigma ; ancestral: + up z
 *     Heun         call 1: h0' = x, h1' = (x - x0) / sigma, x' = x + dt h1';
 *                  call 2: x' = h0 + dt / 2 (h1 + (x - x0) / next)
 *     DPM++ 2M     h0' = x0, x' = a x + b x0 + c h0 (+ d z for SDE)
 *     UniPC        h0' = x0, h1' = h0, h2' = corrected x, a combination of x0, h0, h1 and h2;
 *                  x' a combination of the corrected x and of the new and old h0
 *     PNDM         h = the last three answers, newest first; x' = a x + b (55 e - 59 h0 ..) / 24;
 *                  call 1 keeps x in h1 until call 2 has used it
 *
 * A number that is exactly 0 means that the array is not read: it may hold anything, NaN too. A row
 * of m that says "as before" (1 for itself, 0 for the rest) costs nothing. */
enum { CNK_HISTORY = 3, CNK_LANE_IN = 3 + CNK_HISTORY, CNK_LANE_OUT = 1 + CNK_HISTORY };

struct cnk_lane {
    int32_t row;        /* of the batch: with the prompt; negative: the lane is empty */
    int32_t row_uncond; /* with the negative prompt; negative: no guidance */
    float guidance;
    float in_scale; /* of the latent as the network sees it at the next call */
    float m[CNK_LANE_OUT][CNK_LANE_IN];
};

/* Arrays of an update, all channels last: x, z [lanes,pixels,c] · h [lanes,CNK_HISTORY,pixels,c] ·
 * e [rows,pixels,e_stride] · in [rows,pixels,in_stride]. Of e and in the first c channels are used;
 * the others of in (padding, or the mask and picture of inpainting) stay as they are. */
struct cnk_update {
    int lanes, pixels, c, e_stride, in_stride;
};

#endif
