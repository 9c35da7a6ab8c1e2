/* What all routes share, and whether the service is ready: that is asked by /readyz, by the metrics
 * and by the daemon itself. */
#include "base/base.h"
#include "http/routes/routes_priv.h"
#include "base/clock.h"
#include "base/mem.h"
#include "inputs/inputs.h"

#include <stdlib.h>

enum {
    FULL_S = 30,     /* a queue that is full so long makes the server unready */
    SWEEP_TICKS = 60 /* of about a second: between two sweeps of the inputs */
};

void cn_shared_text_unref(struct cn_shared_text *t)
{
    if (t != NULL && --t->refs == 0)
        free(t);
}

struct cn_app *cn_app_new(const struct cn_app_options *o)
{
    struct cn_app *app = cn_xcalloc(1, sizeof(*app));

    app->o = *o;
    app->ready = cn_metric_add(o->metrics, CN_GAUGE, "controlnetd_ready",
                               "1 when /readyz would answer 200.", NULL);
    app->draining = cn_metric_add(o->metrics, CN_GAUGE, "controlnetd_draining",
                                  "1 when the server is shutting down.", NULL);
    return app;
}

void cn_app_free(struct cn_app *app)
{
    for (int i = 0; i < CN_TEXT_CACHE; i++)
        cn_shared_text_unref(app->cache[i].text);
    free(app->a1111);
    free(app);
}

void cn_app_set_core(struct cn_app *app, struct cn_core *core, struct cn_access *access)
{
    app->core = core;
    app->access = access;
}

void cn_app_configure(struct cn_app *app, const struct cn_app_options *o)
{
    app->o.limits = o->limits;
    app->o.max_image = o->max_image;
}

void cn_app_set_inputs(struct cn_app *app, struct cn_inputs *inputs)
{
    app->o.inputs = inputs;
}

void cn_app_set_handoff(struct cn_app *app, bool handoff)
{
    app->is_handoff = handoff;
}

struct cn_app *cn_app_of(const struct cn_request *q)
{
    return cn_request_app(q);
}

struct cn_jobs *cn_jobs_of(const struct cn_request *q)
{
    return cn_app_of(q)->o.jobs;
}

/* Inputs whose time is over are removed in the pool, now and then. */
static void on_sweep(uv_work_t *work)
{
    cn_inputs_sweep(((struct cn_app *)work->data)->o.inputs);
}

static void on_swept(uv_work_t *work, int status)
{
    struct cn_app *app = work->data;

    (void)status;
    app->sweeping = false;
}

static void sweep_inputs(struct cn_app *app)
{
    if (app->o.inputs == NULL || app->sweeping || ++app->ticks < SWEEP_TICKS)
        return;
    app->ticks = 0;
    app->sweep.data = app;
    app->sweeping = uv_queue_work(app->core->o.loop, &app->sweep, on_sweep, on_swept) == 0;
}

/* A full queue is work; one that is full whenever it was looked at for FULL_S is a reason to ask
 * another node. */
void cn_app_tick(struct cn_app *app)
{
    sweep_inputs(app);
    if (cn_dispatch_refuses(app->o.dispatch, NULL).kind != CN_REFUSED_FULL)
        app->full_ns = 0;
    else if (app->full_ns == 0)
        app->full_ns = cn_now_ns();
}

static const char *trouble_of_store(const struct cn_app *app)
{
    switch (cn_jobs_storage(app->o.jobs, NULL)) {
    case CN_EBUSY:
        return "the job store is not open yet";
    case CN_ESTORAGE:
        return "the job store fails or has no room";
    default:
        return NULL;
    }
}

bool cn_app_ready(const struct cn_app *app, const char **ret_why)
{
    const struct cn_dispatch *d = app->o.dispatch;
    const char *why = trouble_of_store(app);

    if (app->core->is_draining)
        why = "the server is shutting down";
    else if (cn_dispatch_ready_workers(d) == 0)
        why = cn_dispatch_trouble(d)[0] != '\0' ? "no worker is ready: it failed to start"
                                                : "no worker is ready";
    else if (!cn_catalog_can_draw(cn_dispatch_catalog(d)))
        why = "there is no base model that can be used";
    else if (why == NULL && app->full_ns != 0 && cn_now_ns() - app->full_ns > FULL_S * CN_SECOND_NS)
        why = "the queue stays full";
    if (ret_why != NULL)
        *ret_why = why == NULL ? "" : why;
    return why == NULL;
}
