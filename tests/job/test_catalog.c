/* job: catalogues of several workers, and models that go while jobs wait for them. */
#include "base/base.h"
#include "base/mem.h"
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* The clock of the program under test, which a test may stop. */
static int64_t stopped_ns;

int64_t __real_cn_now_ns(void);
int64_t __wrap_cn_now_ns(void);

int64_t __wrap_cn_now_ns(void)
{
    return stopped_ns != 0 ? stopped_ns : __real_cn_now_ns();
}

static const char *const without_photo[] = {"--without", "without-a", NULL};
static const char *const without_emoji[] = {"--without", "without-b", NULL};

static void put(const char *file, const char *words)
{
    FILE *f = fopen(file, "w");

    assert_non_null(f);
    fputs(words, f);
    fclose(f);
}

static struct cn_job *submit(struct rig *r, const char *model, const char *control,
                             const char *prompt)
{
    struct cn_job *job = rig_job(r, prompt, 4);

    free(job->spec.model);
    job->spec.model = cn_xstrdup(model);
    if (control != NULL) {
        struct cn_spec_control *c = cn_spec_add_control(&job->spec);

        free(c->model);
        c->model = cn_xstrdup(control);
    }
    assert_int_equal(cn_dispatch_submit(r->d, job, "anna", NULL, NULL), CN_OK);
    return job;
}

static void on_managed(void *arg, int rc, const struct cn_err *err)
{
    struct rig *r = arg;

    (void)err;
    r->managed++;
    r->managed_rc = rc;
}

static void refresh(struct rig *r)
{
    const struct cn_msg_manage what = {.action = CN_MANAGE_REFRESH};
    int before = r->managed;

    assert_int_equal(cn_dispatch_manage(r->d, &what, CN_WORKER_ANY, on_managed, r, NULL), CN_OK);
    rig_until(r, r->managed > before);
    assert_int_equal(r->managed_rc, CN_OK);
}

static bool lists(const struct rig *r, const char *name)
{
    return cn_catalog_find(cn_dispatch_catalog(r->d), CN_MODEL_BASE, name) != NULL;
}

static void a_job_goes_where_its_models_are(void **state)
{
    struct cn_dispatch_options o = CN_DISPATCH_DEFAULTS;
    const char *const *args[RIG_WORKERS] = {without_photo, without_emoji, NULL, NULL};
    struct cn_job *job[12];
    struct rig r;

    (void)state;
    put("without-a", "photo");
    put("without-b", "emoji");
    o.workers = 2;
    rig_open_with(&r, &o, "step=1", args);
    assert_true(lists(&r, "photo") && lists(&r, "emoji"));
    stopped_ns = __real_cn_now_ns(); /* what follows needs no moment to be over */
    /* Many for one of them: the other one has room, and is of no use to them. */
    for (int i = 0; i < (int)CN_LEN(job); i++)
        job[i] = submit(&r, i < 10 ? "photo" : "emoji", NULL, "x");
    rig_until(&r, r.ends == (int)CN_LEN(job));
    for (int i = 0; i < (int)CN_LEN(job); i++) {
        assert_int_equal(job[i]->state, CN_JOB_SUCCEEDED);
        assert_int_equal(job[i]->worker, i < 10 ? 1 : 0);
    }
    stopped_ns = 0;
    rig_close(&r);
    unlink("without-a");
    unlink("without-b");
}

static void what_waits_for_a_model_that_goes_fails(void **state)
{
    struct cn_dispatch_options o = CN_DISPATCH_DEFAULTS;
    const char *const *args[RIG_WORKERS] = {without_photo, without_photo, NULL, NULL};
    struct cn_job *running, *photo, *edges, *other;
    struct rig r;

    (void)state;
    put("without-a", "");
    o.workers = 1;
    rig_open_with(&r, &o, "", args);
    assert_int_equal(cn_dispatch_catalog(r.d)->n_passed, 0);
    running = submit(&r, "photo", NULL, "step=200");
    rig_until(&r, running->state == CN_JOB_RUNNING);
    photo = submit(&r, "photo", NULL, "x");
    edges = submit(&r, "emoji", "emoji-canny", "x");
    other = submit(&r, "emoji", NULL, "x");
    put("without-a", "photo emoji-canny");
    refresh(&r);
    assert_int_equal(photo->state, CN_JOB_FAILED);
    assert_int_equal(photo->err.code, CN_ENOTFOUND);
    assert_string_equal(photo->err.where, "/model");
    assert_int_equal(edges->state, CN_JOB_FAILED);
    assert_string_equal(edges->err.where, "/controls/0/model");
    assert_false(lists(&r, "photo"));
    assert_int_equal(cn_dispatch_catalog(r.d)->n_passed, 1);
    rig_until(&r, cn_job_final(other));
    assert_int_equal(other->state, CN_JOB_SUCCEEDED);
    assert_int_equal(running->state, CN_JOB_SUCCEEDED); /* the worker had it */
    put("without-a", "");
    refresh(&r);
    assert_true(lists(&r, "photo"));
    rig_close(&r);
    unlink("without-a");
}

/* One worker has it still: the job waits for that one. */
static void a_model_that_one_has_is_there(void **state)
{
    struct cn_dispatch_options o = CN_DISPATCH_DEFAULTS;
    const char *const *args[RIG_WORKERS] = {without_photo, without_emoji, NULL, NULL};
    struct cn_job *first, *second;
    struct rig r;

    (void)state;
    put("without-a", "");
    put("without-b", "");
    o.workers = 2;
    rig_open_with(&r, &o, "step=20", args);
    first = submit(&r, "photo", NULL, "x");
    second = submit(&r, "photo", NULL, "x");
    put("without-a", "photo");
    refresh(&r);
    assert_true(lists(&r, "photo"));
    for (int i = 0; i < 3; i++) {
        struct cn_job *job = submit(&r, "photo", NULL, "x");

        rig_until(&r, cn_job_final(job));
        assert_int_equal(job->state, CN_JOB_SUCCEEDED);
        assert_int_equal(job->worker, 1);
    }
    rig_until(&r, cn_job_final(first) && cn_job_final(second));
    assert_int_equal(first->state, CN_JOB_SUCCEEDED);
    assert_int_equal(second->state, CN_JOB_SUCCEEDED);
    rig_close(&r);
    unlink("without-a");
    unlink("without-b");
}

/* A job of an earlier life whose model went meanwhile. */
static void a_restored_job_without_its_model_fails(void **state)
{
    struct cn_dispatch_options o = CN_DISPATCH_DEFAULTS;
    const char *const *args[RIG_WORKERS] = {without_photo, NULL, NULL, NULL};
    struct cn_job *job;
    struct rig r;

    (void)state;
    put("without-a", "photo");
    o.workers = 1;
    rig_open_with(&r, &o, "", args);
    job = rig_job(&r, "x", 4);
    free(job->spec.model);
    job->spec.model = cn_xstrdup("photo");
    job->deadline_ns = INT64_MAX;
    job->queued_ns = 1;
    cn_dispatch_restore(r.d, job, "anna");
    rig_until(&r, cn_job_final(job));
    assert_int_equal(job->state, CN_JOB_FAILED);
    assert_string_equal(job->err.where, "/model");
    rig_close(&r);
    unlink("without-a");
}

static void catalogues_merge(void **state)
{
    struct cn_model_info a[] = {{.name = "m", .broken = "half of it"},
                                {.name = "n", .is_default = true}};
    struct cn_model_info b[] = {{.name = "o", .is_default = true}, {.name = "m"}};
    struct cn_passed_over p[] = {{"x", "no model"}}, q[] = {{"x", "no model"}, {"y", "no model"}};
    struct cn_catalog one = {.model = a, .n = 2, .passed = p, .n_passed = 1};
    struct cn_catalog two = {.model = b, .n = 2, .passed = q, .n_passed = 2};
    const struct cn_catalog *const list[] = {&one, &two};
    struct cn_catalog c = {.model = NULL};

    (void)state;
    cn_catalog_merge(&c, list, 2);
    assert_int_equal(c.n, 3);
    assert_int_equal(c.n_passed, 2);
    assert_string_equal(cn_catalog_find(&c, CN_MODEL_BASE, "m")->broken, "");
    assert_string_equal(cn_catalog_default(&c)->name, "n");
    assert_false(cn_catalog_find(&c, CN_MODEL_BASE, "o")->is_default);
    cn_catalog_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_goes_where_its_models_are),
        cmocka_unit_test(what_waits_for_a_model_that_goes_fails),
        cmocka_unit_test(a_model_that_one_has_is_there),
        cmocka_unit_test(a_restored_job_without_its_model_fails),
        cmocka_unit_test(catalogues_merge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
