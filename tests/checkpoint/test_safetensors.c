/* checkpoint: the safetensors reader against good and hostile files, and the writer. */
#include "base/base.h"
#include "base/buf.h"
#include "base/file.h"
#include "checkpoint/safetensors.h"
#include "make.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* The bytes of a file: header length, header, `data` zero bytes. */
static unsigned char *file_of(const char *header, size_t data, size_t *ret_len)
{
    size_t n = strlen(header);
    unsigned char *p = calloc(1, 8 + n + data);

    for (int i = 0; i < 8; i++)
        p[i] = (unsigned char)((uint64_t)n >> 8 * i);
    memcpy(p + 8, header, n);
    *ret_len = 8 + n + data;
    return p;
}

static int parse(const char *header, size_t data, struct cn_err *err)
{
    struct cn_tensor_file *st = NULL;
    size_t len;
    unsigned char *p = file_of(header, data, &len);
    int rc = cn_tensor_file_parse("x.safetensors", p, len, &st, err);

    cn_tensor_file_close(st);
    free(p);
    return rc;
}

#define T(name, dtype, shape, at)                                                                  \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" at "}"

static void good_headers_are_read(void **state)
{
    static const struct {
        const char *header;
        size_t data;
    } good[] = {
        {"{}", 0},
        {"{}   ", 0},
        {"{ \"__metadata__\" : { } }", 0},
        {"{\"__metadata__\":{\"format\":\"pt\",\"a\":\"\\u00e9\\ud83c\\udfa8\\n\"}}", 0},
        {"{" T("a", "F32", "[2,3]", "[0,24]") "}", 24},
        {"{" T("scalar", "F16", "[]", "[0,2]") "}", 2},
        {"{" T("empty", "F32", "[0,5]", "[0,0]") "}", 0},
        {"{" T("b", "F16", "[2]", "[4,8]") "," T("a", "F32", "[1]", "[0,4]") "}", 8},
        {"{" T("z", "U8", "[0]", "[4,4]") "," T("a", "F32", "[1]", "[0,4]") "}", 4},
        {"{" T("q", "F8_E4M3", "[3]", "[0,3]") "," T("f", "F4", "[4]", "[3,5]") "}", 5},
        {"{ \"a\" : { \"data_offsets\" : [ 0 , 1 ] , \"shape\" : [ 1 , 1 ] , \"dtype\" : \"U8\" } "
         "}\n",
         1},
        {"{" T("deep", "U8", "[1,1,1,1,1,1,1,1]", "[0,1]") "}", 1},
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(good); i++) {
        struct cn_err err = CN_ERR_INIT;

        if (parse(good[i].header, good[i].data, &err) < 0)
            fail_msg("%s: %s", good[i].header, err.msg);
    }
}

static void every_broken_rule_is_named(void **state)
{
    static const struct {
        const char *header;
        size_t data;
        const char *says;
    } bad[] = {
        {"", 0, "does not begin with {"},
        {" {}", 0, "does not begin with {"},
        {"[]", 0, "does not begin with {"},
        {"{", 0, "a string was expected"},
        {"{}x", 0, "after the end of the object"},
        {"{\"a\":1}", 0, "\"a\": an object was expected"},
        {"{\"a\":{}}", 0, "a string was expected"},
        {"{\"a\":{\"dtype\":\"F32\"}}", 0, "is missing"},
        {"{" T("a", "F32", "[1]", "[0,4]") ",}", 4, "a string was expected"},
        {"{" T("a", "F32", "[1]", "[0,4]") "," T("a", "F32", "[1]", "[4,8]") "}", 8,
         "\"a\": is there twice"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
         "a key is there twice"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, "none of"},
        {"{" T("a", "F99", "[1]", "[0,4]") "}", 4, "unknown dtype \"F99\""},
        {"{" T("a", "F32", "[-1]", "[0,4]") "}", 4, "a whole number from 0"},
        {"{" T("a", "F32", "[1.0]", "[0,4]") "}", 4, "not a whole one"},
        {"{" T("a", "F32", "[1e0]", "[0,4]") "}", 4, "not a whole one"},
        {"{" T("a", "F32", "[01]", "[0,4]") "}", 4, "begins with 0"},
        {"{" T("a", "F32", "[9223372036854775808]", "[0,4]") "}", 4, "too large"},
        {"{" T("a", "F32", "[4294967296,4294967296]", "[0,4]") "}", 4, "elements overflows"},
        {"{" T("a", "F32", "[4611686018427387904]", "[0,4]") "}", 4, "bytes overflows"},
        {"{" T("a", "F4", "[1]", "[0,1]") "}", 1, "not a whole number of bytes"},
        {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "more dimensions than 8"},
        {"{" T("a", "F32", "[2]", "[0,4]") "}", 4, "the shape needs 8 bytes"},
        {"{" T("a", "F32", "[1]", "[4,0]") "}", 4, "ends before it begins"},
        {"{" T("a", "F32", "[1]", "[0]") "}", 4, "fewer than 2"},
        {"{" T("a", "F32", "[1]", "[0,4,4]") "}", 4, "more than 2"},
        {"{" T("a", "F32", "[1]", "[4,8]") "}", 8, "\"a\": a hole before"},
        {"{" T("a", "F32", "[1]", "[0,4]") "," T("b", "F32", "[1]", "[8,12]") "}", 12,
         "\"b\": a hole before"},
        {"{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[1]", "[4,8]") "}", 8,
         "\"b\": overlaps"},
        {"{" T("a", "F32", "[1]", "[0,4]") "," T("b", "F32", "[1]", "[0,4]") "}", 4, "overlaps"},
        {"{" T("a", "F32", "[1]", "[0,4]") "}", 3, "\"a\": ends behind the end"},
        {"{" T("a", "F32", "[1]", "[0,4]") "}", 5, "1 bytes after the last tensor"},
        {"{}", 1, "1 bytes after the last tensor"},
        {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "a string was expected"},
        {"{\"__metadata__\":{\"a\":{}}}", 0, "a string was expected"},
        {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "metadata key \"a\" is there twice"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ is there twice"},
        {"{\"\xff\":{}}", 0, "not UTF-8"},
        {"{\"\xed\xa0\x80\":{}}", 0, "not UTF-8"},
        {"{\"a\\ud800\":{}}", 0, "surrogate"},
        {"{\"a\\udc00\":{}}", 0, "surrogate"},
        {"{\"a\\u0000\":{}}", 0, "NUL"},
        {"{\"a\\x\":{}}", 0, "unknown escape"},
        {"{\"a\\u12g4\":{}}", 0, "hexadecimal"},
        {"{\"a\tb\":{}}", 0, "control character"},
        {"{" T("a\\n", "F32", "[1]", "[0,4]") "}", 4, "control character"},
        {"{\"abc", 0, "a string does not end"},
        {"{\"abc\\", 0, "a string does not end"},
        {"{\"abc\\u00", 0, "a string does not end"},
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        struct cn_err err = CN_ERR_INIT;

        if (parse(bad[i].header, bad[i].data, &err) != CN_EFORMAT)
            fail_msg("%s: accepted, or another code: %s", bad[i].header, err.msg);
        if (strstr(err.msg, bad[i].says) == NULL || strstr(err.msg, "x.safetensors") == NULL)
            fail_msg("%s: says \"%s\"", bad[i].header, err.msg);
    }
}

static void lengths_are_checked(void **state)
{
    static const struct {
        unsigned char bytes[16];
        size_t len;
        int code;
    } bad[] = {
        {{0}, 0, CN_EFORMAT},
        {{2, 0, 0, 0}, 7, CN_EFORMAT},
        {{3, 0, 0, 0, 0, 0, 0, 0, '{', '}'}, 10, CN_EFORMAT},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}'}, 10, CN_ETOOBIG},
        {{0, 0, 0, 0, 0, 0, 0, 0x80, '{', '}'}, 10, CN_ETOOBIG},
        {{0}, 8, CN_EFORMAT},
        {{'P', 'K', 3, 3, 0, 0, 8, 8, 0, 0}, 16, CN_ETOOBIG},
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        struct cn_tensor_file *st;

        assert_int_equal(cn_tensor_file_parse("x", bad[i].bytes, bad[i].len, &st, NULL),
                         bad[i].code);
    }
}

/* A file with a type of tomorrow stays readable; asking for that tensor is the error. */
static void unknown_uses_are_refused_late(void **state)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_tensor_file *st;
    struct cn_tensor_view v;
    size_t len;
    unsigned char *p = file_of(
        "{" T("q", "F8_E8M0", "[3]", "[0,3]") "," T("u", "U8", "[1]", "[3,4]") "}", 4, &len);

    (void)state;
    assert_int_equal(cn_tensor_file_parse("x", p, len, &st, &err), CN_OK);
    assert_int_equal(cn_tensor_file_count(st), 2);
    cn_tensor_file_at(st, 0, &v);
    assert_string_equal(v.name, "q");
    assert_string_equal(v.type, "F8_E8M0");
    assert_int_equal(v.dtype, CN_DTYPE_COUNT);
    assert_int_equal(cn_tensor_file_find(st, "u", &v, &err), CN_OK);
    assert_int_equal(cn_tensor_file_find(st, "q", &v, &err), CN_EFORMAT);
    assert_non_null(strstr(err.msg, "F8_E8M0"));
    err = (struct cn_err)CN_ERR_INIT;
    assert_int_equal(cn_tensor_file_find(st, "nobody", &v, &err), CN_ENOTFOUND);
    assert_non_null(strstr(err.msg, "\"nobody\""));
    cn_tensor_file_close(st);
    free(p);
}

/* The values are those of torch. */
static void floats_of_8_bits_are_exact(void **state)
{
    static const float e4m3[] = {0x1p-9f, .013671875f, 0x1p-6f, 1, 1.5f, 448, -1};
    static const float e5m2[] = {.5f, 1};
    size_t len;
    unsigned char *p = file_of(
        "{" T("a", "F8_E4M3", "[8]", "[0,8]") "," T("b", "F8_E5M2", "[2]", "[8,10]") "}", 10, &len);
    struct cn_tensor_file *f;
    struct cn_tensor_view v;
    uint16_t h[8];

    (void)state;
    memcpy(p + len - 10, "\x01\x07\x08\x38\x3c\x7e\xb8\x7f\x38\x3c", 10);
    assert_int_equal(cn_tensor_file_parse("x", p, len, &f, NULL), CN_OK);
    assert_int_equal(cn_tensor_file_find(f, "a", &v, NULL), CN_OK);
    assert_int_equal(v.dtype, CN_F16);
    assert_int_equal(v.bytes, 16);
    assert_int_equal(cn_view_stored(&v), 8);
    assert_int_equal(cn_view_read(&v, h, NULL), CN_OK);
    for (size_t i = 0; i < CN_LEN(e4m3); i++)
        assert_true(cn_f16_to_f32(h[i]) == e4m3[i]);
    assert_int_equal(h[7], 0x7e00); /* not a number */
    cn_view_rows(&v, 5, 2);
    assert_int_equal(cn_view_read(&v, h, NULL), CN_OK);
    assert_true(cn_f16_to_f32(h[0]) == 448 && cn_f16_to_f32(h[1]) == -1);
    assert_int_equal(cn_tensor_file_find(f, "b", &v, NULL), CN_OK);
    assert_int_equal(cn_view_read(&v, h, NULL), CN_OK);
    for (size_t i = 0; i < CN_LEN(e5m2); i++)
        assert_true(cn_f16_to_f32(h[i]) == e5m2[i]);
    cn_tensor_file_close(f);
    free(p);
}

/* What may happen to a model's file while it is open; each must be told at the next read. */

static void truncate_it(const char *path)
{
    assert_int_equal(truncate(path, 4096), 0);
}

static void append_to_it(const char *path)
{
    FILE *f = fopen(path, "ab");

    assert_non_null(f);
    fputc(0, f);
    fclose(f);
}

static void overwrite_it(const char *path)
{
    FILE *f = fopen(path, "r+b");

    assert_non_null(f);
    assert_int_equal(fseek(f, -1, SEEK_END), 0);
    fputc(1, f);
    fclose(f);
}

static void replace_it(const char *path)
{
    char *copy = cn_xprintf("%s.new", path);
    struct cn_buf b;

    cn_buf_init(&b, 1 << 24);
    assert_int_equal(cn_file_read(path, &b, NULL), CN_OK);
    assert_int_equal(cn_file_write(copy, b.data, b.len, NULL), CN_OK);
    assert_int_equal(rename(copy, path), 0);
    cn_buf_release(&b);
    free(copy);
}

static void make_a_pipe_of_it(const char *path)
{
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
}

static void remove_it(const char *path)
{
    assert_int_equal(unlink(path), 0);
}

static void what_changed_is_told(void **state)
{
    static const struct {
        void (*change)(const char *path);
        int code;
        const char *said;
    } cases[] = {
        {truncate_it, CN_EIO, "made shorter"},
        {append_to_it, CN_EIO, "changed"},
        {overwrite_it, CN_EIO, "changed"},
        {replace_it, CN_OK, NULL}, /* it is open still */
        {remove_it, CN_OK, NULL},
        {make_a_pipe_of_it, CN_OK, NULL},
    };
    static const int64_t d[2] = {512, 512};
    static const struct timespec past[2] = {{1000, 0}, {1000, 0}};
    char *folder = make_folder(), *path = cn_xprintf("%s/w.safetensors", folder);
    float *x = cn_xmalloc(512 * 512 * sizeof(*x));
    struct make m;

    (void)state;
    make_init(&m);
    make_add(&m, "first", CN_F32, 2, d);
    make_add(&m, "last", CN_F32, 2, d);
    for (size_t i = 0; i < CN_LEN(cases); i++) {
        struct cn_err err = CN_ERR_INIT;
        struct cn_tensor_file *st;
        struct cn_tensor_view first, last;

        unlink(path);
        make_write(&m, path);
        assert_int_equal(utimensat(AT_FDCWD, path, past, 0), 0);
        assert_int_equal(cn_tensor_file_open(path, &st, NULL), CN_OK);
        assert_int_equal(cn_tensor_file_find(st, "first", &first, NULL), CN_OK);
        assert_int_equal(cn_tensor_file_find(st, "last", &last, NULL), CN_OK);
        assert_int_equal(cn_view_read(&first, x, NULL), CN_OK);
        assert_memory_equal(x, m.view[0].data, first.bytes);
        cases[i].change(path);
        assert_int_equal(cn_view_read(&last, x, &err), cases[i].code);
        if (cases[i].code == CN_OK) {
            assert_memory_equal(x, m.view[1].data, last.bytes);
        } else {
            assert_non_null(strstr(err.msg, "\"last\""));
            assert_non_null(strstr(err.msg, path));
            assert_non_null(strstr(err.msg, cases[i].said));
        }
        assert_int_equal(cn_view_read(&first, x, NULL), cases[i].code);
        cn_tensor_file_close(st);
    }
    free(x);
    make_release(&m);
    free(path);
    make_remove(folder);
}

static void what_is_written_is_read(void **state)
{
    static const int64_t d[3] = {3, 5, 2};
    static const char *const metadata[] = {"format", "pt", "a \"quoted\" \\ key", "b\nc", NULL};
    char *folder = make_folder(), *path = cn_xprintf("%s/w.safetensors", folder);
    struct cn_tensor_file *st;
    struct cn_err err = CN_ERR_INIT;
    struct make m;

    (void)state;
    make_init(&m);
    make_add(&m, "half", CN_F16, 3, d);
    make_add(&m, "byte", CN_U8, 1, d);
    make_add(&m, "single \"q\"", CN_F32, 2, d);
    make_add(&m, "scalar", CN_I64, 0, d);
    assert_int_equal(cn_safetensors_write(path, m.view, m.n, metadata, &err), CN_OK);
    assert_int_equal(cn_tensor_file_open(path, &st, &err), CN_OK);
    assert_int_equal(cn_tensor_file_count(st), 4);
    assert_string_equal(cn_tensor_file_metadata(st, "a \"quoted\" \\ key"), "b\nc");
    assert_null(cn_tensor_file_metadata(st, "b"));
    for (size_t i = 0; i < m.n; i++) {
        struct cn_tensor_view v;

        assert_int_equal(cn_tensor_file_find(st, m.view[i].name, &v, &err), CN_OK);
        assert_int_equal(v.rank, m.view[i].rank);
        assert_int_equal(v.bytes, m.view[i].bytes);
        assert_memory_equal(v.dim, m.view[i].dim, sizeof(v.dim));
        assert_same_bytes(&v, &m.view[i]);
    }
    cn_tensor_file_close(st);
    m.view[0].bytes--;
    assert_int_equal(cn_safetensors_write(path, m.view, m.n, NULL, NULL), CN_EINVAL);
    m.view[0].bytes++;
    m.view[0].name = "byte";
    assert_int_equal(cn_safetensors_write(path, m.view, m.n, NULL, NULL), CN_EINVAL);
    make_release(&m);
    free(path);
    make_remove(folder);
}

/* Many tensors: nothing quadratic, and names in order. */
static void many_tensors_are_fine(void **state)
{
    static const int64_t d[1] = {1};
    char *folder = make_folder(), *path = cn_xprintf("%s/many.safetensors", folder);
    struct cn_tensor_file *st;
    struct cn_tensor_view v;
    struct make m;
    char name[64];

    (void)state;
    make_init(&m);
    for (int i = 0; i < 50000; i++) {
        snprintf(name, sizeof(name), "blocks.%d.weight", i);
        make_add(&m, name, CN_U8, 1, d);
    }
    make_write(&m, path);
    assert_int_equal(cn_tensor_file_open(path, &st, NULL), CN_OK);
    for (int i = 0; i < 50000; i++) {
        snprintf(name, sizeof(name), "blocks.%d.weight", i);
        assert_int_equal(cn_tensor_file_find(st, name, &v, NULL), CN_OK);
        assert_same_bytes(&v, &m.view[i]);
    }
    cn_tensor_file_close(st);
    make_release(&m);
    free(path);
    make_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_headers_are_read),
        cmocka_unit_test(every_broken_rule_is_named),
        cmocka_unit_test(lengths_are_checked),
        cmocka_unit_test(unknown_uses_are_refused_late),
        cmocka_unit_test(floats_of_8_bits_are_exact),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_changed_is_told),
        cmocka_unit_test(many_tensors_are_fine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
