/* What the files of schedules share: what a class of sampler makes of a model's configuration. */
#ifndef CN_DIFFUSION_SCHEDULE_PRIV_H
#define CN_DIFFUSION_SCHEDULE_PRIV_H

#include "base/base.h"

#include "diffusion/curve.h"
#include "diffusion/schedule.h"

/* How timesteps are chosen. CN_GRID_OPEN divides the range into one part more than there are steps
 * (linspace and leading), so that the last timestep is not 0; CN_GRID_DISTILLED takes every n-th of
 * the timesteps that a consistency model was distilled on. */
enum cn_grid { CN_GRID_INTEGER, CN_GRID_REAL, CN_GRID_OPEN, CN_GRID_DISTILLED };

/* What the classes do with a rescale to zero terminal SNR: honour it (abar ends in 0), honour it
 * but end in 2^-24 so that sigma stays finite, or not know the option. */
enum cn_zero_snr { CN_ZERO_EXACT, CN_ZERO_CLAMPED, CN_ZERO_UNKNOWN };

/* Network calls of a step. A step that ends at 0 has only one, whatever the method. */
enum cn_calls {
    CN_CALLS_ONE,
    CN_CALLS_HEUN,      /* a second where it ends */
    CN_CALLS_PNDM,      /* the second timestep twice; or a warm-up of twelve calls */
    CN_CALLS_MIDDLE,    /* a second in the middle, in log sigma */
    CN_CALLS_ANCESTRAL, /* a second in the middle between its start and sigma_down */
    CN_CALLS_KDPM2_A,   /* likewise, with sigma_down in float32 */
    CN_CALLS_HEUNPP,    /* three, at its start, its end and the next one's end; before last two */
    CN_CALLS_RESTART    /* as Heun's, over a list of levels of its own */
};

/* Keys that a class knows; others in the file mean nothing to it. */
enum cn_reads {
    CN_READS_SIGMAS = 1 << 0, /* use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas */
    CN_READS_LU = 1 << 1,     /* use_lu_lambdas */
    CN_READS_FINAL = 1 << 2,  /* final_sigmas_type */
    CN_READS_LAMBDA = 1 << 3, /* lambda_min_clipped */
    CN_READS_BOUNDS = 1 << 4, /* sigma_min, sigma_max */
    CN_READS_CLIP = 1 << 5    /* clip_sample */
};

enum { CN_PRK_STEPS = 4 /* PNDM's warm-up visits as many timesteps */ };

struct cn_class_rule {
    enum cn_spacing spacing; /* the class's default */
    enum cn_grid grid;
    enum cn_zero_snr zero;
    enum cn_calls calls;
    bool sigmas;     /* noise levels are a list of sigmas */
    bool choosable;  /* ... which may be a curve that the request names */
    bool scaled;     /* starts at sigma, in VE coordinates */
    unsigned reads;  /* enum cn_reads */
    unsigned undone; /* 1 << enum cn_undone: settings that the class knows and that are not done */
    enum cn_class_betas { CN_BETAS_DDPM, CN_BETAS_LATENT, CN_BETAS_SCALED } betas; /* defaults */
    bool karras_unbound; /* sigma_min, sigma_max: not for Karras's curve */
    bool rounds;   /* tells whole timesteps of Karras sigmas, though its grid is real */
    bool ends_low; /* the last step ends at the least noise level, not at 0 */
    bool alpha_to_one, clip_sample, prk_steps; /* defaults */
};

const struct cn_class_rule *cn_class_rule(enum cn_sampler kind);

/* The configuration as the class reads it: its own defaults for what the file does not hold, and
 * none of the settings that it does not know. CN_EINVAL at "/sampler" when the file asks the class
 * for something that is not done here, naming the key. */
int cn_class_config(enum cn_sampler kind, const struct cn_schedule_config *file,
                    struct cn_schedule_config *ret, struct cn_err *err);

/* Appends the network calls of the steps v[0 .. n-1], the last of which ends at v[n], to
 * t->timestep and t->sigma. table: sigma of every training timestep; work: Restart's, 2 n + 3 of
 * them. */
void cn_timetable_follow(struct cn_timetable *t, enum cn_sampler kind, const struct cn_visit *v,
                         int n, const float *table, struct cn_visit *work);

/* CN_EFORMAT for a number of training timesteps that no model has. */
int cn_schedule_check_total(int n, struct cn_err *err);

#endif
