/* The oneDNN backend: opening, buffers, the table of functions. */
#include "base/base.h"
#include "backend/cpu/onednn_priv.h"
#include "base/mem.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

int onednn_check(dnnl_status_t status, const char *what, struct cn_err *err)
{
    if (status == dnnl_success)
        return CN_OK;
    if (status == dnnl_out_of_memory)
        return cn_fail(err, CN_EDEVMEM, "no memory left to %s", what);
    return cn_fail(err, CN_EDEVICE, "cannot %s: oneDNN status %d", what, (int)status);
}

static void backend_close(struct cn_backend *base)
{
    struct onednn_backend *b = (struct onednn_backend *)base;

    dnnl_stream_destroy(b->main.stream);
    dnnl_stream_destroy(b->side.stream);
    dnnl_engine_destroy(b->engine);
    pthread_mutex_destroy(&b->side_lock);
    free(b->main.arena);
    free(b->side.arena);
    free(b);
}

int onednn_use_threads(int n)
{
    int old = omp_get_max_threads();

    omp_set_num_threads(n);
    return old;
}

static size_t backend_bytes(const struct cn_backend *b)
{
    const struct onednn_backend *o = (const struct onednn_backend *)b;

    return o->main.bytes + o->side.bytes;
}

static int open_space(struct onednn_backend *b, struct onednn_space *s, int threads,
                      struct cn_err *err)
{
    s->threads = threads;
    return onednn_check(dnnl_stream_create(&s->stream, b->engine, dnnl_stream_default_flags),
                        "open a stream", err);
}

static int backend_open(const struct cn_backend_opts *opts, struct cn_backend **ret,
                        struct cn_err *err)
{
    struct onednn_backend *b = cn_xcalloc(1, sizeof(*b));
    int threads = opts->threads > 0 ? opts->threads : omp_get_max_threads(), rc;

    b->base.ops = &cn_backend_onednn;
    b->opts = *opts;
    pthread_mutex_init(&b->side_lock, NULL);
    rc = onednn_check(dnnl_engine_create(&b->engine, dnnl_cpu, 0), "open the CPU engine", err);
    if (rc == CN_OK)
        rc = open_space(b, &b->main, threads, err);
    if (rc == CN_OK)
        rc = open_space(b, &b->side, opts->side_threads > 0 ? opts->side_threads : threads, err);
    if (rc < 0) {
        backend_close(&b->base);
        return rc;
    }
    *ret = &b->base;
    return CN_OK;
}

int64_t onednn_native_block(const struct cn_shape *s)
{
    if (s->rank != 4)
        return 1;
    return s->dim[1] % 16 == 0 ? 16 : s->dim[1];
}

/* 0: more than a size_t can say. */
static size_t bytes_of(const struct cn_value *v)
{
    size_t bytes = cn_dtype_size(v->dtype);

    for (int i = 0; i < v->shape.rank; i++)
        if (!cn_mul_size(bytes, (size_t)v->shape.dim[i], &bytes))
            return 0;
    return bytes;
}

static int buffer_new(struct cn_backend *b, const struct cn_value *value, int flags,
                      struct cn_buffer **ret, struct cn_err *err)
{
    struct onednn_buffer *buf = cn_xcalloc(1, sizeof(*buf));

    (void)b;
    buf->base.ops = &cn_backend_onednn;
    buf->value = *value;
    buf->value.name = NULL;
    buf->b = flags & CN_IO_NATIVE ? onednn_native_block(&value->shape) : 1;
    buf->bytes = bytes_of(value);
    buf->data = buf->bytes > 0 ? cn_try_alloc(buf->bytes) : NULL;
    if (buf->data == NULL) {
        cn_fail(err, CN_EDEVMEM, "no memory for a tensor of %zu bytes", buf->bytes);
        free(buf);
        return CN_EDEVMEM;
    }
    memset(buf->data, 0, buf->bytes);
    *ret = &buf->base;
    return CN_OK;
}

static void buffer_free(struct cn_buffer *base)
{
    struct onednn_buffer *buf = (struct onednn_buffer *)base;

    free(buf->data);
    free(buf);
}

static struct cn_fmap fmap_of(const struct cn_shape *s, float *data, int64_t b)
{
    return (struct cn_fmap){data, s->dim[0], s->dim[1], s->dim[2], s->dim[3], b};
}

static void buffer_write(struct cn_buffer *base, const void *host)
{
    struct onednn_buffer *buf = (struct onednn_buffer *)base;
    struct cn_fmap dst, src;

    if (buf->value.shape.rank != 4 || buf->b == 1) {
        memcpy(buf->data, host, buf->bytes);
        return;
    }
    dst = fmap_of(&buf->value.shape, buf->data, buf->b);
    src = fmap_of(&buf->value.shape, (float *)(uintptr_t)host, 1);
    cn_cpu_copy(&dst, &src);
}

static void buffer_read(const struct cn_buffer *base, void *host)
{
    const struct onednn_buffer *buf = (const struct onednn_buffer *)base;
    struct cn_fmap dst, src;

    if (buf->value.shape.rank != 4 || buf->b == 1) {
        memcpy(host, buf->data, buf->bytes);
        return;
    }
    src = fmap_of(&buf->value.shape, buf->data, buf->b);
    dst = fmap_of(&buf->value.shape, host, 1);
    cn_cpu_copy(&dst, &src);
}

static void buffer_zero(struct cn_buffer *base)
{
    struct onednn_buffer *buf = (struct onednn_buffer *)base;

    memset(buf->data, 0, buf->bytes);
}

static void buffer_copy_rows(struct cn_buffer *to, int64_t to_row, const struct cn_buffer *from,
                             int64_t from_row, int64_t n)
{
    struct onednn_buffer *dst = (struct onednn_buffer *)to;
    const struct onednn_buffer *src = (const struct onednn_buffer *)from;
    int64_t row = cn_shape_elements(&dst->value.shape) / dst->value.shape.dim[0];
    struct cn_fmap d, s;

    if (dst->value.shape.rank != 4 || dst->b == src->b) {
        /* I32 is as wide as F32. */
        memcpy(dst->data + to_row * row, src->data + from_row * row,
               (size_t)(n * row) * sizeof(*dst->data));
        return;
    }
    d = fmap_of(&dst->value.shape, dst->data + to_row * row, dst->b);
    s = fmap_of(&src->value.shape, src->data + from_row * row, src->b);
    d.n = s.n = n;
    cn_cpu_copy(&d, &s);
}

static size_t buffer_bytes(const struct cn_buffer *base)
{
    return ((const struct onednn_buffer *)base)->bytes;
}

const struct cn_backend_ops cn_backend_onednn = {
    .name = "onednn",
    .open = backend_open,
    .close = backend_close,
    .bytes = backend_bytes,
    .weights_new = onednn_weights_new,
    .weights_free = onednn_weights_free,
    .weights_bytes = onednn_weights_bytes,
    .weights_fix_layouts = onednn_settle,
    .compile = onednn_compile,
    .plan_free = onednn_plan_free,
    .run = onednn_run,
    .arena_bytes = onednn_arena_bytes,
    .profile = onednn_profile,
    .buffer_new = buffer_new,
    .buffer_free = buffer_free,
    .buffer_write = buffer_write,
    .buffer_read = buffer_read,
    .buffer_zero = buffer_zero,
    .buffer_copy_rows = buffer_copy_rows,
    .buffer_bytes = buffer_bytes,
};
