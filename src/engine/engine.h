/* The engine: models resident on one device, and the jobs that are drawn with them, many at once.
 *
 * Owned by one thread, the worker's (or the command line's): every function here is called on it.
 * Threads of the engine's own help: one reads the pictures of a request, one decodes finished
 * images, a few make files of them. Callbacks say on which thread they run.
 *
 *     struct cn_engine_opts opts = CN_ENGINE_DEFAULTS;
 *     struct cn_engine *e;
 *     cn_engine_new(&opts, &e, &err);
 *     cn_engine_scan(e, "models", &err);               -- names; opens headers, loads no weights
 *     cn_engine_begin(e, &spec, &cb, &err);            -- any number of jobs, at any time
 *     while (cn_engine_busy(e))
 *         cn_engine_step(e, &err);                     -- one step; cb.end() when a job is over
 *     cn_engine_run(e, &spec, &cb, &err);              -- or one job from beginning to end
 *     cn_engine_free(e);
 */
#ifndef CN_ENGINE_ENGINE_H
#define CN_ENGINE_ENGINE_H

#include "base/buf.h"
#include "base/dtype.h"
#include "base/spec.h"
#include "base/warnings.h"
#include "image/annotate.h"
#include "image/image.h"
#include "runtime/runtime.h"

/* What happens in the engine as a whole. All may be NULL. */
struct cn_engine_hooks {
    void *ctx;
    /* Any thread: there is something to do again for cn_engine_step(). Must not call the engine. */
    void (*wake)(void *ctx);
    /* The owner's thread, after each step: images in progress, images in this step, its time. */
    void (*step_stats)(void *ctx, int lanes, int images, double ms);
    /* The owner's thread: a model was loaded (or grew), or unloaded. bytes: resident. */
    void (*model)(void *ctx, const char *name, bool loaded, size_t bytes);
    /* The reading thread: cn_image_decode() with its default limits, done elsewhere. NULL: here. */
    int (*decode)(void *ctx, const void *data, size_t len, struct cn_image *ret,
                  struct cn_err *err);
    /* The owner's thread, inside cn_engine_refresh(). */
    void (*change)(void *ctx, const char *name, enum cn_model_change what);
};

/* Images that one step can draw together: powers of two, so that plans are few. */
enum { CN_ENGINE_MAX_FILE = 64 << 20 }; /* bytes of one encoded picture */

enum { CN_ENGINE_MAX_BATCH = 8, CN_ENGINE_MAX_LANES = 64 };
#define CN_ENGINE_VAE_MEMORY ((size_t)4 << 30) /* SD's: pictures beyond 1182 x 1182 */

struct cn_engine_opts {
    const char *backend;   /* "auto", or as cn_backend_list() says */
    int threads;           /* 0: all processors */
    double winograd_ratio; /* extra weight memory for speed: backend.h */
    bool profile;
    int max_batch;       /* images in one step, at most: rounded down to 1, 2, 4 or 8; 0: what was
                            measured to be best for the backend and the images' size */
    bool mix_controls;   /* a step may hold images on which not the same ControlNets act: on a GPU
                            it always does, processors lose more than the larger batch gains */
    int lanes;           /* images in progress; each job may have one beyond it */
    size_t memory;       /* bytes of models that may be resident; 0: no limit */
    size_t vae_memory;   /* working memory of the autoencoder above which it goes through a picture
                            in bands of rows; 0: CN_ENGINE_VAE_MEMORY on processors, and on other
                            devices only when there is no room */
    enum cn_ema_choice ema; /* whether models' averages of their training's weights count */
    const char *taesd;   /* file of a tiny autoencoder, which makes the previews; NULL: none */
    enum cn_dtype dtype; /* of values, where the backend has a choice; CN_DTYPE_COUNT: its best */
    int device;          /* which, of several */
    bool first_choice;   /* take the algorithms that libraries propose, without timing them */
    struct cn_engine_hooks hooks;
};

#define CN_ENGINE_DEFAULTS                                                                         \
    {                                                                                              \
        .backend = "auto", .threads = 0, .winograd_ratio = 0.35, .profile = false, .max_batch = 0, \
        .mix_controls = false, .lanes = 8, .memory = 0, .dtype = CN_DTYPE_COUNT                    \
    }

/* What makes a control's hint of its picture: one of function and graph. */
struct cn_engine_annotator {
    const char *name, *help;             /* these and what is below live as long as the engine */
    const struct cn_annotator *function; /* of pixels */
    /* A network: one input [1, 3, height, width] in [0,1], and one output like it. */
    struct cn_graph *(*graph)(int height, int width);
    const struct cn_param_source *params;
};

enum cn_engine_stage {
    CN_ENGINE_LOAD,    /* weights from disk, plans compiled */
    CN_ENGINE_DECODE,  /* control and initial images: files to pixels */
    CN_ENGINE_PREPARE, /* resize, annotators */
    CN_ENGINE_TEXT,    /* text encoder, context and time projections */
    CN_ENGINE_HINT,    /* hint encoders */
    CN_ENGINE_CONTROL, /* ControlNets, all steps */
    CN_ENGINE_UNET,    /* UNet, guidance and sampler, all steps */
    CN_ENGINE_VAE,
    CN_ENGINE_STAGE_COUNT
};

const char *cn_engine_stage_name(enum cn_engine_stage stage);

/* One finished picture; the pixels stay the engine's and live until the callback returns. */
struct cn_engine_image {
    const struct cn_image *image;
    int index;
    uint64_t seed;
    struct cn_buf *file; /* for encode() to write and image() to read; NULL in a preview */
};

/* What a job tells. All may be NULL. Unless said otherwise they run on the owner's thread, inside
 * cn_engine_step(), and must not call the engine. */
struct cn_engine_cb {
    void *ctx;
    bool (*cancelled)(void *ctx); /* any thread */
    void (*progress)(void *ctx, int image, int step, int steps);
    /* Something of the request has less effect than was asked for. field: a JSON pointer. */
    void (*warning)(void *ctx, enum cn_warning_code code, const char *field, const char *text);
    /* A small, rough picture of what an image becomes; only when spec->preview_every asks. */
    void (*preview)(void *ctx, const struct cn_engine_image *m, int step);
    /* On any of a few threads, several images at a time, beside all other callbacks: makes m->file.
     * May be NULL. */
    int (*encode)(void *ctx, const struct cn_engine_image *m, struct cn_err *err);
    /* On one of the same threads, beside all other callbacks but one image of the engine at a time,
     * in the order in which they were decoded; after its encode(). */
    int (*image)(void *ctx, const struct cn_engine_image *m, struct cn_err *err);
    void (*stage)(void *ctx, enum cn_engine_stage stage, double ms); /* just before end */
    /* Before progress(): the job's share of what the networks took in this step. */
    void (*step)(void *ctx, double control_ms, double unet_ms);
    /* The last one. err is CN_OK's when rc is; spec and ctx are not used afterwards. */
    void (*end)(void *ctx, int rc, const struct cn_err *err);
};

struct cn_engine;

int cn_engine_new(const struct cn_engine_opts *opts, struct cn_engine **ret, struct cn_err *err);
/* Jobs that are not over are dropped without a word. */
void cn_engine_free(struct cn_engine *e);
const char *cn_engine_backend(const struct cn_engine *e);
const char *cn_engine_device(const struct cn_engine *e); /* for people; "" for the processor */
const struct cn_engine_opts *cn_engine_options(const struct cn_engine *e); /* as they act */

/* Adds every model in a directory of models: diffusers directories and files of weights. A model
 * that cannot be opened is listed as broken. CN_ENOTFOUND when there is no such directory. */
int cn_engine_scan(struct cn_engine *e, const char *dir, struct cn_err *err);
/* Adds one model by its path, under its file name. */
int cn_engine_add(struct cn_engine *e, const char *path, struct cn_err *err);
/* What "annotator" of a control may name: those of image/annotate.h are there from the beginning;
 * more are added before the first job. CN_EINVAL when there is one of that name. */
int cn_engine_add_annotator(struct cn_engine *e, const struct cn_engine_annotator *a,
                            struct cn_err *err);
int cn_engine_annotators(const struct cn_engine *e);
const struct cn_engine_annotator *cn_engine_annotator_at(const struct cn_engine *e, int i);

/* Adds every embedding in a directory and those below it (runtime/embeddings.h).
 * Prompts name them. CN_ENOTFOUND when there is no such directory. */
int cn_engine_scan_embeddings(struct cn_engine *e, const char *dir, struct cn_err *err);
int cn_engine_embeddings(const struct cn_engine *e);
const struct cn_embedding *cn_engine_embedding_at(const struct cn_engine *e, int i);

/* Adds every adapter in a directory and those below it (runtime/adapters.h); CN_ENOTFOUND when
 * there is no such directory. Or one by its path: *ret is its name, until the next refresh. */
int cn_engine_scan_adapters(struct cn_engine *e, const char *dir, struct cn_err *err);
int cn_engine_add_adapter(struct cn_engine *e, const char *path, const char **ret,
                          struct cn_err *err);
int cn_engine_adapters(const struct cn_engine *e);
const struct cn_adapter_entry *cn_engine_adapter_at(const struct cn_engine *e, int i);

/* Looks again where cn_engine_scan() and cn_engine_add() looked, and for embeddings and adapters.
 * Jobs that were begun keep the models and the embeddings that they have. */
struct cn_model_changes cn_engine_refresh(struct cn_engine *e);

int cn_engine_count(const struct cn_engine *e);
void cn_engine_at(const struct cn_engine *e, int i, struct cn_model_facts *ret);

/* What was passed over in the directories, i < count. */
int cn_engine_passed_count(const struct cn_engine *e);
const struct cn_passed *cn_engine_passed_at(const struct cn_engine *e, int i);

/* The base model that "" means: the first one, unless set. */
int cn_engine_set_default(struct cn_engine *e, const char *name, struct cn_err *err);
const char *cn_engine_default(const struct cn_engine *e); /* NULL: there is no base model */

/* Loads all weights of a model for its own size, so that the first job does not wait; a ControlNet
 * together with a base model of its family. Jobs in progress go on meanwhile. */
int cn_engine_load(struct cn_engine *e, const char *name, struct cn_err *err);
/* Gives up everything that was loaded. CN_EBUSY while a job uses the model. */
int cn_engine_unload(struct cn_engine *e, const char *name, struct cn_err *err);

/* Takes a job of spec->n images in. The seed must be set. A failure names the field in err->where,
 * and is the end; otherwise cb->end() will be called once. spec stays the caller's until then; cb
 * is copied. Costs no network call. */
int cn_engine_begin(struct cn_engine *e, const struct cn_spec *spec, const struct cn_engine_cb *cb,
                    struct cn_err *err);
/* Is there something for cn_engine_step() to do now? hooks.wake() tells when that changes. */
bool cn_engine_busy(const struct cn_engine *e);
/* Prepares newcomers, draws one step for some of the images, hands over what is finished and ends
 * what is cancelled. Fails with CN_EDEVICE only: the device is lost, and so are the jobs. */
int cn_engine_step(struct cn_engine *e, struct cn_err *err);

/* Waits until there is something to do, while jobs are in progress. */
void cn_engine_wait(struct cn_engine *e);
/* Nothing was to do for a while: gives working memory back, and what belongs only to sizes other
 * than the models' own, unless there are jobs. */
void cn_engine_rest(struct cn_engine *e);
/* As opts.max_batch, from the next step on. */
void cn_engine_set_max_batch(struct cn_engine *e, int n);

/* Draws one job from beginning to end; jobs begun earlier go on beside it. Returns what end() is
 * told. */
int cn_engine_run(struct cn_engine *e, const struct cn_spec *spec, const struct cn_engine_cb *cb,
                  struct cn_err *err);

/* Bytes held: weights in all their forms, and working memory. */
size_t cn_engine_bytes(const struct cn_engine *e);
int cn_engine_plans(const struct cn_engine *e); /* compiled, and kept for pictures to come */
int cn_engine_lanes(const struct cn_engine *e); /* images in progress */

/* Time per kind of step of every plan that ran; "" unless opts.profile. free() it. */
char *cn_engine_profile(const struct cn_engine *e) CN_MUST_USE;

#endif
