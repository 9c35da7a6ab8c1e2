/* Preloaded into the daemon by tests: a clock of the wall that is set while it runs.
 *
 * The file that CN_BAD_CLOCK names holds the seconds by which CLOCK_REALTIME, gettimeofday() and
 * time() are ahead (or behind, with a minus); without it they are right. It is read each time, by
 * system calls alone. The other clocks go on as they do. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long ahead_s(void)
{
    const char *path = getenv("CN_BAD_CLOCK");
    char text[32];
    long fd, n;

    if (path == NULL || (fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC)) < 0)
        return 0;
    n = syscall(SYS_read, fd, text, sizeof(text) - 1);
    syscall(SYS_close, fd);
    text[n > 0 ? n : 0] = '\0';
    return atol(text);
}

int clock_gettime(clockid_t which, struct timespec *t)
{
    long rc = syscall(SYS_clock_gettime, which, t);

    if (rc == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
        t->tv_sec += ahead_s();
    return (int)rc;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *ret)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (ret != NULL)
        *ret = now.tv_sec;
    return now.tv_sec;
}
