/* Dispatcher: interface, time, the end. */
#include "base/base.h"
#include "job/dispatch_priv.h"
#include "base/clock.h"
#include "base/mem.h"
#include "job/cost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TICK_MS = 250, RETRY_MAX_S = 120, EXPIRE_MAX = 100 };

/* ---- time ---- */

static struct cn_job *next_deadline(const struct cn_dispatch *d)
{
    struct cn_treap_node *node = cn_treap_first(&d->deadlines);

    return node == NULL ? NULL : CN_TREAP_OF(node, struct cn_job, deadline);
}

static void expire(struct cn_dispatch *d, struct cn_job *job)
{
    job->err.code = 0;
    cn_fail(&job->err, CN_ECANCELED, "the job was not finished within its timeout (%s)",
            cn_enum_job_state.name[job->state]);
    cn_dispatch_finish(d, job, CN_JOB_EXPIRED, true);
}

static void on_alarm(uv_timer_t *t);

/* Sets the alarm to the next deadline; the loop's clock has milliseconds. */
static void set_alarm(struct cn_dispatch *d)
{
    const struct cn_job *job = next_deadline(d);
    int64_t ms;

    if (job == NULL || d->stopping) {
        uv_timer_stop(&d->alarm);
        return;
    }
    ms = (job->deadline_ns - cn_now_ns()) / 1000000 + 1;
    uv_update_time(d->o.loop);
    uv_timer_start(&d->alarm, on_alarm, (uint64_t)CN_MAX(ms, 1), 0);
}

static void on_alarm(uv_timer_t *t)
{
    struct cn_dispatch *d = t->data;
    int64_t now = cn_now_ns();
    struct cn_job *job;

    /* Whoever waits is told of each: the loop must turn in between. */
    for (int i = 0; i < EXPIRE_MAX && (job = next_deadline(d)) != NULL && job->deadline_ns <= now;
         i++)
        expire(d, job);
    set_alarm(d);
}

static void on_tick(uv_timer_t *t)
{
    struct cn_dispatch *d = t->data;
    int64_t now = cn_now_ns();

    for (int i = 0; i < d->o.workers; i++) {
        cn_dispatch_watch(&d->slot[i], now);
        cn_process_tick(d->slot[i].process);
    }
    cn_dispatch_end_delays(d, now);
    d->pump_wanted = true;
}

/* Once in each iteration of the loop, after all of its events: what these made possible. */
static void on_prepare(uv_prepare_t *h)
{
    struct cn_dispatch *d = h->data;

    if (!d->pump_wanted)
        return;
    d->pump_wanted = false;
    cn_dispatch_pump(d);
}

/* ---- life ---- */

struct cn_dispatch *cn_dispatch_new(const struct cn_dispatch_options *o)
{
    struct cn_dispatch *d = cn_xcalloc(1, sizeof(*d));
    struct cn_process_options po = {.loop = o->loop,
                                    .start_timeout_s = o->start_timeout_s,
                                    .ping_ms = o->ping_ms,
                                    .on_hello = cn_dispatch_on_hello,
                                    .on_ready = cn_dispatch_on_ready,
                                    .on_frame = cn_dispatch_on_frame,
                                    .on_down = cn_dispatch_on_down};

    CN_ASSERT(o->workers >= 1 && o->workers <= CN_WORKERS_MAX);
    d->o = *o;
    d->o.worker = NULL;
    d->tenants = cn_tenants_new(&o->tenant);
    cn_queue_init(&d->queue, o->queue_capacity, o->priority_step_s);
    cn_dispatch_metrics_init(d);
    TAILQ_INIT(&d->roomless);
    d->slot = cn_xcalloc((size_t)o->workers, sizeof(*d->slot));
    for (int i = 0; i < o->workers; i++) {
        struct cn_slot *s = &d->slot[i];

        s->d = d;
        s->device = o->worker[i].device;
        s->index = po.index = i;
        po.program = o->worker[i].program;
        po.args = o->worker[i].args;
        po.arg = s;
        s->process = cn_process_new(&po);
    }
    uv_timer_init(o->loop, &d->tick);
    uv_timer_init(o->loop, &d->alarm);
    uv_prepare_init(o->loop, &d->before_poll);
    d->tick.data = d->alarm.data = d->before_poll.data = d;
    d->handles = 3;
    return d;
}

void cn_dispatch_start(struct cn_dispatch *d)
{
    for (int i = 0; i < d->o.workers; i++)
        cn_process_start(d->slot[i].process);
    uv_timer_start(&d->tick, on_tick, TICK_MS, TICK_MS);
    uv_prepare_start(&d->before_poll, on_prepare);
}

void cn_dispatch_set_observer(struct cn_dispatch *d, const struct cn_dispatch_observer *o)
{
    d->o.observer = *o;
}

void cn_dispatch_set_tenants(struct cn_dispatch *d, const struct cn_tenant_rule *rule, size_t n)
{
    cn_tenants_set_rules(d->tenants, rule, n);
    d->queue.many_tenants = n > 1;
    cn_queue_refresh(&d->queue, d->tenants);
    d->pump_wanted = true;
}

void cn_dispatch_configure(struct cn_dispatch *d, const struct cn_dispatch_options *o)
{
    d->o.queue_capacity = d->queue.capacity = o->queue_capacity;
    d->o.max_attempts = o->max_attempts;
    d->o.timeout_s = o->timeout_s;
    d->o.hang_timeout_s = o->hang_timeout_s;
    d->o.tenant = o->tenant;
    d->queue.step_ns = o->priority_step_s * CN_SECOND_NS;
    cn_tenants_set_preset(d->tenants, &o->tenant);
    cn_queue_refresh(&d->queue, d->tenants);
    d->pump_wanted = true;
}

/* ---- jobs ---- */

static const char *name_of(const char *tenant)
{
    return tenant == NULL ? CN_TENANT_ANONYMOUS : tenant;
}

static enum cn_refusal refuses(const struct cn_dispatch *d, const struct cn_tenant *t)
{
    if (d->draining)
        return CN_REFUSED_DRAINING;
    if (!d->known)
        return CN_REFUSED_NO_WORKER;
    return cn_queue_refuses(&d->queue, t);
}

/* Whoever finds his own quota full waits for his own jobs; others for the queue. */
static int retry_after(const struct cn_dispatch *d, enum cn_refusal why, const struct cn_tenant *t)
{
    const struct cn_queue *q = &d->queue;
    double pace = cn_pace_s(&d->farm), s;

    if (why == CN_REFUSED_TENANT && t != NULL)
        s = cn_treap_sum(&t->order) * CN_MAX(q->tenants, 1);
    else
        s = cn_treap_sum(&q->age) + q->mean_cost;
    s = pace > 0 ? s * pace : (q->n + 1.0) / CN_MAX(cn_dispatch_ready_workers(d), 1);
    s *= 0.8 + 0.4 * ((double)(cn_random_seed() % 1024) / 1024); /* not all at once */
    return (int)CN_MIN(CN_MAX(ceil(s), 1), RETRY_MAX_S);
}

struct cn_refused cn_dispatch_refuses(const struct cn_dispatch *d, const char *tenant)
{
    const struct cn_tenant *t = cn_tenants_find(d->tenants, name_of(tenant));
    enum cn_refusal why = refuses(d, t);

    return (struct cn_refused){why, why == CN_REFUSED_NOT ? 0 : retry_after(d, why, t)};
}

static void refuse(struct cn_dispatch *d, enum cn_refusal why, const struct cn_tenant *t,
                   struct cn_refused *ret)
{
    cn_metric_inc(d->m.refused, 1, cn_refusal_name(why));
    if (ret != NULL)
        *ret = (struct cn_refused){why, retry_after(d, why, t)};
}

/* Gives the job what it needs in the queue. */
static void prepare(struct cn_dispatch *d, struct cn_job *job, const char *tenant)
{
    int seconds = job->spec.timeout_s ? job->spec.timeout_s : d->o.timeout_s;

    cn_tenant_unref(job->tenant); /* of a submission that was refused */
    job->tenant = cn_tenants_get(d->tenants, name_of(tenant));
    if (job->cost <= 0)
        job->cost = cn_cost(&job->spec);
    if (job->deadline_ns == 0)
        job->deadline_ns = job->queued_ns + seconds * CN_SECOND_NS;
}

static void accepted(struct cn_dispatch *d, struct cn_job *job)
{
    cn_job_ref(job);
    cn_treap_add(&d->deadlines, &job->deadline, (double)job->deadline_ns, job->id, 0);
    if (next_deadline(d) == job)
        set_alarm(d);
    if (d->ending && job->may_be_deferred)
        cn_dispatch_detach(d, job); /* the next life draws it */
    else
        d->pump_wanted = true;
}

int cn_dispatch_submit(struct cn_dispatch *d, struct cn_job *job, const char *tenant,
                       struct cn_refused *ret, struct cn_err *err)
{
    enum cn_refusal why = refuses(d, NULL);
    int rc = CN_OK;

    if (why == CN_REFUSED_DRAINING)
        rc = cn_fail(err, CN_EBUSY, "the server is shutting down");
    else if (why == CN_REFUSED_NO_WORKER)
        rc = cn_fail(err, CN_EBUSY, "no worker is ready yet");
    if (rc == CN_OK) {
        prepare(d, job, tenant);
        rc = cn_queue_push(&d->queue, job, &why, err);
    }
    if (rc < 0) {
        refuse(d, why, job->tenant, ret);
        return rc;
    }
    cn_metric_inc(d->m.submitted, 1, job->spec.model);
    accepted(d, job);
    return CN_OK;
}

void cn_dispatch_restore(struct cn_dispatch *d, struct cn_job *job, const char *tenant)
{
    if (d->ending)
        return;
    prepare(d, job, tenant);
    cn_queue_restore(&d->queue, job);
    accepted(d, job);
}

void cn_dispatch_release(struct cn_dispatch *d, struct cn_job *job)
{
    if (!job->uncommitted || !cn_treap_has(&job->age))
        return; /* ended, or let go, before it was released */
    cn_queue_release(&d->queue, job);
    d->pump_wanted = true;
}

void cn_dispatch_cancel(struct cn_dispatch *d, struct cn_job *job)
{
    if (cn_job_final(job))
        return;
    job->err.code = 0;
    cn_fail(&job->err, CN_ECANCELED, "cancelled by the client");
    if (cn_treap_has(&job->deadline)) {
        cn_dispatch_finish(d, job, CN_JOB_CANCELLED, false);
    } else { /* let go in the drain, or never here */
        cn_job_move(job, CN_JOB_CANCELLED);
        cn_dispatch_notify(d, job);
    }
}

static double rest_of_running(const struct cn_dispatch *d, const struct cn_job *job)
{
    double spent = (double)(cn_now_ns() - job->started_ns) * 1e-9, done = cn_job_fraction(job);
    double pace = cn_pace_s(&d->latency);

    if (done > 0.1) /* what it has done so far tells more than other jobs */
        return spent / done - spent;
    return pace > 0 ? CN_MAX(job->cost * pace - spent, 0) : -1;
}

struct cn_job_place cn_dispatch_place(const struct cn_dispatch *d, const struct cn_job *job)
{
    struct cn_job_place place = {0, -1};
    double farm = cn_pace_s(&d->farm), own = cn_pace_s(&d->latency), ahead = 0;

    if (job->state == CN_JOB_RUNNING)
        place.eta_s = rest_of_running(d, job);
    if (job->state != CN_JOB_QUEUED || job->tenant == NULL || !cn_treap_has(&job->deadline))
        return place;
    place.position = 1;
    if (cn_treap_has(&job->age) && !job->fetching)
        place.position = cn_queue_place(&d->queue, job, &ahead);
    if (farm > 0 && own > 0)
        place.eta_s = ahead * farm + job->cost * own;
    return place;
}

int cn_dispatch_retry_after_s(const struct cn_dispatch *d, const char *tenant)
{
    const struct cn_tenant *t = cn_tenants_find(d->tenants, name_of(tenant));

    return retry_after(d, tenant == NULL ? CN_REFUSED_FULL : refuses(d, t), t);
}

/* ---- the end ---- */

void cn_dispatch_drain(struct cn_dispatch *d, bool admit)
{
    struct cn_treap_node *node, *next;

    d->draining = !admit;
    d->ending = true;
    for (node = cn_treap_first(&d->deadlines); node != NULL; node = next) {
        struct cn_job *job = CN_TREAP_OF(node, struct cn_job, deadline);

        next = cn_treap_next(node);
        if (job->may_be_deferred && job->state == CN_JOB_QUEUED)
            cn_dispatch_detach(d, job);
    }
}

bool cn_dispatch_idle(const struct cn_dispatch *d)
{
    return cn_treap_count(&d->deadlines) == 0;
}

void cn_dispatch_fail_all(struct cn_dispatch *d, int code, const char *why)
{
    struct cn_job *job;

    d->draining = d->ending = true;
    while ((job = next_deadline(d)) != NULL) {
        if (job->may_be_deferred) {
            cn_dispatch_detach(d, job);
            continue;
        }
        job->err.code = 0;
        cn_fail(&job->err, code, "%s", why);
        cn_dispatch_finish(d, job, CN_JOB_FAILED, true);
    }
}

static void on_closed(uv_handle_t *h)
{
    ((struct cn_dispatch *)h->data)->handles--;
}

void cn_dispatch_stop(struct cn_dispatch *d)
{
    d->draining = d->ending = d->stopping = true;
    uv_timer_stop(&d->alarm);
    for (int i = 0; i < d->o.workers; i++)
        cn_process_stop(d->slot[i].process);
}

void cn_dispatch_kill(struct cn_dispatch *d)
{
    for (int i = 0; i < d->o.workers; i++)
        cn_process_kill(d->slot[i].process, CN_CAUSE_EXIT, "the daemon ends at once");
}

bool cn_dispatch_gone(struct cn_dispatch *d)
{
    for (int i = 0; i < d->o.workers; i++)
        if (!cn_process_gone(d->slot[i].process))
            return false;
    if (!uv_is_closing((uv_handle_t *)&d->tick)) {
        uv_close((uv_handle_t *)&d->tick, on_closed);
        uv_close((uv_handle_t *)&d->alarm, on_closed);
        uv_close((uv_handle_t *)&d->before_poll, on_closed);
    }
    return d->handles == 0;
}

void cn_dispatch_free(struct cn_dispatch *d)
{
    struct cn_job *job;

    while ((job = next_deadline(d)) != NULL)
        cn_dispatch_detach(d, job);
    for (int i = 0; i < d->o.workers; i++)
        cn_process_free(d->slot[i].process);
    cn_dispatch_models_release(d);
    cn_catalog_release(&d->catalog);
    for (int i = 0; i < d->o.workers; i++)
        cn_catalog_release(&d->slot[i].catalog);
    cn_tenants_free(d->tenants);
    free(d->slot);
    free(d);
}
