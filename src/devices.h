/* The workers that the configuration asks for: a program and a command line for each. Any thread;
 * what the workers point to lives until cn_devices_release.
 *
 *     cn_devices_init(&w, &conf);             -- conf was checked
 *     options.worker = w.worker; options.workers = w.n;
 *     cn_devices_release(&w);
 */
#ifndef CN_DEVICES_H
#define CN_DEVICES_H

#include "base/base.h"
#include "conf.h"
#include "job/dispatch.h"

struct cn_devices {
    int n;
    struct cn_dispatch_worker worker[CN_WORKERS_MAX];
    char **text; /* every string that the workers point to */
    size_t texts, texts_cap;
    const char **args[CN_WORKERS_MAX];
};

void cn_devices_init(struct cn_devices *w, const struct cn_conf *c);
void cn_devices_release(struct cn_devices *w);

#endif
