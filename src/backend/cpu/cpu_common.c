/* Working memory, threads and buffers of the backends for the processor. */
#include "base/base.h"
#include "backend/cpu/cpu_common.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

static int processors(void)
{
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

void cpu_workspace_init(struct cpu_workspace *ws, const struct cn_backend_opts *opts)
{
    ws->main.threads = opts->threads > 0 ? opts->threads : processors();
    ws->concurrent.threads = opts->side_threads > 0 ? opts->side_threads : ws->main.threads;
    pthread_mutex_init(&ws->lock, NULL);
}

static size_t arena_free(struct cpu_arena *a)
{
    size_t bytes = a->bytes;

    free(a->data);
    a->data = NULL;
    a->bytes = 0;
    return bytes;
}

void cpu_workspace_release(struct cpu_workspace *ws)
{
    arena_free(&ws->main);
    arena_free(&ws->concurrent);
    pthread_mutex_destroy(&ws->lock);
}

size_t cpu_workspace_bytes(const struct cpu_workspace *ws)
{
    return ws->main.bytes + ws->concurrent.bytes;
}

size_t cpu_workspace_trim(struct cpu_workspace *ws)
{
    size_t bytes = arena_free(&ws->main);

    if (pthread_mutex_trylock(&ws->lock) == 0) {
        bytes += arena_free(&ws->concurrent);
        pthread_mutex_unlock(&ws->lock);
    }
    return bytes;
}

struct cpu_arena *cpu_workspace_arena(struct cpu_workspace *ws, int plan_flags)
{
    return plan_flags & CN_PLAN_CONCURRENT ? &ws->concurrent : &ws->main;
}

/* The old memory goes last: when there is no room for more, the smaller plans still run. */
static int grow(struct cpu_arena *a, size_t bytes, struct cn_err *err)
{
    unsigned char *larger;

    if (bytes <= a->bytes)
        return CN_OK;
    larger = cn_try_alloc(bytes);
    if (larger == NULL)
        return cn_fail(err, CN_EDEVMEM, "no memory for %zu bytes of working space", bytes);
    free(a->data);
    a->data = larger;
    a->bytes = bytes;
    return CN_OK;
}

int cpu_workspace_reserve(struct cpu_workspace *ws, struct cpu_arena *a, size_t bytes,
                          struct cn_err *err)
{
    return a == &ws->main ? grow(a, bytes, err) : CN_OK;
}

static int run_in(struct cpu_arena *a, size_t bytes, cpu_run_fn fn, void *ctx, struct cn_err *err)
{
    int rc = grow(a, bytes, err), old;

    if (rc < 0)
        return rc;
    old = cpu_use_threads(a->threads);
    rc = fn(ctx, err);
    cpu_use_threads(old);
    return rc;
}

int cpu_workspace_run(struct cpu_workspace *ws, struct cpu_arena *a, size_t bytes, cpu_run_fn fn,
                      void *ctx, struct cn_err *err)
{
    int rc;

    if (a == &ws->main)
        return run_in(a, bytes, fn, ctx, err);
    pthread_mutex_lock(&ws->lock);
    rc = run_in(a, bytes, fn, ctx, err);
    pthread_mutex_unlock(&ws->lock);
    return rc;
}

int cpu_use_threads(int n)
{
#ifdef _OPENMP
    int old = omp_get_max_threads();

    omp_set_num_threads(n);
    return old;
#else
    return n;
#endif
}

bool cpu_value_bytes(const struct cn_shape *s, enum cn_dtype t, size_t *ret)
{
    size_t n = cn_dtype_size(t);

    for (int i = 0; i < s->rank; i++)
        if (!cn_mul_size(n, (size_t)s->dim[i], &n))
            return false;
    *ret = n;
    return true;
}

int cpu_buffer_new(const struct cn_backend_ops *ops, const struct cn_value *value, int64_t block,
                   struct cn_buffer **ret, struct cn_err *err)
{
    size_t bytes = SIZE_MAX;
    void *data = cpu_value_bytes(&value->shape, value->dtype, &bytes) ? cn_try_alloc(bytes) : NULL;
    struct cpu_buffer *buf;

    if (data == NULL)
        return cn_fail(err, CN_EDEVMEM, "no memory for a tensor of %zu bytes", bytes);
    buf = cn_xcalloc(1, sizeof(*buf));
    buf->base.ops = ops;
    buf->data = memset(data, 0, bytes);
    buf->bytes = bytes;
    buf->block = block;
    *ret = &buf->base;
    return CN_OK;
}

void cpu_buffer_free(struct cn_buffer *base)
{
    struct cpu_buffer *buf = (struct cpu_buffer *)base;

    free(buf->data);
    free(buf);
}

size_t cpu_buffer_bytes(const struct cn_buffer *base)
{
    return ((const struct cpu_buffer *)base)->bytes;
}

static bool is_wide(const struct cn_buffer *buf)
{
    return buf->dtype == CN_F32 || !cn_dtype_is_real(buf->dtype);
}

void cpu_buffer_write(struct cn_buffer *base, const void *host)
{
    struct cpu_buffer *buf = (struct cpu_buffer *)base;

    if (is_wide(base))
        memcpy(buf->data, host, buf->bytes);
    else
        cn_from_f32(buf->data, host, base->dtype, (size_t)cn_shape_elements(&base->shape));
}

void cpu_buffer_read(const struct cn_buffer *base, void *host)
{
    const struct cpu_buffer *buf = (const struct cpu_buffer *)base;

    if (is_wide(base))
        memcpy(host, buf->data, buf->bytes);
    else
        cn_to_f32(host, buf->data, base->dtype, (size_t)cn_shape_elements(&base->shape));
}

void cpu_buffer_copy_rows(struct cn_buffer *to, int64_t to_row, const struct cn_buffer *from,
                          int64_t from_row, int64_t n)
{
    struct cpu_buffer *dst = (struct cpu_buffer *)to;
    const struct cpu_buffer *src = (const struct cpu_buffer *)from;
    size_t d_row = dst->bytes / (size_t)to->shape.dim[0];
    size_t s_row = src->bytes / (size_t)from->shape.dim[0];
    unsigned char *d = (unsigned char *)dst->data + (size_t)to_row * d_row;
    const unsigned char *s = (const unsigned char *)src->data + (size_t)from_row * s_row;

    if (to->dtype == from->dtype)
        memcpy(d, s, (size_t)n * d_row);
    else if (to->dtype == CN_F32)
        cn_to_f32((float *)(void *)d, s, from->dtype, (size_t)n * d_row / sizeof(float));
    else /* one of two types that are converted is the host's F32 */
        cn_from_f32(d, (const float *)(const void *)s, to->dtype,
                    (size_t)n * s_row / sizeof(float));
}
