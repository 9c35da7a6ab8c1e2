/* Shared by the files of the engine "sqlite".
 *
 *     sqlite.c    the engine: its life, the thread that writes
 *     batch.c     group commit
 *     ops.c       what each operation does, inside of a transaction
 *     sweep.c     what goes when its time is over
 *     reader.c    the thread that reads
 *     files.c     the directory and the pictures' files
 *     db.c        tables, statements, and what SQLite's codes mean
 *
 * Who owns what: `in`, `asked`, `writable` and `stop` are guarded by base.lock; what begins with w_
 * is the writing thread's, what begins with r_ the reading one's, and the loop's before they start.
 */
#ifndef CN_STORE_SQLITE_PRIV_H
#define CN_STORE_SQLITE_PRIV_H

#include "store/store_priv.h"

#include <dirent.h>
#include <sqlite3.h>

enum { CN_STORE_VERSION = 4, CN_STORE_BATCH = 512 };

/* A time after this one is damage: in nanoseconds, and with the present added, it still fits. */
#define CN_STORE_MAX_US INT64_C(7258118400000000) /* of the year 2200 */

/* ---- database ---- */

enum cn_sql {
    CN_SQL_BEGIN,
    CN_SQL_COMMIT,
    CN_SQL_ROLLBACK,
    CN_SQL_ADD,
    CN_SQL_ADD_PAYLOAD,
    CN_SQL_ADD_KEY,
    CN_SQL_ADD_WEBHOOK,
    CN_SQL_START,
    CN_SQL_STATE,
    CN_SQL_HAS_RESULT,
    CN_SQL_ADD_RESULT,
    CN_SQL_END,
    CN_SQL_WEBHOOK_DUE,
    CN_SQL_DELIVERY,
    CN_SQL_DROP_WEBHOOK,
    CN_SQL_PAYLOAD_BYTES,
    CN_SQL_DROP_PAYLOAD,
    CN_SQL_REQUEUE,
    CN_SQL_USED,
    CN_SQL_OLD_RESULTS,
    CN_SQL_FILES,
    CN_SQL_DROP_RESULTS,
    CN_SQL_GONE,
    CN_SQL_FORGET,
    CN_SQL_FORGET_KEYS,
    CN_SQL_VACUUM,
    CN_SQL_GET,
    CN_SQL_SPEC,
    CN_SQL_RESULTS,
    CN_SQL_RESULT,
    CN_SQL_LIST,
    CN_SQL_LIST_STATE,
    CN_SQL_LIST_TENANT,
    CN_SQL_LIST_TENANT_STATE,
    CN_SQL_UNFINISHED,
    CN_SQL_FIND_KEY,
    CN_SQL_WEBHOOK,
    CN_SQL_WEBHOOKS,
    CN_SQL_NEXT_WEBHOOK,
    CN_SQL_COUNT_PENDING,
    CN_SQL_MEND_CREATED,
    CN_SQL_MEND_ENDED,
    CN_SQL_MEND_GONE,
    CN_SQL_MEND_KEYS,
    CN_SQL_MEND_WEBHOOKS,
    CN_SQL_COUNT
};

struct cn_db {
    sqlite3 *h;
    sqlite3_stmt *stmt[CN_SQL_COUNT];
    int failure, error;       /* of the last failure: SQLite's code, the system's number */
    int busy_ms;              /* so long a lock of another connection is waited for */
    const atomic_bool *hurry; /* NULL, or: it is waited for much shorter now */
};

enum cn_db_mode {
    CN_DB_WRITE, /* makes and migrates the tables */
    CN_DB_READ,
    CN_DB_READ_AS_IT_LIES /* nobody writes, and there is no room for the files that a reader needs
                           */
};

/* db: zeroed, but for busy_ms and hurry. */
int cn_db_open(struct cn_db *db, const char *path, const char *vfs, enum cn_db_mode mode,
               struct cn_err *err);

/* What the last failure means for who wanted something. */
enum cn_store_outcome cn_db_outcome(const struct cn_db *db);
void cn_db_close(struct cn_db *db);

/* Is everything there that the statements name? SQLite's code; of the current version only. */
int cn_db_try_all(sqlite3 *h);

/* Are its tables those that this program knows? */
bool cn_db_is_current(struct cn_db *db);

/* The statement, reset, its parameters bound as format says: t text, i int64_t, d double, b bytes
 * (pointer, size_t; not copied). NULL after a failure, which is told. */
sqlite3_stmt *cn_db_bind(struct cn_db *db, enum cn_sql which, struct cn_err *err,
                         const char *format, ...);

/* 1: a row; 0: done, the statement is reset; negative: failed, the statement is reset. */
int cn_db_step(struct cn_db *db, sqlite3_stmt *st, struct cn_err *err);

/* Bind and step of a statement that gives no rows. */
int cn_db_run(struct cn_db *db, enum cn_sql which, struct cn_err *err, const char *format, ...);

int cn_db_fail(struct cn_db *db, int rc, struct cn_err *err);

/* A column as a string that fits into size, cut; "" for NULL. */
void cn_db_text(sqlite3_stmt *st, int column, char *text, size_t size);

struct cn_doomed {
    SLIST_ENTRY(cn_doomed) link;
    char *path;
};

struct cn_sqlite {
    struct cn_store base;
    struct cn_store_io io;
    uv_thread_t writer, reader;
    bool started;

    uv_cond_t more, asked_more;
    struct cn_op_list in, asked;
    bool writable; /* the writing thread has opened the database */
    bool stop;
    atomic_bool hurry; /* the same, without the lock */

    int w_lock_fd;
    struct cn_db w_db;
    int64_t w_used, w_delta;            /* bytes committed; of this transaction */
    int64_t w_pending, w_pending_delta; /* webhooks: committed; of this transaction */
    char (*w_untold)[CN_STORE_ID]; /* of this transaction: jobs removed before their end was told */
    size_t w_n_untold, w_cap_untold;
    struct cn_op_list w_retry; /* what the disk did not take, and what has to wait for that */
    int64_t w_retry_ns, w_retry_delay_ns, w_sweep_ns, w_probe_ns;
    SLIST_HEAD(, cn_doomed) w_doomed; /* files to be removed after the next commit */
    DIR *w_orphans;                   /* the scan after the start; NULL: finished */
    bool w_results_dirty;             /* results/ may hold a folder that is not on the disk yet */

    struct cn_db r_db;
    bool r_writable; /* it was opened when the database was writable */
};

/* files.c: the directory. Thread (or the loop before it runs). */
int cn_store_system_open(const char *path, int flags, mode_t mode);
enum cn_store_outcome cn_store_make_dirs(struct cn_sqlite *s, struct cn_err *err);
enum cn_store_outcome cn_store_lock(struct cn_sqlite *s, bool *ret_busy, struct cn_err *err);
void cn_store_clean_tmp(struct cn_sqlite *s);
int cn_store_picture_cached(struct cn_store *s, const char *id, int k, enum cn_format f);
char *cn_store_result_path(const struct cn_sqlite *s, const char *id, int k, enum cn_format f);
enum cn_store_outcome cn_store_write_result(struct cn_sqlite *s, struct cn_op *op,
                                            struct cn_err *err);
enum cn_store_outcome cn_store_sync_dirs(struct cn_sqlite *s, struct cn_op *const *op, size_t n);
void cn_store_doom(struct cn_sqlite *s, const char *path);
void cn_store_remove_doomed(struct cn_sqlite *s);
void cn_store_orphans_begin(struct cn_sqlite *s);
void cn_store_orphans_step(struct cn_sqlite *s);
void cn_store_free_space(struct cn_sqlite *s);
bool cn_store_disk_is_full(const struct cn_sqlite *s); /* asks the file system */

/* ops.c: what each operation does, inside of a transaction. Writing thread. Negative: the database
 * failed and the transaction must be rolled back; else op->out says how the operation ends if it
 * commits. */
int cn_store_do(struct cn_sqlite *s, struct cn_op *op, struct cn_err *err);

/* probe.c. Writing thread: after a failure, whether the disk is good again, every second. */
int64_t cn_store_probe_due_ns(const struct cn_sqlite *s); /* base.lock is held */
void cn_store_probe(struct cn_sqlite *s);

/* sweep.c. Writing thread. */
int cn_store_open_db(struct cn_sqlite *s, struct cn_err *err);
void cn_store_close_db(struct cn_sqlite *s);
void cn_store_begin_counts(struct cn_sqlite *s);
bool cn_store_sweep_some(struct cn_sqlite *s, struct cn_err *err); /* true: there is more */
int cn_store_commit(struct cn_sqlite *s, enum cn_store_outcome *ret,
                    struct cn_err *err); /* or rolls back */
int cn_store_drop_results(struct cn_sqlite *s, const char *id, struct cn_err *err);

/* batch.c */
void cn_store_batch(struct cn_sqlite *s, struct cn_op **op, size_t n);

/* reader.c: the thread; ends when stop is set and everything is answered. */
void cn_store_reader(void *sqlite);

#endif
