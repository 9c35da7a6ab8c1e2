/* controlnet-worker: the engine at the end of a socket.
 *
 * Started by controlnetd, one process for each device; everything about frames and cancelling is in
 * loop.c, everything about drawing in engine/. This file joins the two, and tells what there is.
 * What is here runs on the main thread, but for the hooks that say otherwise.
 */
#include "base/base.h"
#include "backend/backend.h"
#include "base/log.h"
#include "base/program.h"
#include "base/reexec.h"
#include "decoding/client.h"
#include "decoding/wall.h"
#include "engine/engine.h"
#include "worker/facts.h"
#include "worker/job.h"
#include "worker/loop.h"
#include "worker/options.h"
#include "worker/twin.h"
#include "worker/watch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct worker {
    struct cn_engine *engine;
    struct cn_decoder *decoder; /* the engine's reading thread has it, from its first job on */
    unsigned layers;            /* of the wall around the last one; 0: there was none yet */
    atomic_int decoders_lost;
    pthread_mutex_t lock;   /* of loop, which the hooks may use on other threads */
    struct cn_worker *loop; /* NULL before it asks to load, and after it has returned */
    const char *watched[3 * WORKER_MAX_DIRS]; /* of models, embeddings and adapters */
    struct cn_model_watch *watch;             /* NULL: nobody looks at the directories */
    bool missed; /* under lock: they changed while there was no loop to tell */
};

/* ---- what there is ---- */

static int describe(void *ctx, struct cn_msg_hello *ret, struct cn_err *err)
{
    const struct worker *w = ctx;

    return cn_facts_hello(w->engine, ret, err);
}

static void send_catalog(const struct worker *w, struct cn_model_changes n)
{
    struct cn_msg_catalog m;

    cn_facts_catalog(w->engine, n, &m);
    cn_worker_catalog(w->loop, &m);
    cn_msg_catalog_release(&m);
}

static void set_loop(struct worker *w, struct cn_worker *loop)
{
    pthread_mutex_lock(&w->lock);
    w->loop = loop;
    if (loop != NULL && w->missed)
        cn_worker_models_changed(loop);
    pthread_mutex_unlock(&w->lock);
}

/* A decoder that does not work is seen now, and not by the first who sends a picture. */
static int load(void *ctx, struct cn_worker *loop, struct cn_err *err)
{
    struct worker *w = ctx;
    int rc = cn_decoder_check(w->decoder, err);

    if (rc < 0)
        return rc;
    set_loop(w, loop);
    send_catalog(w, (struct cn_model_changes){.added = 0});
    return cn_engine_load(w->engine, cn_engine_default(w->engine), err);
}

static void gauges(void *ctx, struct cn_msg_gauges *ret)
{
    struct worker *w = ctx;
    struct cn_gauge *g = &ret->gauge[ret->n++];

    snprintf(g->name, sizeof(g->name), "resident_bytes");
    g->value = (double)cn_engine_bytes(w->engine);
    g = &ret->gauge[ret->n++];
    snprintf(g->name, sizeof(g->name), "decoders_lost");
    g->value = atomic_load(&w->decoders_lost);
}

static void refresh(struct worker *w)
{
    struct cn_model_changes n = cn_engine_refresh(w->engine);

    if (n.added + n.changed > 0)
        cn_facts_log_broken(w->engine);
    if (n.embeddings) {
        cn_log(CN_LOG_INFO, "worker.embeddings", "the embeddings are others now", "embeddings=%d",
               cn_engine_embeddings(w->engine));
        cn_facts_log_broken_embeddings(w->engine);
    }
    if (n.adapters) {
        cn_log(CN_LOG_INFO, "worker.adapters", "the adapters are others now", "adapters=%d",
               cn_engine_adapters(w->engine));
        cn_facts_log_broken_adapters(w->engine);
    }
    send_catalog(w, n);
}

static int manage(void *ctx, enum cn_manage action, const char *model, struct cn_err *err)
{
    struct worker *w = ctx;

    if (action == CN_MANAGE_REFRESH) {
        refresh(w);
        return CN_OK;
    }
    return action == CN_MANAGE_LOAD ? cn_engine_load(w->engine, model, err)
                                    : cn_engine_unload(w->engine, model, err);
}

/* ---- hooks of the engine ---- */

static void wake(void *ctx)
{
    struct worker *w = ctx;

    pthread_mutex_lock(&w->lock);
    if (w->loop != NULL)
        cn_worker_wake(w->loop);
    pthread_mutex_unlock(&w->lock);
}

static void step_stats(void *ctx, int lanes, int images, double ms)
{
    const struct worker *w = ctx;

    if (w->loop != NULL)
        cn_worker_beat(w->loop, lanes, images, ms);
}

static void tell_model(void *ctx, const char *name, bool loaded, size_t bytes)
{
    const struct worker *w = ctx;
    struct cn_msg_model m = {.state = loaded ? CN_MODEL_LOADED : CN_MODEL_UNLOADED, .bytes = bytes};

    snprintf(m.name, sizeof(m.name), "%s", name);
    if (w->loop != NULL)
        cn_worker_model(w->loop, &m);
}

static void tell_change(void *ctx, const char *name, enum cn_model_change what)
{
    static const char *const word[] = {
        [CN_MODEL_ADDED] = "added", [CN_MODEL_CHANGED] = "changed", [CN_MODEL_REMOVED] = "removed"};
    const struct worker *w = ctx;

    if (w->loop != NULL) /* not while the first list is made */
        cn_log(CN_LOG_INFO, "worker.model_change", "a model came, changed or went",
               "model=%s change=%s", name, word[what]);
}

/* The thread that looks at the directories. */
static void models_changed(void *ctx)
{
    struct worker *w = ctx;

    pthread_mutex_lock(&w->lock);
    w->missed = w->loop == NULL;
    if (w->loop != NULL)
        cn_worker_models_changed(w->loop);
    pthread_mutex_unlock(&w->lock);
}

/* ---- pictures of requests ---- */

static int decode(void *ctx, const void *data, size_t len, struct cn_image *ret, struct cn_err *err)
{
    const struct worker *w = ctx;

    return cn_decoder_decode(w->decoder, data, len, NULL, ret, err);
}

/* One that has died is told each time; the wall only when it is another one than before. */
static void tell_decoder(void *ctx, bool died, unsigned layers, const char *text)
{
    struct worker *w = ctx;
    unsigned missing = CN_WALL_ALL & ~layers;
    char have[64], lack[64];

    if (died) {
        atomic_fetch_add(&w->decoders_lost, 1);
        cn_log(CN_LOG_ERROR, "worker.decoder_lost", "a decoder of pictures was lost", "reason=%s",
               text);
        return;
    }
    if (layers == w->layers)
        return;
    w->layers = layers;
    cn_wall_describe(layers, have, sizeof(have));
    cn_wall_describe(missing, lack, sizeof(lack));
    cn_log(missing != 0 ? CN_LOG_WARNING : CN_LOG_INFO, "worker.decoder",
           missing != 0 ? "this system does not offer every layer of the wall around the decoder"
                        : "pictures are decoded behind a wall",
           "layers=%s missing=%s", have, lack);
}

static int begin(void *ctx, struct cn_worker_job *job, struct cn_err *err)
{
    struct worker *w = ctx;
    struct cn_engine_cb cb = worker_job_hooks(job);

    return cn_engine_begin(w->engine, cn_worker_spec(job), &cb, err);
}

static bool busy(void *ctx)
{
    const struct worker *w = ctx;

    return cn_engine_busy(w->engine);
}

static int step(void *ctx, struct cn_err *err)
{
    struct worker *w = ctx;

    return cn_engine_step(w->engine, err);
}

static void rest(void *ctx)
{
    struct worker *w = ctx;

    cn_engine_rest(w->engine);
}

/* ---- start ---- */

/* No default names one, so that a directory which is not there is a fault; a broken embedding is
 * not. */
static int scan_embeddings(const struct worker_options *o, struct cn_engine *e, struct cn_err *err)
{
    int rc = CN_OK;

    for (int i = 0; i < o->embeddings.n && rc == CN_OK; i++)
        rc = cn_engine_scan_embeddings(e, o->embeddings.dir[i], err);
    return rc;
}

static int scan_adapters(const struct worker_options *o, struct cn_engine *e, struct cn_err *err)
{
    int rc = CN_OK;

    for (int i = 0; i < o->adapters.n && rc == CN_OK; i++)
        rc = cn_engine_scan_adapters(e, o->adapters.dir[i], err);
    return rc;
}

/* A directory that is not there is no fault: the default list has one that some systems lack. */
static int scan(const struct worker_options *o, struct cn_engine *e, struct cn_err *err)
{
    int rc = scan_embeddings(o, e, err);

    if (rc < 0 || (rc = scan_adapters(o, e, err)) < 0)
        return rc;
    for (int i = 0; i < o->models.n; i++) {
        struct cn_err why = CN_ERR_INIT;

        rc = cn_engine_scan(e, o->models.dir[i], &why);

        if (rc < 0)
            cn_log(rc == CN_ENOTFOUND ? CN_LOG_INFO : CN_LOG_ERROR, "worker.models", why.msg,
                   "dir=%s", o->models.dir[i]);
        if (rc < 0 && rc != CN_ENOTFOUND) {
            *err = why;
            return rc;
        }
    }
    return o->default_model != NULL ? cn_engine_set_default(e, o->default_model, err) : CN_OK;
}

/* Without it the directories are looked at when somebody asks. */
static void watch(const struct worker_options *o, struct worker *w)
{
    struct cn_err why = CN_ERR_INIT;
    bool full = false;
    int n = 0;

    for (int i = 0; i < o->models.n; i++)
        w->watched[n++] = o->models.dir[i];
    for (int i = 0; i < o->embeddings.n; i++)
        w->watched[n++] = o->embeddings.dir[i];
    for (int i = 0; i < o->adapters.n; i++)
        w->watched[n++] = o->adapters.dir[i];
    if (cn_model_watch_start(w->watched, n, o->settle_s, models_changed, w, &w->watch, &full,
                             &why) < 0)
        cn_log(CN_LOG_WARNING, "worker.watch", why.msg, "outcome=%s", "failed");
    else if (full)
        cn_log(CN_LOG_WARNING, "worker.watch",
               "not all directories of models can be watched (fs.inotify.max_user_watches): they "
               "are looked at every ten minutes",
               "outcome=%s", "partly");
}

static int serve(const struct worker_options *o, struct cn_err *err)
{
    static const struct cn_worker_ops ops = {.describe = describe,
                                             .load = load,
                                             .begin = begin,
                                             .busy = busy,
                                             .step = step,
                                             .rest = rest,
                                             .manage = manage,
                                             .gauges = gauges};
    struct worker w = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct cn_decoder_opts decoder = CN_DECODER_OPTS_DEFAULTS;
    struct cn_engine_opts opts = o->engine;
    char *program = cn_program_path("controlnet-decoder");
    int rc;

    decoder.program = program;
    decoder.ctx = &w;
    decoder.tell = tell_decoder;
    w.decoder = cn_decoder_new(&decoder);
    opts.hooks = (struct cn_engine_hooks){.ctx = &w,
                                          .wake = wake,
                                          .step_stats = step_stats,
                                          .model = tell_model,
                                          .change = tell_change,
                                          .decode = decode};
    rc = cn_engine_new(&opts, &w.engine, err);
    if (rc == CN_OK && o->settle_s > 0) /* before the first look, so that nothing is missed */
        watch(o, &w);
    if (rc == CN_OK)
        rc = scan(o, w.engine, err);
    if (rc == CN_OK)
        rc = cn_worker_loop(o->fd, &ops, &w, err);
    set_loop(&w, NULL);
    cn_model_watch_stop(w.watch);
    cn_engine_free(w.engine);
    cn_decoder_free(w.decoder);
    free(program);
    return rc;
}

int main(int argc, char **argv)
{
    struct worker_options o;
    struct cn_err err = CN_ERR_INIT;
    int rc;

    /* OpenMP reads it when the library is loaded. Threads that spin at the end of every kernel make
     * a picture ten times slower as soon as another program wants a processor (docs/SPEED.md). */
    cn_reexec_with("OMP_WAIT_POLICY", "passive", argv);
    if (worker_options_parse(&o, argc, argv) < 0)
        return 2;
    if (o.probe)
        return worker_probe(&o.engine);
    if (strcmp(o.engine.backend, "auto") == 0 && !cn_backend_has_device())
        worker_become_twin(argv);
    cn_log_init(&(struct cn_log_options)CN_LOG_DEFAULTS);
    rc = serve(&o, &err);
    if (rc < 0)
        cn_log(CN_LOG_ERROR, "worker.fail", err.msg, "pid=%d", (int)getpid());
    cn_log_flush();
    return cn_worker_exit_status(rc);
}
