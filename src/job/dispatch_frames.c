/* Dispatcher: what the workers say. Each frame is held against the jobs that the worker has; one
 * that makes no sense ends the worker, and its jobs are somebody else's. */
#include "base/base.h"
#include "job/dispatch_priv.h"
#include "base/clock.h"

#include <string.h>

/* ---- frames of a worker ---- */

static void on_image(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    const struct cn_dispatch_observer *o = &s->d->o.observer;
    struct cn_msg_image m;
    struct cn_assigned *a;

    if (cn_msg_get_image(f, &m, err) < 0 || (a = cn_dispatch_find(s, m.id)) == NULL)
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

    if (cn_msg_get_progress(f, &m, err) < 0 || (a = cn_dispatch_find(s, m.id)) == NULL)
        return;
    a->begun = true;
    a->heard_ns = cn_now_ns();
    if (a->job == NULL)
        return;
    a->job->progress = m;
    if (m.done > 0) /* that it was begun is told before the worker knows whether it has room */
        a->job->busy = a->job->delays = 0;
    if (o->on_progress != NULL)
        o->on_progress(o->arg, a->job);
}

/* The same one comes again with another attempt, and is there once. */
static void on_warning(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    struct cn_msg_warning m;
    const struct cn_assigned *a;

    if (cn_msg_get_warning(f, &m, err) == CN_OK && (a = cn_dispatch_find(s, m.id)) != NULL &&
        a->job != NULL)
        cn_warnings_add(&a->job->warnings, m.warning.code, m.warning.where, "%s", m.warning.text);
}

static void on_done(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    struct cn_dispatch *d = s->d;
    struct cn_msg_done m;
    struct cn_assigned *a;
    struct cn_job *job;
    double cost;

    if (cn_msg_get_done(f, &m, err) < 0 || (a = cn_dispatch_find(s, m.id)) == NULL)
        return;
    job = a->job;
    if (job == NULL) {
        cn_dispatch_unassign(s, a);
        return;
    }
    memcpy(job->stage_ms, m.ms, sizeof(job->stage_ms));
    cost = cn_dispatch_measure(s, a, job);
    cn_dispatch_unassign(s, a);
    cn_dispatch_note_success(s);
    cn_queue_done(&d->queue, job, cost);
    cn_dispatch_end(
        d, job, cn_job_complete(job, &job->err) == CN_OK ? CN_JOB_SUCCEEDED : CN_JOB_FAILED, true);
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

    if (cn_msg_get_failed(f, &m, err) < 0 || (a = cn_dispatch_find(s, m.id)) == NULL)
        return;
    job = a->job;
    cn_dispatch_unassign(s, a);
    if (job == NULL)
        return;
    job->err = m.err;
    if (m.err.code == CN_EDEVICE) {
        cn_dispatch_lost(s, job, m.err.msg);
    } else if (m.err.code == CN_EBUSY) {
        cn_dispatch_worker_busy(d, job);
    } else if (!requeue_alone(d, job, s->n)) {
        cn_queue_done(&d->queue, job, job->cost * cn_job_fraction(job));
        cn_dispatch_end(d, job, CN_JOB_FAILED, true);
    }
}

static void on_preview(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    const struct cn_dispatch_observer *o = &s->d->o.observer;
    struct cn_msg_preview m;
    struct cn_assigned *a;

    if (cn_msg_get_preview(f, &m, err) == CN_OK && (a = cn_dispatch_find(s, m.id)) != NULL &&
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
    else if (f->type == CN_FRAME_WARNING)
        on_warning(s, f, &err);
    else if (f->type == CN_FRAME_BEAT)
        on_beat(s, f, &err);
    else if (f->type == CN_FRAME_MODEL)
        cn_dispatch_on_model(s, f, &err);
    else if (f->type == CN_FRAME_CATALOG)
        cn_dispatch_on_catalog(s, f, &err);
    else if (f->type == CN_FRAME_MANAGED)
        cn_dispatch_on_managed(s, f, &err);
    else
        cn_fail(&err, CN_EFORMAT, "frame of type %d from a worker", (int)f->type);
    if (err.code != 0)
        cn_process_kill(s->process, CN_CAUSE_PROTOCOL, err.msg);
    s->d->pump_wanted = true;
}

void cn_dispatch_on_hello(void *slot, struct cn_msg_hello *hello)
{
    struct cn_slot *s = slot;

    s->capacity = CN_MIN(hello->capacity, CN_SLOT_JOBS);
    s->lanes = CN_MAX(hello->lanes, 1);
    memcpy(s->backend, hello->backend, sizeof(s->backend));
    cn_dispatch_introduce(s, hello);
}

void cn_dispatch_on_ready(void *slot)
{
    struct cn_slot *s = slot;

    s->d->known = true;
    s->d->pump_wanted = true;
    cn_dispatch_send_refresh(s);
}
