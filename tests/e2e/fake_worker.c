/* fake-worker: a worker whose engine is a clock.
 *
 * Takes the arguments of controlnet-worker and offers two small models. What a job does is said by
 * words in its prompt; how the worker starts, by words in CONTROLNET_FAKE:
 *
 *     prompt           step=MS        each step takes so long (default 1)
 *                      fail=WORD      ends with that error (a cn_code_name) ...
 *                      where=POINTER  ... at that place of the request
 *                      crash=N        abort() in step N
 *                      crash-once=F   the same, but only while file F does not exist (it is made)
 *                      device         the device fails for good
 *                      hang           does nothing, and does not listen
 *                      short          finishes without the images
 *                      garbage        writes bytes that are no frame
 *     CONTROLNET_FAKE  load=MS broken exit slow-cancel
 *
 * The picture is a plain colour that depends on the seed; as JPEG or WebP it is a lie.
 */
#include "base/base.h"
#include "worker_loop.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct fake {
    int fd;
    const char *mode; /* CONTROLNET_FAKE */
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

/* ---- operations ---- */

static int describe(void *ctx, struct cn_msg_hello *ret, struct cn_err *err)
{
    static const struct cn_model_info model[] = {
        {.name = "emoji",
         .family = "tiny",
         .title = "Small pictures",
         .width = 64,
         .height = 64,
         .multiple = 8,
         .is_default = true,
         .parameters = 1000,
         .bytes = 4000},
        {.name = "photo", .family = "sd15", .width = 512, .height = 512, .multiple = 64},
        {.name = "emoji-canny",
         .kind = CN_MODEL_CONTROLNET,
         .family = "tiny",
         .annotator = "canny"},
        {.name = "photo-canny",
         .kind = CN_MODEL_CONTROLNET,
         .family = "sd15",
         .annotator = "canny"},
    };
    const struct fake *f = ctx;

    if (has(f->mode, "exit"))
        exit(3);
    if (has(f->mode, "broken"))
        return cn_fail(err, CN_ENOTFOUND, "there are no models (says the fake)");
    snprintf(ret->backend, sizeof(ret->backend), "fake");
    snprintf(ret->device, sizeof(ret->device), "a clock");
    snprintf(ret->build, sizeof(ret->build), "%s", PACKAGE_VERSION);
    ret->capacity = 1;
    ret->n_models = (int)CN_LEN(model);
    ret->model = cn_xmalloc(sizeof(model));
    memcpy(ret->model, model, sizeof(model));
    ret->n_annotators = 1;
    ret->annotator = cn_xcalloc(1, sizeof(*ret->annotator));
    snprintf(ret->annotator[0].name, sizeof(ret->annotator[0].name), "canny");
    return CN_OK;
}

static int load(void *ctx, struct cn_err *err)
{
    const struct fake *f = ctx;

    (void)err;
    sleep_ms(number(f->mode, "load", 0));
    return CN_OK;
}

static void gauges(void *ctx, struct cn_msg_gauges *ret)
{
    (void)ctx;
    ret->n = 1;
    snprintf(ret->gauge[0].name, sizeof(ret->gauge[0].name), "resident_bytes");
    ret->gauge[0].value = 12345;
}

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

static int draw(const struct fake *f, const struct cn_spec *s, int index,
                const struct cn_worker_cb *cb, struct cn_err *err)
{
    int ms = number(s->prompt, "step", 1), rc;
    struct cn_msg_image m = {.index = index,
                             .seed = s->seed + (uint64_t)index,
                             .format = s->format,
                             .width = s->width,
                             .height = s->height};
    struct cn_buf png;

    for (int i = 0; i < s->steps; i++) {
        if (cb->cancelled(cb->ctx))
            return cn_fail(err, CN_ECANCELED, "cancelled in step %d", i);
        misbehave(f, s->prompt, i);
        sleep_ms(ms);
        cb->progress(cb->ctx, CN_STAGE_UNET, index, i + 1, s->steps);
    }
    cb->stage(cb->ctx, CN_STAGE_UNET, (double)ms * s->steps);
    if (has(s->prompt, "short"))
        return CN_OK;
    cn_buf_init(&png, SIZE_MAX / 4);
    paint(&png, s->width, s->height, m.seed);
    m.data = png.data;
    m.len = png.len;
    rc = cb->image(cb->ctx, &m, err);
    cn_buf_release(&png);
    return rc;
}

static int run(void *ctx, const struct cn_spec *s, const struct cn_worker_cb *cb,
               struct cn_err *err)
{
    int rc = fail_as_told(s->prompt, err);

    if (has(s->prompt, "device"))
        return cn_fail(err, CN_EDEVICE, "the fake device failed");
    for (int i = 0; rc == CN_OK && i < s->n; i++)
        rc = draw(ctx, s, i, cb, err);
    return rc;
}

int main(int argc, char **argv)
{
    static const struct cn_worker_ops ops = {describe, load, run, gauges};
    struct fake f = {.fd = -1, .mode = getenv("CONTROLNET_FAKE")};
    struct cn_err err = CN_ERR_INIT;
    int rc;

    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "--fd") == 0)
            f.fd = atoi(argv[i + 1]);
    if (f.fd < 0) {
        fputs("fake-worker: it is started by controlnetd, with --fd N\n", stderr);
        return 2;
    }
    if (f.mode == NULL)
        f.mode = "";
    rc = cn_worker_loop(f.fd, &ops, &f, &err);
    return cn_worker_exit_status(rc);
}
