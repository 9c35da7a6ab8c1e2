/* Looking at jobs: snapshots, lists, pictures. */
#include "base/base.h"
#include "job/jobs_priv.h"
#include "base/clock.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- snapshots ---- */

static void view_images(struct cn_job_view *v, const struct cn_job_view_image *image, int n)
{
    v->n = n;
    v->image = cn_xcalloc((size_t)CN_MAX(n, 1), sizeof(*v->image));
    if (n > 0 && image != NULL)
        memcpy(v->image, image, (size_t)n * sizeof(*image));
}

/* Of a job in memory that is not durable, pictures can be opened while the job keeps them. */
static void view_record(const struct cn_record *r, struct cn_job_view *v)
{
    const struct cn_job *job = r->job;
    struct cn_job_place place = {.eta_s = -1};

    *v = (struct cn_job_view){.durable = r->durable,
                              .state = r->state,
                              .cancelling = r->cancelling && !r->recent,
                              .attempt = job->attempt,
                              .created_us = r->created_us,
                              .started_us = r->started_us,
                              .ended_us = r->ended_us,
                              .spec = &job->spec,
                              .err = r->err,
                              .job = cn_job_ref(r->job)};
    memcpy(v->id, r->id, sizeof(v->id));
    snprintf(v->tenant, sizeof(v->tenant), "%s", r->tenant);
    if (!r->recent && !r->ending)
        place = cn_dispatch_place(r->js->o.dispatch, job);
    v->position = place.position;
    v->eta_s = place.eta_s;
    cn_job_steps(job, &v->done, &v->total);
    v->fraction = r->state == CN_JOB_SUCCEEDED ? 1 : cn_job_fraction(job);
    v->expires_us = cn_record_expires_us(r->js, r->ended_us, r->durable);
    memcpy(v->stage_ms, job->stage_ms, sizeof(v->stage_ms));
    view_images(v, r->image, job->spec.n);
}

static void take_row(const struct cn_jobs *js, const struct cn_store_job *row,
                     struct cn_job_view *v)
{
    *v = (struct cn_job_view){.durable = true,
                              .state = (enum cn_job_state)row->state,
                              .attempt = row->attempt,
                              .eta_s = -1,
                              .fraction = row->state == CN_STORE_SUCCEEDED ? 1 : 0,
                              .created_us = row->created_us,
                              .started_us = row->started_us,
                              .ended_us = row->ended_us,
                              .expires_us = cn_record_expires_us(js, row->ended_us, true),
                              .gone = row->gone,
                              .err = row->err};
    memcpy(v->id, row->id, sizeof(v->id));
    memcpy(v->tenant, row->tenant, sizeof(v->tenant));
}

/* Takes what the row owns. */
static void view_row(struct cn_jobs *js, struct cn_store_job *row_take, struct cn_job_view *v)
{
    struct cn_store_result *result;
    int n = CN_MAX(row_take->n, 0), have = 0;

    take_row(js, row_take, v);
    view_images(v, NULL, n);
    result = cn_xcalloc((size_t)CN_MAX(n, 1), sizeof(*result));
    if (!row_take->gone && cn_store_results(js->store, v->id, result, n, &have, NULL) < 0)
        have = 0;
    for (int i = 0; i < have; i++)
        if (result[i].k >= 0 && result[i].k < n)
            v->image[result[i].k] = (struct cn_job_view_image){
                true,           result[i].seed, result[i].format, result[i].width, result[i].height,
                result[i].bytes};
    free(result);
    v->record = cn_xmalloc(sizeof(*v->record));
    *v->record = *row_take;
    row_take->readable = false;
    v->spec = v->record->readable ? &v->record->spec : NULL;
}

/* A row of the store that this tenant may see, also one whose results are gone. */
static int any_row(struct cn_jobs *js, const char *tenant, const char *id, struct cn_store_job *ret,
                   struct cn_err *err)
{
    int rc;

    if (js->store == NULL)
        return cn_fail(err, CN_ENOTFOUND, "there is no job \"%.40s\"", id);
    if ((rc = cn_store_get(js->store, id, ret, err)) < 0)
        return rc;
    if (tenant == NULL || strcmp(tenant, ret->tenant) == 0)
        return CN_OK;
    cn_store_job_release(ret);
    return cn_fail(err, CN_ENOTFOUND, "there is no job \"%.40s\"", id);
}

int cn_jobs_row(struct cn_jobs *js, const char *tenant, const char *id, struct cn_store_job *ret,
                struct cn_err *err)
{
    int rc = any_row(js, tenant, id, ret, err);
    int64_t expires_us;

    if (rc < 0)
        return rc;
    expires_us = cn_record_expires_us(js, ret->ended_us, true);
    if (!ret->gone && (expires_us == 0 || expires_us > cn_wall_us()))
        return CN_OK;
    cn_store_job_release(ret);
    return cn_fail(err, CN_EGONE, "the job's time is over, its results were removed");
}

int cn_jobs_view(struct cn_jobs *js, const char *tenant, const char *id, struct cn_job_view *ret,
                 struct cn_err *err)
{
    const struct cn_record *r = cn_record_find(js, tenant, id);
    struct cn_store_job row;
    int rc;

    if (r != NULL) {
        view_record(r, ret);
        return CN_OK;
    }
    if ((rc = cn_jobs_row(js, tenant, id, &row, err)) < 0)
        return rc;
    view_row(js, &row, ret);
    return CN_OK;
}

void cn_job_view_release(struct cn_job_view *v)
{
    free(v->image);
    cn_job_unref(v->job);
    if (v->record != NULL)
        cn_store_job_release(v->record);
    free(v->record);
    memset(v, 0, sizeof(*v));
}

/* ---- lists ---- */

struct listing {
    struct cn_jobs *js;
    struct cn_jobs_page *page;
    struct cn_store_job *row; /* CN_JOBS_PAGE + 1 of them */
    int n_rows, limit;
    int state;
    int64_t before_us; /* INT64_MAX: none */
    char before_id[CN_STORE_ID];
};

static void collect_row(void *arg, struct cn_store_job *job)
{
    struct listing *l = arg;

    l->row[l->n_rows++] = *job;
    job->readable = false;
}

/* Is (a_us, a) after (b_us, b) in a list that begins with the newest? */
static bool later_in_list(int64_t a_us, const char *a, int64_t b_us, const char *b)
{
    return a_us < b_us || (a_us == b_us && strcmp(a, b) < 0);
}

static bool wanted(const struct listing *l, const struct cn_record *r, const char *tenant)
{
    return r->accepted && (tenant == NULL || strcmp(r->tenant, tenant) == 0) &&
           (l->state < 0 || (int)r->state == l->state) &&
           later_in_list(r->created_us, r->id, l->before_us, l->before_id);
}

static const struct cn_record *next_sync(const struct listing *l, const struct cn_record *r,
                                         const char *tenant)
{
    while (r != NULL && !wanted(l, r, tenant))
        r = r->sync_older;
    return r;
}

/* What is in memory is newer than the row: a job that is no longer in the wanted state is left out.
 */
static bool add_row(struct listing *l, struct cn_store_job *row)
{
    const struct cn_record *r = cn_record_find(l->js, NULL, row->id);
    struct cn_job_view *v = &l->page->view[l->page->n];

    if (r != NULL && l->state >= 0 && (int)r->state != l->state)
        return false;
    if (r != NULL)
        view_record(r, v);
    else
        view_row(l->js, row, v);
    l->page->n++;
    return true;
}

static void merge(struct listing *l, const char *tenant)
{
    const struct cn_record *r = next_sync(l, l->js->sync_newest, tenant);
    struct cn_jobs_page *page = l->page;
    int64_t at_us = 0;
    const char *at_id = "";
    int i = 0;

    while (page->n < l->limit && (i < l->n_rows || r != NULL)) {
        struct cn_store_job *row = i < l->n_rows ? &l->row[i] : NULL;

        if (row != NULL &&
            (r == NULL || !later_in_list(row->created_us, row->id, r->created_us, r->id))) {
            at_us = row->created_us;
            at_id = row->id;
            add_row(l, row);
            i++;
        } else {
            at_us = r->created_us;
            at_id = r->id;
            view_record(r, &page->view[page->n++]);
            r = next_sync(l, r->sync_older, tenant);
        }
    }
    if (i < l->n_rows || r != NULL || l->n_rows > l->limit)
        snprintf(page->next, sizeof(page->next), "%" PRId64 "-%s", at_us, at_id);
}

static int read_cursor(const char *text, struct listing *l, struct cn_err *err)
{
    int end = 0;

    l->before_us = INT64_MAX;
    if (text == NULL || text[0] == '\0')
        return CN_OK;
    if (strlen(text) >= CN_JOBS_CURSOR ||
        sscanf(text, "%" SCNd64 "-%26[0-9a-z]%n", &l->before_us, l->before_id, &end) != 2 ||
        text[end] != '\0' || l->before_us <= 0)
        return cn_fail_at(err, CN_EINVAL, "/after", "\"%.60s\" is no place in a list of jobs",
                          text);
    return CN_OK;
}

int cn_jobs_list(struct cn_jobs *js, const char *tenant, const struct cn_jobs_query *q,
                 struct cn_jobs_page *ret, struct cn_err *err)
{
    struct listing l = {.js = js, .page = ret, .state = q->state, .limit = q->limit};
    struct cn_store_query sq = {.tenant = tenant, .state = q->state, .limit = q->limit + 1};
    int rc = read_cursor(q->after, &l, err);

    CN_ASSERT(q->limit >= 1 && q->limit <= CN_JOBS_PAGE);
    if (rc < 0)
        return rc;
    ret->n = 0;
    ret->next[0] = '\0';
    l.row = cn_xcalloc(CN_JOBS_PAGE + 1, sizeof(*l.row));
    sq.before_us = l.before_us;
    sq.before_id = l.before_id;
    if (js->store != NULL)
        rc = cn_store_list(js->store, &sq, collect_row, &l, err);
    if (rc == CN_OK)
        merge(&l, tenant);
    for (int i = 0; i < l.n_rows; i++)
        cn_store_job_release(&l.row[i]);
    free(l.row);
    return rc;
}

void cn_jobs_page_release(struct cn_jobs_page *page)
{
    for (int i = 0; i < page->n; i++)
        cn_job_view_release(&page->view[i]);
    page->n = 0;
}

/* ---- pictures ---- */

static int open_in_memory(struct cn_record *r, int k, struct cn_image_file *ret, struct cn_err *err)
{
    const struct cn_job_image *image = &r->job->image[k];

    if (image->data == NULL)
        return r->recent ? cn_fail(err, CN_ENOTFOUND, "the job ended without image %d", k)
                         : cn_fail(err, CN_EBUSY, "image %d is not there yet", k);
    *ret = (struct cn_image_file){.fd = -1,
                                  .data = image->data,
                                  .job = cn_job_ref(r->job),
                                  .size = image->len,
                                  .format = image->format,
                                  .seed = image->seed,
                                  .width = image->width,
                                  .height = image->height};
    return CN_OK;
}

static int open_stored(struct cn_jobs *js, const char *id, int k, bool over,
                       struct cn_image_file *ret, struct cn_err *err)
{
    struct cn_err mine = CN_ERR_INIT;
    struct cn_store_result result;
    int fd, rc = cn_store_open_result(js->store, id, k, &result, &fd, &mine);

    if (rc == CN_ENOTFOUND)
        return over ? cn_fail(err, CN_ENOTFOUND, "the job ended without image %d", k)
                    : cn_fail(err, CN_EBUSY, "image %d is not there yet", k);
    if (rc < 0)
        return cn_fail(err, rc, "%s", mine.msg);
    *ret = (struct cn_image_file){.fd = fd,
                                  .size = result.bytes,
                                  .format = result.format,
                                  .seed = result.seed,
                                  .width = result.width,
                                  .height = result.height};
    return CN_OK;
}

int cn_jobs_open_image(struct cn_jobs *js, const char *tenant, const char *id, int k,
                       struct cn_image_file *ret, struct cn_err *err)
{
    struct cn_record *r = cn_record_find(js, tenant, id);
    struct cn_store_job row;
    bool over;
    int rc, n;

    if (r == NULL) {
        if ((rc = cn_jobs_row(js, tenant, id, &row, err)) < 0)
            return rc;
        n = row.n;
        over = row.state > CN_STORE_RUNNING;
        cn_store_job_release(&row);
    } else {
        n = r->job->spec.n;
        over = r->recent;
    }
    if (k < 0 || k >= n)
        return cn_fail(err, CN_ENOTFOUND, "the job has %d image%s, from 0", n, n == 1 ? "" : "s");
    if (r != NULL && !r->durable)
        return open_in_memory(r, k, ret, err);
    if (r != NULL && !r->image[k].ready && !over)
        return cn_fail(err, CN_EBUSY, "image %d is not there yet", k);
    return open_stored(js, id, k, over, ret, err);
}
