/* Errors, memory, queues.
 *
 * Which errors leave the device usable: cuda_runtime_api.h says of most that "the process must be
 * terminated and relaunched". Only what the list below names is harmless; everything else that a
 * call reports, in its own name or from work enqueued before, means that the device is lost.
 */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STAGE_BYTES = 16 << 20, /* pinned; a picture of 512 x 512 in F32 is 3 MiB */
    KEPT_BLOCKS = 512       /* idle blocks of the pool; then the smallest goes */
};

/* ---- errors ---- */

static int lose(struct cuda_backend *b, struct cn_err *err, const char *what, const char *name,
                const char *text)
{
    atomic_store(&b->lost, true);
    return cn_fail(err, CN_EDEVICE, "the device failed: %s: %s (%s)", what, name, text);
}

int cuda_check(struct cuda_backend *b, cudaError_t e, const char *what, struct cn_err *err)
{
    if (e == cudaSuccess)
        return CN_OK;
    switch (e) {
    case cudaErrorMemoryAllocation:
        (void)cudaGetLastError(); /* or the next kernel's launch would report it */
        return cn_fail(err, CN_EDEVMEM, "no device memory to %s", what);
    case cudaErrorInvalidValue:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorNotSupported:
    case cudaErrorLaunchOutOfResources:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorStreamCaptureUnsupported: /* something in a plan cannot be captured */
    case cudaErrorStreamCaptureInvalidated:
    case cudaErrorStreamCaptureUnjoined:
    case cudaErrorStreamCaptureUnmatched:
    case cudaErrorStreamCaptureMerge:
    case cudaErrorStreamCaptureImplicit:
    case cudaErrorStreamCaptureIsolation:
    case cudaErrorStreamCaptureWrongThread:
    case cudaErrorGraphExecUpdateFailure:
        (void)cudaGetLastError();
        return cn_fail(err, CN_EINTERNAL, "cannot %s: %s (%s)", what, cudaGetErrorName(e),
                       cudaGetErrorString(e));
    default:
        return lose(b, err, what, cudaGetErrorName(e), cudaGetErrorString(e));
    }
}

/* A library that says that something did not run may have seen the device's error or its own. */
static int check_device(struct cuda_backend *b, const char *what, const char *status,
                        struct cn_err *err)
{
    cudaError_t e = cudaPeekAtLastError();

    if (e == cudaSuccess)
        return lose(b, err, what, status, "work did not run");
    return cuda_check(b, e, what, err);
}

int cuda_check_blas(struct cuda_backend *b, cublasStatus_t s, const char *what,
                    struct cn_err *err)
{
    const char *name = cublasLtGetStatusName(s);

    switch (s) {
    case CUBLAS_STATUS_SUCCESS:
        return CN_OK;
    case CUBLAS_STATUS_ALLOC_FAILED:
        (void)cudaGetLastError();
        return cn_fail(err, CN_EDEVMEM, "no device memory to %s", what);
    case CUBLAS_STATUS_EXECUTION_FAILED:
    case CUBLAS_STATUS_MAPPING_ERROR:
    case CUBLAS_STATUS_INTERNAL_ERROR:
        return check_device(b, what, name, err);
    default:
        return cn_fail(err, CN_EINTERNAL, "cannot %s: cuBLASLt says %s", what, name);
    }
}

int cuda_check_dnn(struct cuda_backend *b, cudnnStatus_t s, const char *what, struct cn_err *err)
{
    char text[160] = "";

    if (s == CUDNN_STATUS_SUCCESS)
        return CN_OK;
    if (s == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ||
        s == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED) {
        (void)cudaGetLastError();
        return cn_fail(err, CN_EDEVMEM, "no device memory to %s", what);
    }
    if (CUDNN_STATUS_CATEGORY(s) == CUDNN_STATUS_CATEGORY(CUDNN_STATUS_EXECUTION_FAILED))
        return check_device(b, what, cudnnGetErrorString(s), err);
    cudnnGetLastErrorString(text, sizeof(text));
    return cn_fail(err, CN_EINTERNAL, "cannot %s: cuDNN says %s: %s", what,
                   cudnnGetErrorString(s), text);
}

void cuda_keep_error(struct cuda_backend *b, const struct cn_err *err)
{
    pthread_mutex_lock(&b->late_lock);
    if (b->late.code == 0)
        b->late = *err;
    pthread_mutex_unlock(&b->late_lock);
}

int cuda_ready(struct cuda_backend *b, struct cn_err *err)
{
    struct cn_err late;

    pthread_mutex_lock(&b->late_lock);
    late = b->late;
    b->late = (struct cn_err)CN_ERR_INIT;
    pthread_mutex_unlock(&b->late_lock);
    if (late.code < 0)
        return cn_fail(err, late.code, "%s", late.msg);
    if (atomic_load(&b->lost))
        return cn_fail(err, CN_EDEVICE, "the device failed earlier");
    return CN_OK;
}

/* ---- memory ---- */

/* Blocks have few sizes so that one job's blocks suit the next: the same sizes in the same order
 * give the same addresses, and captured graphs stay valid from job to job. */
static bool block_bytes(size_t bytes, size_t *ret)
{
    size_t grain = bytes < ((size_t)1 << 20) ? CUDA_ALIGN : (size_t)1 << 16;

    if (bytes > SIZE_MAX - grain)
        return false;
    *ret = CN_MAX((bytes + grain - 1) / grain * grain, (size_t)CUDA_ALIGN);
    return true;
}

static void give_back(struct cuda_backend *b, int i)
{
    struct cuda_pool *p = &b->pool;

    (void)cudaFree(p->idle[i].data); /* waits for all work, which may report its own failure */
    p->kept -= p->idle[i].bytes;
    p->n_idle--;
    memmove(&p->idle[i], &p->idle[i + 1], (size_t)(p->n_idle - i) * sizeof(*p->idle));
}

void cuda_pool_trim(struct cuda_backend *b)
{
    while (b->pool.n_idle > 0)
        give_back(b, b->pool.n_idle - 1);
}

static void *take_idle(struct cuda_pool *p, size_t bytes)
{
    for (int i = p->n_idle - 1; i >= 0; i--)
        if (p->idle[i].bytes == bytes) {
            void *data = p->idle[i].data;

            p->kept -= bytes;
            p->n_idle--;
            memmove(&p->idle[i], &p->idle[i + 1], (size_t)(p->n_idle - i) * sizeof(*p->idle));
            return data;
        }
    return NULL;
}

/* Everything that is only kept to save time; but not the graph that another thread may be launching
 * at this moment. */
static void free_caches(struct cuda_backend *b)
{
    for (struct cuda_plan *p = b->plans; p != NULL; p = p->next) {
        bool side = p->q->id == CUDA_SIDE;

        if (side && pthread_mutex_trylock(&p->q->lock) != 0)
            continue;
        cuda_plan_drop_graphs(p);
        if (side)
            pthread_mutex_unlock(&p->q->lock);
    }
    cuda_pool_trim(b);
}

int cuda_alloc(struct cuda_backend *b, size_t bytes, const char *what, void **ret,
               struct cn_err *err)
{
    size_t size;
    void *data;
    cudaError_t e;

    if (!block_bytes(bytes, &size))
        return cn_fail(err, CN_EDEVMEM, "no device memory for %s of %zu bytes", what, bytes);
    data = take_idle(&b->pool, size);
    if (data == NULL) {
        e = cudaMalloc(&data, size);
        if (e == cudaErrorMemoryAllocation) {
            (void)cudaGetLastError();
            free_caches(b);
            e = cudaMalloc(&data, size);
        }
        if (e == cudaErrorMemoryAllocation) {
            (void)cudaGetLastError();
            return cn_fail(err, CN_EDEVMEM, "no device memory for %s of %zu bytes", what, bytes);
        }
        if (e != cudaSuccess)
            return cuda_check(b, e, "allocate device memory", err);
    }
    b->pool.used += size;
    *ret = data;
    return CN_OK;
}

void cuda_free(struct cuda_backend *b, void *data, size_t bytes)
{
    struct cuda_pool *p = &b->pool;
    size_t size = 0;

    if (data == NULL || !block_bytes(bytes, &size))
        return;
    p->used -= size;
    p->kept += size;
    if (p->n_idle == KEPT_BLOCKS)
        give_back(b, 0);
    p->idle = cn_grow(p->idle, (size_t)p->n_idle, &p->cap, sizeof(*p->idle));
    p->idle[p->n_idle++] = (struct cuda_block){data, size};
}

/* ---- queues ---- */

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
        (rc = cuda_check(b, cudaMallocHost((void **)&q->stage, STAGE_BYTES), "pin memory",
                         err)) < 0 ||
        (rc = cuda_check_dnn(b, cudnnCreate(&q->dnn), "open cuDNN", err)) < 0)
        return rc;
    return CN_OK;
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
    if (q->arena != NULL)
        (void)cudaFree(q->arena);
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
int cuda_queue_reserve(struct cuda_queue *q, size_t bytes, struct cn_err *err)
{
    void *larger;
    int rc = CN_OK;

    if (bytes <= q->arena_bytes)
        return CN_OK;
    rc = cuda_alloc(q->b, bytes, "an arena", &larger, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&q->lock);
    rc = cuda_queue_wait(q, err);
    if (rc == CN_OK && q->id == CUDA_SIDE) /* the pool's order is the main queue's */
        rc = cuda_queue_follow(q, &q->b->queue[CUDA_MAIN], err);
    if (rc == CN_OK) {
        cuda_free(q->b, q->arena, q->arena_bytes);
        q->arena = larger;
        q->arena_bytes = bytes;
        q->arena_age++;
    } else {
        cuda_free(q->b, larger, bytes);
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

/* A piece of the pinned ring. When it is full, everything staged before must have arrived: in the
 * steps of a picture this never waits, because each step ends with a download. */
static int stage(struct cuda_queue *q, size_t bytes, unsigned char **ret, struct cn_err *err)
{
    int rc = CN_OK;

    if (q->stage_at + bytes > STAGE_BYTES)
        rc = cuda_queue_wait(q, err);
    *ret = q->stage + q->stage_at;
    q->stage_at += (bytes + 63) & ~(size_t)63;
    return rc;
}

int cuda_upload(struct cuda_queue *q, void *device, const void *host, size_t bytes,
                struct cn_err *err)
{
    size_t done = 0;

    while (done < bytes) {
        size_t n = CN_MIN(bytes - done, (size_t)STAGE_BYTES);
        unsigned char *pinned;
        int rc = stage(q, n, &pinned, err);

        if (rc < 0)
            return rc;
        memcpy(pinned, (const unsigned char *)host + done, n);
        rc = cuda_check(q->b,
                        cudaMemcpyAsync((unsigned char *)device + done, pinned, n,
                                        cudaMemcpyHostToDevice, q->stream),
                        "copy to the device", err);
        if (rc < 0)
            return rc;
        done += n;
    }
    return CN_OK;
}

int cuda_download(struct cuda_queue *q, void *host, const void *device, size_t bytes,
                  struct cn_err *err)
{
    size_t done = 0;

    while (done < bytes) {
        size_t n = CN_MIN(bytes - done, (size_t)STAGE_BYTES);
        unsigned char *pinned;
        int rc = stage(q, n, &pinned, err);

        if (rc < 0)
            return rc;
        rc = cuda_check(q->b,
                        cudaMemcpyAsync(pinned, (const unsigned char *)device + done, n,
                                        cudaMemcpyDeviceToHost, q->stream),
                        "copy from the device", err);
        if (rc == CN_OK)
            rc = cuda_queue_wait(q, err);
        if (rc < 0)
            return rc;
        memcpy((unsigned char *)host + done, pinned, n);
        done += n;
    }
    return CN_OK;
}

void cuda_pack(void *dst, const float *src, enum cn_dtype t, size_t n)
{
    uint16_t *half = dst;

    switch (t) {
    case CN_F16:
        for (size_t i = 0; i < n; i++)
            half[i] = cn_f32_to_f16(src[i]);
        break;
    case CN_BF16:
        for (size_t i = 0; i < n; i++)
            half[i] = cn_f32_to_bf16(src[i]);
        break;
    default:
        memcpy(dst, src, n * sizeof(float));
    }
}

enum cnk_dtype cuda_kernel_type(enum cn_dtype t)
{
    return t == CN_F16 ? CNK_F16 : t == CN_BF16 ? CNK_BF16 : CNK_F32;
}
