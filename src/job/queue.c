/* Bounded FIFO. */
#include "base/base.h"
#include "job/queue.h"

void cn_queue_init(struct cn_queue *q, int capacity)
{
    *q = (struct cn_queue){.capacity = capacity};
}

int cn_queue_push(struct cn_queue *q, struct cn_job *job, struct cn_err *err)
{
    if (q->n >= q->capacity)
        return cn_fail(err, CN_EBUSY, "the queue is full (%d jobs wait)", q->n);
    job->prev = q->tail;
    job->next = NULL;
    if (q->tail != NULL)
        q->tail->next = job;
    else
        q->head = job;
    q->tail = job;
    q->n++;
    return CN_OK;
}

void cn_queue_push_back(struct cn_queue *q, struct cn_job *job)
{
    job->prev = NULL;
    job->next = q->head;
    if (q->head != NULL)
        q->head->prev = job;
    else
        q->tail = job;
    q->head = job;
    q->n++;
}

void cn_queue_remove(struct cn_queue *q, struct cn_job *job)
{
    if (job->prev != NULL)
        job->prev->next = job->next;
    else
        q->head = job->next;
    if (job->next != NULL)
        job->next->prev = job->prev;
    else
        q->tail = job->prev;
    job->prev = job->next = NULL;
    q->n--;
}

struct cn_job *cn_queue_pop(struct cn_queue *q)
{
    struct cn_job *job = q->head;

    if (job != NULL)
        cn_queue_remove(q, job);
    return job;
}
