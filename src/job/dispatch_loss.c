/* Dispatcher: workers that are lost.
 *
 * DESIGN. Which job killed a worker is not known when it held several. Those that it had begun (or
 * all, when it had begun none) are suspects: the death counts for each of them, and each is tried
 * again with a worker to itself. A second death under a suspect is therefore its own doing, or that
 * of the device, and happens to nobody else's job.
 */
#include "base/base.h"
#include "job/dispatch_priv.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEATHS_WITHIN (600 * CN_SECOND_NS)
#define QUARANTINE    (300 * CN_SECOND_NS) /* of an unhealthy worker, while there are others */
#define QUARANTINE_OF_LAST                                                                         \
    (5 * CN_SECOND_NS) /* nobody else works: the next job may be a better one */
#define DYING_GRACE   (2 * CN_SECOND_NS)
#define TURNS_OF_HANG 20

/* A worker that was killed from outside (by a person, or by the kernel without memory) says little
 * about its job: so many of these are one death. */
#define KILLS_OF_DEATH 4

/* ---- health ---- */

/* Failures of the device within DEATHS_WITHIN, or deaths without a job that succeeded in between:
 * too many of either, and the worker is not trusted for a while. */
static void note_death(struct cn_slot *s, enum cn_process_cause cause, int64_t now)
{
    int n = 0;

    s->deaths++;
    if (cause == CN_CAUSE_DEVICE || cause == CN_CAUSE_HANG)
        s->failed_ns[s->failures++ % CN_SLOT_DEATHS] = now;
    for (int i = 0; i < CN_SLOT_DEATHS; i++)
        n += s->failed_ns[i] != 0 && now - s->failed_ns[i] < DEATHS_WITHIN;
    s->unhealthy = s->deaths >= CN_SLOT_DEATHS || n >= CN_SLOT_DEATHS;
}

static void quarantine(struct cn_slot *s)
{
    bool others = false;
    int64_t ns;

    for (int i = 0; i < s->d->o.workers; i++)
        others = others ||
                 (i != s->index && cn_process_state(s->d->slot[i].process) == CN_PROCESS_READY);
    ns = others ? QUARANTINE : QUARANTINE_OF_LAST;
    cn_process_delay_restart(s->process, ns);
    cn_log(CN_LOG_ERROR, "worker.unhealthy", cn_process_trouble(s->process),
           "worker=%d device=%s quarantine_s=%d", s->index, s->device, (int)(ns / CN_SECOND_NS));
}

void cn_dispatch_note_success(struct cn_slot *s)
{
    s->deaths = 0;
    s->unhealthy = false;
    cn_process_reset_backoff(s->process);
}

/* ---- jobs ---- */

static bool poisonous(const struct cn_dispatch *d, const struct cn_job *job)
{
    return KILLS_OF_DEATH * job->deaths + job->kills >= KILLS_OF_DEATH * d->o.max_attempts;
}

static void fail_poison(struct cn_slot *s, struct cn_job *job, const char *why)
{
    struct cn_dispatch *d = s->d;
    int n = job->deaths + job->kills;

    job->poison = true;
    job->err.code = 0;
    cn_fail(&job->err, CN_EDEVICE, "%d worker%s died while drawing this: %s", n, n == 1 ? "" : "s",
            why);
    cn_dispatch_finish(d, job, CN_JOB_FAILED, true);
}

/* A worker died, or its device failed, with this job in it. */
static void suspect(struct cn_slot *s, struct cn_job *job, bool killed, const char *why)
{
    if (killed)
        job->kills++;
    else
        job->deaths++;
    if (poisonous(s->d, job)) {
        fail_poison(s, job, why);
        return;
    }
    job->alone = true;
    job->last_worker = s->index;
    cn_dispatch_requeue(s->d, job, why, "worker_lost");
}

void cn_dispatch_lost(struct cn_slot *s, struct cn_job *job, const char *why)
{
    if (s->dying_ns == 0)
        s->dying_ns = cn_now_ns();
    suspect(s, job, false, why);
}

/* All jobs of the worker, out of its hands. */
static int take_all(struct cn_slot *s, struct cn_assigned *ret)
{
    int n = 0;

    cn_dispatch_clock(s);
    for (int i = 0; i < s->n; i++)
        if (s->job[i].job != NULL)
            ret[n++] = s->job[i];
    s->n = s->images = 0;
    s->exclusive = false;
    return n;
}

static void reset(struct cn_slot *s)
{
    struct cn_job *next = s->reserved_for;

    s->gauges.n = 0;
    s->turns = 0;
    s->busy_lanes = 0;
    s->dying_ns = 0;
    s->reserved_for = NULL;
    if (next != NULL)
        cn_treap_add(&s->d->suspects, &next->order, (double)next->seq, next->seq, next->cost);
}

/* A callback may cancel a job of the list: it has a reference of ours, and is final then. */
static void give_back(struct cn_slot *s, struct cn_assigned *job, int n, bool killed,
                      const char *why)
{
    bool any_begun = false;

    for (int i = 0; i < n; i++) {
        any_begun = any_begun || job[i].begun;
        cn_job_ref(job[i].job);
    }
    for (int i = 0; i < n; i++) {
        struct cn_job *j = job[i].job;

        if (!cn_job_final(j) && (job[i].begun || !any_begun))
            suspect(s, j, killed, why);
        else if (!cn_job_final(j))
            cn_dispatch_requeue(s->d, j, why, "worker_lost");
        cn_job_unref(j);
    }
}

void cn_dispatch_on_down(void *slot, enum cn_process_cause cause, const char *text)
{
    struct cn_slot *s = slot;
    struct cn_dispatch *d = s->d;
    struct cn_assigned job[CN_SLOT_JOBS];
    bool killed = cn_process_killed(s->process);
    char worker[16];
    int n = take_all(s, job);

    snprintf(worker, sizeof(worker), "%d", s->index);
    s->restarts++;
    if (!d->stopping)
        cn_metric_inc(d->m.restarts, 1, worker, cn_enum_cause.name[cause]);
    if (!d->stopping && !killed && cn_process_was_ready(s->process))
        note_death(s, cause, cn_now_ns());
    reset(s);
    cn_dispatch_models_lost(s, text);
    give_back(s, job, n, killed, text);
    if (!d->stopping && s->unhealthy)
        quarantine(s);
    d->pump_wanted = true;
}

/* ---- hangs ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* What a turn of the device usually takes here; 0: not known. */
static double median_turn_s(const struct cn_slot *s)
{
    size_t n = CN_MIN(s->turns, CN_SLOT_TURNS);
    double sorted[CN_SLOT_TURNS];

    memcpy(sorted, s->turn_s, sizeof(sorted));
    qsort(sorted, n, sizeof(sorted[0]), by_size);
    return n == 0 ? 0 : sorted[n / 2];
}

void cn_dispatch_watch(struct cn_slot *s, int64_t now)
{
    int64_t limit = s->d->o.hang_timeout_s * CN_SECOND_NS;

    limit = CN_MAX(limit, (int64_t)(TURNS_OF_HANG * median_turn_s(s) * (double)CN_SECOND_NS));
    if (s->dying_ns != 0 && now - s->dying_ns > DYING_GRACE)
        cn_process_kill(s->process, CN_CAUSE_DEVICE, "the device failed and the worker stayed");
    for (int i = 0; i < s->n; i++)
        if (now - s->job[i].heard_ns > limit)
            cn_process_kill(s->process, CN_CAUSE_HANG, "a job made no progress for too long");
}
