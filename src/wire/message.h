/* What each frame says. Any thread.
 *
 * Life of a connection: the worker sends HELLO, then STATE until it is ready; the front sends JOB
 * (at most hello.capacity at a time) and gets PROGRESS and IMAGE frames, then exactly one DONE or
 * FAILED per job, also for a job it cancelled. PING is answered by PONG at any time. SHUTDOWN, or
 * the end of the stream, ends the worker.
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
#include "base/spec.h"
#include "wire/frame.h"

enum {
    CN_WIRE_VERSION = 1,
    CN_WIRE_MAX_MODELS = 512,
    CN_WIRE_MAX_ANNOTATORS = 64,
    CN_WIRE_MAX_GAUGES = 64
};

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

enum cn_model_kind { CN_MODEL_BASE, CN_MODEL_CONTROLNET, CN_MODEL_KIND_COUNT };

extern const struct cn_enum cn_enum_model_kind;

/* One model that a worker can use. */
struct cn_model_info {
    char name[128];
    enum cn_model_kind kind;
    char family[64];    /* "sd15", or what the worker calls it; models of one family fit together */
    char title[128];    /* for people; may be empty */
    char annotator[64]; /* ControlNet: the control map it was trained on ("canny"), or empty */
    int width, height;  /* default size; 0 for a ControlNet */
    int multiple;       /* sides must be a multiple of this many pixels */
    bool is_default;
    uint64_t parameters; /* 0: not known */
    uint64_t bytes;      /* on disk; 0: not known */
};

/* A way to make a control map from a photograph. */
struct cn_annotator_info {
    char name[64];   /* "canny" */
    char title[128]; /* for people; may be empty */
};

struct cn_msg_hello {
    int pid;
    int capacity;     /* jobs that may be with the worker at a time */
    char backend[32]; /* "cpu", "cuda" */
    char device[128]; /* for people */
    char build[64];   /* version of the program */
    int n_models;
    struct cn_model_info *model; /* n_models of them */
    int n_annotators;            /* "none" is not listed; 0 when the worker has none */
    struct cn_annotator_info *annotator;
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
};

struct cn_msg_image {
    uint64_t id, seed;
    int index; /* 0 .. n-1 */
    enum cn_format format;
    int width, height;
    const unsigned char *data; /* the encoded file; borrowed from the frame when read */
    size_t len;
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
int cn_msg_put_done(struct cn_buf *b, const struct cn_msg_done *m, struct cn_err *err);
int cn_msg_put_failed(struct cn_buf *b, const struct cn_msg_failed *m, struct cn_err *err);
int cn_msg_put_gauges(struct cn_buf *b, const struct cn_msg_gauges *m, struct cn_err *err);
int cn_msg_put_job(struct cn_buf *b, uint64_t id, const struct cn_spec *s, struct cn_err *err);

/* PING, PONG (number of the question), CANCEL (id of the job), SHUTDOWN (0). */
int cn_msg_put_number(struct cn_buf *b, enum cn_frame_type type, uint64_t number,
                      struct cn_err *err);

int cn_msg_get_hello(const struct cn_frame *f, struct cn_msg_hello *ret, struct cn_err *err);
int cn_msg_get_state(const struct cn_frame *f, struct cn_msg_state *ret, struct cn_err *err);
int cn_msg_get_progress(const struct cn_frame *f, struct cn_msg_progress *ret, struct cn_err *err);
int cn_msg_get_image(const struct cn_frame *f, struct cn_msg_image *ret, struct cn_err *err);
int cn_msg_get_done(const struct cn_frame *f, struct cn_msg_done *ret, struct cn_err *err);
int cn_msg_get_failed(const struct cn_frame *f, struct cn_msg_failed *ret, struct cn_err *err);
int cn_msg_get_gauges(const struct cn_frame *f, struct cn_msg_gauges *ret, struct cn_err *err);
int cn_msg_get_number(const struct cn_frame *f, uint64_t *ret, struct cn_err *err);

/* *ret_id is set as soon as it could be read, also on failure (0 otherwise). */
int cn_msg_get_job(const struct cn_frame *f, uint64_t *ret_id, struct cn_spec *ret,
                   struct cn_err *err);

#endif
