/* The threads that help the engine's owner.
 *
 * DESIGN. The reading thread takes jobs and turns the files of their requests into floats. The
 * decoding thread takes latents of finished images, in order, and runs the decoder as a concurrent
 * plan. One to three encoding threads make files of the pictures (encode()), several at a time;
 * then the pictures are shown (image()) one after the other, in the order in which they were
 * decoded, by whichever encoding thread has made the next one's file.
 *
 * What is handed over belongs to the helpers until it comes back. One lock guards the lists and, of
 * each job, callbacks and detached: while callbacks of a job run (callbacks > 0) it cannot be
 * detached, and once it is detached none begins. No helper makes or frees anything of the
 * backend's. Whenever something comes back, hooks.wake() is called. How much is in flight is the
 * owner's to limit: step_loop.c begins no image while as many are here as there are lanes.
 *
 * Not promised: that a job whose end was told is not still in the decoder. Its image is then
 * dropped, and the job's memory freed when it comes back.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_ENCODERS = 3, MAX_THREADS = 2 + MAX_ENCODERS };

struct cn_helpers {
    struct cn_engine *e;
    pthread_t thread[MAX_THREADS];
    int n_threads;
    pthread_mutex_t lock;
    pthread_cond_t work, news;
    bool stop;
    bool showing; /* a thread is calling image() for the first ones of to_show */
    /* first in, first out */
    struct reading {
        struct reading *next;
        struct cn_job *job;
    } * to_read, *was_read;
    struct cn_decode_task *to_decode, *to_show, *was_decoded;
};

static void append_reading(struct reading **list, struct reading *r)
{
    while (*list != NULL)
        list = &(*list)->next;
    r->next = NULL;
    *list = r;
}

static void append_task(struct cn_decode_task **list, struct cn_decode_task *f)
{
    while (*list != NULL)
        list = &(*list)->next;
    f->next = NULL;
    *list = f;
}

static struct cn_decode_task *take_task(struct cn_decode_task **list)
{
    struct cn_decode_task *f = *list;

    if (f != NULL)
        *list = f->next;
    return f;
}

/* With the lock held, which is given up for the hook: it may have a lock of its own. */
static void tell_news(struct cn_helpers *c)
{
    const struct cn_engine_hooks *h = &c->e->opts.hooks;

    pthread_cond_broadcast(&c->news);
    if (h->wake == NULL)
        return;
    pthread_mutex_unlock(&c->lock);
    h->wake(h->ctx);
    pthread_mutex_lock(&c->lock);
}

/* ---- reading ---- */

static void *read_jobs(void *arg)
{
    struct cn_helpers *c = arg;

    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        struct reading *r = c->to_read;

        if (r == NULL) {
            pthread_cond_wait(&c->work, &c->lock);
            continue;
        }
        c->to_read = r->next;
        pthread_mutex_unlock(&c->lock);
        r->job->rc = cn_job_read_inputs(r->job, &r->job->err);
        pthread_mutex_lock(&c->lock);
        append_reading(&c->was_read, r);
        tell_news(c);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* ---- decoding ---- */

static void *decode_images(void *arg)
{
    struct cn_helpers *c = arg;

    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        struct cn_decode_task *f;
        double start = cn_now_s();
        bool wanted, shown;

        if (c->to_decode == NULL) {
            pthread_cond_wait(&c->work, &c->lock);
            continue;
        }
        f = take_task(&c->to_decode);
        wanted = !f->job->detached;
        pthread_mutex_unlock(&c->lock);
        f->rc = wanted ? cn_decode_task_run(f) : CN_OK;
        f->ms += (cn_now_s() - start) * 1e3;
        pthread_mutex_lock(&c->lock);
        shown = f->rc == CN_OK && wanted && !f->more && f->job->second == NULL;
        f->encode = shown ? CN_ENCODE_WAITS : CN_ENCODE_DONE;
        append_task(f->encode == CN_ENCODE_WAITS ? &c->to_show : &c->was_decoded, f);
        if (f->encode == CN_ENCODE_WAITS)
            pthread_cond_broadcast(&c->work);
        else
            tell_news(c);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* ---- encoding and showing ---- */

/* Calls one of the job's callbacks, unless the job was detached or the image has failed. With the
 * lock held, which is given up meanwhile. */
static void call_back(struct cn_helpers *c, struct cn_decode_task *f,
                      int (*fn)(void *ctx, const struct cn_engine_image *m, struct cn_err *err))
{
    struct cn_job *j = f->job;
    struct cn_engine_image m = {&f->picture, f->index, f->seed, &f->file};

    if (j->detached || f->rc < 0 || fn == NULL)
        return;
    j->callbacks++;
    pthread_mutex_unlock(&c->lock);
    f->rc = cn_job_cancelled(j) ? cn_fail(&f->err, CN_ECANCELED, "cancelled after decoding")
                                : fn(j->cb.ctx, &m, &f->err);
    pthread_mutex_lock(&c->lock);
    j->callbacks--;
}

/* The first ones whose files are made. */
static void show_images(struct cn_helpers *c)
{
    if (c->showing)
        return;
    c->showing = true;
    while (c->to_show != NULL && c->to_show->encode == CN_ENCODE_DONE) {
        struct cn_decode_task *f = c->to_show;

        call_back(c, f, f->job->cb.image);
        take_task(&c->to_show);
        append_task(&c->was_decoded, f);
        tell_news(c);
    }
    c->showing = false;
}

static struct cn_decode_task *next_to_encode(const struct cn_helpers *c)
{
    struct cn_decode_task *f = c->to_show;

    while (f != NULL && f->encode != CN_ENCODE_WAITS)
        f = f->next;
    return f;
}

static void *encode_images(void *arg)
{
    struct cn_helpers *c = arg;

    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        struct cn_decode_task *f = next_to_encode(c);

        if (f == NULL) {
            pthread_cond_wait(&c->work, &c->lock);
            continue;
        }
        f->encode = CN_ENCODE_RUNS;
        call_back(c, f, f->job->cb.encode);
        f->encode = CN_ENCODE_DONE;
        show_images(c);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* ---- the owner's functions ---- */

/* One for each four processors: on few, encoders would only take turns with the networks. */
static int count_encoders(const struct cn_engine *e)
{
    int n = e->opts.threads > 0 ? e->opts.threads : (int)sysconf(_SC_NPROCESSORS_ONLN);

    return CN_MIN(CN_MAX(n / 4, 1), MAX_ENCODERS);
}

int cn_helpers_start(struct cn_engine *e, struct cn_err *err)
{
    void *(*fn[MAX_THREADS])(void *) = {read_jobs, decode_images};
    int n = 2 + count_encoders(e);
    struct cn_helpers *c;

    if (e->helpers != NULL)
        return CN_OK;
    for (int i = 2; i < n; i++)
        fn[i] = encode_images;
    e->helpers = c = cn_xcalloc(1, sizeof(*c));
    c->e = e;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->work, NULL);
    pthread_cond_init(&c->news, NULL);
    for (; c->n_threads < n; c->n_threads++)
        if (pthread_create(&c->thread[c->n_threads], NULL, fn[c->n_threads], c) != 0) {
            cn_helpers_stop(e);
            return cn_fail(err, CN_EIO, "cannot start the threads that read and write pictures");
        }
    return CN_OK;
}

static void free_tasks(struct cn_decode_task **list)
{
    struct cn_decode_task *f;

    while ((f = take_task(list)) != NULL)
        cn_decode_task_free(f);
}

void cn_helpers_stop(struct cn_engine *e)
{
    struct cn_helpers *c = e->helpers;
    struct cn_job *j;

    if (c == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_broadcast(&c->work);
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; i < c->n_threads; i++)
        pthread_join(c->thread[i], NULL);
    free_tasks(&c->to_decode);
    free_tasks(&c->to_show);
    free_tasks(&c->was_decoded);
    while (c->to_read != NULL) {
        struct reading *r = c->to_read;

        c->to_read = r->next;
        free(r);
    }
    while ((j = cn_helpers_take_read(e)) != NULL)
        j->state = CN_JOB_READ;
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->work);
    pthread_cond_destroy(&c->news);
    free(c);
    e->helpers = NULL;
}

void cn_helpers_read(struct cn_engine *e, struct cn_job *j)
{
    struct reading *r = cn_xcalloc(1, sizeof(*r));

    r->job = j;
    j->state = CN_JOB_READING;
    pthread_mutex_lock(&e->helpers->lock);
    append_reading(&e->helpers->to_read, r);
    pthread_cond_broadcast(&e->helpers->work);
    pthread_mutex_unlock(&e->helpers->lock);
}

void cn_helpers_decode(struct cn_engine *e, struct cn_decode_task *f)
{
    pthread_mutex_lock(&e->helpers->lock);
    append_task(&e->helpers->to_decode, f);
    pthread_cond_broadcast(&e->helpers->work);
    pthread_mutex_unlock(&e->helpers->lock);
}

void cn_helpers_encode(struct cn_engine *e, struct cn_decode_task *f)
{
    pthread_mutex_lock(&e->helpers->lock);
    f->encode = CN_ENCODE_WAITS;
    append_task(&e->helpers->to_show, f);
    pthread_cond_broadcast(&e->helpers->work);
    pthread_mutex_unlock(&e->helpers->lock);
}

struct cn_job *cn_helpers_take_read(struct cn_engine *e)
{
    struct cn_job *j = NULL;
    struct reading *r;

    pthread_mutex_lock(&e->helpers->lock);
    r = e->helpers->was_read;
    if (r != NULL) {
        e->helpers->was_read = r->next;
        j = r->job;
    }
    pthread_mutex_unlock(&e->helpers->lock);
    free(r);
    return j;
}

struct cn_decode_task *cn_helpers_take_decoded(struct cn_engine *e)
{
    struct cn_decode_task *f;

    pthread_mutex_lock(&e->helpers->lock);
    f = take_task(&e->helpers->was_decoded);
    pthread_mutex_unlock(&e->helpers->lock);
    return f;
}

bool cn_helpers_has_news(const struct cn_engine *e)
{
    bool yes;

    if (e->helpers == NULL)
        return false;
    pthread_mutex_lock(&e->helpers->lock);
    yes = e->helpers->was_read != NULL || e->helpers->was_decoded != NULL;
    pthread_mutex_unlock(&e->helpers->lock);
    return yes;
}

void cn_helpers_wait(struct cn_engine *e)
{
    pthread_mutex_lock(&e->helpers->lock);
    while (e->helpers->was_read == NULL && e->helpers->was_decoded == NULL)
        pthread_cond_wait(&e->helpers->news, &e->helpers->lock);
    pthread_mutex_unlock(&e->helpers->lock);
}

bool cn_helpers_detach(struct cn_engine *e, struct cn_job *j)
{
    bool yes;

    pthread_mutex_lock(&e->helpers->lock);
    yes = j->callbacks == 0;
    j->detached = j->detached || yes;
    pthread_mutex_unlock(&e->helpers->lock);
    return yes;
}
