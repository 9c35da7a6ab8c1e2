/* The forms of a value: where it is in which type and layout.
 *
 * A feature map (and every other value of rank 4) lies channels last on the device, [n,h,w,c], or
 * flat, row-major as the graph counts; other ranks know one layout only, flat. What the host gives
 * and takes is flat. A form is made by a step of its own when something first asks for it;
 * parameters come from the weight store in the form that is asked for. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "kernels/cnk.h"

static bool is_map(const struct cuda_plan *p, cn_val v)
{
    return p->g->value[v].shape.rank == 4;
}

enum cn_dtype cuda_own_type(const struct cuda_plan *p, cn_val v)
{
    return cn_stored_dtype(&p->g->value[v], true, p->type);
}

int *cuda_form(struct cuda_plan *p, cn_val v, enum cn_dtype t, enum cuda_layout layout)
{
    return &p->form[v].tensor[is_map(p, v) ? layout : CUDA_FLAT][t];
}

static bool has_layout(struct cuda_plan *p, cn_val v, enum cuda_layout layout)
{
    for (int t = 0; t < CUDA_TYPES; t++)
        if (*cuda_form(p, v, (enum cn_dtype)t, layout) >= 0)
            return true;
    return false;
}

enum cuda_layout cuda_usual_layout(struct cuda_plan *p, cn_val v)
{
    return p->g->node[v].op != CN_OP_INPUT && has_layout(p, v, CUDA_FLAT) &&
                   !has_layout(p, v, CUDA_LAST)
               ? CUDA_FLAT
               : CUDA_LAST;
}

/* ---- steps that change the form ---- */

static const struct cn_shape *shape_of(const struct cuda_plan *p, const struct cuda_step *s)
{
    return cuda_shape(p, s->val);
}

/* Only maps are turned. */
static struct cnk_layout layout_of(const struct cn_shape *s)
{
    return (struct cnk_layout){.n = (int)s->dim[0],
                               .c = (int)s->dim[1],
                               .hw = (int)(s->dim[2] * s->dim[3]),
                               .stride = (int)s->dim[1]};
}

static int run_to_last(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                       struct cn_err *err)
{
    struct cnk_layout a = layout_of(shape_of(p, s));

    return cuda_check_launch(
        p, s,
        cnk_to_nhwc(s->type, cuda_address(p, s->out), s->from, cuda_operand(p, s, 0), &a, stream),
        err);
}

static int run_to_flat(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                       struct cn_err *err)
{
    struct cnk_layout a = layout_of(shape_of(p, s));

    return cuda_check_launch(
        p, s,
        cnk_from_nhwc(s->type, cuda_address(p, s->out), s->from, cuda_operand(p, s, 0), &a, stream),
        err);
}

static int run_convert(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                       struct cn_err *err)
{
    return cuda_check_launch(p, s,
                             cnk_convert(s->type, cuda_address(p, s->out), s->from,
                                         cuda_operand(p, s, 0),
                                         (size_t)cn_shape_elements(shape_of(p, s)), stream),
                             err);
}

static int run_copy(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err)
{
    return cuda_check(p->b,
                      cudaMemcpyAsync(cuda_address(p, s->out), cuda_operand(p, s, 0),
                                      p->tensor[s->out].bytes, cudaMemcpyDeviceToDevice, stream),
                      "copy an output", err);
}

static void add_conversion(struct cuda_plan *p, cuda_step_fn run, const char *label, cn_val v,
                           int from, enum cn_dtype from_type, int to, enum cn_dtype type)
{
    struct cuda_step *s = cuda_step_new(p, run, label);

    s->val = v;
    s->type = type;
    s->from = from_type;
    s->in[0] = from;
    s->out = to;
    cuda_step_done(p, p->n_steps - 1);
}

void cuda_add_copy(struct cuda_plan *p, cn_val v, int from, int to)
{
    add_conversion(p, run_copy, "copy", v, from, CN_F32, to, CN_F32);
}

/* ---- asking for a form ---- */

static int constant_form(struct cuda_plan *p, cn_val v, enum cn_dtype t, enum cuda_layout layout,
                         int *ret, struct cn_err *err)
{
    const void *data = NULL;
    int rc = cuda_param(p->w, p->g, v,
                        is_map(p, v) && layout == CUDA_LAST ? CUDA_W_OHWI : CUDA_W_ROWMAJOR, t,
                        &data, err);

    if (rc == CN_OK)
        *ret = cuda_constant_new(p, data);
    return rc;
}

/* What to make a form of: rather of the value's own type, rather in the same layout. */
static int source_form(struct cuda_plan *p, cn_val v, enum cuda_layout layout,
                       enum cn_dtype *ret_type, enum cuda_layout *ret_layout)
{
    for (int other = 0; other < CUDA_LAYOUTS; other++)
        for (int i = 0; i < CUDA_TYPES; i++) {
            enum cn_dtype t = (enum cn_dtype)(((int)cuda_own_type(p, v) + i) % CUDA_TYPES);
            enum cuda_layout l = other ? (enum cuda_layout) !layout : layout;
            int tensor = *cuda_form(p, v, t, l);

            if (tensor >= 0) {
                *ret_type = t;
                *ret_layout = l;
                return tensor;
            }
        }
    CN_ASSERT(false); /* values are made before they are used */
    return -1;
}

int cuda_value_tensor(struct cuda_plan *p, cn_val v, enum cn_dtype t, enum cuda_layout layout,
                      int *ret, struct cn_err *err)
{
    enum cuda_layout from_layout = CUDA_FLAT;
    enum cn_dtype from_type = CN_F32;
    int from, to;

    if (!is_map(p, v))
        layout = CUDA_FLAT;
    to = *cuda_form(p, v, t, layout);
    if (to < 0 && p->g->node[v].op == CN_OP_PARAM) {
        int rc = constant_form(p, v, t, layout, &to, err);

        if (rc < 0)
            return rc;
    } else if (to < 0) {
        from = source_form(p, v, layout, &from_type, &from_layout);
        to = cuda_tensor_new(p, cuda_value_bytes(p, v, t));
        if (from_layout == layout)
            add_conversion(p, run_convert, "convert", v, from, from_type, to, t);
        else if (layout == CUDA_LAST)
            add_conversion(p, run_to_last, "to channels last", v, from, from_type, to, t);
        else
            add_conversion(p, run_to_flat, "to rows", v, from, from_type, to, t);
    }
    *cuda_form(p, v, t, layout) = to;
    *ret = to;
    return CN_OK;
}
