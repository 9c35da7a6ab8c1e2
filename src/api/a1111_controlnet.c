/* The lists of the ControlNet extension (scripts/api.py). */
#include "base/base.h"
#include "api/a1111.h"
#include "api/a1111_names.h"
#include "api/json_priv.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { EXTENSION_VERSION = 3 };

/* In the order of its page; those without a preprocessor or a model here take any. */
static const char *const types[] = {
    "All",      "Canny",           "Depth",        "NormalMap", "OpenPose", "MLSD",   "Lineart",
    "SoftEdge", "Scribble/Sketch", "Segmentation", "Shuffle",   "Tile",     "Inpaint"};

static int put_take(struct cn_buf *out, json_t *v, struct cn_err *err)
{
    int rc = cn_json_put_take(out, v, err);

    return rc == CN_OK ? cn_buf_adds(out, "\n", err) : rc;
}

/* The workers have it. */
static bool is_there(const struct cn_catalog *c, const struct cn_a1111_module *m)
{
    if (strcmp(m->annotator, "none") == 0)
        return true;
    for (int i = 0; i < c->n_annotators; i++)
        if (strcmp(c->annotator[i].name, m->annotator) == 0)
            return true;
    return false;
}

static const char *label(const struct cn_a1111_facts *f, const struct cn_a1111_module *m)
{
    return f->alias_names && m->alias[0] != NULL ? m->alias[0] : m->name;
}

static bool is_usable(const struct cn_model_info *m)
{
    return m->kind == CN_MODEL_CONTROLNET && m->broken[0] == '\0';
}

int cn_a1111_put_version(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err)
{
    (void)f;
    return put_take(out, json_pack("{si}", "version", EXTENSION_VERSION), err);
}

int cn_a1111_put_control_settings(const struct cn_a1111_facts *f, struct cn_buf *out,
                                  struct cn_err *err)
{
    return put_take(out, json_pack("{si}", "control_net_unit_count", f->limits->max_controls), err);
}

int cn_a1111_put_control_models(const struct cn_a1111_facts *f, struct cn_buf *out,
                                struct cn_err *err)
{
    json_t *list = json_array();

    for (int i = 0; i < f->catalog->n; i++)
        if (is_usable(&f->catalog->model[i]))
            cn_json_add(&list, json_string(f->catalog->model[i].name));
    return put_take(out, json_pack("{so}", "model_list", list), err);
}

static json_t *slider_json(const struct cn_a1111_slider *s)
{
    return json_pack("{ss sf sf sf sf}", "name", s->title, "value", s->preset, "min", s->min, "max",
                     s->max, "step", s->step);
}

static json_t *module_json(const struct cn_a1111_module *m)
{
    static const struct cn_a1111_slider resolution = {"Resolution", NULL, 64, 2048, 512, 8, 1};
    json_t *sliders = json_array();

    if (m->has_resolution)
        cn_json_add(&sliders, slider_json(&resolution));
    for (int i = 0; i < CN_A1111_SLIDERS; i++)
        if (m->slider[i].title != NULL)
            cn_json_add(&sliders, slider_json(&m->slider[i]));
    return json_pack("{sb so}", "model_free", m->has_resolution, "sliders", sliders);
}

int cn_a1111_put_control_modules(const struct cn_a1111_facts *f, struct cn_buf *out,
                                 struct cn_err *err)
{
    json_t *list = json_array(), *detail = json_object();

    for (int i = 0; i < cn_a1111_n_modules; i++) {
        const struct cn_a1111_module *m = &cn_a1111_modules[i];

        if (!is_there(f->catalog, m))
            continue;
        cn_json_add(&list, json_string(label(f, m)));
        cn_json_set(&detail, label(f, m), module_json(m));
    }
    return put_take(out, json_pack("{so so}", "module_list", list, "module_detail", detail), err);
}

/* Is a word of the list by commas? */
static bool is_of_type(const char *list, const char *type)
{
    size_t n = strlen(type);

    for (const char *p = list; (p = strstr(p, type)) != NULL; p += n)
        if ((p == list || p[-1] == ',') && (p[n] == '\0' || p[n] == ','))
            return true;
    return false;
}

/* Is the ControlNet's name, or what it was trained on, of that type? */
static bool model_is_of(const struct cn_model_info *m, const char *type)
{
    char word[24];
    size_t n = strcspn(type, "/");

    if (strcmp(type, "All") == 0)
        return true;
    snprintf(word, sizeof(word), "%.*s", (int)n, type);
    return strcasestr(m->name, word) != NULL || strcasestr(m->annotator, word) != NULL;
}

static json_t *type_json(const struct cn_a1111_facts *f, const char *type)
{
    json_t *modules = json_array(), *models = json_array();
    const char *module = "none", *model = "None";
    bool all = strcmp(type, "All") == 0;

    cn_json_add(&modules, json_string("none"));
    for (int i = 1; i < cn_a1111_n_modules; i++) {
        const struct cn_a1111_module *m = &cn_a1111_modules[i];

        if (!is_of_type(m->type, type) || !is_there(f->catalog, m))
            continue;
        cn_json_add(&modules, json_string(m->name));
        if (strcmp(module, "none") == 0 && !all)
            module = m->name;
    }
    cn_json_add(&models, json_string("None"));
    for (int i = 0; i < f->catalog->n; i++) {
        const struct cn_model_info *m = &f->catalog->model[i];

        if (!is_usable(m) || !model_is_of(m, type))
            continue;
        cn_json_add(&models, json_string(m->name));
        if (strcmp(model, "None") == 0 && !all)
            model = m->name;
    }
    return json_pack("{so so ss ss}", "module_list", modules, "model_list", models,
                     "default_option", module, "default_model", model);
}

int cn_a1111_put_control_types(const struct cn_a1111_facts *f, struct cn_buf *out,
                               struct cn_err *err)
{
    json_t *o = json_object();

    for (size_t i = 0; i < CN_LEN(types); i++)
        cn_json_set(&o, types[i], type_json(f, types[i]));
    return put_take(out, json_pack("{so}", "control_types", o), err);
}
