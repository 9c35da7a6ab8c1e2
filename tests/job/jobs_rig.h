/* The whole service in one process: loop, dispatcher with a fake worker, store, jobs. The current
 * directory is the top of the build tree. */
#ifndef CN_TESTS_JOB_JOBS_RIG_H
#define CN_TESTS_JOB_JOBS_RIG_H

#include "job/jobs.h"

struct answer;

struct rig {
    uv_loop_t loop;
    char dir[64]; /* of the store; kept between lives */
    struct cn_store_options so;
    struct cn_jobs_options jo;
    int queue_capacity, tenant_max_queued, workers;
    bool no_store;
    struct cn_metrics *metrics;
    struct cn_dispatch *dispatch;
    struct cn_store *store;
    struct cn_jobs *jobs;
    struct answer *following; /* answers whose job is followed to its end */
};

/* A new directory; nothing runs yet. fake: CONTROLNET_FAKE of the workers. */
void rig_init(struct rig *r, const char *fake);

/* One life: opens everything and waits until a worker is ready (and the store is open). */
void rig_start(struct rig *r);

/* Without the waits. */
void rig_begin(struct rig *r);

/* As SIGTERM: drain, put aside what waits, close. */
void rig_stop(struct rig *r);
void rig_end(struct rig *r);

/* Turns the loop until ready(arg); fails after a minute. */
void rig_until(struct rig *r, bool (*ready)(void *arg), void *arg);
void rig_turn(struct rig *r, int ms);

/* A resolved description. */
void rig_spec(struct rig *r, struct cn_spec *s, const char *prompt, int n, size_t image_bytes);

/* An answer. */
struct answer {
    int told, ended;
    enum cn_submit_outcome outcome;
    char id[CN_STORE_ID];
    enum cn_refusal refusal;
    int retry_after_s;
    struct cn_err err;
    enum cn_job_state state; /* at the end */
    size_t image_len;        /* of image 0 at the end, when it is in memory */

    struct rig *rig; /* the rig's */
    struct answer *next;
    struct cn_watch *watch;
    struct cn_job *job;
};

struct ask {
    const char *tenant, *prompt, *key;
    int n;
    bool sync, waits, fire; /* fire: the answer is not waited for */
    unsigned char print;    /* first byte of the fingerprint */
    size_t image_bytes;
    int timeout_s;
    double eta;
    const struct cn_store_webhook *webhook;
};

struct cn_submission *rig_submit(struct rig *r, const struct ask *ask, struct answer *a);
bool rig_told(void *answer);
bool rig_ended(void *answer);

/* Questions, waited for: CN_OK or the code. */
int rig_look(struct rig *r, const char *tenant, const char *id, struct cn_job_view *ret);
int rig_picture(struct rig *r, const char *tenant, const char *id, int k,
                struct cn_image_file *ret);
int rig_delete(struct rig *r, const char *tenant, const char *id, bool *ret_removed);

/* One page: the ids in page->view[i].id, and page->next; nothing else of it stays. */
int rig_list(struct rig *r, const char *tenant, const struct cn_jobs_query *q,
             struct cn_jobs_page *page);

/* The state of a job as its tenant sees it; the code when it cannot be seen. */
int rig_state(struct rig *r, const char *tenant, const char *id);
void rig_until_state(struct rig *r, const char *id, enum cn_job_state state);

#endif
