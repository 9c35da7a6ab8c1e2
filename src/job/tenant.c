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
    struct cn_tenant **bucket;
    size_t buckets, n;                 /* buckets: a power of two */
    struct cn_tenant *newest, *oldest; /* idle ones */
    size_t idle;
};

enum { FIRST_BUCKETS = 64 };

struct cn_tenants *cn_tenants_new(const struct cn_tenant_limits *preset)
{
    struct cn_tenants *ts = cn_xcalloc(1, sizeof(*ts));

    ts->preset = *preset;
    ts->buckets = FIRST_BUCKETS;
    ts->bucket = cn_xcalloc(ts->buckets, sizeof(*ts->bucket));
    return ts;
}

/* FNV-1a. Names come from the operator's file, not from clients. */
static size_t hash(const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (; *name != '\0'; name++)
        h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return (size_t)(h ^ h >> 32);
}

static struct cn_tenant **place_of(const struct cn_tenants *ts, const char *name)
{
    struct cn_tenant **at = &ts->bucket[hash(name) & (ts->buckets - 1)];

    while (*at != NULL && strcmp((*at)->name, name) != 0)
        at = &(*at)->chain;
    return at;
}

static void widen(struct cn_tenants *ts)
{
    struct cn_tenant **old = ts->bucket;
    size_t n = ts->buckets;

    ts->buckets = 2 * n;
    ts->bucket = cn_xcalloc(ts->buckets, sizeof(*ts->bucket));
    for (size_t i = 0; i < n; i++) {
        struct cn_tenant *next;

        for (struct cn_tenant *t = old[i]; t != NULL; t = next) {
            next = t->chain;
            t->chain = NULL;
            *place_of(ts, t->name) = t;
        }
    }
    free(old);
}

/* ---- idle ones ---- */

static void leave_idle(struct cn_tenants *ts, struct cn_tenant *t)
{
    *(t->newer != NULL ? &t->newer->older : &ts->newest) = t->older;
    *(t->older != NULL ? &t->older->newer : &ts->oldest) = t->newer;
    t->newer = t->older = NULL;
    ts->idle--;
}

static void forget(struct cn_tenants *ts, struct cn_tenant *t)
{
    *place_of(ts, t->name) = t->chain;
    ts->n--;
    free(t);
}

static void enter_idle(struct cn_tenants *ts, struct cn_tenant *t)
{
    struct cn_tenant *last;

    t->older = ts->newest;
    *(ts->newest != NULL ? &ts->newest->newer : &ts->oldest) = t;
    ts->newest = t;
    ts->idle++;
    if (ts->idle <= CN_TENANTS_IDLE)
        return;
    last = ts->oldest;
    leave_idle(ts, last);
    forget(ts, last);
}

void cn_tenants_free(struct cn_tenants *ts)
{
    while (ts->newest != NULL) {
        struct cn_tenant *t = ts->newest;

        leave_idle(ts, t);
        forget(ts, t);
    }
    CN_ASSERT(ts->n == 0);
    free(ts->bucket);
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

static void follow(struct cn_tenants *ts)
{
    for (size_t i = 0; i < ts->buckets; i++)
        for (struct cn_tenant *t = ts->bucket[i]; t != NULL; t = t->chain)
            t->limits = cn_tenants_limits(ts, t->name);
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
    return *place_of(ts, cut);
}

struct cn_tenant *cn_tenants_get(struct cn_tenants *ts, const char *name)
{
    struct cn_tenant *t = cn_tenants_find(ts, name);

    if (t != NULL)
        return cn_tenant_ref(t);
    if (ts->n >= ts->buckets)
        widen(ts);
    t = cn_xcalloc(1, sizeof(*t));
    snprintf(t->name, sizeof(t->name), "%s", name);
    t->limits = cn_tenants_limits(ts, t->name);
    t->table = ts;
    t->refs = 1;
    *place_of(ts, t->name) = t;
    ts->n++;
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

void cn_tenants_each(const struct cn_tenants *ts, void (*visit)(struct cn_tenant *t, void *arg),
                     void *arg)
{
    for (size_t i = 0; i < ts->buckets; i++)
        for (struct cn_tenant *t = ts->bucket[i]; t != NULL; t = t->chain)
            visit(t, arg);
}

size_t cn_tenants_count(const struct cn_tenants *ts)
{
    return ts->n;
}
