/* What there is: models, samplers, annotators, and the contract. */
#include "base/base.h"
#include "api/result.h"
#include "http/routes/routes_priv.h"

enum { INFO_MAX = 4 << 20 };

static void answer_json(struct cn_request *q, int rc, struct cn_buf *b, const struct cn_err *err)
{
    if (rc < 0)
        cn_answer_err(q, err);
    else
        cn_answer_buf(q, 200, "application/json", b);
    cn_buf_release(b);
}

static void list_models(struct cn_request *q)
{
    struct cn_dispatch *d = cn_app_of(q)->o.dispatch;
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;

    if (!cn_dispatch_known(d)) {
        cn_answer_problem(q, CN_PROBLEM_NOT_READY, "no worker has told its models yet", NULL);
        return;
    }
    cn_buf_init(&b, INFO_MAX);
    answer_json(q, cn_result_models(d, &b, &err), &b, &err);
}

static void show_model(struct cn_request *q)
{
    struct cn_dispatch *d = cn_app_of(q)->o.dispatch;
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;
    int rc;

    if (!cn_dispatch_known(d)) {
        cn_answer_problem(q, CN_PROBLEM_NOT_READY, "no worker has told its models yet", NULL);
        return;
    }
    cn_buf_init(&b, INFO_MAX);
    if ((rc = cn_result_model(d, q->arg[0], &b, &err)) == CN_ENOTFOUND) {
        cn_answer_problem(q, CN_PROBLEM_NOT_FOUND, err.msg, NULL);
        cn_buf_release(&b);
    } else {
        answer_json(q, rc, &b, &err);
    }
}

static void list_samplers(struct cn_request *q)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;

    cn_buf_init(&b, INFO_MAX);
    answer_json(q, cn_result_samplers(&b, &err), &b, &err);
}

static void list_annotators(struct cn_request *q)
{
    struct cn_dispatch *d = cn_app_of(q)->o.dispatch;
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;

    if (!cn_dispatch_known(d)) {
        cn_answer_problem(q, CN_PROBLEM_NOT_READY, "no worker has told its annotators yet", NULL);
        return;
    }
    cn_buf_init(&b, INFO_MAX);
    answer_json(q, cn_result_annotators(cn_dispatch_catalog(d), &b, &err), &b, &err);
}

static void list_adapters(struct cn_request *q)
{
    struct cn_dispatch *d = cn_app_of(q)->o.dispatch;
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;

    if (!cn_dispatch_known(d)) {
        cn_answer_problem(q, CN_PROBLEM_NOT_READY, "no worker has told its adapters yet", NULL);
        return;
    }
    cn_buf_init(&b, INFO_MAX);
    answer_json(q, cn_result_adapters(cn_dispatch_catalog(d), &b, &err), &b, &err);
}

static void get_openapi(struct cn_request *q)
{
    cn_answer_field(q, "Cache-Control", "no-cache");
    cn_answer_text(q, 200, "application/yaml", cn_asset_openapi);
}

const struct cn_handler cn_list_models = {.start = list_models};
const struct cn_handler cn_show_model = {.start = show_model};
const struct cn_handler cn_list_samplers = {.start = list_samplers};
const struct cn_handler cn_list_annotators = {.start = list_annotators};
const struct cn_handler cn_list_adapters = {.start = list_adapters};
const struct cn_handler cn_get_openapi = {.start = get_openapi};
