/* Events: kept once per job, read by each watch at its own pace. */
#include "base/base.h"
#include "job/jobs_priv.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static const char *const event_names[CN_EVENT_COUNT] = {"state", "progress", "preview", "image",
                                                        "done"};
const struct cn_enum cn_enum_event = {"event", event_names, CN_EVENT_COUNT};

/* ---- writing ---- */

static void on_deferred(struct cn_deferred *d)
{
    struct cn_watch *w = (struct cn_watch *)d;

    w->wake(w->arg);
}

static void wake_all(struct cn_record *r)
{
    struct cn_watch *w;

    LIST_FOREACH(w, &r->watches, link)
    {
        if (!w->idle)
            continue;
        w->idle = false;
        cn_defer(&r->js->deferred, &w->deferred, on_deferred);
    }
}

static void drop_preview(struct cn_record *r)
{
    free(r->preview_data);
    r->preview_data = NULL;
    r->preview_id = 0;
}

void cn_record_emit(struct cn_record *r, enum cn_event_kind kind, int index)
{
    r->event = cn_grow(r->event, r->n_events, &r->cap_events, sizeof(*r->event));
    r->event[r->n_events++] = (struct cn_kept_event){.id = ++r->last_id,
                                                     .kind = kind,
                                                     .state = r->state,
                                                     .attempt = r->job->attempt,
                                                     .index = index};
    if (kind == CN_EVENT_DONE) {
        drop_preview(r);
        r->progress_id = 0;
    }
    wake_all(r);
}

void cn_record_progress(struct cn_record *r)
{
    r->progress_id = ++r->last_id;
    wake_all(r);
}

/* The picture is copied: it belongs to a frame. Without memory for it there is none. */
void cn_record_preview(struct cn_record *r, const struct cn_msg_preview *m)
{
    unsigned char *data = cn_try_alloc(m->len);

    if (data == NULL)
        return;
    memcpy(data, m->data, m->len);
    drop_preview(r);
    r->preview_data = data;
    r->preview = *m;
    r->preview.data = data;
    r->preview_id = ++r->last_id;
    wake_all(r);
}

/* ---- reading ---- */

static void give_kept(const struct cn_record *r, const struct cn_kept_event *e,
                      struct cn_job_event *ret)
{
    ret->kind = e->kind;
    ret->id = e->id;
    ret->state = e->state;
    ret->attempt = e->attempt;
    ret->index = e->index;
    if (e->kind == CN_EVENT_STATE && e->state == CN_JOB_QUEUED && r->state == CN_JOB_QUEUED)
        ret->position = cn_dispatch_place(r->js->o.dispatch, r->job).position;
    if (e->kind == CN_EVENT_DONE) {
        ret->err = r->err;
        ret->warnings = &r->job->warnings;
    }
}

static void give_progress(const struct cn_record *r, struct cn_job_event *ret)
{
    ret->kind = CN_EVENT_PROGRESS;
    ret->id = r->progress_id;
    ret->state = r->state;
    ret->progress = r->job->progress;
    cn_job_steps(r->job, &ret->done, &ret->total);
    ret->fraction = cn_job_fraction(r->job);
    ret->eta_s = cn_dispatch_place(r->js->o.dispatch, r->job).eta_s;
}

static void give_preview(const struct cn_record *r, struct cn_job_event *ret)
{
    ret->kind = CN_EVENT_PREVIEW;
    ret->id = r->preview_id;
    ret->state = r->state;
    ret->index = r->preview.index;
    ret->progress.image = r->preview.index;
    ret->progress.step = r->preview.step;
    ret->format = r->preview.format;
    ret->data = r->preview_data;
    ret->len = r->preview.len;
}

bool cn_watch_next(struct cn_watch *w, struct cn_job_event *ret)
{
    const struct cn_record *r = w->record;
    uint64_t kept, progress = r->progress_id, preview = r->preview_id, first;

    while (w->index < r->n_events && r->event[w->index].id <= w->cursor)
        w->index++;
    kept = w->index < r->n_events ? r->event[w->index].id : UINT64_MAX;
    progress = progress > w->cursor ? progress : UINT64_MAX;
    preview = preview > w->cursor ? preview : UINT64_MAX;
    first = CN_MIN(kept, CN_MIN(progress, preview));
    if (w->over || first == UINT64_MAX) {
        w->idle = true;
        return false;
    }
    *ret = (struct cn_job_event){.eta_s = -1, .err = CN_ERR_INIT};
    if (first == kept)
        give_kept(r, &r->event[w->index], ret);
    else if (first == progress)
        give_progress(r, ret);
    else
        give_preview(r, ret);
    w->cursor = first;
    w->over = ret->kind == CN_EVENT_DONE;
    return true;
}

bool cn_watch_over(const struct cn_watch *w)
{
    return w->over;
}

/* ---- watches ---- */

/* last_id: the last event that its reader has seen. A job that is over is told in any case. */
struct cn_watch *cn_watch_new(struct cn_record *r, uint64_t last_id, void (*wake)(void *arg),
                              void *arg)
{
    struct cn_watch *w = cn_xcalloc(1, sizeof(*w));

    w->record = cn_record_ref(r);
    w->wake = wake;
    w->arg = arg;
    w->cursor = last_id > r->last_id ? 0 : last_id;
    if (r->n_events > 0 && r->event[r->n_events - 1].kind == CN_EVENT_DONE)
        w->cursor = CN_MIN(w->cursor, r->event[r->n_events - 1].id - 1);
    LIST_INSERT_HEAD(&r->watches, w, link);
    r->js->n_watches++;
    return w;
}

void cn_watch_free(struct cn_watch *w)
{
    struct cn_jobs *js;

    if (w == NULL)
        return;
    js = w->record->js;
    LIST_REMOVE(w, link);
    cn_defer_cancel(&js->deferred, &w->deferred);
    js->n_watches--;
    cn_record_unref(w->record);
    free(w);
    cn_record_trim(js);
}
