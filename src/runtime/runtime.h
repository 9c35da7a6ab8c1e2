/* What is there before the first job: one device, the models that were found, and which of them are
 * resident on it. It knows no job.
 *
 * Owning worker. Files: file_name, param_reader (tensors of a checkpoint), network (weights and
 * plans), model, plans (graphs by their sizes), embeddings (words that are vectors), token_rows
 * (what a text encoder is given), registry (the list of models), residency (the memory budget).
 *
 *     struct cn_runtime rt = {.backend = backend};
 *     cn_runtime_scan(&rt, "models", &err);
 *     struct cn_model *m = cn_runtime_find(&rt, "emoji");
 *     cn_model_open(m, rt.backend, &err);
 *     cn_plan_for_unet(m, &size, &plan, &err);
 *     cn_runtime_release(&rt);
 */
#ifndef CN_RUNTIME_RUNTIME_H
#define CN_RUNTIME_RUNTIME_H

#include "runtime/embeddings.h"
#include "runtime/model.h"

struct cn_runtime {
    struct cn_backend *backend; /* the caller's */
    size_t memory;              /* bytes of models that may be resident; 0: no limit */
    /* May be NULL. A model was loaded (or grew), or unloaded. bytes: resident. */
    void (*model_hook)(void *ctx, const char *name, bool loaded, size_t bytes);
    void *hook_ctx;
    struct cn_model **model;
    int n_models;
    size_t models_cap;
    const struct cn_model *chosen; /* the default, or NULL */
    struct cn_embeddings embeddings;
    uint64_t clock;                /* of uses of models */
};

/* ---- registry.c ---- */

/* What a person or a server lists. Strings belong to the model. */
struct cn_model_facts {
    const char *name, *path;
    bool control;               /* a ControlNet; otherwise a base model */
    char family[64];            /* models of one family fit together */
    int width, height;          /* the model's own size; 0 for a ControlNet */
    int multiple;               /* sides must be multiples of this */
    uint64_t parameters, bytes; /* elements; bytes on disk */
    double guidance;            /* guidance_scale where a request names none; 0: no wish */
    bool loaded;
    size_t resident;    /* bytes held */
    const char *broken; /* why it cannot be used, or NULL */
};

/* Adds every model in a directory of models: diffusers directories and files of weights. A model
 * that cannot be opened is listed as broken. CN_ENOTFOUND when there is no such directory. */
int cn_runtime_scan(struct cn_runtime *rt, const char *dir, struct cn_err *err);
/* Adds one model by its path, under its file name. */
int cn_runtime_add(struct cn_runtime *rt, const char *path, struct cn_err *err);
struct cn_model *cn_runtime_find(const struct cn_runtime *rt, const char *name);
void cn_model_describe(const struct cn_model *m, struct cn_model_facts *ret);
/* The base model that "" means: the first one, unless set. */
int cn_runtime_set_default(struct cn_runtime *rt, const char *name, struct cn_err *err);
const char *cn_runtime_default(const struct cn_runtime *rt); /* NULL: there is no base model */
/* Frees the models and the embeddings. */
void cn_runtime_release(struct cn_runtime *rt);

/* ---- residency.c ---- */

size_t cn_runtime_bytes(const struct cn_runtime *rt); /* of all models */
/* Unloads what nobody pins, oldest first, until the n models fit into the budget; one may be named
 * twice. CN_EBUSY: they will when others are unpinned. CN_EDEVMEM: they never will. */
int cn_runtime_make_room(struct cn_runtime *rt, struct cn_model *const *model, int n,
                         struct cn_err *err);
/* Unloads what nobody pins, oldest first, while more is resident than the budget allows. */
void cn_runtime_trim(struct cn_runtime *rt);
/* Pinned models stay resident. One may be pinned many times. */
void cn_runtime_pin(struct cn_runtime *rt, struct cn_model *m);
void cn_runtime_unpin(struct cn_runtime *rt, struct cn_model *m);
/* Gives up everything that was loaded of a model. CN_EBUSY while it is pinned. */
int cn_runtime_unload(struct cn_runtime *rt, const char *name, struct cn_err *err);
/* After a lack of memory: unloads what nobody pins, and drops plans. */
void cn_runtime_drop_caches(struct cn_runtime *rt);
/* Tells the hook what changed since it was told last. */
void cn_runtime_tell_models(struct cn_runtime *rt);

#endif
