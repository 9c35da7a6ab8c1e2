/* Checkpoint tensors as backend parameters. */
#include "base/base.h"
#include "runtime/param_reader.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int to_param(const struct cn_tensor_view *v, struct cn_param_data *ret, struct cn_err *err)
{
    *ret = (struct cn_param_data){.dtype = v->dtype, .data = v->data, .bytes = v->bytes};
    for (int i = 0; i < v->rank; i++) {
        if (v->rank > CN_GRAPH_RANK && v->dim[i] == 1)
            continue;
        if (ret->shape.rank == CN_GRAPH_RANK)
            return cn_fail(err, CN_EFORMAT, "tensor \"%s\" in \"%s\" has %d dimensions", v->name,
                           v->file, v->rank);
        ret->shape.dim[ret->shape.rank++] = v->dim[i];
    }
    return CN_OK;
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
        return to_param(&b, ret, err);
    if ((rc = to_param(&v, has_base ? &own : ret, err)) < 0 || !has_base)
        return rc;
    if ((rc = to_param(&b, &base, err)) < 0)
        return rc;
    return sum(&own, &base, name, ret, err);
}

/* The file's pages have been read into a packed copy: the kernel may have them back. Only whole
 * pages inside the tensor, because its neighbours share the outer ones. */
static void done(void *ctx, const char *name, struct cn_param_data *d)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)d->data + page - 1) & ~(page - 1);
    uintptr_t to = ((uintptr_t)d->data + d->bytes) & ~(page - 1);

    (void)ctx;
    (void)name;
    if (d->owned != NULL)
        free(d->owned);
    else if (to > from)
        madvise((void *)from, to - from, MADV_DONTNEED);
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
