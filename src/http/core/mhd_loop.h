/* One libmicrohttpd daemon inside the libuv loop (external epoll mode).
 *
 * DESIGN. Loop thread only; only this thread touches MHD. MHD's epoll descriptor is polled by
 * libuv. MHD_run is called when it is readable, when MHD's own timeout passes, and once per turn of
 * the loop while MHD says "at once": an idle handle keeps the loop turning and a check handle does
 * the work, because a timer of 0 ms would starve everything else (libuv 1.44 runs it for ever
 * within one turn). MHD_run is repeated while connections go away, because at its connection limit
 * MHD stops listening and would not notice by itself that there is room again; and after each
 * MHD_resume_connection (cn_mhd_wake), because in this mode MHD 0.9.75 wakes nobody.
 *
 *     cn_mhd_start(&m, loop, daemon, &err);
 *     MHD_resume_connection(c); cn_mhd_wake(&m);
 *     cn_mhd_quiesce(&m); ... cn_mhd_connections(&m) == 0 ... cn_mhd_stop(&m); ... m.handles == 0
 */
#ifndef CN_HTTP_CORE_MHD_LOOP_H
#define CN_HTTP_CORE_MHD_LOOP_H

#include "base/base.h"

#include <microhttpd.h>
#include <uv.h>

struct cn_mhd {
    struct MHD_Daemon *daemon; /* NULL: not started, or stopped */
    uv_poll_t poll;
    uv_idle_t idle;
    uv_check_t check;
    uv_timer_t timer;
    int handles; /* open ones */
    bool running, again, busy, quiet;
};

/* Takes the daemon. */
int cn_mhd_start(struct cn_mhd *m, uv_loop_t *loop, struct MHD_Daemon *daemon, struct cn_err *err);

/* MHD runs in this or the next turn of the loop; never from inside this call. */
void cn_mhd_wake(struct cn_mhd *m);

unsigned cn_mhd_connections(struct cn_mhd *m);

/* Stops accepting and closes the listening socket. */
void cn_mhd_quiesce(struct cn_mhd *m);

/* Ends MHD; no connection may be suspended. The handles close in the next turn of the loop. */
void cn_mhd_stop(struct cn_mhd *m);

#endif
