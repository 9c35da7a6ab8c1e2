/* Submissions: idempotency keys, the dispatcher's admission, the store's commit, the answer.
 *
 * A durable job enters the queue at once, on hold: so the queue's limits count it, and nothing is
 * accepted that they would refuse later. It is handed out when it is committed, and taken out again
 * when it cannot be.
 */
#include "base/base.h"
#include "job/jobs_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- keys that are being accepted ---- */

static uint64_t hash_of_key(const struct cn_submission *sub)
{
    uint64_t h = cn_hash_text(CN_HASH_INIT, sub->tenant);

    return cn_hash_text(cn_hash_text(h, sub->route), sub->key);
}

static struct cn_submission *find_key(const struct cn_submission *sub)
{
    CN_TABLE_EACH(&sub->js->keys, hash_of_key(sub), node)
    {
        struct cn_submission *p = CN_TABLE_OF(node, struct cn_submission, by_key);

        if (strcmp(p->tenant, sub->tenant) == 0 && strcmp(p->route, sub->route) == 0 &&
            strcmp(p->key, sub->key) == 0)
            return p;
    }
    return NULL;
}

static void add_key(struct cn_submission *sub)
{
    cn_table_add(&sub->js->keys, &sub->by_key, hash_of_key(sub));
    sub->has_key_place = true;
}

static void remove_key(struct cn_submission *sub)
{
    if (sub->has_key_place)
        cn_table_remove(&sub->js->keys, &sub->by_key);
    sub->has_key_place = false;
}

/* ---- the answer ---- */

static void free_submission(struct cn_submission *sub)
{
    CN_ASSERT(STAILQ_EMPTY(&sub->followers) && !sub->has_key_place);
    if (sub->record != NULL)
        cn_record_unref(sub->record);
    cn_spec_release(&sub->spec);
    free(sub->route);
    free(sub->key);
    free(sub->request_id);
    free(sub->url);
    free(sub->host);
    free(sub->context);
    free(sub);
}

static void on_deferred(struct cn_deferred *d)
{
    struct cn_submission *sub = (struct cn_submission *)d;
    bool accepted = sub->outcome == CN_SUBMIT_NEW || sub->outcome == CN_SUBMIT_REPLAY;
    struct cn_submitted s = {.outcome = sub->outcome,
                             .id = accepted ? sub->id : NULL,
                             .job = sub->record != NULL ? sub->record->job : NULL,
                             .refusal = sub->refused.kind,
                             .retry_after_s = sub->refused.retry_after_s,
                             .err = accepted ? NULL : &sub->err};
    struct cn_jobs *js = sub->js;

    if (sub->done != NULL)
        sub->done(sub->arg, &s);
    free_submission(sub);
    cn_record_trim(js);
}

static void decide(struct cn_submission *sub, enum cn_submit_outcome outcome)
{
    struct cn_submission *f;

    remove_key(sub);
    sub->outcome = outcome;
    while ((f = STAILQ_FIRST(&sub->followers)) != NULL) {
        STAILQ_REMOVE_HEAD(&sub->followers, link);
        memcpy(f->id, sub->id, sizeof(f->id));
        f->refused = sub->refused;
        f->err = sub->err;
        decide(f, outcome == CN_SUBMIT_NEW ? CN_SUBMIT_REPLAY : outcome);
    }
    cn_defer(&sub->js->deferred, &sub->deferred, on_deferred);
}

static void refuse(struct cn_submission *sub)
{
    if (sub->refused.retry_after_s < 1)
        sub->refused.retry_after_s = sub->err.code == CN_ESTORAGE ? 30 : 1;
    decide(sub, CN_SUBMIT_REFUSED);
}

/* ---- acceptance ---- */

static void accept_job(struct cn_submission *sub, struct cn_record *r)
{
    cn_record_set_phase(r, CN_RECORD_LIVE);
    memcpy(sub->id, r->id, sizeof(sub->id));
    cn_record_emit(r, CN_EVENT_STATE, 0);
    cn_log(CN_LOG_DEBUG, "job.accepted", "the job may begin",
           "job_id=%s request_id=%s tenant=%s durable=%d", r->id,
           sub->request_id == NULL ? "" : sub->request_id, r->tenant, r->durable);
    decide(sub, CN_SUBMIT_NEW);
}

/* A record that nobody was told of: as if it had never been. */
static void withdraw_record(struct cn_submission *sub)
{
    struct cn_record *r = sub->record;

    sub->record = NULL;
    cn_record_forget(r); /* from here on the dispatcher's news are nobody's */
    cn_dispatch_cancel(sub->js->o.dispatch, r->job);
    cn_record_unref(r);
}

/* The job may be over by now (its time, or the daemon's): then that is what the store is told
 * next. */
static void on_added(void *arg, const struct cn_store_done *done)
{
    struct cn_submission *sub = arg;
    struct cn_record *r = sub->record;
    struct cn_jobs *js = sub->js;

    js->store_ops--;
    if (done->outcome != CN_STORE_OK) {
        sub->err = done->err;
        withdraw_record(sub);
        refuse(sub);
        return;
    }
    accept_job(sub, r);
    if (cn_job_final(r->job)) {
        cn_record_end(r);
    } else {
        cn_record_cache_inputs(r);
        cn_dispatch_release(js->o.dispatch, r->job);
    }
}

static int add_to_store(struct cn_submission *sub, int64_t deadline_us)
{
    struct cn_store_key key = {.tenant = sub->tenant, .route = sub->route, .key = sub->key};
    struct cn_store_webhook webhook = {sub->url, sub->host, sub->context};
    struct cn_store_job row = cn_record_row(sub->record);
    int rc;

    row.deadline_us = deadline_us;
    row.webhook = sub->url != NULL ? &webhook : NULL;
    memcpy(key.fingerprint, sub->fingerprint, sizeof(key.fingerprint));
    rc = cn_store_add(sub->js->store, &row, &sub->record->job->spec, sub->key != NULL ? &key : NULL,
                      on_added, sub, &sub->err);
    if (rc == CN_OK)
        sub->js->store_ops++;
    return rc;
}

/* In the drain a durable job is kept, and left to the next life. */
static int enter_queue(struct cn_submission *sub, struct cn_job *job)
{
    struct cn_jobs *js = sub->js;

    if (js->draining && job->may_be_deferred)
        return CN_OK;
    return cn_dispatch_submit(js->o.dispatch, job, sub->tenant, &sub->refused, &sub->err);
}

static void make_job(struct cn_submission *sub)
{
    struct cn_jobs *js = sub->js;
    int seconds = sub->spec.timeout_s ? sub->spec.timeout_s
                                      : (sub->durable ? js->o.async_timeout_s : js->o.timeout_s);
    struct cn_job *job = cn_job_new(&sub->spec);
    struct cn_record *r = cn_record_new(js, job, sub->tenant, sub->durable);

    job->uncommitted = sub->durable;
    job->may_be_deferred = sub->durable && !sub->waits;
    job->deadline_ns = job->queued_ns + seconds * CN_SECOND_NS;
    if (enter_queue(sub, job) < 0) {
        cn_record_forget(r);
        refuse(sub);
        return;
    }
    sub->record = cn_record_ref(r);
    if (sub->url != NULL)
        r->delivery.state = CN_STORE_WEBHOOK_WAITING;
    if (!sub->durable) {
        accept_job(sub, r);
    } else if (add_to_store(sub, r->created_us + seconds * CN_SECOND_US) < 0) {
        withdraw_record(sub);
        refuse(sub);
    }
}

/* ---- idempotency ---- */

/* The store knows whether the key came before. */
static void on_key(void *arg, struct cn_store_answer *a)
{
    struct cn_submission *sub = arg;

    sub->js->store_ops--;
    if (a->outcome == CN_STORE_UNKNOWN) {
        make_job(sub);
    } else if (a->outcome != CN_STORE_OK) {
        cn_fail(&sub->err, a->outcome == CN_STORE_REFUSED ? CN_ESTORAGE : CN_EBUSY, "%s",
                a->err.msg);
        refuse(sub);
    } else if (memcmp(a->fingerprint, sub->fingerprint, CN_STORE_FINGERPRINT) == 0) {
        memcpy(sub->id, a->id, sizeof(sub->id));
        decide(sub, CN_SUBMIT_REPLAY);
    } else {
        cn_fail(&sub->err, CN_EINVAL, "this key came before with another request");
        decide(sub, CN_SUBMIT_MISMATCH);
    }
}

/* Who comes first with a key asks the store; who comes meanwhile with the same request is answered
 * as he is. */
static void look_up_key(struct cn_submission *sub)
{
    struct cn_store_key key = {.tenant = sub->tenant, .route = sub->route, .key = sub->key};
    struct cn_submission *first = find_key(sub);

    if (first == NULL) {
        add_key(sub);
        sub->js->store_ops++;
        cn_store_find_key(sub->js->store, &key, on_key, sub);
    } else if (memcmp(first->fingerprint, sub->fingerprint, CN_STORE_FINGERPRINT) == 0) {
        STAILQ_INSERT_TAIL(&first->followers, sub, link);
    } else {
        cn_fail(&sub->err, CN_EBUSY, "another request with this key is being accepted");
        sub->refused.retry_after_s = 1;
        decide(sub, CN_SUBMIT_IN_PROGRESS);
    }
}

static int check_storage(struct cn_submission *sub)
{
    struct cn_jobs *js = sub->js;

    if (js->store == NULL || js->unreadable != NULL)
        return cn_jobs_storage(js, &sub->err);
    return cn_store_room(js->store, 0, &sub->err);
}

static void run(struct cn_submission *sub)
{
    if (sub->durable && check_storage(sub) < 0)
        refuse(sub);
    else if (sub->key != NULL)
        look_up_key(sub);
    else
        make_job(sub);
}

/* ---- while the store opens ---- */

/* It opens soon: another daemon ends, or the last life's jobs are being read. Not when it waits for
 * a disk that is full. */
static bool must_wait(const struct cn_submission *sub)
{
    return sub->durable && sub->js->store != NULL && !sub->js->opened &&
           cn_jobs_storage(sub->js, NULL) == CN_EBUSY;
}

static void wait_for_store(struct cn_submission *sub)
{
    struct cn_jobs *js = sub->js;

    if (js->n_waiting >= js->o.waiting || js->draining) {
        cn_fail(&sub->err, CN_EBUSY, "the job store is not open yet");
        refuse(sub);
        return;
    }
    STAILQ_INSERT_TAIL(&js->waiting, sub, link);
    js->n_waiting++;
}

static struct cn_submission *take_waiting(struct cn_jobs *js)
{
    struct cn_submission *sub = STAILQ_FIRST(&js->waiting);

    if (sub == NULL)
        return NULL;
    STAILQ_REMOVE_HEAD(&js->waiting, link);
    js->n_waiting--;
    return sub;
}

void cn_submission_run_waiting(struct cn_jobs *js)
{
    struct cn_submission *sub;

    while ((sub = take_waiting(js)) != NULL) {
        if (sub->done != NULL)
            run(sub);
        else
            free_submission(sub); /* its client has gone */
    }
}

void cn_submission_refuse_waiting(struct cn_jobs *js)
{
    struct cn_submission *sub;

    while ((sub = take_waiting(js)) != NULL) {
        cn_fail(&sub->err, CN_EBUSY, "the server is shutting down");
        sub->refused.kind = CN_REFUSED_DRAINING;
        refuse(sub);
    }
}

/* ---- interface ---- */

struct cn_submission *cn_jobs_submit(struct cn_jobs *js, struct cn_spec *spec, const char *tenant,
                                     const struct cn_submit_options *o, cn_submitted_fn done,
                                     void *arg)
{
    struct cn_submission *sub = cn_xcalloc(1, sizeof(*sub));

    sub->js = js;
    sub->done = done;
    STAILQ_INIT(&sub->followers);
    sub->arg = arg;
    sub->spec = *spec;
    memset(spec, 0, sizeof(*spec));
    sub->durable = o->durable;
    sub->waits = o->waits;
    snprintf(sub->tenant, sizeof(sub->tenant), "%s", tenant == NULL ? CN_TENANT_ANONYMOUS : tenant);
    if (o->key != NULL) {
        CN_ASSERT(o->durable && o->route != NULL);
        sub->route = cn_xstrdup(o->route);
        sub->key = cn_xstrdup(o->key);
        memcpy(sub->fingerprint, o->fingerprint, sizeof(sub->fingerprint));
    }
    if (o->webhook != NULL) {
        CN_ASSERT(o->durable);
        sub->url = cn_xstrdup(o->webhook->url);
        sub->host = cn_xstrdup(o->webhook->host);
        sub->context = cn_xstrdup(o->webhook->context);
    }
    if (o->request_id != NULL)
        sub->request_id = cn_xstrdup(o->request_id);
    if (must_wait(sub))
        wait_for_store(sub);
    else
        run(sub);
    return sub;
}

void cn_jobs_withdraw(struct cn_submission *sub, bool cancel)
{
    sub->done = NULL; /* it frees itself when it is decided */
    if (cancel && sub->record != NULL && !sub->record->durable)
        cn_record_cancel(sub->record);
}

int cn_jobs_admit(struct cn_jobs *js, const char *tenant, bool durable, struct cn_refused *ret,
                  struct cn_err *err)
{
    struct cn_refused why = {.kind = CN_REFUSED_NOT};
    int rc = CN_OK;

    if (durable && (js->store == NULL || cn_jobs_storage(js, NULL) != CN_EBUSY)) {
        if ((rc = cn_jobs_storage(js, err)) == CN_OK)
            rc = cn_store_room(js->store, 0, err);
    }
    if (rc == CN_OK && !(js->draining && durable)) {
        why = cn_dispatch_refuses(js->o.dispatch, tenant);
        if (why.kind != CN_REFUSED_NOT)
            rc = cn_fail(err, CN_EBUSY, "no job is accepted now");
    }
    if (rc < 0 && why.retry_after_s < 1)
        why.retry_after_s = rc == CN_ESTORAGE ? 30 : 1;
    *ret = why;
    return rc;
}
