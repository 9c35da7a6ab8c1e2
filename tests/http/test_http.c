/* http: the parts that need no loop: gate, multipart, negotiation, addresses, statuses. */
#include "base/base.h"
#include "base/file.h"
#include "http/core/accept.h"
#include "http/core/fields.h"
#include "http/server/listen.h"
#include "http/core/multipart.h"
#include "api/problem_kind.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static void boundaries(void **state)
{
#define T "multipart/form-data"
    static const struct {
        const char *type, *boundary; /* NULL: refused */
    } row[] = {
        {T "; boundary=abc", "abc"},
        {T ";boundary=\"a b:c\"", "a b:c"},
        {T "; charset=utf-8; BOUNDARY=abc", "abc"},
        {T "; boundary=abc; charset=utf-8", "abc"},
        {"Multipart/Form-Data; boundary=abc", "abc"},
        {T "; boundary=1234567890123456789012345678901234567890123456789012345678901234567890",
         "1234567890123456789012345678901234567890123456789012345678901234567890"},
        {T "; boundary=12345678901234567890123456789012345678901234567890123456789012345678901",
         NULL},
        {T, NULL},
        {T "; boundary=", NULL},
        {T "; boundary=\"", NULL},
        {T "; boundary=\"\"", NULL},
        {T "; boundary=\"a \"", NULL},
        {T "; boundary=a; boundary=b", NULL},
        {T "; boundary=a b", NULL},
        {T "; =a", NULL},
        {T "; boundary=\"a\rb\"", NULL},
        {T "x; boundary=a", NULL},
        {"text/plain; boundary=a", NULL},
    };
#undef T
    char boundary[CN_MULTIPART_BOUNDARY];

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        int rc = cn_multipart_boundary(row[i].type, boundary, NULL);

        assert_int_equal(rc, row[i].boundary == NULL ? CN_EFORMAT : CN_OK);
        if (rc == CN_OK)
            assert_string_equal(boundary, row[i].boundary);
    }
}

#define DISP "Content-Disposition: form-data; name="

static void parts_come_out_whole(void **state)
{
    static const char body[] =
        "--b\r\n" DISP "\"params\"\r\n\r\n{}\r\n"
        "--b \t\r\ncontent-disposition: form-data; name=edge; filename=\"../x\\\"\""
        "\r\nContent-Type: image/png\r\n\r\nline\r\n--\r\n-b\r\n"
        "--b\r\n" DISP "\"empty\"\r\n\r\n\r\n--b--\r\n";
    struct cn_part part[4];

    (void)state;
    assert_int_equal(cn_multipart_parse("b", body, sizeof(body) - 1, part, 4, NULL), 3);
    assert_string_equal(part[0].name, "params");
    assert_int_equal(part[0].len, 2);
    assert_string_equal(part[1].name, "edge");
    assert_int_equal(part[1].len, 12);
    assert_memory_equal(part[1].data, "line\r\n--\r\n-b", 12);
    assert_int_equal(part[2].len, 0);
    assert_int_equal(cn_multipart_parse("b", body, sizeof(body) - 1, part, 2, NULL), CN_ETOOBIG);
    /* Cut anywhere, it is an error: never a shorter image. The last CR LF may be missing. */
    for (size_t n = 0; n < sizeof(body) - 3; n++) {
        char *cut = malloc(n + 1);

        memcpy(cut, body, n);
        assert_true(cn_multipart_parse("b", cut, n, part, 4, NULL) < 0);
        free(cut);
    }
    assert_int_equal(cn_multipart_parse("b", body, sizeof(body) - 3, part, 4, NULL), 3);
}

static void broken_bodies_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "--b",
        "--b--x",
        "x--b--",
        "--c\r\n" DISP "a\r\n\r\nx\r\n--c--",
        "--b\r\n\r\nx\r\n--b--",
        "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--",
        "--b\r\n" DISP "\r\n\r\nx\r\n--b--",
        "--b\r\n" DISP "\"a b\"\r\n\r\nx\r\n--b--",
        "--b\r\n" DISP "\"a/b\"\r\n\r\nx\r\n--b--",
        "--b\r\n" DISP "a; name=b\r\n\r\nx\r\n--b--",
        "--b\r\n" DISP "a\r\n" DISP "b\r\n\r\nx\r\n--b--",
        "--b\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--b--",
        "--b\r\nContent-Disposition: form-datax; name=a\r\n\r\nx\r\n--b--",
        "--b\r\n" DISP "a\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--b--",
        "--b\r\n" DISP "a\r\nno colon\r\n\r\nx\r\n--b--",
        "--b\r\n" DISP "a\r\n : x\r\n\r\nx\r\n--b--",
        "--b\r\n" DISP "a\n\nx\r\n--b--",
        "--b\r\n" DISP "a\r\n\r\nx\r\n--bb--",
        "--b\r\n" DISP "a\r\n\r\nx\r\n--b--\r\nepilogue",
        "--b\r\n" DISP "a\r\n\r\nx\n--b--",
        "--b\r\n" DISP
        "a\r\nA:1\r\nB:1\r\nC:1\r\nD:1\r\nE:1\r\nF:1\r\nG:1\r\nH:1\r\nI:1\r\n\r\nx\r\n--b--",
        "--b\r\n" DISP "1234567890123456789012345678901234567890123456789012345678901234\r\n\r\n"
        "x\r\n--b--",
    };
    struct cn_part part[4];

    (void)state;
    for (size_t i = 0; i < CN_LEN(bad); i++)
        if (cn_multipart_parse("b", bad[i], strlen(bad[i]), part, 4, NULL) >= 0)
            fail_msg("accepted: %s", bad[i]);
}

static void negotiation(void **state)
{
    static const struct {
        const char *header, *type;
        double q;
        bool named;
    } row[] = {
        {NULL, "image/png", 1, false},
        {"  ", "image/png", 1, false},
        {"*/*", "image/png", 1, false},
        {"image/*", "image/png", 1, false},
        {"image/png", "image/png", 1, true},
        {"IMAGE/PNG;q=0.5", "image/png", 0.5, true},
        {"image/jpeg", "image/png", -1, false},
        {"image/png;q=0, */*", "image/png", -1, false},
        {"*/*;q=0.1, image/*; q=0.2, image/png;level=1;q=0.3", "image/png", 0.3, true},
        {"image/png;q=2", "image/png", -1, false},
        {"image/png;q=x", "image/png", -1, false},
        {"text/html, application/xhtml+xml, */*;q=0.8", "image/png", 0.8, false},
        {",,,image/png", "image/png", 1, true},
        {"image", "image/png", -1, false},
        {"image/pn*", "image/png", -1, false},
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        bool named;

        assert_true(cn_accept_quality(row[i].header, row[i].type, &named) == row[i].q);
        assert_int_equal(named, row[i].named);
    }
}

static void preferences(void **state)
{
    static const struct {
        const char *text;
        bool async;
        int wait;
    } row[] = {
        {"", false, -1},
        {"respond-async", true, -1},
        {"Respond-Async , wait = 10", true, 10},
        {"wait=0", false, 0},
        {"wait=5, wait=6", false, 5},
        {"wait=\"7\"", false, 7},
        {"wait=x, respond-async", true, -1},
        {"wait=-1", false, -1},
        {"wait=99999999999999", false, 86400},
        {"foo=\"a, respond-async\"; bar=\",\", wait=3", false, 3},
        {"respond-asyncx", false, -1},
        {"foo=\"respond-async", false, -1},
        {"=, respond-async", false, -1},
        {",, ,respond-async,", true, -1},
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        struct cn_prefer p = CN_PREFER_INIT;

        cn_prefer_add(&p, row[i].text);
        if (p.respond_async != row[i].async || p.wait_s != row[i].wait)
            fail_msg("%s: %d %d", row[i].text, p.respond_async, p.wait_s);
    }
}

static void idempotency_keys(void **state)
{
    static const char *const good[][2] = {
        {"\"8e03978e-40d5-43dd-bc93\"", "8e03978e-40d5-43dd-bc93"},
        {"8e03978e-40d5-43dd-bc93", "8e03978e-40d5-43dd-bc93"},
        {" \"a b\" ", "a b"},
        {"\"a\\\"\\\\\"", "a\"\\"},
        {"a:b/c=", "a:b/c="},
        {"!#$%&'*+-.^_`|~@", "!#$%&'*+-.^_`|~@"},
        {"\"{}<>()[]?\"", "{}<>()[]?"},
    };
    static const char *const bad[] = {
        "",    "\"\"", "\"a",          "\"a\"b",   "a b",      "\"a\\b\"", "\"a\";x",
        "a,b", "a\"",  "\"\xc3\xa4\"", "\xc3\xa4", "\"a\tb\"", "a;x=1",    "\"a\", \"b\"",
        "{}",  "[]",   "f(x)",         "<a>",      "a?"};
    char key[CN_IDEMPOTENCY_KEY], text[300];

    (void)state;
    for (size_t i = 0; i < CN_LEN(good); i++) {
        assert_int_equal(cn_idempotency_key(good[i][0], key, NULL), CN_OK);
        assert_string_equal(key, good[i][1]);
    }
    for (size_t i = 0; i < CN_LEN(bad); i++)
        if (cn_idempotency_key(bad[i], key, NULL) != CN_EINVAL)
            fail_msg("accepted: %s", bad[i]);
    for (int quoted = 0; quoted < 2; quoted++) {
        memset(text, 'x', sizeof(text));
        if (quoted)
            text[0] = text[256] = '"';
        text[255 + 2 * quoted] = '\0';
        assert_int_equal(cn_idempotency_key(text, key, NULL), CN_OK);
        assert_int_equal(strlen(key), 255);
        text[256 + 2 * quoted] = '\0';
        text[255 + 2 * quoted] = quoted ? '"' : 'x';
        text[255 + quoted] = 'x';
        assert_int_equal(cn_idempotency_key(text, key, NULL), CN_EINVAL);
    }
}

static void ranges(void **state)
{
    static const struct {
        const char *text;
        enum cn_range kind;
        unsigned first, len;
    } row[] = {
        {"bytes=0-0", CN_RANGE_PART, 0, 1},
        {"bytes=5-", CN_RANGE_PART, 5, 95},
        {"bytes=-10", CN_RANGE_PART, 90, 10},
        {"bytes=-1000", CN_RANGE_PART, 0, 100},
        {"bytes=90-1000", CN_RANGE_PART, 90, 10},
        {"Bytes=99-99", CN_RANGE_PART, 99, 1},
        {"bytes=100-", CN_RANGE_OUTSIDE, 0, 100},
        {"bytes=-0", CN_RANGE_OUTSIDE, 0, 100},
        {"bytes=5-4", CN_RANGE_WHOLE, 0, 100},
        {"bytes=0-1,5-6", CN_RANGE_WHOLE, 0, 100},
        {"lines=0-1", CN_RANGE_WHOLE, 0, 100},
        {"bytes=-", CN_RANGE_WHOLE, 0, 100},
        {"bytes=", CN_RANGE_WHOLE, 0, 100},
        {"bytes=a-b", CN_RANGE_WHOLE, 0, 100},
        {NULL, CN_RANGE_WHOLE, 0, 100},
        {"bytes=1-9999999999999999999", CN_RANGE_WHOLE, 0, 100},
    };
    uint64_t first, len;

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        assert_int_equal(cn_range_read(row[i].text, 100, &first, &len), row[i].kind);
        if (row[i].kind != CN_RANGE_OUTSIDE) {
            assert_int_equal(first, row[i].first);
            assert_int_equal(len, row[i].len);
        }
    }
}

static void etags(void **state)
{
    (void)state;
    assert_true(cn_etag_listed("\"a\"", "\"a\"", true));
    assert_true(cn_etag_listed("\"b\", W/\"a\"", "\"a\"", true));
    assert_false(cn_etag_listed("W/\"a\"", "\"a\"", false));
    assert_true(cn_etag_listed("*", "\"a\"", true));
    assert_false(cn_etag_listed("a", "\"a\"", true));
    assert_false(cn_etag_listed("\"ab\"", "\"a\"", true));
    assert_false(cn_etag_listed("\"", "\"a\"", true));
    assert_false(cn_etag_listed(NULL, "\"a\"", true));
}

static void addresses(void **state)
{
    static const char *const good[] = {"127.0.0.1:80", ":0",      "*:1",
                                       "[::1]:65535",  "unix:/x", "localhost:8080"};
    static const char *const bad[] = {"",        "127.0.0.1", "a:",    "a:x",
                                      "a:65536", "a:-1",      "unix:", "unix:x"};
    struct cn_listen_set set;

    (void)state;
    for (size_t i = 0; i < CN_LEN(good); i++)
        assert_int_equal(cn_listen_check(good[i], NULL), CN_OK);
    for (size_t i = 0; i < CN_LEN(bad); i++)
        assert_int_equal(cn_listen_check(bad[i], NULL), CN_EINVAL);
    assert_int_equal(cn_listen_open("127.0.0.1:0", &set, NULL), CN_OK);
    assert_int_equal(set.n, 1);
    assert_true(cn_listen_port(set.fd[0]) > 0);
    close(set.fd[0]);
    assert_int_equal(cn_listen_inherited(false, 0), -1);
}

static bool reaches(int family, const char *address, int port)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(family, SOCK_STREAM, 0), rc;

    if (family == AF_INET) {
        inet_pton(AF_INET, address, &v4.sin_addr);
        rc = connect(fd, (struct sockaddr *)&v4, sizeof(v4));
    } else {
        inet_pton(AF_INET6, address, &v6.sin6_addr);
        rc = connect(fd, (struct sockaddr *)&v6, sizeof(v6));
    }
    close(fd);
    return rc == 0;
}

/* All addresses are those of both families, and a name is all of its addresses, at one port. */
static void both_families(void **state)
{
    static const char *const address[] = {":0", "*:0", "[::]:0", "localhost:0"};
    struct cn_listen_set set;
    int port, probe = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool has_v6 = bind(probe, (struct sockaddr *)&loopback, sizeof(loopback)) == 0;
    struct addrinfo hint = {.ai_family = AF_INET6}, *list;

    (void)state;
    close(probe);
    for (size_t i = 0; i < CN_LEN(address); i++) {
        if (strcmp(address[i], "[::]:0") == 0 && !has_v6)
            continue;
        assert_int_equal(cn_listen_open(address[i], &set, NULL), CN_OK);
        port = cn_listen_port(set.fd[0]);
        assert_true(reaches(AF_INET, "127.0.0.1", port));
        if (has_v6 && (i < 3 || getaddrinfo("localhost", NULL, &hint, &list) == 0)) {
            if (i == 3)
                freeaddrinfo(list);
            assert_true(reaches(AF_INET6, "::1", port));
        }
        for (int k = 0; k < set.n; k++) {
            assert_int_equal(cn_listen_port(set.fd[k]), port);
            assert_int_equal(cn_listen_is_local(set.fd[k]), i == 3);
            close(set.fd[k]);
        }
    }
}

/* The path of a daemon that lives is not taken, that of one that was killed is, and whoever ends
 * removes only its own. */
static void unix_paths(void **state)
{
    char dir[] = "/tmp/cn-listen-XXXXXX", address[64], path[64];
    struct cn_listen_set a, b;
    struct stat st;
    mode_t old = umask(0077);

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s", dir);
    snprintf(address, sizeof(address), "unix:%s", path);
    assert_int_equal(cn_listen_open(address, &a, NULL), CN_OK);
    assert_true(cn_listen_is_local(a.fd[0]));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(cn_listen_open(address, &b, NULL), CN_EBUSY);
    assert_int_equal(stat(path, &st), 0);
    close(a.fd[0]); /* as if killed: the path stays */
    assert_int_equal(cn_listen_open(address, &a, NULL), CN_OK);
    assert_int_equal(unlink(path), 0); /* somebody tidies up, and another daemon comes */
    assert_int_equal(cn_listen_open(address, &b, NULL), CN_OK);
    cn_listen_remove(&a.path); /* not its own */
    assert_int_equal(stat(path, &st), 0);
    cn_listen_remove(&b.path);
    assert_int_equal(stat(path, &st), -1);
    close(a.fd[0]);
    close(b.fd[0]);
    close(open(path, O_CREAT | O_WRONLY, 0600)); /* no socket: left alone */
    assert_true(cn_listen_open(address, &b, NULL) < 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0); /* nothing else was left */
    umask(old);
}

/* Passed sockets are counted once, and their variables are gone. */
static void the_environment_of_sockets(void **state)
{
    char pid[20];

    (void)state;
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    setenv("LISTEN_PID", "1", 1);
    setenv("LISTEN_FDS", "1", 1);
    cn_listen_take_environment();
    assert_int_equal(cn_listen_inherited(false, 0), -1); /* another process's */
    assert_int_equal(dup2(STDERR_FILENO, 3), 3);
    assert_int_equal(dup2(STDERR_FILENO, 4), 4);
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "2", 1);
    setenv("LISTEN_FDNAMES", "admin:http", 1);
    cn_listen_take_environment();
    assert_null(getenv("LISTEN_PID"));
    assert_null(getenv("LISTEN_FDS"));
    assert_null(getenv("LISTEN_FDNAMES"));
    assert_int_equal(cn_listen_inherited(true, 0), 3);
    assert_int_equal(cn_listen_inherited(false, 0), 4);
    assert_int_equal(cn_listen_inherited(false, 1), -1);
    close(3);
    close(4);
    cn_listen_take_environment();
    assert_int_equal(cn_listen_inherited(false, 0), -1);
}

static void statuses(void **state)
{
    static const struct {
        int code;
        const char *where;
        int status;
    } row[] = {
        {CN_EINVAL, "", 400},    {CN_EINVAL, "/steps", 422},    {CN_EFORMAT, "", 400},
        {CN_EFORMAT, "/x", 422}, {CN_ENOTFOUND, "/model", 422}, {CN_ENOTFOUND, "", 404},
        {CN_ETOOBIG, "", 413},   {CN_ETOOBIG, "/prompt", 422},  {CN_EDEVMEM, "", 507},
        {CN_EDEVICE, "", 502},   {CN_EINTERNAL, "", 500},       {CN_EIO, "", 500},
        {CN_EBUSY, "", 503},     {CN_ECANCELED, "", 504},       {CN_ENOMEM, "", 507},
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        struct cn_err err = CN_ERR_INIT;

        cn_fail_at(&err, row[i].code, row[i].where, "x");
        assert_int_equal(cn_problem_kind_info(cn_problem_kind_of(&err))->status, row[i].status);
    }
    for (int f = 0; f < CN_PROBLEM_KIND_COUNT; f++)
        assert_true(cn_problem_kind_info((enum cn_problem_kind)f)->status >= 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boundaries),
        cmocka_unit_test(parts_come_out_whole),
        cmocka_unit_test(broken_bodies_are_refused),
        cmocka_unit_test(negotiation),
        cmocka_unit_test(preferences),
        cmocka_unit_test(idempotency_keys),
        cmocka_unit_test(ranges),
        cmocka_unit_test(etags),
        cmocka_unit_test(addresses),
        cmocka_unit_test(both_families),
        cmocka_unit_test(unix_paths),
        cmocka_unit_test(the_environment_of_sockets),
        cmocka_unit_test(statuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
