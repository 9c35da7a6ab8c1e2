/* The engine "sqlite": questions, answered on a thread of their own by a connection that only
 * reads.
 *
 * Before the database is writable (another daemon has it, or the disk is full) what is there is
 * read all the same, if its tables are those that this program knows.
 */
#include "base/base.h"
#include "store/sqlite_priv.h"
#include "base/clock.h"
#include "base/mem.h"
#include "wire/spec.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- rows ---- */

/* A size, on which memory is asked for: nothing but what was once written passes a damaged row. 0:
 * it is none. */
static int64_t size_of(sqlite3_stmt *st, int column, int64_t max)
{
    int64_t size = sqlite3_column_int64(st, column);

    return size >= 0 && size <= max ? size : 0;
}

/* A time, with which others reckon. */
static int64_t time_of(sqlite3_stmt *st, int column)
{
    int64_t us = sqlite3_column_int64(st, column);

    return CN_MIN(CN_MAX(us, 0), CN_STORE_MAX_US);
}

static void read_job(sqlite3_stmt *st, struct cn_store_job *j)
{
    char state[16], kind[16];

    memset(j, 0, sizeof(*j));
    cn_db_text(st, 0, j->id, sizeof(j->id));
    cn_db_text(st, 1, j->tenant, sizeof(j->tenant));
    cn_db_text(st, 2, state, sizeof(state));
    j->state = (enum cn_store_state)CN_MAX(cn_enum_find(&cn_enum_store_state, state), 0);
    j->attempt = sqlite3_column_int(st, 3);
    j->deaths = sqlite3_column_int(st, 4);
    j->priority = sqlite3_column_int(st, 5);
    j->cost = sqlite3_column_double(st, 6);
    j->n = (int)size_of(st, 7, CN_MAX_IMAGES);
    j->created_us = time_of(st, 8);
    j->started_us = time_of(st, 9);
    j->ended_us = time_of(st, 10);
    j->deadline_us = time_of(st, 11);
    j->gone = sqlite3_column_int(st, 12) != 0;
    j->err.code = sqlite3_column_int(st, 13);
    cn_db_text(st, 14, j->err.msg, sizeof(j->err.msg));
    cn_db_text(st, 15, j->err.where, sizeof(j->err.where));
    if (sqlite3_column_int(st, 20) != 0) /* its columns are read_delivery's */
        j->delivery.state = CN_STORE_WEBHOOK_WAITING;
    if (sqlite3_column_bytes(st, 18) > 0)
        j->warnings = cn_xstrdup((const char *)sqlite3_column_text(st, 18));
    cn_db_text(st, 19, kind, sizeof(kind));
    j->kind = (enum cn_job_kind)CN_MAX(cn_enum_find(&cn_enum_job_kind, kind), 0);
    j->readable = cn_store_unpack(sqlite3_column_blob(st, 16), (size_t)sqlite3_column_bytes(st, 16),
                                  sqlite3_column_blob(st, 17), (size_t)sqlite3_column_bytes(st, 17),
                                  &j->spec);
    if (j->readable && j->n < 1) {
        cn_spec_release(&j->spec);
        memset(&j->spec, 0, sizeof(j->spec));
        j->readable = false;
    }
}

static void read_result(sqlite3_stmt *st, struct cn_store_result *r)
{
    char format[16];

    r->k = sqlite3_column_int(st, 0);
    r->meta.seed = (uint64_t)sqlite3_column_int64(st, 1);
    cn_db_text(st, 2, format, sizeof(format));
    r->meta.format = (enum cn_format)CN_MAX(cn_enum_find(&cn_enum_format, format), 0);
    r->meta.width = (int)size_of(st, 3, INT_MAX);
    r->meta.height = (int)size_of(st, 4, INT_MAX);
    r->meta.bytes = (size_t)size_of(st, 5, INT_MAX);
}

/* ---- the connection ---- */

/* A reader of a WAL needs a file of 32 KiB beside it. Without room for that, and when no WAL was
 * left behind, the database can be read as it lies. */
static bool may_read_as_it_lies(const char *path)
{
    char *wal = cn_xprintf("%s-wal", path);
    struct stat st;
    bool none = stat(wal, &st) < 0 ? errno == ENOENT : st.st_size == 0;

    free(wal);
    return none;
}

static bool is_writable(struct cn_sqlite *s)
{
    bool writable;

    uv_mutex_lock(&s->base.lock);
    writable = s->writable;
    uv_mutex_unlock(&s->base.lock);
    return writable;
}

/* A connection that was opened before the database was writable is not kept. */
static enum cn_store_outcome connect_reader(struct cn_sqlite *s, struct cn_err *err)
{
    bool writable = is_writable(s);
    char *path;

    if (s->r_db.h != NULL && writable == s->r_writable)
        return CN_STORE_OK;
    cn_db_close(&s->r_db);
    path = cn_xprintf("%s/jobs.db", s->base.dir);
    if (cn_db_open(&s->r_db, path, s->base.vfs, CN_DB_READ, err) == CN_OK &&
        !cn_db_is_current(&s->r_db))
        cn_db_close(&s->r_db);
    if (s->r_db.h == NULL && !writable && may_read_as_it_lies(path) &&
        cn_db_open(&s->r_db, path, s->base.vfs, CN_DB_READ_AS_IT_LIES, NULL) == CN_OK &&
        !cn_db_is_current(&s->r_db))
        cn_db_close(&s->r_db);
    free(path);
    s->r_writable = writable;
    if (s->r_db.h != NULL)
        return CN_STORE_OK;
    if (writable)
        return CN_STORE_RETRY;
    *err = (struct cn_err)CN_ERR_INIT;
    cn_fail(err, CN_EBUSY, "the job store is not open yet");
    return CN_STORE_NOT_OPEN;
}

/* ---- questions: each fills op->answer, or err and says how it ended ---- */

static enum cn_store_outcome unknown_job(const char *id, struct cn_err *err)
{
    cn_fail(err, CN_ENOTFOUND, "there is no job \"%.40s\"", id);
    return CN_STORE_UNKNOWN;
}

/* One row at most. */
static enum cn_store_outcome first_row(struct cn_sqlite *s, sqlite3_stmt *st, const char *id,
                                       struct cn_err *err)
{
    int rc = st == NULL ? -1 : cn_db_step(&s->r_db, st, err);

    if (rc < 0)
        return cn_db_outcome(&s->r_db);
    return rc == 0 ? unknown_job(id, err) : CN_STORE_OK;
}

static enum cn_store_outcome read_results(struct cn_sqlite *s, struct cn_store_row *row,
                                          struct cn_err *err)
{
    int max = row->job.n, rc = 1;
    sqlite3_stmt *st = cn_db_bind(&s->r_db, CN_SQL_RESULTS, err, "ti", row->job.id, (int64_t)max);

    if (st == NULL)
        return cn_db_outcome(&s->r_db);
    row->result = cn_xcalloc((size_t)CN_MAX(max, 1), sizeof(*row->result));
    while (row->n_results < max && (rc = cn_db_step(&s->r_db, st, err)) > 0)
        read_result(st, &row->result[row->n_results++]);
    if (rc < 0)
        return cn_db_outcome(&s->r_db);
    sqlite3_reset(st);
    return CN_STORE_OK;
}

static enum cn_store_outcome read_delivery(struct cn_sqlite *s, struct cn_store_job *j,
                                           struct cn_err *err)
{
    sqlite3_stmt *st = cn_db_bind(&s->r_db, CN_SQL_WEBHOOK, err, "t", j->id);
    char state[16];
    int rc = st == NULL ? -1 : cn_db_step(&s->r_db, st, err);

    if (rc <= 0)
        return rc < 0 ? cn_db_outcome(&s->r_db) : CN_STORE_OK;
    cn_db_text(st, 0, state, sizeof(state));
    j->delivery.state = (enum cn_store_webhook_state)CN_MAX(
        cn_enum_find(&cn_enum_store_webhook_state, state), CN_STORE_WEBHOOK_NONE);
    j->delivery.attempts = sqlite3_column_int(st, 1);
    j->delivery.next_us = time_of(st, 2);
    cn_db_text(st, 3, j->delivery.why, sizeof(j->delivery.why));
    sqlite3_reset(st);
    return CN_STORE_OK;
}

/* All rows of a statement, and then the results of each that may have some: in lists not of those
 * that were never begun, which at a start are nearly all. */
static enum cn_store_outcome read_rows(struct cn_sqlite *s, sqlite3_stmt *st, int max,
                                       struct cn_store_answer *a, struct cn_err *err)
{
    enum cn_store_outcome o = CN_STORE_OK;
    int rc = 1;

    if (st == NULL)
        return cn_db_outcome(&s->r_db);
    a->row = cn_xcalloc((size_t)max, sizeof(*a->row));
    while (a->n < max && (rc = cn_db_step(&s->r_db, st, err)) > 0) {
        read_job(st, &a->row[a->n++].job);
    }
    if (rc < 0)
        return cn_db_outcome(&s->r_db);
    sqlite3_reset(st);
    for (int i = 0; i < a->n && o == CN_STORE_OK; i++)
        if (!a->row[i].job.gone &&
            (a->row[i].job.state != CN_STORE_QUEUED || a->row[i].job.attempt > 1 || max == 1))
            o = read_results(s, &a->row[i], err);
    for (int i = 0; i < a->n && o == CN_STORE_OK; i++)
        if (a->row[i].job.delivery.state != CN_STORE_WEBHOOK_NONE)
            o = read_delivery(s, &a->row[i].job, err);
    return o;
}

static enum cn_store_outcome get(struct cn_sqlite *s, struct cn_op *op, struct cn_err *err)
{
    enum cn_store_outcome o;

    o = read_rows(s, cn_db_bind(&s->r_db, CN_SQL_GET, err, "t", op->id), 1, op->answer, err);
    return o == CN_STORE_OK && op->answer->n == 0 ? unknown_job(op->id, err) : o;
}

static enum cn_store_outcome inputs(struct cn_sqlite *s, struct cn_op *op, struct cn_err *err)
{
    sqlite3_stmt *st = cn_db_bind(&s->r_db, CN_SQL_SPEC, err, "t", op->id);
    enum cn_store_outcome o = first_row(s, st, op->id, NULL);
    struct cn_unpack u;
    int rc;

    if (o == CN_STORE_OK) {
        u = (struct cn_unpack){.p = sqlite3_column_blob(st, 0),
                               .left = (size_t)sqlite3_column_bytes(st, 0)};
        if (u.left > 0 && u.p == NULL) { /* SQLite had no memory for it */
            sqlite3_reset(st);
            cn_fail(err, CN_ENOMEM, "no memory for the images of a job");
            return CN_STORE_RETRY;
        }
        rc = cn_wire_get_spec(&u, &op->answer->spec);
        sqlite3_reset(st);
        if (rc == CN_OK)
            return CN_STORE_OK;
        memset(&op->answer->spec, 0, sizeof(op->answer->spec));
        cn_fail(err, rc, "the stored job cannot be read: %s", u.why);
        return rc == CN_ENOMEM ? CN_STORE_RETRY : CN_STORE_REFUSED;
    }
    if (o != CN_STORE_UNKNOWN || (o = get(s, op, err)) != CN_STORE_OK)
        return o;
    if (!op->answer->row[0].job.readable) {
        cn_fail(err, CN_EFORMAT, "the stored job is of an unknown version");
        return CN_STORE_REFUSED;
    }
    /* It came without images: the row of the job says all. */
    op->answer->spec = op->answer->row[0].job.spec;
    op->answer->row[0].job.readable = false;
    return CN_STORE_OK;
}

static enum cn_store_outcome picture(struct cn_sqlite *s, struct cn_op *op, struct cn_err *err)
{
    sqlite3_stmt *st = cn_db_bind(&s->r_db, CN_SQL_RESULT, err, "ti", op->id, (int64_t)op->k);
    enum cn_store_outcome o = first_row(s, st, op->id, err);
    char *path;

    if (o != CN_STORE_OK)
        return o;
    read_result(st, &op->answer->result);
    path = cn_xprintf("%s/results/%s", s->base.dir, sqlite3_column_text(st, 6));
    sqlite3_reset(st);
    op->answer->fd = s->io.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    free(path);
    if (op->answer->fd >= 0)
        return CN_STORE_OK;
    o = cn_store_outcome_of_errno(errno);
    cn_fail(err, o == CN_STORE_RETRY ? CN_EIO : CN_ESTORAGE, "a picture cannot be read: %s",
            strerror(errno));
    return o == CN_STORE_RETRY ? o : CN_STORE_REFUSED;
}

static enum cn_store_outcome list(struct cn_sqlite *s, struct cn_op *op, struct cn_err *err)
{
    static const enum cn_sql which[2][2] = {{CN_SQL_LIST, CN_SQL_LIST_STATE},
                                            {CN_SQL_LIST_TENANT, CN_SQL_LIST_TENANT_STATE}};
    const struct cn_store_query *q = &op->query;
    const char *state = q->state >= 0 ? cn_enum_store_state.name[q->state] : "";
    int64_t before = q->before_us > 0 ? q->before_us : INT64_MAX;
    sqlite3_stmt *st =
        cn_db_bind(&s->r_db, which[op->tenant != NULL][q->state >= 0], err, "ittitti", before,
                   op->before_id, state, (int64_t)q->limit, op->tenant != NULL ? op->tenant : "",
                   op->model != NULL ? op->model : "", q->since_us);

    return read_rows(s, st, q->limit, op->answer, err);
}

static enum cn_store_outcome unfinished(struct cn_sqlite *s, struct cn_op *op, struct cn_err *err)
{
    sqlite3_stmt *st = cn_db_bind(&s->r_db, CN_SQL_UNFINISHED, err, "iti", op->after_us,
                                  op->before_id, (int64_t)CN_STORE_UNFINISHED_PAGE);
    enum cn_store_outcome o = read_rows(s, st, CN_STORE_UNFINISHED_PAGE, op->answer, err);

    op->answer->more = op->answer->n == CN_STORE_UNFINISHED_PAGE;
    return o;
}

static enum cn_store_outcome find_key(struct cn_sqlite *s, struct cn_op *op, struct cn_err *err)
{
    int64_t since = cn_wall_us() - s->base.o.key_ttl_s * INT64_C(1000000);
    sqlite3_stmt *st =
        cn_db_bind(&s->r_db, CN_SQL_FIND_KEY, err, "ttti", op->tenant, op->route, op->key, since);
    enum cn_store_outcome o = first_row(s, st, "", err);

    if (o != CN_STORE_OK)
        return o;
    cn_db_text(st, 0, op->answer->id, CN_STORE_ID);
    if (sqlite3_column_bytes(st, 1) == CN_STORE_FINGERPRINT)
        memcpy(op->answer->fingerprint, sqlite3_column_blob(st, 1), CN_STORE_FINGERPRINT);
    sqlite3_reset(st);
    return CN_STORE_OK;
}

static enum cn_store_outcome read_pending(struct cn_sqlite *s, const struct cn_op *op,
                                          struct cn_err *err)
{
    sqlite3_stmt *st = cn_db_bind(&s->r_db, CN_SQL_NEXT_WEBHOOK, err, "i", op->now_us);
    enum cn_store_outcome o = first_row(s, st, "", err);

    if (o != CN_STORE_OK)
        return o;
    op->answer->next_us = time_of(st, 0);
    sqlite3_reset(st);
    uv_mutex_lock(&s->base.lock);
    op->answer->n_pending = (int)CN_MIN(s->base.facts.pending, INT_MAX);
    uv_mutex_unlock(&s->base.lock);
    return CN_STORE_OK;
}

static enum cn_store_outcome webhooks(struct cn_sqlite *s, struct cn_op *op, struct cn_err *err)
{
    struct cn_store_answer *a = op->answer;
    sqlite3_stmt *st = cn_db_bind(&s->r_db, CN_SQL_WEBHOOKS, err, "iii", op->now_us, (int64_t)op->k,
                                  (int64_t)op->limit);
    int rc = 1;

    if (st == NULL)
        return cn_db_outcome(&s->r_db);
    a->due = cn_xcalloc((size_t)op->limit, sizeof(*a->due));
    while (a->n_due < op->limit && (rc = cn_db_step(&s->r_db, st, err)) > 0) {
        struct cn_store_due *d = &a->due[a->n_due++];

        cn_db_text(st, 0, d->id, sizeof(d->id));
        d->url = cn_xstrdup((const char *)sqlite3_column_text(st, 1));
        d->context = cn_xstrdup((const char *)sqlite3_column_text(st, 2));
        d->attempts = sqlite3_column_int(st, 3);
        d->ended_us = time_of(st, 4);
    }
    if (rc < 0)
        return cn_db_outcome(&s->r_db);
    sqlite3_reset(st);
    return read_pending(s, op, err);
}

/* ---- the thread ---- */

static void answer(struct cn_sqlite *s, struct cn_op *op)
{
    struct cn_err err = CN_ERR_INIT;
    enum cn_store_outcome o;

    if (atomic_load(&op->forgotten)) {
        cn_op_end(op, CN_STORE_RETRY, NULL);
        return;
    }
    s->r_db.failure = 0;
    o = connect_reader(s, &err);
    if (o == CN_STORE_OK) {
        static enum cn_store_outcome (*const how[])(struct cn_sqlite *, struct cn_op *,
                                                    struct cn_err *) = {
            [CN_OP_GET] = get,          [CN_OP_INPUTS] = inputs,         [CN_OP_PICTURE] = picture,
            [CN_OP_LIST] = list,        [CN_OP_UNFINISHED] = unfinished, [CN_OP_KEY] = find_key,
            [CN_OP_WEBHOOKS] = webhooks};

        o = how[op->kind](s, op, &err);
    }
    cn_op_end(op, o, &err);
}

static struct cn_op *next_question(struct cn_sqlite *s, bool *ret_stop)
{
    struct cn_op *op;

    uv_mutex_lock(&s->base.lock);
    while (s->asked.n == 0 && !s->stop)
        uv_cond_wait(&s->asked_more, &s->base.lock);
    op = cn_op_pop(&s->asked);
    *ret_stop = s->stop;
    uv_mutex_unlock(&s->base.lock);
    return op;
}

void cn_store_reader(void *arg)
{
    struct cn_sqlite *s = arg;
    struct cn_op *op;
    bool stop;

    while ((op = next_question(s, &stop)) != NULL) {
        if (stop) {
            struct cn_err err = CN_ERR_INIT;

            cn_fail(&err, CN_ESTORAGE, "the job store is closing");
            cn_op_end(op, CN_STORE_CLOSED, &err);
        } else {
            answer(s, op);
        }
        cn_store_tell(&s->base, op);
    }
    cn_db_close(&s->r_db);
}
