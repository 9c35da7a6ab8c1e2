/* A base model's networks with parameters that adapters change. */
#include "base/base.h"
#include "runtime/overlay.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "runtime/param_reader.h"

#include <stdlib.h>
#include <string.h>

/* What one adapter does to one parameter. */
struct change {
    const struct cn_adapter_pair *pair;
    double strength;
    bool bias;
    struct change *next; /* of the next adapter */
};

/* One parameter that changes. */
struct changed {
    struct change *first, *last;
};

struct cn_overlay_part {
    struct cn_param_source source;
    struct cn_param_reader base;
    struct cn_strmap map; /* parameter's name -> struct changed */
    struct cn_arena arena;
};

/* ---- parameters ---- */

static bool changes(void *ctx, const char *name)
{
    return cn_strmap_get(&((struct cn_overlay_part *)ctx)->map, name) != NULL;
}

static int apply(const struct change *c, float *w, struct cn_err *err)
{
    return c->bias ? cn_adapter_apply_bias(c->pair->part, &c->pair->layer, c->strength, w, err)
                   : cn_adapter_apply(c->pair->part, &c->pair->layer, c->strength, w, err);
}

static int64_t elements_of(const struct change *c)
{
    const struct cn_layer *l = &c->pair->layer;

    return c->bias ? l->out : l->out * l->in * l->taps;
}

static int get(void *ctx, const char *name, struct cn_param_data *ret, struct cn_err *err)
{
    struct cn_overlay_part *p = ctx;
    const struct changed *changed = cn_strmap_get(&p->map, name);
    struct cn_param_data d;
    struct cn_shape shape;
    int64_t n;
    float *w;
    int rc = p->base.param.get(p->base.param.ctx, name, &d, err);

    if (rc < 0 || changed == NULL) {
        if (rc == CN_OK)
            *ret = d;
        return rc;
    }
    shape = d.shape;
    n = cn_shape_elements(&shape);
    w = n == elements_of(changed->first) ? cn_try_alloc((size_t)n * sizeof(*w)) : NULL;
    if (w != NULL)
        cn_to_f32(w, d.data, d.dtype, (size_t)n);
    p->base.param.done(p->base.param.ctx, name, &d);
    if (w == NULL)
        return n == elements_of(changed->first)
                   ? cn_fail(err, CN_ENOMEM, "no memory for tensor \"%s\"", name)
                   : cn_fail(err, CN_EFORMAT, "tensor \"%s\" does not have the network's size",
                             name);
    for (const struct change *c = changed->first; c != NULL && rc == CN_OK; c = c->next)
        rc = apply(c, w, err);
    if (rc < 0) {
        free(w);
        return rc;
    }
    *ret = (struct cn_param_data){.dtype = CN_F32,
                                  .shape = shape,
                                  .data = w,
                                  .bytes = (size_t)n * sizeof(*w),
                                  .owned = w};
    return CN_OK;
}

static void done(void *ctx, const char *name, struct cn_param_data *d)
{
    (void)ctx;
    (void)name;
    free(d->owned);
    memset(d, 0, sizeof(*d));
}

static struct cn_overlay_part *new_part(const struct cn_model *base, enum cn_component comp)
{
    struct cn_overlay_part *p = cn_xcalloc(1, sizeof(*p));

    p->source = (struct cn_param_source){.ctx = p, .changes = changes, .get = get, .done = done};
    cn_param_reader_init(&p->base, base->checkpoint, comp, NULL);
    cn_strmap_init(&p->map);
    cn_arena_init(&p->arena);
    return p;
}

static void free_part(struct cn_overlay_part *p)
{
    if (p == NULL)
        return;
    cn_strmap_release(&p->map);
    cn_arena_release(&p->arena);
    free(p);
}

/* ---- which parameters ---- */

static void add_change(struct cn_overlay *o, const struct cn_adapter_pair *pair, double strength,
                       bool bias)
{
    enum cn_component comp = pair->part->comp;
    struct cn_overlay_part *p = o->part[comp];
    struct changed *at;
    struct change *c;
    char *name;

    if (p == NULL)
        p = o->part[comp] = new_part(o->base, comp);
    c = cn_arena_alloc(&p->arena, sizeof(*c));
    *c = (struct change){.pair = pair, .strength = strength, .bias = bias};
    name = cn_xprintf("%s.%s", pair->name, bias ? "bias" : "weight");
    at = cn_strmap_get(&p->map, name);
    if (at == NULL) {
        at = cn_arena_alloc(&p->arena, sizeof(*at));
        at->first = c;
        cn_strmap_add(&p->map, name, at);
        o->elements += (size_t)elements_of(c);
    } else {
        at->last->next = c;
    }
    at->last = c;
    free(name);
}

static void add_changes(struct cn_overlay *o, const struct cn_overlay_adapter *a)
{
    const struct cn_adapter_match *m = &a->of->match;

    for (size_t i = 0; i < m->n; i++) {
        double strength = cn_adapter_strength(&a->use, &m->pair[i]);

        if (strength == 0)
            continue;
        if (cn_adapter_changes_weight(m->pair[i].part))
            add_change(o, &m->pair[i], strength, false);
        if (cn_adapter_changes_bias(m->pair[i].part))
            add_change(o, &m->pair[i], strength, true);
    }
}

/* ---- overlays ---- */

static bool is_use(const struct cn_overlay_adapter *a, const struct cn_adapter_use *u,
                   const struct cn_fitted *of)
{
    return a->of == of && a->use.unet == u->unet && a->use.text == u->text &&
           memcmp(a->use.block, u->block, sizeof(u->block)) == 0;
}

static struct cn_overlay *find(const struct cn_runtime *rt, const struct cn_model *base,
                               const struct cn_adapter_use *use, struct cn_fitted *const *of, int n)
{
    for (size_t i = 0; i < rt->n_overlays; i++) {
        struct cn_overlay *o = rt->overlay[i];
        int same = 0;

        while (o->base == base && o->n == n && same < n &&
               is_use(&o->adapter[same], &use[same], of[same]))
            same++;
        if (o->base == base && o->n == n && same == n)
            return o;
    }
    return NULL;
}

static struct cn_overlay *new_overlay(struct cn_model *base, const struct cn_adapter_use *use,
                                      struct cn_fitted *const *of, int n)
{
    struct cn_overlay *o = cn_xcalloc(1, sizeof(*o));

    o->base = base;
    o->adapter = cn_xcalloc((size_t)n, sizeof(*o->adapter));
    for (; o->n < n; o->n++) {
        struct cn_overlay_adapter *a = &o->adapter[o->n];

        *a = (struct cn_overlay_adapter){.of = of[o->n], .use = use[o->n]};
        a->use.entry = NULL;
        a->of->holders++;
        add_changes(o, a);
    }
    return o;
}

struct cn_overlay *cn_overlay_get(struct cn_runtime *rt, struct cn_model *base,
                                  const struct cn_adapter_use *use, struct cn_fitted *const *of,
                                  int n)
{
    struct cn_overlay *o = find(rt, base, use, of, n);

    if (o == NULL) {
        o = new_overlay(base, use, of, n);
        rt->overlay = cn_grow(rt->overlay, rt->n_overlays, &rt->overlays_cap, sizeof(*rt->overlay));
        rt->overlay[rt->n_overlays++] = o;
    }
    o->used = ++rt->clock;
    cn_overlay_hold(o);
    return o;
}

void cn_overlay_hold(struct cn_overlay *o)
{
    o->holders++;
}

void cn_overlay_let_go(struct cn_overlay *o)
{
    CN_ASSERT(o->holders > 0);
    o->holders--;
}

static struct cn_network *base_net(struct cn_model *m, enum cn_component comp)
{
    return comp == CN_COMP_UNET ? &m->unet : &m->text[comp - CN_COMP_TEXT].net;
}

int cn_overlay_open(struct cn_overlay *o, struct cn_err *err)
{
    int rc = CN_OK;

    for (int c = 0; c < CN_COMP_COUNT && rc == CN_OK; c++)
        if (o->part[c] != NULL)
            rc = cn_network_open_over(&o->net[c], base_net(o->base, (enum cn_component)c),
                                      &o->part[c]->source, err);
    return rc;
}

void cn_overlay_close(struct cn_overlay *o)
{
    for (int c = 0; c < CN_COMP_COUNT; c++)
        cn_network_close(&o->net[c]);
}

void cn_overlay_free(struct cn_overlay *o)
{
    cn_overlay_close(o);
    for (int c = 0; c < CN_COMP_COUNT; c++)
        free_part(o->part[c]);
    for (int i = 0; i < o->n; i++)
        cn_fitted_let_go(o->adapter[i].of);
    free(o->adapter);
    free(o);
}

void cn_overlay_evict_plans(struct cn_overlay *o)
{
    for (int c = 0; c < CN_COMP_COUNT; c++)
        cn_network_evict_plans(&o->net[c]);
}

bool cn_overlay_loaded(const struct cn_overlay *o)
{
    for (int c = 0; c < CN_COMP_COUNT; c++)
        if (o->net[c].weights != NULL)
            return true;
    return false;
}

size_t cn_overlay_bytes(const struct cn_overlay *o)
{
    size_t sum = 0;

    for (int c = 0; c < CN_COMP_COUNT; c++)
        sum += cn_network_bytes(&o->net[c]);
    return sum;
}

size_t cn_overlay_bytes_to_come(const struct cn_overlay *o)
{
    const struct cn_backend *b = o->base->unet.backend;
    size_t have = cn_overlay_bytes(o);
    size_t want = b == NULL ? 0 : o->elements * cn_dtype_size(cn_backend_caps(b)->dtype);

    return want > have ? want - have : 0;
}

struct cn_network *cn_overlay_net(struct cn_overlay *o, enum cn_component comp)
{
    return o->part[comp] != NULL ? &o->net[comp] : base_net(o->base, comp);
}
