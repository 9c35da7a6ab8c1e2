/* Shared by the files of store/.
 *
 * Who owns what: `in`, `done`, `facts`, `stop` and the times are guarded by `lock`; `reader` is the
 * loop's; everything that begins with w_ is the thread's, and the loop's before the thread starts.
 */
#ifndef CN_STORE_STORE_PRIV_H
#define CN_STORE_STORE_PRIV_H

#include "base/buf.h"
#include "store/store.h"

#include <dirent.h>
#include <sqlite3.h>

enum { CN_STORE_VERSION = 1, CN_STORE_BATCH = 512 };

/* ---- database ---- */

enum cn_sql {
    CN_SQL_BEGIN,
    CN_SQL_COMMIT,
    CN_SQL_ROLLBACK,
    CN_SQL_ADD,
    CN_SQL_ADD_PAYLOAD,
    CN_SQL_ADD_KEY,
    CN_SQL_START,
    CN_SQL_STATE,
    CN_SQL_HAS_RESULT,
    CN_SQL_ADD_RESULT,
    CN_SQL_END,
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
    CN_SQL_COUNT
};

struct cn_db {
    sqlite3 *h;
    sqlite3_stmt *stmt[CN_SQL_COUNT];
};

/* writable: makes and migrates the tables. */
int cn_db_open(struct cn_db *db, const char *path, const char *vfs, bool writable,
               struct cn_err *err);
void cn_db_close(struct cn_db *db);

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

/* ---- description of a job in the database ---- */

/* Without images: what tables and lists need. lens: the lengths of the images. payload: with them;
 * empty when there are none. */
int cn_store_pack(const struct cn_spec *s, struct cn_buf *light, struct cn_buf *lens,
                  struct cn_buf *payload, struct cn_err *err);
bool cn_store_unpack(const void *light, size_t n, const void *lens, size_t n_lens,
                     struct cn_spec *ret);

/* ---- operations ---- */

enum cn_op_kind { CN_OP_ADD, CN_OP_START, CN_OP_RESULT, CN_OP_END, CN_OP_SWEEP };

struct cn_op {
    struct cn_op *next;
    enum cn_op_kind kind;
    size_t bytes; /* counted in in_bytes */
    cn_store_done_fn done;
    void *arg;
    struct cn_store_done out;
    bool pending; /* out is not decided yet */
    char id[CN_STORE_ID];

    struct cn_store_job *job; /* ADD; its spec is not used */
    char *model;
    struct cn_buf light, lens, payload;
    char *key_tenant, *key_route, *key; /* key NULL: none */
    unsigned char fingerprint[CN_STORE_FINGERPRINT];

    struct cn_store_result result; /* RESULT */
    unsigned char *data;
    char *path; /* of the file, once it is there */

    struct cn_store_end end; /* END; attempt and deaths also START */
    bool queued;
};

struct cn_op_list {
    struct cn_op *head, **tail;
    size_t n;
};

/* op.c */
void cn_op_list_init(struct cn_op_list *l);
void cn_op_push(struct cn_op_list *l, struct cn_op *op);
struct cn_op *cn_op_pop(struct cn_op_list *l);
void cn_op_free(struct cn_op *op);

struct cn_doomed {
    struct cn_doomed *next;
    char *path;
};

struct cn_store {
    struct cn_store_options o;
    char *dir, *vfs;
    struct cn_store_io io;
    uv_async_t async;
    uv_thread_t thread;
    bool started, told, closed;
    struct cn_db reader;

    uv_mutex_t lock;
    uv_cond_t more;
    struct cn_op_list in, done;
    size_t in_bytes;
    struct cn_store_facts facts;
    struct cn_err open_err;
    bool opened, stop, ended;
    int64_t result_ttl_us, tombstone_ttl_us;

    int w_lock_fd;
    struct cn_db w_db;
    int64_t w_used, w_delta;   /* bytes committed; of this transaction */
    struct cn_op_list w_again; /* ends that the disk did not take */
    int64_t w_again_ns, w_sweep_ns;
    struct cn_doomed *w_doomed; /* files to be removed after the next commit */
    DIR *w_orphans;             /* the scan after the start; NULL: finished */
};

/* files.c: the directory. Thread (or the loop before it runs). */
int cn_store_make_dirs(struct cn_store *s, struct cn_err *err);
int cn_store_lock(struct cn_store *s, bool *ret_busy, struct cn_err *err);
void cn_store_clean_tmp(struct cn_store *s);
char *cn_store_result_path(const struct cn_store *s, const char *id, int k, enum cn_format f);
int cn_store_write_result(struct cn_store *s, struct cn_op *op, struct cn_err *err);
int cn_store_sync_dirs(struct cn_store *s, struct cn_op *const *op, size_t n);
void cn_store_doom(struct cn_store *s, const char *path);
void cn_store_remove_doomed(struct cn_store *s);
void cn_store_orphans_begin(struct cn_store *s);
void cn_store_orphans_step(struct cn_store *s);
void cn_store_free_space(struct cn_store *s);

/* ops.c: what each operation does, inside of a transaction. Thread. Negative: the database failed
 * and the transaction must be rolled back; else op->out says how the operation ends if it commits.
 */
int cn_store_do(struct cn_store *s, struct cn_op *op, struct cn_err *err);

/* sweep.c. Thread. */
int cn_store_open_db(struct cn_store *s, struct cn_err *err);
void cn_store_close_db(struct cn_store *s);
bool cn_store_sweep_some(struct cn_store *s, struct cn_err *err); /* true: there is more */
int cn_store_commit(struct cn_store *s, struct cn_err *err);      /* or rolls back */

/* batch.c */
void cn_store_batch(struct cn_store *s, struct cn_op **op, size_t n);

/* thread.c */
void cn_store_thread(void *arg);

#endif
