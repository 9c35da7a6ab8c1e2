/* Runs libmicrohttpd inside of libuv's loop: its epoll descriptor is one of ours, and its timeout a
 * timer, so that one thread serves requests and everything else. */
#include "base/base.h"
#include "http/core/mhd_loop.h"

#include <string.h>
#include <unistd.h>

static void run(struct cn_mhd *m);

static void on_idle(uv_idle_t *h)
{
    (void)h; /* its being active keeps the loop from sleeping; on_check does the work */
}

static void set_busy(struct cn_mhd *m, bool busy)
{
    if (busy == m->busy)
        return;
    m->busy = busy;
    if (busy)
        uv_idle_start(&m->idle, on_idle);
    else
        uv_idle_stop(&m->idle);
}

static void on_timer(uv_timer_t *h)
{
    run(h->data);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    (void)status;
    (void)events;
    run(h->data);
}

static void on_check(uv_check_t *h)
{
    struct cn_mhd *m = h->data;

    if (m->busy)
        run(m);
}

/* Asks MHD when it wants to run again: an obligation of its interface. */
static void arm(struct cn_mhd *m)
{
    MHD_UNSIGNED_LONG_LONG ms;

    if (MHD_get_timeout(m->daemon, &ms) != MHD_YES) {
        uv_timer_stop(&m->timer);
        set_busy(m, false);
    } else if (ms == 0) {
        uv_timer_stop(&m->timer);
        set_busy(m, true);
    } else {
        set_busy(m, false);
        uv_timer_start(&m->timer, on_timer, ms, 0);
    }
}

unsigned cn_mhd_connections(struct cn_mhd *m)
{
    if (m->daemon == NULL)
        return 0;
    return MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
}

static void run(struct cn_mhd *m)
{
    unsigned before;

    if (m->daemon == NULL)
        return;
    if (m->running) {
        m->again = true;
        return;
    }
    m->running = true;
    do {
        m->again = false;
        before = cn_mhd_connections(m);
        MHD_run(m->daemon);
    } while (m->again || cn_mhd_connections(m) < before);
    m->running = false;
    arm(m);
}

void cn_mhd_wake(struct cn_mhd *m)
{
    if (m->daemon == NULL)
        return;
    if (m->running)
        m->again = true;
    else
        set_busy(m, true);
}

int cn_mhd_start(struct cn_mhd *m, uv_loop_t *loop, struct MHD_Daemon *daemon, struct cn_err *err)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
    int rc;

    memset(m, 0, sizeof(*m));
    if (info == NULL || info->epoll_fd < 0) {
        MHD_stop_daemon(daemon);
        return cn_fail(err, CN_EIO, "libmicrohttpd has no epoll descriptor");
    }
    if ((rc = uv_poll_init(loop, &m->poll, info->epoll_fd)) < 0) {
        MHD_stop_daemon(daemon);
        return cn_fail(err, CN_EIO, "cannot watch libmicrohttpd: %s", uv_strerror(rc));
    }
    m->daemon = daemon;
    uv_idle_init(loop, &m->idle);
    uv_check_init(loop, &m->check);
    uv_timer_init(loop, &m->timer);
    m->poll.data = m->idle.data = m->check.data = m->timer.data = m;
    m->handles = 4;
    uv_check_start(&m->check, on_check);
    uv_poll_start(&m->poll, UV_READABLE, on_poll);
    run(m);
    return CN_OK;
}

void cn_mhd_quiesce(struct cn_mhd *m)
{
    MHD_socket fd;

    if (m->daemon == NULL || m->quiet)
        return;
    m->quiet = true;
    fd = MHD_quiesce_daemon(m->daemon);
    if (fd != MHD_INVALID_SOCKET)
        close(fd);
    cn_mhd_wake(m);
}

static void on_closed(uv_handle_t *h)
{
    ((struct cn_mhd *)h->data)->handles--;
}

void cn_mhd_stop(struct cn_mhd *m)
{
    struct MHD_Daemon *daemon = m->daemon;

    if (daemon == NULL)
        return;
    uv_poll_stop(&m->poll); /* before MHD closes the descriptor */
    m->daemon = NULL;
    MHD_stop_daemon(daemon);
    uv_close((uv_handle_t *)&m->poll, on_closed);
    uv_close((uv_handle_t *)&m->idle, on_closed);
    uv_close((uv_handle_t *)&m->check, on_closed);
    uv_close((uv_handle_t *)&m->timer, on_closed);
}
