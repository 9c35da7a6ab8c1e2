/* The one table from what went wrong to an HTTP status. Any thread. */
#ifndef CN_HTTP_CORE_STATUS_H
#define CN_HTTP_CORE_STATUS_H

#include "base/base.h"

enum cn_fault {
    CN_FAULT_BAD_REQUEST,
    CN_FAULT_MULTIPART,
    CN_FAULT_UNAUTHENTICATED,
    CN_FAULT_FORBIDDEN,
    CN_FAULT_CROSS_SITE,
    CN_FAULT_NOT_FOUND,
    CN_FAULT_METHOD,
    CN_FAULT_NOT_ACCEPTABLE,
    CN_FAULT_NOT_FINISHED,
    CN_FAULT_KEY_IN_USE,
    CN_FAULT_MODEL_BROKEN,
    CN_FAULT_GONE,
    CN_FAULT_TOO_LARGE,
    CN_FAULT_MEDIA_TYPE,
    CN_FAULT_RANGE,
    CN_FAULT_VALIDATION,
    CN_FAULT_KEY_MISMATCH,
    CN_FAULT_QUEUE_FULL,
    CN_FAULT_QUOTA,
    CN_FAULT_INTERNAL,
    CN_FAULT_WORKER_LOST,
    CN_FAULT_DRAINING,
    CN_FAULT_NOT_READY,
    CN_FAULT_OVERLOADED,
    CN_FAULT_NO_STORE,
    CN_FAULT_CANCELLED,
    CN_FAULT_DEADLINE,
    CN_FAULT_MEMORY,
    CN_FAULT_STORAGE,
    CN_FAULT_COUNT
};

struct cn_fault_info {
    const char *type, *title;
    int status;
    const char *reason; /* label of controlnetd_http_rejected_total; NULL: not counted there */
};

const struct cn_fault_info *cn_fault_info(enum cn_fault f);

/* By err->code, and by whether err->where names a field of the request. */
enum cn_fault cn_fault_of(const struct cn_err *err);

#endif
