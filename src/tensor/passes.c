/* Fusion, dead code, lifetimes, buffer packing. */
#include "base/base.h"
#include "tensor/passes.h"

#include <stdlib.h>
#include <string.h>

/* Work state of one fusion: for each old value, how many needed nodes read it, which node it was
 * folded into (the value that stands for it), and its index in the new graph. */
struct fusion {
    const struct cn_graph *g;
    struct cn_node *node; /* copies, edited */
    int *uses, *alias, *renamed;
};

static int resolve(const struct fusion *f, int v)
{
    while (v >= 0 && f->alias[v] != v)
        v = f->alias[v];
    return v;
}

/* Readers that an output needs, back to front: when a value's turn comes all its readers are
 * known. 0: dead. */
static void count_uses(struct fusion *f)
{
    memset(f->uses, 0, (size_t)f->g->count * sizeof(*f->uses));
    for (int i = 0; i < f->g->n_outputs; i++)
        f->uses[f->g->output[i].val]++;
    for (int i = f->g->count - 1; i >= 0; i--)
        for (int k = 0; k < CN_MAX_IN; k++)
            if (f->uses[i] > 0 && f->node[i].in[k] >= 0)
                f->uses[f->node[i].in[k]]++;
}

static bool takes_residual(enum cn_op op)
{
    return op == CN_OP_CONV2D || op == CN_OP_LINEAR;
}

static bool takes_activation(enum cn_op op)
{
    return takes_residual(op) || op == CN_OP_GROUP_NORM;
}

/* Node i disappears: whoever reads it reads the node that absorbed it. The absorber moves to i's
 * place, because its new inputs may be computed after its old place. */
static void absorb_into_place(struct fusion *f, int i, int producer)
{
    f->node[i] = f->node[producer];
    f->alias[producer] = i;
    f->node[producer].op = CN_OP_COUNT; /* gone */
}

static void fold_activation(struct fusion *f, int i)
{
    int p = f->node[i].in[0];
    enum cn_activation act = f->node[i].attr.act;
    float slope = f->node[i].attr.slope;

    if (f->uses[p] != 1 || !takes_activation(f->node[p].op) || f->node[p].attr.act != CN_NONE ||
        (f->node[p].attr.adapts && f->node[p].op == CN_OP_CONV2D)) /* adapters add before it */
        return;
    absorb_into_place(f, i, p);
    f->node[i].attr.act = act;
    f->node[i].attr.slope = slope;
}

static void fold_residual(struct fusion *f, int i)
{
    for (int k = 1; k >= 0; k--) {
        int p = f->node[i].in[k], other = f->node[i].in[1 - k];

        if (p == other || f->uses[p] != 1 || !takes_residual(f->node[p].op) ||
            f->node[p].attr.act != CN_NONE || f->node[p].in[3] >= 0)
            continue;
        absorb_into_place(f, i, p);
        f->node[i].in[3] = other;
        return;
    }
}

static void fold_channel_add(struct fusion *f, int i)
{
    int p = f->node[i].in[0];
    struct cn_node *n = &f->node[i];

    if (f->uses[p] != 1 || f->node[p].op != CN_OP_ADD_CHANNEL || n->in[3] >= 0)
        return;
    n->in[0] = f->node[p].in[0];
    n->in[3] = f->node[p].in[1];
    n->attr.offset = f->node[p].attr.offset;
    f->node[p].op = CN_OP_COUNT;
}

static void mark_needed(const struct fusion *f, bool *needed)
{
    const struct cn_graph *g = f->g;

    for (int i = 0; i < g->n_outputs; i++)
        needed[resolve(f, g->output[i].val)] = true;
    for (int i = g->count - 1; i >= 0; i--) {
        if (f->node[i].op == CN_OP_INPUT)
            needed[i] = true;
        if (f->node[i].op == CN_OP_COUNT || !needed[i])
            continue;
        for (int k = 0; k < CN_MAX_IN; k++)
            if (f->node[i].in[k] >= 0)
                needed[resolve(f, f->node[i].in[k])] = true;
    }
}

static void copy_value(struct cn_graph *r, struct fusion *f, int i)
{
    struct cn_node n = f->node[i];
    const struct cn_value *v = &f->g->value[i];

    for (int k = 0; k < CN_MAX_IN; k++)
        if (n.in[k] >= 0)
            n.in[k] = f->renamed[resolve(f, n.in[k])];
    r->node = cn_grow(r->node, (size_t)r->count, &r->node_cap, sizeof(*r->node));
    r->value = cn_grow(r->value, (size_t)r->count, &r->value_cap, sizeof(*r->value));
    r->node[r->count] = n;
    r->value[r->count] = *v;
    if (v->name != NULL)
        r->value[r->count].name = cn_arena_strdup(&r->arena, v->name);
    f->renamed[i] = r->count++;
}

static struct cn_io *copy_io(struct cn_graph *r, const struct fusion *f, const struct cn_io *io,
                             int n)
{
    struct cn_io *list = cn_xcalloc((size_t)n, sizeof(*list));

    for (int i = 0; i < n; i++)
        list[i] = (struct cn_io){cn_arena_strdup(&r->arena, io[i].name),
                                 f->renamed[resolve(f, io[i].val)], io[i].flags};
    return list;
}

static struct cn_graph *rebuild(struct fusion *f)
{
    const struct cn_graph *g = f->g;
    struct cn_graph *r = cn_graph_new(g->name);
    bool *needed = cn_xcalloc((size_t)g->count, sizeof(*needed));

    mark_needed(f, needed);
    for (int i = 0; i < g->count; i++)
        if (needed[i] && f->node[i].op != CN_OP_COUNT)
            copy_value(r, f, i);
    r->input = copy_io(r, f, g->input, g->n_inputs);
    r->n_inputs = g->n_inputs;
    r->input_cap = (size_t)g->n_inputs;
    r->output = copy_io(r, f, g->output, g->n_outputs);
    r->n_outputs = g->n_outputs;
    r->output_cap = (size_t)g->n_outputs;
    free(needed);
    return r;
}

struct cn_graph *cn_graph_fuse(const struct cn_graph *g)
{
    size_t n = (size_t)g->count;
    struct fusion f = {.g = g,
                       .node = cn_xcalloc(n, sizeof(*f.node)),
                       .uses = cn_xcalloc(n, sizeof(*f.uses)),
                       .alias = cn_xcalloc(n, sizeof(*f.alias)),
                       .renamed = cn_xcalloc(n, sizeof(*f.renamed))};
    struct cn_graph *r;

    memcpy(f.node, g->node, n * sizeof(*f.node));
    for (int i = 0; i < g->count; i++)
        f.alias[i] = i;
    count_uses(&f);
    for (int i = 0; i < g->count; i++) {
        if (f.uses[i] == 0)
            continue;
        for (int k = 0; k < CN_MAX_IN; k++)
            f.node[i].in[k] = resolve(&f, f.node[i].in[k]);
        if (f.node[i].op == CN_OP_ACT)
            fold_activation(&f, i);
        else if (f.node[i].op == CN_OP_ADD)
            fold_residual(&f, i);
        else if (f.node[i].op == CN_OP_GROUP_NORM)
            fold_channel_add(&f, i);
    }
    r = rebuild(&f);
    free(f.node);
    free(f.uses);
    free(f.alias);
    free(f.renamed);
    return r;
}

int *cn_graph_last_use(const struct cn_graph *g)
{
    int *last = cn_xmalloc((size_t)g->count * sizeof(*last));

    for (int i = 0; i < g->count; i++)
        last[i] = -1;
    for (int i = 0; i < g->count; i++)
        for (int k = 0; k < CN_MAX_IN; k++)
            if (g->node[i].in[k] >= 0)
                last[g->node[i].in[k]] = i;
    for (int i = 0; i < g->n_outputs; i++)
        last[g->output[i].val] = g->count;
    return last;
}

int64_t cn_graph_view(const struct cn_graph *g, cn_val v)
{
    const struct cn_node *n = &g->node[v];
    const struct cn_shape *s = n->op == CN_OP_SLICE ? &g->value[n->in[0]].shape : NULL;
    int64_t row = 1;

    if (n->op == CN_OP_RESHAPE)
        return 0;
    if (s == NULL)
        return -1;
    for (int i = 0; i < n->attr.axis; i++)
        if (s->dim[i] != 1)
            return -1;
    for (int i = n->attr.axis + 1; i < s->rank; i++)
        row *= s->dim[i];
    return n->attr.offset * row;
}

struct placed {
    int index;
    size_t bytes;
};

static int larger_first(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;

    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->index - y->index; /* total order: the same graph always packs the same way */
}

/* The lowest offset at which bytes fit beside the buffers done[0..n) that live at the same time;
 * done is sorted by offset. */
static size_t lowest_fit(const struct placed *done, int n, const size_t *bytes, const int *from,
                         const int *to, const size_t *offset, int i)
{
    size_t at = 0;

    for (int k = 0; k < n; k++) {
        int j = done[k].index;

        if (to[j] < from[i] || to[i] < from[j])
            continue;
        if (at + bytes[i] <= offset[j])
            break;
        at = CN_MAX(at, (offset[j] + bytes[j] + 63) & ~(size_t)63);
    }
    return at;
}

size_t cn_pack_buffers(int n, const size_t *bytes, const int *from, const int *to,
                       size_t *ret_offset)
{
    struct placed *todo = cn_xcalloc((size_t)n, sizeof(*todo));
    struct placed *done = cn_xcalloc((size_t)n, sizeof(*done));
    size_t total = 0;
    int n_done = 0;

    for (int i = 0; i < n; i++)
        todo[i] = (struct placed){i, bytes[i]};
    qsort(todo, (size_t)n, sizeof(*todo), larger_first);
    for (int t = 0; t < n; t++) {
        int i = todo[t].index, k;

        ret_offset[i] = 0;
        if (bytes[i] == 0)
            continue;
        ret_offset[i] = lowest_fit(done, n_done, bytes, from, to, ret_offset, i);
        total = CN_MAX(total, ret_offset[i] + bytes[i]);
        for (k = n_done++; k > 0 && ret_offset[done[k - 1].index] > ret_offset[i]; k--)
            done[k] = done[k - 1];
        done[k] = todo[t];
    }
    free(todo);
    free(done);
    return total;
}
