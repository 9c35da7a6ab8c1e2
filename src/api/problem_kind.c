/* The one table of problems: type, title, status, and how refusals are counted. */
#include "base/base.h"
#include "api/problem_kind.h"

static const struct cn_problem_kind_info table[CN_PROBLEM_KIND_COUNT] = {
    [CN_PROBLEM_BAD_REQUEST] = {"invalid-request", "The request is malformed", 400, "bad_request"},
    [CN_PROBLEM_MULTIPART] = {"malformed-multipart", "The multipart body is malformed", 400,
                              "bad_request"},
    [CN_PROBLEM_UNAUTHENTICATED] = {"unauthenticated", "A valid API key is required", 401, "auth"},
    [CN_PROBLEM_FORBIDDEN] = {"forbidden", "The key does not allow this", 403, "auth"},
    [CN_PROBLEM_CROSS_SITE] = {"cross-site", "This server does not answer that site", 403, "auth"},
    [CN_PROBLEM_NOT_FOUND] = {"not-found", "There is nothing here", 404, NULL},
    [CN_PROBLEM_METHOD] = {"method-not-allowed", "The method is not allowed here", 405, NULL},
    [CN_PROBLEM_NOT_ACCEPTABLE] = {"not-acceptable", "No acceptable representation", 406,
                                   "bad_request"},
    [CN_PROBLEM_NOT_FINISHED] = {"not-finished", "It is not there yet", 409, NULL},
    [CN_PROBLEM_KEY_IN_USE] = {"idempotency-in-progress",
                               "A request with this Idempotency-Key is being accepted", 409,
                               "bad_request"},
    [CN_PROBLEM_MODEL_BROKEN] = {"model-broken", "The model cannot be used", 409, NULL},
    [CN_PROBLEM_IN_USE] = {"in-use", "It is in use", 409, NULL},
    [CN_PROBLEM_GONE] = {"gone", "It was removed after its time", 410, NULL},
    [CN_PROBLEM_TOO_LARGE] = {"too-large", "The request is too large", 413, "too_large"},
    [CN_PROBLEM_TARGET_TOO_LONG] = {"target-too-long", "The target is too long", 414,
                                    "bad_request"},
    [CN_PROBLEM_MEDIA_TYPE] = {"unsupported-media", "The media type is not supported", 415,
                               "bad_request"},
    [CN_PROBLEM_RANGE] = {"range-not-satisfiable", "The range lies outside", 416, NULL},
    [CN_PROBLEM_VALIDATION] = {"validation", "A field of the request is not acceptable", 422,
                               "bad_request"},
    [CN_PROBLEM_KEY_MISMATCH] = {"idempotency-mismatch",
                                 "The Idempotency-Key came before with another request", 422,
                                 "bad_request"},
    [CN_PROBLEM_QUEUE_FULL] = {"queue-full", "The queue is full", 429, "queue_full"},
    [CN_PROBLEM_QUOTA] = {"quota-exceeded", "The tenant has as much as it may have", 429,
                          "queue_full"},
    [CN_PROBLEM_RATE] = {"rate-limited", "Too many requests came with this key", 429, "rate"},
    [CN_PROBLEM_GUESSING] = {"too-many-wrong-keys", "Too many wrong keys came from this address",
                             429, "auth"},
    [CN_PROBLEM_HEAD_TOO_LARGE] = {"head-too-large", "The head of the request is too large", 431,
                                   "bad_request"},
    [CN_PROBLEM_INTERNAL] = {"internal", "The server failed", 500, NULL},
    [CN_PROBLEM_WORKER_LOST] = {"worker-lost", "The worker was lost", 502, NULL},
    [CN_PROBLEM_DRAINING] = {"draining", "The server is shutting down", 503, "draining"},
    [CN_PROBLEM_NOT_READY] = {"not-ready", "The server is not ready", 503, "not_ready"},
    [CN_PROBLEM_OVERLOADED] = {"overloaded", "The server is overloaded", 503, "overloaded"},
    [CN_PROBLEM_NO_STORE] = {"no-store", "This server keeps no jobs", 503, "not_ready"},
    [CN_PROBLEM_CANCELLED] = {"cancelled", "The job was cancelled", 409, NULL},
    [CN_PROBLEM_DEADLINE] = {"deadline", "The job was not finished in time", 504, NULL},
    [CN_PROBLEM_MEMORY] = {"insufficient-memory", "There is not enough memory for this job", 507,
                           NULL},
    [CN_PROBLEM_STORAGE] = {"storage", "The result cannot be kept", 507, "storage"},
};

const struct cn_problem_kind_info *cn_problem_kind_info(enum cn_problem_kind f)
{
    return &table[f];
}

enum cn_problem_kind cn_problem_kind_of(const struct cn_err *err)
{
    bool field = err->where[0] == '/';

    switch (err->code) {
    case CN_EINVAL:
    case CN_EFORMAT:
        return field ? CN_PROBLEM_VALIDATION : CN_PROBLEM_BAD_REQUEST;
    case CN_ENOTFOUND:
        return field ? CN_PROBLEM_VALIDATION : CN_PROBLEM_NOT_FOUND;
    case CN_ETOOBIG:
        return field ? CN_PROBLEM_VALIDATION : CN_PROBLEM_TOO_LARGE;
    case CN_ENOMEM:
    case CN_EDEVMEM:
        return CN_PROBLEM_MEMORY;
    case CN_ESTORAGE:
        return CN_PROBLEM_STORAGE;
    case CN_EGONE:
        return CN_PROBLEM_GONE;
    case CN_EDEVICE:
        return CN_PROBLEM_WORKER_LOST;
    case CN_EBUSY:
        return CN_PROBLEM_DRAINING;
    case CN_ECANCELED:
        return CN_PROBLEM_DEADLINE;
    default:
        return CN_PROBLEM_INTERNAL;
    }
}
