/* Noise schedules: which noise levels a sampler visits, and which timesteps it tells the network.
 *
 * The arithmetic is that of diffusers 0.35, float32 where it uses torch and float64 where it uses
 * numpy, so that alphas_cumprod agree to the last bit and timesteps exactly. Notation (model card
 * of DDPM, arXiv:2006.11239): abar_t = prod (1 - beta_i), i <= t. sigma_t = sqrt((1 - abar_t) /
 * abar_t) is the noise level in "VE" coordinates, X = x0 + sigma e (Euler, Heun); "VP" coordinates
 * are x = sqrt(abar) x0 + sqrt(1 - abar) e = sqrt(abar) X (DDIM, PNDM, DPM++, UniPC, LCM).
 *
 * Pure functions on caller-owned structs; any thread.
 *
 *     struct cn_timetable t;
 *     if (cn_timetable_init(&t, &config, &opts, &err) < 0) ...     -- err.where = "/steps"
 *     for (int i = 0; i < t.calls; i++) use(t.timestep[i]);
 *     cn_timetable_release(&t);
 */
#ifndef CN_DIFFUSION_SCHEDULE_H
#define CN_DIFFUSION_SCHEDULE_H

#include "base/base.h"

#include "base/spec.h"
#include "checkpoint/config.h"

/* What of a request decides the trajectory. */
struct cn_sampler_opts {
    enum cn_sampler kind;
    enum cn_schedule schedule;
    enum cn_spacing spacing;
    int steps;
    double denoise; /* (0,1]: the part of the steps that is run; 1 without an initial image */
    double eta;     /* DDIM, and TCD where 0 means its own, 0.3 */
};

#define CN_SAMPLER_OPTS_DEFAULTS                                                                   \
    {                                                                                              \
        .kind = CN_DPMPP_2M, .steps = 20, .denoise = 1                                             \
    }

/* What diffusers' set_timesteps() computes for one class of sampler. */
struct cn_timetable {
    struct cn_schedule_config config; /* as the class reads it: schedule_class.c */
    int train_steps;
    float *abar;      /* [train_steps] alphas_cumprod, with this class's zero-SNR rule */
    float final_abar; /* abar "before" timestep 0 */
    int steps;        /* as requested; beta_timesteps may leave some out */
    int cut;          /* Restart: the first so many steps are left out of the calls, by denoise */
    int calls;        /* network calls: steps, or more for methods with several in a step */
    float *timestep;  /* [calls] given to the network; descending but for methods that look ahead */
    float *sigma;     /* [calls + 1]; NULL where the sampler reads abar at timesteps. The last is 0,
                         or the least level where the schedule ends there */
    float init_sigma; /* an image from noise starts as N(0,1) times this */
    enum cn_spacing spacing;   /* the one in force, never CN_SPACING_MODEL */
    enum cn_schedule schedule; /* the curve in force: the request's, else the model file's */
};

int cn_timetable_init(struct cn_timetable *t, const struct cn_schedule_config *config,
                      const struct cn_sampler_opts *opts, struct cn_err *err) CN_MUST_USE;
void cn_timetable_release(struct cn_timetable *t);

/* abar of every training timestep; ret holds config->train_steps floats. zero_snr: apply
 * config->rescale_zero_snr. CN_EFORMAT when the configuration is not a noise schedule. */
int cn_schedule_abar(const struct cn_schedule_config *config, bool zero_snr, float *ret,
                     struct cn_err *err) CN_MUST_USE;

/* The spacing in force: the request's, else the model file's, else diffusers' default of the
 * class: leading for DDIM, PNDM and LCM, linspace for the others. */
enum cn_spacing cn_schedule_spacing(const struct cn_schedule_config *config, enum cn_sampler kind,
                                    enum cn_spacing requested);

/* Whether the sampler can follow this schedule of sigmas (Karras, exponential ...). */
bool cn_schedule_fits(enum cn_sampler kind, enum cn_schedule schedule);

/* An ancestral step: down to "down", then up to "to" with as much noise as "up" says:
 * up^2 = to^2 (from^2 - to^2) / from^2, down^2 = to^2 - up^2. */
struct cn_ancestral {
    double down, up;
};

struct cn_ancestral cn_sampler_ancestral(double from, double to);
/* As KDPM2AncestralDiscreteScheduler computes it: in float32, where to^2 - up^2 cancels. Where
 * nothing is left of it (a step from zero SNR), that class divides by zero, and this is exact. */
struct cn_ancestral cn_sampler_ancestral_single(float from, float to);

/* First call of step number 0 <= step < t->steps. */
int cn_timetable_call_of_step(const struct cn_timetable *t, enum cn_sampler kind, int step);

#endif
