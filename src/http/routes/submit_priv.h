/* Shared by submit.c, results.c and parts.c: a request for images on its way. Loop thread only. */
#ifndef CN_HTTP_ROUTES_SUBMIT_PRIV_H
#define CN_HTTP_ROUTES_SUBMIT_PRIV_H

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

/* q->ctx of POST /v1/images and POST /v1/jobs. */
struct cn_submit_ctx {
    enum cn_submit_stage stage;
    bool running;  /* one stage after the other, at this moment */
    bool is_async; /* /v1/jobs */
    bool durable;  /* the job is kept, and outlives its client */
    bool as_json, in_parts;
    int may_wait_s; /* Prefer: respond-async, wait=; -1: without */
    bool waited;    /* so long */
    char key[CN_IDEMPOTENCY_KEY];
    size_t bytes; /* of its images, counted in core's inflight */
    struct cn_parse *parse;
    struct cn_submission *sub; /* NULL: answered */
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

/* Answers the end of a job that succeeded, from c->view, as JSON with its pictures: written
 * while it is sent, one block of one picture at a time. */
void cn_answer_result_json(struct cn_request *q);

/* The picture itself, c->picture. */
void cn_answer_result_picture(struct cn_request *q);

/* What the job warned of, for answers that cannot say so in their body. */
void cn_answer_warnings(struct cn_request *q);

/* Picture after picture as parts of multipart/mixed, while the others are drawn. */
void cn_answer_parts(struct cn_request *q);

/* follow.c: reads the job's events up to a picture or the end. True: c->ended, or *ret_image. */
bool cn_submit_next_event(struct cn_submit_ctx *c, int *ret_image);

#endif
