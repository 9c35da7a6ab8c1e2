/* What each frame says. Any thread.
 *
 * Life of a connection: the worker sends HELLO, then STATE until it is ready; the front sends JOB
 * (at most hello.capacity at a time) and gets PROGRESS, WARNING, PREVIEW and IMAGE frames, then
 * exactly one DONE or FAILED per job, also for a job it cancelled. The first PROGRESS of a job says
 * that it was begun. BEAT follows every step of the device, MODEL every change of what is resident.
 * CATALOG follows HELLO, and every change of what models there are. MANAGE is answered by MANAGED
 * (after the CATALOG that a refresh makes), PING by PONG at any time. SHUTDOWN, or the end of the
 * stream, ends the worker.
 *
 * cn_msg_put_* append one whole frame to b; cn_msg_get_* read the payload of a frame of that type.
 *
 *     cn_msg_put_progress(&buf, &(struct cn_msg_progress){.id = 7, .step = 3, .steps = 20}, &err);
 *     if (frame.type == CN_FRAME_PROGRESS && cn_msg_get_progress(&frame, &m, &err) == CN_OK) ...
 */
#ifndef CN_WIRE_MESSAGE_H
#define CN_WIRE_MESSAGE_H

#include "base/base.h"
#include "base/buf.h"
#include "base/image_meta.h"
#include "base/spec.h"
#include "base/warnings.h"
#include "wire/frame.h"

enum {
    CN_WIRE_VERSION = 7,
    CN_WIRE_MAX_MODELS = 512,
    CN_WIRE_MAX_PASSED = 512,
    CN_WIRE_MAX_ANNOTATORS = 64,
    CN_WIRE_MAX_EMBEDDINGS = 4096,
    CN_WIRE_MAX_ADAPTERS = 4096,
    CN_WIRE_MAX_GAUGES = 64,
    CN_WIRE_MAX_PREVIEW = 64 * 1024 /* bytes of an encoded preview */
};

/* Bytes of a picture's file: a frame holds what goes with it as well. */
#define CN_WIRE_MAX_PICTURE (CN_FRAME_MAX - 4096)

enum cn_stage {
    CN_STAGE_LOAD,       /* weights from disk */
    CN_STAGE_DECODE,     /* control and init images */
    CN_STAGE_PREPROCESS, /* annotators, resize */
    CN_STAGE_TEXT,
    CN_STAGE_CONTROLNET, /* hint encoder and, where measured apart, the ControlNet steps */
    CN_STAGE_UNET,       /* the step loop */
    CN_STAGE_VAE,
    CN_STAGE_ENCODE,
    CN_STAGE_COUNT
};

extern const struct cn_enum cn_enum_stage;

enum cn_model_kind { CN_MODEL_BASE, CN_MODEL_CONTROLNET, CN_MODEL_VAE, CN_MODEL_KIND_COUNT };

extern const struct cn_enum cn_enum_model_kind;

/* One model that a worker can use. */
struct cn_model_info {
    char name[CN_MODEL_NAME];
    enum cn_model_kind kind;
    char family[64];    /* "sd15", or what the worker calls it; models of one family fit together */
    char title[128];    /* for people; may be empty */
    char annotator[64]; /* ControlNet: the control map it was trained on ("canny"), or empty */
    int width, height;  /* default size of a base model, or 0 */
    int multiple;       /* sides must be a multiple of this many pixels */
    int latent_channels; /* of the autoencoder; 0: not known, or a ControlNet */
    bool is_default;
    uint64_t parameters; /* 0: not known */
    uint64_t bytes;      /* on disk; 0: not known */
    double guidance;     /* the guidance_scale of a request that names none; 0: the general one */
    bool tiny_decoder;   /* the worker's tiny autoencoder decodes for it */
    char broken[400];    /* why it cannot be used; "" when it can */
};

struct cn_annotator_param_info {
    char name[CN_PARAM_NAME];
    char title[128];
    double min, max, preset; /* inclusive */
    bool real;               /* else whole numbers only */
};

/* A way to make a control map from a photograph. */
struct cn_annotator_info {
    char name[64];   /* "canny" */
    char title[128]; /* for people; may be empty */
    bool takes_mask; /* what the mask hides is missing in its map */
    bool network;    /* has weights */
    int n_params;
    struct cn_annotator_param_info param[CN_MAX_ANNOTATOR_PARAMS];
};

/* Vectors that stand for a word of the prompt. */
struct cn_embedding_info {
    char name[CN_MODEL_NAME];
    char token[CN_MODEL_NAME];   /* its word in plain prompts */
    int vectors, width, width_2; /* hidden size of each text encoder; 0: none */
    char broken[400];
};

/* A LoRA or one of its kin. */
struct cn_adapter_info {
    char name[CN_MODEL_NAME];
    char alias[CN_MODEL_NAME]; /* what its trainer called it; "": the same */
    char kind[64];             /* "LoRA, DoRA" */
    char family[24];           /* "sd1", "sdxl"; "": not told */
    int rank_min, rank_max;    /* 0: its form has none */
    int layers;                /* that it changes */
    bool unet, text;           /* of which networks */
    uint64_t bytes;            /* on disk */
    char base[64];             /* the model that it says it was made with; "" */
    char triggers[256];        /* words that call it, with commas */
    char broken[400];
};

struct cn_msg_hello {
    int pid;
    int capacity;     /* jobs that may be with the worker at a time */
    int lanes;        /* images that it draws at a time */
    char backend[32]; /* "cpu", "cuda" */
    char device[128]; /* for people */
    char build[64];   /* version of the program */
    int n_models;
    struct cn_model_info *model; /* n_models of them */
    int n_annotators;            /* "none" is not listed; 0 when the worker has none */
    struct cn_annotator_info *annotator;
    int n_embeddings;
    struct cn_embedding_info *embedding;
    int n_adapters;
    struct cn_adapter_info *adapter;
};

void cn_msg_hello_release(struct cn_msg_hello *m);

enum cn_worker_state {
    CN_WORKER_LOADING,
    CN_WORKER_READY,
    CN_WORKER_BROKEN,
    CN_WORKER_STATE_COUNT
};

struct cn_msg_state {
    enum cn_worker_state state;
    char text[400]; /* why, when broken */
};

struct cn_msg_progress {
    uint64_t id;
    enum cn_stage stage;
    int image, step, steps; /* step of steps is done, of image number image (from 0) */
    int done, total;        /* steps of all images together */
};

/* A rough picture of one that is being drawn. */
struct cn_msg_preview {
    uint64_t id;
    int index, step; /* image, from 0; after this step */
    enum cn_format format;
    int width, height;
    const unsigned char *data; /* an encoded file; borrowed from the frame when read */
    size_t len;                /* at most CN_WIRE_MAX_PREVIEW */
};

/* After each turn of the device; also a sign of life while jobs run. */
struct cn_msg_beat {
    int lanes;  /* images in progress, after the turn */
    int images; /* in this turn's batch */
    double ms;  /* that the turn took */
};

enum cn_residence {
    CN_MODEL_UNLOADED,
    CN_MODEL_LOADING,
    CN_MODEL_LOADED,
    CN_MODEL_BROKEN,
    CN_RESIDENCE_COUNT
};

extern const struct cn_enum cn_enum_residence;

struct cn_msg_model {
    char name[CN_MODEL_NAME];
    enum cn_residence state;
    uint64_t bytes; /* resident */
    char text[400]; /* why, when broken */
};

/* Something in the directories of models that is listed as no model. */
struct cn_passed_over {
    char name[CN_MODEL_NAME]; /* of the file or directory, for people */
    char why[200];
};

/* What models, adapters and embeddings there are, all of them. */
struct cn_msg_catalog {
    int added, changed, removed; /* models, since the last one */
    int n_models;
    struct cn_model_info *model; /* n_models of them */
    int n_passed;
    struct cn_passed_over *passed; /* n_passed of them */
    int n_adapters;
    struct cn_adapter_info *adapter; /* n_adapters of them */
    int n_embeddings;
    struct cn_embedding_info *embedding; /* n_embeddings of them */
};

void cn_msg_catalog_release(struct cn_msg_catalog *m);

/* REFRESH looks at the directories again; its name is "". */
enum cn_manage { CN_MANAGE_LOAD, CN_MANAGE_UNLOAD, CN_MANAGE_REFRESH, CN_MANAGE_COUNT };

struct cn_msg_manage {
    uint64_t number; /* of the question; comes back with the answer */
    enum cn_manage action;
    char name[CN_MODEL_NAME];
};

struct cn_msg_managed {
    uint64_t number;
    struct cn_err err; /* code CN_OK: done */
};

struct cn_msg_image {
    uint64_t id;
    int index; /* 0 .. n-1 */
    struct cn_image_meta meta;
    const unsigned char *data; /* meta.bytes of them; borrowed from the frame when read */
};

/* Something of the request has less effect than was asked for; the job goes on. */
struct cn_msg_warning {
    uint64_t id;
    struct cn_warning warning;
};

struct cn_msg_done {
    uint64_t id;
    double ms[CN_STAGE_COUNT]; /* time spent in each stage; 0: not measured */
};

struct cn_msg_failed {
    uint64_t id;
    struct cn_err err; /* err.code is a negative enum cn_code */
};

struct cn_gauge {
    char name[64]; /* "resident_bytes" */
    double value;
};

struct cn_msg_gauges {
    int n;
    struct cn_gauge gauge[CN_WIRE_MAX_GAUGES];
};

int cn_msg_put_hello(struct cn_buf *b, const struct cn_msg_hello *m, struct cn_err *err);
int cn_msg_put_state(struct cn_buf *b, const struct cn_msg_state *m, struct cn_err *err);
int cn_msg_put_progress(struct cn_buf *b, const struct cn_msg_progress *m, struct cn_err *err);
int cn_msg_put_image(struct cn_buf *b, const struct cn_msg_image *m, struct cn_err *err);
int cn_msg_put_warning(struct cn_buf *b, const struct cn_msg_warning *m, struct cn_err *err);
int cn_msg_put_done(struct cn_buf *b, const struct cn_msg_done *m, struct cn_err *err);
int cn_msg_put_failed(struct cn_buf *b, const struct cn_msg_failed *m, struct cn_err *err);
int cn_msg_put_gauges(struct cn_buf *b, const struct cn_msg_gauges *m, struct cn_err *err);
int cn_msg_put_preview(struct cn_buf *b, const struct cn_msg_preview *m, struct cn_err *err);
int cn_msg_put_beat(struct cn_buf *b, const struct cn_msg_beat *m, struct cn_err *err);
int cn_msg_put_model(struct cn_buf *b, const struct cn_msg_model *m, struct cn_err *err);
int cn_msg_put_catalog(struct cn_buf *b, const struct cn_msg_catalog *m, struct cn_err *err);
int cn_msg_put_manage(struct cn_buf *b, const struct cn_msg_manage *m, struct cn_err *err);
int cn_msg_put_managed(struct cn_buf *b, const struct cn_msg_managed *m, struct cn_err *err);
int cn_msg_put_job(struct cn_buf *b, uint64_t id, const struct cn_spec *s, struct cn_err *err);

/* PING, PONG (number of the question), CANCEL (id of the job), SHUTDOWN (0). */
int cn_msg_put_number(struct cn_buf *b, enum cn_frame_type type, uint64_t number,
                      struct cn_err *err);

int cn_msg_get_hello(const struct cn_frame *f, struct cn_msg_hello *ret, struct cn_err *err);
int cn_msg_get_state(const struct cn_frame *f, struct cn_msg_state *ret, struct cn_err *err);
int cn_msg_get_progress(const struct cn_frame *f, struct cn_msg_progress *ret, struct cn_err *err);
int cn_msg_get_image(const struct cn_frame *f, struct cn_msg_image *ret, struct cn_err *err);
int cn_msg_get_warning(const struct cn_frame *f, struct cn_msg_warning *ret, struct cn_err *err);
int cn_msg_get_done(const struct cn_frame *f, struct cn_msg_done *ret, struct cn_err *err);
int cn_msg_get_failed(const struct cn_frame *f, struct cn_msg_failed *ret, struct cn_err *err);
int cn_msg_get_gauges(const struct cn_frame *f, struct cn_msg_gauges *ret, struct cn_err *err);
int cn_msg_get_preview(const struct cn_frame *f, struct cn_msg_preview *ret, struct cn_err *err);
int cn_msg_get_beat(const struct cn_frame *f, struct cn_msg_beat *ret, struct cn_err *err);
int cn_msg_get_model(const struct cn_frame *f, struct cn_msg_model *ret, struct cn_err *err);
int cn_msg_get_catalog(const struct cn_frame *f, struct cn_msg_catalog *ret, struct cn_err *err);
int cn_msg_get_manage(const struct cn_frame *f, struct cn_msg_manage *ret, struct cn_err *err);
int cn_msg_get_managed(const struct cn_frame *f, struct cn_msg_managed *ret, struct cn_err *err);
int cn_msg_get_number(const struct cn_frame *f, uint64_t *ret, struct cn_err *err);

/* *ret_id is set as soon as it could be read, also on failure (0 otherwise). CN_EINVAL at "/kind":
 * a kind of job that this program does not know. */
int cn_msg_get_job(const struct cn_frame *f, uint64_t *ret_id, struct cn_spec *ret,
                   struct cn_err *err);

#endif
