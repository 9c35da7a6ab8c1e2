/* Copies between host and device, through a ring of pinned memory.
 *
 * A copy from memory that is not pinned would wait for the stream; one through the ring is enqueued
 * and the caller's memory is free again at once. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"

#include <string.h>

/* A piece of the pinned ring. When it is full, everything staged before must have arrived: in the
 * steps of a picture this never waits, because each step ends with a download. */
static int stage(struct cuda_queue *q, size_t bytes, unsigned char **ret, struct cn_err *err)
{
    int rc = CN_OK;

    if (q->stage_at + bytes > CUDA_STAGE_BYTES)
        rc = cuda_queue_wait(q, err);
    *ret = q->stage + q->stage_at;
    q->stage_at += (bytes + 63) & ~(size_t)63;
    return rc;
}

/* One piece of at most the ring's size; host is read or written, as kind says. */
static int copy_piece(struct cuda_queue *q, unsigned char *device, unsigned char *host, size_t n,
                      enum cudaMemcpyKind kind, struct cn_err *err)
{
    bool up = kind == cudaMemcpyHostToDevice;
    unsigned char *pinned;
    int rc = stage(q, n, &pinned, err);

    if (rc < 0)
        return rc;
    if (up)
        memcpy(pinned, host, n);
    rc = cuda_check(q->b,
                    cudaMemcpyAsync(up ? device : pinned, up ? pinned : device, n, kind, q->stream),
                    up ? "copy to the device" : "copy from the device", err);
    if (rc < 0 || up)
        return rc;
    rc = cuda_queue_wait(q, err);
    if (rc == CN_OK)
        memcpy(host, pinned, n);
    return rc;
}

static int copy_all(struct cuda_queue *q, const void *device, const void *host, size_t bytes,
                    enum cudaMemcpyKind kind, struct cn_err *err)
{
    unsigned char *d = (unsigned char *)(uintptr_t)device, *h = (unsigned char *)(uintptr_t)host;
    int rc = CN_OK;

    for (size_t done = 0, n; done < bytes && rc == CN_OK; done += n) {
        n = CN_MIN(bytes - done, (size_t)CUDA_STAGE_BYTES);
        rc = copy_piece(q, d + done, h + done, n, kind, err);
    }
    return rc;
}

int cuda_upload(struct cuda_queue *q, void *device, const void *host, size_t bytes,
                struct cn_err *err)
{
    return copy_all(q, device, host, bytes, cudaMemcpyHostToDevice, err);
}

int cuda_download(struct cuda_queue *q, void *host, const void *device, size_t bytes,
                  struct cn_err *err)
{
    return copy_all(q, device, host, bytes, cudaMemcpyDeviceToHost, err);
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
