/* POST /v1/models/{name}/load and /unload: for administrators. */
#include "base/base.h"
#include "http/http_priv.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct managed {
    int rc;
    struct cn_err err;
};

static void release(struct cn_request *q)
{
    cn_dispatch_forget_manage(q->e->s->o.dispatch, q);
    free(q->call);
    q->call = NULL;
}

static enum MHD_Result refuse(struct cn_request *q, const struct cn_err *err)
{
    switch (err->code) {
    case CN_EBUSY:
        return cn_reply_fault(q, CN_FAULT_NOT_READY, err->msg, NULL);
    case CN_EINVAL:
    case CN_EFORMAT: /* of the model, not of the request */
        return cn_reply_fault(q, CN_FAULT_MODEL_BROKEN, err->msg, NULL);
    default:
        return cn_reply_err(q, err);
    }
}

static enum MHD_Result answer(struct cn_request *q)
{
    const struct managed *m = q->call;

    return m->rc == CN_OK ? cn_reply_empty(q, 204) : refuse(q, &m->err);
}

static void on_managed(void *arg, int rc, const struct cn_err *err)
{
    struct cn_request *q = arg;
    struct managed *m = q->call;

    m->rc = rc;
    if (err != NULL)
        m->err = *err;
    cn_request_resume(q);
}

/* A load may take longer than the server has. */
static void on_close(struct cn_request *q)
{
    struct managed *m = q->call;

    m->rc = cn_fail(&m->err, CN_EBUSY, "the server is shutting down");
    cn_request_resume(q);
}

static enum MHD_Result manage(struct cn_request *q, enum cn_manage action)
{
    struct cn_msg_manage what = {.action = action};
    struct cn_err err = CN_ERR_INIT;

    memcpy(what.name, q->arg[0], sizeof(what.name));
    q->call = cn_xcalloc(1, sizeof(struct managed));
    q->call_release = release;
    if (cn_dispatch_manage(q->e->s->o.dispatch, &what, CN_WORKER_ANY, on_managed, q, &err) < 0)
        return refuse(q, &err);
    cn_request_suspend(q, answer, true);
    cn_request_on_close(q, on_close);
    return MHD_YES;
}

enum MHD_Result cn_models_route_load(struct cn_request *q)
{
    return manage(q, CN_MANAGE_LOAD);
}

enum MHD_Result cn_models_route_unload(struct cn_request *q)
{
    return manage(q, CN_MANAGE_UNLOAD);
}
