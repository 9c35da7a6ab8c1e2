/* Linear layers, 1x1 convolutions and products of two values, on cuBLASLt.
 *
 * A bias that is constant and the residual are part of the product; an activation, and a bias that
 * lies in a buffer, are a kernel behind it. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "kernels/cnk.h"

#include <stdio.h>

int cuda_run_epilogue(struct cuda_plan *p, struct cuda_step *s, const float *bias,
                      const void *residual, cudaStream_t stream, struct cn_err *err)
{
    const struct cn_shape *o = &p->g->value[s->val].shape;
    void *y = cuda_address(p, s->out);
    int c = (int)(s->layout == CUDA_LAST && o->rank == 4 ? o->dim[1] : o->dim[o->rank - 1]);
    struct cnk_bias_act a = {.rows = (size_t)cn_shape_elements(o) / (size_t)c,
                             .c = c,
                             .alpha = 1.0f,
                             .act = s->node.attr.act,
                             .slope = s->node.attr.slope};

    if (bias == NULL && residual == NULL && a.act == CN_NONE)
        return CN_OK;
    return cuda_check_launch(p, s, cnk_bias_act(s->type, y, y, bias, residual, &a, stream), err);
}

/* ---- linear layers ---- */

static int run_linear(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                      struct cn_err *err)
{
    int rc = cuda_gemm_run(p, s->gemm[0], 1.0f, cuda_operand(p, s, 0), cuda_operand(p, s, 1),
                           cuda_operand(p, s, 3), cuda_address(p, s->out), cuda_scratch(p, s),
                           stream, err);

    return rc < 0 ? rc : cuda_run_epilogue(p, s, cuda_operand(p, s, 2), NULL, stream, err);
}

int cuda_product_init(struct cuda_plan *p, struct cuda_step *s, int64_t rows, int64_t k,
                      int64_t out, struct cn_err *err)
{
    struct cuda_gemm_size z = {.rows = rows,
                               .k = k,
                               .out = out,
                               .batch = 1,
                               .ld_x = k,
                               .ld_w = k,
                               .ld_y = out,
                               .in = s->type,
                               .result = s->type,
                               .residual = s->in[3] >= 0};
    bool bias = cuda_is_constant(p, s->node.in[2]);
    int rc = CN_OK;

    if (bias)
        rc = cuda_param(p->w, p->g, s->node.in[2], CUDA_W_ROWMAJOR, s->type, &z.bias, err);
    if (rc == CN_OK)
        rc = cuda_gemm_new(p, &z, &s->gemm[0], err);
    if (rc < 0)
        return rc;
    s->run = run_linear;
    if (s->gemm[0]->workspace > 0)
        s->scratch = cuda_tensor_new(p, s->gemm[0]->workspace);
    return CN_OK;
}

int cuda_linear_init(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err)
{
    const struct cn_shape *o = &p->g->value[s->val].shape;
    int64_t out = o->dim[o->rank - 1], k = p->g->value[s->node.in[1]].shape.dim[1];
    int64_t rows = cn_shape_elements(o) / out;

    snprintf(s->label, sizeof(s->label), "gemm %lldx%lldx%lld", (long long)rows, (long long)k,
             (long long)out);
    return cuda_product_init(p, s, rows, k, out, err);
}

/* ---- products of two values ---- */

static int run_matmul(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                      struct cn_err *err)
{
    return cuda_gemm_run(p, s->gemm[0], s->node.attr.alpha, cuda_operand(p, s, 0),
                         cuda_operand(p, s, 1), NULL, cuda_address(p, s->out), cuda_scratch(p, s),
                         stream, err);
}

/* y [.., m, n] = alpha op(x) op(z): each of a batch, or one z for all. */
int cuda_matmul_init(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err)
{
    const struct cn_shape *o = &p->g->value[s->val].shape;
    const struct cn_shape *x = &p->g->value[s->node.in[0]].shape;
    const bool *transpose = s->node.attr.transpose;
    bool shared = p->g->value[s->node.in[1]].shape.rank < o->rank;
    struct cuda_gemm_size z = {.rows = o->dim[o->rank - 2],
                               .k = x->dim[transpose[0] ? o->rank - 2 : o->rank - 1],
                               .out = o->dim[o->rank - 1],
                               .x_transposed = transpose[0],
                               .w_as_is = !transpose[1],
                               .in = s->type,
                               .result = s->type};
    int rc;

    z.batch = cn_shape_elements(o) / (z.rows * z.out);
    z.ld_x = transpose[0] ? z.rows : z.k;
    z.ld_w = transpose[1] ? z.k : z.out;
    z.ld_y = z.out;
    z.stride_x = z.rows * z.k;
    z.stride_w = shared ? 0 : z.k * z.out;
    z.stride_y = z.rows * z.out;
    snprintf(s->label, sizeof(s->label), "matmul %lldx%lldx%lldx%lld", (long long)z.batch,
             (long long)z.rows, (long long)z.k, (long long)z.out);
    rc = cuda_gemm_new(p, &z, &s->gemm[0], err);
    if (rc < 0)
        return rc;
    s->run = run_matmul;
    if (s->gemm[0]->workspace > 0)
        s->scratch = cuda_tensor_new(p, s->gemm[0]->workspace);
    return CN_OK;
}
