/* Questions: one job, lists, pictures, and who follows a job. What is in memory is answered inside
 * of the call; for the rest the store is asked, and the record in memory, if there is one by then,
 * is newer than the row. */
#include "base/base.h"
#include "job/jobs_priv.h"
#include "base/clock.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- questions ---- */

struct cn_jobs_read *cn_read_new(struct cn_jobs *js, const char *tenant, const char *id, void *arg)
{
    struct cn_jobs_read *q = cn_xcalloc(1, sizeof(*q));

    q->js = js;
    q->tenant = tenant != NULL ? cn_xstrdup(tenant) : NULL;
    if (strlen(id) < sizeof(q->id)) /* a longer one is no job's: "" is not, either */
        memcpy(q->id, id, strlen(id) + 1);
    q->arg = arg;
    q->err = (struct cn_err)CN_ERR_INIT;
    return q;
}

void cn_read_free(struct cn_jobs_read *q)
{
    free(q->tenant);
    free(q->model);
    free(q);
}

void cn_jobs_forget(struct cn_jobs_read *q)
{
    if (q == NULL)
        return;
    if (q->dropping) {
        q->forgotten = true;
        return;
    }
    if (q->asked != NULL)
        cn_store_forget(q->asked);
    cn_defer_cancel(&q->js->deferred, &q->deferred);
    if (q->record != NULL) {
        LIST_REMOVE(q, link);
        cn_record_unref(q->record);
    }
    cn_read_free(q);
}

/* What a client is told when the store has no answer. */
static void fill_err(const struct cn_store_answer *a, struct cn_err *err)
{
    switch (a->outcome) {
    case CN_STORE_UNKNOWN:
        cn_fail(err, CN_ENOTFOUND, "%s", a->err.msg);
        break;
    case CN_STORE_NOT_OPEN:
    case CN_STORE_CLOSED:
        cn_fail(err, CN_EBUSY, "%s", a->err.msg);
        break;
    default:
        cn_fail(err, a->err.code < 0 ? a->err.code : CN_ESTORAGE, "%s", a->err.msg);
    }
}

static void no_such_job(const char *id, struct cn_err *err)
{
    cn_fail(err, CN_ENOTFOUND, "there is no job \"%.40s\"", id);
}

int cn_read_row(const struct cn_jobs_read *q, const struct cn_store_answer *a, struct cn_err *err)
{
    const struct cn_store_job *j;
    int64_t expires_us;

    if (a->outcome != CN_STORE_OK) {
        fill_err(a, err);
        return err->code;
    }
    j = &a->row[0].job;
    if (q->tenant != NULL && strcmp(q->tenant, j->tenant) != 0) {
        no_such_job(q->id, err);
        return CN_ENOTFOUND;
    }
    expires_us = cn_record_expires_us(q->js, j->ended_us, true);
    if (!j->gone && (expires_us == 0 || expires_us > cn_wall_us()))
        return CN_OK;
    return cn_fail(err, CN_EGONE, "the job's time is over, its results were removed");
}

/* ---- snapshots ---- */

static void view_images(struct cn_job_view *v, const struct cn_job_view_image *image, int n)
{
    v->n = n;
    v->image = cn_xcalloc((size_t)CN_MAX(n, 1), sizeof(*v->image));
    if (n > 0 && image != NULL)
        memcpy(v->image, image, (size_t)n * sizeof(*image));
}

static void view_record(const struct cn_record *r, struct cn_job_view *v)
{
    const struct cn_job *job = r->job;
    struct cn_job_place place = {.eta_s = -1};
    bool over = r->phase >= CN_RECORD_OVER;

    *v = (struct cn_job_view){.durable = r->durable,
                              .kind = job->spec.kind,
                              .state = r->state,
                              .cancelling = r->cancelling && !over,
                              .attempt = job->attempt,
                              .created_us = r->created_us,
                              .started_us = r->started_us,
                              .ended_us = r->ended_us,
                              .spec = &job->spec,
                              .err = r->err,
                              .delivery = r->delivery,
                              .job = cn_job_ref(r->job)};
    memcpy(v->id, r->id, sizeof(v->id));
    snprintf(v->tenant, sizeof(v->tenant), "%s", r->tenant);
    if (r->phase == CN_RECORD_LIVE)
        place = cn_dispatch_place(r->js->o.dispatch, job);
    v->position = place.position;
    v->eta_s = place.eta_s;
    cn_job_steps(job, &v->done, &v->total);
    v->fraction = r->state == CN_JOB_SUCCEEDED ? 1 : cn_job_fraction(job);
    v->expires_us = cn_record_expires_us(r->js, r->ended_us, r->durable);
    memcpy(v->stage_ms, job->stage_ms, sizeof(v->stage_ms));
    cn_warnings_add_all(&v->warnings, &job->warnings);
    view_images(v, r->image, cn_spec_pictures(&job->spec));
}

/* Takes the description of the row. */
static void view_row(const struct cn_jobs *js, struct cn_store_row *row, struct cn_job_view *v)
{
    struct cn_store_job *j = &row->job;
    int n = CN_MAX(j->n, 0);

    *v = (struct cn_job_view){.durable = true,
                              .kind = j->kind,
                              .state = (enum cn_job_state)j->state,
                              .attempt = j->attempt,
                              .eta_s = -1,
                              .fraction = j->state == CN_STORE_SUCCEEDED ? 1 : 0,
                              .created_us = j->created_us,
                              .started_us = j->started_us,
                              .ended_us = j->ended_us,
                              .expires_us = cn_record_expires_us(js, j->ended_us, true),
                              .gone = j->gone,
                              .err = j->err,
                              .delivery = j->delivery};
    memcpy(v->id, j->id, sizeof(v->id));
    memcpy(v->tenant, j->tenant, sizeof(v->tenant));
    view_images(v, NULL, n);
    for (int i = 0; i < row->n_results; i++)
        if (row->result[i].k >= 0 && row->result[i].k < n)
            v->image[row->result[i].k] = (struct cn_job_view_image){true, row->result[i].meta};
    v->record = cn_xmalloc(sizeof(*v->record));
    *v->record = *j;
    j->readable = false;
    j->warnings = NULL;
    v->spec = v->record->readable ? &v->record->spec : NULL;
    cn_warnings_read(&v->warnings, v->record->warnings);
    if (v->spec != NULL && v->record->state <= CN_STORE_RUNNING)
        cn_spec_warn(v->spec, &v->warnings);
}

void cn_job_view_release(struct cn_job_view *v)
{
    free(v->image);
    cn_warnings_release(&v->warnings);
    cn_job_unref(v->job);
    if (v->record != NULL)
        cn_store_job_release(v->record);
    free(v->record);
    memset(v, 0, sizeof(*v));
}

static void on_row_to_look_at(void *arg, struct cn_store_answer *a)
{
    struct cn_jobs_read *q = arg;
    const struct cn_record *r = cn_record_find(q->js, q->tenant, q->id);
    struct cn_err err = CN_ERR_INIT;
    struct cn_job_view v;

    if (r != NULL)
        view_record(r, &v);
    else if (cn_read_row(q, a, &err) == CN_OK)
        view_row(q->js, &a->row[0], &v);
    q->done.looked(q->arg, err.code < 0 ? NULL : &v, err.code < 0 ? &err : NULL);
    cn_read_free(q);
}

struct cn_jobs_read *cn_jobs_look(struct cn_jobs *js, const char *tenant, const char *id,
                                  cn_looked_fn done, void *arg)
{
    const struct cn_record *r = cn_record_find(js, tenant, id);
    struct cn_err err = CN_ERR_INIT;
    struct cn_jobs_read *q;
    struct cn_job_view v;

    if (r != NULL) {
        view_record(r, &v);
        done(arg, &v, NULL);
        return NULL;
    }
    if (js->store == NULL) {
        no_such_job(id, &err);
        done(arg, NULL, &err);
        return NULL;
    }
    q = cn_read_new(js, tenant, id, arg);
    q->done.looked = done;
    q->asked = cn_store_get(js->store, q->id, on_row_to_look_at, q);
    return q;
}

/* ---- lists ---- */

/* Jobs that are not over are all in memory, and their rows are a little behind: a start that is not
 * committed yet. */
static bool is_open(int state)
{
    return state == CN_JOB_QUEUED || state == CN_JOB_RUNNING;
}

static bool wanted(const struct cn_jobs_read *q, const struct cn_record *r)
{
    return r->phase != CN_RECORD_ADDING && (!r->durable || is_open(q->q.state)) &&
           (q->tenant == NULL || strcmp(r->tenant, q->tenant) == 0) &&
           (q->q.state < 0 || (int)r->state == q->q.state) &&
           (q->model == NULL || strcmp(r->job->spec.model, q->model) == 0) &&
           r->created_us >= q->q.since_us &&
           cn_record_later(r->created_us, r->id, q->before_us, q->before_id);
}

static const struct cn_record *next_in_memory(const struct cn_jobs_read *q,
                                              const struct cn_record *r)
{
    while (r != NULL && !wanted(q, r))
        r = TAILQ_NEXT(r, in_list);
    return r;
}

/* What is in memory is newer than the row: a job that is no longer in the wanted state is left out,
 * and one that is open comes from memory. */
static void add_row(const struct cn_jobs_read *q, struct cn_store_row *row,
                    struct cn_jobs_page *page)
{
    const struct cn_record *r = cn_record_find(q->js, NULL, row->job.id);
    struct cn_job_view *v = &page->view[page->n];

    if (r != NULL && q->q.state >= 0 && (is_open(q->q.state) || (int)r->state != q->q.state))
        return;
    if (r != NULL)
        view_record(r, v);
    else
        view_row(q->js, row, v);
    page->n++;
}

/* Behind the last of the rows there may be others, and what is in memory must not overtake them:
 * then the page is a short one. */
static void merge(const struct cn_jobs_read *q, struct cn_store_row *row, int n_rows,
                  struct cn_jobs_page *page)
{
    const struct cn_record *r = next_in_memory(q, TAILQ_FIRST(&q->js->listed));
    bool more_rows = n_rows > q->q.limit;
    int64_t at_us = 0;
    const char *at_id = "";
    int i = 0;

    while (page->n < q->q.limit && (i < n_rows || (r != NULL && !more_rows))) {
        const struct cn_store_job *j = i < n_rows ? &row[i].job : NULL;

        if (j != NULL &&
            (r == NULL || !cn_record_later(j->created_us, j->id, r->created_us, r->id))) {
            at_us = j->created_us;
            at_id = j->id;
            add_row(q, &row[i++], page);
        } else {
            at_us = r->created_us;
            at_id = r->id;
            view_record(r, &page->view[page->n++]);
            r = next_in_memory(q, TAILQ_NEXT(r, in_list));
        }
    }
    if (i < n_rows || r != NULL || more_rows)
        snprintf(page->next, sizeof(page->next), "%" PRId64 "-%s", at_us, at_id);
}

static void give_page(struct cn_jobs_read *q, struct cn_store_row *row, int n_rows)
{
    struct cn_jobs_page *page = cn_xcalloc(1, sizeof(*page));

    merge(q, row, n_rows, page);
    q->done.listed(q->arg, page, NULL);
    for (int i = 0; i < page->n; i++)
        cn_job_view_release(&page->view[i]);
    free(page);
    cn_read_free(q);
}

static void on_rows(void *arg, struct cn_store_answer *a)
{
    struct cn_jobs_read *q = arg;
    struct cn_err err = CN_ERR_INIT;

    if (a->outcome == CN_STORE_OK) {
        give_page(q, a->row, a->n);
        return;
    }
    fill_err(a, &err);
    q->done.listed(q->arg, NULL, &err);
    cn_read_free(q);
}

static int read_cursor(const char *text, struct cn_jobs_read *q, struct cn_err *err)
{
    int end = 0;

    q->before_us = q->q.before_us > 0 ? q->q.before_us : INT64_MAX;
    if (text == NULL || text[0] == '\0')
        return CN_OK;
    if (strlen(text) >= CN_JOBS_CURSOR || text[0] < '1' || text[0] > '9' ||
        sscanf(text, "%" SCNd64 "-%26[0-9a-z]%n", &q->before_us, q->before_id, &end) != 2 ||
        text[end] != '\0' || q->before_us <= 0)
        return cn_fail_at(err, CN_EINVAL, "/after", "\"%.60s\" is no place in a list of jobs",
                          text);
    return CN_OK;
}

struct cn_jobs_read *cn_jobs_browse(struct cn_jobs *js, const char *tenant,
                                    const struct cn_jobs_query *query, cn_listed_fn done, void *arg)
{
    struct cn_jobs_read *q = cn_read_new(js, tenant, "", arg);
    struct cn_err err = CN_ERR_INIT;

    CN_ASSERT(query->limit >= 1 && query->limit <= CN_JOBS_PAGE);
    q->done.listed = done;
    q->q = *query;
    q->model = query->model != NULL ? cn_xstrdup(query->model) : NULL;
    if (read_cursor(query->after, q, &err) < 0) {
        done(arg, NULL, &err);
        cn_read_free(q);
        return NULL;
    }
    if (js->store == NULL) {
        give_page(q, NULL, 0);
        return NULL;
    }
    q->asked = cn_store_list(js->store,
                             &(struct cn_store_query){.tenant = tenant,
                                                      .model = q->model,
                                                      .state = q->q.state,
                                                      .since_us = q->q.since_us,
                                                      .before_us = q->before_us,
                                                      .before_id = q->before_id,
                                                      .limit = q->q.limit + 1},
                             on_rows, q);
    return q;
}

/* ---- pictures ---- */

static void no_picture(int k, bool over, struct cn_err *err)
{
    if (over)
        cn_fail(err, CN_ENOTFOUND, "the job ended without image %d", k);
    else
        cn_fail(err, CN_EBUSY, "image %d is not there yet", k);
}

static int check_index(int k, int n, struct cn_err *err)
{
    if (k >= 0 && k < n)
        return CN_OK;
    return cn_fail(err, CN_ENOTFOUND, "the job has %d image%s, from 0", n, n == 1 ? "" : "s");
}

/* Of a job that is kept. */
static bool picture_at_hand(const struct cn_record *r, int k, struct cn_image_file *f)
{
    const struct cn_job_view_image *image = &r->image[k];
    int fd = -1;

    if (image->ready)
        fd = cn_store_picture_at_hand(r->js->store, r->id, k, image->meta.format);
    if (fd < 0)
        return false;
    *f = (struct cn_image_file){.fd = fd, .meta = image->meta};
    return true;
}

/* In memory: the answer, one way or the other. False: the store has to be asked. */
static bool picture_in_memory(struct cn_record *r, int k, struct cn_image_file *f,
                              struct cn_err *err)
{
    const struct cn_job_image *image;
    bool over = r->phase >= CN_RECORD_OVER;

    if (check_index(k, cn_spec_pictures(&r->job->spec), err) < 0)
        return true;
    image = &r->job->image[k];
    if (r->durable && (r->image[k].ready || over))
        return picture_at_hand(r, k, f);
    if (r->durable || image->data == NULL) {
        no_picture(k, over, err);
        return true;
    }
    *f = (struct cn_image_file){
        .fd = -1, .data = image->data, .job = cn_job_ref(r->job), .meta = image->meta};
    return true;
}

static void on_picture(void *arg, struct cn_store_answer *a)
{
    struct cn_jobs_read *q = arg;
    struct cn_err err = CN_ERR_INIT;
    struct cn_image_file f = {.fd = a->fd, .meta = a->result.meta};

    if (a->outcome == CN_STORE_UNKNOWN)
        no_picture(q->k, q->over, &err);
    else if (a->outcome != CN_STORE_OK)
        fill_err(a, &err);
    a->fd = err.code < 0 ? a->fd : -1;
    q->done.opened(q->arg, err.code < 0 ? NULL : &f, err.code < 0 ? &err : NULL);
    cn_read_free(q);
}

static void on_row_of_picture(void *arg, struct cn_store_answer *a)
{
    struct cn_jobs_read *q = arg;
    struct cn_err err = CN_ERR_INIT;

    if (cn_read_row(q, a, &err) == CN_OK && check_index(q->k, a->row[0].job.n, &err) == CN_OK) {
        q->over = a->row[0].job.state > CN_STORE_RUNNING;
        q->asked = cn_store_picture(q->js->store, q->id, q->k, on_picture, q);
        return;
    }
    q->done.opened(q->arg, NULL, &err);
    cn_read_free(q);
}

struct cn_jobs_read *cn_jobs_picture(struct cn_jobs *js, const char *tenant, const char *id, int k,
                                     cn_picture_fn done, void *arg)
{
    struct cn_record *r = cn_record_find(js, tenant, id);
    struct cn_err err = CN_ERR_INIT;
    struct cn_image_file f;
    struct cn_jobs_read *q;
    bool known = r != NULL && picture_in_memory(r, k, &f, &err);

    if (r == NULL && js->store == NULL) {
        no_such_job(id, &err);
        known = true;
    }
    if (known) {
        done(arg, err.code < 0 ? NULL : &f, err.code < 0 ? &err : NULL);
        return NULL;
    }
    q = cn_read_new(js, tenant, id, arg);
    q->done.opened = done;
    q->k = k;
    if (r != NULL) {
        q->over = r->phase >= CN_RECORD_OVER;
        q->asked = cn_store_picture(js->store, q->id, k, on_picture, q);
    } else {
        q->asked = cn_store_get(js->store, q->id, on_row_of_picture, q);
    }
    return q;
}

/* ---- following ---- */

/* A job that is over, and only the store knows it: in memory again while somebody follows it. */
static struct cn_record *load_to_follow(struct cn_jobs *js, struct cn_store_row *row,
                                        struct cn_err *err)
{
    struct cn_record *r;

    if (row->job.state <= CN_STORE_RUNNING) {
        cn_fail(err, CN_EBUSY, "the job waits for the next start of the server");
        return NULL;
    }
    r = cn_record_load(js, row, err);
    if (r == NULL)
        return NULL;
    for (int k = 0; k < cn_spec_pictures(&r->job->spec); k++)
        if (r->image[k].ready)
            cn_record_emit(r, CN_EVENT_IMAGE, k);
    cn_record_emit(r, CN_EVENT_DONE, 0);
    return r;
}

static void on_row_to_follow(void *arg, struct cn_store_answer *a)
{
    struct cn_jobs_read *q = arg;
    struct cn_record *r = cn_record_find(q->js, q->tenant, q->id);
    struct cn_err err = CN_ERR_INIT;
    struct cn_watch *w = NULL;
    bool loaded = false;

    if (r == NULL && cn_read_row(q, a, &err) == CN_OK)
        loaded = (r = load_to_follow(q->js, &a->row[0], &err)) != NULL;
    if (r != NULL)
        w = cn_watch_new(r, q->last_id, q->wake, q->arg);
    if (loaded)
        cn_record_enter_history(r);
    q->done.followed(q->arg, w, w == NULL ? &err : NULL);
    cn_read_free(q);
}

struct cn_jobs_read *cn_jobs_follow(struct cn_jobs *js, const char *tenant, const char *id,
                                    uint64_t last_id, void (*wake)(void *arg), cn_followed_fn done,
                                    void *arg)
{
    struct cn_record *r = cn_record_find(js, tenant, id);
    struct cn_err err = CN_ERR_INIT;
    struct cn_jobs_read *q;

    if (r != NULL) {
        done(arg, cn_watch_new(r, last_id, wake, arg), NULL);
        return NULL;
    }
    if (js->store == NULL) {
        no_such_job(id, &err);
        done(arg, NULL, &err);
        return NULL;
    }
    q = cn_read_new(js, tenant, id, arg);
    q->done.followed = done;
    q->last_id = last_id;
    q->wake = wake;
    q->asked = cn_store_get(js->store, q->id, on_row_to_follow, q);
    return q;
}
