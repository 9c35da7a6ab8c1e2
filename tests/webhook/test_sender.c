/* Webhooks against a receiver on the same loop: signed, bounded, cut when asked to. */
#include "base/base.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/hmac.h"
#include "webhook/sender.h"
#include "receiver.h"

#include <dlfcn.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <uv.h>

enum { MESSAGES = 24, SECRET_LEN = 24 };

static const char secret[SECRET_LEN + 1] = "abcdefghijklmnopqrstuvwx";

static struct receiver receiver;

static int start(void **state)
{
    (void)state;
    receiver_start(&receiver);
    receiver.status = RECEIVER_BY_PATH;
    receiver.retry_after_s = 7200;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    receiver_stop(&receiver);
    return 0;
}

/* ---- the sender's side ---- */

struct told {
    int n;
    struct cn_webhook_result last;
    char reason[160];
};

static void on_done(void *arg, const struct cn_webhook_result *result)
{
    struct told *t = arg;

    t->n++;
    t->last = *result;
    snprintf(t->reason, sizeof(t->reason), "%s", result->reason);
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static struct cn_webhook_rules *rules_for(const char *networks)
{
    struct cn_webhook_rules *r;
    char allow[64];

    snprintf(allow, sizeof(allow), "http://127.0.0.1:%d/", receiver.port);
    assert_int_equal(cn_webhook_rules_new(allow, networks, &r, NULL), CN_OK);
    return r;
}

static struct cn_webhook_sender *sender_for(const struct cn_webhook_rules *rules, int timeout_ms)
{
    struct cn_webhook_options o = CN_WEBHOOK_DEFAULTS;

    o.loop = &receiver.loop;
    o.rules = rules;
    o.timeout_ms = timeout_ms;
    return cn_webhook_sender_new(&o);
}

static struct cn_webhook_delivery *post(struct cn_webhook_sender *s, const char *path,
                                        struct told *t)
{
    char url[64];

    snprintf(url, sizeof(url), "http://127.0.0.1:%d/%s", receiver.port, path);
    return cn_webhook_send(s,
                           &(struct cn_webhook_message){.url = url,
                                                        .id = "job-1.done",
                                                        .body = "{\"a\":1}",
                                                        .len = 7,
                                                        .secret = secret,
                                                        .secret_len = SECRET_LEN},
                           on_done, t);
}

static void run_until(const int *n, int wanted)
{
    while (*n < wanted)
        uv_run(&receiver.loop, UV_RUN_ONCE);
}

static void end(struct cn_webhook_sender *s, struct cn_webhook_rules *r)
{
    bool closed = false;

    cn_webhook_sender_close(s, on_closed, &closed);
    while (!closed)
        uv_run(&receiver.loop, UV_RUN_ONCE);
    cn_webhook_rules_free(r);
}

static void field_of(const char *request, const char *name, char *ret, size_t size)
{
    const char *p = strstr(request, name);

    assert_non_null(p);
    p += strlen(name);
    snprintf(ret, size, "%.*s", (int)strcspn(p, "\r\n"), p);
}

static void a_delivery_is_signed(void **state)
{
    struct cn_webhook_rules *r = rules_for("127.0.0.1");
    struct cn_webhook_sender *s = sender_for(r, 10000);
    struct told t = {0};
    char stamp[32], signature[80], text[128];
    unsigned char mac[CN_SHA256_BYTES];
    struct cn_buf b;

    (void)state;
    post(s, "200", &t);
    assert_int_equal(t.n, 0); /* never from inside the call */
    run_until(&t.n, 1);
    assert_int_equal(t.last.outcome, CN_WEBHOOK_DELIVERED);
    assert_int_equal(t.last.status, 200);
    field_of(receiver.request[receiver.n - 1], "webhook-timestamp: ", stamp, sizeof(stamp));
    field_of(receiver.request[receiver.n - 1], "webhook-signature: v1,", signature,
             sizeof(signature));
    assert_non_null(strstr(receiver.request[receiver.n - 1], "webhook-id: job-1.done\r\n"));
    assert_non_null(strstr(receiver.request[receiver.n - 1], "Content-Type: application/json\r\n"));
    assert_non_null(strstr(receiver.request[receiver.n - 1], "\r\n\r\n{\"a\":1}"));
    snprintf(text, sizeof(text), "job-1.done.%s.{\"a\":1}", stamp);
    cn_hmac_sha256(secret, SECRET_LEN, text, strlen(text), mac);
    cn_buf_init(&b, 100);
    assert_int_equal(cn_base64_encode(&b, mac, sizeof(mac), NULL), CN_OK);
    assert_string_equal(signature, (char *)b.data);
    cn_buf_release(&b);
    end(s, r);
}

static void outcomes_follow_the_status(void **state)
{
    static const struct {
        const char *path;
        enum cn_webhook_outcome outcome;
    } row[] = {
        {"204", CN_WEBHOOK_DELIVERED}, {"302", CN_WEBHOOK_RETRY}, {"400", CN_WEBHOOK_RETRY},
        {"410", CN_WEBHOOK_GIVE_UP},   {"429", CN_WEBHOOK_RETRY}, {"503", CN_WEBHOOK_RETRY},
    };
    struct cn_webhook_rules *r = rules_for("127.0.0.1");
    struct cn_webhook_sender *s = sender_for(r, 10000);

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        struct told t = {0};

        post(s, row[i].path, &t);
        run_until(&t.n, 1);
        assert_int_equal(t.last.outcome, row[i].outcome);
        assert_int_equal(t.last.status, atoi(row[i].path));
        assert_int_equal(t.last.retry_after_s, 3600); /* 7200 was asked for */
    }
    assert_int_equal(receiver.n, CN_LEN(row)); /* the redirect was not followed */
    end(s, r);
}

static void addresses_that_are_not_public_are_not_called(void **state)
{
    struct cn_webhook_rules *r = rules_for("");
    struct cn_webhook_sender *s = sender_for(r, 10000);
    struct told t = {0};

    (void)state;
    post(s, "200", &t);
    run_until(&t.n, 1);
    assert_int_equal(t.last.outcome, CN_WEBHOOK_GIVE_UP);
    assert_null(strstr(t.reason, "127.0.0.1"));
    assert_int_equal(receiver.n, 0);
    cn_webhook_send(s, &(struct cn_webhook_message){.url = "http://other.example/", .id = "1"},
                    on_done, &t);
    run_until(&t.n, 2);
    assert_int_equal(t.last.outcome, CN_WEBHOOK_GIVE_UP);
    end(s, r);
}

/* A connection that was allowed is not taken for a message that comes after a change. */
static void rules_hold_for_each_message(void **state)
{
    struct cn_webhook_rules *r = rules_for("127.0.0.1"), *closed = rules_for("");
    struct cn_webhook_sender *s = sender_for(r, 10000);
    struct told t = {0};

    (void)state;
    post(s, "200/kept", &t);
    run_until(&t.n, 1);
    assert_int_equal(t.last.outcome, CN_WEBHOOK_DELIVERED);
    cn_webhook_sender_set_rules(s, closed, 10000);
    post(s, "200/kept", &t);
    run_until(&t.n, 2);
    assert_int_equal(t.last.outcome, CN_WEBHOOK_GIVE_UP);
    assert_int_equal(receiver.n, 1);
    cn_webhook_rules_free(r);
    end(s, closed);
}

static void nobody_there_is_tried_again(void **state)
{
    struct cn_webhook_rules *r = rules_for("127.0.0.1");
    struct cn_webhook_sender *s = sender_for(r, 10000);
    struct told t = {0};

    (void)state;
    uv_close((uv_handle_t *)&receiver.listener, NULL);
    post(s, "200", &t);
    run_until(&t.n, 1);
    assert_int_equal(t.last.outcome, CN_WEBHOOK_RETRY);
    assert_int_equal(t.last.status, 0);
    end(s, r);
}

static void a_receiver_that_hangs_takes_a_part_only(void **state)
{
    struct cn_webhook_rules *r = rules_for("127.0.0.1");
    struct cn_webhook_sender *s = sender_for(r, 200);
    struct told t = {0};

    (void)state;
    for (int i = 0; i < MESSAGES; i++)
        post(s, "hang", &t);
    run_until(&t.n, MESSAGES);
    assert_int_equal(t.last.outcome, CN_WEBHOOK_RETRY);
    assert_true(receiver.n <= MESSAGES);
    end(s, r);
}

static void what_is_cancelled_is_not_told(void **state)
{
    struct cn_webhook_rules *r = rules_for("127.0.0.1");
    struct cn_webhook_sender *s = sender_for(r, 10000);
    struct told cancelled = {0}, t = {0};
    struct cn_webhook_delivery *d[8];

    (void)state;
    for (int i = 0; i < 8; i++)
        d[i] = post(s, "hang", &cancelled);
    run_until(&receiver.n, 4); /* per_host; the others wait */
    assert_int_equal(receiver.most_open, 4);
    for (int i = 0; i < 8; i++)
        cn_webhook_cancel(d[i]);
    post(s, "200", &t);
    run_until(&t.n, 1);
    assert_int_equal(t.last.outcome, CN_WEBHOOK_DELIVERED);
    assert_int_equal(cancelled.n, 0);
    for (int i = 0; i < 6; i++) /* closed while some are on their way and some wait */
        post(s, "hang", &cancelled);
    run_until(&receiver.n, 9);
    end(s, r);
    assert_int_equal(cancelled.n, 0);
}

/* ---- a name server that does not answer ---- */

static struct {
    uv_sem_t asked, answers, over;
} names;

/* libcurl's, in a thread of its own. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **res)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(
            RTLD_NEXT, "getaddrinfo");

    if (node == NULL || strcmp(node, "slow.example") != 0)
        return next(node, service, hints, res);
    uv_sem_post(&names.asked);
    uv_sem_wait(&names.answers);
    uv_sem_post(&names.over);
    return EAI_AGAIN;
}

/* Whoever cuts the request, or ends the sender, does not wait for it. */
static void nobody_waits_for_a_name_server(void **state)
{
    struct cn_webhook_rules *r;
    struct cn_webhook_sender *s;
    struct cn_webhook_delivery *d[2];
    struct cn_webhook_message m = {.url = "http://slow.example/", .id = "1"};
    struct told t = {0};

    (void)state;
    uv_sem_init(&names.asked, 0);
    uv_sem_init(&names.answers, 0);
    uv_sem_init(&names.over, 0);
    assert_int_equal(cn_webhook_rules_new("http://slow.example/", "", &r, NULL), CN_OK);
    s = sender_for(r, 10000);
    for (int i = 0; i < 2; i++)
        d[i] = cn_webhook_send(s, &m, on_done, &t);
    for (int asked = 0; asked < 2;) {
        uv_run(&receiver.loop, UV_RUN_NOWAIT);
        asked += uv_sem_trywait(&names.asked) == 0;
        uv_sleep(1);
    }
    cn_webhook_cancel(d[0]);
    end(s, r);
    assert_int_equal(t.n, 0);
    assert_int_not_equal(uv_sem_trywait(&names.over), 0); /* and nobody has */
    for (int i = 0; i < 2; i++)
        uv_sem_post(&names.answers);
    for (int i = 0; i < 2; i++)
        uv_sem_wait(&names.over);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_delivery_is_signed, start, stop),
        cmocka_unit_test_setup_teardown(outcomes_follow_the_status, start, stop),
        cmocka_unit_test_setup_teardown(addresses_that_are_not_public_are_not_called, start, stop),
        cmocka_unit_test_setup_teardown(rules_hold_for_each_message, start, stop),
        cmocka_unit_test_setup_teardown(nobody_there_is_tried_again, start, stop),
        cmocka_unit_test_setup_teardown(a_receiver_that_hangs_takes_a_part_only, start, stop),
        cmocka_unit_test_setup_teardown(what_is_cancelled_is_not_told, start, stop),
        cmocka_unit_test_setup_teardown(nobody_waits_for_a_name_server, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
