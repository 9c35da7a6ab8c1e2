/* What the system lets the daemon have: descriptors, and memory that goes back. At the start,
 * before there are threads. */
#ifndef CN_RLIMITS_H
#define CN_RLIMITS_H

#include "base/base.h"

/* CN_EIO: there are too few descriptors to begin at all. */
int cn_rlimits_raise_files(struct cn_err *err);

void cn_rlimits_keep_memory_flat(void);

#endif
