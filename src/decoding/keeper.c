/* A thread with two things to do: first to start, then to reap. */
#include "base/base.h"
#include "decoding/keeper_priv.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* ---- its thread; under the lock but for what it does ---- */

static void start_spare(struct cn_keeper *k)
{
    struct cn_child c = {.pid = 0};
    struct cn_err err = CN_ERR_INIT; /* who finds none starts one, and says it then */

    pthread_mutex_unlock(&k->lock);
    if (cn_child_start(k->program, &c, &err) < 0)
        c.pid = 0;
    pthread_mutex_lock(&k->lock);
    k->spare = c;
    k->wanted = false;
    pthread_cond_broadcast(&k->change);
}

static void reap_first(struct cn_keeper *k)
{
    pid_t pid = k->killed[0];

    k->n--;
    memmove(k->killed, k->killed + 1, (size_t)k->n * sizeof(*k->killed));
    pthread_mutex_unlock(&k->lock);
    reap(pid);
    pthread_mutex_lock(&k->lock);
}

static void *run(void *arg)
{
    struct cn_keeper *k = arg;

    pthread_mutex_lock(&k->lock);
    for (;;) {
        if (k->wanted && !k->stop)
            start_spare(k);
        else if (k->n > 0)
            reap_first(k);
        else if (k->stop)
            break;
        else
            pthread_cond_wait(&k->change, &k->lock);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

/* The program's signals are for its other threads. */
static bool runs(struct cn_keeper *k)
{
    sigset_t all, before;

    if (k->running)
        return true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    k->running = pthread_create(&k->thread, NULL, run, k) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return k->running;
}

/* ---- for its user ---- */

void cn_keeper_init(struct cn_keeper *k, const struct cn_child_program *program)
{
    memset(k, 0, sizeof(*k));
    k->program = program;
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->change, NULL);
}

void cn_keeper_release(struct cn_keeper *k)
{
    pthread_mutex_lock(&k->lock);
    k->stop = true;
    pthread_cond_broadcast(&k->change);
    pthread_mutex_unlock(&k->lock);
    if (k->running)
        pthread_join(k->thread, NULL);
    if (k->spare.pid != 0)
        cn_child_end(&k->spare, NULL);
    pthread_cond_destroy(&k->change);
    pthread_mutex_destroy(&k->lock);
}

void cn_keeper_want(struct cn_keeper *k)
{
    if (!runs(k))
        return;
    pthread_mutex_lock(&k->lock);
    k->wanted = k->wanted || k->spare.pid == 0;
    pthread_cond_broadcast(&k->change);
    pthread_mutex_unlock(&k->lock);
}

bool cn_keeper_take(struct cn_keeper *k, struct cn_child *ret)
{
    pthread_mutex_lock(&k->lock);
    while (k->wanted)
        pthread_cond_wait(&k->change, &k->lock);
    *ret = k->spare;
    k->spare = (struct cn_child){.pid = 0};
    pthread_mutex_unlock(&k->lock);
    return ret->pid != 0;
}

void cn_keeper_retire(struct cn_keeper *k, struct cn_child *c)
{
    bool given = false;

    kill(c->pid, SIGKILL);
    close(c->fd);
    if (runs(k)) {
        pthread_mutex_lock(&k->lock);
        given = k->n < CN_KEEPER_MOST;
        if (given)
            k->killed[k->n++] = c->pid;
        pthread_cond_broadcast(&k->change);
        pthread_mutex_unlock(&k->lock);
    }
    if (!given)
        reap(c->pid);
    *c = (struct cn_child){.pid = 0};
}
