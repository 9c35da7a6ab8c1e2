/* Requests and answers as libmicrohttpd has them: its callbacks become steps of exchange.c, and an
 * answer becomes a response of the cheapest kind: bytes that lie together and files go out without
 * a copy, everything else is pulled from its source block by block. */
#include "base/base.h"
#include "http/core/mhd_transport.h"
#include "base/log.h"
#include "http/core/conn.h"
#include "http/core/exchange.h"
#include "http/core/mhd_recv.h"
#include "http/core/sender.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BLOCK = 32 * 1024,         /* of an answer that is pulled */
    OPEN_BLOCK = 1024,         /* of one without end, for HTTP/1.0: chunks have memory of theirs */
    PULLED_AHEAD = 256 * 1024, /* of it, in the kernel, which doubles this */
    DIRECT_LOCAL = 64 * 1024,  /* bytes that go directly on a local socket, see below */
    CONNECTION_SLACK = 64,     /* MHD's own limit lies above ours: at its limit it goes deaf */
    CONNECTION_MEMORY = 32 * 1024
};

/* ---- what requests ask of it ---- */

static const char *get_header(void *c, const char *name)
{
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static const char *get_argument(void *c, const char *name)
{
    const char *value = NULL;
    size_t len;

    if (MHD_lookup_connection_value_n(c, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value, &len) !=
        MHD_YES)
        return NULL;
    return value == NULL ? "" : value;
}

struct each {
    cn_header_fn fn;
    void *arg;
};

static enum MHD_Result on_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    const struct each *e = arg;

    (void)kind;
    e->fn(e->arg, name, value == NULL ? "" : value);
    return MHD_YES;
}

static void each_header(void *c, cn_header_fn fn, void *arg)
{
    struct each e = {fn, arg};

    MHD_get_connection_values(c, MHD_HEADER_KIND, on_header, &e);
}

static void suspend(void *c)
{
    MHD_suspend_connection(c);
}

static void resume(struct cn_request *q)
{
    if (!q->sending)
        cn_recv_skip(q->conn->recv, true);
    MHD_resume_connection(q->c);
    cn_mhd_wake(&q->conn->listener->mhd);
}

static const struct sockaddr *address_of(void *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

    return info == NULL ? NULL : info->client_addr;
}

static void peer(void *c, char *text, size_t size)
{
    const struct sockaddr *sa = address_of(c);

    text[0] = '\0';
    if (sa != NULL && sa->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)sa)->sin_addr, text, (socklen_t)size);
    else if (sa != NULL && sa->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)sa)->sin6_addr, text, (socklen_t)size);
    else
        snprintf(text, size, "unix");
}

static const struct cn_transport transport = {.header = get_header,
                                              .argument = get_argument,
                                              .each_header = each_header,
                                              .suspend = suspend,
                                              .resume = resume,
                                              .peer = peer};

/* ---- answers ---- */

static ssize_t on_pull(void *cls, uint64_t pos, char *buf, size_t max)
{
    ssize_t n = cn_sender_pull(cls, buf, max);

    (void)pos;
    if (n == CN_SOURCE_END)
        return MHD_CONTENT_READER_END_OF_STREAM;
    return n < 0 ? MHD_CONTENT_READER_END_WITH_ERROR : n;
}

static void on_pulled(void *cls)
{
    cn_request_unref(cls);
}

static void on_sent(void *cls)
{
    cn_source_free(cls);
}

/* Bytes, by reference: the source lives until the library has done with them. */
static struct MHD_Response *bytes_response(struct cn_request *q, const void *data)
{
    struct cn_source *s = q->answer;

    q->answer = NULL;
    return MHD_create_response_from_buffer_with_free_callback_cls((size_t)s->length, (void *)data,
                                                                  on_sent, s);
}

static struct MHD_Response *file_response(int fd, uint64_t offset, uint64_t len)
{
    struct MHD_Response *r = MHD_create_response_from_fd_at_offset64(len, fd, offset);

    if (r == NULL)
        close(fd);
    return r;
}

/* What a local socket's reader has taken is known only from what was given: so there a long answer
 * is pulled. */
static bool may_go_directly(const struct cn_request *q)
{
    return q->answer->length <= DIRECT_LOCAL || !q->conn->is_unix;
}

/* The kernel would take megabytes ahead of a slow reader, and they would be made for two hundred of
 * them at once. */
static struct MHD_Response *pulled_response(struct cn_request *q)
{
    int64_t length = q->answer->length;
    int size = PULLED_AHEAD;

    if (length < 0)
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, OPEN_BLOCK, on_pull,
                                                 cn_request_ref(q), on_pulled);
    if (length > PULLED_AHEAD)
        setsockopt(q->conn->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    return MHD_create_response_from_callback((uint64_t)length, BLOCK, on_pull, cn_request_ref(q),
                                             on_pulled);
}

static struct MHD_Response *response_of(struct cn_request *q)
{
    struct cn_source *s = q->answer;
    const void *data;
    uint64_t offset;
    int fd;

    if (s == NULL)
        return MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    if (s->length >= 0 && may_go_directly(q)) {
        q->bytes_out = (uint64_t)s->length;
        if (s->kind->bytes != NULL && (data = s->kind->bytes(s)) != NULL)
            return bytes_response(q, data);
        if (s->kind->file != NULL && (fd = s->kind->file(s, &offset)) >= 0)
            return file_response(fd, offset, (uint64_t)s->length);
        q->bytes_out = 0;
    }
    return pulled_response(q);
}

static enum MHD_Result answer(struct cn_request *q)
{
    struct MHD_Response *r = response_of(q);
    enum MHD_Result rc;

    if (r == NULL)
        return MHD_NO;
    for (int i = 0; i < q->n_fields; i++)
        MHD_add_response_header(r, q->field[i].name, q->field[i].value);
    rc = MHD_queue_response(q->c, (unsigned)q->status, r);
    MHD_destroy_response(r);
    return rc;
}

static enum MHD_Result obey(struct cn_request *q, enum cn_exchange what)
{
    if (what == CN_EXCHANGE_SEND)
        return answer(q);
    return what == CN_EXCHANGE_CUT ? MHD_NO : MHD_YES;
}

/* ---- the library's callbacks ---- */

/* The library sees a head only when it is whole: its time begins with its first byte. */
static void on_head(void *arg)
{
    struct cn_conn *conn = arg;

    if (conn->phase == CN_PHASE_IDLE)
        cn_conn_phase(conn, CN_PHASE_HEAD);
}

static void on_connection(void *cls, struct MHD_Connection *c, void **slot,
                          enum MHD_ConnectionNotificationCode code)
{
    struct cn_listener *l = cls;
    struct cn_conn *conn;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        int fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;

        const struct sockaddr *sa = address_of(c);

        conn = cn_conn_open(l->core, l, fd);
        conn->admin = l->admin;
        conn->is_unix = sa == NULL || sa->sa_family == AF_UNIX;
        conn->recv = cn_recv_attach(fd, on_head, conn);
        if (conn->recv == NULL) /* nothing is read that was not looked at */
            cn_conn_cut(conn);
        *slot = conn;
    } else if (*slot != NULL) {
        conn = *slot;
        cn_recv_detach(conn->recv);
        cn_conn_close(conn);
        *slot = NULL;
    }
}

static void *on_request_line(void *cls, const char *uri, struct MHD_Connection *c)
{
    struct cn_conn *conn =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;

    (void)cls;
    return conn == NULL ? NULL : cn_exchange_begin(conn, &transport, c, uri);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **slot)
{
    struct cn_request *q = *slot;
    struct cn_fault fault = {NULL, CN_PROBLEM_BAD_REQUEST};
    enum cn_exchange what;

    (void)cls;
    (void)c;
    (void)version;
    if (q == NULL)
        return MHD_NO;
    cn_recv_skip(q->conn->recv, false);
    if (q->conn->recv != NULL && !q->sending)
        fault.text = cn_recv_fault(q->conn->recv, q->nth, &fault.kind);
    if (!q->begun)
        return obey(q, cn_exchange_head(q, path, method, &fault));
    if (*size == 0)
        return obey(q, cn_exchange_step(q, &fault));
    what = cn_exchange_body(q, data, *size);
    *size = 0;
    return obey(q, what);
}

static void on_completed(void *cls, struct MHD_Connection *c, void **slot,
                         enum MHD_RequestTerminationCode why)
{
    struct cn_request *q = *slot;

    (void)cls;
    (void)c;
    *slot = NULL;
    if (q != NULL)
        cn_exchange_end(q, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
}

static void on_log(void *cls, const char *fmt, va_list ap)
{
    char text[300];

    (void)cls;
    if (!cn_log_on(CN_LOG_DEBUG))
        return;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    vsnprintf(text, sizeof(text), fmt, ap);
#pragma GCC diagnostic pop
    cn_log(CN_LOG_DEBUG, "http.mhd", text, "source=%s", "libmicrohttpd");
}

/* ---- listeners ---- */

/* No timeout of the library's own: conn.c has one for each phase. */
int cn_listener_open(struct cn_listener *l, struct cn_core *core, int fd, bool admin,
                     struct cn_err *err)
{
    const struct cn_core_options *o = &core->o;
    struct MHD_Daemon *daemon;

    l->core = core;
    l->admin = admin;
    daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, l,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(o->max_connections + o->max_streams + CONNECTION_SLACK),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, l, MHD_OPTION_NOTIFY_COMPLETED, on_completed, l, MHD_OPTION_URI_LOG_CALLBACK,
        on_request_line, l, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_END);
    if (daemon == NULL) {
        close(fd);
        return cn_fail(err, CN_EIO, "cannot start libmicrohttpd");
    }
    return cn_mhd_start(&l->mhd, o->loop, daemon, err);
}

unsigned cn_listener_connections(struct cn_listener *l)
{
    return cn_mhd_connections(&l->mhd);
}

void cn_listener_quiesce(struct cn_listener *l)
{
    for (struct cn_conn *c = l->core->conns; c != NULL; c = c->next)
        if (c->listener == l)
            c->is_last_listener = true;
    cn_mhd_quiesce(&l->mhd);
}

void cn_listener_stop(struct cn_listener *l)
{
    cn_mhd_quiesce(&l->mhd);
    cn_mhd_stop(&l->mhd);
}

int cn_listener_handles(const struct cn_listener *l)
{
    return l->mhd.handles;
}
