/* The server: listeners and the life of the whole. It makes core, the routes and the access rules,
 * and hands the table of routes down to core. */
#include "base/base.h"
#include "http/server/server.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/auth/access.h"
#include "http/core/core.h"
#include "http/core/mhd_transport.h"
#include "http/routes/app.h"
#include "http/server/listen.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ENDPOINTS = 16, TICK_MS = 1000, WAVE = 256 /* connections */ };

struct endpoint {
    struct cn_listener listener;
    bool admin, inherited;
    int port;
    struct cn_listen_path path; /* to be removed at the end */
};

struct cn_server {
    struct cn_server_options o;
    struct endpoint endpoint[ENDPOINTS]; /* in the order of their opening */
    int n_endpoints;
    bool is_handoff; /* public sockets are inherited: who comes next takes them */
    struct cn_core *core;
    struct cn_app *app;
    struct cn_access access;
    uv_timer_t tick;
    bool tick_closed;
    int peak; /* connections since memory was given back */
};

/* After a wave of connections the heap is full of holes, which glibc does not give back by itself.
 */
static void give_memory_back(struct cn_server *s)
{
    s->peak = CN_MAX(s->peak, s->core->n_conns);
    if (s->peak < WAVE || s->core->n_conns > s->peak / 4)
        return;
    s->peak = s->core->n_conns;
    malloc_trim(0);
}

static void on_tick(uv_timer_t *t)
{
    struct cn_server *s = t->data;

    cn_app_tick(s->app);
    give_memory_back(s);
}

static struct cn_app_options app_options(const struct cn_server_options *o)
{
    return (struct cn_app_options){.dispatch = o->dispatch,
                                   .jobs = o->jobs,
                                   .notifier = o->notifier,
                                   .metrics = o->metrics,
                                   .limits = o->limits,
                                   .max_image = o->max_image,
                                   .collect = o->collect,
                                   .arg = o->arg};
}

static struct cn_core_options core_options(struct cn_server *s, const struct cn_server_options *o)
{
    return (struct cn_core_options){.loop = o->loop,
                                    .metrics = o->metrics,
                                    .routes = cn_app_routes(),
                                    .app = s->app,
                                    .access = cn_access_check,
                                    .access_arg = &s->access,
                                    .cors = o->cors_origins[0] != '\0',
                                    .max_body = o->max_body,
                                    .max_inflight = o->max_inflight,
                                    .max_outflight = o->max_outflight,
                                    .max_connections = o->max_connections,
                                    .max_streams = o->max_streams,
                                    .stall_timeout_s = o->stall_timeout_s,
                                    .header_timeout_s = o->header_timeout_s,
                                    .body_timeout_s = o->body_timeout_s,
                                    .idle_timeout_s = o->idle_timeout_s};
}

static void set_access(struct cn_server *s, const struct cn_server_options *o)
{
    s->access.guard.keys = o->keys;
    s->access.trusted_proxies = o->trusted_proxies;
    s->access.hosts = o->hosts;
    s->access.origins = o->cors_origins;
}

struct cn_server *cn_server_new(const struct cn_server_options *o)
{
    struct cn_server *s = cn_xcalloc(1, sizeof(*s));
    struct cn_app_options app = app_options(o);
    struct cn_core_options core;

    s->o = *o;
    s->is_handoff = cn_listen_inherited(false, 0) >= 0;
    cn_access_init(&s->access);
    set_access(s, o);
    s->app = cn_app_new(&app);
    core = core_options(s, o);
    s->core = cn_core_new(&core);
    cn_app_set_core(s->app, s->core, &s->access);
    cn_app_set_handoff(s->app, s->is_handoff);
    uv_timer_init(o->loop, &s->tick);
    s->tick.data = s;
    uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
    return s;
}

/* ---- listeners ---- */

/* Without keys whoever reaches the socket may do everything: that must be said, or nobody beyond
 * this machine reaches it. The listener for operators asks for no key anyway. */
static int check_exposure(const struct cn_server *s, int fd, bool admin, const char *address,
                          struct cn_err *err)
{
    if (s->o.keys != NULL || s->o.allow_anonymous || admin || cn_listen_is_local(fd))
        return CN_OK;
    return cn_fail(err, CN_EINVAL,
                   "\"%s\" listens beyond this machine and there are no keys: add some "
                   "(auth.keys_file), or set auth.allow_anonymous = true",
                   address);
}

/* Takes fd. address is for people. */
static int open_endpoint(struct cn_server *s, int fd, bool admin, const char *address,
                         struct cn_err *err)
{
    struct endpoint *e = &s->endpoint[s->n_endpoints];
    int rc = check_exposure(s, fd, admin, address, err);

    if (rc < 0) {
        close(fd);
        return rc;
    }
    e->admin = admin;
    e->port = cn_listen_port(fd);
    if ((rc = cn_listener_open(&e->listener, s->core, fd, admin, err)) < 0)
        return rc;
    s->n_endpoints++;
    s->core->is_split = s->core->is_split || admin;
    cn_log(CN_LOG_INFO, "http.listen", "listening", "address=%s port=%d admin=%d inherited=%d",
           address, e->port, (int)admin, (int)e->inherited);
    return CN_OK;
}

/* All sockets that were passed for this use. */
static int take_inherited(struct cn_server *s, bool admin, struct cn_err *err)
{
    int fd, rc = CN_OK;

    for (int nth = 0; rc == CN_OK && s->n_endpoints < ENDPOINTS; nth++) {
        if ((fd = cn_listen_inherited(admin, nth)) < 0)
            break;
        s->endpoint[s->n_endpoints].inherited = true;
        rc = open_endpoint(s, fd, admin, "inherited", err);
    }
    return rc;
}

static int open_own(struct cn_server *s, const char *address, bool admin, struct cn_err *err)
{
    struct cn_listen_set set;
    int rc = cn_listen_open(address, &set, err);

    if (rc == CN_OK && set.n + s->n_endpoints > ENDPOINTS)
        rc = cn_fail(err, CN_ETOOBIG, "\"%s\" has too many addresses", address);
    for (int i = 0; i < set.n; i++) {
        if (rc < 0) {
            close(set.fd[i]);
            continue;
        }
        s->endpoint[s->n_endpoints].path = set.path;
        rc = open_endpoint(s, set.fd[i], admin, address, err);
    }
    if (rc < 0)
        cn_listen_remove(&set.path);
    return rc;
}

void cn_server_set_inputs(struct cn_server *s, struct cn_inputs *inputs)
{
    cn_app_set_inputs(s->app, inputs);
}

int cn_server_listen(struct cn_server *s, struct cn_err *err)
{
    int rc = CN_OK;

    if (cn_listen_inherited(true, 0) >= 0)
        rc = take_inherited(s, true, err);
    else if (s->o.admin_listen[0] != '\0')
        rc = open_own(s, s->o.admin_listen, true, err);
    if (rc == CN_OK && !cn_server_handoff(s))
        rc = open_own(s, s->o.listen, false, err);
    return rc;
}

int cn_server_accept(struct cn_server *s, struct cn_err *err)
{
    return cn_server_handoff(s) ? take_inherited(s, false, err) : CN_OK;
}

int cn_server_port(const struct cn_server *s, bool admin)
{
    int fd = cn_listen_inherited(admin, 0);

    for (int i = 0; i < s->n_endpoints; i++)
        if (s->endpoint[i].admin == admin)
            return s->endpoint[i].port;
    return fd < 0 ? 0 : cn_listen_port(fd); /* passed, and not yet accepted from */
}

void cn_server_configure(struct cn_server *s, const struct cn_server_options *o)
{
    struct cn_core_options core = core_options(s, o);
    struct cn_app_options app = app_options(o);

    s->o.keys = o->keys;
    s->o.allow_anonymous = o->allow_anonymous;
    set_access(s, o);
    cn_core_configure(s->core, &core);
    cn_app_configure(s->app, &app);
}

void cn_server_set_secret(struct cn_server *s, const struct cn_ticket_secret *secret)
{
    s->access.guard.secret = *secret;
}

bool cn_server_handoff(const struct cn_server *s)
{
    return s->is_handoff;
}

/* ---- the end ---- */

void cn_server_drain(struct cn_server *s)
{
    if (s->core->is_draining)
        return;
    cn_core_drain(s->core);
    for (int i = 0; i < s->n_endpoints; i++)
        if (s->endpoint[i].inherited)
            cn_listener_quiesce(&s->endpoint[i].listener);
}

bool cn_server_drained(const struct cn_server *s)
{
    return cn_core_drained(s->core);
}

void cn_server_close(struct cn_server *s)
{
    cn_server_drain(s);
    for (int i = 0; i < s->n_endpoints; i++)
        cn_listener_quiesce(&s->endpoint[i].listener);
    cn_core_shutdown(s->core);
    cn_core_cut_idle(s->core);
}

bool cn_server_quiet(struct cn_server *s)
{
    cn_core_cut_idle(s->core);
    for (int i = 0; i < s->n_endpoints; i++)
        if (cn_listener_connections(&s->endpoint[i].listener) > 0)
            return false;
    return true;
}

bool cn_server_settled(const struct cn_server *s)
{
    return cn_core_settled(s->core);
}

void cn_server_cut(struct cn_server *s)
{
    cn_core_cut(s->core);
}

static void on_tick_closed(uv_handle_t *h)
{
    ((struct cn_server *)h->data)->tick_closed = true;
}

void cn_server_stop(struct cn_server *s)
{
    CN_ASSERT(cn_core_settled(s->core)); /* the library would abort with less to say */
    if (!uv_is_closing((uv_handle_t *)&s->tick))
        uv_close((uv_handle_t *)&s->tick, on_tick_closed);
    for (int i = 0; i < s->n_endpoints; i++) {
        cn_listener_stop(&s->endpoint[i].listener);
        cn_listen_remove(&s->endpoint[i].path);
    }
    cn_core_stop(s->core);
}

bool cn_server_gone(const struct cn_server *s)
{
    int handles = !cn_core_gone(s->core) + !s->tick_closed;

    for (int i = 0; i < s->n_endpoints; i++)
        handles += cn_listener_handles(&s->endpoint[i].listener);
    return handles == 0;
}

void cn_server_free(struct cn_server *s)
{
    if (s == NULL)
        return;
    cn_core_free(s->core);
    cn_app_free(s->app);
    cn_access_release(&s->access);
    free(s);
}
