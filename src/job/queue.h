/* The waiting jobs: first in, first out, with a capacity.
 *
 * Loop thread only. The queue holds one reference of each job in it.
 *
 *     if (cn_queue_push(&q, job, &err) < 0) ...     -- CN_EBUSY when full
 *     while ((job = cn_queue_pop(&q)) != NULL) ...   -- the reference moves to the caller
 */
#ifndef CN_JOB_QUEUE_H
#define CN_JOB_QUEUE_H

#include "base/base.h"
#include "job/job.h"

struct cn_queue {
    struct cn_job *head, *tail;
    int n, capacity;
};

void cn_queue_init(struct cn_queue *q, int capacity);
int cn_queue_push(struct cn_queue *q, struct cn_job *job, struct cn_err *err);

/* To the front, past the capacity: a job that was accepted before is never refused. */
void cn_queue_push_back(struct cn_queue *q, struct cn_job *job);

struct cn_job *cn_queue_pop(struct cn_queue *q);
void cn_queue_remove(struct cn_queue *q, struct cn_job *job);

#endif
