/* model_index.json: of which parts a pipeline is made, each [library, class] or [null, null]. */
#include "base/base.h"
#include "checkpoint/config.h"
#include "checkpoint/checkpoint_priv.h"

#include <jansson.h>
#include <string.h>

/* A part of pipelines and the classes that it may be of; the list ends with NULL. A part with no
 * class listed may be any: it does not act on what is drawn here. */
static const struct part {
    const char *name;
    bool needed;
    const char *class[4];
} parts[] = {
    {"unet", true, {"UNet2DConditionModel"}},
    {"vae", true, {"AutoencoderKL"}},
    /* The last hidden state is what is read, so that a projection behind it does not matter. */
    {"text_encoder", true, {"CLIPTextModel", "CLIPTextModelWithProjection"}},
    {"text_encoder_2", false, {"CLIPTextModelWithProjection"}},
    {"tokenizer", false, {"CLIPTokenizer", "CLIPTokenizerFast"}},
    {"tokenizer_2", false, {"CLIPTokenizer", "CLIPTokenizerFast"}},
    {"scheduler", false, {NULL}},         /* its own file says which */
    {"controlnet", false, {NULL}},        /* requests name theirs */
    {"safety_checker", false, {NULL}},    /* looks at pictures that are finished */
    {"feature_extractor", false, {NULL}}, /* for it */
    {"image_encoder", false, {NULL}},     /* for IP adapters */
    {"depth_estimator", false, {NULL}},   /* requests bring the depth map */
    {"watermarker", false, {NULL}},
};

/* The class of a part, or "" when it is not there. */
static const char *part_class(const struct cn_conf *f, const char *part)
{
    const char *s = json_string_value(json_array_get(json_object_get(f->root, part), 1));

    return s ? s : "";
}

static void check_part(struct cn_conf *f, const struct part *p)
{
    const char *class = part_class(f, p->name);

    if (p->class[0] == NULL || (class[0] == '\0' && !p->needed))
        return;
    for (size_t i = 0; i < CN_LEN(p->class) && p->class[i] != NULL; i++)
        if (strcmp(class, p->class[i]) == 0)
            return;
    cn_conf_bad(f, p->name, "\"%.60s\" instead of \"%s\"", class, p->class[0]);
}

/* Pipelines that do something else with the same parts. Those of perturbed-attention guidance (PAG)
 * are models like others: requests say how much of it they want. */
static void check_class(struct cn_conf *f)
{
    static const char *const other[] = {
        "InstructPix2Pix", "Upscale", "ImageVariation", "GLIGEN", "Adapter",     "UnCLIP", "LDM3D",
        "AttendAndExcite", "ModelEditing", "SAG", "Pix2PixZero", "Panorama"};
    static const char *const own[] = {"StableDiffusion", "LatentConsistencyModel"};
    json_t *v = json_object_get(f->root, "_class_name");
    const char *class = json_string_value(json_is_array(v) ? json_array_get(v, 1) : v);
    bool known = class == NULL;

    for (size_t i = 0; !known && i < CN_LEN(own); i++)
        known = strncmp(class, own[i], strlen(own[i])) == 0;
    for (size_t i = 0; known && class != NULL && i < CN_LEN(other); i++)
        known = strstr(class, other[i]) == NULL;
    if (!known)
        cn_conf_bad(f, "_class_name", "the pipeline \"%.60s\" is not supported", class);
}

/* A member that is not there, or a setting that does not act on what is drawn here. */
static bool is_harmless(const char *key, const json_t *v)
{
    static const char *const settings[] = {"force_zeros_for_empty_prompt", /* read below */
                                           "requires_safety_checker", "add_watermarker",
                                           "is_unet_version_less_0_9_0"};

    for (size_t i = 0; i < CN_LEN(settings); i++)
        if (strcmp(key, settings[i]) == 0)
            return true;
    return key[0] == '_' || json_is_null(v) || json_is_false(v) ||
           (json_is_array(v) && json_is_null(json_array_get(v, 1)));
}

static bool is_part(const char *name)
{
    for (size_t i = 0; i < CN_LEN(parts); i++)
        if (strcmp(parts[i].name, name) == 0)
            return true;
    return false;
}

static void check_members(struct cn_conf *f)
{
    const char *key;
    json_t *v;

    json_object_foreach(f->root, key, v)
    {
        if (!is_part(key) && !is_harmless(key, v))
            cn_conf_bad(f, key, json_is_array(v) ? "a part that is not supported"
                                                 : "an unknown setting");
    }
}

void cn_conf_pipeline(struct cn_conf *f, struct cn_pipeline_config *ret)
{
    const char *two = part_class(f, "text_encoder_2");

    if (part_class(f, "transformer")[0] != '\0')
        cn_conf_bad(f, "transformer", "the model is not built on a UNet");
    check_class(f);
    for (size_t i = 0; i < CN_LEN(parts); i++)
        check_part(f, &parts[i]);
    check_members(f);
    *ret = (struct cn_pipeline_config){
        .two_texts = two[0] != '\0',
        .control = strcmp(part_class(f, "controlnet"), "ControlNetModel") == 0,
        .zeroes_empty =
            two[0] != '\0' && cn_conf_bool(f, "force_zeros_for_empty_prompt", true),
        .guidance = cn_conf_real(f, "_guidance_scale", 0, 0, 100),
        .chooses_ema = cn_conf_has(f, "_ema"),
        .ema = cn_conf_bool(f, "_ema", true),
    };
}
