/* job: what the service does with a store that somebody or something has damaged. */
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "jobs_rig.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void sql(const struct rig *r, const char *text)
{
    char path[128];
    sqlite3 *h;

    snprintf(path, sizeof(path), "%s/jobs.db", r->dir);
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    assert_int_equal(sqlite3_exec(h, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(h);
}

/* A life that leaves a job that waits for the next one. */
static void leave_a_job(struct rig *r, const char *prompt, struct answer *a)
{
    struct answer first;

    rig_start(r);
    rig_submit(r, &(struct ask){.tenant = "anna", .prompt = "step=500"}, &first);
    rig_until_state(r, first.id, CN_JOB_RUNNING);
    rig_submit(r, &(struct ask){.tenant = "anna", .prompt = prompt}, a);
    assert_int_equal(a->outcome, CN_SUBMIT_NEW);
    cn_jobs_abandon(r->jobs, "anna", first.id);
    rig_stop(r);
}

static void a_job_of_too_many_pictures_fails(void **state)
{
    struct cn_job_view v;
    struct answer a;
    struct rig r;

    (void)state;
    rig_init(&r, "");
    leave_a_job(&r, "a red apple", &a);
    sql(&r, "update jobs set n = 2000000000");
    rig_start(&r);
    rig_until_state(&r, a.id, CN_JOB_FAILED);
    assert_int_equal(rig_look(&r, "anna", a.id, &v), CN_OK);
    assert_int_equal(v.n, 0);
    assert_non_null(strstr(v.err.msg, "cannot be read"));
    cn_job_view_release(&v);
    rig_stop(&r);
    rig_end(&r);
}

static char prompt[12001];

/* A page of the prompt, which no row holds alone, names one that is not there as the next. */
static void cut_the_chain(const struct rig *r)
{
    unsigned char page[4096];
    char path[128];
    int cut = 0;
    FILE *f;

    snprintf(path, sizeof(path), "%s/jobs.db", r->dir);
    f = fopen(path, "r+");
    assert_non_null(f);
    for (long at = 0; fread(page, 1, sizeof(page), f) == sizeof(page); at += (long)sizeof(page)) {
        if (memcmp(page + 4, prompt, sizeof(page) - 4) != 0)
            continue;
        fseek(f, at, SEEK_SET);
        fwrite("\x7f\xff\xff\xff", 1, 4, f);
        fseek(f, at + (long)sizeof(page), SEEK_SET);
        cut++;
    }
    fclose(f);
    assert_true(cut > 0);
}

static void jobs_that_cannot_be_read_again_make_it_unready(void **state)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_refused why;
    struct answer a, b;
    struct rig r;

    (void)state;
    rig_init(&r, "");
    memset(prompt, 'x', sizeof(prompt) - 1);
    leave_a_job(&r, prompt, &a);
    cut_the_chain(&r);
    rig_start(&r);
    assert_int_equal(cn_jobs_storage(r.jobs, &err), CN_ESTORAGE);
    assert_non_null(strstr(err.msg, "cannot be read"));
    rig_submit(&r, &(struct ask){.tenant = "anna"}, &b);
    assert_int_equal(b.outcome, CN_SUBMIT_REFUSED);
    assert_int_equal(b.err.code, CN_ESTORAGE);
    assert_int_equal(cn_jobs_admit(r.jobs, "anna", true, &why, NULL), CN_ESTORAGE);
    rig_submit(&r, &(struct ask){.sync = true}, &b); /* needs no store */
    rig_until(&r, rig_ended, &b);
    assert_int_equal(b.state, CN_JOB_SUCCEEDED);
    rig_stop(&r);
    rig_end(&r);
}

/* Times before 1970, and after everything: the jobs come again, in lists as well, and what is kept
 * goes in its time. */
static void times_that_cannot_be_are_put_right(void **state)
{
    static const char *const odd[] = {"-5", "9223372036854775807", "'soon'"};
    struct cn_jobs_query q = {.state = -1, .limit = 1};
    struct cn_jobs_page *page = cn_xcalloc(1, sizeof(*page));
    struct cn_job_view v;
    struct answer a;
    struct rig r;
    char text[300];

    (void)state;
    rig_init(&r, "");
    for (size_t i = 0; i < CN_LEN(odd); i++) {
        leave_a_job(&r, "step=1", &a);
        snprintf(text, sizeof(text),
                 "update jobs set created = %s, deadline = 9223372036854775807 where id = '%s';"
                 "update jobs set ended = %s where ended > 0",
                 odd[i], a.id, i == 0 ? "-7" : "9223372036854775807");
        sql(&r, text);
        rig_start(&r);
        rig_until_state(&r, a.id, CN_JOB_SUCCEEDED);
        assert_int_equal(rig_look(&r, "anna", a.id, &v), CN_OK);
        assert_true(v.created_us > 0 && v.created_us <= cn_wall_us());
        cn_job_view_release(&v);
        assert_int_equal(rig_list(&r, "anna", &q, page), CN_OK);
        assert_true(page->n == 1 && page->next[0] != '\0');
        rig_stop(&r);
    }
    r.so.result_ttl_s = r.so.tombstone_ttl_s = 0;
    r.so.sweep_s = 1;
    rig_start(&r);
    do {
        rig_turn(&r, 20);
        assert_int_equal(rig_list(&r, "anna", &q, page), CN_OK);
    } while (page->n > 0);
    free(page);
    rig_stop(&r);
    rig_end(&r);
}

static void on_followed(void *arg, struct cn_watch *w, const struct cn_err *err)
{
    assert_null(w);
    *(int *)arg = err->code;
}

static bool is_told(void *arg)
{
    return *(int *)arg != 0;
}

/* It is the store's fault, and nobody's request. */
static void events_of_a_damaged_job_are_gone(void **state)
{
    struct cn_job_view v;
    struct answer a;
    struct rig r;
    int rc = 0;

    (void)state;
    rig_init(&r, "");
    rig_start(&r);
    rig_submit(&r, &(struct ask){.tenant = "anna"}, &a);
    rig_until(&r, rig_ended, &a);
    rig_stop(&r);
    sql(&r, "update jobs set spec = x'00ff00ff'");
    rig_start(&r);
    assert_int_equal(rig_look(&r, "anna", a.id, &v), CN_OK);
    cn_job_view_release(&v);
    assert_non_null(cn_jobs_follow(r.jobs, "anna", a.id, 0, NULL, on_followed, &rc));
    rig_until(&r, is_told, &rc);
    assert_int_equal(rc, CN_EGONE);
    rig_stop(&r);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_of_too_many_pictures_fails),
        cmocka_unit_test(times_that_cannot_be_are_put_right),
        cmocka_unit_test(jobs_that_cannot_be_read_again_make_it_unready),
        cmocka_unit_test(events_of_a_damaged_job_are_gone),
    };

    cn_log_init(&(struct cn_log_options){.level = CN_LOG_ERROR, .fd = STDERR_FILENO});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
