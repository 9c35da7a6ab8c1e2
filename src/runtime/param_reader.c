/* Checkpoint tensors as backend parameters. */
#include "base/base.h"
#include "runtime/param_reader.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* Reads a tensor into memory of its own, which done() gives back. */
static int read_tensor(const struct cn_tensor_view *v, struct cn_param_data *ret,
                       struct cn_err *err)
{
    struct cn_param_data d = {.dtype = v->dtype, .bytes = v->bytes};
    int rc;

    for (int i = 0; i < v->rank; i++) {
        if (v->rank > CN_GRAPH_RANK && v->dim[i] == 1)
            continue;
        if (d.shape.rank == CN_GRAPH_RANK)
            return cn_fail(err, CN_EFORMAT, "tensor \"%s\" in \"%s\" has %d dimensions", v->name,
                           v->file, v->rank);
        d.shape.dim[d.shape.rank++] = v->dim[i];
    }
    d.data = d.owned = cn_try_alloc(v->bytes);
    if (d.owned == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for tensor \"%s\"", v->name);
    rc = cn_view_read(v, d.owned, err);
    if (rc == CN_OK && !cn_all_finite(d.owned, d.dtype, v->bytes / cn_dtype_size(d.dtype)))
        rc = cn_fail(err, CN_EFORMAT, "tensor \"%s\" in \"%s\" has values that are not numbers",
                     v->name, v->file);
    if (rc < 0)
        free(d.owned);
    else
        *ret = d;
    return rc;
}

/* *ret = a + b as floats; ret owns the sum. */
static int sum(const struct cn_param_data *a, const struct cn_param_data *b, const char *name,
               struct cn_param_data *ret, struct cn_err *err)
{
    size_t n = (size_t)cn_shape_elements(&a->shape);
    float *x, *y;

    if (!cn_shape_equivalent(&a->shape, &b->shape))
        return cn_fail(err, CN_EFORMAT,
                       "tensor \"%s\" of a difference ControlNet does not have the base's shape",
                       name);
    x = cn_try_alloc(n * sizeof(*x));
    y = cn_try_alloc(n * sizeof(*y));
    if (x == NULL || y == NULL) {
        free(x);
        free(y);
        return cn_fail(err, CN_ENOMEM, "no memory for tensor \"%s\"", name);
    }
    cn_to_f32(x, a->data, a->dtype, n);
    cn_to_f32(y, b->data, b->dtype, n);
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
    free(y);
    *ret = (struct cn_param_data){
        .dtype = CN_F32, .shape = a->shape, .data = x, .bytes = n * sizeof(*x), .owned = x};
    return CN_OK;
}

static int get(void *ctx, const char *name, struct cn_param_data *ret, struct cn_err *err)
{
    const struct cn_param_reader *s = ctx;
    struct cn_err missing = CN_ERR_INIT, none = CN_ERR_INIT;
    struct cn_param_data own, base;
    struct cn_tensor_view v, b;
    bool has, has_base;
    int rc;

    rc = cn_checkpoint_find(s->checkpoint, s->component, name, &v, &missing);
    has = rc == CN_OK;
    has_base =
        s->base != NULL && cn_checkpoint_find(s->base, CN_COMP_UNET, name, &b, &none) == CN_OK;
    if (!has && (!has_base || rc != CN_ENOTFOUND))
        return cn_fail(err, missing.code, "%s", missing.msg);
    if (!has)
        return read_tensor(&b, ret, err);
    if ((rc = read_tensor(&v, has_base ? &own : ret, err)) < 0 || !has_base)
        return rc;
    rc = read_tensor(&b, &base, err);
    if (rc == CN_OK) {
        rc = sum(&own, &base, name, ret, err);
        free(base.owned);
    }
    free(own.owned);
    return rc;
}

static void done(void *ctx, const char *name, struct cn_param_data *d)
{
    (void)ctx;
    (void)name;
    free(d->owned);
    memset(d, 0, sizeof(*d));
}

void cn_param_reader_init(struct cn_param_reader *s, const struct cn_checkpoint *checkpoint,
                          enum cn_component component, const struct cn_checkpoint *base)
{
    *s = (struct cn_param_reader){
        .param = {.ctx = s, .get = get, .done = done},
        .checkpoint = checkpoint,
        .component = component,
        .base = base,
    };
}
