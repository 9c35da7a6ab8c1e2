/* What the two files of the reference backend share. */
#ifndef CN_BACKEND_CPU_REFERENCE_PRIV_H
#define CN_BACKEND_CPU_REFERENCE_PRIV_H

#include "tensor/graph.h"

/* Computes node i of g (no INPUT or PARAM) into out. in[k] is the data of the node's input k, NULL
 * when absent. Fails with CN_EINVAL for an id outside the rows. */
int cn_reference_step(const struct cn_graph *g, int i, const void *const *in, float *out,
                      struct cn_err *err);

struct cpu_addition;

/* Adds what an adapter adds to rows of node i's result y, of the input x: both whole. CN_EDEVMEM */
int cn_reference_adapt(const struct cn_graph *g, int i, const struct cpu_addition *a,
                       const float *x, float *y, struct cn_err *err);
/* The activation of node i, in place. */
void cn_reference_act(const struct cn_graph *g, int i, float *y);

#endif
