/* Choice of backend, and dispatch. */
#include "base/base.h"
#include "backend/backend_priv.h"

#include <string.h>

int cn_backend_open(const char *name, const struct cn_backend_opts *opts, struct cn_backend **ret,
                    struct cn_err *err)
{
    bool any = strcmp(name, "auto") == 0;

    for (int i = 0; cn_backends[i] != NULL; i++) {
        struct cn_err why = CN_ERR_INIT;
        int rc;

        if (!any && strcmp(name, cn_backends[i]->name) != 0)
            continue;
        rc = cn_backends[i]->open(opts, ret, &why);
        if (rc < 0 && !(any && rc == CN_ENOTFOUND)) /* no device: the next one */
            return cn_fail(err, rc, "%s", why.msg);
        if (rc == CN_OK)
            return CN_OK;
    }
    return cn_fail(err, CN_ENOTFOUND, "this build has no backend \"%s\"", name);
}

void cn_backend_close(struct cn_backend *b)
{
    if (b != NULL)
        b->ops->close(b);
}

const char *cn_backend_name(const struct cn_backend *b)
{
    return b->ops->name;
}

const char *cn_backend_about(const struct cn_backend *b)
{
    return b->ops->about != NULL ? b->ops->about(b) : "";
}

int cn_backend_check(struct cn_backend *b, struct cn_err *err)
{
    return b->ops->check != NULL ? b->ops->check(b, err) : CN_OK;
}

size_t cn_backend_bytes(const struct cn_backend *b)
{
    return b->ops->bytes(b);
}

int cn_weights_new(struct cn_backend *b, const struct cn_param_source *source,
                   struct cn_weights **ret, struct cn_err *err)
{
    return b->ops->weights_new(b, source, ret, err);
}

void cn_weights_free(struct cn_weights *w)
{
    if (w != NULL)
        w->ops->weights_free(w);
}

size_t cn_weights_bytes(const struct cn_weights *w)
{
    return w->ops->weights_bytes(w);
}

void cn_weights_fix_layouts(struct cn_weights *w, const struct cn_graph *g)
{
    if (w->ops->weights_fix_layouts != NULL)
        w->ops->weights_fix_layouts(w, g);
}

int cn_plan_compile(struct cn_backend *b, const struct cn_graph *g, struct cn_weights *w,
                    int flags, struct cn_plan **ret, struct cn_err *err)
{
    return b->ops->compile(b, g, w, flags, ret, err);
}

void cn_plan_free(struct cn_plan *p)
{
    if (p != NULL)
        p->ops->plan_free(p);
}

int cn_plan_run(struct cn_plan *p, struct cn_buffer *const *in, struct cn_buffer *const *out,
                struct cn_err *err)
{
    return p->ops->run(p, in, out, err);
}

size_t cn_plan_arena_bytes(const struct cn_plan *p)
{
    return p->ops->arena_bytes(p);
}

char *cn_plan_profile(const struct cn_plan *p)
{
    return p->ops->profile(p);
}

int cn_buffer_new(struct cn_backend *b, const struct cn_value *value, int flags,
                  struct cn_buffer **ret, struct cn_err *err)
{
    int rc = b->ops->buffer_new(b, value, flags, ret, err);

    if (rc == CN_OK) {
        (*ret)->dtype = value->dtype;
        (*ret)->shape = value->shape;
    }
    return rc;
}

void cn_buffer_free(struct cn_buffer *buf)
{
    if (buf != NULL)
        buf->ops->buffer_free(buf);
}

void cn_buffer_write(struct cn_buffer *buf, const void *host)
{
    buf->ops->buffer_write(buf, host);
}

void cn_buffer_read(const struct cn_buffer *buf, void *host)
{
    buf->ops->buffer_read(buf, host);
}

void cn_buffer_zero(struct cn_buffer *buf)
{
    buf->ops->buffer_zero(buf);
}

/* Whether buffers differ in their number of rows only. */
static bool rows_agree(const struct cn_buffer *a, const struct cn_buffer *b)
{
    if (a->ops != b->ops || a->dtype != b->dtype || a->shape.rank != b->shape.rank)
        return false;
    for (int i = 1; i < a->shape.rank; i++)
        if (a->shape.dim[i] != b->shape.dim[i])
            return false;
    return a->shape.rank > 0;
}

static bool has_rows(const struct cn_buffer *buf, int64_t row, int64_t n)
{
    return row >= 0 && n >= 0 && row <= buf->shape.dim[0] && n <= buf->shape.dim[0] - row;
}

int cn_buffer_copy_rows(struct cn_buffer *dst, int64_t dst_row, const struct cn_buffer *src,
                        int64_t src_row, int64_t n, struct cn_err *err)
{
    char to[96], from[96];

    if (dst == src || !rows_agree(dst, src) || !has_rows(dst, dst_row, n) ||
        !has_rows(src, src_row, n))
        return cn_fail(err, CN_EINVAL, "cannot copy %lld rows from %lld of %s to %lld of %s",
                       (long long)n, (long long)src_row,
                       cn_shape_text(&src->shape, from, sizeof(from)), (long long)dst_row,
                       cn_shape_text(&dst->shape, to, sizeof(to)));
    dst->ops->buffer_copy_rows(dst, dst_row, src, src_row, n);
    return CN_OK;
}

size_t cn_buffer_bytes(const struct cn_buffer *buf)
{
    return buf->ops->buffer_bytes(buf);
}

/* Whether the bytes that the source hands over can hold the shape it claims. */
static bool holds_shape(const struct cn_param_data *d)
{
    size_t n = cn_dtype_size(d->dtype);

    for (int i = 0; i < d->shape.rank; i++)
        if (!cn_mul_size(n, (size_t)d->shape.dim[i], &n))
            return false;
    return d->bytes >= n;
}

int cn_param_fetch(const struct cn_param_source *source, const struct cn_graph *g, cn_val v,
                   struct cn_param_data *ret, struct cn_err *err)
{
    const struct cn_value *p = &g->value[v];
    char want[96], have[96];
    int rc = source->get(source->ctx, p->name, ret, err);

    if (rc < 0)
        return rc;
    cn_shape_text(&ret->shape, have, sizeof(have));
    if (!cn_shape_equivalent(&p->shape, &ret->shape))
        rc = cn_fail(err, CN_EFORMAT, "tensor \"%s\" has shape %s, the network needs %s", p->name,
                     have, cn_shape_text(&p->shape, want, sizeof(want)));
    else if (!holds_shape(ret))
        rc = cn_fail(err, CN_EFORMAT, "tensor \"%s\" of shape %s %s has only %zu bytes", p->name,
                     have, cn_dtype_name(ret->dtype), ret->bytes);
    if (rc < 0 && source->done != NULL)
        source->done(source->ctx, p->name, ret);
    return rc;
}
