/* The one table from what went wrong to an HTTP status. Any thread. */
#ifndef CN_API_PROBLEM_KIND_H
#define CN_API_PROBLEM_KIND_H

#include "base/base.h"

enum cn_problem_kind {
    CN_PROBLEM_BAD_REQUEST,
    CN_PROBLEM_MULTIPART,
    CN_PROBLEM_UNAUTHENTICATED,
    CN_PROBLEM_FORBIDDEN,
    CN_PROBLEM_CROSS_SITE,
    CN_PROBLEM_NOT_FOUND,
    CN_PROBLEM_METHOD,
    CN_PROBLEM_NOT_ACCEPTABLE,
    CN_PROBLEM_NOT_FINISHED,
    CN_PROBLEM_KEY_IN_USE,
    CN_PROBLEM_MODEL_BROKEN,
    CN_PROBLEM_IN_USE,
    CN_PROBLEM_GONE,
    CN_PROBLEM_TOO_LARGE,
    CN_PROBLEM_TARGET_TOO_LONG,
    CN_PROBLEM_MEDIA_TYPE,
    CN_PROBLEM_RANGE,
    CN_PROBLEM_VALIDATION,
    CN_PROBLEM_KEY_MISMATCH,
    CN_PROBLEM_QUEUE_FULL,
    CN_PROBLEM_QUOTA,
    CN_PROBLEM_RATE,
    CN_PROBLEM_GUESSING,
    CN_PROBLEM_HEAD_TOO_LARGE,
    CN_PROBLEM_INTERNAL,
    CN_PROBLEM_WORKER_LOST,
    CN_PROBLEM_DRAINING,
    CN_PROBLEM_NOT_READY,
    CN_PROBLEM_OVERLOADED,
    CN_PROBLEM_NO_STORE,
    CN_PROBLEM_CANCELLED,
    CN_PROBLEM_DEADLINE,
    CN_PROBLEM_MEMORY,
    CN_PROBLEM_STORAGE,
    CN_PROBLEM_KIND_COUNT
};

struct cn_problem_kind_info {
    const char *type, *title;
    int status;
    const char *reason; /* label of controlnetd_http_rejected_total; NULL: not counted there */
};

const struct cn_problem_kind_info *cn_problem_kind_info(enum cn_problem_kind f);

/* By err->code, and by whether err->where names a field of the request. */
enum cn_problem_kind cn_problem_kind_of(const struct cn_err *err);

#endif
