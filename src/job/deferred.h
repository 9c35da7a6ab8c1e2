/* Calls that are made in a later iteration of the loop: nobody is called back from inside his own
 * call. Loop thread only.
 *
 *     struct thing { struct cn_deferred deferred; ... };          -- first member
 *     cn_defer(&queue, &thing->deferred, call);                   -- call(&thing->deferred), once
 *     cn_defer_cancel(&queue, &thing->deferred);                  -- or not at all
 */
#ifndef CN_JOB_DEFERRED_H
#define CN_JOB_DEFERRED_H

#include "base/base.h"

#include <sys/queue.h>
#include <uv.h>

struct cn_deferred {
    TAILQ_ENTRY(cn_deferred) link;
    void (*call)(struct cn_deferred *d);
    bool on;
};

struct cn_deferred_queue {
    uv_idle_t idle;
    TAILQ_HEAD(cn_deferred_list, cn_deferred) list;
    bool closed;
};

void cn_deferred_init(struct cn_deferred_queue *q, uv_loop_t *loop);
void cn_deferred_close(struct cn_deferred_queue *q); /* then the loop runs once more */
bool cn_deferred_none(const struct cn_deferred_queue *q);

/* What is deferred already stays where it is. */
void cn_defer(struct cn_deferred_queue *q, struct cn_deferred *d,
              void (*call)(struct cn_deferred *d));
void cn_defer_cancel(struct cn_deferred_queue *q, struct cn_deferred *d);

#endif
