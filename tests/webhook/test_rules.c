/* Which URLs and which addresses a webhook may have: the corpus of ways around such checks. */
#include "base/base.h"
#include "webhook/address.h"
#include "webhook/rules.h"
#include "webhook/settings.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage ss;
    struct sockaddr_in *v4 = (void *)&ss;
    struct sockaddr_in6 *v6 = (void *)&ss;

    memset(&ss, 0, sizeof(ss));
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
        ss.ss_family = AF_INET;
    else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        ss.ss_family = AF_INET6;
    }
    return ss;
}

static bool is_public(const char *text)
{
    struct sockaddr_storage ss = address(text);

    return cn_address_is_public((struct sockaddr *)&ss);
}

static void special_addresses_are_not_public(void **state)
{
    static const char *const special[] = {
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "fc00::1",
        "fd00::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "100::1",
        "5f00::1",
    };
    static const char *const open[] = {
        "1.1.1.1",         "9.255.255.255",        "11.0.0.0",
        "100.63.255.255",  "100.128.0.0",          "126.255.255.255",
        "128.0.0.0",       "172.15.255.255",       "172.32.0.0",
        "192.0.1.1",       "198.17.255.255",       "198.20.0.0",
        "223.255.255.255", "2606:4700:4700::1111", "2a00:1450::1",
        "2002:101:101::1", "64:ff9b::101:101",     "::ffff:8.8.8.8",
    };
    struct sockaddr_storage other = {.ss_family = AF_UNIX};

    (void)state;
    for (size_t i = 0; i < CN_LEN(special); i++)
        if (is_public(special[i]))
            fail_msg("%s counts as public", special[i]);
    for (size_t i = 0; i < CN_LEN(open); i++)
        if (!is_public(open[i]))
            fail_msg("%s does not count as public", open[i]);
    assert_false(cn_address_is_public((struct sockaddr *)&other));
}

static void networks_are_read_strictly(void **state)
{
    static const char *const bad[] = {
        "",
        "10",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/",
        "10.0.0.0/8x",
        "10.0.0.1/8",
        "fd00::/129",
        "fd00::1/16",
        "host",
        "10.0.0.0/8/8",
        "010.0.0.0/8",
        "0x0a.0.0.0/8",
        "169.254.0.0/16",
        "169.254.169.254",
        "fe80::/10",
        "::ffff:169.254.0.0/112",
        "64:ff9b::a9fe:0/112",
        "2002:a9fe::/32",
    };
    struct cn_network n;
    struct sockaddr_storage in = address("10.1.255.255"), out = address("10.2.0.0");
    struct sockaddr_storage mapped = address("::ffff:10.1.0.1"), v6 = address("fd12::7");

    (void)state;
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        struct cn_err err = CN_ERR_INIT;

        if (cn_network_parse(bad[i], &n, &err) != CN_EINVAL || err.msg[0] == '\0')
            fail_msg("\"%s\" is taken", bad[i]);
    }
    assert_int_equal(cn_network_parse("10.1.0.0/16", &n, NULL), CN_OK);
    assert_true(cn_network_has(&n, (struct sockaddr *)&in));
    assert_true(cn_network_has(&n, (struct sockaddr *)&mapped));
    assert_false(cn_network_has(&n, (struct sockaddr *)&out));
    assert_false(cn_network_has(&n, (struct sockaddr *)&v6));
    assert_int_equal(cn_network_parse("fd12::/16", &n, NULL), CN_OK);
    assert_true(cn_network_has(&n, (struct sockaddr *)&v6));
    assert_false(cn_network_has(&n, (struct sockaddr *)&in));
    assert_int_equal(cn_network_parse("0.0.0.0/0", &n, NULL), CN_OK);
    assert_true(cn_network_has(&n, (struct sockaddr *)&out));
    assert_false(cn_network_has(&n, (struct sockaddr *)&v6));
}

static void only_what_is_listed_passes(void **state)
{
    static const struct {
        const char *url;
        int rc;
    } row[] = {
        {"https://hooks.example.org/render", CN_OK},
        {"https://hooks.example.org/render/", CN_OK},
        {"https://HOOKS.example.org:443/render/job?x=1", CN_OK},
        {"https://hooks.example.org/render?x=1", CN_OK},
        {"http://farm.example.org:8080/", CN_OK},
        {"http://farm.example.org:8080/any/path", CN_OK},
        {"https://hooks.example.org/rendering", CN_ENOTFOUND},
        {"https://hooks.example.org/", CN_ENOTFOUND},
        {"https://hooks.example.org/render/../admin", CN_ENOTFOUND},
        {"https://hooks.example.org/render/%2e%2e/admin", CN_EINVAL},
        {"https://hooks.example.org/render/..%2Fadmin", CN_EINVAL},
        {"https://hooks.example.org/render/..%5cadmin", CN_EINVAL},
        {"https://hooks.example.org/render/%252e%252E/admin", CN_EINVAL},
        {"https://hooks.example.org/render/..;/admin", CN_EINVAL},
        {"https://hooks.example.org/render/..;a=b/admin", CN_EINVAL},
        {"https://hooks.example.org/render/a;b", CN_OK},
        {"https://hooks.example.org/render/100%25", CN_OK},
        {"http://hooks.example.org/render", CN_ENOTFOUND},
        {"https://hooks.example.org:444/render", CN_ENOTFOUND},
        {"https://hooks.example.org./render", CN_ENOTFOUND},
        {"https://hooks.example.org.evil.example/render", CN_ENOTFOUND},
        {"https://evil.example/https://hooks.example.org/render", CN_ENOTFOUND},
        {"http://farm.example.org/", CN_ENOTFOUND},
        {"https://hooks.example.org@evil.example/render", CN_EINVAL},
        {"https://user:pw@hooks.example.org/render", CN_EINVAL},
        {"https://hooks.example.org\\@evil.example/render", CN_EINVAL},
        {"http://ok\\@127.0.0.1/", CN_EINVAL},
        {"https://hooks.example.org/render#part", CN_EINVAL},
        {"https://hooks.example.org/render#", CN_EINVAL},
        {"https://hooks.example.org/render?#", CN_EINVAL},
        {"https:/hooks.example.org/render", CN_EINVAL},
        {"https://hooks.example.org/render x", CN_EINVAL},
        {"https://hooks.example.org/render\r\nX: y", CN_EINVAL},
        {"https://h\xc3\xb6.example/render", CN_EINVAL},
        {"//hooks.example.org/render", CN_EINVAL},
        {"hooks.example.org/render", CN_EINVAL},
        {"file:///etc/passwd", CN_EINVAL},
        {"gopher://hooks.example.org/render", CN_EINVAL},
        {"ftp://hooks.example.org/render", CN_EINVAL},
        {"https:///render",
         CN_ENOTFOUND}, /* its host is "render", for the check and for the call */
        {"http://127.0.0.1/", CN_ENOTFOUND},
        {"http://2130706433/", CN_ENOTFOUND},
        {"http://0x7f.1/", CN_ENOTFOUND},
        {"http://[::1]/", CN_ENOTFOUND},
        {"http://[::ffff:7f00:1]/", CN_ENOTFOUND},
        {"http://localhost./", CN_ENOTFOUND},
        {"", CN_EINVAL},
    };
    struct cn_webhook_rules *r = NULL, *none = NULL;
    char long_url[CN_WEBHOOK_URL + 8];

    (void)state;
    assert_int_equal(
        cn_webhook_rules_new("https://hooks.example.org/render http://farm.example.org:8080/", "",
                             &r, NULL),
        CN_OK);
    for (size_t i = 0; i < CN_LEN(row); i++) {
        struct cn_err err = CN_ERR_INIT;
        int rc = cn_webhook_rules_check(r, row[i].url, &err);

        if (rc != row[i].rc)
            fail_msg("%s: %d (%s)", row[i].url, rc, err.msg);
    }
    memset(long_url, 'a', sizeof(long_url));
    memcpy(long_url, "http://farm.example.org:8080/", 29);
    long_url[CN_WEBHOOK_URL - 1] = '\0';
    assert_int_equal(cn_webhook_rules_check(r, long_url, NULL), CN_OK);
    long_url[CN_WEBHOOK_URL - 1] = 'a';
    long_url[CN_WEBHOOK_URL] = '\0';
    assert_int_equal(cn_webhook_rules_check(r, long_url, NULL), CN_EINVAL);
    assert_true(cn_webhook_rules_allow_any(r));
    cn_webhook_rules_free(r);

    assert_int_equal(cn_webhook_rules_new("", "", &none, NULL), CN_OK);
    assert_false(cn_webhook_rules_allow_any(none));
    assert_int_equal(cn_webhook_rules_check(none, "https://hooks.example.org/", NULL),
                     CN_ENOTFOUND);
    cn_webhook_rules_free(none);
}

static void bad_rules_are_named(void **state)
{
    struct cn_webhook_rules *r;
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    assert_int_equal(cn_webhook_rules_new("https://a.example/ ftp://b.example/", "", &r, &err),
                     CN_EINVAL);
    assert_non_null(strstr(err.msg, "ftp://b.example/"));
    err = (struct cn_err)CN_ERR_INIT;
    assert_int_equal(cn_webhook_rules_new("https://a.example/", "10.0.0.1/8", &r, &err), CN_EINVAL);
    assert_non_null(strstr(err.msg, "10.0.0.1/8"));
}

static void addresses_pass_by_network(void **state)
{
    static const char *const wrapped[] = {"::ffff:a9fe:a9fe",   "::a9fe:a9fe",
                                          "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe",
                                          "2002:a9fe:a9fe::1",  "fe80::1"};
    struct cn_webhook_rules *r;
    struct sockaddr_storage home = address("10.1.2.3"), other = address("10.9.2.3"),
                            out = address("1.1.1.1"), cloud = address("169.254.169.254");

    (void)state;
    assert_int_equal(cn_webhook_rules_new("", "10.1.0.0/16", &r, NULL), CN_OK);
    assert_true(cn_webhook_rules_pass(r, (struct sockaddr *)&home));
    assert_true(cn_webhook_rules_pass(r, (struct sockaddr *)&out));
    assert_false(cn_webhook_rules_pass(r, (struct sockaddr *)&other));
    assert_false(cn_webhook_rules_pass(r, (struct sockaddr *)&cloud));
    cn_webhook_rules_free(r);
    assert_int_equal(cn_webhook_rules_new("", "0.0.0.0/0 ::/0", &r, NULL), CN_OK);
    assert_false(cn_webhook_rules_pass(r, (struct sockaddr *)&cloud));
    for (size_t i = 0; i < CN_LEN(wrapped); i++) {
        struct sockaddr_storage a = address(wrapped[i]);

        if (cn_webhook_rules_pass(r, (struct sockaddr *)&a))
            fail_msg("%s passes", wrapped[i]);
    }
    cn_webhook_rules_free(r);
}

static int load_secret(const char *text, size_t *ret_len, struct cn_err *err)
{
    char path[] = "/tmp/cn-secret-XXXXXX";
    struct cn_webhook_settings s = {.allow = "https://a.example/",
                                    .networks = "",
                                    .secret_file = path,
                                    .timeout_s = 1,
                                    .give_up_s = 1};
    struct cn_webhook_secret secret;
    struct cn_webhook_rules *rules;
    int fd = mkstemp(path), rc;

    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    *err = (struct cn_err)CN_ERR_INIT;
    rc = cn_webhook_settings_load(&s, &rules, &secret, err);
    unlink(path);
    if (rc < 0)
        return rc;
    assert_true(cn_webhook_rules_allow_any(rules));
    *ret_len = secret.len;
    cn_webhook_rules_free(rules);
    cn_webhook_secret_clear(&secret);
    assert_int_equal(secret.len, 0);
    return rc;
}

static void secrets_have_one_form(void **state)
{
    static const char *const bad[] = {
        "",
        "whsec_",
        "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY=",           /* 23 bytes */
        "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZW", /* no padding */
        "whsec_MDEyMzQ1Njc4OWFi Y2RlZjAxMjM0NTY3ODlhYmNkZWY="};
    struct cn_webhook_settings off = {.allow = " ", .networks = "", .secret_file = ""};
    struct cn_webhook_secret secret;
    struct cn_webhook_rules *rules;
    struct cn_err err;
    size_t len = 0;

    (void)state;
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        assert_int_equal(load_secret(bad[i], &len, &err), CN_EINVAL);
        assert_non_null(strstr(err.msg, "webhook.secret_file"));
        assert_null(strstr(err.msg, "MDEy"));
    }
    assert_int_equal(load_secret("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3", &len, &err), CN_OK);
    assert_int_equal(len, 24);
    assert_int_equal(
        load_secret("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\r\n", &len, &err), CN_OK);
    assert_int_equal(len, 32);
    assert_int_equal(cn_webhook_settings_load(&off, &rules, &secret, NULL), CN_OK);
    assert_int_equal(secret.len, 0);
    cn_webhook_rules_free(rules);
    off.networks = "x";
    assert_int_equal(cn_webhook_settings_load(&off, &rules, &secret, &err), CN_EINVAL);
    assert_non_null(strstr(err.msg, "webhook.networks: \"x\": "));
}

static void hosts_are_read(void **state)
{
    static const char *const row[][2] = {{"https://a.example/x", "a.example"},
                                         {"http://127.0.0.1:80/", "127.0.0.1"},
                                         {"http://[::1]:80/", "[::1]"},
                                         {"nothing of it", ""}};

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        char *host = cn_webhook_host(row[i][0]);

        assert_string_equal(host, row[i][1]);
        free(host);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(special_addresses_are_not_public),
        cmocka_unit_test(networks_are_read_strictly),
        cmocka_unit_test(only_what_is_listed_passes),
        cmocka_unit_test(bad_rules_are_named),
        cmocka_unit_test(addresses_pass_by_network),
        cmocka_unit_test(secrets_have_one_form),
        cmocka_unit_test(hosts_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
