/* Worker loop: reader thread, jobs, reports. */
#include "base/base.h"
#include "worker/loop.h"
#include "base/mem.h"
#include "wire/peer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { END_GRACE_S = 10, MANAGE_MAX = 16, REST_AFTER_S = 5 };

#define OUT_MAX (CN_FRAME_MAX + CN_FRAME_HEAD)

struct cn_worker_job {
    struct cn_worker *w;
    uint64_t id;
    struct cn_spec spec;
    bool begun;
    atomic_bool cancel;
    /* Under the worker's lock: what its threads report. */
    struct cn_msg_done done;
    int *steps_done; /* of each image */
};

/* lock protects jobs, manage, changed, woken, ended_one, stop and ended. Jobs that have not begun
 * belong to the reader thread and the lock; begun ones to whoever draws them. */
struct cn_worker {
    const struct cn_worker_ops *ops;
    void *ctx;
    struct cn_peer peer;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct cn_worker_job *job[CN_WORKER_JOBS]; /* in the order of arrival */
    int n_jobs, capacity;
    struct cn_msg_manage manage[MANAGE_MAX];
    int n_manage;
    bool woken, ended_one, stop, ended;
    bool changed; /* the directories of models */
    bool rested;  /* rest() was called since there was something to do */
};

/* Conditions wait by the clock that nobody sets: else a step of the time would end the process at
 * once, or never. */
static void init_wake(pthread_cond_t *c)
{
    pthread_condattr_t a;

    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(c, &a);
    pthread_condattr_destroy(&a);
}

static struct timespec in_seconds(int s)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += s;
    return t;
}

/* ---- sending: any thread ---- */

static int send_frames(struct cn_worker *w, struct cn_buf *b, int rc)
{
    if (rc == CN_OK)
        rc = cn_peer_write(&w->peer, b, NULL);
    cn_buf_release(b);
    return rc;
}

static int send_failed(struct cn_worker *w, uint64_t id, const struct cn_err *e)
{
    struct cn_msg_failed m = {.id = id, .err = *e};
    struct cn_buf b;

    cn_buf_init(&b, OUT_MAX);
    return send_frames(w, &b, cn_msg_put_failed(&b, &m, NULL));
}

static int send_state(struct cn_worker *w, enum cn_worker_state state, const struct cn_err *e)
{
    struct cn_msg_state m = {.state = state};
    struct cn_buf b;

    if (e != NULL)
        memcpy(m.text, e->msg, CN_MIN(sizeof(m.text), sizeof(e->msg)));
    cn_buf_init(&b, OUT_MAX);
    return send_frames(w, &b, cn_msg_put_state(&b, &m, NULL));
}

static void send_gauges(struct cn_worker *w)
{
    struct cn_msg_gauges m = {0};
    struct cn_buf b;

    if (w->ops->gauges == NULL)
        return;
    w->ops->gauges(w->ctx, &m);
    if (m.n == 0)
        return;
    cn_buf_init(&b, OUT_MAX);
    send_frames(w, &b, cn_msg_put_gauges(&b, &m, NULL));
}

static void send_managed(struct cn_worker *w, uint64_t number, const struct cn_err *e)
{
    struct cn_msg_managed m = {.number = number};
    struct cn_buf b;

    if (e != NULL)
        m.err = *e;
    cn_buf_init(&b, OUT_MAX);
    send_frames(w, &b, cn_msg_put_managed(&b, &m, NULL));
}

/* ---- jobs ---- */

static struct cn_worker_job *job_new(struct cn_worker *w, uint64_t id, const struct cn_spec *spec)
{
    struct cn_worker_job *job = cn_xcalloc(1, sizeof(*job));

    job->w = w;
    job->id = job->done.id = id;
    job->spec = *spec;
    job->steps_done = cn_xcalloc((size_t)CN_MAX(spec->n, 1), sizeof(*job->steps_done));
    return job;
}

static void job_free(struct cn_worker_job *job)
{
    cn_spec_release(&job->spec);
    free(job->steps_done);
    free(job);
}

/* Under the lock. */
static void forget(struct cn_worker *w, const struct cn_worker_job *job)
{
    int i = 0;

    while (i < w->n_jobs && w->job[i] != job)
        i++;
    CN_ASSERT(i < w->n_jobs);
    w->n_jobs--;
    memmove(&w->job[i], &w->job[i + 1], (size_t)(w->n_jobs - i) * sizeof(struct cn_worker_job *));
}

const struct cn_spec *cn_worker_spec(const struct cn_worker_job *job)
{
    return &job->spec;
}

struct cn_worker *cn_worker_of(const struct cn_worker_job *job)
{
    return job->w;
}

bool cn_worker_cancelled(const struct cn_worker_job *job)
{
    return atomic_load_explicit(&job->cancel, memory_order_relaxed);
}

void cn_worker_progress(struct cn_worker_job *job, enum cn_stage stage, int image, int step,
                        int steps)
{
    struct cn_worker *w = job->w;
    struct cn_msg_progress m = {.id = job->id,
                                .stage = stage,
                                .image = image,
                                .step = step,
                                .steps = steps,
                                .total = steps * CN_MAX(job->spec.n, 1)};
    struct cn_buf b;

    pthread_mutex_lock(&w->lock);
    if (image >= 0 && image < job->spec.n)
        job->steps_done[image] = CN_MAX(job->steps_done[image], step);
    for (int i = 0; i < job->spec.n; i++)
        m.done += job->steps_done[i];
    pthread_mutex_unlock(&w->lock);
    cn_buf_init(&b, OUT_MAX);
    send_frames(w, &b, cn_msg_put_progress(&b, &m, NULL));
}

void cn_worker_warn(struct cn_worker_job *job, enum cn_warning_code code, const char *where,
                    const char *text)
{
    struct cn_msg_warning m = {.id = job->id, .warning = {.code = code}};
    struct cn_buf b;

    snprintf(m.warning.where, sizeof(m.warning.where), "%s", where);
    snprintf(m.warning.text, sizeof(m.warning.text), "%s", text);
    cn_buf_init(&b, OUT_MAX);
    send_frames(job->w, &b, cn_msg_put_warning(&b, &m, NULL));
}

void cn_worker_preview(struct cn_worker_job *job, const struct cn_msg_preview *m)
{
    struct cn_msg_preview own = *m;
    struct cn_buf b;

    if (m->len == 0 || m->len > CN_WIRE_MAX_PREVIEW)
        return;
    own.id = job->id;
    cn_buf_init(&b, OUT_MAX);
    send_frames(job->w, &b, cn_msg_put_preview(&b, &own, NULL));
}

int cn_worker_image(struct cn_worker_job *job, const struct cn_msg_image *m, struct cn_err *err)
{
    struct cn_msg_image own = *m;
    struct cn_buf b;
    int rc;

    own.id = job->id;
    if (m->meta.bytes > CN_WIRE_MAX_PICTURE)
        return cn_fail_at(err, CN_ETOOBIG, "/format",
                          "image %d has %zu bytes as %s, at most %zu can be handed over: ask for "
                          "a smaller picture, or one of less bytes",
                          m->index, m->meta.bytes, cn_enum_format.name[m->meta.format],
                          CN_WIRE_MAX_PICTURE);
    cn_buf_init(&b, OUT_MAX);
    rc = cn_msg_put_image(&b, &own, err);
    if (rc == CN_OK)
        rc = cn_peer_write(&job->w->peer, &b, err);
    cn_buf_release(&b);
    return rc;
}

void cn_worker_stage(struct cn_worker_job *job, enum cn_stage stage, double ms)
{
    pthread_mutex_lock(&job->w->lock);
    job->done.ms[stage] += ms;
    pthread_mutex_unlock(&job->w->lock);
}

void cn_worker_end(struct cn_worker_job *job, int rc, const struct cn_err *err)
{
    struct cn_worker *w = job->w;
    struct cn_err none = CN_ERR_INIT;
    struct cn_buf b;

    if (rc < 0 && (err == NULL || err->code == 0)) {
        cn_fail(&none, rc, "the job failed without a reason (%s)", cn_code_name(rc));
        err = &none;
    }
    /* The place is free before the front hears of the end, so that its next job finds it. */
    pthread_mutex_lock(&w->lock);
    forget(w, job);
    w->ended_one = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    if (rc < 0) {
        send_failed(w, job->id, err);
    } else {
        cn_buf_init(&b, OUT_MAX);
        send_frames(w, &b, cn_msg_put_done(&b, &job->done, NULL));
    }
    job_free(job);
}

void cn_worker_wake(struct cn_worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->woken = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

void cn_worker_beat(struct cn_worker *w, int lanes, int images, double ms)
{
    struct cn_msg_beat m = {lanes, images, ms};
    struct cn_buf b;

    cn_buf_init(&b, OUT_MAX);
    send_frames(w, &b, cn_msg_put_beat(&b, &m, NULL));
}

void cn_worker_model(struct cn_worker *w, const struct cn_msg_model *m)
{
    struct cn_buf b;

    cn_buf_init(&b, OUT_MAX);
    send_frames(w, &b, cn_msg_put_model(&b, m, NULL));
}

void cn_worker_catalog(struct cn_worker *w, const struct cn_msg_catalog *m)
{
    struct cn_buf b;

    cn_buf_init(&b, OUT_MAX);
    send_frames(w, &b, cn_msg_put_catalog(&b, m, NULL));
}

void cn_worker_models_changed(struct cn_worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->changed = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

/* ---- reader thread ---- */

static void take_job(struct cn_worker *w, const struct cn_frame *f)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_spec spec;
    bool taken;
    uint64_t id;

    if (cn_msg_get_job(f, &id, &spec, &err) < 0) {
        send_failed(w, id, &err);
        return;
    }
    pthread_mutex_lock(&w->lock);
    taken = w->n_jobs < w->capacity && !w->stop;
    if (taken) {
        w->job[w->n_jobs++] = job_new(w, id, &spec);
        pthread_cond_broadcast(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
    if (taken)
        return;
    cn_spec_release(&spec);
    cn_fail(&err, CN_EBUSY, "the worker has %d jobs already", w->capacity);
    send_failed(w, id, &err);
}

static void take_cancel(struct cn_worker *w, const struct cn_frame *f)
{
    struct cn_worker_job *waiting = NULL;
    struct cn_err err = CN_ERR_INIT;
    uint64_t id;

    if (cn_msg_get_number(f, &id, NULL) < 0)
        return;
    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < w->n_jobs; i++) {
        if (w->job[i]->id != id)
            continue;
        atomic_store(&w->job[i]->cancel, true);
        if (!w->job[i]->begun)
            waiting = w->job[i];
        break;
    }
    if (waiting != NULL)
        forget(w, waiting);
    w->woken = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    if (waiting == NULL)
        return;
    cn_fail(&err, CN_ECANCELED, "cancelled before it started");
    send_failed(w, id, &err);
    job_free(waiting);
}

static void take_manage(struct cn_worker *w, const struct cn_frame *f)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_msg_manage m;
    bool taken;

    if (cn_msg_get_manage(f, &m, NULL) < 0)
        return;
    pthread_mutex_lock(&w->lock);
    taken = w->n_manage < MANAGE_MAX && !w->stop;
    if (taken)
        w->manage[w->n_manage++] = m;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    if (taken)
        return;
    cn_fail(&err, CN_EBUSY, "too many models are to be loaded or unloaded already");
    send_managed(w, m.number, &err);
}

static void answer_ping(struct cn_worker *w, const struct cn_frame *f)
{
    struct cn_buf b;
    uint64_t number;

    if (cn_msg_get_number(f, &number, NULL) < 0)
        return;
    cn_buf_init(&b, OUT_MAX);
    send_frames(w, &b, cn_msg_put_number(&b, CN_FRAME_PONG, number, NULL));
}

/* False: leave. */
static bool take_frame(struct cn_worker *w, const struct cn_frame *f)
{
    switch (f->type) {
    case CN_FRAME_JOB:
        take_job(w, f);
        return true;
    case CN_FRAME_CANCEL:
        take_cancel(w, f);
        return true;
    case CN_FRAME_MANAGE:
        take_manage(w, f);
        return true;
    case CN_FRAME_PING:
        answer_ping(w, f);
        return true;
    default: /* SHUTDOWN, or something that a front never sends */
        return false;
    }
}

/* The front is gone or said stop: end the work, and the process if the work does not end. */
static void stop_all(struct cn_worker *w)
{
    struct timespec until;

    until = in_seconds(END_GRACE_S);
    pthread_mutex_lock(&w->lock);
    w->stop = w->woken = true;
    for (int i = 0; i < w->n_jobs; i++)
        atomic_store(&w->job[i]->cancel, true);
    pthread_cond_broadcast(&w->wake);
    while (!w->ended)
        if (pthread_cond_timedwait(&w->wake, &w->lock, &until) != 0 && !w->ended)
            _exit(1);
    pthread_mutex_unlock(&w->lock);
}

static void *read_frames(void *arg)
{
    struct cn_worker *w = arg;
    struct cn_frame f;

    while (cn_peer_read(&w->peer, &f, NULL) > 0 && take_frame(w, &f))
        ;
    stop_all(w);
    return NULL;
}

/* ---- working thread ---- */

/* The first job that has not begun, marked as begun; NULL: none. */
static struct cn_worker_job *newcomer(struct cn_worker *w)
{
    struct cn_worker_job *job = NULL;

    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < w->n_jobs && job == NULL; i++)
        if (!w->job[i]->begun)
            job = w->job[i];
    if (job != NULL)
        job->begun = true;
    pthread_mutex_unlock(&w->lock);
    return job;
}

static void begin_all(struct cn_worker *w)
{
    struct cn_worker_job *job;

    while ((job = newcomer(w)) != NULL) {
        struct cn_err err = CN_ERR_INIT;
        int rc;

        cn_worker_progress(job, CN_STAGE_LOAD, 0, 0, job->spec.steps);
        rc = w->ops->begin(w->ctx, job, &err);
        if (rc < 0)
            cn_worker_end(job, rc, &err);
    }
}

static void manage_one(struct cn_worker *w)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_msg_manage m;
    bool got;

    pthread_mutex_lock(&w->lock);
    got = w->n_manage > 0;
    if (got) {
        m = w->manage[0];
        w->n_manage--;
        memmove(&w->manage[0], &w->manage[1], (size_t)w->n_manage * sizeof(m));
    }
    pthread_mutex_unlock(&w->lock);
    if (!got)
        return;
    if (w->ops->manage == NULL)
        cn_fail(&err, CN_EINVAL, "this worker loads its models by itself");
    else if (w->ops->manage(w->ctx, m.action, m.name, &err) == CN_OK)
        err.code = CN_OK;
    send_managed(w, m.number, &err);
    send_gauges(w);
}

/* Nobody asked: the directories did. */
static void refresh_if_changed(struct cn_worker *w)
{
    bool changed;

    pthread_mutex_lock(&w->lock);
    changed = w->changed;
    w->changed = false;
    pthread_mutex_unlock(&w->lock);
    if (!changed || w->ops->manage == NULL)
        return;
    w->ops->manage(w->ctx, CN_MANAGE_REFRESH, "", NULL);
    send_gauges(w);
}

/* Waits until there is something to do; false when it is time to leave. *ret_due: step() is due
 * although busy() did not say so. */
static bool wait_for_work(struct cn_worker *w, bool busy, bool *ret_due)
{
    bool fresh = false, leave;
    struct timespec until;

    until = in_seconds(REST_AFTER_S);

    pthread_mutex_lock(&w->lock);
    for (;;) {
        for (int i = 0; i < w->n_jobs; i++)
            fresh |= !w->job[i]->begun;
        leave = w->stop && w->n_jobs == 0;
        if (leave || busy || fresh || w->woken || w->n_manage > 0 || w->changed || w->ended_one)
            break;
        if (w->rested || w->ops->rest == NULL) {
            pthread_cond_wait(&w->wake, &w->lock);
        } else if (pthread_cond_timedwait(&w->wake, &w->lock, &until) == ETIMEDOUT) {
            w->rested = true;
            pthread_mutex_unlock(&w->lock);
            w->ops->rest(w->ctx);
            send_gauges(w);
            pthread_mutex_lock(&w->lock);
        }
    }
    w->rested = false;
    *ret_due = busy || w->woken;
    w->woken = false;
    pthread_mutex_unlock(&w->lock);
    return !leave;
}

static void report_ends(struct cn_worker *w)
{
    bool ended;

    pthread_mutex_lock(&w->lock);
    ended = w->ended_one;
    w->ended_one = false;
    pthread_mutex_unlock(&w->lock);
    if (ended)
        send_gauges(w);
}

/* Tells the front; the jobs themselves stay, because threads of the engine may look at them until
 * the process ends. */
static void abandon_all(struct cn_worker *w, const struct cn_err *err)
{
    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < w->n_jobs; i++)
        send_failed(w, w->job[i]->id, err);
    pthread_mutex_unlock(&w->lock);
}

static int work(struct cn_worker *w, struct cn_err *err)
{
    bool due;

    while (wait_for_work(w, w->ops->busy(w->ctx), &due)) {
        struct cn_err why = CN_ERR_INIT;

        refresh_if_changed(w); /* before jobs are begun: they want what there is now */
        begin_all(w);
        manage_one(w);
        if ((due || w->ops->busy(w->ctx)) && w->ops->step(w->ctx, &why) == CN_EDEVICE) {
            if (why.code == 0)
                cn_fail(&why, CN_EDEVICE, "the device failed");
            abandon_all(w, &why);
            return cn_fail(err, CN_EDEVICE, "%s", why.msg);
        }
        report_ends(w);
    }
    return CN_OK;
}

static int introduce(struct cn_worker *w, struct cn_err *err)
{
    struct cn_msg_hello hello = {0};
    struct cn_buf b;
    int rc = w->ops->describe(w->ctx, &hello, err);

    hello.pid = (int)getpid();
    hello.capacity = CN_MIN(CN_MAX(hello.capacity, 1), CN_WORKER_JOBS);
    hello.lanes = CN_MAX(hello.lanes, 1);
    pthread_mutex_lock(&w->lock);
    w->capacity = hello.capacity;
    pthread_mutex_unlock(&w->lock);
    cn_buf_init(&b, OUT_MAX);
    if (rc == CN_OK && (rc = cn_msg_put_hello(&b, &hello, err)) == CN_OK)
        rc = cn_peer_write(&w->peer, &b, err);
    cn_buf_release(&b);
    cn_msg_hello_release(&hello);
    return rc;
}

/* Joins the reader; a reader that still waits for frames is woken by closing our side. */
static void finish(struct cn_worker *w, pthread_t reader, int rc)
{
    pthread_mutex_lock(&w->lock);
    w->ended = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    if (rc != CN_OK)
        shutdown(w->peer.fd, SHUT_RDWR);
    pthread_join(reader, NULL);
    for (int i = 0; i < w->n_jobs && rc != CN_EDEVICE; i++)
        job_free(w->job[i]);
}

static int serve(struct cn_worker *w, struct cn_err *err)
{
    int rc = introduce(w, err);

    if (rc == CN_OK && w->ops->load != NULL &&
        (rc = send_state(w, CN_WORKER_LOADING, NULL)) == CN_OK)
        rc = w->ops->load(w->ctx, w, err);
    if (rc < 0) {
        struct cn_err why = CN_ERR_INIT;

        cn_fail(&why, rc, "the worker cannot start (%s)", cn_code_name(rc));
        send_state(w, CN_WORKER_BROKEN, err != NULL && err->code != 0 ? err : &why);
        return rc;
    }
    send_gauges(w);
    send_state(w, CN_WORKER_READY, NULL);
    return work(w, err);
}

int cn_worker_loop(int fd, const struct cn_worker_ops *ops, void *ctx, struct cn_err *err)
{
    /* Keeps what a failed device's threads may still look at. */
    static struct cn_worker *volatile failed;
    struct cn_worker *w = cn_xcalloc(1, sizeof(*w));
    pthread_t reader;
    int rc;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* Ctrl-C is for the front, which drains first */
    w->ops = ops;
    w->ctx = ctx;
    w->capacity = 1;
    cn_peer_init(&w->peer, fd);
    pthread_mutex_init(&w->lock, NULL);
    init_wake(&w->wake);
    if (pthread_create(&reader, NULL, read_frames, w) != 0) {
        rc = cn_fail(err, CN_EIO, "cannot start a thread");
    } else {
        rc = serve(w, err);
        finish(w, reader, rc);
    }
    if (rc == CN_EDEVICE) {
        failed = w;
        return rc;
    }
    cn_peer_release(&w->peer);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
    (void)failed;
    return rc;
}

int cn_worker_exit_status(int rc)
{
    return rc == CN_OK ? 0 : rc == CN_EDEVICE ? CN_WORKER_EXIT_DEVICE : CN_WORKER_EXIT_BROKEN;
}
