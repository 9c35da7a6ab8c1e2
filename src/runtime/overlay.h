/* A base model under adapters: networks that share every weight with the base's but those that the
 * adapters change.
 *
 * The base is never touched. What a combination of adapters and strengths changes is computed when
 * the first plan that needs it is compiled, once, and held like a model's weights: under the memory
 * budget, least recently used first (residency.c). Jobs with the same combination share it, and so
 * share steps. A network that no adapter changes is the base's own.
 *
 * Adapters apply in their order: each sees what the one before it made (forms that multiply do not
 * commute). Jobs with low-rank adapters need none of this (adapted.h). Owning worker.
 *
 *     o = cn_overlay_get(rt, base, &use, &fitted, 1);    -- the caller holds it
 *     if (cn_overlay_open(o, err) < 0) ...                             -- the base is open
 *     net = cn_overlay_unet(o);
 *     cn_overlay_let_go(o);
 */
#ifndef CN_RUNTIME_OVERLAY_H
#define CN_RUNTIME_OVERLAY_H

#include "runtime/fitted.h"

/* One of its adapters, with the strengths of a request. */
struct cn_overlay_adapter {
    struct cn_fitted *of; /* held */
    struct cn_adapter_use use; /* entry is NULL: the list of adapters moves */
};

struct cn_overlay_part; /* the parameters of one network: overlay.c */

struct cn_overlay {
    struct cn_model *base;
    struct cn_overlay_adapter *adapter;
    int n;
    struct cn_overlay_part *part[CN_COMP_COUNT]; /* NULL: nothing of it changes */
    struct cn_network net[CN_COMP_COUNT];
    size_t elements; /* of all that it changes */
    int holders;     /* jobs that know it */
    int users;       /* jobs that it must stay loaded for */
    uint64_t used;   /* of the runtime's clock */
};

/* The base under these adapters of this base, use[i] of of[i]: found among those that are there, or
 * a new one; nothing is computed. The caller holds it. */
struct cn_overlay *cn_overlay_get(struct cn_runtime *rt, struct cn_model *base,
                                  const struct cn_adapter_use *use, struct cn_fitted *const *of,
                                  int n);
void cn_overlay_hold(struct cn_overlay *o);
void cn_overlay_let_go(struct cn_overlay *o);

/* The base is open, and its layouts are fixed. */
int cn_overlay_open(struct cn_overlay *o, struct cn_err *err);
/* Gives up what was computed. */
void cn_overlay_close(struct cn_overlay *o);
/* After those who know its networks have forgotten them. */
void cn_overlay_free(struct cn_overlay *o);
void cn_overlay_evict_plans(struct cn_overlay *o);

bool cn_overlay_loaded(const struct cn_overlay *o);
size_t cn_overlay_bytes(const struct cn_overlay *o);
/* Bytes that it will have about, when it is opened. */
size_t cn_overlay_bytes_to_come(const struct cn_overlay *o);

/* Its network for a component, or the base's. */
struct cn_network *cn_overlay_net(struct cn_overlay *o, enum cn_component comp);

#endif
