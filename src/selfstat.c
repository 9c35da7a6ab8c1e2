/* /proc/self. */
#include "base/base.h"
#include "selfstat.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
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

static double boot_time(void)
{
    char text[16384];
    const char *p;
    double s = 0;

    read_text("/proc/stat", text, sizeof(text));
    p = strstr(text, "btime ");
    if (p != NULL)
        sscanf(p + 6, "%lf", &s);
    return s;
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
