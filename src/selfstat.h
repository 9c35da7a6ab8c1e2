/* This process in numbers, from /proc: for the process_* metrics. Any thread. */
#ifndef CN_SELFSTAT_H
#define CN_SELFSTAT_H

#include "base/base.h"

struct cn_selfstat {
    double cpu_s, start_s; /* start: seconds since 1970 */
    double resident_bytes, virtual_bytes, open_fds, max_fds;
};

/* What cannot be read is 0. */
void cn_selfstat_read(struct cn_selfstat *ret);

#endif
