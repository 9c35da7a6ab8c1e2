/* The two threads that help the engine's owner.
 *
 * DESIGN. The reading thread takes jobs and turns the files of their requests into floats. The
 * finishing thread takes latents of finished images, runs the decoder as a side plan, and calls
 * image(), where the file is made. Each takes one thing at a time, in order. What is handed over
 * belongs to the helpers until it comes back; one lock guards the four lists and the flags showing
 * and gone of every job. Neither thread makes or frees anything of the backend's. Whenever
 * something comes back, hooks.wake() is called.
 *
 * Not promised: that a job whose end was told is not still in the decoder. Its image is then
 * dropped (gone), and the job's memory freed when it comes back.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>

struct cn_helpers {
    struct cn_engine *e;
    pthread_t reader, finisher;
    pthread_mutex_t lock;
    pthread_cond_t work, news;
    bool stop;
    /* first in, first out */
    struct reading {
        struct reading *next;
        struct cn_job *job;
    } * to_read, *was_read;
    struct cn_decode_task *to_finish, *was_finished;
};

static void append_reading(struct reading **list, struct reading *r)
{
    while (*list != NULL)
        list = &(*list)->next;
    r->next = NULL;
    *list = r;
}

static void append_finish(struct cn_decode_task **list, struct cn_decode_task *f)
{
    while (*list != NULL)
        list = &(*list)->next;
    f->next = NULL;
    *list = f;
}

/* With the lock held, which is given up for the hook: it may have a lock of its own. */
static void tell(struct cn_helpers *c)
{
    const struct cn_engine_hooks *h = &c->e->opts.hooks;

    pthread_cond_broadcast(&c->news);
    if (h->wake == NULL)
        return;
    pthread_mutex_unlock(&c->lock);
    h->wake(h->ctx);
    pthread_mutex_lock(&c->lock);
}

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
        tell(c);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* image() runs only while the job is not gone, and while it runs the job does not go. */
static bool show_begins(struct cn_helpers *c, struct cn_job *j)
{
    bool yes;

    pthread_mutex_lock(&c->lock);
    yes = j->callback_running = !j->detached;
    pthread_mutex_unlock(&c->lock);
    return yes;
}

static void finish(struct cn_helpers *c, struct cn_decode_task *f)
{
    struct cn_image img = CN_IMAGE_NONE;
    struct cn_engine_image m = {&img, f->image, f->seed};
    struct cn_job *j = f->job;
    double start = cn_now_s();

    f->rc = cn_decode_task_run(f, &img);
    f->ms = (cn_now_s() - start) * 1e3;
    if (f->rc == CN_OK && show_begins(c, j))
        f->rc = cn_job_cancelled(j) ? cn_fail(&f->err, CN_ECANCELED, "cancelled after decoding")
                                    : j->cb.image(j->cb.ctx, &m, &f->err);
    cn_image_release(&img);
}

static void *finish_images(void *arg)
{
    struct cn_helpers *c = arg;

    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        struct cn_decode_task *f = c->to_finish;
        bool gone;

        if (f == NULL) {
            pthread_cond_wait(&c->work, &c->lock);
            continue;
        }
        c->to_finish = f->next;
        gone = f->job->detached;
        pthread_mutex_unlock(&c->lock);
        if (!gone)
            finish(c, f);
        pthread_mutex_lock(&c->lock);
        f->job->callback_running = false;
        append_finish(&c->was_finished, f);
        tell(c);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

int cn_helpers_start(struct cn_engine *e, struct cn_err *err)
{
    struct cn_helpers *c;

    if (e->helpers != NULL)
        return CN_OK;
    c = cn_xcalloc(1, sizeof(*c));
    c->e = e;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->work, NULL);
    pthread_cond_init(&c->news, NULL);
    if (pthread_create(&c->reader, NULL, read_jobs, c) != 0) {
        free(c);
        return cn_fail(err, CN_EIO, "cannot start a thread that reads requests");
    }
    e->helpers = c;
    if (pthread_create(&c->finisher, NULL, finish_images, c) == 0)
        return CN_OK;
    c->finisher = c->reader; /* there is only one to join */
    cn_helpers_stop(e);
    return cn_fail(err, CN_EIO, "cannot start a thread that finishes images");
}

void cn_helpers_stop(struct cn_engine *e)
{
    struct cn_helpers *c = e->helpers;
    struct cn_decode_task *f;
    struct cn_job *j;

    if (c == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_broadcast(&c->work);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->reader, NULL);
    if (!pthread_equal(c->reader, c->finisher))
        pthread_join(c->finisher, NULL);
    while (c->to_finish != NULL) {
        f = c->to_finish;
        c->to_finish = f->next;
        cn_decode_task_free(f);
    }
    while ((f = cn_helpers_take_decoded(e)) != NULL)
        cn_decode_task_free(f);
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
    append_finish(&e->helpers->to_finish, f);
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
    f = e->helpers->was_finished;
    if (f != NULL)
        e->helpers->was_finished = f->next;
    pthread_mutex_unlock(&e->helpers->lock);
    return f;
}

bool cn_helpers_has_news(const struct cn_engine *e)
{
    bool yes;

    if (e->helpers == NULL)
        return false;
    pthread_mutex_lock(&e->helpers->lock);
    yes = e->helpers->was_read != NULL || e->helpers->was_finished != NULL;
    pthread_mutex_unlock(&e->helpers->lock);
    return yes;
}

void cn_helpers_wait(struct cn_engine *e)
{
    pthread_mutex_lock(&e->helpers->lock);
    while (e->helpers->was_read == NULL && e->helpers->was_finished == NULL)
        pthread_cond_wait(&e->helpers->news, &e->helpers->lock);
    pthread_mutex_unlock(&e->helpers->lock);
}

bool cn_helpers_detach(struct cn_engine *e, struct cn_job *j)
{
    bool yes;

    pthread_mutex_lock(&e->helpers->lock);
    yes = !j->callback_running;
    j->detached = j->detached || yes;
    pthread_mutex_unlock(&e->helpers->lock);
    return yes;
}
