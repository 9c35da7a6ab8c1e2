/* The CUDA backend's weight store.
 *
 * A parameter is fetched from its file when the first plan that needs it is compiled, uploaded as
 * it lies in the file, and brought on the device into the layout and type that the plan wants: only
 * that copy is kept, and the file's pages may go. Owning thread.
 */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "base/mem.h"
#include "kernels/cnk.h"

#include <stdlib.h>
#include <string.h>

/* One copy of a parameter on the device. */
struct copy {
    void *data; /* NULL: not there */
    size_t bytes;
};

struct param {
    struct cn_shape shape;
    struct copy copy[CUDA_W_LAYOUTS][CUDA_TYPES];
};

struct weights {
    struct cn_weights base;
    struct cuda_backend *b;
    struct cn_param_source source;
    struct cn_strmap map; /* name -> param */
    struct cn_strmap own; /* input of a graph -> its shape at the network's own size */
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
    cn_strmap_init(&w->own);
    *ret = &w->base;
    return CN_OK;
}

void cuda_weights_free(struct cn_weights *base)
{
    struct weights *w = (struct weights *)base;

    for (size_t i = 0; i < w->map.count; i++) {
        struct param *p = w->map.item[i].value;

        for (int l = 0; l < CUDA_W_LAYOUTS; l++)
            for (int t = 0; t < CUDA_TYPES; t++)
                cuda_free(w->b, p->copy[l][t].data, p->copy[l][t].bytes);
        free(p);
    }
    cn_strmap_release(&w->map);
    for (size_t i = 0; i < w->own.count; i++)
        free(w->own.item[i].value);
    cn_strmap_release(&w->own);
    cuda_pool_trim(w->b); /* a model is large: the next one has other sizes */
    free(w);
}

size_t cuda_weights_bytes(const struct cn_weights *base)
{
    return ((const struct weights *)base)->bytes;
}

/* Which input of which graph, and its shape but for the rows. */
static char *input_key(const struct cn_graph *g, int i)
{
    return cn_xprintf("%s: %s", g->name, g->input[i].name);
}

static char *input_size(const struct cn_graph *g, int i)
{
    struct cn_shape s = g->value[g->input[i].val].shape;
    char text[96];

    s.dim[0] = 1;
    return cn_xstrdup(cn_shape_text(&s, text, sizeof(text)));
}

void cuda_weights_fix_layouts(struct cn_weights *base, const struct cn_graph *g)
{
    struct weights *w = (struct weights *)base;

    for (int i = 0; i < g->n_inputs; i++) {
        char *key = input_key(g, i), *size = input_size(g, i);

        if (!cn_strmap_add(&w->own, key, size))
            free(size); /* the first counts */
        free(key);
    }
}

/* Inputs that were not there when the size was noted (a ControlNet's residuals) say nothing. */
bool cuda_weights_at_own_size(const struct cn_weights *base, const struct cn_graph *g)
{
    const struct weights *w = (const struct weights *)(base->under != NULL ? base->under : base);
    const struct cn_strmap *own = &w->own;
    bool same = true;

    for (int i = 0; i < g->n_inputs; i++) {
        char *key = input_key(g, i), *size = input_size(g, i);
        const char *noted = cn_strmap_get(own, key);

        same = same && (noted == NULL || strcmp(noted, size) == 0);
        free(key);
        free(size);
    }
    return same;
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

/* The kernel that brings what was uploaded into the layout and type. */
static int arrange_param(const struct transfer *t, void *to, const void *from,
                         const struct cn_shape *s, enum cuda_weight_layout layout,
                         enum cn_dtype want, struct cn_err *err)
{
    cudaStream_t stream = t->b->queue[CUDA_MAIN].stream;
    struct cnk_layout a = {.n = (int)s->dim[0], .c = (int)s->dim[1], .stride = (int)s->dim[1]};
    int rc;

    if (layout == CUDA_W_OHWI) {
        a.hw = (int)(s->dim[2] * s->dim[3]);
        rc = cnk_to_nhwc(want, to, t->have, from, &a, stream);
    } else {
        rc = cnk_convert(want, to, t->have, from, t->n, stream);
    }
    return cuda_check(t->b, (cudaError_t)rc, "arrange a parameter", err);
}

/* shape: as the graph says, which for a filter is [co, ci, kh, kw] whatever the file squeezed. */
static int upload_param(const struct transfer *t, void *to, const struct cn_shape *shape,
                        enum cuda_weight_layout layout, enum cn_dtype want, struct cn_err *err)
{
    struct cuda_queue *q = &t->b->queue[CUDA_MAIN];
    size_t bytes = t->n * cn_dtype_size(t->have);
    void *raw = NULL;
    int rc;

    if (want == t->have && layout != CUDA_W_OHWI)
        return cuda_upload(q, to, t->host, bytes, err);
    rc = cuda_alloc(t->b, bytes, "a parameter on its way", &raw, err);
    if (rc == CN_OK)
        rc = cuda_upload(q, raw, t->host, bytes, err);
    if (rc == CN_OK)
        rc = arrange_param(t, to, raw, shape, layout, want, err);
    cuda_free(t->b, raw, bytes); /* whoever gets it next comes later on the same stream */
    return rc;
}

/* One copy: where its bytes come from, and what it is to be. */
struct request {
    const struct cn_graph *g;
    cn_val v;
    enum cuda_weight_layout layout;
    enum cn_dtype type;
    const int *margin; /* of a padded filter; NULL: none */
};

static int64_t padded_size(const struct request *r, int axis)
{
    const struct cn_shape *s = &r->g->value[r->v].shape;

    return s->dim[2 + axis] + r->margin[axis] + r->margin[axis + 2];
}

static size_t copy_bytes(const struct request *r)
{
    const struct cn_shape *s = &r->g->value[r->v].shape;
    int64_t n = cn_shape_elements(s);

    if (r->margin != NULL)
        n = s->dim[0] * s->dim[1] * padded_size(r, 0) * padded_size(r, 1);
    return (size_t)n * cn_dtype_size(r->type);
}

/* [co, ci, kh, kw] -> [co, kh, kw, ci] with zeros around. */
static void pad_filter(float *dst, const float *src, const struct request *r)
{
    const struct cn_shape *s = &r->g->value[r->v].shape;
    int64_t co = s->dim[0], ci = s->dim[1], kh = s->dim[2], kw = s->dim[3];
    int64_t height = padded_size(r, 0), width = padded_size(r, 1);

    for (int64_t i = 0; i < co * height * width * ci; i++)
        dst[i] = 0.0f;
    for (int64_t o = 0; o < co; o++)
        for (int64_t i = 0; i < ci; i++)
            for (int64_t u = 0; u < kh; u++)
                for (int64_t v = 0; v < kw; v++)
                    dst[((o * height + u + r->margin[0]) * width + v + r->margin[1]) * ci + i] =
                        src[((o * ci + i) * kh + u) * kw + v];
}

/* On the host, for few layers need it; q locked. */
static int upload_padded(struct cuda_queue *q, void *to, const struct cn_param_data *d,
                         const struct request *r, struct cn_err *err)
{
    size_t n = copy_bytes(r) / cn_dtype_size(r->type);
    size_t plain_n = (size_t)cn_shape_elements(&r->g->value[r->v].shape);
    float *plain = cn_try_alloc(plain_n * sizeof(float));
    float *padded = cn_try_alloc(n * sizeof(float));
    int rc;

    if (plain == NULL || padded == NULL) {
        rc = cn_fail(err, CN_ENOMEM, "no memory for tensor \"%s\"", r->g->value[r->v].name);
    } else {
        cn_to_f32(plain, d->data, d->dtype, plain_n);
        pad_filter(padded, plain, r);
        cuda_pack(padded, padded, r->type, n); /* narrower or as wide, from the front */
        rc = cuda_upload(q, to, padded, copy_bytes(r), err);
    }
    free(plain);
    free(padded);
    return rc;
}

static int fill_copy(struct weights *w, const struct request *r, const struct cn_param_data *d,
                     void *to, struct cn_err *err)
{
    const struct cn_value *value = &r->g->value[r->v];
    struct cuda_queue *q = &w->b->queue[CUDA_MAIN];
    struct transfer t = {0};
    int rc = CN_OK;

    if (r->margin == NULL)
        rc = transfer_init(&t, w->b, d, value->name, err);
    if (rc == CN_OK) {
        pthread_mutex_lock(&q->lock);
        rc = r->margin != NULL ? upload_padded(q, to, d, r, err)
                               : upload_param(&t, to, &value->shape, r->layout, r->type, err);
        pthread_mutex_unlock(&q->lock);
    }
    free(t.owned);
    return rc;
}

static int load_copy(struct weights *w, const struct request *r, struct copy *ret,
                     struct cn_err *err)
{
    const char *name = r->g->value[r->v].name;
    struct copy c = {.bytes = copy_bytes(r)};
    struct cn_param_data d = {0};
    int rc = cn_param_fetch(&w->source, r->g, r->v, &d, err);

    if (rc < 0)
        return rc;
    rc = cuda_alloc(w->b, c.bytes, name, &c.data, err);
    if (rc == CN_OK)
        rc = fill_copy(w, r, &d, c.data, err);
    if (w->source.done != NULL)
        w->source.done(w->source.ctx, name, &d);
    if (rc < 0) {
        cuda_free(w->b, c.data, c.bytes);
        return rc;
    }
    *ret = c;
    w->bytes += c.bytes;
    return CN_OK;
}

/* A parameter is known from its first copy on: one that was refused is looked at again. */
static int find_copy(struct weights *w, const char *key, const struct request *r, const void **ret,
                     struct cn_err *err)
{
    const struct cn_shape *shape = &r->g->value[r->v].shape;
    struct param *p = cn_strmap_get(&w->map, key), fresh = {.shape = *shape};
    struct copy *c = &(p != NULL ? p : &fresh)->copy[r->layout][r->type];
    char want[96], have[96];
    int rc;

    if (p != NULL && !cn_shape_equivalent(&p->shape, shape))
        return cn_fail(err, CN_EFORMAT, "tensor \"%s\" has shape %s, the network needs %s",
                       r->g->value[r->v].name, cn_shape_text(&p->shape, have, sizeof(have)),
                       cn_shape_text(shape, want, sizeof(want)));
    if (c->data == NULL && (rc = load_copy(w, r, c, err)) < 0)
        return rc;
    *ret = c->data;
    if (p == NULL) {
        p = cn_xmalloc(sizeof(*p));
        *p = fresh;
        cn_strmap_add(&w->map, key, p);
    }
    return CN_OK;
}

static struct weights *holder(struct cn_weights *w, const struct cn_graph *g, cn_val v)
{
    return (struct weights *)cn_weights_holder(w, g->value[v].name);
}

int cuda_param_padded(struct cn_weights *base, const struct cn_graph *g, cn_val v,
                      const int margin[4], enum cn_dtype type, const void **ret, struct cn_err *err)
{
    struct request r = {.g = g, .v = v, .layout = CUDA_W_OHWI, .type = type, .margin = margin};
    char *key = cn_xprintf("%s in %d %d %d %d", g->value[v].name, margin[0], margin[1], margin[2],
                           margin[3]);
    int rc = find_copy(holder(base, g, v), key, &r, ret, err);

    free(key);
    return rc;
}

int cuda_param(struct cn_weights *base, const struct cn_graph *g, cn_val v,
               enum cuda_weight_layout layout, enum cn_dtype type, const void **ret,
               struct cn_err *err)
{
    struct request r = {.g = g, .v = v, .layout = layout, .type = type};

    return find_copy(holder(base, g, v), g->value[v].name, &r, ret, err);
}
