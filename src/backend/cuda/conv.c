/* Convolutions.
 *
 * A convolution is one cuDNN plan, channels last. Its epilogue is offered in the one order for
 * which cuDNN 9 has precompiled engines on sm_80 to sm_90: convolution, + residual, + bias; with
 * the bias first, only engines that are compiled at run time take it. What no engine takes fused
 * runs as a plain convolution and a kernel behind it, and what no engine takes at all by a kernel
 * of our own. A 1x1 convolution is a linear layer: the bytes are the same. Activations are a kernel
 * of their own: behind a convolution they occur in the hint encoder only, elsewhere group norm has
 * them. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "kernels/cnk.h"

#include <stdio.h>
#include <string.h>

/* size[] of a convolution's step */
enum { SEPARATE /* epilogue by a kernel */ };

enum { UID_X = 1, UID_W, UID_Y, UID_RESIDUAL, UID_BIAS, UID_CONV, UID_SUM };

struct problem {
    int64_t x[4], w[4], y[4]; /* logical dimensions, as cuDNN counts them */
    int64_t pad[2], stride[2], dilation[2];
    enum cn_dtype type;
    bool residual, bias;
};

static cudnnBackendDescriptor_t channels_last(struct cuda_dnn_build *d, int64_t uid,
                                              cudnnDataType_t t, const int64_t dim[4], int flags)
{
    int64_t stride[4] = {dim[1] * dim[2] * dim[3], 1, dim[3] * dim[1], dim[1]};

    return cuda_dnn_tensor(d, uid, t, dim, stride, flags);
}

static cudnnBackendDescriptor_t conv_descriptor(struct cuda_dnn_build *d, const struct problem *z)
{
    cudnnBackendDescriptor_t c = cuda_dnn_new(d, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    int64_t rank = 2;

    cuda_dnn_set(d, c, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &rank);
    cuda_dnn_set(d, c, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    cuda_dnn_set(d, c, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    cuda_dnn_set(d, c, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, z->pad);
    cuda_dnn_set(d, c, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, z->pad);
    cuda_dnn_set(d, c, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, z->dilation);
    cuda_dnn_set(d, c, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, z->stride);
    cuda_dnn_finalize(d, c, "describe a convolution");
    return c;
}

static void add_convolution(struct cuda_dnn_build *d, const struct problem *z,
                            cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t w,
                            cudnnBackendDescriptor_t y)
{
    cudnnBackendDescriptor_t c = conv_descriptor(d, z), o;
    float one = 1.0f, zero = 0.0f;

    o = cuda_dnn_new(d, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    cuda_dnn_set(d, o, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                 &x);
    cuda_dnn_set(d, o, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                 &w);
    cuda_dnn_set(d, o, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                 &y);
    cuda_dnn_set(d, o, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                 CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &c);
    cuda_dnn_set(d, o, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, &one);
    cuda_dnn_set(d, o, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, &zero);
    cuda_dnn_finalize(d, o, "join a convolution");
    d->op[d->n_ops++] = o;
}

static void add_sum(struct cuda_dnn_build *d, cudnnBackendDescriptor_t x,
                    cudnnBackendDescriptor_t b, cudnnBackendDescriptor_t y)
{
    cudnnBackendDescriptor_t p = cuda_dnn_new(d, CUDNN_BACKEND_POINTWISE_DESCRIPTOR), o;
    cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
    cudnnDataType_t compute = CUDNN_DATA_FLOAT;

    cuda_dnn_set(d, p, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    cuda_dnn_set(d, p, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    cuda_dnn_finalize(d, p, "describe a sum");
    o = cuda_dnn_new(d, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    cuda_dnn_set(d, o, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                 1, &p);
    cuda_dnn_set(d, o, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &x);
    cuda_dnn_set(d, o, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &b);
    cuda_dnn_set(d, o, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &y);
    cuda_dnn_finalize(d, o, "join a sum");
    d->op[d->n_ops++] = o;
}

/* x * w [+ residual] [+ bias], with F32 between the operations. */
static void build_conv(struct cuda_dnn_build *d, const struct problem *z)
{
    cudnnDataType_t t = cuda_dnn_type(d->type);
    int64_t bias_dim[4] = {1, z->y[1], 1, 1};
    cudnnBackendDescriptor_t x = channels_last(d, UID_X, t, z->x, 0);
    cudnnBackendDescriptor_t w = channels_last(d, UID_W, t, z->w, 0);
    cudnnBackendDescriptor_t y = channels_last(d, UID_Y, t, z->y, 0), at = y, next;

    if (z->residual || z->bias)
        at = channels_last(d, UID_CONV, CUDNN_DATA_FLOAT, z->y, CUDA_DNN_VIRTUAL);
    add_convolution(d, z, x, w, at);
    if (z->residual) {
        next = z->bias ? channels_last(d, UID_SUM, CUDNN_DATA_FLOAT, z->y, CUDA_DNN_VIRTUAL) : y;
        add_sum(d, at, channels_last(d, UID_RESIDUAL, t, z->y, 0), next);
        at = next;
    }
    if (z->bias)
        add_sum(d, at, channels_last(d, UID_BIAS, t, bias_dim, 0), y);
}

static size_t bytes_of(const struct problem *z, const int64_t dim[4])
{
    return (size_t)(dim[0] * dim[1] * dim[2] * dim[3]) * cn_dtype_size(z->type);
}

static int choose_engine(struct cuda_plan *p, const struct problem *z, struct cuda_dnn **ret,
                         struct cn_err *err)
{
    struct cuda_dnn_build d = {
        .b = p->b, .q = p->q, .timed = p->timed, .type = z->type, .err = err};
    struct cuda_dnn_io io[5] = {{.uid = UID_X, .bytes = bytes_of(z, z->x)},
                                {.uid = UID_W, .bytes = bytes_of(z, z->w)},
                                {.uid = UID_Y, .bytes = bytes_of(z, z->y)}};
    int n = 3;
    char key[CUDA_KEY];

    if (z->residual)
        io[n++] = (struct cuda_dnn_io){.uid = UID_RESIDUAL, .bytes = bytes_of(z, z->y)};
    if (z->bias)
        io[n++] = (struct cuda_dnn_io){.uid = UID_BIAS,
                                       .bytes = (size_t)z->y[1] * cn_dtype_size(z->type)};
    snprintf(key, sizeof(key),
             "conv %s x %lld %lld %lld %lld w %lld %lld %lldx%lld y %lldx%lld pad %lld %lld stride "
             "%lld %lld dilation %lld %lld%s%s",
             cn_dtype_name(z->type), (long long)z->x[0], (long long)z->x[1], (long long)z->x[2],
             (long long)z->x[3], (long long)z->w[0], (long long)z->w[1], (long long)z->w[2],
             (long long)z->w[3], (long long)z->y[2], (long long)z->y[3], (long long)z->pad[0],
             (long long)z->pad[1], (long long)z->stride[0], (long long)z->stride[1],
             (long long)z->dilation[0], (long long)z->dilation[1], z->residual ? " residual" : "",
             z->bias ? " bias" : "");
    build_conv(&d, z);
    cuda_dnn_choose(&d, key, io, n, ret);
    cuda_dnn_release(&d);
    return d.rc;
}

static int run_conv(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err)
{
    void *data[5] = {cuda_operand(p, s, 0), cuda_operand(p, s, 1), cuda_address(p, s->out)};
    bool separate = s->size[SEPARATE] != 0;
    void *residual = cuda_operand(p, s, 3), *bias = cuda_operand(p, s, 2);
    int n = 3, rc;

    if (!separate && residual != NULL)
        data[n++] = residual;
    if (!separate && bias != NULL)
        data[n++] = bias;
    rc = cuda_dnn_run(p->q, s->dnn, data, cuda_scratch(p, s), stream, err);
    return rc < 0 ? rc
                  : cuda_run_epilogue(p, s, separate ? bias : NULL, separate ? residual : NULL,
                                      stream, err);
}

static int run_direct(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                      struct cn_err *err)
{
    int rc = cuda_run_conv_direct(p, s, stream, err);

    return rc < 0
               ? rc
               : cuda_run_epilogue(p, s, cuda_operand(p, s, 2), cuda_operand(p, s, 3), stream, err);
}

/* A constant operand in the form that the way of computing wants. */
static int use_constant(struct cuda_plan *p, struct cuda_step *s, int k,
                        enum cuda_weight_layout layout, enum cn_dtype t, struct cn_err *err)
{
    const void *data;
    int rc;

    if (!cuda_is_constant(p, s->node.in[k]))
        return CN_OK;
    rc = cuda_param(p->w, p->g, s->node.in[k], layout, t, &data, err);
    if (rc == CN_OK)
        s->in[k] = cuda_constant_new(p, data);
    return rc;
}

/* What is missing at each side when both are padded alike; false: nothing. */
static bool find_margin(struct cuda_step *s, struct problem *z, int margin[4])
{
    const struct cn_conv *c = &s->node.attr.conv;
    bool any = false;

    for (int i = 0; i < 4; i++) {
        z->pad[i % 2] = CN_MAX(c->pad[i % 2], c->pad[i % 2 + 2]);
        margin[i] = (int)z->pad[i % 2] - c->pad[i];
        any = any || margin[i] != 0;
    }
    return any;
}

/* cuDNN pads both sides alike: other paddings become the larger one, and the filter gets zeros
 * where it must not see what the padding adds. */
static int load_filter(struct cuda_plan *p, struct cuda_step *s, struct problem *z,
                       const int margin[4], struct cn_err *err)
{
    const void *data;
    int rc = cuda_param_padded(p->w, p->g, s->node.in[1], margin, s->type, &data, err);

    if (rc < 0)
        return rc;
    s->in[1] = cuda_constant_new(p, data);
    for (int i = 0; i < 4; i++)
        z->w[2 + i % 2] += margin[i];
    return CN_OK;
}

static bool may_go_on(int rc)
{
    return rc != CN_OK && rc != CN_EDEVICE && rc != CN_EDEVMEM && rc != CN_ENOMEM;
}

/* Fused, or in two parts when no engine takes it fused; a bias in a buffer is F32. */
static int choose_fusion(struct cuda_plan *p, struct cuda_step *s, struct problem *z,
                         struct cn_err *err)
{
    bool bound_bias = s->node.in[2] >= 0 && !cuda_is_constant(p, s->node.in[2]);
    struct cn_err why = CN_ERR_INIT;
    int rc = CN_ENOTFOUND;

    if (!bound_bias)
        rc = choose_engine(p, z, &s->dnn, &why);
    if (rc == CN_OK)
        return use_constant(p, s, 2, CUDA_W_ROWMAJOR, s->type, err);
    if (!may_go_on(rc) || (!z->bias && !z->residual))
        return cn_fail(err, rc, "%s", why.msg);
    s->size[SEPARATE] = 1;
    z->bias = z->residual = false;
    rc = choose_engine(p, z, &s->dnn, err);
    return rc < 0 ? rc : use_constant(p, s, 2, CUDA_W_ROWMAJOR, CN_F32, err);
}

/* The way that always works, and the slowest. */
static int init_direct(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err)
{
    int rc = use_constant(p, s, 1, CUDA_W_OHWI, s->type, err);

    s->run = run_direct;
    return rc < 0 ? rc : use_constant(p, s, 2, CUDA_W_ROWMAJOR, CN_F32, err);
}

static int init_conv(struct cuda_plan *p, struct cuda_step *s, struct problem *z,
                     struct cn_err *err)
{
    int margin[4], rc;

    if (!find_margin(s, z, margin))
        rc = use_constant(p, s, 1, CUDA_W_OHWI, s->type, err);
    else if (cuda_is_constant(p, s->node.in[1]) && z->dilation[0] == 1 && z->dilation[1] == 1)
        rc = load_filter(p, s, z, margin, err);
    else
        rc = cn_fail(err, CN_ENOTFOUND, "cuDNN pads both sides alike");
    if (rc == CN_OK)
        rc = choose_fusion(p, s, z, err);
    if (rc < 0)
        return rc;
    s->run = run_conv;
    if (s->dnn->workspace > 0)
        s->scratch = cuda_tensor_new(p, s->dnn->workspace);
    return CN_OK;
}

static bool is_product(const struct cn_conv *c)
{
    return c->k == 1 && c->k_w == 1 && c->stride == 1 && c->stride_w == 1 && c->groups == 1 &&
           c->pad[0] + c->pad[1] + c->pad[2] + c->pad[3] == 0;
}

static void conv_label(struct cuda_step *s, const struct problem *z)
{
    const struct cn_conv *c = &s->node.attr.conv;

    snprintf(s->label, sizeof(s->label), "conv %dx%d%s%s%s %lld-%d @%lldx%lld", c->k, c->k_w,
             c->stride > 1 || c->stride_w > 1 ? " down" : "",
             c->dilation > 1 || c->dilation_w > 1 ? " dilated" : "", c->groups > 1 ? " groups" : "",
             (long long)z->x[1], c->out, (long long)z->y[2], (long long)z->y[3]);
}

int cuda_conv_init(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err)
{
    const struct cn_conv *c = &s->node.attr.conv;
    const struct cn_shape *x = &p->g->value[s->node.in[0]].shape;
    const struct cn_shape *y = &p->g->value[s->val].shape;
    struct problem z = {.w = {c->out, x->dim[1] / c->groups, c->k, c->k_w},
                        .stride = {c->stride, c->stride_w},
                        .dilation = {c->dilation, c->dilation_w},
                        .type = s->type,
                        .residual = s->in[3] >= 0,
                        .bias = s->node.in[2] >= 0};
    struct cn_err why = CN_ERR_INIT;
    int rc;

    memcpy(z.x, x->dim, sizeof(z.x));
    memcpy(z.y, y->dim, sizeof(z.y));
    conv_label(s, &z);
    if (is_product(c)) {
        rc = use_constant(p, s, 1, CUDA_W_ROWMAJOR, s->type, err);
        return rc < 0 ? rc
                      : cuda_product_init(p, s, x->dim[0] * x->dim[2] * x->dim[3], x->dim[1],
                                          c->out, err);
    }
    rc = init_conv(p, s, &z, &why);
    if (rc == CN_ENOTFOUND) /* not that a parameter is missing: then the next one fails as well */
        return init_direct(p, s, err);
    return rc < 0 ? cn_fail(err, rc, "%s", why.msg) : CN_OK;
}
