/* Start-time fair queueing over tenants. */
#include "base/base.h"
#include "base/clock.h"
#include "job/queue.h"

#include <math.h>

enum { RESERVE_PART = 10, RESERVE_SHARES = 8 };

/* A new cost's part in the moving average. */
#define MEAN_PART 0.05

void cn_queue_init(struct cn_queue *q, int capacity, int step_s)
{
    *q = (struct cn_queue){.capacity = capacity, .step_ns = step_s * CN_SECOND_NS};
}

static struct cn_job *job_of(struct cn_treap_node *node)
{
    return node == NULL ? NULL : CN_TREAP_OF(node, struct cn_job, order);
}

static bool at_cap(const struct cn_tenant *t)
{
    return t->limits.max_running > 0 && t->running >= t->limits.max_running;
}

static double share(const struct cn_tenant *t, double cost)
{
    return cost / t->limits.weight;
}

/* ---- tenants in order ---- */

/* Takes t's place in the two orders anew, after anything about it has changed. */
static void settle(struct cn_queue *q, struct cn_tenant *t)
{
    struct cn_job *first = job_of(cn_treap_first(&t->order));

    if (cn_treap_has(&t->ready)) {
        cn_treap_remove(&q->ready, &t->ready);
        cn_treap_remove(&q->served, &t->served);
    }
    if (first == NULL || at_cap(t))
        return;
    cn_treap_add(&q->ready, &t->ready, t->start - share(t, first->priority * q->mean_cost),
                 ++q->seq, 0);
    cn_treap_add(&q->served, &t->served, t->start - t->serving, q->seq, 0);
}

/* Brings the virtual time forward: to the least served of those that wait; when nobody waits and
 * nothing runs, to the end of all that was handed out. */
static void advance(struct cn_queue *q)
{
    const struct cn_treap_node *least = cn_treap_first(&q->served);

    if (least != NULL)
        q->now = CN_MAX(q->now, least->key);
    else if (q->in_service == 0 && q->n == 0)
        q->now = CN_MAX(q->now, q->latest);
}

/* t has work again, and may not have been served less than those that wait. */
static void enter(struct cn_queue *q, struct cn_tenant *t)
{
    advance(q);
    t->start = t->known ? CN_MAX(t->start, q->now + t->serving) : q->now;
    t->known = true;
}

/* ---- jobs in order ---- */

static void insert(struct cn_queue *q, struct cn_job *job)
{
    double key = (double)job->queued_ns - (double)job->priority * (double)q->step_ns;

    cn_treap_add(&job->tenant->order, &job->order, key, job->seq, job->cost);
}

int cn_priority_band(int priority)
{
    return 1 + (priority > 0) - (priority < 0);
}

static void count_in(struct cn_queue *q, struct cn_job *job)
{
    cn_treap_add(&q->age, &job->age, (double)job->queued_ns, job->seq, job->cost);
    q->tenants += job->tenant->queued++ == 0;
    q->band[cn_priority_band(job->priority)]++;
    q->n++;
}

static void count_out(struct cn_queue *q, struct cn_job *job)
{
    cn_treap_remove(&q->age, &job->age);
    q->tenants -= --job->tenant->queued == 0;
    q->band[cn_priority_band(job->priority)]--;
    q->n--;
}

/* Places that a tenant with so many waiting jobs may not take, for they are kept for others. */
static int reserved_from(const struct cn_queue *q, const struct cn_tenant *t)
{
    int reserve = q->capacity / RESERVE_PART, mine = t == NULL ? 0 : t->queued;
    bool others = q->many_tenants || q->tenants > (mine > 0);

    return others && mine > 0 && mine >= reserve / RESERVE_SHARES ? reserve : 0;
}

enum cn_refusal cn_queue_refuses(const struct cn_queue *q, const struct cn_tenant *t)
{
    if (q->n >= q->capacity - reserved_from(q, t))
        return CN_REFUSED_FULL;
    if (t != NULL && t->limits.max_queued > 0 && t->queued >= t->limits.max_queued)
        return CN_REFUSED_TENANT;
    return CN_REFUSED_NOT;
}

void cn_queue_restore(struct cn_queue *q, struct cn_job *job)
{
    struct cn_tenant *t = job->tenant;

    job->priority = CN_MIN(job->spec.priority, t->limits.max_priority);
    if (job->priority < job->spec.priority)
        cn_warnings_add(&job->warnings, CN_WARN_REDUCED, "/priority", "%d is the most for this key",
                        t->limits.max_priority);
    job->seq = ++q->seq;
    q->mean_cost += q->mean_cost == 0 ? job->cost : MEAN_PART * (job->cost - q->mean_cost);
    count_in(q, job);
    if (!job->uncommitted)
        cn_queue_release(q, job);
}

int cn_queue_push(struct cn_queue *q, struct cn_job *job, enum cn_refusal *why, struct cn_err *err)
{
    enum cn_refusal refusal = cn_queue_refuses(q, job->tenant);

    if (why != NULL)
        *why = refusal;
    if (refusal == CN_REFUSED_FULL)
        return cn_fail(err, CN_EBUSY, "the queue is full (%d jobs wait)", q->n);
    if (refusal == CN_REFUSED_TENANT)
        return cn_fail(err, CN_EBUSY, "%d jobs of \"%s\" wait, as many as may", job->tenant->queued,
                       job->tenant->name);
    cn_queue_restore(q, job);
    return CN_OK;
}

void cn_queue_release(struct cn_queue *q, struct cn_job *job)
{
    struct cn_tenant *t = job->tenant;

    CN_ASSERT(cn_treap_has(&job->age) && !cn_treap_has(&job->order));
    job->uncommitted = false;
    if (cn_treap_count(&t->order) == 0)
        enter(q, t);
    insert(q, job);
    settle(q, t);
    advance(q);
}

struct cn_job *cn_queue_pop(struct cn_queue *q)
{
    struct cn_treap_node *node = cn_treap_first(&q->ready);
    struct cn_tenant *t;
    struct cn_job *job;

    if (node == NULL)
        return NULL;
    t = CN_TREAP_OF(node, struct cn_tenant, ready);
    job = job_of(cn_treap_first(&t->order));
    cn_treap_remove(&t->order, &job->order);
    count_out(q, job);
    t->running++;
    q->in_service++;
    t->start += share(t, job->cost);
    t->serving += share(t, job->cost);
    q->latest = CN_MAX(q->latest, t->start);
    settle(q, t);
    advance(q);
    return job;
}

/* The job's service is over; charged is what its tenant pays for it. */
static void leave(struct cn_queue *q, struct cn_job *job, double charged)
{
    struct cn_tenant *t = job->tenant;

    t->running--;
    q->in_service--;
    t->start += share(t, charged - job->cost);
    t->serving = t->running == 0 ? 0 : CN_MAX(t->serving - share(t, job->cost), 0);
}

void cn_queue_done(struct cn_queue *q, struct cn_job *job, double cost)
{
    leave(q, job, cost);
    settle(q, job->tenant);
    advance(q);
}

void cn_queue_put_back(struct cn_queue *q, struct cn_job *job)
{
    leave(q, job, 0);
    count_in(q, job);
    insert(q, job);
    settle(q, job->tenant);
    advance(q);
}

void cn_queue_put_aside(struct cn_queue *q, struct cn_job *job)
{
    leave(q, job, 0);
    count_in(q, job);
    settle(q, job->tenant);
    advance(q);
}

void cn_queue_remove(struct cn_queue *q, struct cn_job *job)
{
    count_out(q, job);
    if (cn_treap_has(&job->order)) {
        cn_treap_remove(&job->tenant->order, &job->order);
        settle(q, job->tenant);
    }
    advance(q);
}

struct cn_job *cn_queue_oldest(const struct cn_queue *q)
{
    struct cn_treap_node *node = cn_treap_first(&q->age);

    return node == NULL ? NULL : CN_TREAP_OF(node, struct cn_job, age);
}

struct cn_job *cn_queue_younger(const struct cn_job *job)
{
    struct cn_treap_node *node = cn_treap_next(&job->age);

    return node == NULL ? NULL : CN_TREAP_OF(node, struct cn_job, age);
}

static void refresh(struct cn_tenant *t, void *arg)
{
    settle(arg, t);
}

void cn_queue_refresh(struct cn_queue *q, struct cn_tenants *ts)
{
    cn_tenants_each(ts, refresh, q);
}

/* What tenant u is handed before the virtual time reaches until: jobs, and their cost. */
static double ahead(const struct cn_tenant *u, double until, double *ret_cost)
{
    double all = cn_treap_sum(&u->order), n = cn_treap_count(&u->order);
    double cost = CN_MIN(CN_MAX((until - u->start) * u->limits.weight, 0), all);

    *ret_cost += cost;
    return all > 0 ? ceil(n * cost / all) : 0;
}

int cn_queue_place(const struct cn_queue *q, const struct cn_job *job, double *ret_cost)
{
    const struct cn_tenant *t = job->tenant;
    double cost = 0, until, n;

    if (!cn_treap_has(&job->order)) { /* on hold: behind all */
        *ret_cost = cn_treap_sum(&q->age);
        return q->n;
    }
    n = 1 + cn_treap_before(&t->order, &job->order, &cost);
    until = t->start + share(t, cost);
    for (struct cn_treap_node *x = cn_treap_first(&q->ready); x != NULL; x = cn_treap_next(x)) {
        const struct cn_tenant *u = CN_TREAP_OF(x, struct cn_tenant, ready);

        if (u != t)
            n += ahead(u, until, &cost);
    }
    *ret_cost = cost;
    return (int)CN_MIN(n, q->n);
}
