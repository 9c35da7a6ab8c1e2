/* The weights of one network, and a cache of its plans by a key that says their sizes.
 *
 * Owning worker. A network starts as zeros; it is loaded when weights is set.
 */
#ifndef CN_RUNTIME_NETWORK_H
#define CN_RUNTIME_NETWORK_H

#include "backend/backend.h"
#include "runtime/param_reader.h"

/* A compiled graph; the graph stays for the description of its inputs and outputs. */
struct cn_plan_entry {
    struct cn_graph *g;
    struct cn_plan *plan;
    struct cn_backend *backend;
    enum cn_dtype dtype; /* of the network when it was compiled */
    int pins;            /* uses that go beyond the call that asked for it: it is not dropped */
    bool stays;          /* at rest: it is of the model's own size, or of none */
};

enum { CN_MAX_PLANS = 32 };

struct cn_network {
    struct cn_backend *backend;
    struct cn_param_reader params;
    struct cn_weights *weights; /* NULL: not loaded */
    enum cn_dtype dtype;        /* in which plans store values; CN_DTYPE_COUNT: the backend's own */
    bool layouts_fixed;         /* cn_network_fix_layouts() was called */
    int own_latent, own_pixels; /* its model's own size then, a square; 0: not known */
    uint64_t clock;             /* of uses of plans */
    struct cn_plan_slot {
        char key[64];
        struct cn_plan_entry entry; /* plan NULL: free */
        uint64_t used;
    } slot[CN_MAX_PLANS];
};

/* Does nothing when it is loaded. base: the checkpoint that a difference ControlNet adds to. Plans
 * store values in the backend's own type until dtype is changed; those of the old type stay. */
int cn_network_open(struct cn_network *n, struct cn_backend *backend,
                    const struct cn_checkpoint *checkpoint, enum cn_component component,
                    const struct cn_checkpoint *base, struct cn_err *err);
/* The same with parameters from anywhere; they outlive the network. */
int cn_network_open_params(struct cn_network *n, struct cn_backend *backend,
                           const struct cn_param_source *params, struct cn_err *err);
/* A network that differs from `under` in the parameters that params->changes() says, and shares the
 * others with it; `under` is open, its layouts are fixed, and it stays open longer. */
int cn_network_open_over(struct cn_network *n, const struct cn_network *under,
                         const struct cn_param_source *params, struct cn_err *err);
void cn_network_close(struct cn_network *n);
/* Drops the plans that are not pinned; weights stay. */
void cn_network_evict_plans(struct cn_network *n);
/* Drops the plans that are neither pinned nor marked to stay, and the layouts of parameters that
 * only they used. What comes again is made again: results are the same to the last bit. */
void cn_network_rest(struct cn_network *n);
int cn_network_plan_count(const struct cn_network *n);
size_t cn_network_bytes(const struct cn_network *n);

typedef struct cn_graph *(*cn_build_fn)(const void *arg);
/* Before the first plan: build(arg) makes the network at its model's own size. */
void cn_network_fix_layouts(struct cn_network *n, cn_build_fn build, const void *arg);
/* build(arg) makes the graph when there is no plan of this key. The entry belongs to the cache; it
 * stays at least until CN_MAX_PLANS others of the same network were used after it. flags:
 * cn_plan_flags */
int cn_network_plan(struct cn_network *n, const char *key, int flags, cn_build_fn build,
                    const void *arg, struct cn_plan_entry **ret, struct cn_err *err);

#endif
