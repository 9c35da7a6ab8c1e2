/* base: JSON escapes, base64, log lines, metrics. */
#include "base/base.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/hmac.h"
#include "base/sha256.h"
#include "base/text.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static void utf8_is_checked_strictly(void **state)
{
    static const char *const good[] = {"",
                                       "abc",
                                       "\xc3\xbc",
                                       "\xe2\x82\xac",
                                       "\xf0\x9f\x8d\x8e",
                                       "\xed\x9f\xbf",
                                       "\xef\xbf\xbf",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc3",
                                      "\xe0\x80\x80",
                                      "\xed\xa0\x80",
                                      "\xf0\x80\x80\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xff",
                                      "a\xe2\x82"};

    (void)state;
    for (size_t i = 0; i < CN_LEN(good); i++)
        assert_true(cn_utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < CN_LEN(bad); i++)
        assert_false(cn_utf8_valid(bad[i], strlen(bad[i])));
}

static void escapes_keep_lines_whole(void **state)
{
    static const struct {
        const char *in, *out;
    } row[] = {
        {"plain", "\"plain\""},
        {"a\"b\\c\n\r\t\x01\x7f", "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u007f\""},
        {"\xe2\x80\xa8|\xe2\x80\xa9", "\"\\u2028|\\u2029\""},
        {"\xc3\xbc\xff\xc3", "\"\xc3\xbc\\ufffd\\ufffd\""},
    };
    struct cn_buf b;

    (void)state;
    cn_buf_init(&b, 1000);
    for (size_t i = 0; i < CN_LEN(row); i++) {
        cn_buf_clear(&b);
        assert_int_equal(cn_escape_json(&b, row[i].in, strlen(row[i].in), NULL), CN_OK);
        assert_string_equal((char *)b.data, row[i].out);
    }
    cn_buf_release(&b);
}

static void base64_goes_round(void **state)
{
    unsigned char data[300], *back;
    struct cn_buf b;
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)(i * 7 + 3);
    cn_buf_init(&b, 1000);
    for (size_t n = 1; n < sizeof(data); n++) {
        cn_buf_clear(&b);
        assert_int_equal(cn_base64_encode(&b, data, n, NULL), CN_OK);
        assert_int_equal(cn_base64_decode((char *)b.data, b.len, n, &back, &len, NULL), CN_OK);
        assert_int_equal(len, n);
        assert_memory_equal(back, data, n);
        free(back);
        assert_int_equal(cn_base64_decode((char *)b.data, b.len, n - 1, &back, &len, NULL),
                         CN_ETOOBIG);
    }
    cn_buf_release(&b);
}

static void bad_base64_is_refused(void **state)
{
    static const char *const bad[] = {"A",        "AA",   "AAA",    "AAAAA", "AA=",   "AA==AAAA",
                                      "AAAA====", "A===", "AB==",   "AAB=",  "AA AA", "AAA-",
                                      "AA\n==",   "=AAA", "AAA\\/", "!"};
    unsigned char *out;
    size_t len;

    (void)state;
    for (size_t i = 0; i < CN_LEN(bad); i++)
        assert_int_equal(cn_base64_decode(bad[i], strlen(bad[i]), 100, &out, &len, NULL),
                         CN_EFORMAT);
    assert_int_equal(cn_base64_decode("//8A", 4, 100, &out, &len, NULL), CN_OK);
    assert_int_equal(len, 3);
    assert_memory_equal(out, "\xff\xff\x00", 3);
    free(out);
}

static void log_lines_are_json(void **state)
{
    char text[1000];
    int fds[2];
    ssize_t n;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    cn_log_init(&(struct cn_log_options){.level = CN_LOG_INFO, .fd = fds[1]});
    cn_log(CN_LOG_DEBUG, "x.y", "unseen", "a=%d", 1);
    cn_log(CN_LOG_INFO, "x.y", "a \"b\"\n", "i=%d s=%s f=%.2f u=%lu z=%zu n=%s", -3, "q\"", 1.5,
           7UL, (size_t)9, "");
    n = read(fds[0], text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text,
                           "\"level\":\"info\",\"event\":\"x.y\",\"msg\":\"a \\\"b\\\"\\n\","
                           "\"i\":-3,\"s\":\"q\\\"\",\"f\":1.50,\"u\":7,\"z\":9,\"n\":\"\"}\n"));
    assert_int_equal(strchr(text, '\n') - text, n - 1);
    cn_log_init(&(struct cn_log_options){.level = CN_LOG_ERROR, .fd = STDERR_FILENO});
    close(fds[0]);
    close(fds[1]);
}

/* What cn_log wrote since the last call: lines with this event. */
static int lines_of(int fd, const char *event)
{
    static char text[1 << 16];
    ssize_t n = read(fd, text, sizeof(text) - 1);
    int count = 0;

    assert_true(n > 0);
    text[n] = '\0';
    for (const char *p = strstr(text, event); p != NULL; p = strstr(p + 1, event))
        count++;
    return count;
}

static void a_flood_of_an_event_is_counted(void **state)
{
    const struct timespec wait = {1, 100000000};
    long before = cn_log_dropped();
    int fds[2], seen;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    cn_log_init(&(struct cn_log_options){
        .level = CN_LOG_INFO, .fd = fds[1], .max_per_s = 5, .requests_per_s = 1});
    for (int i = 0; i < 50; i++) {
        cn_log(CN_LOG_INFO, "flood.a", "", "i=%d", i);
        cn_log(CN_LOG_INFO, "http.request", "", "i=%d", i); /* 30 may come at once */
    }
    cn_log(CN_LOG_INFO, "flood.b", "", "i=%d", 0); /* another event is not hindered */
    nanosleep(&wait, NULL);
    cn_log_tick();
    seen = lines_of(fds[0], "\"event\":\"log.dropped\"");
    assert_in_range(seen, 2, 3); /* a second may have ended inside the flood */
    assert_in_range(cn_log_dropped() - before, 60, 45 + 20);
    cn_log(CN_LOG_INFO, "flood.a", "", "i=%d", 0); /* there is room again */
    assert_int_equal(lines_of(fds[0], "flood.a"), 1);
    cn_log_init(&(struct cn_log_options){.level = CN_LOG_ERROR, .fd = STDERR_FILENO});
    close(fds[0]);
    close(fds[1]);
}

/* Reads what is there; the number of whole lines, each of which has to be JSON's braces. */
static int drain(int fd, char *last, size_t size)
{
    static char text[1 << 20];
    static size_t len;
    int n = 0;
    ssize_t k;

    while ((k = read(fd, text + len, sizeof(text) - len)) > 0) {
        char *p = text, *end;

        len += (size_t)k;
        for (; (end = memchr(p, '\n', (size_t)(text + len - p))) != NULL; p = end + 1, n++) {
            assert_true(*p == '{' && end[-1] == '}');
            snprintf(last, size, "%.*s", (int)(end - p), p);
        }
        len = (size_t)(text + len - p);
        memmove(text, p, len);
    }
    return n;
}

/* A pipe, and a socket as journald gives one, that nobody reads: cn_log returns, what is lost is
 * counted and told, and no line is torn. */
static void a_reader_that_stalls_stops_nobody(void **state)
{
    const int lines = 20000;
    char last[4096] = "";

    (void)state;
    alarm(60); /* a write that waits would wait for ever */
    for (int kind = 0; kind < 2; kind++) {
        long before = cn_log_dropped();
        int fds[2], n;

        assert_int_equal(kind == 0 ? pipe(fds) : socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
        cn_log_init(&(struct cn_log_options){.level = CN_LOG_INFO, .fd = fds[1]});
        cn_log_tick(); /* what the reader before has missed */
        drain(fds[0], last, sizeof(last));
        for (int i = 0; i < lines; i++)
            cn_log(CN_LOG_INFO, "stall.a", "some words to fill the line with", "i=%d pad=%s", i,
                   i % 100 == 0 ? "a longer one, of more than a page: ................" : "");
        n = drain(fds[0], last, sizeof(last));
        assert_in_range(n, 100, lines - 1);
        for (int k = 0; k < 20; k++) { /* what waited comes, then the count, then others */
            cn_log_tick();
            n += drain(fds[0], last, sizeof(last));
        }
        assert_non_null(strstr(last, "\"event\":\"log.dropped\""));
        assert_int_equal(n - 1 + cn_log_dropped() - before, lines);
        cn_log(CN_LOG_INFO, "stall.b", "", "i=%d", 0);
        assert_int_equal(drain(fds[0], last, sizeof(last)), 1);
        assert_non_null(strstr(last, "stall.b"));
        close(fds[0]); /* the reader has gone: nothing happens */
        signal(SIGPIPE, SIG_IGN);
        cn_log(CN_LOG_INFO, "stall.c", "", "i=%d", 0);
        cn_log_init(&(struct cn_log_options){.level = CN_LOG_ERROR, .fd = STDERR_FILENO});
        cn_log_tick(); /* what this reader has missed is told to the next one */
        close(fds[1]);
    }
    alarm(0);
}

/* <N> in front when the descriptor is the journal, and only then. */
static void priorities_for_the_journal(void **state)
{
    char name[64], text[4096] = "";
    struct stat st;
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(fstat(fds[1], &st), 0);
    snprintf(name, sizeof(name), "%lu:%lu", (unsigned long)st.st_dev, (unsigned long)st.st_ino);
    setenv("JOURNAL_STREAM", name, 1);
    cn_log_init(&(struct cn_log_options){.level = CN_LOG_INFO, .fd = fds[1]});
    cn_log(CN_LOG_ERROR, "a.b", "", "i=%d", 1);
    cn_log(CN_LOG_WARNING, "a.b", "", "i=%d", 1);
    cn_log(CN_LOG_INFO, "a.b", "", "i=%d", 1);
    setenv("JOURNAL_STREAM", "1:2", 1);
    cn_log_init(&(struct cn_log_options){.level = CN_LOG_INFO, .fd = fds[1]});
    cn_log(CN_LOG_ERROR, "a.b", "", "i=%d", 1);
    assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
    assert_int_equal(strncmp(text, "<3>{", 4), 0);
    assert_non_null(strstr(text, "\n<4>{"));
    assert_non_null(strstr(text, "\n<6>{"));
    assert_non_null(strstr(text, "\n{"));
    unsetenv("JOURNAL_STREAM");
    cn_log_init(&(struct cn_log_options){.level = CN_LOG_ERROR, .fd = STDERR_FILENO});
    close(fds[0]);
    close(fds[1]);
}

static void log_lines_have_a_bound(void **state)
{
    static char value[100000], text[40000];
    int fds[2];
    ssize_t n;

    (void)state;
    memset(value, 1, sizeof(value) - 1); /* each becomes six bytes */
    assert_int_equal(pipe(fds), 0);
    cn_log_init(&(struct cn_log_options){.level = CN_LOG_INFO, .fd = fds[1]});
    cn_log(CN_LOG_INFO, "x.y", value, "a=%s b=%s c=%s d=%d", value, value, value, 7);
    n = read(fds[0], text, sizeof(text) - 1);
    assert_in_range(n, 1000, 16 * 1024);
    text[n] = '\0';
    assert_string_equal(text + n - 8, ",\"d\":7}\n");
    cn_log_init(&(struct cn_log_options){.level = CN_LOG_ERROR, .fd = STDERR_FILENO});
    close(fds[0]);
    close(fds[1]);
}

static void metrics_have_the_text_format(void **state)
{
    static const double bound[] = {0.1, 1};
    struct cn_metrics *r = cn_metrics_new();
    struct cn_metric *c = cn_metric_add(r, CN_COUNTER, "x_total", "Xs.", "a,b");
    struct cn_metric *g = cn_metric_add(r, CN_GAUGE, "y", "Ys.", NULL);
    struct cn_metric *h = cn_metric_add_histogram(r, "z_seconds", "Zs.", "a", bound, 2);
    struct cn_buf b;

    (void)state;
    cn_metric_inc(c, 2, "p", "q\"\\\n");
    cn_metric_inc(c, 1, "p", "q\"\\\n");
    cn_metric_set(g, 2.5);
    cn_metric_observe(h, 0.1, "k");
    cn_metric_observe(h, 0.5, "k");
    cn_metric_observe(h, 7, "k");
    assert_true(cn_metric_get(c, "p", "q\"\\\n") == 3);
    assert_true(cn_metric_get(c, "p", "none") == 0);
    cn_buf_init(&b, 10000);
    assert_int_equal(cn_metrics_render(r, &b, NULL), CN_OK);
    assert_string_equal((char *)b.data, "# HELP x_total Xs.\n# TYPE x_total counter\n"
                                        "x_total{a=\"p\",b=\"q\\\"\\\\\\n\"} 3\n"
                                        "# HELP y Ys.\n# TYPE y gauge\ny 2.5\n"
                                        "# HELP z_seconds Zs.\n# TYPE z_seconds histogram\n"
                                        "z_seconds_bucket{a=\"k\",le=\"0.1\"} 1\n"
                                        "z_seconds_bucket{a=\"k\",le=\"1\"} 2\n"
                                        "z_seconds_bucket{a=\"k\",le=\"+Inf\"} 3\n"
                                        "z_seconds_sum{a=\"k\"} 7.6\nz_seconds_count{a=\"k\"} 3\n");
    for (int i = 0; i < 2 * CN_METRIC_SERIES; i++) {
        char v[16];

        snprintf(v, sizeof(v), "%d", i);
        cn_metric_inc(c, 1, v, "");
    }
    cn_buf_clear(&b);
    cn_buf_release(&b);
    cn_buf_init(&b, 20);
    assert_int_equal(cn_metrics_render(r, &b, NULL), CN_ETOOBIG);
    cn_buf_release(&b);
    cn_metrics_free(r);
}

/* The examples of FIPS 180-4, and the same bytes in pieces of all sizes around a block. */
static void sha256_follows_the_standard(void **state)
{
    static const struct {
        const char *text, *hex;
    } row[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    unsigned char digest[CN_SHA256_BYTES], whole[CN_SHA256_BYTES], data[300];
    char hex[65];

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        cn_sha256(row[i].text, strlen(row[i].text), digest);
        for (size_t k = 0; k < sizeof(digest); k++)
            snprintf(hex + 2 * k, 3, "%02x", digest[k]);
        assert_string_equal(hex, row[i].hex);
    }
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)(i * 7);
    for (size_t n = 0; n < sizeof(data); n += 13)
        for (size_t cut = 0; cut <= n; cut++) {
            struct cn_sha256 h;

            cn_sha256(data, n, whole);
            cn_sha256_init(&h);
            cn_sha256_add(&h, data, cut);
            cn_sha256_add(&h, data + cut, n - cut);
            cn_sha256_end(&h, digest);
            assert_memory_equal(digest, whole, sizeof(whole));
        }
}

static void paths_are_hidden(void **state)
{
    static const char *const row[][2] = {
        {"cannot open \"/srv/models/a b/unet.safetensors\": No such file",
         "cannot open \"unet.safetensors\": No such file"},
        {"/etc/controlnetd/keys:3: x", "keys:3: x"},
        {"cannot make /usr/local/var/lib: Permission denied", "cannot make lib: Permission denied"},
        {"started (/usr/libexec/controlnet-worker --models /a/b:/c/d)",
         "started (controlnet-worker --models b:d)"},
        {"dir=/a/b/", "dir=b"},
        {"ask GET /v1/models, not application/json or */* at 3/4",
         "ask GET /v1/models, not application/json or */* at 3/4"},
        {"\"/\" and / alone", "\"/\" and / alone"},
        {"", ""},
        {"'/a/b", "'b"},
    };
    char text[200];

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        snprintf(text, sizeof(text), "%s", row[i][0]);
        cn_hide_paths(text);
        assert_string_equal(text, row[i][1]);
    }
}

static void numbers_and_hex(void **state)
{
    static const char *const bad[] = {"", "1x", "-1", "+1", " 1", "1 ", "1234567890123456789"};
    unsigned char byte[2] = {0};
    char text[5];

    (void)state;
    assert_int_equal(cn_decimal("12"), 12);
    assert_true(cn_decimal("999999999999999999") == INT64_C(999999999999999999));
    for (size_t i = 0; i < CN_LEN(bad); i++)
        assert_int_equal(cn_decimal(bad[i]), -1);
    assert_true(cn_hex_decode("0fA9", byte, 2));
    assert_true(byte[0] == 0x0f && byte[1] == 0xa9);
    cn_hex_encode(byte, 2, text);
    assert_string_equal(text, "0fa9");
    assert_false(cn_hex_decode("0fA", byte, 2));
    assert_false(cn_hex_decode("0fA9b", byte, 2));
    assert_false(cn_hex_decode("0fg9", byte, 2));
    assert_string_equal(cn_skip_blanks(" \t x "), "x ");
    for (int c = 0; c < 256; c++) /* RFC 9110: visible ASCII without the delimiters */
        assert_int_equal(cn_is_token_char((char)c),
                         c > 0x20 && c < 0x7f && strchr("\"(),/:;<=>?@[\\]{}", c) == NULL);
}

/* RFC 4231, test cases 1, 2 and 6: a key, a short key, and one that is longer than a block. */
static void hmac_follows_the_standard(void **state)
{
    static const struct {
        int key_byte, key_len;
        const char *key, *text, *mac;
    } row[] = {
        {0x0b, 20, NULL, "Hi There",
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {0, 4, "Jefe", "what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {0xaa, 131, NULL, "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        unsigned char key[131], mac[CN_SHA256_BYTES], wanted[CN_SHA256_BYTES];

        memset(key, row[i].key_byte, sizeof(key));
        if (row[i].key != NULL)
            memcpy(key, row[i].key, (size_t)row[i].key_len);
        for (int b = 0; b < CN_SHA256_BYTES; b++) {
            const char pair[3] = {row[i].mac[2 * b], row[i].mac[2 * b + 1], '\0'};

            wanted[b] = (unsigned char)strtoul(pair, NULL, 16);
        }
        cn_hmac_sha256(key, (size_t)row[i].key_len, row[i].text, strlen(row[i].text), mac);
        assert_true(cn_hmac_equal(mac, wanted));
        mac[31] ^= 1;
        assert_false(cn_hmac_equal(mac, wanted));
    }
}

static void times_are_read_strictly(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } row[] = {
        {"1970-01-01", 0},
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T01:00:00+01:00", 0},
        {"2026-11-22T22:00:00.015Z", INT64_C(1795384800015000)},
        {"2026-11-22t22:00:00.015z", INT64_C(1795384800015000)},
        {"2026-11-22 22:00:00.015000+00:00", INT64_C(1795384800015000)},
        {"2026-11-22T17:30:00.015000999-04:30", INT64_C(1795384800015000)},
        {"2024-02-29", INT64_C(1709164800000000)},
        {"2026-02-29", -1},
        {"2026-02-30T00:00:00Z", -1},
        {"1900-01-01", -1},
        {"1970-01-01T00:00:00+01:00", -1}, /* before 1970 */
        {"2026-11-22T24:00:00Z", -1},
        {"2026-11-22T-1:00:00Z", -1},
        {"2026-11-22T+1:00:00Z", -1},
        {"2026-11-22T22:00Z", -1},
        {"2026-11-22T22:00:00", -1},
        {"2026-11-22T22:00:00.Z", -1},
        {"2026-11-22T22:00:00.0123456789Z", -1},
        {"2026-11-22T22:00:00+0100", -1},
        {"2026-11-22T22:00:00Zx", -1},
        {"2026-11-2", -1},
        {" 2026-11-22", -1},
        {"", -1},
    };
    char text[CN_TIME_TEXT];

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++)
        if (cn_time_parse(row[i].text) != row[i].us)
            fail_msg("\"%s\" is read as %lld", row[i].text, (long long)cn_time_parse(row[i].text));
    cn_time_text(INT64_C(1795384800015000), text);
    assert_string_equal(text, "2026-11-22T22:00:00.015Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_checked_strictly),
        cmocka_unit_test(escapes_keep_lines_whole),
        cmocka_unit_test(base64_goes_round),
        cmocka_unit_test(bad_base64_is_refused),
        cmocka_unit_test(sha256_follows_the_standard),
        cmocka_unit_test(paths_are_hidden),
        cmocka_unit_test(numbers_and_hex),
        cmocka_unit_test(hmac_follows_the_standard),
        cmocka_unit_test(times_are_read_strictly),
        cmocka_unit_test(log_lines_are_json),
        cmocka_unit_test(a_flood_of_an_event_is_counted),
        cmocka_unit_test(a_reader_that_stalls_stops_nobody),
        cmocka_unit_test(priorities_for_the_journal),
        cmocka_unit_test(log_lines_have_a_bound),
        cmocka_unit_test(metrics_have_the_text_format),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
