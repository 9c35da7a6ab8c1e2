/* A decoder may do what it likes: it costs the picture that made it do it, and the next one is
 * read. The real one reads what the codecs read. */
#include "base/base.h"
#include "decoding/client.h"
#include "base/file.h"
#include "base/mem.h"
#include "decoding/wall.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

struct told {
    int started, died;
    unsigned layers;
    char text[100];
};

static void note(void *ctx, bool died, unsigned layers, const char *text)
{
    struct told *t = ctx;

    if (died) {
        t->died++;
        snprintf(t->text, sizeof(t->text), "%s", text);
    } else {
        t->started++;
        t->layers = layers;
    }
}

static struct cn_decoder *open_decoder(const char *program, struct told *t)
{
    struct cn_decoder_opts o = CN_DECODER_OPTS_DEFAULTS;

    o.program = program;
    o.ctx = t;
    o.tell = note;
    *t = (struct told){0};
    return cn_decoder_new(&o);
}

/* A picture of w by h whose pixels differ. The caller frees file. */
static void make_picture(int w, int h, int c, struct cn_image *img, struct cn_buf *file)
{
    assert_int_equal(cn_image_init(img, w, h, c, NULL), CN_OK);
    for (size_t i = 0; i < cn_image_bytes(img); i++)
        img->px[i] = (uint8_t)(i * 7 + i / 1000);
    cn_buf_init(file, 64u << 20);
    assert_int_equal(cn_png_encode(img, NULL, 0, CN_PNG_LEVEL, file, NULL), CN_OK);
}

/* The next picture after whatever happened. */
static void assert_reads(struct cn_decoder *d)
{
    struct cn_image img, back = CN_IMAGE_NONE;
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf file;

    make_picture(37, 21, 3, &img, &file);
    if (cn_decoder_decode(d, file.data, file.len, NULL, &back, &err) != CN_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(back.w, 37);
    assert_int_equal(back.h, 21);
    assert_memory_equal(back.px, img.px, cn_image_bytes(&img));
    cn_image_release(&back);
    cn_image_release(&img);
    cn_buf_release(&file);
}

static void test_check(void **state)
{
    struct told t;
    struct cn_decoder *d = open_decoder("./controlnet-decoder", &t);
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    if (cn_decoder_check(d, &err) != CN_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(t.started, CN_FORMAT_COUNT);
    assert_int_equal(t.died, 0);
    assert_true((t.layers & CN_WALL_CALLS) != 0);
    cn_decoder_free(d);
}

/* Same pixels, same errors, from one to the largest picture. */
static void test_same(void **state)
{
    static const int size[][3] = {{1, 1, 4}, {512, 384, 3}, {4096, 2, 4}, {3, 4096, 3}};
    struct cn_image img, here = CN_IMAGE_NONE, back = CN_IMAGE_NONE;
    struct cn_err want = CN_ERR_INIT, err = CN_ERR_INIT;
    struct told t;
    struct cn_decoder *d = open_decoder("./controlnet-decoder", &t);
    struct cn_buf file;

    (void)state;
    for (size_t i = 0; i < CN_LEN(size); i++) {
        make_picture(size[i][0], size[i][1], size[i][2], &img, &file);
        assert_int_equal(cn_decoder_decode(d, file.data, file.len, NULL, &back, NULL), CN_OK);
        assert_int_equal(cn_image_decode(file.data, file.len, NULL, &here, NULL), CN_OK);
        assert_int_equal(back.c, here.c);
        assert_int_equal(cn_image_bytes(&back), cn_image_bytes(&here));
        assert_memory_equal(back.px, here.px, cn_image_bytes(&here));
        cn_image_release(&back);
        cn_image_release(&here);
        file.len /= 2;
        want = err = (struct cn_err)CN_ERR_INIT;
        assert_int_equal(cn_decoder_decode(d, file.data, file.len, NULL, &back, &err),
                         cn_image_decode(file.data, file.len, NULL, &here, &want));
        assert_string_equal(err.msg, want.msg);
        cn_image_release(&img);
        cn_buf_release(&file);
    }
    make_picture(4097, 1, 3, &img, &file);
    assert_int_equal(cn_decoder_decode(d, file.data, file.len, NULL, &back, NULL), CN_ETOOBIG);
    cn_image_release(&img);
    cn_buf_release(&file);
    assert_int_equal(cn_decoder_decode(d, "", 0, NULL, &back, NULL), CN_EFORMAT);
    assert_int_equal(t.died, 0);
    cn_decoder_free(d);
}

/* The largest that the limits allow fits behind the wall. */
static void test_largest(void **state)
{
    enum { SIDE = 4096 };
    struct cn_image img, back = CN_IMAGE_NONE;
    struct cn_err err = CN_ERR_INIT;
    struct cn_decoder_opts o = CN_DECODER_OPTS_DEFAULTS;
    struct cn_decoder *d;
    struct cn_buf file;

    (void)state;
    o.program = "./controlnet-decoder";
    d = cn_decoder_new(&o);
    assert_int_equal(cn_image_init(&img, SIDE, SIDE, 4, NULL), CN_OK);
    memset(img.px, 77, cn_image_bytes(&img));
    img.px[cn_image_bytes(&img) - 1] = 5;
    cn_buf_init(&file, 32u << 20);
    assert_int_equal(cn_png_encode(&img, NULL, 0, CN_PNG_LEVEL, &file, NULL), CN_OK);
    if (cn_decoder_decode(d, file.data, file.len, NULL, &back, &err) != CN_OK)
        fail_msg("%s", err.msg);
    assert_memory_equal(back.px, img.px, cn_image_bytes(&img));
    cn_image_release(&back);
    cn_image_release(&img);
    cn_buf_release(&file);
    cn_decoder_free(d);
}

/* Every file of the corpus, good and bad, gives the same as in this process. */
static void test_corpus(void **state)
{
    struct told t;
    struct cn_decoder *d = open_decoder("./controlnet-decoder", &t);
    DIR *dir = opendir(CN_CORPUS);
    struct dirent *entry;
    int n = 0;

    (void)state;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        struct cn_image here = CN_IMAGE_NONE, back = CN_IMAGE_NONE;
        struct cn_err want = CN_ERR_INIT, err = CN_ERR_INIT;
        char path[600];
        struct cn_buf file;
        int rc;

        snprintf(path, sizeof(path), "%s/%s", CN_CORPUS, entry->d_name);
        cn_buf_init(&file, 32u << 20);
        if (cn_file_read(path, &file, NULL) != CN_OK)
            continue;
        rc = cn_image_decode(file.data, file.len, NULL, &here, &want);
        if (cn_decoder_decode(d, file.data, file.len, NULL, &back, &err) != rc ||
            strcmp(err.msg, want.msg) != 0)
            fail_msg("%s: \"%s\", here \"%s\"", entry->d_name, err.msg, want.msg);
        if (rc == CN_OK)
            assert_memory_equal(back.px, here.px, cn_image_bytes(&here));
        cn_image_release(&here);
        cn_image_release(&back);
        cn_buf_release(&file);
        n++;
    }
    closedir(dir);
    assert_true(n > 100);
    assert_int_equal(t.died, 0);
    cn_decoder_free(d);
}

static void test_limits(void **state)
{
    struct cn_image_limits small = {.max_side = 100, .max_pixels = 500, .max_bytes = 1u << 20};
    struct cn_image img, back = CN_IMAGE_NONE;
    struct told t;
    struct cn_decoder *d = open_decoder("./controlnet-decoder", &t);
    struct cn_buf file;

    (void)state;
    make_picture(50, 11, 3, &img, &file);
    assert_int_equal(cn_decoder_decode(d, file.data, file.len, &small, &back, NULL), CN_ETOOBIG);
    small.max_pixels = 550;
    assert_int_equal(cn_decoder_decode(d, file.data, file.len, &small, &back, NULL), CN_OK);
    cn_image_release(&back);
    small.max_bytes = file.len - 1;
    assert_int_equal(cn_decoder_decode(d, file.data, file.len, &small, &back, NULL), CN_ETOOBIG);
    cn_image_release(&img);
    cn_buf_release(&file);
    cn_decoder_free(d);
}

/* Each deed costs its picture, is told, and harms nobody. */
static void test_bad(void **state)
{
    static const struct {
        const char *deed;
        int rc, died;
        const char *msg, *told;
    } row[] = {
        {"crash", CN_EFORMAT, 1, "made its decoder fail (signal 11", "signal 11"},
        {"abort", CN_EFORMAT, 1, "made its decoder fail (signal 6", "signal 6"},
        {"exit", CN_EFORMAT, 1, "made its decoder fail (status 3)", "status 3"},
        {"loop", CN_ETOOBIG, 1, "takes more than 0.5 s to decode", "too long"},
        {"open", CN_EFORMAT, 1, "signal 31", "signal 31"},
        {"socket", CN_EFORMAT, 1, "signal 31", "signal 31"},
        {"fork", CN_EFORMAT, 1, "signal 31", "signal 31"},
        {"exec", CN_EFORMAT, 1, "signal 31", "signal 31"},
        {"kill", CN_EFORMAT, 1, "signal 31", "signal 31"},
        {"stop", CN_EFORMAT, 1, "signal 31", "signal 31"},
        {"code", CN_EFORMAT, 1, "signal 31", "signal 31"},
        {"print", CN_EFORMAT, 1, "signal 31", "signal 31"},
        {"close", CN_EFORMAT, 1, "signal 9", "signal 9"},
        {"answer-short", CN_EFORMAT, 1, "makes no sense", "makes no sense"},
        {"answer-type", CN_EFORMAT, 1, "makes no sense", "makes no sense"},
        {"answer-size", CN_EFORMAT, 1, "makes no sense", "makes no sense"},
        {"answer-negative", CN_EFORMAT, 1, "makes no sense", "makes no sense"},
        {"answer-channels", CN_EFORMAT, 1, "makes no sense", "makes no sense"},
        {"answer-code", CN_EFORMAT, 1, "makes no sense", "makes no sense"},
    };
    struct cn_decoder_opts o = CN_DECODER_OPTS_DEFAULTS;
    struct told t = {0};
    struct cn_decoder *d;

    (void)state;
    o.program = "tests/decoding/bad-decoder";
    o.cpu_ms = 500; /* of a loop; what is read here is small */
    o.ctx = &t;
    o.tell = note;
    d = cn_decoder_new(&o);
    assert_reads(d);
    for (size_t i = 0; i < CN_LEN(row); i++) {
        struct cn_image back = CN_IMAGE_NONE;
        struct cn_err err = CN_ERR_INIT;
        int died = t.died;
        int rc = cn_decoder_decode(d, row[i].deed, strlen(row[i].deed), NULL, &back, &err);

        if (rc != row[i].rc || strstr(err.msg, row[i].msg) == NULL ||
            t.died - died != row[i].died || strstr(t.text, row[i].told) == NULL)
            fail_msg("%s: %d \"%s\", told \"%s\", %d died", row[i].deed, rc, err.msg, t.text,
                     t.died - died);
        assert_reads(d);
    }
    cn_decoder_free(d);
}

/* Its words go to clients and into the log. */
static void test_text(void **state)
{
    struct told t;
    struct cn_decoder *d = open_decoder("tests/decoding/bad-decoder", &t);
    struct cn_image back = CN_IMAGE_NONE;
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    assert_int_equal(cn_decoder_decode(d, "answer-text", 11, NULL, &back, &err), CN_EFORMAT);
    assert_int_equal(strspn(err.msg, "?"), sizeof(err.msg) - 1);
    cn_decoder_free(d);
}

/* It waits for ever, and takes no time of a processor. */
static void test_sleep(void **state)
{
    struct cn_decoder_opts o = CN_DECODER_OPTS_DEFAULTS;
    struct cn_image back = CN_IMAGE_NONE;
    struct cn_err err = CN_ERR_INIT;
    struct cn_decoder *d;
    struct told t = {0};

    (void)state;
    o.program = "tests/decoding/bad-decoder";
    o.wall_ms = 1500;
    o.ctx = &t;
    o.tell = note;
    d = cn_decoder_new(&o);
    assert_int_equal(cn_decoder_decode(d, "sleep", 5, NULL, &back, &err), CN_ETOOBIG);
    assert_string_equal(err.msg, "the image was not decoded in 1.5 s");
    cn_decoder_free(d);
}

/* What it can take ends at its limit, and it lives on. */
static void test_memory(void **state)
{
    struct cn_image back = CN_IMAGE_NONE;
    struct cn_err err = CN_ERR_INIT;
    struct cn_decoder *d;
    struct told t;
    size_t taken = 0;

    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* its shadow memory is larger than any limit */
#endif
    d = open_decoder("tests/decoding/bad-decoder", &t);
    assert_int_equal(cn_decoder_decode(d, "memory", 6, NULL, &back, &err), CN_ENOMEM);
    assert_int_equal(sscanf(err.msg, "no memory after %zu MiB", &taken), 1);
    assert_true(taken << 20 < CN_WALL_MEMORY);
    cn_decoder_free(d);
}

/* Processes that this one has started and not reaped yet. -1: the kernel does not say. */
static int children(int *pid, int most)
{
    DIR *dir = opendir("/proc/self/task");
    struct dirent *entry;
    int n = 0, files = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        char path[300];
        FILE *f;

        snprintf(path, sizeof(path), "/proc/self/task/%s/children", entry->d_name);
        f = fopen(path, "r");
        if (f == NULL)
            continue;
        files++;
        while (n < most && fscanf(f, "%d", &pid[n]) == 1)
            n++;
        fclose(f);
    }
    closedir(dir);
    return files > 0 ? n : -1;
}

/* Its number, of which nothing is left over for the next picture. */
static int remember(struct cn_decoder *d)
{
    struct cn_image back = CN_IMAGE_NONE;
    struct cn_err err = CN_ERR_INIT;
    int seen = -1, pid = 0;

    assert_int_equal(cn_decoder_decode(d, "remember", 8, NULL, &back, &err), CN_EFORMAT);
    assert_int_equal(sscanf(err.msg, "%d seen before by %d", &seen, &pid), 2);
    assert_int_equal(seen, 0);
    return pid;
}

/* Until what has read is gone, and the one for the next picture is there: this. */
static int wait_for_spare(int used)
{
    enum { TRIES = 3000, STEP_NS = 10000000 };
    int pid[8];

    for (int i = 0; i < TRIES; i++) {
        if (children(pid, CN_LEN(pid)) == 1 && pid[0] != used)
            return pid[0];
        nanosleep(&(struct timespec){0, STEP_NS}, NULL);
    }
    fail_msg("%d children", children(pid, CN_LEN(pid)));
    return 0;
}

/* A picture cannot see the one before: not what it left in memory, and not its process. The one for
 * the next is there before that comes, and nobody is left to be reaped. */
static void test_forgets(void **state)
{
    struct told t;
    struct cn_decoder *d = open_decoder("tests/decoding/bad-decoder", &t);
    int pid[1], last = 0;

    (void)state;
    for (int i = 1; i <= 50; i++) {
        int now = remember(d);

        assert_int_not_equal(now, last);
        assert_int_equal(t.started, i);
        last = now;
    }
    if (children(pid, 1) >= 0) {
        int spare = wait_for_spare(last);

        assert_int_equal(remember(d), spare);
    }
    assert_int_equal(t.died, 0);
    cn_decoder_free(d);
    assert_true(children(pid, 1) <= 0);
}

/* From outside, while it has nothing to do. */
static void test_killed(void **state)
{
    struct told t;
    struct cn_decoder *d = open_decoder("tests/decoding/bad-decoder", &t);
    int none[1];

    (void)state;
    for (int i = 1; i <= 5 && children(none, 1) >= 0; i++) {
        assert_int_equal(kill(wait_for_spare(remember(d)), SIGKILL), 0);
        assert_reads(d);
        assert_int_equal(t.died, i);
        assert_non_null(strstr(t.text, "signal 9"));
    }
    cn_decoder_free(d);
}

/* Before it has raised its wall, as far as that can be met. */
static void test_killed_early(void **state)
{
    struct told t;
    struct cn_decoder *d = open_decoder("tests/decoding/bad-decoder", &t);
    int pid[8], n = children(pid, 0), killed = 0;

    (void)state;
    for (int i = 0; i < 20 && n >= 0; i++) {
        int used = remember(d);

        do
            n = children(pid, CN_LEN(pid)); /* it, and those that are not reaped yet */
        while (n == 1 && pid[0] == used);
        for (int k = 0; k < n; k++)
            if (pid[k] > used) {
                kill(pid[k], SIGKILL);
                killed++;
            }
        assert_reads(d);
    }
    assert_true(killed == 0 || t.died > 0);
    assert_true(t.died <= killed);
    cn_decoder_free(d);
}

/* Its path leads to something else from now on, as after an upgrade: the one that was there at the
 * beginning goes on. */
static void test_upgraded(void **state)
{
    char dir[] = "decoder.XXXXXX", *path, *other;
    struct cn_decoder *d;
    struct cn_buf file;
    struct told t;

    (void)state;
    assert_non_null(mkdtemp(dir));
    path = cn_xprintf("%s/controlnet-decoder", dir);
    other = cn_xprintf("%s/new", dir);
    cn_buf_init(&file, 1u << 30);
    assert_int_equal(cn_file_read("tests/decoding/bad-decoder", &file, NULL), CN_OK);
    assert_int_equal(cn_file_write(path, file.data, file.len, NULL), CN_OK);
    assert_int_equal(chmod(path, 0755), 0);
    d = open_decoder(path, &t);
    assert_int_equal(cn_decoder_check(d, NULL), CN_OK);
    assert_int_equal(symlink("/bin/false", other), 0);
    assert_int_equal(rename(other, path), 0);
    for (int i = 0; i < 3; i++)
        assert_reads(d);
    assert_int_equal(t.died, 0);
    cn_decoder_free(d);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    cn_buf_release(&file);
    free(path);
    free(other);
}

/* Not there, no decoder, none that says what it should. */
static void test_no_decoder(void **state)
{
    static const char *const program[][2] = {
        {"./no-such-decoder", "cannot start the decoder of pictures: No such file"},
        {"/bin/false", "ended at its start (status 1)"},
        {"/bin/sh", "ended at its start"},
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(program); i++) {
        struct told t;
        struct cn_decoder *d = open_decoder(program[i][0], &t);
        struct cn_err err = CN_ERR_INIT;

        assert_int_equal(cn_decoder_check(d, &err), CN_EIO);
        assert_non_null(strstr(err.msg, program[i][1]));
        cn_decoder_free(d);
    }
}

static int count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

/* Nothing is left open, however decoders end. */
static void test_descriptors(void **state)
{
    static const char *const deed[] = {"crash", "exit", "answer-short"};
    struct told t;
    struct cn_decoder *d = open_decoder("tests/decoding/bad-decoder", &t);
    struct cn_image back = CN_IMAGE_NONE;
    int before, after;

    (void)state;
    if (children(&before, 1) < 0) {
        cn_decoder_free(d);
        skip();
    }
    wait_for_spare(remember(d));
    before = count_descriptors();
    for (size_t i = 0; i < CN_LEN(deed); i++) {
        assert_true(cn_decoder_decode(d, deed[i], strlen(deed[i]), NULL, &back, NULL) < 0);
        assert_reads(d);
    }
    wait_for_spare(remember(d));
    after = count_descriptors();
    assert_int_equal(after, before);
    cn_decoder_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),        cmocka_unit_test(test_same),
        cmocka_unit_test(test_largest),      cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_limits),       cmocka_unit_test(test_bad),
        cmocka_unit_test(test_text),         cmocka_unit_test(test_sleep),
        cmocka_unit_test(test_memory),       cmocka_unit_test(test_killed),
        cmocka_unit_test(test_killed_early), cmocka_unit_test(test_forgets),
        cmocka_unit_test(test_upgraded),
        cmocka_unit_test(test_no_decoder),   cmocka_unit_test(test_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
