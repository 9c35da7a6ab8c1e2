/* OpenAI's images API: errors, links to pictures, and streams of previews. The requests are
 * cn_submit's. */
#include "base/base.h"
#include "api/openai.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/mem.h"
#include "http/auth/access.h"
#include "http/routes/submit_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LINK_TTL_S = 3600, HEAD_MAX = 4096 };

static const char *credentials(const struct cn_request *q)
{
    const char *authorization = cn_request_header(q, "Authorization");
    const char *key = cn_request_header(q, "api-key"); /* as Azure's clients send it */

    if (authorization != NULL && strncasecmp(authorization, "Bearer ", 7) == 0)
        return authorization;
    if (key == NULL)
        key = cn_request_header(q, "X-Api-Key");
    return key != NULL ? key : authorization;
}

const struct cn_dialect cn_dialect_openai = {.problem_type = "application/json",
                                             .put_problem = cn_openai_put_problem,
                                             .credentials = credentials,
                                             .challenge = "Bearer realm=\"controlnetd\"",
                                             .validation_status = 400};

/* ---- what is wanted ---- */

static bool is_host(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]_");

    return n > 0 && n < 256 && s[n] == '\0';
}

/* Links as the client reached the server: by the name that it used, and through a proxy that says
 * so with TLS. */
static void make_link(struct cn_request *q, struct cn_api_beside *b)
{
    const char *proto = cn_request_header(q, "X-Forwarded-Proto");
    const char *host = q->asked.host;

    if (host == NULL || !is_host(host))
        host = "";
    if (host[0] != '\0')
        snprintf(b->link_server, sizeof(b->link_server), "%s://%s",
                 proto != NULL && strcasecmp(proto, "https") == 0 ? "https" : "http", host);
}

static bool negotiate(struct cn_request *q, const struct cn_spec *spec)
{
    struct cn_submit_ctx *c = q->ctx;

    (void)spec;
    if (c->beside.partial_images >= 0) {
        c->form = CN_AS_STREAM;
        if (!cn_request_reserve_stream(q))
            cn_answer_problem(q, CN_PROBLEM_OVERLOADED, "there are too many streams", NULL);
        return q->status == 0;
    }
    c->form = CN_AS_JSON;
    if (c->beside.as_url) {
        make_link(q, &c->beside);
        if (cn_jobs_storage(cn_jobs_of(q), NULL) == CN_OK)
            c->durable = true; /* a link has to hold */
    }
    return true;
}

/* The job has an id, and an answer: the ticket of its pictures. */
static void before_json(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;

    if (!c->beside.as_url)
        return;
    _Static_assert(sizeof(c->beside.link_ticket) >= CN_TICKET_TEXT, "a ticket fits");
    cn_access_ticket(cn_app_of(q)->access, q, CN_TICKET_RESULTS, c->id,
                     cn_wall_us() / CN_SECOND_US + LINK_TTL_S, c->beside.link_ticket);
}

const struct cn_ask cn_ask_generations = {.read = cn_api_read_generation,
                                          .has_form = true,
                                          .negotiate = negotiate,
                                          .before_json = before_json,
                                          .json = &cn_result_openai};
const struct cn_ask cn_ask_edits = {.read = cn_api_read_edit,
                                    .has_form = true,
                                    .is_edit = true,
                                    .negotiate = negotiate,
                                    .before_json = before_json,
                                    .json = &cn_result_openai};

/* ---- streams ---- */

struct stream {
    struct cn_request *q;
    int partial; /* previews that were sent */
    int k;       /* the picture that is asked for; -1: none */
    int sent;    /* pieces of its event */
    bool *done;  /* of each picture: it was sent */
    struct cn_picture picture;
    struct cn_openai_event event;
    bool closed;
};

static void release(void *arg)
{
    struct stream *s = arg;

    if (s->k >= 0)
        cn_picture_drop(&s->picture);
    free(s->done);
    free(s);
}

static void wake(void *arg)
{
    struct stream *s = arg;

    cn_request_resume(s->q);
}

static int text(struct cn_buf *b, struct cn_source **ret)
{
    *ret = cn_source_take(NULL, b);
    return 1;
}

static const struct cn_spec *spec_of(const struct stream *s)
{
    return &((struct cn_submit_ctx *)s->q->ctx)->job->spec;
}

static int put_preview(struct stream *s, const struct cn_job_event *e, struct cn_source **ret)
{
    const struct cn_openai_event event = {
        .is_edit = s->event.is_edit, .partial = s->partial++, .spec = spec_of(s)};
    struct cn_buf b;

    cn_buf_init(&b, 1 << 20);
    cn_openai_event_begin(&event, &b, NULL);
    cn_base64_encode(&b, e->data, e->len, NULL);
    cn_openai_event_end(&event, &b, NULL);
    return text(&b, ret);
}

static int put_error(struct stream *s, enum cn_job_state state, const struct cn_err *err,
                     struct cn_source **ret)
{
    struct cn_problem p = cn_problem_document(state, err);
    struct cn_buf b;

    cn_buf_init(&b, HEAD_MAX);
    cn_openai_event_error(&p, &b, NULL);
    s->closed = true;
    return text(&b, ret);
}

/* The event of picture k, in three pieces: before its base64, that, and behind it. */
static int next_of_picture(struct stream *s, struct cn_source **ret)
{
    struct cn_buf b;

    cn_buf_init(&b, HEAD_MAX);
    s->event.partial = -1;
    s->event.spec = spec_of(s);
    s->event.seed = s->picture.file.meta.seed;
    switch (s->sent++) {
    case 0:
        cn_openai_event_begin(&s->event, &b, NULL);
        return text(&b, ret);
    case 1:
        cn_buf_release(&b);
        *ret =
            cn_source_base64(cn_picture_source(&s->picture, s->q, 0, s->picture.file.meta.bytes));
        return 1;
    default:
        s->k = -1;
        s->sent = 0;
        cn_openai_event_end(&s->event, &b, NULL);
        return text(&b, ret);
    }
}

static void ask(struct stream *s, int k)
{
    struct cn_submit_ctx *c = s->q->ctx;

    s->k = k;
    s->done[k] = true;
    cn_picture_ask(&s->picture, s->q, c->job, c->id, k, wake, s);
}

/* What happened up to the next thing that is told. 1: it is in *ret; 0: nothing; -1: a picture was
 * asked for. */
static int next_event(struct stream *s, struct cn_source **ret)
{
    struct cn_submit_ctx *c = s->q->ctx;
    struct cn_job_event e;

    while (!c->ended && cn_watch_next(c->watch, &e)) {
        if (e.kind == CN_EVENT_PREVIEW && s->partial < c->beside.partial_images)
            return put_preview(s, &e, ret);
        if (e.kind == CN_EVENT_IMAGE && e.index < c->n && !s->done[e.index]) {
            ask(s, e.index);
            return -1;
        }
        if (e.kind == CN_EVENT_DONE) {
            c->ended = true;
            c->state = e.state;
            c->err = e.err;
        }
    }
    return 0;
}

static int next(void *arg, struct cn_source **ret)
{
    struct stream *s = arg;
    struct cn_submit_ctx *c = s->q->ctx;
    int rc;

    if (s->closed)
        return CN_SOURCE_END;
    if (s->k < 0 && (rc = next_event(s, ret)) == 1)
        return 1;
    for (int k = 0; s->k < 0 && c->ended && c->state == CN_JOB_SUCCEEDED && k < c->n; k++)
        if (!s->done[k])
            ask(s, k);
    if (s->k >= 0 && s->picture.done && s->picture.err.code != 0)
        return put_error(s, CN_JOB_FAILED, &s->picture.err, ret);
    if (s->k >= 0)
        return s->picture.done ? next_of_picture(s, ret) : 0;
    if (!c->ended)
        return 0;
    if (c->state != CN_JOB_SUCCEEDED)
        return put_error(s, c->state, &c->err, ret);
    return CN_SOURCE_END;
}

void cn_answer_openai_stream(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;
    struct stream *s = cn_xcalloc(1, sizeof(*s));

    s->q = q;
    s->k = -1;
    s->done = cn_xcalloc((size_t)c->n, sizeof(*s->done));
    s->event.is_edit = c->ask->is_edit;
    cn_answer_field(q, "Cache-Control", "no-cache");
    cn_answer_field(q, "X-Accel-Buffering", "no");
    cn_answer_stream(q, "text/event-stream; charset=utf-8", cn_source_chain(-1, next, release, s),
                     ": hb\n\n");
}
