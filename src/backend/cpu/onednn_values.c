/* oneDNN primitives for what networks use beside convolutions and linear layers: pools, resampling,
 * products of two values, transposed convolutions. Where the library has no kernel of its own for
 * the case, kernels/ref does it. */
#include "base/base.h"
#include "backend/cpu/onednn_priv.h"

#include <stdio.h>

/* What a primitive over values is made of; y: of a product, or weights, which are `plain` in the
 * file. */
struct layouts {
    dnnl_memory_desc_t x, y, plain, out;
};

static dnnl_status_t make_desc(struct onednn_backend *b, const void *desc, float alpha,
                               dnnl_primitive_desc_t *ret)
{
    dnnl_primitive_attr_t attr = onednn_attributes(alpha);
    dnnl_status_t s = dnnl_primitive_desc_create(ret, desc, attr, b->engine, NULL);

    dnnl_primitive_attr_destroy(attr);
    if (s == dnnl_success && onednn_implemented_by(*ret, "ref")) {
        dnnl_primitive_desc_destroy(*ret);
        s = dnnl_unimplemented;
    }
    return s;
}

static dnnl_status_t describe_pool(struct onednn_plan *p, const struct cn_attr *a,
                                   const struct layouts *l, dnnl_primitive_desc_t *ret)
{
    const struct cn_conv *c = &a->conv;
    dnnl_dims_t stride = {c->stride, c->stride_w}, size = {c->k, c->k_w};
    dnnl_dims_t before = {c->pad[0], c->pad[1]}, after = {c->pad[2], c->pad[3]};
    dnnl_dims_t spread = {c->dilation - 1, c->dilation_w - 1};
    dnnl_alg_kind_t kind =
        a->reduction == CN_MAX_OF ? dnnl_pooling_max : dnnl_pooling_avg_include_padding;
    dnnl_pooling_v2_desc_t d;
    dnnl_status_t s = dnnl_pooling_v2_forward_desc_init(
        &d, dnnl_forward_inference, kind, &l->x, &l->out, stride, size, spread, before, after);

    return s == dnnl_success ? make_desc(p->backend, &d, 1, ret) : s;
}

static dnnl_status_t describe_resize(struct onednn_plan *p, const struct cn_attr *a,
                                     const struct layouts *l, dnnl_primitive_desc_t *ret)
{
    dnnl_resampling_desc_t d;
    dnnl_status_t s = dnnl_unimplemented;

    if (!a->align_corners) /* the library knows the other convention only */
        s = dnnl_resampling_forward_desc_init(&d, dnnl_forward_inference, dnnl_resampling_linear,
                                              NULL, &l->x, &l->out);
    return s == dnnl_success ? make_desc(p->backend, &d, 1, ret) : s;
}

static dnnl_status_t describe_matmul(struct onednn_plan *p, const struct cn_attr *a,
                                     const struct layouts *l, dnnl_primitive_desc_t *ret)
{
    dnnl_matmul_desc_t d;
    dnnl_status_t s = dnnl_matmul_desc_init(&d, &l->x, &l->y, NULL, &l->out);

    return s == dnnl_success ? make_desc(p->backend, &d, a->alpha, ret) : s;
}

/* Weights are [ci, co / groups, kh, kw]; the library counts them as those of the convolution whose
 * gradient this is. */
static void describe_transposed_filter(const struct cn_shape *w, int groups, struct layouts *l)
{
    int64_t ci = w->dim[0] / groups;
    dnnl_dims_t one = {w->dim[1], ci, w->dim[2], w->dim[3]};
    dnnl_dims_t many = {groups, w->dim[1], ci, w->dim[2], w->dim[3]};
    int rank = groups == 1 ? 4 : 5;
    const dnnl_dim_t *dims = groups == 1 ? one : many;

    dnnl_memory_desc_init_by_tag(&l->plain, rank, dims, dnnl_f32,
                                 groups == 1 ? dnnl_iohw : dnnl_giohw);
    dnnl_memory_desc_init_by_tag(&l->y, rank, dims, dnnl_f32, dnnl_format_tag_any);
}

static dnnl_status_t describe_conv_transpose(struct onednn_plan *p, const struct onednn_step *s,
                                             const struct layouts *l, dnnl_primitive_desc_t *ret)
{
    const struct cn_conv *c = &s->node.attr.conv;
    dnnl_dims_t stride = {c->stride, c->stride_w}, out = {c->out};
    dnnl_dims_t spread = {c->dilation - 1, c->dilation_w - 1};
    dnnl_dims_t before = {c->pad[0], c->pad[1]}, after = {c->pad[2], c->pad[3]};
    dnnl_memory_desc_t bias;
    dnnl_deconvolution_desc_t d;
    dnnl_status_t st;

    dnnl_memory_desc_init_by_tag(&bias, 1, out, dnnl_f32, dnnl_x);
    st = dnnl_dilated_deconvolution_forward_desc_init(
        &d, dnnl_forward_inference, dnnl_deconvolution_direct, &l->x, &l->y,
        s->node.in[2] >= 0 ? &bias : NULL, &l->out, stride, spread, before, after);
    return st == dnnl_success ? make_desc(p->backend, &d, 1, ret) : st;
}

/* A value as a stack of `stack` matrices in row-major order, each as it is or transposed. */
static void describe_matrices(dnnl_memory_desc_t *md, const struct cn_shape *s, bool transposed)
{
    int64_t rows = s->dim[s->rank - 2], cols = s->dim[s->rank - 1];
    dnnl_dims_t dims = {cn_shape_elements(s) / (rows * cols), rows, cols};
    dnnl_dims_t step = {rows * cols, cols, 1};

    if (transposed) {
        dims[1] = cols;
        dims[2] = rows;
        step[1] = 1;
        step[2] = cols;
    }
    CN_ASSERT(dnnl_memory_desc_init_by_strides(md, 3, dims, dnnl_f32, step) == dnnl_success);
}

static int run_values(struct onednn_plan *p, struct onednn_step *s)
{
    int rc;

    dnnl_memory_set_data_handle(s->src, onednn_address(p, s->node.in[0]));
    if (s->op == CN_OP_MATMUL)
        dnnl_memory_set_data_handle(s->given, onednn_address(p, s->node.in[1]));
    dnnl_memory_set_data_handle(s->dst, onednn_address(p, s->out));
    dnnl_memory_set_data_handle(s->scratch, onednn_scratch(p));
    rc = onednn_code(dnnl_primitive_execute(s->primitive, p->stream, s->n_args, s->arg));
    dnnl_stream_wait(p->stream);
    return rc;
}

/* Constant weights, packed ahead as pd wants them, and the bias. */
static int add_weights(struct onednn_plan *p, struct onednn_step *s, const struct layouts *l,
                       dnnl_primitive_desc_t pd, struct cn_err *err)
{
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    const cn_val *in = s->node.in;
    dnnl_dims_t out = {s->node.attr.conv.out};
    dnnl_memory_desc_t bias;
    int rc = onednn_param_packed(p->weights, p->g, in[1], md, &l->plain, &s->held, err);

    if (rc < 0)
        return rc;
    onednn_arg(s, DNNL_ARG_WEIGHTS, s->held->memory);
    if (in[2] < 0)
        return CN_OK;
    dnnl_memory_desc_init_by_tag(&bias, 1, out, dnnl_f32, dnnl_x);
    if ((rc = onednn_memory(p->backend, &bias, &s->bias, err)) < 0 ||
        (rc = onednn_param_plain(p->weights, p->g, in[2], &s->param[1], err)) < 0)
        return rc;
    dnnl_memory_set_data_handle(s->bias, s->param[1]->plain);
    onednn_arg(s, DNNL_ARG_BIAS, s->bias);
    return CN_OK;
}

static int make_step(struct onednn_plan *p, struct onednn_step *s, const struct layouts *l,
                     dnnl_primitive_desc_t pd, struct cn_err *err)
{
    const dnnl_memory_desc_t *scratch =
        dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    struct onednn_backend *b = p->backend;
    int rc;

    s->scratch_bytes = dnnl_memory_desc_get_size(scratch);
    if ((rc = onednn_memory(b, &l->x, &s->src, err)) < 0 ||
        (rc = onednn_memory(b, &l->out, &s->dst, err)) < 0 ||
        (rc = onednn_memory(b, scratch, &s->scratch, err)) < 0)
        return rc;
    onednn_arg(s, DNNL_ARG_SRC, s->src);
    onednn_arg(s, DNNL_ARG_DST, s->dst);
    onednn_arg(s, DNNL_ARG_SCRATCHPAD, s->scratch);
    if (s->op == CN_OP_MATMUL) {
        if ((rc = onednn_memory(b, &l->y, &s->given, err)) < 0)
            return rc;
        onednn_arg(s, DNNL_ARG_WEIGHTS, s->given);
    } else if (s->op == CN_OP_CONV_TRANSPOSE && (rc = add_weights(p, s, l, pd, err)) < 0) {
        return rc;
    }
    s->run = run_values;
    return onednn_check(dnnl_primitive_create(&s->primitive, pd), "prepare a kernel", err);
}

static bool is_param(const struct onednn_plan *p, cn_val v)
{
    return p->place[v].kind == AT_PARAM;
}

/* The step's operands in the library's words, and the kernel for them. */
static dnnl_status_t find_kernel(struct onednn_plan *p, const struct onednn_step *s,
                                 struct layouts *l, dnnl_primitive_desc_t *ret)
{
    const struct cn_value *v = p->g->value;
    const struct cn_attr *a = &s->node.attr;
    const cn_val *in = s->node.in;

    if (is_param(p, in[0]))
        return dnnl_unimplemented;
    if (s->op == CN_OP_MATMUL) {
        if (is_param(p, in[1]) || p->place[in[0]].block != 1 || p->place[in[1]].block != 1)
            return dnnl_unimplemented;
        describe_matrices(&l->x, &v[in[0]].shape, a->transpose[0]);
        describe_matrices(&l->y, &v[in[1]].shape, a->transpose[1]);
        describe_matrices(&l->out, &v[s->out].shape, false);
        return describe_matmul(p, a, l, ret);
    }
    onednn_describe(&l->x, &v[in[0]].shape, p->place[in[0]].block);
    onednn_describe(&l->out, &v[s->out].shape, p->place[s->out].block);
    if (s->op == CN_OP_POOL)
        return describe_pool(p, a, l, ret);
    if (s->op == CN_OP_RESIZE)
        return describe_resize(p, a, l, ret);
    if (!is_param(p, in[1]) || (in[2] >= 0 && !is_param(p, in[2])))
        return dnnl_unimplemented;
    describe_transposed_filter(&v[in[1]].shape, a->conv.groups, l);
    return describe_conv_transpose(p, s, l, ret);
}

int onednn_values_init(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err)
{
    dnnl_primitive_desc_t pd;
    struct layouts l;
    int rc;

    if (find_kernel(p, s, &l, &pd) != dnnl_success)
        return CN_ENOTFOUND;
    rc = make_step(p, s, &l, pd, err);
    dnnl_primitive_desc_destroy(pd);
    return rc;
}
