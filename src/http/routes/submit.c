/* POST /v1/images, POST /v1/jobs and their like in other dialects: a request becomes a job.
 *
 * DESIGN. All give the job to the service (job/jobs.h) and wait suspended for its answer. /v1/jobs
 * answers 202 when the job is kept. /v1/images follows the job's events until its end: a client
 * that hangs up before cancels it. With "Prefer: respond-async" or an Idempotency-Key the job is
 * kept as one of /v1/jobs, and hanging up leaves it alone: with the key it can be asked for again.
 *
 * A request goes through the stages of enum cn_submit_stage in their order. Each callback notes
 * what has come; run_stages() does what comes next, until it has to wait. The request stays
 * suspended on the way, because resuming and suspending costs four system calls.
 */
#include "base/base.h"
#include "api/result.h"
#include "base/mem.h"
#include "http/core/core.h"
#include "http/routes/submit_priv.h"
#include "notifier/notifier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ACCEPTED_MAX = 16384 };

/* ---- following the job ---- */

static void stop_timer(struct cn_submit_ctx *c)
{
    if (c->timer == NULL)
        return;
    uv_timer_stop(c->timer);
    uv_close((uv_handle_t *)c->timer, (uv_close_cb)free);
    c->timer = NULL;
}

static void dispose(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;

    cn_parse_drop(c->parse);
    cn_a1111_delist(q);
    if (c->sub != NULL)
        cn_jobs_withdraw(c->sub, !c->outlives);
    else if (!c->outlives && c->id[0] != '\0' && !c->ended)
        cn_jobs_abandon(cn_jobs_of(q), NULL, c->id);
    if (c->read != NULL)
        cn_jobs_forget(c->read);
    if (c->watch != NULL)
        cn_watch_free(c->watch);
    if (c->viewed)
        cn_job_view_release(&c->view);
    if (c->asked)
        cn_picture_drop(&c->picture);
    stop_timer(c);
    q->core->inflight -= c->bytes;
    cn_api_beside_release(&c->beside);
    cn_warnings_release(&c->warnings);
    cn_job_unref(c->job);
}

/* Something came from the service: an event, or what was asked for. */
static void wake(void *arg)
{
    struct cn_request *q = arg;
    struct cn_submit_ctx *c = q->ctx;
    int k;

    if (!q->sending && c->stage == CN_SUBMIT_FOLLOWING) { /* only what there is an answer to */
        while (!c->ended && c->first_image < 0 && cn_submit_next_event(c, &k))
            if (!c->ended && c->form == CN_AS_PARTS)
                c->first_image = k;
        if (!c->ended && c->first_image < 0)
            return;
    }
    cn_request_resume(q);
}

static void run_stages(struct cn_request *q);

/* What was waited for has come. The request goes on from here, and the transport hears of it when
 * there is an answer. */
static void came(struct cn_request *q)
{
    if (!q->suspended || ((struct cn_submit_ctx *)q->ctx)->running)
        return; /* whoever runs the stages goes on with them */
    run_stages(q);
    if (q->status != 0)
        cn_request_resume(q);
}

static void on_followed(void *arg, struct cn_watch *watch, const struct cn_err *err)
{
    struct cn_request *q = arg;
    struct cn_submit_ctx *c = q->ctx;

    c->read = NULL;
    c->watch = watch;
    if (watch == NULL)
        c->err = *err;
    c->stage = CN_SUBMIT_FOLLOWING;
    came(q);
}

static void on_wait_over(uv_timer_t *t)
{
    struct cn_request *q = t->data;

    ((struct cn_submit_ctx *)q->ctx)->waited = true;
    cn_request_resume(q);
}

static void wait_a_while(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;

    c->timer = cn_xcalloc(1, sizeof(*c->timer));
    uv_timer_init(q->core->o.loop, c->timer);
    c->timer->data = q;
    uv_timer_start(c->timer, on_wait_over, (uint64_t)c->may_wait_s * 1000, 0);
}

static void on_submitted(void *arg, const struct cn_submitted *sub)
{
    struct cn_request *q = arg;
    struct cn_submit_ctx *c = q->ctx;

    c->sub = NULL;    /* there is no second callback */
    if (c->durable) { /* from here on the service's own bounds hold */
        q->core->inflight -= c->bytes;
        c->bytes = 0;
    }
    c->outcome = sub->outcome;
    c->refusal = sub->refusal;
    c->retry_after_s = sub->retry_after_s;
    if (sub->err != NULL)
        c->err = *sub->err;
    if (sub->outcome == CN_SUBMIT_NEW || sub->outcome == CN_SUBMIT_REPLAY) {
        snprintf(c->id, sizeof(c->id), "%s", sub->id);
        cn_request_set_subject(q, c->id);
        c->job = sub->job == NULL ? NULL : cn_job_ref(sub->job);
    }
    came(q);
}

static void on_looked(void *arg, struct cn_job_view *view, const struct cn_err *err)
{
    struct cn_request *q = arg;
    struct cn_submit_ctx *c = q->ctx;

    c->read = NULL;
    c->viewed = view != NULL;
    if (view != NULL)
        c->view = *view;
    else
        c->err = *err;
    came(q);
}

/* ---- answers ---- */

static void answer_not_accepted(struct cn_request *q)
{
    const struct cn_submit_ctx *c = q->ctx;

    if (c->outcome == CN_SUBMIT_MISMATCH)
        cn_answer_problem(q, CN_PROBLEM_KEY_MISMATCH, "another request was accepted with this key",
                          NULL);
    else if (c->outcome == CN_SUBMIT_IN_PROGRESS)
        cn_answer_problem(q, CN_PROBLEM_KEY_IN_USE,
                          "another request with this key is being accepted", NULL);
    else
        cn_answer_refusal(q, c->refusal, &c->err, c->retry_after_s);
}

static void answer_accepted(struct cn_request *q)
{
    const struct cn_submit_ctx *c = q->ctx;
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;

    cn_buf_init(&b, ACCEPTED_MAX);
    if (cn_result_accepted(&c->view, &b, &err) < 0) {
        cn_buf_release(&b);
        cn_answer_err(q, &err);
        return;
    }
    cn_answer_field(q, "Location", "/v1/jobs/%s", c->id);
    cn_answer_field(q, "Retry-After", "%d", cn_look_again_s(&c->view));
    if (c->may_wait_s >= 0)
        cn_answer_field(q, "Preference-Applied", "respond-async");
    cn_answer_buf(q, 202, "application/json", &b);
}

/* ---- the stages: each does its part, and says whether the next one can go on at once ---- */

/* The key may be for some models only. False: answered. */
static bool check_models(struct cn_request *q, const struct cn_spec *spec)
{
    const char *name = cn_guard_allows_model(q->who.models, spec->model) ? NULL : spec->model;
    char where[64] = "/model", text[160];

    if (spec->kind != CN_KIND_DRAW) /* it has none */
        return true;
    if (name == NULL && spec->vae[0] != '\0' && !cn_guard_allows_model(q->who.models, spec->vae)) {
        name = spec->vae;
        snprintf(where, sizeof(where), "/vae");
    }
    for (int i = 0; name == NULL && i < spec->n_controls; i++)
        if (!cn_guard_allows_model(q->who.models, spec->control[i].model)) {
            name = spec->control[i].model;
            snprintf(where, sizeof(where), "/controls/%d/model", i);
        }
    if (name == NULL)
        return true;
    snprintf(text, sizeof(text), "the key does not allow the model \"%.80s\"", name);
    cn_answer_problem(q, CN_PROBLEM_FORBIDDEN, text, where);
    return false;
}

/* The operator must allow it. False: answered. */
static bool check_webhook(struct cn_request *q, const struct cn_api_webhook *webhook,
                          char host[CN_NOTIFIER_HOST])
{
    struct cn_err err = CN_ERR_INIT;

    if (webhook->url == NULL ||
        cn_notifier_check(cn_app_of(q)->o.notifier, webhook->url, host, &err) == CN_OK)
        return true;
    cn_answer_problem(q, err.code == CN_ENOMEM ? CN_PROBLEM_MEMORY : CN_PROBLEM_VALIDATION, err.msg,
                      "/webhook/url");
    return false;
}

static bool submit(struct cn_request *q, struct cn_spec *spec, const unsigned char *digest)
{
    struct cn_submit_ctx *c = q->ctx;
    const struct cn_api_webhook *webhook = &c->beside.webhook;
    char host[CN_NOTIFIER_HOST];
    struct cn_store_webhook told = {webhook->url, host,
                                    webhook->context == NULL ? "" : webhook->context};
    struct cn_app *app = cn_app_of(q);
    struct cn_submit_options o = {.waits = !c->ask->is_async, .request_id = q->id};
    struct cn_err err = CN_ERR_INIT;

    if (c->ask->complete != NULL)
        c->ask->complete(q, spec);
    if (cn_catalog_resolve(cn_dispatch_catalog(app->o.dispatch), spec, &err) < 0 ||
        cn_spec_check(spec, &app->o.limits, &err) < 0)
        cn_answer_err(q, &err);
    else if (!check_models(q, spec) || !check_webhook(q, webhook, host))
        ; /* answered */
    else if (!c->ask->is_async && (!cn_submit_fits(q, spec) || !c->ask->negotiate(q, spec)))
        ; /* answered */
    else if (q->core->inflight + cn_spec_image_bytes(spec) > q->core->o.max_inflight)
        cn_answer_problem(q, CN_PROBLEM_OVERLOADED, "the waiting jobs need too much memory", NULL);
    if (q->status != 0) {
        cn_spec_release(spec);
        return false;
    }
    o.durable = c->durable; /* the form of the answer may want it kept */
    if (c->key[0] != '\0') {
        o.route = q->route->path;
        o.key = c->key;
        memcpy(o.fingerprint, digest, sizeof(o.fingerprint));
    }
    if (webhook->url != NULL)
        o.webhook = &told;
    c->first_image = -1;
    c->n = cn_spec_pictures(spec);
    c->bytes = cn_spec_image_bytes(spec);
    q->core->inflight += c->bytes;
    c->stage = CN_SUBMIT_WAITING;
    if (c->ask->is_listed)
        cn_a1111_enlist(q);
    c->sub = cn_jobs_submit(app->o.jobs, spec, q->who.tenant, &o, on_submitted, q);
    return false;
}

static bool take_body(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;
    unsigned char digest[CN_SHA256_BYTES];
    struct cn_err err = CN_ERR_INIT;
    enum cn_problem_kind kind;
    struct cn_spec spec;
    int rc;

    if (!cn_parse_done(c->parse))
        return false;
    rc = cn_parse_take(c->parse, &spec, &c->beside, digest, &kind, &err);
    c->parse = NULL;
    if (rc == CN_OK)
        return submit(q, &spec, digest);
    if (kind == CN_PROBLEM_KIND_COUNT)
        cn_answer_err(q, &err);
    else
        cn_answer_problem(q, kind, err.msg, err.where);
    return false;
}

static bool look(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;
    struct cn_jobs_read *read;

    stop_timer(c);
    c->stage = CN_SUBMIT_LOOKING;
    read = cn_jobs_look(cn_jobs_of(q), q->who.tenant, c->id, on_looked, q);
    if (c->viewed || c->err.code != 0)
        return true;
    c->read = read;
    return false;
}

static bool open_events(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;
    struct cn_jobs_read *read;

    if (c->sub != NULL)
        return false;
    if (c->id[0] == '\0') {
        answer_not_accepted(q);
        return false;
    }
    if (c->ask->is_async || c->may_wait_s == 0)
        return look(q);
    c->stage = CN_SUBMIT_OPENING;
    if (c->may_wait_s > 0)
        wait_a_while(q);
    read = cn_jobs_follow(cn_jobs_of(q), q->who.tenant, c->id, 0, wake, on_followed, q);
    if (c->stage == CN_SUBMIT_FOLLOWING)
        return true;
    c->read = read;
    return false;
}

/* The end of the job, for who waited for it. True: what is missing for the answer was asked for, or
 * is there. */
static bool answer_end(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;

    stop_timer(c);
    if (c->state == CN_JOB_CANCELLED && c->interrupted) {
        c->err = (struct cn_err)CN_ERR_INIT;
    } else if (c->state != CN_JOB_SUCCEEDED) {
        cn_answer_warnings(q);
        cn_answer_problem(q, cn_problem_of_end(c->state, &c->err), c->err.msg, c->err.where);
        return false;
    }
    if (c->form == CN_AS_PARTS) {
        c->stage = CN_SUBMIT_ANSWERED;
        cn_answer_parts(q);
        return false;
    }
    if (c->form == CN_AS_JSON && c->durable)
        return look(q);
    c->stage = CN_SUBMIT_LOOKING;
    if (c->form == CN_AS_PICTURE) {
        c->asked = true;
        cn_picture_ask(&c->picture, q, c->job, c->id, 0, wake, q);
    }
    return true;
}

static bool follow(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;

    if (c->watch == NULL) {
        cn_answer_err(q, &c->err);
        return false;
    }
    if (c->form == CN_AS_STREAM) {
        c->stage = CN_SUBMIT_ANSWERED;
        cn_answer_openai_stream(q);
        return false;
    }
    if (!c->ended && c->first_image < 0) { /* what came before anybody listened */
        int k;

        while (!c->ended && c->first_image < 0 && cn_submit_next_event(c, &k))
            if (!c->ended && c->form == CN_AS_PARTS)
                c->first_image = k;
    }
    if (c->ended)
        return answer_end(q);
    if (c->cut && c->may_wait_s < 0) {
        cn_answer_problem(q, CN_PROBLEM_DRAINING,
                          "the job is kept: ask again with the same Idempotency-Key", NULL);
    } else if (!c->cut && c->first_image >= 0) {
        c->stage = CN_SUBMIT_ANSWERED;
        stop_timer(c);
        cn_answer_parts(q);
    } else if (c->cut || c->waited) {
        return look(q);
    }
    return false;
}

/* What was looked for is there: the answer can be given. */
static bool answer(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;

    if (c->asked && c->picture.err.code != 0)
        cn_answer_no_picture(q, &c->picture.err);
    else if (c->asked && c->picture.done)
        cn_answer_result_picture(q);
    else if (c->asked)
        return false;
    else if (!c->viewed && c->err.code != 0)
        cn_answer_err(q, &c->err);
    else if (c->ended && (c->viewed || !c->durable))
        cn_answer_result_json(q);
    else if (c->viewed)
        answer_accepted(q);
    return false;
}

static void run_stages(struct cn_request *q)
{
    static bool (*const stage[])(struct cn_request * q) = {
        [CN_SUBMIT_PARSING] = take_body, [CN_SUBMIT_WAITING] = open_events,
        [CN_SUBMIT_OPENING] = NULL,      [CN_SUBMIT_FOLLOWING] = follow,
        [CN_SUBMIT_LOOKING] = answer,    [CN_SUBMIT_ANSWERED] = NULL};
    struct cn_submit_ctx *c = q->ctx;

    c->running = true;
    while (stage[c->stage] != NULL && stage[c->stage](q))
        ;
    c->running = false;
}

static void go_on(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;

    run_stages(q);
    /* a client that hangs up ends what it waits for, but not the commit of a job of /v1/jobs: it is
     * on its way to the disk, and may be asked for */
    if (q->status == 0)
        cn_request_suspend(q, !c->ask->is_async || c->stage == CN_SUBMIT_PARSING);
}

static void start(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;

    c->stage = CN_SUBMIT_PARSING;
    c->parse = cn_parse_start(q, c->ask, c->key[0] != '\0');
    go_on(q);
}

/* A job that is not kept ends before the server does; one that is kept may not. What is with the
 * store is answered when the store has answered. */
static void on_shutdown(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;

    if (!c->durable)
        return;
    c->cut = true;
    if (q->sending || c->stage == CN_SUBMIT_FOLLOWING)
        cn_request_resume(q);
}

const struct cn_handler cn_submit = {.ctx_size = sizeof(struct cn_submit_ctx),
                                     .admit = cn_submit_admit,
                                     .start = start,
                                     .resume = go_on,
                                     .shutdown = on_shutdown,
                                     .dispose = dispose};

const struct cn_ask cn_ask_images = {.read = cn_api_read_images,
                                     .may_defer = true,
                                     .negotiate = cn_negotiate_native,
                                     .json = &cn_result_native};
const struct cn_ask cn_ask_annotate = {.read = cn_api_read_annotation,
                                       .may_defer = true,
                                       .negotiate = cn_negotiate_native,
                                       .json = &cn_result_native};
const struct cn_ask cn_ask_jobs = {.read = cn_api_read_jobs, .is_async = true, .may_defer = true};
