/* Blocking ends of a frame stream over a socket: what a worker uses. One reading thread and any
 * number of writing threads per peer (writes are whole frames, under a lock of the peer).
 *
 *     cn_peer_init(&peer, fd);
 *     while ((rc = cn_peer_read(&peer, &frame, &err)) > 0) ...   -- 0: the other side closed
 *     cn_peer_write(&peer, &buf, &err);                            -- buf holds whole frames
 *     cn_peer_release(&peer);                                      -- closes fd
 */
#ifndef CN_WIRE_PEER_H
#define CN_WIRE_PEER_H

#include "base/base.h"
#include "base/buf.h"
#include "wire/frame.h"

#include <pthread.h>

struct cn_peer {
    int fd;
    struct cn_frame_decoder in;
    pthread_mutex_t write_lock;
};

void cn_peer_init(struct cn_peer *p, int fd);
void cn_peer_release(struct cn_peer *p);

/* 1: a frame, valid until the next call; 0: end of the stream; negative: failure. */
int cn_peer_read(struct cn_peer *p, struct cn_frame *ret, struct cn_err *err);

/* Sends the bytes of b and clears it. CN_EIO when the other side is gone; never SIGPIPE. */
int cn_peer_write(struct cn_peer *p, struct cn_buf *b, struct cn_err *err);

#endif
