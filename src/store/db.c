/* The database: tables, statements, and what SQLite's codes mean here. */
#include "base/base.h"
#include "store/sqlite_priv.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Entry i brings a database of version i to version i + 1. */
static const char *const migration[CN_STORE_VERSION] = {
    "create table jobs ("
    " seq integer primary key autoincrement, id text not null unique, tenant text not null,"
    " state text not null, attempt integer not null, deaths integer not null,"
    " priority integer not null, cost real not null, n integer not null, model text not null,"
    " created integer not null, started integer not null default 0,"
    " ended integer not null default 0, deadline integer not null,"
    " gone integer not null default 0, code integer not null default 0,"
    " msg text not null default '', place text not null default '',"
    " spec blob not null, lens blob not null);"
    "create index jobs_state on jobs(state, created desc, id desc);"
    "create index jobs_tenant_state on jobs(tenant, state, created desc, id desc);"
    "create index jobs_created on jobs(created desc, id desc);"
    "create index jobs_tenant on jobs(tenant, created desc, id desc);"
    "create index jobs_ended on jobs(ended) where ended > 0 and gone = 0;"
    "create index jobs_gone on jobs(ended) where gone = 1;"
    "create table payload (job integer primary key, spec blob not null);"
    "create table results ("
    " job text not null, k integer not null, file text not null, bytes integer not null,"
    " seed integer not null, format text not null, width integer not null,"
    " height integer not null, primary key (job, k)) without rowid;"
    "create table keys ("
    " tenant text not null, route text not null, key text not null, fingerprint blob not null,"
    " job text not null, created integer not null, primary key (tenant, route, key)) without rowid;"
    "create index keys_created on keys(created);",

    "alter table jobs add column warnings text not null default '';",

    /* host and next: of what is pending. Rows stay as long as their job, for who looks at it. */
    "create table webhooks ("
    " job integer primary key, state text not null, url text not null, host text not null,"
    " context text not null, attempts integer not null default 0, next integer not null default 0,"
    " why text not null default '');"
    "create index webhooks_pending on webhooks(host, next, job) where state = 'pending';"
    "create trigger webhooks_go after delete on jobs begin"
    " delete from webhooks where job = old.seq; end;",

    "alter table jobs add column kind text not null default 'draw';"};

#define JOB_COLUMNS                                                                                \
    "id, tenant, state, attempt, deaths, priority, cost, n, created, started, ended, deadline,"    \
    " gone, code, msg, place, spec, lens, warnings, kind,"                                         \
    " exists (select 1 from webhooks where job = seq)"

/* ?1 and ?2: the last one of the page before; ?3: state, ?5: tenant, where they are asked for; ?6:
 * model, '' for any; ?7: created then or later. */
#define LIST(which)                                                                                \
    "select " JOB_COLUMNS " from jobs where " which " and (created, id) < (?1, ?2)"                \
    " and (?6 = '' or model = ?6) and created >= ?7"                                               \
    " order by created desc, id desc limit ?4"

static const char *const sql[CN_SQL_COUNT] = {
    [CN_SQL_BEGIN] = "begin immediate",
    [CN_SQL_COMMIT] = "commit",
    [CN_SQL_ROLLBACK] = "rollback",
    [CN_SQL_ADD] =
        "insert into jobs (id, tenant, kind, state, attempt, deaths, priority, cost, n, model,"
        " created, deadline, spec, lens)"
        " values (?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [CN_SQL_ADD_PAYLOAD] =
        "insert into payload (job, spec) values ((select seq from jobs where id = ?), ?)",
    [CN_SQL_ADD_KEY] = "insert or replace into keys (tenant, route, key, fingerprint, job, created)"
                       " values (?, ?, ?, ?, ?, ?)",
    [CN_SQL_ADD_WEBHOOK] = "insert into webhooks (job, state, url, host, context)"
                           " values ((select seq from jobs where id = ?), 'waiting', ?, ?, ?)",
    [CN_SQL_START] = "update jobs set state = ?, attempt = ?, deaths = ?, started = ?"
                     " where id = ? and state in ('queued', 'running')",
    [CN_SQL_STATE] = "select state, code, msg, place, n, (select count(*) from results"
                     " where job = jobs.id), gone from jobs where id = ?",
    [CN_SQL_HAS_RESULT] = "select 1 from results where job = ? and k = ?",
    [CN_SQL_ADD_RESULT] = "insert into results (job, k, file, bytes, seed, format, width, height)"
                          " select id, ?, ?, ?, ?, ?, ?, ? from jobs"
                          " where id = ? and state in ('queued', 'running')",
    [CN_SQL_END] = "update jobs set state = ?, attempt = ?, deaths = ?, started = ?, ended = ?,"
                   " code = ?, msg = ?, place = ?, warnings = ?"
                   " where id = ? and state in ('queued', 'running')",
    [CN_SQL_WEBHOOK_DUE] = "update webhooks set state = 'pending', next = ?"
                           " where job = (select seq from jobs where id = ?) and state = 'waiting'",
    /* What is over keeps no address: it may be a secret. */
    [CN_SQL_DELIVERY] = "update webhooks set state = ?1, attempts = ?2, next = ?3, why = ?4,"
                        " url = iif(?1 = 'pending', url, ''),"
                        " context = iif(?1 = 'pending', context, '')"
                        " where job = (select seq from jobs where id = ?5) and state = 'pending'",
    [CN_SQL_DROP_WEBHOOK] = "update webhooks set state = 'failed', url = '', context = '',"
                            " why = 'the job was removed'"
                            " where job = (select seq from jobs where id = ?)"
                            " and state = 'pending'",
    [CN_SQL_PAYLOAD_BYTES] =
        "select length(spec) from payload where job = (select seq from jobs where id = ?)",
    [CN_SQL_DROP_PAYLOAD] = "delete from payload where job = (select seq from jobs where id = ?)",
    [CN_SQL_REQUEUE] = "update jobs set state = 'queued', attempt = attempt + 1, started = 0"
                       " where state = 'running'",
    [CN_SQL_USED] = "select coalesce((select sum(bytes) from results), 0) +"
                    " coalesce((select sum(length(spec)) from payload), 0)",
    [CN_SQL_OLD_RESULTS] =
        "select id from jobs where ended > 0 and gone = 0 and ended < ? order by ended limit 100",
    [CN_SQL_FILES] = "select file, bytes from results where job = ?",
    [CN_SQL_DROP_RESULTS] = "delete from results where job = ?",
    [CN_SQL_GONE] = "update jobs set gone = 1 where id = ?",
    [CN_SQL_FORGET] = "delete from jobs where seq in"
                      " (select seq from jobs where gone = 1 and ended < ? limit 500)",
    [CN_SQL_FORGET_KEYS] = "delete from keys where (tenant, route, key) in"
                           " (select tenant, route, key from keys where created < ? limit 500)",
    [CN_SQL_VACUUM] = "pragma incremental_vacuum(1024)",
    [CN_SQL_GET] = "select " JOB_COLUMNS " from jobs where id = ?",
    [CN_SQL_SPEC] = "select spec from payload where job = (select seq from jobs where id = ?)",
    [CN_SQL_RESULTS] = "select k, seed, format, width, height, bytes, file from results"
                       " where job = ? order by k limit ?",
    [CN_SQL_RESULT] = "select k, seed, format, width, height, bytes, file from results"
                      " where job = ? and k = ?",
    [CN_SQL_LIST] = LIST("?3 = '' and ?5 = ''"),
    [CN_SQL_LIST_STATE] = LIST("state = ?3 and ?5 = ''"),
    [CN_SQL_LIST_TENANT] = LIST("?3 = '' and tenant = ?5"),
    [CN_SQL_LIST_TENANT_STATE] = LIST("state = ?3 and tenant = ?5"),
    [CN_SQL_UNFINISHED] = "select " JOB_COLUMNS " from jobs where state = 'queued'"
                          " and (created, id) > (?, ?) order by created, id limit ?",
    [CN_SQL_WEBHOOK] = "select state, attempts, next, why from webhooks"
                       " where job = (select seq from jobs where id = ?)",
    /* From host to host by the index, and of each the first ones: however much is pending. */
    [CN_SQL_WEBHOOKS] =
        "with recursive hosts(host) as ("
        " select min(host) from webhooks where state = 'pending' union all"
        " select (select min(host) from webhooks where state = 'pending' and host > hosts.host)"
        " from hosts where hosts.host is not null)"
        " select jobs.id, w.url, w.context, w.attempts, jobs.ended from hosts"
        " join webhooks w on w.job in (select job from webhooks where state = 'pending'"
        "  and host = hosts.host and next <= ?1 order by next, job limit ?2)"
        " join jobs on jobs.seq = w.job"
        " where hosts.host is not null order by w.next, w.job limit ?3",
    /* When the first that is not due becomes it: from host to host, too. */
    [CN_SQL_NEXT_WEBHOOK] =
        "with recursive hosts(host) as ("
        " select min(host) from webhooks where state = 'pending' union all"
        " select (select min(host) from webhooks where state = 'pending' and host > hosts.host)"
        " from hosts where hosts.host is not null)"
        " select coalesce(min((select min(next) from webhooks where state = 'pending'"
        "  and host = hosts.host and next > ?1)), 0) from hosts where hosts.host is not null",
    [CN_SQL_COUNT_PENDING] = "select count(*) from webhooks where state = 'pending'",
    /* What is no time (a text is over every number, too) becomes the present, so that nothing is
     * kept, or waits, for ever. */
    [CN_SQL_MEND_CREATED] = "update jobs set created = ?1 where created < 0 or created > ?2",
    [CN_SQL_MEND_ENDED] = "update jobs set ended = ?1 where gone = 0"
                          " and state in ('succeeded', 'failed', 'cancelled', 'expired')"
                          " and (ended < 1 or ended > ?2)",
    [CN_SQL_MEND_GONE] = "update jobs set ended = ?1 where gone = 1 and (ended < 0 or ended > ?2)",
    [CN_SQL_MEND_KEYS] = "delete from keys where created < 0 or created > ?2",
    [CN_SQL_MEND_WEBHOOKS] = "update webhooks set next = ?1"
                             " where state = 'pending' and (next < 0 or next > ?2)",
    [CN_SQL_FIND_KEY] = "select job, fingerprint from keys"
                        " where tenant = ? and route = ? and key = ? and created >= ?",
};

/* ---- failures ---- */

int cn_db_fail(struct cn_db *db, int rc, struct cn_err *err)
{
    const char *text = db->h != NULL ? sqlite3_errmsg(db->h) : sqlite3_errstr(rc);

    db->failure = rc & 0xff;
    db->error = db->h != NULL ? sqlite3_system_errno(db->h) : 0;
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return cn_fail(err, CN_ENOMEM, "no memory for the job store");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return cn_fail(err, CN_ESTORAGE, "another process holds the job store: %s", text);
    case SQLITE_FULL:
        return cn_fail(err, CN_ESTORAGE, "the disk of the job store is full");
    case SQLITE_CONSTRAINT:
    case SQLITE_MISUSE:
    case SQLITE_ERROR:
        return cn_fail(err, CN_EINTERNAL, "the job store: %s", text);
    default:
        return cn_fail(err, CN_ESTORAGE, "the job store cannot be used: %s", text);
    }
}

enum cn_store_outcome cn_db_outcome(const struct cn_db *db)
{
    switch (db->failure) {
    case SQLITE_OK:
        return CN_STORE_OK;
    case SQLITE_CANTOPEN:
        return cn_store_outcome_of_errno(db->error);
    case SQLITE_FULL:
        return CN_STORE_NO_ROOM;
    case SQLITE_NOMEM:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_IOERR:
    case SQLITE_PROTOCOL:
    case SQLITE_INTERRUPT:
        return CN_STORE_RETRY;
    default:
        return CN_STORE_REFUSED;
    }
}

/* ---- statements ---- */

static int bind_one(sqlite3_stmt *st, int at, char kind, va_list *args)
{
    const void *data;

    switch (kind) {
    case 't':
        return sqlite3_bind_text(st, at, va_arg(*args, const char *), -1, SQLITE_STATIC);
    case 'i':
        return sqlite3_bind_int64(st, at, va_arg(*args, int64_t));
    case 'd':
        return sqlite3_bind_double(st, at, va_arg(*args, double));
    default:
        data = va_arg(*args, const void *);
        return sqlite3_bind_blob64(st, at, data == NULL ? "" : data, va_arg(*args, size_t),
                                   SQLITE_STATIC);
    }
}

static sqlite3_stmt *bind_all(struct cn_db *db, enum cn_sql which, struct cn_err *err,
                              const char *format, va_list *args)
{
    sqlite3_stmt **st = &db->stmt[which];
    int rc = SQLITE_OK;

    if (*st == NULL)
        rc = sqlite3_prepare_v3(db->h, sql[which], -1, SQLITE_PREPARE_PERSISTENT, st, NULL);
    else
        sqlite3_reset(*st);
    for (int i = 0; rc == SQLITE_OK && format[i] != '\0'; i++)
        rc = bind_one(*st, i + 1, format[i], args);
    if (rc == SQLITE_OK)
        return *st;
    cn_db_fail(db, rc, err);
    return NULL;
}

sqlite3_stmt *cn_db_bind(struct cn_db *db, enum cn_sql which, struct cn_err *err,
                         const char *format, ...)
{
    sqlite3_stmt *st;
    va_list args;

    va_start(args, format);
    st = bind_all(db, which, err, format, &args);
    va_end(args);
    return st;
}

int cn_db_step(struct cn_db *db, sqlite3_stmt *st, struct cn_err *err)
{
    int rc = sqlite3_step(st);

    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE) {
        sqlite3_reset(st);
        return 0;
    }
    rc = cn_db_fail(db, rc, err);
    sqlite3_reset(st);
    return rc;
}

int cn_db_run(struct cn_db *db, enum cn_sql which, struct cn_err *err, const char *format, ...)
{
    struct cn_err mine = CN_ERR_INIT;
    sqlite3_stmt *st;
    va_list args;
    int rc;

    va_start(args, format);
    st = bind_all(db, which, &mine, format, &args);
    va_end(args);
    rc = st == NULL ? mine.code : cn_db_step(db, st, &mine);
    if (rc < 0 && err != NULL && err->code == 0)
        *err = mine;
    return rc;
}

void cn_db_text(sqlite3_stmt *st, int column, char *text, size_t size)
{
    const char *value = (const char *)sqlite3_column_text(st, column);

    snprintf(text, size, "%s", value == NULL ? "" : value);
}

/* ---- opening ---- */

static int run_text(struct cn_db *db, const char *text, struct cn_err *err)
{
    int rc = sqlite3_exec(db->h, text, NULL, NULL, NULL);

    return rc == SQLITE_OK ? CN_OK : cn_db_fail(db, rc, err);
}

static int number_of(struct cn_db *db, const char *text, int *ret, struct cn_err *err)
{
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(db->h, text, -1, &st, NULL);

    if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        *ret = sqlite3_column_int(st, 0);
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_OK)
        cn_db_fail(db, rc, err);
    sqlite3_finalize(st);
    return rc == SQLITE_OK ? CN_OK : CN_ESTORAGE;
}

bool cn_db_is_current(struct cn_db *db)
{
    int version = 0;

    return number_of(db, "pragma user_version", &version, NULL) == CN_OK &&
           version == CN_STORE_VERSION;
}

static int migrate(struct cn_db *db, const char *path, struct cn_err *err)
{
    char text[64];
    int version = 0, rc;

    if ((rc = number_of(db, "pragma user_version", &version, err)) < 0)
        return rc;
    if (version < 0)
        return cn_fail(err, CN_EFORMAT, "\"%s\" is damaged: its version is %d", path, version);
    if (version > CN_STORE_VERSION)
        return cn_fail(err, CN_EFORMAT,
                       "\"%s\" was written by a newer release (its version is %d, this program "
                       "knows %d)",
                       path, version, CN_STORE_VERSION);
    for (; version < CN_STORE_VERSION; version++) {
        snprintf(text, sizeof(text), "pragma user_version = %d; commit", version + 1);
        if ((rc = run_text(db, "begin immediate", err)) < 0)
            return rc;
        if ((rc = run_text(db, migration[version], err)) < 0 ||
            (rc = run_text(db, text, err)) < 0) {
            run_text(db, "rollback", NULL);
            return rc;
        }
    }
    return CN_OK;
}

int cn_db_try_all(sqlite3 *h)
{
    int rc = SQLITE_OK;

    for (int i = 0; i < CN_SQL_COUNT && rc == SQLITE_OK; i++) {
        sqlite3_stmt *st;

        rc = sqlite3_prepare_v2(h, sql[i], -1, &st, NULL);
        sqlite3_finalize(st);
    }
    return rc;
}

static int check_schema(struct cn_db *db, const char *path, struct cn_err *err)
{
    int rc = cn_db_try_all(db->h);

    if (rc == SQLITE_OK)
        return CN_OK;
    rc = cn_db_fail(db, rc, err);
    if (db->failure == SQLITE_ERROR)
        cn_err_prefix(err, "\"%s\" is damaged", path);
    return rc;
}

/* A commit that returned is on the disk (synchronous=FULL: the WAL is flushed at each commit). The
 * file gives back what deleted rows leave (auto_vacuum), and the WAL does not stay large. */
static int prepare_writer(struct cn_db *db, const char *path, struct cn_err *err)
{
    int rc;

    if ((rc = run_text(db,
                       "pragma auto_vacuum = incremental;"
                       "pragma journal_mode = wal;"
                       "pragma synchronous = full;"
                       "pragma journal_size_limit = 16777216",
                       err)) < 0)
        return rc;
    if ((rc = migrate(db, path, err)) < 0)
        return rc;
    return check_schema(db, path, err);
}

/* Called while another connection holds a lock; 0: no longer. */
static int on_busy(void *arg, int times)
{
    enum { NAP_MS = 10, HURRY_MS = 200 };
    const struct cn_db *db = arg;
    int limit = db->hurry != NULL && atomic_load(db->hurry) ? HURRY_MS : db->busy_ms;

    if (times * NAP_MS >= limit)
        return 0;
    sqlite3_sleep(NAP_MS);
    return 1;
}

/* A path as a URI that says that nobody writes; NULL: no memory. */
static char *as_it_lies(const char *path)
{
    struct cn_buf b;
    char *uri;

    cn_buf_init(&b, 16384);
    cn_buf_adds(&b, "file:", NULL);
    for (; *path != '\0'; path++)
        cn_buf_printf(&b, NULL, strchr("?#%", *path) != NULL ? "%%%02x" : "%c", *path);
    cn_buf_adds(&b, "?immutable=1", NULL);
    uri = cn_buf_whole(&b, NULL) == CN_OK ? cn_xstrdup((const char *)b.data) : NULL;
    cn_buf_release(&b);
    return uri;
}

static int open_file(struct cn_db *db, const char *path, const char *vfs, enum cn_db_mode mode)
{
    char *uri;
    int rc;

    if (mode == CN_DB_WRITE)
        return sqlite3_open_v2(
            path, &db->h, SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs);
    if (mode == CN_DB_READ)
        return sqlite3_open_v2(path, &db->h, SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READONLY, vfs);
    uri = as_it_lies(path);
    if (uri == NULL)
        return SQLITE_NOMEM;
    rc = sqlite3_open_v2(uri, &db->h, SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READONLY | SQLITE_OPEN_URI,
                         vfs);
    free(uri);
    return rc;
}

int cn_db_open(struct cn_db *db, const char *path, const char *vfs, enum cn_db_mode mode,
               struct cn_err *err)
{
    int rc;

    db->failure = 0;
    rc = open_file(db, path, vfs, mode);
    if (rc != SQLITE_OK) {
        cn_db_fail(db, rc, err);
        cn_err_prefix(err, "\"%s\"", path);
        cn_db_close(db);
        return CN_ESTORAGE;
    }
    sqlite3_extended_result_codes(db->h, 1);
    sqlite3_busy_handler(db->h, on_busy, db);
    /* KiB. The system caches the file as well; with SQLite's default of 2 MB for each connection
     * the daemon would grow over its first 10,000 jobs, and commit no faster. */
    rc = run_text(db, "pragma cache_size = -512", err);
    if (rc == CN_OK && mode == CN_DB_WRITE)
        rc = prepare_writer(db, path, err);
    if (rc < 0)
        cn_db_close(db);
    return rc;
}

void cn_db_close(struct cn_db *db)
{
    for (int i = 0; i < CN_SQL_COUNT; i++) {
        sqlite3_finalize(db->stmt[i]);
        db->stmt[i] = NULL;
    }
    sqlite3_close(db->h);
    db->h = NULL;
}
