/* Convolutions and linear layers as oneDNN primitives. */
#include "base/base.h"
#include "backend/cpu/onednn_priv.h"

#include <stdio.h>
#include <string.h>

static void describe(dnnl_memory_desc_t *md, const struct cn_shape *s, int64_t b)
{
    dnnl_format_tag_t tag = b == 0 ? dnnl_format_tag_any : b == 1 ? dnnl_nchw
                                                       : b == 16  ? dnnl_nChw16c
                                                                  : dnnl_nhwc;
    dnnl_dims_t dims;

    for (int i = 0; i < 4; i++)
        dims[i] = s->dim[i];
    CN_ASSERT(dnnl_memory_desc_init_by_tag(md, 4, dims, dnnl_f32, tag) == dnnl_success);
}

static dnnl_status_t add_activation(dnnl_post_ops_t ops, enum cn_activation act)
{
    switch (act) {
    case CN_SILU:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_swish, 1, 0);
    case CN_QUICK_GELU:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_swish, 1.702f, 0);
    case CN_GELU:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_gelu_erf, 0, 0);
    case CN_RELU:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0);
    default:
        return dnnl_success;
    }
}

/* Scratch from our arena; result = act(product + bias + what stands in the destination). */
static dnnl_primitive_attr_t attributes(bool sum, enum cn_activation act)
{
    dnnl_primitive_attr_t attr;
    dnnl_post_ops_t ops;

    CN_ASSERT(dnnl_primitive_attr_create(&attr) == dnnl_success);
    CN_ASSERT(dnnl_post_ops_create(&ops) == dnnl_success);
    CN_ASSERT(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) ==
              dnnl_success);
    if (sum)
        CN_ASSERT(dnnl_post_ops_append_sum(ops, 1) == dnnl_success);
    CN_ASSERT(add_activation(ops, act) == dnnl_success);
    CN_ASSERT(dnnl_primitive_attr_set_post_ops(attr, ops) == dnnl_success);
    dnnl_post_ops_destroy(ops);
    return attr;
}

static bool implemented_by(dnnl_primitive_desc_t pd, const char *word)
{
    const char *info = "";

    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &info);
    return strstr(info, word) != NULL;
}

/* What a convolution is asked for; weights NULL: any layout. */
struct conv_wish {
    bool winograd, sum;
    enum cn_activation act;
    int64_t src_b, dst_b;
    const dnnl_memory_desc_t *weights;
};

static int conv_pd(struct onednn_backend *b, const struct cn_graph *g, const struct cn_node *n,
                   cn_val out, const struct conv_wish *wish, dnnl_primitive_desc_t *ret)
{
    const struct cn_conv *c = &n->attr.conv;
    const struct cn_shape *w = &g->value[n->in[1]].shape;
    dnnl_dims_t wd = {w->dim[0], w->dim[1], w->dim[2], w->dim[3]}, bd = {w->dim[0]};
    dnnl_dims_t stride = {c->stride, c->stride}, dilate = {0, 0};
    dnnl_dims_t pad_l = {c->pad[0], c->pad[1]}, pad_r = {c->pad[2], c->pad[3]};
    dnnl_memory_desc_t src, weights, bias, dst;
    dnnl_primitive_attr_t attr;
    dnnl_convolution_desc_t cd;
    dnnl_status_t s;

    describe(&src, &g->value[n->in[0]].shape, wish->src_b);
    describe(&dst, &g->value[out].shape, wish->dst_b);
    dnnl_memory_desc_init_by_tag(&weights, 4, wd, dnnl_f32, dnnl_format_tag_any);
    if (wish->weights != NULL)
        weights = *wish->weights;
    dnnl_memory_desc_init_by_tag(&bias, 1, bd, dnnl_f32, dnnl_x);
    s = dnnl_dilated_convolution_forward_desc_init(
        &cd, dnnl_forward_inference,
        wish->winograd ? dnnl_convolution_winograd : dnnl_convolution_direct, &src, &weights,
        n->in[2] >= 0 ? &bias : NULL, &dst, stride, dilate, pad_l, pad_r);
    if (s != dnnl_success)
        return CN_ENOTFOUND;
    attr = attributes(wish->sum, wish->act);
    s = dnnl_primitive_desc_create(ret, &cd, attr, b->engine, NULL);
    dnnl_primitive_attr_destroy(attr);
    return s == dnnl_success ? CN_OK : CN_ENOTFOUND;
}

int onednn_conv_pd(struct onednn_backend *b, const struct cn_graph *g, const struct cn_node *n,
                   cn_val out, bool winograd, int64_t src_b, int64_t dst_b,
                   dnnl_primitive_desc_t *ret, struct cn_err *err)
{
    struct conv_wish wish = {winograd, n->in[3] >= 0, n->attr.act, src_b, dst_b, NULL};

    if (conv_pd(b, g, n, out, &wish, ret) < 0)
        return cn_fail(err, CN_ENOTFOUND, "no such convolution");
    if (winograd && !implemented_by(*ret, "wino")) {
        dnnl_primitive_desc_destroy(*ret);
        return cn_fail(err, CN_ENOTFOUND, "no Winograd kernel");
    }
    return CN_OK;
}

/* Whether this plan shall use pd; otherwise pd is destroyed. A Winograd kernel must be the one that
 * was decided on, and its working memory, which grows with the picture, bounded. */
static bool good_conv(dnnl_primitive_desc_t pd, bool winograd)
{
    if (!implemented_by(pd, "ref") && implemented_by(pd, "wino") == winograd &&
        (!winograd || onednn_winograd_is_small(pd)))
        return true;
    dnnl_primitive_desc_destroy(pd);
    return false;
}

/* Tries the layouts that the values have, first with the weights' settled form; then lets oneDNN
 * choose, which costs reorders. What other plans use has no say: results must not depend on it. */
static int choose_conv(struct onednn_plan *p, const struct onednn_step *s,
                       const struct onednn_param *w, bool winograd, bool *ret_reorder,
                       dnnl_primitive_desc_t *ret, struct cn_err *err)
{
    const struct cn_node *n = &s->node;
    struct conv_wish wish = {winograd, n->in[3] >= 0, n->attr.act, p->place[n->in[0]].b,
                             p->place[s->out].b, NULL};

    *ret_reorder = false;
    if (w->settled) {
        wish.weights = &w->form;
        if (conv_pd(p->backend, p->g, n, s->out, &wish, ret) == CN_OK && good_conv(*ret, winograd))
            return CN_OK;
    }
    wish.weights = NULL;
    if (conv_pd(p->backend, p->g, n, s->out, &wish, ret) == CN_OK && good_conv(*ret, winograd))
        return CN_OK;
    if (winograd)
        return cn_fail(err, CN_ENOTFOUND, "no Winograd kernel"); /* direct will do */
    /* The reorder of the result adds the residual, so the convolution does not. */
    wish.src_b = wish.dst_b = 0;
    if (wish.sum)
        wish.act = CN_NONE;
    wish.sum = false;
    *ret_reorder = true;
    if (conv_pd(p->backend, p->g, n, s->out, &wish, ret) < 0)
        return cn_fail(err, CN_EDEVICE, "oneDNN has no kernel for convolution \"%s\"",
                       p->g->value[n->in[1]].name);
    return CN_OK;
}

static size_t align64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

static int make_memory(struct onednn_backend *b, const dnnl_memory_desc_t *md, dnnl_memory_t *ret,
                       struct cn_err *err)
{
    return onednn_check(dnnl_memory_create(ret, md, b->engine, DNNL_MEMORY_NONE),
                        "describe a tensor", err);
}

static int make_reorder(struct onednn_backend *b, const dnnl_memory_desc_t *from,
                        const dnnl_memory_desc_t *to, bool sum, dnnl_primitive_t *ret,
                        struct cn_err *err)
{
    dnnl_primitive_attr_t attr = attributes(sum, CN_NONE);
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t st;

    st = dnnl_reorder_primitive_desc_create(&pd, from, b->engine, to, b->engine, attr);
    if (st == dnnl_success)
        st = dnnl_primitive_create(ret, pd);
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    return onednn_check(st, "prepare a reorder", err);
}

static void add_arg(struct onednn_step *s, int arg, dnnl_memory_t m)
{
    CN_ASSERT(s->n_args < STEP_ARGS);
    s->arg[s->n_args++] = (dnnl_exec_arg_t){arg, m};
}

/* The end of both inits: scratchpad, primitive, arguments. */
static int finish(struct onednn_plan *p, struct onednn_step *s, dnnl_primitive_desc_t pd,
                  dnnl_memory_t weights, const dnnl_memory_desc_t *bias_md, struct cn_err *err)
{
    const dnnl_memory_desc_t *scratch =
        dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    struct onednn_backend *b = p->backend;
    int rc;

    s->scratch_at = s->scratch_bytes;
    s->scratch_bytes += align64(dnnl_memory_desc_get_size(scratch));
    if ((rc = make_memory(b, scratch, &s->scratch, err)) < 0)
        return rc;
    add_arg(s, DNNL_ARG_SRC, s->src_tmp ? s->src_tmp : s->src);
    add_arg(s, DNNL_ARG_WEIGHTS, weights);
    add_arg(s, DNNL_ARG_DST, s->dst_tmp ? s->dst_tmp : s->dst);
    add_arg(s, DNNL_ARG_SCRATCHPAD, s->scratch);
    if (s->node.in[2] >= 0) {
        rc = onednn_param_plain(p->weights, p->g, s->node.in[2], &s->param[1], err);
        if (rc == CN_OK)
            rc = make_memory(b, bias_md, &s->bias, err);
        if (rc < 0)
            return rc;
        dnnl_memory_set_data_handle(s->bias, s->param[1]->plain);
        add_arg(s, DNNL_ARG_BIAS, s->bias);
    }
    s->run = onednn_primitive_run;
    return onednn_check(dnnl_primitive_create(&s->primitive, pd), "prepare a kernel", err);
}

/* Source and result memories; with reorder, temporaries in the layouts that pd chose. */
static int conv_memories(struct onednn_plan *p, struct onednn_step *s, dnnl_primitive_desc_t pd,
                         bool reorder, struct cn_err *err)
{
    const dnnl_memory_desc_t *psrc = dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0);
    const dnnl_memory_desc_t *pdst = dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0);
    struct onednn_backend *b = p->backend;
    dnnl_memory_desc_t src, dst;
    int rc;

    describe(&src, &p->g->value[s->node.in[0]].shape, p->place[s->node.in[0]].b);
    describe(&dst, &p->g->value[s->out].shape, p->place[s->out].b);
    if ((rc = make_memory(b, &src, &s->src, err)) < 0 ||
        (rc = make_memory(b, &dst, &s->dst, err)) < 0 || !reorder)
        return rc;
    s->src_tmp_at = 0;
    s->dst_tmp_at = align64(dnnl_memory_desc_get_size(psrc));
    s->scratch_bytes = s->dst_tmp_at + align64(dnnl_memory_desc_get_size(pdst));
    if ((rc = make_memory(b, psrc, &s->src_tmp, err)) < 0 ||
        (rc = make_memory(b, pdst, &s->dst_tmp, err)) < 0 ||
        (rc = make_reorder(b, &src, psrc, false, &s->before, err)) < 0)
        return rc;
    return make_reorder(b, pdst, &dst, s->node.in[3] >= 0, &s->after, err);
}

/* The kernel for a convolution: Winograd when that was decided and this size has it. */
static int find_conv(struct onednn_plan *p, const struct onednn_step *s,
                     const struct onednn_param *w, bool *ret_reorder, dnnl_primitive_desc_t *ret,
                     struct cn_err *err)
{
    if (w->winograd == WINOGRAD_YES &&
        choose_conv(p, s, w, true, ret_reorder, ret, NULL) == CN_OK)
        return CN_OK;
    return choose_conv(p, s, w, false, ret_reorder, ret, err);
}

static void settle(struct onednn_param *w, dnnl_primitive_desc_t pd)
{
    w->form = *dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    w->settled = true;
    dnnl_primitive_desc_destroy(pd);
}

void onednn_conv_settle(struct onednn_plan *p, const struct onednn_step *s)
{
    struct onednn_param *w;
    dnnl_primitive_desc_t pd;
    bool reorder;

    if (onednn_param_get(p->weights, p->g, s->node.in[1], &w, NULL) == CN_OK && !w->settled &&
        find_conv(p, s, w, &reorder, &pd, NULL) == CN_OK)
        settle(w, pd);
}

int onednn_conv_init(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err)
{
    const struct cn_shape *w = &p->g->value[s->node.in[1]].shape;
    dnnl_dims_t wd = {w->dim[0], w->dim[1], w->dim[2], w->dim[3]}, bd = {w->dim[0]};
    dnnl_memory_desc_t plain, bias;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_memory_t weights;
    bool reorder;
    int rc;

    if ((rc = onednn_param_get(p->weights, p->g, s->node.in[1], &s->param[0], err)) < 0)
        return rc;
    if ((rc = find_conv(p, s, s->param[0], &reorder, &pd, err)) < 0)
        return rc;
    dnnl_memory_desc_init_by_tag(&plain, 4, wd, dnnl_f32, dnnl_oihw);
    dnnl_memory_desc_init_by_tag(&bias, 1, bd, dnnl_f32, dnnl_x);
    rc = conv_memories(p, s, pd, reorder, err);
    if (rc == CN_OK)
        rc = onednn_param_packed(p->weights, p->g, s->node.in[1],
                                 dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0),
                                 &plain, &weights, err);
    if (rc == CN_OK)
        rc = finish(p, s, pd, weights, &bias, err);
    snprintf(s->label, sizeof(s->label), "conv%d%s%s",
             (int)w->dim[2], implemented_by(pd, "wino") ? " winograd" : "",
             reorder ? " reordered" : "");
    dnnl_primitive_desc_destroy(pd);
    return rc;
}

static int matmul_pd(struct onednn_plan *p, const struct onednn_step *s,
                     const dnnl_memory_desc_t *src, const dnnl_memory_desc_t *weights,
                     const dnnl_memory_desc_t *bias, const dnnl_memory_desc_t *dst,
                     dnnl_primitive_desc_t *ret)
{
    dnnl_primitive_attr_t attr = attributes(s->node.in[3] >= 0, s->node.attr.act);
    dnnl_matmul_desc_t md;
    dnnl_status_t st;

    st = dnnl_matmul_desc_init(&md, src, weights, s->node.in[2] >= 0 ? bias : NULL, dst);
    if (st == dnnl_success)
        st = dnnl_primitive_desc_create(ret, &md, attr, p->backend->engine, NULL);
    dnnl_primitive_attr_destroy(attr);
    return st == dnnl_success ? CN_OK : CN_ENOTFOUND;
}

/* The memories of one linear layer as oneDNN describes them: x [m, k] times W^T [k, n]. */
struct linear {
    dnnl_memory_desc_t src, weights, plain, bias, dst;
};

static void describe_linear(const struct onednn_plan *p, const struct onednn_step *s,
                            struct linear *ret)
{
    const struct cn_shape *x = &p->g->value[s->node.in[0]].shape;
    const struct cn_shape *w = &p->g->value[s->node.in[1]].shape;
    int64_t n = w->dim[0], k = w->dim[1], m = cn_shape_elements(x) / k;
    dnnl_dims_t sd = {m, k}, wd = {k, n}, dd = {m, n}, bd = {1, n}, transposed = {1, k};

    dnnl_memory_desc_init_by_tag(&ret->src, 2, sd, dnnl_f32, dnnl_ab);
    dnnl_memory_desc_init_by_tag(&ret->weights, 2, wd, dnnl_f32, dnnl_format_tag_any);
    dnnl_memory_desc_init_by_strides(&ret->plain, 2, wd, dnnl_f32, transposed);
    dnnl_memory_desc_init_by_tag(&ret->bias, 2, bd, dnnl_f32, dnnl_ab);
    dnnl_memory_desc_init_by_tag(&ret->dst, 2, dd, dnnl_f32, dnnl_ab);
}

/* With the weights' settled form where there is a kernel for it, as for convolutions. */
static int find_linear(struct onednn_plan *p, const struct onednn_step *s, const struct linear *d,
                       const struct onednn_param *w, dnnl_primitive_desc_t *ret)
{
    if (w->settled && matmul_pd(p, s, &d->src, &w->form, &d->bias, &d->dst, ret) == CN_OK) {
        if (!implemented_by(*ret, "ref"))
            return CN_OK;
        dnnl_primitive_desc_destroy(*ret);
    }
    return matmul_pd(p, s, &d->src, &d->weights, &d->bias, &d->dst, ret);
}

void onednn_linear_settle(struct onednn_plan *p, const struct onednn_step *s)
{
    struct onednn_param *w;
    dnnl_primitive_desc_t pd;
    struct linear d;

    describe_linear(p, s, &d);
    if (onednn_param_get(p->weights, p->g, s->node.in[1], &w, NULL) == CN_OK && !w->settled &&
        find_linear(p, s, &d, w, &pd) == CN_OK)
        settle(w, pd);
}

int onednn_linear_init(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_memory_t packed;
    struct linear d;
    int rc;

    describe_linear(p, s, &d);
    if ((rc = onednn_param_get(p->weights, p->g, s->node.in[1], &s->param[0], err)) < 0)
        return rc;
    if (find_linear(p, s, &d, s->param[0], &pd) < 0)
        return cn_fail(err, CN_EDEVICE, "oneDNN has no kernel for linear layer \"%s\"",
                       p->g->value[s->node.in[1]].name);
    rc = make_memory(p->backend, &d.src, &s->src, err);
    if (rc == CN_OK)
        rc = make_memory(p->backend, &d.dst, &s->dst, err);
    if (rc == CN_OK)
        rc = onednn_param_packed(p->weights, p->g, s->node.in[1],
                                 dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0),
                                 &d.plain, &packed, err);
    if (rc == CN_OK)
        rc = finish(p, s, pd, packed, &d.bias, err);
    snprintf(s->label, sizeof(s->label), "linear");
    dnnl_primitive_desc_destroy(pd);
    return rc;
}

static int execute_reorder(struct onednn_plan *p, dnnl_primitive_t r, dnnl_memory_t from,
                           dnnl_memory_t to)
{
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};

    return dnnl_primitive_execute(r, p->stream, 2, args) == dnnl_success ? CN_OK
                                                                                  : CN_EDEVICE;
}

/* The residual must stand in the destination before the product is added to it. */
static void place_residual(struct onednn_plan *p, struct onednn_step *s)
{
    const struct cn_shape *shape = &p->g->value[s->out].shape;
    float *dst = onednn_address(p, s->out), *from = onednn_address(p, s->node.in[3]);

    if (shape->rank == 4) {
        struct cn_fmap d = onednn_fmap(p, s->out), f = onednn_fmap(p, s->node.in[3]);

        cn_cpu_copy(&d, &f);
    } else if (dst != from) {
        memcpy(dst, from, (size_t)cn_shape_elements(shape) * sizeof(float));
    }
}

int onednn_primitive_run(struct onednn_plan *p, struct onednn_step *s)
{
    unsigned char *scratch = p->arena->data + p->values_bytes;
    int rc = CN_OK;

    if (s->node.in[3] >= 0)
        place_residual(p, s);
    dnnl_memory_set_data_handle(s->src, onednn_address(p, s->node.in[0]));
    dnnl_memory_set_data_handle(s->dst, onednn_address(p, s->out));
    dnnl_memory_set_data_handle(s->scratch, scratch + s->scratch_at);
    if (s->before != NULL) {
        dnnl_memory_set_data_handle(s->src_tmp, scratch + s->src_tmp_at);
        dnnl_memory_set_data_handle(s->dst_tmp, scratch + s->dst_tmp_at);
        rc = execute_reorder(p, s->before, s->src, s->src_tmp);
    }
    if (rc == CN_OK && dnnl_primitive_execute(s->primitive, p->stream, s->n_args,
                                              s->arg) != dnnl_success)
        rc = CN_EDEVICE;
    if (rc == CN_OK && s->after != NULL) {
        rc = execute_reorder(p, s->after, s->dst_tmp, s->dst);
        if (s->node.in[3] >= 0 && s->node.attr.act != CN_NONE) {
            float *d = onednn_address(p, s->out);

            cn_cpu_act(d, d, cn_shape_elements(&p->g->value[s->out].shape), s->node.attr.act);
        }
    }
    dnnl_stream_wait(p->stream);
    return rc;
}

void onednn_primitive_release(struct onednn_step *s)
{
    dnnl_primitive_t prim[] = {s->primitive, s->before, s->after};
    dnnl_memory_t mem[] = {s->src, s->dst, s->bias, s->scratch, s->src_tmp, s->dst_tmp};

    for (size_t i = 0; i < CN_LEN(prim); i++)
        if (prim[i] != NULL)
            dnnl_primitive_destroy(prim[i]);
    for (size_t i = 0; i < CN_LEN(mem); i++)
        if (mem[i] != NULL)
            dnnl_memory_destroy(mem[i]);
}
