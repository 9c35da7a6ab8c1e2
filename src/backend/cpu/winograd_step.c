/* Convolutions by our own kernel of Winograd's algorithm, where the library has none. */
#include "base/base.h"
#include "backend/cpu/onednn_priv.h"
#include "backend/cpu/winograd_kernel.h"

#include <stdio.h>

static bool is_blocked(const struct onednn_plan *p, cn_val v)
{
    return p->place[v].block % 16 == 0;
}

bool onednn_wants_winograd(const struct onednn_plan *p, const struct onednn_step *s,
                           const struct onednn_param *w)
{
    const struct cn_node *n = &s->node;
    const struct cn_shape *y = &p->g->value[s->out].shape;

    return w != NULL && w->winograd == WINOGRAD_OWN && is_blocked(p, n->in[0]) &&
           is_blocked(p, s->out) && cn_winograd_pays(y->dim[2], y->dim[3]);
}

/* Where v starts: a bias is constant, or a buffer holds it. NULL: there is none. */
static const float *bias_of(const struct onednn_plan *p, const struct onednn_step *s)
{
    if (s->node.in[2] < 0)
        return NULL;
    return s->param[1] != NULL ? s->param[1]->plain : onednn_address(p, s->node.in[2]);
}

/* The residual in the layout of the result, to which it is copied where it has another one. */
static struct cn_fmap residual_of(const struct onednn_plan *p, const struct onednn_step *s,
                                  const struct cn_fmap *dst)
{
    struct cn_fmap r = onednn_fmap(p, s->node.in[3]);

    if (r.block == dst->block)
        return r;
    cn_cpu_copy(dst, &r);
    return *dst;
}

static int run_winograd(struct onednn_plan *p, struct onednn_step *s)
{
    struct cn_fmap dst = onednn_fmap(p, s->out), x = onednn_fmap(p, s->node.in[0]), residual;
    const int *pad = s->node.attr.conv.pad;
    struct cn_winograd w = {
        .u = s->held->transformed, .bias = bias_of(p, s), .top = pad[0], .left = pad[1]};

    if (s->node.in[3] >= 0) {
        residual = residual_of(p, s, &dst);
        w.residual = &residual;
    }
    cn_winograd_run(&dst, &x, &w, (float *)(void *)onednn_scratch(p));
    if (s->node.attr.act != CN_NONE)
        cn_cpu_act(dst.data, dst.data, dst.n * dst.c * dst.h * dst.w, &s->node.attr);
    return CN_OK;
}

int onednn_winograd_init(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err)
{
    const struct cn_shape *w = &p->g->value[s->node.in[1]].shape;
    cn_val bias = s->node.in[2];
    int rc = onednn_param_transformed(p->weights, p->g, s->node.in[1], &s->held, err);

    if (rc == CN_OK && bias >= 0 && p->g->node[bias].op == CN_OP_PARAM)
        rc = onednn_param_plain(p->weights, p->g, bias, &s->param[1], err);
    s->run = run_winograd;
    s->scratch_bytes = cn_winograd_scratch(w->dim[0], w->dim[1]) * sizeof(float);
    snprintf(s->label, sizeof(s->label), "conv3 winograd");
    return rc;
}
