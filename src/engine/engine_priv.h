/* What the files of src/engine share. */
#ifndef CN_ENGINE_ENGINE_PRIV_H
#define CN_ENGINE_ENGINE_PRIV_H

#include "backend/backend.h"
#include "engine/engine.h"
#include "engine/param_reader.h"
#include "model/unet.h"
#include "text/tokenizer.h"

/* A compiled graph; the graph stays for the description of its inputs and outputs. */
struct cn_plan_entry {
    struct cn_graph *g;
    struct cn_plan *plan;
    int pins; /* uses that go beyond the call that asked for it: it is not dropped */
};

enum { CN_MAX_PLANS = 32 };

/* One network's parameters, and plans by a key that says their sizes; of these the least recently
 * used goes first. weights NULL: not loaded. */
struct cn_network {
    struct cn_param_reader source;
    struct cn_weights *weights;
    bool layouts_fixed; /* forms of the parameters are decided: cn_weights_settle */
    struct cn_plan_slot {
        char key[64];
        struct cn_plan_entry compiled; /* plan NULL: free */
        uint64_t used;
    } slot[CN_MAX_PLANS];
};

enum { CN_MAX_LATENT_CHANNELS = 64 };

/* A linear guess at the colours of a latent, for previews. */
struct cn_rgb_map {
    bool made, usable;
    int channels;
    float weight[3][CN_MAX_LATENT_CHANNELS + 1]; /* the last one is added */
};

struct cn_model {
    char *name, *path, *broken;
    struct cn_checkpoint *checkpoint;
    bool control;
    struct cn_tokenizer *tokenizer;
    struct cn_network text, unet, vae; /* of a base model */
    struct cn_rgb_map rgb;
    /* A ControlNet; a difference net has one network for each base it was used with. */
    struct cn_control_net {
        const struct cn_model *base; /* NULL unless a difference net */
        struct cn_network net;
    } * nets;
    int n_nets;
    int users;             /* jobs that it must stay for */
    uint64_t used;         /* of the engine's clock */
    size_t reported_bytes; /* bytes, as hooks.model was told last */
    size_t peak_bytes;     /* bytes when it was resident the last time; 0: never */
};

struct cn_job;
struct cn_lane;
struct cn_batcher;
struct cn_helpers;

struct cn_engine {
    struct cn_backend *backend;
    struct cn_engine_opts opts;
    struct cn_model **model;
    int n_models;
    size_t models_cap;
    const struct cn_model *chosen; /* the default, or NULL */
    uint64_t clock;                /* of use: plans, models, groups */
    uint64_t serial;               /* of jobs and lanes */
    struct cn_helpers *helpers;    /* NULL until the first job */
    struct cn_job *jobs;           /* in the order in which they came */
    struct cn_lane *lanes;         /* in the order in which they started */
    int n_lanes;
    bool work_pending; /* a turn may find something to do */
    bool best_batch;   /* the size of batches goes by that of the images */
    struct cn_batcher *groups;
    double now;     /* virtual time: step_loop.c */
    double step_ms; /* what the last step took */
    float *work;    /* host side of a step's inputs and outputs */
    size_t work_n;
};

/* network.c. The compiled plan belongs to the cache; it stays at least until CN_MAX_PLANS others of
 * the same network were used after it. build(arg) makes the graph when it is not there. */
typedef struct cn_graph *(*cn_build_fn)(const void *arg);
int cn_network_open(struct cn_engine *e, struct cn_network *n,
                    const struct cn_checkpoint *checkpoint, enum cn_component component,
                    const struct cn_checkpoint *base, struct cn_err *err);
void cn_network_close(struct cn_network *n);
/* Drops the plans that are not pinned; weights stay. */
void cn_network_evict_plans(struct cn_network *n);
size_t cn_network_bytes(const struct cn_network *n);
/* Before the first plan: build(arg) makes the network at its model's own size. */
void cn_network_fix_layouts(struct cn_network *n, cn_build_fn build, const void *arg);
/* flags: cn_plan_flags */
int cn_network_plan(struct cn_engine *e, struct cn_network *n, const char *key, int flags,
                    cn_build_fn build, const void *arg, struct cn_plan_entry **ret,
                    struct cn_err *err);

/* registry.c */
struct cn_model *cn_engine_find(const struct cn_engine *e, const char *name);
/* Tokenizer and weight stores of a base model; nothing is read from the weights yet. */
int cn_model_open(struct cn_engine *e, struct cn_model *m, struct cn_err *err);
int cn_model_control(struct cn_engine *e, struct cn_model *m, const struct cn_model *base,
                     struct cn_network **ret, struct cn_err *err);
void cn_model_close(struct cn_model *m); /* what was loaded; it can be opened again */
void cn_model_free(struct cn_model *m);

/* step_loop.c: without a word, also to callbacks. */
void cn_engine_drop_jobs(struct cn_engine *e);

/* residency.c: which models are resident. */
bool cn_model_loaded(const struct cn_model *m);
size_t cn_model_bytes(const struct cn_model *m);
/* Unloads what no job uses, oldest first, until the job's models fit into the budget. CN_EBUSY:
 * they will when other jobs are over. CN_EDEVMEM: they never will. */
int cn_engine_make_room(struct cn_engine *e, const struct cn_job *j, struct cn_err *err);
/* Unloads what no job uses, oldest first, while more is resident than the budget allows. */
void cn_engine_trim(struct cn_engine *e);
/* The job's models must stay, or need not any more. */
void cn_engine_pin(struct cn_engine *e, struct cn_job *j);
void cn_engine_unpin(struct cn_engine *e, struct cn_job *j);
/* Images of this size that may take a step together. engine.c */
int cn_engine_batch(const struct cn_engine *e, int width, int height);

/* Tells hooks.model what changed. */
void cn_engine_tell_models(struct cn_engine *e);
/* After a lack of memory: drops idle groups, plans, and models that no job uses. */
void cn_engine_drop_caches(struct cn_engine *e);

#endif
