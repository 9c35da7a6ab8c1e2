/* Dispatcher with fake workers. */
#include "base/base.h"
#include "rig.h"
#include "base/clock.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define WORKER "tests/e2e/fake-worker"

static void on_state(void *arg, struct cn_job *job)
{
    struct rig *r = arg;

    if (job->state == CN_JOB_RUNNING)
        r->started++;
    else if (job->state == CN_JOB_QUEUED)
        r->requeued++;
    else
        r->ended[r->ends++] = job;
}

static void on_progress(void *arg, struct cn_job *job)
{
    struct rig *r = arg;

    r->progress++;
    for (int i = 0; job->alone && i < cn_dispatch_workers(r->d); i++)
        r->crowded += cn_dispatch_worker(r->d, i).jobs > 1;
}

static void on_image(void *arg, struct cn_job *job, int k)
{
    struct rig *r = arg;

    assert_non_null(job->image[k].data);
    r->images++;
}

static void on_preview(void *arg, struct cn_job *job, const struct cn_msg_preview *m)
{
    struct rig *r = arg;

    assert_in_range(m->index, 0, job->spec.n - 1);
    assert_true(m->len > 0);
    r->previews++;
}

static void fetch(void *arg, struct cn_job *job)
{
    struct rig *r = arg;
    struct cn_err err = CN_ERR_INIT;

    r->fetched++;
    if (r->fetch_fails < 0)
        cn_fail(&err, r->fetch_fails, "the disk is gone");
    job->inputs_evicted = err.code < 0;
    cn_dispatch_inputs_ready(r->d, job, err.code < 0 ? &err : NULL);
}

void rig_open(struct rig *r, struct cn_dispatch_options *o, const char *mode)
{
    static const char *const none[] = {NULL};
    const char *const *args[RIG_WORKERS] = {none, none, none, none};

    rig_open_with(r, o, mode, args);
}

void rig_open_with(struct rig *r, struct cn_dispatch_options *o, const char *mode,
                   const char *const *const args[RIG_WORKERS])
{
    memset(r, 0, sizeof(*r));
    setenv("CONTROLNET_FAKE", mode, 1);
    uv_loop_init(&r->loop);
    for (int i = 0; i < RIG_WORKERS; i++)
        r->worker[i] = (struct cn_dispatch_worker){WORKER, args[i], "fake"};
    o->loop = &r->loop;
    o->metrics = r->metrics = cn_metrics_new();
    o->worker = r->worker;
    o->observer = (struct cn_dispatch_observer){.arg = r,
                                                .on_state = on_state,
                                                .on_progress = on_progress,
                                                .on_image = on_image,
                                                .on_preview = on_preview,
                                                .fetch = fetch};
    r->d = cn_dispatch_new(o);
    cn_dispatch_start(r->d);
    rig_until(r, cn_dispatch_ready_workers(r->d) == o->workers);
}

void rig_close(struct rig *r)
{
    cn_dispatch_fail_all(r->d, CN_EBUSY, "the test ends");
    assert_true(cn_dispatch_idle(r->d));
    cn_dispatch_stop(r->d);
    rig_until(r, cn_dispatch_gone(r->d));
    uv_run(&r->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    for (int i = 0; i < r->jobs; i++) {
        assert_int_equal(r->job[i]->refs, 1);
        cn_job_unref(r->job[i]);
    }
    cn_dispatch_free(r->d);
    cn_metrics_free(r->metrics);
}

static void on_end(struct cn_job *job, void *arg)
{
    struct rig *r = arg;

    assert_true(cn_job_final(job));
    r->on_end++;
}

struct cn_job *rig_job(struct rig *r, const char *prompt, int steps)
{
    struct cn_spec spec;
    struct cn_job *job;

    cn_spec_init(&spec);
    free(spec.model);
    free(spec.prompt);
    spec.model = cn_xstrdup("emoji");
    spec.prompt = cn_xstrdup(prompt);
    spec.width = spec.height = 64;
    spec.steps = steps;
    job = r->job[r->jobs++] = cn_job_new(&spec);
    job->on_end = on_end;
    job->arg = r;
    return job;
}

struct cn_job *rig_submit(struct rig *r, const char *tenant, const char *prompt, int steps)
{
    struct cn_job *job = rig_job(r, prompt, steps);

    assert_int_equal(cn_dispatch_submit(r->d, job, tenant, NULL, NULL), CN_OK);
    return job;
}

int64_t rig_patience(void)
{
    return cn_now_ns() + INT64_C(20000000000);
}

static void on_timer(uv_timer_t *t)
{
    (void)t;
}

static void on_closed(uv_handle_t *h)
{
    *(bool *)h->data = true;
}

void rig_for(struct rig *r, int ms)
{
    int64_t end = cn_now_ns() + ms * INT64_C(1000000);
    bool closed = false;
    uv_timer_t t;

    uv_timer_init(&r->loop, &t);
    t.data = &closed;
    uv_timer_start(&t, on_timer, (uint64_t)ms, 0);
    while (cn_now_ns() < end)
        uv_run(&r->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&t, on_closed);
    while (!closed)
        uv_run(&r->loop, UV_RUN_NOWAIT);
}

void rig_turn(struct rig *r, int64_t end, const char *condition)
{
    if (cn_now_ns() > end)
        fail_msg("waited in vain for %s", condition);
    uv_run(&r->loop, UV_RUN_ONCE); /* the dispatcher's tick comes in any case */
}

int rig_restarts(const struct rig *r, int worker)
{
    return cn_dispatch_worker(r->d, worker).restarts;
}
