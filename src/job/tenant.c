/* Table of tenants: a hash table of the live ones, a sorted array of the rules. */
#include "base/base.h"
#include "job/tenant.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cn_tenants {
    struct cn_tenant_limits preset;
    struct cn_tenant_rule *rule; /* sorted by name */
    size_t n_rules;
    struct cn_table live;
    TAILQ_HEAD(idle_head, cn_tenant) idle; /* the one used last is first */
    size_t n_idle;
};

struct cn_tenants *cn_tenants_new(const struct cn_tenant_limits *preset)
{
    struct cn_tenants *ts = cn_xcalloc(1, sizeof(*ts));

    ts->preset = *preset;
    TAILQ_INIT(&ts->idle);
    return ts;
}

static uint64_t hash_of(const char *name)
{
    return cn_hash_text(CN_HASH_INIT, name);
}

/* ---- idle ones ---- */

static void leave_idle(struct cn_tenants *ts, struct cn_tenant *t)
{
    TAILQ_REMOVE(&ts->idle, t, in_idle);
    ts->n_idle--;
}

static void forget(struct cn_tenants *ts, struct cn_tenant *t)
{
    leave_idle(ts, t);
    cn_table_remove(&ts->live, &t->by_name);
    free(t);
}

static void enter_idle(struct cn_tenants *ts, struct cn_tenant *t)
{
    TAILQ_INSERT_HEAD(&ts->idle, t, in_idle);
    ts->n_idle++;
    if (ts->n_idle > CN_TENANTS_IDLE)
        forget(ts, TAILQ_LAST(&ts->idle, idle_head));
}

void cn_tenants_free(struct cn_tenants *ts)
{
    while (!TAILQ_EMPTY(&ts->idle))
        forget(ts, TAILQ_FIRST(&ts->idle));
    CN_ASSERT(ts->live.n == 0);
    cn_table_release(&ts->live);
    free(ts->rule);
    free(ts);
}

/* ---- limits ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct cn_tenant_rule *)a)->name,
                  ((const struct cn_tenant_rule *)b)->name);
}

struct cn_tenant_limits cn_tenants_limits(const struct cn_tenants *ts, const char *name)
{
    const struct cn_tenant_rule *found;
    struct cn_tenant_rule key;

    if (ts->n_rules == 0)
        return ts->preset;
    snprintf(key.name, sizeof(key.name), "%s", name);
    found = bsearch(&key, ts->rule, ts->n_rules, sizeof(*ts->rule), by_name);
    return found == NULL ? ts->preset : found->limits;
}

static void take_limits(struct cn_table_node *node, void *ts)
{
    struct cn_tenant *t = CN_TABLE_OF(node, struct cn_tenant, by_name);

    t->limits = cn_tenants_limits(ts, t->name);
}

static void follow(struct cn_tenants *ts)
{
    cn_table_visit(&ts->live, take_limits, ts);
}

void cn_tenants_set_preset(struct cn_tenants *ts, const struct cn_tenant_limits *preset)
{
    ts->preset = *preset;
    follow(ts);
}

void cn_tenants_set_rules(struct cn_tenants *ts, const struct cn_tenant_rule *rule, size_t n)
{
    free(ts->rule);
    ts->rule = NULL;
    ts->n_rules = n;
    if (n > 0) {
        ts->rule = cn_xcalloc(n, sizeof(*ts->rule));
        memcpy(ts->rule, rule, n * sizeof(*ts->rule));
        qsort(ts->rule, n, sizeof(*ts->rule), by_name);
    }
    follow(ts);
}

/* ---- tenants ---- */

struct cn_tenant *cn_tenants_find(const struct cn_tenants *ts, const char *name)
{
    char cut[CN_TENANT_NAME];

    snprintf(cut, sizeof(cut), "%s", name);
    CN_TABLE_EACH(&ts->live, hash_of(cut), node)
    {
        struct cn_tenant *t = CN_TABLE_OF(node, struct cn_tenant, by_name);

        if (strcmp(t->name, cut) == 0)
            return t;
    }
    return NULL;
}

struct cn_tenant *cn_tenants_get(struct cn_tenants *ts, const char *name)
{
    struct cn_tenant *t = cn_tenants_find(ts, name);

    if (t != NULL)
        return cn_tenant_ref(t);
    t = cn_xcalloc(1, sizeof(*t));
    snprintf(t->name, sizeof(t->name), "%s", name);
    t->limits = cn_tenants_limits(ts, t->name);
    t->table = ts;
    t->refs = 1;
    cn_table_add(&ts->live, &t->by_name, hash_of(t->name));
    return t;
}

struct cn_tenant *cn_tenant_ref(struct cn_tenant *t)
{
    if (t->refs++ == 0)
        leave_idle(t->table, t);
    return t;
}

void cn_tenant_unref(struct cn_tenant *t)
{
    if (t != NULL && --t->refs == 0)
        enter_idle(t->table, t);
}

struct visit {
    void (*visit)(struct cn_tenant *t, void *arg);
    void *arg;
};

static void visit_one(struct cn_table_node *node, void *arg)
{
    const struct visit *v = arg;

    v->visit(CN_TABLE_OF(node, struct cn_tenant, by_name), v->arg);
}

void cn_tenants_each(const struct cn_tenants *ts, void (*visit)(struct cn_tenant *t, void *arg),
                     void *arg)
{
    cn_table_visit(&ts->live, visit_one, &(struct visit){visit, arg});
}

size_t cn_tenants_count(const struct cn_tenants *ts)
{
    return ts->live.n;
}

void cn_tenants_each_rule(const struct cn_tenants *ts,
                          void (*visit)(const struct cn_tenant_rule *rule, void *arg), void *arg)
{
    for (size_t i = 0; i < ts->n_rules; i++)
        visit(&ts->rule[i], arg);
}
