/* Low-rank factors of adapters, as the backends for the processor hold them. Owner's thread. */
#ifndef CN_BACKEND_CPU_CPU_FACTORS_H
#define CN_BACKEND_CPU_CPU_FACTORS_H

#include "backend/backend_priv.h"
#include "base/strmap.h"

/* One layer's. */
struct cpu_factor {
    size_t index; /* of the entry */
    int64_t out, in, rank;
    int k;
    float *down, *up; /* [rank, in, k, k], [out, rank]; NULL once a backend has packed them */
    void *packed;     /* a backend's own form */
};

struct cpu_factors {
    struct cn_factors base;
    struct cn_strmap map; /* layer -> cpu_factor */
    size_t bytes;
    void (*free_packed)(void *packed); /* NULL: there are none */
};

/* Of the plain form. */
size_t cpu_factor_bytes(const struct cpu_factor *f);

int cpu_factors_new(const struct cn_backend_ops *ops, void (*free_packed)(void *packed),
                    struct cn_factors **ret);
int cpu_factors_add(struct cn_factors *f, const struct cn_factor *x, struct cn_err *err);
void cpu_factors_free(struct cn_factors *f);
size_t cpu_factors_bytes(const struct cn_factors *f);

/* What is added to the rows of node i of a fused graph by an adapter. */
struct cpu_addition {
    struct cpu_factors *of;
    struct cpu_factor *factor;
    int row, rows;
    float strength; /* not 0 */
};

/* Whether node i of g gets anything in this run of the plan, and what adapter number k adds to it;
 * factor is NULL when that is nothing. */
bool cpu_adapts(const struct cn_plan *p, const struct cn_graph *g, int i);
struct cpu_addition cpu_addition(const struct cn_plan *p, const struct cn_graph *g, int i, int k);

#endif
