/* What the files of src/engine share. */
#ifndef CN_ENGINE_ENGINE_PRIV_H
#define CN_ENGINE_ENGINE_PRIV_H

#include "backend/backend.h"
#include "engine/engine.h"
#include "engine/source.h"
#include "model/unet.h"
#include "text/tokenizer.h"

/* A compiled graph; the graph stays for the description of its inputs and outputs. */
struct cn_compiled {
    struct cn_graph *g;
    struct cn_plan *plan;
};

enum { CN_MAX_PLANS = 32 };

/* Plans of one network, by a key that says their sizes; the least recently used goes first. */
struct cn_plan_cache {
    struct cn_plan_slot {
        char key[64];
        struct cn_compiled compiled;
        uint64_t used;
    } slot[CN_MAX_PLANS];
    int n;
};

/* One network's parameters and plans. weights NULL: not loaded. */
struct cn_network {
    struct cn_source source;
    struct cn_weights *weights;
    bool settled; /* forms of the parameters are decided: cn_weights_settle */
    struct cn_plan_cache plans;
};

struct cn_model {
    char *name, *path, *broken;
    struct cn_checkpoint *checkpoint;
    bool control;
    struct cn_tokenizer *tokenizer;
    struct cn_network text, unet, vae; /* of a base model */
    /* A ControlNet; a difference net has one network for each base it was used with. */
    struct cn_control_net {
        const struct cn_model *base; /* NULL unless a difference net */
        struct cn_network net;
    } *nets;
    int n_nets;
};

struct cn_engine {
    struct cn_backend *backend;
    struct cn_engine_opts opts;
    struct cn_model **model;
    int n_models;
    size_t models_cap;
    const struct cn_model *chosen; /* the default, or NULL */
    uint64_t clock;                /* of plan use */
};

/* network.c. The compiled plan belongs to the cache; it stays at least until CN_MAX_PLANS others of
 * the same network were used after it. build(arg) makes the graph when it is not there. */
typedef struct cn_graph *(*cn_build_fn)(const void *arg);
int cn_network_open(struct cn_engine *e, struct cn_network *n,
                    const struct cn_checkpoint *checkpoint, enum cn_component component,
                    const struct cn_checkpoint *base, struct cn_err *err);
void cn_network_close(struct cn_network *n);
/* Before the first plan: build(arg) makes the network at its model's own size. */
void cn_network_settle(struct cn_network *n, cn_build_fn build, const void *arg);
int cn_network_plan(struct cn_engine *e, struct cn_network *n, const char *key, cn_build_fn build,
                    const void *arg, const struct cn_compiled **ret, struct cn_err *err);

/* registry.c */
struct cn_model *cn_engine_find(const struct cn_engine *e, const char *name);
/* Tokenizer and weight stores of a base model; nothing is read from the weights yet. */
int cn_model_open(struct cn_engine *e, struct cn_model *m, struct cn_err *err);
int cn_model_control(struct cn_engine *e, struct cn_model *m, const struct cn_model *base,
                     struct cn_network **ret, struct cn_err *err);
void cn_model_free(struct cn_model *m);

#endif
