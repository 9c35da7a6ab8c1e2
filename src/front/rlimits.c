/* What the system lets the daemon have, set once at the start. */
#include "base/base.h"
#include "front/rlimits.h"

#include <malloc.h>
#include <sys/resource.h>

enum { FEWEST_FILES = 64, MOST_FILES = 65536 };

/* Each connection is a descriptor; the soft limit is often 1024 where the hard one is not. With so
 * few that loop, store and a worker cannot be opened nothing is begun. */
int cn_rlimits_raise_files(struct cn_err *err)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return CN_OK;
    if (limit.rlim_max < FEWEST_FILES)
        return cn_fail(err, CN_EIO,
                       "%lu open files are too few: at least %d are needed (ulimit -n)",
                       (unsigned long)limit.rlim_max, FEWEST_FILES);
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = CN_MIN(limit.rlim_max, (rlim_t)MOST_FILES);
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return CN_OK;
}

/* Bodies and images are tens of megabytes for a moment. glibc would learn from the first ones to
 * keep such blocks in its heap; with a fixed threshold they go back to the system when freed. */
void cn_rlimits_keep_memory_flat(void)
{
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
}
