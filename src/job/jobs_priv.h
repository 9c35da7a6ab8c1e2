/* Shared by jobs*.c. Loop thread only.
 *
 * A record is what the service knows of one job. It lives while the job does, then as one of the
 * recent ones, and in any case as long as somebody watches it. */
#ifndef CN_JOB_JOBS_PRIV_H
#define CN_JOB_JOBS_PRIV_H

#include "job/jobs.h"

enum { CN_JOBS_BUCKETS = 1 << 14, CN_JOBS_KEY_BUCKETS = 1 << 10 };

/* Something that is told in a later iteration of the loop. */
struct cn_later {
    struct cn_later *next;
    void (*call)(struct cn_later *l);
    bool on;
};

struct cn_submission {
    struct cn_later later; /* first */
    struct cn_jobs *js;
    struct cn_record *record;
    cn_submitted_fn done; /* NULL: was called, or nobody waits */
    cn_job_end_fn on_end;
    void *arg;
    enum cn_submit_outcome outcome;
    char id[CN_STORE_ID];
    struct cn_refused refused;
    struct cn_err err;
    bool ended; /* the job is over: on_end is next */

    struct cn_spec spec; /* until the store is open */
    bool durable, waits;
    char tenant[CN_TENANT_NAME];
    char *route, *key, *request_id; /* key NULL: none */
    unsigned char fingerprint[CN_STORE_FINGERPRINT];
    struct cn_submission *next;               /* waiting for the store; or another one's follower */
    struct cn_submission *followers;          /* with the same key: answered as this one */
    struct cn_submission *key_next, **key_at; /* in the table of keys being accepted */
};

struct cn_cancel {
    struct cn_later later; /* first */
    struct cn_cancel *next;
    cn_cancelled_fn done;
    void *arg;
    int rc;
};

struct cn_kept_event {
    uint64_t id;
    enum cn_event_kind kind;
    enum cn_job_state state;
    int attempt, index;
};

struct cn_record {
    struct cn_jobs *js;
    struct cn_record *chain;                   /* in the table */
    struct cn_record *newer, *older;           /* recent ones: in the order of their ends */
    struct cn_record *sync_newer, *sync_older; /* not durable ones: in the order of their starts */
    struct cn_job *job;                        /* a reference */
    char id[CN_STORE_ID];
    char tenant[CN_TENANT_NAME];
    bool durable;
    bool accepted;   /* told to whoever submitted it, or about to be; else nobody may see it */
    bool ending;     /* its end is on the way to the store */
    bool cancelling; /* somebody asked for it */
    bool recent;     /* over, and in the list of recent ones */
    enum cn_job_state state; /* as clients see it */
    struct cn_err err;
    struct cn_err storage; /* why a picture could not be kept; then the job fails for that */
    int64_t created_us, started_us, ended_us;
    struct cn_job_view_image *image; /* job->spec.n of them */
    size_t held_bytes; /* of its images, counted in the service's `held` while it waits */
    size_t recent_bytes;

    uint64_t last_id; /* of its events */
    struct cn_kept_event *event;
    size_t n_events, cap_events;
    uint64_t progress_id, preview_id; /* 0: there is none */
    struct cn_msg_preview preview;
    unsigned char *preview_data;

    struct cn_watch *watches;
    struct cn_submission *sub;
    struct cn_cancel *cancels;
};

struct cn_watch {
    struct cn_later later; /* first */
    struct cn_record *record;
    struct cn_watch *next, **at;
    uint64_t cursor; /* id of the last event that was given */
    size_t index;    /* of the next kept event to look at */
    bool idle;       /* was told that there is nothing: wants to be woken */
    bool over;
    void (*wake)(void *arg);
    void *arg;
};

struct cn_jobs_metrics {
    struct cn_metric *operations, *failures, *commits, *bytes, *waiting, *up, *commit_s;
    struct cn_metric *watches, *records;
};

struct cn_jobs {
    struct cn_jobs_options o;
    struct cn_store *store;
    bool opened; /* the store has told how its opening ended */
    bool draining, closed;
    int store_ops; /* given to the store and not told yet */
    uv_idle_t soon;
    struct cn_later *later, **later_tail;
    struct cn_submission *waiting, **waiting_tail;
    int n_waiting;
    struct cn_record *bucket[CN_JOBS_BUCKETS];
    struct cn_submission *key_bucket[CN_JOBS_KEY_BUCKETS];
    struct cn_record *newest, *oldest; /* recent */
    struct cn_record *sync_newest, *sync_oldest;
    int n_records, n_recent, n_watches;
    size_t recent_bytes, held;
    int result_ttl_s;
    struct cn_jobs_metrics m;
};

/* jobs.c */
void cn_jobs_later(struct cn_jobs *js, struct cn_later *l, void (*call)(struct cn_later *l));
void cn_jobs_not_later(struct cn_jobs *js, struct cn_later *l);

/* jobs_record.c */
struct cn_record *cn_record_new(struct cn_jobs *js, struct cn_job *job_take, const char *tenant,
                                bool durable);
void cn_record_free(struct cn_record *r);
struct cn_record *cn_record_find(struct cn_jobs *js, const char *tenant, const char *id);
struct cn_record *cn_record_of(const struct cn_jobs *js, const struct cn_job *job);
struct cn_record *cn_record_load(struct cn_jobs *js, struct cn_store_job *row, struct cn_err *err);
void cn_record_retire(struct cn_record *r); /* it is over: one of the recent ones, or gone */
void cn_record_trim(struct cn_jobs *js);
int64_t cn_record_expires_us(const struct cn_jobs *js, int64_t ended_us, bool durable);
size_t cn_spec_image_bytes(const struct cn_spec *s);

/* jobs_keep.c: from the dispatcher to the store and to the events */
void cn_jobs_observe(struct cn_jobs *js);
void cn_record_end(struct cn_record *r); /* its job is final */
void cn_jobs_recover(struct cn_jobs *js);
void cn_record_hold(struct cn_record *r);   /* waits: its images may go, they can be read again */
void cn_record_unhold(struct cn_record *r); /* waits no more */

/* Of what it asks for; their sizes stay. */
void cn_record_drop_images(struct cn_record *r);
struct cn_store_job cn_record_row(const struct cn_record *r);

/* jobs_view.c: a row of the store that this tenant may see; CN_EGONE when its time is over. */
int cn_jobs_row(struct cn_jobs *js, const char *tenant, const char *id, struct cn_store_job *ret,
                struct cn_err *err);

/* jobs_watch.c */
void cn_record_emit(struct cn_record *r, enum cn_event_kind kind, int index);
void cn_record_progress(struct cn_record *r);
void cn_record_preview(struct cn_record *r, const struct cn_msg_preview *m);

/* jobs_cancel.c */
void cn_record_cancel(struct cn_record *r); /* with the dispatcher, or with nobody any more */
void cn_record_tell_cancels(struct cn_record *r, int rc);

/* jobs_submit.c */
void cn_submission_end(struct cn_record *r);
void cn_submission_free(struct cn_submission *sub);
void cn_submission_refuse_waiting(struct cn_jobs *js);
void cn_submission_run_waiting(struct cn_jobs *js);

#endif
