/* The scanner of raw bytes: what it hands on, whatever the pieces in which bytes come. */
#include "base/base.h"
#include "base/buf.h"
#include "http/core/byte_scan.h"
#include "http/core/mhd_recv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define GET     "GET /x HTTP/1.1\r\nHost: a\r\n"
#define POST    "POST /x HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

/* Shows the text in pieces of so many bytes; what is handed on goes to out. */
static void feed(struct cn_scan *s, const char *text, size_t len, size_t piece, struct cn_buf *out)
{
    size_t given = 0, seen = 0;

    memset(s, 0, sizeof(*s));
    cn_buf_init(out, 1 << 20);
    while (seen < len && s->fault == NULL) {
        seen = CN_MIN(seen + piece, len);
        size_t n = cn_scan(s, text + given, seen - given);

        cn_buf_add(out, text + given, n, NULL);
        given += n;
    }
    if (s->fault != NULL)
        cn_buf_adds(out, s->substitute, NULL);
}

static const char *fault_of(const char *text, size_t len)
{
    struct cn_scan whole, s;
    struct cn_buf a, b;

    feed(&whole, text, len, len, &a);
    for (size_t piece = 1; piece < 9; piece++) { /* the pieces do not matter */
        feed(&s, text, len, piece, &b);
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.data, b.data, a.len);
        assert_true((s.fault == NULL) == (whole.fault == NULL));
        assert_int_equal(s.fault_head, whole.fault_head);
        cn_buf_release(&b);
    }
    cn_buf_release(&a);
    return whole.fault;
}

struct bytes {
    const char *text;
    size_t len;
};

#define BYTES(s)                                                                                   \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }

static void good_requests_pass_as_they_are(void **state)
{
    static const struct bytes good[] = {
        BYTES(GET "\r\n"),
        BYTES(GET "\r\n" GET "X: a\tb \r\n\r\n"),
        BYTES("\r\n" GET "\r\n"),
        BYTES("GET / HTTP/1.0\r\n\r\n"),
        BYTES("GET /a?b=c%20d&e=%2f HTTP/1.1\r\nhost: \xc3\xbc\r\n\r\n"),
        BYTES(POST "CONTENT-LENGTH: 5\r\n\r\n\0\n\rabGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        BYTES(CHUNKED "3\r\na\nb\r\n0\r\n\r\n" GET "\r\n"),
        BYTES(CHUNKED "A;x=\"y\"\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n" GET "\r\n"),
        BYTES(POST "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"),
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(good); i++) {
        struct cn_scan s;
        struct cn_buf out;

        assert_null(fault_of(good[i].text, good[i].len));
        feed(&s, good[i].text, good[i].len, 3, &out);
        assert_int_equal(out.len, good[i].len);
        cn_buf_release(&out);
    }
}

static void bad_requests_do_not_pass(void **state)
{
    static const struct bytes bad[] = {
        BYTES("GET /x\0y HTTP/1.1\r\nHost: a\r\n\r\n"),
        BYTES("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"),
        BYTES(GET "X: a\0b\r\n\r\n"),
        BYTES(POST "Content-Length: 0\0 14\r\n\r\n"),
        BYTES(POST "Transfer-Encoding: chunked\0x\r\n\r\n"),
        BYTES(GET ": v\r\n\r\n"),
        BYTES(GET "X : v\r\n\r\n"),
        BYTES(GET "X\xc3: v\r\n\r\n"),
        BYTES(GET "X: a\rb\r\n\r\n"),
        BYTES(GET "X: a\x01\r\n\r\n"),
        BYTES(GET "X: a\nY: b\r\n\r\n"),
        BYTES(GET "X: a\r\n b\r\n\r\n"),
        BYTES("GET / HTTP/1.1\nHost: a\n\n"),
        BYTES("GET / HTTP/1.1\r\n\r\n"),
        BYTES("GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        BYTES("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        BYTES("GET /\r\n\r\n"),
        BYTES("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        BYTES("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        BYTES("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n"),
        BYTES("GET /../a HTTP/1.1\r\nHost: a\r\n\r\n"),
        BYTES("GET /%2E%2e/a HTTP/1.1\r\nHost: a\r\n\r\n"),
        BYTES("GET /\xc3\xbc HTTP/1.1\r\nHost: a\r\n\r\n"),
        BYTES(GET "Host: b\r\n\r\n"),
        BYTES(POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\na"),
        BYTES(POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BYTES(POST "Transfer-Encoding: gzip, chunked\r\n\r\n"),
        BYTES("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BYTES(POST "Content-Length: +1\r\n\r\n"),
        BYTES(POST "Content-Length:\r\n\r\n"),
        BYTES(POST "Content-Length: 18446744073709551616\r\n\r\n"),
        BYTES(CHUNKED "e\n{\"prompt\":\"x\"}\n0\n\n"),
        BYTES(CHUNKED "1;a\nx\r\n0\r\n\r\n"),
        BYTES(CHUNKED "1\r\nx\n0\r\n\r\n"),
        BYTES(CHUNKED "1\r\nxy\r\n0\r\n\r\n"),
        BYTES(CHUNKED "1 \r\nx\r\n0\r\n\r\n"),
        BYTES(CHUNKED "g\r\n"),
        BYTES(CHUNKED "0x1\r\n"),
        BYTES(CHUNKED "1;\0\r\nx\r\n0\r\n\r\n"),
        BYTES(CHUNKED "ffffffffffffffff\r\n"),
        BYTES(CHUNKED "0\r\nX: a\n\r\n"),
        BYTES(CHUNKED "0\r\n: a\r\n\r\n"),
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(bad); i++)
        if (fault_of(bad[i].text, bad[i].len) == NULL)
            fail_msg("passed: %s", bad[i].text);
}

/* The end of a body that broke off, or a request that is refused: and nothing behind it. */
static void the_substitute_is_whole(void **state)
{
    static const char smuggled[] = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    static const char *const broken[] = {GET ": v\r\n\r\n", CHUNKED "3\r\nabc\r\n1\nx",
                                         CHUNKED "3\r\nabcd\r\n", CHUNKED "0\r\n(: x\r\n"};

    (void)state;
    for (size_t i = 0; i < CN_LEN(broken); i++) {
        struct cn_scan s, again;
        struct cn_buf out;
        char text[512];

        snprintf(text, sizeof(text), "%s%s", broken[i], smuggled);
        feed(&s, text, strlen(text), strlen(text), &out);
        assert_non_null(s.fault);
        assert_int_equal(s.fault_head, 1);
        assert_null(memmem(out.data, out.len, "smuggled", 8));
        assert_int_equal(cn_scan(&(struct cn_scan){0}, (char *)out.data, out.len), out.len);
        memset(&again, 0, sizeof(again));
        cn_scan(&again, (char *)out.data, out.len);
        assert_true(again.fault == NULL && again.heads == 1 && cn_scan_is_in_head(&again));
        cn_buf_release(&out);
    }
}

static void a_fault_belongs_to_its_request(void **state)
{
    static const char text[] =
        GET "\r\n" CHUNKED "1\r\na\r\n0\r\n\r\n" GET ": v\r\n\r\n" GET "\r\n";
    struct cn_scan s;
    struct cn_buf out;

    (void)state;
    feed(&s, text, strlen(text), strlen(text), &out);
    assert_int_equal(s.fault_head, 3);
    cn_buf_release(&out);
}

static void heads_have_an_end(void **state)
{
    static char text[CN_SCAN_MAX_HEAD + 1000];
    struct cn_scan s;
    struct cn_buf out;

    (void)state;
    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    feed(&s, text, sizeof(text), 4096, &out);
    assert_int_equal(s.kind, CN_PROBLEM_TARGET_TOO_LONG);
    cn_buf_release(&out);
    memset(text, 'a', sizeof(text));
    memcpy(text, GET, strlen(GET));
    feed(&s, text, sizeof(text), 4096, &out);
    assert_int_equal(s.kind, CN_PROBLEM_HEAD_TOO_LARGE);
    cn_buf_release(&out);
}

/* ---- in front of recv ---- */

static int heads_begun;

static void on_head(void *arg)
{
    (void)arg;
    heads_begun++;
}

/* As the library reads: until a count is short. */
static void read_all(int fd, size_t size, struct cn_buf *out)
{
    char buf[65536];
    ssize_t n;

    while ((n = recv(fd, buf, size, 0)) > 0) {
        cn_buf_add(out, buf, (size_t)n, NULL);
        if ((size_t)n < size)
            return;
    }
}

static void recv_hands_on_what_was_judged(void **state)
{
    static const char text[] =
        CHUNKED "5\r\nhello\r\n0\r\n\r\n" GET "X: 1\r\n\r\n" GET ": v\r\n\r\n";
    enum cn_problem_kind kind;

    (void)state;
    for (size_t size = 1; size < 200; size += size < 20 ? 1 : 37) {
        for (size_t piece = 1; piece < sizeof(text); piece += 5) {
            struct cn_recv *r;
            struct cn_buf out;
            int fd[2];

            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
            r = cn_recv_attach(fd[0], on_head, NULL);
            cn_buf_init(&out, 1 << 16);
            for (size_t at = 0; at < strlen(text); at += piece) {
                assert_true(write(fd[1], text + at, CN_MIN(piece, strlen(text) - at)) > 0);
                read_all(fd[0], size, &out);
            }
            assert_true(out.len > strlen(text) - strlen(GET ": v\r\n\r\n"));
            assert_memory_equal(out.data, text, strlen(text) - strlen(GET ": v\r\n\r\n"));
            assert_non_null(strstr((char *)out.data, "\r\nConnection: close\r\n\r\n"));
            assert_null(cn_recv_fault(r, 2, &kind));
            assert_non_null(cn_recv_fault(r, 3, &kind));
            cn_recv_detach(r);
            cn_buf_release(&out);
            close(fd[0]);
            close(fd[1]);
        }
    }
    assert_true(heads_begun > 0);
}

static void a_reading_is_skipped_while_nothing_is_held(void **state)
{
    struct cn_recv *r;
    char buf[200];
    int fd[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    r = cn_recv_attach(fd[0], on_head, NULL);
    assert_int_equal(write(fd[1], GET "\r\n" GET "\r\n", 2 * strlen(GET "\r\n")),
                     2 * strlen(GET "\r\n"));
    cn_recv_skip(r, true);
    assert_int_equal(recv(fd[0], buf, sizeof(buf), 0), -1);
    assert_int_equal(errno, EAGAIN);
    cn_recv_skip(r, false);
    assert_int_equal(recv(fd[0], buf, sizeof(buf), 0), 2 * strlen(GET "\r\n"));
    cn_recv_skip(NULL, true); /* a connection without a scanner reads as ever */
    cn_recv_detach(r);
    close(fd[0]);
    close(fd[1]);
}

static void other_descriptors_are_left_alone(void **state)
{
    char buf[8];
    int fd[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    assert_int_equal(write(fd[1], "\0\n:", 3), 3);
    assert_int_equal(recv(fd[0], buf, sizeof(buf), 0), 3);
    assert_int_equal(recv(fd[0], buf, sizeof(buf), 0), -1);
    assert_int_equal(errno, EAGAIN);
    close(fd[1]);
    assert_int_equal(recv(fd[0], buf, sizeof(buf), 0), 0);
    close(fd[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_requests_pass_as_they_are),
        cmocka_unit_test(bad_requests_do_not_pass),
        cmocka_unit_test(the_substitute_is_whole),
        cmocka_unit_test(a_fault_belongs_to_its_request),
        cmocka_unit_test(heads_have_an_end),
        cmocka_unit_test(recv_hands_on_what_was_judged),
        cmocka_unit_test(a_reading_is_skipped_while_nothing_is_held),
        cmocka_unit_test(other_descriptors_are_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
