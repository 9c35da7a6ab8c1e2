/* progress, interrupt and skip: of the caller's own requests, the oldest that is at work, else the
 * oldest that waits. The web UI has one job at a time, and its clients ask for "the" job. */
#include "base/base.h"
#include "base/base64.h"
#include "base/escape.h"
#include "http/routes/a1111_priv.h"

#include <stdio.h>
#include <string.h>

enum { ANSWER_MAX = 4 << 20, PENDING_MAX = 1 << 16 };

/* ---- the list of those that wait for pictures ---- */

void cn_a1111_enlist(struct cn_request *q)
{
    struct cn_a1111 *a = cn_a1111_of(q);
    struct cn_submit_ctx *c = q->ctx;

    c->q = q;
    c->listed = true;
    c->older = a->newest;
    if (a->newest != NULL)
        a->newest->newer = c;
    else
        a->oldest = c;
    a->newest = c;
}

void cn_a1111_delist(struct cn_request *q)
{
    struct cn_a1111 *a = cn_a1111_of(q);
    struct cn_submit_ctx *c = q->ctx;

    if (!c->listed)
        return;
    *(c->older != NULL ? &c->older->newer : &a->oldest) = c->newer;
    *(c->newer != NULL ? &c->newer->older : &a->newest) = c->older;
    c->listed = false;
    if (c->beside.task[0] == '\0')
        return;
    snprintf(a->ended[a->next_ended], sizeof(a->ended[0]), "%s\t%s", q->who.tenant, c->beside.task);
    a->next_ended = (a->next_ended + 1) % CN_A1111_ENDED;
}

static bool is_running(const struct cn_submit_ctx *c)
{
    return c->job != NULL && c->job->state == CN_JOB_RUNNING;
}

/* Of who asks: task NULL: the one that interrupt would end; else the one of that name. */
static struct cn_submit_ctx *find(const struct cn_request *q, const char *task)
{
    struct cn_submit_ctx *waiting = NULL;

    for (struct cn_submit_ctx *c = cn_a1111_of(q)->oldest; c != NULL; c = c->newer) {
        if (c->job == NULL || c->ended || strcmp(c->q->who.tenant, q->who.tenant) != 0)
            continue;
        if (task != NULL ? strcmp(c->beside.task, task) == 0 : is_running(c))
            return c;
        if (task == NULL && waiting == NULL)
            waiting = c;
    }
    return waiting;
}

/* ---- how far it is ---- */

struct glance {
    struct cn_a1111_progress p;
    struct cn_buf preview; /* base64 */
    enum cn_format format;
};

static void on_looked(void *arg, struct cn_job_view *view, const struct cn_err *err)
{
    struct glance *g = arg;

    (void)err;
    if (view == NULL)
        return;
    g->p.eta_s = view->eta_s;
    g->p.fraction = view->fraction;
    cn_job_view_release(view);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void on_followed(void *arg, struct cn_watch *watch, const struct cn_err *err)
{
    struct glance *g = arg;
    struct cn_job_event e;

    (void)err;
    while (watch != NULL && cn_watch_next(watch, &e))
        if (e.kind == CN_EVENT_PREVIEW) {
            cn_buf_clear(&g->preview);
            g->format = e.format;
            cn_base64_encode(&g->preview, e.data, e.len, NULL);
            cn_buf_add(&g->preview, "", 1, NULL);
        }
    if (watch != NULL)
        cn_watch_free(watch);
}

/* What is in memory is told at once, and all that wait are. */
static void look(const struct cn_request *q, const struct cn_submit_ctx *c, bool preview,
                 struct glance *ret)
{
    struct cn_jobs *js = cn_jobs_of(q);
    const struct cn_job *job = c->job;

    ret->p.active = true;
    ret->p.interrupted = c->interrupted;
    ret->p.n = c->n;
    ret->p.nth = job->progress.image;
    ret->p.step = job->progress.step;
    ret->p.steps = job->progress.steps;
    ret->p.text = is_running(c) ? "" : "Waiting in queue";
    cn_jobs_forget(cn_jobs_look(js, q->who.tenant, c->id, on_looked, ret));
    if (preview)
        cn_jobs_forget(cn_jobs_follow(js, q->who.tenant, c->id, 0, nothing, on_followed, ret));
}

static void get_progress(struct cn_request *q)
{
    const struct cn_submit_ctx *c = find(q, NULL);
    struct glance g = {.p = {.text = ""}};
    const int skip = cn_a1111_flag(q, "skip_current_image");
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;

    if (skip < 0)
        return;
    cn_buf_init(&g.preview, ANSWER_MAX);
    cn_buf_init(&b, ANSWER_MAX);
    if (c != NULL)
        look(q, c, skip == 0, &g);
    if (cn_a1111_put_progress(&g.p, g.preview.len > 0 ? (const char *)g.preview.data : NULL, &b,
                              &err) < 0)
        cn_answer_err(q, &err);
    else
        cn_answer_buf(q, 200, "application/json", &b);
    cn_buf_release(&b);
    cn_buf_release(&g.preview);
}

/* ---- tasks by their clients' names ---- */

static bool has_ended(const struct cn_request *q, const char *task)
{
    const struct cn_a1111 *a = cn_a1111_of(q);
    char name[sizeof(a->ended[0])];

    snprintf(name, sizeof(name), "%s\t%s", q->who.tenant, task);
    for (int i = 0; i < CN_A1111_ENDED; i++)
        if (strcmp(a->ended[i], name) == 0)
            return true;
    return false;
}

static void answer_task(struct cn_request *q, const char *task, bool preview)
{
    static const char *const head[CN_FORMAT_COUNT] = {
        "data:image/png;base64,", "data:image/jpeg;base64,", "data:image/webp;base64,"};
    const struct cn_submit_ctx *c = task[0] == '\0' ? NULL : find(q, task);
    struct glance g = {.p = {.text = ""}};
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b, url;

    cn_buf_init(&g.preview, ANSWER_MAX);
    cn_buf_init(&b, ANSWER_MAX);
    cn_buf_init(&url, ANSWER_MAX);
    if (c != NULL)
        look(q, c, preview, &g);
    if (g.preview.len > 0)
        cn_buf_printf(&url, NULL, "%s%s", head[g.format], (const char *)g.preview.data);
    if (cn_a1111_put_task(&g.p, c != NULL && !is_running(c), c == NULL && has_ended(q, task),
                          url.len > 0 ? (const char *)url.data : NULL, g.p.step, &b, &err) < 0)
        cn_answer_err(q, &err);
    else
        cn_answer_buf(q, 200, "application/json", &b);
    cn_buf_release(&b);
    cn_buf_release(&url);
    cn_buf_release(&g.preview);
}

static void get_task(struct cn_request *q)
{
    struct cn_err err = CN_ERR_INIT;
    char task[64];
    bool preview;

    if (cn_a1111_read_task(q->body.data, q->body.len, task, sizeof(task), &preview, &err) < 0)
        cn_answer_err(q, &err);
    else
        answer_task(q, task, preview);
}

static void get_pending(struct cn_request *q)
{
    struct cn_buf b, tasks;
    int n = 0;

    cn_buf_init(&b, PENDING_MAX);
    cn_buf_init(&tasks, PENDING_MAX / 2);
    for (const struct cn_submit_ctx *c = cn_a1111_of(q)->oldest; c != NULL; c = c->newer) {
        if (c->ended || is_running(c) || strcmp(c->q->who.tenant, q->who.tenant) != 0)
            continue;
        cn_buf_adds(&tasks, n++ == 0 ? "" : ",", NULL);
        cn_escape_json(&tasks, c->beside.task, strlen(c->beside.task), NULL);
    }
    cn_buf_printf(&b, NULL, "{\"size\":%d,\"tasks\":[%.*s]}\n", n, (int)tasks.len,
                  tasks.len > 0 ? (const char *)tasks.data : "");
    cn_answer_buf(q, 200, "application/json", &b);
    cn_buf_release(&tasks);
}

/* ---- its end ---- */

static void end_one(struct cn_request *q, struct cn_submit_ctx *c)
{
    c->interrupted = true;
    cn_jobs_abandon(cn_jobs_of(q), q->who.tenant, c->id);
}

/* All of the caller's that are at work; when none is, the one whose turn comes first. */
static void interrupt(struct cn_request *q)
{
    bool any = false;
    struct cn_submit_ctx *c, *newer;

    for (c = cn_a1111_of(q)->oldest; c != NULL; c = newer) {
        newer = c->newer;
        if (is_running(c) && !c->ended && strcmp(c->q->who.tenant, q->who.tenant) == 0) {
            end_one(q, c);
            any = true;
        }
    }
    if (!any && (c = find(q, NULL)) != NULL)
        end_one(q, c);
    cn_answer_text(q, 200, "application/json", q->route->what);
}

const struct cn_handler cn_a1111_progress = {.start = get_progress};
const struct cn_handler cn_a1111_task = {.start = get_task};
const struct cn_handler cn_a1111_pending = {.start = get_pending};
const struct cn_handler cn_a1111_interrupt = {.start = interrupt};
