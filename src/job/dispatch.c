/* Dispatcher. */
#include "base/base.h"
#include "job/dispatch_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TICK_MS = 250 };

#define SECOND INT64_C(1000000000)

/* A JOB frame: at most eight control images, an init image and a mask, and the words. */
#define JOB_FRAME_MAX (CN_FRAME_MAX + CN_FRAME_HEAD)

static void pump(struct cn_dispatch *d);

/* ---- the end of a job ---- */

static void log_end(const struct cn_job *job)
{
    double waited = (double)((job->started_ns ? job->started_ns : job->ended_ns) - job->queued_ns);
    double ran = job->started_ns ? (double)(job->ended_ns - job->started_ns) : 0;

    cn_log(job->state == CN_JOB_FAILED ? CN_LOG_WARNING : CN_LOG_INFO, "job.end", job->err.msg,
           "job_id=%s outcome=%s model=%s attempt=%d images=%d steps=%d queue_ms=%.1f run_ms=%.1f",
           job->name, cn_enum_job_state.name[job->state], job->spec.model, job->attempt,
           job->spec.n, job->spec.steps, waited * 1e-6, ran * 1e-6);
}

/* Makes the job final, tells who waits, and gives the dispatcher's reference back. */
static void finish(struct cn_dispatch *d, struct cn_job *job, enum cn_job_state to, bool tell)
{
    cn_job_end_fn on_end = job->on_end;

    cn_job_move(job, to);
    cn_dispatch_count_end(d, job);
    log_end(job);
    job->on_end = NULL;
    if (tell && on_end != NULL)
        on_end(job, job->arg);
    cn_job_unref(job);
}

static struct cn_assigned *find_assigned(struct cn_slot *s, uint64_t id)
{
    for (int i = 0; i < s->n; i++)
        if (s->job[i].id == id)
            return &s->job[i];
    return NULL;
}

static void unassign(struct cn_slot *s, struct cn_assigned *a)
{
    *a = s->job[--s->n];
}

/* The attempt is lost through no fault of the job's own, as far as is known. */
static void give_back(struct cn_dispatch *d, struct cn_job *job, const char *why)
{
    if (job->attempt >= d->o.max_attempts) {
        job->err.code = 0;
        cn_fail(&job->err, CN_EDEVICE, "the worker was lost %d time%s while it drew this: %s",
                job->attempt, job->attempt == 1 ? "" : "s", why);
        finish(d, job, CN_JOB_FAILED, true);
        return;
    }
    cn_log(CN_LOG_WARNING, "job.retry", why, "job_id=%s attempt=%d", job->name, job->attempt);
    cn_metric_inc(d->m.retried, 1, "worker_lost");
    cn_job_move(job, CN_JOB_QUEUED);
    cn_job_forget_attempt(job);
    job->attempt++;
    cn_queue_push_back(&d->queue, job);
}

/* ---- frames of a worker ---- */

static void on_image(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    struct cn_msg_image m;
    struct cn_assigned *a;

    if (cn_msg_get_image(f, &m, err) < 0 || (a = find_assigned(s, m.id)) == NULL)
        return;
    a->heard_ns = cn_now_ns();
    if (a->job != NULL)
        cn_job_put_image(a->job, &m, err);
}

static void on_progress(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    struct cn_msg_progress m;
    struct cn_assigned *a;

    if (cn_msg_get_progress(f, &m, err) < 0 || (a = find_assigned(s, m.id)) == NULL)
        return;
    a->heard_ns = cn_now_ns();
    if (a->job != NULL)
        a->job->progress = m;
}

static void on_done(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    struct cn_msg_done m;
    struct cn_assigned *a;
    struct cn_job *job;

    if (cn_msg_get_done(f, &m, err) < 0 || (a = find_assigned(s, m.id)) == NULL)
        return;
    job = a->job;
    unassign(s, a);
    if (job == NULL)
        return;
    memcpy(job->stage_ms, m.ms, sizeof(job->stage_ms));
    finish(s->d, job, cn_job_complete(job, &job->err) == CN_OK ? CN_JOB_SUCCEEDED : CN_JOB_FAILED,
           true);
}

static void on_failed(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
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
    if (m.err.code == CN_EDEVICE || m.err.code == CN_EBUSY)
        give_back(s->d, job, m.err.msg);
    else
        finish(s->d, job, CN_JOB_FAILED, true);
}

/* A turn of the device: whoever waits for a place in the batch is not hung. */
static void on_beat(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    struct cn_msg_beat m;

    if (cn_msg_get_beat(f, &m, err) < 0)
        return;
    for (int i = 0; i < s->n; i++)
        s->job[i].heard_ns = cn_now_ns();
}

static void on_frame(void *arg, const struct cn_frame *f)
{
    struct cn_slot *s = arg;
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
    else if (f->type == CN_FRAME_BEAT)
        on_beat(s, f, &err);
    else if (f->type != CN_FRAME_PREVIEW && f->type != CN_FRAME_MODEL &&
             f->type != CN_FRAME_MANAGED)
        cn_fail(&err, CN_EFORMAT, "frame of type %d from a worker", (int)f->type);
    if (err.code != 0)
        cn_process_kill(s->process, CN_CAUSE_PROTOCOL, err.msg);
    pump(s->d);
}

static void on_hello(void *arg, struct cn_msg_hello *hello)
{
    struct cn_slot *s = arg;

    s->capacity = CN_MIN(hello->capacity, CN_SLOT_JOBS);
    memcpy(s->backend, hello->backend, sizeof(s->backend));
    cn_catalog_set(&s->d->catalog, hello);
}

static void on_ready(void *arg)
{
    struct cn_slot *s = arg;

    s->d->known = true;
    pump(s->d);
}

static void on_down(void *arg, enum cn_process_cause cause, const char *text)
{
    struct cn_slot *s = arg;
    struct cn_dispatch *d = s->d;
    char worker[16];

    snprintf(worker, sizeof(worker), "%d", s->index);
    if (!d->stopping)
        cn_metric_inc(d->m.restarts, 1, worker, cn_enum_cause.name[cause]);
    s->gauges.n = 0;
    while (s->n > 0) {
        struct cn_job *job = s->job[s->n - 1].job;

        s->n--;
        if (job != NULL)
            give_back(d, job, text);
    }
    pump(d);
}

/* ---- handing out ---- */

static void send_cancel(struct cn_slot *s, uint64_t id)
{
    struct cn_buf b;

    cn_buf_init(&b, 64);
    if (cn_msg_put_number(&b, CN_FRAME_CANCEL, id, NULL) == CN_OK)
        cn_process_send(s->process, &b);
    cn_buf_release(&b);
}

static void assign(struct cn_slot *s, struct cn_job *job)
{
    struct cn_dispatch *d = s->d;
    struct cn_buf b;

    cn_job_move(job, CN_JOB_RUNNING);
    cn_buf_init(&b, JOB_FRAME_MAX);
    if (cn_msg_put_job(&b, job->id, &job->spec, &job->err) < 0) {
        finish(d, job, CN_JOB_FAILED, true);
    } else {
        cn_metric_observe(d->m.queue_time, (double)(job->started_ns - job->queued_ns) * 1e-9);
        s->job[s->n++] = (struct cn_assigned){job->id, job, job->started_ns};
        cn_process_send(s->process, &b);
    }
    cn_buf_release(&b);
}

static struct cn_slot *slot_with_room(struct cn_dispatch *d)
{
    struct cn_slot *best = NULL;

    for (int i = 0; i < d->o.workers; i++) {
        struct cn_slot *s = &d->slot[i];

        if (cn_process_state(s->process) == CN_PROCESS_READY && s->n < s->capacity &&
            (best == NULL || s->n < best->n))
            best = s;
    }
    return best;
}

static void pump(struct cn_dispatch *d)
{
    struct cn_slot *s;

    while (!d->stopping && d->queue.n > 0 && (s = slot_with_room(d)) != NULL)
        assign(s, cn_queue_pop(&d->queue));
}

static void on_soon(uv_idle_t *h)
{
    struct cn_dispatch *d = h->data;

    uv_idle_stop(h);
    d->soon_on = false;
    pump(d);
}

/* ---- time ---- */

static void expire(struct cn_dispatch *d, struct cn_job *job)
{
    job->err.code = 0;
    cn_fail(&job->err, CN_ECANCELED, "the job was not finished within its timeout (%s)",
            cn_enum_job_state.name[job->state]);
    finish(d, job, CN_JOB_EXPIRED, true);
}

static void expire_waiting(struct cn_dispatch *d, int64_t now)
{
    struct cn_job *next;

    for (struct cn_job *job = d->queue.head; job != NULL; job = next) {
        next = job->next;
        if (now < job->deadline_ns)
            continue;
        cn_queue_remove(&d->queue, job);
        expire(d, job);
        next = d->queue.head; /* who was told may have changed the queue */
    }
}

static void watch_slot(struct cn_slot *s, int64_t now)
{
    for (int i = 0; i < s->n; i++) {
        struct cn_job *job = s->job[i].job;

        if (job != NULL && now >= job->deadline_ns) {
            s->job[i].job = NULL;
            send_cancel(s, s->job[i].id);
            expire(s->d, job);
        }
        if (now - s->job[i].heard_ns > s->d->o.hang_timeout_s * SECOND)
            cn_process_kill(s->process, CN_CAUSE_HANG, "a job made no progress for too long");
    }
}

static void on_tick(uv_timer_t *t)
{
    struct cn_dispatch *d = t->data;
    int64_t now = cn_now_ns();

    expire_waiting(d, now);
    for (int i = 0; i < d->o.workers; i++) {
        watch_slot(&d->slot[i], now);
        cn_process_tick(d->slot[i].process);
    }
    pump(d);
}

/* ---- interface ---- */

struct cn_dispatch *cn_dispatch_new(const struct cn_dispatch_options *o)
{
    struct cn_dispatch *d = cn_xcalloc(1, sizeof(*d));
    struct cn_process_options po = {.loop = o->loop,
                                    .program = o->program,
                                    .args = o->args,
                                    .start_timeout_s = o->start_timeout_s,
                                    .on_hello = on_hello,
                                    .on_ready = on_ready,
                                    .on_frame = on_frame,
                                    .on_down = on_down};

    d->o = *o;
    cn_queue_init(&d->queue, o->queue_capacity);
    cn_dispatch_metrics_init(d);
    d->slot = cn_xcalloc((size_t)o->workers, sizeof(*d->slot));
    for (int i = 0; i < o->workers; i++) {
        struct cn_slot *s = &d->slot[i];

        s->d = d;
        s->index = po.index = i;
        po.arg = s;
        s->process = cn_process_new(&po);
    }
    uv_timer_init(o->loop, &d->tick);
    uv_idle_init(o->loop, &d->soon);
    d->tick.data = d->soon.data = d;
    d->handles = 2;
    return d;
}

void cn_dispatch_start(struct cn_dispatch *d)
{
    for (int i = 0; i < d->o.workers; i++)
        cn_process_start(d->slot[i].process);
    uv_timer_start(&d->tick, on_tick, TICK_MS, TICK_MS);
}

void cn_dispatch_configure(struct cn_dispatch *d, const struct cn_dispatch_options *o)
{
    d->o.queue_capacity = d->queue.capacity = o->queue_capacity;
    d->o.max_attempts = o->max_attempts;
    d->o.timeout_s = o->timeout_s;
    d->o.hang_timeout_s = o->hang_timeout_s;
}

enum cn_refusal cn_dispatch_refuses(const struct cn_dispatch *d)
{
    if (d->draining)
        return CN_REFUSED_DRAINING;
    if (!d->known)
        return CN_REFUSED_NO_WORKER;
    if (d->queue.n >= d->queue.capacity)
        return CN_REFUSED_FULL;
    return CN_REFUSED_NOT;
}

int cn_dispatch_submit(struct cn_dispatch *d, struct cn_job *job, struct cn_err *err)
{
    int seconds = job->spec.timeout_s ? job->spec.timeout_s : d->o.timeout_s;
    int rc;

    switch (cn_dispatch_refuses(d)) {
    case CN_REFUSED_DRAINING:
        return cn_fail(err, CN_EBUSY, "the server is shutting down");
    case CN_REFUSED_NO_WORKER:
        return cn_fail(err, CN_EBUSY, "no worker is ready yet");
    default:
        break;
    }
    if ((rc = cn_queue_push(&d->queue, job, err)) < 0)
        return rc;
    cn_job_ref(job);
    job->deadline_ns = job->queued_ns + seconds * SECOND;
    cn_metric_inc(d->m.submitted, 1, job->spec.model);
    if (!d->soon_on) {
        uv_idle_start(&d->soon, on_soon);
        d->soon_on = true;
    }
    return CN_OK;
}

void cn_dispatch_cancel(struct cn_dispatch *d, struct cn_job *job)
{
    if (cn_job_final(job))
        return;
    if (job->state == CN_JOB_QUEUED)
        cn_queue_remove(&d->queue, job);
    for (int i = 0; i < d->o.workers && job->state == CN_JOB_RUNNING; i++) {
        struct cn_assigned *a = find_assigned(&d->slot[i], job->id);

        if (a == NULL)
            continue;
        a->job = NULL;
        send_cancel(&d->slot[i], job->id);
        break;
    }
    job->err.code = 0;
    cn_fail(&job->err, CN_ECANCELED, "nobody waits for it any more");
    finish(d, job, CN_JOB_CANCELLED, false);
}

const struct cn_catalog *cn_dispatch_catalog(const struct cn_dispatch *d)
{
    return &d->catalog;
}

int cn_dispatch_ready_workers(const struct cn_dispatch *d)
{
    int n = 0;

    for (int i = 0; i < d->o.workers; i++)
        n += cn_process_state(d->slot[i].process) == CN_PROCESS_READY;
    return n;
}

bool cn_dispatch_known(const struct cn_dispatch *d)
{
    return d->known;
}

const char *cn_dispatch_trouble(const struct cn_dispatch *d)
{
    for (int i = 0; i < d->o.workers; i++) {
        const char *text = cn_process_trouble(d->slot[i].process);

        if (text[0] != '\0')
            return text;
    }
    return "";
}

const char *cn_dispatch_backend(const struct cn_dispatch *d)
{
    return d->slot[0].backend;
}

int cn_dispatch_waiting(const struct cn_dispatch *d)
{
    return d->queue.n;
}

int cn_dispatch_running(const struct cn_dispatch *d)
{
    int n = 0;

    for (int i = 0; i < d->o.workers; i++)
        n += d->slot[i].n;
    return n;
}

int cn_dispatch_retry_after_s(const struct cn_dispatch *d)
{
    double workers = CN_MAX(cn_dispatch_ready_workers(d), 1);
    double s = (d->queue.n + 1) * (d->service_s > 0 ? d->service_s : 1) / workers;

    s *= 0.8 +
         0.4 * ((double)(cn_random_seed() % 1024) / 1024); /* so that not all come back at once */
    return (int)CN_MIN(CN_MAX(ceil(s), 1), 600);
}

void cn_dispatch_drain(struct cn_dispatch *d, bool admit)
{
    d->draining = !admit;
}

bool cn_dispatch_idle(const struct cn_dispatch *d)
{
    if (d->queue.n > 0)
        return false;
    for (int i = 0; i < d->o.workers; i++)
        for (int k = 0; k < d->slot[i].n; k++)
            if (d->slot[i].job[k].job != NULL)
                return false;
    return true;
}

void cn_dispatch_fail_all(struct cn_dispatch *d, int code, const char *why)
{
    struct cn_job *job;

    while ((job = cn_queue_pop(&d->queue)) != NULL) {
        cn_fail(&job->err, code, "%s", why);
        finish(d, job, CN_JOB_FAILED, true);
    }
    for (int i = 0; i < d->o.workers; i++)
        for (int k = 0; k < d->slot[i].n; k++) {
            job = d->slot[i].job[k].job;
            if (job == NULL)
                continue;
            d->slot[i].job[k].job = NULL;
            send_cancel(&d->slot[i], job->id);
            cn_fail(&job->err, code, "%s", why);
            finish(d, job, CN_JOB_FAILED, true);
        }
}

static void on_closed(uv_handle_t *h)
{
    ((struct cn_dispatch *)h->data)->handles--;
}

void cn_dispatch_stop(struct cn_dispatch *d)
{
    d->draining = true;
    d->stopping = true;
    for (int i = 0; i < d->o.workers; i++)
        cn_process_stop(d->slot[i].process);
}

bool cn_dispatch_gone(struct cn_dispatch *d)
{
    for (int i = 0; i < d->o.workers; i++)
        if (!cn_process_gone(d->slot[i].process))
            return false;
    if (!uv_is_closing((uv_handle_t *)&d->tick)) {
        uv_close((uv_handle_t *)&d->tick, on_closed);
        uv_close((uv_handle_t *)&d->soon, on_closed);
    }
    return d->handles == 0;
}

void cn_dispatch_free(struct cn_dispatch *d)
{
    struct cn_job *job;

    while ((job = cn_queue_pop(&d->queue)) != NULL)
        cn_job_unref(job);
    for (int i = 0; i < d->o.workers; i++)
        cn_process_free(d->slot[i].process);
    cn_catalog_release(&d->catalog);
    free(d->slot);
    free(d);
}
