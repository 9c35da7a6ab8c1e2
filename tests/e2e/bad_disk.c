/* Preloaded into the daemon by tests: a disk that is full, or does not answer.
 *
 * CN_BAD_DISK names a folder (the store's). Whoever writes below it or flushes it finds the disk as
 * the file CN_BAD_DISK.state says at that moment: "full" (ENOSPC for what would grow), "stalled"
 * (nothing returns before the file says something else), anything else or no file: good. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum state { GOOD, FULL, STALLED };

static enum state state_now(void)
{
    const char *dir = getenv("CN_BAD_DISK");
    char path[4096], text[16] = "";
    long fd, n;

    if (dir == NULL)
        return GOOD;
    snprintf(path, sizeof(path), "%s.state", dir);
    fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return GOOD;
    n = syscall(SYS_read, fd, text, sizeof(text) - 1);
    syscall(SYS_close, fd);
    if (n > 0 && strncmp(text, "full", 4) == 0)
        return FULL;
    return n > 0 && strncmp(text, "stalled", 7) == 0 ? STALLED : GOOD;
}

static int is_below(int fd)
{
    const char *dir = getenv("CN_BAD_DISK");
    char link[64], path[4096];
    ssize_t n;

    if (dir == NULL)
        return 0;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    if (n < 0)
        return 0;
    path[n] = '\0';
    return strncmp(path, dir, strlen(dir)) == 0 && path[strlen(dir)] == '/';
}

/* Waits while the disk does not answer. 1: it is full. */
static int is_full(int fd)
{
    enum state s;

    if (!is_below(fd))
        return 0;
    while ((s = state_now()) == STALLED)
        usleep(10000);
    return s == FULL;
}

static int no_room(void)
{
    errno = ENOSPC;
    return -1;
}

ssize_t write(int fd, const void *data, size_t n)
{
    return fd > 2 && is_full(fd) ? no_room() : syscall(SYS_write, fd, data, n);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
    return is_full(fd) ? no_room() : syscall(SYS_pwrite64, fd, data, n, at);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    return pwrite64(fd, data, n, at);
}

int fsync(int fd)
{
    is_full(fd);
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    is_full(fd);
    return (int)syscall(SYS_fdatasync, fd);
}
