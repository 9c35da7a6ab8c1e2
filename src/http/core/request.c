/* Requests: what they carry, how they wait, and how they are woken. */
#include "base/base.h"
#include "http/core/request.h"
#include "base/mem.h"
#include "http/core/conn.h"
#include "http/core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Requests come and go by the thousand, and one is larger than what malloc() keeps at hand. */
#ifdef CN_DEBUG
enum { SPARE = 0 }; /* a memory checker sees who looks into a request that is over */
#else
enum { SPARE = CN_SPARE_REQUESTS };
#endif

struct cn_request *cn_request_new(struct cn_core *core)
{
    struct cn_request *q;

    if (core->n_spare > 0) {
        q = core->spare[--core->n_spare];
        memset(q, 0, sizeof(*q));
    } else {
        q = cn_xcalloc(1, sizeof(*q));
    }
    q->core = core;
    q->refs = 1;
    core->refs++;
    return q;
}

struct cn_request *cn_request_ref(struct cn_request *q)
{
    q->refs++;
    return q;
}

void cn_request_unref(struct cn_request *q)
{
    struct cn_core *core = q->core;

    if (--q->refs > 0)
        return;
    core->refs--;
    for (int i = 0; i < q->n_fields; i++)
        if (q->field[i].owned)
            free((char *)q->field[i].value);
    free(q->uri);
    free(q->who.models);
    if (core->n_spare < SPARE)
        core->spare[core->n_spare++] = q;
    else
        free(q);
}

const char *cn_request_header(const struct cn_request *q, const char *name)
{
    return q->io->header(q->c, name);
}

const char *cn_request_argument(const struct cn_request *q, const char *name)
{
    return q->io->argument(q->c, name);
}

void cn_request_each_header(const struct cn_request *q, cn_header_fn fn, void *arg)
{
    q->io->each_header(q->c, fn, arg);
}

void *cn_request_app(const struct cn_request *q)
{
    return q->core->o.app;
}

const char *cn_request_scope(const struct cn_request *q)
{
    return q->who.sees_all ? NULL : q->who.tenant;
}

void cn_request_set_subject(struct cn_request *q, const char *subject)
{
    snprintf(q->subject, sizeof(q->subject), "%s", subject);
}

bool cn_request_is_last(const struct cn_request *q)
{
    return q->core->is_draining && q->conn->is_last_listener;
}

bool cn_request_reserve_stream(struct cn_request *q)
{
    if (!q->streaming) {
        if (q->core->n_streams >= q->core->o.max_streams)
            return false;
        q->streaming = true;
        q->core->n_streams++;
    }
    return true;
}

/* ---- the body ---- */

void cn_request_drop_body(struct cn_request *q)
{
    cn_request_return_body(q, &q->body);
}

void cn_request_take_body(struct cn_request *q, struct cn_buf *ret)
{
    *ret = q->body;
    cn_buf_init(&q->body, 0);
}

void cn_request_return_body(struct cn_request *q, struct cn_buf *body)
{
    q->core->inflight -= body->len;
    cn_buf_release(body);
}

/* ---- a client that hangs up ---- */

void cn_request_hung_up(struct cn_request *q)
{
    if (!q->watched)
        return;
    q->gone = true;
    cn_request_resume(q);
}

void cn_request_unwatch(struct cn_request *q)
{
    q->watched = false;
}

void cn_request_watch(struct cn_request *q)
{
    struct cn_conn *conn = q->conn;

    if (conn == NULL || conn->fd < 0)
        return;
    q->watched = true;
    if (!conn->is_listened)
        conn->is_listened = cn_hangup_add(&q->core->hangup, conn->fd, conn);
    if (conn->has_hung_up)
        cn_request_hung_up(q);
}

/* ---- waiting ---- */

void cn_request_suspend(struct cn_request *q, bool watched)
{
    CN_ASSERT(q->sending || q->status != 0 || q->route->handler->resume != NULL);
    q->suspended = q->has_waited = true;
    q->core->n_suspended++;
    q->io->suspend(q->c);
    if (q->sending)
        return;
    cn_conn_phase(q->conn, CN_PHASE_WAIT);
    if (watched)
        cn_request_watch(q);
    if (q->core->is_closing && q->status == 0)
        q->route->handler->shutdown(q);
}

void cn_request_resume(struct cn_request *q)
{
    if (!q->suspended)
        return;
    q->suspended = false;
    q->core->n_suspended--;
    if (!q->sending)
        cn_request_unwatch(q);
    q->io->resume(q);
}
