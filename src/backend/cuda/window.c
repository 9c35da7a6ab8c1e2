/* Operations that look at a window of a feature map, by kernels of our own: pools, resizing,
 * reflected borders, transposed convolutions, and the convolutions that cuDNN does not take. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "kernels/cnk.h"

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
    const struct cn_shape *x = cuda_shape(p, s->node.in[0]), *o = cuda_shape(p, s->val);
    struct cnk_pool a = {.planes = cuda_dim(o, 0) * cuda_dim(o, 1),
                         .h = cuda_dim(x, 2),
                         .w = cuda_dim(x, 3),
                         .oh = cuda_dim(o, 2),
                         .ow = cuda_dim(o, 3),
                         .max = s->node.attr.reduction == CN_MAX_OF,
                         .window = window_of(&s->node.attr.conv)};

    return cuda_check_launch(p, s,
                             cnk_pool(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0), &a,
                                      cuda_dim(o, 1), stream),
                             err);
}

int cuda_run_resize(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err)
{
    const struct cn_shape *x = cuda_shape(p, s->node.in[0]), *o = cuda_shape(p, s->val);
    struct cnk_resize a = {.planes = cuda_dim(o, 0) * cuda_dim(o, 1),
                           .h = cuda_dim(x, 2),
                           .w = cuda_dim(x, 3),
                           .oh = cuda_dim(o, 2),
                           .ow = cuda_dim(o, 3),
                           .align_corners = s->node.attr.align_corners};

    return cuda_check_launch(p, s,
                             cnk_resize(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0), &a,
                                        cuda_dim(o, 1), stream),
                             err);
}

int cuda_run_pad_reflect(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                         struct cn_err *err)
{
    const struct cn_shape *x = cuda_shape(p, s->node.in[0]), *o = cuda_shape(p, s->val);
    const int *pad = s->node.attr.conv.pad;
    struct cnk_pad_reflect a = {.planes = cuda_dim(o, 0) * cuda_dim(o, 1),
                                .h = cuda_dim(x, 2),
                                .w = cuda_dim(x, 3),
                                .top = pad[0],
                                .left = pad[1],
                                .bottom = pad[2],
                                .right = pad[3]};

    return cuda_check_launch(p, s,
                             cnk_pad_reflect(s->type, cuda_address(p, s->out),
                                             cuda_operand(p, s, 0), &a, cuda_dim(o, 1), stream),
                             err);
}

static struct cnk_conv_nhwc conv_of(const struct cuda_plan *p, const struct cuda_step *s)
{
    const struct cn_shape *x = cuda_shape(p, s->node.in[0]), *o = cuda_shape(p, s->val);

    return (struct cnk_conv_nhwc){.n = cuda_dim(x, 0),
                                  .h = cuda_dim(x, 2),
                                  .w = cuda_dim(x, 3),
                                  .ci = cuda_dim(x, 1),
                                  .oh = cuda_dim(o, 2),
                                  .ow = cuda_dim(o, 3),
                                  .co = cuda_dim(o, 1),
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
