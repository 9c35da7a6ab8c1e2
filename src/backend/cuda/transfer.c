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

int cuda_upload(struct cuda_queue *q, void *device, const void *host, size_t bytes,
                struct cn_err *err)
{
    size_t done = 0;

    while (done < bytes) {
        size_t n = CN_MIN(bytes - done, (size_t)CUDA_STAGE_BYTES);
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
        size_t n = CN_MIN(bytes - done, (size_t)CUDA_STAGE_BYTES);
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
