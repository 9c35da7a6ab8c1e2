/* The oneDNN backend's weight store.
 *
 * A parameter is fetched from its file when the first plan that needs it is compiled, brought into
 * the form that the plan wants, and kept in that form only: the file's own pages may go. Plans that
 * want the same form share it; onednn_fix_layouts() says which layout they are offered first.
 */
#include "base/base.h"
#include "backend/cpu/onednn_priv.h"
#include "backend/cpu/winograd_kernel.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

int onednn_weights_new(struct cn_backend *b, const struct cn_param_source *source,
                       struct cn_weights **ret, struct cn_err *err)
{
    struct onednn_weights *w = cn_xcalloc(1, sizeof(*w));

    (void)err;
    w->base.ops = b->ops;
    w->backend = (struct onednn_backend *)b;
    w->source = *source;
    cn_strmap_init(&w->map);
    *ret = &w->base;
    return CN_OK;
}

static void give_back(struct onednn_weights *w, const char *name, struct cn_param_data *d)
{
    if (w->source.done != NULL)
        w->source.done(w->source.ctx, name, d);
}

static void packed_free(struct onednn_packed *k)
{
    if (k->memory != NULL)
        dnnl_memory_destroy(k->memory);
    free(k->transformed);
    free(k);
}

void onednn_packed_release(struct onednn_packed *k)
{
    if (k == NULL)
        return;
    CN_ASSERT(k->users > 0);
    k->users--;
}

static void param_free(struct onednn_param *p)
{
    struct onednn_packed *k, *next;

    for (k = p->packed; k != NULL; k = next) {
        next = k->next;
        packed_free(k);
    }
    free(p->plain);
    free(p);
}

void onednn_weights_free(struct cn_weights *base)
{
    struct onednn_weights *w = (struct onednn_weights *)base;

    for (size_t i = 0; i < w->map.count; i++)
        param_free(w->map.item[i].value);
    cn_strmap_release(&w->map);
    free(w);
}

size_t onednn_weights_bytes(const struct cn_weights *base)
{
    return ((const struct onednn_weights *)base)->bytes;
}

/* Whether k is the form that every plan is offered first. */
static bool is_preferred(const struct onednn_param *p, const struct onednn_packed *k)
{
    if (p->winograd == WINOGRAD_OWN)
        return k->transformed != NULL;
    return p->layout_fixed && k->memory != NULL && dnnl_memory_desc_equal(&k->md, &p->layout);
}

/* The newest form stays where no other would. */
static size_t trim_param(struct onednn_param *p)
{
    struct onednn_packed **at = &p->packed, *k;
    bool some = false;
    size_t bytes = 0;

    for (k = p->packed; k != NULL; k = k->next)
        some = some || k->users > 0 || is_preferred(p, k);
    while ((k = *at) != NULL) {
        if (k->users > 0 || is_preferred(p, k) || !some) {
            some = true;
            at = &k->next;
            continue;
        }
        *at = k->next;
        bytes += k->bytes;
        packed_free(k);
    }
    return bytes;
}

size_t onednn_weights_trim(struct cn_weights *base)
{
    struct onednn_weights *w = (struct onednn_weights *)base;
    size_t bytes = 0;

    for (size_t i = 0; i < w->map.count; i++)
        bytes += trim_param(w->map.item[i].value);
    w->bytes -= bytes;
    return bytes;
}

static struct onednn_weights *holder(struct onednn_weights *w, const char *name)
{
    return (struct onednn_weights *)cn_weights_holder(&w->base, name);
}

/* One of weights over others has the kernel and the layout that were chosen there. */
static struct onednn_param *param_of(struct onednn_weights *w, const char *name)
{
    struct onednn_param *p = cn_strmap_get(&w->map, name);
    const struct onednn_param *under = NULL;

    if (p == NULL) {
        if (w->base.under != NULL)
            under = cn_strmap_get(&((struct onednn_weights *)w->base.under)->map, name);
        p = cn_xcalloc(1, sizeof(*p));
        if (under != NULL) {
            p->winograd = under->winograd;
            p->layout_fixed = under->layout_fixed;
            p->layout = under->layout;
        }
        cn_strmap_add(&w->map, name, p);
    }
    return p;
}

int onednn_param_get(struct onednn_weights *w, const struct cn_graph *g, cn_val v,
                     struct onednn_param **ret, struct cn_err *err)
{
    (void)err;
    *ret = param_of(holder(w, g->value[v].name), g->value[v].name);
    return CN_OK;
}

/* The parameter's elements as aligned floats: the file's own bytes when they are that, otherwise a
 * copy in *ret_copy, which the caller frees. */
static int as_floats(const struct cn_param_data *d, const char *name, const float **ret,
                     float **ret_copy, struct cn_err *err)
{
    size_t n = (size_t)cn_shape_elements(&d->shape);

    *ret_copy = NULL;
    if (d->dtype == CN_F32 && (uintptr_t)d->data % sizeof(float) == 0) {
        *ret = d->data;
        return CN_OK;
    }
    *ret_copy = cn_try_alloc(n * sizeof(float));
    if (*ret_copy == NULL)
        return cn_fail(err, CN_EDEVMEM, "no memory for tensor \"%s\"", name);
    cn_to_f32(*ret_copy, d->data, d->dtype, n);
    *ret = *ret_copy;
    return CN_OK;
}

int onednn_param_plain(struct onednn_weights *w, const struct cn_graph *g, cn_val v,
                       struct onednn_param **ret, struct cn_err *err)
{
    const char *name = g->value[v].name;
    struct onednn_param *p;
    struct cn_param_data d = {0};
    size_t n = (size_t)cn_shape_elements(&g->value[v].shape);
    int rc;

    w = holder(w, name);
    p = param_of(w, name);
    *ret = p;
    if (p->plain != NULL)
        return CN_OK;
    if ((rc = cn_param_fetch(&w->source, g, v, &d, err)) < 0)
        return rc;
    p->plain = cn_try_alloc(n * sizeof(float));
    if (p->plain == NULL)
        rc = cn_fail(err, CN_EDEVMEM, "no memory for tensor \"%s\"", name);
    else
        cn_to_f32(p->plain, d.data, d.dtype, n);
    p->plain_bytes = p->plain ? n * sizeof(float) : 0;
    w->bytes += p->plain_bytes;
    give_back(w, name, &d);
    return rc;
}

/* Runs one reorder from host floats into a fresh memory of layout md. */
static int pack(struct onednn_backend *b, const dnnl_memory_desc_t *md,
                const dnnl_memory_desc_t *plain_md, const float *data, dnnl_memory_t *ret,
                struct cn_err *err)
{
    dnnl_memory_t src = NULL, dst = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t prim = NULL;
    dnnl_status_t s;

    s = dnnl_memory_create(&dst, md, b->engine, DNNL_MEMORY_ALLOCATE);
    if (s == dnnl_success)
        s = dnnl_memory_create(&src, plain_md, b->engine, (void *)(uintptr_t)data);
    if (s == dnnl_success)
        s = dnnl_reorder_primitive_desc_create(&pd, plain_md, b->engine, md, b->engine, NULL);
    if (s == dnnl_success)
        s = dnnl_primitive_create(&prim, pd);
    if (s == dnnl_success) {
        dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, src}, {DNNL_ARG_TO, dst}};

        s = dnnl_primitive_execute(prim, b->stream[0], 2, args);
    }
    if (s == dnnl_success)
        s = dnnl_stream_wait(b->stream[0]);
    dnnl_primitive_destroy(prim);
    dnnl_primitive_desc_destroy(pd);
    dnnl_memory_destroy(src);
    if (s == dnnl_success)
        *ret = dst;
    else
        dnnl_memory_destroy(dst);
    return onednn_check(s, "pack a weight", err);
}

/* A parameter's floats while a form is made of them. */
struct fetched {
    struct cn_param_data d;
    const float *data;
    float *copy;
};

static int fetch_floats(struct onednn_weights *w, const struct cn_graph *g, cn_val v,
                        struct fetched *ret, struct cn_err *err)
{
    const char *name = g->value[v].name;
    int rc;

    *ret = (struct fetched){.data = NULL};
    if ((rc = cn_param_fetch(&w->source, g, v, &ret->d, err)) < 0)
        return rc;
    rc = as_floats(&ret->d, name, &ret->data, &ret->copy, err);
    if (rc < 0)
        give_back(w, name, &ret->d);
    return rc;
}

static void fetched_release(struct onednn_weights *w, const char *name, struct fetched *f)
{
    free(f->copy);
    give_back(w, name, &f->d);
}

/* Puts a new form, which the caller holds, among the others; rc: whether it could be made. */
static int add_form(struct onednn_weights *w, struct onednn_param *p, struct onednn_packed *k,
                    int rc, struct onednn_packed **ret)
{
    if (rc < 0) {
        packed_free(k);
        return rc;
    }
    k->users = 1;
    k->next = p->packed;
    p->packed = k;
    w->bytes += k->bytes;
    *ret = k;
    return CN_OK;
}

int onednn_param_packed(struct onednn_weights *w, const struct cn_graph *g, cn_val v,
                        const dnnl_memory_desc_t *md, const dnnl_memory_desc_t *plain_md,
                        struct onednn_packed **ret, struct cn_err *err)
{
    const char *name = g->value[v].name;
    struct onednn_param *p;
    struct onednn_packed *k;
    struct fetched f;
    int rc;

    w = holder(w, name);
    p = param_of(w, name);
    for (k = p->packed; k != NULL; k = k->next)
        if (k->memory != NULL && dnnl_memory_desc_equal(&k->md, md)) {
            k->users++;
            *ret = k;
            return CN_OK;
        }
    if ((rc = fetch_floats(w, g, v, &f, err)) < 0)
        return rc;
    k = cn_xcalloc(1, sizeof(*k));
    k->md = *md;
    k->bytes = dnnl_memory_desc_get_size(md);
    rc = pack(w->backend, md, plain_md, f.data, &k->memory, err);
    fetched_release(w, name, &f);
    return add_form(w, p, k, rc, ret);
}

int onednn_param_transformed(struct onednn_weights *w, const struct cn_graph *g, cn_val v,
                             struct onednn_packed **ret, struct cn_err *err)
{
    const struct cn_shape *s = &g->value[v].shape;
    const char *name = g->value[v].name;
    struct onednn_param *p;
    struct onednn_packed *k;
    struct fetched f;
    int rc;

    w = holder(w, name);
    p = param_of(w, name);
    for (k = p->packed; k != NULL; k = k->next)
        if (k->transformed != NULL) {
            k->users++;
            *ret = k;
            return CN_OK;
        }
    if ((rc = fetch_floats(w, g, v, &f, err)) < 0)
        return rc;
    k = cn_xcalloc(1, sizeof(*k));
    k->bytes = cn_winograd_floats(s->dim[0], s->dim[1]) * sizeof(float);
    k->transformed = cn_try_alloc(k->bytes);
    if (k->transformed != NULL)
        cn_winograd_transform(k->transformed, f.data, s->dim[0], s->dim[1]);
    else
        rc = cn_fail(err, CN_EDEVMEM, "no memory for tensor \"%s\"", name);
    fetched_release(w, name, &f);
    return add_form(w, p, k, rc, ret);
}
