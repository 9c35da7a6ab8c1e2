/* Calls that are made in a later iteration of the loop. */
#include "base/base.h"
#include "job/deferred.h"

/* What is added meanwhile has its turn in the next iteration: nothing here starves the loop. */
static void on_idle(uv_idle_t *h)
{
    struct cn_deferred_queue *q = h->data;
    struct cn_deferred *d, *last = TAILQ_LAST(&q->list, cn_deferred_list);

    while ((d = TAILQ_FIRST(&q->list)) != NULL) {
        bool end = d == last;

        TAILQ_REMOVE(&q->list, d, link);
        d->on = false;
        d->call(d);
        if (end)
            break;
    }
    if (TAILQ_EMPTY(&q->list))
        uv_idle_stop(&q->idle);
}

void cn_deferred_init(struct cn_deferred_queue *q, uv_loop_t *loop)
{
    TAILQ_INIT(&q->list);
    uv_idle_init(loop, &q->idle);
    q->idle.data = q;
}

void cn_deferred_close(struct cn_deferred_queue *q)
{
    if (q->closed)
        return;
    q->closed = true;
    uv_close((uv_handle_t *)&q->idle, NULL);
}

bool cn_deferred_none(const struct cn_deferred_queue *q)
{
    return TAILQ_EMPTY(&q->list);
}

void cn_defer(struct cn_deferred_queue *q, struct cn_deferred *d,
              void (*call)(struct cn_deferred *d))
{
    if (d->on)
        return;
    d->on = true;
    d->call = call;
    TAILQ_INSERT_TAIL(&q->list, d, link);
    if (!q->closed)
        uv_idle_start(&q->idle, on_idle);
}

void cn_defer_cancel(struct cn_deferred_queue *q, struct cn_deferred *d)
{
    if (!d->on)
        return;
    TAILQ_REMOVE(&q->list, d, link);
    d->on = false;
}
