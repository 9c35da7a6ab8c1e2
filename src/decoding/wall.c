/* Limits, Landlock and seccomp, in this order: each later layer takes away what the earlier ones
 * need to be raised. */
#include "base/base.h"
#include "decoding/wall.h"

#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Shadow memory is terabytes of addresses. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIMITS_ADDRESSES 0
#else
#define LIMITS_ADDRESSES 1
#endif

enum {
    OPEN_FILES = 16, /* descriptors from 3 on: the socket and two of a request */
    STDERR = 2
};

/* ---- limits ---- */

static bool limit(int what, rlim_t most)
{
    struct rlimit now;

    if (getrlimit((__rlimit_resource_t)what, &now) != 0)
        return false;
    if (now.rlim_max < most)
        most = now.rlim_max;
    return setrlimit((__rlimit_resource_t)what, &(struct rlimit){most, most}) == 0;
}

/* The soft limit of processor time comes as SIGXCPU, which says more than SIGKILL. A hard one that
 * is lower already stays. */
static bool limit_cpu(void)
{
    struct rlimit now;

    if (getrlimit(RLIMIT_CPU, &now) != 0)
        return false;
    now.rlim_max = CN_MIN(now.rlim_max, (rlim_t)CN_WALL_CPU_S + 1);
    now.rlim_cur = CN_MIN(now.rlim_max, (rlim_t)CN_WALL_CPU_S);
    return setrlimit(RLIMIT_CPU, &now) == 0;
}

static bool raise_limits(void)
{
    bool ok = limit(RLIMIT_CORE, 0) && limit(RLIMIT_NPROC, 0) && limit(RLIMIT_NOFILE, OPEN_FILES) &&
              limit(RLIMIT_FSIZE, CN_WALL_FILE_BYTES) && limit_cpu();

    return ok && (!LIMITS_ADDRESSES || limit(RLIMIT_AS, CN_WALL_MEMORY));
}

/* ---- Landlock ---- */

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self  446
#endif

/* linux/landlock.h of the system that builds may be older than the one that runs. */
struct ruleset {
    uint64_t files, ports;
};

/* A ruleset that handles everything the kernel knows to handle, and then allows none of it. */
static bool raise_landlock(void)
{
    enum { ASK_VERSION = 1, WITH_PORTS = 4 };
    static const int rights[] = {0, 13, 14, 15, 15, 16}; /* on files, of each version */
    struct ruleset all = {0, 3 /* bind, connect */};
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, ASK_VERSION), fd;
    size_t size = version >= WITH_PORTS ? sizeof(all) : sizeof(all.files);
    bool ok;

    if (version < 1)
        return false;
    all.files = (1u << rights[CN_MIN(version, (long)CN_LEN(rights) - 1)]) - 1;
    fd = syscall(SYS_landlock_create_ruleset, &all, size, 0);
    if (fd < 0)
        return false;
    ok = syscall(SYS_landlock_restrict_self, fd, 0) == 0;
    close((int)fd);
    return ok;
}

/* ---- seccomp ---- */

/* What decoding, receiving and answering take, and glibc's malloc. */
static const int allowed[] = {
    SCMP_SYS(recvmsg),       SCMP_SYS(sendto),        SCMP_SYS(pwrite64),     SCMP_SYS(close),
    SCMP_SYS(munmap),        SCMP_SYS(mremap),        SCMP_SYS(brk),          SCMP_SYS(madvise),
    SCMP_SYS(futex),         SCMP_SYS(clock_gettime), SCMP_SYS(rt_sigreturn), SCMP_SYS(exit_group),
    SCMP_SYS(restart_syscall), SCMP_SYS(exit),
    /* abort() */
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(getpid),       SCMP_SYS(gettid),
#if !LIMITS_ADDRESSES
    SCMP_SYS(sigaltstack), /* a sanitizer, at each longjmp() of the JPEG library's errors */
#endif
};

static int allow(scmp_filter_ctx ctx, int call)
{
    return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 0);
}

/* Calls that are harmless with one argument only: memory that is not code, words to standard error
 * (nobody's, or of a sanitizer), a signal to itself. */
static int allow_some(scmp_filter_ctx ctx)
{
    int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

    if (rc == 0)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    if (rc == 0)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(write), 1,
                              SCMP_A0(SCMP_CMP_EQ, STDERR));
    if (rc == 0)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(writev), 1,
                              SCMP_A0(SCMP_CMP_EQ, STDERR));
    return rc;
}

static bool raise_seccomp(void)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int rc = 0;

    if (ctx == NULL) /* the library could not ask the kernel, under a filter of somebody else */
        ctx = seccomp_init(SCMP_ACT_KILL);
    if (ctx == NULL)
        return false;
    for (size_t i = 0; rc == 0 && i < CN_LEN(allowed); i++)
        rc = allow(ctx, allowed[i]);
    if (rc == 0)
        rc = allow_some(ctx);
    if (rc == 0)
        rc = seccomp_load(ctx);
    seccomp_release(ctx);
    return rc == 0;
}

/* ---- all of it ---- */

static const struct layer {
    enum cn_wall_layer bit;
    bool (*raise)(void);
} layer[] = {
    {CN_WALL_LIMITS, raise_limits},
    {CN_WALL_FILES, raise_landlock},
    {CN_WALL_CALLS, raise_seccomp},
};

unsigned cn_wall_raise(unsigned layers)
{
    unsigned have = 0;

    /* No privilege by execve (the other layers ask for that), no core file, no debugger of the same
     * user, and no life after the thread that started it. */
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    for (size_t i = 0; i < CN_LEN(layer); i++)
        if ((layers & layer[i].bit) != 0 && layer[i].raise())
            have |= layer[i].bit;
    return have;
}
