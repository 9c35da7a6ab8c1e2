/* POST /v1/models/{name}/load and /unload, and /v1/models/refresh: for administrators; and the web
 * UI's refresh-*, which look for models only when an administrator asks. */
#include "base/base.h"
#include "api/result.h"
#include "http/routes/routes_priv.h"

#include <string.h>

_Static_assert((int)CN_PATH_ARG >= (int)CN_MODEL_NAME,
               "the name of a model is an argument of a path");

enum { LIST_MAX = 4 << 20 };

struct managed {
    bool asked, done, closing;
    bool lists;       /* the answer is the models */
    const char *text; /* the answer is this; NULL: nothing, or the models */
    int rc;
    struct cn_err err;
};

static void refuse(struct cn_request *q, const struct cn_err *err, enum cn_problem_kind busy)
{
    switch (err->code) {
    case CN_EBUSY:
        cn_answer_problem(q, busy, err->msg, NULL);
        break;
    case CN_EINVAL:
    case CN_EFORMAT: /* of the model, not of the request */
        cn_answer_problem(q, CN_PROBLEM_MODEL_BROKEN, err->msg, NULL);
        break;
    default:
        cn_answer_err(q, err);
    }
}

static void answer_models(struct cn_request *q)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;

    cn_buf_init(&b, LIST_MAX);
    if (cn_result_models(cn_app_of(q)->o.dispatch, &b, &err) < 0)
        cn_answer_err(q, &err);
    else
        cn_answer_buf(q, 200, "application/json", &b);
    cn_buf_release(&b);
}

static void resume(struct cn_request *q)
{
    const struct managed *m = q->ctx;

    if (m->closing)
        cn_answer_problem(q, CN_PROBLEM_NOT_READY, "the server is shutting down", NULL);
    else if (!m->done)
        cn_request_suspend(q, true);
    else if (m->rc == CN_OK && m->lists)
        answer_models(q);
    else if (m->text != NULL)
        cn_answer_text(q, 200, "application/json", m->text);
    else if (m->rc == CN_OK)
        cn_answer_empty(q, 204);
    else
        refuse(q, &m->err, CN_PROBLEM_IN_USE); /* what a worker is too busy for is a model in use */
}

static void on_managed(void *arg, int rc, const struct cn_err *err)
{
    struct cn_request *q = arg;
    struct managed *m = q->ctx;

    m->done = true;
    m->rc = rc;
    if (err != NULL)
        m->err = *err;
    cn_request_resume(q);
}

/* A load may take longer than the server has. */
static void on_shutdown(struct cn_request *q)
{
    ((struct managed *)q->ctx)->closing = true;
    cn_request_resume(q);
}

static void manage(struct cn_request *q, enum cn_manage action)
{
    struct cn_msg_manage what = {.action = action};
    struct managed *m = q->ctx;

    memcpy(what.name, q->arg[0], sizeof(what.name));
    if (cn_dispatch_manage(cn_app_of(q)->o.dispatch, &what, CN_WORKER_ANY, on_managed, q, &m->err) <
        0) {
        refuse(q, &m->err, CN_PROBLEM_NOT_READY);
        return;
    }
    m->asked = true;
    resume(q);
}

static void load(struct cn_request *q)
{
    manage(q, CN_MANAGE_LOAD);
}

static void unload(struct cn_request *q)
{
    manage(q, CN_MANAGE_UNLOAD);
}

/* The web UI's clients are told that all is well also where no worker is there to look: one that
 * comes looks by itself. */
static void look_again(struct cn_request *q)
{
    struct cn_msg_manage what = {.action = CN_MANAGE_REFRESH};
    struct managed *m = q->ctx;

    if (cn_dispatch_manage(cn_app_of(q)->o.dispatch, &what, CN_WORKER_ANY, on_managed, q, &m->err) <
        0) {
        if (m->text != NULL)
            cn_answer_text(q, 200, "application/json", m->text);
        else
            refuse(q, &m->err, CN_PROBLEM_NOT_READY);
        return;
    }
    m->asked = true;
    resume(q);
}

static void refresh(struct cn_request *q)
{
    ((struct managed *)q->ctx)->lists = true;
    look_again(q);
}

/* Whoever is no administrator waits until files are taken up by themselves. */
static void refresh_webui(struct cn_request *q)
{
    struct managed *m = q->ctx;

    m->text = q->route->what;
    if (q->who.admin)
        look_again(q);
    else
        cn_answer_text(q, 200, "application/json", m->text);
}

static void dispose(struct cn_request *q)
{
    if (((struct managed *)q->ctx)->asked)
        cn_dispatch_forget_manage(cn_app_of(q)->o.dispatch, q);
}

const struct cn_handler cn_load_model = {.ctx_size = sizeof(struct managed),
                                         .start = load,
                                         .resume = resume,
                                         .shutdown = on_shutdown,
                                         .dispose = dispose};
const struct cn_handler cn_unload_model = {.ctx_size = sizeof(struct managed),
                                           .start = unload,
                                           .resume = resume,
                                           .shutdown = on_shutdown,
                                           .dispose = dispose};
const struct cn_handler cn_refresh_models = {.ctx_size = sizeof(struct managed),
                                             .start = refresh,
                                             .resume = resume,
                                             .shutdown = on_shutdown,
                                             .dispose = dispose};
const struct cn_handler cn_a1111_refresh = {.ctx_size = sizeof(struct managed),
                                            .start = refresh_webui,
                                            .resume = resume,
                                            .shutdown = on_shutdown,
                                            .dispose = dispose};
