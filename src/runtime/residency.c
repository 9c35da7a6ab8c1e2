/* Which models are resident: pins, giving up, and the memory budget.
 *
 * DESIGN. A model is loaded by the first who needs it and stays until room is needed or somebody
 * asks for its end. Users pin the models that they work with; only what nobody pins can go, the
 * least recently used first. What a model will need is what it needed the last time, or else its
 * parameters in the backend's precision; when a new one turns out to be larger, others go
 * afterwards. The plans' working memory counts, and is the first to go when room is needed; when it
 * does not fit beside the models that work at hand needs, it is taken all the same.
 *
 * An overlay (a model with weights that adapters changed) is made of its base and its adapters'
 * files again within a second, and an adapter's factors of its file in less, so idle ones go before
 * idle models, and only a few are kept however large the budget is. An overlay that is closed is
 * freed when nobody holds it and the batchers that knew it are gone; an adapter that is unloaded,
 * when nobody holds it.
 */
#include "base/base.h"
#include "runtime/runtime.h"
#include "runtime/adapted.h"

#include <string.h>

size_t cn_runtime_bytes(const struct cn_runtime *rt)
{
    size_t sum = 0;

    for (int i = 0; i < rt->n_models + rt->n_retired; i++)
        sum += cn_model_bytes(rt->model[i]);
    for (size_t i = 0; i < rt->n_overlays; i++)
        sum += cn_overlay_bytes(rt->overlay[i]);
    for (size_t i = 0; i < rt->n_fitted; i++)
        sum += cn_fitted_bytes(rt->fitted[i]);
    return sum;
}

void cn_runtime_tell_models(struct cn_runtime *rt)
{
    for (int i = 0; i < rt->n_models; i++) { /* of a name, the version that is listed counts */
        struct cn_model *m = rt->model[i];
        size_t bytes = cn_model_bytes(m);

        if (bytes == m->reported_bytes)
            continue;
        m->reported_bytes = bytes;
        if (rt->model_hook != NULL)
            rt->model_hook(rt->hook_ctx, m->name, bytes > 0, bytes);
    }
}

/* ---- unloading ---- */

/* Networks of difference ControlNets that were made with this base read its file, so they go too;
 * who uses them has pinned the base. */
static void unload_model(struct cn_runtime *rt, struct cn_model *m)
{
    CN_ASSERT(m->users == 0);
    m->peak_bytes = CN_MAX(cn_model_bytes(m), m->peak_bytes);
    for (size_t i = 0; i < rt->n_overlays; i++)
        if (rt->overlay[i]->base == m)
            cn_overlay_close(rt->overlay[i]);
    for (size_t i = 0; i < rt->n_fitted; i++)
        if (rt->fitted[i]->base == m)
            cn_fitted_unload(rt->fitted[i]);
    for (int i = 0; i < rt->n_models + rt->n_retired; i++)
        cn_model_close_for_base(rt->model[i], m);
    cn_model_close(m);
}

static bool is_among(const struct cn_model *m, struct cn_model *const *list, int n)
{
    for (int i = 0; i < n; i++)
        if (list[i] == m)
            return true;
    return false;
}

/* The least recently used model that nobody pins and that is not among the n needed ones; NULL:
 * there is none. */
static struct cn_model *find_victim(const struct cn_runtime *rt, struct cn_model *const *needed,
                                    int n)
{
    struct cn_model *oldest = NULL;

    for (int i = 0; i < rt->n_models + rt->n_retired; i++) {
        struct cn_model *m = rt->model[i];

        if (m->users == 0 && !is_among(m, needed, n) && cn_model_bytes(m) > 0 &&
            (oldest == NULL || m->used < oldest->used))
            oldest = m;
    }
    return oldest;
}

/* The least recently used overlay that is loaded, that nobody pins and that is not `needed`; NULL:
 * there is none. *ret_n: how many there are. */
static struct cn_overlay *find_idle_overlay(const struct cn_runtime *rt,
                                            const struct cn_overlay *needed, int *ret_n)
{
    struct cn_overlay *oldest = NULL;

    *ret_n = 0;
    for (size_t i = 0; i < rt->n_overlays; i++) {
        struct cn_overlay *o = rt->overlay[i];

        if (o->users > 0 || o == needed || !cn_overlay_loaded(o))
            continue;
        ++*ret_n;
        if (oldest == NULL || o->used < oldest->used)
            oldest = o;
    }
    return oldest;
}

/* The same of the factors of adapters that are none of `needed`. */
static struct cn_fitted *find_idle_adapter(const struct cn_runtime *rt,
                                           const struct cn_adapted *needed, int *ret_n)
{
    struct cn_fitted *oldest = NULL;

    *ret_n = 0;
    for (size_t i = 0; i < rt->n_fitted; i++) {
        struct cn_fitted *f = rt->fitted[i];

        if (f->users > 0 || !f->loaded || (needed != NULL && cn_adapted_needs(needed, f)))
            continue;
        ++*ret_n;
        if (oldest == NULL || f->used < oldest->used)
            oldest = f;
    }
    return oldest;
}

/* Gives up the oldest of what nobody pins or needs: an overlay or an adapter's factors, else a
 * model. False: there is nothing. */
static bool unload_oldest(struct cn_runtime *rt, struct cn_model *const *needed, int n,
                          const struct cn_adapted *adapted)
{
    int idle;
    struct cn_overlay *o =
        find_idle_overlay(rt, adapted != NULL ? adapted->overlay : NULL, &idle);
    struct cn_fitted *f = find_idle_adapter(rt, adapted, &idle);
    struct cn_model *m = o == NULL && f == NULL ? find_victim(rt, needed, n) : NULL;

    if (f != NULL && (o == NULL || f->used < o->used))
        cn_fitted_unload(f);
    else if (o != NULL)
        cn_overlay_close(o);
    else if (m != NULL)
        unload_model(rt, m);
    return o != NULL || f != NULL || m != NULL;
}

void cn_runtime_free_overlays(struct cn_runtime *rt)
{
    size_t n = 0;

    for (size_t i = 0; i < rt->n_overlays; i++)
        if (rt->overlay[i]->holders == 0 && !cn_overlay_loaded(rt->overlay[i]))
            cn_overlay_free(rt->overlay[i]);
        else
            rt->overlay[n++] = rt->overlay[i];
    rt->n_overlays = n;
    n = 0; /* overlays held some */
    for (size_t i = 0; i < rt->n_fitted; i++)
        if (rt->fitted[i]->holders == 0 && !rt->fitted[i]->loaded)
            cn_fitted_free(rt->fitted[i]);
        else
            rt->fitted[n++] = rt->fitted[i];
    rt->n_fitted = n;
}

int cn_runtime_unload(struct cn_runtime *rt, const char *name, struct cn_err *err)
{
    struct cn_model *m = cn_runtime_find(rt, name);

    if (m == NULL)
        return cn_fail(err, CN_ENOTFOUND, "there is no model \"%s\"", name);
    if (m->users > 0)
        return cn_fail(err, CN_EBUSY, "model \"%s\" is in use by %d jobs", name, m->users);
    unload_model(rt, m);
    cn_runtime_tell_models(rt);
    return CN_OK;
}

static bool is_over(const struct cn_model *m)
{
    return m->retired && m->holders == 0 && m->users == 0;
}

bool cn_runtime_close_retired(struct cn_runtime *rt)
{
    bool any = false;

    for (int i = rt->n_models; i < rt->n_models + rt->n_retired; i++)
        if (is_over(rt->model[i])) {
            unload_model(rt, rt->model[i]);
            any = true;
        }
    return any;
}

void cn_runtime_free_retired(struct cn_runtime *rt)
{
    int n = rt->n_models;

    cn_runtime_free_overlays(rt);
    for (int i = rt->n_models; i < rt->n_models + rt->n_retired; i++)
        if (is_over(rt->model[i]))
            cn_model_free(rt->model[i]);
        else
            rt->model[n++] = rt->model[i];
    rt->n_retired = n - rt->n_models;
}

void cn_runtime_drop_caches(struct cn_runtime *rt)
{
    while (unload_oldest(rt, NULL, 0, NULL))
        ;
    for (int i = 0; i < rt->n_models + rt->n_retired; i++)
        cn_model_evict_plans(rt->model[i]);
    for (size_t i = 0; i < rt->n_overlays; i++)
        cn_overlay_evict_plans(rt->overlay[i]);
    cn_runtime_tell_models(rt);
}

void cn_runtime_rest(struct cn_runtime *rt)
{
    if (!cn_backend_caps(rt->backend)->host_memory)
        return;
    for (int i = 0; i < rt->n_models + rt->n_retired; i++)
        cn_model_rest(rt->model[i]);
    cn_runtime_tell_models(rt);
}

/* ---- the budget ---- */

static size_t bytes_to_come(const struct cn_runtime *rt, const struct cn_model *m)
{
    size_t parameter = cn_dtype_size(cn_backend_caps(rt->backend)->dtype);
    size_t have = cn_model_bytes(m), want = m->peak_bytes;

    if (want == 0) {
        struct cn_model_facts info;

        cn_model_describe(m, &info);
        want = (size_t)info.parameters * parameter;
    }
    return want > have ? want - have : 0;
}

/* What the budget is compared with: models, and the plans' working memory. */
static size_t bytes_held(const struct cn_runtime *rt)
{
    return cn_runtime_bytes(rt) + cn_backend_bytes(rt->backend);
}

int cn_runtime_make_room(struct cn_runtime *rt, struct cn_model *const *model, int n,
                         const struct cn_adapted *adapted, struct cn_err *err)
{
    size_t all = 0, more = 0;

    if (rt->memory == 0)
        return CN_OK;
    if (adapted != NULL) {
        more = cn_adapted_bytes_to_come(adapted);
        all = more + cn_adapted_bytes(adapted);
    }
    for (int i = 0; i < n; i++) {
        if (is_among(model[i], model, i))
            continue;
        more += bytes_to_come(rt, model[i]);
        all += bytes_to_come(rt, model[i]) + cn_model_bytes(model[i]);
    }
    if (all > rt->memory)
        return cn_fail_at(err, CN_EDEVMEM, "/model",
                          "the models of this job need about %zu MB of memory, and %zu MB are "
                          "allowed",
                          all >> 20, rt->memory >> 20);
    if (bytes_held(rt) + more > rt->memory)
        cn_backend_trim(rt->backend); /* plans take what they need when they run */
    while (bytes_held(rt) + more > rt->memory)
        if (!unload_oldest(rt, model, n, adapted))
            return cn_fail(err, CN_EBUSY, "other jobs use the memory");
    cn_runtime_tell_models(rt);
    return CN_OK;
}

static bool has_users(const struct cn_runtime *rt)
{
    for (int i = 0; i < rt->n_models + rt->n_retired; i++)
        if (rt->model[i]->users > 0)
            return true;
    return false;
}

/* While somebody works, working memory is worth more than a model that nobody uses; afterwards it
 * is worth less, because it costs less to have it again. */
void cn_runtime_trim(struct cn_runtime *rt)
{
    struct cn_overlay *o;
    struct cn_fitted *f;
    int idle;

    while ((f = find_idle_adapter(rt, NULL, &idle)) != NULL && idle > CN_IDLE_ADAPTERS)
        cn_fitted_unload(f);
    while ((o = find_idle_overlay(rt, NULL, &idle)) != NULL && idle > CN_IDLE_OVERLAYS)
        cn_overlay_close(o);
    if (rt->memory > 0 && bytes_held(rt) > rt->memory && !has_users(rt))
        cn_backend_trim(rt->backend);
    while (rt->memory > 0 && bytes_held(rt) > rt->memory && unload_oldest(rt, NULL, 0, NULL))
        ;
}

void cn_runtime_pin(struct cn_runtime *rt, struct cn_model *m)
{
    m->users++;
    m->used = ++rt->clock;
}

void cn_runtime_unpin(struct cn_runtime *rt, struct cn_model *m)
{
    CN_ASSERT(m->users > 0);
    m->users--;
    m->used = ++rt->clock;
}
