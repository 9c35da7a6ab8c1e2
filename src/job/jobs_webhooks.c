/* Ends of jobs that somebody wants to be told of: between the store, which has them, and who tells
 * them. */
#include "base/base.h"
#include "job/jobs_priv.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

void cn_jobs_on_webhook(struct cn_jobs *js, void (*due)(void *arg), void *arg)
{
    js->webhook_due = due;
    js->webhook_arg = arg;
}

void cn_jobs_webhook_due(struct cn_jobs *js)
{
    if (js->webhook_due != NULL)
        js->webhook_due(js->webhook_arg);
}

/* Before the last life's are recovered, another daemon may still tell them. */
bool cn_jobs_webhooks(struct cn_jobs *js, int64_t now_us, int per_host, int limit,
                      cn_store_answer_fn done, void *arg)
{
    if (js->store == NULL || !js->opened)
        return false;
    cn_store_webhooks(js->store, now_us, per_host, limit, done, arg);
    return true;
}

/* ---- how it went ---- */

struct noting {
    struct cn_jobs *js;
    char id[CN_STORE_ID];
    struct cn_store_delivery delivery;
    void (*done)(void *arg);
    void *arg;
};

static void on_noted(void *arg, const struct cn_store_done *done)
{
    struct noting *n = arg;
    struct cn_record *r = cn_record_find(n->js, NULL, n->id);

    n->js->store_ops--;
    if (r != NULL && done->outcome == CN_STORE_OK)
        r->delivery = n->delivery;
    n->done(n->arg);
    free(n);
}

void cn_jobs_delivery(struct cn_jobs *js, const char *id, const struct cn_store_delivery *delivery,
                      void (*done)(void *arg), void *arg)
{
    struct noting *n = cn_xcalloc(1, sizeof(*n));

    n->js = js;
    n->delivery = *delivery;
    n->done = done;
    n->arg = arg;
    snprintf(n->id, sizeof(n->id), "%s", id);
    js->store_ops++;
    cn_store_delivery(js->store, id, delivery, on_noted, n);
}
