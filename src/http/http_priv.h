/* Shared by the files of src/http. Loop thread only.
 *
 * Ownership: a connection object lives from MHD's STARTED to CLOSED, a request object from the
 * request line to MHD's COMPLETED; both are counted, because their uv handles close later. While a
 * request waits its connection is suspended and MHD sees nothing of it: the request watches the
 * socket itself. What it waits for wakes it (cn_request_resume), and MHD calls the handler again,
 * which goes on with the function that the suspension named.
 *
 * What a route needs beside that hangs at q->call, and q->call_release takes it away when the
 * request ends, answered or not.
 */
#ifndef CN_HTTP_HTTP_PRIV_H
#define CN_HTTP_HTTP_PRIV_H

#include "base/buf.h"
#include "base/spec.h"
#include "http/core/fields.h"
#include "http/core/mhd_loop.h"
#include "http/server/server.h"
#include "http/core/status.h"
#include "http/auth/ticket.h"

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
    CN_ENDPOINTS = 8,
    CN_PATH_ARGS = 2,
    CN_PATH_ARG = CN_MODEL_NAME, /* bytes of one, with the NUL: the longest is a model's name */
    CN_TEXT_CACHE = 8,           /* preview events that streams share */
    CN_DRAIN_PATIENCE_S = 1      /* for a request that is on its way on an idle connection */
};

struct cn_endpoint {
    struct cn_server *s;
    struct cn_mhd mhd;
    bool admin, inherited;
    int port;
    char unix_path[108]; /* to be removed at the end; "" for TCP */
};

struct cn_server_metrics {
    struct cn_metric *requests, *duration, *connections, *rejected;
    struct cn_metric *ready, *draining, *streams_cut;
};

/* Text that several streams send, counted. */
struct cn_text {
    int refs;
    size_t len;
    char data[];
};

struct cn_cached_text {
    char job[27];
    uint64_t event;
    struct cn_text *text;
};

struct cn_server {
    struct cn_server_options o;
    struct cn_endpoint endpoint[CN_ENDPOINTS]; /* in the order of their opening */
    int n_endpoints;
    struct cn_server_metrics m;
    struct cn_conn *conns; /* all of them */
    int n_conns, n_suspended;
    int refs;        /* objects whose handles are still closing */
    size_t inflight; /* bytes of bodies held, and of the images of jobs */
    int64_t full_ns; /* since when the queue was always seen full; 0: it was not */
    bool is_draining;
    bool is_handoff; /* public sockets are inherited: who comes next takes them */
    bool is_split;   /* there is an admin listener */
    int64_t drain_ns;
    bool is_closing;            /* nobody waits any longer for what may not end in this life */
    struct cn_request *leavers; /* requests with on_close */
    struct cn_stream *streams;  /* all of them */
    int n_streams;
    uv_timer_t beat; /* runs while there are streams */
    struct cn_cached_text cache[CN_TEXT_CACHE];
    int cache_next;
    struct cn_tickets tickets;
    char why[300];
};

enum cn_phase {
    CN_PHASE_HEAD,
    CN_PHASE_BODY,
    CN_PHASE_WAIT,
    CN_PHASE_SEND,
    CN_PHASE_STREAM,
    CN_PHASE_IDLE
};

struct cn_conn {
    struct cn_endpoint *e;
    uv_timer_t timer; /* the absolute deadline of the phase */
    int fd;
    enum cn_phase phase;
    int64_t since_ns;  /* start of the phase */
    size_t body_bytes; /* of this request so far */
    size_t send_bytes; /* of the answer */
    int requests;
    struct cn_conn *prev, *next;
};

struct cn_route;
struct cn_request;

/* Goes on with a request: answers it, or suspends it again. MHD_NO: the connection ends. */
typedef enum MHD_Result (*cn_next_fn)(struct cn_request *q);

/* A header of the answer. */
struct cn_field {
    const char *name;
    char *value;
    struct cn_field *next;
};

struct cn_request {
    struct cn_endpoint *e;
    struct cn_conn *conn;
    struct MHD_Connection *c;
    int refs;
    char *uri;   /* raw; with the query */
    char id[65]; /* X-Request-Id */
    enum cn_method method;
    const struct cn_route *route;        /* NULL: none matched */
    char arg[CN_PATH_ARGS][CN_PATH_ARG]; /* what stands for {…} in the path, in order */
    char key_name[CN_KEY_NAME];          /* who asked; "" without authentication */
    char tenant[CN_KEY_NAME];            /* whose jobs; "anonymous" without */
    bool admin;                          /* may manage; everybody without authentication */
    int64_t start_ns;
    struct cn_buf body;
    size_t body_bytes; /* also what was thrown away */
    bool begun, answered, suspended, too_large, overloaded, gone;
    bool close;       /* the connection ends with this answer */
    bool over;        /* MHD has ended the request; others hold it still */
    uv_poll_t *watch; /* tells when the client hangs up; NULL: nobody listens */
    cn_next_fn next;  /* after the suspension */
    int status;
    size_t bytes_out;
    struct cn_field *fields;    /* that the answer gets */
    struct cn_reading *reading; /* the body on its way to a job description */
    struct cn_stream *stream;   /* the answer is one; NULL: not */
    char job_id[27];            /* for the log; "": it has none */
    void *call;
    void (*call_release)(struct cn_request *q);
    void (*on_close)(struct cn_request *q); /* see cn_request_on_close; NULL: none */
    struct cn_request *prev_leaver, *next_leaver;
};

struct cn_route {
    const char *path; /* {name} stands for one segment that is not empty */
    unsigned methods; /* enum cn_method */
    bool open;        /* no key needed */
    bool admin;       /* moves to the admin listener when there is one */
    bool on_both;     /* answered by the admin listener as well */
    bool takes_body;
    bool admins_only;  /* of the keys with role=admin */
    bool takes_ticket; /* ?ticket= instead of a key */
    /* First: head only, the body is not read yet. May answer (refuse). May be NULL. */
    cn_next_fn admit;
    /* The body is complete: answer, or suspend. */
    cn_next_fn handle;
};

/* route.c: the row for a path and its arguments. A path with several methods has one row; its
 * handlers look at q->method. */
const struct cn_route *cn_route_find(const char *path, char arg[CN_PATH_ARGS][CN_PATH_ARG]);
const struct cn_route *cn_route_all(size_t *ret_n);
void cn_route_allow(const struct cn_route *r, char *text, size_t size);

/* reply.c: each answers the request; the result is what the MHD handler returns. */
void cn_reply_field(struct cn_request *q, const char *name, const char *fmt, ...) CN_PRINTF(3, 4);
enum MHD_Result cn_reply_take(struct cn_request *q, int status, const char *type,
                              struct cn_buf *body);
enum MHD_Result cn_reply_static(struct cn_request *q, int status, const char *type,
                                const char *text, size_t len);
enum MHD_Result cn_reply_copy(struct cn_request *q, int status, const char *type, const void *data,
                              size_t len);
enum MHD_Result cn_reply_empty(struct cn_request *q, int status);
/* len bytes of the file from offset; takes fd. */
enum MHD_Result cn_reply_file(struct cn_request *q, int status, const char *type, int fd,
                              uint64_t offset, uint64_t len);
enum MHD_Result cn_reply_fault(struct cn_request *q, enum cn_fault f, const char *detail,
                               const char *pointer);
/* retry_after_s 0: the dispatcher's estimate. */
enum MHD_Result cn_reply_later(struct cn_request *q, enum cn_fault f, const char *detail,
                               int retry_after_s);
enum MHD_Result cn_reply_parameter(struct cn_request *q, const char *name, const char *detail);
enum MHD_Result cn_reply_err(struct cn_request *q, const struct cn_err *err);
enum MHD_Result cn_reply_allow(struct cn_request *q, bool refused);
/* For stream.c: everything but the body. */
enum MHD_Result cn_reply_finish(struct cn_request *q, int status, const char *type, size_t len,
                                struct MHD_Response *r);
const char *cn_request_header(const struct cn_request *q, const char *name);
const char *cn_request_argument(const struct cn_request *q, const char *name); /* "" without = */

/* conn.c */
void cn_conn_phase(struct cn_conn *conn, enum cn_phase phase);
void cn_conn_cut(struct cn_conn *conn);
void cn_conn_notify(void *cls, struct MHD_Connection *c, void **slot,
                    enum MHD_ConnectionNotificationCode code);

/* request.c */
void *cn_request_line(void *cls, const char *uri, struct MHD_Connection *c);
enum MHD_Result cn_request_handle(void *cls, struct MHD_Connection *c, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **slot);
void cn_request_completed(void *cls, struct MHD_Connection *c, void **slot,
                          enum MHD_RequestTerminationCode why);
/* watched: a client that hangs up ends the request at once. Otherwise only when next is called. */
void cn_request_suspend(struct cn_request *q, cn_next_fn next, bool watched);
void cn_request_resume(struct cn_request *q);
/* For a request that may wait for what does not end with this life of the server: when the server
 * closes on_close is called (at once when it does already), and has to bring about an answer. */
void cn_request_on_close(struct cn_request *q, void (*on_close)(struct cn_request *q));
void cn_requests_close(struct cn_server *s);
void cn_request_watch(struct cn_request *q, uv_poll_cb on_hangup);
void cn_request_drop_body(struct cn_request *q);
struct cn_request *cn_request_ref(struct cn_request *q);
void cn_request_unref(struct cn_request *q);
const char *cn_request_view(const struct cn_request *q); /* tenant to look as; NULL: all */

/* reading.c */
bool cn_reading_start(struct cn_request *q, bool with_digest,
                      cn_next_fn next); /* true: suspended */
int cn_reading_take(struct cn_request *q, struct cn_spec *ret,
                    unsigned char ret_digest[CN_SHA256_BYTES], enum cn_fault *ret_fault,
                    struct cn_err *err); /* fault is CN_FAULT_COUNT: by the error's code */
void cn_reading_abandon(struct cn_request *q);

/* stream.c: an answer that is written as things happen. */
struct cn_stream_source {
    /* The next piece: appended to own, or, when it is shared, a reference in *ret. 1: there is one;
     * 0: none now, cn_stream_wake will be called; negative: that was all. */
    int (*pull)(void *arg, struct cn_buf *own, struct cn_text **ret);
    const char *beat; /* sent when nothing else was for HEARTBEAT_S; NULL: nothing */
    const char *bye;  /* sent last when the server closes; NULL: it is asked, and ends by itself */
};

enum MHD_Result cn_stream_reply(struct cn_request *q, int status, const char *type,
                                const struct cn_stream_source *source, void *arg);
void cn_stream_wake(struct cn_stream *st);
void cn_stream_release(struct cn_stream *st);
void cn_streams_close(struct cn_server *s);
bool cn_streams_full(const struct cn_server *s);
struct cn_text *cn_text_take(struct cn_buf *b);
void cn_text_unref(struct cn_text *t);

/* submit.c */
enum MHD_Result cn_images_admit(struct cn_request *q);
enum MHD_Result cn_images_handle(struct cn_request *q); /* of /v1/jobs too */
enum MHD_Result cn_jobs_admit_route(struct cn_request *q);

/* routes_*.c */
enum MHD_Result cn_jobs_route(struct cn_request *q);
enum MHD_Result cn_jobs_route_one(struct cn_request *q);
enum MHD_Result cn_jobs_route_image(struct cn_request *q);
enum MHD_Result cn_jobs_route_events(struct cn_request *q);
enum MHD_Result cn_jobs_route_ticket(struct cn_request *q);
enum MHD_Result cn_models_route_load(struct cn_request *q);
enum MHD_Result cn_models_route_unload(struct cn_request *q);
enum MHD_Result cn_info_models(struct cn_request *q);
enum MHD_Result cn_info_samplers(struct cn_request *q);
enum MHD_Result cn_info_annotators(struct cn_request *q);
enum MHD_Result cn_info_healthz(struct cn_request *q);
enum MHD_Result cn_info_readyz(struct cn_request *q);
enum MHD_Result cn_info_metrics(struct cn_request *q);
enum MHD_Result cn_info_openapi(struct cn_request *q);
enum MHD_Result cn_info_page(struct cn_request *q);

/* assets.c, made by embed.sh */
extern const char cn_asset_openapi[], cn_asset_page[];

#endif
