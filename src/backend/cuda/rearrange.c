/* Operations that only move elements, or run along their dimensions: joined values, slices,
 * permutations, shuffles, gathered rows, reductions. They work in either layout: what counts is in
 * which order the dimensions lie. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "kernels/cnk.h"

/* Which dimension lies k-th from the outermost. */
static int outer_to_inner(const struct cn_shape *s, enum cuda_layout layout, int k)
{
    static const int last[4] = {0, 2, 3, 1};

    return s->rank == 4 && layout == CUDA_LAST ? last[k] : k;
}

/* Elements from one entry of each dimension to the next. */
static void strides_of(const struct cn_shape *s, enum cuda_layout layout,
                       int64_t ret[CN_GRAPH_RANK])
{
    int64_t step = 1;

    for (int k = s->rank - 1; k >= 0; k--) {
        int d = outer_to_inner(s, layout, k);

        ret[d] = step;
        step *= s->dim[d];
    }
}

static int run_strided(struct cuda_plan *p, struct cuda_step *s, const struct cnk_strided *a,
                       cudaStream_t stream, struct cn_err *err)
{
    return cuda_check_launch(
        p, s, cnk_strided(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0), a, stream), err);
}

static struct cnk_strided strided(void)
{
    struct cnk_strided a = {.offset = 0};

    for (int i = 0; i < CNK_STRIDED; i++)
        a.dim[i] = 1;
    return a;
}

int cuda_run_permute(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                     struct cn_err *err)
{
    const struct cn_shape *x = cuda_shape(p, s->node.in[0]), *o = cuda_shape(p, s->val);
    int64_t step[CN_GRAPH_RANK];
    struct cnk_strided a = strided();

    strides_of(x, s->layout, step);
    for (int k = 0; k < o->rank; k++) {
        int d = outer_to_inner(o, s->layout, k);

        a.dim[k] = o->dim[d];
        a.stride[k] = step[s->node.attr.perm[d]];
    }
    return run_strided(p, s, &a, stream, err);
}

int cuda_run_slice(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                   struct cn_err *err)
{
    const struct cn_shape *x = cuda_shape(p, s->node.in[0]), *o = cuda_shape(p, s->val);
    int64_t step[CN_GRAPH_RANK];
    struct cnk_strided a = strided();

    strides_of(x, s->layout, step);
    for (int k = 0; k < o->rank; k++) {
        int d = outer_to_inner(o, s->layout, k);

        a.dim[k] = o->dim[d];
        a.stride[k] = step[d];
    }
    a.offset = s->node.attr.offset * step[s->node.attr.axis];
    return run_strided(p, s, &a, stream, err);
}

/* [n, h r, w r, c] -> [n, h, w, (c, r, r)] */
int cuda_run_unshuffle(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                       struct cn_err *err)
{
    const struct cn_shape *x = cuda_shape(p, s->node.in[0]), *o = cuda_shape(p, s->val);
    int64_t r = s->node.attr.factor, c = x->dim[1], row = x->dim[3] * c;
    struct cnk_strided a = {.dim = {o->dim[0], o->dim[2], o->dim[3], c, r, r},
                            .stride = {x->dim[2] * row, r * row, r * c, 1, row, c}};

    return run_strided(p, s, &a, stream, err);
}

/* [n, h, w, (c, r, r)] -> [n, h r, w r, c] */
int cuda_run_shuffle(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                     struct cn_err *err)
{
    const struct cn_shape *x = cuda_shape(p, s->node.in[0]), *o = cuda_shape(p, s->val);
    int64_t r = s->node.attr.factor, c = x->dim[1], row = x->dim[3] * c;
    struct cnk_strided a = {.dim = {x->dim[0], x->dim[2], r, x->dim[3], r, o->dim[1]},
                            .stride = {x->dim[2] * row, row, r, c, 1, r * r}};

    return run_strided(p, s, &a, stream, err);
}

/* ---- joining ---- */

/* Elements of the dimensions that lie outside (inside) of the axis. */
static size_t elements_beside(const struct cn_shape *s, enum cuda_layout layout, int axis,
                              bool inside)
{
    bool behind = false;
    size_t n = 1;

    for (int k = 0; k < s->rank; k++) {
        int d = outer_to_inner(s, layout, k);

        if (d == axis)
            behind = true;
        else if (behind == inside)
            n *= (size_t)s->dim[d];
    }
    return n;
}

int cuda_run_concat(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err)
{
    const struct cn_shape *o = cuda_shape(p, s->val);
    int axis = s->node.attr.axis, rc = CN_OK;
    size_t outer = elements_beside(o, s->layout, axis, false);
    size_t inner = elements_beside(o, s->layout, axis, true);
    size_t whole = (size_t)o->dim[axis] * inner, at = 0;

    for (int k = 0; k < CN_MAX_IN && s->node.in[k] >= 0 && rc == CN_OK; k++) {
        size_t width = (size_t)cuda_shape(p, s->node.in[k])->dim[axis] * inner;

        rc = cuda_check_launch(p, s,
                               cnk_place(s->type, cuda_address(p, s->out), cuda_operand(p, s, k),
                                         outer, width, whole, at, stream),
                               err);
        at += width;
    }
    return rc;
}

/* Two parts are one launch. */
int cuda_run_concat_two(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                        struct cn_err *err)
{
    const struct cn_shape *o = cuda_shape(p, s->val);
    int axis = s->node.attr.axis;
    size_t inner = elements_beside(o, s->layout, axis, true);

    return cuda_check_launch(
        p, s,
        cnk_concat(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0), cuda_operand(p, s, 1),
                   elements_beside(o, s->layout, axis, false),
                   (size_t)cuda_shape(p, s->node.in[0])->dim[axis] * inner,
                   (size_t)cuda_shape(p, s->node.in[1])->dim[axis] * inner, stream),
        err);
}

/* ---- gathering, reducing ---- */

/* Ids were checked when the run began. */
int cuda_run_gather(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err)
{
    const struct cn_shape *o = cuda_shape(p, s->val);
    struct cnk_gather a = {.n = (int)o->dim[0],
                           .s = (int)cuda_shape(p, s->node.in[0])->dim[1],
                           .t = (int)o->dim[1],
                           .d = (int)o->dim[2]};

    return cuda_check_launch(p, s,
                             cnk_gather(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0),
                                        cuda_operand(p, s, 1), &a, stream),
                             err);
}

int cuda_run_reduce(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err)
{
    static const enum cnk_reduction kind[] = {
        [CN_SUM] = CNK_SUM, [CN_MEAN] = CNK_MEAN, [CN_MAX_OF] = CNK_MAX};
    const struct cn_attr *attr = &s->node.attr;
    const struct cn_shape *x = cuda_shape(p, s->node.in[0]);
    struct cnk_strided_reduce a = {
        .kept = {1, 1, 1, 1}, .reduced = {1, 1, 1, 1}, .kind = kind[attr->reduction]};
    int64_t step[CN_GRAPH_RANK];
    int kept = 0, reduced = 0;

    strides_of(x, s->layout, step);
    for (int k = 0; k < x->rank; k++) {
        int d = outer_to_inner(x, s->layout, k);

        if (d >= attr->axis && d < attr->axis + attr->axes) {
            a.reduced[reduced] = x->dim[d];
            a.reduced_stride[reduced++] = step[d];
        } else {
            a.kept[kept] = x->dim[d];
            a.kept_stride[kept++] = step[d];
        }
    }
    return cuda_check_launch(
        p, s, cnk_reduce(s->type, cuda_address(p, s->out), cuda_operand(p, s, 0), &a, stream), err);
}
