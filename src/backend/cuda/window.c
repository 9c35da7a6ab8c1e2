/* Operations that look at a window of a feature map, by kernels of our own: pools, resizing,
 * reflected borders, transposed convolutions, and the convolutions that cuDNN does not take. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "kernels/cnk.h"

static const struct cn_shape *shape(const struct cuda_plan *p, cn_val v)
{
    return &p->g->value[v].shape;
}

static int dim(const struct cn_shape *s, int i)
{
    return (int)s->dim[i];
}

static struct cnk_window window_of(const struct cn_conv *c)
{
    return (struct cnk_window){.k = {c->k, c->k_w},
                               .step = {c->stride, c->stride_w},
                               .spread = {c->dilation, c->dilation_w},
                               .top = c->pad[0],
                               .left = c->pad[1]};
}

int cuda_run_pool(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream, struct cn_err *err)
{
    const struct cn_shape *x = shape(p, s->node.in[0]), *o = shape(p, s->val);
    struct cnk_pool a = {.planes = dim(o, 0) * dim(o, 1),
                         .h = dim(x, 2),
                         .w = dim(x, 3),
                         .oh = dim(o, 2),
                         .ow = dim(o, 3),
                         .max = s->node.attr.reduction == CN_MAX_OF,
                         .window = window_of(&s->node.attr.conv)};

    return cuda_check_launch(
        p, s,
        cnk_pool(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0), &a, dim(o, 1), stream),
        err);
}

int cuda_run_resize(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err)
{
    const struct cn_shape *x = shape(p, s->node.in[0]), *o = shape(p, s->val);
    struct cnk_resize a = {.planes = dim(o, 0) * dim(o, 1),
                           .h = dim(x, 2),
                           .w = dim(x, 3),
                           .oh = dim(o, 2),
                           .ow = dim(o, 3),
                           .align_corners = s->node.attr.align_corners};

    return cuda_check_launch(
        p, s,
        cnk_resize(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0), &a, dim(o, 1), stream),
        err);
}

int cuda_run_pad_reflect(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                         struct cn_err *err)
{
    const struct cn_shape *x = shape(p, s->node.in[0]), *o = shape(p, s->val);
    const int *pad = s->node.attr.conv.pad;
    struct cnk_pad_reflect a = {.planes = dim(o, 0) * dim(o, 1),
                                .h = dim(x, 2),
                                .w = dim(x, 3),
                                .top = pad[0],
                                .left = pad[1],
                                .bottom = pad[2],
                                .right = pad[3]};

    return cuda_check_launch(p, s,
                             cnk_pad_reflect(s->type, cuda_address(p, s->out),
                                             cuda_operand(p, s, 0), &a, dim(o, 1), stream),
                             err);
}

static struct cnk_conv_nhwc conv_of(const struct cuda_plan *p, const struct cuda_step *s)
{
    const struct cn_shape *x = shape(p, s->node.in[0]), *o = shape(p, s->val);

    return (struct cnk_conv_nhwc){.n = dim(x, 0),
                                  .h = dim(x, 2),
                                  .w = dim(x, 3),
                                  .ci = dim(x, 1),
                                  .oh = dim(o, 2),
                                  .ow = dim(o, 3),
                                  .co = dim(o, 1),
                                  .groups = s->node.attr.conv.groups,
                                  .window = window_of(&s->node.attr.conv)};
}

int cuda_run_conv_direct(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                         struct cn_err *err)
{
    struct cnk_conv_nhwc a = conv_of(p, s);

    return cuda_check_launch(p, s,
                             cnk_conv(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0),
                                      cuda_operand(p, s, 1), &a, stream),
                             err);
}

int cuda_run_conv_transpose(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                            struct cn_err *err)
{
    struct cnk_conv_nhwc a = conv_of(p, s);
    int rc = cuda_check_launch(p, s,
                               cnk_conv_transpose(s->type, cuda_address(p, s->out),
                                                  cuda_operand(p, s, 0), cuda_operand(p, s, 1), &a,
                                                  stream),
                               err);

    return rc < 0 ? rc : cuda_run_epilogue(p, s, cuda_operand(p, s, 2), NULL, stream, err);
}
