/* Adapters held against base models, and the factors of those that rows of a batch can have. */
#include "base/base.h"
#include "runtime/fitted.h"
#include "base/mem.h"
#include "base/strmap.h"

#include <stdlib.h>
#include <string.h>

/* ---- what an adapter can be ---- */

/* Two parts of one layer cannot be one entry. */
static bool layers_differ(const struct cn_adapter_match *m)
{
    struct cn_strmap seen[CN_COMP_COUNT];
    bool differ = true;

    for (int c = 0; c < CN_COMP_COUNT; c++)
        cn_strmap_init(&seen[c]);
    for (size_t i = 0; i < m->n && differ; i++)
        differ = cn_strmap_add(&seen[m->pair[i].part->comp], m->pair[i].name, &seen);
    for (int c = 0; c < CN_COMP_COUNT; c++)
        cn_strmap_release(&seen[c]);
    return differ;
}

static void judge(struct cn_fitted *f)
{
    f->low_rank = layers_differ(&f->match);
    f->additive = true;
    for (size_t i = 0; i < f->match.n; i++) {
        const struct cn_adapter_pair *p = &f->match.pair[i];
        const struct cn_layer *l = &p->layer;
        int64_t rank = cn_adapter_low_rank(p->part);

        f->additive = f->additive && cn_adapter_is_additive(p->part);
        f->low_rank =
            f->low_rank && p->multiplies && rank > 0 && rank <= CN_MAX_FACTOR_RANK;
        if (f->low_rank)
            f->elements[p->part->comp] += (size_t)(rank * (l->out + l->in * l->taps));
    }
}

/* ---- held ---- */

int cn_fitted_get(struct cn_runtime *rt, struct cn_model *base,
                  const struct cn_adapter_entry *entry, struct cn_fitted **ret, struct cn_err *err)
{
    struct cn_fitted *f;
    int rc;

    for (size_t i = 0; i < rt->n_fitted; i++) {
        f = rt->fitted[i];
        if (f->base == base && f->version == entry->version && strcmp(f->path, entry->path) == 0) {
            f->holders++;
            *ret = f;
            return CN_OK;
        }
    }
    f = cn_xcalloc(1, sizeof(*f));
    f->base = base;
    f->name = cn_xstrdup(entry->name);
    f->path = cn_xstrdup(entry->path);
    f->version = entry->version;
    rc = cn_adapter_open(f->path, &f->file, err);
    if (rc == CN_OK)
        rc = cn_adapter_match(f->file, base->checkpoint, &f->match, err);
    if (rc < 0) {
        cn_fitted_free(f);
        return rc;
    }
    judge(f);
    f->holders = 1;
    f->used = ++rt->clock;
    rt->fitted = cn_grow(rt->fitted, rt->n_fitted, &rt->fitted_cap, sizeof(*rt->fitted));
    rt->fitted[rt->n_fitted++] = f;
    *ret = f;
    return CN_OK;
}

void cn_fitted_let_go(struct cn_fitted *f)
{
    CN_ASSERT(f->holders > 0);
    f->holders--;
}

void cn_fitted_free(struct cn_fitted *f)
{
    if (f == NULL)
        return;
    cn_fitted_unload(f);
    cn_adapter_match_release(&f->match);
    cn_adapter_close(f->file);
    free(f->name);
    free(f->path);
    free(f);
}

/* ---- loaded ---- */

static int side_of(int64_t taps)
{
    int k = 1;

    while ((int64_t)k * k < taps)
        k++;
    return k;
}

static int load_pair(struct cn_fitted *f, struct cn_backend *b, const struct cn_adapter_pair *p,
                     struct cn_err *err)
{
    struct cn_factors **to = &f->factors[p->part->comp];
    struct cn_factor x = {.layer = p->name,
                          .out = p->layer.out,
                          .in = p->layer.in,
                          .k = side_of(p->layer.taps),
                          .rank = cn_adapter_low_rank(p->part)};
    int rc = CN_OK;

    if (*to == NULL)
        rc = cn_factors_new(b, to, err);
    if (rc == CN_OK)
        rc = cn_adapter_factors(p->part, &p->layer, &x.down, &x.up, err);
    return rc < 0 ? rc : cn_factors_add(*to, &x, err);
}

int cn_fitted_load(struct cn_fitted *f, struct cn_backend *b, struct cn_err *err)
{
    int rc = CN_OK;

    CN_ASSERT(f->low_rank);
    for (size_t i = 0; i < f->match.n && rc == CN_OK && !f->loaded; i++)
        rc = load_pair(f, b, &f->match.pair[i], err);
    f->loaded = f->loaded || rc == CN_OK;
    if (rc < 0)
        cn_fitted_unload(f);
    return rc;
}

void cn_fitted_unload(struct cn_fitted *f)
{
    for (int c = 0; c < CN_COMP_COUNT; c++) {
        cn_factors_free(f->factors[c]);
        f->factors[c] = NULL;
    }
    f->loaded = false;
}

size_t cn_fitted_bytes(const struct cn_fitted *f)
{
    size_t sum = 0;

    for (int c = 0; c < CN_COMP_COUNT; c++)
        sum += f->factors[c] != NULL ? cn_factors_bytes(f->factors[c]) : 0;
    return sum;
}

size_t cn_fitted_bytes_to_come(const struct cn_fitted *f)
{
    size_t sum = 0;

    for (int c = 0; c < CN_COMP_COUNT && f->low_rank && !f->loaded; c++)
        sum += f->elements[c] * sizeof(float);
    return sum;
}
