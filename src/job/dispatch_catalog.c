/* Dispatcher: what models there are. Each worker tells what it has, and may have other directories
 * than the next one; a job goes to those that have its models. What waits for a model that nobody
 * has any more fails, once every worker that may have it has told. */
#include "base/base.h"
#include "job/dispatch_priv.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>

/* Has every worker told that still may? One that dies all the time is not waited for. */
static bool all_told(const struct cn_dispatch *d)
{
    for (int i = 0; i < d->o.workers; i++)
        if (!d->slot[i].has_catalog && !d->slot[i].unhealthy)
            return false;
    return true;
}

/* Takes references: an end may bring others about. */
static struct cn_job **waiting_jobs(const struct cn_dispatch *d, size_t *ret_n)
{
    struct cn_job **list = cn_xcalloc(cn_treap_count(&d->deadlines) + 1, sizeof(*list));
    struct cn_treap_node *node = cn_treap_first(&d->deadlines);
    size_t n = 0;

    for (; node != NULL; node = cn_treap_next(node)) {
        struct cn_job *job = CN_TREAP_OF(node, struct cn_job, deadline);

        if (job->state == CN_JOB_QUEUED)
            list[n++] = cn_job_ref(job);
    }
    *ret_n = n;
    return list;
}

bool cn_dispatch_fail_orphan(struct cn_dispatch *d, struct cn_job *job)
{
    struct cn_err err = CN_ERR_INIT;

    if (!all_told(d) || cn_catalog_check(&d->catalog, &job->spec, &err) == CN_OK)
        return false;
    job->err = err;
    cn_dispatch_finish(d, job, CN_JOB_FAILED, true);
    return true;
}

static void fail_orphans(struct cn_dispatch *d)
{
    struct cn_job **list;
    size_t n;

    if (!all_told(d))
        return;
    list = waiting_jobs(d, &n);
    for (size_t i = 0; i < n; i++) {
        if (list[i]->state == CN_JOB_QUEUED)
            cn_dispatch_fail_orphan(d, list[i]);
        cn_job_unref(list[i]);
    }
    free(list);
}

static void told(struct cn_slot *s)
{
    const struct cn_catalog *list[CN_WORKERS_MAX];
    struct cn_dispatch *d = s->d;
    int n = 0;

    s->has_catalog = true;
    for (int i = 0; i < d->o.workers; i++)
        if (d->slot[i].has_catalog)
            list[n++] = &d->slot[i].catalog;
    cn_catalog_merge(&d->catalog, list, n);
    fail_orphans(d);
    d->pump_wanted = d->models_changed = true;
}

void cn_dispatch_introduce(struct cn_slot *s, struct cn_msg_hello *hello)
{
    cn_catalog_set(&s->catalog, hello);
    told(s);
}

void cn_dispatch_on_catalog(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    struct cn_msg_catalog m;

    if (cn_msg_get_catalog(f, &m, err) < 0)
        return;
    if (m.added + m.changed + m.removed > 0)
        cn_log(CN_LOG_INFO, "worker.models", "a worker's models are others now",
               "worker=%d models=%d added=%d changed=%d removed=%d passed_over=%d", s->index,
               m.n_models, m.added, m.changed, m.removed, m.n_passed);
    cn_catalog_take(&s->catalog, &m);
    cn_dispatch_prune_models(s);
    told(s);
}
