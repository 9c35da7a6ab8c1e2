/* Answers. Loop thread only. Each of the functions below that takes a status answers the request;
 * the transport sends it when the handler has returned, and header fields may still be added until
 * then.
 *
 *     cn_answer_field(q, "ETag", "\"%s\"", tag);
 *     cn_answer(q, 200, "image/png", cn_source_file(loop, fd, 0, size));
 *     cn_answer_problem(q, CN_PROBLEM_NOT_FOUND, "there is no such job", NULL);
 *
 * An answer whose handler sets no Cache-Control must not be stored by anybody: no-store.
 */
#ifndef CN_HTTP_CORE_ANSWER_H
#define CN_HTTP_CORE_ANSWER_H

#include "base/base.h"
#include "base/buf.h"
#include "api/problem_kind.h"
#include "http/core/request.h"
#include "http/core/source.h"

/* name is static; the value is copied. */
void cn_answer_field(struct cn_request *q, const char *name, const char *fmt, ...) CN_PRINTF(3, 4);

/* Takes body; NULL: none. type NULL: none. */
void cn_answer(struct cn_request *q, int status, const char *type, struct cn_source *body);
void cn_answer_empty(struct cn_request *q, int status);
void cn_answer_text(struct cn_request *q, int status, const char *type, const char *text);

/* The contents of the buffer, which is empty afterwards; a problem when it is not whole. */
void cn_answer_buf(struct cn_request *q, int status, const char *type, struct cn_buf *b);

/* Written as things happen: body has no length. beat (may be NULL) is sent when nothing else was
 * for a while. The request has reserved a stream (cn_request_reserve_stream). */
void cn_answer_stream(struct cn_request *q, const char *type, struct cn_source *body,
                      const char *beat);

/* Errors, in the shape of the route's dialect. */
void cn_answer_problem(struct cn_request *q, enum cn_problem_kind kind, const char *detail,
                       const char *pointer);
/* With the seconds after which it makes sense to come again; 0: for 429 and 503 a few. */
void cn_answer_later(struct cn_request *q, enum cn_problem_kind kind, const char *detail,
                     int retry_after_s);
void cn_answer_parameter(struct cn_request *q, const char *name, const char *detail);
void cn_answer_err(struct cn_request *q, const struct cn_err *err);

/* 204 with what the path allows, or 405. */
void cn_answer_allow(struct cn_request *q, bool refused);

/* For exchange.c: the fields that every answer has. */
void cn_answer_complete(struct cn_request *q);

#endif
