/* Worker loop: reader thread, job queue, reports. */
#include "base/base.h"
#include "worker_loop.h"
#include "base/mem.h"
#include "wire/peer.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { END_GRACE_S = 10 };

#define OUT_MAX (CN_FRAME_MAX + CN_FRAME_HEAD)

struct waiting {
    uint64_t id;
    struct cn_spec spec;
};

/* lock protects queue, n_queued, capacity, running, has_running, stop and ended; cancel is atomic
 * because run asks for it at every step; the rest belongs to the thread of cn_worker_loop. */
struct loop {
    const struct cn_worker_ops *ops;
    void *ctx;
    struct cn_peer peer;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct waiting queue[CN_WORKER_QUEUE];
    int n_queued, capacity;
    uint64_t running;
    bool has_running, stop, ended;
    atomic_bool cancel;
    struct cn_msg_done done; /* of the running job */
    struct cn_buf out;
};

static int send_failed(struct loop *l, struct cn_buf *out, uint64_t id, const struct cn_err *e)
{
    struct cn_msg_failed m = {.id = id, .err = *e};
    int rc = cn_msg_put_failed(out, &m, NULL);

    return rc < 0 ? rc : cn_peer_write(&l->peer, out, NULL);
}

static int send_state(struct loop *l, enum cn_worker_state state, const struct cn_err *e)
{
    struct cn_msg_state m = {.state = state};
    int rc;

    if (e != NULL)
        memcpy(m.text, e->msg, CN_MIN(sizeof(m.text), sizeof(e->msg)));
    rc = cn_msg_put_state(&l->out, &m, NULL);
    return rc < 0 ? rc : cn_peer_write(&l->peer, &l->out, NULL);
}

static void send_gauges(struct loop *l)
{
    struct cn_msg_gauges m = {0};

    if (l->ops->gauges == NULL)
        return;
    l->ops->gauges(l->ctx, &m);
    if (m.n > 0 && cn_msg_put_gauges(&l->out, &m, NULL) == CN_OK)
        cn_peer_write(&l->peer, &l->out, NULL);
}

/* ---- reader thread ---- */

static void take_job(struct loop *l, struct cn_buf *out, const struct cn_frame *f)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_spec spec;
    uint64_t id;

    if (cn_msg_get_job(f, &id, &spec, &err) < 0) {
        send_failed(l, out, id, &err);
        return;
    }
    pthread_mutex_lock(&l->lock);
    if (l->n_queued + l->has_running < l->capacity && !l->stop) {
        l->queue[l->n_queued++] = (struct waiting){id, spec};
        pthread_cond_signal(&l->wake);
        pthread_mutex_unlock(&l->lock);
        return;
    }
    pthread_mutex_unlock(&l->lock);
    cn_spec_release(&spec);
    cn_fail(&err, CN_EBUSY, "the worker has %d jobs already", l->capacity);
    send_failed(l, out, id, &err);
}

static void take_cancel(struct loop *l, struct cn_buf *out, const struct cn_frame *f)
{
    struct cn_err err = CN_ERR_INIT;
    bool found = false;
    uint64_t id;

    if (cn_msg_get_number(f, &id, NULL) < 0)
        return;
    pthread_mutex_lock(&l->lock);
    if (l->has_running && l->running == id)
        atomic_store(&l->cancel, true);
    for (int i = 0; i < l->n_queued && !found; i++) {
        if (l->queue[i].id != id)
            continue;
        found = true;
        cn_spec_release(&l->queue[i].spec);
        l->n_queued--;
        memmove(&l->queue[i], &l->queue[i + 1], (size_t)(l->n_queued - i) * sizeof(l->queue[0]));
    }
    pthread_mutex_unlock(&l->lock);
    if (found) {
        cn_fail(&err, CN_ECANCELED, "cancelled before it started");
        send_failed(l, out, id, &err);
    }
}

/* False: leave. */
static bool take_frame(struct loop *l, struct cn_buf *out, const struct cn_frame *f)
{
    uint64_t number;

    switch (f->type) {
    case CN_FRAME_JOB:
        take_job(l, out, f);
        return true;
    case CN_FRAME_CANCEL:
        take_cancel(l, out, f);
        return true;
    case CN_FRAME_PING:
        if (cn_msg_get_number(f, &number, NULL) == CN_OK &&
            cn_msg_put_number(out, CN_FRAME_PONG, number, NULL) == CN_OK)
            cn_peer_write(&l->peer, out, NULL);
        return true;
    default: /* SHUTDOWN, or something that a front never sends */
        return false;
    }
}

/* The front is gone or said stop: end the work, and the process if the work does not end. */
static void stop_all(struct loop *l)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += END_GRACE_S;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    atomic_store(&l->cancel, true);
    pthread_cond_broadcast(&l->wake);
    while (!l->ended)
        if (pthread_cond_timedwait(&l->wake, &l->lock, &until) != 0 && !l->ended)
            _exit(1);
    pthread_mutex_unlock(&l->lock);
}

static void *read_frames(void *arg)
{
    struct loop *l = arg;
    struct cn_frame f;
    struct cn_buf out;

    cn_buf_init(&out, 1 << 16);
    while (cn_peer_read(&l->peer, &f, NULL) > 0 && take_frame(l, &out, &f))
        ;
    cn_buf_release(&out);
    stop_all(l);
    return NULL;
}

/* ---- working thread ---- */

static bool cb_cancelled(void *ctx)
{
    struct loop *l = ctx;

    return atomic_load_explicit(&l->cancel, memory_order_relaxed);
}

static void cb_progress(void *ctx, enum cn_stage stage, int image, int step, int steps)
{
    struct loop *l = ctx;
    struct cn_msg_progress m = {l->done.id, stage, image, step, steps};

    if (cn_msg_put_progress(&l->out, &m, NULL) == CN_OK)
        cn_peer_write(&l->peer, &l->out, NULL);
}

static int cb_image(void *ctx, const struct cn_msg_image *m, struct cn_err *err)
{
    struct loop *l = ctx;
    struct cn_msg_image own = *m;
    int rc;

    own.id = l->done.id;
    rc = cn_msg_put_image(&l->out, &own, err);
    return rc < 0 ? rc : cn_peer_write(&l->peer, &l->out, err);
}

static void cb_stage(void *ctx, enum cn_stage stage, double ms)
{
    struct loop *l = ctx;

    l->done.ms[stage] += ms;
}

/* Waits for a job; false when it is time to leave. */
static bool next_job(struct loop *l, struct waiting *w)
{
    bool got;

    pthread_mutex_lock(&l->lock);
    l->has_running = false;
    while (l->n_queued == 0 && !l->stop)
        pthread_cond_wait(&l->wake, &l->lock);
    got = !l->stop;
    if (got) {
        *w = l->queue[0];
        l->n_queued--;
        memmove(&l->queue[0], &l->queue[1], (size_t)l->n_queued * sizeof(l->queue[0]));
        l->running = w->id;
        l->has_running = true;
        atomic_store(&l->cancel, false);
    }
    pthread_mutex_unlock(&l->lock);
    return got;
}

static int run_job(struct loop *l, struct waiting *w)
{
    const struct cn_worker_cb cb = {l, cb_cancelled, cb_progress, cb_image, cb_stage};
    struct cn_err err = CN_ERR_INIT;
    int rc;

    l->done = (struct cn_msg_done){.id = w->id};
    rc = l->ops->run(l->ctx, &w->spec, &cb, &err);
    cn_spec_release(&w->spec);
    if (rc < 0 && err.code == 0)
        cn_fail(&err, rc, "the job failed without a reason (%s)", cn_code_name(rc));
    /* The place is free before the front hears of the end, so that its next job finds it. */
    pthread_mutex_lock(&l->lock);
    l->has_running = false;
    pthread_mutex_unlock(&l->lock);
    if (rc < 0) {
        send_failed(l, &l->out, w->id, &err);
    } else if ((rc = cn_msg_put_done(&l->out, &l->done, NULL)) == CN_OK) {
        cn_peer_write(&l->peer, &l->out, NULL);
    }
    send_gauges(l);
    return rc;
}

static int introduce(struct loop *l, struct cn_err *err)
{
    struct cn_msg_hello hello = {0};
    int rc = l->ops->describe(l->ctx, &hello, err);

    hello.pid = (int)getpid();
    hello.capacity = CN_MIN(CN_MAX(hello.capacity, 1), CN_WORKER_QUEUE);
    pthread_mutex_lock(&l->lock);
    l->capacity = hello.capacity;
    pthread_mutex_unlock(&l->lock);
    if (rc == CN_OK && (rc = cn_msg_put_hello(&l->out, &hello, err)) == CN_OK)
        rc = cn_peer_write(&l->peer, &l->out, err);
    cn_msg_hello_release(&hello);
    return rc;
}

/* Joins the reader; a reader that still waits for frames is woken by closing our side. */
static void finish(struct loop *l, pthread_t reader, int rc)
{
    pthread_mutex_lock(&l->lock);
    l->ended = true;
    pthread_cond_broadcast(&l->wake);
    pthread_mutex_unlock(&l->lock);
    if (rc != CN_OK)
        shutdown(l->peer.fd, SHUT_RDWR);
    pthread_join(reader, NULL);
    for (int i = 0; i < l->n_queued; i++)
        cn_spec_release(&l->queue[i].spec);
}

static int serve(struct loop *l, struct cn_err *err)
{
    struct waiting w;
    int rc = introduce(l, err);

    if (rc == CN_OK && l->ops->load != NULL &&
        (rc = send_state(l, CN_WORKER_LOADING, NULL)) == CN_OK)
        rc = l->ops->load(l->ctx, err);
    if (rc < 0) {
        struct cn_err why = CN_ERR_INIT;

        cn_fail(&why, rc, "the worker cannot start (%s)", cn_code_name(rc));
        send_state(l, CN_WORKER_BROKEN, err != NULL && err->code != 0 ? err : &why);
        return rc;
    }
    send_gauges(l);
    send_state(l, CN_WORKER_READY, NULL);
    while (next_job(l, &w))
        if (run_job(l, &w) == CN_EDEVICE)
            return cn_fail(err, CN_EDEVICE, "the device failed");
    return CN_OK;
}

int cn_worker_loop(int fd, const struct cn_worker_ops *ops, void *ctx, struct cn_err *err)
{
    struct loop *l = cn_xcalloc(1, sizeof(*l));
    pthread_t reader;
    int rc;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* Ctrl-C is for the front, which drains first */
    l->ops = ops;
    l->ctx = ctx;
    l->capacity = 1;
    cn_peer_init(&l->peer, fd);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->wake, NULL);
    cn_buf_init(&l->out, OUT_MAX);
    if (pthread_create(&reader, NULL, read_frames, l) != 0) {
        rc = cn_fail(err, CN_EIO, "cannot start a thread");
    } else {
        rc = serve(l, err);
        finish(l, reader, rc);
    }
    cn_peer_release(&l->peer);
    cn_buf_release(&l->out);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
    free(l);
    return rc;
}

int cn_worker_exit_status(int rc)
{
    return rc == CN_OK ? 0 : rc == CN_EDEVICE ? CN_WORKER_EXIT_DEVICE : CN_WORKER_EXIT_BROKEN;
}
