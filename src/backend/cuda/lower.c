/* From a graph to steps over tensors.
 *
 * A value is computed in its own type, the plan's unless the graph declares another. Operations
 * read their operands in the type of their result, but factors beside them, which are F32. Maps lie
 * channels last; what sees rows or matrices wants them flat, and some operations take either
 * (forms.c makes what is asked for). Reshapes are no steps, nor is the way between maps and tokens,
 * nor are slices of whole rows: the bytes are there already. A value that is an output is computed
 * where the caller wants it. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "base/mem.h"
#include "tensor/passes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int io_tensor(struct cuda_plan *p, enum cuda_place place, int index, size_t bytes)
{
    int t = cuda_tensor_new(p, bytes);

    p->tensor[t].place = place;
    p->tensor[t].index = index;
    return t;
}

/* Operations that take their operands in either layout, and give the result in the same. */
static bool takes_either(enum cn_op op)
{
    switch (op) {
    case CN_OP_ACT:
    case CN_OP_ADD:
    case CN_OP_MUL:
    case CN_OP_SCALE:
    case CN_OP_ADD_ROWS:
    case CN_OP_PRELU:
    case CN_OP_CONCAT:
    case CN_OP_PERMUTE:
    case CN_OP_SLICE:
    case CN_OP_REDUCE:
        return true;
    default:
        return false;
    }
}

/* Operations that see rows or matrices, not maps. */
static bool takes_flat(enum cn_op op)
{
    return op == CN_OP_LINEAR || op == CN_OP_MATMUL || op == CN_OP_LAYER_NORM ||
           op == CN_OP_GEGLU || op == CN_OP_RESHAPE || op == CN_OP_FROM_TOKENS;
}

static enum cuda_layout layout_of(struct cuda_plan *p, const struct cn_node *n)
{
    if (takes_either(n->op))
        return cuda_usual_layout(p, n->in[0]);
    return takes_flat(n->op) ? CUDA_FLAT : CUDA_LAST;
}

/* Factors, tables of weights and the like are F32 whatever the values are. */
static bool is_f32_operand(enum cn_op op, int k)
{
    switch (op) {
    case CN_OP_CONV2D:
    case CN_OP_CONV_TRANSPOSE:
    case CN_OP_LINEAR:
    case CN_OP_ADD_ROWS:
        return k == 2;
    case CN_OP_GROUP_NORM:
    case CN_OP_LAYER_NORM:
    case CN_OP_ADD_CHANNEL:
    case CN_OP_PRELU:
        return k >= 1;
    case CN_OP_TIMESTEP:
        return k == 0;
    default:
        return false;
    }
}

/* Parameters that go to a library: in which form depends on what it takes, see conv.c, linear.c. */
static bool chosen_later(const struct cuda_plan *p, const struct cn_node *n, int k)
{
    return cuda_is_constant(p, n->in[k]) &&
           ((n->op == CN_OP_CONV2D && k >= 1) || (n->op == CN_OP_LINEAR && k == 2));
}

/* Which form of its k-th input a node of type t reads; -1: none yet. */
static int operand_tensor(struct cuda_plan *p, const struct cn_node *n, int k, enum cn_dtype t,
                          enum cuda_layout layout, int *ret, struct cn_err *err)
{
    cn_val v = n->in[k];

    *ret = -1;
    if (v < 0 || chosen_later(p, n, k))
        return CN_OK;
    if (p->g->value[v].dtype == CN_I32) {
        CN_ASSERT(p->form[v].ids >= 0); /* ids come from the host */
        *ret = p->form[v].ids;
        return CN_OK;
    }
    return cuda_value_tensor(p, v, is_f32_operand(n->op, k) ? CN_F32 : t, layout, ret, err);
}

/* The same bytes under another shape: no step. */
static int lower_alias(struct cuda_plan *p, int i, struct cn_err *err)
{
    enum cn_op op = p->g->node[i].op;
    enum cn_dtype t = cuda_own_type(p, i);
    int tensor;
    int rc = cuda_value_tensor(p, p->g->node[i].in[0], t,
                               op == CN_OP_TO_TOKENS ? CUDA_LAST : CUDA_FLAT, &tensor, err);

    if (rc == CN_OK)
        *cuda_form(p, i, t, op == CN_OP_FROM_TOKENS ? CUDA_LAST : CUDA_FLAT) = tensor;
    return rc;
}

static bool is_alias(enum cn_op op)
{
    return op == CN_OP_TO_TOKENS || op == CN_OP_FROM_TOKENS || op == CN_OP_RESHAPE;
}

/* Where a slice begins in its input's tensor of this layout, in bytes; -1: it must be copied.
 * Libraries want the alignment that all tensors have. */
static int64_t view_offset(struct cuda_plan *p, int i, enum cn_dtype t, enum cuda_layout layout)
{
    const struct cn_node *n = &p->g->node[i];
    bool rows = layout == CUDA_FLAT || n->attr.axis == 0 || p->g->value[i].shape.rank < 4;
    int64_t from = n->op == CN_OP_SLICE && rows ? cn_graph_view(p->g, i) : -1;

    from = from < 0 ? -1 : from * (int64_t)cn_dtype_size(t);
    return from % CUDA_ALIGN == 0 ? from : -1;
}

static int lower_view(struct cuda_plan *p, int i, int64_t offset, enum cuda_layout layout,
                      struct cn_err *err)
{
    enum cn_dtype t = cuda_own_type(p, i);
    int base, view, rc = cuda_value_tensor(p, p->g->node[i].in[0], t, layout, &base, err);

    if (rc < 0)
        return rc;
    view = cuda_tensor_new(p, cuda_value_bytes(p, i, t));
    p->tensor[view].place = CUDA_VIEW;
    p->tensor[view].base = base;
    p->tensor[view].offset = (size_t)offset;
    *cuda_form(p, i, t, layout) = view;
    return CN_OK;
}

static int lower_node(struct cuda_plan *p, int i, struct cn_err *err)
{
    const struct cn_node *n = &p->g->node[i];
    enum cn_dtype t = cuda_own_type(p, i);
    enum cuda_layout layout;
    struct cuda_step *s;
    int in[CN_MAX_IN], rc;
    int64_t view;

    if (is_alias(n->op))
        return lower_alias(p, i, err);
    layout = layout_of(p, n);
    view = view_offset(p, i, t, layout);
    if (view >= 0)
        return lower_view(p, i, view, layout, err);
    for (int k = 0; k < CN_MAX_IN; k++)
        if ((rc = operand_tensor(p, n, k, t, layout, &in[k], err)) < 0)
            return rc;
    s = cuda_step_new(p, NULL, cn_op_name(n->op));
    s->node = *n;
    s->val = i;
    s->type = t;
    s->layout = layout;
    memcpy(s->in, in, sizeof(in));
    s->out = *cuda_form(p, i, t, layout) = cuda_tensor_new(p, cuda_value_bytes(p, i, t));
    rc = cuda_op_init(p, s, err);
    cuda_step_done(p, p->n_steps - 1);
    return rc;
}

static bool is_native(const struct cuda_plan *p, const struct cn_io *io)
{
    return (io->flags & CN_IO_NATIVE) && cn_dtype_is_real(p->g->value[io->val].dtype);
}

static void lower_input(struct cuda_plan *p, int i)
{
    const struct cn_io *io = &p->g->input[i];
    bool native = is_native(p, io);
    enum cn_dtype t = cn_stored_dtype(&p->g->value[io->val], native, p->type);
    int tensor = io_tensor(p, CUDA_INPUT, i, cuda_value_bytes(p, io->val, t));

    if (t == CN_I32)
        p->form[io->val].ids = tensor;
    else
        *cuda_form(p, io->val, t, native ? CUDA_LAST : CUDA_FLAT) = tensor;
}

/* The output's buffer takes the place of the tensor, or gets a copy: of inputs, of parameters, and
 * of what is another output already. */
static void place_output(struct cuda_plan *p, int i, int tensor, size_t bytes)
{
    struct cuda_tensor *t = &p->tensor[tensor];

    if (t->place == CUDA_ARENA) {
        t->place = CUDA_OUTPUT;
        t->index = i;
    } else {
        cuda_add_copy(p, p->g->output[i].val, tensor, io_tensor(p, CUDA_OUTPUT, i, bytes));
    }
}

static int lower_output(struct cuda_plan *p, int i, struct cn_err *err)
{
    const struct cn_io *io = &p->g->output[i];
    bool native = is_native(p, io);
    enum cn_dtype t = cn_stored_dtype(&p->g->value[io->val], native, p->type);
    int tensor = p->form[io->val].ids, rc = CN_OK;

    if (t != CN_I32)
        rc = cuda_value_tensor(p, io->val, t, native ? CUDA_LAST : CUDA_FLAT, &tensor, err);
    if (rc == CN_OK)
        place_output(p, i, tensor, cuda_value_bytes(p, io->val, t));
    return rc;
}

static bool sizes_fit(const struct cn_graph *g)
{
    size_t total = 0;

    for (int i = 0; i < g->count; i++) {
        size_t bytes = sizeof(float);

        for (int k = 0; k < g->value[i].shape.rank; k++)
            if (!cn_mul_size(bytes, (size_t)g->value[i].shape.dim[k], &bytes))
                return false;
        if (!cn_add_size(total, bytes, &total) || bytes / sizeof(float) > INT32_MAX)
            return false; /* kernels count rows and columns in int */
    }
    return true;
}

static int lower_graph(struct cuda_plan *p, struct cn_err *err)
{
    const struct cn_graph *g = p->g;
    int rc = CN_OK;

    if (!sizes_fit(g))
        return cn_fail(err, CN_EDEVMEM, "no device memory for plan \"%s\": a tensor is too large",
                       g->name);
    for (int i = 0; i < g->count; i++)
        p->form[i] = (struct cuda_forms){{{-1, -1, -1}, {-1, -1, -1}}, .ids = -1};
    for (int i = 0; i < g->n_inputs; i++)
        lower_input(p, i);
    for (int i = 0; i < g->count && rc == CN_OK; i++)
        if (g->node[i].op != CN_OP_INPUT && g->node[i].op != CN_OP_PARAM)
            rc = lower_node(p, i, err);
    for (int i = 0; i < g->n_outputs && rc == CN_OK; i++)
        rc = lower_output(p, i, err);
    return rc;
}

static void pack_arena(struct cuda_plan *p)
{
    size_t n = (size_t)p->n_tensors + 1;
    size_t *bytes = cn_xcalloc(n, sizeof(*bytes)), *offset = cn_xcalloc(n, sizeof(*offset));
    int *from = cn_xcalloc(n, sizeof(*from)), *to = cn_xcalloc(n, sizeof(*to));

    for (int i = 0; i < p->n_tensors; i++) {
        const struct cuda_tensor *t = &p->tensor[i];

        if (t->place == CUDA_ARENA && t->to >= 0)
            bytes[i] = (t->bytes + CUDA_ALIGN - 1) / CUDA_ALIGN * CUDA_ALIGN;
        from[i] = t->from;
        to[i] = t->to;
    }
    p->arena_bytes = cn_pack_buffers(p->n_tensors, bytes, from, to, offset);
    for (int i = 0; i < p->n_tensors; i++)
        if (p->tensor[i].place == CUDA_ARENA)
            p->tensor[i].offset = offset[i];
    free(bytes);
    free(offset);
    free(from);
    free(to);
}

static int make_events(struct cuda_plan *p, struct cn_err *err)
{
    if (!p->b->opts.profile)
        return CN_OK;
    p->event = cn_xcalloc((size_t)p->n_steps + 1, sizeof(*p->event));
    for (int i = 0; i <= p->n_steps; i++) {
        int rc = cuda_check(p->b, cudaEventCreate(&p->event[i]), "make an event", err);

        if (rc < 0)
            return rc;
    }
    return CN_OK;
}

/* Uploads of parameters are ordered on the main queue; a side plan must find them there. */
static int finish_uploads(struct cuda_backend *b, struct cn_err *err)
{
    struct cuda_queue *q = &b->queue[CUDA_MAIN];
    int rc;

    pthread_mutex_lock(&q->lock);
    rc = cuda_queue_wait(q, err);
    pthread_mutex_unlock(&q->lock);
    cuda_pool_trim(b); /* what parameters on their way and trials used has sizes of its own */
    return rc;
}

int cuda_plan_compile(struct cn_backend *base, const struct cn_graph *g, struct cn_weights *w,
                      enum cn_dtype dtype, int flags, struct cn_plan **ret, struct cn_err *err)
{
    struct cuda_backend *b = (struct cuda_backend *)base;
    struct cuda_plan *p;
    size_t n;
    int rc = cuda_enter(b, err);

    if (rc == CN_OK)
        rc = cuda_take_error(b, err);
    if (rc < 0)
        return rc;
    p = cn_xcalloc(1, sizeof(*p));
    p->base.ops = b->base.ops;
    p->b = b;
    p->q = &b->queue[flags & CN_PLAN_CONCURRENT ? CUDA_CONCURRENT : CUDA_MAIN];
    p->w = w;
    p->type = dtype;
    p->timed = !b->opts.first_choice && cuda_weights_at_own_size(w, g);
    p->g = cn_graph_fuse(g);
    pthread_mutex_lock(&b->plans_lock);
    p->next = b->plans;
    b->plans = p;
    pthread_mutex_unlock(&b->plans_lock);
    n = (size_t)p->g->count;
    p->form = cn_xcalloc(n, sizeof(*p->form));
    p->address = cn_xcalloc((size_t)(p->g->n_inputs + p->g->n_outputs) + 1, sizeof(*p->address));
    rc = lower_graph(p, err);
    if (rc == CN_OK) {
        pack_arena(p);
        rc = cuda_queue_reserve(p->q, p->arena_bytes, err);
    }
    if (rc == CN_OK)
        rc = make_events(p, err);
    if (rc == CN_OK)
        rc = finish_uploads(b, err);
    if (rc < 0) {
        cuda_plan_free(&p->base);
        return rc;
    }
    *ret = &p->base;
    return CN_OK;
}

void cuda_plan_free(struct cn_plan *base)
{
    struct cuda_plan *p = (struct cuda_plan *)base;
    struct cuda_plan **at = &p->b->plans;

    (void)cuda_enter(p->b, NULL);
    pthread_mutex_lock(&p->b->plans_lock);
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    pthread_mutex_unlock(&p->b->plans_lock);
    cuda_plan_drop_graphs(p);
    pthread_mutex_lock(&p->q->lock);
    (void)cuda_queue_wait(p->q, NULL); /* cuDNN may unload what its plans still run */
    pthread_mutex_unlock(&p->q->lock);
    for (int i = 0; i < p->n_steps; i++) {
        cuda_dnn_unref(p->b, p->step[i].dnn);
        for (int k = 0; k < 2; k++)
            cuda_gemm_free(p->step[i].gemm[k]);
    }
    for (int i = 0; p->event != NULL && i <= p->n_steps; i++)
        if (p->event[i] != NULL)
            (void)cudaEventDestroy(p->event[i]);
    for (int i = 0; i < CUDA_GRAPHS; i++)
        free(p->graph[i].address);
    cn_graph_free(p->g);
    free(p->tensor);
    free(p->step);
    free(p->form);
    free(p->address);
    free(p->event);
    free(p);
}
