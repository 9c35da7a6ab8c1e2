/* The two threads that help the engine's owner.
 *
 * DESIGN. The reading thread takes jobs and turns the files of their requests into floats. The
 * finishing thread takes latents of finished images, runs the decoder as a side plan, and calls
 * image(), where the file is made. Each takes one thing at a time, in order. What is handed over
 * belongs to the crew until it comes back; one lock guards the four lists and the flags showing and
 * gone of every job. Neither thread makes or frees anything of the backend's. Whenever something
 * comes back, hooks.wake() is called.
 *
 * Not promised: that a job whose end was told is not still in the decoder. Its image is then
 * dropped (gone), and the job's memory freed when it comes back.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"
#include "base/mem.h"
#include "image/convert.h"

#include <pthread.h>
#include <stdlib.h>

struct cn_crew {
    struct cn_engine *e;
    pthread_t reader, finisher;
    pthread_mutex_t lock;
    pthread_cond_t work, news;
    bool stop;
    /* first in, first out */
    struct reading {
        struct reading *next;
        struct cn_job *job;
    } *to_read, *was_read;
    struct cn_finish *to_finish, *was_finished;
};

static void append_reading(struct reading **list, struct reading *r)
{
    while (*list != NULL)
        list = &(*list)->next;
    r->next = NULL;
    *list = r;
}

static void append_finish(struct cn_finish **list, struct cn_finish *f)
{
    while (*list != NULL)
        list = &(*list)->next;
    f->next = NULL;
    *list = f;
}

/* With the lock held, which is given up for the hook: it may have a lock of its own. */
static void tell(struct cn_crew *c)
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
    struct cn_crew *c = arg;

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

static int decode(struct cn_finish *f, struct cn_image *ret)
{
    int rc;

    cn_buffer_write(f->in, f->latent);
    rc = cn_plan_run(f->plan->plan, &f->in, &f->out, &f->err);
    if (rc < 0)
        return rc;
    cn_buffer_read(f->out, f->pixels);
    rc = cn_backend_check(f->job->e->backend, &f->err);
    if (rc < 0)
        return rc;
    return cn_image_from_planar(f->pixels, f->width, f->height, ret, &f->err);
}

/* image() runs only while the job is not gone, and while it runs the job does not go. */
static bool show_begins(struct cn_crew *c, struct cn_job *j)
{
    bool yes;

    pthread_mutex_lock(&c->lock);
    yes = j->showing = !j->gone;
    pthread_mutex_unlock(&c->lock);
    return yes;
}

static void finish(struct cn_crew *c, struct cn_finish *f)
{
    struct cn_image img = CN_IMAGE_NONE;
    struct cn_engine_image m = {&img, f->image, f->seed};
    struct cn_job *j = f->job;
    double start = cn_now_s();

    f->rc = decode(f, &img);
    f->ms = (cn_now_s() - start) * 1e3;
    if (f->rc == CN_OK && show_begins(c, j))
        f->rc = cn_job_cancelled(j) ? cn_fail(&f->err, CN_ECANCELED, "cancelled after decoding")
                                    : j->cb.image(j->cb.ctx, &m, &f->err);
    cn_image_release(&img);
}

static void *finish_images(void *arg)
{
    struct cn_crew *c = arg;

    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        struct cn_finish *f = c->to_finish;
        bool gone;

        if (f == NULL) {
            pthread_cond_wait(&c->work, &c->lock);
            continue;
        }
        c->to_finish = f->next;
        gone = f->job->gone;
        pthread_mutex_unlock(&c->lock);
        if (!gone)
            finish(c, f);
        pthread_mutex_lock(&c->lock);
        f->job->showing = false;
        append_finish(&c->was_finished, f);
        tell(c);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

int cn_crew_start(struct cn_engine *e, struct cn_err *err)
{
    struct cn_crew *c;

    if (e->crew != NULL)
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
    e->crew = c;
    if (pthread_create(&c->finisher, NULL, finish_images, c) == 0)
        return CN_OK;
    c->finisher = c->reader; /* there is only one to join */
    cn_crew_stop(e);
    return cn_fail(err, CN_EIO, "cannot start a thread that finishes images");
}

void cn_crew_stop(struct cn_engine *e)
{
    struct cn_crew *c = e->crew;
    struct cn_finish *f;
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
        cn_finish_free(f);
    }
    while ((f = cn_crew_was_finished(e)) != NULL)
        cn_finish_free(f);
    while (c->to_read != NULL) {
        struct reading *r = c->to_read;

        c->to_read = r->next;
        free(r);
    }
    while ((j = cn_crew_was_read(e)) != NULL)
        j->state = CN_JOB_READ;
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->work);
    pthread_cond_destroy(&c->news);
    free(c);
    e->crew = NULL;
}

void cn_crew_read(struct cn_engine *e, struct cn_job *j)
{
    struct reading *r = cn_xcalloc(1, sizeof(*r));

    r->job = j;
    j->state = CN_JOB_READING;
    pthread_mutex_lock(&e->crew->lock);
    append_reading(&e->crew->to_read, r);
    pthread_cond_broadcast(&e->crew->work);
    pthread_mutex_unlock(&e->crew->lock);
}

void cn_crew_finish(struct cn_engine *e, struct cn_finish *f)
{
    pthread_mutex_lock(&e->crew->lock);
    append_finish(&e->crew->to_finish, f);
    pthread_cond_broadcast(&e->crew->work);
    pthread_mutex_unlock(&e->crew->lock);
}

struct cn_job *cn_crew_was_read(struct cn_engine *e)
{
    struct cn_job *j = NULL;
    struct reading *r;

    pthread_mutex_lock(&e->crew->lock);
    r = e->crew->was_read;
    if (r != NULL) {
        e->crew->was_read = r->next;
        j = r->job;
    }
    pthread_mutex_unlock(&e->crew->lock);
    free(r);
    return j;
}

struct cn_finish *cn_crew_was_finished(struct cn_engine *e)
{
    struct cn_finish *f;

    pthread_mutex_lock(&e->crew->lock);
    f = e->crew->was_finished;
    if (f != NULL)
        e->crew->was_finished = f->next;
    pthread_mutex_unlock(&e->crew->lock);
    return f;
}

bool cn_crew_has_news(const struct cn_engine *e)
{
    bool yes;

    if (e->crew == NULL)
        return false;
    pthread_mutex_lock(&e->crew->lock);
    yes = e->crew->was_read != NULL || e->crew->was_finished != NULL;
    pthread_mutex_unlock(&e->crew->lock);
    return yes;
}

void cn_crew_wait(struct cn_engine *e)
{
    pthread_mutex_lock(&e->crew->lock);
    while (e->crew->was_read == NULL && e->crew->was_finished == NULL)
        pthread_cond_wait(&e->crew->news, &e->crew->lock);
    pthread_mutex_unlock(&e->crew->lock);
}

bool cn_crew_abandon(struct cn_engine *e, struct cn_job *j)
{
    bool yes;

    pthread_mutex_lock(&e->crew->lock);
    yes = !j->showing;
    j->gone = j->gone || yes;
    pthread_mutex_unlock(&e->crew->lock);
    return yes;
}
