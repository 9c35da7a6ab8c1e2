/* Answers: every response of ours leaves through cn_reply_finish(). */
#include "base/base.h"
#include "http/http_priv.h"
#include "http/auth/site.h"
#include "api/problem.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_REQUESTS_PER_CONNECTION = 1000 };

const char *cn_request_header(const struct cn_request *q, const char *name)
{
    return MHD_lookup_connection_value(q->c, MHD_HEADER_KIND, name);
}

const char *cn_request_argument(const struct cn_request *q, const char *name)
{
    const char *value = NULL;
    size_t len;

    if (MHD_lookup_connection_value_n(q->c, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value,
                                      &len) != MHD_YES)
        return NULL;
    return value == NULL ? "" : value;
}

void cn_reply_field(struct cn_request *q, const char *name, const char *fmt, ...)
{
    struct cn_field *f = cn_xcalloc(1, sizeof(*f));
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    f->name = name;
    f->value = cn_xstrdup(text);
    f->next = q->fields;
    q->fields = f;
}

static void add_cors(struct cn_request *q, struct MHD_Response *r)
{
    const char *list = q->e->s->o.cors_origins;
    const char *origin = cn_request_header(q, "Origin");

    if (list[0] == '\0')
        return;
    MHD_add_response_header(r, "Vary", "Origin");
    if (origin == NULL || !cn_site_is_listed(origin, list))
        return;
    MHD_add_response_header(r, "Access-Control-Allow-Origin", origin);
    MHD_add_response_header(r, "Access-Control-Expose-Headers",
                            "Content-Range, Controlnetd-Job, Controlnetd-Seed, ETag, Location, "
                            "Preference-Applied, Retry-After, X-Job-Id, X-Request-Id");
    if (q->method != CN_OPTIONS)
        return;
    MHD_add_response_header(r, "Access-Control-Allow-Headers",
                            "Accept, Authorization, Content-Type, Idempotency-Key, If-None-Match, "
                            "Last-Event-ID, Prefer, Range, X-Api-Key, X-Request-Id");
    MHD_add_response_header(r, "Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
    MHD_add_response_header(r, "Access-Control-Max-Age", "600");
}

enum MHD_Result cn_reply_finish(struct cn_request *q, int status, const char *type, size_t len,
                                struct MHD_Response *r)
{
    enum MHD_Result rc;

    if (r == NULL)
        return MHD_NO;
    if (type != NULL)
        MHD_add_response_header(r, "Content-Type", type);
    if (q->id[0] != '\0')
        MHD_add_response_header(r, "X-Request-Id", q->id);
    for (const struct cn_field *f = q->fields; f != NULL; f = f->next)
        MHD_add_response_header(r, f->name, f->value);
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    add_cors(q, r);
    if (q->e->s->is_draining || q->close || q->conn == NULL ||
        q->conn->requests >= MAX_REQUESTS_PER_CONNECTION)
        MHD_add_response_header(r, "Connection", "close");
    q->status = status;
    q->bytes_out = len;
    q->answered = true;
    cn_request_drop_body(q);
    if (q->conn != NULL) {
        q->conn->send_bytes = len;
        cn_conn_phase(q->conn, CN_PHASE_SEND);
    }
    rc = MHD_queue_response(q->c, (unsigned)status, r);
    MHD_destroy_response(r);
    return rc;
}

enum MHD_Result cn_reply_take(struct cn_request *q, int status, const char *type,
                              struct cn_buf *body)
{
    size_t len;
    unsigned char *data = cn_buf_steal(body, &len);
    struct MHD_Response *r = MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE);

    if (r == NULL)
        free(data);
    else if (status < 300)
        MHD_add_response_header(r, "Cache-Control", "no-store");
    return cn_reply_finish(q, status, type, len, r);
}

enum MHD_Result cn_reply_static(struct cn_request *q, int status, const char *type,
                                const char *text, size_t len)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(len, (void *)text, MHD_RESPMEM_PERSISTENT);

    if (r != NULL && strncmp(type, "text/html", 9) == 0)
        MHD_add_response_header(r, "Content-Security-Policy",
                                "default-src 'none'; style-src 'unsafe-inline'; script-src "
                                "'unsafe-inline'; connect-src 'self'; img-src blob: data:; "
                                "frame-ancestors 'none'; base-uri 'none'; form-action 'none'");
    return cn_reply_finish(q, status, type, len, r);
}

enum MHD_Result cn_reply_copy(struct cn_request *q, int status, const char *type, const void *data,
                              size_t len)
{
    return cn_reply_finish(
        q, status, type, len,
        MHD_create_response_from_buffer(len, (void *)data, MHD_RESPMEM_MUST_COPY));
}

enum MHD_Result cn_reply_empty(struct cn_request *q, int status)
{
    return cn_reply_finish(q, status, NULL, 0,
                           MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT));
}

enum MHD_Result cn_reply_file(struct cn_request *q, int status, const char *type, int fd,
                              uint64_t offset, uint64_t len)
{
    struct MHD_Response *r = MHD_create_response_from_fd_at_offset64(len, fd, offset);

    if (r == NULL)
        close(fd);
    return cn_reply_finish(q, status, type, (size_t)len, r);
}

static enum MHD_Result problem(struct cn_request *q, enum cn_fault f, struct cn_problem *p)
{
    const struct cn_fault_info *info = cn_fault_info(f);
    struct cn_buf b;
    enum MHD_Result rc;
    char allow[64];

    p->type = info->type;
    p->title = info->title;
    p->status = info->status;
    p->request_id = q->id;
    if (p->retry_after_s == 0 && (info->status == 429 || info->status == 503))
        p->retry_after_s = cn_dispatch_retry_after_s(q->e->s->o.dispatch, q->tenant);
    if (info->reason != NULL)
        cn_metric_inc(q->e->s->m.rejected, 1, info->reason);
    if (p->retry_after_s > 0)
        cn_reply_field(q, "Retry-After", "%d", p->retry_after_s);
    if (f == CN_FAULT_UNAUTHENTICATED)
        cn_reply_field(q, "WWW-Authenticate", "Bearer realm=\"controlnetd\"");
    if (f == CN_FAULT_METHOD && q->route != NULL) {
        cn_route_allow(q->route, allow, sizeof(allow));
        cn_reply_field(q, "Allow", "%s", allow);
    }
    cn_buf_init(&b, 1 << 16);
    cn_problem_write(p, &b, NULL);
    rc = cn_reply_copy(q, info->status, "application/problem+json", b.data, b.len);
    cn_buf_release(&b);
    return rc;
}

enum MHD_Result cn_reply_fault(struct cn_request *q, enum cn_fault f, const char *detail,
                               const char *pointer)
{
    struct cn_problem p = {.detail = detail, .pointer = pointer};

    return problem(q, f, &p);
}

enum MHD_Result cn_reply_later(struct cn_request *q, enum cn_fault f, const char *detail,
                               int retry_after_s)
{
    struct cn_problem p = {.detail = detail, .retry_after_s = retry_after_s};

    return problem(q, f, &p);
}

enum MHD_Result cn_reply_parameter(struct cn_request *q, const char *name, const char *detail)
{
    struct cn_problem p = {.detail = detail, .parameter = name};

    return problem(q, CN_FAULT_BAD_REQUEST, &p);
}

enum MHD_Result cn_reply_err(struct cn_request *q, const struct cn_err *err)
{
    return cn_reply_fault(q, cn_fault_of(err), err->msg, err->where);
}

enum MHD_Result cn_reply_allow(struct cn_request *q, bool refused)
{
    char allow[64];

    if (refused)
        return cn_reply_fault(q, CN_FAULT_METHOD, NULL, NULL);
    cn_route_allow(q->route, allow, sizeof(allow));
    cn_reply_field(q, "Allow", "%s", allow);
    return cn_reply_empty(q, 204);
}
