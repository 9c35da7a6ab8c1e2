/* The worker's life on the wire, with the engine left open: controlnet-worker fills the operations
 * with the engine, tests/e2e/fake-worker with a clock.
 *
 * DESIGN. Two threads. The caller's thread runs describe, load and run, one at a time, and sends
 * everything about jobs. A reader thread takes frames in, queues jobs (hello.capacity of them, at
 * most CN_WORKER_QUEUE), answers PING at once, and sets the cancel flag of the running job. When
 * the front goes away the running job is cancelled and the loop returns; if run does not come back
 * within 10 s the process is ended. Not promised: that a cancelled job sends no more images.
 *
 *     static const struct cn_worker_ops ops = {.describe = describe, .run = run};
 *     return cn_worker_loop(fd, &ops, engine, &err) == CN_OK ? 0 : 1;
 */
#ifndef CN_WORKER_LOOP_H
#define CN_WORKER_LOOP_H

#include "base/base.h"
#include "base/spec.h"
#include "wire/message.h"

enum {
    CN_WORKER_QUEUE = 16,
    CN_WORKER_EXIT_BROKEN = 69, /* process exit status: describe or load failed */
    CN_WORKER_EXIT_DEVICE = 70  /* the device failed for good; the front starts a new process */
};

/* What run may call, from the thread that it was called on. */
struct cn_worker_cb {
    void *ctx;
    /* True when nobody wants the job any more: return CN_ECANCELED soon. Cheap: ask every step. */
    bool (*cancelled)(void *ctx);
    /* step of steps of image number image (from 0) is done. Also the sign of life: without one for
     * worker.hang_timeout_s (600 s) the front kills the process, so a long load calls it too. */
    void (*progress)(void *ctx, enum cn_stage stage, int image, int step, int steps);
    /* One finished file; m->id is filled in here. The bytes may be freed afterwards. */
    int (*image)(void *ctx, const struct cn_msg_image *m, struct cn_err *err);
    /* Adds time to a stage; reported with the job's end. */
    void (*stage)(void *ctx, enum cn_stage stage, double ms);
};

struct cn_worker_ops {
    /* Fast (no weights): fills *ret (zeroed): backend, device, build, capacity (0 means 1), model
     * (malloc'd; released here). pid is filled in here. */
    int (*describe)(void *ctx, struct cn_msg_hello *ret, struct cn_err *err);
    /* May be NULL. May take long: the front shows "loading" until it returns. */
    int (*load)(void *ctx, struct cn_err *err);
    /* Draws one job. err->where may be a JSON pointer into the request ("/controls/0/image").
     * CN_EDEVICE: the loop reports it and returns CN_EDEVICE; the process must end. */
    int (*run)(void *ctx, const struct cn_spec *spec, const struct cn_worker_cb *cb,
               struct cn_err *err);
    /* May be NULL. Called after load and after each job: "resident_bytes", ... */
    void (*gauges)(void *ctx, struct cn_msg_gauges *ret);
};

/* Serves the front at the other end of fd (which is closed at the end). CN_OK when the front asked
 * to stop or closed; CN_EDEVICE, or the failure of describe or load, otherwise. */
int cn_worker_loop(int fd, const struct cn_worker_ops *ops, void *ctx, struct cn_err *err);

/* The exit status of the process for a return value of cn_worker_loop. */
int cn_worker_exit_status(int rc);

#endif
