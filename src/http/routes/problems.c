/* From what the service says to problems: refusals, and the ends of jobs. */
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

enum cn_problem_kind cn_problem_of_end(enum cn_job_state state, const struct cn_err *err)
{
    switch (state) {
    case CN_JOB_EXPIRED:
        return CN_PROBLEM_DEADLINE;
    case CN_JOB_CANCELLED:
        return CN_PROBLEM_CANCELLED;
    default:
        return cn_problem_kind_of(err);
    }
}

struct cn_problem cn_problem_document(enum cn_job_state state, const struct cn_err *err)
{
    const struct cn_problem_kind_info *f = cn_problem_kind_info(cn_problem_of_end(state, err));

    return (struct cn_problem){.type = f->type,
                               .title = f->title,
                               .status = f->status,
                               .detail = err->msg,
                               .pointer = err->where};
}

/* Not before the end that is expected, but now and then. */
int cn_look_again_s(const struct cn_job_view *v)
{
    return v->eta_s < 1 ? 1 : (int)CN_MIN(ceil(v->eta_s), 60);
}
