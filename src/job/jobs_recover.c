/* What the last life left: jobs that the store has as unfinished are queued again, page by page,
 * oldest first, before anything new is accepted. */
#include "base/base.h"
#include "job/jobs_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { AGAIN_MS = 1000 };

struct recovery {
    struct cn_jobs *js;
    int n, unreadable;
    int64_t after_us, began_ns; /* after_us and after_id: the last one that was read */
    char after_id[CN_STORE_ID];
};

static void on_unreadable_stored(void *arg, const struct cn_store_done *done)
{
    struct cn_jobs *js = arg;

    js->store_ops--;
    if (done->webhook_due)
        cn_jobs_webhook_due(js);
}

static void fail_unreadable(struct recovery *v, const struct cn_store_job *row)
{
    struct cn_store_end end = {.state = CN_STORE_FAILED,
                               .attempt = row->attempt,
                               .deaths = row->deaths,
                               .ended_us = cn_wall_us()};

    cn_fail(&end.err, CN_EFORMAT, "the job was stored by another release and cannot be read");
    v->unreadable++;
    v->js->store_ops++;
    cn_store_end(v->js->store, row->id, &end, on_unreadable_stored, v->js);
}

static void queue_again(struct recovery *v, struct cn_store_row *row)
{
    int64_t now_us = cn_wall_us(), now_ns = cn_now_ns();
    int64_t deadline_us = row->job.deadline_us, created_us = row->job.created_us;
    struct cn_record *r = cn_record_load(v->js, row, NULL);

    if (r == NULL) {
        fail_unreadable(v, &row->job);
        return;
    }
    /* Wall clock becomes monotonic: how long ago, and how long still. */
    r->job->queued_ns = CN_MAX(now_ns - CN_MAX(now_us - created_us, 0) * 1000, 1);
    r->job->deadline_ns = CN_MAX(now_ns + (deadline_us - now_us) * 1000, 1);
    v->n++;
    cn_record_set_phase(r, CN_RECORD_LIVE);
    cn_record_emit(r, CN_EVENT_STATE, 0);
    for (int k = 0; k < cn_spec_pictures(&r->job->spec); k++)
        if (r->image[k].ready)
            cn_record_emit(r, CN_EVENT_IMAGE, k);
    cn_dispatch_restore(v->js->o.dispatch, r->job, r->tenant);
}

static void finish(struct recovery *v)
{
    struct cn_jobs *js = v->js;

    cn_log(CN_LOG_INFO, "store.open", "what the last run left is queued",
           "jobs=%d unreadable=%d ms=%.1f", v->n, v->unreadable,
           (double)(cn_now_ns() - v->began_ns) * 1e-6);
    free(v);
    js->recover_again.data = NULL;
    js->opened = true;
    cn_jobs_webhook_due(js);
    cn_submission_run_waiting(js);
}

static void on_page(void *arg, struct cn_store_answer *a);

static void ask(struct recovery *v)
{
    cn_store_unfinished(v->js->store, v->after_us, v->after_id, on_page, v);
}

static void on_again(uv_timer_t *t)
{
    ask(t->data);
}

static void on_page(void *arg, struct cn_store_answer *a)
{
    struct recovery *v = arg;

    if (a->outcome == CN_STORE_RETRY || a->outcome == CN_STORE_NO_ROOM) {
        cn_log(CN_LOG_ERROR, "store.recovery", a->err.msg, "jobs=%d", v->n);
        uv_timer_start(&v->js->recover_again, on_again, AGAIN_MS, 0);
        return;
    }
    if (a->n > 0) {
        v->after_us = a->row[a->n - 1].job.created_us;
        memcpy(v->after_id, a->row[a->n - 1].job.id, sizeof(v->after_id));
    }
    for (int i = 0; i < a->n; i++)
        queue_again(v, &a->row[i]);
    if (a->outcome == CN_STORE_OK && a->more) {
        ask(v);
        return;
    }
    if (a->outcome != CN_STORE_OK)
        cn_log(CN_LOG_ERROR, "store.recovery", a->err.msg, "jobs=%d", v->n);
    if (a->outcome == CN_STORE_REFUSED) /* for good: what is accepted now would be lost, too */
        v->js->unreadable = cn_xstrdup(a->err.msg);
    finish(v);
}

void cn_jobs_recover(struct cn_jobs *js)
{
    struct recovery *v = cn_xcalloc(1, sizeof(*v));

    v->js = js;
    v->began_ns = cn_now_ns();
    js->recover_again.data = v;
    ask(v);
}
