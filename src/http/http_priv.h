/* Shared by server.c, reply.c, route.c and the routes. Loop thread only.
 *
 * Ownership: a connection object lives from MHD's STARTED to CLOSED, a request object from the
 * request line to MHD's COMPLETED; both are counted, because their uv handles close later. While a
 * request waits for its job its connection is suspended and MHD sees nothing of it: the request
 * watches the socket itself. A job's end wakes the request (cn_request_resume), and MHD calls the
 * handler again.
 */
#ifndef CN_HTTP_HTTP_PRIV_H
#define CN_HTTP_HTTP_PRIV_H

#include "base/buf.h"
#include "http/mhd_loop.h"
#include "http/server.h"
#include "http/status.h"

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

enum { CN_ENDPOINTS = 8 };

struct cn_endpoint {
    struct cn_server *s;
    struct cn_mhd mhd;
    bool admin, inherited;
    int port;
    char unix_path[108]; /* to be removed at the end; "" for TCP */
};

struct cn_server_metrics {
    struct cn_metric *requests, *duration, *connections, *rejected;
    struct cn_metric *ready, *draining;
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
    bool is_draining;
    bool is_handoff; /* public sockets are inherited: who comes next takes them */
    bool is_split;   /* there is an admin listener */
    char why[300];
};

enum cn_phase { CN_PHASE_HEAD, CN_PHASE_BODY, CN_PHASE_WAIT, CN_PHASE_SEND, CN_PHASE_IDLE };

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

struct cn_request {
    struct cn_endpoint *e;
    struct cn_conn *conn;
    struct MHD_Connection *c;
    int refs;
    char *uri;   /* raw; with the query */
    char id[65]; /* X-Request-Id */
    enum cn_method method;
    const char *method_name;
    const struct cn_route *route; /* NULL: none matched */
    char key_name[64];            /* who asked; "" without authentication */
    int64_t start_ns;
    struct cn_buf body;
    size_t body_bytes; /* also what was thrown away */
    bool begun, answered, suspended, too_large, overloaded, gone;
    bool close;       /* the connection ends with this answer */
    bool over;        /* MHD has ended the request; others hold it still */
    uv_poll_t *watch; /* tells when the client hangs up; NULL: nobody listens */
    int status;
    size_t bytes_out;
    bool as_json;               /* how the result is wanted */
    struct cn_reading *reading; /* the body on its way to a job description */
    struct cn_job *job;
    size_t job_bytes; /* of its images, counted in the server's inflight */
};

struct cn_route {
    const char *path;
    unsigned methods; /* enum cn_method */
    bool open;        /* no key needed */
    bool admin;       /* moves to the admin listener when there is one */
    bool on_both;     /* answered by the admin listener as well */
    bool takes_body;
    /* First: head only, the body is not read yet. May answer (refuse). May be NULL. */
    enum MHD_Result (*admit)(struct cn_request *q);
    /* The body is complete: answer, or suspend. */
    enum MHD_Result (*handle)(struct cn_request *q);
    /* After a suspension: answer. */
    enum MHD_Result (*resume)(struct cn_request *q);
};

/* route.c */
const struct cn_route *cn_route_find(const char *path);
const struct cn_route *cn_route_all(size_t *ret_n);
void cn_route_allow(const struct cn_route *r, char *text, size_t size);

/* reply.c: each answers the request; the result is what the MHD handler returns. */
enum MHD_Result cn_reply_take(struct cn_request *q, int status, const char *type,
                              struct cn_buf *body);
enum MHD_Result cn_reply_static(struct cn_request *q, int status, const char *type,
                                const char *text, size_t len);
enum MHD_Result cn_reply_bytes(struct cn_request *q, const char *type, const void *data, size_t len,
                               const struct cn_job *job);
enum MHD_Result cn_reply_fault(struct cn_request *q, enum cn_fault f, const char *detail,
                               const char *pointer);
enum MHD_Result cn_reply_err(struct cn_request *q, const struct cn_err *err);
enum MHD_Result cn_reply_allow(struct cn_request *q, bool refused);
const char *cn_request_header(const struct cn_request *q, const char *name);
bool cn_request_has_argument(const struct cn_request *q, const char *name);

/* server.c */
void cn_conn_phase(struct cn_conn *conn, enum cn_phase phase);
void cn_request_suspend(struct cn_request *q, uv_poll_cb on_hangup);
void cn_request_resume(struct cn_request *q);
void cn_request_drop_body(struct cn_request *q);
struct cn_request *cn_request_ref(struct cn_request *q);
void cn_request_unref(struct cn_request *q);

/* reading.c */
bool cn_reading_start(struct cn_request *q); /* true: suspended until it is read */
int cn_reading_take(struct cn_request *q, struct cn_spec *ret, enum cn_fault *ret_fault,
                    struct cn_err *err); /* fault is CN_FAULT_COUNT: by the error's code */
void cn_reading_abandon(struct cn_request *q);

/* routes_images.c, routes_info.c */
enum MHD_Result cn_images_admit(struct cn_request *q);
enum MHD_Result cn_images_handle(struct cn_request *q);
enum MHD_Result cn_images_resume(struct cn_request *q);
void cn_images_abandon(struct cn_request *q); /* the request ends; its job may not be finished */
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
