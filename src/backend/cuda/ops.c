/* What runs which operation: a table, and the operations that are one kernel of kernels/cuda. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "kernels/cnk.h"

#include <stdio.h>

static int positions(const struct cn_shape *s)
{
    return (int)(s->dim[2] * s->dim[3]);
}

/* The width that lies together: channels of a map, the last dimension otherwise. */
static int width(const struct cn_shape *s)
{
    return cuda_dim(s, s->rank == 4 ? 1 : s->rank - 1);
}

static int group_norm(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                      struct cn_err *err)
{
    const struct cn_shape *o = cuda_shape(p, s->val);
    struct cnk_group_norm a = {.n = cuda_dim(o, 0),
                               .c = cuda_dim(o, 1),
                               .hw = positions(o),
                               .groups = s->node.attr.groups,
                               .eps = s->node.attr.eps,
                               .t_offset = s->node.attr.offset,
                               .act = s->node.attr.act,
                               .slope = s->node.attr.slope};

    if (s->in[3] >= 0)
        a.t_width = cuda_dim(cuda_shape(p, s->node.in[3]), 1);
    return cuda_check_launch(p, s,
                             cnk_group_norm(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0),
                                            cuda_operand(p, s, 1), cuda_operand(p, s, 2),
                                            cuda_operand(p, s, 3), cuda_scratch(p, s), &a, stream),
                             err);
}

static int group_norm_init(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err)
{
    const struct cn_shape *o = cuda_shape(p, s->val);
    struct cnk_group_norm a = {.n = cuda_dim(o, 0),
                               .c = cuda_dim(o, 1),
                               .hw = positions(o),
                               .groups = s->node.attr.groups};
    size_t bytes = cnk_group_norm_scratch(s->type, &a);

    (void)err;
    if (bytes > 0)
        s->scratch = cuda_tensor_new(p, bytes);
    return CN_OK;
}

static int layer_norm(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                      struct cn_err *err)
{
    const struct cn_shape *o = cuda_shape(p, s->val);
    struct cnk_layer_norm a = {.d = cuda_dim(o, o->rank - 1), .eps = s->node.attr.eps};

    a.rows = (int)(cn_shape_elements(o) / a.d);
    return cuda_check_launch(p, s,
                             cnk_layer_norm(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0),
                                            cuda_operand(p, s, 1), cuda_operand(p, s, 2), &a,
                                            stream),
                             err);
}

/* ACT, ADD and SCALE */
static int bias_act(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err)
{
    const struct cn_shape *o = cuda_shape(p, s->val);
    struct cnk_bias_act a = {.c = width(o), .alpha = 1.0f};

    a.rows = (size_t)cn_shape_elements(o) / (size_t)a.c;
    if (s->node.op == CN_OP_ACT) {
        a.act = s->node.attr.act;
        a.slope = s->node.attr.slope;
    }
    if (s->node.op == CN_OP_SCALE)
        a.alpha = s->node.attr.alpha;
    return cuda_check_launch(p, s,
                             cnk_bias_act(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0),
                                          NULL, cuda_operand(p, s, 1), &a, stream),
                             err);
}

static int mul(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream, struct cn_err *err)
{
    return cuda_check_launch(p, s,
                             cnk_mul(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0),
                                     cuda_operand(p, s, 1),
                                     (size_t)cn_shape_elements(cuda_shape(p, s->val)), stream),
                             err);
}

static int prelu(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream, struct cn_err *err)
{
    const struct cn_shape *o = cuda_shape(p, s->val);
    struct cnk_prelu a = {.n = cuda_dim(o, 0),
                          .c = cuda_dim(o, 1),
                          .slopes = cuda_dim(cuda_shape(p, s->node.in[1]), 0)};
    int64_t behind = cn_shape_elements(o) / (o->dim[0] * o->dim[1]);

    a.p = (int)behind;
    return cuda_check_launch(
        p, s,
        cnk_prelu(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0), cuda_operand(p, s, 1),
                  &a, o->rank == 4 && s->layout == CUDA_LAST ? 1 : (int)behind, stream),
        err);
}

static int geglu(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream, struct cn_err *err)
{
    const struct cn_shape *o = cuda_shape(p, s->val);
    int d = cuda_dim(o, o->rank - 1);

    return cuda_check_launch(p, s,
                             cnk_geglu(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0),
                                       (size_t)(cn_shape_elements(o) / d), d, stream),
                             err);
}

static int add_channel(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                       struct cn_err *err)
{
    const struct cn_shape *o = cuda_shape(p, s->val);
    struct cnk_add_channel a = {.n = cuda_dim(o, 0),
                                .c = cuda_dim(o, 1),
                                .hw = positions(o),
                                .t_width = cuda_dim(cuda_shape(p, s->node.in[1]), 1),
                                .t_offset = s->node.attr.offset};

    return cuda_check_launch(p, s,
                             cnk_add_channel(s->type, cuda_address(p, s->out),
                                             cuda_operand(p, s, 0), cuda_operand(p, s, 1), &a,
                                             stream),
                             err);
}

static int add_rows(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err)
{
    const struct cn_shape *o = cuda_shape(p, s->val);
    struct cnk_add_rows a = {.n = cuda_dim(o, 0),
                             .row = (size_t)(cn_shape_elements(o) / o->dim[0]),
                             .w_width = cuda_dim(cuda_shape(p, s->node.in[2]), 1),
                             .w_offset = s->node.attr.offset};

    return cuda_check_launch(p, s,
                             cnk_add_rows(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0),
                                          cuda_operand(p, s, 1), cuda_operand(p, s, 2), &a, stream),
                             err);
}

static int upsample(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err)
{
    const struct cn_shape *x = cuda_shape(p, s->node.in[0]), *o = cuda_shape(p, s->val);
    struct cnk_upsample_nhwc a = {cuda_dim(x, 0), cuda_dim(x, 2), cuda_dim(x, 3),
                                  cuda_dim(x, 1), cuda_dim(o, 2), cuda_dim(o, 3)};

    return cuda_check_launch(
        p, s, cnk_upsample(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0), &a, stream),
        err);
}

static int concat_init(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err)
{
    (void)p;
    (void)err;
    s->run = s->node.in[2] < 0 ? cuda_run_concat_two : cuda_run_concat;
    return CN_OK;
}

static int timestep(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err)
{
    const struct cn_shape *o = cuda_shape(p, s->val);
    struct cnk_timestep a = {cuda_dim(o, 0), cuda_dim(o, 1), s->node.attr.cos_first,
                             s->node.attr.freq_shift};

    return cuda_check_launch(
        p, s, cnk_timestep(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0), &a, stream),
        err);
}

static int pool_hw(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                   struct cn_err *err)
{
    const struct cn_shape *o = cuda_shape(p, s->val);

    return cuda_check_launch(p, s,
                             cnk_pool_hw(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0),
                                         cuda_dim(o, 0), positions(o), cuda_dim(o, 1), stream),
                             err);
}

static const struct {
    cuda_step_fn run;
    int (*init)(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err);
} ops[CN_OP_COUNT] = {
    [CN_OP_CONV2D] = {NULL, cuda_conv_init},
    [CN_OP_LINEAR] = {NULL, cuda_linear_init},
    [CN_OP_MATMUL] = {NULL, cuda_matmul_init},
    [CN_OP_ATTENTION] = {NULL, cuda_attention_init},
    [CN_OP_GROUP_NORM] = {group_norm, group_norm_init},
    [CN_OP_LAYER_NORM] = {.run = layer_norm},
    [CN_OP_ACT] = {.run = bias_act},
    [CN_OP_GEGLU] = {.run = geglu},
    [CN_OP_ADD] = {.run = bias_act},
    [CN_OP_MUL] = {.run = mul},
    [CN_OP_ADD_CHANNEL] = {.run = add_channel},
    [CN_OP_ADD_ROWS] = {.run = add_rows},
    [CN_OP_SCALE] = {.run = bias_act},
    [CN_OP_PRELU] = {.run = prelu},
    [CN_OP_UPSAMPLE] = {.run = upsample},
    [CN_OP_TIMESTEP] = {.run = timestep},
    [CN_OP_POOL_HW] = {.run = pool_hw},
    [CN_OP_CONCAT] = {NULL, concat_init},
    [CN_OP_PERMUTE] = {.run = cuda_run_permute},
    [CN_OP_SLICE] = {.run = cuda_run_slice},
    [CN_OP_UNSHUFFLE] = {.run = cuda_run_unshuffle},
    [CN_OP_SHUFFLE] = {.run = cuda_run_shuffle},
    [CN_OP_GATHER] = {.run = cuda_run_gather},
    [CN_OP_REDUCE] = {.run = cuda_run_reduce},
    [CN_OP_POOL] = {.run = cuda_run_pool},
    [CN_OP_RESIZE] = {.run = cuda_run_resize},
    [CN_OP_PAD_REFLECT] = {.run = cuda_run_pad_reflect},
    [CN_OP_CONV_TRANSPOSE] = {.run = cuda_run_conv_transpose},
};

int cuda_op_init(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err)
{
    enum cn_op op = s->node.op;

    CN_ASSERT(ops[op].run != NULL || ops[op].init != NULL);
    snprintf(s->label, sizeof(s->label), "%s", cn_op_name(op));
    s->run = ops[op].run;
    return ops[op].init != NULL ? ops[op].init(p, s, err) : CN_OK;
}
