/* controlnetd: the daemon's main.
 *
 * DESIGN. One thread, one loop. It ends in steps, each entered from the tick of 50 ms that runs
 * once a signal came: DRAIN (new work is refused, accepted work is finished, at most drain_s) →
 * CLOSE (what is left fails; answers leave, at most 2 s, and whatever still waits is cut) → STOP
 * (connections, workers and store end, at most 6 s) → all handles are closed and uv_run returns.
 * A second signal skips to CLOSE, shortens both and kills the workers. No step waits for a handler,
 * a worker or a disk beyond its time: what does not end (the store's thread in a write that does
 * not return) is left behind by _exit, which loses nothing that a client was told, because that was
 * committed before. Should the loop itself stand still, an alarm ends the process.
 *
 * With inherited sockets it begins with HOLD: nobody is accepted until a worker is ready (or cannot
 * be), because clients that wait in the backlog are better off than those who get 503. And the
 * drain refuses nobody: it stops accepting, so that new clients wait in the backlog for the next
 * process, and serves each connection that there is until its next answer, which ends it.
 *
 * A reload (SIGHUP) makes a whole new configuration and exchanges the values that may change; when
 * anything is wrong with it, nothing changes. The workers look for models again in either case.
 */
#include "base/base.h"
#include "front/args.h"
#include "conf/conf.h"
#include "front/fleet.h"
#include "conf/keyring.h"
#include "front/keys_cli.h"
#include "front/notify.h"
#include "front/rlimits.h"
#include "front/selfstat.h"
#include "front/store_cli.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "http/server/listen.h"
#include "http/server/server.h"
#include "inputs/inputs.h"
#include "job/dispatch.h"
#include "job/jobs.h"
#include "notifier/notifier.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    TICK_MS = 100, /* also how often the lateness of the loop is measured */
    END_TICK_MS = 50,
    HOLD_TICK_MS = 5,
    CLOSE_GRACE_MS = 2000, /* for answers to leave */
    STOP_GRACE_MS = 6000,  /* for workers, which are killed after 5 s, and for the store */
    HURRY_CLOSE_MS = 500,  /* the same after a second signal */
    HURRY_STOP_MS = 1500,
    ALARM_S = 9, /* for all that after the drain */
    HOLD_S = 30  /* clients of inherited sockets wait so long for the first worker */
};

static const double lag_bound[] = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1};

enum step { HOLD, RUN, DRAIN, CLOSE, STOP };

struct front {
    struct cn_args args;
    struct cn_conf conf;
    struct cn_keyring ring;
    struct cn_fleet fleet;
    uv_loop_t loop;
    uv_timer_t tick;
    uv_signal_t sigterm, sigint, sighup;
    struct cn_metrics *metrics;
    struct cn_selfstat self;
    struct cn_metric *lag, *build_info;
    struct cn_metric *reloads, *reload_ok, *reload_time, *log_dropped;
    struct cn_metric *storage_free, *storage_size;
    struct cn_dispatch *dispatch;
    struct cn_store *store;   /* NULL: nothing is kept */
    struct cn_inputs *inputs; /* NULL: none are kept */
    struct cn_jobs *jobs;
    struct cn_notifier *notifier;
    struct cn_server *server;
    enum step step;
    int64_t step_ns, due_ns; /* start of the step; when the tick was expected */
    int64_t watchdog_ns, ping_ns;
    int64_t keys_ns;            /* when the file of keys was looked at */
    bool closed, failed, hurry; /* a second signal came */
};

/* ---- metrics of the process ---- */

static void init_metrics(struct front *f)
{
    struct cn_metrics *r = f->metrics = cn_metrics_new();

    f->build_info = cn_metric_add(r, CN_GAUGE, "controlnetd_build_info",
                                  "Build information; constant 1.", "version,revision,backend");
    f->lag = cn_metric_add_histogram(r, "controlnetd_event_loop_lag_seconds",
                                     "Lateness of a timer in the event loop.", NULL, lag_bound,
                                     (int)CN_LEN(lag_bound));
    cn_selfstat_init(&f->self, r);
    f->reloads = cn_metric_add(r, CN_COUNTER, "controlnetd_config_reloads_total",
                               "Configurations read after the start.", "outcome");
    cn_metric_inc(f->reloads, 0, "succeeded");
    cn_metric_inc(f->reloads, 0, "failed");
    f->reload_ok = cn_metric_add(r, CN_GAUGE, "controlnetd_config_last_reload_success",
                                 "1 when the last configuration that was read is in force.", NULL);
    f->reload_time =
        cn_metric_add(r, CN_GAUGE, "controlnetd_config_last_reload_success_timestamp_seconds",
                      "When the configuration in force was read, since 1970.", NULL);
    cn_metric_set(f->reload_ok, 1);
    cn_metric_set(f->reload_time, (double)cn_wall_us() * 1e-6);
    f->log_dropped = cn_metric_add(r, CN_COUNTER, "controlnetd_log_lines_dropped_total",
                                   "Log lines over the rate of their event.", NULL);
    f->storage_free = cn_metric_add(r, CN_GAUGE, "controlnetd_storage_free_bytes",
                                    "Room on the disk of the store.", NULL);
    f->storage_size = cn_metric_add(r, CN_GAUGE, "controlnetd_storage_size_bytes",
                                    "Size of the disk of the store.", NULL);
}

static void collect(void *arg)
{
    struct front *f = arg;
    struct statvfs disk;

    if (f->store != NULL && statvfs(f->conf.dir, &disk) == 0) {
        cn_metric_set(f->storage_free, (double)disk.f_bavail * (double)disk.f_frsize);
        cn_metric_set(f->storage_size, (double)disk.f_blocks * (double)disk.f_frsize);
    }
    cn_selfstat_collect(&f->self);
    cn_metric_set(f->build_info, 1, PACKAGE_VERSION, CN_REVISION, f->conf.backend);
    cn_metric_set(f->log_dropped, (double)cn_log_dropped());
}

/* ---- the configuration in force ---- */

static void apply_log(const struct cn_conf *c)
{
    struct cn_log_options o = {.level = (enum cn_log_level)cn_log_level_find(c->level),
                               .fd = STDERR_FILENO,
                               .max_per_s = c->max_per_s,
                               .requests_per_s = c->requests_per_s,
                               .prompts = c->prompts != 0};

    cn_log_init(&o);
}

/* What a reload may change of it is in cn_dispatch_configure. */
static struct cn_dispatch_options dispatch_options(struct front *f)
{
    const struct cn_conf *c = &f->conf;
    struct cn_dispatch_options o = CN_DISPATCH_DEFAULTS;

    o.loop = &f->loop;
    o.metrics = f->metrics;
    o.worker = f->fleet.worker;
    o.workers = f->fleet.n;
    o.queue_capacity = c->capacity;
    o.priority_step_s = c->priority_step_s;
    o.tenant.max_queued = c->tenant_max_queued;
    o.tenant.max_running = c->tenant_max_running;
    o.max_attempts = c->max_attempts;
    o.timeout_s = c->timeout_s;
    o.start_timeout_s = c->start_timeout_s;
    o.hang_timeout_s = c->hang_timeout_s;
    return o;
}

/* What a reload may change of it is in cn_server_configure. */
static struct cn_server_options server_options(struct front *f)
{
    const struct cn_conf *c = &f->conf;
    struct cn_server_options o = CN_SERVER_DEFAULTS;

    o.loop = &f->loop;
    o.dispatch = f->dispatch;
    o.jobs = f->jobs;
    o.notifier = f->notifier;
    o.metrics = f->metrics;
    o.listen = c->listen;
    o.admin_listen = c->admin_listen;
    o.cors_origins = c->cors_origins;
    o.hosts = c->hosts;
    o.allow_anonymous = c->allow_anonymous != 0;
    o.trusted_proxies = c->trusted_proxies;
    o.keys = f->ring.on ? &f->ring.keys : NULL;
    o.limits = (struct cn_limits){.max_steps = c->max_steps,
                                  .max_n = c->max_images,
                                  .max_side = c->max_side,
                                  .max_controls = c->max_controls,
                                  .max_pixels = c->max_megapixels * 1048576L,
                                  .max_prompt = (size_t)c->max_prompt_bytes};
    o.max_body = (size_t)c->max_body_mb << 20;
    o.max_image = (size_t)c->max_image_mb << 20;
    o.max_inflight = (size_t)c->max_inflight_mb << 20;
    o.max_outflight = (size_t)c->max_outflight_mb << 20;
    o.max_connections = c->max_connections;
    o.header_timeout_s = c->header_timeout_s;
    o.body_timeout_s = c->body_timeout_s;
    o.idle_timeout_s = c->idle_timeout_s;
    o.max_streams = c->max_streams;
    o.stall_timeout_s = c->stall_timeout_s;
    o.collect = collect;
    o.arg = f;
    return o;
}

static struct cn_inputs_limits inputs_limits(const struct cn_conf *c)
{
    return (struct cn_inputs_limits){.ttl_s = c->inputs_ttl_s,
                                     .max_bytes = (uint64_t)c->inputs_mb << 20,
                                     .tenant_max_bytes = (uint64_t)c->tenant_inputs_mb << 20,
                                     .tenant_max_count = c->tenant_inputs};
}

/* Who the keys stand for, and what each may have. */
static void set_tenants(struct front *f)
{
    const struct cn_tenant_limits preset = dispatch_options(f).tenant;
    struct cn_tenant_rule *rule;
    size_t n;

    cn_keys_rules(&f->ring.keys, &preset, &rule, &n);
    cn_dispatch_set_tenants(f->dispatch, rule, n);
    free(rule);
}

static void count_reload(struct front *f, bool good)
{
    cn_metric_inc(f->reloads, 1, good ? "succeeded" : "failed");
    cn_metric_set(f->reload_ok, good);
    if (good)
        cn_metric_set(f->reload_time, (double)cn_wall_us() * 1e-6);
}

/* ---- reload ---- */

static void on_fixed(const char *section, const char *name, void *arg)
{
    (void)arg;
    cn_log(CN_LOG_WARNING, "config.fixed", "the new value needs a restart", "section=%s key=%s",
           section, name);
}

/* For whoever reads the log: keys that anybody who reads the file has. */
static void warn_of_plain_keys(const struct front *f)
{
    int n = cn_keyring_plain(&f->ring);

    if (n > 0)
        cn_log(CN_LOG_WARNING, "keys.plain",
               "keys stand in the file themselves: \"controlnetd keys add\" keeps digests",
               "file=%s keys=%d", f->ring.path, n);
}

static int configure_notifier(struct front *f, const struct cn_conf *c, struct cn_err *err)
{
    struct cn_webhook_settings settings = cn_conf_webhook(c);

    return cn_notifier_configure(f->notifier, &settings, err);
}

/* Exchanges what may change. Takes ring; *next owns the old values afterwards. */
static int put_in_force(struct front *f, struct cn_conf *next, struct cn_keyring *ring)
{
    struct cn_keyring old = f->ring;
    int changed = cn_conf_merge(&f->conf, next, on_fixed, NULL);
    struct cn_dispatch_options d = dispatch_options(f);
    struct cn_inputs_limits limits = inputs_limits(&f->conf);
    struct cn_server_options s;

    cn_keys_keep_counts(&ring->keys, &old.keys);
    f->ring = *ring;
    s = server_options(f);
    apply_log(&f->conf);
    cn_dispatch_configure(f->dispatch, &d);
    cn_jobs_set_times(f->jobs, f->conf.timeout_s, f->conf.async_timeout_s, f->conf.result_ttl_s);
    if (f->store != NULL)
        cn_store_set_ttl(f->store, f->conf.result_ttl_s, f->conf.tombstone_ttl_s);
    if (f->inputs != NULL)
        cn_inputs_set_limits(f->inputs, &limits);
    cn_server_configure(f->server, &s);
    set_tenants(f);
    warn_of_plain_keys(f);
    cn_keyring_close(&old);
    return changed;
}

static int reload(struct front *f, struct cn_err *err)
{
    struct cn_keyring ring;
    struct cn_conf next;
    int rc = cn_args_configure(&f->args, &next, err);

    if (rc < 0)
        return rc;
    rc = cn_keyring_open(&ring, next.keys_file, cn_conf_state_dir(&f->conf), err);
    if (rc == CN_OK && f->ring.on && !ring.on) {
        cn_keyring_close(&ring);
        rc = cn_fail(err, CN_EINVAL,
                     "a reload does not switch authentication off; that needs a restart");
    }
    if (rc < 0) {
        cn_conf_blame(&next, "auth", "keys_file", err);
    } else if ((rc = configure_notifier(f, &next, err)) < 0) {
        cn_keyring_close(&ring);
        cn_conf_blame(&next, "webhook", "secret_file", err);
    }
    if (rc == CN_OK)
        rc = put_in_force(f, &next, &ring);
    cn_conf_release(&next);
    return rc;
}

/* A key that was added or revoked counts without a reload. */
static void refresh_keys(struct front *f, int64_t now)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_server_options o;
    int rc;

    if (now - f->keys_ns < CN_SECOND_NS)
        return;
    f->keys_ns = now;
    rc = cn_keyring_refresh(&f->ring, &err);
    if (rc < 0)
        cn_log(CN_LOG_ERROR, "keys.read", err.msg, "outcome=%s", "failed");
    if (rc <= 0)
        return;
    o = server_options(f);
    cn_server_configure(f->server, &o);
    set_tenants(f);
    cn_log(CN_LOG_INFO, "keys.read", "the file of keys is in force", "outcome=%s keys=%zu",
           "succeeded", f->ring.keys.n);
    warn_of_plain_keys(f);
}

/* Whoever added a model, or one that no notice came of, says so with the same signal. */
static void refresh_models(struct front *f)
{
    const struct cn_msg_manage what = {.action = CN_MANAGE_REFRESH};
    struct cn_err err = CN_ERR_INIT;

    if (cn_dispatch_manage(f->dispatch, &what, CN_WORKER_ANY, NULL, NULL, &err) < 0)
        cn_log(CN_LOG_INFO, "models.refresh", err.msg, "outcome=%s", "later");
}

static void on_reload(uv_signal_t *h, int number)
{
    struct front *f = h->data;
    struct cn_err err = CN_ERR_INIT;
    char text[64];
    int rc;

    (void)number;
    if (f->step > RUN)
        return;
    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%ld", (long)(cn_now_ns() / 1000));
    cn_notify(text);
    rc = reload(f, &err);
    if (rc < 0)
        cn_log(CN_LOG_ERROR, "config.reload", err.msg, "outcome=%s", "failed");
    else
        cn_log(CN_LOG_INFO, "config.reload", "the configuration is in force",
               "outcome=%s changed=%d", "succeeded", rc);
    count_reload(f, rc >= 0);
    refresh_models(f);
    cn_notify("READY=1");
}

/* ---- the end ---- */

static void next_tick(struct front *f);

static void enter(struct front *f, enum step step)
{
    static const char *const name[] = {"hold", "run", "drain", "close", "stop"};
    static const char *const means[] = {"waiting for the last run to end, and for a worker",
                                        "accepting requests", "finishing accepted work",
                                        "closing what is still open", "ending workers and store"};

    f->step = step;
    f->step_ns = cn_now_ns();
    cn_log(CN_LOG_INFO, "daemon.step", means[step], "step=%s waiting=%d running=%d", name[step],
           cn_dispatch_waiting(f->dispatch), cn_dispatch_running(f->dispatch));
}

static void close_now(struct front *f)
{
    cn_notifier_drain(f->notifier);
    cn_jobs_drain(f->jobs);
    cn_jobs_leave(f->jobs);
    cn_dispatch_fail_all(f->dispatch, CN_EBUSY, "the server is shutting down");
    cn_server_close(f->server);
    enter(f, CLOSE);
}

static void stop_now(struct front *f)
{
    cn_server_stop(f->server);
    cn_notifier_close(f->notifier);
    cn_dispatch_stop(f->dispatch);
    if (f->store != NULL)
        cn_store_close(f->store);
    if (f->hurry)
        cn_dispatch_kill(f->dispatch);
    enter(f, STOP);
}

/* Answers and webhooks have left and the store has everything, or the time is over: then whatever
 * waits is cut, and the next tick goes on. */
static void end_close(struct front *f, int64_t spent_ms)
{
    bool settled = cn_server_settled(f->server);
    bool quiet =
        cn_server_quiet(f->server) && cn_notifier_idle(f->notifier) && cn_jobs_idle(f->jobs);
    bool late = spent_ms >= (f->hurry ? HURRY_CLOSE_MS : CLOSE_GRACE_MS);

    if (settled && (quiet || late))
        stop_now(f);
    else if (!settled && late)
        cn_server_cut(f->server);
}

static void leave_behind(const struct front *f)
{
    cn_log(CN_LOG_ERROR, "daemon.abandon", "something did not end in time and is left behind",
           "workers=%d http=%d store=%d", !cn_dispatch_gone(f->dispatch),
           !cn_server_gone(f->server), f->store != NULL && !cn_store_gone(f->store));
    _exit(f->failed ? 1 : 0);
}

static void close_handles(struct front *f)
{
    if (f->closed)
        return;
    f->closed = true;
    cn_jobs_close(f->jobs);
    uv_close((uv_handle_t *)&f->tick, NULL);
    uv_close((uv_handle_t *)&f->sigterm, NULL);
    uv_close((uv_handle_t *)&f->sigint, NULL);
    uv_close((uv_handle_t *)&f->sighup, NULL);
}

/* The store is open (another process may still hold it, which drains), and a worker takes jobs, or
 * none will soon: then 503 is the truth. */
static bool may_accept(const struct front *f)
{
    if (f->store != NULL && cn_jobs_storage(f->jobs, NULL) == CN_EBUSY)
        return false;
    return cn_dispatch_known(f->dispatch) || cn_dispatch_trouble(f->dispatch)[0] != '\0' ||
           cn_now_ns() - f->step_ns >= HOLD_S * CN_SECOND_NS;
}

static int begin_serving(struct front *f, struct cn_err *err)
{
    int rc = cn_server_accept(f->server, err);

    if (rc == CN_OK) {
        enter(f, RUN);
        cn_notify("READY=1\nSTATUS=listening");
    }
    return rc;
}

static bool drained(const struct front *f)
{
    return cn_dispatch_idle(f->dispatch) &&
           (!cn_server_handoff(f->server) || cn_server_drained(f->server));
}

static void advance(struct front *f)
{
    int64_t spent = cn_now_ns() - f->step_ns, spent_ms = spent / 1000000;
    struct cn_err err = CN_ERR_INIT;

    if (f->step == HOLD && may_accept(f) && begin_serving(f, &err) < 0) {
        cn_log(CN_LOG_ERROR, "daemon.fail", err.msg, "step=%s", "hold");
        f->failed = true;
        close_now(f);
    } else if (f->step == DRAIN && (drained(f) || spent >= f->conf.drain_s * CN_SECOND_NS)) {
        close_now(f);
    } else if (f->step == CLOSE) {
        end_close(f, spent_ms);
    } else if (f->step == STOP && cn_dispatch_gone(f->dispatch) && cn_server_gone(f->server) &&
               (f->store == NULL || cn_store_gone(f->store))) {
        close_handles(f);
    } else if (f->step == STOP && spent_ms >= (f->hurry ? HURRY_STOP_MS : STOP_GRACE_MS)) {
        leave_behind(f);
    }
}

static void on_signal(uv_signal_t *h, int number)
{
    struct front *f = h->data;

    cn_log(CN_LOG_INFO, "daemon.signal", f->step == RUN ? "finishing accepted work" : "ending now",
           "signal=%d", number);
    if (f->step <= RUN) {
        cn_notify("STOPPING=1\nSTATUS=draining");
        if (!cn_server_handoff(f->server))
            cn_jobs_drain(f->jobs);
        cn_dispatch_drain(f->dispatch, cn_server_handoff(f->server));
        cn_server_drain(f->server);
        enter(f, DRAIN);
        alarm((unsigned)f->conf.drain_s + ALARM_S); /* its default action ends the process */
        next_tick(f);
        return;
    }
    f->hurry = true;
    if (f->step == DRAIN)
        close_now(f);
    else if (f->step == STOP)
        cn_dispatch_kill(f->dispatch);
}

/* ---- the tick ---- */

static void ping(struct front *f, int64_t now)
{
    if (f->watchdog_ns == 0 || now - f->ping_ns < f->watchdog_ns / 2)
        return;
    f->ping_ns = now;
    cn_notify("WATCHDOG=1");
}

static void on_tick(uv_timer_t *t);

static void next_tick(struct front *f)
{
    static const int by_step[] = {HOLD_TICK_MS, TICK_MS, END_TICK_MS, END_TICK_MS, END_TICK_MS};
    int ms = by_step[f->step];

    uv_update_time(&f->loop);
    f->due_ns = cn_now_ns() + ms * INT64_C(1000000);
    uv_timer_start(&f->tick, on_tick, (uint64_t)ms, 0);
}

static void on_tick(uv_timer_t *t)
{
    struct front *f = t->data;
    int64_t now = cn_now_ns();

    if (f->due_ns != 0)
        cn_metric_observe(f->lag, CN_MAX((double)(now - f->due_ns) * 1e-9, 0));
    ping(f, now);
    if (f->step < STOP)
        refresh_keys(f, now);
    cn_log_tick();
    advance(f);
    if (!f->closed)
        next_tick(f);
}

/* ---- the start ---- */

/* From the beginning of main until the loop has handlers, signals wait: one that comes in between
 * is obeyed then, and does not kill a daemon that has opened its store. */
static void hold_signals(int how)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(how, &set, NULL);
}

static void init_loop(struct front *f)
{
    uv_loop_init(&f->loop);
    uv_timer_init(&f->loop, &f->tick);
    uv_signal_init(&f->loop, &f->sigterm);
    uv_signal_init(&f->loop, &f->sigint);
    uv_signal_init(&f->loop, &f->sighup);
    f->tick.data = f->sigterm.data = f->sigint.data = f->sighup.data = f;
    uv_signal_start(&f->sigterm, on_signal, SIGTERM);
    uv_signal_start(&f->sigint, on_signal, SIGINT);
    uv_signal_start(&f->sighup, on_reload, SIGHUP);
    hold_signals(SIG_UNBLOCK);
}

static void make_notifier(struct front *f)
{
    f->notifier = cn_notifier_new(
        &(struct cn_notifier_options){.loop = &f->loop, .jobs = f->jobs, .metrics = f->metrics});
}

static void make_jobs(struct front *f)
{
    struct cn_jobs_options o = CN_JOBS_DEFAULTS;

    o.loop = &f->loop;
    o.dispatch = f->dispatch;
    o.metrics = f->metrics;
    o.timeout_s = f->conf.timeout_s;
    o.async_timeout_s = f->conf.async_timeout_s;
    f->jobs = cn_jobs_new(&o);
}

/* The built-in directory may be missing or another user's, where the daemon was not installed as a
 * service: then it runs without durable jobs, and says so. One that somebody chose must work. */
static int open_store(struct front *f, struct cn_err *err)
{
    const struct cn_conf *c = &f->conf;
    struct cn_store_options o = CN_STORE_DEFAULTS;
    int rc;

    if (c->dir[0] == '\0')
        return CN_OK;
    o.loop = &f->loop;
    o.dir = c->dir;
    o.result_ttl_s = c->result_ttl_s;
    o.tombstone_ttl_s = c->tombstone_ttl_s;
    o.key_ttl_s = c->key_ttl_s;
    o.max_bytes = (uint64_t)c->max_mb << 20;
    o.min_free_percent = c->min_free_percent;
    o.on_open = cn_jobs_on_store;
    o.arg = f->jobs;
    if (cn_conf_default_dir(c))
        cn_make_dirs(c->dir, 0700); /* what cannot be made the store will tell */
    rc = cn_store_open(&o, &f->store, err);
    if (rc == CN_OK) {
        cn_jobs_set_store(f->jobs, f->store, c->result_ttl_s);
    } else if (cn_conf_default_dir(c) && access(c->dir, W_OK | X_OK) < 0) {
        cn_log(CN_LOG_WARNING, "store.none", err->msg, "dir=%s", c->dir);
        cn_jobs_without_store(f->jobs, "its directory cannot be used, the log says why");
        *err = (struct cn_err)CN_ERR_INIT;
        rc = CN_OK;
    }
    return rc;
}

/* Tickets outlive this process when their secret does. */
static void load_secret(struct front *f)
{
    struct cn_ticket_secret secret;
    struct cn_err err = CN_ERR_INIT;
    char *path = cn_xprintf("%s/ticket-secret", cn_conf_state_dir(&f->conf));

    if (cn_ticket_secret_load(&secret, path, &err) < 0 && f->ring.on)
        cn_log(CN_LOG_WARNING, "tickets.secret", err.msg, "lasting=%d", 0);
    cn_server_set_secret(f->server, &secret);
    explicit_bzero(&secret, sizeof(secret));
    free(path);
}

/* Beside the jobs. Without them the daemon serves all the same: who uploads is told. */
static void open_inputs(struct front *f)
{
    struct cn_inputs_options o = {.limits = inputs_limits(&f->conf)};
    struct cn_err err = CN_ERR_INIT;
    char *dir;

    if (f->store == NULL)
        return;
    dir = cn_xprintf("%s/inputs", f->conf.dir);
    o.dir = dir;
    if (cn_inputs_open(&o, &f->inputs, &err) == CN_OK)
        cn_server_set_inputs(f->server, f->inputs);
    else
        cn_log(CN_LOG_WARNING, "inputs.none", err.msg, "dir=%s", dir);
    free(dir);
}

static int write_port(const struct front *f, struct cn_err *err)
{
    char text[32];

    if (f->args.port_file == NULL)
        return CN_OK;
    snprintf(text, sizeof(text), "%d\n%d\n", cn_server_port(f->server, false),
             cn_server_port(f->server, true));
    return cn_file_write(f->args.port_file, text, strlen(text), err);
}

static void make_parts(struct front *f)
{
    struct cn_dispatch_options d;
    struct cn_server_options s;

    init_metrics(f);
    init_loop(f);
    cn_fleet_init(&f->fleet, &f->conf);
    d = dispatch_options(f);
    f->dispatch = cn_dispatch_new(&d);
    set_tenants(f);
    make_jobs(f);
    make_notifier(f);
    s = server_options(f);
    f->server = cn_server_new(&s);
}

/* Listens first: the disk may take a tenth of a second for a new store, and clients wait for the
 * loop in the backlog. */
static int start(struct front *f, struct cn_err *err)
{
    int rc = cn_server_listen(f->server, err);

    if (rc == CN_OK)
        rc = configure_notifier(f, &f->conf, err);
    if (rc == CN_OK)
        rc = open_store(f, err);
    load_secret(f);
    warn_of_plain_keys(f);
    if (rc == CN_OK)
        open_inputs(f);
    if (rc == CN_OK)
        rc = write_port(f, err);
    if (rc < 0)
        return rc;
    cn_dispatch_start(f->dispatch);
    f->watchdog_ns = cn_notify_watchdog_us() * 1000;
    cn_log(CN_LOG_INFO, "daemon.start", "controlnetd has its sockets", "version=%s pid=%d",
           PACKAGE_VERSION, (int)getpid());
    if (!cn_server_handoff(f->server))
        return begin_serving(f, err);
    enter(f, HOLD);
    cn_notify("STATUS=waiting for a worker");
    return CN_OK;
}

static int serve(struct front *f, struct cn_err *err)
{
    int rc;

    signal(SIGPIPE, SIG_IGN);
    if ((rc = cn_rlimits_raise_files(err)) < 0)
        return rc;
    cn_rlimits_keep_memory_flat();
    make_parts(f);
    if ((rc = start(f, err)) < 0) {
        f->failed = true;
        stop_now(f);
    }
    next_tick(f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    uv_loop_close(&f->loop);
    cn_server_free(f->server);
    cn_notifier_free(f->notifier);
    cn_jobs_free(f->jobs);
    cn_store_free(f->store);
    if (f->inputs != NULL)
        cn_inputs_close(f->inputs);
    cn_dispatch_free(f->dispatch);
    cn_metrics_free(f->metrics);
    cn_fleet_release(&f->fleet);
    return rc == CN_OK && f->failed ? cn_fail(err, CN_EIO, "it could not serve") : rc;
}

static int run_daemon(int argc, char **argv)
{
    struct front *f = cn_xcalloc(1, sizeof(*f));
    struct cn_err err = CN_ERR_INIT;
    int rc;

    hold_signals(SIG_BLOCK);
    cn_args_parse(&f->args, argc, argv);
    rc = cn_args_configure(&f->args, &f->conf, &err);
    if (rc == CN_OK && f->args.print) {
        cn_conf_print(&f->conf, stdout);
    } else if (rc == CN_OK && f->args.check) {
        puts("the configuration is good");
    } else if (rc == CN_OK && f->args.check_store) {
        rc = cn_store_cli_check(f->conf.dir, &err);
    } else if (rc == CN_OK) {
        apply_log(&f->conf);
        rc = cn_keyring_open(&f->ring, f->conf.keys_file, cn_conf_state_dir(&f->conf), &err);
        if (rc == CN_OK)
            rc = serve(f, &err);
        if (rc == CN_OK)
            cn_log(CN_LOG_INFO, "daemon.end", "controlnetd ends", "pid=%d", (int)getpid());
        cn_log_flush();
    }
    if (rc < 0)
        fprintf(stderr, "controlnetd: %s\n", err.msg);
    cn_keyring_close(&f->ring);
    cn_conf_release(&f->conf);
    free(f);
    return rc < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "keys") == 0)
        return cn_keys_cli(argc - 1, argv + 1);
    cn_listen_take_environment();
    cn_notify_take_environment();
    return run_daemon(argc, argv);
}
