/* Shared by the files of the dispatcher. Loop thread only; there are no locks in job/.
 *
 * From the top down; a file calls only those below it:
 *
 *     dispatch.c           interface: submitting, cancelling, time, the end
 *     dispatch_run.c       handing out
 *     dispatch_frames.c    what the workers say
 *     dispatch_catalog.c   what models there are, and jobs whose models went
 *     dispatch_loss.c      workers that are lost: suspects, poison, hangs, health
 *     dispatch_wait.c      jobs that wait for their images, or for a while
 *     dispatch_end.c       where jobs in service are, and how they leave
 *     dispatch_models.c    which worker holds which model; loading and unloading
 *     dispatch_metrics.c   metrics, and what is learnt about speed
 *     dispatch_view.c      facts about workers
 *
 * Where a job is that is not final: waiting in the queue (job->age stands in a treap); or, in
 * service for the queue: among d->suspects, in one slot's `reserved_for`, or in one slot's `job`.
 */
#ifndef CN_JOB_DISPATCH_PRIV_H
#define CN_JOB_DISPATCH_PRIV_H

#include "job/dispatch.h"
#include "job/process.h"
#include "job/queue.h"

#include <sys/queue.h>

enum {
    CN_SLOT_JOBS = 64,
    CN_SLOT_TURNS = 15,
    CN_SLOT_DEATHS = 3 /* within 10 minutes make a worker unhealthy */
};

/* A job that is with a worker. job is NULL when it is final here but not yet over there. */
struct cn_assigned {
    uint64_t id;
    struct cn_job *job;
    int images;
    bool begun;       /* the worker has told of progress */
    int64_t heard_ns; /* last sign of progress */
    double device_s;  /* the slot's device_s when it came */
};

struct cn_slot {
    struct cn_dispatch *d;
    struct cn_process *process;
    const char *device;
    int index, capacity, lanes;
    int n, images; /* jobs and images in it, those that are final here included */
    struct cn_assigned job[CN_SLOT_JOBS];
    struct cn_job *reserved_for; /* a suspect that waits until the worker is empty */
    bool exclusive;              /* a suspect is in it, and nothing else may come */
    bool had_room;               /* for a job, when jobs were handed out last */
    char backend[32];
    struct cn_catalog catalog;         /* what it has, as it told last; it may be down */
    bool has_catalog;                  /* it told */
    bool refresh;                      /* when it is ready, it is to look for models again */
    struct cn_msg_gauges gauges;       /* the last that the worker sent */
    double device_s;                   /* time that each job in it had of the device */
    int64_t clock_ns;                  /* up to when device_s counts */
    int restarts;                      /* ends of processes */
    int deaths;                        /* since a job succeeded here; not those from outside */
    int64_t failed_ns[CN_SLOT_DEATHS]; /* when its device failed last, in a ring; 0: never */
    unsigned failures;                 /* of its device */
    bool unhealthy;
    int64_t dying_ns;             /* since when its device is known to have failed; 0: it has not */
    double turn_s[CN_SLOT_TURNS]; /* what its last turns took, in a ring */
    unsigned turns;               /* so far */
    int busy_lanes;               /* images in progress, as it said last */
    struct cn_msg_model *model;   /* what it said of its models: `models` of them */
    size_t models, models_cap;
    int loading;        /* of its models: being read just now */
    bool tells_loading; /* it says when it begins to read one */
};

struct cn_dispatch_metrics {
    struct cn_metric *submitted, *finished, *failed, *retried, *refused;
    struct cn_metric *queue_jobs, *queue_capacity, *queue_users, *oldest;
    struct cn_metric *queue_time, *run_time, *stage_time, *steps, *images;
    struct cn_metric *up, *busy, *restarts, *heartbeat, *healthy;
    struct cn_metric *lanes, *lanes_busy, *batch, *step_time;
    struct cn_metric *gpu_used, *gpu_total, *resident, *report;
};

/* Moving average of seconds for a unit of cost: the quotient of two fading sums. */
struct cn_pace {
    double s, cost;
};

struct cn_dispatch {
    struct cn_dispatch_options o;
    struct cn_tenants *tenants;
    struct cn_queue queue;
    struct cn_treap suspects;  /* jobs that wait for a worker to themselves, by seq */
    struct cn_treap deadlines; /* of all jobs that are not final */
    struct cn_treap delayed;   /* jobs that wait for a while, by its end */
    TAILQ_HEAD(, cn_job) roomless; /* of these, jobs whose models only full workers have, in the
                                      order in which it was their turn */
    int fetching;              /* jobs whose images are being read */
    struct cn_catalog catalog; /* of all workers together */
    struct cn_slot *slot;
    struct cn_dispatch_metrics m;
    uv_timer_t tick, alarm;   /* alarm: the next deadline */
    uv_prepare_t before_poll; /* hands out when pump_wanted: never inside cn_dispatch_submit */
    int handles;              /* open ones of this struct */
    bool known;
    bool pump_wanted;    /* something may be handed out: at the end of this iteration of the loop */
    bool models_changed; /* of a worker, since then */
    bool draining;       /* nothing more is accepted */
    bool ending;         /* durable jobs are not begun any more */
    bool stopping;       /* nothing is */
    struct cn_pace farm; /* all devices together */
    struct cn_pace latency;            /* from a job's start to its end */
    struct cn_pace device;             /* one device, for itself */
    LIST_HEAD(, cn_managing) managing; /* questions to workers about models */
    int n_managing;
    uint64_t last_number;
    double busy_s;   /* that anything ran, since the last end of a job */
    int64_t busy_ns; /* up to when busy_s counts */
};

/* ---- dispatch_run.c ---- */

/* Hands out what can be handed out. Others set pump_wanted. */
void cn_dispatch_pump(struct cn_dispatch *d);

/* ---- dispatch_frames.c ---- */

void cn_dispatch_on_hello(void *slot, struct cn_msg_hello *hello);
void cn_dispatch_on_ready(void *slot);
void cn_dispatch_on_frame(void *slot, const struct cn_frame *f);

/* ---- dispatch_catalog.c ---- */

/* The worker began, or has looked again: what is there now is known, and jobs that wait for what is
 * not there any more fail. */
void cn_dispatch_introduce(struct cn_slot *s, struct cn_msg_hello *hello);
void cn_dispatch_on_catalog(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err);

/* Nobody has the job's models, nor will: then it is over, and this is true. */
bool cn_dispatch_fail_orphan(struct cn_dispatch *d, struct cn_job *job);

/* ---- dispatch_end.c ---- */

/* A job that is with the worker; NULL: it has none of this number. */
struct cn_assigned *cn_dispatch_find(struct cn_slot *s, uint64_t id);

/* It waits no longer, neither for a while nor for a worker with its models. */
void cn_dispatch_leave_delays(struct cn_dispatch *d, struct cn_job *job);

/* The worker has done with it: its place is free. */
void cn_dispatch_unassign(struct cn_slot *s, struct cn_assigned *a);

/* Takes a job from wherever it is, makes it final, tells who waits, and gives the dispatcher's
 * reference back. cn_dispatch_end: of a job that is in no place any more. */
void cn_dispatch_finish(struct cn_dispatch *d, struct cn_job *job, enum cn_job_state to, bool tell);
void cn_dispatch_end(struct cn_dispatch *d, struct cn_job *job, enum cn_job_state to, bool tell);

/* Forgets a durable job: it stays what it is, and is the store's. */
void cn_dispatch_detach(struct cn_dispatch *d, struct cn_job *job);

/* running -> queued, another attempt; tells the observer. */
void cn_dispatch_requeue(struct cn_dispatch *d, struct cn_job *job, const char *why,
                         const char *reason);

void cn_dispatch_notify(struct cn_dispatch *d, struct cn_job *job); /* calls on_state */

/* ---- dispatch_wait.c ---- */

/* May it be handed out? Begins to read its images when these are what it lacks. */
bool cn_dispatch_is_due(struct cn_dispatch *d, struct cn_job *job);

/* The worker had no room for a job that it was sent (it is in no slot any more): it waits for a
 * while, each time longer, and at last fails. That is no attempt. */
void cn_dispatch_worker_busy(struct cn_dispatch *d, struct cn_job *job);

/* No worker that has room has its models (it is in no place any more): it waits until one has, and
 * is looked at again after a moment in any case. */
void cn_dispatch_wait_for_room(struct cn_dispatch *d, struct cn_job *job);

/* Ends the waits of those for whom there is a worker now. */
typedef bool (*cn_dispatch_fits_fn)(struct cn_dispatch *d, struct cn_job *job);
void cn_dispatch_end_roomless(struct cn_dispatch *d, cn_dispatch_fits_fn fits);

/* Every tick. */
void cn_dispatch_end_delays(struct cn_dispatch *d, int64_t now);

/* ---- dispatch_loss.c ---- */

void cn_dispatch_on_down(void *slot, enum cn_process_cause cause, const char *text);

/* The job's attempt failed with a device that is lost (CN_EDEVICE): it is in no slot any more. */
void cn_dispatch_lost(struct cn_slot *s, struct cn_job *job, const char *why);

/* Every tick: hangs. */
void cn_dispatch_watch(struct cn_slot *s, int64_t now);

/* A job succeeded in s. */
void cn_dispatch_note_success(struct cn_slot *s);

/* ---- dispatch_models.c ---- */

void cn_dispatch_on_model(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err);
void cn_dispatch_on_managed(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err);
void cn_dispatch_models_lost(struct cn_slot *s, const char *why);
void cn_dispatch_models_release(struct cn_dispatch *d);

/* Has it all models of the job? Yes, while it has not told. */
bool cn_dispatch_has_models(const struct cn_slot *s, const struct cn_job *job);

/* What is known of models that its catalogue does not have is forgotten. */
void cn_dispatch_prune_models(struct cn_slot *s);

/* The worker is ready: a refresh that was asked for meanwhile. */
void cn_dispatch_send_refresh(struct cn_slot *s);

/* 2: has the job's model; 1: loads it; 0: does not know it; -1: cannot read it. */
int cn_dispatch_affinity(const struct cn_slot *s, const struct cn_job *job);

/* ---- dispatch_metrics.c ---- */

void cn_dispatch_metrics_init(struct cn_dispatch *d);
const char *cn_refusal_name(enum cn_refusal why);
const char *cn_priority_name(int priority); /* "low", "normal", "high" */
void cn_dispatch_count_end(struct cn_dispatch *d, const struct cn_job *job);

void cn_dispatch_count_beat(struct cn_slot *s, const struct cn_msg_beat *m);

/* Brings the clocks of slot (and of all) up to now; before the number of its jobs changes. */
void cn_dispatch_clock(struct cn_slot *s);

/* What a job cost that succeeded in a's slot: the prediction, unless it was far from the truth. */
double cn_dispatch_measure(struct cn_slot *s, const struct cn_assigned *a,
                           const struct cn_job *job);
double cn_pace_s(const struct cn_pace *p); /* 0: not known yet */

#endif
