/* job: what a job warned of is told wherever the job is told of, and outlives the daemon. */
#include "base/base.h"
#include "jobs_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void check(const struct cn_warnings *w)
{
    assert_int_equal(w->n, 2);
    assert_string_equal(w->item[0].where, "/eta");
    assert_int_equal(w->item[0].code, CN_WARN_NO_EFFECT);
    assert_string_equal(w->item[1].where, "/prompt");
    assert_string_equal(w->item[1].text, "the prompt says so");
    assert_int_equal(w->item[1].code, CN_WARN_PROMPT_TRUNCATED);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void on_followed(void *arg, struct cn_watch *w, const struct cn_err *err)
{
    assert_null(err);
    *(struct cn_watch **)arg = w;
}

static bool is_there(void *arg)
{
    return *(struct cn_watch **)arg != NULL;
}

/* The view and the last event of a job that is over. */
static void check_job(struct rig *r, const char *id)
{
    const struct cn_jobs_read *read;
    struct cn_watch *w = NULL;
    struct cn_job_event e = {.kind = CN_EVENT_STATE};
    struct cn_job_view v;

    assert_int_equal(rig_look(r, NULL, id, &v), CN_OK);
    assert_int_equal(v.kind, CN_KIND_DRAW);
    check(&v.warnings);
    cn_job_view_release(&v);
    read = cn_jobs_follow(r->jobs, NULL, id, 0, nothing, on_followed, &w);
    assert_true((read == NULL) == (w != NULL));
    rig_until(r, is_there, &w);
    while (cn_watch_next(w, &e))
        assert_true((e.warnings != NULL) == (e.kind == CN_EVENT_DONE));
    assert_int_equal(e.kind, CN_EVENT_DONE);
    check(e.warnings);
    cn_watch_free(w);
}

static void warnings_are_kept_with_the_job(void **state)
{
    static const char *const prompt[] = {"warn=prompt-truncated step=2", "warn=prompt-truncated",
                                         "warn=prompt-truncated fail=invalid"};
    struct answer a[4];
    struct cn_job_view v;
    struct rig r;

    (void)state;
    rig_init(&r, "");
    rig_start(&r);
    for (int i = 0; i < 3; i++)
        rig_submit(&r, &(struct ask){.sync = i == 1, .eta = 1, .prompt = prompt[i]}, &a[i]);
    for (int i = 0; i < 3; i++) {
        rig_until(&r, rig_ended, &a[i]);
        assert_int_equal(a[i].state, i == 2 ? CN_JOB_FAILED : CN_JOB_SUCCEEDED);
        check_job(&r, a[i].id);
    }
    rig_submit(&r, &(struct ask){.eta = 1, .prompt = "step=10000"}, &a[3]);
    rig_stop(&r);

    /* The next life: what is over has them from the store, what waits from its description. */
    rig_start(&r);
    check_job(&r, a[0].id);
    check_job(&r, a[2].id);
    assert_int_equal(rig_look(&r, NULL, a[3].id, &v), CN_OK);
    assert_true(v.warnings.n == 1 && v.warnings.item[0].code == CN_WARN_NO_EFFECT);
    cn_job_view_release(&v);
    rig_stop(&r);
    rig_end(&r);
}

/* Another attempt warns of the same. */
static void an_attempt_that_is_lost_warns_once(void **state)
{
    char prompt[160];
    struct answer a;
    struct rig r;

    (void)state;
    rig_init(&r, "");
    rig_start(&r);
    snprintf(prompt, sizeof(prompt), "warn=prompt-truncated crash-once=%s.crashed", r.dir);
    rig_submit(&r, &(struct ask){.eta = 1, .prompt = prompt}, &a);
    rig_until(&r, rig_ended, &a);
    assert_int_equal(a.state, CN_JOB_SUCCEEDED);
    check_job(&r, a.id);
    rig_stop(&r);
    rig_end(&r);
    snprintf(prompt, sizeof(prompt), "%s.crashed", r.dir);
    remove(prompt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warnings_are_kept_with_the_job),
        cmocka_unit_test(an_attempt_that_is_lost_warns_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
