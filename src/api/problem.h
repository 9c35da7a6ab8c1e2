/* Problem documents (RFC 9457): application/problem+json. Any thread.
 *
 *     struct cn_problem p = {.type = "validation", .title = "…", .status = 422,
 *                            .detail = err.msg, .pointer = err.where, .request_id = id};
 *     cn_problem_write(&p, &buf, NULL);
 */
#ifndef CN_API_PROBLEM_H
#define CN_API_PROBLEM_H

#include "base/base.h"
#include "base/buf.h"

/* Types are URIs under this: stable, and what clients compare. */
#define CN_PROBLEM_BASE "urn:controlnetd:problem:"

struct cn_problem {
    const char *type, *title;
    int status;
    const char *detail;     /* may be NULL */
    const char *pointer;    /* field at fault; NULL or "": none */
    const char *parameter;  /* of the query, at fault; NULL: none */
    const char *request_id; /* may be NULL */
    int retry_after_s;      /* 0: none */
};

/* Without the newline at the end: also a member of another document. */
int cn_problem_put(const struct cn_problem *p, struct cn_buf *out, struct cn_err *err);

int cn_problem_write(const struct cn_problem *p, struct cn_buf *out, struct cn_err *err);

#endif
