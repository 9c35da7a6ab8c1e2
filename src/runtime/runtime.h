/* What is there before the first job: one device, the models that were found, and which of them are
 * resident on it. It knows no job.
 *
 * Owning worker. Files: file_name, param_reader (tensors of a checkpoint), network (weights and
 * plans), model, plans (graphs by their sizes), embeddings (words that are vectors), token_rows
 * (what a text encoder is given), adapters (the list of them), adapter_fit, adapter_math and
 * adapter_match (what they change), fitted (an adapter and a base model), overlay (a model with
 * weights that adapters changed), adapted (a model under a job's adapters), version (whether files
 * have changed), registry (the list of models, and how it follows the directories), residency (the
 * memory budget).
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

#include "runtime/adapters.h"
#include "runtime/embeddings.h"
#include "runtime/model.h"

enum cn_model_change { CN_MODEL_ADDED, CN_MODEL_CHANGED, CN_MODEL_REMOVED };

/* Something in a directory of models that is no model of the list. */
struct cn_passed {
    char *name; /* of the file or directory, printable */
    char *why;
};

/* Where models are looked for. */
struct cn_source {
    char *path;
    bool folder; /* of models; else one model */
};

struct cn_adapted;
struct cn_fitted;
struct cn_overlay;

struct cn_runtime {
    struct cn_backend *backend; /* the caller's */
    size_t memory;              /* bytes of models that may be resident; 0: no limit */
    enum cn_ema_choice ema;     /* of models that are scanned for and added from now on */
    /* May be NULL. A model was loaded (or grew), or unloaded. bytes: resident. */
    void (*model_hook)(void *ctx, const char *name, bool loaded, size_t bytes);
    /* May be NULL. cn_runtime_refresh found it so. */
    void (*change_hook)(void *ctx, const char *name, enum cn_model_change what);
    void *hook_ctx;
    /* n_models that are listed, and behind them n_retired that are not any more: versions whose
     * files were replaced or removed, which stay for the jobs that have them. */
    struct cn_model **model;
    int n_models, n_retired;
    size_t models_cap;
    struct cn_source *source;
    size_t n_sources, sources_cap;
    struct cn_passed *passed;
    size_t n_passed, passed_cap;
    char *chosen; /* the name of the default, or NULL */
    struct cn_embeddings embeddings;
    struct cn_adapters adapters;
    struct cn_overlay **overlay; /* base models under adapters (overlay.h): loaded, or held */
    size_t n_overlays, overlays_cap;
    struct cn_fitted **fitted; /* adapters held against base models (fitted.h): loaded, or held */
    size_t n_fitted, fitted_cap;
    uint64_t clock; /* of uses of models, overlays and adapters */
};

/* ---- registry.c ---- */

/* What a person or a server lists. Strings belong to the model. */
struct cn_model_facts {
    const char *name, *path;
    enum cn_model_role role;
    char family[64];            /* models of one family fit together */
    int width, height;          /* a base model's own size, or 0 */
    int multiple;               /* sides must be multiples of this; 0 for a ControlNet */
    int latent_channels;        /* of the autoencoder; 0 for a ControlNet */
    uint64_t parameters, bytes; /* elements; bytes on disk */
    double guidance;            /* guidance_scale where a request names none; 0: no wish */
    bool tiny_decoder;          /* base: the engine's tiny autoencoder fits */
    bool loaded;
    size_t resident;    /* bytes held */
    const char *broken; /* why it cannot be used, or NULL */
};

/* Adds every model in a directory of models: diffusers directories and files of weights. A model
 * that cannot be opened is listed as broken. CN_ENOTFOUND when there is no such directory. */
int cn_runtime_scan(struct cn_runtime *rt, const char *dir, struct cn_err *err);
/* Adds one model by its path, under its file name. */
int cn_runtime_add(struct cn_runtime *rt, const char *path, struct cn_err *err);
/* Looks again wherever models were scanned for and added: new ones are listed, those whose files
 * are gone are not any more, and one whose files have changed (or that was broken) is opened anew
 * and is another model of the same name. Models that jobs hold stay as they are for these. So with
 * embeddings and adapters. */
struct cn_model_changes {
    int added, changed, removed; /* models */
    bool embeddings;             /* one of them is new, changed or gone */
    bool adapters;               /* likewise */
};
struct cn_model_changes cn_runtime_refresh(struct cn_runtime *rt);
/* A job holds the model: it is not freed, whatever becomes of its files. */
void cn_runtime_hold(struct cn_model *m);
void cn_runtime_let_go(struct cn_model *m);
/* The autoencoder of a request that names one: CN_ENOTFOUND, CN_EFORMAT, or CN_EINVAL when its
 * latents are not those of the base model; at "/vae". "" is the base model itself. */
int cn_runtime_find_vae(const struct cn_runtime *rt, const char *name, struct cn_model *base,
                        struct cn_model **ret, struct cn_err *err);
struct cn_model *cn_runtime_find(const struct cn_runtime *rt, const char *name);
void cn_model_describe(const struct cn_model *m, struct cn_model_facts *ret);
/* The base model that "" means: the first one, unless set; also when the one that was set is not
 * there any more. */
int cn_runtime_set_default(struct cn_runtime *rt, const char *name, struct cn_err *err);
const char *cn_runtime_default(const struct cn_runtime *rt); /* NULL: there is no base model */
/* Frees the models, the embeddings and the list of adapters. */
void cn_runtime_release(struct cn_runtime *rt);

/* ---- residency.c ---- */

/* What nobody uses and stays loaded for the next who wants it, budget or not: overlays, each of
 * which may be as large as its base, and adapters' factors. */
enum { CN_IDLE_OVERLAYS = 4, CN_IDLE_ADAPTERS = 16 };

/* Of all models, overlays and adapters. */
size_t cn_runtime_bytes(const struct cn_runtime *rt);
/* Unloads what nobody pins, adapters and overlays before models and the oldest first, until the n
 * models and a job's adapters (may be NULL) fit into the budget; one model may be named twice.
 * CN_EBUSY: they will when others are unpinned. CN_EDEVMEM: they never will. */
int cn_runtime_make_room(struct cn_runtime *rt, struct cn_model *const *model, int n,
                         const struct cn_adapted *adapted, struct cn_err *err);
/* Unloads what nobody pins, oldest first, while more is resident than the budget allows. */
void cn_runtime_trim(struct cn_runtime *rt);
/* Pinned models stay resident. One may be pinned many times. */
void cn_runtime_pin(struct cn_runtime *rt, struct cn_model *m);
void cn_runtime_unpin(struct cn_runtime *rt, struct cn_model *m);
/* Frees the overlays and adapters that nobody holds and that are not loaded; nothing else knows the
 * overlays' networks. */
void cn_runtime_free_overlays(struct cn_runtime *rt);
/* Gives up everything that was loaded of a model, and of adapters on it. CN_EBUSY while it is
 * pinned. */
int cn_runtime_unload(struct cn_runtime *rt, const char *name, struct cn_err *err);
/* Models that are not listed any more and that nobody holds: gives up what was loaded of them, and
 * says whether there are any; and then, when nothing else knows them, frees them. */
bool cn_runtime_close_retired(struct cn_runtime *rt);
void cn_runtime_free_retired(struct cn_runtime *rt);
/* After a lack of memory: unloads what nobody pins, and drops plans. */
void cn_runtime_drop_caches(struct cn_runtime *rt);
/* Nothing was to do for a while: plans and layouts of parameters that belong only to sizes other
 * than the models' own go, on backends whose weights lie in this process's memory. Elsewhere a plan
 * costs seconds to make. */
void cn_runtime_rest(struct cn_runtime *rt);
/* Tells the hook what changed since it was told last. */
void cn_runtime_tell_models(struct cn_runtime *rt);

#endif
