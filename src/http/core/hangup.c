/* Connections whose other end has hung up: see hangup.h. */
#include "base/base.h"
#include "http/core/hangup.h"

#include <sys/epoll.h>
#include <unistd.h>

enum { BATCH = 64 /* events at a time */ };

/* What a listener does may end other connections of the batch, whose memory lives until the loop
 * closes their handles: after this function. */
static void on_events(uv_poll_t *poll, int status, int events)
{
    struct cn_hangup *h = poll->data;
    struct epoll_event e[BATCH];
    int n;

    (void)status;
    (void)events;
    do {
        n = epoll_wait(h->fd, e, BATCH, 0);
        for (int i = 0; i < n; i++)
            h->told(e[i].data.ptr);
    } while (n == BATCH);
}

void cn_hangup_open(struct cn_hangup *h, uv_loop_t *loop, void (*told)(void *data))
{
    *h = (struct cn_hangup){.fd = epoll_create1(EPOLL_CLOEXEC), .told = told};
    if (h->fd >= 0 && uv_poll_init(loop, &h->poll, h->fd) < 0) {
        close(h->fd);
        h->fd = -1;
    }
    if (h->fd < 0)
        return;
    h->poll.data = h;
    uv_poll_start(&h->poll, UV_READABLE, on_events);
}

bool cn_hangup_add(struct cn_hangup *h, int fd, void *data)
{
    struct epoll_event e = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = data};

    return h->fd >= 0 && !h->is_closing && epoll_ctl(h->fd, EPOLL_CTL_ADD, fd, &e) == 0;
}

void cn_hangup_remove(struct cn_hangup *h, int fd)
{
    if (h->fd >= 0)
        epoll_ctl(h->fd, EPOLL_CTL_DEL, fd, NULL);
}

static void on_closed(uv_handle_t *handle)
{
    struct cn_hangup *h = handle->data;

    close(h->fd);
    h->fd = -1;
}

void cn_hangup_close(struct cn_hangup *h)
{
    if (h->is_closing)
        return;
    h->is_closing = true;
    if (h->fd < 0)
        return;
    uv_poll_stop(&h->poll);
    uv_close((uv_handle_t *)&h->poll, on_closed);
}

bool cn_hangup_is_closed(const struct cn_hangup *h)
{
    return h->fd < 0;
}
