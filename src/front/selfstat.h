/* This process in numbers, from /proc: the process_* metrics. Loop thread only. */
#ifndef CN_SELFSTAT_H
#define CN_SELFSTAT_H

#include "base/base.h"

#include "base/metrics.h"

struct cn_selfstat {
    struct cn_metric *cpu, *resident, *virtual_bytes, *fds, *max_fds, *start;
};

void cn_selfstat_init(struct cn_selfstat *s, struct cn_metrics *r);

/* Reads them again; what cannot be read is 0. */
void cn_selfstat_collect(const struct cn_selfstat *s);

#endif
