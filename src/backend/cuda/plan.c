/* A plan's tensors and steps: what those who lower operations add to it and what running them asks
 * for. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "base/mem.h"

#include <stdio.h>

int cuda_tensor_new(struct cuda_plan *p, size_t bytes)
{
    p->tensor = cn_grow(p->tensor, (size_t)p->n_tensors, &p->tensor_cap, sizeof(*p->tensor));
    p->tensor[p->n_tensors] =
        (struct cuda_tensor){.place = CUDA_ARENA, .bytes = bytes, .from = -1, .to = -1};
    return p->n_tensors++;
}

struct cuda_step *cuda_step_new(struct cuda_plan *p, cuda_step_fn run, const char *label)
{
    struct cuda_step *s;

    p->step = cn_grow(p->step, (size_t)p->n_steps, &p->step_cap, sizeof(*p->step));
    s = &p->step[p->n_steps++];
    *s = (struct cuda_step){.run = run, .val = -1, .out = -1, .scratch = -1};
    for (int k = 0; k < CN_MAX_IN; k++)
        s->in[k] = -1;
    snprintf(s->label, sizeof(s->label), "%s", label);
    return s;
}

int cuda_constant_new(struct cuda_plan *p, const void *data)
{
    int t = cuda_tensor_new(p, 0);

    p->tensor[t].place = CUDA_CONSTANT;
    p->tensor[t].data = data;
    return t;
}

/* A view's memory is its base's. */
static void extend_life(struct cuda_plan *p, int tensor, int step)
{
    struct cuda_tensor *t;

    if (tensor < 0)
        return;
    t = &p->tensor[tensor];
    if (t->place == CUDA_VIEW)
        extend_life(p, t->base, step);
    t->from = t->from < 0 ? step : t->from;
    t->to = CN_MAX(t->to, step);
}

void cuda_step_done(struct cuda_plan *p, int step)
{
    const struct cuda_step *s = &p->step[step];

    for (int k = 0; k < CN_MAX_IN; k++)
        extend_life(p, s->in[k], step);
    extend_life(p, s->out, step);
    extend_life(p, s->scratch, step);
}

size_t cuda_value_bytes(const struct cuda_plan *p, cn_val v, enum cn_dtype t)
{
    return (size_t)cn_shape_elements(&p->g->value[v].shape) * cn_dtype_size(t);
}

const struct cn_shape *cuda_shape(const struct cuda_plan *p, cn_val v)
{
    return &p->g->value[v].shape;
}

int cuda_dim(const struct cn_shape *s, int i)
{
    return (int)s->dim[i];
}

void *cuda_address(const struct cuda_plan *p, int tensor)
{
    const struct cuda_tensor *t = &p->tensor[tensor];

    switch (t->place) {
    case CUDA_INPUT:
        return p->address[t->index];
    case CUDA_OUTPUT:
        return p->address[p->g->n_inputs + t->index];
    case CUDA_CONSTANT:
        return (void *)(uintptr_t)t->data;
    case CUDA_VIEW:
        return (unsigned char *)cuda_address(p, t->base) + t->offset;
    default:
        return p->q->arena + t->offset;
    }
}

void *cuda_operand(const struct cuda_plan *p, const struct cuda_step *s, int k)
{
    return s->in[k] >= 0 ? cuda_address(p, s->in[k]) : NULL;
}

void *cuda_scratch(const struct cuda_plan *p, const struct cuda_step *s)
{
    return s->scratch >= 0 ? cuda_address(p, s->scratch) : NULL;
}

bool cuda_is_constant(const struct cuda_plan *p, cn_val v)
{
    return v >= 0 && p->g->node[v].op == CN_OP_PARAM;
}

int cuda_check_launch(struct cuda_plan *p, const struct cuda_step *s, int error, struct cn_err *err)
{
    char what[64];

    snprintf(what, sizeof(what), "launch %s", s->label);
    return cuda_check(p->b, (cudaError_t)error, what, err);
}
