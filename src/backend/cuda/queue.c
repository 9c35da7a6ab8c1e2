/* Queues: a stream, its cuDNN handle, its arena and its pinned staging memory. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"

int cuda_queue_open(struct cuda_backend *b, int id, struct cn_err *err)
{
    struct cuda_queue *q = &b->queue[id];
    int rc;

    q->b = b;
    q->id = id;
    pthread_mutex_init(&q->lock, NULL);
    if ((rc = cuda_check(b, cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking),
                         "open a stream", err)) < 0 ||
        (rc = cuda_check(b, cudaStreamCreateWithFlags(&q->recorder, cudaStreamNonBlocking),
                         "open a stream", err)) < 0 ||
        (rc = cuda_check(b, cudaEventCreateWithFlags(&q->mark, cudaEventDisableTiming),
                         "make an event", err)) < 0 ||
        (rc = cuda_check(b, cudaMallocHost((void **)&q->stage, CUDA_STAGE_BYTES), "pin memory",
                         err)) < 0 ||
        (rc = cuda_check_dnn(b, cudnnCreate(&q->dnn), "open cuDNN", err)) < 0)
        return rc;
    return CN_OK;
}

static void set_arena(struct cuda_queue *q, void *data, size_t bytes)
{
    cuda_free(q->b, q->arena, q->arena_bytes);
    cuda_pool_count_arena(q->b, q->arena_bytes, bytes);
    q->arena = data;
    q->arena_bytes = bytes;
    q->arena_age++;
}

/* Nothing can be done about a failure here: the process ends, or the device is lost already. */
void cuda_queue_close(struct cuda_queue *q)
{
    if (q->b == NULL)
        return;
    if (q->stream != NULL)
        (void)cudaStreamSynchronize(q->stream);
    if (q->dnn != NULL)
        (void)cudnnDestroy(q->dnn);
    if (q->mark != NULL)
        (void)cudaEventDestroy(q->mark);
    if (q->stage != NULL)
        (void)cudaFreeHost(q->stage);
    set_arena(q, NULL, 0); /* the pool is emptied after the queues */
    if (q->recorder != NULL)
        (void)cudaStreamDestroy(q->recorder);
    if (q->stream != NULL)
        (void)cudaStreamDestroy(q->stream);
    pthread_mutex_destroy(&q->lock);
}

int cuda_queue_wait(struct cuda_queue *q, struct cn_err *err)
{
    int rc = cuda_check(q->b, cudaStreamSynchronize(q->stream), "wait for the device", err);

    if (rc == CN_OK)
        q->stage_at = 0; /* every staged copy has arrived */
    return rc;
}

int cuda_queue_follow(struct cuda_queue *q, struct cuda_queue *other, struct cn_err *err)
{
    int rc = cuda_check(q->b, cudaEventRecord(other->mark, other->stream), "record an event", err);

    if (rc < 0)
        return rc;
    return cuda_check(q->b, cudaStreamWaitEvent(q->stream, other->mark, 0), "order two streams",
                      err);
}

/* The old arena goes last: when there is no room for a larger one, the older plans still run. */
int cuda_queue_lock_with(struct cuda_queue *q, size_t bytes, struct cn_err *err)
{
    void *larger = NULL;
    int rc;

    pthread_mutex_lock(&q->lock);
    if (bytes <= q->arena_bytes)
        return CN_OK;
    pthread_mutex_unlock(&q->lock); /* when memory is short, the graphs of idle queues may go */
    rc = cuda_alloc(q->b, bytes, "an arena", &larger, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&q->lock);
    rc = cuda_queue_wait(q, err);
    if (rc == CN_OK && q->id == CUDA_CONCURRENT) /* the pool's order is the main queue's */
        rc = cuda_queue_follow(q, &q->b->queue[CUDA_MAIN], err);
    if (rc == CN_OK && bytes > q->arena_bytes)
        set_arena(q, larger, bytes);
    else
        cuda_free(q->b, larger, bytes);
    if (rc < 0)
        pthread_mutex_unlock(&q->lock);
    return rc;
}

int cuda_queue_reserve(struct cuda_queue *q, size_t bytes, struct cn_err *err)
{
    int rc = cuda_queue_lock_with(q, bytes, err);

    if (rc == CN_OK)
        pthread_mutex_unlock(&q->lock);
    return rc;
}

void cuda_queue_release_arena(struct cuda_queue *q)
{
    if (pthread_mutex_trylock(&q->lock) != 0)
        return;
    if (q->arena != NULL && cuda_queue_wait(q, NULL) == CN_OK)
        set_arena(q, NULL, 0);
    pthread_mutex_unlock(&q->lock);
}
