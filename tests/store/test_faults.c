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
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { JOBS = 3 };

/* What the store said. */
struct promises {
    bool open, added[JOBS], kept[JOBS];
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

static void script(struct rig *r, struct promises *p)
{
    struct heard h[JOBS];
    char id[CN_STORE_ID];

    memset(p, 0, sizeof(*p));
    memset(h, 0, sizeof(h));
    p->open = rig_open(r, NULL) == CN_OK;
    for (int i = 0; i < JOBS && p->open; i++) {
        id_of(id, i);
        p->added[i] = rig_add(r, i, 1, 3000) == CN_OK;
        if (!p->added[i])
            continue;
        cn_store_start(r->s, id, 1, 0, false);
        p->kept[i] = rig_result(r, id, 0, 9000) == CN_OK;
        finish(r, i, &h[i]);
    }
    rig_close(r);
    for (int i = 0; i < JOBS; i++)
        p->ended[i] = h[i].n > 0 && h[i].last.rc == CN_OK ? (int)h[i].last.state : -1;
}

static void check_job(struct rig *r, const struct promises *p, int i)
{
    struct cn_store_result result;
    struct cn_store_job job;
    char id[CN_STORE_ID];
    int n = 0;

    id_of(id, i);
    if (cn_store_get(r->s, id, &job, NULL) < 0) {
        assert_false(p->added[i]);
        return;
    }
    assert_int_equal(cn_store_results(r->s, id, &result, 1, &n, NULL), CN_OK);
    if (p->kept[i])
        assert_int_equal(n, 1);
    if (p->ended[i] >= 0)
        assert_int_equal(job.state, p->ended[i]);
    if (p->ended[i] == CN_STORE_SUCCEEDED)
        assert_int_equal(n, 1);
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
    assert_int_equal(rig_add(&r, 2, 1, 0), CN_ESTORAGE);
    finish(&r, 1, &h);
    assert_int_equal(rig_add(&r, 3, 1, 0), CN_ESTORAGE);
    cn_store_facts(r.s, &facts);
    assert_true(facts.failing && facts.trouble[0] != '\0' && h.n == 0);
    cn_fault_plan(0, 0, false);
    assert_true(rig_until(&r, &h.n, 1));
    assert_int_equal(h.last.rc, CN_OK);
    assert_int_equal(h.last.state, CN_STORE_SUCCEEDED);
    assert_int_equal(rig_add(&r, 4, 1, 0), CN_OK);
    cn_store_facts(r.s, &facts);
    assert_false(facts.failing);
    rig_close(&r);
    assert_int_equal(rig_check(r.dir), 0);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_room_once),     cmocka_unit_test(no_room_from_there_on),
        cmocka_unit_test(an_io_error_once), cmocka_unit_test(io_errors_from_there_on),
        cmocka_unit_test(room_again),
    };

    cn_fault_register();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
