/* The CUDA backend: opening a device, and the table of its functions. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t backend_bytes(const struct cn_backend *base)
{
    return cuda_pool_bytes((struct cuda_backend *)(uintptr_t)base);
}

/* Graphs know the arenas' addresses: without them they are of no use. */
static size_t backend_trim(struct cn_backend *base)
{
    struct cuda_backend *b = (struct cuda_backend *)base;
    size_t before = cuda_pool_bytes(b), after;

    (void)cuda_enter(b, NULL);
    cuda_graphs_drop(b);
    for (int i = 0; i < CUDA_QUEUES; i++)
        cuda_queue_release_arena(&b->queue[i]);
    cuda_pool_trim(b);
    after = cuda_pool_bytes(b);
    return before > after ? before - after : 0;
}

static void backend_close(struct cn_backend *base)
{
    struct cuda_backend *b = (struct cuda_backend *)base;

    (void)cuda_enter(b, NULL); /* nothing can be done about a failure here */
    for (int i = 0; i < CUDA_QUEUES; i++)
        cuda_queue_close(&b->queue[i]);
    if (b->blas != NULL)
        (void)cublasLtDestroy(b->blas);
    for (int i = 0; i < 2; i++)
        if (b->time[i] != NULL)
            (void)cudaEventDestroy(b->time[i]);
    cuda_pool_trim(b);
    free(b->pool.idle);
    cuda_tune_close(b);
    pthread_mutex_destroy(&b->pool.lock);
    pthread_mutex_destroy(&b->plans_lock);
    pthread_mutex_destroy(&b->deferred_lock);
    free(b->deferred);
    free(b);
}

/* CN_ENOTFOUND when no device answers: "auto" then takes the processor. */
static int find_device(struct cuda_backend *b, struct cn_err *err)
{
    int n = 0;
    cudaError_t e = cudaGetDeviceCount(&n);

    if (e != cudaSuccess) {
        (void)cudaGetLastError();
        return cn_fail(err, CN_ENOTFOUND, "no CUDA device answers: %s", cudaGetErrorString(e));
    }
    if (n == 0)
        return cn_fail(err, CN_ENOTFOUND, "there is no CUDA device");
    if (b->device < 0 || b->device >= n)
        return cn_fail(err, CN_ENOTFOUND, "there is no CUDA device %d: %d %s", b->device, n,
                       n == 1 ? "is there, number 0" : "are there, from number 0 on");
    return cuda_bind_thread(b, err);
}

static int describe(struct cuda_backend *b, struct cn_err *err)
{
    struct cudaDeviceProp prop;
    int runtime = 0, driver = 0;
    int rc =
        cuda_check(b, cudaGetDeviceProperties(&prop, b->device), "ask what the device is", err);

    if (rc < 0 ||
        (rc = cuda_check(b, cudaRuntimeGetVersion(&runtime), "ask for versions", err)) < 0 ||
        (rc = cuda_check(b, cudaDriverGetVersion(&driver), "ask for versions", err)) < 0)
        return rc;
    if (prop.major < 8)
        return cn_fail(err, CN_ENOTFOUND,
                       "device \"%s\" has compute capability %d.%d, at least 8.0 is needed",
                       prop.name, prop.major, prop.minor);
    snprintf(b->device_text, sizeof(b->device_text),
             "%s sm_%d%d, CUDA %d, driver %d, cuDNN %zu, cuBLASLt %zu", prop.name, prop.major,
             prop.minor, runtime, driver, cudnnGetVersion(), cublasLtGetVersion());
    snprintf(b->about, sizeof(b->about), "%s", b->device_text);
    return CN_OK;
}

static int open_device(struct cuda_backend *b, struct cn_err *err)
{
    int rc = find_device(b, err);

    if (rc == CN_OK)
        rc = describe(b, err);
    for (int i = 0; i < 2 && rc == CN_OK; i++)
        rc = cuda_check(b, cudaEventCreate(&b->time[i]), "make an event", err);
    if (rc == CN_OK)
        rc = cuda_check_blas(b, cublasLtCreate(&b->blas), "open cuBLASLt", err);
    for (int i = 0; i < CUDA_QUEUES && rc == CN_OK; i++)
        rc = cuda_queue_open(b, i, err);
    return rc;
}

static int backend_open(const struct cn_backend_opts *opts, struct cn_backend **ret,
                        struct cn_err *err)
{
    struct cuda_backend *b = cn_xcalloc(1, sizeof(*b));
    int rc;

    b->base.ops = &cn_backend_cuda;
    b->opts = *opts;
    b->device = opts->device;
    b->base.caps = (struct cn_backend_caps){
        .likes_batches = true,
        .mixes_controls = true,
        .stores = 1u << CN_F32 | 1u << CN_F16 | 1u << CN_BF16,
        .dtype = cn_dtype_is_real(opts->dtype) ? opts->dtype : CN_F16,
    };
    atomic_init(&b->lost, false);
    pthread_mutex_init(&b->deferred_lock, NULL);
    pthread_mutex_init(&b->pool.lock, NULL);
    pthread_mutex_init(&b->plans_lock, NULL);
    rc = open_device(b, err);
    if (rc < 0) {
        cn_strmap_init(&b->choice);
        backend_close(&b->base);
        return rc;
    }
    cuda_tune_open(b);
    *ret = &b->base;
    return CN_OK;
}

static const char *backend_about(const struct cn_backend *b)
{
    return ((const struct cuda_backend *)b)->about;
}

static int backend_check(struct cn_backend *b, struct cn_err *err)
{
    return cuda_take_error((struct cuda_backend *)b, err);
}

const struct cn_backend_ops cn_backend_cuda = {
    .name = "cuda",
    .device = true,
    .open = backend_open,
    .close = backend_close,
    .about = backend_about,
    .check = backend_check,
    .bytes = backend_bytes,
    .trim = backend_trim,
    .weights_new = cuda_weights_new,
    .weights_free = cuda_weights_free,
    .weights_bytes = cuda_weights_bytes,
    .weights_fix_layouts = cuda_weights_fix_layouts,
    .compile = cuda_plan_compile,
    .plan_free = cuda_plan_free,
    .run = cuda_plan_run,
    .arena_bytes = cuda_plan_arena_bytes,
    .profile = cuda_plan_profile,
    .buffer_new = cuda_buffer_new,
    .buffer_free = cuda_buffer_free,
    .buffer_write = cuda_buffer_write,
    .buffer_read = cuda_buffer_read,
    .buffer_copy_rows = cuda_buffer_copy_rows,
    .buffer_bytes = cuda_buffer_bytes,
};
