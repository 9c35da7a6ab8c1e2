/* One request, from its first line to the last byte of its answer. Loop thread only.
 *
 * A request is begun by the transport, goes through exchange.c, and is handled by the handler of
 * its route (handler.h). It is counted, because handles of libuv that belong to it close later.
 * While it waits it is suspended: the transport sees nothing of it, and the request watches the
 * socket itself for a client that hangs up.
 */
#ifndef CN_HTTP_CORE_REQUEST_H
#define CN_HTTP_CORE_REQUEST_H

#include "base/base.h"
#include "base/buf.h"
#include "http/core/source.h"

#include <uv.h>

enum cn_method {
    CN_GET = 1,
    CN_HEAD = 2,
    CN_POST = 4,
    CN_PUT = 8,
    CN_DELETE = 16,
    CN_OPTIONS = 32,
    CN_PATCH = 64,
    CN_OTHER_METHOD = 128
};

enum {
    CN_PATH_ARGS = 2,
    CN_PATH_ARG = 256,     /* bytes of one, with the NUL: the longest is a model's name */
    CN_IDENTITY_NAME = 64, /* of a key and of a tenant, with the NUL */
    CN_SUBJECT = 64,
    CN_FIELDS = 24 /* header fields of an answer */
};

struct cn_conn;
struct cn_core;
struct cn_request;
struct cn_route;

typedef void (*cn_header_fn)(void *arg, const char *name, const char *value);

/* What carries requests: libmicrohttpd, or a test. `c` is its own. */
struct cn_transport {
    const char *(*header)(void *c, const char *name);   /* NULL: not there */
    const char *(*argument)(void *c, const char *name); /* of the query; "" without "=" */
    void (*each_header)(void *c, cn_header_fn fn, void *arg);
    void (*suspend)(void *c);
    void (*resume)(struct cn_request *q); /* its next step comes in a later turn of the loop */
    void (*peer)(void *c, char *text, size_t size); /* the address, for people */
};

/* Who asks. Filled in by whoever checks credentials (core's `access`). */
struct cn_identity {
    char key[CN_IDENTITY_NAME];    /* "": without authentication */
    char label[CN_IDENTITY_NAME];  /* of the key, in tickets */
    char tenant[CN_IDENTITY_NAME]; /* whose jobs; "anonymous" without */
    bool admin;                    /* may manage; everybody without authentication */
    bool reads;                    /* may see models and jobs; the same */
    bool sees_all;                 /* of all tenants */
    char *models;                  /* that its jobs may use, by commas; NULL: any. Owned */
};

/* What every request is asked for, of its header fields; NULL: not there. Borrowed. */
struct cn_asked {
    const char *id, *length, *coding, *host, *origin;
};

struct cn_field {
    const char *name; /* static */
    const char *value;
    bool owned; /* value is to be freed */
};

struct cn_request {
    struct cn_core *core;
    struct cn_conn *conn; /* NULL: the request is over */
    const struct cn_transport *io;
    void *c;
    int refs;
    int nth;                  /* of its connection, from 1 */
    char *uri;                /* raw; with the query. NULL: it is not logged */
    struct cn_asked asked;
    char id[65];              /* X-Request-Id */
    char subject[CN_SUBJECT]; /* what it is about: for the log and X-Job-Id; "" */
    enum cn_method method;
    const struct cn_route *route;        /* NULL: none matched */
    const struct cn_dialect *dialect;    /* of errors where none did; NULL: the table's */
    char arg[CN_PATH_ARGS][CN_PATH_ARG]; /* what stands for {…} in the path, in order */
    struct cn_identity who;
    char peer[64]; /* the client's address, also behind a proxy: set by `access`; "": before */
    int64_t start_ns;
    struct cn_buf body;
    size_t body_bytes; /* also what was thrown away */
    void *ctx;         /* the handler's; NULL before its first function */

    /* The answer. */
    int status; /* 0: there is none yet */
    const char *type;
    struct cn_field field[CN_FIELDS];
    int n_fields;
    struct cn_source *answer; /* NULL: no body, or it was handed on */
    const char *beat;         /* of a stream, sent when nothing else was; NULL: nothing */
    uint64_t bytes_out;       /* of the body: handed on; at the end: taken */

    bool begun;
    bool suspended;
    bool has_waited; /* it was suspended in this step; it may be awake again */
    bool started;    /* the handler's start was called: now resume is */
    bool sending;    /* the answer is on its way */
    bool streaming;  /* and its end is not known: it counts as a stream */
    bool beat_due;
    bool too_large, overloaded;
    bool gone;           /* the client has left, or is to be cut */
    bool close;          /* the connection ends with this answer */
    bool origin_allowed; /* a page of this Origin may read the answer: set by `access` */
    int64_t given_ns;    /* when the transport last took something */
    bool watched;        /* a client that hangs up ends it */
};

/* Zeroed, with one reference. */
struct cn_request *cn_request_new(struct cn_core *core);
struct cn_request *cn_request_ref(struct cn_request *q);
void cn_request_unref(struct cn_request *q);

const char *cn_request_header(const struct cn_request *q, const char *name);
const char *cn_request_argument(const struct cn_request *q, const char *name); /* "" without = */
void cn_request_each_header(const struct cn_request *q, cn_header_fn fn, void *arg);

/* The handlers' own data (core's option app). */
void *cn_request_app(const struct cn_request *q);

/* Whose jobs the request may see; NULL: everybody's. */
const char *cn_request_scope(const struct cn_request *q);

/* What the request turned out to be about. */
void cn_request_set_subject(struct cn_request *q, const char *subject);

/* The handler waits: its resume is called after cn_request_resume, in another turn of the loop.
 * watched: a client that hangs up ends the request at once. */
void cn_request_suspend(struct cn_request *q, bool watched);

/* Something has happened: the handler goes on, or the source of the answer is asked again. Nothing
 * happens to a request that does not wait. */
void cn_request_resume(struct cn_request *q);

/* Takes one of the places of streams for this request, until its end. False: all are taken. Before
 * work is begun whose result could not be sent otherwise. */
bool cn_request_reserve_stream(struct cn_request *q);

/* Forgets the body: its bytes do not count any more. */
void cn_request_drop_body(struct cn_request *q);

/* The body with its count, which the caller gives back with cn_request_return_body. */
void cn_request_take_body(struct cn_request *q, struct cn_buf *ret);
void cn_request_return_body(struct cn_request *q, struct cn_buf *body);

/* For those who suspend or send: the client's hanging up sets q->gone and resumes. */
void cn_request_watch(struct cn_request *q);
void cn_request_hung_up(struct cn_request *q);
void cn_request_unwatch(struct cn_request *q);

/* The server is about to stop listening to this connection after the current answer. */
bool cn_request_is_last(const struct cn_request *q);

#endif
