/* What the files of src/engine share about the engine as a whole.
 *
 * Files, each above those before it: annotators, adapters, prompts, job (what a request means),
 * pictures, masks, maps and inputs (its pictures), lane (an image in progress), passes (two of
 * them), decode_task (a finished one), preview, contexts (the job's texts), conditioning (what else
 * is computed once for it), batcher (a step for several images), helper_threads, memory,
 * batch_policy, step_loop, warmup, engine.
 */
#ifndef CN_ENGINE_ENGINE_PRIV_H
#define CN_ENGINE_ENGINE_PRIV_H

#include "engine/engine.h"
#include "runtime/tiny_decoder.h"

struct cn_job;
struct cn_lane;
struct cn_batcher;
struct cn_helpers;

/* Of the list of annotators. */
struct cn_annotator_entry {
    struct cn_engine_annotator is;
    struct cn_network net; /* of one that is a network */
};

struct cn_engine {
    struct cn_runtime rt;
    struct cn_engine_opts opts;
    uint64_t clock;             /* of uses of batches */
    uint64_t serial;            /* of jobs and lanes */
    struct cn_helpers *helpers; /* NULL until the first job */
    struct cn_job *jobs;        /* in the order in which they came */
    struct cn_lane *lanes;      /* in the order in which they started */
    int n_lanes;
    bool work_pending;  /* a step may find something to do */
    bool batch_by_size; /* the size of batches goes by that of the images */
    struct cn_batcher *batchers;
    struct cn_annotator_entry **annotator;
    int n_annotators;
    size_t annotators_cap;
    double now;     /* virtual time: step_loop.c */
    double step_ms; /* what the last step took */
    int64_t largest;           /* pixels of the largest picture since memory was given back */
    struct cn_tiny_decoder *tiny; /* of previews; NULL: there is none */
    size_t band_bytes; /* of autoencoders that go through pictures in bands of rows */
    float *work;    /* host side of a step's inputs and outputs */
    size_t work_n;
};

/* step_loop.c: without a word, also to callbacks. */
void cn_engine_drop_jobs(struct cn_engine *e);

/* batch_policy.c: images of this size that may take a step together. */
int cn_engine_batch(const struct cn_engine *e, int width, int height);

/* memory.c */
/* Room for the job's models, which then stay. CN_EBUSY: there is when other jobs are over.
 * CN_EDEVMEM: there never is. */
int cn_engine_pin_models(struct cn_engine *e, struct cn_job *j, struct cn_err *err);
void cn_engine_unpin_models(struct cn_engine *e, struct cn_job *j);
/* An autoencoder of so much working memory goes through the picture in bands of rows. */
bool cn_engine_wants_bands(const struct cn_engine *e, size_t bytes);
/* Gives working memory back when all jobs in progress are much smaller than earlier ones. */
void cn_engine_shrink(struct cn_engine *e);
/* Unloads what no job uses, oldest first, while more is resident than the budget allows. */
void cn_engine_trim(struct cn_engine *e);
/* After a lack of memory: drops idle batchers, plans, and models that no job uses. */
void cn_engine_drop_caches(struct cn_engine *e);

#endif
