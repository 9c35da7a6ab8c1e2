/* Answers: every response of ours leaves through finish(). */
#include "base/base.h"
#include "http/http_priv.h"
#include "api/problem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_REQUESTS_PER_CONNECTION = 1000 };

const char *cn_request_header(const struct cn_request *q, const char *name)
{
    return MHD_lookup_connection_value(q->c, MHD_HEADER_KIND, name);
}

bool cn_request_has_argument(const struct cn_request *q, const char *name)
{
    const char *value;
    size_t len;

    return MHD_lookup_connection_value_n(q->c, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value,
                                         &len) == MHD_YES;
}

/* True when origin is in the list of allowed ones. */
static bool origin_allowed(const char *list, const char *origin)
{
    size_t n = strlen(origin);

    if (strcmp(list, "*") == 0)
        return true;
    while (*list != '\0') {
        size_t len;

        list += strspn(list, " ,");
        len = strcspn(list, " ,");
        if (len == n && len > 0 && memcmp(list, origin, n) == 0)
            return true;
        list += len;
    }
    return false;
}

static void add_cors(struct cn_request *q, struct MHD_Response *r)
{
    const char *list = q->e->s->o.cors_origins;
    const char *origin = cn_request_header(q, "Origin");

    if (list[0] == '\0')
        return;
    MHD_add_response_header(r, "Vary", "Origin");
    if (origin == NULL || !origin_allowed(list, origin))
        return;
    MHD_add_response_header(r, "Access-Control-Allow-Origin", origin);
    MHD_add_response_header(r, "Access-Control-Expose-Headers",
                            "Controlnetd-Job, Controlnetd-Seed, Retry-After, X-Request-Id");
    if (q->method != CN_OPTIONS)
        return;
    MHD_add_response_header(r, "Access-Control-Allow-Headers",
                            "Accept, Authorization, Content-Type, X-Api-Key, X-Request-Id");
    MHD_add_response_header(r, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
    MHD_add_response_header(r, "Access-Control-Max-Age", "600");
}

static enum MHD_Result finish(struct cn_request *q, int status, const char *type, size_t len,
                              struct MHD_Response *r)
{
    enum MHD_Result rc;

    if (r == NULL)
        return MHD_NO;
    if (type != NULL)
        MHD_add_response_header(r, "Content-Type", type);
    if (q->id[0] != '\0')
        MHD_add_response_header(r, "X-Request-Id", q->id);
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
    else if (status == 200)
        MHD_add_response_header(r, "Cache-Control", "no-store");
    return finish(q, status, type, len, r);
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
    return finish(q, status, type, len, r);
}

enum MHD_Result cn_reply_bytes(struct cn_request *q, const char *type, const void *data, size_t len,
                               const struct cn_job *job)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(len, (void *)data, MHD_RESPMEM_MUST_COPY);
    char seed[32];

    if (r != NULL) {
        snprintf(seed, sizeof(seed), "%lu", (unsigned long)job->image[0].seed);
        MHD_add_response_header(r, "Cache-Control", "no-store");
        MHD_add_response_header(r, "Controlnetd-Job", job->name);
        MHD_add_response_header(r, "Controlnetd-Seed", seed);
        MHD_add_response_header(r, "Vary", "Accept");
    }
    return finish(q, 200, type, len, r);
}

enum MHD_Result cn_reply_fault(struct cn_request *q, enum cn_fault f, const char *detail,
                               const char *pointer)
{
    const struct cn_fault_info *info = cn_fault_info(f);
    struct cn_problem p = {.type = info->type,
                           .title = info->title,
                           .status = info->status,
                           .detail = detail,
                           .pointer = pointer,
                           .request_id = q->id};
    struct MHD_Response *r;
    struct cn_buf b;
    char seconds[16], allow[64];
    size_t len;

    if (info->status == 429 || info->status == 503)
        p.retry_after_s = cn_dispatch_retry_after_s(q->e->s->o.dispatch, q->key_name);
    if (info->reason != NULL)
        cn_metric_inc(q->e->s->m.rejected, 1, info->reason);
    cn_buf_init(&b, 1 << 16);
    cn_problem_write(&p, &b, NULL);
    len = b.len;
    r = MHD_create_response_from_buffer(len, b.data, MHD_RESPMEM_MUST_COPY);
    cn_buf_release(&b);
    if (r == NULL)
        return MHD_NO;
    if (p.retry_after_s > 0) {
        snprintf(seconds, sizeof(seconds), "%d", p.retry_after_s);
        MHD_add_response_header(r, "Retry-After", seconds);
    }
    if (f == CN_FAULT_UNAUTHENTICATED)
        MHD_add_response_header(r, "WWW-Authenticate", "Bearer realm=\"controlnetd\"");
    if (f == CN_FAULT_METHOD && q->route != NULL) {
        cn_route_allow(q->route, allow, sizeof(allow));
        MHD_add_response_header(r, "Allow", allow);
    }
    return finish(q, info->status, "application/problem+json", len, r);
}

enum MHD_Result cn_reply_err(struct cn_request *q, const struct cn_err *err)
{
    return cn_reply_fault(q, cn_fault_of(err), err->msg, err->where);
}

enum MHD_Result cn_reply_allow(struct cn_request *q, bool refused)
{
    struct MHD_Response *r;
    char allow[64];

    if (refused)
        return cn_reply_fault(q, CN_FAULT_METHOD, NULL, NULL);
    cn_route_allow(q->route, allow, sizeof(allow));
    r = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    if (r != NULL)
        MHD_add_response_header(r, "Allow", allow);
    return finish(q, 204, NULL, 0, r);
}
