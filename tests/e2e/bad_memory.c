/* Preloaded into the daemon by tests: an allocation that fails.
 *
 * CN_BAD_MEMORY names a file of three numbers of 64 bits, which the test and the daemon share: how
 * many allocations were made since the test has set it to zero; which of them fails (0: none); how
 * many from there on fail (at least 1). CN_BAD_MEMORY_OF names the program that it is about: those
 * that it starts, which inherit the environment, keep their memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct plan {
    int64_t count, at, length;
};

static struct plan *plan;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CN_BAD_MEMORY"), *of = getenv("CN_BAD_MEMORY_OF");
    void *p;
    int fd;

    if (path == NULL || of == NULL || strcmp(of, program_invocation_short_name) != 0)
        return;
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        abort();
    p = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        abort();
    close(fd);
    plan = p;
}

static int fails(void)
{
    int64_t now, at;

    if (plan == NULL)
        return 0;
    now = __atomic_add_fetch(&plan->count, 1, __ATOMIC_SEQ_CST);
    at = __atomic_load_n(&plan->at, __ATOMIC_SEQ_CST);
    if (at == 0 || now < at || now >= at + plan->length)
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    return fails() ? NULL : __libc_realloc(p, size);
}

void *memalign(size_t alignment, size_t size)
{
    return fails() ? NULL : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
    void *p = fails() ? NULL : __libc_memalign(alignment, size);

    if (p == NULL)
        return ENOMEM;
    *ret = p;
    return 0;
}
