/* The database's life: its opening, commits, and what goes when its time is over. Thread only. */
#include "base/base.h"
#include "store/sqlite_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OLD_JOBS = 100 };

/* ---- opening ---- */

static int read_number(struct cn_sqlite *s, enum cn_sql which, int64_t *ret, struct cn_err *err)
{
    sqlite3_stmt *st = cn_db_bind(&s->w_db, which, err, "");
    int rc = st == NULL ? err->code : cn_db_step(&s->w_db, st, err);

    if (rc > 0) {
        *ret = sqlite3_column_int64(st, 0);
        sqlite3_reset(st);
        rc = CN_OK;
    }
    return rc;
}

/* Those times by which rows are looked for; what else is read is bounded where it is read. */
static int mend_times(struct cn_sqlite *s, struct cn_err *err)
{
    static const enum cn_sql mend[] = {CN_SQL_MEND_CREATED, CN_SQL_MEND_ENDED, CN_SQL_MEND_GONE,
                                       CN_SQL_MEND_KEYS, CN_SQL_MEND_WEBHOOKS};
    int rc = CN_OK, n = 0;

    for (size_t i = 0; i < CN_LEN(mend) && rc == CN_OK; i++) {
        rc = cn_db_run(&s->w_db, mend[i], err, "ii", cn_wall_us(), CN_STORE_MAX_US);
        n += rc == CN_OK ? sqlite3_changes(s->w_db.h) : 0;
    }
    if (n > 0)
        cn_log(CN_LOG_WARNING, "store.times", "times that cannot be were put right", "rows=%d", n);
    return rc;
}

static int begin(struct cn_sqlite *s, struct cn_err *err)
{
    int rc = cn_db_run(&s->w_db, CN_SQL_REQUEUE, err, "");

    if (rc == CN_OK)
        rc = mend_times(s, err);
    if (rc == CN_OK)
        rc = read_number(s, CN_SQL_USED, &s->w_used, err);
    if (rc == CN_OK)
        rc = read_number(s, CN_SQL_COUNT_PENDING, &s->w_pending, err);
    return rc;
}

int cn_store_open_db(struct cn_sqlite *s, struct cn_err *err)
{
    char *path = cn_xprintf("%s/jobs.db", s->base.dir);
    int rc;

    cn_store_clean_tmp(s);
    if ((rc = cn_db_open(&s->w_db, path, s->base.vfs, CN_DB_WRITE, err)) == CN_OK &&
        (rc = begin(s, err)) < 0)
        cn_db_close(&s->w_db);
    free(path);
    if (rc < 0)
        return rc;
    uv_mutex_lock(&s->base.lock);
    s->base.facts.used_bytes = (uint64_t)s->w_used;
    s->base.facts.pending = (uint64_t)s->w_pending;
    uv_mutex_unlock(&s->base.lock);
    cn_store_orphans_begin(s);
    cn_store_free_space(s);
    return CN_OK;
}

/* The last connection that closes writes the WAL back; then others may have the directory. */
void cn_store_close_db(struct cn_sqlite *s)
{
    if (s->w_orphans != NULL)
        closedir(s->w_orphans);
    s->w_orphans = NULL;
    cn_db_close(&s->w_db);
    if (s->w_lock_fd >= 0)
        close(s->w_lock_fd);
    s->w_lock_fd = -1;
}

void cn_store_begin_counts(struct cn_sqlite *s)
{
    s->w_delta = s->w_pending_delta = 0;
    s->w_n_untold = 0;
}

/* Of jobs whose results went, by whomever, while a webhook of theirs was pending. */
static void log_untold(struct cn_sqlite *s)
{
    for (size_t i = 0; i < s->w_n_untold; i++)
        cn_log(CN_LOG_WARNING, "webhook.given_up", "the job was removed", "job_id=%s",
               s->w_untold[i]);
    s->w_n_untold = 0;
}

int cn_store_commit(struct cn_sqlite *s, enum cn_store_outcome *ret, struct cn_err *err)
{
    int rc = cn_db_run(&s->w_db, CN_SQL_COMMIT, err, "");

    *ret = rc < 0 ? cn_db_outcome(&s->w_db) : CN_STORE_OK;
    if (rc < 0) {
        if (!sqlite3_get_autocommit(s->w_db.h))
            cn_db_run(&s->w_db, CN_SQL_ROLLBACK, NULL, "");
        return rc;
    }
    s->w_used += s->w_delta;
    s->w_pending += s->w_pending_delta;
    s->w_delta = s->w_pending_delta = 0;
    uv_mutex_lock(&s->base.lock);
    s->base.facts.commits++;
    s->base.facts.untold += s->w_n_untold;
    s->base.facts.used_bytes = (uint64_t)s->w_used;
    s->base.facts.pending = (uint64_t)s->w_pending;
    uv_mutex_unlock(&s->base.lock);
    log_untold(s);
    cn_store_remove_doomed(s);
    return CN_OK;
}

/* ---- sweeping ---- */

/* The rows go with the commit, the files after it. */
int cn_store_drop_results(struct cn_sqlite *s, const char *id, struct cn_err *err)
{
    sqlite3_stmt *st = cn_db_bind(&s->w_db, CN_SQL_FILES, err, "t", id);
    int rc = st == NULL ? CN_ESTORAGE : 1;

    while (st != NULL && (rc = cn_db_step(&s->w_db, st, err)) > 0) {
        char *path = cn_xprintf("%s/results/%s", s->base.dir, sqlite3_column_text(st, 0));

        s->w_delta -= sqlite3_column_int64(st, 1);
        cn_store_doom(s, path);
        free(path);
    }
    if (rc < 0 || (rc = cn_db_run(&s->w_db, CN_SQL_DROP_RESULTS, err, "t", id)) < 0)
        return rc;
    if ((rc = cn_db_run(&s->w_db, CN_SQL_DROP_WEBHOOK, err, "t", id)) < 0)
        return rc;
    if (sqlite3_changes(s->w_db.h) > 0) {
        s->w_pending_delta--;
        s->w_untold = cn_grow(s->w_untold, s->w_n_untold, &s->w_cap_untold, CN_STORE_ID);
        snprintf(s->w_untold[s->w_n_untold++], CN_STORE_ID, "%s", id);
    }
    return cn_db_run(&s->w_db, CN_SQL_GONE, err, "t", id);
}

static int old_jobs(struct cn_sqlite *s, int64_t before_us, char id[OLD_JOBS][CN_STORE_ID],
                    struct cn_err *err)
{
    sqlite3_stmt *st = cn_db_bind(&s->w_db, CN_SQL_OLD_RESULTS, err, "i", before_us);
    int n = 0, rc = st == NULL ? CN_ESTORAGE : 1;

    while (st != NULL && n < OLD_JOBS && (rc = cn_db_step(&s->w_db, st, err)) > 0)
        cn_db_text(st, 0, id[n++], CN_STORE_ID);
    if (rc > 0)
        sqlite3_reset(st);
    return rc < 0 ? rc : n;
}

struct limits {
    int64_t results_us, tombs_us, keys_us; /* what ended (keys: began) before is over */
};

static struct limits limits_now(struct cn_sqlite *s)
{
    int64_t now = cn_wall_us();
    struct limits l;

    uv_mutex_lock(&s->base.lock);
    l.results_us = now - s->base.result_ttl_us;
    l.tombs_us = l.results_us - s->base.tombstone_ttl_us;
    uv_mutex_unlock(&s->base.lock);
    l.keys_us = now - s->base.o.key_ttl_s * INT64_C(1000000);
    return l;
}

/* Inside a transaction: the number of rows it touched, or negative. */
static int sweep_rows(struct cn_sqlite *s, const struct limits *l, struct cn_err *err)
{
    char id[OLD_JOBS][CN_STORE_ID];
    int n = old_jobs(s, l->results_us, id, err), rc = n;

    for (int i = 0; i < n && rc >= 0; i++)
        rc = cn_store_drop_results(s, id[i], err);
    if (rc < 0 || (rc = cn_db_run(&s->w_db, CN_SQL_FORGET, err, "i", l->tombs_us)) < 0)
        return rc;
    n += sqlite3_changes(s->w_db.h);
    if ((rc = cn_db_run(&s->w_db, CN_SQL_FORGET_KEYS, err, "i", l->keys_us)) < 0)
        return rc;
    return n + sqlite3_changes(s->w_db.h);
}

/* Gives some free pages back to the file system; the statement gives a row for each. */
static void shrink(struct cn_sqlite *s)
{
    sqlite3_stmt *st = cn_db_bind(&s->w_db, CN_SQL_VACUUM, NULL, "");

    while (st != NULL && cn_db_step(&s->w_db, st, NULL) > 0)
        ;
}

bool cn_store_sweep_some(struct cn_sqlite *s, struct cn_err *err)
{
    struct cn_err mine = CN_ERR_INIT;
    struct limits l = limits_now(s);
    enum cn_store_outcome o;
    int n;

    cn_store_free_space(s);
    cn_store_begin_counts(s);
    if (cn_db_run(&s->w_db, CN_SQL_BEGIN, &mine, "") == CN_OK) {
        n = sweep_rows(s, &l, &mine);
        if (n < 0)
            cn_db_run(&s->w_db, CN_SQL_ROLLBACK, NULL, "");
        else if (cn_store_commit(s, &o, &mine) == CN_OK && n > 0)
            return true;
    }
    shrink(s);
    if (mine.code != 0 && err != NULL && err->code == 0)
        *err = mine;
    return false;
}
