/* What is asked of the store, answered on the loop by a connection that only reads. */
#include "base/base.h"
#include "store/store_priv.h"
#include "base/clock.h"
#include "base/mem.h"
#include "wire/spec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- rows ---- */

static void read_job(sqlite3_stmt *st, struct cn_store_job *j)
{
    char state[16];

    memset(j, 0, sizeof(*j));
    cn_db_text(st, 0, j->id, sizeof(j->id));
    cn_db_text(st, 1, j->tenant, sizeof(j->tenant));
    cn_db_text(st, 2, state, sizeof(state));
    j->state = (enum cn_store_state)CN_MAX(cn_enum_find(&cn_enum_store_state, state), 0);
    j->attempt = sqlite3_column_int(st, 3);
    j->deaths = sqlite3_column_int(st, 4);
    j->priority = sqlite3_column_int(st, 5);
    j->cost = sqlite3_column_double(st, 6);
    j->n = sqlite3_column_int(st, 7);
    j->created_us = sqlite3_column_int64(st, 8);
    j->started_us = sqlite3_column_int64(st, 9);
    j->ended_us = sqlite3_column_int64(st, 10);
    j->deadline_us = sqlite3_column_int64(st, 11);
    j->gone = sqlite3_column_int(st, 12) != 0;
    j->err.code = sqlite3_column_int(st, 13);
    cn_db_text(st, 14, j->err.msg, sizeof(j->err.msg));
    cn_db_text(st, 15, j->err.where, sizeof(j->err.where));
    j->readable = cn_store_unpack(sqlite3_column_blob(st, 16), (size_t)sqlite3_column_bytes(st, 16),
                                  sqlite3_column_blob(st, 17), (size_t)sqlite3_column_bytes(st, 17),
                                  &j->spec);
}

void cn_store_job_release(struct cn_store_job *job)
{
    if (job->readable)
        cn_spec_release(&job->spec);
    memset(job, 0, sizeof(*job));
}

static void read_result(sqlite3_stmt *st, struct cn_store_result *r)
{
    char format[16];

    r->k = sqlite3_column_int(st, 0);
    r->seed = (uint64_t)sqlite3_column_int64(st, 1);
    cn_db_text(st, 2, format, sizeof(format));
    r->format = (enum cn_format)CN_MAX(cn_enum_find(&cn_enum_format, format), 0);
    r->width = sqlite3_column_int(st, 3);
    r->height = sqlite3_column_int(st, 4);
    r->bytes = (size_t)sqlite3_column_int64(st, 5);
}

/* ---- questions ---- */

static int ready(struct cn_store *s, struct cn_err *err)
{
    struct cn_store_facts f;

    if (s->reader.h != NULL)
        return CN_OK;
    cn_store_facts(s, &f);
    if (f.phase == CN_STORE_BROKEN)
        return cn_fail(err, CN_ESTORAGE, "the job store could not be opened");
    return cn_fail(err, CN_EBUSY, "the job store is not open");
}

/* A statement with one expected row: 1, or CN_ENOTFOUND, or a failure. */
static int one_row(struct cn_store *s, sqlite3_stmt *st, const char *id, struct cn_err *err)
{
    struct cn_err mine = CN_ERR_INIT;
    int rc = st == NULL ? CN_ESTORAGE : cn_db_step(&s->reader, st, &mine);

    if (rc == 0)
        return cn_fail(err, CN_ENOTFOUND, "there is no job \"%.40s\"", id);
    if (rc < 0 && mine.code != 0)
        cn_fail(err, rc, "%s", mine.msg);
    return rc;
}

int cn_store_get(struct cn_store *s, const char *id, struct cn_store_job *ret, struct cn_err *err)
{
    sqlite3_stmt *st;
    int rc = ready(s, err);

    if (rc < 0)
        return rc;
    st = cn_db_bind(&s->reader, CN_SQL_GET, err, "t", id);
    if ((rc = one_row(s, st, id, err)) < 0)
        return rc;
    read_job(st, ret);
    sqlite3_reset(st);
    return CN_OK;
}

static int read_spec(sqlite3_stmt *st, struct cn_spec *ret, struct cn_err *err)
{
    struct cn_unpack u = {.p = sqlite3_column_blob(st, 0),
                          .left = (size_t)sqlite3_column_bytes(st, 0)};
    int rc = cn_wire_get_spec(&u, ret);

    return rc == CN_OK ? CN_OK : cn_fail(err, rc, "the stored job cannot be read: %s", u.why);
}

int cn_store_spec(struct cn_store *s, const char *id, struct cn_spec *ret, struct cn_err *err)
{
    struct cn_store_job job;
    sqlite3_stmt *st;
    int rc = ready(s, err);

    if (rc < 0)
        return rc;
    st = cn_db_bind(&s->reader, CN_SQL_SPEC, err, "t", id);
    if (st == NULL || (rc = cn_db_step(&s->reader, st, err)) < 0)
        return st == NULL ? CN_ESTORAGE : rc;
    if (rc > 0) {
        rc = read_spec(st, ret, err);
        sqlite3_reset(st);
        return rc;
    }
    /* It came without images: the row of the job says all. */
    if ((rc = cn_store_get(s, id, &job, err)) < 0)
        return rc;
    if (!job.readable)
        return cn_fail(err, CN_EFORMAT, "the stored job is of an unknown version");
    *ret = job.spec;
    return CN_OK;
}

int cn_store_results(struct cn_store *s, const char *id, struct cn_store_result *ret, int max,
                     int *ret_n, struct cn_err *err)
{
    sqlite3_stmt *st;
    int rc = ready(s, err), n = 0;

    if (rc < 0)
        return rc;
    if ((st = cn_db_bind(&s->reader, CN_SQL_RESULTS, err, "ti", id, (int64_t)max)) == NULL)
        return CN_ESTORAGE;
    while (n < max && (rc = cn_db_step(&s->reader, st, err)) > 0)
        read_result(st, &ret[n++]);
    sqlite3_reset(st);
    if (rc < 0)
        return rc;
    *ret_n = n;
    return CN_OK;
}

int cn_store_open_result(struct cn_store *s, const char *id, int k, struct cn_store_result *ret,
                         int *ret_fd, struct cn_err *err)
{
    sqlite3_stmt *st;
    char *path;
    int rc = ready(s, err);

    if (rc < 0)
        return rc;
    st = cn_db_bind(&s->reader, CN_SQL_RESULT, err, "ti", id, (int64_t)k);
    if ((rc = one_row(s, st, id, err)) < 0)
        return rc;
    read_result(st, ret);
    path = cn_xprintf("%s/results/%s", s->dir, sqlite3_column_text(st, 6));
    sqlite3_reset(st);
    *ret_fd = s->io.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    rc = *ret_fd >= 0 ? CN_OK
                      : cn_fail(err, errno == EMFILE || errno == ENFILE ? CN_EIO : CN_ESTORAGE,
                                "a picture cannot be read: %s", strerror(errno));
    free(path);
    return rc;
}

static int visit_all(struct cn_store *s, sqlite3_stmt *st, cn_store_visit_fn visit, void *arg,
                     struct cn_err *err)
{
    int rc = st == NULL ? CN_ESTORAGE : 1;

    while (st != NULL && (rc = cn_db_step(&s->reader, st, err)) > 0) {
        struct cn_store_job job;

        read_job(st, &job);
        visit(arg, &job);
        cn_store_job_release(&job);
    }
    return rc;
}

int cn_store_list(struct cn_store *s, const struct cn_store_query *q, cn_store_visit_fn visit,
                  void *arg, struct cn_err *err)
{
    static const enum cn_sql which[2][2] = {{CN_SQL_LIST, CN_SQL_LIST_STATE},
                                            {CN_SQL_LIST_TENANT, CN_SQL_LIST_TENANT_STATE}};
    const char *state = q->state >= 0 ? cn_enum_store_state.name[q->state] : "";
    int64_t before = q->before_us > 0 ? q->before_us : INT64_MAX;
    int rc = ready(s, err);

    if (rc < 0)
        return rc;
    return visit_all(s,
                     cn_db_bind(&s->reader, which[q->tenant != NULL][q->state >= 0], err, "ittit",
                                before, q->before_id != NULL ? q->before_id : "", state,
                                (int64_t)q->limit, q->tenant != NULL ? q->tenant : ""),
                     visit, arg, err);
}

int cn_store_unfinished(struct cn_store *s, cn_store_visit_fn visit, void *arg, struct cn_err *err)
{
    int rc = ready(s, err);

    if (rc < 0)
        return rc;
    return visit_all(s, cn_db_bind(&s->reader, CN_SQL_UNFINISHED, err, ""), visit, arg, err);
}

int cn_store_find_key(struct cn_store *s, const struct cn_store_key *key, char ret_id[CN_STORE_ID],
                      unsigned char ret_fingerprint[CN_STORE_FINGERPRINT], struct cn_err *err)
{
    int64_t since = cn_wall_us() - s->o.key_ttl_s * INT64_C(1000000);
    sqlite3_stmt *st;
    int rc = ready(s, err);

    if (rc < 0)
        return rc;
    st = cn_db_bind(&s->reader, CN_SQL_FIND_KEY, err, "ttti", key->tenant, key->route, key->key,
                    since);
    if (st == NULL || (rc = cn_db_step(&s->reader, st, err)) < 0)
        return st == NULL ? CN_ESTORAGE : rc;
    if (rc == 0)
        return CN_ENOTFOUND;
    cn_db_text(st, 0, ret_id, CN_STORE_ID);
    memset(ret_fingerprint, 0, CN_STORE_FINGERPRINT);
    if (sqlite3_column_bytes(st, 1) == CN_STORE_FINGERPRINT)
        memcpy(ret_fingerprint, sqlite3_column_blob(st, 1), CN_STORE_FINGERPRINT);
    sqlite3_reset(st);
    return CN_OK;
}
