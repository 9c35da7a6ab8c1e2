/* Shared by jobs*.c. Loop thread only. From the top down; a file calls only those below it:
 *
 *     jobs.c           life, facts
 *     jobs_recover.c   what the last life left
 *     jobs_submit.c    submissions, idempotency keys
 *     jobs_delete.c    cancelling and removing
 *     jobs_read.c      questions: one job, lists, pictures, following
 *     jobs_webhooks.c  ends that are to be told
 *     jobs_keep.c      from the dispatcher's news to the store and to the events
 *     jobs_end.c       the end of a job, and who waits for it
 *     jobs_inputs.c    images of waiting jobs: kept in memory, or read again
 *     jobs_events.c    events, and those who follow them
 *     jobs_record.c    records: the one owner of what is known of a job
 *
 * A record is counted. References are held by the tables that it stands in (one for both), by every
 * operation of the store that speaks of it, by each watch, by each submission that is not answered,
 * and by whoever waits for its end. So no answer of the store can meet a record that is gone.
 *
 *     ADDING ──► LIVE ──► ENDING ──► OVER ──► FORGOTTEN
 *        │         └───────────────────┘          ▲
 *        └────────────────────────────────────────┘
 *
 * ADDING: the store does not have it yet, and nobody may see it; what the dispatcher says of it
 * meanwhile is looked at when it is LIVE. ENDING: its job is final, and the store is being told;
 * what clients see is not final yet. Jobs that are not durable skip both. A record that is read
 * back from the store to be followed is OVER at once.
 */
#ifndef CN_JOB_JOBS_PRIV_H
#define CN_JOB_JOBS_PRIV_H

#include "base/table.h"
#include "job/deferred.h"
#include "job/jobs.h"

#include <sys/queue.h>

enum cn_record_phase {
    CN_RECORD_ADDING,
    CN_RECORD_LIVE,
    CN_RECORD_ENDING,
    CN_RECORD_OVER,
    CN_RECORD_FORGOTTEN,
    CN_RECORD_PHASE_COUNT
};

struct cn_kept_event {
    uint64_t id;
    enum cn_event_kind kind;
    enum cn_job_state state;
    int attempt, index;
};

struct cn_record {
    struct cn_jobs *js;
    int refs;
    enum cn_record_phase phase;
    struct cn_table_node by_id;
    TAILQ_ENTRY(cn_record) in_history; /* while OVER: in the order of their ends */
    TAILQ_ENTRY(cn_record) in_list;    /* in the service's `listed` */
    bool listed;
    struct cn_job *job; /* a reference */
    char id[CN_STORE_ID];
    char tenant[CN_TENANT_NAME];
    bool durable;
    bool cancelling;         /* somebody asked for it */
    enum cn_job_state state; /* as clients see it */
    struct cn_err err;
    struct cn_store_delivery delivery; /* how far the telling of its end is */
    struct cn_err storage; /* why a picture could not be kept; then the job fails for that */
    int64_t created_us, started_us, ended_us;
    struct cn_job_view_image *image; /* job->spec.n of them */
    size_t cached_bytes;  /* of its inputs, counted in the service's cached_bytes while it waits */
    size_t history_bytes; /* of pictures in memory, counted while OVER */
    struct cn_store_read *fetch; /* its inputs are being read again */

    uint64_t last_id; /* of its events */
    struct cn_kept_event *event;
    size_t n_events, cap_events;
    uint64_t progress_id, preview_id; /* 0: there is none */
    struct cn_msg_preview preview;
    unsigned char *preview_data;

    LIST_HEAD(, cn_watch) watches;
    LIST_HEAD(, cn_jobs_read) waiters; /* for its end */
};

struct cn_watch {
    struct cn_deferred deferred; /* first */
    struct cn_record *record;    /* a reference */
    LIST_ENTRY(cn_watch) link;
    uint64_t cursor; /* id of the last event that was given */
    size_t index;    /* of the next kept event to look at */
    bool idle;       /* was told that there is nothing: wants to be woken */
    bool over;
    void (*wake)(void *arg);
    void *arg;
};

/* A question that is not answered yet, or somebody who waits for the end of a job. */
struct cn_jobs_read {
    struct cn_deferred deferred; /* first */
    struct cn_jobs *js;
    struct cn_store_read *asked; /* the store; NULL: nothing */
    struct cn_record *record;    /* a reference: waits for its end; or NULL */
    LIST_ENTRY(cn_jobs_read) link;
    char *tenant; /* NULL: may see all */
    char id[CN_STORE_ID];
    struct cn_err err;        /* of what is deferred */
    bool removes;             /* delete: what is over loses its results */
    bool dropping, forgotten; /* the same: the store has it, and will call back */
    union {
        cn_looked_fn looked;
        cn_listed_fn listed;
        cn_picture_fn opened;
        cn_followed_fn followed;
        cn_deleted_fn deleted;
    } done;
    void *arg;
    int k;                   /* picture; n when the number of pictures is known */
    bool over;               /* picture: the job is over */
    uint64_t last_id;        /* follow */
    void (*wake)(void *arg); /* follow */
    struct cn_jobs_query q;  /* list; its strings are owned */
    char *model;
    int64_t before_us;
    char before_id[CN_STORE_ID];
};

struct cn_submission {
    struct cn_deferred deferred; /* first */
    struct cn_jobs *js;
    struct cn_record *record; /* a reference; NULL: none yet */
    cn_submitted_fn done;     /* NULL: was called, or nobody waits */
    void *arg;
    enum cn_submit_outcome outcome;
    char id[CN_STORE_ID];
    struct cn_refused refused;
    struct cn_err err;

    struct cn_spec spec; /* until it is a job */
    bool durable, waits;
    char tenant[CN_TENANT_NAME];
    char *route, *key, *request_id; /* key NULL: none */
    char *url, *host, *context;     /* of its webhook; NULL: none */
    unsigned char fingerprint[CN_STORE_FINGERPRINT];
    STAILQ_ENTRY(cn_submission) link;       /* waiting for the store; or another one's follower */
    STAILQ_HEAD(, cn_submission) followers; /* with the same key: answered as this one */
    struct cn_table_node by_key;            /* among the keys that are being accepted */
    bool has_key_place;
};

struct cn_jobs_metrics {
    struct cn_metric *operations, *failures, *commits, *bytes, *waiting, *up, *commit_s, *untold;
    struct cn_metric *watches, *records;
};

TAILQ_HEAD(cn_record_list, cn_record);

struct cn_jobs {
    struct cn_jobs_options o;
    struct cn_store *store;
    char *why_no_store; /* NULL: nobody wants one */
    bool opened;        /* the store can take submissions, or never will */
    char *unreadable;   /* NULL, or why the last life's jobs cannot be read */
    bool draining;
    int store_ops; /* given to the store and not told yet */
    struct cn_deferred_queue deferred;
    uv_timer_t recover_again;
    uv_timer_t look;     /* at the store, so that the log has what becomes of it */
    char store_said[400]; /* the trouble that the log has; "": none */
    STAILQ_HEAD(, cn_submission) waiting; /* for the store */
    int n_waiting;
    struct cn_table records, keys;
    struct cn_record_list history; /* oldest first */
    struct cn_record_list listed;  /* newest first: those that are not durable, and the
                                      durable ones that are not over */
    int n_history, n_watches;
    size_t history_bytes, cached_bytes;
    int result_ttl_s;
    void (*webhook_due)(void *arg); /* NULL: nobody tells */
    void *webhook_arg;
    struct cn_jobs_metrics m;
};

/* ---- jobs_record.c ---- */

/* In lists, which begin with the newest: is (a_us, a) after (b_us, b)? */
bool cn_record_later(int64_t a_us, const char *a, int64_t b_us, const char *b);

/* In phase ADDING, in the table, with one reference, which is the table's. */
struct cn_record *cn_record_new(struct cn_jobs *js, struct cn_job *job_take, const char *tenant,
                                bool durable);
struct cn_record *cn_record_ref(struct cn_record *r);
void cn_record_unref(struct cn_record *r);
void cn_record_set_phase(struct cn_record *r, enum cn_record_phase to); /* asserts */

/* Out of all tables, whoever holds it still. */
void cn_record_forget(struct cn_record *r);

/* It is over, and from now on one of the history, which is bounded. */
void cn_record_enter_history(struct cn_record *r);
void cn_record_trim(struct cn_jobs *js);

/* NULL: not in memory, or not to be seen by this tenant (NULL: by anybody). */
struct cn_record *cn_record_find(struct cn_jobs *js, const char *tenant, const char *id);
struct cn_record *cn_record_of(const struct cn_jobs *js, const struct cn_job *job);

/* Takes the row's description and knows its pictures. ADDING. NULL: it cannot be read. */
struct cn_record *cn_record_load(struct cn_jobs *js, struct cn_store_row *row, struct cn_err *err);
int64_t cn_record_expires_us(const struct cn_jobs *js, int64_t ended_us, bool durable);
struct cn_store_job cn_record_row(const struct cn_record *r);

/* ---- jobs_events.c ---- */

void cn_record_emit(struct cn_record *r, enum cn_event_kind kind, int index);
void cn_record_progress(struct cn_record *r);
void cn_record_preview(struct cn_record *r, const struct cn_msg_preview *m);
struct cn_watch *cn_watch_new(struct cn_record *r, uint64_t last_id, void (*wake)(void *arg),
                              void *arg);

/* ---- jobs_inputs.c ---- */

/* It waits: its images may go, for they can be read again. */
void cn_record_cache_inputs(struct cn_record *r);
void cn_record_uncache_inputs(struct cn_record *r);        /* it waits no more; they stay */
void cn_record_drop_inputs(struct cn_record *r);           /* nobody draws it any more */
void cn_jobs_fetch_inputs(void *jobs, struct cn_job *job); /* the dispatcher's observer */

/* ---- jobs_end.c ---- */

/* Its job is final. */
void cn_record_end(struct cn_record *r);

/* With the dispatcher, or with nobody any more. Only LIVE ones. */
void cn_record_cancel(struct cn_record *r);

/* ---- jobs_webhooks.c ---- */

void cn_jobs_webhook_due(struct cn_jobs *js);

/* ---- jobs_keep.c ---- */

void cn_jobs_observe(struct cn_jobs *js);

/* ---- jobs_read.c ---- */

struct cn_jobs_read *cn_read_new(struct cn_jobs *js, const char *tenant, const char *id, void *arg);
void cn_read_free(struct cn_jobs_read *q);

/* May this tenant see the row, and is its time not over? CN_OK, or err is filled. */
int cn_read_row(const struct cn_jobs_read *q, const struct cn_store_answer *a, struct cn_err *err);

/* ---- jobs_submit.c ---- */

void cn_submission_refuse_waiting(struct cn_jobs *js);
void cn_submission_run_waiting(struct cn_jobs *js);

/* ---- jobs_recover.c ---- */

void cn_jobs_recover(struct cn_jobs *js);

#endif
