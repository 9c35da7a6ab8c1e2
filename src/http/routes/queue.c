/* GET /v1/queue: what waits, and whether a job would be accepted now. GET /v1/tenants: what each
 * tenant has there, for administrators. */
#include "base/base.h"
#include "base/buf.h"
#include "base/escape.h"
#include "http/routes/routes_priv.h"

#include <string.h>

enum { QUEUE_MAX = 4096, TENANTS_MAX = 16 << 20 };

static int put_numbers(const struct cn_request *q, struct cn_buf *b, struct cn_err *err)
{
    const struct cn_dispatch *d = cn_app_of(q)->o.dispatch;
    const struct cn_queue_view v = cn_dispatch_queue(d, q->who.tenant);

    return cn_buf_printf(b, err,
                         "{\"waiting\":%d,\"running\":%d,\"capacity\":%d,"
                         "\"workers\":{\"ready\":%d,\"configured\":%d},"
                         "\"own\":{\"waiting\":%d,\"running\":%d,\"max_waiting\":%d,"
                         "\"max_running\":%d,\"weight\":%g},",
                         v.waiting, v.running, v.capacity, cn_dispatch_ready_workers(d),
                         cn_dispatch_workers(d), v.own_waiting, v.own_running, v.own.max_queued,
                         v.own.max_running, v.own.weight);
}

static int put_admission(const struct cn_request *q, struct cn_buf *b, struct cn_err *err)
{
    const struct cn_refused why = cn_dispatch_refuses(cn_app_of(q)->o.dispatch, q->who.tenant);

    if (why.kind == CN_REFUSED_NOT)
        return cn_buf_printf(b, err, "\"accepts\":true}\n");
    return cn_buf_printf(b, err, "\"accepts\":false,\"retry_after_s\":%d}\n", why.retry_after_s);
}

static void get_queue(struct cn_request *q)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;

    cn_buf_init(&b, QUEUE_MAX);
    if (put_numbers(q, &b, &err) < 0 || put_admission(q, &b, &err) < 0)
        cn_answer_err(q, &err);
    else
        cn_answer_buf(q, 200, "application/json", &b);
    cn_buf_release(&b);
}

/* ---- tenants ---- */

static void put_tenant(const struct cn_tenant_view *v, void *arg)
{
    struct cn_buf *b = arg;

    cn_buf_adds(b, b->data[b->len - 1] == '[' ? "{\"name\":" : ",{\"name\":", NULL);
    cn_escape_json(b, v->name, strlen(v->name), NULL);
    cn_buf_printf(b, NULL,
                  ",\"waiting\":%d,\"running\":%d,\"max_waiting\":%d,\"max_running\":%d,"
                  "\"max_priority\":%d,\"weight\":%g}",
                  v->waiting, v->running, v->limits.max_queued, v->limits.max_running,
                  v->limits.max_priority, v->limits.weight);
}

static void list_tenants(struct cn_request *q)
{
    struct cn_buf b;

    cn_buf_init(&b, TENANTS_MAX);
    cn_buf_adds(&b, "{\"tenants\":[", NULL);
    cn_dispatch_each_tenant(cn_app_of(q)->o.dispatch, put_tenant, &b);
    cn_buf_adds(&b, "]}\n", NULL);
    cn_answer_buf(q, 200, "application/json", &b);
    cn_buf_release(&b);
}

const struct cn_handler cn_get_queue = {.start = get_queue};
const struct cn_handler cn_list_tenants = {.start = list_tenants};
