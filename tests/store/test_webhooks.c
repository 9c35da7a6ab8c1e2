/* store: ends that are to be told. They are due with the end of their job and no sooner, survive
 * whatever the end survives, and go with the job. */
#include "base/base.h"
#include "base/clock.h"
#include "base/mem.h"
#include "fault.h"
#include "rig.h"

#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MANY = 100 };

/* What was answered: ids by their number. */
struct due {
    int told, outcome, n, number[64], attempts[64], n_pending;
    int64_t next_us;
    char url[64], context[16];
};

static void on_due(void *arg, struct cn_store_answer *a)
{
    struct due *d = arg;

    d->told++;
    d->outcome = (int)a->outcome;
    d->n_pending = a->n_pending;
    d->next_us = a->next_us;
    for (int i = 0; i < a->n_due && i < 64; i++) {
        d->number[d->n] = atoi(a->due[i].id + 5);
        d->attempts[d->n++] = a->due[i].attempts;
        snprintf(d->url, sizeof(d->url), "%s", a->due[i].url);
        snprintf(d->context, sizeof(d->context), "%s", a->due[i].context);
        assert_true(a->due[i].ended_us > 0);
    }
}

static struct due due_at(struct rig *r, int64_t now_us, int per_host, int limit)
{
    struct due d = {.n = 0};

    cn_store_webhooks(r->s, now_us, per_host, limit, on_due, &d);
    assert_true(rig_until(r, &d.told, 1));
    assert_int_equal(d.outcome, CN_STORE_OK);
    return d;
}

static void id_of(char id[CN_STORE_ID], int number)
{
    struct cn_store_job j;

    rig_job(&j, "", number, 1);
    memcpy(id, j.id, CN_STORE_ID);
}

static struct cn_store_delivery delivery_of(struct rig *r, int number)
{
    struct cn_store_delivery d;
    struct cn_store_job job;
    char id[CN_STORE_ID];

    id_of(id, number);
    assert_int_equal(rig_get(r, id, &job), CN_OK);
    d = job.delivery;
    cn_store_job_release(&job);
    return d;
}

static int deliver(struct rig *r, int number, const struct cn_store_delivery *d)
{
    struct heard h = {.n = 0};
    char id[CN_STORE_ID];

    id_of(id, number);
    cn_store_delivery(r->s, id, d, rig_hear, &h);
    assert_true(rig_until(r, &h.n, 1));
    return (int)h.last.outcome;
}

static bool end(struct rig *r, int number)
{
    struct heard h;
    char id[CN_STORE_ID];

    id_of(id, number);
    assert_int_equal(rig_finish(r, id, CN_STORE_CANCELLED, &h), CN_OK);
    return h.last.webhook_due;
}

static void open_with_job(struct rig *r, int number)
{
    rig_init(r);
    assert_int_equal(rig_open(r, NULL), CN_OK);
    assert_int_equal(rig_add(r, number, 1, 0), CN_OK);
}

static int count(const struct rig *r, const char *what)
{
    char path[128];
    sqlite3_stmt *st;
    sqlite3 *h;
    int n;

    snprintf(path, sizeof(path), "%s/jobs.db", r->dir);
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(h, what, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    n = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(h);
    return n;
}

static void the_life_of_a_webhook(void **state)
{
    struct cn_store_delivery d = {
        .state = CN_STORE_WEBHOOK_PENDING, .attempts = 1, .why = "the receiver answered 500"};
    int64_t now = cn_wall_us();
    struct due due;
    struct rig r;

    (void)state;
    open_with_job(&r, 1);
    assert_int_equal(rig_add(&r, 2, 1, 0), CN_OK);
    assert_int_equal(delivery_of(&r, 1).state, CN_STORE_WEBHOOK_WAITING);
    assert_int_equal(delivery_of(&r, 2).state, CN_STORE_WEBHOOK_NONE);
    assert_int_equal(due_at(&r, INT64_MAX, 8, 8).n_pending, 0);
    assert_int_equal(deliver(&r, 1, &d), CN_STORE_WAS_FINAL); /* it is not over */
    assert_true(end(&r, 1));
    assert_false(end(&r, 2));
    due = due_at(&r, cn_wall_us(), 8, 8);
    assert_true(due.n == 1 && due.number[0] == 1 && due.attempts[0] == 0 && due.n_pending == 1);
    assert_string_equal(due.url, "https://a.example/hook?x");
    assert_string_equal(due.context, "mine");

    d.next_us = now + 5000000;
    assert_int_equal(deliver(&r, 1, &d), CN_STORE_OK);
    due = due_at(&r, now + 4999999, 8, 8);
    assert_true(due.n == 0 && due.n_pending == 1 && due.next_us == d.next_us);
    due = due_at(&r, d.next_us, 8, 8);
    assert_true(due.n == 1 && due.attempts[0] == 1 && due.next_us == 0);
    assert_string_equal(delivery_of(&r, 1).why, d.why);

    d = (struct cn_store_delivery){.state = CN_STORE_WEBHOOK_DELIVERED, .attempts = 2};
    assert_int_equal(deliver(&r, 1, &d), CN_STORE_OK);
    assert_int_equal(deliver(&r, 1, &d), CN_STORE_WAS_FINAL);
    assert_int_equal(due_at(&r, INT64_MAX, 8, 8).n_pending, 0);
    assert_int_equal(delivery_of(&r, 1).state, CN_STORE_WEBHOOK_DELIVERED);
    assert_int_equal(count(&r, "select sum(length(url) + length(context)) from webhooks"), 0);
    rig_close(&r);
    assert_int_equal(rig_check(r.dir), 0);
    rig_end(&r);
}

static void what_is_pending_outlives_the_daemon(void **state)
{
    struct due due;
    struct rig r;

    (void)state;
    open_with_job(&r, 1);
    assert_int_equal(rig_add(&r, 3, 1, 0), CN_OK);
    assert_true(end(&r, 1));
    rig_close(&r);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    due = due_at(&r, cn_wall_us(), 8, 8);
    assert_true(due.n == 1 && due.number[0] == 1 && due.n_pending == 1);
    assert_true(end(&r, 3)); /* that waited in the life before */
    assert_int_equal(due_at(&r, cn_wall_us(), 8, 8).n, 2);
    rig_end(&r);
}

/* One receiver with many ends does not hide another with one. */
static void hosts_share(void **state)
{
    struct cn_store_webhook other = {"https://b.example/", "b.example", ""};
    struct heard h = {.n = 0};
    struct cn_store_job job;
    struct cn_spec spec;
    struct due due;
    struct rig r;

    (void)state;
    open_with_job(&r, 1);
    assert_true(end(&r, 1));
    for (int i = 3; i < MANY; i += 2) {
        assert_int_equal(rig_add(&r, i, 1, 0), CN_OK);
        assert_true(end(&r, i));
    }
    rig_job(&job, "anna", MANY + 1, 1);
    job.webhook = &other;
    rig_spec(&spec, 1, 0);
    assert_int_equal(cn_store_add(r.s, &job, &spec, NULL, rig_hear, &h, NULL), CN_OK);
    cn_spec_release(&spec);
    assert_true(rig_until(&r, &h.n, 1));
    assert_true(end(&r, MANY + 1));
    due = due_at(&r, cn_wall_us(), 4, 64);
    assert_true(due.n == 5 && due.number[0] == 1 && due.number[3] == 7 &&
                due.number[4] == MANY + 1);
    assert_int_equal(due.n_pending, MANY / 2 + 1);
    assert_int_equal(due_at(&r, cn_wall_us(), 4, 2).n, 2);
    rig_end(&r);
}

static void it_goes_with_its_job(void **state)
{
    struct heard h = {.n = 0};
    struct cn_store_facts f;
    char id[CN_STORE_ID];
    struct rig r;

    (void)state;
    rig_init(&r);
    r.o.tombstone_ttl_s = 0;
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 1, 1, 0), CN_OK);
    assert_true(end(&r, 1));
    id_of(id, 1);
    cn_store_drop(r.s, id, rig_hear, &h); /* nobody is told of what was removed */
    assert_true(rig_until(&r, &h.n, 1));
    assert_int_equal(delivery_of(&r, 1).state, CN_STORE_WEBHOOK_FAILED);
    assert_int_equal(due_at(&r, INT64_MAX, 8, 8).n_pending, 0);
    cn_store_facts(r.s, &f);
    assert_int_equal(f.untold, 1);
    assert_int_equal(rig_add(&r, 2, 1, 0), CN_OK); /* has none */
    assert_int_equal(rig_add(&r, 3, 1, 0), CN_OK);
    assert_false(end(&r, 2));
    assert_true(end(&r, 3));
    cn_store_set_ttl(r.s, 0, 0);
    cn_store_sweep(r.s, rig_hear, &h);
    assert_true(rig_until(&r, &h.n, 2));
    assert_int_equal(count(&r, "select count(*) from webhooks"), 0);
    cn_store_facts(r.s, &f);
    assert_int_equal(f.untold, 2); /* and what the sweep took */
    rig_end(&r);
}

/* With a full disk what was delivered is noted when there is room, before the end of the store. */
static void a_full_disk_forgets_no_delivery(void **state)
{
    struct cn_store_delivery d = {.state = CN_STORE_WEBHOOK_DELIVERED, .attempts = 1};
    struct heard h = {.n = 0};
    char id[CN_STORE_ID];
    struct rig r;

    (void)state;
    rig_init(&r);
    r.o.io = &cn_fault_io;
    r.o.vfs = "fault";
    cn_fault_plan(0, 0, false);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 1, 1, 0), CN_OK);
    assert_true(end(&r, 1));
    id_of(id, 1);
    cn_fault_plan(1, ENOSPC, true);
    cn_store_delivery(r.s, id, &d, rig_hear, &h);
    while (cn_fault_failed() < 3)
        uv_run(&r.loop, UV_RUN_NOWAIT);
    assert_int_equal(h.n, 0);
    cn_fault_plan(0, 0, false);
    assert_true(rig_until(&r, &h.n, 1));
    assert_int_equal(h.last.outcome, CN_STORE_OK);
    assert_int_equal(delivery_of(&r, 1).state, CN_STORE_WEBHOOK_DELIVERED);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_life_of_a_webhook),
        cmocka_unit_test(what_is_pending_outlives_the_daemon),
        cmocka_unit_test(hosts_share),
        cmocka_unit_test(it_goes_with_its_job),
        cmocka_unit_test(a_full_disk_forgets_no_delivery),
    };

    cn_fault_register();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
