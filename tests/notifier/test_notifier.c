/* notifier: ends are told, again until they were heard, and over restarts; the wall clock is the
 * test's. */
#include "base/base.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/hmac.h"
#include "base/mem.h"
#include "jobs_rig.h"
#include "notifier/notifier.h"
#include "receiver.h"
#include "tests/store/fault.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { DAY_S = 86400, SECRET_LEN = 32 };

static int64_t ahead_us; /* of the wall clock */

static int64_t wall_us(void)
{
    return cn_wall_us() + ahead_us;
}

static struct {
    struct rig rig;
    struct receiver receiver;
    struct cn_notifier *n;
    char url[64], secret_file[64];
    struct cn_store_webhook webhook;
} t;

/* ---- answers of the store that are late ---- */

static struct {
    bool on, has;
    cn_store_answer_fn done;
    void *arg;
    struct cn_store_answer answer;
    struct cn_store_due due;
} late;

bool __real_cn_jobs_webhooks(struct cn_jobs *js, int64_t now_us, int per_host, int limit,
                             cn_store_answer_fn done, void *arg);
bool __wrap_cn_jobs_webhooks(struct cn_jobs *js, int64_t now_us, int per_host, int limit,
                             cn_store_answer_fn done, void *arg);

/* One end is enough of it. */
static void on_answer(void *arg, struct cn_store_answer *a)
{
    (void)arg;
    if (!late.on) {
        late.done(late.arg, a);
        return;
    }
    late.has = true;
    late.answer = *a;
    late.answer.row = NULL;
    late.answer.n_due = CN_MIN(a->n_due, 1);
    late.answer.due = &late.due;
    if (a->n_due > 0) {
        late.due = a->due[0];
        late.due.url = cn_xstrdup(late.due.url);
        late.due.context = cn_xstrdup(late.due.context);
    }
}

bool __wrap_cn_jobs_webhooks(struct cn_jobs *js, int64_t now_us, int per_host, int limit,
                             cn_store_answer_fn done, void *arg)
{
    late.done = done;
    late.arg = arg;
    return __real_cn_jobs_webhooks(js, now_us, per_host, limit, on_answer, NULL);
}

static void give_late_answer(void)
{
    late.on = false;
    late.done(late.arg, &late.answer);
    free(late.due.url);
    free(late.due.context);
}

/* ---- a life ---- */

static bool is_ready(void *arg)
{
    (void)arg;
    return cn_dispatch_known(t.rig.dispatch) && cn_jobs_storage(t.rig.jobs, NULL) == CN_OK;
}

static void begin_life(void)
{
    struct cn_webhook_settings s = {.allow = t.url,
                                    .networks = "127.0.0.1",
                                    .secret_file = t.secret_file,
                                    .timeout_s = 60,
                                    .give_up_s = DAY_S};

    rig_begin(&t.rig);
    t.n = cn_notifier_new(&(struct cn_notifier_options){
        .loop = &t.rig.loop, .jobs = t.rig.jobs, .metrics = t.rig.metrics, .wall_us = wall_us});
    assert_int_equal(cn_notifier_configure(t.n, &s, NULL), CN_OK);
    rig_until(&t.rig, is_ready, NULL);
}

static void end_life(void)
{
    cn_notifier_close(t.n);
    rig_stop(&t.rig);
    cn_notifier_free(t.n);
}

static int set_up(void **state)
{
    FILE *f;

    (void)state;
    ahead_us = 0;
    receiver_start(&t.receiver);
    rig_init(&t.rig, "");
    snprintf(t.url, sizeof(t.url), "http://127.0.0.1:%d/", t.receiver.port);
    snprintf(t.secret_file, sizeof(t.secret_file), "%s/secret", t.rig.dir);
    f = fopen(t.secret_file, "w");
    fputs("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n", f);
    fclose(f);
    t.webhook = (struct cn_store_webhook){t.url, "127.0.0.1", "order \"7\""};
    cn_fault_plan(0, 0, false);
    begin_life();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    end_life();
    rig_end(&t.rig);
    receiver_stop(&t.receiver);
    return 0;
}

static void turn(void)
{
    uv_run(&t.rig.loop, UV_RUN_NOWAIT);
    receiver_turn(&t.receiver);
    usleep(500);
}

static void until_requests(int n)
{
    for (int64_t end = cn_now_ns() + 60 * CN_SECOND_NS; t.receiver.n < n;) {
        assert_true(cn_now_ns() < end);
        turn();
    }
}

static struct cn_store_delivery delivery_of(const char *id)
{
    struct cn_store_delivery d;
    struct cn_job_view v;

    assert_int_equal(rig_look(&t.rig, NULL, id, &v), CN_OK);
    d = v.delivery;
    cn_job_view_release(&v);
    return d;
}

static struct cn_store_delivery until(const char *id, enum cn_store_webhook_state state,
                                      int attempts)
{
    struct cn_store_delivery d = delivery_of(id);

    for (int64_t end = cn_now_ns() + 60 * CN_SECOND_NS; d.state != state || d.attempts < attempts;
         d = delivery_of(id)) {
        assert_true(cn_now_ns() < end);
        turn();
    }
    return d;
}

static void job(struct answer *a)
{
    rig_submit(&t.rig, &(struct ask){.prompt = "x", .webhook = &t.webhook}, a);
    assert_int_equal(a->outcome, CN_SUBMIT_NEW);
}

static double pending(void)
{
    char *text;
    struct cn_buf b;
    double value;

    cn_buf_init(&b, 1 << 20);
    assert_int_equal(cn_metrics_render(t.rig.metrics, &b, NULL), CN_OK);
    text = strstr((char *)b.data, "\ncontrolnetd_webhooks_pending ");
    value = atof(text + strlen("\ncontrolnetd_webhooks_pending "));
    cn_buf_release(&b);
    return value;
}

static void until_none_is_pending(void)
{
    for (int64_t end = cn_now_ns() + 60 * CN_SECOND_NS; pending() > 0;) {
        assert_true(cn_now_ns() < end);
        turn();
    }
}

/* ---- tests ---- */

static void pauses_grow(void **state)
{
    static const double expect_s[] = {1, 5, 30, 120, 600, 3600, 21600, 21600};

    (void)state;
    for (int i = 0; i < (int)CN_LEN(expect_s); i++)
        for (uint64_t dice = 0; dice < 2000; dice += 37) {
            double s = (double)cn_notifier_delay_us(i + 1, 0, dice) * 1e-6;

            assert_true(s >= expect_s[i] * 0.799 && s <= expect_s[i] * 1.201);
        }
    assert_true(cn_notifier_delay_us(1, 0, 0) < cn_notifier_delay_us(1, 0, 999));
    assert_true(cn_notifier_delay_us(1, 300, 5) == 300 * CN_SECOND_US);
    assert_true(cn_notifier_delay_us(7, 300, 5) > 300 * CN_SECOND_US);
}

static void an_end_is_told(void **state)
{
    static const char key[SECRET_LEN + 1] = "0123456789abcdef0123456789abcdef";
    unsigned char mac[CN_SHA256_BYTES];
    struct cn_hmac h;
    struct cn_buf b;
    struct answer a;

    (void)state;
    job(&a);
    assert_int_equal(until(a.id, CN_STORE_WEBHOOK_DELIVERED, 1).attempts, 1);
    assert_int_equal(t.receiver.n, 1);
    assert_string_equal(receiver_field(&t.receiver, 0, "webhook-id"), a.id);
    cn_hmac_init(&h, key, SECRET_LEN);
    cn_hmac_add(&h, a.id, strlen(a.id));
    cn_hmac_add(&h, ".", 1);
    cn_hmac_add(&h, receiver_field(&t.receiver, 0, "webhook-timestamp"),
                strlen(receiver_field(&t.receiver, 0, "webhook-timestamp")));
    cn_hmac_add(&h, ".", 1);
    cn_hmac_add(&h, receiver_body(&t.receiver, 0), strlen(receiver_body(&t.receiver, 0)));
    cn_hmac_end(&h, mac);
    cn_buf_init(&b, 128);
    cn_buf_adds(&b, "v1,", NULL);
    cn_base64_encode(&b, mac, sizeof(mac), NULL);
    assert_string_equal(receiver_field(&t.receiver, 0, "webhook-signature"), (char *)b.data);
    cn_buf_release(&b);
    assert_non_null(strstr(receiver_body(&t.receiver, 0), "{\"type\":\"job.succeeded\","));
    assert_non_null(strstr(receiver_body(&t.receiver, 0), "\"context\":\"order \\\"7\\\"\","));
    assert_non_null(strstr(receiver_body(&t.receiver, 0), a.id));
}

/* A day of failures, in a moment. */
static void what_fails_is_tried_for_a_day(void **state)
{
    struct cn_store_delivery d = {.attempts = 0};
    int64_t began = wall_us();
    struct answer a;

    (void)state;
    t.receiver.status = 500;
    job(&a);
    for (int i = 1; d.state != CN_STORE_WEBHOOK_FAILED; i++) {
        d = until(a.id, i < 9 ? CN_STORE_WEBHOOK_PENDING : d.state, i);
        assert_int_equal(d.attempts, i);
        assert_string_equal(d.why, "the receiver answered 500");
        if (d.state == CN_STORE_WEBHOOK_FAILED)
            break;
        assert_int_equal(pending(), 1);
        if (i > 2) { /* half a minute or more is left: nothing comes */
            cn_notifier_look(t.n);
            for (int k = 0; k < 20; k++)
                turn();
            assert_int_equal(t.receiver.n, i);
        }
        ahead_us = d.next_us - cn_wall_us();
        cn_notifier_look(t.n);
        until_requests(i + 1);
        if (i + 1 >= 9)
            for (int k = 0; k < 20000 && delivery_of(a.id).attempts <= i; k++)
                turn();
        d = delivery_of(a.id);
    }
    assert_true(wall_us() - began > DAY_S * CN_SECOND_US / 2);
    assert_true(d.attempts >= 9 && d.attempts <= 11);
    ahead_us += 7 * DAY_S * CN_SECOND_US;
    cn_notifier_look(t.n);
    for (int k = 0; k < 20; k++)
        turn();
    assert_int_equal(t.receiver.n, d.attempts);
    until_none_is_pending();
}

/* The first life ends while an answer is awaited, the next one tells the same end again. */
static void the_next_life_goes_on(void **state)
{
    struct answer a;
    char first[64];

    (void)state;
    t.receiver.status = 0;
    job(&a);
    until_requests(1);
    snprintf(first, sizeof(first), "%s", receiver_field(&t.receiver, 0, "webhook-id"));
    cn_notifier_drain(t.n);
    assert_false(cn_notifier_idle(t.n));
    end_life();
    t.receiver.status = 200;
    begin_life();
    until_requests(2);
    assert_string_equal(first, receiver_field(&t.receiver, 1, "webhook-id"));
    assert_string_equal(receiver_body(&t.receiver, 1) + strlen(receiver_body(&t.receiver, 1)) - 3,
                        "}}\n");
    until(a.id, CN_STORE_WEBHOOK_DELIVERED, 1);
}

/* In the drain what is on its way is heard, and nothing more is begun. */
static void a_drain_begins_nothing(void **state)
{
    struct answer a, b;

    (void)state;
    t.receiver.status = 0;
    job(&a);
    until_requests(1);
    cn_notifier_drain(t.n);
    job(&b);
    rig_until(&t.rig, rig_ended, &b);
    receiver_answer(&t.receiver, 200);
    for (int64_t end = cn_now_ns() + 60 * CN_SECOND_NS; !cn_notifier_idle(t.n);) {
        assert_true(cn_now_ns() < end);
        turn();
    }
    assert_int_equal(delivery_of(a.id).state, CN_STORE_WEBHOOK_DELIVERED);
    assert_int_equal(delivery_of(b.id).state, CN_STORE_WEBHOOK_PENDING);
    assert_int_equal(t.receiver.n, 1);
}

static void one_host_has_its_places(void **state)
{
    struct answer a[8];

    (void)state;
    t.receiver.status = 0;
    for (int i = 0; i < 8; i++)
        job(&a[i]);
    for (int i = 0; i < 8; i++)
        rig_until(&t.rig, rig_ended, &a[i]);
    until_requests(4);
    for (int k = 0; k < 50; k++)
        turn();
    assert_int_equal(t.receiver.n, 4);
    t.receiver.status = 200;
    receiver_answer(&t.receiver, 200);
    for (int i = 0; i < 8; i++)
        until(a[i].id, CN_STORE_WEBHOOK_DELIVERED, 1);
    assert_int_equal(t.receiver.n, 8);
}

static void what_is_not_allowed_or_gone_is_given_up(void **state)
{
    struct cn_webhook_settings s = {
        .allow = "", .networks = "", .secret_file = "", .timeout_s = 1, .give_up_s = 1};
    char host[CN_NOTIFIER_HOST];
    struct answer a, b;
    bool removed;

    (void)state;
    assert_int_equal(cn_notifier_check(t.n, t.url, host, NULL), CN_OK);
    assert_string_equal(host, "127.0.0.1");
    assert_int_equal(cn_notifier_check(t.n, "http://a.example/", host, NULL), CN_ENOTFOUND);
    assert_int_equal(cn_notifier_check(NULL, t.url, host, NULL), CN_EINVAL);
    t.receiver.status = 503;
    job(&a);
    until(a.id, CN_STORE_WEBHOOK_PENDING, 1);
    assert_int_equal(rig_delete(&t.rig, NULL, a.id, &removed), CN_OK);
    assert_true(removed);
    assert_int_equal(cn_notifier_configure(t.n, &s, NULL), CN_OK); /* off */
    assert_int_equal(cn_notifier_check(t.n, t.url, host, NULL), CN_EINVAL);
    job(&b);
    assert_non_null(strstr(until(b.id, CN_STORE_WEBHOOK_FAILED, 1).why, "may not call"));
    until_none_is_pending();
}

/* It was heard, and the disk does not take that: it is not told again in this life. */
static void a_full_disk_repeats_nothing(void **state)
{
    struct answer a;

    (void)state;
    end_life();
    t.rig.so.io = &cn_fault_io;
    t.rig.so.vfs = "fault";
    begin_life();
    t.receiver.status = 0;
    job(&a);
    until_requests(1);
    cn_fault_plan(1, ENOSPC, true);
    receiver_answer(&t.receiver, 200);
    while (cn_fault_failed() < 3)
        turn();
    ahead_us += CN_SECOND_US * 60;
    for (int k = 0; k < 20; k++) {
        cn_notifier_look(t.n);
        turn();
    }
    assert_int_equal(t.receiver.n, 1);
    assert_int_equal(delivery_of(a.id).state, CN_STORE_WEBHOOK_PENDING);
    cn_fault_plan(0, 0, false);
    until(a.id, CN_STORE_WEBHOOK_DELIVERED, 1);
    assert_int_equal(t.receiver.n, 1);
}

/* The store has answered that an end is due just before it noted that it was told. */
static void a_late_answer_repeats_nothing(void **state)
{
    struct answer a;

    (void)state;
    t.receiver.status = 0;
    job(&a);
    until_requests(1);
    late.on = true;
    cn_notifier_look(t.n);
    while (!late.has)
        turn();
    assert_int_equal(late.answer.n_due, 1);
    t.receiver.status = 200;
    receiver_answer(&t.receiver, 200);
    until(a.id, CN_STORE_WEBHOOK_DELIVERED, 1);
    give_late_answer();
    until_none_is_pending();
    for (int k = 0; k < 50; k++)
        turn();
    assert_int_equal(t.receiver.n, 1);
    job(&a); /* and it goes on */
    until(a.id, CN_STORE_WEBHOOK_DELIVERED, 1);
}

#define IN_A_LIFE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pauses_grow),
        IN_A_LIFE(an_end_is_told),
        IN_A_LIFE(what_fails_is_tried_for_a_day),
        IN_A_LIFE(the_next_life_goes_on),
        IN_A_LIFE(a_drain_begins_nothing),
        IN_A_LIFE(one_host_has_its_places),
        IN_A_LIFE(what_is_not_allowed_or_gone_is_given_up),
        IN_A_LIFE(a_full_disk_repeats_nothing),
        IN_A_LIFE(a_late_answer_repeats_nothing),
    };

    cn_fault_register();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
