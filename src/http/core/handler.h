/* Handlers and the table of routes: what the server hands down to core as data.
 *
 * A handler is a table of functions. For each request, on the loop:
 *
 *     admit     by the head alone, before the body is read: may answer (and so refuse)
 *     start     the body is complete: answers, or suspends (cn_request_suspend)
 *     resume    after each suspension: answers, or suspends again
 *     shutdown  the server closes while the request waits, or while its stream is open: has to see
 *               to it that the request ends (resume and answer; end the stream). Not called for
 *               one that waits only until its answer is ready to be sent.
 *     dispose   the request is over, answered or not: lets go of what q->ctx holds
 *
 * q->ctx points to ctx_size zeroed bytes from admit (or start) to dispose. Who may suspend has
 * resume, and then has to say what happens at shutdown: cn_routes_check asserts it when the server
 * starts. A request that is still there when the time of the shutdown is over is cut.
 */
#ifndef CN_HTTP_CORE_HANDLER_H
#define CN_HTTP_CORE_HANDLER_H

#include "base/base.h"
#include "api/problem.h"
#include "http/core/request.h"

struct cn_handler {
    size_t ctx_size;
    void (*admit)(struct cn_request *q); /* may be NULL */
    void (*start)(struct cn_request *q);
    void (*resume)(struct cn_request *q);   /* NULL: never suspends, never streams */
    void (*shutdown)(struct cn_request *q); /* owed by who has resume */
    void (*dispose)(struct cn_request *q);  /* may be NULL */
};

/* How a route speaks: the shape of its errors, core's own included, and where it finds what a
 * client has to prove who it is. */
struct cn_dialect {
    const char *problem_type; /* media type of an error */
    void (*put_problem)(const struct cn_problem *p, struct cn_buf *out);
    const char *(*credentials)(const struct cn_request *q); /* NULL: the request has none */
    const char *challenge;                                  /* WWW-Authenticate of a 401 */
    int validation_status;                                  /* in the place of 422; 0: 422 */
};

struct cn_route {
    const char *path; /* {name} stands for one segment that is not empty */
    unsigned methods; /* enum cn_method; a path may have several rows, each with its methods */
    const struct cn_handler *handler;
    const struct cn_dialect *dialect;
    const void *what; /* the handler's, that has several routes: what this one is */
    bool open;        /* no key needed */
    bool admin;       /* moves to the admin listener when there is one */
    bool on_both;     /* answered by the admin listener as well */
    bool takes_body;  /* of POST */
    bool admins_only; /* of the keys with the scope admin */
    int takes_ticket; /* ?ticket= instead of a key: of this purpose, for `access`; 0: none */
    unsigned scope;   /* that a key must have, for `access`; 0: by the method */
};

struct cn_routes {
    const struct cn_route *row;
    size_t n;
    const struct cn_dialect *dialect; /* of what no route matches */
};

/* Asserts what handlers owe. */
void cn_routes_check(const struct cn_routes *t);

/* The row for a path and a method, and the path's arguments. A path with other methods only gives
 * one of its rows, whose methods lack this one; NULL: there is no such path. */
const struct cn_route *cn_routes_find(const struct cn_routes *t, const char *path,
                                      enum cn_method method, char arg[CN_PATH_ARGS][CN_PATH_ARG]);

/* Of a path that no row matches: that of the first row whose first segment is the same, else the
 * table's. */
const struct cn_dialect *cn_routes_dialect(const struct cn_routes *t, const char *path);

/* "GET, HEAD, OPTIONS": the methods of all rows of a path. */
void cn_routes_allow(const struct cn_routes *t, const struct cn_route *r, char *text, size_t size);

#endif
