/* Tells when the other end of a connection hangs up, for those that nobody reads from meanwhile.
 * Loop thread only.
 *
 * One descriptor of epoll(7) of its own, which the loop watches. A connection is added when a
 * request of it waits for the first time, and then stays: waiting costs no system call. Only
 * hanging up is reported, once for each connection (EPOLLET); whoever listens remembers it.
 *
 *     cn_hangup_open(&h, loop, on_hangup);
 *     cn_hangup_add(&h, conn->fd, conn);                    -- on_hangup(conn) is called
 *     cn_hangup_remove(&h, conn->fd);                       -- before the descriptor is closed
 *     cn_hangup_close(&h); ... cn_hangup_is_closed(&h)
 */
#ifndef CN_HTTP_CORE_HANGUP_H
#define CN_HTTP_CORE_HANGUP_H

#include "base/base.h"

#include <uv.h>

struct cn_hangup {
    uv_poll_t poll;
    int fd; /* -1: there is none */
    bool is_closing;
    void (*told)(void *data);
};

/* Without descriptors nobody hears of anything. */
void cn_hangup_open(struct cn_hangup *h, uv_loop_t *loop, void (*told)(void *data));

/* told(data) is called from the loop. False: nobody hears of it. */
bool cn_hangup_add(struct cn_hangup *h, int fd, void *data);
void cn_hangup_remove(struct cn_hangup *h, int fd);

/* The handle closes in the next turn of the loop. */
void cn_hangup_close(struct cn_hangup *h);
bool cn_hangup_is_closed(const struct cn_hangup *h);

#endif
