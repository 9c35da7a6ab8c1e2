/* Which 3x3 convolutions use Winograd's algorithm (Lavin and Gray 2015, arXiv:1509.09308): it needs
 * fewer multiplications, and transformed weights of up to four times the size. */
#include "base/base.h"
#include "backend/cpu/onednn_priv.h"
#include "backend/cpu/winograd_kernel.h"
#include "base/mem.h"

#include <stdlib.h>

/* A convolution that could use Winograd, what that costs and what it saves. */
struct candidate {
    cn_val weight;
    bool own;      /* the kernel is ours */
    size_t extra;  /* bytes beyond the plain weights */
    double saving; /* multiplications saved, per extra byte */
};

static bool winograd_fits(const struct cn_graph *g, int i)
{
    const struct cn_node *n = &g->node[i];
    const struct cn_conv *c = &n->attr.conv;

    return n->op == CN_OP_CONV2D && g->node[n->in[1]].op == CN_OP_PARAM && cn_conv_is_plain(c) &&
           c->k == 3 && c->stride == 1 && c->out % 16 == 0 &&
           g->value[n->in[0]].shape.dim[1] % 16 == 0;
}

/* Bytes of transformed weights for the library's kernel. */
static int library_cost(struct onednn_backend *b, const struct cn_graph *g, int i, size_t *ret)
{
    dnnl_primitive_desc_t pd;
    int rc = onednn_winograd_pd(b, g, i, &pd);

    if (rc < 0)
        return rc;
    *ret = dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0));
    dnnl_primitive_desc_destroy(pd);
    return CN_OK;
}

/* The same for ours; false: it is not faster. */
static bool own_cost(const struct cn_graph *g, int i, size_t *ret)
{
    const struct cn_shape *k = &g->value[g->node[i].in[1]].shape;
    const struct cn_shape *y = &g->value[i].shape;

    *ret = cn_winograd_floats(k->dim[0], k->dim[1]) * sizeof(float);
    return cn_winograd_pays(y->dim[2], y->dim[3]);
}

static int winograd_cost(struct onednn_weights *w, const struct cn_graph *g, int i,
                         struct candidate *c)
{
    const struct cn_shape *out = &g->value[i].shape, *k = &g->value[g->node[i].in[1]].shape;
    double macs = (double)cn_shape_elements(out) * (double)(k->dim[1] * 9);
    size_t plain = (size_t)cn_shape_elements(k) * sizeof(float), packed;
    int rc = library_cost(w->backend, g, i, &packed);

    c->own = rc == CN_ENOTFOUND && own_cost(g, i, &packed);
    if (rc < 0 && !c->own)
        return rc;
    c->weight = g->node[i].in[1];
    c->extra = packed > plain ? packed - plain : 0;
    c->saving = macs / (double)CN_MAX(c->extra, (size_t)1);
    return CN_OK;
}

static int by_saving(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->saving != y->saving)
        return x->saving < y->saving ? 1 : -1;
    return x->weight - y->weight;
}

static struct onednn_param *winograd_of(struct onednn_weights *w, const struct cn_graph *g,
                                        cn_val v)
{
    struct onednn_param *p = NULL;

    onednn_param_get(w, g, v, &p, NULL);
    return p;
}

static size_t network_bytes(const struct cn_graph *g)
{
    size_t bytes = 0;

    for (int i = 0; i < g->count; i++)
        if (g->node[i].op == CN_OP_PARAM)
            bytes += (size_t)cn_shape_elements(&g->value[i].shape) * sizeof(float);
    return bytes;
}

/* Transformed weights are up to four times as large, so not every convolution can have them: those
 * that save most multiplications per byte go first. The choice depends on the graphs that fix
 * the layouts, so that two runs of a server draw the same picture. */
void onednn_choose_winograd(struct onednn_weights *w, const struct cn_graph *g)
{
    struct candidate *list = cn_xcalloc((size_t)g->count, sizeof(*list));
    double ratio = w->backend->opts.winograd_ratio;
    size_t budget = (size_t)(ratio * (double)network_bytes(g));
    int n = 0;

    budget = ratio > 0 ? CN_MAX(budget, (size_t)64 << 20) : 0;
    for (int i = 0; i < g->count; i++) {
        if (!winograd_fits(g, i) ||
            winograd_of(w, g, g->node[i].in[1])->winograd != WINOGRAD_UNDECIDED)
            continue;
        if (ratio > 0 && winograd_cost(w, g, i, &list[n]) == CN_OK)
            n++;
        else
            winograd_of(w, g, g->node[i].in[1])->winograd = WINOGRAD_NO;
    }
    qsort(list, (size_t)n, sizeof(*list), by_saving);
    for (int i = 0; i < n; i++) {
        struct onednn_param *p = winograd_of(w, g, list[i].weight);
        bool fits = w->winograd_used + list[i].extra <= budget;

        p->winograd = !fits ? WINOGRAD_NO : list[i].own ? WINOGRAD_OWN : WINOGRAD_YES;
        w->winograd_used += fits ? list[i].extra : 0;
    }
    free(list);
}
