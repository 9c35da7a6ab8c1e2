/* The worker's side of the socket: blocking reads, and writes of whole frames by any thread. */
#include "base/base.h"
#include "wire/peer.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024 };

void cn_peer_init(struct cn_peer *p, int fd)
{
    p->fd = fd;
    cn_frame_decoder_init(&p->in);
    pthread_mutex_init(&p->write_lock, NULL);
}

void cn_peer_release(struct cn_peer *p)
{
    close(p->fd);
    p->fd = -1;
    cn_frame_decoder_release(&p->in);
    pthread_mutex_destroy(&p->write_lock);
}

int cn_peer_read(struct cn_peer *p, struct cn_frame *ret, struct cn_err *err)
{
    unsigned char chunk[CHUNK];
    int rc;

    while ((rc = cn_frame_next(&p->in, ret, err)) == 0) {
        ssize_t n = recv(p->fd, chunk, sizeof(chunk), 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return 0;
        if (n < 0)
            return cn_fail(err, CN_EIO, "cannot read from the daemon: %s", strerror(errno));
        if ((rc = cn_frame_feed(&p->in, chunk, (size_t)n, err)) < 0)
            return rc;
    }
    return rc;
}

int cn_peer_write(struct cn_peer *p, struct cn_buf *b, struct cn_err *err)
{
    size_t at = 0;
    int rc = CN_OK;

    pthread_mutex_lock(&p->write_lock);
    while (at < b->len && rc == CN_OK) {
        ssize_t n = send(p->fd, b->data + at, b->len - at, MSG_NOSIGNAL);

        if (n > 0)
            at += (size_t)n;
        else if (errno != EINTR)
            rc = cn_fail(err, CN_EIO, "cannot write to the daemon: %s", strerror(errno));
    }
    pthread_mutex_unlock(&p->write_lock);
    cn_buf_clear(b);
    return rc;
}
