/* job: states, queue, catalogue; and a dispatcher whose worker cannot start. */
#include "base/base.h"
#include "base/log.h"
#include "base/mem.h"
#include "job/catalog.h"
#include "job/dispatch.h"
#include "job/job.h"
#include "job/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static struct cn_job *new_job(int n)
{
    struct cn_spec s;

    cn_spec_init(&s);
    s.n = n;
    return cn_job_new(&s);
}

static void only_the_drawn_transitions_exist(void **state)
{
    (void)state;
    for (int to = 0; to < CN_JOB_STATE_COUNT; to++) {
        assert_int_equal(cn_job_may(CN_JOB_QUEUED, (enum cn_job_state)to),
                         to != CN_JOB_QUEUED && to != CN_JOB_SUCCEEDED);
        assert_int_equal(cn_job_may(CN_JOB_RUNNING, (enum cn_job_state)to), to != CN_JOB_RUNNING);
        for (int from = CN_JOB_SUCCEEDED; from < CN_JOB_STATE_COUNT; from++)
            assert_false(cn_job_may((enum cn_job_state)from, (enum cn_job_state)to));
    }
}

/* What the description tells, once, in front of what the worker tells; an attempt that is lost does
 * not take it away. */
static void a_job_collects_its_warnings(void **state)
{
    struct cn_job *job;
    struct cn_spec s;

    (void)state;
    cn_spec_init(&s);
    s.eta = 1;
    job = cn_job_new(&s);
    cn_warnings_add(&job->warnings, CN_WARN_PROMPT_TRUNCATED, "/prompt", "cut");
    cn_job_forget_attempt(job);
    cn_warnings_add(&job->warnings, CN_WARN_PROMPT_TRUNCATED, "/prompt", "cut");
    assert_int_equal(job->warnings.n, 2);
    assert_string_equal(job->warnings.item[0].where, "/eta");
    cn_job_unref(job);
}

static void a_job_collects_its_images(void **state)
{
    struct cn_msg_image m = {.index = 1,
                             .meta = {.seed = 9, .width = 8, .height = 8, .bytes = 3},
                             .data = (const unsigned char *)"PNG"};
    struct cn_job *a = new_job(2), *b = new_job(1);

    (void)state;
    assert_int_equal(strlen(a->name), 26);
    assert_string_not_equal(a->name, b->name);
    assert_true(a->id != b->id);
    assert_true(a->spec.has_seed);
    assert_int_equal(cn_job_put_image(a, &m, NULL), CN_OK);
    assert_int_equal(cn_job_put_image(a, &m, NULL), CN_EFORMAT);
    assert_int_equal(cn_job_complete(a, NULL), CN_EINTERNAL);
    m.index = 2;
    assert_int_equal(cn_job_put_image(a, &m, NULL), CN_EFORMAT);
    m.index = 0;
    assert_int_equal(cn_job_put_image(a, &m, NULL), CN_OK);
    assert_int_equal(cn_job_complete(a, NULL), CN_OK);
    cn_job_forget_attempt(a);
    assert_int_equal(cn_job_complete(a, NULL), CN_EINTERNAL);
    cn_job_unref(a);
    cn_job_unref(b);
}

static void set(char **field, const char *text)
{
    free(*field);
    *field = cn_xstrdup(text);
}

static void make_catalog(struct cn_catalog *c)
{
    static const struct cn_model_info model[] = {
        {.name = "a-canny", .kind = CN_MODEL_CONTROLNET, .family = "a"},
        {.name = "a", .family = "a", .width = 64, .height = 128, .multiple = 8},
        {.name = "b",
         .family = "b",
         .width = 512,
         .height = 512,
         .multiple = 64,
         .is_default = true}};
    struct cn_msg_hello hello = {.n_models = 3, .n_annotators = 1};

    hello.model = cn_xmalloc(sizeof(model));
    memcpy(hello.model, model, sizeof(model));
    hello.annotator = cn_xcalloc(1, sizeof(*hello.annotator));
    strcpy(hello.annotator[0].name, "canny");
    *c = (struct cn_catalog){.n = 0};
    cn_catalog_set(c, &hello);
    cn_msg_hello_release(&hello);
}

static void the_catalog_fills_in_and_refuses(void **state)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_catalog c;
    struct cn_spec s;

    (void)state;
    make_catalog(&c);
    cn_spec_init(&s);
    assert_int_equal(cn_catalog_resolve(&c, &s, &err), CN_OK);
    assert_string_equal(s.model, "b");
    assert_int_equal(s.width, 512);
    set(&s.model, "a");
    s.width = s.height = 0;
    set(&cn_spec_add_control(&s)->model, "a-canny");
    assert_int_equal(cn_catalog_resolve(&c, &s, &err), CN_OK);
    assert_int_equal(s.height, 128);
    set(&s.control[0].annotator, "canny");
    assert_int_equal(cn_catalog_resolve(&c, &s, &err), CN_OK);
    set(&s.control[0].annotator, "depth");
    assert_int_equal(cn_catalog_resolve(&c, &s, &err), CN_ENOTFOUND);
    assert_string_equal(err.where, "/controls/0/annotator");
    set(&s.control[0].annotator, "none");
    err.code = 0;
    set(&s.model, "b");
    s.width = s.height = 512;
    assert_int_equal(cn_catalog_resolve(&c, &s, &err), CN_EINVAL); /* of another family */
    assert_string_equal(err.where, "/controls/0/model");
    err.code = 0;
    s.width = 520;
    assert_int_equal(cn_catalog_resolve(&c, &s, &err), CN_EINVAL);
    assert_string_equal(err.where, "/width");
    err.code = 0;
    set(&s.model, "c");
    assert_int_equal(cn_catalog_resolve(&c, &s, &err), CN_ENOTFOUND);
    assert_string_equal(err.msg, "there is no model \"c\": there are \"a\" and \"b\"");
    strcpy(c.model[1].broken, "cut off"); /* is not proposed */
    err.code = 0;
    assert_int_equal(cn_catalog_resolve(&c, &s, &err), CN_ENOTFOUND);
    assert_string_equal(err.msg, "there is no model \"c\": there is \"b\"");
    strcpy(c.model[2].broken, "cut off");
    err.code = 0;
    assert_int_equal(cn_catalog_resolve(&c, &s, &err), CN_ENOTFOUND);
    assert_string_equal(err.msg, "there is no model \"c\": there is none that can be used");
    cn_spec_release(&s);
    cn_catalog_release(&c);
}

static void without_a_worker_nothing_is_accepted(void **state)
{
    static const char *const args[] = {NULL};
    static const struct cn_dispatch_worker worker = {"/nonexistent/worker", args, "cpu"};
    struct cn_dispatch_options o = CN_DISPATCH_DEFAULTS;
    struct cn_err err = CN_ERR_INIT;
    struct cn_job *job = new_job(1);
    struct cn_refused why;
    struct cn_dispatch *d;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    o.loop = &loop;
    o.metrics = cn_metrics_new();
    o.worker = &worker;
    d = cn_dispatch_new(&o);
    cn_dispatch_start(d);
    assert_int_equal(cn_dispatch_refuses(d, NULL).kind, CN_REFUSED_NO_WORKER);
    assert_int_equal(cn_dispatch_submit(d, job, NULL, &why, &err), CN_EBUSY);
    assert_int_equal(why.kind, CN_REFUSED_NO_WORKER);
    assert_in_range(why.retry_after_s, 1, 600);
    assert_non_null(strstr(cn_dispatch_trouble(d), "cannot start"));
    for (int i = 0; i < 3; i++)
        uv_run(&loop, UV_RUN_ONCE);
    cn_dispatch_stop(d);
    while (!cn_dispatch_gone(d))
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(uv_loop_close(&loop), 0);
    cn_dispatch_free(d);
    cn_metrics_free(o.metrics);
    cn_job_unref(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_drawn_transitions_exist),
        cmocka_unit_test(a_job_collects_its_images),
        cmocka_unit_test(a_job_collects_its_warnings),
        cmocka_unit_test(the_catalog_fills_in_and_refuses),
        cmocka_unit_test(without_a_worker_nothing_is_accepted),
    };

    cn_log_init(&(struct cn_log_options){.level = CN_LOG_ERROR, .fd = dup(STDERR_FILENO)});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
