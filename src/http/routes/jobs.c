/* /v1/jobs: the list, one job, its pictures, its end, tickets for its events. */
#include "base/base.h"
#include "http/routes/submit_priv.h"
#include "api/problem.h"
#include "api/result.h"
#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    VIEW_MAX = 1 << 20, /* of one job: a prompt of 4 KiB, 1000 pictures */
    LIST_MAX = 16 << 20,
    LIST_PRESET = 20,
    PICTURE_CACHE_S = 86400 /* a picture never changes */
};

/* What a job's end is for a client; NULL: it has not ended, or well. */
static const struct cn_problem *error_of(const struct cn_job_view *v, struct cn_problem *p)
{
    const struct cn_fault_info *f;

    if (v->state <= CN_JOB_SUCCEEDED)
        return NULL;
    f = cn_fault_info(cn_fault_of_end(v->state, &v->err));
    *p = (struct cn_problem){.type = f->type,
                             .title = f->title,
                             .status = f->status,
                             .detail = v->err.msg,
                             .pointer = v->err.where};
    return p;
}

static int put_view(const struct cn_job_view *v, bool full, struct cn_buf *b, struct cn_err *err)
{
    struct cn_problem p;

    return cn_result_view(v, error_of(v, &p), full, b, err);
}

/* ---- the list ---- */

/* The query; false: a parameter is wrong, and the answer is on its way. */
static bool read_query(struct cn_request *q, struct cn_jobs_query *ret, bool *ret_all,
                       enum MHD_Result *rc)
{
    const char *state = cn_request_argument(q, "state"), *limit = cn_request_argument(q, "limit");
    const char *all = cn_request_argument(q, "all");
    int64_t n = limit == NULL ? LIST_PRESET : cn_decimal(limit);
    char text[160], names[100];

    *ret = (struct cn_jobs_query){.state = -1, .after = cn_request_argument(q, "after")};
    if (state != NULL && (ret->state = cn_enum_find(&cn_enum_job_state, state)) < 0) {
        cn_enum_list(&cn_enum_job_state, names, sizeof(names));
        snprintf(text, sizeof(text), "there is no state \"%.20s\": expected %s", state, names);
        *rc = cn_reply_parameter(q, "state", text);
        return false;
    }
    if (n < 1 || n > CN_JOBS_PAGE) {
        snprintf(text, sizeof(text), "expected a number from 1 to %d", CN_JOBS_PAGE);
        *rc = cn_reply_parameter(q, "limit", text);
        return false;
    }
    ret->limit = (int)n;
    if (all != NULL && strcmp(all, "true") != 0 && strcmp(all, "false") != 0) {
        *rc = cn_reply_parameter(q, "all", "expected true or false");
        return false;
    }
    *ret_all = all != NULL && strcmp(all, "true") == 0;
    if (*ret_all && !q->admin) {
        *rc = cn_reply_fault(q, CN_FAULT_FORBIDDEN, "the key has not the role admin", NULL);
        return false;
    }
    return true;
}

static int put_page(const struct cn_jobs_page *page, struct cn_buf *b, struct cn_err *err)
{
    int rc = cn_buf_adds(b, "{\"jobs\":[", err);

    for (int i = 0; rc == CN_OK && i < page->n; i++)
        if (i == 0 || (rc = cn_buf_adds(b, ",", err)) == CN_OK)
            rc = put_view(&page->view[i], false, b, err);
    if (rc == CN_OK)
        rc = cn_buf_adds(b, "]", err);
    if (rc == CN_OK && page->next[0] != '\0')
        rc = cn_buf_printf(b, err, ",\"next\":\"%s\"", page->next);
    return rc == CN_OK ? cn_buf_adds(b, "}\n", err) : rc;
}

/* Answers with b, or with err when rc is negative. */
static enum MHD_Result reply(struct cn_request *q, int rc, struct cn_buf *b,
                             const struct cn_err *err)
{
    enum MHD_Result result =
        rc < 0 ? cn_reply_err(q, err) : cn_reply_take(q, 200, "application/json", b);

    cn_buf_release(b);
    return result;
}

static enum MHD_Result list(struct cn_request *q)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_jobs_query query;
    struct cn_jobs_page *page;
    enum MHD_Result result;
    struct cn_buf b;
    bool all;
    int rc;

    if (!read_query(q, &query, &all, &result))
        return result;
    page = cn_xcalloc(1, sizeof(*page));
    cn_buf_init(&b, LIST_MAX);
    rc = cn_jobs_list(q->e->s->o.jobs, all ? NULL : q->tenant, &query, page, &err);
    if (rc == CN_EINVAL) {
        result = cn_reply_parameter(q, "after", err.msg);
    } else {
        if (rc == CN_OK) {
            rc = put_page(page, &b, &err);
            cn_jobs_page_release(page);
        }
        result = reply(q, rc, &b, &err);
    }
    cn_buf_release(&b);
    free(page);
    return result;
}

enum MHD_Result cn_jobs_route(struct cn_request *q)
{
    return q->method == CN_POST ? cn_images_handle(q) : list(q);
}

/* ---- one job ---- */

static enum MHD_Result show(struct cn_request *q)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_job_view v;
    struct cn_buf b;
    int rc = cn_jobs_view(q->e->s->o.jobs, cn_request_view(q), q->arg[0], &v, &err);

    cn_buf_init(&b, VIEW_MAX);
    if (rc == CN_OK) {
        memcpy(q->job_id, v.id, sizeof(q->job_id));
        rc = put_view(&v, true, &b, &err);
        if (rc == CN_OK)
            rc = cn_buf_adds(&b, "\n", &err);
        if (rc == CN_OK && v.state <= CN_JOB_RUNNING)
            cn_reply_field(q, "Retry-After", "%d", cn_look_again_s(&v));
        cn_job_view_release(&v);
    }
    return reply(q, rc, &b, &err);
}

static enum MHD_Result after_cancel(struct cn_request *q)
{
    const int *rc = q->call;
    struct cn_err err = CN_ERR_INIT;

    if (*rc == CN_OK)
        return show(q);
    cn_fail(&err, *rc, "the end of the job could not be stored");
    return cn_reply_err(q, &err);
}

static void on_cancelled(void *arg, int rc)
{
    struct cn_request *q = arg;

    *(int *)q->call = rc;
    cn_request_resume(q);
}

static void release_cancel(struct cn_request *q)
{
    cn_jobs_forget_cancel(q->e->s->o.jobs, q);
    free(q->call);
}

static enum MHD_Result cancel(struct cn_request *q)
{
    struct cn_err err = CN_ERR_INIT;

    q->call = cn_xcalloc(1, sizeof(int));
    q->call_release = release_cancel;
    if (cn_jobs_cancel(q->e->s->o.jobs, cn_request_view(q), q->arg[0], on_cancelled, q, &err) < 0)
        return cn_reply_err(q, &err);
    cn_request_suspend(q, after_cancel, true);
    return MHD_YES;
}

enum MHD_Result cn_jobs_route_one(struct cn_request *q)
{
    return q->method == CN_DELETE ? cancel(q) : show(q);
}

/* ---- a picture ---- */

static enum MHD_Result send_picture(struct cn_request *q, const struct cn_image_file *f,
                                    const char *etag)
{
    const char *if_range = cn_request_header(q, "If-Range"), *wanted;
    const char *type = cn_media_of(f->format);
    uint64_t first = 0, len = f->size;
    enum cn_range range = CN_RANGE_WHOLE;
    int status = 200;

    wanted = cn_request_header(q, "Range");
    if (wanted != NULL && (if_range == NULL || cn_etag_listed(if_range, etag, false)))
        range = cn_range_read(wanted, f->size, &first, &len);
    if (range == CN_RANGE_OUTSIDE) {
        cn_reply_field(q, "Content-Range", "bytes */%zu", f->size);
        if (f->fd >= 0)
            close(f->fd);
        return cn_reply_fault(q, CN_FAULT_RANGE, NULL, NULL);
    }
    if (range == CN_RANGE_PART) {
        status = 206;
        cn_reply_field(q, "Content-Range", "bytes %lu-%lu/%zu", (unsigned long)first,
                       (unsigned long)(first + len - 1), f->size);
    }
    cn_reply_field(q, "Accept-Ranges", "bytes");
    cn_reply_field(q, "Controlnetd-Seed", "%lu", (unsigned long)f->seed);
    if (f->fd >= 0)
        return cn_reply_file(q, status, type, f->fd, first, len);
    return cn_reply_copy(q, status, type, f->data + first, len);
}

enum MHD_Result cn_jobs_route_image(struct cn_request *q)
{
    int k = (int)cn_decimal(q->arg[1]); /* the route takes no more than three digits */
    struct cn_err err = CN_ERR_INIT;
    struct cn_image_file f;
    enum MHD_Result rc;
    char etag[64];
    int code;

    code = cn_jobs_open_image(q->e->s->o.jobs, cn_request_view(q), q->arg[0], k, &f, &err);
    if (code == CN_EBUSY)
        return cn_reply_later(q, CN_FAULT_NOT_FINISHED, err.msg, 1);
    if (code < 0)
        return cn_reply_err(q, &err);
    snprintf(q->job_id, sizeof(q->job_id), "%s", q->arg[0]);
    snprintf(etag, sizeof(etag), "\"%s-%d\"", q->arg[0], k);
    cn_reply_field(q, "ETag", "%s", etag);
    cn_reply_field(q, "Cache-Control", "private, max-age=%d, immutable", PICTURE_CACHE_S);
    if (cn_etag_listed(cn_request_header(q, "If-None-Match"), etag, true)) {
        if (f.fd >= 0)
            close(f.fd);
        rc = cn_reply_empty(q, 304);
    } else {
        rc = send_picture(q, &f, etag);
    }
    cn_job_unref(f.job);
    return rc;
}

/* ---- tickets ---- */

enum MHD_Result cn_jobs_route_ticket(struct cn_request *q)
{
    struct cn_ticket who = {.admin = q->admin};
    struct cn_err err = CN_ERR_INIT;
    char text[CN_TICKET_TEXT];
    struct cn_job_view v;
    struct cn_buf b;
    enum MHD_Result rc;

    if (cn_jobs_view(q->e->s->o.jobs, cn_request_view(q), q->arg[0], &v, &err) < 0)
        return cn_reply_err(q, &err);
    snprintf(who.tenant, sizeof(who.tenant), "%s", q->tenant);
    snprintf(who.key_name, sizeof(who.key_name), "%s", q->key_name);
    snprintf(who.job, sizeof(who.job), "%s", v.id);
    cn_job_view_release(&v);
    cn_ticket_issue(&q->e->s->tickets, &who, cn_now_ns(), text);
    cn_buf_init(&b, 512);
    cn_buf_printf(&b, NULL,
                  "{\"ticket\":\"%s\",\"expires_in_s\":%d,"
                  "\"events\":\"/v1/jobs/%s/events?ticket=%s\"}\n",
                  text, CN_TICKET_TTL_S, who.job, text);
    rc = cn_reply_take(q, 201, "application/json", &b);
    cn_buf_release(&b);
    return rc;
}
