/* POST /sdapi/v1/txt2img and img2img of AUTOMATIC1111's web UI (modules/processing.py,
 * modules/api/models.py, version 1.10), as tables of members. What its defaults mean here is in
 * docs/DIALECTS.md. */
#include "base/base.h"
#include "api/a1111_names.h"
#include "api/a1111_priv.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PREVIEW_EVERY = 10 }; /* steps: the web UI's own default */

/* The members that need each other to become a description. */
struct request {
    char *sampler, *sampler_index, *schedule;
    double seed, subseed;
    int seed_width, seed_height;
    int batch_size, n_iter;
    int width, height;
    double denoise;
    bool send_images;
    char *task, *script;
    int resize, fill, invert, padding;
    bool only_masked;
    double blur, blur_x, blur_y;
    struct { /* of the second pass */
        bool on;
        double scale;
        int width, height, steps;
        char *upscaler, *sampler, *schedule, *prompt, *negative_prompt;
    } hr;
};

static const char preset[] =
    "{\"prompt\":\"\",\"negative_prompt\":\"\",\"styles\":null,\"seed\":-1,\"subseed\":-1,"
    "\"subseed_strength\":0,\"seed_resize_from_h\":-1,\"seed_resize_from_w\":-1,"
    "\"sampler_name\":null,\"batch_size\":1,\"n_iter\":1,\"steps\":50,\"cfg_scale\":7.0,"
    "\"width\":512,\"height\":512,\"restore_faces\":null,\"tiling\":null,"
    "\"do_not_save_samples\":false,\"do_not_save_grid\":false,\"eta\":null,"
    "\"denoising_strength\":0.75,\"s_min_uncond\":null,\"s_churn\":null,\"s_tmax\":null,"
    "\"s_tmin\":null,\"s_noise\":null,\"override_settings\":null,"
    "\"override_settings_restore_afterwards\":true,\"refiner_checkpoint\":null,"
    "\"refiner_switch_at\":null,\"disable_extra_networks\":false,\"comments\":null,";
static const char preset_txt2img[] =
    "\"firstpass_image\":null,\"enable_hr\":false,\"firstphase_width\":0,\"firstphase_height\":0,"
    "\"hr_scale\":2.0,\"hr_upscaler\":null,\"hr_second_pass_steps\":0,\"hr_resize_x\":0,"
    "\"hr_resize_y\":0,\"hr_checkpoint_name\":null,\"hr_sampler_name\":null,\"hr_prompt\":\"\","
    "\"hr_negative_prompt\":\"\",";
static const char preset_img2img[] =
    "\"init_images\":null,\"resize_mode\":0,\"image_cfg_scale\":null,\"mask\":null,"
    "\"mask_blur_x\":4,\"mask_blur_y\":4,\"mask_blur\":null,\"mask_round\":true,"
    "\"inpainting_fill\":0,\"inpaint_full_res\":true,\"inpaint_full_res_padding\":0,"
    "\"inpainting_mask_invert\":0,\"initial_noise_multiplier\":null,\"latent_mask\":null,"
    "\"include_init_images\":false,";
static const char preset_end[] =
    "\"force_task_id\":null,\"sampler_index\":\"Euler\",\"script_name\":null,\"script_args\":[],"
    "\"send_images\":true,\"save_images\":false,\"alwayson_scripts\":{},\"infotext\":null}";

/* ---- members that are more than a value ---- */

static int read_init_images(struct cn_reader *r, const json_t *v, const char *where, void *target,
                            const struct cn_enum *e)
{
    const json_t *first = v;
    char at[80];

    (void)target;
    if (json_is_array(v)) {
        if (json_array_size(v) > 1)
            cn_reader_warn(r, where, "only the first of %zu images is used", json_array_size(v));
        first = json_array_get(v, 0);
    }
    if (first == NULL || json_is_null(first) ||
        (json_is_string(first) && json_string_length(first) == 0))
        return CN_OK;
    snprintf(at, sizeof(at), "%s/0", where);
    return cn_read_image(r, first, json_is_array(v) ? at : where, &r->spec->init_image, e);
}

static int read_mask(struct cn_reader *r, const json_t *v, const char *where, void *target,
                     const struct cn_enum *e)
{
    (void)target;
    if (json_is_string(v) && json_string_length(v) == 0)
        return CN_OK;
    return cn_read_image(r, v, where, &r->spec->mask, e);
}

static int read_both_blurs(struct cn_reader *r, const json_t *v, const char *where, void *target,
                           const struct cn_enum *e)
{
    struct request *a = target;

    if (cn_read_real(r, v, where, &a->blur_x, e) < 0)
        return r->err->code;
    a->blur = a->blur_x;
    return CN_OK;
}

static int refuse_true(struct cn_reader *r, const json_t *v, const char *where, void *target,
                       const struct cn_enum *e)
{
    bool on = false;

    (void)target;
    if (cn_read_bool(r, v, where, &on, e) < 0)
        return r->err->code;
    return on ? cn_fail_at(r->err, CN_EINVAL, where, "it is not supported") : CN_OK;
}

/* ---- the tables ---- */

#define IN_SPEC(field) offsetof(struct cn_spec, field)

#define IN(field) offsetof(struct request, field)

/* Of the description. */
static int read_prompt(struct cn_reader *r, const json_t *v, const char *where, void *target,
                       const struct cn_enum *e)
{
    (void)target;
    return cn_read_text(r, v, where, &r->spec->prompt, e);
}

static int read_negative(struct cn_reader *r, const json_t *v, const char *where, void *target,
                         const struct cn_enum *e)
{
    (void)target;
    return cn_read_text(r, v, where, &r->spec->negative_prompt, e);
}

static int read_steps(struct cn_reader *r, const json_t *v, const char *where, void *target,
                      const struct cn_enum *e)
{
    (void)target;
    return cn_read_int(r, v, where, &r->spec->steps, e);
}

static int read_cfg(struct cn_reader *r, const json_t *v, const char *where, void *target,
                    const struct cn_enum *e)
{
    (void)target;
    return cn_read_real(r, v, where, &r->spec->guidance_scale, e);
}

static int read_variation(struct cn_reader *r, const json_t *v, const char *where, void *target,
                          const struct cn_enum *e)
{
    (void)target;
    return cn_read_real(r, v, where, &r->spec->subseed_strength, e);
}

static int read_eta(struct cn_reader *r, const json_t *v, const char *where, void *target,
                    const struct cn_enum *e)
{
    (void)target;
    return cn_read_real(r, v, where, &r->spec->eta, e);
}

#define COMMON                                                                                     \
    {"prompt", read_prompt, 0, NULL}, {"negative_prompt", read_negative, 0, NULL},                 \
        {"seed", cn_read_real, IN(seed), NULL}, {"steps", read_steps, 0, NULL},                    \
        {"cfg_scale", read_cfg, 0, NULL}, {"width", cn_read_int, IN(width), NULL},                 \
        {"height", cn_read_int, IN(height), NULL},                                                 \
        {"sampler_name", cn_read_text, IN(sampler), NULL},                                         \
        {"sampler_index", cn_read_text, IN(sampler_index), NULL},                                  \
        {"scheduler", cn_read_text, IN(schedule), NULL},                                           \
        {"batch_size", cn_read_int, IN(batch_size), NULL},                                         \
        {"n_iter", cn_read_int, IN(n_iter), NULL},                                                 \
        {"denoising_strength", cn_read_real, IN(denoise), NULL}, {"eta", read_eta, 0, NULL},       \
        {"subseed_strength", read_variation, 0, NULL},                                             \
        {"send_images", cn_read_bool, IN(send_images), NULL},                                      \
        {"force_task_id", cn_read_text, IN(task), NULL},                                           \
        {"script_name", cn_read_text, IN(script), NULL},                                           \
        {"override_settings", cn_a1111_read_overrides, 0, NULL},                                   \
        {"alwayson_scripts", cn_read_alwayson_scripts, 0, NULL}, {"tiling", refuse_true, 0, NULL}, \
        {"subseed", cn_read_real, IN(subseed), NULL}, {"script_args", cn_read_nothing, 0, NULL},   \
        {"save_images", cn_read_unused, 0, NULL}, {"styles", cn_read_unused, 0, NULL},             \
        {"restore_faces", cn_read_unused, 0, NULL},                                                \
        {"seed_resize_from_h", cn_read_int, IN(seed_height), NULL},                                \
        {"seed_resize_from_w", cn_read_int, IN(seed_width), NULL},                                 \
        {"do_not_save_samples", cn_read_nothing, 0, NULL},                                         \
        {"do_not_save_grid", cn_read_nothing, 0, NULL}, {"s_min_uncond", cn_read_unused, 0, NULL}, \
        {"s_churn", cn_read_unused, 0, NULL}, {"s_tmax", cn_read_unused, 0, NULL},                 \
        {"s_tmin", cn_read_unused, 0, NULL}, {"s_noise", cn_read_unused, 0, NULL},                 \
        {"override_settings_restore_afterwards", cn_read_nothing, 0, NULL},                        \
        {"refiner_checkpoint", cn_read_unused, 0, NULL},                                           \
        {"refiner_switch_at", cn_read_nothing, 0, NULL},                                           \
        {"disable_extra_networks", cn_read_unused, 0, NULL},                                       \
        {"comments", cn_read_nothing, 0, NULL},                                                    \
    {                                                                                              \
        "infotext", cn_read_unused, 0, NULL                                                        \
    }

static const struct cn_member txt2img_members[] = {
    COMMON,
    {"enable_hr", cn_read_bool, IN(hr.on), NULL},
    {"hr_scale", cn_read_real, IN(hr.scale), NULL},
    {"hr_upscaler", cn_read_text, IN(hr.upscaler), NULL},
    {"hr_second_pass_steps", cn_read_int, IN(hr.steps), NULL},
    {"hr_resize_x", cn_read_int, IN(hr.width), NULL},
    {"hr_resize_y", cn_read_int, IN(hr.height), NULL},
    {"hr_sampler_name", cn_read_text, IN(hr.sampler), NULL},
    {"hr_scheduler", cn_read_text, IN(hr.schedule), NULL},
    {"hr_prompt", cn_read_text, IN(hr.prompt), NULL},
    {"hr_negative_prompt", cn_read_text, IN(hr.negative_prompt), NULL},
    {"hr_checkpoint_name", cn_read_unused, 0, NULL},
    {"firstphase_width", cn_read_unused, 0, NULL},
    {"firstphase_height", cn_read_unused, 0, NULL},
    {"firstpass_image", cn_read_unused, 0, NULL},
};

static const struct cn_member img2img_members[] = {
    COMMON,
    {"init_images", read_init_images, 0, NULL},
    {"mask", read_mask, 0, NULL},
    {"resize_mode", cn_read_int, IN(resize), NULL},
    {"mask_blur", read_both_blurs, 0, NULL},
    {"mask_blur_x", cn_read_real, IN(blur_x), NULL},
    {"mask_blur_y", cn_read_real, IN(blur_y), NULL},
    {"inpainting_fill", cn_read_int, IN(fill), NULL},
    {"inpaint_full_res", cn_read_bool, IN(only_masked), NULL},
    {"inpaint_full_res_padding", cn_read_int, IN(padding), NULL},
    {"inpainting_mask_invert", cn_read_int, IN(invert), NULL},
    {"include_init_images", cn_read_unused, 0, NULL},
    {"image_cfg_scale", cn_read_unused, 0, NULL},
    {"mask_round", cn_read_nothing, 0, NULL},
    {"initial_noise_multiplier", cn_read_unused, 0, NULL},
    {"latent_mask", cn_read_unused, 0, NULL},
};

/* ---- from the members to the description ---- */

/* A negative one is drawn. */
static int set_seed(struct cn_reader *r, double seed, const char *where, uint64_t *ret, bool *has)
{
    if (seed != floor(seed))
        return cn_fail_at(r->err, CN_EINVAL, where, "expected an integer, got %g", seed);
    if (seed >= 9007199254740992.0) /* from there on a double may be another number's neighbour */
        return cn_fail_at(r->err, CN_EINVAL, where, "must be an integer below 2^53");
    *has = seed >= 0;
    *ret = *has ? (uint64_t)seed : 0;
    return CN_OK;
}

static int set_seeds(struct cn_reader *r, const struct request *a)
{
    struct cn_spec *s = r->spec;

    if (a->seed_width >= 8 && a->seed_height >= 8) { /* one alone means nothing */
        s->seed_width = a->seed_width;
        s->seed_height = a->seed_height;
    }
    if (set_seed(r, a->subseed, "/subseed", &s->subseed, &s->has_subseed) < 0)
        return r->err->code;
    return set_seed(r, a->seed, "/seed", &s->seed, &s->has_seed);
}

static int set_sampler(struct cn_reader *r, const char *name, const char *schedule,
                       const char *where, int *ret_sampler, int *ret_schedule,
                       enum cn_spacing *ret_spacing)
{
    const struct cn_a1111_schedule *chosen;
    const struct cn_a1111_sampler *s = cn_a1111_sampler_find(name, &chosen);

    if (s == NULL)
        return cn_fail_at(r->err, CN_ENOTFOUND, where,
                          "Sampler not found: there is no \"%.60s\", see GET /sdapi/v1/samplers",
                          name);
    if (chosen == NULL && schedule[0] != '\0' &&
        (chosen = cn_a1111_schedule_find(schedule)) == NULL)
        return cn_fail_at(r->err, CN_ENOTFOUND, "/scheduler",
                          "there is no \"%.60s\": see GET /sdapi/v1/schedulers", schedule);
    *ret_sampler = s->sampler;
    *ret_schedule = s->preset;
    *ret_spacing = s->spacing;
    if (chosen != NULL && chosen->schedule != CN_SCHEDULE_DEFAULT && s->spacing != CN_LEADING) {
        *ret_schedule = chosen->schedule;
        *ret_spacing = CN_SPACING_MODEL;
    }
    return CN_OK;
}

static int set_count(struct cn_reader *r, const struct request *a)
{
    if (a->batch_size < 1 || a->batch_size > CN_MAX_IMAGES)
        return cn_fail_at(r->err, CN_EINVAL, "/batch_size", "%d is out of range", a->batch_size);
    if (a->n_iter < 1 || a->n_iter > CN_MAX_IMAGES)
        return cn_fail_at(r->err, CN_EINVAL, "/n_iter", "%d is out of range", a->n_iter);
    r->spec->n = a->batch_size * a->n_iter;
    if (r->spec->n > r->in->limits->max_n)
        return cn_fail_at(r->err, CN_EINVAL, "/n_iter", "%d images: at most %d are accepted",
                          r->spec->n, r->in->limits->max_n);
    return CN_OK;
}

/* What both forms have. */
static int finish(struct cn_reader *r, struct request *a)
{
    struct cn_spec *s = r->spec;
    const char *sampler = a->sampler[0] != '\0' ? a->sampler : a->sampler_index;
    int chosen = 0, schedule = 0;

    if (a->script[0] != '\0' && strcasecmp(a->script, "none") != 0)
        return cn_fail_at(r->err, CN_EINVAL, "/script_name", "Script '%.60s' not found", a->script);
    if (set_seeds(r, a) < 0 || set_count(r, a) < 0 ||
        set_sampler(r, sampler[0] != '\0' ? sampler : "Euler", a->schedule,
                    a->sampler[0] != '\0' ? "/sampler_name" : "/sampler_index", &chosen, &schedule,
                    &s->spacing) < 0)
        return r->err->code;
    s->sampler = (enum cn_sampler)chosen;
    s->schedule = (enum cn_schedule)schedule;
    s->width = a->width;
    s->height = a->height;
    if (s->eta > 0 && s->sampler != CN_DDIM && s->sampler != CN_TCD)
        s->eta = 0; /* of ancestral samplers there, 1 */
    if (strlen(a->task) >= sizeof(r->in->beside->task))
        return cn_fail_at(r->err, CN_EINVAL, "/force_task_id",
                          "%zu bytes: at most %zu are accepted", strlen(a->task),
                          sizeof(r->in->beside->task) - 1);
    r->in->beside->no_images = !a->send_images;
    snprintf(r->in->beside->task, sizeof(r->in->beside->task), "%s", a->task);
    return cn_a1111_finish_units(r);
}

static char *text_or_same(const char *text)
{
    return text[0] == '\0' ? NULL : cn_xstrdup(text);
}

static int set_hires(struct cn_reader *r, struct request *a)
{
    struct cn_spec_hires *h = &r->spec->hires;
    int upscaler = cn_a1111_upscaler_find(a->hr.upscaler);
    enum cn_spacing spacing;

    if (!a->hr.on)
        return CN_OK;
    h->on = true;
    h->strength = a->denoise;
    h->steps = a->hr.steps;
    h->width = a->hr.width;
    h->height = a->hr.height;
    if (h->width == 0 && h->height == 0)
        h->scale = a->hr.scale;
    else if (h->width == 0) /* one side: the other keeps the picture's form */
        h->width = (int)lround((double)h->height * a->width / a->height / 8) * 8;
    else if (h->height == 0)
        h->height = (int)lround((double)h->width * a->height / a->width / 8) * 8;
    if (upscaler < 0)
        return cn_fail_at(r->err, CN_ENOTFOUND, "/hr_upscaler",
                          "could not find upscaler named %.60s", a->hr.upscaler);
    h->upscaler = (enum cn_upscaler)upscaler;
    if (a->hr.sampler[0] != '\0' && strcasecmp(a->hr.sampler, "Use same sampler") != 0 &&
        set_sampler(r, a->hr.sampler, a->hr.schedule, "/hr_sampler_name", &h->sampler, &h->schedule,
                    &spacing) < 0)
        return r->err->code;
    h->prompt = text_or_same(a->hr.prompt);
    h->negative_prompt = text_or_same(a->hr.negative_prompt);
    return CN_OK;
}

static int set_img2img(struct cn_reader *r, const struct request *a)
{
    static const enum cn_resize modes[] = {CN_STRETCH, CN_CROP, CN_PAD, CN_STRETCH};
    static const enum cn_mask_fill fills[] = {CN_FILL_AROUND, CN_FILL_ORIGINAL, CN_FILL_NOISE,
                                              CN_FILL_NOTHING};
    struct cn_spec *s = r->spec;

    if (s->init_image.len == 0)
        return cn_fail(r->err, CN_ENOTFOUND, "Init image not found");
    if (a->resize < 0 || a->resize >= (int)CN_LEN(modes))
        return cn_fail_at(r->err, CN_EINVAL, "/resize_mode", "expected 0, 1, 2 or 3");
    if (a->resize == 3)
        cn_reader_warn(r, "/resize_mode", "the picture is stretched, not its latent (0)");
    s->resize = modes[a->resize];
    s->picture_rules = CN_MAP_A1111;
    s->denoise = a->denoise;
    if (s->mask.len == 0)
        return CN_OK;
    s->mask_alpha = CN_MASK_OPAQUE;
    s->mask_invert = a->invert != 0;
    s->mask_blur = a->blur >= 0 ? a->blur : a->blur_x;
    if (a->blur < 0 && a->blur_x != a->blur_y)
        cn_reader_warn(r, "/mask_blur_y", "both directions are blurred alike, by mask_blur_x");
    if (a->fill < 0 || a->fill >= (int)CN_LEN(fills))
        return cn_fail_at(r->err, CN_EINVAL, "/inpainting_fill", "expected 0, 1, 2 or 3");
    s->mask_fill = fills[a->fill];
    s->mask_only = a->only_masked;
    s->mask_padding = CN_MAX(a->padding, 0);
    return CN_OK;
}

/* ---- the requests ---- */

static void init(struct cn_reader *r, struct request *a)
{
    *a = (struct request){.seed = -1,
                          .subseed = -1,
                          .batch_size = 1,
                          .n_iter = 1,
                          .width = 512,
                          .height = 512,
                          .denoise = 0.75,
                          .send_images = true,
                          .only_masked = true,
                          .blur = -1,
                          .blur_x = 4,
                          .blur_y = 4};
    a->hr.scale = 2;
    char **const texts[] = {&a->sampler,   &a->sampler_index,     &a->schedule,   &a->task,
                            &a->script,    &a->hr.upscaler,       &a->hr.sampler, &a->hr.schedule,
                            &a->hr.prompt, &a->hr.negative_prompt};
    for (size_t i = 0; i < CN_LEN(texts); i++)
        *texts[i] = cn_xstrdup("");
    r->is_loose = true;
    r->spec->prompt_syntax = CN_PROMPT_A1111;
    r->spec->steps = 50;
    r->spec->guidance_scale = 7;
    r->spec->has_guidance = true;
    r->spec->rng = CN_RNG_CUDA;
    r->spec->preview_every = PREVIEW_EVERY;
}

static void release(struct request *a)
{
    char *const texts[] = {a->sampler,   a->sampler_index,     a->schedule,   a->task,
                           a->script,    a->hr.upscaler,       a->hr.sampler, a->hr.schedule,
                           a->hr.prompt, a->hr.negative_prompt};

    for (size_t i = 0; i < CN_LEN(texts); i++)
        free(texts[i]);
}

static int echo(struct cn_reader *r, const json_t *root, const char *own)
{
    struct cn_buf b;

    cn_buf_init(&b, 1 << 16);
    cn_buf_printf(&b, NULL, "%s%s%s", preset, own, preset_end);
    r->in->beside->echo = cn_a1111_echo(r, (const char *)b.data, root);
    cn_buf_release(&b);
    return r->in->beside->echo != NULL ? CN_OK
                                       : cn_fail(r->err, CN_ENOMEM, "no memory for the request");
}

static int read_txt2img(struct cn_reader *r, const json_t *root)
{
    struct request a;
    int rc;

    init(r, &a);
    rc = cn_read_members(r, root, txt2img_members, CN_LEN(txt2img_members), "", &a);
    if (rc == CN_OK && (rc = finish(r, &a)) == CN_OK && (rc = set_hires(r, &a)) == CN_OK &&
        (rc = echo(r, root, preset_txt2img)) == CN_OK)
        rc = cn_spec_check(r->spec, r->in->limits, r->err);
    release(&a);
    return rc;
}

static int read_img2img(struct cn_reader *r, const json_t *root)
{
    struct request a;
    int rc;

    init(r, &a);
    rc = cn_read_members(r, root, img2img_members, CN_LEN(img2img_members), "", &a);
    if (rc == CN_OK && (rc = set_img2img(r, &a)) == CN_OK && (rc = finish(r, &a)) == CN_OK &&
        (rc = echo(r, root, preset_img2img)) == CN_OK)
        rc = cn_spec_check(r->spec, r->in->limits, r->err);
    release(&a);
    return rc;
}

int cn_api_read_txt2img(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err)
{
    return cn_reader_run(in, read_txt2img, ret, err);
}

int cn_api_read_img2img(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err)
{
    return cn_reader_run(in, read_img2img, ret, err);
}
