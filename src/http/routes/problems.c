/* From what the service says to problems: what is refused, and when to come again. */
#include "base/base.h"
#include "http/routes/routes_priv.h"

#include <math.h>

static int retry_after_s(const struct cn_request *q)
{
    return cn_dispatch_retry_after_s(cn_app_of(q)->o.dispatch, q->who.tenant);
}

void cn_answer_refusal(struct cn_request *q, enum cn_refusal why, const struct cn_err *err,
                       int after_s)
{
    static const enum cn_problem_kind kind[] = {
        [CN_REFUSED_FULL] = CN_PROBLEM_QUEUE_FULL,
        [CN_REFUSED_DRAINING] = CN_PROBLEM_DRAINING,
        [CN_REFUSED_NO_WORKER] = CN_PROBLEM_NOT_READY,
        [CN_REFUSED_TENANT] = CN_PROBLEM_QUOTA,
    };

    if (why != CN_REFUSED_NOT)
        cn_answer_later(q, kind[why], err->msg, after_s > 0 ? after_s : retry_after_s(q));
    else if (err->code == CN_ENOTFOUND)
        cn_answer_problem(q, CN_PROBLEM_NO_STORE, err->msg, NULL);
    else if (err->code == CN_EBUSY)
        cn_answer_later(q, CN_PROBLEM_NOT_READY, err->msg,
                        after_s > 0 ? after_s : retry_after_s(q));
    else
        cn_answer_err(q, err);
}

void cn_answer_no_picture(struct cn_request *q, const struct cn_err *err)
{
    if (err->code == CN_EIO)
        cn_answer_problem(q, CN_PROBLEM_OVERLOADED, err->msg, NULL);
    else
        cn_answer_err(q, err);
}

/* Not before the end that is expected, but now and then. */
int cn_look_again_s(const struct cn_job_view *v)
{
    return v->eta_s < 1 ? 1 : (int)CN_MIN(ceil(v->eta_s), 60);
}
