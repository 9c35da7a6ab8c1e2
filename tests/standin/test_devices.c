/* Several devices and several threads, on the stand-in: whose device a call goes to, and whose
 * failure it is. */
#include "base/base.h"
#include "backend/backend.h"
#include "base/mem.h"
#include "tests/backend/op_run.h"
#include "tests/standin/standin.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* A plan that has a convolution of cuDNN, a product of cuBLASLt and kernels of our own. */
struct session {
    struct cn_graph *g;
    struct cn_param_source source;
    struct cn_backend *b;
    struct cn_weights *w;
    struct cn_plan *p;
    struct cn_buffer *in, *out;
    float *x;
    struct op_result first; /* what the plan gives */
};

static void must(int rc, const struct cn_err *err)
{
    if (rc < 0)
        fail_msg("%s (%s)", err->msg, cn_code_name(rc));
}

static struct cn_graph *network(void)
{
    struct cn_graph *g = cn_graph_new("devices");
    cn_val x = cn_graph_input(g, "x", cn_shape4(1, 8, 6, 6), CN_F32, 0), t;
    struct cn_conv same = {.out = 8, .k = 3, .stride = 1, .pad = {1, 1, 1, 1}};

    x = cn_act(g, cn_conv2d(g, x, "conv", "conv bias", &same), CN_SILU);
    t = cn_linear(g, cn_to_tokens(g, x), "linear", NULL, 8);
    cn_graph_output(g, "y", cn_from_tokens(g, t, 6, 6), 0);
    return g;
}

static struct cn_buffer *new_buffer(struct session *s, const struct cn_io *io)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_buffer *buf = NULL;

    must(cn_buffer_new(s->b, &s->g->value[io->val], CN_DTYPE_COUNT, io->flags, &buf, &err), &err);
    return buf;
}

static int run_once(struct session *s, float *y, struct cn_err *err)
{
    int rc;

    cn_buffer_write(s->in, s->x);
    rc = cn_plan_run(s->p, &s->in, &s->out, err);
    if (rc == CN_OK) {
        cn_buffer_read(s->out, y);
        rc = cn_backend_check(s->b, err);
    }
    return rc;
}

static void session_open(struct session *s, int device, int flags)
{
    struct cn_backend_opts opts = op_opts;
    struct cn_err err = CN_ERR_INIT;

    *s = (struct session){.g = network()};
    opts.device = device;
    s->source = op_source(s->g);
    must(cn_backend_open("cuda", &opts, &s->b, &err), &err);
    must(cn_weights_new(s->b, &s->source, &s->w, &err), &err);
    must(cn_plan_compile(s->b, s->g, s->w, CN_DTYPE_COUNT, flags, &s->p, &err), &err);
    s->in = new_buffer(s, &s->g->input[0]);
    s->out = new_buffer(s, &s->g->output[0]);
    s->x = op_data(s->g, s->g->input[0].val);
    s->first.count = (size_t)cn_shape_elements(cn_shape_of(s->g, s->g->output[0].val));
    s->first.data = cn_xcalloc(s->first.count, sizeof(float));
}

static void session_close(struct session *s)
{
    cn_buffer_free(s->in);
    cn_buffer_free(s->out);
    cn_plan_free(s->p);
    cn_weights_free(s->w);
    cn_backend_close(s->b);
    cn_graph_free(s->g);
    free(s->x);
    op_result_release(&s->first);
}

static void check_clean(void)
{
    if (standin_complaint() != NULL)
        fail_msg("%s", standin_complaint());
    assert_int_equal(standin_counts().live_bytes, 0);
    assert_int_equal(standin_counts().live_objects, 0);
}

/* The plan a few times (enqueued, captured, launched) on the thread that calls. */
struct other_thread {
    struct session *s;
    struct cn_err err;
    int rc, wrong;
};

static void *run_a_few(void *arg)
{
    struct other_thread *o = arg;
    struct op_result r = {.count = o->s->first.count};

    r.data = cn_xcalloc(r.count, sizeof(float));
    for (int i = 0; i < 4 && o->rc == CN_OK; i++) {
        o->rc = run_once(o->s, r.data, &o->err);
        o->wrong += memcmp(r.data, o->s->first.data, r.count * sizeof(float)) != 0;
    }
    op_result_release(&r);
    return NULL;
}

static void on_another_thread(void *(*f)(void *), void *arg)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, f, arg), 0);
    pthread_join(thread, NULL);
}

static void every_thread_uses_the_backends_device(void **state)
{
    (void)state;
    for (int device = 0; device < 2; device++) {
        struct session s;
        struct other_thread o = {.s = &s};
        struct cn_err err = CN_ERR_INIT;

        standin_reset();
        session_open(&s, device, CN_PLAN_CONCURRENT);
        must(run_once(&s, s.first.data, &err), &err);
        on_another_thread(run_a_few, &o);
        must(o.rc, &o.err);
        assert_int_equal(o.wrong, 0);
        session_close(&s);
        assert_true(standin_used(device) > 0);
        assert_int_equal(standin_used(1 - device), 0);
        check_clean();
    }
}

/* One thread may own two backends: each call goes to its own device. */
static void backends_of_two_devices_take_turns(void **state)
{
    struct session s[2];
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    standin_reset();
    for (int i = 0; i < 2; i++)
        session_open(&s[i], i, 0);
    for (int i = 0; i < 8; i++)
        must(run_once(&s[i % 2], s[i % 2].first.data, &err), &err);
    assert_memory_equal(s[0].first.data, s[1].first.data, s[0].first.count * sizeof(float));
    assert_true(isfinite(s[0].first.data[0]));
    for (int i = 0; i < 2; i++)
        session_close(&s[i]);
    check_clean();
}

static void device_that_is_not_there_is_named(void **state)
{
    static const int bad[] = {2, 7, -1};
    struct cn_backend_opts opts = op_opts;
    struct cn_backend *b;

    (void)state;
    standin_reset();
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        struct cn_err err = CN_ERR_INIT;
        char name[32];

        opts.device = bad[i];
        snprintf(name, sizeof(name), "no CUDA device %d", bad[i]);
        assert_int_equal(cn_backend_open("cuda", &opts, &b, &err), CN_ENOTFOUND);
        assert_non_null(strstr(err.msg, name));
    }
    check_clean();
}

/* ---- whose failure it is ---- */

static void *write_and_fail(void *arg)
{
    struct other_thread *o = arg;

    standin_fail("cudaMemcpyAsync", 1, 1 /* cudaErrorInvalidValue */);
    cn_buffer_write(o->s->in, o->s->x);
    return NULL;
}

static void *write_and_ask(void *arg)
{
    struct other_thread *o = arg;

    write_and_fail(o);
    o->rc = cn_backend_check(o->s->b, &o->err);
    return NULL;
}

/* What one thread could not write is no reason for the other's plan to fail, and the one that
 * failed is told. */
static void failure_is_reported_to_the_thread_that_had_it(void **state)
{
    struct session s;
    struct other_thread o = {.s = &s};
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    standin_reset();
    session_open(&s, 0, 0);
    on_another_thread(write_and_fail, &o);
    assert_int_equal(cn_backend_check(s.b, &err), CN_OK);
    must(run_once(&s, s.first.data, &err), &err);
    on_another_thread(write_and_ask, &o);
    assert_int_equal(o.rc, CN_EINTERNAL);
    assert_non_null(strstr(o.err.msg, "copy to the device"));
    write_and_fail(&o); /* and here it is this thread's */
    assert_int_equal(cn_plan_run(s.p, &s.in, &s.out, &err), CN_EINTERNAL);
    err = (struct cn_err)CN_ERR_INIT;
    must(run_once(&s, s.first.data, &err), &err);
    session_close(&s);
    check_clean();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_thread_uses_the_backends_device),
        cmocka_unit_test(backends_of_two_devices_take_turns),
        cmocka_unit_test(device_that_is_not_there_is_named),
        cmocka_unit_test(failure_is_reported_to_the_thread_that_had_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
