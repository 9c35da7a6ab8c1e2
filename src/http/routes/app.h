/* What the routes serve: jobs, models, the state of the service. Loop thread only.
 *
 *     app = cn_app_new(&options);
 *     core_options.routes = cn_app_routes(); core_options.app = app;     -- table.c
 *     cn_app_set_core(app, core, access);
 *     cn_app_tick(app);                                                  -- about once a second
 *     cn_app_free(app);
 */
#ifndef CN_HTTP_ROUTES_APP_H
#define CN_HTTP_ROUTES_APP_H

#include "base/base.h"
#include "base/metrics.h"
#include "base/spec.h"
#include "http/auth/access.h"
#include "http/core/core.h"
#include "job/dispatch.h"
#include "job/jobs.h"

struct cn_inputs;
struct cn_notifier;

struct cn_app_options {
    struct cn_dispatch *dispatch;
    struct cn_jobs *jobs;
    struct cn_inputs *inputs;     /* NULL: none are kept */
    struct cn_notifier *notifier; /* NULL: webhooks are off */
    struct cn_metrics *metrics;
    struct cn_limits limits;
    size_t max_image;           /* bytes of one image in a request */
    void (*collect)(void *arg); /* brings gauges of others up to date */
    void *arg;
};

struct cn_app;

struct cn_app *cn_app_new(const struct cn_app_options *o);
void cn_app_free(struct cn_app *app);
void cn_app_set_core(struct cn_app *app, struct cn_core *core, struct cn_access *access);

/* limits and max_image may change. */
void cn_app_configure(struct cn_app *app, const struct cn_app_options *o);

/* Where pictures are kept that are uploaded once (inputs/inputs.h); it outlives the app. Without
 * this call there are none. */
void cn_app_set_inputs(struct cn_app *app, struct cn_inputs *inputs);

/* With an inherited socket the process after this one takes over: jobs are kept for it. */
void cn_app_set_handoff(struct cn_app *app, bool handoff);

/* As /readyz answers it; the reason is static text. */
bool cn_app_ready(const struct cn_app *app, const char **ret_why);

/* Looks whether the queue stays full. */
void cn_app_tick(struct cn_app *app);

/* The table. */
struct cn_routes cn_app_routes(void);

/* assets.c, made by embed.sh */
extern const char cn_asset_openapi[], cn_asset_page[];

#endif
