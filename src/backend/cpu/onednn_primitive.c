/* Convolutions and linear layers as oneDNN primitives. Weights that are constant were packed ahead
 * in the layout that the kernel likes; those that a buffer holds are packed in every run. */
#include "base/base.h"
#include "backend/cpu/cpu_factors.h"
#include "backend/cpu/onednn_priv.h"

#include <stdio.h>
#include <string.h>

void onednn_describe(dnnl_memory_desc_t *md, const struct cn_shape *s, int64_t b)
{
    dnnl_format_tag_t tag = b == 0    ? dnnl_format_tag_any
                            : b == 1  ? dnnl_nchw
                            : b == 16 ? dnnl_nChw16c
                                      : dnnl_nhwc;
    dnnl_dims_t dims;

    for (int i = 0; i < 4; i++)
        dims[i] = s->dim[i];
    CN_ASSERT(dnnl_memory_desc_init_by_tag(md, 4, dims, dnnl_f32, tag) == dnnl_success);
}

static dnnl_status_t add_activation(dnnl_post_ops_t ops, const struct cn_attr *a)
{
    switch (a->act) {
    case CN_SILU:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_swish, 1, 0);
    case CN_QUICK_GELU:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_swish, 1.702f, 0);
    case CN_GELU:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_gelu_erf, 0, 0);
    case CN_RELU:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0);
    case CN_SIGMOID:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_logistic, 0, 0);
    case CN_TANH:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_tanh, 0, 0);
    case CN_LEAKY_RELU:
        return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, a->slope, 0);
    default:
        return dnnl_success;
    }
}

/* Scratch from our arena; result = act(product + bias + what stands in the destination). act NULL:
 * none. */
static dnnl_primitive_attr_t attributes(bool sum, const struct cn_attr *act)
{
    dnnl_primitive_attr_t attr;
    dnnl_post_ops_t ops;

    CN_ASSERT(dnnl_primitive_attr_create(&attr) == dnnl_success);
    CN_ASSERT(dnnl_post_ops_create(&ops) == dnnl_success);
    CN_ASSERT(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) ==
              dnnl_success);
    if (sum)
        CN_ASSERT(dnnl_post_ops_append_sum(ops, 1) == dnnl_success);
    CN_ASSERT(act == NULL || add_activation(ops, act) == dnnl_success);
    CN_ASSERT(dnnl_primitive_attr_set_post_ops(attr, ops) == dnnl_success);
    dnnl_post_ops_destroy(ops);
    return attr;
}

bool onednn_implemented_by(dnnl_primitive_desc_t pd, const char *word)
{
    const char *info = "";

    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &info);
    return strstr(info, word) != NULL;
}

/* What a convolution is asked for; weights NULL: any layout. */
struct conv_request {
    bool winograd, sum;
    const struct cn_attr *act; /* NULL: none */
    int64_t src_block, dst_block;
    const dnnl_memory_desc_t *weights;
};

/* A convolution's weights; with groups these are a dimension of their own. plain: as the file has
 * them, otherwise whatever the kernel likes. */
static void describe_filter(dnnl_memory_desc_t *md, const struct cn_shape *w, int groups,
                            bool plain)
{
    dnnl_dims_t one = {w->dim[0], w->dim[1], w->dim[2], w->dim[3]};
    dnnl_dims_t many = {groups, w->dim[0] / groups, w->dim[1], w->dim[2], w->dim[3]};

    if (groups == 1)
        CN_ASSERT(dnnl_memory_desc_init_by_tag(md, 4, one, dnnl_f32,
                                               plain ? dnnl_oihw : dnnl_format_tag_any) ==
                  dnnl_success);
    else
        CN_ASSERT(dnnl_memory_desc_init_by_tag(md, 5, many, dnnl_f32,
                                               plain ? dnnl_goihw : dnnl_format_tag_any) ==
                  dnnl_success);
}

static int conv_pd(struct onednn_backend *b, const struct cn_graph *g, const struct cn_node *n,
                   cn_val out, const struct conv_request *ask, dnnl_primitive_desc_t *ret)
{
    const struct cn_conv *c = &n->attr.conv;
    const struct cn_shape *w = &g->value[n->in[1]].shape;
    dnnl_dims_t stride = {c->stride, c->stride_w}, dilate = {c->dilation - 1, c->dilation_w - 1};
    dnnl_dims_t pad_l = {c->pad[0], c->pad[1]}, pad_r = {c->pad[2], c->pad[3]}, bd = {c->out};
    dnnl_memory_desc_t src, weights, bias, dst;
    dnnl_primitive_attr_t attr;
    dnnl_convolution_desc_t cd;
    dnnl_status_t s;

    onednn_describe(&src, &g->value[n->in[0]].shape, ask->src_block);
    onednn_describe(&dst, &g->value[out].shape, ask->dst_block);
    if (ask->weights != NULL)
        weights = *ask->weights;
    else
        describe_filter(&weights, w, c->groups, false);
    dnnl_memory_desc_init_by_tag(&bias, 1, bd, dnnl_f32, dnnl_x);
    s = dnnl_dilated_convolution_forward_desc_init(
        &cd, dnnl_forward_inference,
        ask->winograd ? dnnl_convolution_winograd : dnnl_convolution_direct, &src, &weights,
        n->in[2] >= 0 ? &bias : NULL, &dst, stride, dilate, pad_l, pad_r);
    if (s != dnnl_success)
        return CN_ENOTFOUND;
    attr = attributes(ask->sum, ask->act);
    s = dnnl_primitive_desc_create(ret, &cd, attr, b->engine, NULL);
    dnnl_primitive_attr_destroy(attr);
    return s == dnnl_success ? CN_OK : CN_ENOTFOUND;
}

/* A transformed picture is 2.25 times as large as the picture, in and out, and must fit into memory
 * as a whole: 1.2 GB for the autoencoder's widest layer at 512 x 512. This leaves that one out. */
#define MAX_WINOGRAD_SCRATCH ((size_t)640 << 20)

static bool winograd_is_small(dnnl_primitive_desc_t pd)
{
    const dnnl_memory_desc_t *scratch =
        dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);

    return dnnl_memory_desc_get_size(scratch) <= MAX_WINOGRAD_SCRATCH;
}

int onednn_winograd_pd(struct onednn_backend *b, const struct cn_graph *g, int i,
                       dnnl_primitive_desc_t *ret)
{
    const struct cn_node *n = &g->node[i];
    struct conv_request ask = {true, n->in[3] >= 0, &n->attr, 16, 16, NULL};
    int rc = conv_pd(b, g, n, i, &ask, ret);

    if (rc < 0)
        return rc;
    if (!onednn_implemented_by(*ret, "wino"))
        rc = CN_ENOTFOUND;
    else if (!winograd_is_small(*ret))
        rc = CN_ETOOBIG;
    if (rc < 0)
        dnnl_primitive_desc_destroy(*ret);
    return rc;
}

/* Whether this plan shall use pd; otherwise pd is destroyed. A Winograd kernel must be the one that
 * was decided on, and its working memory, which grows with the picture, bounded. */
static bool accept_primitive(dnnl_primitive_desc_t pd, bool winograd)
{
    if (!onednn_implemented_by(pd, "ref") && onednn_implemented_by(pd, "wino") == winograd &&
        (!winograd || winograd_is_small(pd)))
        return true;
    dnnl_primitive_desc_destroy(pd);
    return false;
}

/* Tries the layouts that the values have, first with the weights' fixed layout; then lets oneDNN
 * choose, which costs reorders. What other plans use has no say: results must not depend on it. */
static int choose_conv(struct onednn_plan *p, const struct onednn_step *s,
                       const struct onednn_param *w, bool winograd, bool *ret_reorder,
                       dnnl_primitive_desc_t *ret, struct cn_err *err)
{
    const struct cn_node *n = &s->node;
    struct conv_request ask = {
        winograd, n->in[3] >= 0, &n->attr, p->place[n->in[0]].block, p->place[s->out].block, NULL};

    *ret_reorder = false;
    if (w != NULL && w->layout_fixed) {
        ask.weights = &w->layout;
        if (conv_pd(p->backend, p->g, n, s->out, &ask, ret) == CN_OK &&
            accept_primitive(*ret, winograd))
            return CN_OK;
    }
    ask.weights = NULL;
    if (conv_pd(p->backend, p->g, n, s->out, &ask, ret) == CN_OK &&
        accept_primitive(*ret, winograd))
        return CN_OK;
    if (winograd)
        return cn_fail(err, CN_ENOTFOUND, "no Winograd kernel"); /* direct will do */
    /* The reorder of the result adds the residual, so the convolution does not. */
    ask.src_block = ask.dst_block = 0;
    if (ask.sum)
        ask.act = NULL;
    ask.sum = false;
    *ret_reorder = true;
    if (conv_pd(p->backend, p->g, n, s->out, &ask, ret) < 0)
        return cn_fail(err, CN_EDEVICE, "oneDNN has no kernel for convolution \"%s\"",
                       p->g->value[n->in[1]].name);
    return CN_OK;
}

int onednn_memory(struct onednn_backend *b, const dnnl_memory_desc_t *md, dnnl_memory_t *ret,
                  struct cn_err *err)
{
    return onednn_check(dnnl_memory_create(ret, md, b->engine, DNNL_MEMORY_NONE),
                        "describe a tensor", err);
}

int onednn_make_reorder(struct onednn_backend *b, const dnnl_memory_desc_t *from,
                        const dnnl_memory_desc_t *to, bool sum, dnnl_primitive_t *ret,
                        struct cn_err *err)
{
    dnnl_primitive_attr_t attr = attributes(sum, NULL);
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t st;

    st = dnnl_reorder_primitive_desc_create(&pd, from, b->engine, to, b->engine, attr);
    if (st == dnnl_success)
        st = dnnl_primitive_create(ret, pd);
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    return onednn_check(st, "prepare a reorder", err);
}

/* ---- running ---- */

dnnl_primitive_attr_t onednn_attributes(float factor)
{
    dnnl_primitive_attr_t attr = attributes(false, NULL);

    if (factor != 1.0f)
        CN_ASSERT(dnnl_primitive_attr_set_output_scales(attr, 1, 0, &factor) == dnnl_success);
    return attr;
}

dnnl_primitive_attr_t onednn_sum_attributes(bool sum)
{
    return attributes(sum, NULL);
}

static bool is_constant(const struct onednn_plan *p, cn_val v)
{
    return p->g->node[v].op == CN_OP_PARAM;
}

int onednn_execute_reorder(struct onednn_plan *p, dnnl_primitive_t r, dnnl_memory_t from,
                           dnnl_memory_t to)
{
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};

    return onednn_code(dnnl_primitive_execute(r, p->stream, 2, args));
}

int onednn_reorder(struct onednn_plan *p, dnnl_memory_t from, dnnl_memory_t to, struct cn_err *err)
{
    const dnnl_memory_desc_t *a, *b;
    dnnl_primitive_t r = NULL;
    int rc;

    dnnl_memory_get_memory_desc(from, &a);
    dnnl_memory_get_memory_desc(to, &b);
    rc = onednn_make_reorder(p->backend, a, b, false, &r, err);
    if (rc == CN_OK && (rc = onednn_execute_reorder(p, r, from, to)) < 0)
        cn_fail(err, rc, "a reorder failed");
    dnnl_stream_wait(p->stream);
    if (r != NULL)
        dnnl_primitive_destroy(r);
    return rc;
}

/* The residual must stand in the destination before the product is added to it. */
static void copy_residual(struct onednn_plan *p, struct onednn_step *s)
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

/* Of weights and bias that the caller's buffers hold. */
static int prepare_weights(struct onednn_plan *p, struct onednn_step *s, unsigned char *scratch)
{
    if (s->bias != NULL && !is_constant(p, s->node.in[2]))
        dnnl_memory_set_data_handle(s->bias, onednn_address(p, s->node.in[2]));
    if (s->pack == NULL)
        return CN_OK;
    dnnl_memory_set_data_handle(s->given, onednn_address(p, s->node.in[1]));
    dnnl_memory_set_data_handle(s->packed, scratch + s->packed_at);
    return onednn_execute_reorder(p, s->pack, s->given, s->packed);
}

/* The kernel itself, without its activation where adapters add before that. */
static int execute_kernel(struct onednn_plan *p, struct onednn_step *s, unsigned char *scratch)
{
    bool bare = s->bare != NULL && cpu_adapts(&p->base, p->g, s->out);
    dnnl_exec_arg_t arg[STEP_ARGS];

    memcpy(arg, s->arg, sizeof(arg));
    for (int i = 0; i < s->n_args && bare; i++)
        if (arg[i].arg == DNNL_ARG_SCRATCHPAD)
            arg[i].memory = s->bare_scratch;
    if (bare)
        dnnl_memory_set_data_handle(s->bare_scratch, scratch + s->scratch_at);
    return onednn_code(
        dnnl_primitive_execute(bare ? s->bare : s->primitive, p->stream, s->n_args, arg));
}

static int primitive_run(struct onednn_plan *p, struct onednn_step *s)
{
    unsigned char *scratch = onednn_scratch(p);
    int rc = prepare_weights(p, s, scratch);

    if (s->node.in[3] >= 0)
        copy_residual(p, s);
    dnnl_memory_set_data_handle(s->src, onednn_address(p, s->node.in[0]));
    dnnl_memory_set_data_handle(s->dst, onednn_address(p, s->out));
    dnnl_memory_set_data_handle(s->scratch, scratch + s->scratch_at);
    if (rc == CN_OK && s->before != NULL) {
        dnnl_memory_set_data_handle(s->src_tmp, scratch + s->src_tmp_at);
        dnnl_memory_set_data_handle(s->dst_tmp, scratch + s->dst_tmp_at);
        rc = onednn_execute_reorder(p, s->before, s->src, s->src_tmp);
    }
    if (rc == CN_OK)
        rc = execute_kernel(p, s, scratch);
    if (rc == CN_OK && s->after != NULL) {
        rc = onednn_execute_reorder(p, s->after, s->dst_tmp, s->dst);
        if (s->node.in[3] >= 0 && s->node.attr.act != CN_NONE) {
            float *d = onednn_address(p, s->out);

            cn_cpu_act(d, d, cn_shape_elements(&p->g->value[s->out].shape), &s->node.attr);
        }
    }
    dnnl_stream_wait(p->stream);
    return rc;
}

/* ---- preparing ---- */

void onednn_arg(struct onednn_step *s, int arg, dnnl_memory_t m)
{
    CN_ASSERT(s->n_args < STEP_ARGS);
    s->arg[s->n_args++] = (dnnl_exec_arg_t){arg, m};
}

/* The weights as the kernel wants them: packed ahead, or, when a buffer holds them, by a reorder in
 * scratch memory. */
static int make_weights(struct onednn_plan *p, struct onednn_step *s, dnnl_primitive_desc_t pd,
                        const dnnl_memory_desc_t *plain, dnnl_memory_t *ret, struct cn_err *err)
{
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    struct onednn_backend *b = p->backend;
    int rc;

    if (is_constant(p, s->node.in[1])) {
        rc = onednn_param_packed(p->weights, p->g, s->node.in[1], md, plain, &s->held, err);
        *ret = rc == CN_OK ? s->held->memory : NULL;
        return rc;
    }
    s->packed_at = s->scratch_bytes;
    s->scratch_bytes += onednn_align(dnnl_memory_desc_get_size(md));
    if ((rc = onednn_memory(b, plain, &s->given, err)) < 0 ||
        (rc = onednn_memory(b, md, &s->packed, err)) < 0)
        return rc;
    *ret = s->packed;
    return onednn_make_reorder(b, plain, md, false, &s->pack, err);
}

static int make_bias(struct onednn_plan *p, struct onednn_step *s, const dnnl_memory_desc_t *md,
                     struct cn_err *err)
{
    cn_val bias = s->node.in[2];
    int rc = onednn_memory(p->backend, md, &s->bias, err);

    if (rc == CN_OK && is_constant(p, bias)) {
        rc = onednn_param_plain(p->weights, p->g, bias, &s->param[1], err);
        if (rc == CN_OK)
            dnnl_memory_set_data_handle(s->bias, s->param[1]->plain);
    }
    onednn_arg(s, DNNL_ARG_BIAS, s->bias);
    return rc;
}

/* The end of both inits: weights, bias, scratchpad, primitive, arguments. */
static int make_primitive(struct onednn_plan *p, struct onednn_step *s, dnnl_primitive_desc_t pd,
                          const dnnl_memory_desc_t *plain, const dnnl_memory_desc_t *bias,
                          struct cn_err *err)
{
    const dnnl_memory_desc_t *scratch =
        dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    dnnl_memory_t weights = NULL;
    int rc = make_weights(p, s, pd, plain, &weights, err);

    if (rc < 0)
        return rc;
    s->scratch_at = s->scratch_bytes;
    s->scratch_bytes += onednn_align(dnnl_memory_desc_get_size(scratch));
    if ((rc = onednn_memory(p->backend, scratch, &s->scratch, err)) < 0)
        return rc;
    onednn_arg(s, DNNL_ARG_SRC, s->src_tmp ? s->src_tmp : s->src);
    onednn_arg(s, DNNL_ARG_WEIGHTS, weights);
    onednn_arg(s, DNNL_ARG_DST, s->dst_tmp ? s->dst_tmp : s->dst);
    onednn_arg(s, DNNL_ARG_SCRATCHPAD, s->scratch);
    if (s->node.in[2] >= 0 && (rc = make_bias(p, s, bias, err)) < 0)
        return rc;
    s->run = primitive_run;
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

    onednn_describe(&src, &p->g->value[s->node.in[0]].shape, p->place[s->node.in[0]].block);
    onednn_describe(&dst, &p->g->value[s->out].shape, p->place[s->out].block);
    if ((rc = onednn_memory(b, &src, &s->src, err)) < 0 ||
        (rc = onednn_memory(b, &dst, &s->dst, err)) < 0 || !reorder)
        return rc;
    s->src_tmp_at = 0;
    s->dst_tmp_at = onednn_align(dnnl_memory_desc_get_size(psrc));
    s->scratch_bytes = s->dst_tmp_at + onednn_align(dnnl_memory_desc_get_size(pdst));
    if ((rc = onednn_memory(b, psrc, &s->src_tmp, err)) < 0 ||
        (rc = onednn_memory(b, pdst, &s->dst_tmp, err)) < 0 ||
        (rc = onednn_make_reorder(b, &src, psrc, false, &s->before, err)) < 0)
        return rc;
    return onednn_make_reorder(b, pdst, &dst, s->node.in[3] >= 0, &s->after, err);
}

/* The kernel for a convolution: Winograd when that was decided and this size has it. w NULL: the
 * weights are a buffer's. */
static int find_conv(struct onednn_plan *p, const struct onednn_step *s,
                     const struct onednn_param *w, bool *ret_reorder, dnnl_primitive_desc_t *ret,
                     struct cn_err *err)
{
    if (w != NULL && w->winograd == WINOGRAD_YES &&
        choose_conv(p, s, w, true, ret_reorder, ret, NULL) == CN_OK)
        return CN_OK;
    return choose_conv(p, s, w, false, ret_reorder, ret, err);
}

static void fix_layout(struct onednn_param *w, dnnl_primitive_desc_t pd)
{
    w->layout = *dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    w->layout_fixed = true;
    dnnl_primitive_desc_destroy(pd);
}

/* NULL: a buffer holds them. */
static struct onednn_param *weights_of(struct onednn_plan *p, const struct onednn_step *s)
{
    struct onednn_param *w = NULL;

    if (is_constant(p, s->node.in[1]))
        onednn_param_get(p->weights, p->g, s->node.in[1], &w, NULL);
    return w;
}

void onednn_conv_fix_layout(struct onednn_plan *p, const struct onednn_step *s)
{
    struct onednn_param *w = weights_of(p, s);
    dnnl_primitive_desc_t pd;
    bool reorder;

    if (w != NULL && !w->layout_fixed && find_conv(p, s, w, &reorder, &pd, NULL) == CN_OK)
        fix_layout(w, pd);
}

int onednn_conv_init(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err)
{
    const struct cn_shape *w = &p->g->value[s->node.in[1]].shape;
    const struct cn_conv *c = &s->node.attr.conv;
    dnnl_dims_t bd = {c->out};
    dnnl_memory_desc_t plain, bias;
    dnnl_primitive_desc_t pd = NULL;
    bool reorder;
    int rc;

    s->param[0] = weights_of(p, s);
    if (onednn_wants_winograd(p, s, s->param[0]))
        return onednn_winograd_init(p, s, err);
    if ((rc = find_conv(p, s, s->param[0], &reorder, &pd, err)) < 0)
        return rc;
    describe_filter(&plain, w, c->groups, true);
    dnnl_memory_desc_init_by_tag(&bias, 1, bd, dnnl_f32, dnnl_x);
    rc = conv_memories(p, s, pd, reorder, err);
    if (rc == CN_OK)
        rc = make_primitive(p, s, pd, &plain, &bias, err);
    snprintf(s->label, sizeof(s->label), c->k == c->k_w ? "conv%d%s%s%s" : "conv%dx%s%s%s", c->k,
             c->groups > 1 ? " grouped" : "", onednn_implemented_by(pd, "wino") ? " winograd" : "",
             reorder ? " reordered" : "");
    dnnl_primitive_desc_destroy(pd);
    return rc;
}

/* act NULL: none */
static int matmul_pd(struct onednn_plan *p, const struct onednn_step *s,
                     const dnnl_memory_desc_t *src, const dnnl_memory_desc_t *weights,
                     const dnnl_memory_desc_t *bias, const dnnl_memory_desc_t *dst,
                     const struct cn_attr *act, dnnl_primitive_desc_t *ret)
{
    dnnl_primitive_attr_t attr = attributes(s->node.in[3] >= 0, act);
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

/* With the weights' fixed layout where there is a kernel for it, as for convolutions. */
static int find_linear(struct onednn_plan *p, const struct onednn_step *s, const struct linear *d,
                       const struct onednn_param *w, dnnl_primitive_desc_t *ret)
{
    if (w != NULL && w->layout_fixed &&
        matmul_pd(p, s, &d->src, &w->layout, &d->bias, &d->dst, &s->node.attr, ret) == CN_OK) {
        if (!onednn_implemented_by(*ret, "ref"))
            return CN_OK;
        dnnl_primitive_desc_destroy(*ret);
    }
    return matmul_pd(p, s, &d->src, &d->weights, &d->bias, &d->dst, &s->node.attr, ret);
}

void onednn_linear_fix_layout(struct onednn_plan *p, const struct onednn_step *s)
{
    struct onednn_param *w = weights_of(p, s);
    dnnl_primitive_desc_t pd;
    struct linear d;

    describe_linear(p, s, &d);
    if (w != NULL && !w->layout_fixed && find_linear(p, s, &d, w, &pd) == CN_OK)
        fix_layout(w, pd);
}

/* The same kernel, of the same weights, without the activation. */
static int make_bare(struct onednn_plan *p, struct onednn_step *s, const struct linear *d,
                     dnnl_primitive_desc_t pd, struct cn_err *err)
{
    const dnnl_memory_desc_t *weights = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    const dnnl_memory_desc_t *scratch;
    dnnl_primitive_desc_t bare;
    int rc;

    if (!s->node.attr.adapts || s->node.attr.act == CN_NONE)
        return CN_OK;
    if (matmul_pd(p, s, &d->src, weights, &d->bias, &d->dst, NULL, &bare) < 0)
        return cn_fail(err, CN_EDEVICE, "oneDNN has no kernel for linear layer \"%s\"",
                       p->g->value[s->node.in[1]].name);
    scratch = dnnl_primitive_desc_query_md(bare, dnnl_query_scratchpad_md, 0);
    s->scratch_bytes = CN_MAX(s->scratch_bytes,
                              s->scratch_at + onednn_align(dnnl_memory_desc_get_size(scratch)));
    rc = onednn_memory(p->backend, scratch, &s->bare_scratch, err);
    if (rc == CN_OK)
        rc = onednn_check(dnnl_primitive_create(&s->bare, bare), "prepare a kernel", err);
    dnnl_primitive_desc_destroy(bare);
    return rc;
}

int onednn_linear_init(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err)
{
    dnnl_primitive_desc_t pd = NULL;
    struct linear d;
    int rc;

    describe_linear(p, s, &d);
    s->param[0] = weights_of(p, s);
    if (find_linear(p, s, &d, s->param[0], &pd) < 0)
        return cn_fail(err, CN_EDEVICE, "oneDNN has no kernel for linear layer \"%s\"",
                       p->g->value[s->node.in[1]].name);
    rc = onednn_memory(p->backend, &d.src, &s->src, err);
    if (rc == CN_OK)
        rc = onednn_memory(p->backend, &d.dst, &s->dst, err);
    if (rc == CN_OK)
        rc = make_primitive(p, s, pd, &d.plain, &d.bias, err);
    if (rc == CN_OK)
        rc = make_bare(p, s, &d, pd, err);
    snprintf(s->label, sizeof(s->label), "linear");
    dnnl_primitive_desc_destroy(pd);
    return rc;
}

void onednn_primitive_release(struct onednn_step *s)
{
    dnnl_primitive_t prim[] = {s->primitive, s->before, s->after, s->pack, s->bare};
    dnnl_memory_t mem[] = {s->src,     s->dst,     s->bias,  s->scratch,
                           s->src_tmp, s->dst_tmp, s->given, s->packed, s->bare_scratch};

    onednn_packed_release(s->held);
    for (size_t i = 0; i < CN_LEN(prim); i++)
        if (prim[i] != NULL)
            dnnl_primitive_destroy(prim[i]);
    for (size_t i = 0; i < CN_LEN(mem); i++)
        if (mem[i] != NULL)
            dnnl_memory_destroy(mem[i]);
}
