/* Device memory: a pool of blocks by size, so that a job's buffers are not allocated anew.
 *
 * When the device has no room, what is only kept to save time goes: captured graphs, then idle
 * blocks. Owning thread.
 */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "base/mem.h"

#include <stdlib.h>
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
            cuda_graphs_drop(b); /* what is only kept to save time goes first */
            cuda_pool_trim(b);
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
