/* libmicrohttpd as the carrier of requests: one listener. Loop thread only. With mhd_loop.c this is
 * all that knows the library; another one could stand in its place.
 *
 *     if (cn_listener_open(&l, core, fd, admin, &err) < 0) ...      -- takes fd
 *     cn_listener_quiesce(&l); ... cn_listener_connections(&l) == 0 ... cn_listener_stop(&l); ...
 *     cn_listener_handles(&l) == 0
 */
#ifndef CN_HTTP_CORE_MHD_TRANSPORT_H
#define CN_HTTP_CORE_MHD_TRANSPORT_H

#include "base/base.h"
#include "http/core/core.h"
#include "http/core/mhd_loop.h"

struct cn_listener {
    struct cn_core *core;
    struct cn_mhd mhd;
    bool admin;
};

int cn_listener_open(struct cn_listener *l, struct cn_core *core, int fd, bool admin,
                     struct cn_err *err);
unsigned cn_listener_connections(struct cn_listener *l);

/* Stops accepting and closes the listening socket; connections live on. */
void cn_listener_quiesce(struct cn_listener *l);

/* Ends what is left; nobody may be suspended. */
void cn_listener_stop(struct cn_listener *l);
int cn_listener_handles(const struct cn_listener *l); /* that are still closing */

#endif
