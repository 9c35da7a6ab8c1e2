/* From a graph to steps over tensors.
 *
 * A value has up to three forms: as the host gave it (F32, or I32), in the backend's type and
 * layout (what operations read and write), and as F32 vectors (what norms and row weights read
 * beside their main operand). A form is made by a step of its own when something first asks for
 * it. Reshapes between maps and tokens are no steps: channels last, both are the same bytes. A
 * value that is a native output is computed where the caller wants it. */
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

static void extend_life(struct cuda_plan *p, int tensor, int step)
{
    struct cuda_tensor *t;

    if (tensor < 0)
        return;
    t = &p->tensor[tensor];
    t->from = t->from < 0 ? step : t->from;
    t->to = CN_MAX(t->to, step);
}

static void extend_lives(struct cuda_plan *p, int step)
{
    const struct cuda_step *s = &p->step[step];

    for (int k = 0; k < CN_MAX_IN; k++)
        extend_life(p, s->in[k], step);
    extend_life(p, s->out, step);
    extend_life(p, s->scratch, step);
}

/* A step that gives value v another form; its new tensor. */
static int add_conversion(struct cuda_plan *p, cuda_step_fn run, const char *label, cn_val v,
                          int from, int to)
{
    struct cuda_step *s = cuda_step_new(p, run, label);

    s->val = v;
    s->in[0] = from;
    s->out = to;
    extend_lives(p, p->n_steps - 1);
    return to;
}

static bool is_map(const struct cuda_plan *p, cn_val v)
{
    return p->g->value[v].shape.rank == 4;
}

static int compute_tensor(struct cuda_plan *p, cn_val v)
{
    if (p->compute_tensor[v] < 0) {
        CN_ASSERT(p->host_tensor[v] >= 0);
        if (p->b->type == CN_F32 && !is_map(p, v))
            p->compute_tensor[v] = p->host_tensor[v];
        else
            p->compute_tensor[v] =
                add_conversion(p, cuda_run_from_host, "from host", v, p->host_tensor[v],
                               cuda_tensor_new(p, cuda_value_bytes(p, v, p->b->type)));
    }
    return p->compute_tensor[v];
}

static int f32_tensor(struct cuda_plan *p, cn_val v)
{
    CN_ASSERT(!is_map(p, v));
    if (p->f32_tensor[v] < 0) {
        if (p->host_tensor[v] >= 0)
            p->f32_tensor[v] = p->host_tensor[v];
        else if (p->b->type == CN_F32)
            p->f32_tensor[v] = compute_tensor(p, v);
        else
            p->f32_tensor[v] =
                add_conversion(p, cuda_run_to_host, "to floats", v, compute_tensor(p, v),
                               cuda_tensor_new(p, cuda_value_bytes(p, v, CN_F32)));
    }
    return p->f32_tensor[v];
}

/* Which form of its k-th input an operation reads. */
static int operand_tensor(struct cuda_plan *p, const struct cn_node *n, int k)
{
    cn_val v = n->in[k];

    if (v < 0 || p->g->node[v].op == CN_OP_PARAM)
        return -1;
    if (n->op == CN_OP_EMBED) {
        CN_ASSERT(p->host_tensor[v] >= 0); /* token ids come from the host */
        return p->host_tensor[v];
    }
    if ((n->op == CN_OP_GROUP_NORM && k == 3) || (n->op == CN_OP_ADD_CHANNEL && k == 1) ||
        (n->op == CN_OP_ADD_ROWS && k == 2) || (n->op == CN_OP_TIMESTEP && k == 0))
        return f32_tensor(p, v);
    return compute_tensor(p, v);
}

static int lower_node(struct cuda_plan *p, int i, struct cn_err *err)
{
    const struct cn_node *n = &p->g->node[i];
    struct cuda_step *s;
    int in[CN_MAX_IN], rc;

    if (n->op == CN_OP_TO_TOKENS || n->op == CN_OP_FROM_TOKENS) {
        p->compute_tensor[i] = compute_tensor(p, n->in[0]);
        return CN_OK;
    }
    for (int k = 0; k < CN_MAX_IN; k++)
        in[k] = operand_tensor(p, n, k);
    s = cuda_step_new(p, NULL, cn_op_name(n->op));
    s->node = *n;
    s->val = i;
    memcpy(s->in, in, sizeof(in));
    s->out = p->compute_tensor[i] = cuda_tensor_new(p, cuda_value_bytes(p, i, p->b->type));
    if (n->op == CN_OP_CONV2D)
        rc = cuda_conv_init(p, s, err);
    else if (n->op == CN_OP_LINEAR)
        rc = cuda_linear_init(p, s, err);
    else if (n->op == CN_OP_ATTENTION)
        rc = cuda_attention_init(p, s, err);
    else
        rc = cuda_op_init(p, s, err);
    extend_lives(p, p->n_steps - 1);
    return rc;
}

static void lower_input(struct cuda_plan *p, int i)
{
    const struct cn_io *io = &p->g->input[i];
    bool native = (io->flags & CN_IO_NATIVE) && p->g->value[io->val].dtype == CN_F32;
    enum cn_dtype t = native ? p->b->type : p->g->value[io->val].dtype;
    int tensor = io_tensor(p, CUDA_INPUT, i, cuda_value_bytes(p, io->val, t));

    if (native)
        p->compute_tensor[io->val] = tensor;
    else
        p->host_tensor[io->val] = tensor;
}

/* The output's buffer takes the place of the tensor, or gets a copy: of inputs, and of what is
 * another output already. */
static void lower_native_output(struct cuda_plan *p, int i, int tensor)
{
    struct cuda_tensor *t = &p->tensor[tensor];

    if (t->place == CUDA_ARENA) {
        t->place = CUDA_OUTPUT;
        t->index = i;
    } else {
        add_conversion(p, cuda_run_copy, "copy", p->g->output[i].val, tensor,
                       io_tensor(p, CUDA_OUTPUT, i, t->bytes));
    }
}

static void lower_output(struct cuda_plan *p, int i)
{
    const struct cn_io *io = &p->g->output[i];
    bool native = (io->flags & CN_IO_NATIVE) && p->g->value[io->val].dtype == CN_F32;
    int given = p->host_tensor[io->val];

    if (native)
        lower_native_output(p, i, compute_tensor(p, io->val));
    else if (given >= 0)
        add_conversion(p, cuda_run_copy, "copy", io->val, given,
                       io_tensor(p, CUDA_OUTPUT, i, p->tensor[given].bytes));
    else if (p->b->type == CN_F32 && !is_map(p, io->val))
        lower_native_output(p, i, compute_tensor(p, io->val));
    else
        add_conversion(p, cuda_run_to_host, "to host", io->val, compute_tensor(p, io->val),
                       io_tensor(p, CUDA_OUTPUT, i, cuda_value_bytes(p, io->val, CN_F32)));
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
        p->compute_tensor[i] = p->f32_tensor[i] = p->host_tensor[i] = -1;
    for (int i = 0; i < g->n_inputs; i++)
        lower_input(p, i);
    for (int i = 0; i < g->count && rc == CN_OK; i++)
        if (g->node[i].op != CN_OP_INPUT && g->node[i].op != CN_OP_PARAM)
            rc = lower_node(p, i, err);
    for (int i = 0; i < g->n_outputs && rc == CN_OK; i++)
        lower_output(p, i);
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

    CN_ASSERT(dtype == b->type);
    if (rc == CN_OK)
        rc = cuda_take_error(b, err);
    if (rc < 0)
        return rc;
    p = cn_xcalloc(1, sizeof(*p));
    p->base.ops = b->base.ops;
    p->b = b;
    p->q = &b->queue[flags & CN_PLAN_CONCURRENT ? CUDA_CONCURRENT : CUDA_MAIN];
    p->w = w;
    p->g = cn_graph_fuse(g);
    p->next = b->plans;
    b->plans = p;
    n = (size_t)p->g->count;
    p->compute_tensor = cn_xcalloc(3 * n, sizeof(int));
    p->f32_tensor = p->compute_tensor + n;
    p->host_tensor = p->f32_tensor + n;
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
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    cuda_plan_drop_graphs(p);
    for (int i = 0; i < p->n_steps; i++)
        for (int k = 0; k < 2; k++)
            cuda_gemm_free(p->step[i].gemm[k]);
    for (int i = 0; p->event != NULL && i <= p->n_steps; i++)
        if (p->event[i] != NULL)
            (void)cudaEventDestroy(p->event[i]);
    for (int i = 0; i < CUDA_GRAPHS; i++)
        free(p->graph[i].address);
    cn_graph_free(p->g);
    free(p->tensor);
    free(p->step);
    free(p->compute_tensor);
    free(p->address);
    free(p->event);
    free(p);
}
