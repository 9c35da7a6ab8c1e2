/* Choice of backend, and dispatch. */
#include "base/base.h"
#include "backend/backend_priv.h"
#include "base/buf.h"

#include <stdio.h>
#include <string.h>

int cn_backend_open(const char *name, const struct cn_backend_opts *opts, struct cn_backend **ret,
                    struct cn_err *err)
{
    bool any = strcmp(name, "auto") == 0, processor = strcmp(name, "cpu") == 0;

    for (int i = 0; cn_backends[i] != NULL; i++) {
        const struct cn_backend_ops *ops = cn_backends[i];
        struct cn_err why = CN_ERR_INIT;
        int rc;

        if (!any && !(processor && !ops->device) && strcmp(name, ops->name) != 0)
            continue;
        rc = ops->open(opts, ret, &why);
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

const struct cn_backend_caps *cn_backend_caps(const struct cn_backend *b)
{
    return &b->caps;
}

bool cn_backend_has_device(void)
{
    for (int i = 0; cn_backends[i] != NULL; i++)
        if (cn_backends[i]->device)
            return true;
    return false;
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

size_t cn_backend_trim(struct cn_backend *b)
{
    return b->ops->trim != NULL ? b->ops->trim(b) : 0;
}

int cn_weights_new(struct cn_backend *b, const struct cn_param_source *source,
                   struct cn_weights **ret, struct cn_err *err)
{
    return b->ops->weights_new(b, source, ret, err);
}

int cn_weights_new_over(struct cn_backend *b, const struct cn_param_source *source,
                        struct cn_weights *under, struct cn_weights **ret, struct cn_err *err)
{
    int rc;

    CN_ASSERT(source->changes != NULL && under->ops == b->ops && under->under == NULL);
    rc = cn_weights_new(b, source, ret, err);
    if (rc == CN_OK) {
        (*ret)->under = under;
        (*ret)->over = source;
    }
    return rc;
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

size_t cn_weights_trim(struct cn_weights *w)
{
    return w->ops->weights_trim != NULL ? w->ops->weights_trim(w) : 0;
}

void cn_weights_fix_layouts(struct cn_weights *w, const struct cn_graph *g)
{
    if (w->ops->weights_fix_layouts != NULL)
        w->ops->weights_fix_layouts(w, g);
}

enum cn_dtype cn_stored_dtype(const struct cn_value *v, bool native, enum cn_dtype t)
{
    return v->dtype == CN_F32 && native ? t : v->dtype;
}

static int check_type(const struct cn_backend *b, enum cn_dtype t, struct cn_err *err)
{
    char have[32] = "";
    size_t at = 0;

    if (b->caps.stores & 1u << t)
        return CN_OK;
    for (int i = 0; i < CN_DTYPE_COUNT && at < sizeof(have); i++)
        if (b->caps.stores & 1u << i)
            at += (size_t)snprintf(have + at, sizeof(have) - at, "%s%s", at > 0 ? ", " : "",
                                   cn_dtype_name((enum cn_dtype)i));
    return cn_fail(err, CN_EINVAL, "backend \"%s\" cannot store values as %s, only as %s",
                   b->ops->name, cn_dtype_name(t), have);
}

/* What no backend function has to ask again: that types and nodes are its own. */
static int check_graph(const struct cn_backend *b, const struct cn_graph *g, enum cn_dtype dtype,
                       struct cn_err *err)
{
    int rc = check_type(b, dtype, err);

    for (int i = 0; i < g->count && rc == CN_OK; i++) {
        const char *why = b->ops->refuses != NULL ? b->ops->refuses(g, i) : NULL;
        char shape[96];

        if (cn_dtype_is_real(g->value[i].dtype) && g->value[i].dtype != CN_F32)
            rc = check_type(b, g->value[i].dtype, err);
        if (rc == CN_OK && why != NULL)
            rc = cn_fail(err, CN_EINVAL, "backend \"%s\" cannot run %s %s of \"%s\": %s",
                         b->ops->name, cn_op_name(g->node[i].op),
                         cn_shape_text(&g->value[i].shape, shape, sizeof(shape)), g->name, why);
    }
    return rc;
}

int cn_plan_compile(struct cn_backend *b, const struct cn_graph *g, struct cn_weights *w,
                    enum cn_dtype dtype, int flags, struct cn_plan **ret, struct cn_err *err)
{
    int rc;

    if (dtype == CN_DTYPE_COUNT)
        dtype = b->caps.dtype;
    rc = check_graph(b, g, dtype, err);
    return rc < 0 ? rc : b->ops->compile(b, g, w, dtype, flags, ret, err);
}

void cn_plan_free(struct cn_plan *p)
{
    if (p != NULL)
        p->ops->plan_free(p);
}

static bool fits(const struct cn_buffer *buf, const struct cn_value *v, bool native,
                 enum cn_dtype t)
{
    return buf->native == native && buf->dtype == cn_stored_dtype(v, native, t) &&
           cn_shape_equal(&buf->shape, &v->shape);
}

bool cn_buffers_fit(const struct cn_graph *g, const struct cn_io *io, int n, enum cn_dtype t,
                    struct cn_buffer *const *list)
{
    for (int i = 0; i < n; i++)
        if (!fits(list[i], &g->value[io[i].val], io[i].flags & CN_IO_NATIVE, t))
            return false;
    return true;
}

int cn_plan_run(struct cn_plan *p, struct cn_buffer *const *in, struct cn_buffer *const *out,
                struct cn_err *err)
{
    return p->ops->run(p, in, out, err);
}

int cn_plan_run_adapted(struct cn_plan *p, struct cn_buffer *const *in,
                        struct cn_buffer *const *out, const struct cn_row_adapter *adapter, int n,
                        struct cn_err *err)
{
    int rc;

    for (int i = 0; i < n; i++)
        CN_ASSERT(adapter[i].factors->ops == p->ops && adapter[i].row >= 0 && adapter[i].rows > 0);
    p->adapter = adapter;
    p->n_adapters = n;
    rc = cn_plan_run(p, in, out, err);
    p->adapter = NULL;
    p->n_adapters = 0;
    return rc;
}

int cn_factors_new(struct cn_backend *b, struct cn_factors **ret, struct cn_err *err)
{
    CN_ASSERT(b->caps.adapts_rows);
    return b->ops->factors_new(b, ret, err);
}

int cn_factors_add(struct cn_factors *f, const struct cn_factor *x, struct cn_err *err)
{
    return f->ops->factors_add(f, x, err);
}

void cn_factors_free(struct cn_factors *f)
{
    if (f != NULL)
        f->ops->factors_free(f);
}

size_t cn_factors_bytes(const struct cn_factors *f)
{
    return f->ops->factors_bytes(f);
}

size_t cn_plan_arena_bytes(const struct cn_plan *p)
{
    return p->ops->arena_bytes(p);
}

char *cn_plan_profile(const struct cn_plan *p)
{
    return p->ops->profile(p);
}

char *cn_profile_text(const struct cn_step_profile *step, int n)
{
    double total = 0;
    struct cn_buf b;
    size_t len;

    cn_buf_init(&b, 1u << 20);
    cn_buf_adds(&b, "", NULL);
    for (int i = 0; i < n; i++)
        total += step[i].ms;
    for (int i = 0; i < n && total > 0; i++) {
        double ms = 0;
        int count = 0, first = i;

        for (int k = 0; k < n; k++)
            if (strcmp(step[k].label, step[i].label) == 0) {
                first = CN_MIN(first, k);
                ms += step[k].ms;
                count++;
            }
        if (first == i)
            cn_buf_printf(&b, NULL, "%-28s %5d steps %10.3f ms per run %5.1f %%\n", step[i].label,
                          count, ms / (double)step[i].runs, 100 * ms / total);
    }
    return (char *)cn_buf_steal(&b, &len);
}

int cn_buffer_new(struct cn_backend *b, const struct cn_value *value, enum cn_dtype dtype,
                  int flags, struct cn_buffer **ret, struct cn_err *err)
{
    bool native = flags & CN_IO_NATIVE;
    struct cn_value v = *value;
    int rc = CN_OK;

    v.dtype = cn_stored_dtype(value, native, dtype == CN_DTYPE_COUNT ? b->caps.dtype : dtype);
    if (v.dtype != CN_F32 && cn_dtype_is_real(v.dtype))
        rc = check_type(b, v.dtype, err);
    if (rc == CN_OK)
        rc = b->ops->buffer_new(b, &v, flags, ret, err);
    if (rc == CN_OK) {
        (*ret)->dtype = v.dtype;
        (*ret)->native = native;
        (*ret)->shape = v.shape;
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

/* Whether buffers differ in their number of rows only, or one is the host's view of the other. */
static bool rows_agree(const struct cn_buffer *a, const struct cn_buffer *b)
{
    bool converts = cn_dtype_is_real(a->dtype) && cn_dtype_is_real(b->dtype) &&
                    a->native != b->native;

    if (a->ops != b->ops || a->shape.rank != b->shape.rank ||
        (a->dtype != b->dtype && !converts))
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
