/* Where the values of a plan are: which share memory, in which layout each stands, and its address
 * while the plan runs. */
#include "base/base.h"
#include "backend/cpu/onednn_priv.h"
#include "base/mem.h"
#include "tensor/passes.h"

#include <stdlib.h>

int64_t onednn_native_block(const struct cn_shape *s)
{
    if (s->rank != 4)
        return 1;
    return s->dim[1] % 16 == 0 ? 16 : s->dim[1];
}

bool onednn_is_plain(const struct cn_node *n)
{
    switch (n->op) {
    case CN_OP_INPUT:
    case CN_OP_CONV2D:
    case CN_OP_CONV_TRANSPOSE:
    case CN_OP_LINEAR:
    case CN_OP_GROUP_NORM:
    case CN_OP_LAYER_NORM:
    case CN_OP_ACT:
    case CN_OP_GEGLU:
    case CN_OP_ADD:
    case CN_OP_ADD_CHANNEL:
    case CN_OP_ADD_ROWS:
    case CN_OP_SCALE:
    case CN_OP_ATTENTION:
    case CN_OP_UPSAMPLE:
    case CN_OP_TO_TOKENS:
    case CN_OP_FROM_TOKENS:
    case CN_OP_TIMESTEP:
    case CN_OP_POOL_HW:
        return false;
    case CN_OP_CONCAT:
        return n->attr.axis != 1;
    default:
        return true;
    }
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
    if (onednn_is_plain(&g->node[v]))
        return 1;
    if (op == CN_OP_FROM_TOKENS || (op == CN_OP_GROUP_NORM && only_for_tokens(g, v)))
        return s->dim[1];
    return onednn_native_block(s);
}

/* Values that share memory: each class has a root, and lives from its root to its last reader. A
 * value begins `shift` bytes behind its root. */
struct classes {
    int *root, *last;
    size_t *shift;
};

static void join(struct classes *c, int v, int with, size_t shift)
{
    c->root[v] = c->root[with];
    c->shift[v] = c->shift[with] + shift;
    c->last[c->root[v]] = CN_MAX(c->last[c->root[v]], c->last[v]);
}

/* Rows of a batch: whatever the layout, each is one piece. */
static bool is_slice_of_rows(const struct cn_node *n)
{
    return n->op == CN_OP_SLICE && n->attr.axis == 0;
}

/* Where node i's result lies in its input, when it need not be copied: bytes from there; -1: it
 * must. Kernels want the alignment that all values have. */
static int64_t view_of(const struct onednn_plan *p, int i)
{
    int64_t from = cn_graph_view(p->g, i) * (int64_t)sizeof(float);
    const struct cn_node *n = &p->g->node[i];
    cn_val x = n->in[0];
    bool flat = p->g->value[x].shape.rank != 4 || p->place[x].block == 1;

    if (from < 0 || from % 64 != 0 || p->place[x].kind == AT_PARAM ||
        (!flat && !is_slice_of_rows(n)))
        return -1;
    return from;
}

/* Which earlier value's memory node i's result can take: a view of it, another shape of the same
 * bytes, or a residual that nobody reads afterwards. Negative: none. */
static int reuse(const struct onednn_plan *p, const struct classes *c, int i)
{
    const struct cn_node *n = &p->g->node[i];
    int v = -1;

    if (n->op == CN_OP_TO_TOKENS && p->place[n->in[0]].block == p->g->value[n->in[0]].shape.dim[1])
        v = n->in[0];
    else if (n->op == CN_OP_FROM_TOKENS)
        v = n->in[0];
    else if (view_of(p, i) >= 0)
        v = n->in[0];
    else if ((n->op == CN_OP_CONV2D || n->op == CN_OP_LINEAR) && n->in[3] >= 0 &&
             c->last[c->root[n->in[3]]] == i && p->place[n->in[3]].block == p->place[i].block)
        v = n->in[3];
    if (v < 0 || p->place[c->root[v]].kind != AT_ARENA)
        return -1;
    /* Another operand in the same memory would be overwritten while it is read. */
    for (int k = 0; k < 3; k++)
        if ((n->op == CN_OP_CONV2D || n->op == CN_OP_LINEAR) && n->in[k] >= 0 &&
            c->root[n->in[k]] == c->root[v])
            return -1;
    return v;
}

/* What the caller's buffers hold. */
static void place_inputs(struct onednn_plan *p)
{
    const struct cn_graph *g = p->g;

    for (int i = 0; i < g->n_inputs; i++) {
        cn_val v = g->input[i].val;
        bool native = g->input[i].flags & CN_IO_NATIVE;

        p->place[v] = (struct onednn_place){
            .kind = AT_INPUT, .index = i, .block = native ? choose_block(g, v) : 1};
    }
}

/* Operations whose kernels take any layout, the same for source and result. */
static bool keeps_layout(const struct cn_node *n)
{
    return n->op == CN_OP_POOL || n->op == CN_OP_RESIZE || is_slice_of_rows(n);
}

/* Everything else, but the offsets in the arena. */
static void place_value(struct onednn_plan *p, struct classes *c, int i, size_t *bytes)
{
    const struct cn_node *n = &p->g->node[i];
    struct onednn_place *at = &p->place[i];
    int64_t view;
    int shared;

    c->root[i] = i;
    if (n->op == CN_OP_INPUT)
        return;
    at->block = keeps_layout(n) && p->place[n->in[0]].kind != AT_PARAM ? p->place[n->in[0]].block
                                                                       : choose_block(p->g, i);
    at->kind = n->op == CN_OP_PARAM ? AT_PARAM : AT_ARENA;
    if (at->kind == AT_PARAM)
        return;
    view = view_of(p, i);
    if (view >= 0 && p->place[n->in[0]].kind == AT_INPUT) {
        *at = p->place[n->in[0]];
        at->offset += (size_t)view;
        at->view = true;
        return;
    }
    shared = reuse(p, c, i);
    at->view = view >= 0 && shared >= 0;
    if (shared >= 0)
        join(c, i, shared, view > 0 ? (size_t)view : 0);
    else
        *bytes = (size_t)cn_shape_elements(&p->g->value[i].shape) * sizeof(float);
}

void onednn_choose_places(struct onednn_plan *p)
{
    struct cn_graph *g = p->g;
    int n = g->count, *from = cn_xcalloc((size_t)n, sizeof(*from));
    size_t *bytes = cn_xcalloc((size_t)n, sizeof(*bytes));
    size_t *offset = cn_xcalloc((size_t)n, sizeof(*offset));
    struct classes c = {cn_xcalloc((size_t)n, sizeof(int)), cn_graph_last_use(g),
                        cn_xcalloc((size_t)n, sizeof(size_t))};

    place_inputs(p);
    for (int i = 0; i < n; i++) {
        from[i] = i;
        place_value(p, &c, i, &bytes[i]);
    }
    p->values_bytes = onednn_align(cn_pack_buffers(n, bytes, from, c.last, offset));
    for (int i = 0; i < n; i++)
        if (p->place[i].kind == AT_ARENA)
            p->place[i].offset = offset[c.root[i]] + c.shift[i];
    free(from);
    free(bytes);
    free(offset);
    free(c.root);
    free(c.last);
    free(c.shift);
}

size_t onednn_align(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

float *onednn_address(const struct onednn_plan *p, cn_val v)
{
    const struct onednn_place *at = &p->place[v];

    if (at->kind == AT_INPUT)
        return (float *)(void *)((unsigned char *)((struct cpu_buffer *)p->in[at->index])->data +
                                 at->offset);
    CN_DASSERT(at->kind == AT_ARENA);
    return (float *)(p->arena->data + at->offset);
}

struct cn_fmap onednn_fmap(const struct onednn_plan *p, cn_val v)
{
    const struct cn_shape *s = &p->g->value[v].shape;

    CN_DASSERT(s->rank == 4);
    return (struct cn_fmap){onednn_address(p, v), s->dim[0], s->dim[1], s->dim[2], s->dim[3],
                            p->place[v].block};
}

unsigned char *onednn_scratch(const struct onednn_plan *p)
{
    return p->arena->data + p->values_bytes;
}
