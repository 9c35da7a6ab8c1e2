/* The worker's life on the wire, with the engine left open: controlnet-worker fills the operations
 * with the engine, tests/e2e/fake-worker with a clock.
 *
 * DESIGN. Two threads. The caller's thread runs all operations, one at a time: jobs are handed in
 * by begin() as they arrive, and step() moves some of them on, so that many jobs can be in progress
 * at once. A reader thread takes frames in, keeps at most hello.capacity jobs, answers PING at once
 * and marks cancelled jobs. When the front goes away all jobs are cancelled, and the loop returns
 * when each has ended; if that takes more than 10 s the process is ended. Not promised: that a
 * cancelled job sends no more images.
 *
 *     static const struct cn_worker_ops ops = {.describe = describe, .begin = begin, ...};
 *     return cn_worker_loop(fd, &ops, engine, &err) == CN_OK ? 0 : 1;
 */
#ifndef CN_WORKER_LOOP_H
#define CN_WORKER_LOOP_H

#include "base/base.h"
#include "base/spec.h"
#include "wire/message.h"

enum {
    CN_WORKER_JOBS = 64,        /* that may be with a worker, at most */
    CN_WORKER_EXIT_BROKEN = 69, /* process exit status: describe or load failed */
    CN_WORKER_EXIT_DEVICE = 70  /* the device failed for good; the front starts a new process */
};

struct cn_worker;     /* the loop */
struct cn_worker_job; /* one job in it, from begin() to cn_worker_end() */

struct cn_worker_ops {
    /* Fast (no weights): fills *ret (zeroed): backend, device, build, capacity and lanes (0 means
     * 1), model (malloc'd; released here). pid is filled in here. */
    int (*describe)(void *ctx, struct cn_msg_hello *ret, struct cn_err *err);
    /* May be NULL. May take long: the front shows "loading" until it returns. */
    int (*load)(void *ctx, struct cn_worker *w, struct cn_err *err);
    /* Takes the job in. A failure ends it here. On success it must be ended by cn_worker_end(),
     * after which neither the job nor its spec is there any more. */
    int (*begin)(void *ctx, struct cn_worker_job *job, struct cn_err *err);
    /* Is there something for step() to do? */
    bool (*busy)(void *ctx);
    /* One step for some of the jobs; called while busy() says so, and once after every
     * cn_worker_wake() and cancellation. CN_EDEVICE: the device failed for good; jobs that are not
     * ended are reported as such, the loop returns CN_EDEVICE and the process must end. */
    int (*step)(void *ctx, struct cn_err *err);
    /* May be NULL. There was nothing to do for some seconds. */
    void (*rest)(void *ctx);
    /* May be NULL: refused. Loads or unloads a model, or looks for models again, between two steps.
     * A refresh tells what it found with cn_worker_catalog(). */
    int (*manage)(void *ctx, enum cn_manage action, const char *model, struct cn_err *err);
    /* May be NULL. Called after load and after each step that ended a job: "resident_bytes", ... */
    void (*gauges)(void *ctx, struct cn_msg_gauges *ret);
};

/* ---- for the operations. Any thread, until cn_worker_end() of that job ---- */

const struct cn_spec *cn_worker_spec(const struct cn_worker_job *job);
/* True when nobody wants the job any more: end it with CN_ECANCELED soon. Cheap: ask every step. */
bool cn_worker_cancelled(const struct cn_worker_job *job);
/* step of steps of image number image (from 0) is done. Also a sign of life: without one, or a
 * beat, for worker.hang_timeout_s the front kills the process, so a long load calls it too. */
void cn_worker_progress(struct cn_worker_job *job, enum cn_stage stage, int image, int step,
                        int steps);
/* Something of the request has less effect than was asked for. Before the images that it is about,
 * so that an answer which is sent meanwhile has it. */
void cn_worker_warn(struct cn_worker_job *job, enum cn_warning_code code, const char *where,
                    const char *text);
/* A rough picture; one that is over CN_WIRE_MAX_PREVIEW is dropped. m->id is filled in. */
void cn_worker_preview(struct cn_worker_job *job, const struct cn_msg_preview *m);
/* One finished file; m->id is filled in here. The bytes may be freed afterwards. CN_ETOOBIG at
 * "/format": it is over CN_WIRE_MAX_PICTURE. */
int cn_worker_image(struct cn_worker_job *job, const struct cn_msg_image *m, struct cn_err *err);
/* Adds time to a stage; reported with the job's end. */
void cn_worker_stage(struct cn_worker_job *job, enum cn_stage stage, double ms);
/* The job is over: all its images are sent, or *err says why not (err->where may be a JSON pointer
 * into the request). Frees the job. */
void cn_worker_end(struct cn_worker_job *job, int rc, const struct cn_err *err);

/* ---- any thread, while cn_worker_loop runs ---- */

struct cn_worker *cn_worker_of(const struct cn_worker_job *job);
void cn_worker_wake(struct cn_worker *w); /* step() is called soon */
void cn_worker_beat(struct cn_worker *w, int lanes, int images, double ms);
void cn_worker_model(struct cn_worker *w, const struct cn_msg_model *m);
void cn_worker_catalog(struct cn_worker *w, const struct cn_msg_catalog *m);
void cn_worker_models_changed(struct cn_worker *w); /* manage() is called soon, to refresh */

/* Serves the front at the other end of fd (which is closed at the end). CN_OK when the front asked
 * to stop or closed; CN_EDEVICE, or the failure of describe or load, otherwise. */
int cn_worker_loop(int fd, const struct cn_worker_ops *ops, void *ctx, struct cn_err *err);

/* The exit status of the process for a return value of cn_worker_loop. */
int cn_worker_exit_status(int rc);

#endif
