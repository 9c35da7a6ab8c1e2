/* The check of a store from outside: reads the database and the folders of pictures beside it.
 * A file without a row is what a crash between the two leaves; the daemon removes it at its start,
 * so it is counted and is no trouble. A row without its file is a picture that was lost. */
#include "base/base.h"
#include "store/check.h"
#include "base/mem.h"
#include "store/sqlite_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct check {
    const char *dir;
    sqlite3 *db;
    cn_store_say_fn say;
    void *arg;
    int version, tables, troubles, pictures, files, strays;
};

static void tell(struct check *c, bool trouble, const char *fmt, ...) CN_PRINTF(3, 4);

static void tell(struct check *c, bool trouble, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    c->troubles += trouble;
    c->say(c->arg, trouble, text);
}

static int sqlite_failed(const struct check *c, struct cn_err *err)
{
    int code = sqlite3_errcode(c->db);

    return cn_fail(err, code == SQLITE_NOTADB || code == SQLITE_CORRUPT ? CN_EFORMAT : CN_ESTORAGE,
                   "cannot read the database: %s", sqlite3_errmsg(c->db));
}

/* Calls row for each row of a query. */
static int query(struct check *c, const char *sql, void (*row)(struct check *, sqlite3_stmt *),
                 struct cn_err *err)
{
    sqlite3_stmt *st;
    int rc;

    if (sqlite3_prepare_v2(c->db, sql, -1, &st, NULL) != SQLITE_OK)
        return sqlite_failed(c, err);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        row(c, st);
    if (rc != SQLITE_DONE)
        sqlite_failed(c, err);
    sqlite3_finalize(st);
    return rc == SQLITE_DONE ? CN_OK : err->code;
}

static const char *text_of(sqlite3_stmt *st, int column)
{
    const char *text = (const char *)sqlite3_column_text(st, column);

    return text == NULL ? "" : text;
}

static void on_integrity(struct check *c, sqlite3_stmt *st)
{
    if (strcmp(text_of(st, 0), "ok") != 0)
        tell(c, true, "database: %s", text_of(st, 0));
}

static void on_state(struct check *c, sqlite3_stmt *st)
{
    tell(c, false, "%d jobs %s", sqlite3_column_int(st, 1), text_of(st, 0));
}

static void on_payload(struct check *c, sqlite3_stmt *st)
{
    tell(c, true, "job %s waits or runs, and its images are not there", text_of(st, 0));
}

static void on_missing(struct check *c, sqlite3_stmt *st)
{
    tell(c, true, "job %s succeeded with %d of its %d pictures", text_of(st, 0),
         sqlite3_column_int(st, 2), sqlite3_column_int(st, 1));
}

static void on_webhooks(struct check *c, sqlite3_stmt *st)
{
    tell(c, false, "%d webhooks %s", sqlite3_column_int(st, 1), text_of(st, 0));
}

static void on_untold(struct check *c, sqlite3_stmt *st)
{
    tell(c, true, "job %s is %s, and its webhook %s", text_of(st, 0), text_of(st, 1),
         text_of(st, 2));
}

static void on_picture(struct check *c, sqlite3_stmt *st)
{
    char *path = cn_xprintf("%s/results/%s", c->dir, text_of(st, 2));
    int64_t bytes = sqlite3_column_int64(st, 3);
    struct stat file;

    c->pictures++;
    if (stat(path, &file) < 0)
        tell(c, true, "job %s, picture %d: %s: %s", text_of(st, 0), sqlite3_column_int(st, 1), path,
             strerror(errno));
    else if (file.st_size != bytes)
        tell(c, true, "job %s, picture %d: %s has %" PRId64 " bytes instead of %" PRId64,
             text_of(st, 0), sqlite3_column_int(st, 1), path, (int64_t)file.st_size, bytes);
    free(path);
}

static bool has_row(struct check *c, sqlite3_stmt *st, const char *name)
{
    bool found;

    sqlite3_bind_text(st, 1, name, -1, SQLITE_TRANSIENT);
    found = sqlite3_step(st) == SQLITE_ROW;
    sqlite3_reset(st);
    c->files++;
    return found;
}

/* One of the folders of pictures, "results/ab". */
static void look_into(struct check *c, sqlite3_stmt *st, const char *folder)
{
    char *path = cn_xprintf("%s/results/%s", c->dir, folder);
    DIR *d = opendir(path);
    const struct dirent *e;

    free(path);
    while (d != NULL && (e = readdir(d)) != NULL) {
        char *name;

        if (e->d_name[0] == '.')
            continue;
        name = cn_xprintf("%s/%s", folder, e->d_name);
        if (!has_row(c, st, name))
            c->strays++;
        free(name);
    }
    if (d != NULL)
        closedir(d);
}

static int check_files(struct check *c, struct cn_err *err)
{
    char *path = cn_xprintf("%s/results", c->dir);
    DIR *d = opendir(path);
    const struct dirent *e;
    sqlite3_stmt *st;

    free(path);
    if (d == NULL)
        return CN_OK;
    if (sqlite3_prepare_v2(c->db, "select 1 from results where file = ?1", -1, &st, NULL) !=
        SQLITE_OK) {
        closedir(d);
        return sqlite_failed(c, err);
    }
    while ((e = readdir(d)) != NULL)
        if (e->d_name[0] != '.')
            look_into(c, st, e->d_name);
    sqlite3_finalize(st);
    closedir(d);
    return CN_OK;
}

static void on_version(struct check *c, sqlite3_stmt *st)
{
    c->version = sqlite3_column_int(st, 0);
}

static void on_tables(struct check *c, sqlite3_stmt *st)
{
    c->tables = sqlite3_column_int(st, 0);
}

static int check_version(struct check *c, struct cn_err *err)
{
    int rc = query(c, "pragma user_version", on_version, err), version = c->version;

    if (rc == CN_OK)
        rc = query(c, "select count(*) from sqlite_schema where name = 'jobs'", on_tables, err);
    if (rc < 0)
        return rc;
    if (version < 0 || (version == 0 && c->tables > 0))
        return cn_fail(err, CN_EFORMAT, "the store is damaged: its version is %d", version);
    if (version > CN_STORE_VERSION)
        return cn_fail(err, CN_EFORMAT,
                       "the store was written by a newer release (its version is %d, this program "
                       "knows %d)",
                       version, CN_STORE_VERSION);
    return CN_OK;
}

static int check_all(struct check *c, struct cn_err *err)
{
    static const struct {
        int since; /* the version of the store that has it */
        const char *sql;
        void (*row)(struct check *, sqlite3_stmt *);
    } part[] = {
        {1, "pragma integrity_check", on_integrity},
        {1, "select state, count(*) from jobs group by state order by state", on_state},
        {1,
         "select id from jobs where state in ('queued', 'running') and lens <>"
         " zeroblob(length(lens)) and not exists (select 1 from payload where job = seq)",
         on_payload},
        {1,
         "select id, n, (select count(*) from results where results.job = jobs.id) as kept"
         " from jobs where state = 'succeeded' and gone = 0 and kept <> n",
         on_missing},
        {1, "select job, k, file, bytes from results", on_picture},
        {3, "select state, count(*) from webhooks group by state order by state", on_webhooks},
        {3,
         "select coalesce(jobs.id, 'nobody'), coalesce(jobs.state, 'gone'), webhooks.state"
         " from webhooks left join jobs on jobs.seq = webhooks.job where jobs.id is null or"
         " (webhooks.state = 'waiting') <> (jobs.state in ('queued', 'running'))",
         on_untold},
    };
    int rc = check_version(c, err);

    if (rc == CN_OK && c->version == CN_STORE_VERSION && cn_db_try_all(c->db) != SQLITE_OK)
        rc = sqlite_failed(c, err);
    for (size_t i = 0; i < CN_LEN(part) && rc == CN_OK; i++)
        if (c->version >= part[i].since)
            rc = query(c, part[i].sql, part[i].row, err);
    if (rc == CN_OK)
        rc = check_files(c, err);
    if (rc < 0)
        return rc;
    tell(c, false, "%d pictures, %d files", c->pictures, c->files);
    if (c->strays > 0)
        tell(c, false, "%d files belong to no picture: the next start removes them", c->strays);
    return c->troubles;
}

int cn_store_check(const char *dir, cn_store_say_fn say, void *arg, struct cn_err *err)
{
    struct check c = {.dir = dir, .say = say, .arg = arg};
    struct cn_err inner = CN_ERR_INIT;
    char *path = cn_xprintf("%s/jobs.db", dir);
    int rc;

    if (access(path, R_OK) < 0)
        rc = cn_fail(err, errno == ENOENT ? CN_ENOTFOUND : CN_ESTORAGE, "cannot read \"%s\": %s",
                     path, strerror(errno));
    else if (sqlite3_open_v2(path, &c.db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        rc = sqlite_failed(&c, err);
    else if ((rc = check_all(&c, &inner)) < 0)
        cn_fail(err, rc, "\"%s\": %s", path, inner.msg);
    sqlite3_close(c.db);
    free(path);
    return rc;
}
