/* job: the service, with a store and a fake worker. */
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "jobs_rig.h"
#include "tests/store/fault.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- the clock ---- */

int64_t __real_cn_wall_us(void);
int64_t __wrap_cn_wall_us(void);

static int64_t wall_ahead_us; /* how far the wall's clock has been set forward: nobody waits */

int64_t __wrap_cn_wall_us(void)
{
    return __real_cn_wall_us() + wall_ahead_us;
}

/* ---- following ---- */

struct follower {
    struct cn_watch *watch;
    char text[4000]; /* the events, as words */
    uint64_t last_id;
    int wakes, progress, previews;
    bool over, told;
    int rc;
};

static void pull(struct follower *f)
{
    struct cn_job_event e;

    while (cn_watch_next(f->watch, &e)) {
        size_t n = strlen(f->text);

        assert_true(e.id > f->last_id);
        f->last_id = e.id;
        f->progress += e.kind == CN_EVENT_PROGRESS;
        f->previews += e.kind == CN_EVENT_PREVIEW;
        if (e.kind == CN_EVENT_IMAGE)
            snprintf(f->text + n, sizeof(f->text) - n, "image%d ", e.index);
        else if (e.kind == CN_EVENT_STATE || e.kind == CN_EVENT_DONE)
            snprintf(f->text + n, sizeof(f->text) - n, "%s:%s ", cn_enum_event.name[e.kind],
                     cn_enum_job_state.name[e.state]);
        f->over = e.kind == CN_EVENT_DONE;
    }
}

static void wake(void *arg)
{
    struct follower *f = arg;

    f->wakes++;
    pull(f);
}

/* Wakes, but does not read: a slow one. */
static void wake_only(void *arg)
{
    ((struct follower *)arg)->wakes++;
}

static void on_followed(void *arg, struct cn_watch *w, const struct cn_err *err)
{
    struct follower *f = arg;

    f->told = true;
    f->watch = w;
    f->rc = err != NULL ? err->code : CN_OK;
}

static bool is_told(void *arg)
{
    return ((struct follower *)arg)->told;
}

static int try_to_follow(struct rig *r, const char *tenant, const char *id, uint64_t last_id,
                         void (*how)(void *arg), struct follower *f)
{
    const struct cn_jobs_read *read;

    memset(f, 0, sizeof(*f));
    read = cn_jobs_follow(r->jobs, tenant, id, last_id, how, on_followed, f);
    assert_true((read == NULL) == f->told);
    rig_until(r, is_told, f);
    return f->rc;
}

static void follow(struct rig *r, const char *id, uint64_t last_id, struct follower *f)
{
    assert_int_equal(try_to_follow(r, NULL, id, last_id, wake, f), CN_OK);
    pull(f);
}

static bool is_over(void *arg)
{
    return ((struct follower *)arg)->over;
}

/* ---- durable jobs ---- */

static void a_durable_job_is_kept_followed_and_read(void **state)
{
    struct cn_image_file file;
    struct cn_job_view v;
    struct follower f;
    struct answer a;
    struct rig r;
    struct stat st;

    (void)state;
    rig_init(&r, "");
    rig_start(&r);
    rig_submit(&r, &(struct ask){.tenant = "anna", .prompt = "step=5", .n = 2}, &a);
    assert_int_equal(a.outcome, CN_SUBMIT_NEW);
    assert_int_equal(strlen(a.id), 26);
    follow(&r, a.id, 0, &f);
    rig_until(&r, is_over, &f);
    assert_string_equal(f.text, "state:queued state:running image0 image1 done:succeeded ");
    assert_true(f.progress > 0);
    cn_watch_free(f.watch);
    rig_until(&r, rig_ended, &a);
    assert_int_equal(a.state, CN_JOB_SUCCEEDED);
    assert_int_equal(a.image_len, 0); /* it is in the store, and nowhere else */

    assert_int_equal(rig_look(&r, "anna", a.id, &v), CN_OK);
    assert_true(v.durable && v.n == 2 && v.image[1].ready && v.fraction == 1 && v.attempt == 1);
    assert_true(v.image[0].meta.width == 64 && v.image[0].meta.bytes > 0 &&
                v.expires_us > v.ended_us);
    assert_string_equal(v.spec->model, "emoji");
    assert_int_equal(rig_picture(&r, "anna", a.id, 1, &file), CN_OK);
    assert_true(file.fd >= 0 && file.job == NULL);
    assert_int_equal(fstat(file.fd, &st), 0);
    assert_int_equal(st.st_size, v.image[1].meta.bytes);
    close(file.fd);
    cn_job_view_release(&v);
    assert_int_equal(rig_picture(&r, "anna", a.id, 2, &file), CN_ENOTFOUND);
    assert_int_equal(rig_state(&r, "bert", a.id), CN_ENOTFOUND);
    assert_int_equal(rig_picture(&r, "bert", a.id, 0, &file), CN_ENOTFOUND);
    assert_int_equal(try_to_follow(&r, "bert", a.id, 0, wake, &f), CN_ENOTFOUND);
    assert_int_equal(rig_delete(&r, "bert", a.id, NULL), CN_ENOTFOUND);
    cn_jobs_abandon(r.jobs, "bert", a.id); /* nor that */
    assert_int_equal(rig_state(&r, NULL, a.id), CN_JOB_SUCCEEDED);
    rig_stop(&r);

    /* The next life. */
    rig_start(&r);
    assert_int_equal(rig_state(&r, "anna", a.id), CN_JOB_SUCCEEDED);
    assert_int_equal(rig_picture(&r, "anna", a.id, 0, &file), CN_OK);
    close(file.fd);
    follow(&r, a.id, f.last_id, &f); /* a late one: done comes in any case */
    assert_string_equal(f.text, "image0 image1 done:succeeded ");
    assert_true(cn_watch_over(f.watch));
    cn_watch_free(f.watch);
    rig_stop(&r);
    rig_end(&r);
}

static void a_slow_reader_misses_progress_only(void **state)
{
    struct follower f, slow;
    struct answer a;
    struct rig r;

    (void)state;
    rig_init(&r, "");
    rig_start(&r);
    rig_submit(&r, &(struct ask){.prompt = "step=10", .n = 6}, &a);
    follow(&r, a.id, 0, &f);
    assert_int_equal(try_to_follow(&r, NULL, a.id, 0, wake_only, &slow), CN_OK);
    pull(&slow);
    rig_until(&r, is_over, &f);
    assert_true(slow.wakes == 1); /* and not again before it reads */
    pull(&slow);
    assert_string_equal(slow.text, "state:queued state:running image0 image1 image2 image3 image4 "
                                   "image5 done:succeeded ");
    assert_true(slow.progress <= 1); /* one may have been there at the beginning */
    cn_watch_free(slow.watch);
    follow(&r, a.id, 2, &slow); /* Last-Event-ID */
    assert_string_equal(slow.text, "image0 image1 image2 image3 image4 image5 done:succeeded ");
    cn_watch_free(slow.watch);
    follow(&r, a.id, f.last_id, &slow);
    assert_string_equal(slow.text, "done:succeeded ");
    cn_watch_free(slow.watch);
    cn_watch_free(f.watch);
    rig_stop(&r);
    rig_end(&r);
}

static void a_restart_goes_on_where_it_was(void **state)
{
    struct answer a[5];
    struct follower f;
    struct rig r;

    (void)state;
    rig_init(&r, "");
    r.jo.keep_bytes = 5000;
    rig_start(&r);
    rig_submit(&r, &(struct ask){.tenant = "anna", .prompt = "step=10000"}, &a[0]);
    for (int i = 1; i < 5; i++)
        rig_submit(&r, &(struct ask){.tenant = "anna", .image_bytes = 3000}, &a[i]);
    rig_until_state(&r, a[0].id, CN_JOB_RUNNING);
    assert_int_equal(rig_delete(&r, "anna", a[4].id, NULL), CN_OK);
    follow(&r, a[0].id, 0, &f);
    cn_watch_free(f.watch);
    rig_stop(&r);
    assert_int_equal(a[0].ended, 0);

    rig_start(&r);
    rig_until_state(&r, a[0].id, CN_JOB_RUNNING);
    assert_int_equal(rig_state(&r, "anna", a[4].id), CN_JOB_CANCELLED);
    cn_jobs_abandon(r.jobs, "anna", a[0].id);
    for (int i = 1; i < 4; i++)
        rig_until_state(&r, a[i].id, CN_JOB_SUCCEEDED);
    rig_until_state(&r, a[0].id, CN_JOB_CANCELLED);
    {
        uint64_t last = f.last_id;

        follow(&r, a[0].id, last, &f); /* ids go on over the restart */
        assert_string_equal(f.text, "state:queued state:running done:cancelled ");
        assert_true(f.last_id > last);
        cn_watch_free(f.watch);
    }
    rig_stop(&r);
    rig_end(&r);
}

static bool dispatch_idle(void *arg)
{
    return cn_dispatch_idle(((struct rig *)arg)->dispatch);
}

/* In the drain, who waits at the other end of a connection gets an answer; others can come back. */
static void a_drain_finishes_what_somebody_waits_for(void **state)
{
    struct answer a, b, c, late;
    struct rig r;

    (void)state;
    rig_init(&r, "");
    rig_start(&r);
    rig_submit(&r, &(struct ask){.prompt = "step=30", .waits = true}, &a);
    rig_submit(&r, &(struct ask){.prompt = "step=10"}, &b);
    rig_submit(&r, &(struct ask){.prompt = "step=10", .waits = true}, &c);
    rig_until_state(&r, a.id, CN_JOB_RUNNING);
    cn_jobs_drain(r.jobs);
    cn_dispatch_drain(r.dispatch, true);
    rig_submit(&r, &(struct ask){.waits = true}, &late);
    rig_until(&r, dispatch_idle, &r);
    rig_until(&r, rig_ended, &late);
    assert_true(a.ended == 1 && a.state == CN_JOB_SUCCEEDED);
    assert_true(c.ended == 1 && c.state == CN_JOB_SUCCEEDED);
    assert_int_equal(late.state, CN_JOB_SUCCEEDED);
    assert_int_equal(b.ended, 0);
    rig_stop(&r);
    rig_start(&r);
    rig_submit(&r, &(struct ask){.prompt = "step=10000", .waits = true}, &a);
    rig_until_state(&r, b.id, CN_JOB_SUCCEEDED);
    rig_until_state(&r, a.id, CN_JOB_RUNNING);
    rig_stop(&r); /* no more time: it is left, not failed */
    rig_start(&r);
    rig_until_state(&r, a.id, CN_JOB_RUNNING);
    rig_stop(&r);
    rig_end(&r);
}

static void a_deadline_outlives_the_daemon(void **state)
{
    struct answer a;
    struct rig r;

    (void)state;
    rig_init(&r, "");
    rig_start(&r);
    rig_submit(&r, &(struct ask){.prompt = "step=10000", .timeout_s = 100}, &a);
    rig_until_state(&r, a.id, CN_JOB_RUNNING);
    rig_stop(&r);
    wall_ahead_us += 100 * CN_SECOND_US;
    rig_start(&r);
    rig_until_state(&r, a.id, CN_JOB_EXPIRED);
    rig_stop(&r);
    rig_end(&r);
}

static void results_past_their_time_are_gone(void **state)
{
    struct cn_image_file file;
    struct follower f;
    struct answer a;
    struct rig r;

    (void)state;
    rig_init(&r, "");
    r.so.result_ttl_s = 100;
    rig_start(&r);
    rig_submit(&r, &(struct ask){.tenant = "anna"}, &a);
    rig_until(&r, rig_ended, &a);
    wall_ahead_us += 100 * CN_SECOND_US;
    assert_int_equal(rig_state(&r, "anna", a.id), CN_EGONE);
    assert_int_equal(rig_state(&r, "bert", a.id), CN_ENOTFOUND);
    assert_int_equal(rig_picture(&r, "anna", a.id, 0, &file), CN_EGONE);
    assert_int_equal(try_to_follow(&r, "anna", a.id, 0, wake, &f), CN_EGONE);
    assert_int_equal(rig_delete(&r, "anna", a.id, NULL), CN_EGONE);
    rig_stop(&r);
    rig_end(&r);
}

/* ---- keys ---- */

static bool all_told(void *arg)
{
    struct answer *a = arg;

    for (int i = 0; i < 100; i++)
        if (a[i].told == 0)
            return false;
    return true;
}

static void one_key_is_one_job(void **state)
{
    struct ask ask = {.tenant = "anna", .key = "k1", .print = 7, .fire = true};
    struct answer a[100], other;
    int fresh = 0;
    struct rig r;

    (void)state;
    rig_init(&r, "");
    rig_start(&r);
    for (int i = 0; i < 100; i++)
        rig_submit(&r, &ask, &a[i]);
    ask.print = 8;
    rig_submit(&r, &ask, &other); /* while the first is being accepted */
    rig_until(&r, all_told, a);
    rig_until(&r, rig_told, &other);
    assert_int_equal(other.outcome, CN_SUBMIT_IN_PROGRESS);
    for (int i = 0; i < 100; i++) {
        fresh += a[i].outcome == CN_SUBMIT_NEW;
        assert_true(a[i].outcome == CN_SUBMIT_NEW || a[i].outcome == CN_SUBMIT_REPLAY);
        assert_string_equal(a[i].id, a[0].id);
    }
    assert_int_equal(fresh, 1);
    ask.fire = false;
    rig_submit(&r, &ask, &other);
    assert_int_equal(other.outcome, CN_SUBMIT_MISMATCH);
    ask.tenant = "bert"; /* has keys of his own */
    rig_submit(&r, &ask, &other);
    assert_int_equal(other.outcome, CN_SUBMIT_NEW);
    rig_until_state(&r, a[0].id, CN_JOB_SUCCEEDED);
    rig_stop(&r);
    rig_start(&r);
    ask.tenant = "anna";
    ask.print = 7;
    rig_submit(&r, &ask, &other);
    assert_int_equal(other.outcome, CN_SUBMIT_REPLAY);
    assert_string_equal(other.id, a[0].id);
    rig_stop(&r);
    rig_end(&r);
}

/* ---- not durable ---- */

static void a_sync_job_lives_in_memory(void **state)
{
    struct cn_image_file file;
    struct cn_submission *sub;
    struct follower f;
    struct answer a, b;
    struct rig r;

    (void)state;
    rig_init(&r, "");
    r.no_store = true;
    rig_start(&r);
    assert_int_equal(cn_jobs_storage(r.jobs, NULL), CN_ENOTFOUND);
    rig_submit(&r, &(struct ask){.tenant = "anna"}, &a);
    assert_int_equal(a.outcome, CN_SUBMIT_REFUSED);
    assert_int_equal(a.err.code, CN_ENOTFOUND);
    rig_submit(&r, &(struct ask){.tenant = "anna", .sync = true}, &a);
    assert_int_equal(a.outcome, CN_SUBMIT_NEW);
    rig_until(&r, rig_ended, &a);
    assert_int_equal(a.state, CN_JOB_SUCCEEDED);
    assert_true(a.image_len > 0);
    assert_int_equal(rig_state(&r, "anna", a.id), CN_JOB_SUCCEEDED);
    assert_int_equal(rig_picture(&r, "anna", a.id, 0, &file), CN_OK);
    assert_true(file.fd == -1 && file.meta.bytes == a.image_len && file.data != NULL);
    cn_job_unref(file.job);
    follow(&r, a.id, 0, &f);
    assert_string_equal(f.text, "state:queued state:running image0 done:succeeded ");
    cn_watch_free(f.watch);

    /* Who waits goes away. */
    rig_submit(&r, &(struct ask){.prompt = "step=10000", .sync = true}, &a);
    rig_until_state(&r, a.id, CN_JOB_RUNNING);
    cn_jobs_abandon(r.jobs, NULL, a.id);
    rig_until_state(&r, a.id, CN_JOB_CANCELLED);
    /* Before the answer. */
    sub = rig_submit(&r, &(struct ask){.prompt = "step=10000", .sync = true, .fire = true}, &b);
    cn_jobs_withdraw(sub, true);
    rig_turn(&r, 20);
    assert_int_equal(b.told + b.ended, 0);
    rig_stop(&r);
    rig_end(&r);
}

static void only_the_last_ones_stay(void **state)
{
    struct answer a[6];
    struct follower f;
    struct rig r;

    (void)state;
    rig_init(&r, "");
    r.jo.recent = 2;
    rig_start(&r);
    rig_submit(&r, &(struct ask){.sync = true, .prompt = "step=20"}, &a[0]);
    follow(&r, a[0].id, 0, &f);
    for (int i = 1; i < 6; i++) {
        rig_submit(&r, &(struct ask){.sync = i % 2 == 0}, &a[i]);
        rig_until(&r, rig_ended, &a[i]);
    }
    assert_int_equal(rig_state(&r, NULL, a[2].id), CN_ENOTFOUND);
    assert_int_equal(rig_state(&r, NULL, a[1].id), CN_JOB_SUCCEEDED); /* from the store */
    assert_int_equal(rig_state(&r, NULL, a[0].id), CN_JOB_SUCCEEDED); /* is watched */
    cn_watch_free(f.watch);
    rig_submit(&r, &(struct ask){.sync = true}, &a[2]);
    rig_until(&r, rig_ended, &a[2]);
    assert_int_equal(rig_state(&r, NULL, a[0].id), CN_ENOTFOUND);
    assert_int_equal(rig_state(&r, NULL, a[2].id), CN_JOB_SUCCEEDED);
    rig_stop(&r);
    rig_end(&r);
}

/* ---- cancelling and removing ---- */

static void on_cancelled(void *arg, bool removed, const struct cn_err *err)
{
    int *n = arg;

    assert_true(err == NULL && !removed);
    ++*n;
}

static bool two(void *arg)
{
    return *(int *)arg == 2;
}

static void cancels_are_told_when_they_are_stored(void **state)
{
    struct cn_jobs_read *read;
    struct answer a, b;
    int n = 0, gone = 0;
    struct rig r;

    (void)state;
    rig_init(&r, "");
    rig_start(&r);
    rig_submit(&r, &(struct ask){.prompt = "step=10000"}, &a);
    rig_submit(&r, &(struct ask){0}, &b);
    rig_until_state(&r, a.id, CN_JOB_RUNNING);
    assert_non_null(cn_jobs_delete(r.jobs, NULL, a.id, on_cancelled, &n));
    assert_non_null(cn_jobs_delete(r.jobs, NULL, a.id, on_cancelled, &n));
    read = cn_jobs_delete(r.jobs, NULL, a.id, on_cancelled, &gone);
    cn_jobs_forget(read);
    assert_int_equal(n, 0);
    rig_until(&r, two, &n);
    assert_int_equal(rig_state(&r, NULL, a.id), CN_JOB_CANCELLED);
    rig_until(&r, rig_ended, &a);
    assert_int_equal(gone, 0);
    rig_until_state(&r, b.id, CN_JOB_SUCCEEDED);
    rig_stop(&r);
    rig_end(&r);
}

/* What is over loses its pictures, in memory and on the disk, and so it stays. */
static void a_finished_job_is_removed(void **state)
{
    struct cn_image_file file;
    struct answer kept, other, sync;
    struct cn_jobs_read *read;
    struct rig r;
    bool removed;
    int never = 0;

    (void)state;
    rig_init(&r, "");
    rig_start(&r);
    rig_submit(&r, &(struct ask){.tenant = "anna", .n = 2}, &kept);
    rig_submit(&r, &(struct ask){.tenant = "anna"}, &other);
    rig_submit(&r, &(struct ask){.tenant = "anna", .sync = true}, &sync);
    rig_until(&r, rig_ended, &kept);
    rig_until(&r, rig_ended, &other);
    rig_until(&r, rig_ended, &sync);
    assert_int_equal(rig_delete(&r, "bert", kept.id, NULL), CN_ENOTFOUND);
    assert_int_equal(rig_delete(&r, "anna", kept.id, &removed), CN_OK);
    assert_true(removed);
    assert_int_equal(rig_state(&r, "anna", kept.id), CN_EGONE);
    assert_int_equal(rig_picture(&r, "anna", kept.id, 0, &file), CN_EGONE);
    assert_int_equal(rig_delete(&r, "anna", kept.id, NULL), CN_EGONE);
    assert_int_equal(rig_delete(&r, "anna", sync.id, &removed), CN_OK);
    assert_true(removed);
    assert_int_equal(rig_state(&r, "anna", sync.id), CN_ENOTFOUND);
    read = cn_jobs_delete(r.jobs, "anna", other.id, on_cancelled, &never);
    cn_jobs_forget(read); /* the client goes: it is removed all the same */
    rig_stop(&r);
    assert_int_equal(never, 0);
    rig_start(&r);
    assert_int_equal(rig_state(&r, "anna", kept.id), CN_EGONE);
    assert_int_equal(rig_state(&r, "anna", other.id), CN_EGONE);
    rig_stop(&r);
    rig_end(&r);
}

/* ---- refusals and failures ---- */

static void the_queue_counts_what_is_being_stored(void **state)
{
    int accepted = 0, full = 0;
    struct answer a[40];
    struct rig r;

    (void)state;
    rig_init(&r, "");
    r.queue_capacity = 10;
    rig_start(&r);
    rig_submit(&r, &(struct ask){.prompt = "step=10000"}, &a[0]);
    rig_until_state(&r, a[0].id, CN_JOB_RUNNING);
    for (int i = 0; i < 40; i++)
        rig_submit(&r, &(struct ask){.fire = true}, &a[i]);
    for (int i = 0; i < 40; i++) {
        rig_until(&r, rig_told, &a[i]);
        accepted += a[i].outcome == CN_SUBMIT_NEW;
        full += a[i].outcome == CN_SUBMIT_REFUSED && a[i].refusal == CN_REFUSED_FULL &&
                a[i].err.code == CN_EBUSY && a[i].retry_after_s >= 1 && a[i].retry_after_s <= 120;
    }
    assert_int_equal(accepted, 10);
    assert_int_equal(full, 30);
    rig_stop(&r);
    rig_end(&r);
}

/* A disk that takes no pictures. */
static ssize_t no_room(int fd, const void *data, size_t len)
{
    (void)fd;
    (void)data;
    (void)len;
    errno = ENOSPC;
    return -1;
}

static int plain_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

static void a_picture_that_cannot_be_kept_fails_its_job(void **state)
{
    static const struct cn_store_io io = {plain_open, no_room, fsync, rename, unlink};
    struct cn_job_view v;
    struct answer a, b;
    struct rig r;

    (void)state;
    rig_init(&r, "");
    r.so.io = &io;
    rig_start(&r);
    rig_submit(&r, &(struct ask){.n = 2, .prompt = "step=20"}, &a);
    rig_until_state(&r, a.id, CN_JOB_FAILED);
    assert_int_equal(rig_look(&r, NULL, a.id, &v), CN_OK);
    assert_int_equal(v.err.code, CN_ESTORAGE);
    assert_false(v.image[0].ready);
    cn_job_view_release(&v);
    rig_submit(&r, &(struct ask){.sync = true}, &b); /* needs no disk */
    rig_until(&r, rig_ended, &b);
    assert_int_equal(b.state, CN_JOB_SUCCEEDED);
    rig_stop(&r);
    rig_end(&r);
}

static bool nobody_waits(void *arg)
{
    return cn_dispatch_waiting(((struct rig *)arg)->dispatch) == 0;
}

/* The time of a job is over while the disk stands still under its submission; then the disk fails,
 * or takes it after all. */
static void a_job_expires_while_it_is_being_added(void **state)
{
    struct answer a;
    struct rig r;

    (void)state;
    cn_fault_register();
    rig_init(&r, "");
    r.so.io = &cn_fault_io;
    r.so.vfs = "fault";
    for (int good = 0; good < 2; good++) {
        rig_start(&r);
        cn_fault_stall(true);
        rig_submit(&r, &(struct ask){.tenant = "anna", .timeout_s = 1, .fire = true}, &a);
        assert_int_equal(cn_dispatch_waiting(r.dispatch), 1);
        rig_until(&r, nobody_waits, &r);
        assert_int_equal(a.told, 0);
        cn_fault_plan(good ? 0 : 1, ENOSPC, true);
        cn_fault_stall(false);
        rig_until(&r, rig_told, &a);
        cn_fault_plan(0, 0, false);
        if (good) {
            assert_int_equal(a.outcome, CN_SUBMIT_NEW);
            rig_until(&r, rig_ended, &a);
            assert_int_equal(a.state, CN_JOB_EXPIRED);
        } else {
            assert_int_equal(a.outcome, CN_SUBMIT_REFUSED);
            assert_int_equal(a.err.code, CN_ESTORAGE);
        }
        rig_stop(&r);
    }
    rig_end(&r);
}

/* The disk is full when the daemon starts: it runs, refuses what must be kept and draws the rest;
 * when there is room, it is as if it had always been there. */
static void a_start_with_a_full_disk(void **state)
{
    struct cn_err err = CN_ERR_INIT;
    struct answer old, a, b;
    struct rig r;

    (void)state;
    cn_fault_register();
    rig_init(&r, "");
    rig_start(&r);
    rig_submit(&r, &(struct ask){.tenant = "anna"}, &old);
    rig_until(&r, rig_ended, &old);
    rig_stop(&r);
    r.so.io = &cn_fault_io;
    r.so.vfs = "fault";
    cn_fault_plan(1, ENOSPC, true);
    rig_start(&r);
    assert_int_equal(cn_jobs_storage(r.jobs, &err), CN_ESTORAGE);
    assert_non_null(strstr(err.msg, "full"));
    assert_int_equal(rig_state(&r, "anna", old.id), CN_JOB_SUCCEEDED);
    rig_submit(&r, &(struct ask){.tenant = "anna"}, &a);
    assert_int_equal(a.outcome, CN_SUBMIT_REFUSED);
    assert_int_equal(a.err.code, CN_ESTORAGE);
    rig_submit(&r, &(struct ask){.sync = true}, &b);
    rig_until(&r, rig_ended, &b);
    assert_int_equal(b.state, CN_JOB_SUCCEEDED);
    cn_fault_plan(0, 0, false);
    while (cn_jobs_storage(r.jobs, NULL) != CN_OK)
        rig_turn(&r, 20);
    rig_submit(&r, &(struct ask){.tenant = "anna"}, &a);
    assert_int_equal(a.outcome, CN_SUBMIT_NEW);
    rig_until(&r, rig_ended, &a);
    rig_stop(&r);
    rig_end(&r);
}

static void a_full_store_refuses(void **state)
{
    struct answer a;
    struct rig r;

    (void)state;
    rig_init(&r, "");
    r.so.max_bytes = 1000;
    rig_start(&r);
    rig_submit(&r, &(struct ask){.image_bytes = 2000}, &a);
    assert_int_equal(a.outcome, CN_SUBMIT_REFUSED);
    assert_int_equal(a.err.code, CN_ESTORAGE);
    assert_true(a.retry_after_s >= 1);
    assert_int_equal(cn_dispatch_waiting(r.dispatch), 0);
    rig_stop(&r);
    rig_end(&r);
}

static void submissions_wait_for_the_store_to_open(void **state)
{
    struct answer a, b;
    struct rig r, other;

    (void)state;
    rig_init(&r, "");
    other = r;
    rig_start(&other); /* the life before, which has not ended yet */
    rig_submit(&other, &(struct ask){.prompt = "step=10000"}, &b);
    rig_begin(&r);
    while (!cn_dispatch_known(r.dispatch))
        uv_run(&r.loop, UV_RUN_ONCE);
    assert_int_equal(cn_jobs_storage(r.jobs, NULL), CN_EBUSY);
    rig_submit(&r, &(struct ask){.fire = true}, &a);
    rig_turn(&r, 100);
    assert_int_equal(a.told, 0);
    assert_true(rig_state(&r, NULL, b.id) <= CN_JOB_RUNNING); /* it may look on */
    assert_int_equal(rig_delete(&r, NULL, b.id, NULL), CN_EBUSY);
    /* While it ends it still keeps what it is given. */
    cn_jobs_drain(other.jobs);
    cn_dispatch_drain(other.dispatch, false);
    rig_submit(&other, &(struct ask){.tenant = "late"}, &b);
    assert_int_equal(b.outcome, CN_SUBMIT_NEW);
    rig_stop(&other);
    rig_until(&r, rig_told, &a);
    assert_int_equal(a.outcome, CN_SUBMIT_NEW);
    assert_int_equal(rig_state(&r, "late", b.id), CN_JOB_QUEUED);
    cn_jobs_abandon(r.jobs, "late", b.id);
    rig_until_state(&r, b.id, CN_JOB_CANCELLED);
    rig_stop(&r);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_durable_job_is_kept_followed_and_read),
        cmocka_unit_test(a_slow_reader_misses_progress_only),
        cmocka_unit_test(a_restart_goes_on_where_it_was),
        cmocka_unit_test(a_drain_finishes_what_somebody_waits_for),
        cmocka_unit_test(a_deadline_outlives_the_daemon),
        cmocka_unit_test(results_past_their_time_are_gone),
        cmocka_unit_test(one_key_is_one_job),
        cmocka_unit_test(a_sync_job_lives_in_memory),
        cmocka_unit_test(only_the_last_ones_stay),
        cmocka_unit_test(cancels_are_told_when_they_are_stored),
        cmocka_unit_test(a_finished_job_is_removed),
        cmocka_unit_test(the_queue_counts_what_is_being_stored),
        cmocka_unit_test(a_picture_that_cannot_be_kept_fails_its_job),
        cmocka_unit_test(a_full_store_refuses),
        cmocka_unit_test(a_job_expires_while_it_is_being_added),
        cmocka_unit_test(a_start_with_a_full_disk),
        cmocka_unit_test(submissions_wait_for_the_store_to_open),
    };

    cn_log_init(&(struct cn_log_options){.level = CN_LOG_ERROR, .fd = STDERR_FILENO});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
