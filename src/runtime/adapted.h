/* A base model as one job's adapters leave it. Those that only add low-rank products are rows'
 * (fitted.h): the networks stay the base's, and a batch holds jobs with any of them. The others
 * together are an overlay (overlay.h), on which the rows' add as well.
 *
 * Which way an adapter goes never changes what it does. Products that are added do not see the
 * weights, so an adapter goes by rows unless one behind it in the list multiplies weights (OFT,
 * DoRA, ...), which must see what it added. On a device whose backend has no factors all go by the
 * overlay. Owning worker; one job's.
 *
 *     if (cn_adapted_new(rt, base, use, n, &a, &bad, err) < 0) ...
 *     cn_adapted_pin(rt, a);
 *     if (cn_adapted_open(a, err) < 0) ...          -- the base is open, its layouts are fixed
 *     net = cn_adapted_net(a, CN_COMP_UNET);
 *     k = cn_adapted_rows(a, CN_COMP_UNET, 0, 2, list);  -- for cn_plan_run_adapted()
 *     cn_adapted_unpin(rt, a);
 *     cn_adapted_free(a);
 */
#ifndef CN_RUNTIME_ADAPTED_H
#define CN_RUNTIME_ADAPTED_H

#include "runtime/fitted.h"
#include "runtime/overlay.h"

struct cn_adapted {
    struct cn_model *base;
    struct cn_adapted_one {
        struct cn_fitted *of; /* held */
        bool by_rows;
        float *strength[CN_COMP_COUNT]; /* by_rows: of each entry; NULL: it adds nothing there */
    } *adapter;                         /* in the job's order */
    int n;
    struct cn_overlay *overlay; /* held; NULL: all go by rows */
};

/* *ret_bad: on failure, which of them is at fault; errors are those of cn_fitted_get(). */
int cn_adapted_new(struct cn_runtime *rt, struct cn_model *base, const struct cn_adapter_use *use,
                   int n, struct cn_adapted **ret, int *ret_bad, struct cn_err *err);
void cn_adapted_free(struct cn_adapted *a); /* NULL is fine */

/* What is pinned stays loaded. NULL is fine. */
void cn_adapted_pin(struct cn_runtime *rt, struct cn_adapted *a);
void cn_adapted_unpin(struct cn_runtime *rt, struct cn_adapted *a);
int cn_adapted_open(struct cn_adapted *a, struct cn_err *err);
/* Memory that it has, and that it will have beside this about when it is opened. */
size_t cn_adapted_bytes(const struct cn_adapted *a);
size_t cn_adapted_bytes_to_come(const struct cn_adapted *a);
bool cn_adapted_needs(const struct cn_adapted *a, const struct cn_fitted *f);

/* Its network for a component, or the base's. */
struct cn_network *cn_adapted_net(struct cn_adapted *a, enum cn_component comp);
/* What its adapters add to rows [row, row + rows) of a run of that network: at most a->n entries;
 * returns how many. a NULL: none. */
int cn_adapted_rows(const struct cn_adapted *a, enum cn_component comp, int row, int rows,
                    struct cn_row_adapter *ret);

#endif
