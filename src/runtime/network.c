/* Weights and plans of one network. */
#include "base/base.h"
#include "runtime/network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cn_network_open_params(struct cn_network *n, struct cn_backend *backend,
                           const struct cn_param_source *params, struct cn_err *err)
{
    if (n->weights != NULL)
        return CN_OK;
    n->backend = backend;
    n->dtype = CN_DTYPE_COUNT;
    return cn_weights_new(backend, params, &n->weights, err);
}

int cn_network_open(struct cn_network *n, struct cn_backend *backend,
                    const struct cn_checkpoint *checkpoint, enum cn_component component,
                    const struct cn_checkpoint *base, struct cn_err *err)
{
    if (n->weights != NULL)
        return CN_OK;
    cn_param_reader_init(&n->params, checkpoint, component, base);
    return cn_network_open_params(n, backend, &n->params.param, err);
}

int cn_network_open_over(struct cn_network *n, const struct cn_network *under,
                         const struct cn_param_source *params, struct cn_err *err)
{
    if (n->weights != NULL)
        return CN_OK;
    n->backend = under->backend;
    n->dtype = under->dtype;
    n->own_latent = under->own_latent;
    return cn_weights_new_over(under->backend, params, under->weights, &n->weights, err);
}

static void slot_clear(struct cn_plan_slot *s)
{
    cn_plan_free(s->entry.plan);
    cn_graph_free(s->entry.g);
    memset(s, 0, sizeof(*s));
}

void cn_network_evict_plans(struct cn_network *n)
{
    for (int i = 0; i < CN_MAX_PLANS; i++)
        if (n->slot[i].entry.plan != NULL && n->slot[i].entry.pins == 0)
            slot_clear(&n->slot[i]);
}

void cn_network_rest(struct cn_network *n)
{
    if (n->weights == NULL)
        return;
    for (int i = 0; i < CN_MAX_PLANS; i++)
        if (n->slot[i].entry.plan != NULL && n->slot[i].entry.pins == 0 && !n->slot[i].entry.stays)
            slot_clear(&n->slot[i]);
    cn_weights_trim(n->weights);
}

int cn_network_plan_count(const struct cn_network *n)
{
    int count = 0;

    for (int i = 0; i < CN_MAX_PLANS; i++)
        count += n->slot[i].entry.plan != NULL;
    return count;
}

void cn_network_close(struct cn_network *n)
{
    for (int i = 0; i < CN_MAX_PLANS; i++)
        slot_clear(&n->slot[i]);
    cn_weights_free(n->weights);
    memset(n, 0, sizeof(*n));
}

size_t cn_network_bytes(const struct cn_network *n)
{
    return n->weights ? cn_weights_bytes(n->weights) : 0;
}

/* An empty slot, else the least recently used one that nobody holds; NULL: all are held. */
static struct cn_plan_slot *free_slot(struct cn_network *n)
{
    struct cn_plan_slot *oldest = NULL;

    for (int i = 0; i < CN_MAX_PLANS; i++) {
        struct cn_plan_slot *s = &n->slot[i];

        if (s->entry.plan == NULL)
            return s;
        if (s->entry.pins == 0 && (oldest == NULL || s->used < oldest->used))
            oldest = s;
    }
    if (oldest != NULL)
        slot_clear(oldest);
    return oldest;
}

static struct cn_plan_slot *find_slot(struct cn_network *n, const char *key)
{
    for (int i = 0; i < CN_MAX_PLANS; i++)
        if (n->slot[i].entry.plan != NULL && strcmp(n->slot[i].key, key) == 0 &&
            n->slot[i].entry.dtype == n->dtype)
            return &n->slot[i];
    return NULL;
}

void cn_network_fix_layouts(struct cn_network *n, cn_build_fn build, const void *arg)
{
    struct cn_graph *g = build(arg);

    cn_weights_fix_layouts(n->weights, g);
    cn_graph_free(g);
}

static int add_plan(struct cn_network *n, int flags, struct cn_graph *g, struct cn_plan_slot **ret,
                    struct cn_err *err)
{
    struct cn_plan *plan;
    int rc = cn_plan_compile(n->backend, g, n->weights, n->dtype, flags, &plan, err);

    if (rc < 0)
        return rc;
    *ret = free_slot(n);
    if (*ret == NULL) {
        cn_plan_free(plan);
        return cn_fail(err, CN_EDEVMEM, "pictures of more than %d sizes are being finished",
                       CN_MAX_PLANS);
    }
    (*ret)->entry =
        (struct cn_plan_entry){.g = g, .plan = plan, .backend = n->backend, .dtype = n->dtype};
    return CN_OK;
}

int cn_network_plan(struct cn_network *n, const char *key, int flags, cn_build_fn build,
                    const void *arg, struct cn_plan_entry **ret, struct cn_err *err)
{
    struct cn_plan_slot *s = find_slot(n, key);

    if (s == NULL) {
        struct cn_graph *g = build(arg);
        int rc = add_plan(n, flags, g, &s, err);

        if (rc < 0) {
            cn_graph_free(g);
            return rc;
        }
        snprintf(s->key, sizeof(s->key), "%s", key);
    }
    s->used = ++n->clock;
    *ret = &s->entry;
    return CN_OK;
}
