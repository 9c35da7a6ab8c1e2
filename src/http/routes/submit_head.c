/* What a request for images says before its job is given away: in its head, and how its answer is
 * to look. What cannot be answered later is refused here. */
#include "base/base.h"
#include "http/core/accept.h"
#include "http/core/core.h"
#include "http/core/multipart.h"
#include "http/routes/submit_priv.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- the head ---- */

static bool is_json(const char *type)
{
    size_t n = strlen("application/json");

    return strncasecmp(type, "application/json", n) == 0 &&
           (type[n] == '\0' || strchr("; \t", type[n]) != NULL);
}

struct preferences {
    struct cn_prefer prefer;
    int keys; /* Idempotency-Key lines */
};

static void on_header(void *arg, const char *name, const char *value)
{
    struct preferences *p = arg;

    if (strcasecmp(name, "Prefer") == 0)
        cn_prefer_add(&p->prefer, value);
    p->keys += strcasecmp(name, "Idempotency-Key") == 0;
}

/* What the head says about the job; false: refused. */
static bool read_head(struct cn_request *q)
{
    const char *key = cn_request_header(q, "Idempotency-Key");
    struct preferences p = {CN_PREFER_INIT, 0};
    struct cn_submit_ctx *c = q->ctx;
    struct cn_err err = CN_ERR_INIT;

    cn_request_each_header(q, on_header, &p);
    c->may_wait_s = p.prefer.respond_async && c->ask->may_defer ? CN_MAX(p.prefer.wait_s, 0) : -1;
    if (p.keys > 1)
        cn_fail(&err, CN_EINVAL, "there is more than one Idempotency-Key");
    else if (key != NULL)
        cn_idempotency_key(key, c->key, &err);
    if (err.code != 0)
        cn_answer_problem(q, CN_PROBLEM_BAD_REQUEST, err.msg, NULL);
    return err.code == 0;
}

/* A server without a store ignores the preference, as it may; an Idempotency-Key it may not. */
static void choose_durable(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;

    if (cn_jobs_storage(cn_jobs_of(q), NULL) == CN_ENOTFOUND)
        c->may_wait_s = -1;
    c->durable = c->ask->is_async || c->key[0] != '\0' || c->may_wait_s >= 0;
    c->outlives = c->durable;
}

void cn_submit_admit(struct cn_request *q)
{
    const char *type = cn_request_header(q, "Content-Type");
    const char *coding = cn_request_header(q, "Content-Encoding");
    struct cn_submit_ctx *c = q->ctx;
    struct cn_err err = CN_ERR_INIT;
    struct cn_refused why;

    c->ask = q->route->what;
    if (!c->ask->is_loose && (type == NULL || (!is_json(type) && !cn_multipart_is(type)))) {
        cn_answer_problem(q, CN_PROBLEM_MEDIA_TYPE,
                          "expected application/json or multipart/form-data", NULL);
        return;
    }
    if (coding != NULL && strcasecmp(coding, "identity") != 0) {
        cn_answer_problem(q, CN_PROBLEM_MEDIA_TYPE, "encoded bodies are not supported", NULL);
        return;
    }
    /* Another node should do it: nobody knows when there is a next process here. With an inherited
     * socket there is one, and jobs are kept for it. */
    if (q->core->is_draining && !cn_app_of(q)->is_handoff) {
        cn_answer_problem(q, CN_PROBLEM_DRAINING, "jobs are finished, new ones refused", NULL);
        return;
    }
    if (!read_head(q))
        return;
    choose_durable(q);
    /* Who comes again with a key may be told of his job whatever the queue is like. */
    if (c->key[0] == '\0' &&
        cn_jobs_admit(cn_jobs_of(q), q->who.tenant, c->durable, &why, &err) < 0)
        cn_answer_refusal(q, why.kind, &err, why.retry_after_s);
    else if (!c->durable && cn_outflight_full(&q->core->out))
        cn_answer_problem(q, CN_PROBLEM_OVERLOADED,
                          "the answers on their way out take all the memory they may", NULL);
}

/* ---- what is wanted ---- */

/* JSON, parts, or the picture itself? False: none of them, and it is answered. */
bool cn_negotiate_native(struct cn_request *q, const struct cn_spec *spec)
{
    const char *accept = cn_request_header(q, "Accept");
    const char *media = cn_media_of(spec->format);
    struct cn_submit_ctx *c = q->ctx;
    int n = cn_spec_pictures(spec);
    bool json_named, parts_named;
    double json = cn_accept_quality(accept, "application/json", &json_named);
    double parts = cn_accept_quality(accept, "multipart/mixed", &parts_named);
    double picture = cn_accept_quality(accept, media, NULL);
    char text[200];

    if (parts_named && (!json_named || parts >= json)) {
        c->form = CN_AS_PARTS; /* before it is drawn: afterwards it would be too late to refuse */
        if (!cn_request_reserve_stream(q))
            cn_answer_problem(q, CN_PROBLEM_OVERLOADED, "there are too many streams", NULL);
        return q->status == 0;
    }
    if (n > 1 && !json_named) {
        snprintf(text, sizeof(text),
                 "%d images do not fit into one answer of type %s: ask for application/json or "
                 "multipart/mixed",
                 n, media);
        cn_answer_problem(q, CN_PROBLEM_NOT_ACCEPTABLE, text, "/n");
        return false;
    }
    if (json < 0 && picture < 0) {
        snprintf(text, sizeof(text), "available types: %s, application/json and multipart/mixed",
                 media);
        cn_answer_problem(q, CN_PROBLEM_NOT_ACCEPTABLE, text, "/format");
        return false;
    }
    if (n > 1 || json > picture || (json_named && json == picture))
        c->form = CN_AS_JSON;
    return true;
}

/* Pictures of a job that is not kept lie in memory until they are sent: what could never be held is
 * refused before it is drawn. Three bytes a pixel is what a picture may have at worst. */
bool cn_submit_fits(struct cn_request *q, const struct cn_spec *spec)
{
    const struct cn_submit_ctx *c = q->ctx;
    int width, height;
    uint64_t worst;
    char text[160];

    cn_spec_final_size(spec, spec->width, spec->height, &width, &height);
    worst = (uint64_t)cn_spec_pictures(spec) * (uint64_t)width * (uint64_t)height * 3;
    if (c->durable || worst <= q->core->out.max)
        return true;
    snprintf(text, sizeof(text),
             "these images may have %lu MiB together, and an answer holds at most %zu: ask for "
             "fewer, or use /v1/jobs",
             (unsigned long)(worst >> 20), q->core->out.max >> 20);
    cn_answer_problem(q, CN_PROBLEM_VALIDATION, text, "/n");
    return false;
}
