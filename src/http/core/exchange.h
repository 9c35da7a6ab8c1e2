/* The way of a request through core, for the transport. Loop thread only.
 *
 *     q = cn_exchange_begin(conn, &transport, c, uri);      -- with the request line
 *     cn_exchange_head(q, path, method, &fault);            -- the head is complete
 *     cn_exchange_body(q, data, n); ...
 *     switch (cn_exchange_step(q, &fault)) ...               -- the body is complete; and whenever
 *                                                               a suspension is over
 *     cn_exchange_end(q, all);                               -- answered, or the client has left
 */
#ifndef CN_HTTP_CORE_EXCHANGE_H
#define CN_HTTP_CORE_EXCHANGE_H

#include "base/base.h"
#include "http/core/conn.h"
#include "api/problem_kind.h"
#include "http/core/request.h"

enum cn_exchange {
    CN_EXCHANGE_GO_ON, /* nothing to do now */
    CN_EXCHANGE_SEND,  /* send q's answer: status, fields, source */
    CN_EXCHANGE_CUT    /* end the connection without an answer */
};

struct cn_request *cn_exchange_begin(struct cn_conn *conn, const struct cn_transport *io, void *c,
                                     const char *uri);

/* What is wrong with the request as its bytes have come. */
struct cn_fault {
    const char *text; /* goes on "the request has"; NULL: nothing is wrong */
    enum cn_problem_kind kind;
};

/* path: unescaped, without the query. */
enum cn_exchange cn_exchange_head(struct cn_request *q, const char *path, const char *method,
                                  const struct cn_fault *fault);
enum cn_exchange cn_exchange_body(struct cn_request *q, const char *data, size_t n);

enum cn_exchange cn_exchange_step(struct cn_request *q, const struct cn_fault *fault);

/* all: everything was handed to the client's side. */
void cn_exchange_end(struct cn_request *q, bool all);

#endif
