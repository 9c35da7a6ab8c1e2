/* Time. Any thread. */
#ifndef CN_BASE_CLOCK_H
#define CN_BASE_CLOCK_H

#include "base/base.h"

#define CN_SECOND_NS INT64_C(1000000000)
#define CN_SECOND_US INT64_C(1000000)

int64_t cn_now_ns(void);  /* monotonic */
double cn_now_s(void);    /* monotonic, seconds */
int64_t cn_wall_us(void); /* since 1970, UTC */

enum { CN_TIME_TEXT = 40 };

/* RFC 3339, UTC, with milliseconds, of microseconds since 1970. */
void cn_time_text(int64_t us, char ret[CN_TIME_TEXT]);

/* A date ("2026-11-22", its midnight in UTC) or a date-time of RFC 3339 with any offset and up to
 * nine digits of a second, from 1970 on: microseconds since then; -1: it is neither. */
int64_t cn_time_parse(const char *text);

#endif
