/* Device memory: a pool of blocks by size, so that a job's buffers are not allocated anew.
 *
 * When the device has no room, what is only kept to save time goes: captured graphs, then idle
 * blocks. Blocks are handed out in the order of the main queue's work: whoever uses one on another
 * queue makes that queue follow. Any thread.
 */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "base/mem.h"

#include <string.h>

enum { KEPT_BLOCKS = 512 /* idle blocks of the pool; then the smallest goes */ };

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

/* lock held, here and in take_idle(). */
static void free_idle(struct cuda_pool *p, int i)
{
    (void)cudaFree(p->idle[i].data); /* waits for all work, which may report its own failure */
    p->kept -= p->idle[i].bytes;
    p->n_idle--;
    memmove(&p->idle[i], &p->idle[i + 1], (size_t)(p->n_idle - i) * sizeof(*p->idle));
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

void cuda_pool_trim(struct cuda_backend *b)
{
    pthread_mutex_lock(&b->pool.lock);
    while (b->pool.n_idle > 0)
        free_idle(&b->pool, b->pool.n_idle - 1);
    pthread_mutex_unlock(&b->pool.lock);
}

size_t cuda_pool_bytes(struct cuda_backend *b)
{
    size_t bytes;

    pthread_mutex_lock(&b->pool.lock);
    bytes = b->pool.kept + b->pool.arenas;
    pthread_mutex_unlock(&b->pool.lock);
    return bytes;
}

void cuda_pool_count_arena(struct cuda_backend *b, size_t before, size_t after)
{
    pthread_mutex_lock(&b->pool.lock);
    b->pool.arenas += after - before;
    pthread_mutex_unlock(&b->pool.lock);
}

/* From the device; once more when what is only kept to save time has gone. */
static int allocate(struct cuda_backend *b, size_t bytes, size_t size, const char *what, void **ret,
                    struct cn_err *err)
{
    cudaError_t e = cudaMalloc(ret, size);

    if (e == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        cuda_graphs_drop(b);
        cuda_pool_trim(b);
        e = cudaMalloc(ret, size);
    }
    if (e == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return cn_fail(err, CN_EDEVMEM, "no device memory for %s of %zu bytes", what, bytes);
    }
    return cuda_check(b, e, "allocate device memory", err);
}

int cuda_alloc(struct cuda_backend *b, size_t bytes, const char *what, void **ret,
               struct cn_err *err)
{
    size_t size;
    void *data;
    int rc;

    if (!block_bytes(bytes, &size))
        return cn_fail(err, CN_EDEVMEM, "no device memory for %s of %zu bytes", what, bytes);
    pthread_mutex_lock(&b->pool.lock);
    data = take_idle(&b->pool, size);
    pthread_mutex_unlock(&b->pool.lock);
    if (data == NULL && (rc = allocate(b, bytes, size, what, &data, err)) < 0)
        return rc;
    pthread_mutex_lock(&b->pool.lock);
    b->pool.used += size;
    pthread_mutex_unlock(&b->pool.lock);
    *ret = data;
    return CN_OK;
}

void cuda_free(struct cuda_backend *b, void *data, size_t bytes)
{
    struct cuda_pool *p = &b->pool;
    size_t size = 0;

    if (data == NULL || !block_bytes(bytes, &size))
        return;
    pthread_mutex_lock(&p->lock);
    p->used -= size;
    p->kept += size;
    if (p->n_idle == KEPT_BLOCKS)
        free_idle(p, 0);
    p->idle = cn_grow(p->idle, (size_t)p->n_idle, &p->cap, sizeof(*p->idle));
    p->idle[p->n_idle++] = (struct cuda_block){data, size};
    pthread_mutex_unlock(&p->lock);
}
