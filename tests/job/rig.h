/* A dispatcher with fake workers (tests/e2e/fake-worker), and a diary of what its observer heard.
 */
#ifndef TEST_RIG_H
#define TEST_RIG_H

#include "base/base.h"
#include "job/dispatch.h"

enum { RIG_WORKERS = 4, RIG_JOBS = 12000 };

struct rig {
    uv_loop_t loop;
    struct cn_dispatch *d;
    struct cn_metrics *metrics;
    struct cn_dispatch_worker worker[RIG_WORKERS];
    struct cn_job *job[RIG_JOBS]; /* all that were made: references of the rig */
    int jobs;
    struct cn_job *ended[RIG_JOBS]; /* in the order of their ends */
    int ends;
    int started, progress, images, previews, fetched, requeued, on_end;
    int crowded;     /* times that a suspect was heard of in a worker with other jobs */
    int fetch_fails; /* fetch returns this code */
    int managed, managed_rc;
};

/* Options before rig_open: workers, capacities and so on. mode: CONTROLNET_FAKE. */
void rig_open(struct rig *r, struct cn_dispatch_options *o, const char *mode);
void rig_open_with(struct rig *r, struct cn_dispatch_options *o, const char *mode,
                   const char *const *const args[RIG_WORKERS]); /* each worker's */
void rig_close(struct rig *r);

/* A job of 64 x 64 pixels; nobody has submitted it yet. */
struct cn_job *rig_job(struct rig *r, const char *prompt, int steps);
struct cn_job *rig_submit(struct rig *r, const char *tenant, const char *prompt, int steps);

/* Runs the loop until the condition holds; fails the test after 20 s. */
#define rig_until(r, condition)                                                                    \
    do {                                                                                           \
        int64_t rig_end_ = rig_patience();                                                         \
        while (!(condition))                                                                       \
            rig_turn(r, rig_end_, #condition);                                                     \
    } while (0)

int64_t rig_patience(void);
void rig_turn(struct rig *r, int64_t end, const char *condition);
void rig_for(struct rig *r, int ms); /* lets time pass */

int rig_restarts(const struct rig *r, int worker); /* of all causes */

#endif
