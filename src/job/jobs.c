/* The service: its life, and what is told later. */
#include "base/base.h"
#include "job/jobs_priv.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_MS = 1000 };

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
    m->untold = cn_metric_add(r, CN_COUNTER, "controlnetd_webhooks_dropped_total",
                              "Ends of jobs that were removed before somebody was told.", NULL);
    m->watches = cn_metric_add(r, CN_GAUGE, "controlnetd_job_watchers",
                               "Clients that follow a job's events.", NULL);
    m->records =
        cn_metric_add(r, CN_GAUGE, "controlnetd_jobs_in_memory",
                      "Jobs in memory: waiting, running, and the ones that ended last.", NULL);
}

/* A store that takes nothing, and one that does again, in the log: /readyz tells who asks. */
static void look_at_store(uv_timer_t *t)
{
    struct cn_jobs *js = t->data;
    struct cn_err err = CN_ERR_INIT;
    int rc = cn_jobs_storage(js, &err);

    if (rc == CN_ESTORAGE && js->store_said[0] == '\0') {
        snprintf(js->store_said, sizeof(js->store_said), "%s", err.msg);
        cn_log(CN_LOG_WARNING, "store.trouble", err.msg, "waiting=%d", js->store_ops);
    } else if (rc == CN_OK && js->store_said[0] != '\0') {
        js->store_said[0] = '\0';
        cn_log(CN_LOG_INFO, "store.good", "the job store takes jobs again", "waiting=%d",
               js->store_ops);
    }
}

struct cn_jobs *cn_jobs_new(const struct cn_jobs_options *o)
{
    struct cn_jobs *js = cn_xcalloc(1, sizeof(*js));

    js->o = *o;
    STAILQ_INIT(&js->waiting);
    TAILQ_INIT(&js->history);
    TAILQ_INIT(&js->listed);
    cn_deferred_init(&js->deferred, o->loop);
    uv_timer_init(o->loop, &js->recover_again);
    uv_timer_init(o->loop, &js->look);
    uv_unref((uv_handle_t *)&js->look);
    js->look.data = js;
    init_metrics(js);
    cn_jobs_observe(js);
    return js;
}

void cn_jobs_set_store(struct cn_jobs *js, struct cn_store *store, int result_ttl_s)
{
    js->store = store;
    js->result_ttl_s = result_ttl_s;
    uv_timer_start(&js->look, look_at_store, 0, LOOK_MS);
}

void cn_jobs_without_store(struct cn_jobs *js, const char *why)
{
    free(js->why_no_store);
    js->why_no_store = cn_xstrdup(why);
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

    if (rc == CN_OK) {
        cn_jobs_recover(js); /* and then submissions */
        return;
    }
    js->opened = true;
    if (rc != CN_ECANCELED)
        cn_log(CN_LOG_ERROR, "store.broken", err->msg, "code=%s", cn_code_name(rc));
    cn_submission_run_waiting(js);
}

void cn_jobs_drain(struct cn_jobs *js)
{
    js->draining = true;
    cn_submission_refuse_waiting(js);
}

static void leave_one(struct cn_table_node *node, void *arg)
{
    struct cn_record *r = CN_TABLE_OF(node, struct cn_record, by_id);

    (void)arg;
    r->job->may_be_deferred = r->durable;
}

void cn_jobs_leave(struct cn_jobs *js)
{
    cn_table_visit(&js->records, leave_one, NULL);
}

bool cn_jobs_idle(const struct cn_jobs *js)
{
    return js->store_ops == 0 && cn_deferred_none(&js->deferred) && STAILQ_EMPTY(&js->waiting);
}

void cn_jobs_close(struct cn_jobs *js)
{
    if (js->deferred.closed)
        return;
    cn_deferred_close(&js->deferred);
    free(js->recover_again.data);
    uv_close((uv_handle_t *)&js->recover_again, NULL);
    uv_close((uv_handle_t *)&js->look, NULL);
}

/* Whoever still waits for its end is told nothing: the server that would answer has gone. */
static void free_record(struct cn_table_node *node, void *arg)
{
    struct cn_record *r = CN_TABLE_OF(node, struct cn_record, by_id);
    struct cn_jobs_read *q;

    (void)arg;
    while ((q = LIST_FIRST(&r->waiters)) != NULL)
        cn_jobs_forget(q);
    CN_ASSERT(LIST_EMPTY(&r->watches));
    cn_record_forget(r);
}

void cn_jobs_free(struct cn_jobs *js)
{
    if (js == NULL)
        return;
    cn_table_visit(&js->records, free_record, NULL);
    cn_table_release(&js->records);
    cn_table_release(&js->keys);
    free(js->why_no_store);
    free(js->unreadable);
    free(js);
}

/* ---- facts ---- */

void cn_jobs_collect(struct cn_jobs *js)
{
    struct cn_store_facts f;

    cn_metric_set(js->m.watches, js->n_watches);
    cn_metric_set(js->m.records, (double)js->records.n);
    if (js->store == NULL)
        return;
    cn_store_facts(js->store, &f);
    cn_metric_set(js->m.up,
                  f.phase == CN_STORE_READY && !f.failing && !f.low && js->unreadable == NULL);
    cn_metric_set(js->m.operations, (double)f.operations);
    cn_metric_set(js->m.failures, (double)f.failures);
    cn_metric_set(js->m.untold, (double)f.untold);
    cn_metric_set(js->m.commits, (double)f.commits);
    cn_metric_set(js->m.commit_s, f.commit_s);
    cn_metric_set(js->m.waiting, (double)f.waiting);
    cn_metric_set(js->m.bytes, (double)f.used_bytes);
}
