/* The HTTP server: one public listener, and one for operators if wanted.
 *
 * Loop thread only.
 *
 *     s = cn_server_new(&options);
 *     if (cn_server_listen(s, &err) < 0) ...  if (cn_server_accept(s, &err) < 0) ...
 *     port = cn_server_port(s, false);
 *     cn_server_drain(s);
 *     cn_server_close(s); ... cn_server_tick(s) ... cn_server_gone(s) ... cn_server_free(s);
 */
#ifndef CN_HTTP_SERVER_SERVER_H
#define CN_HTTP_SERVER_SERVER_H

#include "base/base.h"
#include "base/metrics.h"
#include "base/spec.h"
#include "http/auth/keys.h"
#include "http/auth/ticket.h"
#include "job/dispatch.h"
#include "job/jobs.h"

#include <uv.h>

struct cn_notifier;

struct cn_server_options {
    uv_loop_t *loop;
    struct cn_dispatch *dispatch;
    struct cn_jobs *jobs;
    struct cn_notifier *notifier; /* NULL: webhooks are off */
    struct cn_metrics *metrics;
    const char *listen;       /* "host:port" or "unix:/path" */
    const char *admin_listen; /* "" : none */
    const char *cors_origins; /* allowed origins, separated by blanks; "*": all; "": CORS is off */
    const char *hosts;        /* names of this server, for requests without keys; "": none */
    const char *trusted_proxies; /* whose X-Forwarded-For counts; "": nobody's */
    struct cn_keys *keys;        /* NULL: no authentication */
    bool allow_anonymous;        /* without keys, and beyond loopback */
    struct cn_limits limits;
    size_t max_body;      /* bytes of one request */
    size_t max_image;     /* bytes of one image in it */
    size_t max_inflight;  /* bytes of all bodies, and of images of jobs that wait */
    size_t max_outflight; /* bytes of memory that all answers on their way hold */
    int max_connections;  /* besides streams */
    int max_streams;      /* answers that are written as things happen */
    int stall_timeout_s;  /* that the reader of one may stand still */
    int header_timeout_s, body_timeout_s, idle_timeout_s;
    void (*collect)(void *arg); /* brings gauges of others up to date */
    void *arg;
};

#define CN_SERVER_DEFAULTS                                                                         \
    {                                                                                              \
        .listen = "127.0.0.1:8080", .admin_listen = "", .cors_origins = "", .hosts = "",           \
        .trusted_proxies = "", .limits = CN_LIMITS_DEFAULTS, .max_body = (size_t)64 << 20,         \
        .max_image = (size_t)32 << 20, .max_inflight = (size_t)512 << 20,                          \
        .max_outflight = (size_t)512 << 20, .max_connections = 1024, .max_streams = 1024,          \
        .stall_timeout_s = 60, .header_timeout_s = 10, .body_timeout_s = 120, .idle_timeout_s = 15 \
    }

struct cn_inputs;
struct cn_server;

struct cn_server *cn_server_new(const struct cn_server_options *o);

/* The place of inputs (inputs/inputs.h); outlives the server. Without this call there is none.
 */
void cn_server_set_inputs(struct cn_server *s, struct cn_inputs *inputs);

/* Opens what is not inherited, and inherited sockets for operators. */
int cn_server_listen(struct cn_server *s, struct cn_err *err);

/* Begins to accept from inherited public sockets; until then clients wait in their backlog. */
int cn_server_accept(struct cn_server *s, struct cn_err *err);
int cn_server_port(const struct cn_server *s, bool admin);

/* Takes of *o what may change while the server runs: cors_origins, hosts,
 * trusted_proxies and keys (the old ones may
 * be freed afterwards), limits, max_body, max_image, max_inflight, max_outflight, stall_timeout_s,
 * header_timeout_s and body_timeout_s. */
void cn_server_configure(struct cn_server *s, const struct cn_server_options *o);

/* What tickets are signed with; before, one of this process's own. */
void cn_server_set_secret(struct cn_server *s, const struct cn_ticket_secret *secret);

/* Public sockets were inherited (LISTEN_FDS): at the end they go to the next process. */
bool cn_server_handoff(const struct cn_server *s);

/* /readyz says no, answers end their connections. Inherited sockets are not accepted from any more:
 * clients wait in the backlog for the next process; those that are connected are served. */
void cn_server_drain(struct cn_server *s);

/* No connection has a request under way, nor had one in the last second. */
bool cn_server_drained(const struct cn_server *s);

void cn_server_close(struct cn_server *s);         /* stop listening, end idle connections */
bool cn_server_quiet(struct cn_server *s);         /* no connection is left */
bool cn_server_settled(const struct cn_server *s); /* nobody is suspended: stop is allowed */

/* Ends whatever still waits, answered or not: afterwards nobody is suspended, in a turn or two. */
void cn_server_cut(struct cn_server *s);
void cn_server_stop(struct cn_server *s); /* end what is left, close the handles */
bool cn_server_gone(const struct cn_server *s);
void cn_server_free(struct cn_server *s);

#endif
