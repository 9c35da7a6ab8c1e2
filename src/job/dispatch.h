/* Hands waiting jobs to workers with room, and answers for every job that was accepted.
 *
 * DESIGN. Loop thread only. A job is in the queue or with exactly one worker. A worker has room
 * while it holds fewer jobs than it said it takes (capacity) and than it draws images at a time
 * (lanes); fairness chooses the job (job/queue.h), then a worker is chosen for it: one that
 * has its model loaded, else the one with the least to do. A job that is cancelled or expires while
 * it runs is final at once; its place in the worker stays taken until the worker has said so too.
 * on_end and the observer are called from the loop, never from inside cn_dispatch_submit.
 *
 * A worker that is lost gives its jobs back to the queue, where they keep their places. Those that
 * it may have begun are suspects: each is tried again with a worker to itself, on another device
 * if there is one, so that the one that kills workers can do so to nobody else's. A job under which
 * max_attempts workers have died fails as poison. Of workers that were killed from outside (by a
 * person, or by the kernel without memory) four count as one.
 *
 *     d = cn_dispatch_new(&options);
 *     cn_dispatch_start(d);
 *     if (cn_dispatch_submit(d, job, "anna", &why, &err) < 0) ...        -- CN_EBUSY, and why
 *     cn_dispatch_cancel(d, job);
 *     cn_dispatch_drain(d, false);    -- until cn_dispatch_idle(d)
 *     cn_dispatch_stop(d);            -- until cn_dispatch_gone(d)
 *     cn_dispatch_free(d);
 */
#ifndef CN_JOB_DISPATCH_H
#define CN_JOB_DISPATCH_H

#include "base/base.h"
#include "base/metrics.h"
#include "job/catalog.h"
#include "job/job.h"
#include "job/queue.h"
#include "job/tenant.h"
#include "wire/message.h"

#include <uv.h>

/* Told from the loop about every job. Members may be NULL. */
struct cn_dispatch_observer {
    void *arg;
    /* After each change of job->state, final ones included (and then before on_end). */
    void (*on_state)(void *arg, struct cn_job *job);
    void (*on_progress)(void *arg, struct cn_job *job);
    void (*on_image)(void *arg, struct cn_job *job, int k); /* job->image[k] has come */
    void (*on_preview)(void *arg, struct cn_job *job, const struct cn_msg_preview *m);
    /* Begins to bring the images of a job with job->inputs_evicted into job->spec, for it is its
     * turn; cn_dispatch_inputs_ready tells how that ended, now or later. */
    void (*fetch)(void *arg, struct cn_job *job);
};

enum { CN_WORKERS_MAX = 64 };

/* One worker process. What is pointed to must outlive the dispatcher. */
struct cn_dispatch_worker {
    const char *program;
    const char *const *args; /* NULL-terminated */
    const char *device;      /* "cpu", "cuda:0": for people and metrics */
};

struct cn_dispatch_options {
    uv_loop_t *loop;
    struct cn_metrics *metrics;
    const struct cn_dispatch_worker *worker; /* workers of them; copied */
    int workers;
    int queue_capacity;
    int priority_step_s; /* of waiting that one step of priority counts as */
    int max_attempts;    /* of one job, when workers die under it: then it fails as poison */
    int timeout_s;       /* of a job that does not choose, from submission to end */
    int start_timeout_s; /* for a worker to become ready */
    int ping_ms;        /* between two PINGs; a worker that is silent for three of them is killed */
    int hang_timeout_s; /* without any sign of progress in a running job, or 20 of its steps */
    struct cn_tenant_limits tenant; /* of tenants without limits of their own */
    struct cn_dispatch_observer observer;
};

#define CN_DISPATCH_DEFAULTS                                                                       \
    {                                                                                              \
        .workers = 1, .queue_capacity = 10000, .priority_step_s = CN_PRIORITY_STEP_S,              \
        .max_attempts = 2, .timeout_s = 300, .start_timeout_s = 600, .ping_ms = 5000,              \
        .hang_timeout_s = 600, .tenant = CN_TENANT_DEFAULTS                                        \
    }

struct cn_dispatch;

struct cn_dispatch *cn_dispatch_new(const struct cn_dispatch_options *o);
void cn_dispatch_start(struct cn_dispatch *d);

/* Before the first job. */
void cn_dispatch_set_observer(struct cn_dispatch *d, const struct cn_dispatch_observer *o);

/* Takes of *o what may change while workers run: queue_capacity (jobs that wait already stay),
 * max_attempts, timeout_s (of jobs to come), hang_timeout_s, priority_step_s (of jobs to come),
 * tenant. */
void cn_dispatch_configure(struct cn_dispatch *d, const struct cn_dispatch_options *o);

/* Tenants with limits of their own: at the start and whenever the keys were read again. */
void cn_dispatch_set_tenants(struct cn_dispatch *d, const struct cn_tenant_rule *rule, size_t n);

/* ---- jobs ---- */

struct cn_refused {
    enum cn_refusal kind;
    int retry_after_s; /* 1 .. 120, with jitter; 0 when it is not refused */
};

/* Would a job of this tenant (NULL: anonymous) be accepted now? For refusing a request before its
 * body is read. */
struct cn_refused cn_dispatch_refuses(const struct cn_dispatch *d, const char *tenant);

/* Takes a reference of its own. The spec must be resolved against the catalogue. A deadline that is
 * set already stays. ret (may be NULL) is filled when the answer is CN_EBUSY. */
int cn_dispatch_submit(struct cn_dispatch *d, struct cn_job *job, const char *tenant,
                       struct cn_refused *ret, struct cn_err *err);

/* The same for a job that was accepted in an earlier life: past all limits, also while no worker is
 * known yet. attempt, deaths, queued_ns, cost and deadline_ns are the caller's. */
void cn_dispatch_restore(struct cn_dispatch *d, struct cn_job *job, const char *tenant);

/* A job that was submitted with held may be handed out from now on. */
void cn_dispatch_release(struct cn_dispatch *d, struct cn_job *job);

/* fetch has ended. err NULL: the images are there, and inputs_evicted is reset. CN_EBUSY: it is
 * tried again after a while; anything else is the end of the job. */
void cn_dispatch_inputs_ready(struct cn_dispatch *d, struct cn_job *job, const struct cn_err *err);

/* The job becomes cancelled (unless it is final already); on_end is not called, on_state is. */
void cn_dispatch_cancel(struct cn_dispatch *d, struct cn_job *job);

/* How things stand for a job: its place in the queue (1: next; 0: does not wait), and seconds until
 * it should be done (negative: nothing is known yet). */
struct cn_job_place {
    int position;
    double eta_s;
};

struct cn_job_place cn_dispatch_place(const struct cn_dispatch *d, const struct cn_job *job);

/* ---- models and workers ---- */

const struct cn_catalog *cn_dispatch_catalog(const struct cn_dispatch *d);

struct cn_worker_view {
    const char *device;  /* as configured */
    const char *backend; /* "cpu"; "" before the first HELLO */
    const char *state;   /* "down", "starting", "loading", "ready" */
    const char *trouble; /* why it is down; "" when it is not */
    bool healthy;        /* false: it died too often lately; restarts are slow */
    int pid;             /* 0: none */
    int restarts;        /* ends of its processes so far */
    int jobs, capacity, images, lanes;
};

int cn_dispatch_workers(const struct cn_dispatch *d);
struct cn_worker_view cn_dispatch_worker(const struct cn_dispatch *d, int i);

/* Where a model is: the best that any worker says of it. */
struct cn_model_view {
    enum cn_residence state;
    int workers;      /* that have it loaded */
    uint64_t bytes;   /* resident in one of them */
    const char *text; /* why, when broken */
};

struct cn_model_view cn_dispatch_model(const struct cn_dispatch *d, const char *name);

enum { CN_WORKER_ANY = -1 };

/* rc CN_OK, or why not. */
typedef void (*cn_managed_fn)(void *arg, int rc, const struct cn_err *err);

/* Has a model loaded or unloaded (what->action and name), or models looked for again, which all
 * workers do; those that are not ready do so when they are. Loads or unloads it in one worker.
 * CN_WORKER_ANY: loads it where it is loaded already, else in the worker with the least to do;
 * unloads it everywhere. done comes once, from the loop, when all workers that were asked have
 * answered or are lost. CN_ENOTFOUND: no such model; CN_EBUSY: no worker is ready. */
int cn_dispatch_manage(struct cn_dispatch *d, const struct cn_msg_manage *what, int worker,
                       cn_managed_fn done, void *arg, struct cn_err *err);

/* done with this arg is not called any more. */
void cn_dispatch_forget_manage(struct cn_dispatch *d, const void *arg);

/* Ready now: workers that can take jobs. known: any worker was ready since the start. */
int cn_dispatch_ready_workers(const struct cn_dispatch *d);
bool cn_dispatch_known(const struct cn_dispatch *d);
const char *cn_dispatch_trouble(const struct cn_dispatch *d); /* of the first worker that has one */
const char *cn_dispatch_backend(const struct cn_dispatch *d); /* "cpu"; "" before the first HELLO */

int cn_dispatch_waiting(const struct cn_dispatch *d);
int cn_dispatch_running(const struct cn_dispatch *d);

/* What waits and runs, of all tenants and of one (NULL: "anonymous"). */
struct cn_queue_view {
    int waiting, running, capacity; /* jobs; capacity: that may wait */
    int own_waiting, own_running;
    struct cn_tenant_limits own; /* what the tenant may have */
};

struct cn_queue_view cn_dispatch_queue(const struct cn_dispatch *d, const char *tenant);

/* Calls visit for every tenant that has a rule, has jobs, or had some lately; in no order. */
struct cn_tenant_view {
    const char *name;
    int waiting, running; /* jobs */
    struct cn_tenant_limits limits;
};

void cn_dispatch_each_tenant(const struct cn_dispatch *d,
                             void (*visit)(const struct cn_tenant_view *v, void *arg), void *arg);

/* When to come back, for answers that refuse: 1 .. 120, with jitter. tenant NULL: for anybody. */
int cn_dispatch_retry_after_s(const struct cn_dispatch *d, const char *tenant);

/* Brings the gauges up to date; called before the metrics are rendered. */
void cn_dispatch_collect(struct cn_dispatch *d);

/* ---- the end ---- */

/* The end is near. admit: jobs are still accepted (from clients that were connected before).
 * Durable jobs that wait are let go: they stay in the store, in state queued. All others are
 * finished. */
void cn_dispatch_drain(struct cn_dispatch *d, bool admit);
bool cn_dispatch_idle(const struct cn_dispatch *d); /* nothing waits, nothing runs */

/* Fails what is not durable; durable jobs are taken from their workers and become queued. */
void cn_dispatch_fail_all(struct cn_dispatch *d, int code, const char *why);
void cn_dispatch_stop(struct cn_dispatch *d); /* workers end; idle jobs were failed before */

/* Workers that are still there are killed. After cn_dispatch_stop. */
void cn_dispatch_kill(struct cn_dispatch *d);
bool cn_dispatch_gone(struct cn_dispatch *d);
void cn_dispatch_free(struct cn_dispatch *d);

#endif
