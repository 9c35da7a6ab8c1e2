/* Records: the one owner of what the service knows of a job. Their table, their phases, and the
 * ones that are over and stay for a while. */
#include "base/base.h"
#include "job/jobs_priv.h"
#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const char *id)
{
    return cn_hash_text(CN_HASH_INIT, id);
}

/* ---- those that lists are made of ---- */

bool cn_record_later(int64_t a_us, const char *a, int64_t b_us, const char *b)
{
    return a_us < b_us || (a_us == b_us && strcmp(a, b) < 0);
}

/* Nearly always the newest: the place is looked for from there. */
static void enter_list(struct cn_record *r)
{
    struct cn_record_list *list = &r->js->listed;
    struct cn_record *other = TAILQ_FIRST(list);

    while (other != NULL && cn_record_later(r->created_us, r->id, other->created_us, other->id))
        other = TAILQ_NEXT(other, in_list);
    if (other == NULL)
        TAILQ_INSERT_TAIL(list, r, in_list);
    else
        TAILQ_INSERT_BEFORE(other, r, in_list);
    r->listed = true;
}

static void leave_list(struct cn_record *r)
{
    if (r->listed)
        TAILQ_REMOVE(&r->js->listed, r, in_list);
    r->listed = false;
}

/* ---- life ---- */

struct cn_record *cn_record_new(struct cn_jobs *js, struct cn_job *job_take, const char *tenant,
                                bool durable)
{
    struct cn_record *r = cn_xcalloc(1, sizeof(*r));

    r->js = js;
    r->refs = 1;
    r->job = job_take;
    r->durable = durable;
    memcpy(r->id, job_take->name, sizeof(r->id));
    snprintf(r->tenant, sizeof(r->tenant), "%s", tenant);
    r->created_us = cn_wall_us();
    r->image = cn_xcalloc((size_t)cn_spec_pictures(&job_take->spec), sizeof(*r->image));
    LIST_INIT(&r->watches);
    LIST_INIT(&r->waiters);
    cn_table_add(&js->records, &r->by_id, hash_of(r->id));
    if (!durable)
        enter_list(r);
    return r;
}

struct cn_record *cn_record_ref(struct cn_record *r)
{
    r->refs++;
    return r;
}

void cn_record_unref(struct cn_record *r)
{
    CN_ASSERT(r->refs > 0);
    if (--r->refs > 0)
        return;
    CN_ASSERT(r->phase == CN_RECORD_FORGOTTEN && LIST_EMPTY(&r->watches) &&
              LIST_EMPTY(&r->waiters) && r->fetch == NULL);
    cn_job_unref(r->job);
    free(r->image);
    free(r->event);
    free(r->preview_data);
    free(r);
}

void cn_record_set_phase(struct cn_record *r, enum cn_record_phase to)
{
    static const bool may[CN_RECORD_PHASE_COUNT][CN_RECORD_PHASE_COUNT] = {
        [CN_RECORD_ADDING] = {[CN_RECORD_LIVE] = true,
                              [CN_RECORD_OVER] = true, /* read back from the store */
                              [CN_RECORD_FORGOTTEN] = true},
        [CN_RECORD_LIVE] = {[CN_RECORD_ENDING] = true,
                            [CN_RECORD_OVER] = true,
                            [CN_RECORD_FORGOTTEN] = true}, /* the daemon ends before the job */
        [CN_RECORD_ENDING] = {[CN_RECORD_OVER] = true, [CN_RECORD_FORGOTTEN] = true},
        [CN_RECORD_OVER] = {[CN_RECORD_FORGOTTEN] = true},
    };

    CN_ASSERT(may[r->phase][to]);
    r->phase = to;
    if (to == CN_RECORD_LIVE && r->durable)
        enter_list(r);
    if (to == CN_RECORD_FORGOTTEN || (to == CN_RECORD_OVER && r->durable))
        leave_list(r);
}

void cn_record_forget(struct cn_record *r)
{
    struct cn_jobs *js = r->js;

    if (r->phase == CN_RECORD_OVER) {
        TAILQ_REMOVE(&js->history, r, in_history);
        js->n_history--;
        js->history_bytes -= r->history_bytes;
    }
    cn_record_set_phase(r, CN_RECORD_FORGOTTEN);
    cn_table_remove(&js->records, &r->by_id);
    js->cached_bytes -= r->cached_bytes;
    r->cached_bytes = 0;
    if (r->fetch != NULL) {
        cn_store_forget(r->fetch);
        r->fetch = NULL;
        cn_record_unref(r);
    }
    cn_record_unref(r);
}

/* ---- those that are over ---- */

static size_t picture_bytes(const struct cn_record *r)
{
    size_t bytes = 0;

    for (int i = 0; i < cn_spec_pictures(&r->job->spec); i++)
        if (r->job->image[i].data != NULL)
            bytes += r->job->image[i].meta.bytes;
    return bytes;
}

/* Removes the oldest that nobody refers to. */
void cn_record_trim(struct cn_jobs *js)
{
    struct cn_record *newer;

    for (struct cn_record *r = TAILQ_FIRST(&js->history);
         r != NULL && (js->n_history > js->o.recent || js->history_bytes > js->o.recent_bytes);
         r = newer) {
        newer = TAILQ_NEXT(r, in_history);
        if (r->refs == 1)
            cn_record_forget(r);
    }
}

void cn_record_enter_history(struct cn_record *r)
{
    struct cn_jobs *js = r->js;

    cn_record_set_phase(r, CN_RECORD_OVER);
    r->history_bytes = picture_bytes(r);
    TAILQ_INSERT_TAIL(&js->history, r, in_history);
    js->n_history++;
    js->history_bytes += r->history_bytes;
    cn_record_trim(js);
}

/* ---- finding ---- */

static struct cn_record *in_table(const struct cn_jobs *js, const char *id)
{
    CN_TABLE_EACH(&js->records, hash_of(id), node)
    {
        struct cn_record *r = CN_TABLE_OF(node, struct cn_record, by_id);

        if (strcmp(r->id, id) == 0)
            return r;
    }
    return NULL;
}

struct cn_record *cn_record_of(const struct cn_jobs *js, const struct cn_job *job)
{
    struct cn_record *r = in_table(js, job->name);

    return r != NULL && r->job == job ? r : NULL;
}

/* Results past their time are the store's to tell. */
struct cn_record *cn_record_find(struct cn_jobs *js, const char *tenant, const char *id)
{
    struct cn_record *r = in_table(js, id);
    int64_t expires_us;

    if (r == NULL || r->phase == CN_RECORD_ADDING ||
        (tenant != NULL && strcmp(r->tenant, tenant) != 0))
        return NULL;
    expires_us = cn_record_expires_us(js, r->ended_us, r->durable);
    return r->phase == CN_RECORD_OVER && expires_us > 0 && expires_us <= cn_wall_us() ? NULL : r;
}

/* ---- rows of the store ---- */

int64_t cn_record_expires_us(const struct cn_jobs *js, int64_t ended_us, bool durable)
{
    return ended_us > 0 && durable ? ended_us + js->result_ttl_s * INT64_C(1000000) : 0;
}

struct cn_store_job cn_record_row(const struct cn_record *r)
{
    struct cn_store_job row = {.attempt = r->job->attempt,
                               .deaths = r->job->deaths,
                               .kind = r->job->spec.kind,
                               .priority = r->job->spec.priority,
                               .n = cn_spec_pictures(&r->job->spec),
                               .cost = r->job->cost,
                               .created_us = r->created_us};

    memcpy(row.id, r->id, sizeof(row.id));
    memcpy(row.tenant, r->tenant, sizeof(row.tenant));
    return row;
}

/* Its events' ids go on from the present. */
struct cn_record *cn_record_load(struct cn_jobs *js, struct cn_store_row *row, struct cn_err *err)
{
    struct cn_store_job *j = &row->job;
    struct cn_record *r;
    struct cn_job *job;

    if (!j->readable) {
        cn_fail(err, CN_EGONE, "the job's description is not known any more");
        return NULL;
    }
    job = cn_job_new(&j->spec);
    j->readable = false;
    memcpy(job->name, j->id, sizeof(job->name));
    job->may_be_deferred = true;
    job->attempt = j->attempt;
    job->deaths = j->deaths;
    job->cost = j->cost;
    job->inputs_evicted = cn_spec_image_bytes(&job->spec) > 0;
    cn_warnings_read(&job->warnings, j->warnings);
    r = cn_record_new(js, job, j->tenant, true);
    r->state = (enum cn_job_state)j->state;
    r->err = j->err;
    r->delivery = j->delivery;
    r->created_us = j->created_us;
    r->started_us = j->started_us;
    r->ended_us = j->ended_us;
    r->last_id = (uint64_t)(CN_MAX(cn_wall_us(), j->ended_us) / 1000);
    for (int i = 0; i < row->n_results; i++)
        if (row->result[i].k >= 0 && row->result[i].k < cn_spec_pictures(&job->spec))
            r->image[row->result[i].k] = (struct cn_job_view_image){true, row->result[i].meta};
    return r;
}
