/* Shared by submit.c, submit_head.c, results.c, parts.c and the dialects: a request for images on
 * its way. Loop thread only.
 *
 * What dialects differ in is a struct cn_ask, static, which the route's row names (cn_route.what);
 * the stages are the same for all: keys, limits, the queue, and a client that hangs up. */
#ifndef CN_HTTP_ROUTES_SUBMIT_PRIV_H
#define CN_HTTP_ROUTES_SUBMIT_PRIV_H

#include "api/result.h"
#include "http/core/fields.h"
#include "http/routes/parse_body.h"
#include "http/routes/picture.h"
#include "http/routes/routes_priv.h"

enum cn_submit_stage {
    CN_SUBMIT_PARSING, /* the body is read */
    CN_SUBMIT_WAITING, /* the service has the job, and has not accepted it yet */
    CN_SUBMIT_OPENING, /* accepted; its events are opened */
    CN_SUBMIT_FOLLOWING,
    CN_SUBMIT_LOOKING, /* for the state that is answered */
    CN_SUBMIT_ANSWERED
};

/* How the end of the job is answered. */
enum cn_answer_form {
    CN_AS_PICTURE, /* the only one, as it is */
    CN_AS_JSON,
    CN_AS_PARTS, /* multipart/mixed */
    CN_AS_STREAM /* OpenAI's events */
};

/* How a route's request is read, and what it is answered. */
struct cn_ask {
    /* From the body, on any thread: one of api/'s readers. */
    int (*read)(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err);
    bool is_async;  /* answered when it is accepted, and outlives its client */
    bool may_defer; /* "Prefer: respond-async" is heard */
    bool is_loose;  /* whatever the Content-Type says it is JSON, and no body is an empty object */
    bool is_listed; /* among those that A1111's progress and interrupt are about */
    bool has_form;  /* the parts of multipart/form-data are fields: there is none with the JSON */
    /* Adds what the request leaves to the dialect, before models are looked for. May be NULL. */
    void (*complete)(struct cn_request *q, struct cn_spec *spec);
    /* Chooses the form of the answer, once the description is complete. False: it has none that the
     * client takes, and is answered. NULL: it is 202. */
    bool (*negotiate)(struct cn_request *q, const struct cn_spec *spec);
    bool is_edit; /* OpenAI's events have other names then */
    /* The job is over and JSON will be written: adds to c->beside. May be NULL. */
    void (*before_json)(struct cn_request *q);
    const struct cn_result_form *json;
};

/* q->ctx of every route that makes images. */
struct cn_submit_ctx {
    enum cn_submit_stage stage;
    bool running; /* one stage after the other, at this moment */
    const struct cn_ask *ask;
    bool durable;  /* the job is kept */
    bool outlives; /* and goes on when its client hangs up */
    enum cn_answer_form form;
    int may_wait_s; /* Prefer: respond-async, wait=; -1: without */
    bool waited;    /* so long */
    char key[CN_IDEMPOTENCY_KEY];
    size_t bytes;         /* of its images, counted in core's inflight */
    struct cn_request *q; /* when it is listed: */
    bool listed;
    struct cn_submit_ctx *older, *newer;
    bool interrupted; /* its client wants what there is */
    struct cn_parse *parse;
    struct cn_api_beside beside; /* what the request said besides its job, once it was read */
    struct cn_submission *sub;   /* NULL: answered */
    enum cn_submit_outcome outcome;
    enum cn_refusal refusal;
    int retry_after_s;
    char id[27];
    struct cn_job *job;        /* a reference: holds the pictures of a job that is not durable */
    struct cn_jobs_read *read; /* a question to the service; NULL: none */
    struct cn_watch *watch;    /* NULL: not followed */
    struct cn_job_view view;
    bool viewed; /* view is there */
    uv_timer_t *timer;
    bool cut;   /* the server closes, and the job goes on in its next life */
    bool ended; /* with: */
    enum cn_job_state state;
    struct cn_err err;
    struct cn_warnings warnings; /* once it ended */
    int n;                       /* pictures */
    int first_image;             /* of parts: is there, and not yet sent; -1: none */
    struct cn_picture picture;   /* the only one that is answered */
    bool asked;                  /* for it */
};

/* submit_head.c */
void cn_submit_admit(struct cn_request *q);
/* The worst that the pictures may need fits into memory. False: answered. */
bool cn_submit_fits(struct cn_request *q, const struct cn_spec *spec);
/* cn_ask.negotiate by the Accept field: the picture, JSON or parts. */
bool cn_negotiate_native(struct cn_request *q, const struct cn_spec *spec);

/* Answers the end of a job that succeeded, from c->view, as JSON with its pictures: written
 * while it is sent, one block of one picture at a time. */
void cn_answer_result_json(struct cn_request *q);

/* The picture itself, c->picture. */
void cn_answer_result_picture(struct cn_request *q);

/* Events as OpenAI's clients have them, from the beginning on. */
void cn_answer_openai_stream(struct cn_request *q);

/* What the job warned of, for answers that cannot say so in their body. */
void cn_answer_warnings(struct cn_request *q);

/* Picture after picture as parts of multipart/mixed, while the others are drawn. */
void cn_answer_parts(struct cn_request *q);

/* a1111_progress.c: in and out of the list of those that wait for pictures. */
void cn_a1111_enlist(struct cn_request *q);
void cn_a1111_delist(struct cn_request *q);

/* follow.c: reads the job's events up to a picture or the end. True: c->ended, or *ret_image. */
bool cn_submit_next_event(struct cn_submit_ctx *c, int *ret_image);

#endif
