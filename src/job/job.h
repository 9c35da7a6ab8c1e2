/* One request for images on its way: record and state machine.
 *
 * Loop thread only. Counted: the dispatcher holds a reference until the job is final, whoever waits
 * for it holds another. Transitions:
 *
 *     queued ──► running ──► succeeded | failed | cancelled | expired
 *       │  ◄──────┘ (worker lost: attempt + 1)
 *       └────────────────────► failed | cancelled | expired
 *
 *     struct cn_job *job = cn_job_new(&spec);       -- takes the spec, draws a missing seed
 *     job->on_end = answer; job->arg = request;
 *     if (cn_dispatch_submit(d, job, "anna", &why, &err) < 0) ...
 *     cn_job_unref(job);
 */
#ifndef CN_JOB_JOB_H
#define CN_JOB_JOB_H

#include "base/base.h"
#include "base/image_meta.h"
#include "base/spec.h"
#include "base/warnings.h"
#include "job/tenant.h"
#include "job/treap.h"
#include "wire/message.h"

#include <sys/queue.h>

enum cn_job_state {
    CN_JOB_QUEUED,
    CN_JOB_RUNNING,
    CN_JOB_SUCCEEDED,
    CN_JOB_FAILED,
    CN_JOB_CANCELLED,
    CN_JOB_EXPIRED,
    CN_JOB_STATE_COUNT
};

extern const struct cn_enum cn_enum_job_state;

struct cn_job_image {
    unsigned char *data;       /* encoded file */
    struct cn_image_meta meta; /* bytes 0: not there yet; else, with data NULL: kept elsewhere */
};

struct cn_job;
typedef void (*cn_job_end_fn)(struct cn_job *job, void *arg);

struct cn_job {
    uint64_t id;   /* on the wire; unique in this process */
    char name[27]; /* for people: 128 random bits in base32 */
    struct cn_spec spec;
    enum cn_job_state state;
    int attempt;                                          /* 1 on its first worker */
    int64_t queued_ns, started_ns, ended_ns, deadline_ns; /* monotonic; 0: not yet */
    struct cn_job_image *image;                           /* cn_spec_pictures() of them */
    struct cn_msg_progress progress;                      /* the last */
    double stage_ms[CN_STAGE_COUNT];
    struct cn_err err;           /* failed, cancelled and expired say why */
    struct cn_warnings warnings; /* of the description, the queue and the worker, in this order */

    /* Set by who submits it, before. */
    bool may_be_deferred; /* it may be left waiting when the daemon ends: the next life draws it */
    bool uncommitted;     /* accepted, but not handed out before cn_dispatch_release */
    bool inputs_evicted;  /* its images are not in memory: the observer's fetch brings them */
    double cost;          /* predicted; 0: cn_dispatch_submit asks cn_cost */
    int deaths;           /* workers that died under it; see dispatch.h */
    cn_job_end_fn on_end; /* called once, when the job becomes final; may be NULL */
    void *arg;

    /* The queue's and the dispatcher's. */
    struct cn_tenant *tenant;      /* a reference; NULL before it was submitted */
    int priority;                  /* the spec's, lowered to the tenant's cap */
    struct cn_treap_node order;    /* among the waiting jobs of its tenant, or the suspects */
    struct cn_treap_node age;      /* among all waiting jobs */
    struct cn_treap_node deadline; /* among all jobs that are not final */
    struct cn_treap_node delay;    /* among those that wait for a while before it is their turn */
    TAILQ_ENTRY(cn_job) roomless;  /* among those whose models only full workers have */
    bool is_roomless;              /* it stands there; and among the delayed */
    bool fetching;                 /* its images are being read again */
    int delays;                    /* in a row: each is longer than the one before */
    int busy;                      /* workers that had no room for it after all, in a row */
    uint64_t seq;                  /* order of acceptance */
    int kills;                     /* workers killed from outside under it */
    int worker;                    /* the last that it was given to; -1: none */
    int last_worker;               /* where an attempt was lost; -1: nowhere */
    bool alone;                    /* a suspect: it gets a worker to itself */
    bool poison;                   /* failed because workers died under it */
    int refs;
};

/* Takes what *spec owns and leaves *spec empty. What the description itself warns of is noted. */
struct cn_job *cn_job_new(struct cn_spec *spec);
struct cn_job *cn_job_ref(struct cn_job *job);
void cn_job_unref(struct cn_job *job);

bool cn_job_final(const struct cn_job *job);
bool cn_job_may(enum cn_job_state from, enum cn_job_state to);

/* Asserts that the transition is one of the above, and keeps the times. */
void cn_job_move(struct cn_job *job, enum cn_job_state to);

/* Forgets the images and times of an attempt that is lost. */
void cn_job_forget_attempt(struct cn_job *job);

/* Steps that are done and steps in all, over all images; *ret_total 0: not known yet. */
void cn_job_steps(const struct cn_job *job, int *ret_done, int *ret_total);
double cn_job_fraction(const struct cn_job *job); /* [0,1] of its work */

/* Copies the file into its place: CN_EFORMAT when the index is out of range or came before. */
int cn_job_put_image(struct cn_job *job, const struct cn_msg_image *m, struct cn_err *err);

/* CN_OK when all pictures are there. */
int cn_job_complete(const struct cn_job *job, struct cn_err *err);

#endif
