/* Curves of noise levels: the schedules that a request may choose instead of the model's timesteps.
 *
 * Pure functions; any thread.
 *
 *     struct cn_curve c = {.kind = CN_KARRAS, .table = t, .total = 1000, .max = 15, .min = 0.1};
 *     struct cn_visit v[20 + 1];
 *     int n = cn_curve_fill(&c, 20, v);      -- n visits; v[n].sigma is where the last step ends
 */
#ifndef CN_DIFFUSION_CURVE_H
#define CN_DIFFUSION_CURVE_H

#include "base/base.h"

#include "base/spec.h"

/* A noise level, and what the network is told there. */
struct cn_visit {
    double sigma, t;
};

struct cn_curve {
    enum cn_schedule kind; /* not CN_SCHEDULE_DEFAULT */
    const float *table;    /* [total] sigma of every training timestep, ascending */
    int total;
    double max, min; /* ends of karras, exponential and beta; the others go over the whole table */
    bool float_logs; /* exponential: between logarithms rounded to float (Lu's lambdas) */
};

/* n steps; ret holds n + 1. Returns how many steps there are: fewer than n only where
 * beta_timesteps meets a timestep twice. The last level is 0, with kl_optimal the least of the
 * table. */
int cn_curve_fill(const struct cn_curve *c, int n, struct cn_visit *ret);

/* The (fractional) timestep whose noise level is sigma, by interpolation in log sigma;
 * table: [n] sigma of every training timestep, ascending. */
double cn_curve_sigma_to_t(double sigma, const float *table, int n);

/* x with I_x(0.6, 0.6) = p: the quantile of the beta distribution, p in [0,1]. */
double cn_curve_beta_quantile(double p);

#endif
