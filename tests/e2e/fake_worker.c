/* fake-worker: a worker whose engine is a clock.
 *
 * Takes the arguments of controlnet-worker and offers two small models. What a job does is said by
 * words in its prompt; how the worker starts, by words in CONTROLNET_FAKE; and which of its models
 * it has not, now or after the next refresh, by words in the file that --without names:
 *
 *     prompt           step=MS        each step takes so long (default 1); of a batch, the longest
 *                      fail=WORD      ends with that error (a cn_code_name) ...
 *                      where=POINTER  ... at that place of the request
 *                      crash=N        abort() in step N
 *                      crash-once=F   the same, but only while file F does not exist (it is made)
 *                      device         the device fails for good
 *                      hang           does nothing, and does not listen
 *                      warn=WORD      tells the warning of that name (of cn_enum_warning)
 *                      short          finishes without the images
 *                      bytes=N        says that the file of a picture has so many
 *                      garbage        writes bytes that are no frame
 *     CONTROLNET_FAKE  load=MS        of each model, when it is first needed
 *                      broken exit
 *                      capacity=N     jobs at a time (default 1)
 *                      lanes=N        images at a time (default 1), one step for all in each turn
 *                      step=MS        default of the prompt's
 *                      log=FILE       appends "begin PID SEED PROMPT" and "end ..." for every job
 *
 * The picture is a plain colour that depends on the seed; as JPEG or WebP it is a lie. Previews are
 * such pictures too.
 */
#include "base/base.h"
#include "worker/loop.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MODELS = 5, LANES_MAX = 64, SLICE_MS = 10, OWN_SIDE = 64 };

/* A job in progress: its images are drawn in order, `open` of them at a time. */
struct task {
    struct cn_worker_job *job;
    const struct cn_spec *spec;
    int *step; /* of each image; spec->steps: it is drawn */
    int sent;  /* images that are drawn and sent */
};

struct fake {
    int fd;
    const char *mode, *without; /* CONTROLNET_FAKE; --without, or NULL */
    struct cn_worker *worker;
    bool loaded[MODELS];
    struct task *task[CN_WORKER_JOBS];
    int n_tasks, lanes;
};

static void sleep_ms(int ms)
{
    struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};

    nanosleep(&t, NULL);
}

/* The text behind "name=" among the words of s, up to a blank; "" when it is not there. */
static const char *word(const char *s, const char *name, char *value, size_t size)
{
    size_t n = strlen(name);

    value[0] = '\0';
    for (const char *p = strstr(s, name); p != NULL; p = strstr(p + 1, name)) {
        if ((p != s && p[-1] != ' ') || p[n] != '=')
            continue;
        snprintf(value, size, "%.*s", (int)strcspn(p + n + 1, " "), p + n + 1);
        break;
    }
    return value;
}

static int number(const char *s, const char *name, int preset)
{
    char value[32];

    return word(s, name, value, sizeof(value))[0] == '\0' ? preset : atoi(value);
}

static bool has(const char *s, const char *flag)
{
    const char *p = strstr(s, flag);
    size_t n = strlen(flag);

    return p != NULL && (p == s || p[-1] == ' ') && (p[n] == '\0' || p[n] == ' ');
}

/* ---- a PNG with stored blocks ---- */

static uint32_t crc32_of(const unsigned char *p, size_t n)
{
    uint32_t c = UINT32_MAX;

    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++)
            c = c & 1 ? UINT32_C(0xedb88320) ^ (c >> 1) : c >> 1;
    }
    return ~c;
}

static void put32(struct cn_buf *b, uint32_t v)
{
    unsigned char p[4] = {(unsigned char)(v >> 24), (unsigned char)(v >> 16),
                          (unsigned char)(v >> 8), (unsigned char)v};

    cn_buf_add(b, p, 4, NULL);
}

static void put_chunk(struct cn_buf *b, const char *type, const void *data, size_t n)
{
    size_t at;

    put32(b, (uint32_t)n);
    at = b->len;
    cn_buf_add(b, type, 4, NULL);
    cn_buf_add(b, data, n, NULL);
    put32(b, crc32_of(b->data + at, n + 4));
}

static void paint(struct cn_buf *png, int w, int h, uint64_t seed)
{
    unsigned char head[13] = {(unsigned char)(w >> 24),
                              (unsigned char)(w >> 16),
                              (unsigned char)(w >> 8),
                              (unsigned char)w,
                              (unsigned char)(h >> 24),
                              (unsigned char)(h >> 16),
                              (unsigned char)(h >> 8),
                              (unsigned char)h,
                              8,
                              2};
    size_t row = (size_t)w * 3 + 1;
    struct cn_buf z;
    uint32_t a = 1, c = 0;

    cn_buf_init(&z, SIZE_MAX / 4);
    cn_buf_add(&z, "\x78\x01", 2, NULL);
    for (int y = 0; y < h; y++) {
        unsigned char block[5] = {y == h - 1, (unsigned char)row, (unsigned char)(row >> 8),
                                  (unsigned char)~row, (unsigned char)(~row >> 8)};

        cn_buf_add(&z, block, 5, NULL);
        for (size_t x = 0; x < row; x++) {
            unsigned char v = 0; /* the filter's byte of each line */

            if (x > 0)
                v = (unsigned char)(seed >> (8 * ((x - 1) % 3)));
            a = (a + v) % 65521;
            c = (c + a) % 65521;
            cn_buf_add(&z, &v, 1, NULL);
        }
    }
    put32(&z, c << 16 | a);
    cn_buf_add(png, "\x89PNG\r\n\x1a\n", 8, NULL);
    put_chunk(png, "IHDR", head, sizeof(head));
    put_chunk(png, "IDAT", z.data, z.len);
    put_chunk(png, "IEND", "", 0);
    cn_buf_release(&z);
}

/* ---- models ---- */

static const struct cn_model_info models[MODELS] = {
    {.name = "emoji",
     .family = "tiny",
     .title = "Small pictures",
     .width = 64,
     .height = 64,
     .multiple = 8,
     .is_default = true,
     .parameters = 1000,
     .bytes = 4000},
    {.name = "photo", .family = "sd15", .width = 512, .height = 512, .multiple = 64, .guidance = 4},
    {.name = "emoji-canny", .kind = CN_MODEL_CONTROLNET, .family = "tiny", .annotator = "canny"},
    {.name = "photo-canny", .kind = CN_MODEL_CONTROLNET, .family = "sd15", .annotator = "canny"},
    {.name = "cracked", .broken = "the UNet's conv_in.weight is missing (says the fake)"},
};

static int find_model(const char *name)
{
    for (int i = 0; i < MODELS; i++)
        if (strcmp(models[i].name, name) == 0)
            return i;
    return -1;
}

/* Those that there are, in memory of their own. */
static int present(const struct fake *f, struct cn_model_info **ret)
{
    char gone[256] = "";
    FILE *file = f->without != NULL ? fopen(f->without, "r") : NULL;
    int n = 0;

    if (file != NULL) {
        gone[fread(gone, 1, sizeof(gone) - 1, file)] = '\0';
        fclose(file);
    }
    *ret = cn_xcalloc(MODELS, sizeof(**ret));
    for (int i = 0; i < MODELS; i++)
        if (!has(gone, models[i].name))
            (*ret)[n++] = models[i];
    return n;
}

static void send_catalog(struct fake *f)
{
    struct cn_msg_catalog m = {.changed = 1};

    m.n_models = present(f, &m.model);
    m.n_passed = 1;
    m.passed = cn_xcalloc(1, sizeof(*m.passed));
    snprintf(m.passed[0].name, sizeof(m.passed[0].name), "notes.txt");
    snprintf(m.passed[0].why, sizeof(m.passed[0].why), "it is no model (says the fake)");
    cn_worker_catalog(f->worker, &m);
    cn_msg_catalog_release(&m);
}

static void report_model(struct fake *f, int i, enum cn_residence state)
{
    struct cn_msg_model m = {.state = state, .bytes = state == CN_MODEL_LOADED ? 4000 : 0};

    snprintf(m.name, sizeof(m.name), "%s", models[i].name);
    cn_worker_model(f->worker, &m);
}

static void need_model(struct fake *f, int i)
{
    if (i < 0 || f->loaded[i])
        return;
    report_model(f, i, CN_MODEL_LOADING);
    sleep_ms(number(f->mode, "load", 0));
    f->loaded[i] = true;
    report_model(f, i, CN_MODEL_LOADED);
}

static bool in_use(const struct fake *f, const char *name)
{
    for (int i = 0; i < f->n_tasks; i++) {
        const struct cn_spec *s = f->task[i]->spec;

        if (strcmp(s->model, name) == 0)
            return true;
        for (int k = 0; k < s->n_controls; k++)
            if (strcmp(s->control[k].model, name) == 0)
                return true;
    }
    return false;
}

static int manage(void *ctx, enum cn_manage action, const char *name, struct cn_err *err)
{
    struct fake *f = ctx;
    int i = find_model(name);

    if (action == CN_MANAGE_REFRESH) {
        send_catalog(f);
        return CN_OK;
    }
    if (i < 0)
        return cn_fail(err, CN_ENOTFOUND, "there is no model \"%s\"", name);
    if (models[i].broken[0] != '\0')
        return cn_fail(err, CN_EFORMAT, "model \"%s\" cannot be used: %s", name, models[i].broken);
    if (action == CN_MANAGE_LOAD) {
        need_model(f, i);
        return CN_OK;
    }
    if (in_use(f, name))
        return cn_fail(err, CN_EBUSY, "model \"%s\" is in use", name);
    f->loaded[i] = false;
    report_model(f, i, CN_MODEL_UNLOADED);
    return CN_OK;
}

/* ---- start ---- */

static int describe(void *ctx, struct cn_msg_hello *ret, struct cn_err *err)
{
    struct fake *f = ctx;

    if (has(f->mode, "exit"))
        exit(3);
    if (has(f->mode, "broken"))
        return cn_fail(err, CN_ENOTFOUND, "there are no models (says the fake)");
    snprintf(ret->backend, sizeof(ret->backend), "fake");
    snprintf(ret->device, sizeof(ret->device), "a clock");
    snprintf(ret->build, sizeof(ret->build), "%s", PACKAGE_VERSION);
    ret->capacity = number(f->mode, "capacity", 1);
    ret->lanes = f->lanes;
    ret->n_models = present(f, &ret->model);
    ret->n_annotators = 1;
    ret->annotator = cn_xcalloc(1, sizeof(*ret->annotator));
    snprintf(ret->annotator[0].name, sizeof(ret->annotator[0].name), "canny");
    return CN_OK;
}

static int load(void *ctx, struct cn_worker *w, struct cn_err *err)
{
    struct fake *f = ctx;

    (void)err;
    f->worker = w;
    need_model(f, 0);
    return CN_OK;
}

static void gauges(void *ctx, struct cn_msg_gauges *ret)
{
    (void)ctx;
    ret->n = 1;
    snprintf(ret->gauge[0].name, sizeof(ret->gauge[0].name), "resident_bytes");
    ret->gauge[0].value = 12345;
}

/* ---- jobs ---- */

static int fail_as_told(const char *prompt, struct cn_err *err)
{
    char code[32], where[64];

    if (word(prompt, "fail", code, sizeof(code))[0] == '\0')
        return CN_OK;
    word(prompt, "where", where, sizeof(where));
    for (int c = -1; c >= CN_EINTERNAL; c--)
        if (strcmp(code, cn_code_name(c)) == 0)
            return cn_fail_at(err, c, where, "the fake was told to fail (%s)", code);
    return cn_fail(err, CN_EINTERNAL, "the fake was told to fail in an unknown way");
}

static void misbehave(const struct fake *f, const char *prompt, int step)
{
    char file[256];

    if (number(prompt, "crash", -1) == step)
        abort();
    word(prompt, "crash-once", file, sizeof(file));
    if (file[0] != '\0' && access(file, F_OK) != 0) {
        close(open(file, O_CREAT | O_WRONLY, 0600));
        abort();
    }
    if (has(prompt, "garbage") && write(f->fd, "0123456789abcdef", 16) < 0)
        abort();
    while (has(prompt, "hang"))
        sleep_ms(1000);
}

static void note(const struct fake *f, const char *what, const struct cn_spec *s)
{
    char path[256], *line;
    int fd;

    if (word(f->mode, "log", path, sizeof(path))[0] == '\0')
        return;
    line =
        cn_xprintf("%s %d %llu %s\n", what, (int)getpid(), (unsigned long long)s->seed, s->prompt);
    fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
    if (fd < 0 || write(fd, line, strlen(line)) < 0)
        fprintf(stderr, "fake-worker: cannot write to %s\n", path);
    if (fd >= 0)
        close(fd);
    free(line);
}

static void warn_as_told(struct cn_worker_job *job, const char *prompt)
{
    char name[32];
    int code = cn_enum_find(&cn_enum_warning, word(prompt, "warn", name, sizeof(name)));

    if (code >= 0)
        cn_worker_warn(job, (enum cn_warning_code)code, "/prompt", "the prompt says so");
}

static int begin(void *ctx, struct cn_worker_job *job, struct cn_err *err)
{
    const struct cn_spec *s = cn_worker_spec(job);
    struct fake *f = ctx;
    struct task *t;
    int rc = fail_as_told(s->prompt, err);

    note(f, "begin", s);
    warn_as_told(job, s->prompt);
    if (rc < 0)
        return rc;
    need_model(f, find_model(s->model));
    for (int i = 0; i < s->n_controls; i++)
        need_model(f, find_model(s->control[i].model));
    t = cn_xcalloc(1, sizeof(*t));
    t->job = job;
    t->spec = s;
    t->step = cn_xcalloc((size_t)s->n, sizeof(*t->step));
    f->task[f->n_tasks++] = t;
    return CN_OK;
}

static bool busy(void *ctx)
{
    const struct fake *f = ctx;

    return f->n_tasks > 0;
}

static void end(struct fake *f, int i, int rc, const struct cn_err *err)
{
    struct task *t = f->task[i];

    note(f, rc == CN_OK ? "end" : "fail", t->spec);
    f->n_tasks--;
    memmove(&f->task[i], &f->task[i + 1], (size_t)(f->n_tasks - i) * sizeof(struct task *));
    cn_worker_end(t->job, rc, err);
    free(t->step);
    free(t);
}

static int send_image(struct task *t, int index, struct cn_err *err)
{
    const struct cn_spec *s = t->spec;
    struct cn_msg_image m = {.index = index,
                             .meta = {.seed = s->seed + (uint64_t)index,
                                      .format = s->format,
                                      /* 0 of a map that is as large as its picture */
                                      .width = s->width > 0 ? s->width : OWN_SIDE,
                                      .height = s->height > 0 ? s->height : OWN_SIDE}};
    struct cn_buf png;
    int rc;

    t->sent++;
    cn_worker_stage(t->job, CN_STAGE_UNET, (double)s->steps);
    if (has(s->prompt, "short"))
        return CN_OK;
    cn_buf_init(&png, SIZE_MAX / 4);
    paint(&png, m.meta.width, m.meta.height, m.meta.seed);
    m.data = png.data;
    m.meta.bytes = (size_t)number(s->prompt, "bytes", (int)png.len);
    rc = cn_worker_image(t->job, &m, err);
    cn_buf_release(&png);
    return rc;
}

static void send_preview(struct task *t, int index, int step)
{
    struct cn_msg_preview m = {
        .index = index, .step = step, .format = CN_PNG, .width = 16, .height = 16};
    struct cn_buf png;

    cn_buf_init(&png, SIZE_MAX / 4);
    paint(&png, m.width, m.height, t->spec->seed + (uint64_t)step);
    m.data = png.data;
    m.len = png.len;
    cn_worker_preview(t->job, &m);
    cn_buf_release(&png);
}

/* One step of one image, after the time has passed. */
static int step_image(struct fake *f, struct task *t, int index, struct cn_err *err)
{
    const struct cn_spec *s = t->spec;

    misbehave(f, s->prompt, t->step[index]);
    t->step[index]++;
    if (s->preview_every > 0 && t->step[index] % s->preview_every == 0)
        send_preview(t, index, t->step[index]);
    cn_worker_progress(t->job, CN_STAGE_UNET, index, t->step[index], s->steps);
    return t->step[index] == s->steps ? send_image(t, index, err) : CN_OK;
}

/* Up to `room` images of the task that are not finished; returns how many. */
static int pick(const struct task *t, int room, int *image)
{
    int n = 0;

    for (int k = 0; k < t->spec->n && n < room; k++)
        if (t->step[k] < t->spec->steps)
            image[n++] = k;
    return n;
}

static bool is_wanted(const struct fake *f)
{
    for (int i = 0; i < f->n_tasks; i++)
        if (!cn_worker_cancelled(f->task[i]->job))
            return true;
    return false;
}

/* The time of a batch's step: the longest that one of its jobs asks for. It ends early when nobody
 * wants any of them. */
static void pass_time(const struct fake *f)
{
    int ms = 0, room = f->lanes, image[LANES_MAX];

    for (int i = 0; i < f->n_tasks && room > 0; i++) {
        int own = number(f->task[i]->spec->prompt, "step", number(f->mode, "step", 1));

        room -= pick(f->task[i], room, image);
        ms = CN_MAX(ms, own);
    }
    for (; ms > SLICE_MS && is_wanted(f); ms -= SLICE_MS)
        sleep_ms(SLICE_MS);
    if (is_wanted(f))
        sleep_ms(ms);
}

static void drop_cancelled(struct fake *f)
{
    for (int i = f->n_tasks - 1; i >= 0; i--) {
        struct cn_err err = CN_ERR_INIT;

        if (!cn_worker_cancelled(f->task[i]->job))
            continue;
        cn_fail(&err, CN_ECANCELED, "cancelled");
        end(f, i, CN_ECANCELED, &err);
    }
}

/* The oldest jobs first: those before it in the list fill the lanes. */
static int step_batch(struct fake *f)
{
    int room = f->lanes, images = 0;

    for (int i = 0; i < f->n_tasks && room > 0; i++) {
        int image[LANES_MAX], n = pick(f->task[i], room, image), rc = CN_OK;
        struct cn_err err = CN_ERR_INIT;

        for (int k = 0; k < n && rc == CN_OK; k++)
            rc = step_image(f, f->task[i], image[k], &err);
        room -= n;
        images += n;
        if (rc < 0 || f->task[i]->sent == f->task[i]->spec->n)
            end(f, i--, rc, &err);
    }
    return images;
}

static int step(void *ctx, struct cn_err *err)
{
    struct fake *f = ctx;
    double start = cn_now_s();
    int images;

    drop_cancelled(f);
    for (int i = 0; i < f->n_tasks; i++)
        if (has(f->task[i]->spec->prompt, "device"))
            return cn_fail(err, CN_EDEVICE, "the fake device failed");
    if (f->n_tasks == 0)
        return CN_OK;
    pass_time(f);
    images = step_batch(f);
    cn_worker_beat(f->worker, CN_MIN(f->lanes, f->n_tasks), images, (cn_now_s() - start) * 1e3);
    return CN_OK;
}

int main(int argc, char **argv)
{
    static const struct cn_worker_ops ops = {.describe = describe,
                                             .load = load,
                                             .begin = begin,
                                             .busy = busy,
                                             .step = step,
                                             .manage = manage,
                                             .gauges = gauges};
    static struct fake f = {.fd = -1}; /* a device that fails leaves its tasks, here, to the end */
    struct cn_err err = CN_ERR_INIT;
    int rc;

    f.mode = getenv("CONTROLNET_FAKE");
    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "--fd") == 0)
            f.fd = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--without") == 0)
            f.without = argv[i + 1];
    if (f.fd < 0) {
        fputs("fake-worker: it is started by controlnetd, with --fd N\n", stderr);
        return 2;
    }
    if (f.mode == NULL)
        f.mode = "";
    f.lanes = CN_MIN(CN_MAX(number(f.mode, "lanes", 1), 1), LANES_MAX);
    rc = cn_worker_loop(f.fd, &ops, &f, &err);
    for (int i = 0; i < f.n_tasks; i++) { /* the device failed under them */
        free(f.task[i]->step);
        free(f.task[i]);
    }
    return cn_worker_exit_status(rc);
}
