/* Samplers: how one image's latent moves from noise to picture, one network call at a time.
 *
 * One table, one loop. Most follow their class of diffusers 0.35 with its defaults, and the
 * settings of the model's scheduler_config.json (schedule_class.c): DDIM, PNDM, Euler, Euler
 * ancestral, Heun, DPMSolverMultistep as dpmsolver++ and sde-dpmsolver++, UniPC, LCM, KDPM2 and its
 * ancestral form, LMS, DEIS, TCD, DPMSolverSDE; float32 operation by float32 operation,
 * trajectories agree to 1e-6 or better (tests/diffusion). DPM++ 2S ancestral, DPM++ 3M SDE, Heun++,
 * Restart and Euler CFG++ are those of k-diffusion's users. What is not as there:
 *
 * - two equal noise levels in a row (1000 steps) make DPM++ and UniPC divide by zero there; here
 *     the step of lower order is taken. Square roots of what rounding made negative are 0, not NaN;
 * - trailing spacing with 61, 103, 121 .. steps visits timestep -1 there (test_schedule.c); -
 * timesteps that repeat at the start do not shift the trajectory (diffusers looks the first one
 *     up by value unless a pipeline calls set_begin_index, and then takes the second of two);
 * - Euler ancestral has Karras and exponential sigmas too, as in k-diffusion; - DPM++ SDE draws
 * fresh noise where diffusers and k-diffusion ask a Brownian tree; - LMS from an image begins with
 * order 1, where diffusers weighs slopes that are not there; - all levels of a curve are visited:
 * AUTOMATIC1111 leaves out the last but one for DPM2, DPM2 a
 *     and DPM++ 3M SDE;
 * - DDIM and LCM refuse an epsilon model at zero signal instead of dividing by it.
 *
 * A state belongs to one image; rows of a batch have one each. All arrays hold n floats, in the
 * order of the latent, and never overlap unless said otherwise. Owned by whoever created it; any
 * thread, one at a time. After cn_sampler_new nothing allocates and nothing fails.
 *
 *     cn_sampler_new(&model->schedule, &opts, n, &s, &err);
 *     cn_noise_normal(&z, n, x);
 *     for (size_t i = 0; i < n; i++) x[i] *= cn_sampler_init_sigma(s);
 *     while (!cn_sampler_done(s)) {
 *         cn_sampler_scale_input(s, x, in);
 *         network(in, cn_sampler_timestep(s), out);
 *         cn_sampler_advance(s, x, out, &z);
 *     }
 *     cn_sampler_free(s);
 *
 * (The type is cn_sampler_state because C keeps one name space for tags and base/spec.h has an enum
 * cn_sampler.)
 */
#ifndef CN_DIFFUSION_SAMPLER_H
#define CN_DIFFUSION_SAMPLER_H

#include "base/base.h"

#include "diffusion/noise.h"
#include "diffusion/schedule.h"

struct cn_sampler_state;

/* CN_EINVAL with where "/sampler", "/schedule", "/steps" or "/denoise" for what cannot be done. */
int cn_sampler_new(const struct cn_schedule_config *config, const struct cn_sampler_opts *opts,
                   size_t n, struct cn_sampler_state **ret, struct cn_err *err) CN_MUST_USE;
void cn_sampler_free(struct cn_sampler_state *s);

/* Network calls of this trajectory (after the cut that denoise < 1 makes), and the index of the
 * next one. These are N and i of the control window rule: diffusers counts calls there. */
int cn_sampler_calls(const struct cn_sampler_state *s);
int cn_sampler_call(const struct cn_sampler_state *s);
bool cn_sampler_done(const struct cn_sampler_state *s);

/* What the network is told at the next call, and at any call number 0 <= call < calls: timesteps
 * are known before the first step is taken. */
float cn_sampler_timestep(const struct cn_sampler_state *s);
float cn_sampler_timestep_at(const struct cn_sampler_state *s, int call);

/* ret = what the network is shown; ret may be x. */
void cn_sampler_scale_input(const struct cn_sampler_state *s, const float *x, float *ret);

/* An image from pure noise starts as N(0,1) times this. */
float cn_sampler_init_sigma(const struct cn_sampler_state *s);

/* x0 with as much noise as the trajectory has before call number "call" (0: its start, as img2img
 * needs; calls: clean). ret may be x0. */
void cn_sampler_noise_at(const struct cn_sampler_state *s, int call, const float *x0,
                         const float *noise, float *ret);

/* cn_sampler_noise_at() the next call: before the first advance it starts img2img (at every
 * denoise, also 1), after an advance it gives what inpainting blends in. Inpainting with denoise 1
 * starts from pure noise instead, cn_sampler_init_sigma(). */
void cn_sampler_add_noise(const struct cn_sampler_state *s, const float *x0, const float *noise,
                          float *ret);

/* What the network's answer says about the clean latent; before the advance. ret may be x. */
void cn_sampler_x0(const struct cn_sampler_state *s, const float *x, const float *model_out,
                   float *ret);

/* One update of x with the network's answer; draws from noise exactly when diffusers draws.
 * CN_EINTERNAL when no call is left, or noise is NULL and needed. */
int cn_sampler_advance(struct cn_sampler_state *s, float *x, const float *model_out,
                       struct cn_noise *noise);

/* The same with the answer of the row without the prompt: model_out is that of both under guidance.
 * Euler CFG++ steps by it; the others do not look at it. NULL where guidance is off. */
int cn_sampler_advance_both(struct cn_sampler_state *s, float *x, const float *model_out,
                            const float *uncond, struct cn_noise *noise);

/* Whether advance will ever draw noise. */
bool cn_sampler_is_random(const struct cn_sampler_state *s);

#endif
