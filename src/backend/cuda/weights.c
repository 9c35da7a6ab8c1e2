/* The CUDA backend's weight store.
 *
 * A parameter is fetched from its file when the first plan that needs it is compiled, uploaded as
 * it lies in the file, and brought on the device into the form that the plan wants: it is kept in
 * that form only, and the file's pages may go. Owning thread.
 */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "base/mem.h"
#include "kernels/cnk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct param {
    struct cn_shape shape;
    void *data[CUDA_W_LAYOUTS];
    size_t bytes[CUDA_W_LAYOUTS];
};

struct weights {
    struct cn_weights base;
    struct cuda_backend *b;
    struct cn_param_source source;
    struct cn_strmap map; /* name -> param */
    size_t bytes;
};

int cuda_weights_new(struct cn_backend *b, const struct cn_param_source *source,
                     struct cn_weights **ret, struct cn_err *err)
{
    struct weights *w = cn_xcalloc(1, sizeof(*w));

    (void)err;
    w->base.ops = b->ops;
    w->b = (struct cuda_backend *)b;
    w->source = *source;
    cn_strmap_init(&w->map);
    *ret = &w->base;
    return CN_OK;
}

void cuda_weights_free(struct cn_weights *base)
{
    struct weights *w = (struct weights *)base;

    for (size_t i = 0; i < w->map.count; i++) {
        struct param *p = w->map.item[i].value;

        for (int f = 0; f < CUDA_W_LAYOUTS; f++)
            cuda_free(w->b, p->data[f], p->bytes[f]);
        free(p);
    }
    cn_strmap_release(&w->map);
    cuda_pool_trim(w->b); /* a model is large: the next one has other sizes */
    free(w);
}

size_t cuda_weights_bytes(const struct cn_weights *base)
{
    return ((const struct weights *)base)->bytes;
}

/* A tensor of a file on its way to the device. */
struct transfer {
    struct cuda_backend *b;
    enum cn_dtype have; /* what is uploaded: the file's type, or F32 when kernels do not know it */
    const void *host;
    float *owned; /* host, when it had to be converted */
    size_t n;     /* elements */
};

static int transfer_init(struct transfer *t, struct cuda_backend *b, const struct cn_param_data *d,
                         const char *name, struct cn_err *err)
{
    *t = (struct transfer){
        .b = b, .have = d->dtype, .host = d->data, .n = (size_t)cn_shape_elements(&d->shape)};
    if (d->dtype == CN_F32 || d->dtype == CN_F16 || d->dtype == CN_BF16)
        return CN_OK;
    t->owned = cn_try_alloc(t->n * sizeof(float));
    if (t->owned == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for tensor \"%s\"", name);
    cn_to_f32(t->owned, d->data, d->dtype, t->n);
    t->have = CN_F32;
    t->host = t->owned;
    return CN_OK;
}

/* The kernel that brings what was uploaded into the form. */
static int arrange_param(const struct transfer *t, void *to, const void *from,
                         const struct cn_shape *s, enum cuda_weight_layout form, enum cn_dtype want,
                         struct cn_err *err)
{
    cudaStream_t stream = t->b->queue[CUDA_MAIN].stream;
    struct cnk_layout a = {.n = (int)s->dim[0], .c = (int)s->dim[1], .stride = (int)s->dim[1]};
    int rc;

    if (form == CUDA_W_OHWI) {
        a.hw = (int)(s->dim[2] * s->dim[3]);
        rc = cnk_to_nhwc(cuda_kernel_type(want), to, cuda_kernel_type(t->have), from, &a, stream);
    } else {
        rc = cnk_convert(cuda_kernel_type(want), to, cuda_kernel_type(t->have), from, t->n, stream);
    }
    return cuda_check(t->b, (cudaError_t)rc, "arrange a parameter", err);
}

/* shape: as the graph says, which for a filter is [co, ci, k, k] whatever the file squeezed. */
static int upload_param(const struct transfer *t, void *to, const struct cn_shape *shape,
                        enum cuda_weight_layout form, struct cn_err *err)
{
    struct cuda_queue *q = &t->b->queue[CUDA_MAIN];
    enum cn_dtype want = form == CUDA_W_F32 ? CN_F32 : t->b->type;
    size_t bytes = t->n * cn_dtype_size(t->have);
    void *raw = NULL;
    int rc;

    if (want == t->have && form != CUDA_W_OHWI)
        return cuda_upload(q, to, t->host, bytes, err);
    rc = cuda_alloc(t->b, bytes, "a parameter on its way", &raw, err);
    if (rc == CN_OK)
        rc = cuda_upload(q, raw, t->host, bytes, err);
    if (rc == CN_OK)
        rc = arrange_param(t, to, raw, shape, form, want, err);
    cuda_free(t->b, raw, bytes); /* whoever gets it next comes later on the same stream */
    return rc;
}

static int load_param(struct weights *w, const struct cn_graph *g, cn_val v,
                      enum cuda_weight_layout form, struct param *p, struct cn_err *err)
{
    const struct cn_value *value = &g->value[v];
    struct cuda_queue *q = &w->b->queue[CUDA_MAIN];
    struct cn_param_data d = {0};
    struct transfer t = {0};
    size_t bytes = (size_t)cn_shape_elements(&value->shape) *
                   (form == CUDA_W_F32 ? sizeof(float) : cn_dtype_size(w->b->type));
    void *data = NULL;
    int rc = cn_param_fetch(&w->source, g, v, &d, err);

    if (rc < 0)
        return rc;
    rc = transfer_init(&t, w->b, &d, value->name, err);
    if (rc == CN_OK)
        rc = cuda_alloc(w->b, bytes, value->name, &data, err);
    if (rc == CN_OK) {
        pthread_mutex_lock(&q->lock);
        rc = upload_param(&t, data, &value->shape, form, err);
        pthread_mutex_unlock(&q->lock);
    }
    free(t.owned);
    if (w->source.done != NULL)
        w->source.done(w->source.ctx, value->name, &d);
    if (rc < 0) {
        cuda_free(w->b, data, bytes);
        return rc;
    }
    p->data[form] = data;
    p->bytes[form] = bytes;
    w->bytes += bytes;
    return CN_OK;
}

/* [co, ci, k, k] -> [co, kh, kw, ci] with zeros around: on the host, for few layers need it. */
static void pad_filter(float *dst, const float *src, const struct cn_shape *s, const int margin[4])
{
    int64_t co = s->dim[0], ci = s->dim[1], k = s->dim[2];
    int64_t kh = k + margin[0] + margin[2], kw = k + margin[1] + margin[3];

    memset(dst, 0, (size_t)(co * kh * kw * ci) * sizeof(*dst));
    for (int64_t o = 0; o < co; o++)
        for (int64_t i = 0; i < ci; i++)
            for (int64_t u = 0; u < k; u++)
                for (int64_t v = 0; v < k; v++)
                    dst[((o * kh + u + margin[0]) * kw + v + margin[1]) * ci + i] =
                        src[((o * ci + i) * k + u) * k + v];
}

static int load_padded(struct weights *w, const struct cn_graph *g, cn_val v, const int margin[4],
                       struct param *p, struct cn_err *err)
{
    const struct cn_value *value = &g->value[v];
    struct cuda_queue *q = &w->b->queue[CUDA_MAIN];
    const struct cn_shape *s = &value->shape;
    size_t n = (size_t)(s->dim[0] * s->dim[1] * (s->dim[2] + margin[0] + margin[2]) *
                        (s->dim[3] + margin[1] + margin[3]));
    size_t bytes = n * cn_dtype_size(w->b->type);
    struct cn_param_data d = {0};
    float *plain, *padded = cn_try_alloc(n * sizeof(float));
    int rc = cn_param_fetch(&w->source, g, v, &d, err);

    if (rc < 0) {
        free(padded);
        return rc;
    }
    plain = cn_try_alloc((size_t)cn_shape_elements(s) * sizeof(float));
    if (plain == NULL || padded == NULL) {
        rc = cn_fail(err, CN_ENOMEM, "no memory for tensor \"%s\"", value->name);
    } else {
        cn_to_f32(plain, d.data, d.dtype, (size_t)cn_shape_elements(s));
        pad_filter(padded, plain, s, margin);
        cuda_pack(padded, padded, w->b->type, n); /* narrower or as wide, from the front */
        rc = cuda_alloc(w->b, bytes, value->name, &p->data[CUDA_W_OHWI], err);
    }
    if (rc == CN_OK) {
        pthread_mutex_lock(&q->lock);
        rc = cuda_upload(q, p->data[CUDA_W_OHWI], padded, bytes, err);
        pthread_mutex_unlock(&q->lock);
        p->bytes[CUDA_W_OHWI] = bytes;
        w->bytes += bytes;
    }
    free(plain);
    free(padded);
    if (w->source.done != NULL)
        w->source.done(w->source.ctx, value->name, &d);
    return rc;
}

int cuda_param_padded(struct cn_weights *base, const struct cn_graph *g, cn_val v,
                      const int margin[4], const void **ret, struct cn_err *err)
{
    struct weights *w = (struct weights *)base;
    struct param *p;
    char key[256];
    int rc;

    snprintf(key, sizeof(key), "%s in %d %d %d %d", g->value[v].name, margin[0], margin[1],
             margin[2], margin[3]);
    p = cn_strmap_get(&w->map, key);
    if (p == NULL) {
        struct param fresh = {.shape = g->value[v].shape};

        if ((rc = load_padded(w, g, v, margin, &fresh, err)) < 0) {
            cuda_free(w->b, fresh.data[CUDA_W_OHWI], fresh.bytes[CUDA_W_OHWI]);
            return rc;
        }
        p = cn_xmalloc(sizeof(*p));
        *p = fresh;
        cn_strmap_add(&w->map, key, p);
    }
    *ret = p->data[CUDA_W_OHWI];
    return CN_OK;
}

int cuda_param(struct cn_weights *base, const struct cn_graph *g, cn_val v,
               enum cuda_weight_layout form, const void **ret, struct cn_err *err)
{
    struct weights *w = (struct weights *)base;
    const struct cn_value *value = &g->value[v];
    struct param *p = cn_strmap_get(&w->map, value->name);
    char want[96], have[96];
    int rc = CN_OK;

    if (p != NULL && !cn_shape_equivalent(&p->shape, &value->shape))
        return cn_fail(err, CN_EFORMAT, "tensor \"%s\" has shape %s, the network needs %s",
                       value->name, cn_shape_text(&p->shape, have, sizeof(have)),
                       cn_shape_text(&value->shape, want, sizeof(want)));
    if (p == NULL) { /* known from the first success on: a refused tensor is looked at again */
        struct param fresh = {.shape = value->shape};

        if ((rc = load_param(w, g, v, form, &fresh, err)) < 0)
            return rc;
        p = cn_xmalloc(sizeof(*p));
        *p = fresh;
        cn_strmap_add(&w->map, value->name, p);
    } else if (p->data[form] == NULL && (rc = load_param(w, g, v, form, p, err)) < 0) {
        return rc;
    }
    *ret = p->data[form];
    return CN_OK;
}
