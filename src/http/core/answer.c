/* Answers: status, header fields and body of a request's answer, and errors in the shape of the
 * route's dialect. Every answer goes through cn_answer(), and through cn_answer_complete() before
 * it is sent. */
#include "base/base.h"
#include "http/core/answer.h"
#include "api/problem.h"
#include "base/mem.h"
#include "base/spec.h"
#include "http/core/conn.h"
#include "http/core/core.h"
#include "http/core/handler.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_REQUESTS_PER_CONNECTION = 1000, RETRY_SOON_S = 2, PROBLEM_MAX = 1 << 16 };

static void add(struct cn_request *q, const char *name, const char *value, bool owned)
{
    CN_ASSERT(q->n_fields < CN_FIELDS);
    q->field[q->n_fields++] = (struct cn_field){name, value, owned};
}

void cn_answer_field(struct cn_request *q, const char *name, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    add(q, name, cn_xvprintf(fmt, ap), true);
    va_end(ap);
}

static bool has_field(const struct cn_request *q, const char *name)
{
    for (int i = 0; i < q->n_fields; i++)
        if (strcmp(q->field[i].name, name) == 0)
            return true;
    return false;
}

/* ---- answers ---- */

void cn_answer(struct cn_request *q, int status, const char *type, struct cn_source *body)
{
    CN_ASSERT(q->status == 0);
    q->status = status;
    q->type = type;
    q->answer = body;
    cn_request_drop_body(q);
}

void cn_answer_empty(struct cn_request *q, int status)
{
    cn_answer(q, status, NULL, NULL);
}

void cn_answer_text(struct cn_request *q, int status, const char *type, const char *text)
{
    cn_answer(q, status, type, cn_source_bytes(text, strlen(text), NULL, NULL));
}

/* What was to be said instead of a text that found no memory. */
static void drop_fields(struct cn_request *q)
{
    for (int i = 0; i < q->n_fields; i++)
        if (q->field[i].owned)
            free((char *)q->field[i].value);
    q->n_fields = 0;
}

static void answer_unwhole(struct cn_request *q, struct cn_buf *b)
{
    struct cn_err err = CN_ERR_INIT;

    cn_buf_whole(b, &err);
    cn_buf_release(b);
    drop_fields(q);
    if (err.code == CN_ENOMEM)
        cn_answer_problem(q, CN_PROBLEM_MEMORY, "no memory for the answer", NULL);
    else
        cn_answer_problem(q, CN_PROBLEM_INTERNAL, "the answer is too large", NULL);
}

void cn_answer_buf(struct cn_request *q, int status, const char *type, struct cn_buf *b)
{
    if (cn_buf_whole(b, NULL) == CN_OK)
        cn_answer(q, status, type, cn_source_take(&q->core->out, b));
    else
        answer_unwhole(q, b);
}

void cn_answer_stream(struct cn_request *q, const char *type, struct cn_source *body,
                      const char *beat)
{
    CN_ASSERT(q->streaming);
    q->beat = beat;
    q->close = true;
    cn_answer(q, 200, type, body);
}

/* ---- errors ---- */

static const struct cn_dialect *dialect_of(const struct cn_request *q)
{
    if (q->route != NULL)
        return q->route->dialect;
    return q->dialect != NULL ? q->dialect : q->core->o.routes.dialect;
}

static void problem(struct cn_request *q, enum cn_problem_kind kind, struct cn_problem *p)
{
    const struct cn_problem_kind_info *info = cn_problem_kind_info(kind);
    const struct cn_dialect *dialect = dialect_of(q);
    struct cn_buf b;

    p->type = info->type;
    p->title = info->title;
    p->status = kind == CN_PROBLEM_VALIDATION && dialect->validation_status != 0
                    ? dialect->validation_status
                    : info->status;
    p->request_id = q->id;
    if (p->retry_after_s == 0 && (info->status == 429 || info->status == 503))
        p->retry_after_s = RETRY_SOON_S + (int)(cn_random_seed() & 3); /* not all at once */
    p->retry_after_s = CN_MIN(p->retry_after_s, CN_RETRY_AFTER_MAX_S);
    if (info->reason != NULL)
        cn_metric_inc(q->core->m.rejected, 1, info->reason);
    if (p->retry_after_s > 0)
        cn_answer_field(q, "Retry-After", "%d", p->retry_after_s);
    if (info->status == 401 && dialect->challenge != NULL)
        add(q, "WWW-Authenticate", dialect->challenge, false);
    cn_buf_init(&b, PROBLEM_MAX);
    dialect->put_problem(p, &b);
    if (cn_buf_whole(&b, NULL) == CN_OK) {
        cn_answer_buf(q, p->status, dialect->problem_type, &b);
        return;
    }
    cn_buf_release(&b);
    cn_answer_empty(q, p->status);
}

void cn_answer_problem(struct cn_request *q, enum cn_problem_kind kind, const char *detail,
                       const char *pointer)
{
    struct cn_problem p = {.detail = detail, .pointer = pointer};

    problem(q, kind, &p);
}

void cn_answer_later(struct cn_request *q, enum cn_problem_kind kind, const char *detail,
                     int retry_after_s)
{
    struct cn_problem p = {.detail = detail, .retry_after_s = retry_after_s};

    problem(q, kind, &p);
}

void cn_answer_parameter(struct cn_request *q, const char *name, const char *detail)
{
    char text[320];
    struct cn_problem p = {.detail = text, .parameter = name};

    snprintf(text, sizeof(text), "%s: %s", name, detail);
    problem(q, CN_PROBLEM_BAD_REQUEST, &p);
}

void cn_answer_err(struct cn_request *q, const struct cn_err *err)
{
    cn_answer_problem(q, cn_problem_kind_of(err), err->msg, err->where);
}

void cn_answer_allow(struct cn_request *q, bool refused)
{
    char allow[64];

    cn_routes_allow(&q->core->o.routes, q->route, allow, sizeof(allow));
    cn_answer_field(q, "Allow", "%s", allow);
    if (refused)
        cn_answer_problem(q, CN_PROBLEM_METHOD, NULL, NULL);
    else
        cn_answer_empty(q, 204);
}

/* ---- what every answer has ---- */

static void add_cors(struct cn_request *q)
{
    if (!q->core->o.cors)
        return;
    add(q, "Vary", "Origin", false);
    if (!q->origin_allowed)
        return;
    cn_answer_field(q, "Access-Control-Allow-Origin", "%s", q->asked.origin);
    add(q, "Access-Control-Expose-Headers",
        "Content-Range, Controlnetd-Seed, Controlnetd-Warnings, ETag, Location, "
        "Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, X-Job-Id, X-Request-Id",
        false);
    if (q->method != CN_OPTIONS)
        return;
    add(q, "Access-Control-Allow-Headers",
        "Accept, Authorization, Content-Type, Idempotency-Key, If-None-Match, If-Range, "
        "Last-Event-ID, Prefer, Range, X-Api-Key, X-Request-Id",
        false);
    add(q, "Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS", false);
    add(q, "Access-Control-Max-Age", "600", false);
}

void cn_answer_complete(struct cn_request *q)
{
    if (q->type != NULL)
        add(q, "Content-Type", q->type, false);
    if (q->id[0] != '\0')
        add(q, "X-Request-Id", q->id, false);
    if (q->subject[0] != '\0')
        add(q, "X-Job-Id", q->subject, false);
    add(q, "X-Content-Type-Options", "nosniff", false);
    if (!has_field(q, "Cache-Control"))
        add(q, "Cache-Control", "no-store", false);
    add_cors(q);
    if (q->core->is_draining || q->close || q->conn->requests >= MAX_REQUESTS_PER_CONNECTION)
        add(q, "Connection", "close", false);
}
