/* GET /v1/queue: what waits, and whether a job would be accepted now. */
#include "base/base.h"
#include "base/buf.h"
#include "http/routes/routes_priv.h"

enum { QUEUE_MAX = 4096 };

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

const struct cn_handler cn_get_queue = {.start = get_queue};
