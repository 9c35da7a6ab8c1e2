/* What the files of schedules share. */
#ifndef CN_DIFFUSION_SCHEDULE_PRIV_H
#define CN_DIFFUSION_SCHEDULE_PRIV_H

#include "base/base.h"

/* CN_EFORMAT for a number of training timesteps that no model has. */
int cn_schedule_check_total(int n, struct cn_err *err);

#endif
