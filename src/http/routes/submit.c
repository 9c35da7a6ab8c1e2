/* POST /v1/images and POST /v1/jobs: a request becomes a job.
 *
 * DESIGN. Both give the job to the service (job/jobs.h) and wait suspended for its answer. /v1/jobs
 * answers 202 when the job is kept. /v1/images follows the job's events until its end: a client
 * that hangs up before cancels it. With "Prefer: respond-async" or an Idempotency-Key the job is
 * kept as one of /v1/jobs, and hanging up leaves it alone: with the key it can be asked for again.
 */
#include "base/base.h"
#include "http/http_priv.h"
#include "http/routes/submit_priv.h"
#include "api/result.h"
#include "base/mem.h"
#include "http/core/accept.h"
#include "http/core/multipart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- the head ---- */

static bool is_json(const char *type)
{
    size_t n = strlen("application/json");

    return strncasecmp(type, "application/json", n) == 0 &&
           (type[n] == '\0' || strchr("; \t", type[n]) != NULL);
}

static enum MHD_Result refuse(struct cn_request *q, enum cn_refusal why, const struct cn_err *err,
                              int retry_after_s)
{
    static const enum cn_fault fault[] = {
        [CN_REFUSED_FULL] = CN_FAULT_QUEUE_FULL,
        [CN_REFUSED_DRAINING] = CN_FAULT_DRAINING,
        [CN_REFUSED_NO_WORKER] = CN_FAULT_NOT_READY,
        [CN_REFUSED_TENANT] = CN_FAULT_QUOTA,
    };

    if (why != CN_REFUSED_NOT)
        return cn_reply_later(q, fault[why], err->msg, retry_after_s);
    if (err->code == CN_ENOTFOUND)
        return cn_reply_fault(q, CN_FAULT_NO_STORE, err->msg, NULL);
    if (err->code == CN_EBUSY)
        return cn_reply_later(q, CN_FAULT_NOT_READY, err->msg, retry_after_s);
    return cn_reply_err(q, err);
}

struct preferences {
    struct cn_prefer prefer;
    int keys; /* Idempotency-Key lines */
};

static enum MHD_Result on_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    struct preferences *p = arg;

    (void)kind;
    if (strcasecmp(name, "Prefer") == 0 && value != NULL)
        cn_prefer_add(&p->prefer, value);
    p->keys += strcasecmp(name, "Idempotency-Key") == 0;
    return MHD_YES;
}

static void release_call(struct cn_request *q);

/* The call with what the head says about it; NULL: refused, and *ret is set. */
static struct cn_call *read_head(struct cn_request *q, bool is_async, enum MHD_Result *ret)
{
    const char *key = cn_request_header(q, "Idempotency-Key");
    struct preferences p = {CN_PREFER_INIT, 0};
    struct cn_call *c = cn_xcalloc(1, sizeof(*c));
    struct cn_err err = CN_ERR_INIT;

    q->call = c;
    q->call_release = release_call;
    MHD_get_connection_values(q->c, MHD_HEADER_KIND, on_header, &p);
    c->is_async = is_async;
    c->may_wait_s = p.prefer.respond_async ? CN_MAX(p.prefer.wait_s, 0) : -1;
    if (p.keys > 1)
        cn_fail(&err, CN_EINVAL, "there is more than one Idempotency-Key");
    else if (key != NULL)
        cn_idempotency_key(key, c->key, &err);
    if (err.code != 0) {
        *ret = cn_reply_fault(q, CN_FAULT_BAD_REQUEST, err.msg, NULL);
        return NULL;
    }
    return c;
}

/* A server without a store ignores the preference, as it may; an Idempotency-Key it may not. */
static void choose_durable(struct cn_request *q, struct cn_call *c)
{
    bool stored = cn_jobs_storage(q->e->s->o.jobs, NULL) != CN_ENOTFOUND;

    if (!stored)
        c->may_wait_s = -1;
    c->durable = c->is_async || c->key[0] != '\0' || c->may_wait_s >= 0;
}

static enum MHD_Result admit(struct cn_request *q, bool is_async)
{
    const char *type = cn_request_header(q, "Content-Type");
    const char *coding = cn_request_header(q, "Content-Encoding");
    struct cn_err err = CN_ERR_INIT;
    enum MHD_Result rc = MHD_YES;
    struct cn_refused why;
    struct cn_call *c;

    if (type == NULL || (!is_json(type) && !cn_multipart_is(type)))
        return cn_reply_fault(q, CN_FAULT_MEDIA_TYPE,
                              "expected application/json or multipart/form-data", NULL);
    if (coding != NULL && strcasecmp(coding, "identity") != 0)
        return cn_reply_fault(q, CN_FAULT_MEDIA_TYPE, "encoded bodies are not supported", NULL);
    /* Another node should do it: nobody knows when there is a next process here. With an inherited
     * socket there is one, and jobs are kept for it. */
    if (q->e->s->is_draining && !q->e->s->is_handoff)
        return cn_reply_fault(q, CN_FAULT_DRAINING, "jobs are finished, new ones refused", NULL);
    if ((c = read_head(q, is_async, &rc)) == NULL)
        return rc;
    choose_durable(q, c);
    /* Who comes again with a key may be told of his job whatever the queue is like. */
    if (c->key[0] == '\0' && cn_jobs_admit(q->e->s->o.jobs, q->tenant, c->durable, &why, &err) < 0)
        return refuse(q, why.kind, &err, why.retry_after_s);
    return MHD_YES;
}

enum MHD_Result cn_images_admit(struct cn_request *q)
{
    return admit(q, false);
}

enum MHD_Result cn_jobs_admit_route(struct cn_request *q)
{
    return q->method == CN_POST ? admit(q, true) : MHD_YES;
}

/* ---- what is wanted ---- */

/* JSON, parts, or the picture itself? False: none of them, and the answer is on its way. */
static bool negotiate(struct cn_request *q, const struct cn_spec *spec, enum MHD_Result *ret)
{
    const char *accept = cn_request_header(q, "Accept");
    const char *media = cn_media_of(spec->format);
    struct cn_call *c = q->call;
    bool json_named, parts_named;
    double json = cn_accept_quality(accept, "application/json", &json_named);
    double parts = cn_accept_quality(accept, "multipart/mixed", &parts_named);
    double picture = cn_accept_quality(accept, media, NULL);
    char text[200];

    c->in_parts = parts_named && (!json_named || parts >= json);
    if (c->in_parts)
        return true;
    if (spec->n > 1 && !json_named) {
        snprintf(text, sizeof(text),
                 "%d images do not fit into one answer of type %s: ask for application/json or "
                 "multipart/mixed",
                 spec->n, media);
        *ret = cn_reply_fault(q, CN_FAULT_NOT_ACCEPTABLE, text, "/n");
        return false;
    }
    if (json < 0 && picture < 0) {
        snprintf(text, sizeof(text), "there are %s, application/json and multipart/mixed", media);
        *ret = cn_reply_fault(q, CN_FAULT_NOT_ACCEPTABLE, text, "/format");
        return false;
    }
    c->as_json = spec->n > 1 || json > picture || (json_named && json == picture);
    return true;
}

static size_t image_bytes(const struct cn_spec *s)
{
    size_t n = s->init_image.len + s->mask.len;

    for (int i = 0; i < s->n_controls; i++)
        n += s->control[i].image.len;
    return n;
}

/* ---- following the job ---- */

static void stop_timer(struct cn_call *c)
{
    if (c->timer == NULL)
        return;
    uv_timer_stop(c->timer);
    uv_close((uv_handle_t *)c->timer, (uv_close_cb)free);
    c->timer = NULL;
}

static void release_call(struct cn_request *q)
{
    struct cn_call *c = q->call;
    struct cn_server *s = q->e->s;

    if (c->sub != NULL)
        cn_jobs_withdraw(c->sub, !c->durable);
    else if (!c->durable && c->id[0] != '\0' && !c->ended)
        cn_jobs_cancel(s->o.jobs, NULL, c->id, NULL, NULL, NULL);
    if (c->watch != NULL)
        cn_watch_free(c->watch);
    stop_timer(c);
    s->inflight -= c->bytes;
    cn_job_unref(c->job);
    free(c->sent);
    free(c);
    q->call = NULL;
}

/* Reads events until there are none, or there is something for the client. */
static void follow(struct cn_request *q)
{
    struct cn_call *c = q->call;
    struct cn_job_event e;

    while (!c->ended && cn_watch_next(c->watch, &e)) {
        if (e.kind == CN_EVENT_IMAGE && c->in_parts) {
            c->first_image = e.index;
            cn_request_resume(q);
            return;
        }
        if (e.kind != CN_EVENT_DONE)
            continue;
        c->ended = true;
        c->state = e.state;
        c->err = e.err;
    }
    if (c->ended)
        cn_request_resume(q);
}

static void on_wake(void *arg)
{
    struct cn_request *q = arg;

    if (q->stream != NULL)
        cn_stream_wake(q->stream);
    else if (q->suspended)
        follow(q);
}

static void on_wait_over(uv_timer_t *t)
{
    struct cn_request *q = t->data;

    ((struct cn_call *)q->call)->waited = true;
    cn_request_resume(q);
}

static void wait_a_while(struct cn_request *q)
{
    struct cn_call *c = q->call;

    c->timer = cn_xcalloc(1, sizeof(*c->timer));
    uv_timer_init(q->e->s->o.loop, c->timer);
    c->timer->data = q;
    uv_timer_start(c->timer, on_wait_over, (uint64_t)c->may_wait_s * 1000, 0);
}

/* A job that is not kept ends before the server does; one that is kept may not. */
static void on_close(struct cn_request *q)
{
    ((struct cn_call *)q->call)->cut = true;
    if (q->stream == NULL) /* streams are woken as such */
        cn_request_resume(q);
}

static void accepted(struct cn_request *q, const struct cn_submitted *sub)
{
    struct cn_call *c = q->call;

    snprintf(c->id, sizeof(c->id), "%s", sub->id);
    memcpy(q->job_id, c->id, sizeof(q->job_id));
    c->job = sub->job == NULL ? NULL : cn_job_ref(sub->job);
    if (c->is_async || c->may_wait_s == 0) {
        cn_request_resume(q);
        return;
    }
    if (cn_jobs_watch(q->e->s->o.jobs, q->tenant, c->id, 0, on_wake, q, &c->watch, &c->err) < 0) {
        cn_request_resume(q);
        return;
    }
    if (c->durable)
        cn_request_on_close(q, on_close);
    if (c->may_wait_s > 0)
        wait_a_while(q);
    follow(q);
}

static void on_submitted(void *arg, const struct cn_submitted *sub)
{
    struct cn_request *q = arg;
    struct cn_call *c = q->call;

    c->sub = NULL; /* there is no second callback */
    c->outcome = sub->outcome;
    if (sub->outcome == CN_SUBMIT_NEW || sub->outcome == CN_SUBMIT_REPLAY) {
        accepted(q, sub);
        return;
    }
    c->refusal = sub->refusal;
    c->retry_after_s = sub->retry_after_s;
    if (sub->err != NULL)
        c->err = *sub->err;
    cn_request_resume(q);
}

/* ---- the answer ---- */

static enum MHD_Result answer_submission(struct cn_request *q)
{
    const struct cn_call *c = q->call;

    switch (c->outcome) {
    case CN_SUBMIT_MISMATCH:
        return cn_reply_fault(q, CN_FAULT_KEY_MISMATCH,
                              "another request was accepted with this key", NULL);
    case CN_SUBMIT_IN_PROGRESS:
        return cn_reply_fault(q, CN_FAULT_KEY_IN_USE,
                              "another request with this key is being accepted", NULL);
    default:
        return refuse(q, c->refusal, &c->err, c->retry_after_s);
    }
}

/* When it makes sense to look again: not before the end that is expected, but now and then. */
int cn_look_again_s(const struct cn_job_view *v)
{
    return v->eta_s < 1 ? 1 : (int)CN_MIN(ceil(v->eta_s), 60);
}

static enum MHD_Result reply_accepted(struct cn_request *q)
{
    const struct cn_call *c = q->call;
    struct cn_err err = CN_ERR_INIT;
    struct cn_job_view v;
    struct cn_buf b;
    enum MHD_Result rc;

    if (cn_jobs_view(q->e->s->o.jobs, q->tenant, c->id, &v, &err) < 0)
        return cn_reply_err(q, &err);
    cn_buf_init(&b, 4096);
    cn_result_accepted(&v, &b);
    cn_reply_field(q, "Location", "/v1/jobs/%s", c->id);
    cn_reply_field(q, "X-Job-Id", "%s", c->id);
    cn_reply_field(q, "Retry-After", "%d", cn_look_again_s(&v));
    if (c->may_wait_s >= 0)
        cn_reply_field(q, "Preference-Applied", "respond-async");
    cn_job_view_release(&v);
    rc = cn_reply_take(q, 202, "application/json", &b);
    cn_buf_release(&b);
    return rc;
}

/* Called after each suspension of a request that was submitted. */
static enum MHD_Result answer(struct cn_request *q)
{
    struct cn_call *c = q->call;

    stop_timer(c);
    if (c->id[0] == '\0')
        return answer_submission(q);
    if (!c->is_async && c->watch == NULL && c->err.code != 0)
        return cn_reply_err(q, &c->err);
    if (c->ended)
        return cn_reply_end(q);
    if (c->cut && c->may_wait_s < 0) {
        cn_reply_field(q, "X-Job-Id", "%s", c->id);
        return cn_reply_fault(q, CN_FAULT_DRAINING,
                              "the job is kept: ask again with the same Idempotency-Key", NULL);
    }
    if (!c->cut && c->in_parts && c->first_image >= 0)
        return cn_reply_parts(q);
    return reply_accepted(q);
}

static enum MHD_Result submit(struct cn_request *q, struct cn_spec *spec,
                              const unsigned char *digest)
{
    struct cn_server *s = q->e->s;
    struct cn_call *c = q->call;
    struct cn_submit_options o = {
        .durable = c->durable, .waits = !c->is_async, .request_id = q->id};
    struct cn_err err = CN_ERR_INIT;
    enum MHD_Result rc;

    if (cn_catalog_resolve(cn_dispatch_catalog(s->o.dispatch), spec, &err) < 0 ||
        cn_spec_check(spec, &s->o.limits, &err) < 0 || (!c->is_async && !negotiate(q, spec, &rc))) {
        if (err.code != 0)
            rc = cn_reply_err(q, &err);
        cn_spec_release(spec);
        return rc;
    }
    if (s->inflight + image_bytes(spec) > s->o.max_inflight) {
        cn_spec_release(spec);
        return cn_reply_fault(q, CN_FAULT_OVERLOADED, "the waiting jobs need too much memory",
                              NULL);
    }
    if (c->key[0] != '\0') {
        o.route = q->route->path;
        o.key = c->key;
        memcpy(o.fingerprint, digest, sizeof(o.fingerprint));
    }
    c->first_image = -1;
    c->n = spec->n;
    c->bytes = c->durable ? 0 : image_bytes(spec); /* durable: the service has its own bounds */
    s->inflight += c->bytes;
    c->sub = cn_jobs_submit(s->o.jobs, spec, q->tenant, &o, on_submitted, q);
    cn_request_suspend(q, answer, !c->is_async);
    return MHD_YES;
}

static enum MHD_Result take(struct cn_request *q)
{
    unsigned char digest[CN_SHA256_BYTES];
    struct cn_err err = CN_ERR_INIT;
    enum cn_fault fault;
    struct cn_spec spec;

    if (cn_reading_take(q, &spec, digest, &fault, &err) < 0)
        return fault == CN_FAULT_COUNT ? cn_reply_err(q, &err)
                                       : cn_reply_fault(q, fault, err.msg, err.where);
    return submit(q, &spec, digest);
}

enum MHD_Result cn_images_handle(struct cn_request *q)
{
    const struct cn_call *c = q->call;

    if (cn_reading_start(q, c->key[0] != '\0', take))
        return MHD_YES; /* take is called when it is read */
    return take(q);
}
