/* The service: its life, and what is told later. */
#include "base/base.h"
#include "job/jobs_priv.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* ---- later ---- */

static void on_soon(uv_idle_t *h)
{
    struct cn_jobs *js = h->data;
    struct cn_later *l = js->later, *last = NULL;

    /* What is added meanwhile has its turn in the next iteration: nothing here starves the loop. */
    for (struct cn_later *p = l; p != NULL; p = p->next)
        last = p;
    while ((l = js->later) != NULL) {
        bool end = l == last;

        js->later = l->next;
        if (js->later == NULL)
            js->later_tail = &js->later;
        l->on = false;
        l->call(l);
        if (end)
            break;
    }
    if (js->later == NULL)
        uv_idle_stop(&js->soon);
}

void cn_jobs_later(struct cn_jobs *js, struct cn_later *l, void (*call)(struct cn_later *l))
{
    if (l->on)
        return;
    l->on = true;
    l->call = call;
    l->next = NULL;
    *js->later_tail = l;
    js->later_tail = &l->next;
    if (!js->closed)
        uv_idle_start(&js->soon, on_soon);
}

void cn_jobs_not_later(struct cn_jobs *js, struct cn_later *l)
{
    struct cn_later **at = &js->later;

    if (!l->on)
        return;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    if (js->later_tail == &l->next)
        js->later_tail = at;
    l->on = false;
}

/* ---- life ---- */

static void init_metrics(struct cn_jobs *js)
{
    struct cn_metrics *r = js->o.metrics;
    struct cn_jobs_metrics *m = &js->m;

    m->up = cn_metric_add(r, CN_GAUGE, "controlnetd_store_up",
                          "1 while durable jobs can be accepted.", NULL);
    m->operations = cn_metric_add(r, CN_COUNTER, "controlnetd_store_operations_total",
                                  "Operations of the job store.", NULL);
    m->failures = cn_metric_add(r, CN_COUNTER, "controlnetd_store_failures_total",
                                "Operations that the disk refused.", NULL);
    m->commits = cn_metric_add(r, CN_COUNTER, "controlnetd_store_commits_total",
                               "Transactions; each holds all operations that came together.", NULL);
    m->commit_s = cn_metric_add(r, CN_GAUGE, "controlnetd_store_commit_seconds",
                                "Time of a transaction with its files, moving average.", NULL);
    m->waiting = cn_metric_add(r, CN_GAUGE, "controlnetd_store_waiting_operations",
                               "Operations that wait for the disk.", NULL);
    m->bytes = cn_metric_add(r, CN_GAUGE, "controlnetd_store_bytes",
                             "Bytes of results and of inputs of waiting jobs.", NULL);
    m->watches = cn_metric_add(r, CN_GAUGE, "controlnetd_job_watchers",
                               "Clients that follow a job's events.", NULL);
    m->records =
        cn_metric_add(r, CN_GAUGE, "controlnetd_jobs_in_memory",
                      "Jobs in memory: waiting, running, and the ones that ended last.", NULL);
}

struct cn_jobs *cn_jobs_new(const struct cn_jobs_options *o)
{
    struct cn_jobs *js = cn_xcalloc(1, sizeof(*js));

    js->o = *o;
    js->later_tail = &js->later;
    js->waiting_tail = &js->waiting;
    uv_idle_init(o->loop, &js->soon);
    js->soon.data = js;
    init_metrics(js);
    cn_jobs_observe(js);
    return js;
}

void cn_jobs_set_store(struct cn_jobs *js, struct cn_store *store, int result_ttl_s)
{
    js->store = store;
    js->result_ttl_s = result_ttl_s;
}

void cn_jobs_set_times(struct cn_jobs *js, int timeout_s, int async_timeout_s, int result_ttl_s)
{
    js->o.timeout_s = timeout_s;
    js->o.async_timeout_s = async_timeout_s;
    js->result_ttl_s = result_ttl_s;
}

void cn_jobs_on_store(void *arg, int rc, const struct cn_err *err)
{
    struct cn_jobs *js = arg;

    js->opened = true;
    if (rc == CN_OK)
        cn_jobs_recover(js);
    else if (rc != CN_ECANCELED)
        cn_log(CN_LOG_ERROR, "store.broken", err->msg, "code=%s", cn_code_name(rc));
    cn_submission_run_waiting(js);
}

void cn_jobs_drain(struct cn_jobs *js)
{
    js->draining = true;
    cn_submission_refuse_waiting(js);
}

void cn_jobs_leave(struct cn_jobs *js)
{
    for (size_t i = 0; i < CN_JOBS_BUCKETS; i++)
        for (struct cn_record *r = js->bucket[i]; r != NULL; r = r->chain)
            r->job->may_be_deferred = r->durable;
}

bool cn_jobs_idle(const struct cn_jobs *js)
{
    return js->store_ops == 0 && js->later == NULL && js->waiting == NULL;
}

void cn_jobs_close(struct cn_jobs *js)
{
    if (js->closed)
        return;
    js->closed = true;
    uv_close((uv_handle_t *)&js->soon, NULL);
}

void cn_jobs_free(struct cn_jobs *js)
{
    if (js == NULL)
        return;
    for (size_t i = 0; i < CN_JOBS_BUCKETS; i++)
        while (js->bucket[i] != NULL)
            cn_record_free(js->bucket[i]);
    free(js);
}

/* ---- facts ---- */

int cn_jobs_storage(const struct cn_jobs *js, struct cn_err *err)
{
    struct cn_store_facts f;

    if (js->store == NULL)
        return cn_fail(err, CN_ENOTFOUND, "there is no job store (store.dir is empty)");
    cn_store_facts(js->store, &f);
    if (f.phase == CN_STORE_OPENING)
        return cn_fail(err, CN_EBUSY, "the job store is not open yet");
    if (f.phase == CN_STORE_BROKEN || f.failing || f.low)
        return cn_fail(err, CN_ESTORAGE, "%s", f.trouble);
    return CN_OK;
}

void cn_jobs_collect(struct cn_jobs *js)
{
    struct cn_store_facts f;

    cn_metric_set(js->m.watches, js->n_watches);
    cn_metric_set(js->m.records, js->n_records);
    if (js->store == NULL)
        return;
    cn_store_facts(js->store, &f);
    cn_metric_set(js->m.up, f.phase == CN_STORE_READY && !f.failing && !f.low);
    cn_metric_set(js->m.operations, (double)f.operations);
    cn_metric_set(js->m.failures, (double)f.failures);
    cn_metric_set(js->m.commits, (double)f.commits);
    cn_metric_set(js->m.commit_s, f.commit_s);
    cn_metric_set(js->m.waiting, (double)f.waiting);
    cn_metric_set(js->m.bytes, (double)f.used_bytes);
}
