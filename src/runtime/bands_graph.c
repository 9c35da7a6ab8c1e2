/* The graph of a band: the nodes of a layer with fewer rows, and with padding only where the
 * picture ends. */
#include "base/base.h"
#include "runtime/bands_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_local(enum cn_op op)
{
    return op == CN_OP_CONV2D || op == CN_OP_ACT || op == CN_OP_ADD || op == CN_OP_UPSAMPLE ||
           op == CN_OP_SCALE || op == CN_OP_PARAM;
}

bool band_layer_begins(const struct band_layer *l, int i)
{
    return l->part[i] && i != l->out &&
           (l->kept[i] || l->g->node[i].op == CN_OP_GROUP_NORM || l->g->node[i].op == CN_OP_INPUT);
}

void band_layer_find(struct band_layer *l, const struct cn_graph *g, int out, const bool *kept,
                     bool *part)
{
    *l = (struct band_layer){.g = g, .out = out, .kept = kept, .part = part};
    memset(part, 0, (size_t)g->count * sizeof(*part));
    part[out] = true;
    for (int i = out; i >= 0; i--) {
        if (!part[i] || band_layer_begins(l, i))
            continue;
        l->whole = l->whole || !is_local(g->node[i].op);
        for (int k = 0; k < CN_MAX_IN; k++)
            if (g->node[i].in[k] >= 0)
                part[g->node[i].in[k]] = true;
    }
}

static const struct cn_shape *shape_of(const struct band_layer *l, int i)
{
    return &l->g->value[i].shape;
}

static int64_t height_of(const struct band_layer *l, int i)
{
    const struct cn_shape *s = shape_of(l, i);

    return s->rank == 4 ? s->dim[2] : 0;
}

static void need(struct band_range *r, int64_t lo, int64_t hi)
{
    bool empty = r->lo == r->hi;

    r->lo = empty ? lo : CN_MIN(r->lo, lo);
    r->hi = empty ? hi : CN_MAX(r->hi, hi);
}

/* The rows of its input that rows r of node i read, where those beyond the picture count too. */
static struct band_range reads(const struct band_layer *l, int i, struct band_range r)
{
    const struct cn_node *n = &l->g->node[i];
    int64_t from = height_of(l, n->in[0]), factor;

    switch (n->op) {
    case CN_OP_CONV2D:
        return (struct band_range){r.lo * n->attr.conv.stride - n->attr.conv.pad[0],
                                   (r.hi - 1) * n->attr.conv.stride + n->attr.conv.k -
                                       n->attr.conv.pad[0]};
    case CN_OP_UPSAMPLE:
        factor = n->attr.oh / from;
        return (struct band_range){r.lo / factor, (r.hi + factor - 1) / factor};
    case CN_OP_ACT:
    case CN_OP_ADD:
    case CN_OP_SCALE:
        return r;
    default:
        return (struct band_range){0, from};
    }
}

static struct band_range clipped(struct band_range r, int64_t h)
{
    return (struct band_range){CN_MAX(r.lo, 0), CN_MIN(r.hi, h)};
}

void band_layer_ranges(const struct band_layer *l, int64_t lo, int64_t hi, struct band_range *ret)
{
    memset(ret, 0, (size_t)l->g->count * sizeof(*ret));
    ret[l->out] = (struct band_range){lo, hi};
    for (int i = l->out; i >= 0; i--) {
        const struct cn_node *n = &l->g->node[i];

        if (!l->part[i] || band_layer_begins(l, i) || n->op == CN_OP_PARAM)
            continue;
        for (int k = 0; k < CN_MAX_IN; k++)
            if (n->in[k] >= 0 && l->g->node[n->in[k]].op != CN_OP_PARAM) {
                struct band_range r = clipped(reads(l, i, ret[i]), height_of(l, n->in[k]));

                need(&ret[n->in[k]], r.lo, r.hi);
            }
    }
}

/* Rows [want.lo, want.hi) of a value that has rows `has`. */
static cn_val rows(struct cn_graph *g, cn_val x, struct band_range has, struct band_range want)
{
    if (has.lo == want.lo && has.hi == want.hi)
        return x;
    return cn_slice(g, x, 2, (int)(want.lo - has.lo), (int)(want.hi - want.lo));
}

/* Node i with rows range[i] in graph g; map: what stands for the nodes before it. */
static cn_val copy_node(const struct band_layer *l, int i, const struct band_range *range,
                        const cn_val *map, struct cn_graph *g)
{
    struct cn_node n = l->g->node[i];
    struct cn_shape shape = *shape_of(l, i);
    struct band_range all = reads(l, i, range[i]), made = range[i];
    cn_val x;

    for (int k = 0; k < CN_MAX_IN; k++) {
        int from = n.in[k];

        if (from < 0)
            continue;
        n.in[k] = map[from];
        if (is_local(n.op) && l->g->node[from].op != CN_OP_PARAM)
            n.in[k] = rows(g, map[from], range[from], clipped(all, height_of(l, from)));
    }
    if (n.op == CN_OP_CONV2D) {
        n.attr.conv.pad[0] = (int)CN_MAX(-all.lo, 0);
        n.attr.conv.pad[2] = (int)CN_MAX(all.hi - height_of(l, l->g->node[i].in[0]), 0);
    }
    if (n.op == CN_OP_UPSAMPLE) {
        int64_t factor = shape.dim[2] / height_of(l, l->g->node[i].in[0]);

        made = (struct band_range){all.lo * factor, all.hi * factor};
        n.attr.oh = (int)(made.hi - made.lo);
    }
    if (shape.rank == 4)
        shape.dim[2] = made.hi - made.lo;
    x = cn_graph_add(g, &n, shape, l->g->value[i].dtype, NULL);
    return shape.rank == 4 ? rows(g, x, made, range[i]) : x;
}

struct cn_graph *band_layer_graph(const struct band_layer *l, const struct band_range *range)
{
    cn_val *map = cn_xcalloc((size_t)l->g->count, sizeof(*map));
    struct cn_graph *g = cn_graph_new("band");

    for (int i = 0; i <= l->out; i++) {
        struct cn_shape shape = *shape_of(l, i);
        char name[16];

        if (!l->part[i])
            continue;
        if (l->g->node[i].op == CN_OP_PARAM) {
            map[i] = cn_param(g, l->g->value[i].name, shape);
        } else if (band_layer_begins(l, i)) {
            shape.dim[2] = range[i].hi - range[i].lo;
            snprintf(name, sizeof(name), "v%d", i);
            map[i] = cn_graph_input(g, name, shape, CN_F32, 0);
        } else {
            map[i] = copy_node(l, i, range, map, g);
        }
    }
    cn_graph_output(g, "rows", map[l->out], 0);
    free(map);
    return g;
}

size_t band_layer_row_bytes(const struct band_layer *l)
{
    size_t n = 0;

    for (int i = 0; i <= l->out; i++)
        if (l->part[i] && l->g->node[i].op != CN_OP_PARAM)
            n += (size_t)cn_shape_elements(shape_of(l, i)) * sizeof(float);
    return n / (size_t)CN_MAX(height_of(l, l->out), 1);
}
