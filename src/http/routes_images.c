/* POST /v1/images: generate, and wait for it. */
#include "base/base.h"
#include "http/http_priv.h"
#include "api/result.h"
#include "http/accept.h"
#include "http/multipart.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const media[CN_FORMAT_COUNT] = {"image/png", "image/jpeg", "image/webp"};

/* ---- the head ---- */

static bool is_json(const char *type)
{
    size_t n = strlen("application/json");

    return strncasecmp(type, "application/json", n) == 0 &&
           (type[n] == '\0' || strchr("; \t", type[n]) != NULL);
}

static enum MHD_Result refuse(struct cn_request *q, enum cn_refusal why)
{
    switch (why) {
    case CN_REFUSED_FULL:
        return cn_reply_fault(q, CN_FAULT_QUEUE_FULL, "as many jobs wait as may wait", NULL);
    case CN_REFUSED_TENANT:
        return cn_reply_fault(q, CN_FAULT_QUEUE_FULL, "as many jobs of this key wait as may wait",
                              NULL);
    case CN_REFUSED_DRAINING:
        return cn_reply_fault(q, CN_FAULT_DRAINING, "running jobs are finished, new ones refused",
                              NULL);
    default:
        return cn_reply_fault(q, CN_FAULT_NOT_READY, "no worker is ready yet", NULL);
    }
}

enum MHD_Result cn_images_admit(struct cn_request *q)
{
    const char *type = cn_request_header(q, "Content-Type");
    const char *coding = cn_request_header(q, "Content-Encoding");
    enum cn_refusal why = cn_dispatch_refuses(q->e->s->o.dispatch, q->key_name).kind;

    if (type == NULL || (!is_json(type) && !cn_multipart_is(type)))
        return cn_reply_fault(q, CN_FAULT_MEDIA_TYPE,
                              "expected application/json or multipart/form-data", NULL);
    if (coding != NULL && strcasecmp(coding, "identity") != 0)
        return cn_reply_fault(q, CN_FAULT_MEDIA_TYPE, "encoded bodies are not supported", NULL);
    if (why != CN_REFUSED_NOT)
        return refuse(q, why);
    return MHD_YES;
}

/* ---- the wait ---- */

/* JSON or the picture itself? False: neither, and the answer is on its way. */
static bool negotiate(struct cn_request *q, const struct cn_spec *spec, enum MHD_Result *ret)
{
    const char *accept = cn_request_header(q, "Accept");
    bool json_named;
    double json = cn_accept_quality(accept, "application/json", &json_named);
    double picture = cn_accept_quality(accept, media[spec->format], NULL);
    char text[160];

    if (spec->n > 1 && !json_named) {
        snprintf(text, sizeof(text),
                 "%d images do not fit into one answer of type %s: ask for application/json",
                 spec->n, media[spec->format]);
        *ret = cn_reply_fault(q, CN_FAULT_NOT_ACCEPTABLE, text, "/n");
        return false;
    }
    if (json < 0 && picture < 0) {
        snprintf(text, sizeof(text), "there is %s and application/json", media[spec->format]);
        *ret = cn_reply_fault(q, CN_FAULT_NOT_ACCEPTABLE, text, "/format");
        return false;
    }
    q->as_json = spec->n > 1 || json > picture || (json_named && json == picture);
    return true;
}

static void on_job_end(struct cn_job *job, void *arg)
{
    (void)job;
    cn_request_resume(arg);
}

static void on_hangup(uv_poll_t *h, int status, int events)
{
    struct cn_request *q = h->data;

    (void)status;
    (void)events;
    q->gone = true;
    cn_dispatch_cancel(q->e->s->o.dispatch, q->job);
    cn_request_resume(q);
}

void cn_images_abandon(struct cn_request *q)
{
    if (q->job == NULL)
        return;
    q->e->s->inflight -= q->job_bytes;
    q->job->on_end = NULL;
    cn_dispatch_cancel(q->e->s->o.dispatch, q->job);
    cn_job_unref(q->job);
    q->job = NULL;
}

static size_t image_bytes(const struct cn_spec *s)
{
    size_t n = s->init_image.len + s->mask.len;

    for (int i = 0; i < s->n_controls; i++)
        n += s->control[i].image.len;
    return n;
}

/* Makes the job and queues it; negative when it is refused. */
static int queue_job(struct cn_request *q, struct cn_spec *spec, struct cn_err *err)
{
    struct cn_server *s = q->e->s;
    size_t bytes = image_bytes(spec);
    struct cn_job *job = cn_job_new(spec);
    int rc;

    job->on_end = on_job_end;
    job->arg = q;
    if ((rc = cn_dispatch_submit(s->o.dispatch, job, q->key_name, NULL, err)) < 0) {
        cn_job_unref(job);
        return rc;
    }
    s->inflight += bytes;
    q->job = job;
    q->job_bytes = bytes;
    return CN_OK;
}

static enum MHD_Result submit(struct cn_request *q, struct cn_spec *spec)
{
    struct cn_dispatch *d = q->e->s->o.dispatch;
    enum cn_refusal why = cn_dispatch_refuses(d, q->key_name).kind;
    struct cn_err err = CN_ERR_INIT;
    enum MHD_Result rc;

    if (cn_catalog_resolve(cn_dispatch_catalog(d), spec, &err) < 0 ||
        cn_spec_check(spec, &q->e->s->o.limits, &err) < 0 || !negotiate(q, spec, &rc)) {
        if (err.code != 0)
            rc = cn_reply_err(q, &err);
        cn_spec_release(spec);
        return rc;
    }
    if (q->e->s->inflight + image_bytes(spec) > q->e->s->o.max_inflight) {
        cn_spec_release(spec);
        return cn_reply_fault(q, CN_FAULT_OVERLOADED, "the waiting jobs need too much memory",
                              NULL);
    }
    if (queue_job(q, spec, &err) < 0)
        return why == CN_REFUSED_NOT ? cn_reply_err(q, &err) : refuse(q, why);
    cn_request_suspend(q, on_hangup);
    return MHD_YES;
}

enum MHD_Result cn_images_handle(struct cn_request *q)
{
    struct cn_err err = CN_ERR_INIT;
    enum cn_fault fault;
    struct cn_spec spec;

    if (q->reading == NULL && cn_reading_start(q))
        return MHD_YES; /* this is called again when it is read */
    if (cn_reading_take(q, &spec, &fault, &err) < 0)
        return fault == CN_FAULT_COUNT ? cn_reply_err(q, &err)
                                       : cn_reply_fault(q, fault, err.msg, err.where);
    return submit(q, &spec);
}

/* ---- the answer ---- */

static enum MHD_Result reply_result(struct cn_request *q)
{
    struct cn_job_image *image = &q->job->image[0];
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;
    enum MHD_Result rc;

    if (!q->as_json)
        return cn_reply_bytes(q, media[image->format], image->data, image->len, q->job);
    cn_buf_init(&b, CN_RESULT_MAX);
    if (cn_result_job(q->job, &b, &err) < 0)
        rc = cn_reply_err(q, &err);
    else
        rc = cn_reply_take(q, 200, "application/json", &b);
    cn_buf_release(&b);
    return rc;
}

enum MHD_Result cn_images_resume(struct cn_request *q)
{
    const struct cn_job *job = q->job;

    switch (job->state) {
    case CN_JOB_SUCCEEDED:
        return reply_result(q);
    case CN_JOB_EXPIRED:
        return cn_reply_fault(q, CN_FAULT_DEADLINE, job->err.msg, NULL);
    case CN_JOB_FAILED:
        return cn_reply_err(q, &job->err);
    default:
        return MHD_NO; /* cancelled: nobody is there */
    }
}
