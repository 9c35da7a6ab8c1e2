/* The worker processes that a configuration asks for: program, command line, device.
 *
 * Loop thread only.
 *
 *     cn_fleet_init(&fleet, &conf);
 *     options.worker = fleet.worker; options.workers = fleet.n;
 *     cn_fleet_release(&fleet);                -- when the dispatcher is gone
 */
#ifndef CN_FLEET_H
#define CN_FLEET_H

#include "base/base.h"
#include "conf/conf.h"
#include "job/dispatch.h"

struct cn_fleet {
    struct cn_dispatch_worker *worker; /* n of them; what they point to is the fleet's */
    int n;
};

/* worker.devices names devices, each of which gets worker.count processes; without it there are
 * worker.count processes of worker.backend. */
void cn_fleet_init(struct cn_fleet *ret, const struct cn_conf *c);
void cn_fleet_release(struct cn_fleet *f);

#endif
