/* Which models, annotators and embeddings the workers said they have, and what the names of a
 * request mean. */
#include "base/base.h"
#include "job/catalog.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cn_catalog_release(struct cn_catalog *c)
{
    free(c->model);
    free(c->annotator);
    free(c->embedding);
    free(c->adapter);
    free(c->passed);
    *c = (struct cn_catalog){.model = NULL};
}

void cn_catalog_set(struct cn_catalog *c, struct cn_msg_hello *hello)
{
    cn_catalog_release(c);
    c->model = hello->model;
    c->n = hello->n_models;
    c->annotator = hello->annotator;
    c->n_annotators = hello->n_annotators;
    c->embedding = hello->embedding;
    c->n_embeddings = hello->n_embeddings;
    c->adapter = hello->adapter;
    c->n_adapters = hello->n_adapters;
    hello->adapter = NULL;
    hello->n_adapters = 0;
    hello->embedding = NULL;
    hello->n_embeddings = 0;
    hello->model = NULL;
    hello->annotator = NULL;
    hello->n_annotators = 0;
    hello->n_models = 0;
}

void cn_catalog_take(struct cn_catalog *c, struct cn_msg_catalog *m)
{
    free(c->model);
    free(c->passed);
    free(c->adapter);
    free(c->embedding);
    c->embedding = m->embedding;
    c->n_embeddings = m->n_embeddings;
    c->adapter = m->adapter;
    c->n_adapters = m->n_adapters;
    c->model = m->model;
    c->n = m->n_models;
    c->passed = m->passed;
    c->n_passed = m->n_passed;
    *m = (struct cn_msg_catalog){.model = NULL};
}

/* ---- of several workers one ---- */

static void merge_models(struct cn_catalog *ret, const struct cn_catalog *from)
{
    bool has_default = false;

    for (int i = 0; i < ret->n; i++)
        has_default = has_default || ret->model[i].is_default;
    for (int i = 0; i < from->n; i++) {
        const struct cn_model_info *m = &from->model[i];
        struct cn_model_info *known =
            (struct cn_model_info *)cn_catalog_find(ret, m->kind, m->name);

        if (known == NULL) {
            ret->model[ret->n] = *m;
            ret->model[ret->n++].is_default = m->is_default && !has_default;
        } else if (known->broken[0] != '\0' && m->broken[0] == '\0') {
            bool was_default = known->is_default;

            *known = *m;
            known->is_default = was_default || (m->is_default && !has_default);
        }
    }
}

static void merge_passed(struct cn_catalog *ret, const struct cn_catalog *from)
{
    for (int i = 0; i < from->n_passed; i++) {
        const struct cn_passed_over *p = &from->passed[i];
        bool known = false;

        for (int k = 0; k < ret->n_passed && !known; k++)
            known = strcmp(ret->passed[k].name, p->name) == 0 &&
                    strcmp(ret->passed[k].why, p->why) == 0;
        if (!known)
            ret->passed[ret->n_passed++] = *p;
    }
}

static void merge_annotators(struct cn_catalog *ret, const struct cn_catalog *from)
{
    for (int i = 0; i < from->n_annotators; i++) {
        bool known = false;

        for (int k = 0; k < ret->n_annotators && !known; k++)
            known = strcmp(ret->annotator[k].name, from->annotator[i].name) == 0;
        if (!known)
            ret->annotator[ret->n_annotators++] = from->annotator[i];
    }
}

static void merge_embeddings(struct cn_catalog *ret, const struct cn_catalog *from)
{
    for (int i = 0; i < from->n_embeddings; i++) {
        bool known = false;

        for (int k = 0; k < ret->n_embeddings && !known; k++)
            known = strcmp(ret->embedding[k].name, from->embedding[i].name) == 0;
        if (!known)
            ret->embedding[ret->n_embeddings++] = from->embedding[i];
    }
}

/* Of adapters of one name one that can be used. */
static void merge_adapters(struct cn_catalog *ret, const struct cn_catalog *from)
{
    for (int i = 0; i < from->n_adapters; i++) {
        const struct cn_adapter_info *a = &from->adapter[i];
        int k = 0;

        while (k < ret->n_adapters && strcmp(ret->adapter[k].name, a->name) != 0)
            k++;
        if (k == ret->n_adapters)
            ret->adapter[ret->n_adapters++] = *a;
        else if (ret->adapter[k].broken[0] != '\0' && a->broken[0] == '\0')
            ret->adapter[k] = *a;
    }
}

void cn_catalog_merge(struct cn_catalog *ret, const struct cn_catalog *const *from, int n)
{
    size_t models = 1, annotators = 1, embeddings = 1, passed = 1, adapters = 1;

    cn_catalog_release(ret);
    for (int i = 0; i < n; i++) {
        models += (size_t)from[i]->n;
        annotators += (size_t)from[i]->n_annotators;
        embeddings += (size_t)from[i]->n_embeddings;
        passed += (size_t)from[i]->n_passed;
        adapters += (size_t)from[i]->n_adapters;
    }
    ret->model = cn_xcalloc(models, sizeof(*ret->model));
    ret->annotator = cn_xcalloc(annotators, sizeof(*ret->annotator));
    ret->embedding = cn_xcalloc(embeddings, sizeof(*ret->embedding));
    ret->passed = cn_xcalloc(passed, sizeof(*ret->passed));
    ret->adapter = cn_xcalloc(adapters, sizeof(*ret->adapter));
    for (int i = 0; i < n; i++) {
        merge_models(ret, from[i]);
        merge_annotators(ret, from[i]);
        merge_embeddings(ret, from[i]);
        merge_passed(ret, from[i]);
        merge_adapters(ret, from[i]);
    }
}

/* ---- finding ---- */

static const char *const kind_titles[CN_MODEL_KIND_COUNT] = {"model", "ControlNet", "autoencoder"};

const struct cn_model_info *cn_catalog_find(const struct cn_catalog *c, enum cn_model_kind kind,
                                            const char *name)
{
    for (int i = 0; i < c->n; i++)
        if (c->model[i].kind == kind && strcmp(c->model[i].name, name) == 0)
            return &c->model[i];
    return NULL;
}

static bool is_usable(const struct cn_model_info *m, enum cn_model_kind kind)
{
    return m->kind == kind && m->broken[0] == '\0';
}

const struct cn_model_info *cn_catalog_default(const struct cn_catalog *c)
{
    const struct cn_model_info *first = NULL;

    for (int i = 0; i < c->n; i++) {
        if (c->model[i].kind != CN_MODEL_BASE)
            continue;
        if (c->model[i].is_default)
            return &c->model[i];
        if (first == NULL || (first->broken[0] != '\0' && c->model[i].broken[0] == '\0'))
            first = &c->model[i];
    }
    return first;
}

bool cn_catalog_can_draw(const struct cn_catalog *c)
{
    for (int i = 0; i < c->n; i++)
        if (c->model[i].kind == CN_MODEL_BASE && c->model[i].broken[0] == '\0')
            return true;
    return false;
}

/* Those of a kind that can be used, as "a, b and c"; of a long list the beginning. How many there
 * are. */
static int list_usable(const struct cn_catalog *c, enum cn_model_kind kind, char *list, size_t size)
{
    static const size_t tail = sizeof(" and 2147483647 more");
    int n = 0, done = 0;
    size_t at = 0;

    for (int i = 0; i < c->n; i++)
        n += is_usable(&c->model[i], kind);
    for (int i = 0; i < c->n && done < n; i++) {
        const char *name = c->model[i].name;

        if (!is_usable(&c->model[i], kind))
            continue;
        if (at + strlen(name) + sizeof(" and \"\"") + tail > size) {
            snprintf(list + at, size - at, " and %d more", n - done);
            return n;
        }
        at += (size_t)snprintf(list + at, size - at, "%s\"%s\"",
                               done == 0 ? "" : (done == n - 1 ? " and " : ", "), name);
        done++;
    }
    return n;
}

/* A file of this name that is something else, with the reason; NULL. */
static const struct cn_passed_over *find_passed(const struct cn_catalog *c, const char *name)
{
    size_t n = strlen(name);

    for (int i = 0; i < c->n_passed; i++) {
        const char *file = c->passed[i].name;

        if (strncmp(file, name, n) == 0 && (file[n] == '\0' || strrchr(file, '.') == file + n))
            return &c->passed[i];
    }
    return NULL;
}

static int unknown(const struct cn_catalog *c, enum cn_model_kind kind, const char *where,
                   const char *name, struct cn_err *err)
{
    char list[256] = "none that can be used";
    const struct cn_passed_over *passed = find_passed(c, name);
    int n;

    if (name[0] == '\0')
        return cn_fail_at(err, CN_ENOTFOUND, where, "the server has no model at the moment");
    if (passed != NULL)
        return cn_fail_at(err, CN_ENOTFOUND, where, "\"%.60s\" is no model: %s", name, passed->why);
    n = list_usable(c, kind, list, sizeof(list));
    return cn_fail_at(err, CN_ENOTFOUND, where, "there is no %s \"%.60s\": there %s %s",
                      kind_titles[kind], name, n > 1 ? "are" : "is",
                      list);
}

static int resolve_side(int *side, int preset, int multiple, const char *where, struct cn_err *err)
{
    if (*side == 0)
        *side = preset;
    if (multiple > 1 && *side % multiple != 0)
        return cn_fail_at(err, CN_EINVAL, where, "%d is not a multiple of %d, as this model needs",
                          *side, multiple);
    return CN_OK;
}

static const struct cn_annotator_info *find_annotator(const struct cn_catalog *c, const char *name)
{
    for (int i = 0; i < c->n_annotators; i++)
        if (strcmp(name, c->annotator[i].name) == 0)
            return &c->annotator[i];
    return NULL;
}

static int unknown_annotator(const struct cn_catalog *c, const struct cn_spec *s, int index,
                             struct cn_err *err)
{
    char where[48], list[256] = "\"none\"";
    size_t at = strlen(list);

    for (int i = 0; i < c->n_annotators && at < sizeof(list); i++)
        at += (size_t)snprintf(list + at, sizeof(list) - at, ", \"%s\"", c->annotator[i].name);
    cn_spec_control_where(s, index, "annotator", where, sizeof(where));
    return cn_fail_at(err, CN_ENOTFOUND, where, "there is no annotator \"%.60s\": there is %s",
                      s->control[index].annotator, list);
}

static int check_param(const struct cn_annotator_info *a, const struct cn_annotator_value *v,
                       const char *where, struct cn_err *err)
{
    const struct cn_annotator_param_info *p = NULL;

    for (int i = 0; i < a->n_params && p == NULL; i++)
        if (strcmp(v->name, a->param[i].name) == 0)
            p = &a->param[i];
    if (p == NULL)
        return cn_fail_at(err, CN_EINVAL, where, "annotator \"%s\" has no such parameter", a->name);
    if (!(v->value >= p->min && v->value <= p->max) ||
        (!p->real && v->value != floor(v->value)))
        return cn_fail_at(err, CN_EINVAL, where, "%g is out of range: a%s number from %.10g to "
                          "%.10g is accepted", v->value, p->real ? "" : " whole", p->min, p->max);
    return CN_OK;
}

static int check_annotator(const struct cn_catalog *c, const struct cn_spec *s, int index,
                           struct cn_err *err)
{
    const struct cn_spec_control *control = &s->control[index];
    const struct cn_annotator_info *a = find_annotator(c, control->annotator);
    struct cn_annotator_info none = {.name = "none"};
    char field[CN_PARAM_NAME + 16], where[96];
    int rc = CN_OK;

    if (a == NULL && strcmp(control->annotator, "none") == 0)
        a = &none;
    if (a == NULL)
        return unknown_annotator(c, s, index, err);
    for (int i = 0; i < control->n_params && rc == CN_OK; i++) {
        snprintf(field, sizeof(field), "params/%s", control->param[i].name);
        cn_spec_control_where(s, index, field, where, sizeof(where));
        rc = check_param(a, &control->param[i], where, err);
    }
    return rc;
}

static int check_control(const struct cn_catalog *c, const struct cn_model_info *base,
                         const struct cn_spec *spec, int index, struct cn_err *err)
{
    const char *name = spec->control[index].model;
    const struct cn_model_info *m = cn_catalog_find(c, CN_MODEL_CONTROLNET, name);
    char where[48];

    snprintf(where, sizeof(where), "/controls/%d/model", index);
    if (m == NULL)
        return unknown(c, CN_MODEL_CONTROLNET, where, name, err);
    if (m->broken[0] != '\0')
        return cn_fail_at(err, CN_EINVAL, where, "ControlNet \"%.60s\" cannot be used: %s", name,
                          m->broken);
    if (m->family[0] != '\0' && base->family[0] != '\0' && strcmp(m->family, base->family) != 0)
        return cn_fail_at(err, CN_EINVAL, where,
                          "ControlNet \"%.60s\" is of family \"%s\", model \"%.60s\" of \"%s\"",
                          name, m->family, base->name, base->family);
    return check_annotator(c, spec, index, err);
}

/* By name, or by what the trainer called it; the worker says whether the latter is one's only. */
static const struct cn_adapter_info *find_adapter(const struct cn_catalog *c, const char *name)
{
    for (int i = 0; i < c->n_adapters; i++)
        if (strcmp(c->adapter[i].name, name) == 0)
            return &c->adapter[i];
    for (int i = 0; i < c->n_adapters; i++)
        if (strcmp(c->adapter[i].alias, name) == 0)
            return &c->adapter[i];
    return NULL;
}

static int check_adapters(const struct cn_catalog *c, const struct cn_spec *spec,
                          struct cn_err *err)
{
    for (int i = 0; i < spec->n_adapters; i++) {
        const char *name = spec->adapter[i].name;
        const struct cn_adapter_info *a = find_adapter(c, name);
        char where[48];

        snprintf(where, sizeof(where), "/adapters/%d/name", i);
        if (a == NULL)
            return cn_fail_at(err, CN_ENOTFOUND, where, "there is no adapter \"%.60s\"", name);
        if (a->broken[0] != '\0')
            return cn_fail_at(err, CN_EINVAL, where, "adapter \"%.60s\" cannot be used: %s", name,
                              a->broken);
    }
    return CN_OK;
}

/* In place of base's own; "" is that. */
static int check_vae(const struct cn_catalog *c, const struct cn_model_info *base,
                     const char *name, struct cn_err *err)
{
    const struct cn_model_info *m = cn_catalog_find(c, CN_MODEL_VAE, name);

    if (name[0] == '\0')
        return CN_OK;
    if (m == NULL)
        return unknown(c, CN_MODEL_VAE, "/vae", name, err);
    if (m->broken[0] != '\0')
        return cn_fail_at(err, CN_EINVAL, "/vae", "autoencoder \"%.60s\" cannot be used: %s", name,
                          m->broken);
    if (m->latent_channels != base->latent_channels || m->multiple != base->multiple)
        return cn_fail_at(err, CN_EINVAL, "/vae",
                          "autoencoder \"%.60s\" has latents of %d channels for cells of %d "
                          "pixels, model \"%.60s\" of %d for %d",
                          name, m->latent_channels, m->multiple, base->name, base->latent_channels,
                          base->multiple);
    return CN_OK;
}

static int resolve_drawing(const struct cn_catalog *c, struct cn_spec *spec, struct cn_err *err)
{
    const struct cn_model_info *m = spec->model[0] == '\0'
                                        ? cn_catalog_default(c)
                                        : cn_catalog_find(c, CN_MODEL_BASE, spec->model);
    int rc;

    if (m == NULL)
        return unknown(c, CN_MODEL_BASE, "/model", spec->model, err);
    if (m->broken[0] != '\0')
        return cn_fail_at(err, CN_EINVAL, "/model", "model \"%.60s\" cannot be used: %s",
                          spec->model, m->broken);
    if (!spec->has_guidance && m->guidance > 0)
        spec->guidance_scale = m->guidance;
    spec->has_guidance = true;
    if (spec->model[0] == '\0') {
        free(spec->model);
        spec->model = cn_xstrdup(m->name);
    }
    if ((rc = resolve_side(&spec->width, m->width, m->multiple, "/width", err)) < 0 ||
        (rc = resolve_side(&spec->height, m->height, m->multiple, "/height", err)) < 0)
        return rc;
    if ((rc = check_vae(c, m, spec->vae, err)) < 0)
        return rc;
    if (spec->decoder == CN_DECODER_TAESD && !m->tiny_decoder)
        return cn_fail_at(err, CN_EINVAL, "/decoder",
                          "the server has no tiny autoencoder (TAESD) for model \"%.60s\"",
                          m->name);
    for (int i = 0; i < spec->n_controls; i++)
        if ((rc = check_control(c, m, spec, i, err)) < 0)
            return rc;
    return check_adapters(c, spec, err);
}

int cn_catalog_resolve(const struct cn_catalog *c, struct cn_spec *spec, struct cn_err *err)
{
    return spec->kind == CN_KIND_ANNOTATE ? check_annotator(c, spec, 0, err)
                                          : resolve_drawing(c, spec, err);
}

static int check_model(const struct cn_catalog *c, enum cn_model_kind kind, const char *name,
                       const char *where, struct cn_err *err)
{
    const struct cn_model_info *m = cn_catalog_find(c, kind, name);
    const char *what = kind_titles[kind];

    if (m == NULL)
        return cn_fail_at(err, CN_ENOTFOUND, where,
                          "%s \"%.60s\" was removed from the server while the job waited", what,
                          name);
    if (m->broken[0] != '\0')
        return cn_fail_at(err, CN_EINVAL, where, "%s \"%.60s\" cannot be used any more: %s", what,
                          name, m->broken);
    return CN_OK;
}

int cn_catalog_check(const struct cn_catalog *c, const struct cn_spec *spec, struct cn_err *err)
{
    char where[48];
    int rc;

    if (spec->kind == CN_KIND_ANNOTATE)
        return check_annotator(c, spec, 0, err);
    rc = check_model(c, CN_MODEL_BASE, spec->model, "/model", err);
    if (rc == CN_OK && spec->vae[0] != '\0')
        rc = check_model(c, CN_MODEL_VAE, spec->vae, "/vae", err);
    for (int i = 0; i < spec->n_controls && rc == CN_OK; i++) {
        snprintf(where, sizeof(where), "/controls/%d/model", i);
        rc = check_model(c, CN_MODEL_CONTROLNET, spec->control[i].model, where, err);
    }
    return rc < 0 ? rc : check_adapters(c, spec, err);
}
