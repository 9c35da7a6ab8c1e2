/* Cancelling a job that goes on, and removing the results of one that is over. */
#include "base/base.h"
#include "job/jobs_priv.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void cn_jobs_abandon(struct cn_jobs *js, const char *tenant, const char *id)
{
    struct cn_record *r = cn_record_find(js, tenant, id);

    if (r == NULL || r->phase >= CN_RECORD_OVER)
        return;
    r->cancelling = true;
    cn_record_cancel(r);
}

static void answer(struct cn_jobs_read *q, bool removed, const struct cn_err *err)
{
    q->done.deleted(q->arg, removed, err->code < 0 ? err : NULL);
    cn_read_free(q);
}

static void on_dropped(void *arg, const struct cn_store_done *done)
{
    struct cn_jobs_read *q = arg;
    struct cn_record *r = cn_record_find(q->js, NULL, q->id);
    struct cn_err err = CN_ERR_INIT;

    q->js->store_ops--;
    if (done->outcome <= CN_STORE_UNKNOWN) {
        /* What is in memory of it would still name pictures: the store's row says that they went.
         */
        if (r != NULL && r->phase == CN_RECORD_OVER)
            cn_record_forget(r);
    } else {
        cn_fail(&err, CN_ESTORAGE, "the results could not be removed: %s", done->err.msg);
    }
    if (q->forgotten)
        cn_read_free(q);
    else
        answer(q, true, &err);
}

/* It goes on when its asker has gone: only the answer is not given any more. */
static void drop(struct cn_jobs_read *q)
{
    q->asked = NULL;
    q->dropping = true;
    q->js->store_ops++;
    cn_store_drop(q->js->store, q->id, on_dropped, q);
}

static void on_row(void *arg, struct cn_store_answer *a)
{
    struct cn_jobs_read *q = arg;
    struct cn_err err = CN_ERR_INIT;

    if (cn_read_row(q, a, &err) == CN_OK && a->row[0].job.state <= CN_STORE_RUNNING)
        cn_fail(&err, CN_EBUSY, "the job waits for the next start of the server");
    if (err.code < 0 || !q->removes)
        answer(q, false, &err);
    else
        drop(q);
}

static void on_over(struct cn_deferred *d)
{
    struct cn_jobs_read *q = (struct cn_jobs_read *)d;
    struct cn_err none = CN_ERR_INIT;

    answer(q, q->removes, &none);
}

/* removes: what is over loses its results; otherwise it stays as it is. */
static struct cn_jobs_read *end(struct cn_jobs *js, const char *tenant, const char *id,
                                bool removes, cn_deleted_fn done, void *arg)
{
    struct cn_record *r = cn_record_find(js, tenant, id);
    struct cn_err err = CN_ERR_INIT;
    struct cn_jobs_read *q;

    if (r == NULL && js->store == NULL) {
        cn_fail(&err, CN_ENOTFOUND, "there is no job \"%.40s\"", id);
        done(arg, false, &err);
        return NULL;
    }
    q = cn_read_new(js, tenant, id, arg);
    q->done.deleted = done;
    q->removes = removes;
    if (r == NULL) {
        q->asked = cn_store_get(js->store, q->id, on_row, q);
    } else if (r->phase < CN_RECORD_OVER) {
        q->record = cn_record_ref(r);
        LIST_INSERT_HEAD(&r->waiters, q, link);
        r->cancelling = true;
        cn_record_cancel(r);
    } else if (removes && r->durable) {
        drop(q);
    } else {
        if (removes)
            cn_record_forget(r);
        cn_defer(&js->deferred, &q->deferred, on_over);
    }
    return q;
}

struct cn_jobs_read *cn_jobs_cancel(struct cn_jobs *js, const char *tenant, const char *id,
                                    cn_deleted_fn done, void *arg)
{
    return end(js, tenant, id, false, done, arg);
}

struct cn_jobs_read *cn_jobs_delete(struct cn_jobs *js, const char *tenant, const char *id,
                                    cn_deleted_fn done, void *arg)
{
    return end(js, tenant, id, true, done, arg);
}
