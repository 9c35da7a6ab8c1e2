/* What there is, how it goes, and the page to try it. */
#include "base/base.h"
#include "http/http_priv.h"
#include "api/result.h"
#include "base/escape.h"

#include <string.h>

enum { INFO_MAX = 4 << 20 };

static enum MHD_Result reply_json(struct cn_request *q, int rc, struct cn_buf *b,
                                  const struct cn_err *err)
{
    enum MHD_Result result =
        rc < 0 ? cn_reply_err(q, err) : cn_reply_take(q, 200, "application/json", b);

    cn_buf_release(b);
    return result;
}

enum MHD_Result cn_info_models(struct cn_request *q)
{
    struct cn_dispatch *d = q->e->s->o.dispatch;
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;

    if (!cn_dispatch_known(d))
        return cn_reply_fault(q, CN_FAULT_NOT_READY, "no worker has told its models yet", NULL);
    cn_buf_init(&b, INFO_MAX);
    return reply_json(q, cn_result_models(d, &b, &err), &b, &err);
}

enum MHD_Result cn_info_samplers(struct cn_request *q)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;

    cn_buf_init(&b, INFO_MAX);
    return reply_json(q, cn_result_samplers(&b, &err), &b, &err);
}

enum MHD_Result cn_info_annotators(struct cn_request *q)
{
    struct cn_dispatch *d = q->e->s->o.dispatch;
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;

    if (!cn_dispatch_known(d))
        return cn_reply_fault(q, CN_FAULT_NOT_READY, "no worker has told its annotators yet", NULL);
    cn_buf_init(&b, INFO_MAX);
    return reply_json(q, cn_result_annotators(cn_dispatch_catalog(d), &b, &err), &b, &err);
}

enum MHD_Result cn_info_healthz(struct cn_request *q)
{
    return cn_reply_static(q, 200, "text/plain; charset=utf-8", "ok\n", 3);
}

static void check(struct cn_buf *b, const char *name, bool ok, const char *detail)
{
    cn_buf_printf(b, NULL,
                  "%s{\"name\":\"%s\",\"ok\":%s,\"detail\":", b->data[b->len - 1] == '[' ? "" : ",",
                  name, ok ? "true" : "false");
    cn_escape_json(b, detail, strlen(detail), NULL);
    cn_buf_adds(b, "}", NULL);
}

static void check_storage(struct cn_buf *b, const struct cn_server *s)
{
    struct cn_err err = CN_ERR_INIT;
    int rc = cn_jobs_storage(s->o.jobs, &err);

    check(b, "store", rc == CN_OK || rc == CN_ENOTFOUND, err.msg); /* none is no fault */
}

/* Models that are there and cannot be opened. They do not make the server unready. */
static void put_broken(struct cn_buf *b, const struct cn_catalog *c)
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
        cn_escape_json(b, m->broken, strlen(m->broken), NULL);
        cn_buf_adds(b, "}", NULL);
        any = true;
    }
    cn_buf_adds(b, "]", NULL);
}

static void put_workers(struct cn_buf *b, const struct cn_dispatch *d)
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
        cn_escape_json(b, w.trouble, strlen(w.trouble), NULL);
        cn_buf_adds(b, "}", NULL);
    }
    cn_buf_adds(b, "]", NULL);
}

static void put_checks(struct cn_buf *b, struct cn_server *s, bool ready)
{
    const struct cn_dispatch *d = s->o.dispatch;

    cn_buf_printf(b, NULL, "{\"ready\":%s,\"checks\":[", ready ? "true" : "false");
    check(b, "not_draining", !s->is_draining, s->is_draining ? "the server is shutting down" : "");
    check(b, "worker", cn_dispatch_ready_workers(d) > 0, cn_dispatch_trouble(d));
    check(b, "queue", cn_dispatch_refuses(d, NULL).kind != CN_REFUSED_FULL, "");
    check_storage(b, s);
    cn_buf_printf(b, NULL, "],\"queue\":%d,\"running\":%d,\"workers_ready\":%d,\"backend\":",
                  cn_dispatch_waiting(d), cn_dispatch_running(d), cn_dispatch_ready_workers(d));
    cn_escape_json(b, cn_dispatch_backend(d), strlen(cn_dispatch_backend(d)), NULL);
    put_workers(b, d);
    put_broken(b, cn_dispatch_catalog(d));
    cn_buf_adds(b, "}\n", NULL);
}

static bool is_word(const char *s)
{
    while ((*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z'))
        s++;
    return *s == '\0';
}

enum MHD_Result cn_info_readyz(struct cn_request *q)
{
    const char *why, *value = cn_request_argument(q, "verbose");
    bool ready = cn_server_ready(q->e->s, &why), verbose = value != NULL;
    struct cn_buf b;
    enum MHD_Result rc;

    if (verbose && !is_word(value))
        return cn_reply_parameter(q, "verbose", "expected nothing, or letters and digits");
    cn_buf_init(&b, INFO_MAX);
    if (verbose)
        put_checks(&b, q->e->s, ready);
    else
        cn_buf_printf(&b, NULL, "%s\n", ready ? "ready" : why);
    rc = cn_reply_take(q, ready ? 200 : 503,
                       verbose ? "application/json" : "text/plain; charset=utf-8", &b);
    cn_buf_release(&b);
    return rc;
}

static void collect(struct cn_server *s)
{
    int active = 0, idle = 0, waiting = 0;

    for (const struct cn_conn *c = s->conns; c != NULL; c = c->next) {
        idle += c->phase == CN_PHASE_IDLE;
        waiting += c->phase == CN_PHASE_WAIT;
        active += c->phase != CN_PHASE_IDLE && c->phase != CN_PHASE_WAIT;
    }
    cn_metric_set(s->m.connections, active - s->n_streams, "active");
    cn_metric_set(s->m.connections, idle, "idle");
    cn_metric_set(s->m.connections, waiting, "suspended");
    cn_metric_set(s->m.connections, s->n_streams, "streaming");
    cn_metric_set(s->m.ready, cn_server_ready(s, NULL));
    cn_metric_set(s->m.draining, s->is_draining);
    cn_dispatch_collect(s->o.dispatch);
    cn_jobs_collect(s->o.jobs);
    if (s->o.collect != NULL)
        s->o.collect(s->o.arg);
}

enum MHD_Result cn_info_metrics(struct cn_request *q)
{
    struct cn_err err = CN_ERR_INIT;
    enum MHD_Result rc;
    struct cn_buf b;

    collect(q->e->s);
    cn_buf_init(&b, INFO_MAX);
    if (cn_metrics_render(q->e->s->o.metrics, &b, &err) < 0)
        rc = cn_reply_err(q, &err);
    else
        rc = cn_reply_take(q, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
    cn_buf_release(&b);
    return rc;
}

enum MHD_Result cn_info_openapi(struct cn_request *q)
{
    return cn_reply_static(q, 200, "application/yaml", cn_asset_openapi, strlen(cn_asset_openapi));
}

enum MHD_Result cn_info_page(struct cn_request *q)
{
    return cn_reply_static(q, 200, "text/html; charset=utf-8", cn_asset_page,
                           strlen(cn_asset_page));
}
