/* Weights and plans of one network. */
#include "base/base.h"
#include "engine/engine_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cn_network_open(struct cn_engine *e, struct cn_network *n,
                    const struct cn_checkpoint *checkpoint, enum cn_component component,
                    const struct cn_checkpoint *base, struct cn_err *err)
{
    if (n->weights != NULL)
        return CN_OK;
    cn_source_init(&n->source, checkpoint, component, base);
    return cn_weights_new(e->backend, &n->source.param, &n->weights, err);
}

static void slot_clear(struct cn_plan_slot *s)
{
    cn_plan_free(s->compiled.plan);
    cn_graph_free(s->compiled.g);
    memset(s, 0, sizeof(*s));
}

void cn_network_close(struct cn_network *n)
{
    for (int i = 0; i < n->plans.n; i++)
        slot_clear(&n->plans.slot[i]);
    cn_weights_free(n->weights);
    memset(n, 0, sizeof(*n));
}

static struct cn_plan_slot *free_slot(struct cn_plan_cache *c)
{
    struct cn_plan_slot *oldest;

    if (c->n < CN_MAX_PLANS)
        return &c->slot[c->n++];
    oldest = &c->slot[0];
    for (int i = 1; i < c->n; i++)
        if (c->slot[i].used < oldest->used)
            oldest = &c->slot[i];
    slot_clear(oldest);
    return oldest;
}

static struct cn_plan_slot *find_slot(struct cn_plan_cache *c, const char *key)
{
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->slot[i].key, key) == 0)
            return &c->slot[i];
    return NULL;
}

void cn_network_settle(struct cn_network *n, cn_build_fn build, const void *arg)
{
    struct cn_graph *g = build(arg);

    cn_weights_settle(n->weights, g);
    cn_graph_free(g);
}

int cn_network_plan(struct cn_engine *e, struct cn_network *n, const char *key, cn_build_fn build,
                    const void *arg, const struct cn_compiled **ret, struct cn_err *err)
{
    struct cn_plan_slot *s = find_slot(&n->plans, key);
    struct cn_compiled c;
    int rc;

    if (s == NULL) {
        c.g = build(arg);
        rc = cn_plan_compile(e->backend, c.g, n->weights, 0, &c.plan, err);
        if (rc < 0) {
            cn_graph_free(c.g);
            return rc;
        }
        s = free_slot(&n->plans);
        snprintf(s->key, sizeof(s->key), "%s", key);
        s->compiled = c;
    }
    s->used = ++e->clock;
    *ret = &s->compiled;
    return CN_OK;
}
