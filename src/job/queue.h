/* The waiting jobs, shared fairly between tenants: start-time fair queueing by predicted cost.
 *
 * Loop thread only; no clock, no devices: tests drive it with both of their own.
 *
 * DESIGN. Each tenant has a virtual time, `start`: the cost of all that was handed out for it,
 * divided by its weight. The next job comes from the tenant with the smallest one. A tenant that
 * comes new (or back) starts at the queue's virtual time: the least *served* time of the tenants
 * that wait, which is their start less what they have in service. So a flood that has filled the
 * places of a worker ahead of a newcomer has used up that much of its share, and nobody saves up a
 * share by staying away. Cost is a prediction; when a job ends, the difference to what it really
 * cost is charged, and an attempt that was lost is not charged at all.
 *
 * Inside a tenant jobs go by the time of their submission, where a step of priority counts as
 * step_s seconds of having waited longer: so a job is overtaken at most by those that come within
 * (difference of priorities) x step_s after it. Between tenants a step of priority makes a job
 * compete as if its tenant were one average job behind; it is charged in full all the same, so
 * that priorities change who goes first, and never the shares (Borrowed Virtual Time: Duda and
 * Cheriton, 1999). Nobody is starved: each service brings the tenant's time forward, and what can
 * be borrowed is bounded.
 *
 * All operations take O(log n), but for cn_queue_place, which is linear in the waiting tenants.
 *
 *     if (cn_queue_push(&q, job, &why, &err) < 0) ...     -- CN_EBUSY: full, or the tenant's part
 *     job = cn_queue_pop(&q);                               -- waiting -> in service
 *     cn_queue_done(&q, job, cost);                           -- it ended, and cost so much
 *     cn_queue_put_back(&q, job);                             -- or it must be done again
 */
#ifndef CN_JOB_QUEUE_H
#define CN_JOB_QUEUE_H

#include "base/base.h"
#include "job/job.h"
#include "job/tenant.h"
#include "job/treap.h"

/* Why a job is not accepted. */
enum cn_refusal {
    CN_REFUSED_NOT,
    CN_REFUSED_FULL,      /* the queue holds as many jobs as it may */
    CN_REFUSED_DRAINING,  /* the daemon ends */
    CN_REFUSED_NO_WORKER, /* none was ready yet, so that nothing is known about models */
    CN_REFUSED_TENANT     /* as many jobs of this tenant wait as may wait */
};

struct cn_queue {
    int n, capacity; /* waiting jobs, those on hold included */
    int64_t step_ns; /* of waiting that a step of priority counts as */

    struct cn_treap ready; /* tenants with a job that may be handed out, by when it is their turn */
    struct cn_treap served;  /* the same tenants, by served time */
    double now;              /* virtual time, never goes back */
    double latest;           /* the largest start handed out: where time is when all is done */
    double mean_cost;        /* of accepted jobs, moving average */
    struct cn_treap age;     /* all waiting jobs, those on hold included; the sum is their cost */
    int in_service, tenants; /* jobs popped and not done; tenants with waiting jobs */
    bool many_tenants;       /* more than one is known of, whether it has jobs or not */
    int band[3];             /* waiting jobs of a priority below, at and above 0 */
    uint64_t seq;
};

enum { CN_PRIORITY_STEP_S = 60 };

int cn_priority_band(int priority); /* 0: below 0; 1: 0; 2: above */

void cn_queue_init(struct cn_queue *q, int capacity, int step_s);

/* Would a job of t (NULL: of one who has none yet) be refused now? Where there are several tenants,
 * the last tenth of the queue is kept for those that have few jobs in it: an eighth of that tenth
 * each. */
enum cn_refusal cn_queue_refuses(const struct cn_queue *q, const struct cn_tenant *t);

/* Takes over the caller's reference of the job (when it is accepted). The job has its tenant, its
 * cost and queued_ns; its priority is lowered to what the tenant may use. With job->uncommitted it
 * counts as waiting but is not handed out until cn_queue_release. *why may be NULL. */
int cn_queue_push(struct cn_queue *q, struct cn_job *job, enum cn_refusal *why, struct cn_err *err);

/* The same past all limits: a job that was accepted in an earlier life is never refused. */
void cn_queue_restore(struct cn_queue *q, struct cn_job *job);

void cn_queue_release(struct cn_queue *q, struct cn_job *job);

/* The next job, which is in service from now on; the reference moves to the caller. NULL when none
 * may be handed out (all tenants that wait are at their caps). */
struct cn_job *cn_queue_pop(struct cn_queue *q);

/* A job in service ended; it really cost that much. Before the job's last reference goes. */
void cn_queue_done(struct cn_queue *q, struct cn_job *job, double cost);

/* A job in service waits again: first of its tenant's jobs of its priority and age, past all
 * limits, and its tenant pays nothing for the attempt. */
void cn_queue_put_back(struct cn_queue *q, struct cn_job *job);

/* The same, but it is not handed out before cn_queue_release. */
void cn_queue_put_aside(struct cn_queue *q, struct cn_job *job);

/* Takes a waiting job out. The reference moves to the caller. */
void cn_queue_remove(struct cn_queue *q, struct cn_job *job);

/* All waiting jobs, those on hold included, from the oldest on; NULL at the end. */
struct cn_job *cn_queue_oldest(const struct cn_queue *q);
struct cn_job *cn_queue_younger(const struct cn_job *job);

/* After limits have changed. */
void cn_queue_refresh(struct cn_queue *q, struct cn_tenants *ts);

/* Where a waiting job stands: 1 is the next one; and the cost of what is handed out before it, as
 * things are. Exact for a single tenant, an estimate where several wait. */
int cn_queue_place(const struct cn_queue *q, const struct cn_job *job, double *ret_cost);

#endif
