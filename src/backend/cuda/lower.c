/* From a graph to steps over tensors.
 *
 * A value has several forms: as the host gave it (F32, or I32), and channels last in one or more
 * types. It is computed in its own type, the plan's unless the graph declares another. Operations
 * read their operands in the type of their result, but what norms and row weights read beside their
 * main operand, which is F32. A form is made by a step of its own when something first asks for it.
 * Reshapes between maps and tokens are no steps: channels last, both are the same bytes. A
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
                          int from, enum cn_dtype from_type, int to, enum cn_dtype type)
{
    struct cuda_step *s = cuda_step_new(p, run, label);

    s->val = v;
    s->type = type;
    s->from = from_type;
    s->in[0] = from;
    s->out = to;
    extend_lives(p, p->n_steps - 1);
    return to;
}

static bool is_map(const struct cuda_plan *p, cn_val v)
{
    return p->g->value[v].shape.rank == 4;
}

/* What value v is computed and kept in. */
static enum cn_dtype own_type(const struct cuda_plan *p, cn_val v)
{
    return cn_stored_dtype(&p->g->value[v], true, p->type);
}

static int *typed_form(struct cuda_plan *p, cn_val v, enum cn_dtype t)
{
    return &p->form[v].typed[t];
}

/* Value v channels last in type t. Without height and width the host's layout is the same bytes. */
static int typed_tensor(struct cuda_plan *p, cn_val v, enum cn_dtype t)
{
    int *form = typed_form(p, v, t), host = p->form[v].host;
    enum cn_dtype given = p->g->value[v].dtype, own = own_type(p, v);

    if (*form >= 0)
        return *form;
    if (host >= 0 && given == t && !is_map(p, v))
        return *form = host;
    if (host >= 0)
        return *form = add_conversion(p, cuda_run_from_host, "from host", v, host, given,
                                      cuda_tensor_new(p, cuda_value_bytes(p, v, t)), t);
    CN_ASSERT(*typed_form(p, v, own) >= 0);
    return *form = add_conversion(p, cuda_run_convert, "convert", v, *typed_form(p, v, own), own,
                                  cuda_tensor_new(p, cuda_value_bytes(p, v, t)), t);
}

/* Which form of its k-th input an operation of type t reads. */
static int operand_tensor(struct cuda_plan *p, const struct cn_node *n, int k, enum cn_dtype t)
{
    cn_val v = n->in[k];

    if (v < 0 || p->g->node[v].op == CN_OP_PARAM)
        return -1;
    if (n->op == CN_OP_EMBED) {
        CN_ASSERT(p->form[v].host >= 0); /* token ids come from the host */
        return p->form[v].host;
    }
    if ((n->op == CN_OP_GROUP_NORM && k == 3) || (n->op == CN_OP_ADD_CHANNEL && k == 1) ||
        (n->op == CN_OP_ADD_ROWS && k == 2) || (n->op == CN_OP_TIMESTEP && k == 0))
        t = CN_F32;
    return typed_tensor(p, v, t);
}

static int lower_node(struct cuda_plan *p, int i, struct cn_err *err)
{
    const struct cn_node *n = &p->g->node[i];
    enum cn_dtype t = own_type(p, i);
    struct cuda_step *s;
    int in[CN_MAX_IN], rc;

    if (n->op == CN_OP_TO_TOKENS || n->op == CN_OP_FROM_TOKENS) {
        *typed_form(p, i, t) = typed_tensor(p, n->in[0], t);
        return CN_OK;
    }
    for (int k = 0; k < CN_MAX_IN; k++)
        in[k] = operand_tensor(p, n, k, t);
    s = cuda_step_new(p, NULL, cn_op_name(n->op));
    s->node = *n;
    s->val = i;
    s->type = t;
    memcpy(s->in, in, sizeof(in));
    s->out = *typed_form(p, i, t) = cuda_tensor_new(p, cuda_value_bytes(p, i, t));
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

    if (native)
        *typed_form(p, io->val, t) = tensor;
    else
        p->form[io->val].host = tensor;
}

/* The output's buffer takes the place of the tensor, or gets a copy: of inputs, and of what is
 * another output already. */
static void place_output(struct cuda_plan *p, int i, int tensor)
{
    struct cuda_tensor *t = &p->tensor[tensor];
    cn_val v = p->g->output[i].val;
    size_t bytes = t->bytes;

    if (t->place == CUDA_ARENA) {
        t->place = CUDA_OUTPUT;
        t->index = i;
    } else {
        add_conversion(p, cuda_run_copy, "copy", v, tensor, CN_F32,
                       io_tensor(p, CUDA_OUTPUT, i, bytes), CN_F32);
    }
}

static void lower_output(struct cuda_plan *p, int i)
{
    const struct cn_io *io = &p->g->output[i];
    enum cn_dtype own = own_type(p, io->val), given = p->g->value[io->val].dtype;

    if (is_native(p, io) || (!is_map(p, io->val) && given == own && p->form[io->val].host < 0))
        place_output(p, i, typed_tensor(p, io->val, own));
    else if (p->form[io->val].host >= 0)
        place_output(p, i, p->form[io->val].host);
    else
        add_conversion(p, cuda_run_to_host, "to host", io->val, typed_tensor(p, io->val, own), own,
                       io_tensor(p, CUDA_OUTPUT, i, cuda_value_bytes(p, io->val, given)), given);
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
        p->form[i] = (struct cuda_forms){.host = -1, .typed = {-1, -1, -1}};
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
