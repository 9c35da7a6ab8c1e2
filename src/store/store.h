/* What must outlive the daemon: accepted jobs, their results, and the keys under which they came.
 *
 * DESIGN. The loop gives operations and is told of their ends in a later iteration; nothing here
 * blocks it, neither writing nor reading. Who does the work is an engine (struct cn_store_engine in
 * store_priv.h); there is one, "sqlite". Its directory holds one SQLite database in WAL mode (jobs,
 * payloads, results, keys) and one file for each picture. One thread does all writing: it takes
 * whatever operations have come together, writes the pictures (temporary file, fsync, rename, fsync
 * of the directory), and commits everything in one transaction (synchronous=FULL), so that many
 * submissions share the cost of one fsync. Another thread reads, through a connection of its own
 * (readers of a WAL wait for nobody). Written operations take effect in the order in which they
 * were given; a question that is asked after the end of a write was told sees what was written.
 *
 *     directory/lock           flock: one daemon at a time; a second one waits for the first to end
 *     directory/jobs.db        with -wal and -shm beside it
 *     directory/tmp/           pictures being written; emptied at each start
 *     directory/results/ab/ID-K.png
 *
 * Promises. An operation whose end was told with CN_STORE_OK survives SIGKILL and power loss (as
 * far as the disk keeps what fsync promised). A picture is seen only when file and row are there; a
 * row (job, k) is written once and never replaced; a final state is written once. An operation that
 * ended otherwise has left nothing. While the store is open, the end of a job is told with
 * CN_STORE_OK, CN_STORE_WAS_FINAL or CN_STORE_UNKNOWN and nothing else: whatever the disk or
 * another process does, it is tried again. A file without a row is removed after the next start.
 *
 * Times here are wall clock (microseconds since 1970), because they must mean something after a
 * restart. All functions: loop thread only.
 *
 *     if (cn_store_open(&options, &store, &err) < 0) ...
 *     -- options.on_open is called
 *     cn_store_add(store, &job, spec, NULL, accepted, arg, &err);      -- accepted(arg, &done)
 *     cn_store_start(store, id, 1, 0, false, NULL, NULL);
 *     cn_store_result(store, id, &result, data, stored, arg);
 *     cn_store_end(store, id, &end, ended, arg);
 *     read = cn_store_get(store, id, seen, arg);                       -- seen(arg, &answer)
 *     cn_store_close(store);       -- then run the loop until cn_store_gone(store): cn_store_free
 */
#ifndef CN_STORE_STORE_H
#define CN_STORE_STORE_H

#include "base/base.h"
#include "base/image_meta.h"
#include "base/spec.h"

#include <fcntl.h>
#include <sys/types.h>
#include <uv.h>

enum { CN_STORE_ID = 27, CN_STORE_TENANT = 64, CN_STORE_KEY = 256, CN_STORE_FINGERPRINT = 32 };

enum cn_store_state {
    CN_STORE_QUEUED,
    CN_STORE_RUNNING,
    CN_STORE_SUCCEEDED,
    CN_STORE_FAILED,
    CN_STORE_CANCELLED,
    CN_STORE_EXPIRED,
    CN_STORE_STATE_COUNT
};

extern const struct cn_enum cn_enum_store_state;

/* Where the end of a job is told, if anywhere: kept with the job, and due from the moment in which
 * its end is committed, in the same transaction. */
struct cn_store_webhook {
    const char *url, *host; /* host: of the URL, by which deliveries are shared out */
    const char *context;    /* what the client wants to have said with it; "" */
};

enum cn_store_webhook_state {
    CN_STORE_WEBHOOK_NONE,
    CN_STORE_WEBHOOK_WAITING,   /* the job is not over */
    CN_STORE_WEBHOOK_PENDING,   /* it is, and nobody was told yet */
    CN_STORE_WEBHOOK_DELIVERED, /* from here on nothing but this is kept of it */
    CN_STORE_WEBHOOK_FAILED,
    CN_STORE_WEBHOOK_STATE_COUNT
};

extern const struct cn_enum cn_enum_store_webhook_state;

enum { CN_STORE_WHY = 160 };

/* How far the telling is. */
struct cn_store_delivery {
    enum cn_store_webhook_state state;
    int attempts;
    int64_t next_us;        /* PENDING: not before; wall clock */
    char why[CN_STORE_WHY]; /* the last attempt failed, for a person; "" */
};

/* How the pictures' files are touched; tests put failures here. Each is as the system call. */
struct cn_store_io {
    int (*open)(const char *path, int flags, mode_t mode);
    ssize_t (*write)(int fd, const void *data, size_t len);
    int (*fsync)(int fd);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
};

struct cn_store;

/* rc CN_OK: the store is open and what it holds can be read. Called once, from the loop. */
typedef void (*cn_store_open_fn)(void *arg, int rc, const struct cn_err *err);

struct cn_store_options {
    uv_loop_t *loop;
    const char *dir;      /* made when it is not there, with its parents */
    int result_ttl_s;     /* from the end of a job until its results go */
    int tombstone_ttl_s;  /* from then until the job is forgotten */
    int key_ttl_s;        /* of idempotency keys, from the submission */
    int sweep_s;          /* between two sweeps */
    int min_free_percent; /* of the file system; below it nothing new is accepted. 0: not checked */
    uint64_t max_bytes;   /* of results and payloads together; 0: no bound */
    int result_patience_s; /* a picture that the disk does not take now is tried again so long */
    int busy_ms;           /* so long another process is waited for in one go */
    size_t max_ops;        /* given and not told; over it cn_store_add is refused */
    size_t max_op_bytes;   /* of their payloads and pictures */
    cn_store_open_fn on_open;
    void *arg;
    const struct cn_store_io *io; /* NULL: the system's */
    const char *vfs;              /* SQLite's; NULL: its default */
};

#define CN_STORE_DEFAULTS                                                                          \
    {                                                                                              \
        .result_ttl_s = 86400, .tombstone_ttl_s = 7 * 86400, .key_ttl_s = 86400, .sweep_s = 10,    \
        .min_free_percent = 5, .result_patience_s = 120, .busy_ms = 5000, .max_ops = 8192,         \
        .max_op_bytes = (size_t)512 << 20                                                          \
    }

/* One job as it is kept. */
struct cn_store_job {
    char id[CN_STORE_ID];
    char tenant[CN_STORE_TENANT];
    enum cn_job_kind kind;
    enum cn_store_state state;
    int attempt; /* 1 at first; + 1 when it was running as the daemon ended */
    int deaths;  /* of workers under it */
    int priority, n;
    double cost;                                           /* as the queue predicted it */
    int64_t created_us, started_us, ended_us, deadline_us; /* wall clock; 0: not yet, or none */
    bool gone;         /* final, and its results were removed after their time */
    struct cn_err err; /* why, unless it succeeded */
    const struct cn_store_webhook *webhook; /* of cn_store_add; NULL: nobody is told */
    struct cn_store_delivery delivery;      /* of what was read */
    char *warnings;      /* what the worker remarked, a line each; NULL: nothing */
    bool readable;       /* false: the description below is of an unknown version or damaged, and
                            empty; n is 0 when that is no number of pictures */
    struct cn_spec spec; /* images have their length but no data: see cn_store_spec */
};

void cn_store_job_release(struct cn_store_job *job);

/* A key under which a client may submit the same request again. */
struct cn_store_key {
    const char *tenant, *route, *key; /* at most CN_STORE_KEY - 1 bytes each */
    unsigned char fingerprint[CN_STORE_FINGERPRINT];
};

struct cn_store_result {
    int k;
    struct cn_image_meta meta;
};

struct cn_store_end {
    enum cn_store_state state; /* a final one; SUCCEEDED needs all n results, else it is FAILED */
    int attempt, deaths;
    int64_t started_us, ended_us;
    struct cn_err err;
    const char *warnings; /* a line each; NULL: none */
};

/* How an operation ended, or a question. */
enum cn_store_outcome {
    CN_STORE_OK,        /* committed, or read */
    CN_STORE_WAS_FINAL, /* the job was over already; nothing was changed */
    CN_STORE_UNKNOWN,   /* there is no such job, picture or key */
    CN_STORE_RETRY,     /* not now: another process holds the database, the disk fails, no memory */
    CN_STORE_NO_ROOM,   /* the file system is full, or the store's own bound is reached */
    CN_STORE_NOT_OPEN,  /* the store opens, or could not be opened */
    CN_STORE_CLOSED,    /* the store closed before it could be done */
    CN_STORE_REFUSED,   /* never: the database is damaged, or does not hold what it should */
    CN_STORE_OUTCOME_COUNT
};

extern const struct cn_enum cn_enum_store_outcome;

struct cn_store_done {
    enum cn_store_outcome outcome;
    struct cn_err err;         /* unless OK; for a person */
    enum cn_store_state state; /* cn_store_end, OK and WAS_FINAL: the state that is stored now */
    struct cn_err why;         /* cn_store_end: as stored */
    bool webhook_due;          /* cn_store_end, OK: somebody is to be told */
};

typedef void (*cn_store_done_fn)(void *arg, const struct cn_store_done *done);

/* Opens at once when no other daemon holds the directory: then a failure is told here (a database
 * that is damaged or of a newer version, a directory that cannot be written). Otherwise the thread
 * waits for the directory, and on_open tells how that ended; meanwhile the other one's jobs can be
 * read. A disk that is full or fails just now is no failure: the thread tries again every second,
 * what is there can be read meanwhile, and facts.trouble says what it waits for. */
int cn_store_open(const struct cn_store_options *o, struct cn_store **ret, struct cn_err *err);

/* What was given is committed and told; nothing more is accepted. */
void cn_store_close(struct cn_store *s);
bool cn_store_gone(const struct cn_store *s);
void cn_store_free(struct cn_store *s);

/* ---- writing: asynchronous ---- */

/* CN_OK when a cn_store_add of so many bytes would be taken now; else CN_EBUSY (the thread has too
 * much to do, or the store is not open) or CN_ESTORAGE (no room, or the store failed). */
int cn_store_room(const struct cn_store *s, size_t bytes, struct cn_err *err);

/* Keeps a new job in state queued; job->spec is not looked at. *spec and its images are the
 * caller's, who leaves them as they are until done is called: they are written from where they lie,
 * on the store's thread. key may be NULL. Refused at once as cn_store_room says, or CN_ETOOBIG;
 * done is not called then. */
int cn_store_add(struct cn_store *s, const struct cn_store_job *job, const struct cn_spec *spec,
                 const struct cn_store_key *key, cn_store_done_fn done, void *arg,
                 struct cn_err *err);

/* The job is with a worker; or, queued true, waits again. Not tried again: what follows in the life
 * of the job says as much. done may be NULL. */
void cn_store_start(struct cn_store *s, const char *id, int attempt, int deaths, bool queued,
                    cn_store_done_fn done, void *arg);

/* Keeps one picture. Takes data (free()), also when the store is closed. When the picture is there
 * already (of an earlier attempt), the one there stays, and the end is CN_STORE_OK. Tried again for
 * result_patience_s; operations of the same job that were given later wait for it. */
void cn_store_result(struct cn_store *s, const char *id, const struct cn_store_result *result,
                     unsigned char *data, cn_store_done_fn done, void *arg);

/* The job is final, its payload goes. Tried again until the disk takes it or the store closes. */
void cn_store_end(struct cn_store *s, const char *id, const struct cn_store_end *end,
                  cn_store_done_fn done, void *arg);

/* Removes the results of a job that is final, as if their time were over. WAS_FINAL: they had gone
 * before. A job that is not final is left alone: CN_STORE_REFUSED. */
void cn_store_drop(struct cn_store *s, const char *id, cn_store_done_fn done, void *arg);

/* An attempt to tell the end of a job is over, one way or the other; state PENDING: there will be
 * another. WAS_FINAL: there is nothing to be told any more. Tried again as cn_store_end. */
void cn_store_delivery(struct cn_store *s, const char *id, const struct cn_store_delivery *delivery,
                       cn_store_done_fn done, void *arg);

/* A sweep now, as the one every sweep_s seconds: results and jobs past their time, files without a
 * row. done may be NULL. */
void cn_store_sweep(struct cn_store *s, cn_store_done_fn done, void *arg);

/* Lets times change without a restart. */
void cn_store_set_ttl(struct cn_store *s, int result_ttl_s, int tombstone_ttl_s);

/* ---- reading: asynchronous ---- */

/* One job with its results. */
struct cn_store_row {
    struct cn_store_job job;
    int n_results;
    struct cn_store_result *result; /* by k */
};

/* An end that is to be told. */
struct cn_store_due {
    char id[CN_STORE_ID];
    char *url, *context;
    int attempts; /* that failed */
    int64_t ended_us;
};

/* What it holds is freed after the callback, except what that takes: a description (job.spec: set
 * job.readable to false; spec: memset it), a descriptor (set fd to -1), the results (set NULL). */
struct cn_store_answer {
    enum cn_store_outcome outcome;
    struct cn_err err; /* unless OK */
    int n;
    struct cn_store_row *row; /* n of them: of get one */
    bool more;                /* unfinished: there may be others behind the last */
    struct cn_spec spec;      /* inputs */
    int fd; /* picture: open for reading, good also when a sweep removes the file */
    struct cn_store_result result;                   /* picture */
    char id[CN_STORE_ID];                            /* key: of the job that came under it */
    unsigned char fingerprint[CN_STORE_FINGERPRINT]; /* key: and of its request */
    int n_due;
    struct cn_store_due *due; /* webhooks: n_due of them */
    int n_pending;            /* webhooks: all that nobody was told of, also later ones */
    int64_t next_us;          /* webhooks: when the first that is not due becomes it; 0: none */
};

typedef void (*cn_store_answer_fn)(void *arg, struct cn_store_answer *a);

/* A question that is not answered yet. */
struct cn_store_read;

/* done is not called any more. */
void cn_store_forget(struct cn_store_read *read);

struct cn_store_read *cn_store_get(struct cn_store *s, const char *id, cn_store_answer_fn done,
                                   void *arg);

/* The description with all images. */
struct cn_store_read *cn_store_inputs(struct cn_store *s, const char *id, cn_store_answer_fn done,
                                      void *arg);

struct cn_store_read *cn_store_picture(struct cn_store *s, const char *id, int k,
                                       cn_store_answer_fn done, void *arg);

/* The file of a picture that is known to be kept, when its name is in the kernel's memory, so that
 * opening it waits for nothing. The caller closes it. -1: ask with cn_store_picture. */
int cn_store_picture_at_hand(struct cn_store *s, const char *id, int k, enum cn_format f);

enum { CN_STORE_PAGE = 128, CN_STORE_UNFINISHED_PAGE = 1024 };

struct cn_store_query {
    const char *tenant;    /* NULL: of all */
    const char *model;     /* NULL: any */
    int state;             /* enum cn_store_state; -1: any */
    int64_t since_us;      /* only those created then or later; 0: no bound */
    int64_t before_us;     /* only those created before; 0: no bound. Of the same moment: */
    const char *before_id; /* those whose id is smaller */
    int limit;             /* 1 .. CN_STORE_PAGE */
};

/* Newest first. */
struct cn_store_read *cn_store_list(struct cn_store *s, const struct cn_store_query *q,
                                    cn_store_answer_fn done, void *arg);

/* CN_STORE_UNFINISHED_PAGE of those that are queued, oldest first, created after after_us (0: from
 * the first) or then, with a larger id. After an open these are the last life's queued and running
 * ones. */
struct cn_store_read *cn_store_unfinished(struct cn_store *s, int64_t after_us,
                                          const char *after_id, cn_store_answer_fn done, void *arg);

/* Which job came under this key, and with which request? Keys past their time are not found. */
struct cn_store_read *cn_store_find_key(struct cn_store *s, const struct cn_store_key *key,
                                        cn_store_answer_fn done, void *arg);

/* The ends that are to be told by now_us: at most `limit`, and per_host of them to one host, so
 * that one that does not answer does not hide the others. The oldest first. */
struct cn_store_read *cn_store_webhooks(struct cn_store *s, int64_t now_us, int per_host, int limit,
                                        cn_store_answer_fn done, void *arg);

/* ---- facts ---- */

enum cn_store_phase { CN_STORE_OPENING, CN_STORE_READY, CN_STORE_BROKEN, CN_STORE_CLOSING };

struct cn_store_facts {
    enum cn_store_phase phase;
    bool failing;        /* the last write failed, or cannot be opened just now */
    bool low;            /* free space is under min_free_percent, or max_bytes is used up */
    char trouble[400];   /* of the above; "" when all is well */
    uint64_t used_bytes; /* results and payloads */
    uint64_t free_bytes, total_bytes;       /* of the file system */
    size_t waiting;                         /* operations given and not told */
    uint64_t commits, operations, failures; /* since the start */
    uint64_t pending; /* webhooks: ends that nobody was told of, also those that are not due */
    uint64_t untold;  /* webhooks that were pending when their job was removed; since the start */
    double commit_s;  /* moving average of the time of one commit, files included */
};

void cn_store_facts(const struct cn_store *s, struct cn_store_facts *ret);

#endif
