/* Jobs and their events as JSON. */
#include "base/base.h"
#include "api/json_priv.h"
#include "api/result.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/escape.h"

#include <stdio.h>
#include <string.h>

static json_t *time_json(int64_t us)
{
    char text[CN_TIME_TEXT];

    cn_time_text(us, text);
    return json_string(text);
}

static void set_time(json_t **o, const char *name, int64_t us)
{
    if (us > 0)
        cn_json_set(o, name, time_json(us));
}

static json_t *url_json(const char *id, int k)
{
    char text[80];

    snprintf(text, sizeof(text), "/v1/jobs/%s/images/%d", id, k);
    return json_string(text);
}

static json_t *images_json(const struct cn_job_view *v)
{
    json_t *list = json_array();

    for (int k = 0; k < v->n; k++) {
        const struct cn_image_meta *m = &v->image[k].meta;
        json_t *o = json_pack("{si sb}", "index", k, "ready", v->image[k].ready);

        if (v->image[k].ready) {
            cn_json_set(&o, "url", url_json(v->id, k));
            cn_json_set(&o, "seed", json_integer((json_int_t)m->seed));
            cn_json_set(&o, "format", json_string(cn_enum_format.name[m->format]));
            cn_json_set(&o, "width", json_integer(m->width));
            cn_json_set(&o, "height", json_integer(m->height));
            cn_json_set(&o, "bytes", json_integer((json_int_t)m->bytes));
        }
        cn_json_add(&list, o);
    }
    return list;
}

static void set_progress(json_t **o, const struct cn_job_view *v)
{
    cn_json_set(o, "progress",
                json_pack("{so si si}", "fraction", cn_json_rounded(v->fraction), "done", v->done,
                          "total", v->total));
    if (v->state == CN_JOB_QUEUED && v->position > 0)
        cn_json_set(o, "position", json_integer(v->position));
    if (v->eta_s >= 0 && v->state <= CN_JOB_RUNNING)
        cn_json_set(o, "eta_s", cn_json_rounded(v->eta_s));
}

/* How far the telling of its end is. */
static json_t *delivery_json(const struct cn_store_delivery *d)
{
    json_t *o = json_pack("{ss si}", "state", cn_enum_store_webhook_state.name[d->state],
                          "attempts", d->attempts);

    if (d->state == CN_STORE_WEBHOOK_PENDING)
        set_time(&o, "next_at", d->next_us);
    if (d->why[0] != '\0')
        cn_json_set(&o, "error", json_string(d->why));
    return o;
}

static void set_full(json_t **o, const struct cn_job_view *v)
{
    json_t *stages = json_object();

    if (v->spec != NULL)
        cn_json_set(o, "parameters", cn_json_spec(v->spec));
    if (v->delivery.state != CN_STORE_WEBHOOK_NONE)
        cn_json_set(o, "webhook", delivery_json(&v->delivery));
    for (int i = 0; i < CN_STAGE_COUNT; i++)
        if (v->stage_ms[i] > 0)
            cn_json_set(&stages, cn_enum_stage.name[i], cn_json_rounded(v->stage_ms[i]));
    cn_json_set(o, "stages_ms", stages);
}

static json_t *view_json(const struct cn_job_view *v, bool full)
{
    char events[64];
    json_t *o = json_pack("{ss ss ss sb si si}", "id", v->id, "kind",
                          cn_enum_job_kind.name[v->kind], "state", cn_enum_job_state.name[v->state],
                          "durable", v->durable, "attempt", v->attempt, "n", v->n);

    snprintf(events, sizeof(events), "/v1/jobs/%s/events", v->id);
    if (v->spec != NULL)
        cn_json_set(&o, "model", json_string(v->spec->model));
    if (v->cancelling)
        cn_json_set(&o, "cancelling", json_true());
    if (v->gone)
        cn_json_set(&o, "gone", json_true());
    set_time(&o, "created_at", v->created_us);
    set_time(&o, "started_at", v->started_us);
    set_time(&o, "ended_at", v->ended_us);
    set_time(&o, "expires_at", v->expires_us);
    set_progress(&o, v);
    cn_json_set(&o, "images", images_json(v));
    cn_json_set(&o, "warnings", cn_json_warnings(&v->warnings));
    cn_json_set(&o, "events", json_string(events));
    if (full)
        set_full(&o, v);
    return o;
}

int cn_result_accepted(const struct cn_job_view *v, struct cn_buf *out, struct cn_err *err)
{
    int rc;

    cn_buf_printf(out, NULL, "{\"id\":\"%s\",\"state\":\"%s\"", v->id,
                  cn_enum_job_state.name[v->state]);
    if (v->position > 0)
        cn_buf_printf(out, NULL, ",\"position\":%d", v->position);
    if (v->eta_s >= 0)
        cn_buf_printf(out, NULL, ",\"eta_s\":%.3f", v->eta_s);
    cn_buf_adds(out, ",\"warnings\":", NULL);
    if ((rc = cn_json_put_take(out, cn_json_warnings(&v->warnings), err)) < 0)
        return rc;
    return cn_buf_printf(out, err, ",\"url\":\"/v1/jobs/%s\",\"events\":\"/v1/jobs/%s/events\"}\n",
                         v->id, v->id);
}

/* Writes o, with the problem as its last member. Takes o. */
static int put_with_error(struct cn_buf *out, json_t *o, const struct cn_problem *error,
                          struct cn_err *err)
{
    int rc = cn_json_put_take(out, o, err);

    if (rc < 0 || error == NULL)
        return rc;
    out->len--; /* the brace */
    if ((rc = cn_buf_adds(out, ",\"error\":", err)) == CN_OK &&
        (rc = cn_problem_put(error, out, err)) == CN_OK)
        rc = cn_buf_adds(out, "}", err);
    return rc;
}

enum cn_problem_kind cn_problem_of_end(enum cn_job_state state, const struct cn_err *err)
{
    switch (state) {
    case CN_JOB_EXPIRED:
        return CN_PROBLEM_DEADLINE;
    case CN_JOB_CANCELLED:
        return CN_PROBLEM_CANCELLED;
    default:
        break;
    }
    /* the request was accepted long ago: what is too large is what came of it */
    if (err->code == CN_ETOOBIG && err->where[0] == '\0')
        return CN_PROBLEM_STORAGE;
    return cn_problem_kind_of(err);
}

struct cn_problem cn_problem_document(enum cn_job_state state, const struct cn_err *err)
{
    const struct cn_problem_kind_info *f = cn_problem_kind_info(cn_problem_of_end(state, err));

    return (struct cn_problem){.type = f->type,
                               .title = f->title,
                               .status = f->status,
                               .detail = err->msg,
                               .pointer = err->where};
}

int cn_result_view(const struct cn_job_view *v, bool full, struct cn_buf *out, struct cn_err *err)
{
    struct cn_problem p;

    if (v->state <= CN_JOB_SUCCEEDED)
        return put_with_error(out, view_json(v, full), NULL, err);
    p = cn_problem_document(v->state, &v->err);
    return put_with_error(out, view_json(v, full), &p, err);
}

int cn_result_told(const struct cn_job_view *v, const char *context, struct cn_buf *out,
                   struct cn_err *err)
{
    struct cn_job_view copy = *v; /* borrows all */
    char stamp[CN_TIME_TEXT];
    int rc;

    cn_time_text(v->ended_us, stamp);
    copy.delivery.state = CN_STORE_WEBHOOK_NONE;
    rc = cn_buf_printf(out, err, "{\"type\":\"job.%s\",\"timestamp\":\"%s\",\"context\":",
                       cn_enum_job_state.name[v->state], stamp);
    if (rc == CN_OK && (rc = cn_escape_json(out, context, strlen(context), err)) == CN_OK &&
        (rc = cn_buf_adds(out, ",\"data\":", err)) == CN_OK &&
        (rc = cn_result_view(&copy, true, out, err)) == CN_OK)
        rc = cn_buf_adds(out, "}\n", err);
    return rc;
}

/* ---- events ---- */

static json_t *state_event(const struct cn_job_event *e)
{
    json_t *o =
        json_pack("{ss si}", "state", cn_enum_job_state.name[e->state], "attempt", e->attempt);

    if (e->position > 0)
        cn_json_set(&o, "position", json_integer(e->position));
    return o;
}

static json_t *progress_event(const struct cn_job_event *e)
{
    json_t *o =
        json_pack("{ss si si si si si so}", "stage", cn_enum_stage.name[e->progress.stage], "image",
                  e->progress.image, "step", e->progress.step, "steps", e->progress.steps, "done",
                  e->done, "total", e->total, "fraction", cn_json_rounded(e->fraction));

    if (e->eta_s >= 0)
        cn_json_set(&o, "eta_s", cn_json_rounded(e->eta_s));
    return o;
}

static json_t *image_event(const struct cn_job_event *e, const char *job_id)
{
    return json_pack("{si so}", "index", e->index, "url", url_json(job_id, e->index));
}

static json_t *done_event(const struct cn_job_event *e)
{
    json_t *o = json_pack("{ss}", "state", cn_enum_job_state.name[e->state]);

    cn_json_set(&o, "warnings", cn_json_warnings(e->warnings));
    return o;
}

/* The only large one: written without a copy of the picture in between. */
static int put_preview(struct cn_buf *out, const struct cn_job_event *e, struct cn_err *err)
{
    int rc = cn_buf_printf(out, err, "{\"index\":%d,\"step\":%d,\"format\":\"%s\",\"data\":\"",
                           e->index, e->progress.step, cn_enum_format.name[e->format]);

    if (rc == CN_OK && (rc = cn_base64_encode(out, e->data, e->len, err)) == CN_OK)
        rc = cn_buf_adds(out, "\"}", err);
    return rc;
}

int cn_result_event(const struct cn_job_event *e, const char *job_id,
                    const struct cn_problem *error, struct cn_buf *out, struct cn_err *err)
{
    int rc = cn_buf_printf(out, err, "id: %lu\nevent: %s\ndata: ", (unsigned long)e->id,
                           cn_enum_event.name[e->kind]);

    if (rc < 0)
        return rc;
    switch (e->kind) {
    case CN_EVENT_STATE:
        rc = cn_json_put_take(out, state_event(e), err);
        break;
    case CN_EVENT_PROGRESS:
        rc = cn_json_put_take(out, progress_event(e), err);
        break;
    case CN_EVENT_PREVIEW:
        rc = put_preview(out, e, err);
        break;
    case CN_EVENT_IMAGE:
        rc = cn_json_put_take(out, image_event(e, job_id), err);
        break;
    default:
        rc = put_with_error(out, done_event(e), error, err);
    }
    return rc < 0 ? rc : cn_buf_adds(out, "\n\n", err);
}
