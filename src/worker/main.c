/* controlnet-worker: the engine at the end of a socket.
 *
 * Started by controlnetd, one process for each device; everything about frames and cancelling is in
 * loop.c, everything about drawing in engine/. This file joins the two. Images are encoded
 * and sent on the engine's finishing thread; everything else here runs on the main thread, but for
 * the hook that wakes it.
 */
#include "base/base.h"
#include "worker/loop.h"
#include "backend/backend.h"
#include "base/reexec.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/program.h"
#include "base/log.h"
#include "decoding/client.h"
#include "decoding/wall.h"
#include "engine/engine.h"
#include "image/annotate.h"
#include "image/codec.h"
#include "worker/watch.h"
#include "worker/facts.h"

#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct worker {
    struct cn_engine *engine;
    struct cn_decoder *decoder; /* the engine's reading thread has it, from its first job on */
    unsigned layers;            /* of the wall around the last one; 0: there was none yet */
    atomic_int decoders_lost;
    pthread_mutex_t lock;         /* of loop, which the hooks may use on other threads */
    struct cn_worker *loop;       /* NULL before it asks to load, and after it has returned */
    struct cn_model_watch *watch; /* NULL: nobody looks at the directories */
    bool missed;                  /* under lock: they changed while there was no loop to tell */
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
    send_catalog(w, (struct cn_model_changes){0, 0, 0});
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
        cn_log(CN_LOG_INFO, "worker.model_change", "", "model=%s change=%s", name, word[what]);
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

/* ---- a job ---- */

static bool cancelled(void *ctx)
{
    return cn_worker_cancelled(ctx);
}

static void progress(void *ctx, int image, int step, int steps)
{
    cn_worker_progress(ctx, CN_STAGE_UNET, image, step, steps);
}

static void warning(void *ctx, enum cn_warning_code code, const char *field, const char *text)
{
    cn_worker_warn(ctx, code, field, text);
}

static void stage(void *ctx, enum cn_engine_stage s, double ms)
{
    static const enum cn_stage map[CN_ENGINE_STAGE_COUNT] = {
        [CN_ENGINE_LOAD] = CN_STAGE_LOAD,          [CN_ENGINE_DECODE] = CN_STAGE_DECODE,
        [CN_ENGINE_PREPARE] = CN_STAGE_PREPROCESS, [CN_ENGINE_TEXT] = CN_STAGE_TEXT,
        [CN_ENGINE_HINT] = CN_STAGE_CONTROLNET,    [CN_ENGINE_CONTROL] = CN_STAGE_CONTROLNET,
        [CN_ENGINE_UNET] = CN_STAGE_UNET,          [CN_ENGINE_VAE] = CN_STAGE_VAE,
    };

    cn_worker_stage(ctx, map[s], ms);
}

static int encode(const struct cn_image *img, const struct cn_spec *spec, struct cn_buf *out,
                  struct cn_err *err)
{
    switch (spec->format) {
    case CN_JPEG:
        return cn_jpeg_encode(img, spec->quality, out, err);
    case CN_WEBP:
        return cn_webp_encode(img, spec->quality, out, err);
    default:
        return cn_png_encode(img, NULL, 0, CN_PNG_AUTO, out, err);
    }
}

static int encode_image(void *ctx, const struct cn_engine_image *m, struct cn_err *err)
{
    const struct cn_spec *spec = cn_worker_spec(ctx);
    struct cn_err why = CN_ERR_INIT;
    double start = cn_now_s();
    int rc = encode(m->image, spec, m->file, &why);

    if (rc == CN_ETOOBIG)
        cn_fail_at(err, rc, "/format",
                   "image %d has more than %d MiB as %s: ask for a smaller picture, or one of less "
                   "bytes",
                   m->index, CN_ENGINE_MAX_FILE >> 20, cn_enum_format.name[spec->format]);
    else if (rc < 0)
        *err = why;
    cn_worker_stage(ctx, CN_STAGE_ENCODE, (cn_now_s() - start) * 1e3);
    return rc;
}

static int send_image(void *ctx, const struct cn_engine_image *m, struct cn_err *err)
{
    struct cn_msg_image msg = {
        .index = m->index,
        .meta = {.seed = m->seed,
                 .format = cn_worker_spec(ctx)->format,
                 .width = m->image->w,
                 .height = m->image->h,
                 .bytes = m->file->len},
        .data = m->file->data,
    };

    return cn_worker_image(ctx, &msg, err);
}

/* As good as it gets in the bytes that a preview may have. */
static int encode_preview(const struct cn_image *img, struct cn_buf *out)
{
    static const int quality[] = {80, 60, 40, 20};
    int rc = CN_ETOOBIG;

    for (size_t i = 0; i < CN_LEN(quality) && rc == CN_ETOOBIG; i++)
        rc = cn_jpeg_encode(img, quality[i], out, NULL);
    return rc;
}

static void send_preview(void *ctx, const struct cn_engine_image *m, int step)
{
    struct cn_buf file;

    cn_buf_init(&file, CN_WIRE_MAX_PREVIEW);
    if (encode_preview(m->image, &file) == CN_OK) {
        struct cn_msg_preview msg = {.index = m->index,
                                     .step = step,
                                     .format = CN_JPEG,
                                     .width = m->image->w,
                                     .height = m->image->h,
                                     .data = file.data,
                                     .len = file.len};

        cn_worker_preview(ctx, &msg);
    }
    cn_buf_release(&file);
}

static void end(void *ctx, int rc, const struct cn_err *err)
{
    cn_worker_end(ctx, rc, err);
}

static int begin(void *ctx, struct cn_worker_job *job, struct cn_err *err)
{
    struct worker *w = ctx;
    struct cn_engine_cb cb = {.ctx = job,
                              .cancelled = cancelled,
                              .progress = progress,
                              .warning = warning,
                              .preview = send_preview,
                              .encode = encode_image,
                              .image = send_image,
                              .stage = stage,
                              .end = end};

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

static void usage(FILE *f)
{
    fputs("usage: controlnet-worker --fd N [--backend NAME] [--threads N] [--default MODEL]\n"
          "                         [--lanes N] [--max-batch N] [--memory-mb N] [--dtype TYPE]\n"
          "                         [--vae-memory-mb N] [--settle-s N] [--embeddings DIR] ...\n"
          "                         [--taesd FILE] --models DIR ...\n"
          "       controlnet-worker --probe\n"
          "Draws pictures for controlnetd, which starts it. To draw from a shell: controlnet\n"
          "generate.\n",
          f);
}

struct options {
    struct cn_engine_opts engine;
    const char *dir[64], *embeddings[64], *chosen;
    int n_dirs, n_embeddings, fd, settle_s;
    bool probe;
};

/* "cuda:1" is the second device. */
static void set_backend(struct options *o, char *text)
{
    char *colon = strchr(text, ':');

    if (colon != NULL) {
        *colon = '\0';
        o->engine.device = atoi(colon + 1);
    }
    o->engine.backend = text;
}

static int set_type(struct options *o, const char *text)
{
    static const char *const name[] = {"f32", "f16", "bf16", "auto"};
    static const enum cn_dtype type[] = {CN_F32, CN_F16, CN_BF16, CN_DTYPE_COUNT};

    for (size_t i = 0; i < CN_LEN(name); i++)
        if (strcmp(text, name[i]) == 0) {
            o->engine.dtype = type[i];
            return CN_OK;
        }
    fprintf(stderr, "controlnet-worker: --dtype is f32, f16, bf16 or auto, not \"%s\"\n", text);
    return CN_EINVAL;
}

static int parse(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {{"fd", required_argument, NULL, 'f'},
                                          {"backend", required_argument, NULL, 'b'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"models", required_argument, NULL, 'm'},
                                          {"embeddings", required_argument, NULL, 'e'},
                                          {"taesd", required_argument, NULL, 'P'},
                                          {"default", required_argument, NULL, 'd'},
                                          {"lanes", required_argument, NULL, 'l'},
                                          {"max-batch", required_argument, NULL, 'x'},
                                          {"memory-mb", required_argument, NULL, 'M'},
                                          {"vae-memory-mb", required_argument, NULL, 'V'},
                                          {"dtype", required_argument, NULL, 'T'},
                                          {"settle-s", required_argument, NULL, 's'},
                                          {"probe", no_argument, NULL, 'p'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'v'},
                                          {NULL, 0, NULL, 0}};
    int c;

    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1)
        switch (c) {
        case 'f':
            o->fd = atoi(optarg);
            break;
        case 'b':
            set_backend(o, optarg);
            break;
        case 'T':
            if (set_type(o, optarg) < 0)
                return CN_EINVAL;
            break;
        case 'p':
            o->probe = true;
            break;
        case 't':
            o->engine.threads = atoi(optarg);
            break;
        case 'm':
            if (o->n_dirs < (int)CN_LEN(o->dir))
                o->dir[o->n_dirs++] = optarg;
            break;
        case 'e':
            if (o->n_embeddings < (int)CN_LEN(o->embeddings))
                o->embeddings[o->n_embeddings++] = optarg;
            break;
        case 'd':
            o->chosen = optarg;
            break;
        case 'l':
            if (atoi(optarg) > 0)
                o->engine.lanes = atoi(optarg);
            break;
        case 'x':
            o->engine.max_batch = atoi(optarg);
            break;
        case 'M':
            o->engine.memory = (size_t)CN_MAX(atol(optarg), 0) << 20;
            break;
        case 's':
            o->settle_s = CN_MAX(atoi(optarg), 0);
            break;
        case 'P':
            o->engine.taesd = optarg;
            break;
        case 'V':
            o->engine.vae_memory = (size_t)CN_MAX(atol(optarg), 0) << 20;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        case 'v':
            puts("controlnet-worker " PACKAGE_VERSION);
            exit(0);
        default:
            return CN_EINVAL;
        }
    return (o->fd >= 0 || o->probe) && optind == argc ? CN_OK : CN_EINVAL;
}

/* No default names one, so that a directory which is not there is a fault; a broken embedding is
 * not. */
static int scan_embeddings(const struct options *o, struct cn_engine *e, struct cn_err *err)
{
    int rc = CN_OK;

    for (int i = 0; i < o->n_embeddings && rc == CN_OK; i++)
        rc = cn_engine_scan_embeddings(e, o->embeddings[i], err);
    return rc;
}

/* A directory that is not there is no fault: the default list has one that some systems lack. */
static int scan(const struct options *o, struct cn_engine *e, struct cn_err *err)
{
    int rc = scan_embeddings(o, e, err);

    if (rc < 0)
        return rc;
    for (int i = 0; i < o->n_dirs; i++) {
        struct cn_err why = CN_ERR_INIT;

        rc = cn_engine_scan(e, o->dir[i], &why);

        if (rc < 0)
            cn_log(rc == CN_ENOTFOUND ? CN_LOG_INFO : CN_LOG_ERROR, "worker.models", why.msg,
                   "dir=%s", o->dir[i]);
        if (rc < 0 && rc != CN_ENOTFOUND) {
            *err = why;
            return rc;
        }
    }
    return o->chosen != NULL ? cn_engine_set_default(e, o->chosen, err) : CN_OK;
}

/* Without it the directories are looked at when somebody asks. */
static void watch(const struct options *o, struct worker *w)
{
    struct cn_err why = CN_ERR_INIT;
    bool full = false;

    if (cn_model_watch_start(o->dir, o->n_dirs, o->settle_s, models_changed, w, &w->watch, &full,
                             &why) < 0)
        cn_log(CN_LOG_WARNING, "worker.watch", why.msg, "outcome=%s", "failed");
    else if (full)
        cn_log(CN_LOG_WARNING, "worker.watch",
               "not all directories of models can be watched (fs.inotify.max_user_watches): they "
               "are looked at every ten minutes",
               "outcome=%s", "partly");
}

static int serve(const struct options *o, struct cn_err *err)
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

/* Says what would draw, and whether it answers: 0, or 1. */
static int probe(const struct options *o)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_engine *e;

    if (cn_engine_new(&o->engine, &e, &err) < 0) {
        fprintf(stderr, "controlnet-worker: %s\n", err.msg);
        return 1;
    }
    printf("%s %s\n", cn_engine_backend(e), cn_engine_device(e));
    cn_engine_free(e);
    return 0;
}

/* ---- the twin for NVIDIA devices ---- */

/* Runs "TWIN --backend cuda --probe"; true when it finds a device. What it says is not for this
 * program's output: that it is not installed, or its libraries are not, is no fault. */
static bool finds_device(char *twin)
{
    char *const args[] = {twin, "--backend", "cuda", "--probe", NULL};
    posix_spawn_file_actions_t quiet;
    int status = 0;
    pid_t child;
    bool found;

    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&quiet, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    found = posix_spawn(&child, twin, &quiet, NULL, args, environ) == 0 &&
            waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    posix_spawn_file_actions_destroy(&quiet);
    return found;
}

/* backend = auto is a CUDA device when one answers: then this program becomes its twin, which
 * stands beside it and links NVIDIA's libraries. That is asked here and not in the daemon, because
 * opening a driver takes longer than the daemon's whole start. */
static void become_twin(char **argv)
{
    char self[512];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *twin;

    if (n <= 0)
        return;
    self[n] = '\0';
    twin = cn_xprintf("%s-cuda", self);
    if (access(twin, X_OK) == 0 && finds_device(twin))
        execv(twin, argv);
    free(twin);
}

int main(int argc, char **argv)
{
    struct options o = {.engine = CN_ENGINE_DEFAULTS, .fd = -1};
    struct cn_err err = CN_ERR_INIT;
    int rc;

    /* OpenMP reads it when the library is loaded. Threads that spin at the end of every kernel make
     * a picture ten times slower as soon as another program wants a processor (docs/SPEED.md). */
    cn_reexec_with("OMP_WAIT_POLICY", "passive", argv);
    if (parse(argc, argv, &o) < 0) {
        usage(stderr);
        return 2;
    }
    if (o.probe)
        return probe(&o);
    if (strcmp(o.engine.backend, "auto") == 0 && !cn_backend_has_device())
        become_twin(argv);
    cn_log_init(&(struct cn_log_options)CN_LOG_DEFAULTS);
    rc = serve(&o, &err);
    if (rc < 0)
        cn_log(CN_LOG_ERROR, "worker.fail", err.msg, "pid=%d", (int)getpid());
    cn_log_flush();
    return cn_worker_exit_status(rc);
}
