/* checkpoint: files of torch.save(). Those in tests/data/pickle, which PyTorch wrote, hold what it
 * reads from them; hostile ones are refused by name. */
#include "base/base.h"
#include "base/buf.h"
#include "base/file.h"
#include "checkpoint/tensor_file.h"
#include "make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char *data_path(const char *name)
{
    const char *srcdir = getenv("srcdir");

    return cn_xprintf("%s/tests/data/pickle/%s", srcdir != NULL ? srcdir : ".", name);
}

static struct cn_tensor_file *open_ok(const char *path)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_tensor_file *f = NULL;

    if (cn_tensor_file_open(path, &f, &err) < 0)
        fail_msg("%s: %s", path, err.msg);
    return f;
}

static const char *const files[] = {
    "types.pt",     "types-old.pt",   "views.pt",       "views-old.pt",       "protocol-4.pth",
    "module.bin",   "parameters.bin", "lightning.ckpt", "lightning-old.ckpt", "lightning-5.ckpt",
    "embedding.pt", "attributes.pt",  "tensor.pt",
};

static void compare(const char *name)
{
    char *path = data_path(name), *want = cn_xprintf("%s.safetensors", path);
    struct cn_tensor_file *f = open_ok(path), *g = open_ok(want);

    assert_int_equal(cn_tensor_file_count(f), cn_tensor_file_count(g));
    for (size_t i = 0; i < cn_tensor_file_count(f); i++) {
        struct cn_tensor_view a, b;

        cn_tensor_file_at(f, i, &a);
        cn_tensor_file_at(g, i, &b);
        assert_string_equal(a.name, b.name);
        assert_string_equal(a.type, b.type);
        assert_int_equal(a.rank, b.rank);
        assert_memory_equal(a.dim, b.dim, sizeof(a.dim));
        assert_same_bytes(&a, &b);
    }
    cn_tensor_file_close(f);
    cn_tensor_file_close(g);
    free(path);
    free(want);
}

static void files_hold_what_pytorch_reads(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_LEN(files); i++)
        compare(files[i]);
}

static void rows_of_a_strided_tensor(void **state)
{
    char *path = data_path("views.pt");
    struct cn_tensor_file *f = open_ok(path);
    struct cn_tensor_view v, rows;
    float all[24], some[8];

    (void)state;
    assert_int_equal(cn_tensor_file_find(f, "transposed", &v, NULL), CN_OK);
    assert_non_null(v.stride);
    assert_int_equal(v.dim[0], 6);
    assert_int_equal(cn_view_read(&v, all, NULL), CN_OK);
    rows = v;
    cn_view_rows(&rows, 3, 2);
    assert_int_equal(rows.bytes, sizeof(some));
    assert_int_equal(cn_view_read(&rows, some, NULL), CN_OK);
    assert_memory_equal(some, all + 12, sizeof(some));
    cn_tensor_file_close(f);
    free(path);
}

static void notes_are_metadata(void **state)
{
    char *path = data_path("lightning.ckpt");
    struct cn_tensor_file *f = open_ok(path);

    (void)state;
    assert_string_equal(cn_tensor_file_metadata(f, "global_step"), "875000");
    assert_string_equal(cn_tensor_file_metadata(f, "pytorch-lightning_version"), "1.4.2");
    assert_null(cn_tensor_file_metadata(f, "callbacks"));
    cn_tensor_file_close(f);
    free(path);
}

static void a_changed_file_is_noticed(void **state)
{
    char *folder = make_folder(), *copy = cn_xprintf("%s/x.pt", folder);
    char *path = data_path("tensor.pt");
    struct cn_err err = CN_ERR_INIT;
    struct cn_tensor_file *f;
    struct cn_tensor_view v;
    struct cn_buf b;
    float out[6];

    (void)state;
    cn_buf_init(&b, 1 << 20);
    assert_int_equal(cn_file_read(path, &b, NULL), CN_OK);
    assert_int_equal(cn_file_write(copy, b.data, b.len, NULL), CN_OK);
    f = open_ok(copy);
    assert_int_equal(cn_tensor_file_find(f, "tensor", &v, NULL), CN_OK);
    assert_int_equal(truncate(copy, (off_t)b.len - 1), 0);
    assert_int_equal(cn_view_read(&v, out, &err), CN_EIO);
    assert_non_null(strstr(err.msg, "made shorter"));
    cn_tensor_file_close(f);
    cn_buf_release(&b);
    make_remove(folder);
    free(copy);
    free(path);
}

/* ---- hostile ones ---- */

#define PROTO "\x80\x02"
#define MAGIC PROTO "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
#define HEAD  MAGIC PROTO "M\xe9\x03." PROTO "}."

struct hostile {
    const char *bytes;
    size_t len;
    enum cn_code code;
    const char *says;
};

#define CASE(bytes, code, says)                                                                    \
    {                                                                                              \
        bytes, sizeof(bytes) - 1, code, says                                                       \
    }

/* ("storage", torch.FloatStorage, "0", "cpu", 2) */
#define STORAGE(n)                                                                                 \
    "(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0"                                         \
    "0X\x03\0\0\0"                                                                                 \
    "cpuK" n "tQ"
#define REBUILD(storage, offset, size, stride)                                                     \
    "ctorch._utils\n_rebuild_tensor_v2\n(" storage offset "(" size "t(" stride "t\x89)tR"
#define KEYS                                                                                       \
    PROTO "]X\x01\0\0\0"                                                                           \
          "0a."
#define TWO                                                                                        \
    "\x02\0\0\0\0\0\0\0"                                                                           \
    "abcdefgh"

static const struct hostile hostile[] = {
    CASE(PROTO "cos\nsystem\nX\x02\0\0\0lsR.", CN_EFORMAT, "\"os.system\""),
    CASE(PROTO "cposix\nsystem\n.", CN_EFORMAT, "\"posix.system\""),
    CASE(PROTO "c__builtin__\neval\n.", CN_EFORMAT, "\"__builtin__.eval\""),
    CASE(PROTO "cbuiltins\ngetattr\n.", CN_EFORMAT, "\"builtins.getattr\""),
    CASE("\x80\x04\x8c\x0asubprocess\x8c\x05Popen\x93.", CN_EFORMAT, "\"subprocess.Popen\""),
    CASE(PROTO "ctorch.storage\n_load_from_bytes\n.", CN_EFORMAT, "_load_from_bytes"),
    CASE(PROTO "ctorch._utils\n_rebuild_qtensor\n.", CN_EFORMAT, "_rebuild_qtensor"),
    CASE(PROTO "(S'ls'\nios\nsystem\n.", CN_EFORMAT, "operation 0x53"),
    CASE(PROTO "(X\x02\0\0\0lsios\nsystem\n.", CN_EFORMAT, "operation 0x69"),
    CASE(PROTO "ctorch\nFloatStorage\n)R.", CN_EFORMAT, "calls \"torch.FloatStorage\""),
    CASE(PROTO "X\x02\0\0\0ls)R.", CN_EFORMAT, "no function"),
    CASE(PROTO "cos\nsys", CN_EFORMAT, "middle of a name"),
    CASE(PROTO "}.", CN_EFORMAT, "torch.save() did not write"),
    CASE(PROTO "\x8a\x01\x05.", CN_EFORMAT, "torch.save() did not write"),
    CASE(PROTO "(.", CN_EFORMAT, "values instead of one"),
    CASE(PROTO "NN.", CN_EFORMAT, "2 values instead of one"),
    CASE(PROTO ".", CN_EFORMAT, "0 values instead of one"),
    CASE(PROTO "R.", CN_EFORMAT, "takes what is not there"),
    CASE(PROTO "N(R.", CN_EFORMAT, "takes what is not there"),
    CASE(PROTO "t.", CN_EFORMAT, "mark"),
    CASE(PROTO "(Nd.", CN_EFORMAT, "a key and no value"),
    CASE(PROTO "}(Nu.", CN_EFORMAT, "key without a value"),
    CASE(PROTO "N(NNu.", CN_EFORMAT, "no dict"),
    CASE(PROTO "h\x05.", CN_EFORMAT, "memo"),
    CASE(PROTO "Nr\xff\xff\xff\xff.", CN_ETOOBIG, "memo"),
    CASE(PROTO "X\xff\xff\xff\xffxx.", CN_EFORMAT, "ends too early"),
    CASE("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
         "a.",
         CN_EFORMAT, "ends too early"),
    CASE(PROTO "\x8b\xff\xff\xff\x7f.", CN_EFORMAT, "ends too early"),
    CASE("\x80\x05\x80\x09N.", CN_EFORMAT, "protocol 9"),
    CASE(PROTO "N", CN_EFORMAT, "ends too early"),
    CASE(MAGIC PROTO "M\xea\x03." PROTO "}." PROTO "}.", CN_EFORMAT, "version"),
    CASE(MAGIC PROTO "M\xe9\x03." PROTO "}X\x0d\0\0\0little_endian\x89s." PROTO "}.", CN_EFORMAT,
         "big-endian"),
    CASE(HEAD PROTO "}." PROTO "N.", CN_EFORMAT, "list of storages"),
    CASE(HEAD PROTO "}." PROTO "]X\x01\0\0\0"
                    "0a.",
         CN_EFORMAT, "is of no tensor"),
    CASE(HEAD PROTO STORAGE("\x02") "." KEYS, CN_EFORMAT, "is missing: the file is cut off"),
    CASE(HEAD PROTO STORAGE("\x02") "." KEYS "\x02\0\0\0\0\0\0\0"
                                    "abcdefg",
         CN_EFORMAT, "behind the end of the file"),
    CASE(HEAD PROTO STORAGE("\x02") "." KEYS "\xff\xff\xff\xff\xff\xff\xff\x7f"
                                    "abcdefg",
         CN_EFORMAT, "behind the end of the file"),
    CASE(HEAD PROTO STORAGE("\x02") "." PROTO "]X\x01\0\0\0"
                                    "0aX\x01\0\0\0"
                                    "0a." TWO TWO,
         CN_EFORMAT, "is there twice"),
    CASE(HEAD PROTO REBUILD(STORAGE("\x03"), "K\0", "K\x03", "K\x01") "." KEYS TWO, CN_EFORMAT,
         "8 bytes instead of 3 elements"),
    CASE(HEAD PROTO REBUILD(STORAGE("\x02"), "K\0", "K\x02", "K\x01") "." PROTO "].", CN_EFORMAT,
         "storage \"0\" is missing"),
    CASE(HEAD PROTO REBUILD(STORAGE("\x02"), "K\0", "K\x03", "K\x01") "." KEYS TWO, CN_EFORMAT,
         "in a storage of 2"),
    CASE(HEAD PROTO REBUILD(STORAGE("\x02"), "K\x01", "K\x02", "K\x01") "." KEYS TWO, CN_EFORMAT,
         "in a storage of 2"),
    CASE(HEAD PROTO REBUILD(STORAGE("\x02"), "K\0", "K\x02", "K\x02") "." KEYS TWO, CN_EFORMAT,
         "in a storage of 2"),
    CASE(HEAD PROTO REBUILD(STORAGE("\x02"), "K\0", "J\0\0\0\x7f", "K\0") "." KEYS TWO, CN_EFORMAT,
         "in a storage of 2"),
    CASE(HEAD PROTO REBUILD(STORAGE("\x02"), "J\xff\xff\xff\xff", "K\x02", "K\x01") ".", CN_EFORMAT,
         "a place in it"),
    CASE(HEAD PROTO REBUILD(STORAGE("\x02"), "K\0", "K\x02", "J\xff\xff\xff\xff") ".", CN_EFORMAT,
         "no whole number from 0"),
    CASE(HEAD PROTO REBUILD(STORAGE("\x02"), "K\0", "K\x02", "") ".", CN_EFORMAT,
         "1 dimensions with 0 strides"),
    CASE(HEAD PROTO REBUILD(STORAGE("\x02"), "K\0", "\x8a\x08\0\0\0\0\0\0\0\x40K\x04",
                            "K\x01K\x01") ".",
         CN_EFORMAT, "overflows"),
    CASE(HEAD PROTO REBUILD(STORAGE("\x02"), "K\0", "K\x03",
                            "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f") ".",
         CN_EFORMAT, "strides overflow"),
    CASE(HEAD PROTO REBUILD(STORAGE("\x02"), "K\0", "NNNNNNNNN", "") ".", CN_EFORMAT,
         "at most 8 dimensions"),
    CASE(HEAD PROTO "]q\0h\0a." PROTO "].", CN_ETOOBIG, "inside of each other"),
    CASE(HEAD PROTO "}q\0X\x01\0\0\0ah\0s." PROTO "].", CN_ETOOBIG, "inside of each other"),
    CASE(HEAD PROTO "}X\x02\0\0\0\xff\xfeNs." PROTO "].", CN_EFORMAT, "not UTF-8"),
};

static void hostile_pickles_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_LEN(hostile); i++) {
        const struct hostile *h = &hostile[i];
        struct cn_err err = CN_ERR_INIT;
        struct cn_tensor_file *f = NULL;
        int rc = cn_tensor_file_parse("x.ckpt", h->bytes, h->len, &f, &err);

        if (rc != h->code || strstr(err.msg, h->says) == NULL || strstr(err.msg, "x.ckpt") == NULL)
            fail_msg("case %zu (%s): %d %s", i, h->says, rc, rc < 0 ? err.msg : "was read");
        cn_tensor_file_close(f);
    }
}

/* Sixteen lists of sixteen times the list before: 2^64 ways to one tensor. */
static void a_bomb_ends(void **state)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_tensor_file *f = NULL;
    struct cn_buf b;

    (void)state;
    cn_buf_init(&b, 1 << 20);
    cn_buf_add(&b,
               HEAD PROTO "Nq\0"
                          "0",
               sizeof(HEAD PROTO "Nq\0"
                                 "0") -
                   1,
               NULL);
    for (int i = 0; i < 15; i++) {
        cn_buf_adds(&b, "(", NULL);
        for (int k = 0; k < 16; k++)
            cn_buf_add(&b, (char[]){'h', (char)i}, 2, NULL);
        cn_buf_add(&b, (char[]){'l', 'q', (char)(i + 1), '0'}, 4, NULL);
    }
    cn_buf_adds(&b, "h\x0f." PROTO "].", NULL);
    assert_int_equal(cn_tensor_file_parse("x.pt", b.data, b.len, &f, &err), CN_ETOOBIG);
    assert_non_null(strstr(err.msg, "more than 2000000 values"));
    cn_buf_release(&b);
}

static void too_many_values_are_refused(void **state)
{
    size_t n = 3000000;
    unsigned char *p = malloc(n);
    struct cn_err err = CN_ERR_INIT;
    struct cn_tensor_file *f = NULL;

    (void)state;
    memset(p, 'N', n);
    memcpy(p, PROTO, 2);
    assert_int_equal(cn_tensor_file_parse("x.pt", p, n, &f, &err), CN_ETOOBIG);
    memset(p + 2, '(', n - 2);
    assert_int_equal(cn_tensor_file_parse("x.pt", p, n, &f, &err), CN_EFORMAT);
    free(p);
}

/* ---- archives ---- */

/* Changes the first `from` of a file's bytes to `to` (as long), and reads that. */
static int parse_changed(const char *name, const char *from, const char *to, size_t len,
                         struct cn_err *err)
{
    char *path = data_path(name);
    struct cn_tensor_file *f = NULL;
    struct cn_buf b;
    unsigned char *at;
    int rc;

    cn_buf_init(&b, 1 << 20);
    assert_int_equal(cn_file_read(path, &b, NULL), CN_OK);
    at = memmem(b.data, b.len, from, len);
    assert_non_null(at);
    memcpy(at, to, len);
    rc = cn_tensor_file_parse("x.pt", b.data, b.len, &f, err);
    cn_tensor_file_close(f);
    cn_buf_release(&b);
    free(path);
    return rc;
}

static void damaged_archives_are_refused(void **state)
{
    static const struct {
        const char *from, *to;
        size_t len;
        const char *says;
    } cases[] = {
        {"_rebuild_tensor_v2", "_rebuild_tensor_v9", 18, "\"torch._utils._rebuild_tensor_v9\""},
        {"PK\5\6", "XX\5\6", 4, "directory is missing"},
        {"PK\1\2", "XX\1\2", 4, "directory is damaged"},
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(cases); i++) {
        struct cn_err err = CN_ERR_INIT;
        int rc = parse_changed("tensor.pt", cases[i].from, cases[i].to, cases[i].len, &err);

        if (rc != CN_EFORMAT || strstr(err.msg, cases[i].says) == NULL)
            fail_msg("%s: %d %s", cases[i].says, rc, err.msg);
    }
}

/* What people have instead of models is said by its first bytes. */
static void files_of_other_kinds_are_named(void **state)
{
    static const struct hostile kinds[] = {
        CASE("GGUF\3\0\0\0xxxxxxxxxxxxxxxx", CN_EFORMAT, "GGUF"),
        CASE("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", CN_EFORMAT, "Git LFS"),
        CASE("<!DOCTYPE html><html><body>Not found", CN_EFORMAT, "web page"),
        CASE("<html><head><title>Sign in", CN_EFORMAT, "web page"),
        CASE("\n\n  <html><head>Sign in", CN_EFORMAT, "is a text"),
        CASE("{\"error\":\"Invalid username or password.\"}", CN_EFORMAT, "is a text"),
        CASE("PK\3\4\0\0\0\0", CN_EFORMAT, "cut off"),
        CASE("PK\3\4\0\0\0\0xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", CN_EFORMAT, "cut off"),
        CASE("Rar!\x1a\7xxxxxxxxxxxx", CN_EFORMAT, "RAR"),
        CASE("", CN_EFORMAT, "0 bytes are too few"),
        /* a header of 0x0280 bytes begins as a pickle does */
        CASE("\x80\x02\0\0\0\0\0\0{\"a\":", CN_EFORMAT, "ends behind the end of the file"),
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(kinds); i++) {
        struct cn_err err = CN_ERR_INIT;
        struct cn_tensor_file *f = NULL;
        int rc = cn_tensor_file_parse("x", kinds[i].bytes, kinds[i].len, &f, &err);

        if (rc != kinds[i].code || strstr(err.msg, kinds[i].says) == NULL)
            fail_msg("%s: %d %s", kinds[i].says, rc, err.msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_hold_what_pytorch_reads),
        cmocka_unit_test(rows_of_a_strided_tensor),
        cmocka_unit_test(notes_are_metadata),
        cmocka_unit_test(a_changed_file_is_noticed),
        cmocka_unit_test(hostile_pickles_are_refused),
        cmocka_unit_test(a_bomb_ends),
        cmocka_unit_test(too_many_values_are_refused),
        cmocka_unit_test(damaged_archives_are_refused),
        cmocka_unit_test(files_of_other_kinds_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
