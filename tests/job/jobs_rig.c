/* The service with a fake worker. */
#include "base/base.h"
#include "jobs_rig.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void rig_init(struct rig *r, const char *fake)
{
    memset(r, 0, sizeof(*r));
    snprintf(r->dir, sizeof(r->dir), "/tmp/cn-jobs-XXXXXX");
    CN_ASSERT(mkdtemp(r->dir) != NULL);
    setenv("CONTROLNET_FAKE", fake, 1);
    r->so = (struct cn_store_options)CN_STORE_DEFAULTS;
    r->so.min_free_percent = 0;
    r->jo = (struct cn_jobs_options)CN_JOBS_DEFAULTS;
    r->queue_capacity = 1000;
    r->tenant_max_queued = 1000;
    r->workers = 1;
}

void rig_begin(struct rig *r)
{
    static const char *const args[] = {NULL};
    static const struct cn_dispatch_worker worker = {"tests/e2e/fake-worker", args, "fake"};
    struct cn_dispatch_options d = CN_DISPATCH_DEFAULTS;

    uv_loop_init(&r->loop);
    r->metrics = cn_metrics_new();
    d.loop = r->jo.loop = r->so.loop = &r->loop;
    d.metrics = r->jo.metrics = r->metrics;
    d.worker = &worker;
    d.workers = r->workers;
    d.queue_capacity = r->queue_capacity;
    d.tenant.max_queued = r->tenant_max_queued;
    r->dispatch = r->jo.dispatch = cn_dispatch_new(&d);
    r->jobs = cn_jobs_new(&r->jo);
    r->store = NULL;
    if (!r->no_store) {
        r->so.dir = r->dir;
        r->so.on_open = cn_jobs_on_store;
        r->so.arg = r->jobs;
        CN_ASSERT(cn_store_open(&r->so, &r->store, NULL) == CN_OK);
        cn_jobs_set_store(r->jobs, r->store, r->so.result_ttl_s);
    }
    cn_dispatch_start(r->dispatch);
}

static bool is_ready(void *arg)
{
    struct rig *r = arg;

    return cn_dispatch_known(r->dispatch) &&
           (r->store == NULL || cn_jobs_storage(r->jobs, NULL) != CN_EBUSY);
}

void rig_until(struct rig *r, bool (*ready)(void *arg), void *arg)
{
    int64_t end = cn_now_ns() + INT64_C(60000000000);

    while (!ready(arg)) {
        CN_ASSERT(cn_now_ns() < end);
        uv_run(&r->loop, UV_RUN_ONCE);
    }
}

static void on_timer(uv_timer_t *t)
{
    *(bool *)t->data = true;
}

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

static void on_closed(uv_handle_t *h)
{
    *(bool *)h->data = false;
}

static bool is_false(void *arg)
{
    return !*(bool *)arg;
}

void rig_turn(struct rig *r, int ms)
{
    uv_timer_t t;
    bool flag = false;

    uv_timer_init(&r->loop, &t);
    t.data = &flag;
    uv_timer_start(&t, on_timer, (uint64_t)ms, 0);
    rig_until(r, is_true, &flag);
    uv_close((uv_handle_t *)&t, on_closed);
    rig_until(r, is_false, &flag);
}

void rig_start(struct rig *r)
{
    rig_begin(r);
    rig_until(r, is_ready, r);
}

static bool jobs_idle(void *arg)
{
    return cn_jobs_idle(((struct rig *)arg)->jobs);
}

static bool gone(void *arg)
{
    struct rig *r = arg;

    return cn_dispatch_gone(r->dispatch) && (r->store == NULL || cn_store_gone(r->store));
}

static void stop_following(struct answer *a)
{
    struct answer **at = &a->rig->following;

    while (*at != NULL && *at != a)
        at = &(*at)->next;
    if (*at == a)
        *at = a->next;
    cn_watch_free(a->watch);
    cn_job_unref(a->job);
    a->watch = NULL;
    a->job = NULL;
}

void rig_stop(struct rig *r)
{
    cn_jobs_drain(r->jobs);
    cn_jobs_leave(r->jobs);
    cn_dispatch_drain(r->dispatch, false);
    cn_dispatch_fail_all(r->dispatch, CN_EBUSY, "the end");
    rig_until(r, jobs_idle, r);
    cn_dispatch_stop(r->dispatch);
    if (r->store != NULL)
        cn_store_close(r->store);
    rig_until(r, gone, r);
    while (r->following != NULL)
        stop_following(r->following);
    cn_jobs_close(r->jobs);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    cn_jobs_free(r->jobs);
    cn_store_free(r->store);
    cn_dispatch_free(r->dispatch);
    cn_metrics_free(r->metrics);
    CN_ASSERT(uv_loop_close(&r->loop) == 0);
}

void rig_end(struct rig *r)
{
    char text[128];

    snprintf(text, sizeof(text), "rm -rf %s", r->dir);
    CN_ASSERT(system(text) == 0);
}

void rig_spec(struct rig *r, struct cn_spec *s, const char *prompt, int n, size_t image_bytes)
{
    cn_spec_init(s);
    free(s->prompt);
    s->prompt = cn_xstrdup(prompt);
    s->n = n;
    s->steps = 4;
    CN_ASSERT(cn_catalog_resolve(cn_dispatch_catalog(r->dispatch), s, NULL) == CN_OK);
    if (image_bytes > 0) {
        s->init_image.data = cn_try_alloc(image_bytes);
        s->init_image.len = image_bytes;
        memset(s->init_image.data, 'i', image_bytes);
    }
}

static void on_wake(void *arg)
{
    struct answer *a = arg;
    struct cn_job_event e;

    while (a->watch != NULL && cn_watch_next(a->watch, &e))
        if (e.kind == CN_EVENT_DONE) {
            a->ended++;
            a->state = e.state;
            a->image_len = a->job->image[0].data != NULL ? a->job->image[0].meta.bytes : 0;
            stop_following(a);
        }
}

static void on_followed(void *arg, struct cn_watch *w, const struct cn_err *err)
{
    struct answer *a = arg;

    (void)err;
    a->watch = w;
}

static void on_submitted(void *arg, const struct cn_submitted *s)
{
    struct answer *a = arg;

    a->told++;
    a->outcome = s->outcome;
    a->refusal = s->refusal;
    a->retry_after_s = s->retry_after_s;
    snprintf(a->id, sizeof(a->id), "%s", s->id != NULL ? s->id : "");
    if (s->err != NULL)
        a->err = *s->err;
    if (s->outcome != CN_SUBMIT_NEW)
        return;
    a->job = cn_job_ref(s->job);
    CN_ASSERT(cn_jobs_follow(a->rig->jobs, NULL, a->id, 0, on_wake, on_followed, a) == NULL);
    a->next = a->rig->following;
    a->rig->following = a;
    on_wake(a);
}

bool rig_told(void *answer)
{
    return ((struct answer *)answer)->told > 0;
}

bool rig_ended(void *answer)
{
    return ((struct answer *)answer)->ended > 0;
}

struct cn_submission *rig_submit(struct rig *r, const struct ask *ask, struct answer *a)
{
    struct cn_submit_options o = {
        .durable = !ask->sync, .waits = ask->waits, .webhook = ask->webhook};
    struct cn_submission *sub;
    struct cn_spec s;

    for (struct answer *p = r->following; p != NULL; p = p->next)
        if (p == a) {
            stop_following(a);
            break;
        }
    memset(a, 0, sizeof(*a));
    a->rig = r;
    rig_spec(r, &s, ask->prompt == NULL ? "an apple" : ask->prompt, CN_MAX(ask->n, 1),
             ask->image_bytes);
    s.timeout_s = ask->timeout_s;
    s.eta = ask->eta;
    if (ask->key != NULL) {
        o.route = "POST /v1/jobs";
        o.key = ask->key;
        o.fingerprint[0] = ask->print;
    }
    sub = cn_jobs_submit(r->jobs, &s, ask->tenant, &o, on_submitted, a);
    CN_ASSERT(a->told == 0);
    if (ask->fire)
        return sub;
    rig_until(r, rig_told, a);
    return NULL;
}

/* ---- questions ---- */

struct asked {
    bool told;
    int rc;
    struct cn_job_view view;
    struct cn_image_file file;
    struct cn_jobs_page *page;
    bool removed;
};

static void heard(struct asked *q, const struct cn_err *err)
{
    q->told = true;
    q->rc = err != NULL ? err->code : CN_OK;
}

static void on_looked(void *arg, struct cn_job_view *v, const struct cn_err *err)
{
    struct asked *q = arg;

    heard(q, err);
    if (v != NULL)
        q->view = *v;
}

static void on_picture(void *arg, const struct cn_image_file *f, const struct cn_err *err)
{
    struct asked *q = arg;

    heard(q, err);
    if (f != NULL)
        q->file = *f;
}

static void on_deleted(void *arg, bool removed, const struct cn_err *err)
{
    struct asked *q = arg;

    heard(q, err);
    q->removed = removed;
}

static void on_listed(void *arg, const struct cn_jobs_page *page, const struct cn_err *err)
{
    struct asked *q = arg;

    heard(q, err);
    if (page == NULL)
        return;
    q->page->n = page->n;
    for (int i = 0; i < page->n; i++)
        memcpy(q->page->view[i].id, page->view[i].id, CN_STORE_ID);
    memcpy(q->page->next, page->next, sizeof(page->next));
}

/* The handle is NULL when it was answered at once. */
static int waited(struct rig *r, struct asked *q, const struct cn_jobs_read *read)
{
    CN_ASSERT((read == NULL) == q->told);
    rig_until(r, is_true, &q->told);
    return q->rc;
}

int rig_look(struct rig *r, const char *tenant, const char *id, struct cn_job_view *ret)
{
    struct asked q = {.told = false};
    int rc = waited(r, &q, cn_jobs_look(r->jobs, tenant, id, on_looked, &q));

    *ret = q.view;
    return rc;
}

int rig_picture(struct rig *r, const char *tenant, const char *id, int k, struct cn_image_file *ret)
{
    struct asked q = {.told = false};
    int rc = waited(r, &q, cn_jobs_picture(r->jobs, tenant, id, k, on_picture, &q));

    *ret = q.file;
    return rc;
}

int rig_delete(struct rig *r, const char *tenant, const char *id, bool *ret_removed)
{
    struct asked q = {.told = false};
    const struct cn_jobs_read *read = cn_jobs_delete(r->jobs, tenant, id, on_deleted, &q);
    int rc = waited(r, &q, read);

    if (ret_removed != NULL)
        *ret_removed = q.removed;
    return rc;
}

int rig_list(struct rig *r, const char *tenant, const struct cn_jobs_query *query,
             struct cn_jobs_page *page)
{
    struct asked q = {.page = page};

    return waited(r, &q, cn_jobs_browse(r->jobs, tenant, query, on_listed, &q));
}

int rig_state(struct rig *r, const char *tenant, const char *id)
{
    struct cn_job_view v;
    int rc = rig_look(r, tenant, id, &v);

    if (rc < 0)
        return rc;
    rc = (int)v.state;
    cn_job_view_release(&v);
    return rc;
}

struct expected {
    struct rig *r;
    const char *id;
    int state;
};

static bool is_in_state(void *arg)
{
    struct expected *e = arg;

    return rig_state(e->r, NULL, e->id) == e->state;
}

void rig_until_state(struct rig *r, const char *id, enum cn_job_state state)
{
    struct expected e = {r, id, (int)state};

    rig_until(r, is_in_state, &e);
}
