/* Tenants: who the keys stand for, what each may have, and what each has now. Loop thread only.
 *
 * Limits come from rules (the keys file) or, for names without one, from a preset. The live state
 * of a tenant exists while somebody refers to it (each of its jobs does); of those that nobody
 * refers to, the CN_TENANTS_IDLE used last are kept, so that who comes back soon stands where he
 * stood in the queue.
 *
 *     ts = cn_tenants_new(&preset);
 *     cn_tenants_set_rules(ts, rules, n);         -- at the start and with each reload
 *     t = cn_tenants_get(ts, "anna");                     -- a reference for the caller
 *     cn_tenant_unref(t);
 *     cn_tenants_free(ts);                                -- when no tenant is referred to any more
 */
#ifndef CN_JOB_TENANT_H
#define CN_JOB_TENANT_H

#include "base/base.h"
#include "base/table.h"
#include "job/treap.h"

#include <sys/queue.h>

enum {
    CN_TENANT_NAME = 64, /* with the end of the string; what is longer is cut */
    CN_TENANTS_IDLE = 1024
};

#define CN_TENANT_ANONYMOUS "anonymous" /* everybody, where no keys are asked for */

struct cn_tenant_limits {
    double weight;    /* share of the devices against other tenants, 1 .. 1000 */
    int max_queued;   /* jobs that may wait; 0: as many as the queue holds */
    int max_running;  /* jobs with workers at a time; 0: no cap */
    int max_priority; /* -10 .. 10: higher ones are lowered to it */
};

#define CN_TENANT_DEFAULTS                                                                         \
    {                                                                                              \
        .weight = 1, .max_queued = 5000, .max_running = 0, .max_priority = 10                      \
    }

struct cn_tenant_rule {
    char name[CN_TENANT_NAME];
    struct cn_tenant_limits limits;
};

struct cn_tenant {
    char name[CN_TENANT_NAME];
    struct cn_tenant_limits limits;
    int queued, running; /* jobs that wait; jobs with workers */

    /* The queue's: see queue.h. */
    struct cn_treap order;              /* its waiting jobs, without those on hold */
    struct cn_treap_node ready, served; /* in the queue's treaps */
    double start;                       /* virtual time of its next job */
    double serving;                     /* cost of its jobs in service, by weight */
    bool known;                         /* start means something */

    /* The table's. */
    struct cn_tenants *table;
    struct cn_table_node by_name;
    TAILQ_ENTRY(cn_tenant) in_idle; /* refs 0: in the order of their use */
    int refs;
};

struct cn_tenants *cn_tenants_new(const struct cn_tenant_limits *preset);
void cn_tenants_free(struct cn_tenants *ts);

/* Replaces the preset or the rules; live tenants follow at once. Who keeps tenants in order by
 * their limits must look at them again (cn_queue_refresh). */
void cn_tenants_set_preset(struct cn_tenants *ts, const struct cn_tenant_limits *preset);
void cn_tenants_set_rules(struct cn_tenants *ts, const struct cn_tenant_rule *rule, size_t n);

/* Found or made. The caller gets a reference. */
struct cn_tenant *cn_tenants_get(struct cn_tenants *ts, const char *name);

/* NULL when it has no live state. No reference. */
struct cn_tenant *cn_tenants_find(const struct cn_tenants *ts, const char *name);

/* What a tenant of this name may have, live or not. */
struct cn_tenant_limits cn_tenants_limits(const struct cn_tenants *ts, const char *name);

struct cn_tenant *cn_tenant_ref(struct cn_tenant *t);
void cn_tenant_unref(struct cn_tenant *t); /* NULL is fine */

/* Calls visit for every live tenant. */
void cn_tenants_each(const struct cn_tenants *ts, void (*visit)(struct cn_tenant *t, void *arg),
                     void *arg);
size_t cn_tenants_count(const struct cn_tenants *ts); /* live ones, idle included */

/* Calls visit for every rule, in the order of names. */
void cn_tenants_each_rule(const struct cn_tenants *ts,
                          void (*visit)(const struct cn_tenant_rule *rule, void *arg), void *arg);

#endif
