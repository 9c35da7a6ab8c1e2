/* Shared by submit.c and results.c: a request for images on its way. Loop thread only. */
#ifndef CN_HTTP_ROUTES_SUBMIT_PRIV_H
#define CN_HTTP_ROUTES_SUBMIT_PRIV_H

#include "http/http_priv.h"

/* q->call of POST /v1/images and POST /v1/jobs. */
struct cn_call {
    bool is_async; /* /v1/jobs */
    bool durable;  /* the job is kept, and outlives its client */
    bool as_json, in_parts;
    int may_wait_s; /* Prefer: respond-async, wait=; -1: without */
    bool waited;    /* so long */
    char key[CN_IDEMPOTENCY_KEY];
    size_t bytes;              /* of its images, counted in the server's inflight */
    struct cn_submission *sub; /* NULL: answered */
    enum cn_submit_outcome outcome;
    enum cn_refusal refusal;
    int retry_after_s;
    char id[27];
    struct cn_job *job;     /* a reference: holds the pictures of a job that is not durable */
    struct cn_watch *watch; /* NULL: not followed */
    uv_timer_t *timer;
    bool cut;   /* the server closes, and the job goes on in its next life */
    bool ended; /* with: */
    enum cn_job_state state;
    struct cn_err err;
    int n;           /* pictures */
    int first_image; /* of parts: is there, and not yet sent; -1: none */
    bool *sent;      /* n of them */
    bool closed;     /* the last boundary was sent */
};

/* results.c: the job has ended, or (parts) its first picture is there. */
enum MHD_Result cn_reply_end(struct cn_request *q);
enum MHD_Result cn_reply_parts(struct cn_request *q);

/* submit.c: seconds until it makes sense to look at the job again. */
int cn_look_again_s(const struct cn_job_view *v);

const char *cn_media_of(enum cn_format format);

/* The problem that a job's end is, for a state other than succeeded. */
enum cn_fault cn_fault_of_end(enum cn_job_state state, const struct cn_err *err);

#endif
