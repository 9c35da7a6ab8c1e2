/* What the web UI keeps in its options: of these, those that stand for what a request leaves
 * out. */
#include "base/base.h"
#include "api/a1111.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const struct cn_model_info *cn_a1111_find_model(const struct cn_catalog *c, enum cn_model_kind kind,
                                                const char *name)
{
    const struct cn_model_info *m = cn_catalog_find(c, kind, name);
    size_t n = strlen(name);

    for (int i = 0; m == NULL && i < c->n; i++)
        if (c->model[i].kind == kind && strcasecmp(c->model[i].name, name) == 0)
            m = &c->model[i];
    for (int i = 0; m == NULL && kind == CN_MODEL_CONTROLNET && n > 2 && i < c->n; i++)
        if (c->model[i].kind == kind && strcasestr(c->model[i].name, name) != NULL)
            m = &c->model[i];
    return m;
}

static void set_text(char **text, const char *value)
{
    char *copy = cn_xstrdup(value);

    free(*text);
    *text = copy;
}

static void match(const struct cn_catalog *c, enum cn_model_kind kind, char **name)
{
    const struct cn_model_info *m = cn_a1111_find_model(c, kind, *name);

    if (m == NULL || strcmp(m->name, *name) == 0)
        return;
    set_text(name, m->name);
}

static bool is_own_vae(const char *name)
{
    return strcasecmp(name, "Automatic") == 0 || strcasecmp(name, "None") == 0;
}

static void complete_models(const struct cn_catalog *c, const struct cn_a1111_settings *o,
                            struct cn_spec *spec)
{
    if (spec->model[0] == '\0')
        set_text(&spec->model, o->model);
    if (spec->vae[0] == '\0')
        set_text(&spec->vae, o->vae);
    if (is_own_vae(spec->vae))
        set_text(&spec->vae, "");
    if (spec->model[0] != '\0')
        match(c, CN_MODEL_BASE, &spec->model);
    if (spec->vae[0] != '\0')
        match(c, CN_MODEL_VAE, &spec->vae);
    for (int i = 0; i < spec->n_controls; i++)
        match(c, CN_MODEL_CONTROLNET, &spec->control[i].model);
}

void cn_a1111_complete(const struct cn_catalog *c, const struct cn_a1111_settings *o,
                       const struct cn_api_beside *beside, struct cn_spec *spec)
{
    complete_models(c, o, spec);
    if (spec->clip_skip == 0)
        spec->clip_skip = o->clip_skip;
    if (spec->clip_skip == 1)
        spec->clip_skip = 0; /* it is the last layer either way */
    if (!beside->has_format)
        spec->format = o->format;
    if (!beside->has_rng)
        spec->rng = o->rng;
    if (spec->format != CN_PNG && !beside->has_quality)
        spec->quality = CN_A1111_QUALITY;
}

int cn_a1111_settings_read(struct cn_api_input *in, struct cn_a1111_settings *o, struct cn_err *err)
{
    struct cn_spec s;
    int rc = cn_api_read_overrides(in, &s, err);

    if (rc < 0)
        return rc;
    if (s.model[0] != '\0')
        snprintf(o->model, sizeof(o->model), "%s", s.model);
    if (s.vae[0] != '\0')
        snprintf(o->vae, sizeof(o->vae), "%s", is_own_vae(s.vae) ? "" : s.vae);
    if (s.clip_skip > 0)
        o->clip_skip = s.clip_skip;
    if (in->beside->has_format)
        o->format = s.format;
    if (in->beside->has_rng)
        o->rng = s.rng;
    cn_spec_release(&s);
    return CN_OK;
}
