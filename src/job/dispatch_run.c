/* Dispatcher: handing out. Fairness chooses the job (job/queue.h), and then a worker is chosen for
 * it; suspects get a worker to themselves. */
#include "base/base.h"
#include "job/dispatch_priv.h"
#include "base/clock.h"

#include <string.h>

/* A JOB frame: at most eight control images, an init image and a mask, and the words. */
#define JOB_FRAME_MAX (CN_FRAME_MAX + CN_FRAME_HEAD)

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

/* Jobs that the workers take now. */
static int count_room(const struct cn_dispatch *d)
{
    int n = 0;

    for (int i = 0; i < d->o.workers; i++)
        if (has_room(&d->slot[i]))
            n += CN_MIN(d->slot[i].capacity, d->slot[i].lanes) - d->slot[i].n;
    return n;
}

/* It is the turn of a job whose images have to be read first. Others may have its place meanwhile;
 * no more are read than there are places. False: it stays where it was, and nobody overtakes it. */
static bool read_inputs_first(struct cn_dispatch *d, struct cn_job *job)
{
    if (d->fetching >= count_room(d)) {
        cn_queue_put_back(&d->queue, job);
        return false;
    }
    cn_queue_put_aside(&d->queue, job);
    cn_dispatch_is_due(d, job);
    return true;
}

/* For a job that fairness has chosen. NULL: those that have its models have no room. */
static struct cn_slot *best_slot(struct cn_dispatch *d, const struct cn_job *job)
{
    struct cn_slot *best = NULL;
    int best_affinity = 0;

    for (int i = 0; i < d->o.workers; i++) {
        struct cn_slot *s = &d->slot[i];
        int a = cn_dispatch_affinity(s, job);

        if (!has_room(s) || !cn_dispatch_has_models(s, job) ||
            (best != NULL &&
             (a < best_affinity || (a == best_affinity && s->images >= best->images))))
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
        other = other || (ready(&d->slot[i]) && i != job->last_worker &&
                          cn_dispatch_has_models(&d->slot[i], job));
    for (int i = 0; i < d->o.workers; i++) {
        struct cn_slot *s = &d->slot[i];

        if (ready(s) && !s->exclusive && s->reserved_for == NULL &&
            cn_dispatch_has_models(s, job) && !(other && i == job->last_worker) &&
            (best == NULL || s->n < best->n))
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
        if (cn_treap_has(&job->delay) || (s = slot_for_suspect(d, job)) == NULL)
            continue;
        cn_treap_remove(&d->suspects, node);
        s->reserved_for = job;
    }
    for (int i = 0; i < d->o.workers; i++) {
        struct cn_job *job = d->slot[i].reserved_for;

        if (job == NULL || d->slot[i].n > 0 || !ready(&d->slot[i]) || !cn_dispatch_is_due(d, job))
            continue;
        d->slot[i].reserved_for = NULL;
        assign(&d->slot[i], job);
    }
}

static bool fits(struct cn_dispatch *d, struct cn_job *job)
{
    return best_slot(d, job) != NULL;
}

/* A worker has room that had none, or other models: it may be what some have waited for. */
static void end_roomless(struct cn_dispatch *d)
{
    bool more = d->models_changed;

    for (int i = 0; i < d->o.workers; i++)
        more = more || (has_room(&d->slot[i]) && !d->slot[i].had_room);
    d->models_changed = false;
    if (more)
        cn_dispatch_end_roomless(d, fits);
}

static void note_room(struct cn_dispatch *d)
{
    for (int i = 0; i < d->o.workers; i++)
        d->slot[i].had_room = has_room(&d->slot[i]);
}

void cn_dispatch_pump(struct cn_dispatch *d)
{
    enum { ASIDE_MAX = 1000 }; /* in one go: workers of different models, and a long queue */
    struct cn_job *job;
    int aside = 0;

    if (d->stopping)
        return;
    place_suspects(d);
    end_roomless(d);
    while (count_room(d) > 0 && aside < ASIDE_MAX && (job = cn_queue_pop(&d->queue)) != NULL) {
        struct cn_slot *s = best_slot(d, job);

        if (s == NULL && cn_dispatch_fail_orphan(d, job))
            continue;
        if (s == NULL) {
            cn_dispatch_wait_for_room(d, job);
            aside++;
        } else if (!job->inputs_evicted) {
            assign(s, job);
        } else if (!read_inputs_first(d, job)) {
            break;
        }
    }
    note_room(d);
}
