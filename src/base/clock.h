/* Time. Any thread. */
#ifndef CN_BASE_CLOCK_H
#define CN_BASE_CLOCK_H

#include "base/base.h"

int64_t cn_now_ns(void);  /* monotonic */
double cn_now_s(void);    /* monotonic, seconds */
int64_t cn_wall_us(void); /* since 1970, UTC */

#endif
