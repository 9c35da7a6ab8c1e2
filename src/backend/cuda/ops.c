/* Operations that are one kernel of kernels/cuda. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "kernels/cnk.h"

#include <stdio.h>

static const struct cn_shape *shape(const struct cuda_plan *p, cn_val v)
{
    return &p->g->value[v].shape;
}

static int dim(const struct cn_shape *s, int i)
{
    return (int)s->dim[i];
}

static int positions(const struct cn_shape *s)
{
    return (int)(s->dim[2] * s->dim[3]);
}

static const void *in(const struct cuda_plan *p, const struct cuda_step *s, int i)
{
    return s->in[i] >= 0 ? cuda_address(p, s->in[i]) : NULL;
}

static int check_launch(struct cuda_plan *p, int error, const struct cuda_step *s,
                        struct cn_err *err)
{
    char what[64];

    snprintf(what, sizeof(what), "launch %s", s->label);
    return cuda_check(p->b, (cudaError_t)error, what, err);
}

/* The width that lies together: channels of a map, the last dimension otherwise. */
static int width(const struct cn_shape *s)
{
    return dim(s, s->rank == 4 ? 1 : s->rank - 1);
}

static int group_norm(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                      struct cn_err *err)
{
    const struct cn_shape *o = shape(p, s->val);
    struct cnk_group_norm a = {.n = dim(o, 0),
                               .c = dim(o, 1),
                               .hw = positions(o),
                               .groups = s->node.attr.groups,
                               .eps = s->node.attr.eps,
                               .t_offset = s->node.attr.offset,
                               .act = s->node.attr.act};

    if (s->in[3] >= 0)
        a.t_width = dim(shape(p, s->node.in[3]), 1);
    return check_launch(p,
                        cnk_group_norm(s->type, cuda_address(p, s->out), in(p, s, 0), s->param[0],
                                       s->param[1], in(p, s, 3),
                                       s->scratch >= 0 ? cuda_address(p, s->scratch) : NULL, &a,
                                       stream),
                        s, err);
}

static int group_norm_init(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err)
{
    const struct cn_shape *o = shape(p, s->val);
    struct cnk_group_norm a = {
        .n = dim(o, 0), .c = dim(o, 1), .hw = positions(o), .groups = s->node.attr.groups};
    size_t bytes = cnk_group_norm_scratch(s->type, &a);

    (void)err;
    if (bytes > 0)
        s->scratch = cuda_tensor_new(p, bytes);
    return CN_OK;
}

static int layer_norm(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                      struct cn_err *err)
{
    const struct cn_shape *o = shape(p, s->val);
    struct cnk_layer_norm a = {.d = dim(o, o->rank - 1), .eps = s->node.attr.eps};

    a.rows = (int)(cn_shape_elements(o) / a.d);
    return check_launch(p,
                        cnk_layer_norm(s->type, cuda_address(p, s->out), in(p, s, 0), s->param[0],
                                       s->param[1], &a, stream),
                        s, err);
}

/* ACT, ADD and SCALE */
static int bias_act(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err)
{
    const struct cn_shape *o = shape(p, s->val);
    struct cnk_bias_act a = {.c = width(o), .alpha = 1.0f};

    a.rows = (size_t)cn_shape_elements(o) / (size_t)a.c;
    if (s->node.op == CN_OP_ACT)
        a.act = s->node.attr.act;
    if (s->node.op == CN_OP_SCALE)
        a.alpha = s->node.attr.alpha;
    return check_launch(
        p,
        cnk_bias_act(s->type, cuda_address(p, s->out), in(p, s, 0), NULL, in(p, s, 1), &a, stream),
        s, err);
}

static int geglu(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream, struct cn_err *err)
{
    const struct cn_shape *o = shape(p, s->val);
    int d = dim(o, o->rank - 1);

    return check_launch(p,
                        cnk_geglu(s->type, cuda_address(p, s->out), in(p, s, 0),
                                  (size_t)(cn_shape_elements(o) / d), d, stream),
                        s, err);
}

static int add_channel(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                       struct cn_err *err)
{
    const struct cn_shape *o = shape(p, s->val);
    struct cnk_add_channel a = {.n = dim(o, 0),
                                .c = dim(o, 1),
                                .hw = positions(o),
                                .t_width = dim(shape(p, s->node.in[1]), 1),
                                .t_offset = s->node.attr.offset};

    return check_launch(
        p, cnk_add_channel(s->type, cuda_address(p, s->out), in(p, s, 0), in(p, s, 1), &a, stream),
        s, err);
}

static int add_rows(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err)
{
    const struct cn_shape *o = shape(p, s->val);
    struct cnk_add_rows a = {.n = dim(o, 0),
                             .row = (size_t)(cn_shape_elements(o) / o->dim[0]),
                             .w_width = dim(shape(p, s->node.in[2]), 1),
                             .w_offset = s->node.attr.offset};

    return check_launch(p,
                        cnk_add_rows(s->type, cuda_address(p, s->out), in(p, s, 0), in(p, s, 1),
                                     in(p, s, 2), &a, stream),
                        s, err);
}

static int upsample(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err)
{
    const struct cn_shape *x = shape(p, s->node.in[0]), *o = shape(p, s->val);
    struct cnk_upsample_nhwc a = {dim(x, 0), dim(x, 2), dim(x, 3), dim(x, 1), dim(o, 2), dim(o, 3)};

    return check_launch(p, cnk_upsample(s->type, cuda_address(p, s->out), in(p, s, 0), &a, stream),
                        s, err);
}

/* Along axis 1: the channels of a map, which lie innermost; otherwise the rows of each entry. */
static int concat(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream, struct cn_err *err)
{
    const struct cn_shape *x = shape(p, s->node.in[0]), *o = shape(p, s->val);
    size_t rows = (size_t)o->dim[0], inner = 1;

    if (o->rank == 4)
        rows *= (size_t)positions(o);
    else
        for (int i = 2; i < o->rank; i++)
            inner *= (size_t)o->dim[i];
    return check_launch(p,
                        cnk_concat(s->type, cuda_address(p, s->out), in(p, s, 0), in(p, s, 1), rows,
                                   (size_t)x->dim[1] * inner,
                                   (size_t)(o->dim[1] - x->dim[1]) * inner, stream),
                        s, err);
}

/* Token ids were checked when the run began. */
static int embed(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream, struct cn_err *err)
{
    const struct cn_shape *o = shape(p, s->val);
    struct cnk_embed a = {dim(o, 0), dim(o, 1), dim(o, 2), dim(shape(p, s->node.in[1]), 0)};

    return check_launch(p,
                        cnk_embed(s->type, cuda_address(p, s->out), in(p, s, 0), s->param[0],
                                  s->param[1], NULL, &a, stream),
                        s, err);
}

static int timestep(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err)
{
    const struct cn_shape *o = shape(p, s->val);
    struct cnk_timestep a = {dim(o, 0), dim(o, 1), s->node.attr.cos_first, s->node.attr.freq_shift};

    return check_launch(p, cnk_timestep(s->type, cuda_address(p, s->out), in(p, s, 0), &a, stream),
                        s, err);
}

static int pool_hw(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                   struct cn_err *err)
{
    const struct cn_shape *o = shape(p, s->val);

    return check_launch(p,
                        cnk_pool_hw(s->type, cuda_address(p, s->out), in(p, s, 0), dim(o, 0),
                                    positions(o), dim(o, 1), stream),
                        s, err);
}

static const struct {
    cuda_step_fn run;
    int (*init)(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err);
    int first_param; /* in[first_param], in[first_param + 1] are parameters; 0: none */
    bool f32_params; /* whatever the type of the values */
} ops[CN_OP_COUNT] = {
    [CN_OP_GROUP_NORM] = {group_norm, group_norm_init, 1, true},
    [CN_OP_LAYER_NORM] = {layer_norm, NULL, 1, true},
    [CN_OP_ACT] = {.run = bias_act},
    [CN_OP_GEGLU] = {.run = geglu},
    [CN_OP_ADD] = {.run = bias_act},
    [CN_OP_ADD_CHANNEL] = {.run = add_channel},
    [CN_OP_ADD_ROWS] = {.run = add_rows},
    [CN_OP_SCALE] = {.run = bias_act},
    [CN_OP_UPSAMPLE] = {.run = upsample},
    [CN_OP_CONCAT] = {.run = concat},
    [CN_OP_EMBED] = {embed, NULL, 1, false},
    [CN_OP_TIMESTEP] = {.run = timestep},
    [CN_OP_POOL_HW] = {.run = pool_hw},
};

int cuda_op_init(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err)
{
    enum cn_op op = s->node.op;
    int first = ops[op].first_param;

    CN_ASSERT(ops[op].run != NULL);
    snprintf(s->label, sizeof(s->label), "%s", cn_op_name(op));
    s->run = ops[op].run;
    for (int i = 0; i < 2 && first > 0; i++) {
        int rc = cuda_param(p->w, p->g, s->node.in[first + i], CUDA_W_ROWMAJOR,
                            ops[op].f32_params ? CN_F32 : s->type, &s->param[i], err);

        if (rc < 0)
            return rc;
    }
    return ops[op].init != NULL ? ops[op].init(p, s, err) : CN_OK;
}

/* ---- layouts ---- */

/* Only maps are turned; the rest changes its type. */
static struct cnk_layout layout(const struct cn_shape *s)
{
    struct cnk_layout a = {.n = 1, .c = 1, .stride = 1, .hw = (int)cn_shape_elements(s)};

    if (s->rank == 4)
        a = (struct cnk_layout){dim(s, 0), dim(s, 1), positions(s), dim(s, 1)};
    return a;
}

int cuda_run_from_host(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                       struct cn_err *err)
{
    struct cnk_layout a = layout(shape(p, s->val));

    return check_launch(
        p, cnk_to_nhwc(s->type, cuda_address(p, s->out), s->from, in(p, s, 0), &a, stream), s, err);
}

int cuda_run_to_host(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                     struct cn_err *err)
{
    struct cnk_layout a = layout(shape(p, s->val));

    return check_launch(
        p, cnk_from_nhwc(s->type, cuda_address(p, s->out), s->from, in(p, s, 0), &a, stream), s,
        err);
}

int cuda_run_convert(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                     struct cn_err *err)
{
    return check_launch(p,
                        cnk_convert(s->type, cuda_address(p, s->out), s->from, in(p, s, 0),
                                    (size_t)cn_shape_elements(shape(p, s->val)), stream),
                        s, err);
}

int cuda_run_copy(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream, struct cn_err *err)
{
    return cuda_check(p->b,
                      cudaMemcpyAsync(cuda_address(p, s->out), in(p, s, 0), p->tensor[s->out].bytes,
                                      cudaMemcpyDeviceToDevice, stream),
                      "copy an output", err);
}
