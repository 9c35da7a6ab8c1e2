/* The oneDNN backend: opening, buffers, the table of functions. */
#include "base/base.h"
#include "backend/cpu/cpu_factors.h"
#include "backend/cpu/onednn_priv.h"
#include "base/mem.h"

#include <stdlib.h>

static void backend_close(struct cn_backend *base)
{
    struct onednn_backend *b = (struct onednn_backend *)base;

    for (size_t i = 0; i < CN_LEN(b->stream); i++)
        dnnl_stream_destroy(b->stream[i]);
    dnnl_engine_destroy(b->engine);
    cpu_workspace_release(&b->ws);
    free(b->between);
    free(b);
}

static size_t backend_bytes(const struct cn_backend *b)
{
    const struct onednn_backend *o = (const struct onednn_backend *)b;

    return cpu_workspace_bytes(&o->ws) + o->between_bytes;
}

/* The library keeps the code of kernels for plans to come, with that of plans that are gone. */
static void drop_kernels(void)
{
    int capacity;

    if (dnnl_get_primitive_cache_capacity(&capacity) != dnnl_success)
        return;
    dnnl_set_primitive_cache_capacity(0);
    dnnl_set_primitive_cache_capacity(capacity);
}

static size_t backend_trim(struct cn_backend *b)
{
    struct onednn_backend *o = (struct onednn_backend *)b;
    size_t between = o->between_bytes;

    drop_kernels();
    free(o->between);
    o->between = NULL;
    o->between_bytes = 0;
    return between + cpu_workspace_trim(&o->ws);
}

static int backend_open(const struct cn_backend_opts *opts, struct cn_backend **ret,
                        struct cn_err *err)
{
    struct onednn_backend *b = cn_xcalloc(1, sizeof(*b));
    int rc;

    b->base.ops = &cn_backend_onednn;
    b->base.caps = (struct cn_backend_caps){
        .host_memory = true, .adapts_rows = true, .stores = 1u << CN_F32, .dtype = CN_F32};
    b->opts = *opts;
    cpu_workspace_init(&b->ws, opts);
    rc = onednn_check(dnnl_engine_create(&b->engine, dnnl_cpu, 0), "open the CPU engine", err);
    for (size_t i = 0; i < CN_LEN(b->stream) && rc == CN_OK; i++)
        rc = onednn_check(
            dnnl_stream_create(&b->stream[i], b->engine, dnnl_stream_default_flags),
            "open a stream", err);
    if (rc < 0) {
        backend_close(&b->base);
        return rc;
    }
    *ret = &b->base;
    return CN_OK;
}

static int factors_new(struct cn_backend *b, struct cn_factors **ret, struct cn_err *err)
{
    (void)b;
    (void)err;
    return cpu_factors_new(&cn_backend_onednn, onednn_packed_factor_free, ret);
}

static int buffer_new(struct cn_backend *b, const struct cn_value *value, int flags,
                      struct cn_buffer **ret, struct cn_err *err)
{
    (void)b;
    return cpu_buffer_new(&cn_backend_onednn, value,
                          flags & CN_IO_NATIVE ? onednn_native_block(&value->shape) : 1, ret, err);
}

/* Whether the bytes stand in another order than the host's. */
static bool is_blocked(const struct cpu_buffer *buf)
{
    return buf->base.shape.rank == 4 && buf->block != 1;
}

static struct cn_fmap fmap_of(const struct cn_shape *s, void *data, int64_t b)
{
    return (struct cn_fmap){data, s->dim[0], s->dim[1], s->dim[2], s->dim[3], b};
}

static void buffer_write(struct cn_buffer *base, const void *host)
{
    struct cpu_buffer *buf = (struct cpu_buffer *)base;
    struct cn_fmap dst, src;

    if (!is_blocked(buf)) {
        cpu_buffer_write(base, host);
        return;
    }
    dst = fmap_of(&base->shape, buf->data, buf->block);
    src = fmap_of(&base->shape, (void *)(uintptr_t)host, 1);
    cn_cpu_copy(&dst, &src);
}

static void buffer_read(const struct cn_buffer *base, void *host)
{
    const struct cpu_buffer *buf = (const struct cpu_buffer *)base;
    struct cn_fmap dst, src;

    if (!is_blocked(buf)) {
        cpu_buffer_read(base, host);
        return;
    }
    src = fmap_of(&base->shape, buf->data, buf->block);
    dst = fmap_of(&base->shape, host, 1);
    cn_cpu_copy(&dst, &src);
}

static void buffer_copy_rows(struct cn_buffer *to, int64_t to_row, const struct cn_buffer *from,
                             int64_t from_row, int64_t n)
{
    struct cpu_buffer *dst = (struct cpu_buffer *)to;
    const struct cpu_buffer *src = (const struct cpu_buffer *)from;
    int64_t row = cn_shape_elements(&to->shape) / to->shape.dim[0];
    struct cn_fmap d, s;

    if (to->shape.rank != 4 || dst->block == src->block) {
        cpu_buffer_copy_rows(to, to_row, from, from_row, n);
        return;
    }
    d = fmap_of(&to->shape, (float *)dst->data + to_row * row, dst->block);
    s = fmap_of(&from->shape, (float *)src->data + from_row * row, src->block);
    d.n = s.n = n;
    cn_cpu_copy(&d, &s);
}

const struct cn_backend_ops cn_backend_onednn = {
    .name = "onednn",
    .open = backend_open,
    .close = backend_close,
    .bytes = backend_bytes,
    .trim = backend_trim,
    .weights_new = onednn_weights_new,
    .weights_free = onednn_weights_free,
    .weights_bytes = onednn_weights_bytes,
    .weights_trim = onednn_weights_trim,
    .weights_fix_layouts = onednn_fix_layouts,
    .compile = onednn_compile,
    .factors_new = factors_new,
    .factors_add = cpu_factors_add,
    .factors_free = cpu_factors_free,
    .factors_bytes = cpu_factors_bytes,
    .plan_free = onednn_plan_free,
    .run = onednn_run,
    .arena_bytes = onednn_arena_bytes,
    .profile = onednn_profile,
    .buffer_new = buffer_new,
    .buffer_free = cpu_buffer_free,
    .buffer_write = buffer_write,
    .buffer_read = buffer_read,
    .buffer_copy_rows = buffer_copy_rows,
    .buffer_bytes = cpu_buffer_bytes,
};
