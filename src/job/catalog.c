/* Which models, annotators and embeddings the workers said they have, and what the names of a
 * request mean. */
#include "base/base.h"
#include "job/catalog.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cn_catalog_release(struct cn_catalog *c)
{
    free(c->model);
    free(c->annotator);
    free(c->embedding);
    *c = (struct cn_catalog){.n = 0};
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
    hello->embedding = NULL;
    hello->n_embeddings = 0;
    hello->model = NULL;
    hello->annotator = NULL;
    hello->n_annotators = 0;
    hello->n_models = 0;
}

const struct cn_model_info *cn_catalog_find(const struct cn_catalog *c, enum cn_model_kind kind,
                                            const char *name)
{
    for (int i = 0; i < c->n; i++)
        if (c->model[i].kind == kind && strcmp(c->model[i].name, name) == 0)
            return &c->model[i];
    return NULL;
}

const struct cn_model_info *cn_catalog_default(const struct cn_catalog *c)
{
    const struct cn_model_info *first = NULL;

    for (int i = 0; i < c->n; i++) {
        if (c->model[i].kind != CN_MODEL_BASE)
            continue;
        if (c->model[i].is_default)
            return &c->model[i];
        first = first == NULL ? &c->model[i] : first;
    }
    return first;
}

static int unknown(const struct cn_catalog *c, enum cn_model_kind kind, const char *where,
                   const char *name, struct cn_err *err)
{
    char list[256] = "";
    size_t at = 0;

    for (int i = 0; i < c->n && at < sizeof(list); i++)
        if (c->model[i].kind == kind)
            at += (size_t)snprintf(list + at, sizeof(list) - at, "%s\"%s\"", at == 0 ? "" : ", ",
                                   c->model[i].name);
    return cn_fail_at(err, CN_ENOTFOUND, where, "there is no %s \"%.60s\": there %s %s",
                      kind == CN_MODEL_BASE ? "model" : "ControlNet", name, at == 0 ? "are" : "is",
                      at == 0 ? "none at all" : list);
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

static int check_annotator(const struct cn_catalog *c, const char *name, int index,
                           struct cn_err *err)
{
    char where[48], list[256] = "\"none\"";
    size_t at = strlen(list);

    if (strcmp(name, "none") == 0)
        return CN_OK;
    for (int i = 0; i < c->n_annotators; i++) {
        if (strcmp(name, c->annotator[i].name) == 0)
            return CN_OK;
        if (at < sizeof(list))
            at += (size_t)snprintf(list + at, sizeof(list) - at, ", \"%s\"", c->annotator[i].name);
    }
    snprintf(where, sizeof(where), "/controls/%d/annotator", index);
    return cn_fail_at(err, CN_ENOTFOUND, where, "there is no annotator \"%.60s\": there is %s",
                      name, list);
}

static int check_control(const struct cn_catalog *c, const struct cn_model_info *base,
                         const struct cn_spec_control *control, int index, struct cn_err *err)
{
    const char *name = control->model;
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
    return check_annotator(c, control->annotator, index, err);
}

int cn_catalog_resolve(const struct cn_catalog *c, struct cn_spec *spec, struct cn_err *err)
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
    for (int i = 0; i < spec->n_controls; i++)
        if ((rc = check_control(c, m, &spec->control[i], i, err)) < 0)
            return rc;
    return CN_OK;
}
