/* The linker sends cn_try_alloc and the growth of buffers here (--wrap). */
#include "base/base.h"
#include "no_memory.h"

#include <errno.h>

static int left = -1;

int __real_posix_memalign(void **p, size_t alignment, size_t size);
int __wrap_posix_memalign(void **p, size_t alignment, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);

void fail_allocation(int n)
{
    left = n;
}

static bool refuse(void)
{
    return left >= 0 && left-- == 0;
}

int __wrap_posix_memalign(void **p, size_t alignment, size_t size)
{
    return refuse() ? ENOMEM : __real_posix_memalign(p, alignment, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return refuse() ? NULL : __real_realloc(p, size);
}
