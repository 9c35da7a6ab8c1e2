/* One worker process: started, spoken to, watched, started again.
 *
 * DESIGN. Loop thread only. An incarnation (process, socket) is an object of its own that outlives
 * its place here until libuv has closed its handles; events of one that was dropped go nowhere.
 * A process is down when it has exited and its socket is read to the end, so that its last words
 * are heard. It starts again after a delay of 0.2 s, doubled with each failure up to 30 s; a
 * process that stayed ready for 60 s or did its work starts from 0.2 s again; so does one that was
 * killed from outside.
 *
 *     p = cn_process_new(&options);
 *     cn_process_start(p);
 *     cn_process_send(p, &buf);              -- whole frames; empties buf
 *     cn_process_stop(p); ... cn_process_gone(p) ... cn_process_free(p);
 */
#ifndef CN_JOB_PROCESS_H
#define CN_JOB_PROCESS_H

#include "base/base.h"
#include "base/buf.h"
#include "wire/message.h"

#include <uv.h>

enum cn_process_state {
    CN_PROCESS_DOWN,     /* none; waiting to start again, or stopped */
    CN_PROCESS_STARTING, /* no HELLO yet */
    CN_PROCESS_LOADING,
    CN_PROCESS_READY
};

/* Why a process ended: the closed set of the metric's label. */
enum cn_process_cause {
    CN_CAUSE_EXIT,
    CN_CAUSE_SIGNAL,
    CN_CAUSE_DEVICE,
    CN_CAUSE_HANG,
    CN_CAUSE_PROTOCOL,
    CN_CAUSE_START,
    CN_CAUSE_COUNT
};

extern const struct cn_enum cn_enum_cause;

struct cn_process;

struct cn_process_options {
    uv_loop_t *loop;
    const char *program;     /* path */
    const char *const *args; /* NULL-terminated, without the program and --fd; must outlive it */
    int index;               /* for the log */
    int start_timeout_s;     /* HELLO and READY within this time */
    int ping_ms;             /* between two PINGs; silence for three of them is a hang */
    void *arg;
    void (*on_hello)(void *arg, struct cn_msg_hello *hello); /* may take what it holds */
    void (*on_ready)(void *arg);
    void (*on_frame)(void *arg, const struct cn_frame *f); /* all others but PONG */
    void (*on_down)(void *arg, enum cn_process_cause cause, const char *text);
};

struct cn_process *cn_process_new(const struct cn_process_options *o);
void cn_process_start(struct cn_process *p);

/* Sends the frames in b and leaves b empty. Nothing happens when there is no process. */
void cn_process_send(struct cn_process *p, struct cn_buf *b);

enum cn_process_state cn_process_state(const struct cn_process *p);
int cn_process_pid(const struct cn_process *p);         /* 0: none */
int64_t cn_process_pong_us(const struct cn_process *p); /* wall clock of the last sign of life */
const char *cn_process_trouble(const struct cn_process *p); /* why it is down; "" when it is not */

/* SIGKILL, and remember why. It starts again by itself. */
void cn_process_kill(struct cn_process *p, enum cn_process_cause cause, const char *text);

/* Of the end that on_down told of: it was SIGKILL, and not ours; it had become ready before. */
bool cn_process_killed(const struct cn_process *p);
bool cn_process_was_ready(const struct cn_process *p);

/* It does its work: the next restart comes after the first delay. */
void cn_process_reset_backoff(struct cn_process *p);

/* It does not start again before this time has passed. */
void cn_process_delay_restart(struct cn_process *p, int64_t ns);

/* Every 250 ms: pings and their deadline, start deadline, restart. */
void cn_process_tick(struct cn_process *p);

/* Asks the worker to end and stops starting it; killed when it is still there after 5 s. */
void cn_process_stop(struct cn_process *p);
bool cn_process_gone(const struct cn_process *p); /* stopped, and all handles closed */
void cn_process_free(struct cn_process *p);       /* only when gone, or never started */

#endif
