/* The reference backend: runs a graph node by node with the plain C kernels. Slow, and the truth.
 *
 * Layouts are the logical ones, also in native buffers. Values of a plan live in an arena that all
 * plans of the backend (and another that all side plans) share, packed by lifetime; inputs and
 * outputs are the caller's buffers. */
#include "base/base.h"
#include "backend/backend_priv.h"
#include "backend/cpu/reference_priv.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "tensor/passes.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

/* What plans that never run at the same time share: memory that grows to the largest of them, and
 * whose content lives for one run. */
struct space {
    unsigned char *arena;
    _Atomic size_t bytes; /* read on any thread */
    int threads;
};

struct backend {
    struct cn_backend base;
    struct cn_backend_opts opts;
    struct space main, side;
    pthread_mutex_t side_lock; /* held while a side plan runs: guards side.arena */
};

struct weights {
    struct cn_weights base;
    const struct cn_param_source *source;
    struct cn_strmap params; /* name -> struct param */
    size_t bytes;
};

struct param {
    struct cn_shape shape;
    float *data;
};

enum place_kind { IN_ARENA, IN_INPUT, IN_OUTPUT, IN_WEIGHTS };

/* Where a value's data is: at an offset of the arena, in the caller's n-th input or output, or
 * among the weights. */
struct place {
    enum place_kind kind;
    int n;
    size_t offset;
    float *param;
};

struct plan {
    struct cn_plan base;
    struct backend *b;
    struct space *space;
    struct cn_graph *g; /* fused */
    struct place *place;
    size_t *bytes; /* of each value */
    size_t arena_bytes;
    int64_t spent_ns[CN_OP_COUNT];
    long count[CN_OP_COUNT];
};

struct buffer {
    struct cn_buffer base;
    size_t bytes;
    void *data;
};

static int reference_open(const struct cn_backend_opts *opts, struct cn_backend **ret,
                          struct cn_err *err)
{
    struct backend *b = cn_xcalloc(1, sizeof(*b));

    (void)err;
    b->base.ops = &cn_backend_reference;
    b->opts = *opts;
    b->main.threads = opts->threads;
    b->side.threads = opts->side_threads > 0 ? opts->side_threads : opts->threads;
    pthread_mutex_init(&b->side_lock, NULL);
    *ret = &b->base;
    return CN_OK;
}

static void reference_close(struct cn_backend *base)
{
    struct backend *b = (struct backend *)base;

    free(b->main.arena);
    free(b->side.arena);
    pthread_mutex_destroy(&b->side_lock);
    free(b);
}

static size_t reference_bytes(const struct cn_backend *base)
{
    const struct backend *b = (const struct backend *)base;

    return b->main.bytes + b->side.bytes;
}

static int out_of_memory(struct cn_err *err, const char *what, size_t bytes)
{
    return cn_fail(err, CN_EDEVMEM, "no memory for %s of %zu bytes", what, bytes);
}

static int weights_new(struct cn_backend *b, const struct cn_param_source *source,
                       struct cn_weights **ret, struct cn_err *err)
{
    struct weights *w = cn_xcalloc(1, sizeof(*w));

    (void)b;
    (void)err;
    w->base.ops = &cn_backend_reference;
    w->source = source;
    cn_strmap_init(&w->params);
    *ret = &w->base;
    return CN_OK;
}

static void weights_free(struct cn_weights *base)
{
    struct weights *w = (struct weights *)base;

    for (size_t i = 0; i < w->params.count; i++) {
        struct param *p = w->params.item[i].value;

        free(p->data);
        free(p);
    }
    cn_strmap_release(&w->params);
    free(w);
}

static size_t weights_bytes(const struct cn_weights *base)
{
    return ((const struct weights *)base)->bytes;
}

static int load_param(struct weights *w, const struct cn_graph *g, cn_val v, struct param **ret,
                      struct cn_err *err)
{
    const struct cn_value *value = &g->value[v];
    size_t n = (size_t)cn_shape_elements(&value->shape), bytes = n * sizeof(float);
    struct cn_param_data data = {0};
    int rc = cn_param_fetch(w->source, g, v, &data, err);
    float *copy;

    if (rc < 0)
        return rc;
    copy = cn_try_alloc(bytes);
    if (copy != NULL)
        cn_to_f32(copy, data.data, data.dtype, n);
    if (w->source->done != NULL)
        w->source->done(w->source->ctx, value->name, &data);
    if (copy == NULL)
        return out_of_memory(err, value->name, bytes);
    *ret = cn_xmalloc(sizeof(**ret));
    **ret = (struct param){value->shape, copy};
    w->bytes += bytes;
    cn_strmap_add(&w->params, value->name, *ret);
    return CN_OK;
}

/* The parameter that value v of g names, in binary32; loaded when it is new. */
static int find_param(struct weights *w, const struct cn_graph *g, cn_val v, float **ret,
                      struct cn_err *err)
{
    const struct cn_value *value = &g->value[v];
    struct param *p = cn_strmap_get(&w->params, value->name);
    char want[96], have[96];
    int rc;

    if (p == NULL) {
        rc = load_param(w, g, v, &p, err);
        if (rc < 0)
            return rc;
    } else if (!cn_shape_equivalent(&p->shape, &value->shape)) {
        return cn_fail(err, CN_EFORMAT, "tensor \"%s\" has shape %s, the network needs %s",
                       value->name, cn_shape_text(&p->shape, have, sizeof(have)),
                       cn_shape_text(&value->shape, want, sizeof(want)));
    }
    *ret = p->data;
    return CN_OK;
}

static bool value_bytes(const struct cn_value *v, size_t *ret)
{
    size_t n = cn_dtype_size(v->dtype);

    for (int i = 0; i < v->shape.rank; i++)
        if (!cn_mul_size(n, (size_t)v->shape.dim[i], &n))
            return false;
    *ret = n;
    return true;
}

/* Outputs first: a value that is an output is computed in the caller's buffer. An input or a
 * parameter that is an output too is copied after the run. */
static int place_values(struct plan *p, struct weights *w, struct cn_err *err)
{
    const struct cn_graph *g = p->g;

    for (int i = g->n_outputs - 1; i >= 0; i--)
        p->place[g->output[i].val] = (struct place){.kind = IN_OUTPUT, .n = i};
    for (int i = 0; i < g->n_inputs; i++)
        p->place[g->input[i].val] = (struct place){.kind = IN_INPUT, .n = i};
    for (int i = 0; i < g->count; i++) {
        int rc = CN_OK;

        if (!value_bytes(&g->value[i], &p->bytes[i]))
            return out_of_memory(err, cn_op_name(g->node[i].op), SIZE_MAX);
        if (g->node[i].op != CN_OP_PARAM)
            continue;
        p->place[i].kind = IN_WEIGHTS;
        rc = find_param(w, g, i, &p->place[i].param, err);
        if (rc < 0)
            return rc;
    }
    return CN_OK;
}

static bool pack_arena(struct plan *p)
{
    size_t n = (size_t)p->g->count, sum = 0;
    int *last = cn_graph_last_use(p->g);
    int *first = cn_xcalloc(n, sizeof(*first));
    size_t *bytes = cn_xcalloc(n, sizeof(*bytes)), *offset = cn_xcalloc(n, sizeof(*offset));
    bool fits = true;

    for (size_t i = 0; i < n; i++) {
        first[i] = (int)i;
        last[i] = CN_MAX(last[i], (int)i);
        bytes[i] = p->place[i].kind == IN_ARENA ? p->bytes[i] : 0;
        fits = fits && bytes[i] <= SIZE_MAX - 64 && cn_add_size(sum, bytes[i] + 64, &sum);
    }
    if (fits)
        p->arena_bytes = cn_pack_buffers((int)n, bytes, first, last, offset);
    for (size_t i = 0; i < n; i++)
        p->place[i].offset = offset[i];
    free(last);
    free(first);
    free(bytes);
    free(offset);
    return fits;
}

/* The old arena goes last: when there is no room for a larger one, the older plans still run. */
static int grow_arena(struct space *s, size_t bytes, struct cn_err *err)
{
    unsigned char *larger;

    if (bytes <= s->bytes)
        return CN_OK;
    larger = cn_try_alloc(bytes);
    if (larger == NULL)
        return out_of_memory(err, "an arena", bytes);
    free(s->arena);
    s->arena = larger;
    s->bytes = bytes;
    return CN_OK;
}

static void plan_free(struct cn_plan *base)
{
    struct plan *p = (struct plan *)base;

    cn_graph_free(p->g);
    free(p->place);
    free(p->bytes);
    free(p);
}

static int compile(struct cn_backend *b, const struct cn_graph *g, struct cn_weights *w,
                   int flags, struct cn_plan **ret, struct cn_err *err)
{
    struct plan *p = cn_xcalloc(1, sizeof(*p));
    int rc;

    p->base.ops = &cn_backend_reference;
    p->b = (struct backend *)b;
    p->space = flags & CN_PLAN_CONCURRENT ? &p->b->side : &p->b->main;
    p->g = cn_graph_fuse(g);
    p->place = cn_xcalloc((size_t)p->g->count, sizeof(*p->place));
    p->bytes = cn_xcalloc((size_t)p->g->count, sizeof(*p->bytes));
    rc = place_values(p, (struct weights *)w, err);
    if (rc == CN_OK && !pack_arena(p))
        rc = out_of_memory(err, "an arena", SIZE_MAX);
    /* A side plan may be running: its arena grows when the plan runs. */
    if (rc == CN_OK && p->space == &p->b->main)
        rc = grow_arena(p->space, p->arena_bytes, err);
    if (rc < 0) {
        plan_free(&p->base);
        return rc;
    }
    *ret = &p->base;
    return CN_OK;
}

static void *data_of(const struct plan *p, cn_val v, struct cn_buffer *const *in,
                     struct cn_buffer *const *out)
{
    const struct place *at = &p->place[v];

    switch (at->kind) {
    case IN_INPUT:
        return ((struct buffer *)in[at->n])->data;
    case IN_OUTPUT:
        return ((struct buffer *)out[at->n])->data;
    case IN_WEIGHTS:
        return at->param;
    default:
        return p->space->arena + at->offset;
    }
}

static int run_node(struct plan *p, int i, struct cn_buffer *const *in,
                    struct cn_buffer *const *out, struct cn_err *err)
{
    const struct cn_node *n = &p->g->node[i];
    const void *data[CN_MAX_IN] = {NULL};
    int64_t start = p->b->opts.profile ? cn_now_ns() : 0;
    int rc;

    for (int k = 0; k < CN_MAX_IN; k++)
        if (n->in[k] >= 0)
            data[k] = data_of(p, n->in[k], in, out);
    rc = cn_reference_step(p->g, i, data, data_of(p, i, in, out), err);
    if (p->b->opts.profile) {
        p->spent_ns[n->op] += cn_now_ns() - start;
        p->count[n->op]++;
    }
    return rc;
}

static int run_nodes(struct plan *p, struct cn_buffer *const *in, struct cn_buffer *const *out,
                     struct cn_err *err)
{
    for (int i = 0; i < p->g->count; i++) {
        enum cn_op op = p->g->node[i].op;
        int rc = CN_OK;

        if (op != CN_OP_INPUT && op != CN_OP_PARAM)
            rc = run_node(p, i, in, out, err);
        if (rc < 0)
            return rc;
    }
    return CN_OK;
}

/* An output that was computed elsewhere: an input, a parameter, or a value that is two outputs. */
static void copy_outputs(struct plan *p, struct cn_buffer *const *in, struct cn_buffer *const *out)
{
    for (int i = 0; i < p->g->n_outputs; i++) {
        cn_val v = p->g->output[i].val;
        const void *from = data_of(p, v, in, out);
        void *to = ((struct buffer *)out[i])->data;

        if (from != to)
            memcpy(to, from, p->bytes[v]);
    }
}

static void check_buffers(const struct plan *p, struct cn_buffer *const *list,
                          const struct cn_io *io, int n)
{
    for (int i = 0; i < n; i++)
        CN_ASSERT(((struct buffer *)list[i])->bytes == p->bytes[io[i].val]);
}

/* Sets the number of threads of the calling thread's parallel regions; returns the old one. */
static int use_threads(int n)
{
#ifdef _OPENMP
    int old = omp_get_max_threads();

    omp_set_num_threads(n > 0 ? n : omp_get_num_procs());
    return old;
#else
    return n;
#endif
}

static int run_plan(struct plan *p, struct cn_buffer *const *in, struct cn_buffer *const *out,
                    struct cn_err *err)
{
    int old, rc;

    check_buffers(p, in, p->g->input, p->g->n_inputs);
    check_buffers(p, out, p->g->output, p->g->n_outputs);
    old = use_threads(p->space->threads);
    rc = run_nodes(p, in, out, err);
    use_threads(old);
    if (rc == CN_OK)
        copy_outputs(p, in, out);
    return rc;
}

static int run(struct cn_plan *base, struct cn_buffer *const *in, struct cn_buffer *const *out,
               struct cn_err *err)
{
    struct plan *p = (struct plan *)base;
    int rc;

    if (p->space == &p->b->main)
        return run_plan(p, in, out, err);
    pthread_mutex_lock(&p->b->side_lock);
    rc = grow_arena(p->space, p->arena_bytes, err);
    if (rc == CN_OK)
        rc = run_plan(p, in, out, err);
    pthread_mutex_unlock(&p->b->side_lock);
    return rc;
}

static size_t arena_bytes(const struct cn_plan *base)
{
    return ((const struct plan *)base)->arena_bytes;
}

static char *profile(const struct cn_plan *base)
{
    const struct plan *p = (const struct plan *)base;
    int64_t total = 1; /* ns; never divides by zero */
    struct cn_buf b;
    size_t len;

    cn_buf_init(&b, 1 << 16);
    for (int op = 0; op < CN_OP_COUNT; op++)
        total += p->spent_ns[op];
    for (int op = 0; op < CN_OP_COUNT; op++)
        if (p->count[op] > 0)
            cn_buf_printf(&b, NULL, "%-12s %6ld %10.3f ms %5.1f %%\n", cn_op_name((enum cn_op)op),
                          p->count[op], (double)p->spent_ns[op] * 1e-6,
                          100.0 * (double)p->spent_ns[op] / (double)total);
    cn_buf_adds(&b, "", NULL);
    return (char *)cn_buf_steal(&b, &len);
}

static int buffer_new(struct cn_backend *b, const struct cn_value *value, int flags,
                      struct cn_buffer **ret, struct cn_err *err)
{
    size_t bytes = SIZE_MAX;
    void *data = value_bytes(value, &bytes) ? cn_try_alloc(bytes) : NULL;
    struct buffer *buf;

    (void)b;
    (void)flags;
    if (data == NULL)
        return out_of_memory(err, "a buffer", bytes);
    buf = cn_xmalloc(sizeof(*buf));
    *buf = (struct buffer){.base.ops = &cn_backend_reference,
                           .bytes = bytes,
                           .data = memset(data, 0, bytes)};
    *ret = &buf->base;
    return CN_OK;
}

static void buffer_free(struct cn_buffer *base)
{
    struct buffer *buf = (struct buffer *)base;

    free(buf->data);
    free(buf);
}

static void buffer_write(struct cn_buffer *base, const void *host)
{
    struct buffer *buf = (struct buffer *)base;

    memcpy(buf->data, host, buf->bytes);
}

static void buffer_read(const struct cn_buffer *base, void *host)
{
    const struct buffer *buf = (const struct buffer *)base;

    memcpy(host, buf->data, buf->bytes);
}

static void buffer_zero(struct cn_buffer *base)
{
    struct buffer *buf = (struct buffer *)base;

    memset(buf->data, 0, buf->bytes);
}

static void buffer_copy_rows(struct cn_buffer *to, int64_t to_row, const struct cn_buffer *from,
                             int64_t from_row, int64_t n)
{
    struct buffer *dst = (struct buffer *)to;
    const struct buffer *src = (const struct buffer *)from;
    size_t row = dst->bytes / (size_t)to->shape.dim[0];

    memcpy((unsigned char *)dst->data + (size_t)to_row * row,
           (const unsigned char *)src->data + (size_t)from_row * row, (size_t)n * row);
}

static size_t buffer_bytes(const struct cn_buffer *base)
{
    return ((const struct buffer *)base)->bytes;
}

const struct cn_backend_ops cn_backend_reference = {
    .name = "reference",
    .open = reference_open,
    .close = reference_close,
    .bytes = reference_bytes,
    .weights_new = weights_new,
    .weights_free = weights_free,
    .weights_bytes = weights_bytes,
    .compile = compile,
    .plan_free = plan_free,
    .run = run,
    .arena_bytes = arena_bytes,
    .profile = profile,
    .buffer_new = buffer_new,
    .buffer_free = buffer_free,
    .buffer_write = buffer_write,
    .buffer_read = buffer_read,
    .buffer_zero = buffer_zero,
    .buffer_copy_rows = buffer_copy_rows,
    .buffer_bytes = buffer_bytes,
};
