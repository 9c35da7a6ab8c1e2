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

#define SECOND_US INT64_C(1000000)

/* ---- keys that are being accepted ---- */

static struct cn_submission **key_bucket(struct cn_jobs *js, const struct cn_submission *sub)
{
    const char *part[] = {sub->tenant, sub->route, sub->key};
    size_t h = 5381;

    for (size_t i = 0; i < CN_LEN(part); i++)
        for (const char *p = part[i]; *p != '\0'; p++)
            h = h * 33 + (unsigned char)*p;
    return &js->key_bucket[h & (CN_JOBS_KEY_BUCKETS - 1)];
}

static struct cn_submission *find_key(struct cn_jobs *js, const struct cn_submission *sub)
{
    struct cn_submission *p = *key_bucket(js, sub);

    while (p != NULL && (strcmp(p->tenant, sub->tenant) != 0 || strcmp(p->route, sub->route) != 0 ||
                         strcmp(p->key, sub->key) != 0))
        p = p->key_next;
    return p;
}

static void add_key(struct cn_submission *sub)
{
    struct cn_submission **at = key_bucket(sub->js, sub);

    sub->key_next = *at;
    sub->key_at = at;
    if (*at != NULL)
        (*at)->key_at = &sub->key_next;
    *at = sub;
}

static void remove_key(struct cn_submission *sub)
{
    if (sub->key_at == NULL)
        return;
    *sub->key_at = sub->key_next;
    if (sub->key_next != NULL)
        sub->key_next->key_at = sub->key_at;
    sub->key_at = NULL;
}

/* ---- the answer ---- */

void cn_submission_free(struct cn_submission *sub)
{
    CN_ASSERT(sub->followers == NULL && sub->key_at == NULL);
    cn_jobs_not_later(sub->js, &sub->later);
    if (sub->record != NULL)
        sub->record->sub = NULL;
    cn_spec_release(&sub->spec);
    free(sub->route);
    free(sub->key);
    free(sub->request_id);
    free(sub);
}

static void tell(struct cn_submission *sub)
{
    bool accepted = sub->outcome == CN_SUBMIT_NEW || sub->outcome == CN_SUBMIT_REPLAY;
    struct cn_submitted s = {.outcome = sub->outcome,
                             .id = accepted ? sub->id : NULL,
                             .job = sub->record != NULL ? sub->record->job : NULL,
                             .refusal = sub->refused.kind,
                             .retry_after_s = sub->refused.retry_after_s,
                             .err = accepted ? NULL : &sub->err};
    cn_submitted_fn done = sub->done;

    sub->done = NULL;
    if (done != NULL)
        done(sub->arg, &s);
}

static void tell_end(struct cn_submission *sub)
{
    cn_job_end_fn on_end = sub->on_end;

    sub->on_end = NULL;
    if (on_end != NULL)
        on_end(sub->record->job, sub->arg);
}

/* Called once when the submission is decided, and once more when its job is over. */
static void on_later(struct cn_later *l)
{
    struct cn_submission *sub = (struct cn_submission *)l;
    struct cn_jobs *js = sub->js;
    struct cn_record *r;

    if (sub->done != NULL)
        tell(sub);
    r = sub->record;
    if (r != NULL && sub->ended) {
        tell_end(sub);
        r->sub = NULL;
        sub->record = NULL;
        cn_submission_free(sub);
        cn_record_trim(js);
    } else if (r == NULL || sub->on_end == NULL) {
        cn_submission_free(sub);
    }
}

static void decide(struct cn_submission *sub, enum cn_submit_outcome outcome)
{
    struct cn_submission *f;

    remove_key(sub);
    sub->outcome = outcome;
    while ((f = sub->followers) != NULL) {
        sub->followers = f->next;
        memcpy(f->id, sub->id, sizeof(f->id));
        f->refused = sub->refused;
        f->err = sub->err;
        decide(f, outcome == CN_SUBMIT_NEW ? CN_SUBMIT_REPLAY : outcome);
    }
    cn_jobs_later(sub->js, &sub->later, on_later);
}

static void refuse(struct cn_submission *sub)
{
    if (sub->refused.retry_after_s < 1)
        sub->refused.retry_after_s = sub->err.code == CN_ESTORAGE ? 30 : 1;
    decide(sub, CN_SUBMIT_REFUSED);
}

void cn_submission_end(struct cn_record *r)
{
    if (r->sub == NULL)
        return;
    r->sub->ended = true;
    cn_jobs_later(r->js, &r->sub->later, on_later);
}

/* ---- acceptance ---- */

static void log_accepted(const struct cn_submission *sub, const struct cn_record *r)
{
    cn_log(CN_LOG_DEBUG, "job.accepted", "", "job_id=%s request_id=%s tenant=%s durable=%d", r->id,
           sub->request_id == NULL ? "" : sub->request_id, r->tenant, r->durable);
}

static void accept_now(struct cn_submission *sub, struct cn_record *r)
{
    r->accepted = true;
    memcpy(sub->id, r->id, sizeof(sub->id));
    cn_record_emit(r, CN_EVENT_STATE, 0);
    log_accepted(sub, r);
    decide(sub, CN_SUBMIT_NEW);
}

/* A record that nobody was told of: as if it had never been. */
static void forget(struct cn_record *r)
{
    struct cn_jobs *js = r->js;
    struct cn_job *job = cn_job_ref(r->job);

    if (r->sub != NULL)
        r->sub->record = NULL;
    r->sub = NULL;
    cn_record_free(r); /* from here on the dispatcher's news are nobody's */
    cn_dispatch_cancel(js->o.dispatch, job);
    cn_job_unref(job);
}

static void on_added(void *arg, const struct cn_store_done *done)
{
    struct cn_record *r = arg;
    struct cn_submission *sub = r->sub;
    struct cn_jobs *js = r->js;

    js->store_ops--;
    if (done->rc < 0) {
        sub->err = done->err;
        forget(r);
        refuse(sub);
        return;
    }
    accept_now(sub, r);
    cn_record_hold(r);
    if (!cn_job_final(r->job))
        cn_dispatch_release(js->o.dispatch, r->job);
}

static int add_to_store(struct cn_submission *sub, struct cn_record *r, int64_t deadline_us)
{
    struct cn_store_key key = {.tenant = sub->tenant, .route = sub->route, .key = sub->key};
    struct cn_store_job row = cn_record_row(r);

    row.deadline_us = deadline_us;
    memcpy(key.fingerprint, sub->fingerprint, sizeof(key.fingerprint));
    return cn_store_add(r->js->store, &row, &r->job->spec, sub->key != NULL ? &key : NULL, on_added,
                        r, &sub->err);
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
    job->may_be_deferred = sub->durable && !sub->waits; /* may it be left waiting? */
    job->deadline_ns = job->queued_ns + seconds * INT64_C(1000000000);
    if (enter_queue(sub, job) < 0) {
        cn_record_free(r);
        refuse(sub);
        return;
    }
    r->sub = sub;
    sub->record = r;
    if (!sub->durable) {
        accept_now(sub, r);
    } else if (add_to_store(sub, r, r->created_us + seconds * SECOND_US) < 0) {
        forget(r);
        refuse(sub);
    } else {
        js->store_ops++;
        if (sub->key != NULL)
            add_key(sub);
    }
}

/* True: the key has decided it. */
static bool known_key(struct cn_submission *sub)
{
    struct cn_store_key key = {.tenant = sub->tenant, .route = sub->route, .key = sub->key};
    struct cn_submission *first = find_key(sub->js, sub);
    unsigned char fingerprint[CN_STORE_FINGERPRINT];
    int rc;

    if (first != NULL && memcmp(first->fingerprint, sub->fingerprint, CN_STORE_FINGERPRINT) == 0) {
        sub->next = first->followers;
        first->followers = sub;
        return true;
    }
    if (first != NULL) {
        cn_fail(&sub->err, CN_EBUSY, "another request with this key is being accepted");
        sub->refused.retry_after_s = 1;
        decide(sub, CN_SUBMIT_IN_PROGRESS);
        return true;
    }
    rc = cn_store_find_key(sub->js->store, &key, sub->id, fingerprint, &sub->err);
    if (rc == CN_ENOTFOUND)
        return false;
    if (rc < 0) {
        refuse(sub);
        return true;
    }
    if (memcmp(fingerprint, sub->fingerprint, CN_STORE_FINGERPRINT) == 0) {
        decide(sub, CN_SUBMIT_REPLAY);
        return true;
    }
    cn_fail(&sub->err, CN_EINVAL, "this key came before with another request");
    decide(sub, CN_SUBMIT_MISMATCH);
    return true;
}

static void run(struct cn_submission *sub)
{
    struct cn_jobs *js = sub->js;

    if (sub->durable && js->store == NULL) {
        cn_fail(&sub->err, CN_ENOTFOUND, "this server keeps no jobs (store.dir is empty)");
        refuse(sub);
    } else if (sub->durable && cn_store_room(js->store, 0, &sub->err) < 0) {
        refuse(sub);
    } else if (sub->key == NULL || !known_key(sub)) {
        make_job(sub);
    }
}

/* ---- while the store opens ---- */

static bool must_wait(const struct cn_submission *sub)
{
    return sub->durable && sub->js->store != NULL && !sub->js->opened;
}

static void wait_for_store(struct cn_submission *sub)
{
    struct cn_jobs *js = sub->js;

    if (js->n_waiting >= js->o.waiting || js->draining) {
        cn_fail(&sub->err, CN_EBUSY, "the job store is not open yet");
        refuse(sub);
        return;
    }
    sub->next = NULL;
    *js->waiting_tail = sub;
    js->waiting_tail = &sub->next;
    js->n_waiting++;
}

static struct cn_submission *take_waiting(struct cn_jobs *js)
{
    struct cn_submission *sub = js->waiting;

    if (sub == NULL)
        return NULL;
    js->waiting = sub->next;
    if (js->waiting == NULL)
        js->waiting_tail = &js->waiting;
    js->n_waiting--;
    sub->next = NULL;
    return sub;
}

void cn_submission_run_waiting(struct cn_jobs *js)
{
    struct cn_submission *sub;

    while ((sub = take_waiting(js)) != NULL) {
        if (sub->done != NULL)
            run(sub);
        else
            cn_submission_free(sub); /* its client has gone */
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
    sub->on_end = o->on_end;
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
    struct cn_record *r = sub->record;

    sub->done = NULL;
    sub->on_end = NULL;
    if (cancel && r != NULL && !r->durable)
        cn_record_cancel(r);
    if (r != NULL && r->accepted && !sub->later.on)
        cn_jobs_later(sub->js, &sub->later, on_later); /* it frees itself there */
}

int cn_jobs_admit(struct cn_jobs *js, const char *tenant, bool durable, struct cn_refused *ret,
                  struct cn_err *err)
{
    struct cn_refused why = {.kind = CN_REFUSED_NOT};
    int rc = CN_OK;

    if (durable && js->store == NULL)
        rc = cn_fail(err, CN_ENOTFOUND, "this server keeps no jobs (store.dir is empty)");
    else if (durable && js->opened)
        rc = cn_store_room(js->store, 0, err);
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
