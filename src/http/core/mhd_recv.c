/* recv() as libmicrohttpd gets it: bytes that the scanner has judged.
 *
 * DESIGN. In the common case a read brings whole requests, which are judged where they lie: no copy
 * and no further call. What is incomplete is held back here until the rest has come.
 *
 * The library polls edges (EPOLLET) and takes a read that brings less than it asked for as a sign
 * that the socket is empty. So a short count is returned only when the socket was seen empty and
 * nothing judged is left; otherwise reading goes on until the buffer is full. There is always an
 * end: a head or a line that does not become complete within its limit is a fault, and then the
 * rest of the connection is thrown away.
 */
#include "base/base.h"
#include "http/core/mhd_recv.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    MAX_FD = 1 << 16, /* front.c raises the limit of descriptors no further */
    PIECE = 4096      /* that is read behind what is held */
};

struct cn_recv {
    int fd;
    bool skips;
    struct cn_scan scan;
    char *held; /* n_held bytes in a block of `cap`; the first n_ready of them are judged */
    size_t n_held, n_ready, cap;
    void (*on_head)(void *arg);
    void *arg;
};

static struct cn_recv *by_fd[MAX_FD];

struct cn_recv *cn_recv_attach(int fd, void (*on_head)(void *arg), void *arg)
{
    struct cn_recv *r;

    if (fd < 0 || fd >= MAX_FD)
        return NULL;
    CN_ASSERT(by_fd[fd] == NULL);
    r = cn_xcalloc(1, sizeof(*r));
    r->fd = fd;
    r->on_head = on_head;
    r->arg = arg;
    by_fd[fd] = r;
    return r;
}

void cn_recv_detach(struct cn_recv *r)
{
    if (r == NULL)
        return;
    by_fd[r->fd] = NULL;
    free(r->held);
    free(r);
}

const char *cn_recv_fault(const struct cn_recv *r, int nth, enum cn_problem_kind *ret_kind)
{
    if (r == NULL || r->scan.fault == NULL || r->scan.fault_head != (unsigned)nth)
        return NULL;
    *ret_kind = r->scan.kind;
    return r->scan.fault;
}

void cn_recv_skip(struct cn_recv *r, bool skips)
{
    if (r != NULL)
        r->skips = skips;
}

/* ---- what is held back ---- */

static void hold(struct cn_recv *r, const char *data, size_t n)
{
    if (r->n_held + n > r->cap) {
        r->cap = r->n_held + n + PIECE;
        r->held = cn_xrealloc(r->held, r->cap);
    }
    memcpy(r->held + r->n_held, data, n);
    r->n_held += n;
}

static void drop_held(struct cn_recv *r)
{
    free(r->held);
    r->held = NULL;
    r->n_held = r->n_ready = r->cap = 0;
}

/* Judges what is held: at a fault the substitute takes the place of the rest. */
static void judge_held(struct cn_recv *r)
{
    size_t rest = r->n_ready;

    r->n_ready += cn_scan(&r->scan, r->held + rest, r->n_held - rest);
    if (r->scan.fault == NULL)
        return;
    r->n_held = r->n_ready;
    hold(r, r->scan.substitute, strlen(r->scan.substitute));
    r->n_ready = r->n_held;
}

static size_t give_ready(struct cn_recv *r, char *buf, size_t len)
{
    size_t n = CN_MIN(r->n_ready, len);

    if (n == 0)
        return 0;
    memcpy(buf, r->held, n);
    memmove(r->held, r->held + n, r->n_held - n);
    r->n_held -= n;
    r->n_ready -= n;
    if (r->n_held == 0)
        drop_held(r);
    return n;
}

/* ---- reading ---- */

static ssize_t read_socket(int fd, void *buf, size_t len, int flags)
{
    return recvfrom(fd, buf, len, flags, NULL, NULL);
}

/* Behind a fault nobody wants anything; what is not read would make the kernel reset the connection
 * and lose the answer. */
static ssize_t throw_away(struct cn_recv *r, int flags)
{
    char piece[PIECE];
    ssize_t n;

    for (int i = 0; i < 16; i++)
        if ((n = read_socket(r->fd, piece, sizeof(piece), flags)) <= 0)
            return n;
    errno = EAGAIN;
    return -1;
}

/* Reads into buf, whose first *ret_good bytes are judged then; the others are held. Returns what
 * the socket did. *ret_empty: it had no more. */
static ssize_t read_judged(struct cn_recv *r, char *buf, size_t len, int flags, size_t *ret_good,
                           bool *ret_empty)
{
    ssize_t n = read_socket(r->fd, buf, len, flags);

    *ret_empty = n < (ssize_t)len;
    if (n <= 0)
        return n;
    *ret_good = cn_scan(&r->scan, buf, (size_t)n);
    if (r->scan.fault != NULL) {
        hold(r, r->scan.substitute, strlen(r->scan.substitute));
        r->n_ready = r->n_held;
    } else if (*ret_good < (size_t)n) {
        hold(r, buf + *ret_good, (size_t)n - *ret_good);
    }
    return n;
}

/* Reads behind what is held. */
static ssize_t read_more(struct cn_recv *r, int flags, bool *ret_empty)
{
    char piece[PIECE];
    ssize_t n = read_socket(r->fd, piece, sizeof(piece), flags);

    *ret_empty = n < (ssize_t)sizeof(piece);
    if (n <= 0)
        return n;
    hold(r, piece, (size_t)n);
    judge_held(r);
    return n;
}

static ssize_t scanned_recv(struct cn_recv *r, char *buf, size_t len, int flags)
{
    size_t out = give_ready(r, buf, len);
    bool empty = false;
    ssize_t n = 1;
    int error = 0;

    if (r->skips && out == 0) {
        errno = EAGAIN;
        return -1;
    }
    if (r->scan.state == CN_SCAN_DEAD && out == 0)
        return throw_away(r, flags);
    while (out < len && !empty && n > 0 && r->scan.state != CN_SCAN_DEAD) {
        size_t good = 0;

        if (r->n_held == 0)
            n = read_judged(r, buf + out, len - out, flags, &good, &empty);
        else
            n = read_more(r, flags, &empty);
        error = n < 0 ? errno : 0;
        out += good;
        out += give_ready(r, buf + out, len - out);
    }
    if (r->n_held > r->n_ready && cn_scan_is_in_head(&r->scan))
        r->on_head(r->arg);
    if (out > 0)
        return (ssize_t)out;
    errno = n < 0 ? error : EAGAIN;
    return n == 0 ? 0 : -1;
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
    struct cn_recv *r = fd >= 0 && fd < MAX_FD ? by_fd[fd] : NULL;

    return r == NULL || len == 0 ? read_socket(fd, buf, len, flags)
                                 : scanned_recv(r, buf, len, flags);
}
