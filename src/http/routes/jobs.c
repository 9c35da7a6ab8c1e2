/* /v1/jobs as they are looked at: the list, one job, its end by /cancel or DELETE (which removes
 * one that is over), tickets for its events and its pictures. */
#include "base/base.h"
#include "api/result.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/mem.h"
#include "base/text.h"
#include "http/core/fields.h"
#include "http/core/head_check.h"
#include "http/routes/routes_priv.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VIEW_MAX = 1 << 20, /* of one job: a prompt of 4 KiB, 1000 pictures */
    LIST_MAX = 16 << 20,
    LIST_PRESET = 20,
    LINKS_PRESET_S = 3600,
    LINKS_MAX_S = 7 * 86400,
    LINK_MAX = 3 * CN_HEAD_MAX_URI /* every byte of the question as %XX */
};

/* Shared by the handlers below. */
struct look {
    struct cn_jobs_read *read; /* a question to the service; NULL: none */
    bool done;
    bool ending;  /* its end was asked for, and is not told yet */
    bool removed; /* it was over, and its results went */
    struct cn_err err;
    bool viewed;
    struct cn_job_view view;
    struct cn_buf page; /* of the list */
    bool all;           /* of the list: of all tenants */
    int64_t expires_s;  /* links: since 1970 */
};

static void dispose(struct cn_request *q)
{
    struct look *l = q->ctx;

    cn_jobs_forget(l->read);
    if (l->viewed)
        cn_job_view_release(&l->view);
    cn_buf_release(&l->page);
}

static void on_shutdown(struct cn_request *q)
{
    struct look *l = q->ctx;

    l->done = true;
    cn_fail(&l->err, CN_EBUSY,
            l->ending ? "the job's end is not stored yet: ask again"
                      : "the server is shutting down");
    cn_request_resume(q);
}

/* ---- the list ---- */

static bool is_wrong(struct cn_request *q, const char *name, const char *detail)
{
    cn_answer_parameter(q, name, detail);
    return false;
}

/* *ret_us 0: it is not asked for. */
static bool read_bound(struct cn_request *q, const char *name, int64_t *ret_us)
{
    const char *text = cn_request_argument(q, name);

    *ret_us = text == NULL ? 0 : cn_time_parse(text);
    if (text != NULL && *ret_us == 0)
        *ret_us = 1; /* 0 is no bound */
    return *ret_us >= 0 || is_wrong(q, name, "expected a time such as 2026-11-22T22:00:00Z");
}

/* The query; false: a parameter is wrong, and it is answered. */
static bool read_query(struct cn_request *q, struct cn_jobs_query *ret, bool *ret_all)
{
    const char *state = cn_request_argument(q, "state"), *limit = cn_request_argument(q, "limit");
    const char *all = cn_request_argument(q, "all");
    int64_t n = limit == NULL ? LIST_PRESET : cn_decimal(limit);
    char text[160], names[100];

    *ret = (struct cn_jobs_query){.state = -1, .after = cn_request_argument(q, "after")};
    if (ret->after != NULL && ret->after[0] == '\0')
        return is_wrong(q, "after", "expected the \"next\" of another page");
    if (state != NULL && (ret->state = cn_enum_find(&cn_enum_job_state, state)) < 0) {
        cn_enum_list(&cn_enum_job_state, names, sizeof(names));
        snprintf(text, sizeof(text), "there is no state \"%.20s\": expected %s", state, names);
        return is_wrong(q, "state", text);
    }
    snprintf(text, sizeof(text), "must be an integer between 1 and %d", CN_JOBS_PAGE);
    if (n < 1 || n > CN_JOBS_PAGE)
        return is_wrong(q, "limit", text);
    ret->limit = (int)n;
    if (all != NULL && strcmp(all, "true") != 0 && strcmp(all, "false") != 0)
        return is_wrong(q, "all", "expected true or false");
    ret->model = cn_request_argument(q, "model");
    if (!read_bound(q, "since", &ret->since_us) || !read_bound(q, "before", &ret->before_us))
        return false;
    *ret_all = all != NULL && strcmp(all, "true") == 0;
    return !*ret_all || cn_access_is_admin(q);
}

/* Adds whose it is to the job that ends the text. */
static int put_tenant(const struct cn_job_view *v, struct cn_buf *b, struct cn_err *err)
{
    int rc;

    b->len--; /* the brace */
    if ((rc = cn_buf_adds(b, ",\"tenant\":", err)) == CN_OK &&
        (rc = cn_escape_json(b, v->tenant, strlen(v->tenant), err)) == CN_OK)
        rc = cn_buf_adds(b, "}", err);
    return rc;
}

static int put_page(const struct cn_jobs_page *page, bool all, struct cn_buf *b, struct cn_err *err)
{
    int rc = cn_buf_adds(b, "{\"jobs\":[", err);

    for (int i = 0; rc == CN_OK && i < page->n; i++)
        if ((i == 0 || (rc = cn_buf_adds(b, ",", err)) == CN_OK) &&
            (rc = cn_result_view(&page->view[i], false, b, err)) == CN_OK && all)
            rc = put_tenant(&page->view[i], b, err);
    if (rc == CN_OK)
        rc = cn_buf_adds(b, "]", err);
    if (rc == CN_OK && page->next[0] != '\0')
        rc = cn_buf_printf(b, err, ",\"next\":\"%s\"", page->next);
    return rc == CN_OK ? cn_buf_adds(b, "}\n", err) : rc;
}

/* Link: the same question for what follows. */
static void link_next(struct cn_request *q, const char *next)
{
    static const char *const kept[] = {"state", "model", "since", "before", "limit", "all"};
    struct cn_buf b;

    cn_buf_init(&b, LINK_MAX);
    for (size_t i = 0; i < CN_LEN(kept); i++) {
        const char *value = cn_request_argument(q, kept[i]);

        if (value == NULL)
            continue;
        cn_buf_printf(&b, NULL, "&%s=", kept[i]);
        for (const char *p = value; *p != '\0'; p++)
            cn_buf_printf(&b, NULL,
                          isalnum((unsigned char)*p) || strchr("-._~:", *p) ? "%c" : "%%%02X",
                          (unsigned char)*p);
    }
    cn_answer_field(q, "Link", "</v1/jobs?after=%s%.*s>; rel=\"next\"", next, (int)b.len,
                    b.len > 0 ? (const char *)b.data : "");
    cn_buf_release(&b);
}

static void on_listed(void *arg, const struct cn_jobs_page *page, const struct cn_err *err)
{
    struct cn_request *q = arg;
    struct look *l = q->ctx;

    l->read = NULL;
    l->done = true;
    if (page == NULL)
        l->err = *err;
    else if (put_page(page, l->all, &l->page, &l->err) == CN_OK && page->next[0] != '\0')
        link_next(q, page->next);
    cn_request_resume(q);
}

static void answer_list(struct cn_request *q)
{
    struct look *l = q->ctx;

    if (!l->done)
        cn_request_suspend(q, true);
    else if (l->err.code == CN_EINVAL)
        cn_answer_parameter(q, "after", l->err.msg);
    else if (l->err.code != 0)
        cn_answer_err(q, &l->err);
    else
        cn_answer_buf(q, 200, "application/json", &l->page);
}

static void list(struct cn_request *q)
{
    struct look *l = q->ctx;
    struct cn_jobs_query query;
    struct cn_jobs_read *read;

    if (!read_query(q, &query, &l->all))
        return;
    cn_buf_init(&l->page, LIST_MAX);
    read = cn_jobs_browse(cn_jobs_of(q), l->all ? NULL : q->who.tenant, &query, on_listed, q);
    if (!l->done)
        l->read = read;
    answer_list(q);
}

/* ---- one job ---- */

static void on_looked(void *arg, struct cn_job_view *view, const struct cn_err *err)
{
    struct cn_request *q = arg;
    struct look *l = q->ctx;

    l->read = NULL;
    l->done = true;
    if (view == NULL) {
        l->err = *err;
    } else {
        l->viewed = true;
        l->view = *view;
        cn_request_set_subject(q, view->id);
    }
    cn_request_resume(q);
}

static void look(struct cn_request *q)
{
    struct look *l = q->ctx;
    struct cn_jobs_read *read =
        cn_jobs_look(cn_jobs_of(q), cn_request_scope(q), q->arg[0], on_looked, q);

    if (!l->done)
        l->read = read;
}

static void answer_view(struct cn_request *q)
{
    struct look *l = q->ctx;
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;

    if (!l->done) {
        cn_request_suspend(q, true);
        return;
    }
    if (l->err.code != 0) {
        cn_answer_err(q, &l->err);
        return;
    }
    cn_buf_init(&b, VIEW_MAX);
    if (cn_result_view(&l->view, true, &b, &err) < 0 || cn_buf_adds(&b, "\n", &err) < 0) {
        cn_answer_err(q, &err);
    } else {
        if (l->view.state <= CN_JOB_RUNNING)
            cn_answer_field(q, "Retry-After", "%d", cn_look_again_s(&l->view));
        cn_answer_buf(q, 200, "application/json", &b);
    }
    cn_buf_release(&b);
}

static void show(struct cn_request *q)
{
    look(q);
    answer_view(q);
}

/* ---- its end ---- */

static void on_ended(void *arg, bool removed, const struct cn_err *err)
{
    struct cn_request *q = arg;
    struct look *l = q->ctx;

    l->read = NULL;
    l->ending = false;
    l->removed = removed;
    if (err != NULL) {
        l->done = true;
        l->err = *err;
    }
    cn_request_resume(q);
}

static void after_end(struct cn_request *q)
{
    struct look *l = q->ctx;

    if (l->removed && !l->done) {
        cn_answer_empty(q, 204);
        return;
    }
    if (!l->done && !l->ending && l->read == NULL)
        look(q); /* it was cancelled, or had ended: this is how */
    answer_view(q);
}

typedef struct cn_jobs_read *(*end_fn)(struct cn_jobs *js, const char *tenant, const char *id,
                                       cn_deleted_fn done, void *arg);

static void end(struct cn_request *q, end_fn how)
{
    struct look *l = q->ctx;
    struct cn_jobs_read *read;

    l->ending = true;
    read = how(cn_jobs_of(q), cn_request_scope(q), q->arg[0], on_ended, q);
    if (l->ending)
        l->read = read;
    answer_view(q);
}

static void cancel(struct cn_request *q)
{
    end(q, cn_jobs_cancel);
}

static void delete (struct cn_request *q)
{
    end(q, cn_jobs_delete);
}

/* ---- tickets ---- */

/* The job is there, or it is answered, or waited for. */
static bool has_looked(struct cn_request *q)
{
    struct look *l = q->ctx;

    if (!l->done)
        cn_request_suspend(q, true);
    else if (l->err.code != 0)
        cn_answer_err(q, &l->err);
    return l->done && l->err.code == 0;
}

static void answer_ticket(struct cn_request *q)
{
    struct look *l = q->ctx;
    char text[CN_TICKET_TEXT];
    struct cn_buf b;

    if (!has_looked(q))
        return;
    cn_access_ticket(cn_app_of(q)->access, q, CN_TICKET_EVENTS, l->view.id,
                     cn_wall_us() / CN_SECOND_US + CN_TICKET_TTL_S, text);
    cn_buf_init(&b, 1024);
    cn_buf_printf(&b, NULL,
                  "{\"ticket\":\"%s\",\"expires_in_s\":%d,"
                  "\"events\":\"/v1/jobs/%s/events?ticket=%s\"}\n",
                  text, CN_TICKET_TTL_S, l->view.id, text);
    cn_answer_buf(q, 201, "application/json", &b);
}

static void make_ticket(struct cn_request *q)
{
    look(q);
    answer_ticket(q);
}

/* Addresses of all pictures, also of those that are not there yet, for whoever has no key: one
 * ticket opens them. */
static void answer_links(struct cn_request *q)
{
    struct look *l = q->ctx;
    char text[CN_TICKET_TEXT], until[CN_TIME_TEXT];
    struct cn_buf b;

    if (!has_looked(q))
        return;
    cn_access_ticket(cn_app_of(q)->access, q, CN_TICKET_RESULTS, l->view.id, l->expires_s, text);
    cn_time_text(l->expires_s * CN_SECOND_US, until);
    cn_buf_init(&b, VIEW_MAX);
    cn_buf_printf(&b, NULL, "{\"expires_at\":\"%s\",\"images\":[", until);
    for (int k = 0; k < l->view.n; k++)
        cn_buf_printf(&b, NULL, "%s\"/v1/jobs/%s/images/%d?ticket=%s\"", k == 0 ? "" : ",",
                      l->view.id, k, text);
    cn_buf_adds(&b, "]}\n", NULL);
    cn_answer_buf(q, 201, "application/json", &b);
}

static void make_links(struct cn_request *q)
{
    const char *text = cn_request_argument(q, "expires_in_s");
    int64_t seconds = text == NULL ? LINKS_PRESET_S : cn_decimal(text);
    char wrong[80];

    if (seconds < 1 || seconds > LINKS_MAX_S) {
        snprintf(wrong, sizeof(wrong), "must be an integer between 1 and %d", LINKS_MAX_S);
        cn_answer_parameter(q, "expires_in_s", wrong);
        return;
    }
    ((struct look *)q->ctx)->expires_s = cn_wall_us() / CN_SECOND_US + seconds;
    look(q);
    answer_links(q);
}

#define LOOKS(start_fn, resume_fn)                                                                 \
    {                                                                                              \
        .ctx_size = sizeof(struct look), .start = start_fn, .resume = resume_fn,                   \
        .shutdown = on_shutdown, .dispose = dispose                                                \
    }

const struct cn_handler cn_list_jobs = LOOKS(list, answer_list);
const struct cn_handler cn_show_job = LOOKS(show, answer_view);
const struct cn_handler cn_cancel_job = LOOKS(cancel, after_end);
const struct cn_handler cn_delete_job = LOOKS(delete, after_end);
const struct cn_handler cn_make_ticket = LOOKS(make_ticket, answer_ticket);
const struct cn_handler cn_make_links = LOOKS(make_links, answer_links);
