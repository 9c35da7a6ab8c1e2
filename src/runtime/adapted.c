/* The adapters of a job: which go by rows, which by an overlay, and their strengths. */
#include "base/base.h"
#include "runtime/adapted.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* ---- strengths ---- */

/* Of the entries of one component, in the order in which cn_fitted_load() adds them. */
static float *strengths(const struct cn_fitted *f, const struct cn_adapter_use *u,
                        enum cn_component comp)
{
    float *list = cn_xcalloc(f->match.n + 1, sizeof(*list));
    bool any = false;
    size_t n = 0;

    for (size_t i = 0; i < f->match.n; i++)
        if (f->match.pair[i].part->comp == comp) {
            list[n] = (float)cn_adapter_strength(u, &f->match.pair[i]);
            any = any || list[n] != 0;
            n++;
        }
    if (!any) {
        free(list);
        list = NULL;
    }
    return list;
}

/* ---- which way ---- */

/* Those behind which none multiplies the weights. */
static void choose_ways(struct cn_adapted *a, bool rows)
{
    for (int i = a->n - 1; i >= 0; i--) {
        a->adapter[i].by_rows = rows && a->adapter[i].of->low_rank;
        rows = rows && a->adapter[i].of->additive;
    }
}

static void find_overlay(struct cn_runtime *rt, struct cn_adapted *a,
                         const struct cn_adapter_use *use)
{
    struct cn_adapter_use *rest = cn_xcalloc((size_t)a->n + 1, sizeof(*rest));
    struct cn_fitted **of = cn_xcalloc((size_t)a->n + 1, sizeof(struct cn_fitted *));
    int n = 0;

    for (int i = 0; i < a->n; i++)
        if (!a->adapter[i].by_rows) {
            rest[n] = use[i];
            of[n++] = a->adapter[i].of;
        }
    if (n > 0)
        a->overlay = cn_overlay_get(rt, a->base, rest, of, n);
    free(rest);
    free(of);
}

int cn_adapted_new(struct cn_runtime *rt, struct cn_model *base, const struct cn_adapter_use *use,
                   int n, struct cn_adapted **ret, int *ret_bad, struct cn_err *err)
{
    struct cn_adapted *a = cn_xcalloc(1, sizeof(*a));
    int rc = CN_OK;

    a->base = base;
    a->adapter = cn_xcalloc((size_t)n + 1, sizeof(*a->adapter));
    for (int i = 0; i < n && rc == CN_OK; i++) {
        *ret_bad = i;
        rc = cn_fitted_get(rt, base, use[i].entry, &a->adapter[i].of, err);
        a->n += rc == CN_OK;
    }
    if (rc == CN_OK) {
        choose_ways(a, cn_backend_caps(rt->backend)->adapts_rows);
        find_overlay(rt, a, use);
    }
    for (int i = 0; i < n && rc == CN_OK; i++)
        for (int c = 0; c < CN_COMP_COUNT && a->adapter[i].by_rows; c++)
            a->adapter[i].strength[c] =
                strengths(a->adapter[i].of, &use[i], (enum cn_component)c);
    if (rc < 0)
        cn_adapted_free(a);
    else
        *ret = a;
    return rc;
}

void cn_adapted_free(struct cn_adapted *a)
{
    if (a == NULL)
        return;
    for (int i = 0; i < a->n; i++) {
        cn_fitted_let_go(a->adapter[i].of);
        for (int c = 0; c < CN_COMP_COUNT; c++)
            free(a->adapter[i].strength[c]);
    }
    if (a->overlay != NULL)
        cn_overlay_let_go(a->overlay);
    free(a->adapter);
    free(a);
}

/* ---- memory ---- */

static void pin(struct cn_runtime *rt, struct cn_adapted *a, int change)
{
    if (a == NULL)
        return;
    for (int i = 0; i < a->n; i++)
        if (a->adapter[i].by_rows) {
            a->adapter[i].of->users += change;
            a->adapter[i].of->used = ++rt->clock;
        }
    if (a->overlay != NULL) {
        a->overlay->users += change;
        a->overlay->used = ++rt->clock;
    }
}

void cn_adapted_pin(struct cn_runtime *rt, struct cn_adapted *a)
{
    pin(rt, a, 1);
}

void cn_adapted_unpin(struct cn_runtime *rt, struct cn_adapted *a)
{
    pin(rt, a, -1);
}

int cn_adapted_open(struct cn_adapted *a, struct cn_err *err)
{
    int rc = a->overlay != NULL ? cn_overlay_open(a->overlay, err) : CN_OK;

    for (int i = 0; i < a->n && rc == CN_OK; i++)
        if (a->adapter[i].by_rows)
            rc = cn_fitted_load(a->adapter[i].of, a->base->unet.backend, err);
    return rc;
}

/* Is it named earlier in the list? */
static bool again(const struct cn_adapted *a, int i)
{
    for (int k = 0; k < i; k++)
        if (a->adapter[k].of == a->adapter[i].of && a->adapter[k].by_rows)
            return true;
    return false;
}

size_t cn_adapted_bytes(const struct cn_adapted *a)
{
    size_t sum = a->overlay != NULL ? cn_overlay_bytes(a->overlay) : 0;

    for (int i = 0; i < a->n; i++)
        if (a->adapter[i].by_rows && !again(a, i))
            sum += cn_fitted_bytes(a->adapter[i].of);
    return sum;
}

size_t cn_adapted_bytes_to_come(const struct cn_adapted *a)
{
    size_t sum = a->overlay != NULL ? cn_overlay_bytes_to_come(a->overlay) : 0;

    for (int i = 0; i < a->n; i++)
        if (a->adapter[i].by_rows && !again(a, i))
            sum += cn_fitted_bytes_to_come(a->adapter[i].of);
    return sum;
}

bool cn_adapted_needs(const struct cn_adapted *a, const struct cn_fitted *f)
{
    for (int i = 0; i < a->n; i++)
        if (a->adapter[i].of == f)
            return true;
    return false;
}

/* ---- networks and rows ---- */

struct cn_network *cn_adapted_net(struct cn_adapted *a, enum cn_component comp)
{
    if (a->overlay != NULL)
        return cn_overlay_net(a->overlay, comp);
    return comp == CN_COMP_UNET ? &a->base->unet : &a->base->text[comp - CN_COMP_TEXT].net;
}

int cn_adapted_rows(const struct cn_adapted *a, enum cn_component comp, int row, int rows,
                    struct cn_row_adapter *ret)
{
    int n = 0;

    for (int i = 0; a != NULL && i < a->n; i++) {
        const struct cn_adapted_one *x = &a->adapter[i];

        if (x->strength[comp] != NULL)
            ret[n++] = (struct cn_row_adapter){row, rows, x->of->factors[comp], x->strength[comp]};
    }
    return n;
}
