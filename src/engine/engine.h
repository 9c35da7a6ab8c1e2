/* The engine: models resident on one device, and jobs drawn with them.
 *
 * Owned by one thread, the worker's (or the command line's). Callbacks run on that thread.
 *
 *     struct cn_engine_opts opts = CN_ENGINE_DEFAULTS;
 *     struct cn_engine *e;
 *     cn_engine_new(&opts, &e, &err);
 *     cn_engine_scan(e, "models", &err);               -- names; opens headers, loads no weights
 *     cn_engine_run(e, &spec, &cb, &err);              -- loads what it needs, once
 *     cn_engine_free(e);
 */
#ifndef CN_ENGINE_ENGINE_H
#define CN_ENGINE_ENGINE_H

#include "base/spec.h"
#include "checkpoint/checkpoint.h"
#include "image/image.h"

struct cn_engine_opts {
    const char *backend;   /* "auto", "onednn" or "reference" */
    int threads;           /* 0: all processors */
    double winograd_ratio; /* extra weight memory for speed: backend.h */
    bool profile;
};

#define CN_ENGINE_DEFAULTS                                                                         \
    {                                                                                              \
        .backend = "auto", .threads = 0, .winograd_ratio = 0.35, .profile = false                  \
    }

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
};

struct cn_engine_cb {
    void *ctx;
    bool (*cancelled)(void *ctx);                                   /* may be NULL */
    void (*progress)(void *ctx, int image, int step, int steps);    /* may be NULL */
    int (*image)(void *ctx, const struct cn_engine_image *m, struct cn_err *err);
    void (*stage)(void *ctx, enum cn_engine_stage stage, double ms); /* may be NULL */
    /* May be NULL. Before progress(): what the networks took in this step, loading left out. */
    void (*step)(void *ctx, double control_ms, double unet_ms);
};

/* What a person or a server lists. Strings belong to the engine. */
struct cn_engine_model {
    const char *name, *path;
    bool control;         /* a ControlNet; otherwise a base model */
    char family[64];      /* models of one family fit together */
    int width, height;    /* the model's own size; 0 for a ControlNet */
    int multiple;         /* sides must be multiples of this */
    uint64_t parameters, bytes; /* elements; bytes on disk */
    bool loaded;
    const char *broken;   /* why it cannot be used, or NULL */
};

struct cn_engine;

int cn_engine_new(const struct cn_engine_opts *opts, struct cn_engine **ret, struct cn_err *err);
void cn_engine_free(struct cn_engine *e);
const char *cn_engine_backend(const struct cn_engine *e);

/* Adds every model in a directory of models: diffusers directories and .safetensors files. A model
 * that cannot be opened is listed as broken. CN_ENOTFOUND when there is no such directory. */
int cn_engine_scan(struct cn_engine *e, const char *dir, struct cn_err *err);
/* Adds one model by its path, under its file name. */
int cn_engine_add(struct cn_engine *e, const char *path, struct cn_err *err);

int cn_engine_count(const struct cn_engine *e);
void cn_engine_at(const struct cn_engine *e, int i, struct cn_engine_model *ret);

/* The base model that "" means: the first one, unless set. */
int cn_engine_set_default(struct cn_engine *e, const char *name, struct cn_err *err);
const char *cn_engine_default(const struct cn_engine *e); /* NULL: there is no base model */

/* Loads all weights of a model for its own size, so that the first job does not wait. */
int cn_engine_load(struct cn_engine *e, const char *name, struct cn_err *err);

/* Draws spec->n pictures. The seed must be set. err->where names the field at fault. */
int cn_engine_run(struct cn_engine *e, const struct cn_spec *spec, const struct cn_engine_cb *cb,
                  struct cn_err *err);

/* Bytes held: weights in all their forms, and working memory. */
size_t cn_engine_bytes(const struct cn_engine *e);

/* Time per kind of step of every plan that ran; "" unless opts.profile. free() it. */
char *cn_engine_profile(const struct cn_engine *e) CN_MUST_USE;

#endif
