/* Starting a decoder, hearing from it within limits of time, and ending it. */
#include "base/base.h"
#include "base/clock.h"
#include "decoding/child_priv.h"
#include "decoding/message.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { KEEP_STDERR = 1 };
#else
enum { KEEP_STDERR = 0 };
#endif

enum { MS_NS = 1000000, DYING_MS = 1000 };

/* ---- the program ---- */

void cn_child_program_init(struct cn_child_program *p, const char *path)
{
    int fd = open(path, O_PATH | O_CLOEXEC);

    /* Above what a decoder's descriptors overwrite. */
    p->path = path;
    p->fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, CN_DECODING_PROGRAM_FD + 1);
    if (fd >= 0)
        close(fd);
}

void cn_child_program_release(struct cn_child_program *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

/* ---- starting ---- */

static bool wanted_env(const char *e)
{
    static const char *const prefix[] = {
        "LD_LIBRARY_PATH=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS="};

    for (size_t i = 0; i < CN_LEN(prefix); i++)
        if (strncmp(e, prefix[i], strlen(prefix[i])) == 0)
            return true;
    return false;
}

/* program: its descriptor, which the decoder closes; -1: none. */
static int add_files(posix_spawn_file_actions_t *f, int fd, int program)
{
    const int beyond = program >= 0 ? CN_DECODING_PROGRAM_FD + 1 : CN_DECODING_FD + 1;

    int e = posix_spawn_file_actions_addopen(f, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

    if (e == 0)
        e = posix_spawn_file_actions_addopen(f, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (e == 0 && !KEEP_STDERR)
        e = posix_spawn_file_actions_addopen(f, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (e == 0)
        e = posix_spawn_file_actions_adddup2(f, fd, CN_DECODING_FD);
    if (e == 0 && program >= 0)
        e = posix_spawn_file_actions_adddup2(f, program, CN_DECODING_PROGRAM_FD);
    return e != 0 ? e : posix_spawn_file_actions_addclosefrom_np(f, beyond);
}

/* Signals as a program expects them, whatever the caller has blocked or ignored. */
static int set_signals(posix_spawnattr_t *a)
{
    sigset_t none, all;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(a, &none);
    posix_spawnattr_setsigdefault(a, &all);
    return posix_spawnattr_setflags(a, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

static int spawn(const char *path, int program, int fd, pid_t *ret)
{
    char name[] = "controlnet-decoder", option[] = "--fd", number[] = "3";
    char *args[] = {name, option, number, NULL};
    char *env[8] = {NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    size_t n = 0;
    int e;

    for (char **v = environ; *v != NULL && n + 1 < CN_LEN(env); v++)
        if (wanted_env(*v))
            env[n++] = *v;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    e = add_files(&files, fd, program);
    if (e == 0)
        e = set_signals(&attr);
    if (e == 0)
        e = posix_spawn(ret, path, &files, &attr, args, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return e;
}

/* By its descriptor, or by its path where there is no /proc. */
static int spawn_program(const struct cn_child_program *p, int fd, pid_t *ret)
{
    char path[40];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", CN_DECODING_PROGRAM_FD);
    if (p->fd >= 0 && spawn(path, p->fd, fd, ret) == 0)
        return 0;
    return spawn(p->path, -1, fd, ret);
}

int cn_child_start(const struct cn_child_program *p, struct cn_child *ret, struct cn_err *err)
{
    struct cn_child c = {.pid = 0};
    int pair[2], e;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return cn_fail(err, CN_EIO, "cannot make a socket for a decoder: %s", strerror(errno));
    e = spawn_program(p, pair[1], &c.pid);
    close(pair[1]);
    if (e != 0) {
        close(pair[0]);
        return cn_fail(err, CN_EIO, "cannot start the decoder of pictures: %s", strerror(e));
    }
    c.fd = pair[0];
    if (clock_getcpuclockid(c.pid, &c.clock) != 0)
        c.clock = CLOCK_MONOTONIC; /* then the limit is one of time */
    *ret = c;
    return CN_OK;
}

/* ---- its end ---- */

/* What closed its socket is about to die, but it may also live on: not longer than that. *ret:
 * whether it had to be killed. */
static int reap(pid_t pid, bool *ret)
{
    int64_t until = cn_now_ns() + (int64_t)DYING_MS * MS_NS;
    int status = 0;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (cn_now_ns() > until) {
            kill(pid, SIGKILL);
            *ret = true;
        }
        nanosleep(&(struct timespec){0, MS_NS}, NULL);
    }
    return status;
}

static bool is_closed(const struct cn_child *c)
{
    struct pollfd p = {.fd = c->fd};

    return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) != 0;
}

void cn_child_end(struct cn_child *c, struct cn_child_end *ret)
{
    struct cn_child_end end = {0};
    bool ours = !is_closed(c);
    int status;

    if (ours)
        kill(c->pid, SIGKILL);
    status = reap(c->pid, &ours);
    close(c->fd);
    *c = (struct cn_child){.pid = 0};
    if (WIFSIGNALED(status)) {
        end.killed = WTERMSIG(status) == SIGKILL && !ours;
        snprintf(end.text, sizeof(end.text), "signal %d, %s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    } else {
        snprintf(end.text, sizeof(end.text), "status %d", WEXITSTATUS(status));
    }
    if (ret != NULL)
        *ret = end;
}

/* ---- messages ---- */

/* Milliseconds of a processor that it has had; 0 when it is over. */
static int64_t cpu_used_ms(const struct cn_child *c)
{
    struct timespec t;

    if (clock_gettime(c->clock, &t) != 0)
        return 0;
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / MS_NS;
}

int cn_child_send(const struct cn_child *c, const void *data, size_t size, const int fd[2])
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(CN_DECODING_FDS * sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec iov = {(void *)data, size};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    ssize_t n;

    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(CN_DECODING_FDS * sizeof(int));
    memcpy(CMSG_DATA(h), fd, CN_DECODING_FDS * sizeof(int));
    do
        n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)size ? CN_OK : CN_EIO;
}

/* Until something can be read, or nothing will be. Its processor time grows no faster than time, so
 * that there is no need to look at it more often than the rest of its allowance. */
static int wait_for(const struct cn_child *c, int cpu_ms, int wall_ms, struct cn_err *err)
{
    int64_t started = cpu_used_ms(c), until = cn_now_ns() + (int64_t)wall_ms * MS_NS;
    struct pollfd p = {.fd = c->fd, .events = POLLIN};

    for (;;) {
        int64_t cpu = cpu_ms - (cpu_used_ms(c) - started);
        int64_t wall = (until - cn_now_ns()) / MS_NS;

        if (poll(&p, 1, 0) > 0)
            return CN_OK;
        if (cpu <= 0)
            return cn_fail(err, CN_ETOOBIG, "the image takes more than %.3g s to decode",
                           cpu_ms / 1e3);
        if (wall <= 0)
            return cn_fail(err, CN_ETOOBIG, "the image was not decoded in %.3g s", wall_ms / 1e3);
        poll(&p, 1, (int)CN_MIN(cpu, wall) + 1);
    }
}

int cn_child_receive(const struct cn_child *c, void *data, size_t size, int cpu_ms, int wall_ms,
                     struct cn_err *err)
{
    int rc = wait_for(c, cpu_ms, wall_ms, err);
    ssize_t n;

    if (rc < 0)
        return rc;
    /* Descriptors that it may send are closed by the kernel: none are asked for. */
    n = recv(c->fd, data, size, MSG_DONTWAIT | MSG_TRUNC);
    if (n <= 0)
        return CN_EIO;
    return n == (ssize_t)size ? CN_OK : CN_EFORMAT;
}
