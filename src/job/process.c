/* Supervision of one worker process: spawns it, frames what is said to it, notices that it died or
 * hangs, and starts it again after a delay that grows. */
#include "base/base.h"
#include "job/process.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_CHUNK = 64 * 1024,
    WORKER_FD = 3, /* number of the socket in the worker */
    MAX_ENV = 64,
    SILENT_PINGS = 3, /* its reader answers also while it loads and draws: this one is gone */
    EXIT_DEVICE = 70  /* CN_WORKER_EXIT_DEVICE of worker_loop.h, which this layer cannot see */
};

#define BACKOFF_FIRST (CN_SECOND_NS / 5)
#define BACKOFF_MAX   (30 * CN_SECOND_NS)
#define GOOD_LIFE     (60 * CN_SECOND_NS)
#define STOP_GRACE    (5 * CN_SECOND_NS)
#define EOF_GRACE     (1 * CN_SECOND_NS)

static const char *const cause_names[CN_CAUSE_COUNT] = {"exit", "signal",   "device",
                                                        "hang", "protocol", "start"};
const struct cn_enum cn_enum_cause = {"cause", cause_names, CN_CAUSE_COUNT};

/* A running process. Freed when both handles are closed. */
struct incarnation {
    struct cn_process *owner; /* NULL: dropped */
    uv_process_t child;
    uv_pipe_t pipe;
    int handles;
    bool exited, eof;
    int status, signal;
    struct cn_frame_decoder in;
    char chunk[READ_CHUNK];
};

struct cn_process {
    struct cn_process_options o;
    enum cn_process_state state;
    struct incarnation *inc; /* NULL: none */
    int closing;             /* dropped incarnations whose handles are not closed yet */
    int64_t started_ns, ready_ns, restart_ns, ping_ns, end_ns;
    int64_t backoff_ns, heard_us;
    uint64_t pings;
    int unanswered; /* pings since the last sign of life: a byte from it, or one that it took */
    size_t given;   /* bytes that were given to its pipe */
    size_t taken;   /* of them, by the pipe, when the last ping went */
    bool full;      /* the pipe took no more then */
    bool stopping, cause_known, killed;
    enum cn_process_cause cause;
    char text[400]; /* why it ended or ends */
};

struct cn_process *cn_process_new(const struct cn_process_options *o)
{
    struct cn_process *p = cn_xcalloc(1, sizeof(*p));

    p->o = *o;
    p->backoff_ns = BACKOFF_FIRST;
    return p;
}

/* ---- handles ---- */

static void on_closed(uv_handle_t *h)
{
    struct incarnation *inc = h->data;

    if (--inc->handles > 0)
        return;
    inc->owner->closing--;
    cn_frame_decoder_release(&inc->in);
    free(inc);
}

static void drop(struct cn_process *p)
{
    struct incarnation *inc = p->inc;

    p->inc = NULL;
    p->state = CN_PROCESS_DOWN;
    p->closing++;
    uv_close((uv_handle_t *)&inc->pipe, on_closed);
    uv_close((uv_handle_t *)&inc->child, on_closed);
}

static void blame(struct cn_process *p, enum cn_process_cause cause, const char *text)
{
    if (p->cause_known)
        return;
    p->cause_known = true;
    p->cause = cause;
    snprintf(p->text, sizeof(p->text), "%s", text);
}

/* Sets the time of the next start and tells the owner. */
static void went_down(struct cn_process *p)
{
    int64_t now = cn_now_ns();

    if (p->killed || (p->ready_ns != 0 && now - p->ready_ns > GOOD_LIFE))
        p->backoff_ns = BACKOFF_FIRST;
    p->restart_ns = now + p->backoff_ns;
    p->backoff_ns = CN_MIN(p->backoff_ns * 2, BACKOFF_MAX);
    if (!p->stopping)
        cn_log(CN_LOG_ERROR, "worker.down", p->text, "worker=%d cause=%s restart_in_ms=%ld",
               p->o.index, cause_names[p->cause], (long)((p->restart_ns - now) / 1000000));
    p->o.on_down(p->o.arg, p->cause, p->text);
}

/* Both halves of the end are there, or the second one was waited for long enough. */
static void end_incarnation(struct cn_process *p)
{
    struct incarnation *inc = p->inc;
    char text[120];

    p->killed = inc->signal == SIGKILL && !p->cause_known;
    if (inc->signal != 0) {
        snprintf(text, sizeof(text), "the worker was ended by signal %d (%s)", inc->signal,
                 strsignal(inc->signal));
        blame(p, CN_CAUSE_SIGNAL, text);
    } else {
        snprintf(text, sizeof(text), "the worker exited with status %d", inc->status);
        blame(p, inc->status == EXIT_DEVICE ? CN_CAUSE_DEVICE : CN_CAUSE_EXIT, text);
    }
    drop(p);
    went_down(p);
}

static void on_child_exit(uv_process_t *child, int64_t status, int sig)
{
    struct incarnation *inc = child->data;
    struct cn_process *p = inc->owner;

    inc->exited = true;
    inc->status = (int)status;
    inc->signal = sig;
    p->end_ns = cn_now_ns() + EOF_GRACE;
    if (p->inc == inc && inc->eof)
        end_incarnation(p);
}

/* ---- reading ---- */

static void on_hello(struct cn_process *p, const struct cn_frame *f, struct cn_err *err)
{
    struct cn_msg_hello hello;

    if (cn_msg_get_hello(f, &hello, err) < 0)
        return;
    p->state = CN_PROCESS_LOADING;
    cn_log(CN_LOG_INFO, "worker.hello", "worker introduced itself",
           "worker=%d pid=%d backend=%s device=%s build=%s models=%d capacity=%d", p->o.index,
           hello.pid, hello.backend, hello.device, hello.build, hello.n_models, hello.capacity);
    p->o.on_hello(p->o.arg, &hello);
    cn_msg_hello_release(&hello);
}

static void on_state(struct cn_process *p, const struct cn_frame *f, struct cn_err *err)
{
    struct cn_msg_state m;

    if (cn_msg_get_state(f, &m, err) < 0)
        return;
    if (m.state == CN_WORKER_BROKEN) {
        blame(p, CN_CAUSE_START, m.text);
    } else if (m.state == CN_WORKER_READY && p->state == CN_PROCESS_LOADING) {
        p->state = CN_PROCESS_READY;
        p->ready_ns = cn_now_ns();
        p->text[0] = '\0';
        cn_log(CN_LOG_INFO, "worker.ready", "worker is ready", "worker=%d start_ms=%ld", p->o.index,
               (long)((p->ready_ns - p->started_ns) / 1000000));
        p->o.on_ready(p->o.arg);
    }
}

static void on_frame(struct cn_process *p, const struct cn_frame *f, struct cn_err *err)
{
    p->heard_us = cn_wall_us();
    if (f->type == CN_FRAME_STATE)
        on_state(p, f, err);
    else if (f->type == CN_FRAME_HELLO && p->state == CN_PROCESS_STARTING)
        on_hello(p, f, err);
    else if (f->type == CN_FRAME_HELLO || p->state == CN_PROCESS_STARTING)
        cn_fail(err, CN_EFORMAT, "frame of type %d out of order", (int)f->type);
    else if (f->type != CN_FRAME_PONG)
        p->o.on_frame(p->o.arg, f);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct incarnation *inc = h->data;

    (void)suggested;
    *buf = uv_buf_init(inc->chunk, sizeof(inc->chunk));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct incarnation *inc = s->data;
    struct cn_process *p = inc->owner;
    struct cn_err err = CN_ERR_INIT;
    struct cn_frame f;

    if (n == 0 || p->inc != inc)
        return;
    p->unanswered = 0;
    if (n < 0) {
        inc->eof = true;
        uv_read_stop(s);
        if (inc->exited)
            end_incarnation(p);
        else
            p->end_ns = cn_now_ns() + EOF_GRACE; /* then it is killed */
        return;
    }
    cn_frame_feed(&inc->in, buf->base, (size_t)n, &err);
    while (p->inc == inc && err.code == 0 && cn_frame_next(&inc->in, &f, &err) > 0)
        on_frame(p, &f, &err);
    if (p->inc == inc && err.code != 0)
        cn_process_kill(p, CN_CAUSE_PROTOCOL, err.msg);
}

/* ---- starting ---- */

/* The worker sees only what it may need: no secrets of the daemon's environment. */
static bool wanted_env(const char *e)
{
    static const char *const prefix[] = {"PATH=",
                                         "HOME=",
                                         "LANG=",
                                         "LC_ALL=",
                                         "TMPDIR=",
                                         "TZ=",
                                         "JOURNAL_STREAM=",
                                         "LD_LIBRARY_PATH=",
                                         "CACHE_DIRECTORY=",
                                         "XDG_CACHE_HOME=",
                                         "OMP_",
                                         "DNNL_",
                                         "ONEDNN_",
                                         "CUDA_",
                                         "CUDNN_",
                                         "CUBLASLT_",
                                         "NVIDIA_",
                                         "ASAN_",
                                         "UBSAN_",
                                         "LSAN_",
                                         "TSAN_",
                                         "CONTROLNET_",
                                         "CONTROLNETD_DATADIR="};

    for (size_t i = 0; i < CN_LEN(prefix); i++)
        if (strncmp(e, prefix[i], strlen(prefix[i])) == 0)
            return true;
    return false;
}

static void fill_env(char **env)
{
    int n = 0;

    for (char **e = environ; *e != NULL && n < MAX_ENV; e++)
        if (wanted_env(*e))
            env[n++] = *e;
    env[n] = NULL;
}

/* NULL-terminated; the list is the caller's, the texts are not. */
static char **make_args(const struct cn_process *p)
{
    static char fd_text[] = "3";
    size_t given = 0, n = 0;
    char **argv;

    while (p->o.args[given] != NULL)
        given++;
    argv = cn_xcalloc(given + 4, sizeof(*argv));
    argv[n++] = (char *)p->o.program;
    argv[n++] = (char *)"--fd";
    argv[n++] = fd_text;
    for (size_t i = 0; i < given; i++)
        argv[n++] = (char *)p->o.args[i];
    return argv;
}

static int spawn(struct cn_process *p, struct incarnation *inc, int fd)
{
    char **argv = make_args(p), *env[MAX_ENV + 1];
    int rc;
    uv_stdio_container_t io[WORKER_FD + 1] = {
        [0] = {.flags = UV_IGNORE},
        [1] = {.flags = UV_IGNORE},
        [2] = {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        [WORKER_FD] = {.flags = UV_INHERIT_FD, .data.fd = fd},
    };
    uv_process_options_t o = {.exit_cb = on_child_exit,
                              .file = p->o.program,
                              .args = argv,
                              .env = env,
                              .stdio = io,
                              .stdio_count = WORKER_FD + 1};

    fill_env(env);
    rc = uv_spawn(p->o.loop, &inc->child, &o);
    free(argv);
    return rc;
}

static int open_incarnation(struct cn_process *p, struct incarnation *inc)
{
    int fds[2], rc;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    uv_pipe_init(p->o.loop, &inc->pipe, 0);
    inc->pipe.data = inc->child.data = inc;
    inc->handles = 1;
    rc = uv_pipe_open(&inc->pipe, fds[0]);
    if (rc < 0) {
        close(fds[0]);
    } else {
        rc = spawn(p, inc, fds[1]);
        inc->handles = 2; /* uv_spawn initialises its handle also when it fails */
    }
    close(fds[1]);
    return rc;
}

void cn_process_start(struct cn_process *p)
{
    struct incarnation *inc = cn_xcalloc(1, sizeof(*inc));
    int rc;

    p->started_ns = cn_now_ns();
    p->ready_ns = p->ping_ns = p->end_ns = 0;
    p->unanswered = 0;
    p->given = p->taken = 0;
    p->full = false;
    p->cause_known = p->killed = false;
    inc->owner = p;
    cn_frame_decoder_init(&inc->in);
    rc = open_incarnation(p, inc);
    p->inc = inc;
    p->state = CN_PROCESS_STARTING;
    if (rc == 0) {
        uv_read_start((uv_stream_t *)&inc->pipe, on_alloc, on_read);
        return;
    }
    char text[300];

    snprintf(text, sizeof(text), "cannot start \"%s\": %s", p->o.program, uv_strerror(rc));
    blame(p, CN_CAUSE_START, text);
    if (inc->handles == 2) {
        drop(p);
    } else {
        p->inc = NULL;
        p->state = CN_PROCESS_DOWN;
        if (inc->handles == 1) {
            p->closing++;
            uv_close((uv_handle_t *)&inc->pipe, on_closed);
        } else {
            free(inc);
        }
    }
    went_down(p);
}

/* ---- writing ---- */

struct write {
    uv_write_t req;
    unsigned char *data;
};

static void on_written(uv_write_t *req, int status)
{
    struct write *w = req->data;

    (void)status; /* a broken pipe shows as the end of the process */
    free(w->data);
    free(w);
}

void cn_process_send(struct cn_process *p, struct cn_buf *b)
{
    struct write *w;
    uv_buf_t buf;
    size_t len;

    if (p->inc == NULL || p->inc->eof || b->len == 0) {
        cn_buf_clear(b);
        return;
    }
    w = cn_xcalloc(1, sizeof(*w));
    w->data = cn_buf_steal(b, &len);
    w->req.data = w;
    buf = uv_buf_init((char *)w->data, (unsigned)len);
    if (uv_write(&w->req, (uv_stream_t *)&p->inc->pipe, &buf, 1, on_written) < 0) {
        free(w->data);
        free(w);
        return;
    }
    p->given += len;
}

/* A worker that is short of processor time may need long to take a job of many megabytes, and the
 * pings stand behind it in the pipe: that a full pipe takes more shows that its reader is there. */
static void note_taken(struct cn_process *p)
{
    size_t left = uv_stream_get_write_queue_size((uv_stream_t *)&p->inc->pipe);

    if (p->full && p->given - left > p->taken)
        p->unanswered = 0;
    p->taken = p->given - left;
    p->full = left > 0;
}

static void send_number(struct cn_process *p, enum cn_frame_type type, uint64_t number)
{
    struct cn_buf b;

    cn_buf_init(&b, 64);
    if (cn_msg_put_number(&b, type, number, NULL) == CN_OK)
        cn_process_send(p, &b);
    cn_buf_release(&b);
}

/* ---- watching ---- */

enum cn_process_state cn_process_state(const struct cn_process *p)
{
    return p->state;
}

int cn_process_pid(const struct cn_process *p)
{
    return p->inc == NULL ? 0 : p->inc->child.pid;
}

int64_t cn_process_pong_us(const struct cn_process *p)
{
    return p->heard_us;
}

const char *cn_process_trouble(const struct cn_process *p)
{
    return p->state == CN_PROCESS_READY ? "" : p->text;
}

void cn_process_kill(struct cn_process *p, enum cn_process_cause cause, const char *text)
{
    if (p->inc == NULL)
        return;
    blame(p, cause, text);
    if (!p->inc->exited)
        uv_process_kill(&p->inc->child, SIGKILL);
}

bool cn_process_killed(const struct cn_process *p)
{
    return p->killed;
}

bool cn_process_was_ready(const struct cn_process *p)
{
    return p->ready_ns != 0;
}

void cn_process_reset_backoff(struct cn_process *p)
{
    p->backoff_ns = BACKOFF_FIRST;
}

void cn_process_delay_restart(struct cn_process *p, int64_t ns)
{
    p->restart_ns = CN_MAX(p->restart_ns, cn_now_ns() + ns);
}

/* A process of which one half of the end is there. */
static void tick_ending(struct cn_process *p, int64_t now)
{
    if (now < p->end_ns)
        return;
    if (p->inc->exited)
        end_incarnation(p);
    else if (p->inc->eof)
        cn_process_kill(p, CN_CAUSE_PROTOCOL, "the worker closed its socket");
    else if (p->stopping)
        cn_process_kill(p, CN_CAUSE_HANG, "the worker did not stop");
}

void cn_process_tick(struct cn_process *p)
{
    int64_t now = cn_now_ns();

    if (p->inc == NULL) {
        if (!p->stopping && p->closing == 0 && p->restart_ns != 0 && now >= p->restart_ns)
            cn_process_start(p);
        return;
    }
    if (p->inc->exited || p->inc->eof || p->stopping) {
        tick_ending(p, now);
        return;
    }
    if (p->state != CN_PROCESS_READY && now - p->started_ns > p->o.start_timeout_s * CN_SECOND_NS)
        cn_process_kill(p, CN_CAUSE_START, "the worker was not ready in time");
    if (p->state == CN_PROCESS_STARTING || now - p->ping_ns <= p->o.ping_ms * INT64_C(1000000))
        return;
    note_taken(p);
    if (p->unanswered >= SILENT_PINGS) {
        cn_process_kill(p, CN_CAUSE_HANG, "the worker answers no pings");
        return;
    }
    p->ping_ns = now;
    p->unanswered++;
    send_number(p, CN_FRAME_PING, ++p->pings);
}

void cn_process_stop(struct cn_process *p)
{
    if (p->stopping)
        return;
    p->stopping = true;
    if (p->inc == NULL)
        return;
    send_number(p, CN_FRAME_SHUTDOWN, 0);
    p->end_ns = cn_now_ns() + STOP_GRACE;
    blame(p, CN_CAUSE_EXIT, "the worker was stopped");
}

bool cn_process_gone(const struct cn_process *p)
{
    return p->inc == NULL && p->closing == 0;
}

void cn_process_free(struct cn_process *p)
{
    free(p);
}
