/* Output that does not block. The descriptor itself must not be made non-blocking: its open file is
 * shared with other programs. A pipe is opened once more through /proc, which makes an open file of
 * our own; a socket is written with MSG_DONTWAIT; and where neither goes, a pipe that poll() calls
 * writable takes PIPE_BUF bytes without waiting. A regular file is just written. */
#include "base/base.h"
#include "base/log_out.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void drop(struct cn_log_out *o)
{
    o->dropped++;
    o->untold++;
}

static void drop_pending(struct cn_log_out *o)
{
    for (size_t i = 0; i < o->len; i++)
        if (o->data[(o->begin + i) % CN_LOG_PENDING] == '\n')
            drop(o);
    o->begin = o->len = 0;
}

void cn_log_out_close(struct cn_log_out *o)
{
    drop_pending(o);
    if (o->own >= 0)
        close(o->own);
    free(o->data);
    o->fd = o->own = -1;
    o->data = NULL;
}

void cn_log_out_open(struct cn_log_out *o, int fd)
{
    char path[64];
    struct stat st;

    if (o->fd == fd)
        return;
    cn_log_out_close(o);
    o->fd = fd;
    o->is_socket = o->may_block = false;
    if (fd < 0 || fstat(fd, &st) < 0)
        return;
    o->is_socket = S_ISSOCK(st.st_mode);
    o->may_block = S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode);
    if (!o->may_block)
        return;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    o->own = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY | O_APPEND);
}

/* As write(): -1 with EAGAIN when it would wait. */
static ssize_t put(const struct cn_log_out *o, const char *p, size_t n)
{
    struct pollfd poll_fd = {.fd = o->fd, .events = POLLOUT};

    if (o->is_socket)
        return send(o->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (o->own >= 0)
        return write(o->own, p, n);
    if (!o->may_block)
        return write(o->fd, p, n);
    if (poll(&poll_fd, 1, 0) != 1 || !(poll_fd.revents & (POLLOUT | POLLERR))) {
        errno = EAGAIN;
        return -1;
    }
    return write(o->fd, p, CN_MIN(n, (size_t)PIPE_BUF));
}

/* How many of the bytes went out; *ret_over: nobody will ever take the rest. */
static size_t put_all(const struct cn_log_out *o, const char *p, size_t n, bool *ret_over)
{
    size_t done = 0;

    *ret_over = false;
    while (done < n) {
        ssize_t k = put(o, p + done, n - done);

        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            *ret_over = k == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS);
            break;
        }
        done += (size_t)k;
    }
    return done;
}

void cn_log_out_push(struct cn_log_out *o)
{
    bool over = false;

    while (o->len > 0 && !over) {
        size_t run = CN_MIN(o->len, CN_LOG_PENDING - o->begin);
        size_t n = put_all(o, o->data + o->begin, run, &over);

        o->begin = (o->begin + n) % CN_LOG_PENDING;
        o->len -= n;
        if (n < run && !over)
            return;
    }
    if (over)
        drop_pending(o); /* the reader has gone, or the disk is full */
}

static void keep(struct cn_log_out *o, const char *p, size_t n)
{
    if (o->data == NULL)
        o->data = cn_xmalloc(CN_LOG_PENDING);
    for (size_t i = 0; i < n; i++)
        o->data[(o->begin + o->len + i) % CN_LOG_PENDING] = p[i];
    o->len += n;
}

bool cn_log_out_line(struct cn_log_out *o, const void *line, size_t len)
{
    bool over = false;
    size_t n = 0;

    if (o->fd < 0)
        return false;
    cn_log_out_push(o);
    if (o->len == 0)
        n = put_all(o, line, len, &over);
    if (n == len)
        return true;
    if (over || len - n > CN_LOG_PENDING - o->len) {
        drop(o);
        return false;
    }
    keep(o, (const char *)line + n, len - n);
    return true;
}

long cn_log_out_untold(struct cn_log_out *o)
{
    long n = o->untold;

    if (o->len > 0)
        return 0;
    o->untold = 0;
    return n;
}

void cn_log_out_flush(struct cn_log_out *o, int timeout_ms)
{
    const struct timespec pause = {.tv_nsec = 5 * 1000000};

    for (int ms = 0; o->len > 0 && ms < timeout_ms; ms += 5) {
        cn_log_out_push(o);
        if (o->len > 0)
            nanosleep(&pause, NULL);
    }
}
