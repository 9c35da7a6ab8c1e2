/* GET /v1/jobs/{id}/events: what happens to a job, as server-sent events. */
#include "base/base.h"
#include "http/routes/submit_priv.h"
#include "api/problem.h"
#include "api/result.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    EVENT_MAX = 256 * 1024, /* of one event: a preview of 64 KiB in base64 */
    SHARED_FROM = 4096      /* texts from this size on are shared between streams */
};

#define RETRY "retry: 3000\n"

struct events {
    struct cn_watch *watch;
    bool begun;
    bool has_first; /* was looked at before the answer began */
    struct cn_job_event first;
};

static void release(struct cn_request *q)
{
    struct events *ev = q->call;

    if (ev->watch != NULL)
        cn_watch_free(ev->watch);
    free(ev);
    q->call = NULL;
}

static void on_wake(void *arg)
{
    struct cn_request *q = arg;

    if (q->stream != NULL)
        cn_stream_wake(q->stream);
}

/* ---- text that streams share ---- */

static struct cn_text *find_text(struct cn_server *s, const char *job, uint64_t event)
{
    for (int i = 0; i < CN_TEXT_CACHE; i++) {
        struct cn_cached_text *c = &s->cache[i];

        if (c->text != NULL && c->event == event && strcmp(c->job, job) == 0) {
            c->text->refs++;
            return c->text;
        }
    }
    return NULL;
}

static void keep_text(struct cn_server *s, const char *job, uint64_t event, struct cn_text *text)
{
    struct cn_cached_text *c = &s->cache[s->cache_next];

    s->cache_next = (s->cache_next + 1) % CN_TEXT_CACHE;
    cn_text_unref(c->text);
    memcpy(c->job, job, sizeof(c->job));
    c->event = event;
    c->text = text;
    text->refs++;
}

/* ---- the stream ---- */

static int put_event(struct cn_request *q, const struct cn_job_event *e, struct cn_buf *out)
{
    struct cn_problem p = {0};
    bool failed = e->kind == CN_EVENT_DONE && e->state != CN_JOB_SUCCEEDED;

    if (failed) {
        const struct cn_fault_info *f = cn_fault_info(cn_fault_of_end(e->state, &e->err));

        p.type = f->type;
        p.title = f->title;
        p.status = f->status;
        p.detail = e->err.msg;
        p.pointer = e->err.where;
    }
    return cn_result_event(e, q->job_id, failed ? &p : NULL, out, NULL);
}

/* A large one, from the cache or for it. */
static int share_event(struct cn_request *q, const struct cn_job_event *e, struct cn_text **ret)
{
    struct cn_server *s = q->e->s;
    struct cn_buf b;

    if ((*ret = find_text(s, q->job_id, e->id)) != NULL)
        return 1;
    cn_buf_init(&b, EVENT_MAX);
    if (put_event(q, e, &b) < 0 || (*ret = cn_text_take(&b)) == NULL) {
        cn_buf_release(&b);
        return 0; /* a preview that is too large is left out */
    }
    keep_text(s, q->job_id, e->id, *ret);
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

static int pull(void *arg, struct cn_buf *own, struct cn_text **ret)
{
    struct cn_request *q = arg;
    struct events *ev = q->call;
    struct cn_job_event e;

    if (!ev->begun) {
        ev->begun = true;
        return cn_buf_adds(own, RETRY "\n", NULL) + 1;
    }
    while (next_event(ev, &e)) {
        if (e.kind == CN_EVENT_PREVIEW && e.len >= SHARED_FROM) {
            if (share_event(q, &e, ret) > 0)
                return 1;
        } else if (put_event(q, &e, own) == CN_OK) {
            return 1;
        } else {
            cn_buf_clear(own);
        }
    }
    return cn_watch_over(ev->watch) ? -1 : 0;
}

/* ---- the request ---- */

/* The last event that the client has seen; -1: the header makes no sense. */
static int64_t last_seen(const struct cn_request *q)
{
    const char *text = cn_request_header(q, "Last-Event-ID");

    if (text == NULL)
        text = cn_request_argument(q, "last_event_id");
    return text == NULL || text[0] == '\0' ? 0 : cn_decimal(text);
}

/* Over, and the client knows: 204 tells an EventSource not to come again. */
static bool nothing_new(struct events *ev, uint64_t last)
{
    if (last == 0 || !cn_watch_next(ev->watch, &ev->first))
        return false;
    /* what a preview points to does not last; a newer one will come */
    ev->has_first = ev->first.kind != CN_EVENT_PREVIEW;
    return ev->first.kind == CN_EVENT_DONE && ev->first.id <= last;
}

enum MHD_Result cn_jobs_route_events(struct cn_request *q)
{
    static const struct cn_stream_source source = {
        .pull = pull,
        .beat = ": hb\n\n",
        .bye = RETRY "event: shutdown\ndata: {\"detail\":\"the server is shutting down\"}\n\n"};
    int64_t last = last_seen(q);
    struct cn_err err = CN_ERR_INIT;
    struct events *ev;

    if (last < 0)
        return cn_reply_fault(q, CN_FAULT_BAD_REQUEST, "Last-Event-ID is no event's id", NULL);
    if (cn_streams_full(q->e->s))
        return cn_reply_fault(q, CN_FAULT_OVERLOADED, "there are too many streams", NULL);
    ev = cn_xcalloc(1, sizeof(*ev));
    q->call = ev;
    q->call_release = release;
    if (cn_jobs_watch(q->e->s->o.jobs, cn_request_view(q), q->arg[0], (uint64_t)last, on_wake, q,
                      &ev->watch, &err) < 0) {
        ev->watch = NULL;
        return cn_reply_err(q, &err);
    }
    snprintf(q->job_id, sizeof(q->job_id), "%s", q->arg[0]);
    if (nothing_new(ev, (uint64_t)last))
        return cn_reply_empty(q, 204);
    cn_reply_field(q, "Cache-Control", "no-cache");
    cn_reply_field(q, "X-Accel-Buffering", "no");
    return cn_stream_reply(q, 200, "text/event-stream; charset=utf-8", &source, q);
}
