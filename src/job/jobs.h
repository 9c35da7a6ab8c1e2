/* Jobs as a client sees them: submitted, looked at, followed, cancelled, listed.
 *
 * DESIGN. Loop thread only. The service stands between HTTP and two things: the dispatcher, which
 * runs jobs, and the store, which keeps them. A durable job is kept in the store before its
 * submission is answered, and its states are told only when they are committed: "succeeded" means
 * that all pictures are on the disk. A job that is not durable lives in memory, and after its end
 * only as one of the `recent` last ones. Nothing that a client sees changes inside of a call: all
 * news come later, from the loop, in an iteration of their own; only questions that memory can
 * answer are answered inside of the call (see there).
 *
 * Bounded: live jobs by the queue, finished ones by `recent`, the events of a job by its pictures
 * and attempts (progress and previews exist once, the newest replaces the one before it), the
 * store's operations by its own bounds, waiting submissions by `waiting`. Large images of durable
 * jobs that wait are not held: they are read again when the job goes to a worker.
 *
 * Tenants are names. Another tenant's job is CN_ENOTFOUND, as one that never was; NULL (an
 * administrator) may see all.
 *
 *     struct cn_submit_options o = {.durable = true};
 *     sub = cn_jobs_submit(js, &spec, "alice", &o, answer, request);
 *     -- answer(request, &submitted): NEW with an id, REPLAY, REFUSED with err and retry_after_s
 *     read = cn_jobs_look(js, "alice", id, looked, request);   -- looked(request, &view, NULL)
 *     read = cn_jobs_follow(js, "alice", id, 0, wake, followed, request);
 *     while (cn_watch_next(watch, &event)) ...                 -- again after each wake(request)
 *     cn_watch_free(watch);
 */
#ifndef CN_JOB_JOBS_H
#define CN_JOB_JOBS_H

#include "base/base.h"
#include "base/metrics.h"
#include "job/dispatch.h"
#include "job/job.h"
#include "store/store.h"

#include <uv.h>

struct cn_jobs;

struct cn_jobs_options {
    uv_loop_t *loop;
    struct cn_dispatch *dispatch;
    struct cn_metrics *metrics;
    int timeout_s;       /* of a job that is not durable and does not choose itself */
    int async_timeout_s; /* of a durable one */
    int recent;          /* finished jobs that stay in memory */
    size_t recent_bytes; /* and the images of those among them that are not durable */
    int waiting;         /* submissions that may wait while the store opens */
    size_t keep_bytes;   /* images of all waiting durable jobs together that stay in memory */
};

#define CN_JOBS_DEFAULTS                                                                           \
    {                                                                                              \
        .timeout_s = 300, .async_timeout_s = 86400, .recent = 256,                                 \
        .recent_bytes = (size_t)64 << 20, .waiting = 1000, .keep_bytes = (size_t)64 << 20          \
    }

struct cn_jobs *cn_jobs_new(const struct cn_jobs_options *o);

/* The store from now on (opened with cn_jobs_on_store as its on_open and the service as its arg);
 * without this call there are no durable jobs. It outlives the service. */
void cn_jobs_set_store(struct cn_jobs *js, struct cn_store *store, int result_ttl_s);
void cn_jobs_on_store(void *js, int rc, const struct cn_err *err);

/* There is none, and this is why: for whoever wants a durable job. */
void cn_jobs_without_store(struct cn_jobs *js, const char *why);

/* After the configuration was read again (with cn_store_set_ttl). */
void cn_jobs_set_times(struct cn_jobs *js, int timeout_s, int async_timeout_s, int result_ttl_s);

/* The end: what is not durable is refused; durable jobs are still kept, and left to the next life.
 * After the dispatcher has failed or put aside what was left, cn_jobs_idle tells when the store has
 * everything; then the store is closed, then cn_jobs_close; when the loop has ended, cn_jobs_free
 * (before the dispatcher's). Durable jobs that still wait or run are queued again by the next life.
 */
void cn_jobs_drain(struct cn_jobs *js);

/* Before cn_dispatch_fail_all: durable jobs are left to the next life also when a client waits. */
void cn_jobs_leave(struct cn_jobs *js);
bool cn_jobs_idle(const struct cn_jobs *js);
void cn_jobs_close(struct cn_jobs *js);
void cn_jobs_free(struct cn_jobs *js);

/* ---- submitting ---- */

enum cn_submit_outcome {
    CN_SUBMIT_NEW,         /* accepted; durable: and committed */
    CN_SUBMIT_REPLAY,      /* the same key came before with the same request: this is its job */
    CN_SUBMIT_MISMATCH,    /* the same key came before with another request (422) */
    CN_SUBMIT_IN_PROGRESS, /* the same key is just being accepted with another request (409) */
    CN_SUBMIT_REFUSED /* err: CN_EBUSY full, draining, no worker; CN_ESTORAGE; CN_ETOOBIG ... */
};

struct cn_submit_options {
    bool durable;
    bool waits; /* durable, and a client waits for its end: it is not left to the next life if this
                   one can finish it */
    const char *route, *key; /* Idempotency-Key and what it belongs to; NULL: none. Durable only */
    unsigned char fingerprint[CN_STORE_FINGERPRINT]; /* of the request under the key: SHA-256 */
    const struct cn_store_webhook *webhook; /* where its end is told; NULL: nowhere. Durable only */
    const char *request_id;                 /* for the log; may be NULL */
};

struct cn_submitted {
    enum cn_submit_outcome outcome;
    const char *id;           /* NEW, REPLAY; lives until the callback returns */
    struct cn_job *job;       /* NEW: the caller may take a reference; else NULL */
    enum cn_refusal refusal;  /* REFUSED by the dispatcher: why; else CN_REFUSED_NOT */
    int retry_after_s;        /* REFUSED: 1..120 */
    const struct cn_err *err; /* REFUSED; else NULL */
};

typedef void (*cn_submitted_fn)(void *arg, const struct cn_submitted *submitted);

struct cn_submission;

/* Takes what *spec owns; it must be resolved and checked. tenant NULL: "anonymous". The handle is
 * the service's, and good until done was called. */
struct cn_submission *cn_jobs_submit(struct cn_jobs *js, struct cn_spec *spec, const char *tenant,
                                     const struct cn_submit_options *o, cn_submitted_fn done,
                                     void *arg);

/* Nobody waits for the answer any more: it does not come. cancel: and the job, if it is not
 * durable, is not wanted either. */
void cn_jobs_withdraw(struct cn_submission *sub, bool cancel);

/* Would a submission be accepted now? For refusing a request before its body is read. CN_OK, or
 * the code and reason as in cn_submitted. */
int cn_jobs_admit(struct cn_jobs *js, const char *tenant, bool durable, struct cn_refused *ret,
                  struct cn_err *err);

/* ---- looking ---- */

struct cn_job_view_image {
    bool ready; /* can be opened now */
    struct cn_image_meta meta;
};

/* A snapshot. */
struct cn_job_view {
    char id[CN_STORE_ID];
    char tenant[CN_STORE_TENANT];
    bool durable;
    enum cn_job_kind kind;
    enum cn_job_state state;
    bool gone;       /* in lists: its results were removed after their time */
    bool cancelling; /* a cancel was asked for; the state follows when it is stored */
    int attempt;
    int position;                             /* 1: next; 0: does not wait, or not known */
    double eta_s;                             /* until the end; negative: not known */
    int done, total;                          /* steps of all images; total 0: not known */
    double fraction;                          /* [0,1] */
    int64_t created_us, started_us, ended_us; /* wall clock; 0: not yet */
    int64_t expires_us;                       /* when the results go; 0: not known yet */
    const struct cn_spec *spec; /* NULL: cannot be read any more. Images may have no data */
    int n;
    struct cn_job_view_image *image; /* n of them */
    double stage_ms[CN_STAGE_COUNT]; /* 0: not measured, or no longer known */
    struct cn_err err;               /* failed, cancelled, expired */
    struct cn_warnings warnings;
    struct cn_store_delivery delivery; /* how far the telling of its end is */

    struct cn_job *job; /* private: what spec lives in */
    struct cn_store_job *record;
};

void cn_job_view_release(struct cn_job_view *view);

enum { CN_JOBS_PAGE = 100, CN_JOBS_CURSOR = 64 };

struct cn_jobs_query {
    int state;                   /* enum cn_job_state; -1: any */
    const char *model;           /* NULL: any */
    int64_t since_us, before_us; /* created at or after, created before; 0: no bound */
    int limit;                   /* 1..CN_JOBS_PAGE */
    const char *after;           /* the last page's next; NULL or "": from the newest */
};

struct cn_jobs_page {
    int n;
    struct cn_job_view view[CN_JOBS_PAGE]; /* newest first */
    char next[CN_JOBS_CURSOR];             /* "": this was the last page */
};

struct cn_image_file {
    int fd;                    /* open for reading, the caller's; -1: in memory: */
    const unsigned char *data; /* lives as long as job */
    struct cn_job *job; /* a reference for the caller (cn_job_unref); NULL with a descriptor */
    struct cn_image_meta meta;
};

/* ---- asking ----
 *
 * Everybody is answered through a callback. What is in memory is answered before the call returns,
 * and then the handle is NULL. What only the store knows is answered later, from the loop; until
 * then the handle is good, and cn_jobs_forget takes the question back: done is not called any more.
 * On failure the argument after arg is NULL and err says why:
 *
 *     CN_ENOTFOUND  no such job for this tenant       CN_EGONE    its results were removed
 *     CN_EBUSY      not now: the store opens          CN_ESTORAGE the store cannot be read */

struct cn_jobs_read;
void cn_jobs_forget(struct cn_jobs_read *read); /* NULL is fine */

/* *view is the callee's, who copies the struct and releases that (cn_job_view_release). */
typedef void (*cn_looked_fn)(void *arg, struct cn_job_view *view, const struct cn_err *err);
struct cn_jobs_read *cn_jobs_look(struct cn_jobs *js, const char *tenant, const char *id,
                                  cn_looked_fn done, void *arg) CN_MUST_USE;

/* Durable jobs, and those in memory. The page lives until done returns. CN_EINVAL for a cursor that
 * is none. */
typedef void (*cn_listed_fn)(void *arg, const struct cn_jobs_page *page, const struct cn_err *err);
struct cn_jobs_read *cn_jobs_browse(struct cn_jobs *js, const char *tenant,
                                    const struct cn_jobs_query *q, cn_listed_fn done,
                                    void *arg) CN_MUST_USE;

/* Picture k, also while the job still draws others. Descriptor and reference are the callee's.
 * CN_ENOTFOUND: no such job, k is out of range, or the job ended without it; CN_EBUSY: not yet. */
typedef void (*cn_picture_fn)(void *arg, const struct cn_image_file *file,
                              const struct cn_err *err);
struct cn_jobs_read *cn_jobs_picture(struct cn_jobs *js, const char *tenant, const char *id, int k,
                                     cn_picture_fn done, void *arg) CN_MUST_USE;

/* ---- ending ---- */

/* Somebody does not want it any more: a job that waits or runs is cancelled, nobody is told. */
void cn_jobs_abandon(struct cn_jobs *js, const char *tenant, const char *id);

/* A job that waits or runs is cancelled, and done is called when that is stored. One that is over
 * stays as it is (cancel), or loses its results, as if their time were over (delete). err NULL: so
 * it is, and removed says which. The handle is as above, never NULL but when there is no such job.
 * CN_ESTORAGE: the store closed, or could not do it. */
typedef void (*cn_deleted_fn)(void *arg, bool removed, const struct cn_err *err);
struct cn_jobs_read *cn_jobs_cancel(struct cn_jobs *js, const char *tenant, const char *id,
                                    cn_deleted_fn done, void *arg) CN_MUST_USE;
struct cn_jobs_read *cn_jobs_delete(struct cn_jobs *js, const char *tenant, const char *id,
                                    cn_deleted_fn done, void *arg) CN_MUST_USE;

/* ---- telling ----
 *
 * Ends that somebody wants to be told of lie in the store until they were delivered or given up;
 * who delivers them (src/notifier) asks for those that are due. */

/* due(arg) is called from the loop when the end of a job with a webhook was stored, and when the
 * last life's can be asked for. */
void cn_jobs_on_webhook(struct cn_jobs *js, void (*due)(void *arg), void *arg);

/* As cn_store_webhooks. False: not now, and done will not be called: the store is not open. */
bool cn_jobs_webhooks(struct cn_jobs *js, int64_t now_us, int per_host, int limit,
                      cn_store_answer_fn done, void *arg);

/* As cn_store_delivery; done is called when it is stored, or the store closed before. */
void cn_jobs_delivery(struct cn_jobs *js, const char *id, const struct cn_store_delivery *delivery,
                      void (*done)(void *arg), void *arg);

/* ---- following ---- */

enum cn_event_kind {
    CN_EVENT_STATE,    /* queued, running; also when it goes back */
    CN_EVENT_PROGRESS, /* may skip */
    CN_EVENT_PREVIEW,  /* may skip */
    CN_EVENT_IMAGE,    /* picture `index` can be opened */
    CN_EVENT_DONE,     /* the last one */
    CN_EVENT_COUNT
};

extern const struct cn_enum cn_enum_event;

struct cn_job_event {
    enum cn_event_kind kind;
    uint64_t id;             /* ascending in a job, also over a restart: Last-Event-ID */
    enum cn_job_state state; /* STATE, DONE */
    int attempt;             /* STATE */
    int position;            /* STATE queued; 0: not known */
    int index;               /* IMAGE, PREVIEW */
    struct cn_msg_progress
        progress;              /* PROGRESS: stage, image, step of steps; PREVIEW: image, step */
    int done, total;           /* PROGRESS: steps of all images */
    double fraction, eta_s;    /* PROGRESS */
    enum cn_format format;     /* PREVIEW */
    const unsigned char *data; /* PREVIEW; lives until the next call into the service */
    size_t len;
    struct cn_err err;                  /* DONE, unless succeeded */
    const struct cn_warnings *warnings; /* DONE; lives as long as the watch. Else NULL */
};

struct cn_watch;

/* As the questions above; the watch is the callee's. wake(arg) is called from the loop when events
 * came after cn_watch_next said that there are none; it may call anything here. The first events
 * are there at once: what is kept after last_id (0: all that is kept: states and pictures, the
 * newest progress and preview). A job that is over gives DONE in any case. */
typedef void (*cn_followed_fn)(void *arg, struct cn_watch *watch, const struct cn_err *err);
struct cn_jobs_read *cn_jobs_follow(struct cn_jobs *js, const char *tenant, const char *id,
                                    uint64_t last_id, void (*wake)(void *arg), cn_followed_fn done,
                                    void *arg) CN_MUST_USE;

/* The next event that this watch has not seen; false: none now. Of progress and previews a slow
 * reader sees the newest. */
bool cn_watch_next(struct cn_watch *w, struct cn_job_event *ret);

/* DONE was given: nothing will come. */
bool cn_watch_over(const struct cn_watch *w);
void cn_watch_free(struct cn_watch *w);

/* ---- facts ---- */

/* For /readyz: CN_OK, or why durable jobs cannot be accepted: CN_EBUSY (the store opens),
 * CN_ESTORAGE (broken, unreadable, failing, no room), CN_ENOTFOUND (there is no store: that is no
 * fault). */
int cn_jobs_storage(const struct cn_jobs *js, struct cn_err *err);

/* Brings the gauges up to date; called before the metrics are rendered. */
void cn_jobs_collect(struct cn_jobs *js);

#endif
