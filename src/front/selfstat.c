/* What the process costs, for /metrics: read from /proc/self, because getrusage() has no resident
 * memory of now and no descriptors. */
#include "base/base.h"
#include "front/selfstat.h"
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

static void read_stat(const struct cn_selfstat *s)
{
    double ticks = (double)sysconf(_SC_CLK_TCK);
    unsigned long user = 0, kernel = 0, bytes = 0;
    unsigned long long start = 0;
    long pages = 0;
    char text[1024];
    const char *p;
    bool known;

    read_text("/proc/self/stat", text, sizeof(text));
    p = strrchr(text, ')'); /* the name before it may contain anything */
    known = p != NULL &&
            sscanf(p + 1,
                   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d "
                   "%llu %lu %ld",
                   &user, &kernel, &start, &bytes, &pages) == 5;
    cn_metric_set(s->cpu, (double)(user + kernel) / ticks);
    cn_metric_set(s->start, known ? boot_time() + (double)start / ticks : 0);
    cn_metric_set(s->virtual_bytes, (double)bytes);
    cn_metric_set(s->resident, (double)pages * (double)sysconf(_SC_PAGESIZE));
}

void cn_selfstat_init(struct cn_selfstat *s, struct cn_metrics *r)
{
    s->cpu = cn_metric_add(r, CN_COUNTER, "process_cpu_seconds_total",
                           "Time on a processor, user and system.", NULL);
    s->resident = cn_metric_add(r, CN_GAUGE, "process_resident_memory_bytes",
                                "Memory in use, without the workers.", NULL);
    s->virtual_bytes =
        cn_metric_add(r, CN_GAUGE, "process_virtual_memory_bytes", "Address space in use.", NULL);
    s->fds = cn_metric_add(r, CN_GAUGE, "process_open_fds", "Open file descriptors.", NULL);
    s->max_fds =
        cn_metric_add(r, CN_GAUGE, "process_max_fds", "Limit of open file descriptors.", NULL);
    s->start = cn_metric_add(r, CN_GAUGE, "process_start_time_seconds",
                             "When the process started, since 1970.", NULL);
}

void cn_selfstat_collect(const struct cn_selfstat *s)
{
    struct rlimit limit;

    read_stat(s);
    cn_metric_set(s->fds, count_fds());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        cn_metric_set(s->max_fds, (double)limit.rlim_cur);
}
