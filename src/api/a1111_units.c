/* Units of the ControlNet extension: the union of the fields that its versions and Forge's had, as
 * they are sent (internal_controlnet/args.py, external_code.py), to controls. */
#include "base/base.h"
#include "api/a1111_names.h"
#include "api/a1111_priv.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A unit besides what goes into the control at once. */
struct unit {
    struct cn_spec_control *c;
    bool on, pixel_perfect, save_map;
    char *module, *model;
    int mode;
    double weight, start, end;
    double resolution, threshold[CN_A1111_SLIDERS];
};

/* ---- choices: words with their aliases, or numbers ---- */

struct choice {
    const char *word;
    int value;
};

static int read_choice(struct cn_reader *r, const json_t *v, const char *where,
                       const struct choice *c, size_t n, int most, int *ret)
{
    const char *word = json_string_value(v);
    int number = -1;

    for (size_t i = 0; word != NULL && i < n; i++)
        if (strcasecmp(c[i].word, word) == 0) {
            *ret = c[i].value;
            return CN_OK;
        }
    if (cn_read_int(r, v, where, &number, NULL) < 0 || number < 0 || number > most) {
        *r->err = (struct cn_err)CN_ERR_INIT;
        return cn_fail_at(r->err, CN_EINVAL, where, "expected \"%s\", \"%s\" or \"%s\"", c[0].word,
                          c[1].word, c[2].word);
    }
    *ret = number;
    return CN_OK;
}

static int read_resize(struct cn_reader *r, const json_t *v, const char *where, void *target,
                       const struct cn_enum *e)
{
    static const struct choice words[] = {
        {"Just Resize", CN_STRETCH},           {"Crop and Resize", CN_CROP},
        {"Resize and Fill", CN_PAD},           {"Inner Fit (Scale to Fit)", CN_CROP},
        {"Scale to Fit (Inner Fit)", CN_CROP}, {"Outer Fit (Shrink to Fit)", CN_PAD},
        {"Envelope (Outer Fit)", CN_PAD}};
    int i = CN_CROP;

    (void)e;
    if (json_is_string(v) && json_string_length(v) == 0)
        return CN_OK;
    if (read_choice(r, v, where, words, CN_LEN(words), 3, &i) < 0)
        return r->err->code;
    ((struct unit *)target)->c->resize = i == 3 ? CN_STRETCH : (enum cn_resize)i;
    return CN_OK;
}

static int read_mode(struct cn_reader *r, const json_t *v, const char *where, void *target,
                     const struct cn_enum *e)
{
    static const struct choice words[] = {
        {"Balanced", 0}, {"My prompt is more important", 1}, {"ControlNet is more important", 2}};

    (void)e;
    if (json_is_string(v) && json_string_length(v) == 0)
        return CN_OK;
    return read_choice(r, v, where, words, CN_LEN(words), 2, &((struct unit *)target)->mode);
}

/* ---- images: text, {image, mask}, [image, mask], or a list of one of those ---- */

static int read_one(struct cn_reader *r, const json_t *v, const char *where, struct cn_blob *blob)
{
    if (json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0))
        return CN_OK;
    if (blob->len > 0)
        return cn_fail_at(r->err, CN_EINVAL, where, "it came under another name as well");
    return cn_read_image(r, v, where, blob, NULL);
}

static int read_mask(struct cn_reader *r, const json_t *v, const char *where, void *target,
                     const struct cn_enum *e)
{
    (void)e;
    return read_one(r, v, where, &((struct unit *)target)->c->mask);
}

static int read_picture(struct cn_reader *r, const json_t *v, const char *where, void *target,
                        const struct cn_enum *e)
{
    struct unit *u = target;
    const json_t *image = v, *mask = NULL;

    (void)e;
    if (json_is_array(image) && json_array_size(image) == 1 &&
        json_is_object(json_array_get(image, 0)))
        image = json_array_get(image, 0);
    if (json_is_object(image)) {
        mask = json_object_get(image, "mask");
        image = json_object_get(image, "image");
    } else if (json_is_array(image)) {
        if (json_array_size(image) > 2)
            return cn_fail_at(r->err, CN_EINVAL, where,
                              "expected an image, or an image and a mask");
        mask = json_array_get(image, 1);
        image = json_array_get(image, 0);
    }
    if (image != NULL && read_one(r, image, where, &u->c->image) < 0)
        return r->err->code;
    return mask == NULL ? CN_OK : read_one(r, mask, where, &u->c->mask);
}

/* ---- the others ---- */

/* One number for each of the 13 outputs; it stands for weight and control_mode. */
static int read_weighting(struct cn_reader *r, const json_t *v, const char *where, void *target,
                          const struct cn_enum *e)
{
    struct cn_spec_control *c = ((struct unit *)target)->c;
    size_t n = json_array_size(v);

    (void)e;
    if (!json_is_array(v))
        return cn_read_wrong_type(r, v, where, "a list of numbers");
    if (n == 0)
        return CN_OK;
    if (n > CN_CONTROL_LEVELS)
        return cn_fail_at(r->err, CN_EINVAL, where, "%zu numbers: at most %d are accepted", n,
                          CN_CONTROL_LEVELS);
    c->weights = CN_W_CUSTOM;
    c->n_weights = (int)n;
    for (size_t i = 0; i < n; i++)
        if (cn_read_real(r, json_array_get(v, i), where, &c->weight[i], NULL) < 0)
            return r->err->code;
    return CN_OK;
}

static int refuse_region(struct cn_reader *r, const json_t *v, const char *where, void *target,
                         const struct cn_enum *e)
{
    (void)target;
    (void)e;
    if (json_is_string(v) && json_string_length(v) == 0)
        return CN_OK;
    return cn_fail_at(r->err, CN_EINVAL, where,
                      "controls of a part of the picture are not supported");
}

static int read_hr_option(struct cn_reader *r, const json_t *v, const char *where, void *target,
                          const struct cn_enum *e)
{
    static const struct choice words[] = {{"Both", CN_PASSES_BOTH},
                                          {"Low res only", CN_PASSES_FIRST},
                                          {"High res only", CN_PASSES_SECOND}};
    int i = CN_PASSES_BOTH;

    (void)e;
    if (json_is_string(v) && json_string_length(v) == 0)
        return CN_OK;
    if (read_choice(r, v, where, words, CN_LEN(words), 2, &i) < 0)
        return r->err->code;
    ((struct unit *)target)->c->passes = (enum cn_passes)i;
    return CN_OK;
}

#define IN_UNIT(field) offsetof(struct unit, field)

static const struct cn_member members[] = {
    {"enabled", cn_read_bool, IN_UNIT(on), NULL},
    {"module", cn_read_text, IN_UNIT(module), NULL},
    {"model", cn_read_text, IN_UNIT(model), NULL},
    {"weight", cn_read_real, IN_UNIT(weight), NULL},
    {"image", read_picture, 0, NULL},
    {"input_image", read_picture, 0, NULL},
    {"mask", read_mask, 0, NULL},
    {"mask_image", read_mask, 0, NULL},
    {"resize_mode", read_resize, 0, NULL},
    {"control_mode", read_mode, 0, NULL},
    {"processor_res", cn_read_real, IN_UNIT(resolution), NULL},
    {"threshold_a", cn_read_real, IN_UNIT(threshold[0]), NULL},
    {"threshold_b", cn_read_real, IN_UNIT(threshold[1]), NULL},
    {"guidance_start", cn_read_real, IN_UNIT(start), NULL},
    {"guidance_end", cn_read_real, IN_UNIT(end), NULL},
    {"guidance", cn_read_real, IN_UNIT(end), NULL},
    {"pixel_perfect", cn_read_bool, IN_UNIT(pixel_perfect), NULL},
    {"save_detected_map", cn_read_bool, IN_UNIT(save_map), NULL},
    {"advanced_weighting", read_weighting, 0, NULL},
    {"effective_region_mask", refuse_region, 0, NULL},
    {"hr_option", read_hr_option, 0, NULL},
    /* of other programs, or without a meaning on a server */
    {"low_vram", cn_read_nothing, 0, NULL},
    {"lowvram", cn_read_nothing, 0, NULL},
    {"inpaint_crop_input_image", cn_read_nothing, 0, NULL},
    {"is_ui", cn_read_nothing, 0, NULL},
    {"input_mode", cn_read_nothing, 0, NULL},
    {"use_preview_as_input", cn_read_nothing, 0, NULL},
    {"union_control_type", cn_read_nothing, 0, NULL},
    {"pulid_mode", cn_read_nothing, 0, NULL},
    {"output_dir", cn_read_nothing, 0, NULL},
    {"batch_images", cn_read_unused, 0, NULL},
    {"loopback", cn_read_unused, 0, NULL},
    {"ipadapter_input", cn_read_unused, 0, NULL},
    {"generated_image", cn_read_unused, 0, NULL},
};

/* ---- a unit becomes a control ---- */

static void set_mode(struct cn_spec_control *c, int mode)
{
    if (c->weights == CN_W_CUSTOM)
        c->strength = 1;
    else if (mode > 0)
        c->weights = CN_W_SOFT;
    if (mode == 2)
        c->branch = CN_BRANCH_COND;
}

static void set_param(struct cn_spec_control *c, const struct cn_a1111_slider *s, double asked)
{
    double value = cn_a1111_slider_value(s, asked);

    if (s->param == NULL || value == s->preset || c->n_params == CN_MAX_ANNOTATOR_PARAMS)
        return;
    snprintf(c->param[c->n_params].name, sizeof(c->param[0].name), "%s", s->param);
    c->param[c->n_params++].value = value;
}

int cn_a1111_set_module(struct cn_reader *r, struct cn_spec_control *c, const char *module,
                        const char *where, double resolution, const double *threshold)
{
    const struct cn_a1111_module *m = cn_a1111_module_find(module);

    if (m == NULL)
        return cn_fail_at(r->err, CN_ENOTFOUND, where,
                          "there is no module \"%.60s\": see module_list", module);
    free(c->annotator);
    c->annotator = cn_xstrdup(m->annotator);
    for (int i = 0; i < CN_A1111_SLIDERS; i++)
        set_param(c, &m->slider[i], threshold[i]);
    if (m->has_resolution)
        c->resolution = cn_a1111_resolution(resolution);
    return CN_OK;
}

static int finish_unit(struct cn_reader *r, struct unit *u, const char *base)
{
    struct cn_spec_control *c = u->c;
    char where[80];

    c->strength = u->weight;
    c->start = u->start;
    c->end = u->end;
    c->window = CN_WINDOW_A1111;
    c->rules = CN_MAP_A1111;
    set_mode(c, u->mode);
    cn_a1111_strip_hash(u->model);
    free(c->model);
    c->model = u->model;
    u->model = NULL;
    cn_json_pointer(where, sizeof(where), base, "module");
    if (cn_a1111_set_module(r, c, u->module, where, u->resolution, u->threshold) < 0)
        return r->err->code;
    if (u->pixel_perfect && c->resolution != 0)
        c->resolution = CN_RESOLUTION_PIXEL_PERFECT;
    c->return_map = u->save_map && strcmp(c->annotator, "none") != 0;
    cn_json_pointer(where, sizeof(where), base, "model");
    if (c->model[0] == '\0' || strcasecmp(c->model, "none") == 0)
        return cn_fail_at(r->err, CN_EINVAL, where, "a unit needs a ControlNet: see model_list");
    return CN_OK;
}

/* One that is sent is meant, unless it says that it is off. */
static int read_unit(struct cn_reader *r, const json_t *item, const char *base)
{
    struct unit u = {.on = true,
                     .save_map = true,
                     .weight = 1,
                     .end = 1,
                     .resolution = -1,
                     .threshold = {-1, -1}};
    const json_t *enabled = json_object_get(item, "enabled");
    int rc;

    if (!json_is_object(item))
        return cn_read_wrong_type(r, item, base, "an object");
    if (enabled != NULL && !json_is_null(enabled) &&
        cn_read_bool(r, enabled, base, &u.on, NULL) < 0)
        return r->err->code;
    if (!u.on)
        return CN_OK;
    u.c = cn_spec_add_control(r->spec);
    if (u.c == NULL)
        return cn_fail_at(r->err, CN_EINVAL, base, "at most %d units are accepted",
                          r->in->limits->max_controls);
    u.c->resize = CN_CROP;
    u.module = cn_xstrdup("none");
    u.model = cn_xstrdup("");
    rc = cn_read_members(r, item, members, CN_LEN(members), base, &u);
    if (rc == CN_OK)
        rc = finish_unit(r, &u, base);
    free(u.module);
    free(u.model);
    return rc;
}

/* {"args": [...]}, or the list itself; a single unit may stand for the list. */
static int read_units(struct cn_reader *r, const json_t *v, const char *base)
{
    const json_t *args = json_is_object(v) ? json_object_get(v, "args") : v;
    char list[80], at[80];

    cn_json_pointer(list, sizeof(list), base, "args");
    if (args == NULL || json_is_null(args))
        return CN_OK;
    if (json_is_object(args))
        return read_unit(r, args, list);
    if (!json_is_array(args))
        return cn_read_wrong_type(r, args, list, "a list of units");
    for (size_t i = 0; i < json_array_size(args); i++) {
        const json_t *item = json_array_get(args, i);

        snprintf(at, sizeof(at), "%.60s/%zu", list, i);
        if (json_is_null(item) || json_is_boolean(item))
            continue; /* old versions put the state of their buttons there */
        if (read_unit(r, item, at) < 0)
            return r->err->code;
    }
    return CN_OK;
}

/* "ControlNet", "controlnet", "control_net", "sd-webui-controlnet" ... */
static bool is_controlnet(const char *name)
{
    char plain[32];
    size_t n = 0;

    for (; *name != '\0' && n + 1 < sizeof(plain); name++)
        if (strchr("-_ ", *name) == NULL)
            plain[n++] = *name;
    plain[n] = '\0';
    return strcasecmp(plain, "controlnet") == 0 || strcasecmp(plain, "sdwebuicontrolnet") == 0;
}

int cn_read_alwayson_scripts(struct cn_reader *r, const json_t *v, const char *where, void *target,
                             const struct cn_enum *e)
{
    const char *name;
    json_t *script;
    char at[80];

    (void)target;
    (void)e;
    if (!json_is_object(v))
        return json_is_array(v) || json_is_string(v) ? cn_read_unused(r, v, where, NULL, NULL)
                                                     : cn_read_wrong_type(r, v, where, "an object");
    json_object_foreach((json_t *)v, name, script)
    {
        cn_json_pointer(at, sizeof(at), where, name);
        if (is_controlnet(name)) {
            if (read_units(r, script, at) < 0)
                return r->err->code;
        } else {
            cn_reader_warn(r, at, "there is no such script");
        }
    }
    return CN_OK;
}

int cn_a1111_finish_units(struct cn_reader *r)
{
    const struct cn_blob *init = &r->spec->init_image;

    for (int i = 0; i < r->spec->n_controls; i++) {
        struct cn_spec_control *c = &r->spec->control[i];

        if (c->image.len > 0)
            continue;
        if (init->len == 0)
            return cn_fail_at(r->err, CN_EINVAL, "/alwayson_scripts/controlnet/args",
                              "a unit is enabled and has no image");
        if (cn_reader_count(r, init->len, "/alwayson_scripts/controlnet/args") < 0)
            return r->err->code;
        c->image.data = cn_try_alloc(init->len);
        if (c->image.data == NULL)
            return cn_fail(r->err, CN_ENOMEM, "no memory for an image");
        memcpy(c->image.data, init->data, init->len);
        c->image.len = init->len;
    }
    return CN_OK;
}
