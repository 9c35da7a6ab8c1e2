/* Dispatcher: where jobs are while they are in service, and how they leave.
 *
 * The lowest part of the dispatcher that changes anything: a job leaves its place here for whatever
 * reason (ended, cancelled, given back to the queue, left to the next life), and the observer is
 * told. What comes free is handed out later, from dispatch_run.c.
 */
#include "base/base.h"
#include "job/dispatch_priv.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

/* ---- places ---- */

struct cn_assigned *cn_dispatch_find(struct cn_slot *s, uint64_t id)
{
    for (int i = 0; i < s->n; i++)
        if (s->job[i].id == id)
            return &s->job[i];
    return NULL;
}

void cn_dispatch_unassign(struct cn_slot *s, struct cn_assigned *a)
{
    cn_dispatch_clock(s);
    s->images -= a->images;
    *a = s->job[--s->n];
    s->exclusive = s->exclusive && s->n > 0;
}

static void send_cancel(struct cn_slot *s, uint64_t id)
{
    struct cn_buf b;

    cn_buf_init(&b, 64);
    if (cn_msg_put_number(&b, CN_FRAME_CANCEL, id, NULL) == CN_OK)
        cn_process_send(s->process, &b);
    cn_buf_release(&b);
}

/* Takes a job from where it is in service without an end of its own: cancelled, expired. */
static void leave_service(struct cn_dispatch *d, struct cn_job *job)
{
    double charged = 0;

    if (cn_treap_has(&job->order))
        cn_treap_remove(&d->suspects, &job->order);
    for (int i = 0; i < d->o.workers; i++) {
        struct cn_assigned *a = cn_dispatch_find(&d->slot[i], job->id);

        if (d->slot[i].reserved_for == job)
            d->slot[i].reserved_for = NULL;
        if (a == NULL || a->job != job)
            continue;
        a->job = NULL;
        send_cancel(&d->slot[i], a->id);
        charged = job->cost * cn_job_fraction(job);
    }
    cn_queue_done(&d->queue, job, charged);
}

void cn_dispatch_leave_delays(struct cn_dispatch *d, struct cn_job *job)
{
    if (job->is_roomless)
        TAILQ_REMOVE(&d->roomless, job, roomless);
    job->is_roomless = false;
    if (cn_treap_has(&job->delay))
        cn_treap_remove(&d->delayed, &job->delay);
}

static void take_out(struct cn_dispatch *d, struct cn_job *job)
{
    if (cn_treap_has(&job->deadline))
        cn_treap_remove(&d->deadlines, &job->deadline);
    cn_dispatch_leave_delays(d, job);
    d->fetching -= job->fetching;
    job->fetching = false;
    if (cn_treap_has(&job->age))
        cn_queue_remove(&d->queue, job);
    else
        leave_service(d, job);
    d->pump_wanted = true;
}

/* ---- the end of a job ---- */

/* "code:pointer,code:pointer" */
static void list_warnings(const struct cn_warnings *w, char *text, size_t size)
{
    size_t at = 0;

    text[0] = '\0';
    for (int i = 0; i < w->n && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%s:%s", i > 0 ? "," : "",
                               cn_enum_warning.name[w->item[i].code], w->item[i].where);
}

static const char *how_it_ended(const struct cn_job *job)
{
    if (job->err.msg[0] != '\0')
        return job->err.msg;
    return job->state == CN_JOB_SUCCEEDED ? "all pictures are there" : "the job is over";
}

static void log_end(const struct cn_job *job)
{
    char warnings[256];
    double waited = (double)((job->started_ns ? job->started_ns : job->ended_ns) - job->queued_ns);
    double ran = job->started_ns ? (double)(job->ended_ns - job->started_ns) : 0;

    list_warnings(&job->warnings, warnings, sizeof(warnings));
    cn_log(job->state == CN_JOB_FAILED ? CN_LOG_WARNING : CN_LOG_INFO, "job.end", how_it_ended(job),
           "job_id=%s outcome=%s kind=%s model=%s tenant=%s priority=%d attempt=%d worker=%d "
           "images=%d steps=%d queue_ms=%.1f run_ms=%.1f warnings=%s",
           job->name, job->poison ? "poison" : cn_enum_job_state.name[job->state],
           cn_enum_job_kind.name[job->spec.kind], job->spec.model, job->tenant->name, job->priority,
           job->attempt, job->worker, job->spec.n, job->spec.steps, waited * 1e-6, ran * 1e-6,
           warnings);
    if (cn_log_prompts())
        cn_log(CN_LOG_INFO, "job.prompt", "what the job was asked for",
               "job_id=%s prompt=%s negative_prompt=%s", job->name, job->spec.prompt,
               job->spec.negative_prompt);
}

void cn_dispatch_notify(struct cn_dispatch *d, struct cn_job *job)
{
    if (d->o.observer.on_state != NULL)
        d->o.observer.on_state(d->o.observer.arg, job);
}

/* The job is nowhere any more. */
void cn_dispatch_end(struct cn_dispatch *d, struct cn_job *job, enum cn_job_state to, bool tell)
{
    cn_job_end_fn on_end = job->on_end;

    if (cn_treap_has(&job->deadline))
        cn_treap_remove(&d->deadlines, &job->deadline);
    cn_job_move(job, to);
    cn_dispatch_count_end(d, job);
    log_end(job);
    job->on_end = NULL;
    cn_dispatch_notify(d, job);
    if (tell && on_end != NULL)
        on_end(job, job->arg);
    cn_job_unref(job);
}

void cn_dispatch_finish(struct cn_dispatch *d, struct cn_job *job, enum cn_job_state to, bool tell)
{
    take_out(d, job);
    cn_dispatch_end(d, job, to, tell);
}

void cn_dispatch_detach(struct cn_dispatch *d, struct cn_job *job)
{
    take_out(d, job);
    if (job->state == CN_JOB_RUNNING) {
        cn_job_move(job, CN_JOB_QUEUED);
        cn_job_forget_attempt(job);
        cn_dispatch_notify(d, job);
    }
    job->on_end = NULL;
    cn_job_unref(job);
}

void cn_dispatch_requeue(struct cn_dispatch *d, struct cn_job *job, const char *why,
                         const char *reason)
{
    cn_log(CN_LOG_WARNING, "job.retry", why, "job_id=%s attempt=%d", job->name, job->attempt);
    cn_metric_inc(d->m.retried, 1, reason);
    if (job->state == CN_JOB_RUNNING)
        cn_job_move(job, CN_JOB_QUEUED);
    cn_job_forget_attempt(job);
    job->attempt++;
    if (job->alone)
        cn_treap_add(&d->suspects, &job->order, (double)job->seq, job->seq, job->cost);
    else
        cn_queue_put_back(&d->queue, job);
    cn_job_ref(job);
    cn_dispatch_notify(d, job);
    if (!cn_job_final(job) && d->ending && job->may_be_deferred)
        cn_dispatch_detach(d, job);
    cn_job_unref(job);
}
