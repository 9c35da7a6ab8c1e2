/* GET /v1/jobs/{id}/events: what happens to a job, as server-sent events. */
#include "base/base.h"
#include "api/result.h"
#include "base/mem.h"
#include "base/text.h"
#include "http/core/core.h"
#include "http/core/fields.h"
#include "http/routes/routes_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVENT_MAX = 256 * 1024 /* of one event: a preview of 64 KiB in base64 */ };

#define RETRY "retry: 3000\n"

static const char first_text[] = RETRY "\n";
static const char last_text[] =
    RETRY "event: shutdown\ndata: {\"detail\":\"the server is shutting down\"}\n\n";

struct events {
    struct cn_jobs_read *read; /* the watch is asked for; NULL: no more */
    struct cn_watch *watch;
    struct cn_err err; /* why there is none */
    uint64_t last;     /* the last event that the client has seen; 0: none */
    bool begun;
    bool ending, over; /* the server closes; and the client was told */
    bool has_first;    /* was looked at before the answer began */
    struct cn_job_event first;
};

/* ---- text that streams share ---- */

static struct cn_shared_text *find_text(struct cn_app *app, const char *job, uint64_t event)
{
    for (int i = 0; i < CN_TEXT_CACHE; i++) {
        struct cn_cached_text *c = &app->cache[i];

        if (c->text != NULL && c->event == event && strcmp(c->job, job) == 0) {
            c->text->refs++;
            return c->text;
        }
    }
    return NULL;
}

static void keep_text(struct cn_app *app, const char *job, uint64_t event,
                      struct cn_shared_text *text)
{
    struct cn_cached_text *c = &app->cache[app->cache_next];

    app->cache_next = (app->cache_next + 1) % CN_TEXT_CACHE;
    cn_shared_text_unref(c->text);
    snprintf(c->job, sizeof(c->job), "%s", job);
    c->event = event;
    c->text = text;
    text->refs++;
}

static struct cn_shared_text *text_of(const struct cn_buf *b)
{
    struct cn_shared_text *t = malloc(sizeof(*t) + b->len);

    if (t != NULL) {
        t->refs = 1;
        t->len = b->len;
        memcpy(t->data, b->data, b->len);
    }
    return t;
}

static void release_text(void *text)
{
    cn_shared_text_unref(text);
}

/* ---- the stream ---- */

static int put_event(struct cn_request *q, const struct cn_job_event *e, struct cn_buf *out)
{
    bool failed = e->kind == CN_EVENT_DONE && e->state != CN_JOB_SUCCEEDED;
    struct cn_problem p = {0};

    if (failed)
        p = cn_problem_document(e->state, &e->err);
    return cn_result_event(e, q->arg[0], failed ? &p : NULL, out, NULL);
}

/* Written once for all who follow the job. 1; 0: a preview that is too large is left out; no memory
 * ends the stream, and its client comes again for what it has not got. */
static int share_event(struct cn_request *q, const struct cn_job_event *e, struct cn_source **ret)
{
    struct cn_app *app = cn_app_of(q);
    struct cn_shared_text *text = find_text(app, q->arg[0], e->id);
    struct cn_buf b;

    if (text == NULL) {
        int rc;

        cn_buf_init(&b, EVENT_MAX);
        rc = put_event(q, e, &b);
        if (rc == CN_OK)
            rc = cn_buf_whole(&b, NULL);
        if (rc == CN_OK)
            text = text_of(&b);
        cn_buf_release(&b);
        if (text == NULL)
            return rc == CN_ETOOBIG ? 0 : CN_SOURCE_BROKEN;
        keep_text(app, q->arg[0], e->id, text);
    }
    *ret = cn_source_bytes(text->data, text->len, release_text, text);
    return 1;
}

static bool next_event(struct events *ev, struct cn_job_event *e)
{
    if (!ev->has_first)
        return cn_watch_next(ev->watch, e);
    ev->has_first = false;
    *e = ev->first;
    return true;
}

static int next(void *arg, struct cn_source **ret)
{
    struct cn_request *q = arg;
    struct events *ev = q->ctx;
    struct cn_job_event e;

    if (ev->over)
        return CN_SOURCE_END;
    if (ev->ending) {
        ev->over = true;
        *ret = cn_source_bytes(last_text, sizeof(last_text) - 1, NULL, NULL);
        return 1;
    }
    if (!ev->begun) {
        ev->begun = true;
        *ret = cn_source_bytes(first_text, sizeof(first_text) - 1, NULL, NULL);
        return 1;
    }
    while (next_event(ev, &e)) {
        int rc = share_event(q, &e, ret);

        if (rc != 0)
            return rc;
    }
    return cn_watch_over(ev->watch) ? CN_SOURCE_END : 0;
}

/* ---- the request ---- */

static int64_t event_id(const char *text)
{
    return text == NULL || text[0] == '\0' ? 0 : cn_decimal(text);
}

/* The last event that the client has seen; the header counts before the parameter, which a browser
 * repeats. False: one of them makes no sense, and it is answered. */
static bool last_seen(struct cn_request *q, uint64_t *ret)
{
    const char *header = cn_request_header(q, "Last-Event-ID");
    int64_t asked = event_id(cn_request_argument(q, "last_event_id"));
    int64_t last = header == NULL ? asked : event_id(header);

    if (asked < 0)
        cn_answer_parameter(q, "last_event_id", "expected an event's id");
    else if (last < 0)
        cn_answer_problem(q, CN_PROBLEM_BAD_REQUEST, "Last-Event-ID is no event's id", NULL);
    *ret = (uint64_t)last;
    return asked >= 0 && last >= 0;
}

/* Over, and the client knows: 204 tells an EventSource not to come again. */
static bool nothing_new(struct events *ev)
{
    if (ev->last == 0 || !cn_watch_next(ev->watch, &ev->first))
        return false;
    /* what a preview points to does not last; a newer one will come */
    ev->has_first = ev->first.kind != CN_EVENT_PREVIEW;
    return ev->first.kind == CN_EVENT_DONE && ev->first.id <= ev->last;
}

static void resume(struct cn_request *q)
{
    struct events *ev = q->ctx;

    if (ev->err.code != 0) {
        cn_answer_err(q, &ev->err);
    } else if (ev->watch == NULL) {
        cn_request_suspend(q, true);
    } else if (nothing_new(ev)) {
        cn_answer_empty(q, 204);
    } else {
        ev->ending = ev->ending || cn_request_is_last(q);
        cn_answer_field(q, "Cache-Control", "no-cache");
        cn_answer_field(q, "X-Accel-Buffering", "no");
        cn_answer_stream(q, "text/event-stream; charset=utf-8", cn_source_chain(-1, next, NULL, q),
                         ": hb\n\n");
    }
}

static void wake(void *arg)
{
    cn_request_resume(arg);
}

static void on_followed(void *arg, struct cn_watch *watch, const struct cn_err *err)
{
    struct cn_request *q = arg;
    struct events *ev = q->ctx;

    ev->read = NULL;
    ev->watch = watch;
    if (watch == NULL)
        ev->err = *err;
    else
        cn_request_set_subject(q, q->arg[0]);
    cn_request_resume(q);
}

static void start(struct cn_request *q)
{
    struct events *ev = q->ctx;
    struct cn_jobs_read *read;

    if (!last_seen(q, &ev->last))
        return;
    if (!cn_request_reserve_stream(q)) {
        cn_answer_problem(q, CN_PROBLEM_OVERLOADED, "there are too many streams", NULL);
        return;
    }
    read = cn_jobs_follow(cn_jobs_of(q), cn_request_scope(q), q->arg[0], ev->last, wake,
                          on_followed, q);
    if (ev->watch == NULL && ev->err.code == 0)
        ev->read = read;
    resume(q);
}

static void on_shutdown(struct cn_request *q)
{
    struct events *ev = q->ctx;

    ev->ending = true;
    if (!q->sending)
        cn_fail(&ev->err, CN_EBUSY, "the server is shutting down");
    cn_request_resume(q);
}

static void dispose(struct cn_request *q)
{
    struct events *ev = q->ctx;

    if (ev->read != NULL)
        cn_jobs_forget(ev->read);
    if (ev->watch != NULL)
        cn_watch_free(ev->watch);
}

const struct cn_handler cn_follow_events = {.ctx_size = sizeof(struct events),
                                            .start = start,
                                            .resume = resume,
                                            .shutdown = on_shutdown,
                                            .dispose = dispose};
