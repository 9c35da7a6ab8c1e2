/* job: what the service does with a store that somebody or something has damaged. */
#include "base/base.h"
#include "base/log.h"
#include "jobs_rig.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
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
    rig_submit(r, &(struct ask){.tenant = "anna", .prompt = "step=10000"}, &first);
    rig_until_state(r, first.id, CN_JOB_RUNNING);
    rig_submit(r, &(struct ask){.tenant = "anna", .prompt = prompt}, a);
    assert_int_equal(a->outcome, CN_SUBMIT_NEW);
    cn_jobs_cancel(r->jobs, "anna", first.id);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_of_too_many_pictures_fails),
    };

    cn_log_init(&(struct cn_log_options){.level = CN_LOG_ERROR, .fd = STDERR_FILENO});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
