/* Inputs and outputs of plans. A buffer in the host's layout holds what the host sees, F32 (I32 for
 * token ids), so that writing and reading are plain copies and a plan converts as part of its
 * graph; 16 bits only where the graph declares them. A native one holds the type of the plans that
 * use it, channels last. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "base/mem.h"
#include "kernels/cnk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct cuda_buffer *cuda_buffer_of(const struct cn_buffer *buf)
{
    return (struct cuda_buffer *)(uintptr_t)buf;
}

static bool count_elements(const struct cn_shape *s, size_t element, size_t *ret)
{
    size_t n = 1, bytes;

    for (int i = 0; i < s->rank; i++)
        if (!cn_mul_size(n, (size_t)s->dim[i], &n))
            return false;
    *ret = n;
    return cn_mul_size(n, element, &bytes);
}

int cuda_buffer_take(struct cuda_buffer *buf, struct cuda_queue *q, struct cn_err *err)
{
    int rc = buf->queue != q ? cuda_queue_follow(q, buf->queue, err) : CN_OK;

    if (rc == CN_OK)
        buf->queue = q;
    return rc;
}

int cuda_buffer_new(struct cn_backend *base, const struct cn_value *value, int flags,
                    struct cn_buffer **ret, struct cn_err *err)
{
    struct cuda_backend *b = (struct cuda_backend *)base;
    struct cuda_buffer made = {.b = b, .shape = value->shape, .queue = &b->queue[CUDA_MAIN]};
    struct cuda_buffer *buf;
    int rc;

    made.base.ops = b->base.ops;
    made.native = (flags & CN_IO_NATIVE) && cn_dtype_is_real(value->dtype);
    made.type = value->dtype;
    if ((rc = cuda_enter(b, err)) < 0 || (rc = cuda_take_error(b, err)) < 0)
        return rc;
    if (!count_elements(&value->shape, sizeof(float), &made.elements))
        return cn_fail(err, CN_EDEVMEM, "no device memory for a tensor of %zu bytes", SIZE_MAX);
    made.bytes = made.elements * cn_dtype_size(made.type);
    rc = cuda_alloc(b, made.bytes, "a tensor", &made.data, err);
    if (rc == CN_OK)
        rc = cuda_check(b, cudaMemsetAsync(made.data, 0, made.bytes, made.queue->stream),
                        "clear a tensor", err);
    if (rc < 0) {
        cuda_free(b, made.data, made.bytes);
        return rc;
    }
    buf = cn_xmalloc(sizeof(*buf));
    *buf = made;
    *ret = &buf->base;
    return CN_OK;
}

void cuda_buffer_free(struct cn_buffer *base)
{
    struct cuda_buffer *buf = cuda_buffer_of(base);
    struct cuda_queue *main = &buf->b->queue[CUDA_MAIN];
    struct cn_err err = CN_ERR_INIT;

    /* The pool hands memory out in the order of the main queue. */
    if (cuda_enter(buf->b, &err) < 0 || cuda_buffer_take(buf, main, &err) < 0)
        cuda_defer_error(buf->b, &err);
    cuda_free(buf->b, buf->data, buf->bytes);
    free(buf);
}

/* Host order [n, c, hw] and channels last [n, hw, c]; without h and w they are the same. */
struct planes {
    size_t n, c, hw;
};

static struct planes planes_of(const struct cn_shape *s)
{
    if (s->rank != 4)
        return (struct planes){1, 1, (size_t)cn_shape_elements(s)};
    return (struct planes){(size_t)s->dim[0], (size_t)s->dim[1], (size_t)(s->dim[2] * s->dim[3])};
}

static void to_channels_last(float *dst, const float *src, const struct cn_shape *s)
{
    struct planes p = planes_of(s);

    for (size_t n = 0; n < p.n; n++)
        for (size_t i = 0; i < p.hw; i++)
            for (size_t c = 0; c < p.c; c++)
                *dst++ = src[(n * p.c + c) * p.hw + i];
}

static void from_channels_last(float *dst, const float *src, const struct cn_shape *s)
{
    struct planes p = planes_of(s);

    for (size_t n = 0; n < p.n; n++)
        for (size_t i = 0; i < p.hw; i++)
            for (size_t c = 0; c < p.c; c++)
                dst[(n * p.c + c) * p.hw + i] = *src++;
}

static bool as_the_host_has_it(const struct cuda_buffer *buf)
{
    return !buf->native && (buf->type == CN_F32 || buf->type == CN_I32);
}

/* Text is written this way, once per job: on the host is fast enough. */
static int write_converted(struct cuda_buffer *buf, const float *host, struct cn_err *err)
{
    float *last = cn_try_alloc(buf->elements * sizeof(float));
    void *packed = cn_try_alloc(buf->elements * sizeof(float));
    int rc = CN_OK;

    if (last == NULL || packed == NULL) {
        rc = cn_fail(err, CN_ENOMEM, "no memory for a tensor of %zu bytes", buf->bytes);
    } else {
        if (buf->native)
            to_channels_last(last, host, &buf->shape);
        cuda_pack(packed, buf->native ? last : host, buf->type, buf->elements);
        rc = cuda_upload(buf->queue, buf->data, packed, buf->bytes, err);
    }
    free(last);
    free(packed);
    return rc;
}

static int read_converted(const struct cuda_buffer *buf, float *host, struct cn_err *err)
{
    float *last = cn_try_alloc(buf->elements * sizeof(float));
    void *packed = cn_try_alloc(buf->elements * sizeof(float));
    int rc = CN_OK;

    if (last == NULL || packed == NULL)
        rc = cn_fail(err, CN_ENOMEM, "no memory for a tensor of %zu bytes", buf->bytes);
    else
        rc = cuda_download(buf->queue, packed, buf->data, buf->bytes, err);
    if (rc == CN_OK) {
        cn_to_f32(buf->native ? last : host, packed, buf->type, buf->elements);
        if (buf->native)
            from_channels_last(host, last, &buf->shape);
    }
    free(last);
    free(packed);
    return rc;
}

static void note_ids(struct cuda_buffer *buf, const int32_t *id)
{
    buf->id_min = buf->id_max = id[0];
    for (size_t i = 1; i < buf->elements; i++) {
        buf->id_min = CN_MIN(buf->id_min, id[i]);
        buf->id_max = CN_MAX(buf->id_max, id[i]);
    }
}

void cuda_buffer_write(struct cn_buffer *base, const void *host)
{
    struct cuda_buffer *buf = cuda_buffer_of(base);
    struct cn_err err = CN_ERR_INIT;
    int rc;

    if (buf->type == CN_I32)
        note_ids(buf, host);
    pthread_mutex_lock(&buf->queue->lock);
    rc = cuda_enter(buf->b, &err);
    if (rc == CN_OK)
        rc = as_the_host_has_it(buf) ? cuda_upload(buf->queue, buf->data, host, buf->bytes, &err)
                                     : write_converted(buf, host, &err);
    pthread_mutex_unlock(&buf->queue->lock);
    if (rc < 0)
        cuda_defer_error(buf->b, &err);
}

/* What could not be read is NaN, so that nobody takes it for a picture. */
static void fill_nan(const struct cuda_buffer *buf, void *host)
{
    float *x = host;

    if (buf->type == CN_I32)
        memset(host, 0xff, buf->bytes);
    else
        for (size_t i = 0; i < buf->elements; i++)
            x[i] = NAN;
}

void cuda_buffer_read(const struct cn_buffer *base, void *host)
{
    struct cuda_buffer *buf = cuda_buffer_of(base);
    struct cn_err err = CN_ERR_INIT;
    int rc;

    pthread_mutex_lock(&buf->queue->lock);
    rc = cuda_enter(buf->b, &err);
    if (rc == CN_OK)
        rc = as_the_host_has_it(buf) ? cuda_download(buf->queue, host, buf->data, buf->bytes, &err)
                                     : read_converted(buf, host, &err);
    pthread_mutex_unlock(&buf->queue->lock);
    if (rc < 0) {
        fill_nan(buf, host);
        cuda_defer_error(buf->b, &err);
    }
}

size_t cuda_buffer_bytes(const struct cn_buffer *buf)
{
    return cuda_buffer_of(buf)->bytes;
}

/* One of the two is in the host's layout, the other is native. */
static int convert_rows(const struct cuda_buffer *dst, unsigned char *to,
                        const struct cuda_buffer *src, const unsigned char *from, int64_t n,
                        struct cn_err *err)
{
    const struct cn_shape *s = &dst->shape;
    struct cnk_layout a = {.n = (int)n, .c = 1, .stride = 1};
    cudaStream_t stream = dst->queue->stream;
    int rc;

    if (s->rank == 4) {
        a.c = a.stride = (int)s->dim[1];
        a.hw = (int)(s->dim[2] * s->dim[3]);
    } else {
        a.hw = (int)(dst->elements / (size_t)s->dim[0]);
    }
    rc = (dst->native ? cnk_to_nhwc : cnk_from_nhwc)(dst->type, to, src->type, from, &a, stream);
    return cuda_check(dst->b, (cudaError_t)rc, "convert rows", err);
}

static int copy_rows(struct cuda_buffer *dst, int64_t dst_row, struct cuda_buffer *src,
                     int64_t src_row, int64_t n, struct cn_err *err)
{
    size_t to = dst->bytes / (size_t)dst->shape.dim[0];
    size_t from = src->bytes / (size_t)src->shape.dim[0];
    unsigned char *d = (unsigned char *)dst->data + (size_t)dst_row * to;
    const unsigned char *s = (const unsigned char *)src->data + (size_t)src_row * from;
    int rc = cuda_enter(dst->b, err);

    if (rc == CN_OK)
        rc = cuda_buffer_take(src, dst->queue, err);
    if (rc < 0)
        return rc;
    if (dst->native != src->native)
        return convert_rows(dst, d, src, s, n, err);
    return cuda_check(
        dst->b, cudaMemcpyAsync(d, s, (size_t)n * to, cudaMemcpyDeviceToDevice, dst->queue->stream),
        "copy rows", err);
}

void cuda_buffer_copy_rows(struct cn_buffer *dst, int64_t dst_row, const struct cn_buffer *src,
                           int64_t src_row, int64_t n)
{
    struct cuda_buffer *d = cuda_buffer_of(dst), *s = cuda_buffer_of(src);
    struct cn_err err = CN_ERR_INIT;

    if (d->type == CN_I32) {
        d->id_min = CN_MIN(d->id_min, s->id_min);
        d->id_max = CN_MAX(d->id_max, s->id_max);
    }
    if (n > 0 && copy_rows(d, dst_row, s, src_row, n, &err) < 0)
        cuda_defer_error(d->b, &err);
}
