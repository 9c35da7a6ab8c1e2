/* A base model under adapters: networks that share every weight with the base's but those that the
 * adapters change.
 *
 * The base is never touched. What a combination of adapters and strengths changes is computed when
 * the first plan that needs it is compiled, once, and held like a model's weights: under the memory
 * budget, least recently used first (residency.c). Jobs with the same combination share it, and so
 * share steps. A network that no adapter changes is the base's own.
 *
 * Adapters apply in their order: each sees what the one before it made (forms that multiply do not
 * commute). Their files stay open as long as the overlay. Owning worker.
 *
 *     struct cn_adapter_use use = CN_ADAPTER_USE(entry);
 *     if (cn_overlay_get(rt, base, &use, 1, &o, &bad, err) < 0) ...    -- the caller holds it
 *     if (cn_overlay_open(o, err) < 0) ...                             -- the base is open
 *     net = cn_overlay_unet(o);
 *     cn_overlay_let_go(o);
 */
#ifndef CN_RUNTIME_OVERLAY_H
#define CN_RUNTIME_OVERLAY_H

#include "runtime/adapter_match.h"
#include "runtime/runtime.h"

/* One adapter of a request. */
struct cn_adapter_use {
    const struct cn_adapter_entry *entry;
    double unet, text;             /* strengths of the networks' parts */
    double block[CN_LAYER_BLOCKS]; /* factors of them: [0] the text's, then as cn_adapter_pair */
};

/* What has become of it. */
struct cn_overlay_adapter {
    char *name, *path;
    uint64_t version;
    struct cn_adapter_use use; /* entry is NULL: the list of adapters moves */
    struct cn_adapter *file;
    struct cn_adapter_match match;
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

/* The base under these adapters, all of which can be used: found among those that are there, or a
 * new one; nothing is computed. The caller holds it. CN_EINVAL: adapter *ret_bad is for other
 * models; CN_EFORMAT, CN_EIO: its file cannot be read. */
int cn_overlay_get(struct cn_runtime *rt, struct cn_model *base, const struct cn_adapter_use *use,
                   int n, struct cn_overlay **ret, int *ret_bad, struct cn_err *err);
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
