/* Records of jobs: the table, and the ones that are over. */
#include "base/base.h"
#include "job/jobs_priv.h"
#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t bucket_of(const char *id)
{
    size_t h = 5381;

    for (; *id != '\0'; id++)
        h = h * 33 + (unsigned char)*id;
    return h & (CN_JOBS_BUCKETS - 1);
}

size_t cn_spec_image_bytes(const struct cn_spec *s)
{
    size_t n = s->init_image.len + s->mask.len;

    for (int i = 0; i < s->n_controls; i++)
        n += s->control[i].image.len;
    return n;
}

/* ---- lists ---- */

static void link_sync(struct cn_record *r)
{
    struct cn_jobs *js = r->js;

    r->sync_older = js->sync_newest;
    if (js->sync_newest != NULL)
        js->sync_newest->sync_newer = r;
    else
        js->sync_oldest = r;
    js->sync_newest = r;
}

static void unlink_sync(struct cn_record *r)
{
    struct cn_jobs *js = r->js;

    *(r->sync_newer != NULL ? &r->sync_newer->sync_older : &js->sync_newest) = r->sync_older;
    *(r->sync_older != NULL ? &r->sync_older->sync_newer : &js->sync_oldest) = r->sync_newer;
}

static void link_recent(struct cn_record *r)
{
    struct cn_jobs *js = r->js;

    r->recent = true;
    r->older = js->newest;
    r->newer = NULL;
    if (js->newest != NULL)
        js->newest->newer = r;
    else
        js->oldest = r;
    js->newest = r;
    js->n_recent++;
    js->recent_bytes += r->recent_bytes;
}

static void unlink_recent(struct cn_record *r)
{
    struct cn_jobs *js = r->js;

    if (!r->recent)
        return;
    *(r->newer != NULL ? &r->newer->older : &js->newest) = r->older;
    *(r->older != NULL ? &r->older->newer : &js->oldest) = r->newer;
    r->recent = false;
    js->n_recent--;
    js->recent_bytes -= r->recent_bytes;
}

/* ---- life ---- */

struct cn_record *cn_record_new(struct cn_jobs *js, struct cn_job *job_take, const char *tenant,
                                bool durable)
{
    struct cn_record *r = cn_xcalloc(1, sizeof(*r));
    size_t at;

    r->js = js;
    r->job = job_take;
    r->durable = durable;
    memcpy(r->id, job_take->name, sizeof(r->id));
    snprintf(r->tenant, sizeof(r->tenant), "%s", tenant);
    r->created_us = cn_wall_us();
    r->image = cn_xcalloc((size_t)job_take->spec.n, sizeof(*r->image));
    at = bucket_of(r->id);
    r->chain = js->bucket[at];
    js->bucket[at] = r;
    js->n_records++;
    if (!durable)
        link_sync(r);
    return r;
}

void cn_record_free(struct cn_record *r)
{
    struct cn_jobs *js = r->js;
    struct cn_record **at = &js->bucket[bucket_of(r->id)];

    while (*at != r)
        at = &(*at)->chain;
    *at = r->chain;
    js->n_records--;
    unlink_recent(r);
    if (!r->durable)
        unlink_sync(r);
    cn_record_unhold(r);
    cn_record_tell_cancels(r, CN_ESTORAGE);
    CN_ASSERT(r->watches == NULL || js->closed);
    if (r->sub != NULL) /* the daemon ends before the job does */
        cn_submission_free(r->sub);
    cn_job_unref(r->job);
    free(r->image);
    free(r->event);
    free(r->preview_data);
    free(r);
}

int64_t cn_record_expires_us(const struct cn_jobs *js, int64_t ended_us, bool durable)
{
    return ended_us > 0 && durable ? ended_us + js->result_ttl_s * INT64_C(1000000) : 0;
}

static size_t weight_of(const struct cn_record *r)
{
    size_t bytes = 0;

    for (int i = 0; i < r->job->spec.n; i++)
        if (r->job->image[i].data != NULL)
            bytes += r->job->image[i].len;
    return bytes;
}

/* Removes the oldest of the recent ones that nobody watches or waits for. */
void cn_record_trim(struct cn_jobs *js)
{
    struct cn_record *newer;

    for (struct cn_record *r = js->oldest;
         r != NULL && (js->n_recent > js->o.recent || js->recent_bytes > js->o.recent_bytes);
         r = newer) {
        newer = r->newer;
        if (r->watches == NULL && r->sub == NULL && r->cancels == NULL)
            cn_record_free(r);
    }
}

void cn_record_retire(struct cn_record *r)
{
    struct cn_jobs *js = r->js;

    cn_record_unhold(r);
    cn_record_drop_images(r); /* nobody draws it any more */
    r->recent_bytes = weight_of(r);
    link_recent(r);
    cn_record_trim(js);
}

static struct cn_record *in_table(const struct cn_jobs *js, const char *id)
{
    struct cn_record *r = js->bucket[bucket_of(id)];

    while (r != NULL && strcmp(r->id, id) != 0)
        r = r->chain;
    return r;
}

struct cn_record *cn_record_of(const struct cn_jobs *js, const struct cn_job *job)
{
    struct cn_record *r = in_table(js, job->name);

    return r != NULL && r->job == job ? r : NULL;
}

/* NULL: not in memory, or not for this tenant. Results past their time are the store's to tell. */
struct cn_record *cn_record_find(struct cn_jobs *js, const char *tenant, const char *id)
{
    struct cn_record *r = in_table(js, id);
    int64_t expires_us;

    if (r == NULL || !r->accepted || (tenant != NULL && strcmp(r->tenant, tenant) != 0))
        return NULL;
    expires_us = cn_record_expires_us(js, r->ended_us, r->durable);
    return r->recent && expires_us > 0 && expires_us <= cn_wall_us() ? NULL : r;
}

/* ---- a job that is over, from the store ---- */

static void load_results(struct cn_record *r)
{
    int n = r->job->spec.n, have = 0;
    struct cn_store_result *result = cn_xcalloc((size_t)n, sizeof(*result));

    if (cn_store_results(r->js->store, r->id, result, n, &have, NULL) < 0)
        have = 0;
    for (int i = 0; i < have; i++)
        if (result[i].k >= 0 && result[i].k < n)
            r->image[result[i].k] = (struct cn_job_view_image){
                true,           result[i].seed, result[i].format, result[i].width, result[i].height,
                result[i].bytes};
    free(result);
}

/* Takes the row's description. The record has no events yet; its ids go on from the present. */
struct cn_record *cn_record_load(struct cn_jobs *js, struct cn_store_job *row, struct cn_err *err)
{
    struct cn_record *r;
    struct cn_job *job;

    if (!row->readable) {
        cn_fail(err, CN_EFORMAT, "the job was stored by another release and cannot be read");
        return NULL;
    }
    job = cn_job_new(&row->spec);
    row->readable = false;
    memcpy(job->name, row->id, sizeof(job->name));
    job->may_be_deferred = true;
    job->attempt = row->attempt;
    job->deaths = row->deaths;
    job->cost = row->cost;
    job->inputs_evicted = cn_spec_image_bytes(&job->spec) > 0;
    r = cn_record_new(js, job, row->tenant, true);
    r->accepted = true;
    r->state = (enum cn_job_state)row->state;
    r->err = row->err;
    r->created_us = row->created_us;
    r->started_us = row->started_us;
    r->ended_us = row->ended_us;
    r->last_id = (uint64_t)(CN_MAX(cn_wall_us(), row->ended_us) / 1000);
    if (row->state != CN_STORE_QUEUED || row->attempt > 1)
        load_results(r);
    return r;
}
