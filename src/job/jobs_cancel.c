/* Cancelling, and who waits for it. */
#include "base/base.h"
#include "job/jobs_priv.h"
#include "base/mem.h"

#include <stdlib.h>

static void on_later(struct cn_later *l)
{
    struct cn_cancel *c = (struct cn_cancel *)l;

    if (c->done != NULL)
        c->done(c->arg, c->rc);
    free(c);
}

void cn_record_tell_cancels(struct cn_record *r, int rc)
{
    struct cn_cancel *c;

    while ((c = r->cancels) != NULL) {
        r->cancels = c->next;
        c->rc = rc;
        if (r->js->closed)
            on_later(&c->later);
        else
            cn_jobs_later(r->js, &c->later, on_later);
    }
}

static struct cn_cancel *new_cancel(cn_cancelled_fn done, void *arg)
{
    struct cn_cancel *c = cn_xcalloc(1, sizeof(*c));

    c->done = done;
    c->arg = arg;
    return c;
}

void cn_record_cancel(struct cn_record *r)
{
    struct cn_job *job = r->job;

    if (r->ending || r->recent)
        return;
    cn_dispatch_cancel(r->js->o.dispatch, job);
    if (cn_job_final(job))
        return;
    /* The dispatcher has let it go (the daemon ends), or never had it. */
    job->err = (struct cn_err)CN_ERR_INIT;
    cn_fail(&job->err, CN_ECANCELED, "it was cancelled");
    cn_job_move(job, CN_JOB_CANCELLED);
    cn_record_end(r);
}

/* It is over: asked of the store whether it ever was. A job that is not, and is not in memory, is
 * still the daemon's that ends. */
static int already_over(struct cn_jobs *js, const char *tenant, const char *id, struct cn_err *err)
{
    struct cn_job_view view;
    int rc = cn_jobs_view(js, tenant, id, &view, err);
    bool over;

    if (rc < 0)
        return rc;
    over = view.state > CN_JOB_RUNNING;
    cn_job_view_release(&view);
    return over ? CN_OK : cn_fail(err, CN_EBUSY, "the job store is not open yet");
}

int cn_jobs_cancel(struct cn_jobs *js, const char *tenant, const char *id, cn_cancelled_fn done,
                   void *arg, struct cn_err *err)
{
    struct cn_record *r = cn_record_find(js, tenant, id);
    struct cn_cancel *c;
    int rc;

    if ((r == NULL || r->recent) && (rc = already_over(js, tenant, id, err)) < 0)
        return rc;
    c = new_cancel(done, arg);
    if (r == NULL || r->recent) {
        cn_jobs_later(js, &c->later, on_later);
        return CN_OK;
    }
    c->next = r->cancels;
    r->cancels = c;
    r->cancelling = true;
    cn_record_cancel(r);
    return CN_OK;
}

static void forget_in(struct cn_cancel *c, const void *arg)
{
    for (; c != NULL; c = c->next)
        if (c->arg == arg)
            c->done = NULL;
}

void cn_jobs_forget_cancel(struct cn_jobs *js, const void *arg)
{
    for (size_t i = 0; i < CN_JOBS_BUCKETS; i++)
        for (struct cn_record *r = js->bucket[i]; r != NULL; r = r->chain)
            forget_in(r->cancels, arg);
    for (struct cn_later *l = js->later; l != NULL; l = l->next)
        if (l->call == on_later && ((struct cn_cancel *)l)->arg == arg)
            ((struct cn_cancel *)l)->done = NULL;
}
