/* Keys, tickets, brakes and what is made of them: who may ask for what. */
#include "base/base.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "http/auth/guard.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static const int64_t second = INT64_C(1000000000);

/* ---- the file ---- */

static void keys(void **state)
{
    char path[] = "/tmp/cn-keys-XXXXXX";
    static const char good[] =
        "# x\n\nanna:0123456789abcdef\r\n"
        "bert:sha256=22C2E3A72F2CF1BB8DD9FA4B1B6BAFE7E31CCA6D1BF3FDBE5E0E0C4A5E5E5E5E "
        "tenant=studio weight=3\n"
        "carl:fedcba9876543210 tenant=studio  max_queued=7 role=admin\n"
        "dora:fedcba9876543211\ttenant=studio max_running=0 max_priority=-3";
    static const char *const bad[] = {"",
                                      "# x\n",
                                      "anna\n",
                                      ":0123456789abcdef",
                                      "a b:0123456789abcdef",
                                      "anna:short",
                                      "anna:sha256=12",
                                      "anna:0123456789abcdef x",
                                      "anna:0123456789abcdef x=1",
                                      "anna:0123456789abcdef weight=0",
                                      "anna:0123456789abcdef weight=1x",
                                      "anna:0123456789abcdef role=root",
                                      "anna:0123456789abcdef tenant=",
                                      "a:0123456789abcdef\nb:0123456789abcdef",
                                      "a:0123456789abcdef tenant=t weight=1\n"
                                      "b:0123456789abcdeg tenant=t weight=2"};
    const struct cn_tenant_limits preset = CN_TENANT_DEFAULTS;
    struct cn_err err = CN_ERR_INIT;
    struct cn_tenant_rule *rule;
    struct cn_keys k;
    size_t n;

    (void)state;
    close(mkstemp(path));
    assert_int_equal(cn_file_write(path, good, strlen(good), NULL), CN_OK);
    assert_int_equal(cn_keys_load(&k, path, &err), CN_OK);
    assert_string_equal(cn_keys_check(&k, "Bearer 0123456789abcdef")->name, "anna");
    assert_string_equal(cn_keys_check(&k, "bearer 0123456789abcdef")->tenant, "anna");
    assert_string_equal(cn_keys_check(&k, "fedcba9876543210")->tenant, "studio");
    assert_true(cn_keys_check(&k, "fedcba9876543210")->scopes & CN_SCOPE_ADMIN);
    assert_false(cn_keys_check(&k, "fedcba9876543211")->scopes & CN_SCOPE_ADMIN);
    for (size_t i = 1; i < 4; i++) { /* the limits are the tenant's */
        assert_int_equal(k.key[i].weight, 3);
        assert_int_equal(k.key[i].max_queued, 7);
        assert_int_equal(k.key[i].max_priority, -3);
    }
    assert_int_equal(k.key[0].weight, CN_KEY_UNSET);
    cn_keys_rules(&k, &preset, &rule, &n);
    assert_int_equal(n, 2);
    assert_string_equal(rule[1].name, "studio");
    assert_true(rule[0].limits.weight == 1 && rule[1].limits.weight == 3);
    assert_int_equal(rule[0].limits.max_queued, 5000);
    assert_int_equal(rule[1].limits.max_queued, 7);
    free(rule);
    assert_null(cn_keys_check(&k, NULL));
    assert_null(cn_keys_check(&k, ""));
    assert_null(cn_keys_check(&k, "Bearer "));
    assert_null(cn_keys_check(&k, "Bearer 0123456789abcdeF"));
    assert_null(cn_keys_check(&k, "0123456789abcdef0123456789abcdef"));
    cn_keys_release(&k);
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        cn_file_write(path, bad[i], strlen(bad[i]), NULL);
        if (cn_keys_load(&k, path, NULL) == CN_OK)
            fail_msg("accepted: %s", bad[i]);
    }
    unlink(path);
}

/* A digest stands for its key. */
static void keys_by_digest(void **state)
{
    char path[] = "/tmp/cn-keys-XXXXXX";
    static const char text[] =
        "anna:sha256=9F9F5111F7B27A781F1F1DDDE5EBC2DD2B796BFC7365C9C28B548E564176929F";
    struct cn_keys k;

    (void)state;
    close(mkstemp(path));
    assert_int_equal(cn_file_write(path, text, strlen(text), NULL), CN_OK);
    assert_int_equal(cn_keys_load(&k, path, NULL), CN_OK);
    assert_string_equal(cn_keys_check(&k, "Bearer 0123456789abcdef")->name, "anna");
    assert_null(cn_keys_check(&k, text + 12));
    cn_keys_release(&k);
    unlink(path);
}

static void options_of_keys(void **state)
{
    static const char text[] = "a:0123456789abcdef id=ab12 scopes=submit,read models=m1,m2 "
                               "expires=2027-01-31 created=2026-01-31T12:30:00Z "
                               "requests_per_minute=5 tenant=t\n"
                               "b:0123456789abcdeg scopes=admin\n"
                               "c:0123456789abcdeh role=user\n"
                               "d:0123456789abcdei scopes=metrics\n";
    static const char *const bad[] = {"a:0123456789abcdef scopes=",
                                      "a:0123456789abcdef scopes=submit,",
                                      "a:0123456789abcdef scopes=Read",
                                      "a:0123456789abcdef expires=soon",
                                      "a:0123456789abcdef expires=2027-01-31T12:00",
                                      "a:0123456789abcdef expires=2027-13-31",
                                      "a:0123456789abcdef models=",
                                      "a:0123456789abcdef models=a,,b",
                                      "a:0123456789abcdef requests_per_minute=0",
                                      "a:0123456789abcdef id=a b=1",
                                      "a:0123456789abcdef id=x\nb:0123456789abcdeg id=x"};
    struct cn_keys k;
    char words[40];

    (void)state;
    assert_int_equal(cn_keys_parse(&k, "f", text, strlen(text), NULL), CN_OK);
    assert_int_equal(k.key[0].scopes, CN_SCOPE_SUBMIT | CN_SCOPE_READ);
    assert_string_equal(k.key[0].models, "m1,m2");
    assert_true(k.key[0].expires_s == 1801353600 && k.key[0].created_s == 1769862600);
    assert_int_equal(k.key[0].requests_per_minute, 5);
    assert_true(k.key[0].is_plain);
    assert_int_equal(k.key[1].scopes, CN_SCOPE_ALL);
    assert_int_equal(k.key[2].scopes, CN_SCOPE_USER);
    assert_ptr_equal(cn_keys_find(&k, "ab12"), &k.key[0]);
    assert_ptr_equal(cn_keys_find(&k, "b"), &k.key[1]);
    assert_null(cn_keys_find(&k, "a")); /* it has an id */
    for (size_t i = 0; i < k.n; i++) {
        cn_scopes_write(k.key[i].scopes, words, sizeof(words));
        assert_int_equal(cn_scopes_read(words), k.key[i].scopes);
    }
    cn_keys_release(&k);
    for (size_t i = 0; i < CN_LEN(bad); i++)
        if (cn_keys_parse(&k, "f", bad[i], strlen(bad[i]), NULL) == CN_OK)
            fail_msg("accepted: %s", bad[i]);
    assert_true(cn_keys_parse(&k, "f", "\0\0\0\0", 4, NULL) < 0);
    /* the last one was revoked, against: the file was cut */
    assert_int_equal(cn_keys_parse(&k, "f", CN_KEYS_HEADER, strlen(CN_KEYS_HEADER), NULL), CN_OK);
    assert_int_equal(k.n, 0);
    cn_keys_release(&k);
    assert_true(cn_keys_parse(&k, "f", CN_KEYS_HEADER, 10, NULL) < 0);
}

static void basic(const struct cn_keys *k, const char *pair, bool good)
{
    char text[256];
    struct cn_buf b;

    cn_buf_init(&b, 256);
    cn_base64_encode(&b, pair, strlen(pair), NULL);
    snprintf(text, sizeof(text), "Basic %s", b.data == NULL ? "" : (const char *)b.data);
    if ((cn_keys_check(k, text) != NULL) != good)
        fail_msg("%s", pair);
    cn_buf_release(&b);
}

static void carriers_of_keys(void **state)
{
    static const char text[] = "a:0123456789:abcdef";
    struct cn_keys k;

    (void)state;
    assert_int_equal(cn_keys_parse(&k, "f", text, strlen(text), NULL), CN_OK);
    basic(&k, "anybody:0123456789:abcdef", true);
    basic(&k, ":0123456789:abcdef", true);
    basic(&k, "0123456789:abcdef", false);
    basic(&k, "anybody:x", false);
    basic(&k, "anybody", false);
    basic(&k, "", false);
    assert_null(cn_keys_check(&k, "Basic "));
    assert_null(cn_keys_check(&k, "Basic ????"));
    cn_keys_release(&k);
    assert_int_equal(cn_keys_parse(&k, "f", "a:0123456789abcdef", 18, NULL), CN_OK);
    basic(&k, "0123456789abcdef:", true); /* curl -u KEY: */
    cn_keys_release(&k);
}

/* ---- tickets ---- */

static void tickets(void **state)
{
    char path[] = "/tmp/cn-secret-XXXXXX", text[CN_TICKET_TEXT], changed[CN_TICKET_TEXT];
    struct cn_ticket t = {CN_TICKET_EVENTS, 1000, "anna", "studio", "j1"}, r;
    struct cn_ticket_secret a, b;
    struct stat st;

    (void)state;
    close(mkstemp(path));
    unlink(path);
    assert_int_equal(cn_ticket_secret_load(&a, path, NULL), CN_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(cn_ticket_secret_load(&b, path, NULL), CN_OK);
    assert_memory_equal(&a, &b, sizeof(a)); /* it lasts */
    cn_ticket_issue(&a, &t, text);
    r = (struct cn_ticket){.tenant = "studio", .job = "j1"};
    assert_true(cn_ticket_read(text, &r));
    assert_string_equal(r.key, "anna");
    for (int k = 0; k < 3; k++) /* as often as one likes */
        assert_true(cn_ticket_is_valid(&b, text, &r, 999));
    assert_false(cn_ticket_is_valid(&b, text, &r, 1000));
    r.job = "j2";
    assert_false(cn_ticket_is_valid(&b, text, &r, 999));
    r.job = "j1";
    r.tenant = "other";
    assert_false(cn_ticket_is_valid(&b, text, &r, 999));
    for (size_t i = 0; i < strlen(text); i++) { /* no byte may be another one */
        memcpy(changed, text, sizeof(changed));
        changed[i] = changed[i] == '1' ? '2' : '1';
        r = (struct cn_ticket){.tenant = "studio", .job = "j1"};
        if (cn_ticket_read(changed, &r) && cn_ticket_is_valid(&b, changed, &r, 999))
            fail_msg("%s", changed);
    }
    assert_false(cn_ticket_read("", &r));
    assert_false(cn_ticket_read("e~", &r));
    assert_false(cn_ticket_read("e~1~", &r));
    unlink(path);
    assert_true(cn_ticket_secret_load(&b, "/nonexistent/secret", NULL) < 0); /* one of its own */
    r = (struct cn_ticket){.tenant = "studio", .job = "j1"};
    assert_true(cn_ticket_read(text, &r));
    assert_false(cn_ticket_is_valid(&b, text, &r, 999));
}

/* ---- addresses ---- */

static struct cn_peer peer(const char *text)
{
    struct cn_peer p;

    if (strcmp(text, "unix") == 0)
        return (struct cn_peer){.is_unix = true};
    assert_true(cn_peer_read(text, strlen(text), &p));
    return p;
}

static void addresses_behind_proxies(void **state)
{
    static const struct {
        const char *from, *forwarded, *proxies, *client;
    } row[] = {
        {"192.0.2.1", "198.51.100.7", "", "192.0.2.1"},
        {"192.0.2.1", "198.51.100.7", "10.0.0.0/8", "192.0.2.1"},
        {"10.1.2.3", "198.51.100.7", "10.0.0.0/8", "198.51.100.7"},
        {"10.1.2.3", "evil, 203.0.113.9 , 198.51.100.7", "10.0.0.0/8", "198.51.100.7"},
        {"10.1.2.3", "203.0.113.9,198.51.100.7,10.9.9.9", "10.0.0.0/8", "198.51.100.7"},
        {"10.1.2.3", "10.4.4.4, 10.5.5.5", "10.0.0.0/8", "10.4.4.4"},
        {"10.1.2.3", "unknown", "10.0.0.0/8", "10.1.2.3"},
        {"10.1.2.3", "", "10.0.0.0/8", "10.1.2.3"},
        {"10.1.2.3", NULL, "10.0.0.0/8", "10.1.2.3"},
        {"11.1.2.3", "198.51.100.7", "10.0.0.0/8 11.1.2.2/31", "198.51.100.7"},
        {"11.1.2.4", "198.51.100.7", "10.0.0.0/8 11.1.2.2/31", "11.1.2.4"},
        {"10.1.2.3", "[2001:db8::5]:4711", "10.1.2.3", "2001:db8::5"},
        {"10.1.2.3", "198.51.100.7:99", "10.1.2.3", "198.51.100.7"},
        {"::1", "198.51.100.7", "::1 fd00::/8", "198.51.100.7"},
        {"fdab::1", "2001:db8::5", "::1, fd00::/8", "2001:db8::5"},
        {"unix", "198.51.100.7", "unix", "198.51.100.7"},
        {"unix", "198.51.100.7", "127.0.0.1", "unix"},
        {"::ffff:10.1.2.3", "198.51.100.7", "10.0.0.0/8", "198.51.100.7"},
    };
    static const char *const bad[] = {"10.0.0.0/33", "10.0.0",     "fd00::/129", "10.0.0.0/",
                                      "name",        "10.0.0.0/x", "10.0.0.1 *"};
    char text[CN_PEER_TEXT];

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        struct cn_peer p = peer(row[i].from);

        cn_peer_resolve(&p, row[i].forwarded, row[i].proxies);
        cn_peer_write(&p, text);
        if (strcmp(text, row[i].client) != 0)
            fail_msg("%zu: %s, not %s", i, text, row[i].client);
        assert_int_equal(cn_peer_check_list(row[i].proxies, NULL), CN_OK);
    }
    for (size_t i = 0; i < CN_LEN(bad); i++)
        assert_int_equal(cn_peer_check_list(bad[i], NULL), CN_EINVAL);
    for (int k = 0; k < 2; k++) { /* what tells clients apart */
        struct cn_peer a = peer("2001:db8::1"),
                       b = peer(k ? "2001:db8::ffff:1" : "2001:db8:0:1::1");

        assert_int_equal(cn_peer_key(&a) == cn_peer_key(&b), k);
        a = peer("192.0.2.1");
        b = peer(k ? "192.0.2.1:80" : "192.0.2.2");
        assert_int_equal(cn_peer_key(&a) == cn_peer_key(&b), k);
    }
}

/* ---- brakes ---- */

static void wrong_keys(void **state)
{
    struct cn_throttle t;

    (void)state;
    cn_throttle_init(&t);
    for (int i = 0; i < CN_WRONG_KEYS; i++)
        assert_int_equal(cn_throttle_wrong(&t, 7, second + i), 0);
    assert_int_equal(cn_throttle_wrong(&t, 7, 31 * second), 30);
    assert_int_equal(cn_throttle_wrong(&t, 8, 31 * second), 0);
    assert_int_equal(cn_throttle_wrong(&t, 7, 61 * second), 0); /* the next minute */
    for (uint64_t i = 0; i < 100000; i++)                       /* the table does not grow */
        assert_int_equal(cn_throttle_wrong(&t, 100 + i, 62 * second), 0);
    cn_throttle_release(&t);
}

static void requests_of_a_key(void **state)
{
    struct cn_keys k, again;
    struct cn_rate r;
    static const char text[] = "a:0123456789abcdef requests_per_minute=3\nb:0123456789abcdeg";

    (void)state;
    assert_int_equal(cn_keys_parse(&k, "f", text, strlen(text), NULL), CN_OK);
    assert_true(cn_rate_take(&k.key[1], second, &r) && r.limit == 0);
    for (int i = 0; i < 3; i++)
        assert_true(cn_rate_take(&k.key[0], (10 + i) * second, &r) && r.left == 2 - i);
    assert_int_equal(cn_keys_parse(&again, "f", text, strlen(text), NULL), CN_OK);
    cn_keys_keep_counts(&again, &k); /* a reload does not give the minute back */
    assert_false(cn_rate_take(&again.key[0], 20 * second, &r));
    assert_true(r.limit == 3 && r.left == 0 && r.reset_s == 50);
    assert_true(cn_rate_take(&again.key[0], 70 * second, &r) && r.left == 2);
    cn_keys_release(&k);
    cn_keys_release(&again);
}

/* ---- the verdict ---- */

static const char guard_keys[] = "u:user-key-000000000 scopes=submit,read models=m1,m2\n"
                                 "m:metrics-key-00000000 scopes=metrics\n"
                                 "r:admin-key-0000000000 role=admin tenant=ops\n"
                                 "o:old-key-000000000000 expires=2020-01-01\n";

static void verdicts(void **state)
{
    static const struct {
        const char *key; /* NULL: none */
        unsigned scope;
        bool open;
        enum cn_guard_verdict verdict;
        const char *tenant;
        unsigned scopes;
    } row[] = {
        {NULL, CN_SCOPE_READ, false, CN_GUARD_NONE, "anonymous", 0},
        {NULL, CN_SCOPE_READ, true, CN_GUARD_OK, "anonymous", 0},
        {"nobody-key-00000", CN_SCOPE_READ, false, CN_GUARD_WRONG, "anonymous", 0},
        {"nobody-key-00000", CN_SCOPE_READ, true, CN_GUARD_OK, "anonymous", 0},
        {"", CN_SCOPE_READ, false, CN_GUARD_WRONG, "anonymous", 0},
        {"old-key-000000000000", CN_SCOPE_READ, false, CN_GUARD_EXPIRED, "anonymous", 0},
        {"old-key-000000000000", CN_SCOPE_READ, true, CN_GUARD_OK, "anonymous", 0},
        {"user-key-000000000", CN_SCOPE_READ, false, CN_GUARD_OK, "u", 3},
        {"user-key-000000000", CN_SCOPE_SUBMIT, false, CN_GUARD_OK, "u", 3},
        {"user-key-000000000", CN_SCOPE_METRICS, false, CN_GUARD_SCOPE, "u", 3},
        {"user-key-000000000", CN_SCOPE_ADMIN, false, CN_GUARD_SCOPE, "u", 3},
        {"user-key-000000000", CN_SCOPE_ADMIN, true, CN_GUARD_OK, "u", 3},
        {"metrics-key-00000000", CN_SCOPE_METRICS, false, CN_GUARD_OK, "m", 4},
        {"metrics-key-00000000", CN_SCOPE_READ, false, CN_GUARD_SCOPE, "m", 4},
        {"admin-key-0000000000", CN_SCOPE_ADMIN, false, CN_GUARD_OK, "ops", 15},
        {"admin-key-0000000000", CN_SCOPE_SUBMIT, false, CN_GUARD_OK, "ops", 15},
    };
    struct cn_guard_identity who;
    struct cn_guard g;
    struct cn_keys k;

    (void)state;
    cn_guard_init(&g);
    assert_int_equal(cn_keys_parse(&k, "f", guard_keys, strlen(guard_keys), NULL), CN_OK);
    for (size_t i = 0; i < CN_LEN(row); i++)
        for (int with_keys = 1; with_keys >= 0; with_keys--) {
            struct cn_guard_request q = {.credentials = row[i].key,
                                         .is_open = row[i].open,
                                         .scope = row[i].scope,
                                         .now_ns = (int64_t)(i + 1) * 100 * second,
                                         .wall_s = 1700000000};
            enum cn_guard_verdict v;

            g.keys = with_keys ? &k : NULL;
            v = cn_guard_check(&g, &q, &who);
            if (!with_keys) { /* everybody may do everything */
                assert_int_equal(v, CN_GUARD_OK);
                assert_int_equal(who.scopes, CN_SCOPE_ALL);
            } else if (v != row[i].verdict || strcmp(who.tenant, row[i].tenant) != 0 ||
                       who.scopes != row[i].scopes) {
                fail_msg("%zu: %d %s %u", i, v, who.tenant, who.scopes);
            }
        }
    assert_true(cn_guard_allows_model("m1,m2", "m2") && cn_guard_allows_model(NULL, "x"));
    assert_false(cn_guard_allows_model("m1,m2", "m") || cn_guard_allows_model("m1,m2", "m1,m2"));
    cn_keys_release(&k);
    cn_guard_release(&g);
}

/* Right keys are never refused for the wrong ones of their neighbours. */
static void guessing(void **state)
{
    struct cn_guard_request q = {.credentials = "nobody-key-00000", .scope = CN_SCOPE_READ};
    struct cn_guard_identity who;
    struct cn_guard g;
    struct cn_keys k;

    (void)state;
    cn_guard_init(&g);
    assert_int_equal(cn_keys_parse(&k, "f", guard_keys, strlen(guard_keys), NULL), CN_OK);
    g.keys = &k;
    q.peer = peer("192.0.2.1");
    for (int i = 0; i < 50; i++) {
        q.now_ns = second + i;
        q.credentials = "nobody-key-00000";
        assert_int_equal(cn_guard_check(&g, &q, &who),
                         i < CN_WRONG_KEYS ? CN_GUARD_WRONG : CN_GUARD_GUESSING);
        assert_int_equal(who.retry_after_s, i < CN_WRONG_KEYS ? 0 : 60);
        q.credentials = "user-key-000000000";
        assert_int_equal(cn_guard_check(&g, &q, &who), CN_GUARD_OK);
        q.credentials = NULL;
        assert_int_equal(cn_guard_check(&g, &q, &who), CN_GUARD_NONE);
    }
    q.credentials = "nobody-key-00000";
    q.peer = peer("192.0.2.2");
    assert_int_equal(cn_guard_check(&g, &q, &who), CN_GUARD_WRONG);
    cn_keys_release(&k);
    cn_guard_release(&g);
}

static void tickets_end_with_their_key(void **state)
{
    struct cn_guard_request q = {.credentials = "user-key-000000000", .scope = CN_SCOPE_READ};
    const char *second_line = strchr(guard_keys, '\n') + 1;
    struct cn_guard_identity who;
    char text[CN_TICKET_TEXT];
    struct cn_guard g;
    struct cn_keys k, fewer;

    (void)state;
    cn_guard_init(&g);
    assert_int_equal(cn_keys_parse(&k, "f", guard_keys, strlen(guard_keys), NULL), CN_OK);
    g.keys = &k;
    assert_int_equal(cn_guard_check(&g, &q, &who), CN_GUARD_OK);
    cn_guard_issue(&g, &who, CN_TICKET_EVENTS, "j1", 1700000000 + CN_TICKET_TTL_S, text);
    q = (struct cn_guard_request){
        .ticket = text, .purpose = CN_TICKET_EVENTS, .job = "j1", .wall_s = 1700000001};
    assert_int_equal(cn_guard_check(&g, &q, &who), CN_GUARD_OK);
    assert_string_equal(who.tenant, "u");
    q.purpose = CN_TICKET_RESULTS;
    assert_int_equal(cn_guard_check(&g, &q, &who), CN_GUARD_TICKET);
    q.purpose = CN_TICKET_EVENTS;
    assert_int_equal(cn_keys_parse(&fewer, "f", second_line, strlen(second_line), NULL), CN_OK);
    g.keys = &fewer;
    assert_int_equal(cn_guard_check(&g, &q, &who), CN_GUARD_TICKET);
    cn_keys_release(&k);
    cn_keys_release(&fewer);
    cn_guard_release(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys),
        cmocka_unit_test(keys_by_digest),
        cmocka_unit_test(options_of_keys),
        cmocka_unit_test(carriers_of_keys),
        cmocka_unit_test(tickets),
        cmocka_unit_test(addresses_behind_proxies),
        cmocka_unit_test(wrong_keys),
        cmocka_unit_test(requests_of_a_key),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(guessing),
        cmocka_unit_test(tickets_end_with_their_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
