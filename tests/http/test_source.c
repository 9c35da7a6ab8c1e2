/* Sources: what comes out, whatever the room it is pulled into; and the account of what goes out.
 */
#include "base/base.h"
#include "base/base64.h"
#include "base/buf.h"
#include "http/core/source.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static uv_loop_t loop;
static int woken, released;

static void on_wake(void *arg)
{
    (void)arg;
    woken++;
}

static void on_release(void *arg)
{
    (void)arg;
    released++;
}

/* Everything that s gives, pulled into room bytes at a time; the loop runs while it waits. */
static ssize_t drain(struct cn_source *s, size_t room, struct cn_buf *out)
{
    char block[70000];
    ssize_t n;

    cn_buf_init(out, 1 << 22);
    s->wake = on_wake;
    while ((n = cn_source_pull(s, block, room)) >= 0) {
        if (n == CN_SOURCE_WAIT) {
            int before = woken;

            uv_run(&loop, UV_RUN_DEFAULT);
            assert_true(woken > before);
        }
        assert_true((size_t)n <= room);
        cn_buf_add(out, block, (size_t)n, NULL);
    }
    return n;
}

static unsigned char *pattern(size_t len)
{
    unsigned char *p = malloc(len + 1);

    for (size_t i = 0; i < len; i++)
        p[i] = (unsigned char)(i * 7 + i / 251);
    return p;
}

static int file_with(const void *data, size_t len)
{
    char path[] = "/tmp/cn-source-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    return fd;
}

static void bytes_and_files_come_out_whole(void **state)
{
    unsigned char *data = pattern(100000);

    (void)state;
    for (size_t room = 1; room < 70000; room = room * 9 + 1) {
        struct cn_source *s[2] = {
            cn_source_bytes(data, 99999, on_release, NULL),
            cn_source_file(&loop, file_with(data, 100000), 1, 99999),
        };

        for (int i = 0; i < 2; i++) {
            struct cn_buf out;

            assert_int_equal(s[i]->length, 99999);
            assert_int_equal(drain(s[i], room, &out), CN_SOURCE_END);
            assert_int_equal(out.len, 99999);
            assert_memory_equal(out.data, data + i, out.len);
            cn_source_free(s[i]);
            cn_buf_release(&out);
        }
    }
    assert_int_equal(released, 6);
    free(data);
}

static void base64_is_that_of_the_whole(void **state)
{
    static const size_t len[] = {0, 1, 2, 3, 4, 5, 100, 24575, 24576, 24577, 100000};
    unsigned char *data = pattern(100000);

    (void)state;
    for (size_t i = 0; i < CN_LEN(len); i++) {
        for (size_t room = 4; room < 70000; room = room * 3 + 1) {
            struct cn_source *s = cn_source_base64(
                room % 2 ? cn_source_bytes(data, len[i], NULL, NULL)
                         : cn_source_file(&loop, file_with(data, len[i]), 0, len[i]));
            struct cn_buf out, want;

            cn_buf_init(&want, 1 << 20);
            cn_base64_encode(&want, data, len[i], NULL);
            assert_int_equal(s->length, want.len);
            assert_int_equal(drain(s, room, &out), CN_SOURCE_END);
            assert_int_equal(out.len, want.len);
            if (want.len > 0)
                assert_memory_equal(out.data, want.data, want.len);
            cn_source_free(s);
            cn_buf_release(&out);
            cn_buf_release(&want);
        }
    }
    free(data);
}

/* A file that is shorter than was promised is an error and not an end. */
static void a_short_file_is_broken(void **state)
{
    struct cn_source *s = cn_source_file(&loop, file_with("abc", 3), 0, 4);
    struct cn_buf out;

    (void)state;
    assert_int_equal(drain(s, 100, &out), CN_SOURCE_BROKEN);
    cn_source_free(s);
    cn_buf_release(&out);
    s = cn_source_base64(cn_source_file(&loop, file_with("abc", 3), 0, 4));
    assert_int_equal(drain(s, 100, &out), CN_SOURCE_BROKEN);
    cn_source_free(s);
    cn_buf_release(&out);
}

/* A file goes by its descriptor once its pages are in memory. */
static void a_file_is_prepared_and_given(void **state)
{
    unsigned char *data = pattern(100000);
    struct cn_source *s = cn_source_file(&loop, file_with(data, 100000), 5, 1000);
    const void *whole;
    uint64_t offset;
    char back[1000];
    int fd;

    (void)state;
    s->wake = on_wake;
    while (!s->kind->prepare(s))
        uv_run(&loop, UV_RUN_DEFAULT);
    whole = s->kind->bytes(s); /* NULL where a file system knows no reading without waiting */
    if (whole != NULL)
        assert_memory_equal(whole, data + 5, 1000);
    cn_source_free(s);
    s = cn_source_file(&loop, file_with(data, 100000), 5, 99000);
    s->wake = on_wake;
    while (!s->kind->prepare(s))
        uv_run(&loop, UV_RUN_DEFAULT);
    assert_null(s->kind->bytes(s));
    fd = s->kind->file(s, &offset);
    assert_int_equal(offset, 5);
    cn_source_free(s);
    assert_int_equal(pread(fd, back, sizeof(back), (off_t)offset), 1000);
    assert_memory_equal(back, data + 5, 1000);
    close(fd);
    free(data);
}

static int at, broken_at = -1;

static int next(void *arg, struct cn_source **ret)
{
    (void)arg;
    if (at == 4)
        return CN_SOURCE_END;
    if (at == broken_at)
        return CN_SOURCE_BROKEN;
    *ret = at == 2 ? cn_source_base64(cn_source_bytes("hello", 5, NULL, NULL))
                   : cn_source_bytes("ab", at == 1 ? 0 : 2, NULL, NULL);
    at++;
    return 1;
}

static void sources_follow_each_other(void **state)
{
    (void)state;
    for (broken_at = -1; broken_at < 4; broken_at++) {
        struct cn_source *s = cn_source_chain(-1, next, on_release, NULL);
        struct cn_buf out;

        at = released = 0;
        assert_int_equal(drain(s, 5, &out), broken_at < 0 ? CN_SOURCE_END : CN_SOURCE_BROKEN);
        if (broken_at < 0)
            assert_string_equal((char *)out.data, "abaGVsbG8=ab");
        cn_source_free(s);
        assert_int_equal(released, 1);
        cn_buf_release(&out);
    }
}

static void what_is_shared_counts_once(void **state)
{
    static struct cn_outflight out = {.max = 150};
    int a = 0, b = 0;

    (void)state;
    struct cn_source *s[3] = {cn_source_counted(&out, &a, "x", 100, NULL, NULL),
                              cn_source_counted(&out, &a, "x", 60, NULL, NULL),
                              cn_source_counted(&out, &b, "x", 50, NULL, NULL)};

    assert_int_equal(out.bytes, 150);
    assert_true(cn_outflight_full(&out));
    cn_source_free(s[0]);
    assert_int_equal(out.bytes, 150);
    cn_source_free(s[2]);
    assert_int_equal(out.bytes, 100);
    assert_false(cn_outflight_full(&out));
    cn_source_free(s[1]);
    assert_int_equal(out.bytes, 0);
    for (int i = 0; i < 1000; i++)
        cn_outflight_hold(&out, (char *)&out + i, 1);
    assert_int_equal(out.bytes, 1000);
    for (int i = 0; i < 1000; i++)
        cn_outflight_drop(&out, (char *)&out + i);
    assert_int_equal(out.bytes, 0);
    cn_outflight_release(&out);
}

/* Freed while a thread of the pool reads for it: the thread frees it. */
static void a_source_may_go_while_it_is_read(void **state)
{
    unsigned char *data = pattern(100000);

    (void)state;
    for (int i = 0; i < 20; i++) {
        struct cn_source *s = cn_source_file(&loop, file_with(data, 100000), 0, 100000);
        char block[100];

        s->wake = on_wake;
        posix_fadvise(0, 0, 0, POSIX_FADV_DONTNEED);
        cn_source_pull(s, block, sizeof(block));
        cn_source_free(s);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_and_files_come_out_whole),
        cmocka_unit_test(base64_is_that_of_the_whole),
        cmocka_unit_test(a_short_file_is_broken),
        cmocka_unit_test(a_file_is_prepared_and_given),
        cmocka_unit_test(sources_follow_each_other),
        cmocka_unit_test(what_is_shared_counts_once),
        cmocka_unit_test(a_source_may_go_while_it_is_read),
    };
    int rc;

    uv_loop_init(&loop);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    uv_loop_close(&loop);
    return rc;
}
