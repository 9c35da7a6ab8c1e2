/* The dispatcher with worker processes whose engine is a clock. */
#include "base/base.h"
#include "rig.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct rig r;

static struct cn_dispatch_options with(int workers)
{
    struct cn_dispatch_options o = CN_DISPATCH_DEFAULTS;

    o.workers = workers;
    return o;
}

/* ---- the ordinary ---- */

static void a_job_is_told_of(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *job;
    int done, total;

    (void)state;
    rig_open(&r, &o, "");
    job = rig_job(&r, "x", 3);
    job->spec.preview_every = 1;
    assert_int_equal(cn_dispatch_submit(r.d, job, NULL, NULL, NULL), CN_OK);
    assert_int_equal(r.started, 0); /* nothing is told from inside */
    rig_until(&r, r.on_end == 1);
    assert_int_equal(job->state, CN_JOB_SUCCEEDED);
    assert_string_equal(job->tenant->name, CN_TENANT_ANONYMOUS);
    assert_int_equal(r.started + r.images + r.ends, 3);
    assert_true(r.progress >= 3);
    assert_true(r.previews >= 1);
    cn_job_steps(job, &done, &total);
    assert_true(done == 3 && total == 3);
    rig_close(&r);
}

static void refusals_have_kinds(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_refused why;
    struct cn_job *job;

    (void)state;
    o.queue_capacity = 4;
    o.tenant.max_queued = 3;
    rig_open(&r, &o, "step=50");
    rig_submit(&r, "anna", "x", 100);
    rig_until(&r, r.started == 1);
    for (int i = 0; i < 3; i++)
        rig_submit(&r, "anna", "x", 1);
    why = cn_dispatch_refuses(r.d, "anna");
    assert_int_equal(why.kind, CN_REFUSED_TENANT);
    assert_in_range(why.retry_after_s, 1, 600);
    assert_int_equal(cn_dispatch_refuses(r.d, "bert").kind, CN_REFUSED_NOT);
    rig_submit(&r, "bert", "x", 1);
    assert_int_equal(cn_dispatch_refuses(r.d, NULL).kind, CN_REFUSED_FULL);
    job = rig_job(&r, "x", 1);
    assert_int_equal(cn_dispatch_submit(r.d, job, "bert", &why, NULL), CN_EBUSY);
    assert_int_equal(why.kind, CN_REFUSED_FULL);
    assert_in_range(cn_dispatch_retry_after_s(r.d, "anna"), 1, 600);
    cn_dispatch_drain(r.d, false);
    assert_int_equal(cn_dispatch_refuses(r.d, "bert").kind, CN_REFUSED_DRAINING);
    rig_close(&r);
}

static void large_jobs_leave_room_for_others(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *job;

    (void)state;
    rig_open(&r, &o, "capacity=8 lanes=4 step=20");
    for (int i = 0; i < 5; i++) { /* two of them have more images than there are lanes */
        job = rig_job(&r, "x", 50);
        job->spec.n = 3;
        free(job->image);
        job->image = cn_xcalloc(3, sizeof(*job->image));
        assert_int_equal(cn_dispatch_submit(r.d, job, NULL, NULL, NULL), CN_OK);
    }
    rig_until(&r, r.progress > 10);
    assert_int_equal(cn_dispatch_worker(r.d, 0).jobs, 4);
    assert_int_equal(cn_dispatch_worker(r.d, 0).images, 12);
    rig_close(&r);
}

/* A worker of 4; one floods it before the others come with 5 jobs each. */
static void a_flood_does_not_delay_others(void **state)
{
    static const char *const name[] = {"bert", "cleo", "dora"};
    struct cn_dispatch_options o = with(1);
    int others = 0, at = 0;

    (void)state;
    rig_open(&r, &o, "capacity=4 lanes=4 step=1");
    for (int i = 0; i < 100; i++)
        rig_submit(&r, "anna", "x", 5);
    rig_until(&r, r.ends >= 8);
    at = r.ends;
    for (int i = 0; i < 15; i++)
        rig_submit(&r, name[i % 3], "x", 5);
    rig_until(&r, r.ends >= 60);
    for (int i = at; i < r.ends; i++) {
        others += r.ended[i]->tenant->name[0] != 'a';
        if (others == 15) {
            at = i + 1 - at;
            break;
        }
    }
    assert_int_equal(others, 15);
    assert_in_range(at, 15, 4 * 5 + 8);
    rig_close(&r);
}

static void a_tenants_cap_holds(void **state)
{
    static const struct cn_tenant_rule rule = {
        "anna", {.weight = 1, .max_running = 1, .max_queued = 100, .max_priority = -3}};
    struct cn_dispatch_options o = with(2);

    (void)state;
    rig_open(&r, &o, "step=5");
    cn_dispatch_set_tenants(r.d, &rule, 1);
    for (int i = 0; i < 6; i++)
        assert_int_equal(rig_submit(&r, "anna", "x", 10)->priority, -3);
    while (r.ends < 3) {
        uv_run(&r.loop, UV_RUN_ONCE);
        assert_in_range(cn_dispatch_running(r.d), 0, 1);
    }
    cn_dispatch_set_tenants(r.d, NULL, 0);
    rig_until(&r, cn_dispatch_running(r.d) == 2);
    rig_until(&r, r.ends == 6);
    rig_close(&r);
}

static void places_and_times_are_told(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *last;

    (void)state;
    rig_open(&r, &o, "step=2");
    assert_true(cn_dispatch_place(r.d, rig_submit(&r, NULL, "x", 20)).eta_s < 0);
    for (int i = 0; i < 8; i++)
        rig_submit(&r, NULL, "x", 20);
    last = rig_submit(&r, NULL, "x", 20);
    assert_int_equal(cn_dispatch_place(r.d, last).position, 10);
    rig_until(&r, r.ends == 3);
    assert_in_range(cn_dispatch_place(r.d, last).position, 6, 7);
    assert_true(cn_dispatch_place(r.d, last).eta_s > 0.1);
    rig_until(&r, last->state == CN_JOB_RUNNING && last->progress.step > 5);
    assert_int_equal(cn_dispatch_place(r.d, last).position, 0);
    assert_true(cn_dispatch_place(r.d, last).eta_s > 0);
    rig_until(&r, r.ends == 10);
    assert_int_equal(cn_dispatch_place(r.d, last).position, 0);
    rig_close(&r);
}

/* What waits, at the pace that was measured, and a fifth more or less. */
static void who_is_refused_hears_when_to_come_back(void **state)
{
    struct cn_dispatch_options o = with(2);
    double pace;
    int64_t start;

    (void)state;
    o.queue_capacity = 400;
    o.tenant.max_queued = 300;
    rig_open(&r, &o, "step=20");
    start = cn_now_ns();
    for (int i = 0; i < 8; i++)
        rig_submit(&r, NULL, "x", 10);
    rig_until(&r, r.ends == 8);
    pace = (double)(cn_now_ns() - start) * 1e-9 / 8;
    for (int i = 0; i < 300; i++)
        rig_submit(&r, NULL, "x", 10);
    for (int i = 0; i < 3; i++) {
        struct cn_refused why = cn_dispatch_refuses(r.d, NULL);

        assert_int_equal(why.kind, CN_REFUSED_TENANT);
        assert_true(why.retry_after_s > 0.5 * 300 * pace && why.retry_after_s < 1.6 * 300 * pace);
    }
    rig_close(&r);
}

/* ---- deadlines and cancelling ---- */

static void deadlines_end_waiting_jobs(void **state)
{
    enum { N = 10000 };
    struct cn_dispatch_options o = with(1);
    int started;

    (void)state;
    o.queue_capacity = N + 1;
    o.tenant.max_queued = 0;
    rig_open(&r, &o, "step=50");
    rig_submit(&r, NULL, "x", 1000);
    rig_until(&r, r.started == 1);
    started = r.started;
    for (int i = 0; i < N; i++) {
        struct cn_job *job = rig_job(&r, "x", 1);

        job->uncommitted = i % 10 == 0;
        job->deadline_ns = job->queued_ns + (100 + i % 200) * INT64_C(1000000);
        assert_int_equal(cn_dispatch_submit(r.d, job, NULL, NULL, NULL), CN_OK);
    }
    rig_until(&r, r.ends == N);
    assert_int_equal(r.started, started); /* none of them touched the worker */
    for (int i = 0; i < N; i++) {
        assert_int_equal(r.ended[i]->state, CN_JOB_EXPIRED);
        assert_true(r.ended[i]->ended_ns >= r.ended[i]->deadline_ns);
        assert_true(i == 0 || r.ended[i]->deadline_ns >= r.ended[i - 1]->deadline_ns);
    }
    rig_close(&r);
}

static void a_deadline_ends_a_running_job(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *job;

    (void)state;
    rig_open(&r, &o, "step=20");
    job = rig_job(&r, "x", 1000);
    job->deadline_ns = cn_now_ns() + INT64_C(200000000);
    assert_int_equal(cn_dispatch_submit(r.d, job, NULL, NULL, NULL), CN_OK);
    rig_until(&r, r.ends == 1);
    assert_int_equal(job->state, CN_JOB_EXPIRED);
    assert_int_equal(r.started, 1);
    rig_submit(&r, NULL, "x", 1); /* and the worker goes on */
    rig_until(&r, r.ends == 2);
    assert_int_equal(r.ended[1]->state, CN_JOB_SUCCEEDED);
    assert_int_equal(rig_restarts(&r, 0), 0);
    rig_close(&r);
}

static void cancelling_works_everywhere(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *running, *waiting, *held;

    (void)state;
    rig_open(&r, &o, "step=20");
    running = rig_submit(&r, NULL, "x", 1000);
    waiting = rig_submit(&r, NULL, "x", 1);
    held = rig_job(&r, "x", 1);
    held->uncommitted = true;
    assert_int_equal(cn_dispatch_submit(r.d, held, NULL, NULL, NULL), CN_OK);
    rig_until(&r, r.started == 1);
    cn_dispatch_cancel(r.d, waiting);
    cn_dispatch_cancel(r.d, running);
    cn_dispatch_cancel(r.d, held);
    cn_dispatch_cancel(r.d, held);
    cn_dispatch_release(r.d, held);
    assert_int_equal(r.ends, 3);
    assert_int_equal(r.on_end, 0);
    assert_true(cn_dispatch_idle(r.d));
    rig_until(&r, cn_dispatch_running(r.d) == 0); /* over there, too */
    assert_int_equal(rig_restarts(&r, 0), 0);
    rig_close(&r);
}

static void a_job_on_hold_waits_for_its_release(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *held;

    (void)state;
    rig_open(&r, &o, "");
    held = rig_job(&r, "x", 1);
    held->uncommitted = true;
    assert_int_equal(cn_dispatch_submit(r.d, held, NULL, NULL, NULL), CN_OK);
    rig_submit(&r, NULL, "x", 1);
    rig_until(&r, r.ends == 1);
    assert_int_equal(held->state, CN_JOB_QUEUED);
    assert_int_equal(cn_dispatch_place(r.d, held).position, 1);
    cn_dispatch_release(r.d, held);
    rig_until(&r, r.ends == 2);
    assert_int_equal(held->state, CN_JOB_SUCCEEDED);
    rig_close(&r);
}

/* ---- workers that are lost ---- */

static void poison_spares_its_neighbours(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *poison, *other[6];

    (void)state;
    rig_open(&r, &o, "capacity=4 lanes=4 step=3");
    poison = rig_submit(&r, "anna", "crash=5", 50);
    for (int i = 0; i < 6; i++)
        other[i] = rig_submit(&r, i % 2 ? "anna" : "bert", "x", 30);
    rig_until(&r, r.ends == 7);
    assert_int_equal(poison->state, CN_JOB_FAILED);
    assert_int_equal(poison->err.code, CN_EDEVICE);
    assert_true(poison->poison);
    assert_int_equal(poison->deaths, 2);
    for (int i = 0; i < 6; i++)
        assert_int_equal(other[i]->state, CN_JOB_SUCCEEDED);
    assert_int_equal(rig_restarts(&r, 0), 2);
    assert_int_equal(r.crowded, 0);
    rig_close(&r);
}

static void a_suspect_goes_to_another_worker(void **state)
{
    struct cn_dispatch_options o = with(2);
    struct cn_job *poison, *busy;

    (void)state;
    rig_open(&r, &o, "step=2");
    for (int i = 0; i < 2; i++) {
        busy = rig_submit(&r, NULL, "x", 200); /* the other worker is not even idle */
        poison = rig_submit(&r, NULL, "crash=1", 10);
        rig_until(&r, cn_job_final(poison) && cn_job_final(busy));
        assert_int_equal(busy->state, CN_JOB_SUCCEEDED);
        assert_int_equal(busy->attempt, 1);
        assert_true(poison->poison);
        assert_int_equal(rig_restarts(&r, 0), i + 1);
        assert_int_equal(rig_restarts(&r, 1), i + 1);
        rig_until(&r, cn_dispatch_ready_workers(r.d) == 2);
    }
    rig_close(&r);
}

static void one_crash_is_survived(void **state)
{
    struct cn_dispatch_options o = with(1);
    char prompt[64], file[] = "/tmp/cn-dispatch-XXXXXX";
    struct cn_job *job;

    (void)state;
    close(mkstemp(file));
    unlink(file);
    snprintf(prompt, sizeof(prompt), "crash-once=%s", file);
    rig_open(&r, &o, "");
    job = rig_submit(&r, NULL, prompt, 5);
    rig_until(&r, r.ends == 1);
    assert_int_equal(job->state, CN_JOB_SUCCEEDED);
    assert_int_equal(job->attempt, 2);
    assert_int_equal(job->deaths, 1);
    assert_int_equal(r.requeued, 1);
    assert_true(cn_dispatch_worker(r.d, 0).healthy);
    unlink(file);
    rig_close(&r);
}

/* Somebody kills the worker again and again: that is not held against the job so soon. */
static void kills_from_outside_count_less(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *job;

    (void)state;
    rig_open(&r, &o, "step=10");
    job = rig_submit(&r, NULL, "x", 1000);
    for (int i = 1; i <= 8; i++) {
        rig_until(&r, job->state == CN_JOB_RUNNING && job->progress.step >= 1);
        assert_int_equal(job->attempt, i);
        kill(cn_dispatch_worker(r.d, 0).pid, SIGKILL);
        rig_until(&r, job->state != CN_JOB_RUNNING);
        assert_int_equal(job->kills, i);
        assert_int_equal(job->state, i < 8 ? CN_JOB_QUEUED : CN_JOB_FAILED);
    }
    assert_int_equal(job->deaths, 0);
    assert_true(job->poison);
    assert_true(cn_dispatch_worker(r.d, 0).healthy);
    rig_close(&r);
}

static void a_kill_does_not_touch_the_other_worker(void **state)
{
    struct cn_dispatch_options o = with(2);
    struct cn_job *job[2];

    (void)state;
    rig_open(&r, &o, "step=5");
    job[0] = rig_submit(&r, NULL, "x", 100);
    job[1] = rig_submit(&r, NULL, "x", 100);
    rig_until(&r, job[0]->progress.step > 0 && job[1]->progress.step > 0);
    kill(cn_dispatch_worker(r.d, 1).pid, SIGKILL);
    rig_until(&r, r.ends == 2);
    assert_int_equal(job[0]->state + job[1]->state, 2 * CN_JOB_SUCCEEDED);
    assert_int_equal(job[0]->attempt + job[1]->attempt, 3);
    assert_int_equal(rig_restarts(&r, 0), 0);
    rig_close(&r);
}

static void a_hang_is_ended(void **state)
{
    struct cn_dispatch_options o = with(2);
    struct cn_job *job, *other;

    (void)state;
    o.hang_timeout_s = 1;
    o.max_attempts = 1;
    rig_open(&r, &o, "step=20");
    job = rig_submit(&r, NULL, "hang", 10);
    other = rig_submit(&r, NULL, "x", 100);
    rig_until(&r, r.ends == 2);
    assert_true(job->poison);
    assert_int_equal(other->state, CN_JOB_SUCCEEDED);
    rig_close(&r);
}

static void a_worker_that_keeps_dying_rests(void **state)
{
    struct cn_dispatch_options o = with(1);
    int64_t start;

    (void)state;
    o.max_attempts = 3;
    rig_open(&r, &o, "");
    rig_submit(&r, NULL, "crash=0", 10);
    rig_until(&r, r.ends == 1);
    assert_false(cn_dispatch_worker(r.d, 0).healthy);
    rig_submit(&r, NULL, "x", 1);
    start = cn_now_ns();
    rig_until(&r, r.ends == 2); /* the only one comes back all the same */
    assert_true(cn_now_ns() - start > INT64_C(4000000000));
    assert_int_equal(r.ended[1]->state, CN_JOB_SUCCEEDED);
    assert_true(cn_dispatch_worker(r.d, 0).healthy);
    rig_close(&r);
}

static void a_failed_device_gets_nothing_more(void **state)
{
    struct cn_dispatch_options o = with(2);
    struct cn_job *job, *other;

    (void)state;
    rig_open(&r, &o, "capacity=2 lanes=2 step=2");
    job = rig_submit(&r, NULL, "device", 10);
    rig_until(&r, cn_job_final(job));
    assert_true(job->poison);
    assert_int_equal(job->deaths, 2);
    rig_until(&r, rig_restarts(&r, 0) == 1 && rig_restarts(&r, 1) == 1);
    other = rig_submit(&r, NULL, "x", 1);
    rig_until(&r, cn_job_final(other));
    assert_int_equal(other->state, CN_JOB_SUCCEEDED);
    rig_close(&r);
}

/* Beside others the device has no memory for it: once more, alone. */
static void what_finds_no_memory_is_tried_alone(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *other, *large;
    char prompt[64];

    (void)state;
    rig_open(&r, &o, "capacity=4 lanes=4 step=5");
    snprintf(prompt, sizeof(prompt), "fail=%s", cn_code_name(CN_EDEVMEM));
    other = rig_submit(&r, NULL, "x", 20);
    large = rig_submit(&r, NULL, prompt, 5);
    rig_until(&r, r.ends == 2);
    assert_int_equal(other->state, CN_JOB_SUCCEEDED);
    assert_int_equal(other->attempt, 1);
    assert_int_equal(large->attempt, 2);
    assert_int_equal(large->err.code, CN_EDEVMEM);
    assert_ptr_equal(r.ended[0], other); /* it had to leave first */
    large = rig_submit(&r, NULL, prompt, 5);
    rig_until(&r, r.ends == 3);
    assert_int_equal(large->attempt, 1);
    assert_int_equal(rig_restarts(&r, 0), 0);
    rig_close(&r);
}

/* Cancelling and expiring a suspect that waits for a worker to itself. */
static void a_waiting_suspect_can_be_cancelled(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *a, *b, *c;

    (void)state;
    rig_open(&r, &o, "capacity=3 lanes=3 step=10");
    a = rig_submit(&r, NULL, "x", 200);
    b = rig_submit(&r, NULL, "x", 200);
    c = rig_submit(&r, NULL, "x", 200);
    rig_until(&r, a->progress.step > 0 && b->progress.step > 0 && c->progress.step > 0);
    kill(cn_dispatch_worker(r.d, 0).pid, SIGKILL);
    rig_until(&r, r.started == 4); /* one of them, alone */
    assert_int_equal(cn_dispatch_waiting(r.d), 2);
    assert_int_equal(a->state, CN_JOB_RUNNING);
    assert_int_equal(cn_dispatch_place(r.d, c).position, 1);
    cn_dispatch_cancel(r.d, b);
    cn_dispatch_cancel(r.d, a);
    rig_until(&r, c->state == CN_JOB_RUNNING);
    cn_dispatch_cancel(r.d, c);
    assert_int_equal(r.ends, 3);
    assert_true(cn_dispatch_idle(r.d));
    rig_close(&r);
}

/* ---- durable jobs ---- */

static void the_drain_leaves_durable_jobs_to_the_store(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *running, *kept[3], *plain, *late;

    (void)state;
    rig_open(&r, &o, "step=5");
    running = rig_job(&r, "x", 40);
    running->may_be_deferred = true;
    assert_int_equal(cn_dispatch_submit(r.d, running, NULL, NULL, NULL), CN_OK);
    rig_until(&r, r.started == 1);
    for (int i = 0; i < 3; i++) {
        kept[i] = rig_job(&r, "x", 1);
        kept[i]->may_be_deferred = true;
        kept[i]->uncommitted = i == 2;
        assert_int_equal(cn_dispatch_submit(r.d, kept[i], NULL, NULL, NULL), CN_OK);
    }
    plain = rig_submit(&r, NULL, "x", 1);
    cn_dispatch_drain(r.d, true);
    late = rig_job(&r, "x", 1);
    late->may_be_deferred = true;
    assert_int_equal(cn_dispatch_submit(r.d, late, NULL, NULL, NULL), CN_OK);
    cn_dispatch_release(r.d, kept[2]);
    rig_until(&r, cn_dispatch_idle(r.d));
    assert_int_equal(running->state, CN_JOB_SUCCEEDED);
    assert_int_equal(plain->state, CN_JOB_SUCCEEDED);
    for (int i = 0; i < 3; i++)
        assert_int_equal(kept[i]->state, CN_JOB_QUEUED);
    assert_int_equal(late->state, CN_JOB_QUEUED);
    assert_int_equal(r.requeued, 0);
    cn_dispatch_cancel(r.d, late); /* it is still known */
    assert_int_equal(late->state, CN_JOB_CANCELLED);
    rig_close(&r);
}

static void the_end_gives_durable_jobs_back(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *durable, *plain;

    (void)state;
    rig_open(&r, &o, "capacity=2 lanes=2 step=20");
    durable = rig_job(&r, "x", 1000);
    durable->may_be_deferred = true;
    assert_int_equal(cn_dispatch_submit(r.d, durable, NULL, NULL, NULL), CN_OK);
    plain = rig_submit(&r, NULL, "x", 1000);
    rig_until(&r, r.started == 2);
    cn_dispatch_drain(r.d, false);
    cn_dispatch_fail_all(r.d, CN_EBUSY, "the end");
    assert_int_equal(durable->state, CN_JOB_QUEUED);
    assert_int_equal(plain->state, CN_JOB_FAILED);
    assert_int_equal(r.requeued, 1);
    assert_true(cn_dispatch_idle(r.d));
    rig_close(&r);
}

static void images_are_fetched_for_each_attempt(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *job;

    (void)state;
    rig_open(&r, &o, "");
    job = rig_job(&r, "x", 1);
    job->inputs_evicted = job->may_be_deferred = true;
    cn_dispatch_restore(r.d, job, "anna");
    rig_until(&r, r.ends == 1);
    assert_int_equal(r.fetched, 1);
    assert_int_equal(job->state, CN_JOB_SUCCEEDED);
    r.fetch_fails = CN_ESTORAGE;
    job = rig_job(&r, "x", 1);
    job->inputs_evicted = job->may_be_deferred = true;
    cn_dispatch_restore(r.d, job, "anna");
    rig_until(&r, r.ends == 2);
    assert_int_equal(job->state, CN_JOB_FAILED);
    assert_int_equal(job->err.code, CN_ESTORAGE);
    rig_close(&r);
}

/* A disk that is busy, descriptors that have run out: the job waits for a while, and others go on.
 */
static void images_that_cannot_be_read_now_are_read_later(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *job, *other, *quitter;

    (void)state;
    rig_open(&r, &o, "");
    r.fetch_fails = CN_EBUSY;
    job = rig_job(&r, "x", 1);
    quitter = rig_job(&r, "x", 1);
    job->inputs_evicted = job->may_be_deferred = true;
    quitter->inputs_evicted = quitter->may_be_deferred = true;
    cn_dispatch_restore(r.d, job, "anna");
    cn_dispatch_restore(r.d, quitter, "anna");
    other = rig_submit(&r, "anna", "x", 1);
    rig_until(&r, cn_job_final(other) && r.fetched >= 4);
    assert_int_equal(job->state, CN_JOB_QUEUED);
    assert_int_equal(job->attempt, 1);
    cn_dispatch_cancel(r.d, quitter);
    r.fetch_fails = 0;
    rig_until(&r, cn_job_final(job));
    assert_int_equal(job->state, CN_JOB_SUCCEEDED);
    assert_int_equal(quitter->state, CN_JOB_CANCELLED);
    assert_int_equal(cn_dispatch_waiting(r.d), 0);
    rig_close(&r);
}

/* A worker that begins the job and then has no room for it: it is asked again later, and not for
 * ever. */
static void a_worker_that_is_always_busy_is_given_up(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *job;

    (void)state;
    rig_open(&r, &o, "");
    job = rig_submit(&r, NULL, "fail=busy", 1);
    rig_until(&r, job->busy == 2); /* counted on, although progress was told between */
    job->busy = 20;
    rig_until(&r, cn_job_final(job));
    assert_int_equal(job->state, CN_JOB_FAILED);
    assert_int_equal(job->err.code, CN_EINTERNAL); /* and not that the server shuts down */
    assert_int_equal(job->attempt, 1);
    rig_close(&r);
}

/* An idle worker that stands still is found out by its silence, and its place is taken. */
static void an_idle_worker_that_hangs_is_replaced(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *job;
    int pid;

    (void)state;
    o.ping_ms = 100;
    rig_open(&r, &o, "");
    pid = cn_dispatch_worker(r.d, 0).pid;
    assert_int_equal(kill(pid, SIGSTOP), 0);
    rig_until(&r, rig_restarts(&r, 0) == 1 && cn_dispatch_ready_workers(r.d) == 1);
    assert_int_not_equal(cn_dispatch_worker(r.d, 0).pid, pid);
    job = rig_submit(&r, NULL, "x", 1);
    rig_until(&r, cn_job_final(job));
    assert_int_equal(job->state, CN_JOB_SUCCEEDED);
    rig_close(&r);
}

/* ---- models ---- */

static void on_managed(void *arg, int rc, const struct cn_err *err)
{
    struct rig *x = arg;

    assert_int_equal(rc, err->code);
    x->managed++;
    x->managed_rc = rc;
}

static int manage(enum cn_manage action, const char *name, int worker)
{
    struct cn_msg_manage m = {.action = action};

    snprintf(m.name, sizeof(m.name), "%s", name);
    return cn_dispatch_manage(r.d, &m, worker, on_managed, &r, NULL);
}

static void models_come_and_go(void **state)
{
    struct cn_dispatch_options o = with(2);
    struct cn_job *job;

    (void)state;
    rig_open(&r, &o, "step=5");
    assert_int_equal(manage(CN_MANAGE_LOAD, "nope", CN_WORKER_ANY), CN_ENOTFOUND);
    assert_int_equal(manage(CN_MANAGE_LOAD, "photo", 1), CN_OK);
    assert_int_equal(r.managed, 0);
    rig_until(&r, r.managed == 1);
    assert_int_equal(r.managed_rc, CN_OK);
    assert_int_equal(cn_dispatch_model(r.d, "photo").state, CN_MODEL_LOADED);
    assert_int_equal(cn_dispatch_model(r.d, "photo").workers, 1);
    for (int i = 0; i < 2; i++) { /* both are idle: it goes where the model is */
        job = rig_job(&r, "x", 20);
        free(job->spec.model);
        job->spec.model = cn_xstrdup("photo");
        assert_int_equal(cn_dispatch_submit(r.d, job, NULL, NULL, NULL), CN_OK);
        rig_until(&r, job->progress.step > 0);
        assert_int_equal(cn_dispatch_worker(r.d, 1).jobs, 1);
        rig_until(&r, cn_job_final(job));
    }
    assert_int_equal(manage(CN_MANAGE_UNLOAD, "photo", CN_WORKER_ANY), CN_OK);
    rig_until(&r, r.managed == 2);
    assert_int_equal(r.managed_rc, CN_OK);
    assert_int_equal(cn_dispatch_model(r.d, "photo").state, CN_MODEL_UNLOADED);
    rig_close(&r);
}

/* Ten jobs tell what a job takes; the eleventh needs a model that is read for as long as 20 of
 * them, the twelfth really takes so long. */
static void loading_is_nobodys_cost_and_slowness_is(void **state)
{
    struct cn_dispatch_options o = with(1);
    struct cn_job *job;
    double before;

    (void)state;
    rig_open(&r, &o, "load=600 step=3");
    for (int i = 0; i < 10; i++)
        rig_submit(&r, "anna", "x", 10);
    rig_until(&r, r.ends == 10);
    job = rig_job(&r, "x", 10);
    free(job->spec.model);
    job->spec.model = cn_xstrdup("photo");
    assert_int_equal(cn_dispatch_submit(r.d, job, "bert", NULL, NULL), CN_OK);
    before = r.ended[0]->tenant->start; /* where a newcomer begins */
    rig_until(&r, r.ends == 11);
    assert_true(job->tenant->start - before < 1.01 * job->cost);
    before = job->tenant->start;
    job = rig_submit(&r, "bert", "step=60", 10);
    rig_until(&r, r.ends == 12);
    assert_true(job->tenant->start - before > 4 * job->cost);
    rig_close(&r);
}

static void a_lost_worker_answers_for_its_models(void **state)
{
    struct cn_dispatch_options o = with(1);

    (void)state;
    rig_open(&r, &o, "load=300");
    assert_int_equal(manage(CN_MANAGE_LOAD, "photo", CN_WORKER_ANY), CN_OK);
    kill(cn_dispatch_worker(r.d, 0).pid, SIGKILL);
    rig_until(&r, r.managed == 1);
    assert_int_equal(r.managed_rc, CN_EDEVICE);
    assert_int_equal(manage(CN_MANAGE_LOAD, "photo", CN_WORKER_ANY), CN_EBUSY);
    rig_until(&r, cn_dispatch_ready_workers(r.d) == 1);
    assert_int_equal(manage(CN_MANAGE_LOAD, "photo", CN_WORKER_ANY), CN_OK);
    cn_dispatch_forget_manage(r.d, &r);
    rig_until(&r, cn_dispatch_model(r.d, "photo").state == CN_MODEL_LOADED);
    rig_for(&r, 50);
    assert_int_equal(r.managed, 1);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_that_is_always_busy_is_given_up),
        cmocka_unit_test(an_idle_worker_that_hangs_is_replaced),
        cmocka_unit_test(a_job_is_told_of),
        cmocka_unit_test(refusals_have_kinds),
        cmocka_unit_test(large_jobs_leave_room_for_others),
        cmocka_unit_test(a_flood_does_not_delay_others),
        cmocka_unit_test(a_tenants_cap_holds),
        cmocka_unit_test(places_and_times_are_told),
        cmocka_unit_test(who_is_refused_hears_when_to_come_back),
        cmocka_unit_test(deadlines_end_waiting_jobs),
        cmocka_unit_test(a_deadline_ends_a_running_job),
        cmocka_unit_test(cancelling_works_everywhere),
        cmocka_unit_test(a_job_on_hold_waits_for_its_release),
        cmocka_unit_test(poison_spares_its_neighbours),
        cmocka_unit_test(a_suspect_goes_to_another_worker),
        cmocka_unit_test(one_crash_is_survived),
        cmocka_unit_test(kills_from_outside_count_less),
        cmocka_unit_test(a_kill_does_not_touch_the_other_worker),
        cmocka_unit_test(a_hang_is_ended),
        cmocka_unit_test(a_worker_that_keeps_dying_rests),
        cmocka_unit_test(a_failed_device_gets_nothing_more),
        cmocka_unit_test(what_finds_no_memory_is_tried_alone),
        cmocka_unit_test(a_waiting_suspect_can_be_cancelled),
        cmocka_unit_test(the_drain_leaves_durable_jobs_to_the_store),
        cmocka_unit_test(the_end_gives_durable_jobs_back),
        cmocka_unit_test(images_are_fetched_for_each_attempt),
        cmocka_unit_test(images_that_cannot_be_read_now_are_read_later),
        cmocka_unit_test(models_come_and_go),
        cmocka_unit_test(loading_is_nobodys_cost_and_slowness_is),
        cmocka_unit_test(a_lost_worker_answers_for_its_models),
    };

    if (access("tests/e2e/fake-worker", X_OK) != 0)
        return 77; /* it is in the build tree, where this is run */
    signal(SIGPIPE, SIG_IGN);
    cn_log_init(&(struct cn_log_options){.level = CN_LOG_ERROR, .fd = dup(STDERR_FILENO)});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
