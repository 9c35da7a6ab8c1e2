/* How it goes: /healthz (the loop turns), /readyz (jobs are accepted and drawn), /metrics. */
#include "base/base.h"
#include "base/escape.h"
#include "base/text.h"
#include "http/routes/routes_priv.h"

#include <stdio.h>
#include <string.h>

enum { INFO_MAX = 4 << 20 };

static void get_healthz(struct cn_request *q)
{
    cn_answer_text(q, 200, "text/plain; charset=utf-8", "ok\n");
}

static void check(struct cn_buf *b, const char *name, bool ok, const char *detail)
{
    bool first = b->len == 0 || b->data[b->len - 1] == '[';

    cn_buf_printf(b, NULL, "%s{\"name\":\"%s\",\"ok\":%s,\"detail\":", first ? "" : ",", name,
                  ok ? "true" : "false");
    cn_escape_json(b, detail, strlen(detail), NULL);
    cn_buf_adds(b, "}", NULL);
}

/* What may hold paths and command lines. */
static const char for_strangers[] = "an administrator's key is told more";

static void put_private(struct cn_buf *b, const char *text, bool full)
{
    const char *shown = full || text[0] == '\0' ? text : for_strangers;

    cn_escape_json(b, shown, strlen(shown), NULL);
}

static void check_storage(struct cn_buf *b, const struct cn_app *app, bool full)
{
    struct cn_err err = CN_ERR_INIT;
    int rc = cn_jobs_storage(app->o.jobs, &err);

    /* none is no fault */
    check(b, "store", rc == CN_OK || rc == CN_ENOTFOUND,
          full || err.msg[0] == '\0' ? err.msg : for_strangers);
}

/* The reason as /v1/models tells it, to those who may ask there; paths are for administrators. */
static void put_reason(struct cn_buf *b, const char *reason, const struct cn_identity *who)
{
    struct cn_err copy; /* as large as reasons are */

    snprintf(copy.msg, sizeof(copy.msg), "%s",
             who->reads ? reason : "a key with the scope read is told more");
    if (!who->admin)
        cn_hide_paths(copy.msg);
    cn_escape_json(b, copy.msg, strlen(copy.msg), NULL);
}

/* Models that are there and cannot be opened. They do not make the server unready while there are
 * others. */
static void put_broken(struct cn_buf *b, const struct cn_catalog *c, const struct cn_identity *who)
{
    bool any = false;

    cn_buf_adds(b, ",\"models_broken\":[", NULL);
    for (int i = 0; i < c->n; i++) {
        const struct cn_model_info *m = &c->model[i];

        if (m->broken[0] == '\0')
            continue;
        cn_buf_adds(b, any ? ",{\"name\":" : "{\"name\":", NULL);
        cn_escape_json(b, m->name, strlen(m->name), NULL);
        cn_buf_adds(b, ",\"reason\":", NULL);
        put_reason(b, m->broken, who);
        cn_buf_adds(b, "}", NULL);
        any = true;
    }
    cn_buf_adds(b, "]", NULL);
}

/* full: with what only administrators may know. */
static void put_workers(struct cn_buf *b, const struct cn_dispatch *d, bool full)
{
    cn_buf_adds(b, ",\"workers\":[", NULL);
    for (int i = 0; i < cn_dispatch_workers(d); i++) {
        struct cn_worker_view w = cn_dispatch_worker(d, i);

        cn_buf_printf(b, NULL, "%s{\"device\":", i == 0 ? "" : ",");
        cn_escape_json(b, w.device, strlen(w.device), NULL);
        cn_buf_adds(b, ",\"backend\":", NULL);
        cn_escape_json(b, w.backend, strlen(w.backend), NULL);
        cn_buf_printf(b, NULL,
                      ",\"state\":\"%s\",\"healthy\":%s,\"jobs\":%d,\"capacity\":%d,"
                      "\"images\":%d,\"lanes\":%d,\"trouble\":",
                      w.state, w.healthy ? "true" : "false", w.jobs, w.capacity, w.images, w.lanes);
        put_private(b, w.trouble, full);
        cn_buf_adds(b, "}", NULL);
    }
    cn_buf_adds(b, "]", NULL);
}

static void put_checks(struct cn_buf *b, const struct cn_app *app, bool ready,
                       const struct cn_identity *who)
{
    const struct cn_dispatch *d = app->o.dispatch;
    bool draining = app->core->is_draining, full = who->admin;
    bool draws = cn_catalog_can_draw(cn_dispatch_catalog(d));

    cn_buf_printf(b, NULL, "{\"ready\":%s,\"checks\":[", ready ? "true" : "false");
    check(b, "not_draining", !draining, draining ? "the server is shutting down" : "");
    check(b, "worker", cn_dispatch_ready_workers(d) > 0,
          full || cn_dispatch_trouble(d)[0] == '\0' ? cn_dispatch_trouble(d) : for_strangers);
    check(b, "model", draws, draws ? "" : "there is no base model that can be used");
    check(b, "queue", cn_dispatch_refuses(d, NULL).kind != CN_REFUSED_FULL, "");
    check_storage(b, app, full);
    cn_buf_printf(b, NULL, "],\"queue\":%d,\"running\":%d,\"workers_ready\":%d,\"backend\":",
                  cn_dispatch_waiting(d), cn_dispatch_running(d), cn_dispatch_ready_workers(d));
    cn_escape_json(b, cn_dispatch_backend(d), strlen(cn_dispatch_backend(d)), NULL);
    put_workers(b, d, full);
    put_broken(b, cn_dispatch_catalog(d), who);
    cn_buf_adds(b, "}\n", NULL);
}

static bool is_word(const char *s)
{
    while ((*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z'))
        s++;
    return *s == '\0';
}

static void get_readyz(struct cn_request *q)
{
    const char *why, *value = cn_request_argument(q, "verbose");
    const struct cn_app *app = cn_app_of(q);
    bool ready = cn_app_ready(app, &why);
    struct cn_buf b;

    if (value != NULL && !is_word(value)) {
        cn_answer_parameter(q, "verbose", "expected nothing, or letters and digits");
        return;
    }
    cn_buf_init(&b, INFO_MAX);
    if (value != NULL)
        put_checks(&b, app, ready, &q->who);
    else
        cn_buf_printf(&b, NULL, "%s\n", ready ? "ready" : why);
    cn_answer_buf(q, ready ? 200 : 503,
                  value != NULL ? "application/json" : "text/plain; charset=utf-8", &b);
}

static void collect(struct cn_app *app)
{
    cn_core_collect(app->core);
    cn_metric_set(app->ready, cn_app_ready(app, NULL));
    cn_metric_set(app->draining, app->core->is_draining);
    cn_dispatch_collect(app->o.dispatch);
    cn_jobs_collect(app->o.jobs);
    if (app->o.collect != NULL)
        app->o.collect(app->o.arg);
}

static void get_metrics(struct cn_request *q)
{
    struct cn_app *app = cn_app_of(q);
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;

    collect(app);
    cn_buf_init(&b, INFO_MAX);
    if (cn_metrics_render(app->o.metrics, &b, &err) < 0)
        cn_answer_err(q, &err);
    else
        cn_answer_buf(q, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
    cn_buf_release(&b);
}

const struct cn_handler cn_get_healthz = {.start = get_healthz};
const struct cn_handler cn_get_readyz = {.start = get_readyz};
const struct cn_handler cn_get_metrics = {.start = get_metrics};
