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
    *s =
        (struct cuda_step){.run = run, .val = -1, .in = {-1, -1, -1, -1}, .out = -1, .scratch = -1};
    snprintf(s->label, sizeof(s->label), "%s", label);
    return s;
}

size_t cuda_value_bytes(const struct cuda_plan *p, cn_val v, enum cn_dtype t)
{
    return (size_t)cn_shape_elements(&p->g->value[v].shape) * cn_dtype_size(t);
}

void *cuda_address(const struct cuda_plan *p, int tensor)
{
    const struct cuda_tensor *t = &p->tensor[tensor];

    switch (t->place) {
    case CUDA_INPUT:
        return p->address[t->index];
    case CUDA_OUTPUT:
        return p->address[p->g->n_inputs + t->index];
    default:
        return p->q->arena + t->offset;
    }
}
