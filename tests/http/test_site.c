/* Web pages: every combination of Origin, Host, method, keys and kind of socket has one verdict,
 * written here by another rule than the code's: as tables of what each Host stands for. */
#include "base/base.h"
#include "http/auth/site.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char hosts[] = "gpu.example, Other.Example:8443 [fd00::5]";
static const char origins[] = "https://pages.example http://localhost:3000";

/* Host: is it one that needs no key, and which of the origins below are its own (by index)? */
static const struct {
    const char *text;
    bool local;
    int own[4]; /* -1: no more */
} host_table[] = {
    {NULL, true, {-1}}, /* HTTP/1.0: no browser */
    {"127.0.0.1:8080", true, {0, -1}},
    {"127.0.0.1", true, {1, 2, -1}},
    {"localhost:8080", true, {3, 4, -1}},
    {"LOCALHOST:8080", true, {3, 4, -1}},
    {"localhost", true, {5, 6, -1}},
    {"localhost:", true, {5, 6, -1}},
    {"[::1]:8080", true, {7, -1}},
    {"10.1.2.3:80", true, {-1}},
    {"gpu.example", true, {8, 9, -1}},
    {"GPU.example:8080", true, {10, -1}},
    {"other.example:8443", true, {11, -1}},
    {"other.example", false, {-1}},
    {"other.example:8080", false, {-1}},
    {"[fd00::5]:1", true, {-1}},
    {"evil.example", false, {12, 13, -1}},
    {"evil.example:8080", false, {14, -1}},
    {"localhost.evil.example", false, {-1}},
    {"127.0.0.1.evil.example", false, {-1}},
    {"localhost:8080:9", false, {-1}},
    {"127.1", false, {-1}},
    {"0x7f.0.0.1", false, {-1}},
    {"::1", false, {-1}},
    {"[::1", false, {-1}},
    {"[localhost]", false, {-1}},
    {"[127.0.0.1]", false, {-1}},
    {"localhost:99999", false, {-1}},
    {"user@localhost", false, {-1}},
    {"localhost/x", false, {-1}},
    {"", false, {-1}},
};

static const char *const origin_table[] = {
    "http://127.0.0.1:8080",
    "http://127.0.0.1",
    "https://127.0.0.1",
    "http://localhost:8080",
    "https://localhost:8080",
    "http://localhost",
    "https://localhost:443",
    "http://[::1]:8080",
    "https://gpu.example",
    "http://gpu.example:80",
    "http://gpu.example:8080",
    "https://other.example:8443",
    "http://evil.example",
    "https://evil.example:443",
    "http://evil.example:8080",
    /* of no Host here */
    "null",
    "",
    "http://",
    "ftp://localhost:8080",
    "chrome-extension://abcdef",
    "http://localhost:8081",
    "https://pages.example:444",
    "http://pages.example",
    "http://localhost:8080/",
    "http://localhost:8080 x",
    "http://user@localhost:8080",
    "http://127.0.0.1.evil.example:8080",
    "localhost:8080",
    "HTTP://localhost:8080",
    /* allowed for every Host */
    "https://pages.example",
    "http://localhost:3000",
};

enum { N_LISTED = 2 }; /* the last ones */

static bool is_own(size_t host, size_t origin)
{
    for (int k = 0; host_table[host].own[k] >= 0; k++)
        if ((size_t)host_table[host].own[k] == origin)
            return true;
    return false;
}

static enum cn_site_verdict expected(size_t h, size_t o, bool changes, bool keys, bool over_unix)
{
    bool listed = o >= CN_LEN(origin_table) - N_LISTED;

    if (!keys && !over_unix && !host_table[h].local)
        return CN_SITE_HOST;
    return !changes || listed || is_own(h, o) ? CN_SITE_OK : CN_SITE_ORIGIN;
}

static void every_cell(void **state)
{
    int cells = 0;

    (void)state;
    for (size_t h = 0; h < CN_LEN(host_table); h++)
        for (size_t o = 0; o <= CN_LEN(origin_table); o++)
            for (int bits = 0; bits < 8; bits++) {
                bool none = o == CN_LEN(origin_table); /* no Origin: no page, or a read */
                struct cn_site_request q = {host_table[h].text, none ? NULL : origin_table[o],
                                            bits & 1, bits & 2};
                struct cn_site_rules r = {bits & 4, hosts, origins};
                enum cn_site_verdict want =
                    expected(h, o, q.changes && !none, r.has_keys, q.over_unix);

                if (cn_site_check(&q, &r) != want)
                    fail_msg("Host \"%s\" Origin \"%s\" changes %d unix %d keys %d: %d, not %d",
                             q.host, q.origin, q.changes, q.over_unix, r.has_keys,
                             cn_site_check(&q, &r), want);
                cells++;
            }
    assert_int_equal(cells, CN_LEN(host_table) * (CN_LEN(origin_table) + 1) * 8);
}

static void lists_of_names(void **state)
{
    static const char *const bad[] = {"http://a.example", "*", "*.example", "a/b", ":80", "a:x",
                                      "good.example bad/"};

    (void)state;
    assert_int_equal(cn_site_check_hosts("", NULL), CN_OK);
    assert_int_equal(cn_site_check_hosts(hosts, NULL), CN_OK);
    for (size_t i = 0; i < CN_LEN(bad); i++)
        assert_int_equal(cn_site_check_hosts(bad[i], NULL), CN_EINVAL);
    assert_true(cn_site_is_listed("null", "*"));
    assert_false(cn_site_is_listed("https://a", "https://a.b, https://ab"));
    assert_true(cn_site_is_listed("https://a", "https://a.b, https://a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell),
        cmocka_unit_test(lists_of_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
