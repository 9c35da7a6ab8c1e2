/* What the process costs, for /metrics: read from /proc/self, because getrusage() has no resident
 * memory of now and no descriptors. */
#include "base/base.h"
#include "selfstat.h"
#include "base/clock.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static size_t read_text(const char *path, char *text, size_t size)
{
    FILE *f = fopen(path, "re");
    size_t n = 0;

    if (f != NULL) {
        n = fread(text, 1, size - 1, f);
        fclose(f);
    }
    text[n] = '\0';
    return n;
}

/* Seconds since 1970 of the machine's start: without /proc/stat, which a hardened unit hides. */
static double boot_time(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (double)cn_wall_us() * 1e-6 - ((double)t.tv_sec + (double)t.tv_nsec * 1e-9);
}

static double count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    if (d == NULL)
        return 0;
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 3; /* ".", ".." and the one that was open for counting */
}

void cn_selfstat_read(struct cn_selfstat *r)
{
    double ticks = (double)sysconf(_SC_CLK_TCK);
    unsigned long user = 0, kernel = 0, bytes = 0;
    unsigned long long start = 0;
    long pages = 0;
    struct rlimit limit;
    char text[1024];
    const char *p;

    memset(r, 0, sizeof(*r));
    read_text("/proc/self/stat", text, sizeof(text));
    p = strrchr(text, ')'); /* the name before it may contain anything */
    if (p != NULL &&
        sscanf(p + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d "
               "%llu %lu %ld",
               &user, &kernel, &start, &bytes, &pages) == 5) {
        r->cpu_s = (double)(user + kernel) / ticks;
        r->start_s = boot_time() + (double)start / ticks;
        r->virtual_bytes = (double)bytes;
        r->resident_bytes = (double)pages * (double)sysconf(_SC_PAGESIZE);
    }
    r->open_fds = count_fds();
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        r->max_fds = (double)limit.rlim_cur;
}
