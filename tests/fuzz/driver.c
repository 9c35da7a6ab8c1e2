/* Runs a libFuzzer target without libFuzzer: every file of a corpus, then mutations of them.
 *
 *     fuzz_image [-n MUTATIONS] [-s SEED] [PATH...]
 *
 * PATH is a file or a directory (not searched deeper); without one, the corpus that was compiled in
 * (-DCN_FUZZ_CORPUS='"dir"'). The same seed gives the same mutations everywhere. Each input lies in
 * a block of exactly its size, so that a sanitizer sees one byte too many. A crash leaves the input
 * in the file "crash-input" and ends the program with a signal or the sanitizer's exit status; no
 * input at all is an error too (status 2).
 *
 * A target is one file with LLVMFuzzerTestOneInput (and LLVMFuzzerInitialize if it needs one):
 *
 *     check_PROGRAMS += tests/fuzz/fuzz_x
 *     tests_fuzz_fuzz_x_SOURCES = tests/fuzz/fuzz_x.c tests/fuzz/driver.c
 *     tests_fuzz_fuzz_x_CPPFLAGS = $(AM_CPPFLAGS) \
 *         -DCN_FUZZ_CORPUS='"$(srcdir)/tests/data/fuzz/x"'
 *     TESTS += tests/fuzz/fuzz_x
 */
#include "base/base.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CORPUS_FILE_MAX = 4 << 20, EDITS_MAX = 6 };

struct input {
    char *path;
    struct cn_buf bytes;
};

static struct input *inputs;
static size_t n_inputs, cap_inputs;
static const uint8_t *current; /* what the target is looking at, for the crash file */
static size_t current_len;
static uint64_t state;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

/* Async-signal-safe. */
static void keep_input(void)
{
    int fd = open("crash-input", O_WRONLY | O_CREAT | O_TRUNC, 0644);

    if (fd >= 0 && current != NULL && write(fd, current, current_len) >= 0)
        close(fd);
}

static void on_signal(int sig)
{
    keep_input();
    signal(sig, SIG_DFL);
    raise(sig);
}

static void catch_crashes(void)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(keep_input);
        signal(SIGABRT, on_signal); /* an assertion: sanitizers leave that signal alone */
        return;
    }
    for (size_t i = 0; i < CN_LEN(fatal); i++)
        signal(fatal[i], on_signal);
}

static void run(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    CN_ASSERT(copy != NULL);
    if (len > 0)
        memcpy(copy, data, len);
    current = copy;
    current_len = len;
    LLVMFuzzerTestOneInput(copy, len);
    current = NULL;
    free(copy);
}

static void die(const char *what, const char *path)
{
    fprintf(stderr, "%s: %s\n", path, what);
    exit(2);
}

static void add_file(const char *path)
{
    struct cn_err err = CN_ERR_INIT;
    struct input *in;

    inputs = cn_grow(inputs, n_inputs, &cap_inputs, sizeof(*inputs));
    in = &inputs[n_inputs++];
    in->path = cn_xstrdup(path);
    cn_buf_init(&in->bytes, CORPUS_FILE_MAX);
    if (cn_file_read(path, &in->bytes, &err) < 0)
        die(err.msg, path);
}

static void add_path(const char *path)
{
    struct dirent **entry;
    struct stat st;
    int n;

    if (stat(path, &st) < 0)
        die(strerror(errno), path);
    if (!S_ISDIR(st.st_mode)) {
        add_file(path);
        return;
    }
    n = scandir(path, &entry, NULL, alphasort);
    if (n < 0)
        die(strerror(errno), path);
    for (int i = 0; i < n; i++) {
        char *file = cn_xprintf("%s/%s", path, entry[i]->d_name);

        if (stat(file, &st) == 0 && S_ISREG(st.st_mode))
            add_file(file);
        free(file);
        free(entry[i]);
    }
    free(entry);
}

/* xorshift64*, Vigna 2016: below(n) is in [0, n). */
static size_t below(size_t n)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return n == 0 ? 0 : (size_t)((state * 0x2545f4914f6cdd1du) >> 32) % n;
}

/* Writes a number that parsers get wrong, in 1, 2, 4 or 8 bytes, in either byte order. */
static void put_number(uint8_t *p, size_t room)
{
    static const uint64_t nasty[] = {0,
                                     1,
                                     0x7f,
                                     0x80,
                                     0xff,
                                     0x7fff,
                                     0x8000,
                                     0xffff,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     0x7fffffffffffffff,
                                     0xffffffffffffffff};
    uint64_t v = nasty[below(CN_LEN(nasty))] + below(3) - 1;
    size_t n = (size_t)1 << below(4);
    bool big = below(2);

    n = CN_MIN(n, room);
    for (size_t i = 0; i < n; i++)
        p[big ? n - 1 - i : i] = (uint8_t)(v >> (8 * i));
}

static void graft(struct cn_buf *b)
{
    const struct cn_buf *other = &inputs[below(n_inputs)].bytes;
    size_t from = below(other->len), at = below(b->len);

    b->len = at;
    cn_buf_add(b, other->data + from, other->len - from, NULL);
}

/* Repeats a stretch of the input in its middle. */
static void repeat(struct cn_buf *b)
{
    size_t at = below(b->len), n = below(CN_MIN(b->len - at, (size_t)4096)) + 1, tail = b->len - at;
    uint8_t *room;

    if (cn_buf_reserve(b, n, &room, NULL) == CN_OK)
        memmove(b->data + at + n, b->data + at, tail);
}

static void cut(struct cn_buf *b)
{
    size_t at = below(b->len), n = below(CN_MIN(b->len - at, (size_t)4096)) + 1;

    memmove(b->data + at, b->data + at + n, b->len - at - n);
    b->len -= n;
}

static void edit(struct cn_buf *b)
{
    if (b->len == 0)
        return;
    size_t at = below(b->len);

    switch (below(8)) {
    case 0:
        b->data[at] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        b->data[at] = (uint8_t)below(256);
        break;
    case 2:
    case 3:
        put_number(b->data + at, b->len - at);
        break;
    case 4:
        cut(b);
        break;
    case 5:
        repeat(b);
        break;
    case 6:
        b->len = at;
        break;
    case 7:
        graft(b);
        break;
    }
}

static void mutate(struct cn_buf *b)
{
    const struct cn_buf *in = &inputs[below(n_inputs)].bytes;
    size_t edits = 1 + below(EDITS_MAX);

    cn_buf_clear(b);
    if (cn_buf_add(b, in->data, in->len, NULL) < 0)
        return;
    for (size_t i = 0; i < edits; i++)
        edit(b);
    run(b->data, b->len);
}

static void collect(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        add_path(argv[i]);
#ifdef CN_FUZZ_CORPUS
    if (argc == 0)
        add_path(CN_FUZZ_CORPUS);
#endif
    if (n_inputs == 0)
        die("no input files", "fuzz driver");
}

int main(int argc, char **argv)
{
    long mutations = 2000;
    struct cn_buf b;
    int opt;

    state = 1;
    if (LLVMFuzzerInitialize != NULL)
        LLVMFuzzerInitialize(&argc, &argv);
    while ((opt = getopt(argc, argv, "n:s:")) != -1) {
        if (opt == 'n')
            mutations = atol(optarg);
        else if (opt == 's')
            state = strtoull(optarg, NULL, 0) | (uint64_t)1 << 63; /* never 0 */
        else
            die("usage: [-n MUTATIONS] [-s SEED] [PATH...]", argv[0]);
    }
    collect(argc - optind, argv + optind);
    catch_crashes();
    for (size_t i = 0; i < n_inputs; i++)
        run(inputs[i].bytes.data, inputs[i].bytes.len);
    cn_buf_init(&b, CORPUS_FILE_MAX);
    for (long i = 0; i < mutations; i++)
        mutate(&b);
    printf("%zu inputs, %ld mutations\n", n_inputs, mutations);
    cn_buf_release(&b);
    for (size_t i = 0; i < n_inputs; i++) {
        cn_buf_release(&inputs[i].bytes);
        free(inputs[i].path);
    }
    free(inputs);
    return 0;
}
