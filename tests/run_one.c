/* Runs one test so that it ends: with a deadline of its own, and with everything that it started.
 *
 *     run-one [-t TABLE] COMMAND [ARG...]
 *
 * The command gets a process group of its own. When its time is over the group gets SIGTERM, and
 * two seconds later everything that is left gets SIGKILL, also what has gone into another group or
 * session: this process adopts all orphans of the test (PR_SET_CHILD_SUBREAPER). The same happens
 * when the test has ended and left something running, and when this process is told to end itself.
 * The status is the test's own, or 1 when it was ended, with a line on standard error that says so.
 *
 * A line "NAME SECONDS" of TABLE is the deadline of the test whose path ends in NAME, "*" of all
 * others; CN_TEST_SLOW multiplies them (a memory checker; sanitizers do without). The deadline is
 * no measure of how fast a test should be: it is far above what the slowest machine needs, and only
 * ends what would never end.
 *
 * The last line on standard error is "run-one: took WALL s, CPU s of processors", of the test with
 * all that it started: tools/check lists the tests that take longest by it. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DEFAULT_S = 300, GRACE_S = 2 };

/* What a sanitizer costs: this program is built as the tests are. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOWER 3
#else
#define SLOWER 1
#endif

static const int watched[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* What all processes that have been waited for have used, here and in them. */
static double processors(void)
{
    struct rusage u;

    getrusage(RUSAGE_CHILDREN, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

static double deadline_of(const char *table, const char *test)
{
    const char *slow = getenv("CN_TEST_SLOW");
    double factor = slow != NULL ? atof(slow) : SLOWER, ret = DEFAULT_S, seconds;
    FILE *f = table != NULL ? fopen(table, "re") : NULL;
    char line[256], name[200];
    bool found = false;

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "%199s %lf", name, &seconds) != 2 || name[0] == '#')
            continue;
        if (ends_with(test, name) || (!found && strcmp(name, "*") == 0)) {
            found = found || name[0] != '*';
            ret = seconds;
        }
    }
    if (f != NULL)
        fclose(f);
    return ret * (factor > 1 ? factor : 1);
}

/* The parent of a process by /proc/PID/stat, or 0. The program's name may hold anything: the fields
 * go on after its last parenthesis. */
static int parent_of(const char *pid)
{
    char path[64], text[512];
    const char *p = NULL;
    int ppid = 0;
    size_t n = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    f = fopen(path, "re");
    if (f == NULL)
        return 0;
    n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    p = strrchr(text, ')');
    return p != NULL && sscanf(p, ") %*c %d", &ppid) == 1 ? ppid : 0;
}

/* Signals our own children: the test, and orphans that came to us. Returns how many. */
static int kill_children(int sig)
{
    DIR *d = opendir("/proc");
    struct dirent *e;
    int n = 0;

    while (d != NULL && (e = readdir(d)) != NULL) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9' || parent_of(e->d_name) != getpid())
            continue;
        kill(atoi(e->d_name), sig);
        n++;
    }
    if (d != NULL)
        closedir(d);
    return n;
}

/* Takes back who has ended; true when the test itself has. */
static bool reap(pid_t test, int *status)
{
    bool ended = false;
    int s;
    pid_t pid;

    while ((pid = waitpid(-1, &s, WNOHANG)) > 0)
        if (pid == test) {
            *status = s;
            ended = true;
        }
    return ended;
}

/* SIGKILL for the group and all that has become ours, until nothing is left: a process that is
 * killed hands its own children over to us. */
static int clear(pid_t test, int *status)
{
    int most = 0;

    for (int i = 0; i < 500; i++) {
        int n;

        reap(test, status);
        kill(-test, SIGKILL);
        n = kill_children(SIGKILL);
        if (n == 0 && waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
            break;
        most = n > most ? n : most;
        usleep(10000);
    }
    return most;
}

/* Waits until the test ends, somebody wants us to, or the time is over: 0, the signal, or -1. */
static int watch(pid_t test, double end, int *status)
{
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++)
        sigaddset(&set, watched[i]);
    for (;;) {
        double left = end - now();
        struct timespec t = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
        int sig;

        if (reap(test, status))
            return 0;
        if (left <= 0)
            return -1;
        sig = sigtimedwait(&set, NULL, &t);
        if (sig > 0 && sig != SIGCHLD)
            return sig;
    }
}

static pid_t start(char **argv, const sigset_t *mask)
{
    pid_t pid = fork();

    if (pid != 0) {
        if (pid > 0)
            setpgid(pid, pid); /* both sides do it: whoever comes first */
        return pid;
    }
    setpgid(0, 0);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(argv[0], argv);
    fprintf(stderr, "run-one: cannot run \"%s\": %s\n", argv[0], strerror(errno));
    _exit(127);
}

static int status_of(int status)
{
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    fprintf(stderr, "run-one: the test ended by signal %d (%s)\n", WTERMSIG(status),
            strsignal(WTERMSIG(status)));
    return 1;
}

int main(int argc, char **argv)
{
    const char *table = NULL;
    int status = 0, why, left;
    double seconds, begin = now();
    sigset_t set, old;
    pid_t test;

    if (argc > 2 && strcmp(argv[1], "-t") == 0) {
        table = argv[2];
        argv += 2;
        argc -= 2;
    }
    if (argc < 2) {
        fputs("usage: run-one [-t TABLE] COMMAND [ARG...]\n", stderr);
        return 2;
    }
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++)
        sigaddset(&set, watched[i]);
    sigprocmask(SIG_BLOCK, &set, &old);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    seconds = deadline_of(table, argv[1]);
    test = start(argv + 1, &old);
    if (test < 0) {
        perror("run-one: fork");
        return 99;
    }
    why = watch(test, begin + seconds, &status);
    if (why != 0) {
        fprintf(stderr, "run-one: %s: %s after %g s: it is ended with all that it started\n",
                argv[1], why < 0 ? "not finished" : strsignal(why), seconds);
        kill(-test, SIGTERM);
        for (double end = now() + GRACE_S; now() < end && !reap(test, &status);)
            usleep(20000);
    }
    left = clear(test, &status);
    if (why == 0 && left > 0)
        fprintf(stderr, "run-one: %s left %d processes behind\n", argv[1], left);
    status = why != 0 ? 1 : status_of(status);
    fprintf(stderr, "run-one: took %.1f s, %.1f s of processors\n", now() - begin, processors());
    return status;
}
