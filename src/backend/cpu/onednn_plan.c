/* Compiling a graph into steps, and running them. */
#include "base/base.h"
#include "backend/cpu/onednn_priv.h"
#include "base/clock.h"
#include "base/mem.h"
#include "tensor/passes.h"

#include <stdlib.h>
#include <string.h>

float *onednn_address(const struct onednn_plan *p, cn_val v)
{
    const struct onednn_place *at = &p->place[v];

    if (at->kind == AT_INPUT)
        return ((struct cpu_buffer *)p->in[at->index])->data;
    CN_DASSERT(at->kind == AT_ARENA);
    return (float *)(p->arena->data + at->offset);
}

struct cn_fmap onednn_fmap(const struct onednn_plan *p, cn_val v)
{
    const struct cn_shape *s = &p->g->value[v].shape;

    CN_DASSERT(s->rank == 4);
    return (struct cn_fmap){onednn_address(p, v), s->dim[0], s->dim[1],
                            s->dim[2],            s->dim[3], p->place[v].b};
}

/* A group norm whose result only becomes tokens is best written as tokens at once. */
static bool only_for_tokens(const struct cn_graph *g, int v)
{
    bool any = false;

    for (int i = v + 1; i < g->count; i++)
        for (int k = 0; k < CN_MAX_IN; k++)
            if (g->node[i].in[k] == v) {
                if (g->node[i].op != CN_OP_TO_TOKENS)
                    return false;
                any = true;
            }
    for (int i = 0; i < g->n_outputs; i++)
        if (g->output[i].val == v)
            return false;
    return any;
}

static int64_t choose_block(const struct cn_graph *g, int v)
{
    const struct cn_shape *s = &g->value[v].shape;
    enum cn_op op = g->node[v].op;

    if (s->rank != 4)
        return 1;
    if (op == CN_OP_FROM_TOKENS || (op == CN_OP_GROUP_NORM && only_for_tokens(g, v)))
        return s->dim[1];
    return onednn_native_block(s);
}

/* Values that share memory: each class has a root, and lives from its root to its last reader. */
struct classes {
    int *root, *last;
};

static void join(struct classes *c, int v, int with)
{
    c->root[v] = c->root[with];
    c->last[c->root[v]] = CN_MAX(c->last[c->root[v]], c->last[v]);
}

/* Which earlier value's memory node i's result can take: tokens that are a feature map's bytes, or
 * a residual that nobody reads afterwards. Negative: none. */
static int reuse(const struct onednn_plan *p, const struct classes *c, int i)
{
    const struct cn_node *n = &p->g->node[i];
    int v = -1;

    if (n->op == CN_OP_TO_TOKENS && p->place[n->in[0]].b == p->g->value[n->in[0]].shape.dim[1])
        v = n->in[0];
    else if (n->op == CN_OP_FROM_TOKENS)
        v = n->in[0];
    else if ((n->op == CN_OP_CONV2D || n->op == CN_OP_LINEAR) && n->in[3] >= 0 &&
             c->last[c->root[n->in[3]]] == i && p->place[n->in[3]].b == p->place[i].b)
        v = n->in[3];
    if (v < 0 || p->place[c->root[v]].kind != AT_ARENA)
        return -1;
    /* Another operand in the same memory would be overwritten while it is read. */
    for (int k = 0; k < 3; k++)
        if (n->op != CN_OP_TO_TOKENS && n->op != CN_OP_FROM_TOKENS && n->in[k] >= 0 &&
            c->root[n->in[k]] == c->root[v])
            return -1;
    return v;
}

static void choose_places(struct onednn_plan *p)
{
    struct cn_graph *g = p->g;
    int n = g->count, *from = cn_xcalloc((size_t)n, sizeof(*from));
    size_t *bytes = cn_xcalloc((size_t)n, sizeof(*bytes));
    size_t *offset = cn_xcalloc((size_t)n, sizeof(*offset));
    struct classes c = {cn_xcalloc((size_t)n, sizeof(int)), cn_graph_last_use(g)};

    for (int i = 0; i < n; i++) {
        struct onednn_place *at = &p->place[i];
        int shared;

        c.root[i] = from[i] = i;
        at->b = choose_block(g, i);
        at->kind = g->node[i].op == CN_OP_INPUT ? AT_INPUT
                   : g->node[i].op == CN_OP_PARAM ? AT_PARAM
                                                  : AT_ARENA;
        if (at->kind != AT_ARENA)
            continue;
        shared = reuse(p, &c, i);
        if (shared >= 0)
            join(&c, i, shared);
        else
            bytes[i] = (size_t)cn_shape_elements(&g->value[i].shape) * sizeof(float);
    }
    for (int i = 0; i < g->n_inputs; i++) {
        p->place[g->input[i].val].index = i;
        if (!(g->input[i].flags & CN_IO_NATIVE))
            p->place[g->input[i].val].b = 1;
    }
    p->values_bytes = (cn_pack_buffers(n, bytes, from, c.last, offset) + 63) & ~(size_t)63;
    for (int i = 0; i < n; i++)
        p->place[i].offset = offset[c.root[i]];
    free(from);
    free(bytes);
    free(offset);
    free(c.root);
    free(c.last);
}

static int add_step(struct onednn_plan *p, int i, struct cn_err *err)
{
    struct onednn_step *s;
    int rc;

    p->step = cn_grow(p->step, (size_t)p->n_steps, &p->step_cap, sizeof(*p->step));
    s = &p->step[p->n_steps++];
    *s = (struct onednn_step){.op = p->g->node[i].op, .node = p->g->node[i], .out = i};
    if (s->op == CN_OP_CONV2D)
        rc = onednn_conv_init(p, s, err);
    else if (s->op == CN_OP_LINEAR)
        rc = onednn_linear_init(p, s, err);
    else
        rc = onednn_op_init(p, s, err);
    p->scratch_bytes = CN_MAX(p->scratch_bytes, s->scratch_bytes);
    return rc;
}

/* A plan without steps: values have places, parameters a form. */
static struct onednn_plan *new_plan(struct onednn_weights *w, const struct cn_graph *g, int flags)
{
    struct onednn_plan *p = cn_xcalloc(1, sizeof(*p));

    p->base.ops = &cn_backend_onednn;
    p->backend = w->backend;
    p->arena = cpu_workspace_arena(&w->backend->ws, flags);
    p->stream = w->backend->stream[flags & CN_PLAN_CONCURRENT ? 1 : 0];
    p->weights = w;
    p->g = cn_graph_fuse(g);
    p->place = cn_xcalloc((size_t)p->g->count, sizeof(*p->place));
    choose_places(p);
    onednn_choose_winograd(w, p->g);
    for (int i = 0; i < p->g->count; i++) {
        struct onednn_step s = {.op = p->g->node[i].op, .node = p->g->node[i], .out = i};

        if (s.op == CN_OP_CONV2D)
            onednn_conv_settle(p, &s);
        else if (s.op == CN_OP_LINEAR)
            onednn_linear_settle(p, &s);
    }
    return p;
}

void onednn_settle(struct cn_weights *base, const struct cn_graph *g)
{
    struct onednn_weights *w = (struct onednn_weights *)base;
    int old = cpu_use_threads(w->backend->ws.main.threads);

    onednn_plan_free(&new_plan(w, g, 0)->base);
    cpu_use_threads(old);
}

int onednn_compile(struct cn_backend *base, const struct cn_graph *g, struct cn_weights *w,
                   enum cn_dtype dtype, int flags, struct cn_plan **ret, struct cn_err *err)
{
    struct cpu_workspace *ws = &((struct onednn_backend *)base)->ws;
    int old = cpu_use_threads(cpu_workspace_arena(ws, flags)->threads);
    struct onednn_plan *p = new_plan((struct onednn_weights *)w, g, flags);
    int rc = CN_OK;

    CN_ASSERT(dtype == CN_F32);
    for (int i = 0; i < p->g->count && rc == CN_OK; i++)
        if (p->place[i].kind == AT_ARENA)
            rc = add_step(p, i, err);
    if (rc == CN_OK)
        rc = cpu_workspace_reserve(ws, p->arena, p->values_bytes + p->scratch_bytes, err);
    cpu_use_threads(old);
    if (rc < 0) {
        onednn_plan_free(&p->base);
        return rc;
    }
    *ret = &p->base;
    return CN_OK;
}

void onednn_plan_free(struct cn_plan *base)
{
    struct onednn_plan *p = (struct onednn_plan *)base;

    for (int i = 0; i < p->n_steps; i++)
        onednn_primitive_release(&p->step[i]);
    cn_graph_free(p->g);
    free(p->place);
    free(p->step);
    free(p);
}

static void copy_output(const struct onednn_plan *p, int i)
{
    struct cpu_buffer *out = (struct cpu_buffer *)p->out[i];
    cn_val v = p->g->output[i].val;

    if (p->g->value[v].shape.rank == 4) {
        struct cn_fmap src = onednn_fmap(p, v), dst = src;

        dst.data = out->data;
        dst.b = out->block;
        cn_cpu_copy(&dst, &src);
    } else {
        memcpy(out->data, onednn_address(p, v), out->bytes);
    }
}

static int run_steps(struct onednn_plan *p, struct cn_err *err)
{
    bool profile = p->backend->opts.profile;

    for (int i = 0; i < p->n_steps; i++) {
        struct onednn_step *s = &p->step[i];
        int64_t start = profile ? cn_now_ns() : 0;
        int rc = s->run(p, s);

        if (rc < 0)
            return cn_fail(err, rc, "step %d (%s) of plan \"%s\" failed", i, s->label, p->g->name);
        if (profile) {
            s->ns += cn_now_ns() - start;
            s->runs++;
        }
    }
    return CN_OK;
}

static int run_plan(void *ctx, struct cn_err *err)
{
    struct onednn_plan *p = ctx;
    int rc = run_steps(p, err);

    for (int i = 0; i < p->g->n_outputs && rc == CN_OK; i++)
        copy_output(p, i);
    return rc;
}

int onednn_run(struct cn_plan *base, struct cn_buffer *const *in, struct cn_buffer *const *out,
               struct cn_err *err)
{
    struct onednn_plan *p = (struct onednn_plan *)base;

    CN_ASSERT(cn_buffers_fit(p->g, p->g->input, p->g->n_inputs, CN_F32, in));
    CN_ASSERT(cn_buffers_fit(p->g, p->g->output, p->g->n_outputs, CN_F32, out));
    p->in = in;
    p->out = out;
    return cpu_workspace_run(&p->backend->ws, p->arena, onednn_arena_bytes(base), run_plan, p, err);
}

size_t onednn_arena_bytes(const struct cn_plan *base)
{
    const struct onednn_plan *p = (const struct onednn_plan *)base;

    return p->values_bytes + p->scratch_bytes;
}

char *onednn_profile(const struct cn_plan *base)
{
    const struct onednn_plan *p = (const struct onednn_plan *)base;
    struct cn_step_profile *step = cn_xcalloc((size_t)p->n_steps, sizeof(*step));
    char *text;

    for (int i = 0; i < p->n_steps; i++)
        step[i] = (struct cn_step_profile){p->step[i].label, (double)p->step[i].ns * 1e-6,
                                           p->step[i].runs};
    text = cn_profile_text(step, p->n_steps);
    free(step);
    return text;
}
