/* How much of each ControlNet output is added where, and classifier-free guidance.
 *
 * A ControlNet has k outputs (levels): one per skip connection, shallowest first, then the middle
 * block (k = 13 in SD 1.5). Each row of a batch multiplies output i by its own weight w_i; a row
 * that is not controlled has zeros. Pure functions; any thread.
 *
 *     cn_control_check(c, i, levels, &err);                     -- once per job
 *     if (cn_control_active(c, sampler, call, calls)) {         -- per network call; else zeros
 *         cn_control_weights(c, CN_ROW_COND, k, side, w_cond);
 *         cn_control_weights(c, CN_ROW_UNCOND, k, side, w_uncond);
 *     }
 *     cn_guidance(n, eps_u, eps_c, scale, eps);
 */
#ifndef CN_DIFFUSION_CONTROL_H
#define CN_DIFFUSION_CONTROL_H

#include "base/base.h"

#include "base/spec.h"

/* Rows of an image under guidance: with the prompt, and with the negative prompt. */
enum cn_row { CN_ROW_COND, CN_ROW_UNCOND };

/* Does the control fit a network of that many levels? where = "/controls/<index>/weights". */
int cn_control_check(const struct cn_spec_control *c, int index, int levels,
                     struct cn_err *err) CN_MUST_USE;

/* Must the ControlNet run in this call? False outside the window and when every weight is zero.
 * Windows of diffusers are of calls, those of the ControlNet extension of steps. */
bool cn_control_active(const struct cn_spec_control *c, enum cn_sampler sampler, int call,
                       int calls);

/* The caller sets branch to CN_BRANCH_COND for a ControlNet with global pooling (content shuffle):
 * it acts on the conditional row only, whatever was asked for (diffusers does the same).
 * Weights inside the window: ret[0..levels-1], level 0 the shallowest skip, the last the middle
 * block. side[i]: the height of level i's output (only CN_W_RESOLUTION reads it, else NULL). */
void cn_control_weights(const struct cn_spec_control *c, enum cn_row row, int levels,
                        const int *side, float *ret);

/* eps = eps_u + scale (eps_c - eps_u), float32 (diffusers' order). ret may be either input. */
void cn_guidance(size_t n, const float *eps_u, const float *eps_c, float scale, float *ret);
/* eps += scale (eps_c - eps_u): of one more prompt. */
void cn_guidance_add(size_t n, const float *eps_u, const float *eps_c, float scale, float *eps);
/* eps, the result of guidance, moves by phi towards itself with the standard deviation of eps_c
 * (arXiv:2305.08891 eq. 15, 16). */
void cn_guidance_rescale(size_t n, const float *eps_c, float phi, float *eps);

/* guidance_scale as an input of a network (latent consistency models): sines, then cosines of
 * 1000 (scale - 1) at half of dim frequencies each, from 1 down to 1/10000; the last is 0 where dim
 * is odd. */
void cn_guidance_embedding(double scale, int dim, float *ret);

/* A number as a network is told it beside the time: the sinusoid of dim values that a time has
 * itself (tensor/graph.h: cn_timestep). */
void cn_number_embedding(double x, int dim, bool cos_first, int freq_shift, float *ret);

#endif
