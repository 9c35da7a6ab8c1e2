/* Dispatcher: handing out, what the workers say, ends of jobs. */
#include "base/base.h"
#include "job/dispatch_priv.h"
#include "base/clock.h"
#include "base/log.h"

#include <string.h>

/* A JOB frame: at most eight control images, an init image and a mask, and the words. */
#define JOB_FRAME_MAX (CN_FRAME_MAX + CN_FRAME_HEAD)

/* ---- places ---- */

static struct cn_assigned *find_assigned(struct cn_slot *s, uint64_t id)
{
    for (int i = 0; i < s->n; i++)
        if (s->job[i].id == id)
            return &s->job[i];
    return NULL;
}

static void unassign(struct cn_slot *s, struct cn_assigned *a)
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
        struct cn_assigned *a = find_assigned(&d->slot[i], job->id);

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

static void take_out(struct cn_dispatch *d, struct cn_job *job)
{
    if (cn_treap_has(&job->deadline))
        cn_treap_remove(&d->deadlines, &job->deadline);
    if (cn_treap_has(&job->age))
        cn_queue_remove(&d->queue, job);
    else
        leave_service(d, job);
    cn_dispatch_pump_soon(d);
}

/* ---- the end of a job ---- */

static void log_end(const struct cn_job *job)
{
    double waited = (double)((job->started_ns ? job->started_ns : job->ended_ns) - job->queued_ns);
    double ran = job->started_ns ? (double)(job->ended_ns - job->started_ns) : 0;

    cn_log(job->state == CN_JOB_FAILED ? CN_LOG_WARNING : CN_LOG_INFO, "job.end", job->err.msg,
           "job_id=%s outcome=%s model=%s tenant=%s priority=%d attempt=%d worker=%d images=%d "
           "steps=%d queue_ms=%.1f run_ms=%.1f",
           job->name, job->poison ? "poison" : cn_enum_job_state.name[job->state], job->spec.model,
           job->tenant->name, job->priority, job->attempt, job->worker, job->spec.n,
           job->spec.steps, waited * 1e-6, ran * 1e-6);
    if (cn_log_prompts())
        cn_log(CN_LOG_INFO, "job.prompt", "", "job_id=%s prompt=%s negative_prompt=%s", job->name,
               job->spec.prompt, job->spec.negative_prompt);
}

void cn_dispatch_notify(struct cn_dispatch *d, struct cn_job *job)
{
    if (d->o.observer.on_state != NULL)
        d->o.observer.on_state(d->o.observer.arg, job);
}

/* The job is nowhere any more. */
static void end(struct cn_dispatch *d, struct cn_job *job, enum cn_job_state to, bool tell)
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
    end(d, job, to, tell);
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

/* ---- frames of a worker ---- */

static void on_image(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    const struct cn_dispatch_observer *o = &s->d->o.observer;
    struct cn_msg_image m;
    struct cn_assigned *a;

    if (cn_msg_get_image(f, &m, err) < 0 || (a = find_assigned(s, m.id)) == NULL)
        return;
    a->begun = true;
    a->heard_ns = cn_now_ns();
    if (a->job != NULL && cn_job_put_image(a->job, &m, err) == CN_OK && o->on_image != NULL)
        o->on_image(o->arg, a->job, m.index);
}

static void on_progress(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    const struct cn_dispatch_observer *o = &s->d->o.observer;
    struct cn_msg_progress m;
    struct cn_assigned *a;

    if (cn_msg_get_progress(f, &m, err) < 0 || (a = find_assigned(s, m.id)) == NULL)
        return;
    a->begun = true;
    a->heard_ns = cn_now_ns();
    if (a->job == NULL)
        return;
    a->job->progress = m;
    if (o->on_progress != NULL)
        o->on_progress(o->arg, a->job);
}

static void on_done(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    struct cn_dispatch *d = s->d;
    struct cn_msg_done m;
    struct cn_assigned *a;
    struct cn_job *job;
    double cost;

    if (cn_msg_get_done(f, &m, err) < 0 || (a = find_assigned(s, m.id)) == NULL)
        return;
    job = a->job;
    if (job == NULL) {
        unassign(s, a);
        return;
    }
    memcpy(job->stage_ms, m.ms, sizeof(job->stage_ms));
    cost = cn_dispatch_measure(s, a, job);
    unassign(s, a);
    cn_dispatch_note_success(s);
    cn_queue_done(&d->queue, job, cost);
    end(d, job, cn_job_complete(job, &job->err) == CN_OK ? CN_JOB_SUCCEEDED : CN_JOB_FAILED, true);
}

/* The device has no room for the job. Alone it may have; the worker goes on in any case. */
static bool requeue_alone(struct cn_dispatch *d, struct cn_job *job, int neighbours)
{
    if (job->err.code != CN_EDEVMEM || job->alone || neighbours == 0)
        return false;
    job->alone = true;
    cn_dispatch_requeue(d, job, job->err.msg, "device_memory");
    return true;
}

static void on_failed(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    struct cn_dispatch *d = s->d;
    struct cn_msg_failed m;
    struct cn_assigned *a;
    struct cn_job *job;

    if (cn_msg_get_failed(f, &m, err) < 0 || (a = find_assigned(s, m.id)) == NULL)
        return;
    job = a->job;
    unassign(s, a);
    if (job == NULL)
        return;
    job->err = m.err;
    if (m.err.code == CN_EDEVICE) {
        cn_dispatch_lost(s, job, m.err.msg);
    } else if (m.err.code == CN_EBUSY) {
        cn_dispatch_requeue(d, job, m.err.msg, "worker_busy");
    } else if (!requeue_alone(d, job, s->n)) {
        cn_queue_done(&d->queue, job, job->cost * cn_job_fraction(job));
        end(d, job, CN_JOB_FAILED, true);
    }
}

static void on_preview(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    const struct cn_dispatch_observer *o = &s->d->o.observer;
    struct cn_msg_preview m;
    struct cn_assigned *a;

    if (cn_msg_get_preview(f, &m, err) == CN_OK && (a = find_assigned(s, m.id)) != NULL &&
        a->job != NULL && o->on_preview != NULL)
        o->on_preview(o->arg, a->job, &m);
}

/* A turn of the device: whoever waits for a place in the batch is not hung. */
static void on_beat(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    struct cn_msg_beat m;

    if (cn_msg_get_beat(f, &m, err) < 0)
        return;
    for (int i = 0; i < s->n; i++)
        s->job[i].heard_ns = cn_now_ns();
    s->turn_s[s->turns++ % CN_SLOT_TURNS] = m.ms * 1e-3;
    s->busy_lanes = m.lanes;
    cn_dispatch_count_beat(s, &m);
}

void cn_dispatch_on_frame(void *slot, const struct cn_frame *f)
{
    struct cn_slot *s = slot;
    struct cn_err err = CN_ERR_INIT;

    if (f->type == CN_FRAME_PROGRESS)
        on_progress(s, f, &err);
    else if (f->type == CN_FRAME_IMAGE)
        on_image(s, f, &err);
    else if (f->type == CN_FRAME_DONE)
        on_done(s, f, &err);
    else if (f->type == CN_FRAME_FAILED)
        on_failed(s, f, &err);
    else if (f->type == CN_FRAME_GAUGES)
        cn_msg_get_gauges(f, &s->gauges, &err);
    else if (f->type == CN_FRAME_PREVIEW)
        on_preview(s, f, &err);
    else if (f->type == CN_FRAME_BEAT)
        on_beat(s, f, &err);
    else if (f->type == CN_FRAME_MODEL)
        cn_dispatch_on_model(s, f, &err);
    else if (f->type == CN_FRAME_MANAGED)
        cn_dispatch_on_managed(s, f, &err);
    else
        cn_fail(&err, CN_EFORMAT, "frame of type %d from a worker", (int)f->type);
    if (err.code != 0)
        cn_process_kill(s->process, CN_CAUSE_PROTOCOL, err.msg);
    cn_dispatch_pump(s->d);
}

void cn_dispatch_on_hello(void *slot, struct cn_msg_hello *hello)
{
    struct cn_slot *s = slot;

    s->capacity = CN_MIN(hello->capacity, CN_SLOT_JOBS);
    s->lanes = CN_MAX(hello->lanes, 1);
    memcpy(s->backend, hello->backend, sizeof(s->backend));
    cn_catalog_set(&s->d->catalog, hello);
}

void cn_dispatch_on_ready(void *slot)
{
    struct cn_slot *s = slot;

    s->d->known = true;
    cn_dispatch_pump(s->d);
}

/* ---- handing out ---- */

/* The images of the job, or an end with the reason. */
static bool fetch(struct cn_dispatch *d, struct cn_job *job)
{
    const struct cn_dispatch_observer *o = &d->o.observer;

    if (!job->inputs_evicted)
        return true;
    job->err.code = 0;
    if (o->fetch != NULL && o->fetch(o->arg, job, &job->err) == CN_OK)
        return true;
    cn_fail(&job->err, CN_ESTORAGE, "the images of the job cannot be read again");
    cn_dispatch_finish(d, job, CN_JOB_FAILED, true);
    return false;
}

/* The job is in service, and in no list. */
static void assign(struct cn_slot *s, struct cn_job *job)
{
    struct cn_dispatch *d = s->d;
    int64_t now = cn_now_ns();
    struct cn_buf b;

    if (now >= job->deadline_ns) {
        cn_fail(&job->err, CN_ECANCELED, "the job was not begun within its timeout");
        cn_dispatch_finish(d, job, CN_JOB_EXPIRED, true);
        return;
    }
    if (!fetch(d, job))
        return;
    cn_buf_init(&b, JOB_FRAME_MAX);
    if (cn_msg_put_job(&b, job->id, &job->spec, &job->err) < 0) {
        cn_dispatch_finish(d, job, CN_JOB_FAILED, true);
    } else {
        cn_dispatch_clock(s);
        s->job[s->n++] = (struct cn_assigned){.id = job->id,
                                              .job = job,
                                              .images = job->spec.n,
                                              .heard_ns = now,
                                              .device_s = s->device_s};
        s->images += job->spec.n;
        job->worker = s->index;
        s->exclusive = job->alone;
        cn_process_send(s->process, &b);
        cn_job_move(job, CN_JOB_RUNNING);
        cn_metric_observe(d->m.queue_time, (double)(job->started_ns - job->queued_ns) * 1e-9,
                          cn_priority_name(job->priority));
        cn_dispatch_notify(d, job);
    }
    cn_buf_release(&b);
}

static bool ready(const struct cn_slot *s)
{
    return cn_process_state(s->process) == CN_PROCESS_READY && s->dying_ns == 0;
}

/* Jobs are counted, not their images: a worker gives each job one image at a time at least, so that
 * a small job is not kept waiting by a large one's many images. */
static bool has_room(const struct cn_slot *s)
{
    return ready(s) && !s->exclusive && s->reserved_for == NULL &&
           s->n < CN_MIN(s->capacity, s->lanes);
}

static bool any_room(const struct cn_dispatch *d)
{
    for (int i = 0; i < d->o.workers; i++)
        if (has_room(&d->slot[i]))
            return true;
    return false;
}

/* For a job that fairness has chosen; one of them has room. */
static struct cn_slot *best_slot(struct cn_dispatch *d, const struct cn_job *job)
{
    struct cn_slot *best = NULL;
    int best_affinity = 0;

    for (int i = 0; i < d->o.workers; i++) {
        struct cn_slot *s = &d->slot[i];
        int a = cn_dispatch_affinity(s, job);

        if (!has_room(s) || (best != NULL && (a < best_affinity ||
                                              (a == best_affinity && s->images >= best->images))))
            continue;
        best = s;
        best_affinity = a;
    }
    return best;
}

/* The worker that a suspect gets to itself: not the one where it lost an attempt, if there is
 * another that works. */
static struct cn_slot *slot_for_suspect(struct cn_dispatch *d, const struct cn_job *job)
{
    struct cn_slot *best = NULL;
    bool other = false;

    for (int i = 0; i < d->o.workers; i++)
        other = other || (ready(&d->slot[i]) && i != job->last_worker);
    for (int i = 0; i < d->o.workers; i++) {
        struct cn_slot *s = &d->slot[i];

        if (ready(s) && !s->exclusive && s->reserved_for == NULL &&
            !(other && i == job->last_worker) && (best == NULL || s->n < best->n))
            best = s;
    }
    return best;
}

static void place_suspects(struct cn_dispatch *d)
{
    struct cn_treap_node *node, *next;
    struct cn_slot *s;

    for (node = cn_treap_first(&d->suspects); node != NULL; node = next) {
        struct cn_job *job = CN_TREAP_OF(node, struct cn_job, order);

        next = cn_treap_next(node);
        if ((s = slot_for_suspect(d, job)) == NULL)
            continue;
        cn_treap_remove(&d->suspects, node);
        s->reserved_for = job;
    }
    for (int i = 0; i < d->o.workers; i++) {
        struct cn_job *job = d->slot[i].reserved_for;

        if (job == NULL || d->slot[i].n > 0 || !ready(&d->slot[i]))
            continue;
        d->slot[i].reserved_for = NULL;
        assign(&d->slot[i], job);
    }
}

void cn_dispatch_pump(struct cn_dispatch *d)
{
    struct cn_job *job;

    if (d->stopping)
        return;
    place_suspects(d);
    while (any_room(d) && (job = cn_queue_pop(&d->queue)) != NULL)
        assign(best_slot(d, job), job);
}

static void on_soon(uv_idle_t *h)
{
    struct cn_dispatch *d = h->data;

    uv_idle_stop(h);
    d->soon_on = false;
    cn_dispatch_pump(d);
}

void cn_dispatch_pump_soon(struct cn_dispatch *d)
{
    if (d->soon_on || d->stopping)
        return;
    uv_idle_start(&d->soon, on_soon);
    d->soon_on = true;
}
