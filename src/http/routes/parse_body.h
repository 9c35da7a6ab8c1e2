/* From a body to a job description, off the loop when the body is large. Loop thread only.
 *
 *     p = cn_parse_start(q, ask, with_digest);
 *     if (!cn_parse_done(p)) suspend; ... after the resumption:
 *     rc = cn_parse_take(p, &spec, &beside, digest, &kind, &err);      -- ends p
 *     cn_parse_drop(p);                                                 -- instead: nobody wants it
 */
#ifndef CN_HTTP_ROUTES_PARSE_BODY_H
#define CN_HTTP_ROUTES_PARSE_BODY_H

#include "base/base.h"
#include "base/sha256.h"
#include "base/spec.h"
#include "api/problem_kind.h"
#include "api/request.h"
#include "http/core/request.h"

struct cn_parse;

/* Takes the body of q, which is resumed when a thread had to do it. */
struct cn_ask;
struct cn_parse *cn_parse_start(struct cn_request *q, const struct cn_ask *ask, bool with_digest);
bool cn_parse_done(const struct cn_parse *p);

/* kind is CN_PROBLEM_KIND_COUNT: by the error's code. *ret_beside is the caller's to release. */
int cn_parse_take(struct cn_parse *p, struct cn_spec *ret, struct cn_api_beside *ret_beside,
                  unsigned char ret_digest[CN_SHA256_BYTES], enum cn_problem_kind *ret_kind,
                  struct cn_err *err);
void cn_parse_drop(struct cn_parse *p); /* NULL is none */

#endif
