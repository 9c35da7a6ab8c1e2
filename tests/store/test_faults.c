/* store: every single write, flush, rename and open fails once, and then all from there on.
 *
 * A script of operations runs over a disk that fails at its Nth access. What was told as kept must
 * be there after the next opening, what was told as refused must not be seen as done, and database
 * and files must agree.
 */
#include "base/base.h"
#include "fault.h"
#include "rig.h"
#include "store/store.h"

#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { JOBS = 3 };

/* What the store said. */
struct promises {
    bool open, added[JOBS], kept[JOBS], told[JOBS];
    int ended[JOBS]; /* enum cn_store_state, -1: was not told */
};

static void id_of(char id[CN_STORE_ID], int number)
{
    struct cn_store_job j;

    rig_job(&j, "", number, 1);
    memcpy(id, j.id, CN_STORE_ID);
}

/* An end is tried again until the store closes: it is given, and heard of at the latest then. */
static void finish(struct rig *r, int number, struct heard *h)
{
    struct cn_store_end end = {.state = CN_STORE_SUCCEEDED, .attempt = 1, .ended_us = 1};
    char id[CN_STORE_ID];

    id_of(id, number);
    end.ended_us = INT64_MAX / 4;
    cn_store_end(r->s, id, &end, rig_hear, h);
}

/* Somebody was told of it: the same. */
static void tell(struct rig *r, int number, struct heard *h)
{
    struct cn_store_delivery d = {.state = CN_STORE_WEBHOOK_DELIVERED, .attempts = 1};
    char id[CN_STORE_ID];

    id_of(id, number);
    cn_store_delivery(r->s, id, &d, rig_hear, h);
}

static void script(struct rig *r, struct promises *p)
{
    struct heard h[JOBS], told[JOBS];
    char id[CN_STORE_ID];

    memset(p, 0, sizeof(*p));
    memset(h, 0, sizeof(h));
    memset(told, 0, sizeof(told));
    p->open = rig_open(r, NULL) == CN_OK;
    for (int i = 0; i < JOBS && p->open; i++) {
        id_of(id, i);
        p->added[i] = rig_add(r, i, 1, 3000) == CN_OK;
        if (!p->added[i])
            continue;
        cn_store_start(r->s, id, 1, 0, false, NULL, NULL);
        p->kept[i] = rig_result(r, id, 0, 9000) == CN_OK;
        finish(r, i, &h[i]);
        tell(r, i, &told[i]);
    }
    rig_close(r);
    for (int i = 0; i < JOBS; i++) /* whatever was given is told, once */
        assert_true(h[i].n == p->added[i] && told[i].n == p->added[i]);
    for (int i = 0; i < JOBS; i++)
        p->told[i] = told[i].n > 0 && told[i].last.outcome == CN_STORE_OK;
    for (int i = 0; i < JOBS; i++)
        p->ended[i] = h[i].n > 0 && h[i].last.outcome == CN_STORE_OK ? (int)h[i].last.state : -1;
}

static void check_job(struct rig *r, const struct promises *p, int i)
{
    struct cn_store_result result;
    struct cn_store_job job;
    char id[CN_STORE_ID];
    int n = 0;

    id_of(id, i);
    if (rig_get(r, id, &job) != 0) {
        assert_false(p->added[i]);
        return;
    }
    assert_int_equal(rig_results(r, id, &result, 1, &n), CN_OK);
    if (p->kept[i])
        assert_int_equal(n, 1);
    if (p->ended[i] >= 0)
        assert_int_equal(job.state, p->ended[i]);
    if (p->ended[i] == CN_STORE_SUCCEEDED)
        assert_int_equal(n, 1);
    /* a note that was told to have failed may be on the disk: its commit failed behind that */
    if (p->ended[i] >= 0 && i % 2 == 1)
        assert_true(job.delivery.state == CN_STORE_WEBHOOK_DELIVERED ||
                    (!p->told[i] && job.delivery.state == CN_STORE_WEBHOOK_PENDING));
    cn_store_job_release(&job);
}

/* Did the disk fail at all? */
static bool one_failure(int at, int error, bool lasting)
{
    bool failed;
    struct promises p;
    struct rig r;

    rig_init(&r);
    r.o.io = &cn_fault_io;
    r.o.vfs = "fault";
    cn_fault_plan(at, error, lasting);
    script(&r, &p);
    failed = cn_fault_failed() > 0;
    cn_fault_plan(0, 0, false);
    if (rig_open(&r, NULL) != CN_OK) /* not even the tables were made */
        assert_false(p.open);
    for (int i = 0; i < JOBS && r.s != NULL; i++)
        check_job(&r, &p, i);
    rig_close(&r);
    assert_int_equal(rig_check(r.dir), 0);
    rig_end(&r);
    return failed;
}

static int accesses(void)
{
    struct promises p;
    struct rig r;
    int n;

    rig_init(&r);
    r.o.io = &cn_fault_io;
    r.o.vfs = "fault";
    cn_fault_plan(0, 0, false);
    script(&r, &p);
    n = cn_fault_count();
    for (int i = 0; i < JOBS; i++)
        assert_true(p.added[i] && p.kept[i] && p.ended[i] == CN_STORE_SUCCEEDED);
    rig_end(&r);
    return n;
}

static void each_access_fails(int error, bool lasting)
{
    int n = accesses(), runs = 0, failures = 0,
        step = getenv("CN_QUICK") != NULL && atoi(getenv("CN_QUICK")) ? 5 : 1;

    assert_true(n > 50);
    for (int at = 1; at <= n; at += step, runs++)
        failures += one_failure(at, error, lasting);
    assert_true(failures >= runs - runs / 5); /* commits come together in other ways each time */
}

static void no_room_once(void **state)
{
    (void)state;
    each_access_fails(ENOSPC, false);
}

static void no_room_from_there_on(void **state)
{
    (void)state;
    each_access_fails(ENOSPC, true);
}

static void an_io_error_once(void **state)
{
    (void)state;
    each_access_fails(EIO, false);
}

static void io_errors_from_there_on(void **state)
{
    (void)state;
    each_access_fails(EIO, true);
}

/* Nothing of that is an error: all is kept. */
static void each_access_is(int how, bool lasting)
{
    const char *whole = getenv("CN_WHOLE");
    int n = accesses(), step = whole != NULL && atoi(whole) ? 1 : 5;

    for (int at = 1; at <= (lasting ? 1 : n); at += step) {
        struct promises p;
        struct rig r;

        rig_init(&r);
        r.o.io = &cn_fault_io;
        r.o.vfs = "fault";
        cn_fault_plan(at, how, lasting);
        script(&r, &p);
        cn_fault_plan(0, 0, false);
        assert_int_equal(rig_open(&r, NULL), CN_OK);
        for (int i = 0; i < JOBS; i++) {
            assert_true(p.added[i] && p.kept[i] && p.ended[i] == CN_STORE_SUCCEEDED);
            check_job(&r, &p, i);
        }
        rig_close(&r);
        assert_int_equal(rig_check(r.dir), 0);
        rig_end(&r);
    }
}

static void short_writes(void **state)
{
    (void)state;
    each_access_is(CN_FAULT_SHORT, false);
    each_access_is(CN_FAULT_SHORT, true);
}

static void slow_accesses(void **state)
{
    (void)state;
    each_access_is(CN_FAULT_SLOW, false);
    each_access_is(CN_FAULT_SLOW, true);
}

/* The daemon outlives a full disk: when there is room again, everything works, and the end that
 * could not be written is written then. */
static void room_again(void **state)
{
    struct cn_store_facts facts;
    struct heard h = {.n = 0};
    char id[CN_STORE_ID];
    struct rig r;

    (void)state;
    rig_init(&r);
    r.o.io = &cn_fault_io;
    r.o.vfs = "fault";
    cn_fault_plan(0, 0, false);
    id_of(id, 1);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 1, 1, 0), CN_OK);
    assert_int_equal(rig_result(&r, id, 0, 100), CN_OK);
    cn_fault_plan(1, ENOSPC, true);
    assert_int_equal(rig_add(&r, 2, 1, 0), CN_STORE_NO_ROOM);
    finish(&r, 1, &h);
    assert_int_equal(rig_add(&r, 3, 1, 0), CN_STORE_NO_ROOM);
    cn_store_facts(r.s, &facts);
    assert_true(facts.failing && facts.trouble[0] != '\0' && h.n == 0);
    cn_fault_plan(0, 0, false);
    assert_true(rig_until(&r, &h.n, 1));
    assert_int_equal(h.last.outcome, CN_STORE_OK);
    assert_int_equal(h.last.state, CN_STORE_SUCCEEDED);
    assert_int_equal(rig_add(&r, 4, 1, 0), CN_OK);
    cn_store_facts(r.s, &facts);
    assert_false(facts.failing);
    rig_close(&r);
    assert_int_equal(rig_check(r.dir), 0);
    rig_end(&r);
}

/* Also when nobody comes to try it: who hears that the store fails gives it nothing more. */
static void a_good_disk_is_found(void **state)
{
    struct cn_store_facts facts;
    struct rig r;

    (void)state;
    rig_init(&r);
    r.o.io = &cn_fault_io;
    r.o.vfs = "fault";
    cn_fault_plan(0, 0, false);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    cn_fault_plan(1, ENOSPC, true);
    assert_int_equal(rig_add(&r, 1, 1, 0), CN_STORE_NO_ROOM);
    cn_store_facts(r.s, &facts);
    assert_true(facts.failing);
    for (int n = cn_fault_failed(); cn_fault_failed() == n;) /* it is tried, in vain */
        uv_sleep(10);
    cn_store_facts(r.s, &facts);
    assert_true(facts.failing);
    cn_fault_plan(0, 0, false);
    while (facts.failing) {
        uv_sleep(10);
        cn_store_facts(r.s, &facts);
    }
    assert_string_equal(facts.trouble, "");
    rig_close(&r);
    assert_int_equal(rig_check(r.dir), 0);
    rig_end(&r);
}

/* ---- another process holds the database ---- */

static sqlite3 *hold(const struct rig *r)
{
    char path[128];
    sqlite3 *h;

    snprintf(path, sizeof(path), "%s/jobs.db", r->dir);
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    assert_int_equal(sqlite3_exec(h, "begin immediate", NULL, NULL, NULL), SQLITE_OK);
    return h;
}

static void let_go(sqlite3 *h)
{
    assert_int_equal(sqlite3_exec(h, "rollback", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(h);
}

static void until_failing(struct rig *r)
{
    struct cn_store_facts f = {.failing = false};

    for (int i = 0; i < 6000 && !f.failing; i++) {
        uv_run(&r->loop, UV_RUN_NOWAIT);
        uv_sleep(10);
        cn_store_facts(r->s, &f);
    }
    assert_true(f.failing);
    assert_non_null(strstr(f.trouble, "another process"));
}

/* A backup, a shell in a transaction: an end waits for it, and so does what belongs before it. */
static void a_foreign_lock_loses_nothing(void **state)
{
    struct cn_store_result result = {.k = 0, .meta = {.width = 8, .height = 9, .bytes = 100}};
    struct heard ended = {.n = 0}, kept = {.n = 0}, added = {.n = 0};
    struct cn_store_job j;
    struct cn_spec spec;
    char id[CN_STORE_ID];
    sqlite3 *other;
    struct rig r;

    (void)state;
    rig_init(&r);
    r.o.busy_ms = 20;
    r.o.result_patience_s = 60;
    id_of(id, 1);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 1, 1, 0), CN_STORE_OK);
    other = hold(&r);
    cn_store_result(r.s, id, &result, rig_picture(id, 0, 100), rig_hear, &kept);
    finish(&r, 1, &ended);
    until_failing(&r);
    rig_job(&j, "anna", 2, 1);
    rig_spec(&spec, 1, 0);
    assert_int_equal(cn_store_add(r.s, &j, &spec, NULL, rig_hear, &added, NULL), CN_OK);
    cn_spec_release(&spec);
    assert_true(rig_until(&r, &added.n, 1)); /* a client waits for this one: it is told */
    assert_int_equal(added.last.outcome, CN_STORE_RETRY);
    assert_int_equal(kept.n + ended.n, 0);
    let_go(other);
    assert_true(rig_until(&r, &ended.n, 1));
    assert_int_equal(kept.n, 1);
    assert_int_equal(kept.last.outcome, CN_STORE_OK);
    assert_int_equal(ended.last.outcome, CN_STORE_OK);
    assert_int_equal(ended.last.state, CN_STORE_SUCCEEDED);
    rig_close(&r);
    assert_int_equal(rig_check(r.dir), 0);
    rig_end(&r);
}

/* A close does not wait for the other process, and tells everybody. */
static void a_close_under_a_foreign_lock_tells(void **state)
{
    struct heard h = {.n = 0};
    char id[CN_STORE_ID];
    sqlite3 *other;
    struct rig r;

    (void)state;
    rig_init(&r);
    id_of(id, 1);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 1, 1, 0), CN_STORE_OK);
    other = hold(&r);
    finish(&r, 1, &h);
    rig_close(&r);
    assert_int_equal(h.n, 1);
    assert_int_equal(h.last.outcome, CN_STORE_CLOSED);
    let_go(other);
    rig_end(&r);
}

/* A picture that the disk does not take now is not the end of its job. */
static void a_picture_is_tried_again(void **state)
{
    struct cn_store_result result = {.k = 0, .meta = {.width = 8, .height = 9, .bytes = 100}};
    struct heard kept = {.n = 0}, ended = {.n = 0};
    char id[CN_STORE_ID];
    struct rig r;

    (void)state;
    rig_init(&r);
    r.o.io = &cn_fault_io;
    r.o.vfs = "fault";
    r.o.result_patience_s = 60;
    id_of(id, 1);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 1, 1, 0), CN_STORE_OK);
    cn_fault_plan(1, EIO, true);
    cn_store_result(r.s, id, &result, rig_picture(id, 0, 100), rig_hear, &kept);
    finish(&r, 1, &ended);
    while (cn_fault_failed() < 4)
        uv_run(&r.loop, UV_RUN_NOWAIT);
    assert_int_equal(kept.n + ended.n, 0);
    cn_fault_plan(0, 0, false);
    assert_true(rig_until(&r, &ended.n, 1));
    assert_int_equal(kept.last.outcome, CN_STORE_OK);
    assert_int_equal(ended.last.state, CN_STORE_SUCCEEDED);
    rig_close(&r);
    assert_int_equal(rig_check(r.dir), 0);
    rig_end(&r);
}

static char *flush_log;

static void note_flush(const char *path)
{
    if (flush_log != NULL && strlen(flush_log) + strlen(path) < 4000)
        snprintf(flush_log + strlen(flush_log), 4000 - strlen(flush_log), "%s\n", path);
}

static void flushed_to(char *log)
{
    flush_log = log;
    cn_fault_watch(&(struct cn_fault_watch){.flushed = note_flush});
}

/* The flush of results/ fails when a folder is made in it; who comes after flushes it again. */
static void a_folder_is_flushed_until_it_is_on_the_disk(void **state)
{
    static char flushed[4096];
    char a[CN_STORE_ID];
    struct rig r;

    (void)state;
    rig_init(&r);
    r.o.io = &cn_fault_io;
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    id_of(a, 1);
    assert_int_equal(rig_add(&r, 1, 2, 0), CN_STORE_OK);
    /* open, write, flush of the file: the fourth access is the flush of results/, in both tries */
    cn_fault_plan(4, EIO, true);
    assert_int_equal(rig_result(&r, a, 0, 100), CN_STORE_RETRY);
    cn_fault_plan(0, 0, false);
    flushed_to(flushed);
    assert_int_equal(rig_result(&r, a, 0, 100), CN_STORE_OK);
    flushed_to(NULL);
    assert_non_null(strstr(flushed, "/results\n"));
    rig_end(&r);
}

/* A disk that is full at the start: what is there can be read, nothing new is taken, and when there
 * is room the store opens by itself. */
static void a_full_disk_at_the_start(void **state)
{
    struct cn_store_facts f = {.failing = false};
    struct cn_err err = CN_ERR_INIT;
    struct cn_store_job job;
    char id[CN_STORE_ID];
    struct rig r;

    (void)state;
    rig_init(&r);
    id_of(id, 1);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 1, 1, 0), CN_STORE_OK);
    rig_close(&r);
    r.o.io = &cn_fault_io;
    r.o.vfs = "fault";
    cn_fault_plan(1, ENOSPC, true);
    r.opened = 0;
    assert_int_equal(cn_store_open(&r.o, &r.s, &err), CN_OK);
    cn_store_facts(r.s, &f);
    assert_true(f.phase == CN_STORE_OPENING && f.failing);
    assert_non_null(strstr(f.trouble, "full"));
    assert_int_equal(cn_store_room(r.s, 1, &err), CN_ESTORAGE);
    assert_int_equal(rig_get(&r, id, &job), CN_STORE_OK);
    assert_int_equal(job.state, CN_STORE_QUEUED);
    cn_store_job_release(&job);
    assert_int_equal(r.opened, 0);
    cn_fault_plan(0, 0, false);
    assert_true(rig_until(&r, &r.opened, 1));
    assert_int_equal(r.open_rc, CN_OK);
    assert_int_equal(rig_add(&r, 2, 1, 0), CN_STORE_OK);
    assert_int_equal(rig_get(&r, id, &job), CN_STORE_OK);
    cn_store_job_release(&job);
    rig_close(&r);
    assert_int_equal(rig_check(r.dir), 0);
    rig_end(&r);
}

/* A question is answered while the disk stands still under a write. */
static void readers_wait_for_no_writer(void **state)
{
    struct heard h = {.n = 0};
    struct cn_store_job job;
    char id[CN_STORE_ID];
    struct rig r;

    (void)state;
    rig_init(&r);
    r.o.io = &cn_fault_io;
    r.o.vfs = "fault";
    id_of(id, 1);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 1, 1, 0), CN_STORE_OK);
    assert_int_equal(rig_get(&r, id, &job), CN_STORE_OK); /* the reader is connected */
    cn_store_job_release(&job);
    cn_fault_stall(true);
    finish(&r, 1, &h);
    while (cn_fault_stalled() == 0)
        uv_sleep(1);
    assert_int_equal(rig_get(&r, id, &job), CN_STORE_OK);
    assert_int_equal(job.state, CN_STORE_QUEUED);
    cn_store_job_release(&job);
    assert_int_equal(h.n, 0);
    cn_fault_stall(false);
    assert_true(rig_until(&r, &h.n, 1));
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_room_once),
        cmocka_unit_test(no_room_from_there_on),
        cmocka_unit_test(an_io_error_once),
        cmocka_unit_test(io_errors_from_there_on),
        cmocka_unit_test(short_writes),
        cmocka_unit_test(slow_accesses),
        cmocka_unit_test(room_again),
        cmocka_unit_test(a_good_disk_is_found),
        cmocka_unit_test(a_foreign_lock_loses_nothing),
        cmocka_unit_test(a_close_under_a_foreign_lock_tells),
        cmocka_unit_test(a_picture_is_tried_again),
        cmocka_unit_test(a_folder_is_flushed_until_it_is_on_the_disk),
        cmocka_unit_test(a_full_disk_at_the_start),
        cmocka_unit_test(readers_wait_for_no_writer),
    };

    cn_fault_register();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
