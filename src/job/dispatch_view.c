/* Dispatcher: what can be asked about workers and numbers of jobs; changes nothing. */
#include "base/base.h"
#include "job/dispatch_priv.h"

const struct cn_catalog *cn_dispatch_catalog(const struct cn_dispatch *d)
{
    return &d->catalog;
}

int cn_dispatch_workers(const struct cn_dispatch *d)
{
    return d->o.workers;
}

struct cn_worker_view cn_dispatch_worker(const struct cn_dispatch *d, int i)
{
    static const char *const state[] = {"down", "starting", "loading", "ready"};
    const struct cn_slot *s = &d->slot[i];

    return (struct cn_worker_view){.device = s->device,
                                   .backend = s->backend,
                                   .state = state[cn_process_state(s->process)],
                                   .trouble = cn_process_trouble(s->process),
                                   .healthy = !s->unhealthy,
                                   .pid = cn_process_pid(s->process),
                                   .restarts = s->restarts,
                                   .jobs = s->n,
                                   .capacity = s->capacity,
                                   .images = s->images,
                                   .lanes = s->lanes};
}

int cn_dispatch_ready_workers(const struct cn_dispatch *d)
{
    int n = 0;

    for (int i = 0; i < d->o.workers; i++)
        n += cn_process_state(d->slot[i].process) == CN_PROCESS_READY;
    return n;
}

bool cn_dispatch_known(const struct cn_dispatch *d)
{
    return d->known;
}

const char *cn_dispatch_trouble(const struct cn_dispatch *d)
{
    for (int i = 0; i < d->o.workers; i++) {
        const char *text = cn_process_trouble(d->slot[i].process);

        if (text[0] != '\0')
            return text;
    }
    return "";
}

const char *cn_dispatch_backend(const struct cn_dispatch *d)
{
    return d->slot[0].backend;
}

int cn_dispatch_waiting(const struct cn_dispatch *d)
{
    int n = d->queue.n + (int)cn_treap_count(&d->suspects);

    for (int i = 0; i < d->o.workers; i++)
        n += d->slot[i].reserved_for != NULL;
    return n;
}

int cn_dispatch_running(const struct cn_dispatch *d)
{
    int n = 0;

    for (int i = 0; i < d->o.workers; i++)
        n += d->slot[i].n;
    return n;
}

struct cn_queue_view cn_dispatch_queue(const struct cn_dispatch *d, const char *tenant)
{
    const char *name = tenant == NULL ? CN_TENANT_ANONYMOUS : tenant;
    const struct cn_tenant *t = cn_tenants_find(d->tenants, name);

    return (struct cn_queue_view){.waiting = cn_dispatch_waiting(d),
                                  .running = cn_dispatch_running(d),
                                  .capacity = d->queue.capacity,
                                  .own_waiting = t == NULL ? 0 : t->queued,
                                  .own_running = t == NULL ? 0 : t->running,
                                  .own = cn_tenants_limits(d->tenants, name)};
}

struct each_tenant {
    const struct cn_tenants *tenants;
    void (*visit)(const struct cn_tenant_view *v, void *arg);
    void *arg;
};

static void visit_live(struct cn_tenant *t, void *arg)
{
    const struct each_tenant *e = arg;

    e->visit(&(struct cn_tenant_view){.name = t->name,
                                      .waiting = t->queued,
                                      .running = t->running,
                                      .limits = t->limits},
             e->arg);
}

static void visit_rule(const struct cn_tenant_rule *rule, void *arg)
{
    const struct each_tenant *e = arg;

    if (cn_tenants_find(e->tenants, rule->name) == NULL) /* else it was visited */
        e->visit(&(struct cn_tenant_view){.name = rule->name, .limits = rule->limits}, e->arg);
}

void cn_dispatch_each_tenant(const struct cn_dispatch *d,
                             void (*visit)(const struct cn_tenant_view *v, void *arg), void *arg)
{
    struct each_tenant e = {d->tenants, visit, arg};

    cn_tenants_each(d->tenants, visit_live, &e);
    cn_tenants_each_rule(d->tenants, visit_rule, &e);
}
