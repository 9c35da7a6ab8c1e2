/* Low-rank factors of adapters: held by the names of layers, and looked up when a plan runs. */
#include "base/base.h"
#include "backend/cpu/cpu_factors.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t cpu_factor_bytes(const struct cpu_factor *f)
{
    return (size_t)(f->rank * (f->out + f->in * f->k * f->k)) * sizeof(float);
}

int cpu_factors_new(const struct cn_backend_ops *ops, void (*free_packed)(void *packed),
                    struct cn_factors **ret)
{
    struct cpu_factors *f = cn_xcalloc(1, sizeof(*f));

    f->base.ops = ops;
    f->free_packed = free_packed;
    cn_strmap_init(&f->map);
    *ret = &f->base;
    return CN_OK;
}

int cpu_factors_add(struct cn_factors *base, const struct cn_factor *x, struct cn_err *err)
{
    struct cpu_factors *f = (struct cpu_factors *)base;
    struct cpu_factor *e = cn_xcalloc(1, sizeof(*e));

    *e = (struct cpu_factor){.index = f->map.count,
                             .out = x->out,
                             .in = x->in,
                             .rank = x->rank,
                             .k = x->k,
                             .down = x->down,
                             .up = x->up};
    CN_ASSERT(x->rank > 0 && x->rank <= CN_MAX_FACTOR_RANK);
    if (!cn_strmap_add(&f->map, x->layer, e)) {
        free(x->down);
        free(x->up);
        free(e);
        return cn_fail(err, CN_EINVAL, "two factors for layer \"%s\"", x->layer);
    }
    f->bytes += cpu_factor_bytes(e);
    return CN_OK;
}

void cpu_factors_free(struct cn_factors *base)
{
    struct cpu_factors *f = (struct cpu_factors *)base;

    for (size_t i = 0; i < f->map.count; i++) {
        struct cpu_factor *e = f->map.item[i].value;

        if (e->packed != NULL)
            f->free_packed(e->packed);
        free(e->down);
        free(e->up);
        free(e);
    }
    cn_strmap_release(&f->map);
    free(f);
}

size_t cpu_factors_bytes(const struct cn_factors *f)
{
    return ((const struct cpu_factors *)f)->bytes;
}

/* The layer whose weight this is. */
static void layer_of(const char *weight, char *ret, size_t size)
{
    size_t n = strlen(weight), ending = strlen(".weight");

    CN_ASSERT(n > ending && n - ending < size);
    snprintf(ret, size, "%.*s", (int)(n - ending), weight);
}

struct cpu_addition cpu_addition(const struct cn_plan *p, const struct cn_graph *g, int i, int k)
{
    const struct cn_row_adapter *a = &p->adapter[k];
    struct cpu_factors *f = (struct cpu_factors *)a->factors;
    const struct cn_node *n = &g->node[i];
    const struct cn_shape *w = &g->value[n->in[1]].shape;
    struct cpu_addition r = {.of = f, .row = a->row, .rows = a->rows};
    char layer[256];

    layer_of(g->value[n->in[1]].name, layer, sizeof(layer));
    r.factor = cn_strmap_get(&f->map, layer);
    if (r.factor != NULL)
        r.strength = a->strength[r.factor->index];
    if (r.strength == 0) {
        r.factor = NULL;
        return r;
    }
    CN_ASSERT(r.factor->out == w->dim[0] && r.factor->in == w->dim[1]);
    CN_ASSERT(r.factor->k == (n->op == CN_OP_CONV2D ? n->attr.conv.k : 1));
    CN_ASSERT(a->row + a->rows <= g->value[i].shape.dim[0]);
    return r;
}

bool cpu_adapts(const struct cn_plan *p, const struct cn_graph *g, int i)
{
    if (!g->node[i].attr.adapts)
        return false;
    for (int k = 0; k < p->n_adapters; k++)
        if (cpu_addition(p, g, i, k).factor != NULL)
            return true;
    return false;
}
