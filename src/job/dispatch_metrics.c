/* The dispatcher's metrics: names and buckets are an interface; dashboards depend on them. */
#include "base/base.h"
#include "job/dispatch_priv.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>

static const double queue_bound[] = {0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800};
static const double run_bound[] = {0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300};
static const double batch_bound[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
static const double stage_bound[] = {0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1,
                                     2.5,   5,     10,    30,  60,   300};

static const double step_bound[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};

static const char *const refusal_name[] = {"", "queue_full", "draining", "no_worker", "tenant"};

/* What one end of a job leaves of what was learnt before. */
#define FADE 0.95

/* A measured cost this many times more or less than the predicted one is charged instead of it, but
 * for this many times at most. Closer ones are noise: neighbours, caches, other processes. */
#define CREDIBLE   4.0
#define CORRECTION 64.0

#define HISTOGRAM(name, help, labels, bound)                                                       \
    cn_metric_add_histogram(r, name, help, labels, bound, (int)CN_LEN(bound))

static const char *reason_name(const struct cn_err *err)
{
    switch (err->code) {
    case CN_EDEVMEM:
        return "device_memory";
    case CN_EDEVICE:
        return "worker_lost";
    case CN_EINVAL:
    case CN_EFORMAT:
    case CN_ETOOBIG:
    case CN_ENOTFOUND:
        return "request";
    case CN_ENOMEM:
        return "memory";
    case CN_EBUSY:
        return "shutdown";
    default:
        return "internal";
    }
}

const char *cn_refusal_name(enum cn_refusal why)
{
    return refusal_name[why];
}

const char *cn_priority_name(int priority)
{
    return priority < 0 ? "low" : priority > 0 ? "high" : "normal";
}

static void learn(struct cn_pace *p, double s, double cost)
{
    p->s = FADE * p->s + s;
    p->cost = FADE * p->cost + cost;
}

double cn_pace_s(const struct cn_pace *p)
{
    return p->cost > 0 ? p->s / p->cost : 0;
}

void cn_dispatch_metrics_init(struct cn_dispatch *d)
{
    struct cn_metrics *r = d->o.metrics;
    struct cn_dispatch_metrics *m = &d->m;
    static const char *const reason[] = {"device_memory", "worker_lost", "request",
                                         "memory",        "shutdown",    "internal"};

    m->submitted = cn_metric_add(r, CN_COUNTER, "controlnetd_jobs_submitted_total",
                                 "Jobs accepted into the queue.", "model");
    m->finished = cn_metric_add(r, CN_COUNTER, "controlnetd_jobs_finished_total",
                                "Jobs that reached a final state.", "model,outcome");
    m->failed = cn_metric_add(r, CN_COUNTER, "controlnetd_jobs_failed_total",
                              "Failed jobs by cause.", "reason");
    for (size_t i = 0; i < CN_LEN(reason); i++)
        cn_metric_inc(m->failed, 0, reason[i]);
    m->retried = cn_metric_add(r, CN_COUNTER, "controlnetd_jobs_retried_total",
                               "Job attempts given back to the queue.", "reason");
    cn_metric_inc(m->retried, 0, "worker_lost");
    cn_metric_inc(m->retried, 0, "device_memory");
    cn_metric_inc(m->retried, 0, "worker_busy");
    m->refused = cn_metric_add(r, CN_COUNTER, "controlnetd_jobs_refused_total",
                               "Jobs that were not accepted.", "reason");
    for (int i = CN_REFUSED_NOT + 1; i <= CN_REFUSED_TENANT; i++)
        cn_metric_inc(m->refused, 0, refusal_name[i]);
    m->queue_jobs =
        cn_metric_add(r, CN_GAUGE, "controlnetd_queue_jobs", "Jobs waiting.", "priority");
    m->queue_users =
        cn_metric_add(r, CN_GAUGE, "controlnetd_queue_users", "Tenants with waiting jobs.", NULL);
    m->queue_capacity = cn_metric_add(r, CN_GAUGE, "controlnetd_queue_capacity_jobs",
                                      "Jobs the queue can hold.", NULL);
    m->oldest = cn_metric_add(r, CN_GAUGE, "controlnetd_queue_oldest_job_age_seconds",
                              "Age of the oldest waiting job.", NULL);
    m->queue_time =
        HISTOGRAM("controlnetd_job_queue_duration_seconds",
                  "Time from acceptance to the start on a worker.", "priority", queue_bound);
    m->run_time = HISTOGRAM("controlnetd_job_run_duration_seconds",
                            "Time a successful job spent with a worker.", "model", run_bound);
    m->stage_time = HISTOGRAM("controlnetd_job_stage_duration_seconds",
                              "Time a successful job spent in each stage.", "stage", stage_bound);
    m->steps = cn_metric_add(r, CN_COUNTER, "controlnetd_steps_total",
                             "Denoising steps of finished images.", "model");
    m->images = cn_metric_add(r, CN_COUNTER, "controlnetd_images_total", "Images made.", "model");
    m->up = cn_metric_add(r, CN_GAUGE, "controlnetd_worker_up", "1 when the worker takes jobs.",
                          "worker,device");
    m->busy = cn_metric_add(r, CN_GAUGE, "controlnetd_worker_busy", "Jobs with the worker.",
                            "worker,device");
    m->healthy = cn_metric_add(r, CN_GAUGE, "controlnetd_worker_healthy",
                               "0 when the worker died too often lately.", "worker,device");
    m->restarts = cn_metric_add(r, CN_COUNTER, "controlnetd_worker_restarts_total",
                                "Ends of worker processes by cause.", "worker,cause");
    m->heartbeat = cn_metric_add(r, CN_GAUGE, "controlnetd_worker_last_heartbeat_timestamp_seconds",
                                 "When the worker was heard last.", "worker");
    m->lanes = cn_metric_add(r, CN_GAUGE, "controlnetd_worker_lanes",
                             "Images the worker draws at a time.", "worker,device");
    m->lanes_busy = cn_metric_add(r, CN_GAUGE, "controlnetd_worker_lanes_busy",
                                  "Images that the worker draws now.", "worker,device");
    m->batch =
        HISTOGRAM("controlnetd_batch_images",
                  "Images that one turn of the device stepped together.", "worker", batch_bound);
    m->step_time = HISTOGRAM("controlnetd_step_duration_seconds", "Time of one turn of the device.",
                             "worker", step_bound);
    m->gpu_used = cn_metric_add(r, CN_GAUGE, "controlnetd_gpu_memory_used_bytes",
                                "Device memory in use, by all processes.", "device");
    m->gpu_total = cn_metric_add(r, CN_GAUGE, "controlnetd_gpu_memory_total_bytes",
                                 "Device memory that there is.", "device");
    m->resident = cn_metric_add(r, CN_GAUGE, "controlnetd_worker_resident_bytes",
                                "Weights and plans that the worker holds.", "worker,device");
    m->report = cn_metric_add(r, CN_GAUGE, "controlnetd_worker_report",
                              "Other numbers that a worker tells of itself.", "worker,name");
}

void cn_dispatch_count_end(struct cn_dispatch *d, const struct cn_job *job)
{
    struct cn_dispatch_metrics *m = &d->m;
    const char *model = job->spec.model;
    double run = job->started_ns ? (double)(job->ended_ns - job->started_ns) * 1e-9 : 0;

    cn_metric_inc(m->finished, 1, model,
                  job->poison ? "poison" : cn_enum_job_state.name[job->state]);
    if (job->state == CN_JOB_FAILED)
        cn_metric_inc(m->failed, 1, reason_name(&job->err));
    if (job->state != CN_JOB_SUCCEEDED)
        return;
    cn_metric_observe(m->run_time, run, model);
    cn_metric_inc(m->images, job->spec.n, model);
    cn_metric_inc(m->steps, (double)job->spec.n * job->spec.steps, model);
    for (int i = 0; i < CN_STAGE_COUNT; i++)
        if (job->stage_ms[i] > 0)
            cn_metric_observe(m->stage_time, job->stage_ms[i] * 1e-3, cn_enum_stage.name[i]);
    learn(&d->latency, run, job->cost);
    learn(&d->farm, d->busy_s, job->cost);
    d->busy_s = 0;
}

void cn_dispatch_clock(struct cn_slot *s)
{
    struct cn_dispatch *d = s->d;
    int64_t now = cn_now_ns();

    if (s->n > 0 && s->loading == 0) /* a worker shares its time between jobs, not images */
        s->device_s += (double)(now - s->clock_ns) * 1e-9 / s->n;
    s->clock_ns = now;
    if (cn_dispatch_running(d) > 0)
        d->busy_s += (double)(now - d->busy_ns) * 1e-9;
    d->busy_ns = now;
}

double cn_dispatch_measure(struct cn_slot *s, const struct cn_assigned *a, const struct cn_job *job)
{
    double pace = cn_pace_s(&s->d->device), time, ratio;

    cn_dispatch_clock(s);
    time = s->device_s - a->device_s;
    if (!s->tells_loading) /* then its clock did not stand still meanwhile */
        time -= job->stage_ms[CN_STAGE_LOAD] * 1e-3;
    if (time <= 0)
        return job->cost;
    ratio = pace > 0 ? time / (job->cost * pace) : 1;
    learn(&s->d->device, time, job->cost);
    if (ratio > 1 / CREDIBLE && ratio < CREDIBLE)
        return job->cost;
    return job->cost * CN_MIN(CN_MAX(ratio, 1 / CORRECTION), CORRECTION);
}

void cn_dispatch_count_beat(struct cn_slot *s, const struct cn_msg_beat *m)
{
    char worker[16];

    if (m->images <= 0)
        return;
    snprintf(worker, sizeof(worker), "%d", s->index);
    cn_metric_observe(s->d->m.batch, m->images, worker);
    cn_metric_observe(s->d->m.step_time, m->ms * 1e-3, worker);
}

/* What workers tell under these names has a metric of its own. */
static void collect_gauge(struct cn_dispatch_metrics *m, const struct cn_slot *s,
                          const char *worker, const struct cn_gauge *g)
{
    if (strcmp(g->name, "resident_bytes") == 0)
        cn_metric_set(m->resident, g->value, worker, s->device);
    else if (strcmp(g->name, "device_used_bytes") == 0)
        cn_metric_set(m->gpu_used, g->value, s->device);
    else if (strcmp(g->name, "device_total_bytes") == 0)
        cn_metric_set(m->gpu_total, g->value, s->device);
    else
        cn_metric_set(m->report, g->value, worker, g->name);
}

static void collect_slot(struct cn_dispatch *d, const struct cn_slot *s)
{
    struct cn_dispatch_metrics *m = &d->m;
    char worker[16];

    snprintf(worker, sizeof(worker), "%d", s->index);
    cn_metric_set(m->up, cn_process_state(s->process) == CN_PROCESS_READY, worker, s->device);
    cn_metric_set(m->busy, s->n, worker, s->device);
    cn_metric_set(m->healthy, !s->unhealthy, worker, s->device);
    cn_metric_set(m->heartbeat, (double)cn_process_pong_us(s->process) * 1e-6, worker);
    for (int c = 0; c < CN_CAUSE_COUNT; c++)
        cn_metric_inc(m->restarts, 0, worker, cn_enum_cause.name[c]);
    cn_metric_set(m->lanes, s->lanes, worker, s->device);
    cn_metric_set(m->lanes_busy, CN_MIN(s->images, s->lanes), worker, s->device);
    for (int i = 0; i < s->gauges.n; i++)
        collect_gauge(m, s, worker, &s->gauges.gauge[i]);
}

static void collect_waiting(struct cn_dispatch *d)
{
    double n[3] = {d->queue.band[0], d->queue.band[1], d->queue.band[2]};

    for (struct cn_treap_node *x = cn_treap_first(&d->suspects); x != NULL; x = cn_treap_next(x))
        n[cn_priority_band(CN_TREAP_OF(x, struct cn_job, order)->priority)]++;
    for (int i = 0; i < d->o.workers; i++)
        if (d->slot[i].reserved_for != NULL)
            n[cn_priority_band(d->slot[i].reserved_for->priority)]++;
    for (int i = 0; i < 3; i++)
        cn_metric_set(d->m.queue_jobs, n[i], cn_priority_name(i - 1));
}

void cn_dispatch_collect(struct cn_dispatch *d)
{
    const struct cn_job *oldest = cn_queue_oldest(&d->queue);
    int64_t now = cn_now_ns();

    cn_metric_set(d->m.queue_capacity, d->queue.capacity);
    cn_metric_set(d->m.queue_users, d->queue.tenants);
    cn_metric_set(d->m.oldest, oldest == NULL ? 0 : (double)(now - oldest->queued_ns) * 1e-9);
    collect_waiting(d);
    for (int i = 0; i < d->o.workers; i++)
        collect_slot(d, &d->slot[i]);
}
