/* The reference backend: runs a graph node by node with the plain C kernels. Slow, and the truth.
 *
 * Layouts are the logical ones, also in native buffers. Values of a plan live in an arena that all
 * plans of the backend (and another that all concurrent plans) share, packed by lifetime; inputs
 * and outputs are the caller's buffers. A value of 16 bits is widened before a kernel reads it, and
 * the result rounded after: the kernels know F32 only. Reshapes and slices of whole rows are views:
 * the place is their input's, and no step is theirs. */
#include "base/base.h"
#include "backend/cpu/cpu_common.h"
#include "backend/cpu/cpu_factors.h"
#include "backend/cpu/reference_priv.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "tensor/passes.h"

#include <stdlib.h>
#include <string.h>

struct backend {
    struct cn_backend base;
    struct cn_backend_opts opts;
    struct cpu_workspace ws;
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
 * among the weights; `shift` bytes behind that, when it is a view. */
struct place {
    enum place_kind kind;
    int n;
    size_t offset;
    float *param;
    size_t shift;
    cn_val root;         /* whose memory it is: its own, or another's if it is a view */
    enum cn_dtype dtype; /* what it is stored in */
    size_t bytes;
};

struct plan {
    struct cn_plan base;
    struct backend *b;
    struct cpu_arena *arena;
    struct cn_graph *g;  /* fused */
    enum cn_dtype dtype; /* of its real values */
    struct place *place;
    size_t values_bytes; /* of the arena: the values, */
    size_t wide_bytes;   /* and behind them the F32 copies of one node's 16-bit values */
    int64_t *spent_ns;   /* per node */
    int64_t runs;
};

static int reference_open(const struct cn_backend_opts *opts, struct cn_backend **ret,
                          struct cn_err *err)
{
    struct backend *b = cn_xcalloc(1, sizeof(*b));

    (void)err;
    b->base.ops = &cn_backend_reference;
    b->base.caps = (struct cn_backend_caps){
        .host_memory = true,
        .adapts_rows = true,
        .stores = 1u << CN_F32 | 1u << CN_F16 | 1u << CN_BF16,
        .dtype = opts->dtype == CN_F16 || opts->dtype == CN_BF16 ? opts->dtype : CN_F32,
    };
    b->opts = *opts;
    cpu_workspace_init(&b->ws, opts);
    *ret = &b->base;
    return CN_OK;
}

static void reference_close(struct cn_backend *base)
{
    struct backend *b = (struct backend *)base;

    cpu_workspace_release(&b->ws);
    free(b);
}

static size_t reference_bytes(const struct cn_backend *base)
{
    return cpu_workspace_bytes(&((const struct backend *)base)->ws);
}

static size_t reference_trim(struct cn_backend *base)
{
    return cpu_workspace_trim(&((struct backend *)base)->ws);
}

static int out_of_memory(struct cn_err *err, const char *what, size_t bytes)
{
    return cn_fail(err, CN_EDEVMEM, "no memory for %s of %zu bytes", what, bytes);
}

static int reference_weights_new(struct cn_backend *b, const struct cn_param_source *source,
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

static void reference_weights_free(struct cn_weights *base)
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

static size_t reference_weights_bytes(const struct cn_weights *base)
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
    struct param *p;
    char want[96], have[96];
    int rc;

    w = (struct weights *)cn_weights_holder(&w->base, value->name);
    p = cn_strmap_get(&w->params, value->name);
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

/* A view takes its input's place, unless it is an output or stored in another type. */
static void place_view(struct plan *p, cn_val v)
{
    struct place *at = &p->place[v];
    int64_t from = cn_graph_view(p->g, v);
    cn_val x = p->g->node[v].in[0];

    if (from < 0 || at->kind != IN_ARENA || p->place[x].dtype != at->dtype)
        return;
    *at = p->place[x];
    at->shift += (size_t)from * cn_dtype_size(at->dtype);
}

/* Outputs first: a value that is an output is computed in the caller's buffer. An input or a
 * parameter that is an output too is copied after the run. */
static int place_values(struct plan *p, struct weights *w, struct cn_err *err)
{
    const struct cn_graph *g = p->g;
    enum cn_dtype dtype = p->dtype;

    for (int i = 0; i < g->count; i++)
        p->place[i].dtype = cn_stored_dtype(&g->value[i], true, dtype);
    for (int i = g->n_outputs - 1; i >= 0; i--) {
        const struct cn_io *io = &g->output[i];

        p->place[io->val] = (struct place){
            .kind = IN_OUTPUT,
            .n = i,
            .dtype = cn_stored_dtype(&g->value[io->val], io->flags & CN_IO_NATIVE, dtype)};
    }
    for (int i = 0; i < g->n_inputs; i++) {
        const struct cn_io *io = &g->input[i];

        p->place[io->val] = (struct place){
            .kind = IN_INPUT,
            .n = i,
            .dtype = cn_stored_dtype(&g->value[io->val], io->flags & CN_IO_NATIVE, dtype)};
    }
    for (int i = 0; i < g->count; i++) {
        int rc = CN_OK;

        p->place[i].root = i;
        if (g->node[i].op == CN_OP_PARAM) {
            p->place[i] = (struct place){.kind = IN_WEIGHTS, .root = i, .dtype = CN_F32};
            rc = find_param(w, g, i, &p->place[i].param, err);
        }
        if (rc < 0)
            return rc;
        place_view(p, i);
        if (!cpu_value_bytes(&g->value[i].shape, p->place[i].dtype, &p->place[i].bytes))
            return out_of_memory(err, cn_op_name(g->node[i].op), SIZE_MAX);
    }
    return CN_OK;
}

static bool is_half(const struct place *at)
{
    return at->dtype == CN_F16 || at->dtype == CN_BF16;
}

static size_t wide_size(const struct plan *p, cn_val v)
{
    size_t n = is_half(&p->place[v]) ? 2 * p->place[v].bytes : 0;

    return (n + 63) & ~(size_t)63;
}

/* F32 copies of what node i reads and writes in 16 bits. */
static size_t wide_bytes(const struct plan *p, int i)
{
    size_t bytes = wide_size(p, i);

    for (int k = 0; k < CN_MAX_IN; k++)
        if (p->g->node[i].in[k] >= 0)
            bytes += wide_size(p, p->g->node[i].in[k]);
    return bytes;
}

static bool pack_arena(struct plan *p)
{
    size_t n = (size_t)p->g->count, sum = 0;
    int *last = cn_graph_last_use(p->g);
    int *first = cn_xcalloc(n, sizeof(*first));
    size_t *bytes = cn_xcalloc(n, sizeof(*bytes)), *offset = cn_xcalloc(n, sizeof(*offset));
    bool fits = true;

    for (size_t i = 0; i < n; i++) {
        size_t root = (size_t)p->place[i].root;

        first[i] = (int)i;
        last[i] = CN_MAX(last[i], (int)i);
        last[root] = CN_MAX(last[root], last[i]);
        bytes[i] = p->place[i].kind == IN_ARENA && root == i ? p->place[i].bytes : 0;
        fits = fits && bytes[i] <= SIZE_MAX / 4 && cn_add_size(sum, 4 * bytes[i] + 64, &sum);
    }
    if (fits)
        p->values_bytes = cn_pack_buffers((int)n, bytes, first, last, offset);
    p->values_bytes = (p->values_bytes + 63) & ~(size_t)63;
    for (size_t i = 0; i < n && fits; i++) {
        p->place[i].offset = offset[p->place[i].root];
        p->wide_bytes = CN_MAX(p->wide_bytes, wide_bytes(p, (int)i));
    }
    free(last);
    free(first);
    free(bytes);
    free(offset);
    return fits;
}

static size_t reference_arena_bytes(const struct cn_plan *base)
{
    const struct plan *p = (const struct plan *)base;

    return p->values_bytes + p->wide_bytes;
}

static void reference_plan_free(struct cn_plan *base)
{
    struct plan *p = (struct plan *)base;

    cn_graph_free(p->g);
    free(p->place);
    free(p->spent_ns);
    free(p);
}

static int reference_compile(struct cn_backend *b, const struct cn_graph *g, struct cn_weights *w,
                             enum cn_dtype dtype, int flags, struct cn_plan **ret,
                             struct cn_err *err)
{
    struct plan *p = cn_xcalloc(1, sizeof(*p));
    int rc;

    p->base.ops = &cn_backend_reference;
    p->b = (struct backend *)b;
    p->arena = cpu_workspace_arena(&p->b->ws, flags);
    p->g = cn_graph_fuse(g);
    p->dtype = dtype;
    p->place = cn_xcalloc((size_t)p->g->count, sizeof(*p->place));
    p->spent_ns = cn_xcalloc((size_t)p->g->count, sizeof(*p->spent_ns));
    rc = place_values(p, (struct weights *)w, err);
    if (rc == CN_OK && !pack_arena(p))
        rc = out_of_memory(err, "an arena", SIZE_MAX);
    if (rc == CN_OK)
        rc = cpu_workspace_reserve(&p->b->ws, p->arena, reference_arena_bytes(&p->base), err);
    if (rc < 0) {
        reference_plan_free(&p->base);
        return rc;
    }
    *ret = &p->base;
    return CN_OK;
}

/* A plan with the buffers of one run. */
struct run {
    struct plan *p;
    struct cn_buffer *const *in, *const *out;
};

static void *data_of(const struct run *r, cn_val v)
{
    const struct place *at = &r->p->place[v];
    void *base;

    switch (at->kind) {
    case IN_INPUT:
        base = ((struct cpu_buffer *)r->in[at->n])->data;
        break;
    case IN_OUTPUT:
        base = ((struct cpu_buffer *)r->out[at->n])->data;
        break;
    case IN_WEIGHTS:
        base = at->param;
        break;
    default:
        base = r->p->arena->data + at->offset;
    }
    return (unsigned char *)base + at->shift;
}

/* Node i with what adapters add, which stands before its activation. */
static int adapted_step(const struct plan *p, int i, const void *const *data, float *out,
                        struct cn_err *err)
{
    struct cn_attr *a = &p->g->node[i].attr;
    enum cn_activation act = a->act;
    int rc;

    a->act = CN_NONE;
    rc = cn_reference_step(p->g, i, data, out, err);
    a->act = act;
    for (int k = 0; k < p->base.n_adapters && rc == CN_OK; k++) {
        struct cpu_addition x = cpu_addition(&p->base, p->g, i, k);

        if (x.factor != NULL)
            rc = cn_reference_adapt(p->g, i, &x, data[0], out, err);
    }
    if (rc == CN_OK)
        cn_reference_act(p->g, i, out);
    return rc;
}

static int run_node(const struct run *r, int i, struct cn_err *err)
{
    struct plan *p = r->p;
    const struct cn_node *n = &p->g->node[i];
    unsigned char *wide = p->arena->data + p->values_bytes;
    const void *data[CN_MAX_IN] = {NULL};
    void *result = data_of(r, i), *out = result;
    int rc;

    for (int k = 0; k < CN_MAX_IN; k++) {
        cn_val v = n->in[k];

        if (v < 0)
            continue;
        data[k] = data_of(r, v);
        if (is_half(&p->place[v])) {
            cn_to_f32((float *)(void *)wide, data[k], p->place[v].dtype, p->place[v].bytes / 2);
            data[k] = wide;
            wide += wide_size(p, v);
        }
    }
    if (is_half(&p->place[i]))
        out = wide;
    rc = cpu_adapts(&p->base, p->g, i) ? adapted_step(p, i, data, out, err)
                                       : cn_reference_step(p->g, i, data, out, err);
    if (rc == CN_OK && out != result)
        cn_from_f32(result, out, p->place[i].dtype, p->place[i].bytes / 2);
    return rc;
}

static int run_nodes(const struct run *r, struct cn_err *err)
{
    struct plan *p = r->p;

    for (int i = 0; i < p->g->count; i++) {
        enum cn_op op = p->g->node[i].op;
        int64_t start = p->b->opts.profile ? cn_now_ns() : 0;
        int rc;

        if (op == CN_OP_INPUT || op == CN_OP_PARAM || p->place[i].root != i)
            continue;
        rc = run_node(r, i, err);
        if (rc < 0)
            return rc;
        if (p->b->opts.profile)
            p->spent_ns[i] += cn_now_ns() - start;
    }
    return CN_OK;
}

/* An output that was computed elsewhere: an input, a parameter, or a value that is two outputs.
 * Their types may differ then. */
static int copy_outputs(const struct run *r, struct cn_err *err)
{
    const struct plan *p = r->p;

    for (int i = 0; i < p->g->n_outputs; i++) {
        cn_val v = p->g->output[i].val;
        struct cpu_buffer *to = (struct cpu_buffer *)r->out[i];
        size_t n = (size_t)cn_shape_elements(&p->g->value[v].shape);
        const void *from = data_of(r, v);
        float *wide;

        if (from == to->data)
            continue;
        if (to->base.dtype == p->place[v].dtype) {
            memcpy(to->data, from, to->bytes);
            continue;
        }
        wide = cn_try_alloc(n * sizeof(float));
        if (wide == NULL)
            return out_of_memory(err, "an output", n * sizeof(float));
        cn_to_f32(wide, from, p->place[v].dtype, n);
        cn_from_f32(to->data, wide, to->base.dtype, n);
        free(wide);
    }
    return CN_OK;
}

static int run_plan(void *ctx, struct cn_err *err)
{
    struct run *r = ctx;
    int rc = run_nodes(r, err);

    r->p->runs++;
    return rc < 0 ? rc : copy_outputs(r, err);
}

static int reference_run(struct cn_plan *base, struct cn_buffer *const *in,
                         struct cn_buffer *const *out, struct cn_err *err)
{
    struct run r = {(struct plan *)base, in, out};
    const struct cn_graph *g = r.p->g;

    CN_ASSERT(cn_buffers_fit(g, g->input, g->n_inputs, r.p->dtype, in));
    CN_ASSERT(cn_buffers_fit(g, g->output, g->n_outputs, r.p->dtype, out));
    return cpu_workspace_run(&r.p->b->ws, r.p->arena, reference_arena_bytes(base), run_plan, &r,
                             err);
}

static char *reference_profile(const struct cn_plan *base)
{
    const struct plan *p = (const struct plan *)base;
    struct cn_step_profile *step = cn_xcalloc((size_t)p->g->count, sizeof(*step));
    char *text;
    int n = 0;

    for (int i = 0; i < p->g->count; i++)
        if (p->spent_ns[i] > 0)
            step[n++] = (struct cn_step_profile){cn_op_name(p->g->node[i].op),
                                                 (double)p->spent_ns[i] * 1e-6, p->runs};
    text = cn_profile_text(step, n);
    free(step);
    return text;
}

static int reference_factors_new(struct cn_backend *b, struct cn_factors **ret, struct cn_err *err)
{
    (void)b;
    (void)err;
    return cpu_factors_new(&cn_backend_reference, NULL, ret);
}

static int reference_buffer_new(struct cn_backend *b, const struct cn_value *value, int flags,
                                struct cn_buffer **ret, struct cn_err *err)
{
    (void)b;
    (void)flags;
    return cpu_buffer_new(&cn_backend_reference, value, 1, ret, err);
}

const struct cn_backend_ops cn_backend_reference = {
    .name = "reference",
    .open = reference_open,
    .close = reference_close,
    .bytes = reference_bytes,
    .trim = reference_trim,
    .weights_new = reference_weights_new,
    .weights_free = reference_weights_free,
    .weights_bytes = reference_weights_bytes,
    .compile = reference_compile,
    .factors_new = reference_factors_new,
    .factors_add = cpu_factors_add,
    .factors_free = cpu_factors_free,
    .factors_bytes = cpu_factors_bytes,
    .plan_free = reference_plan_free,
    .run = reference_run,
    .arena_bytes = reference_arena_bytes,
    .profile = reference_profile,
    .buffer_new = reference_buffer_new,
    .buffer_free = cpu_buffer_free,
    .buffer_write = cpu_buffer_write,
    .buffer_read = cpu_buffer_read,
    .buffer_copy_rows = cpu_buffer_copy_rows,
    .buffer_bytes = cpu_buffer_bytes,
};
