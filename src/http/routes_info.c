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
    return reply_json(q, cn_result_models(cn_dispatch_catalog(d), &b, &err), &b, &err);
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

enum MHD_Result cn_info_readyz(struct cn_request *q)
{
    struct cn_server *s = q->e->s;
    struct cn_dispatch *d = s->o.dispatch;
    const char *why;
    bool ready = cn_server_ready(s, &why);
    int status = ready ? 200 : 503;
    struct cn_buf b;
    enum MHD_Result rc;

    cn_buf_init(&b, 1 << 16);
    if (!cn_request_has_argument(q, "verbose")) {
        cn_buf_printf(&b, NULL, "%s\n", ready ? "ready" : why);
        rc = cn_reply_take(q, status, "text/plain; charset=utf-8", &b);
        cn_buf_release(&b);
        return rc;
    }
    cn_buf_printf(&b, NULL, "{\"ready\":%s,\"checks\":[", ready ? "true" : "false");
    check(&b, "not_draining", !s->is_draining, s->is_draining ? "the server is shutting down" : "");
    check(&b, "worker", cn_dispatch_ready_workers(d) > 0, cn_dispatch_trouble(d));
    check(&b, "queue", cn_dispatch_refuses(d, NULL).kind != CN_REFUSED_FULL, "");
    cn_buf_printf(&b, NULL, "],\"queue\":%d,\"running\":%d,\"workers_ready\":%d,\"backend\":",
                  cn_dispatch_waiting(d), cn_dispatch_running(d), cn_dispatch_ready_workers(d));
    cn_escape_json(&b, cn_dispatch_backend(d), strlen(cn_dispatch_backend(d)), NULL);
    cn_buf_adds(&b, "}\n", NULL);
    rc = cn_reply_take(q, status, "application/json", &b);
    cn_buf_release(&b);
    return rc;
}

static void collect(struct cn_server *s)
{
    int active = 0, idle = 0;

    for (const struct cn_conn *c = s->conns; c != NULL; c = c->next)
        *(c->phase == CN_PHASE_IDLE ? &idle : &active) += 1;
    cn_metric_set(s->m.connections, active - s->n_suspended, "active");
    cn_metric_set(s->m.connections, idle, "idle");
    cn_metric_set(s->m.connections, s->n_suspended, "suspended");
    cn_metric_set(s->m.ready, cn_server_ready(s, NULL));
    cn_metric_set(s->m.draining, s->is_draining);
    cn_dispatch_collect(s->o.dispatch);
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
