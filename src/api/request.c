/* The native dialect's request, as tables of members. */
#include "base/base.h"
#include "api/reader_priv.h"
#include "api/request.h"
#include "base/mem.h"
#include "base/picture_head.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Its absence means the model's own value, which a number in the description cannot say. */
static int read_guidance(struct cn_reader *r, const json_t *v, const char *where, void *target,
                         const struct cn_enum *e)
{
    (void)target;
    r->spec->has_guidance = true;
    return cn_read_real(r, v, where, &r->spec->guidance_scale, e);
}

static int read_seed(struct cn_reader *r, const json_t *v, const char *where, void *target,
                     const struct cn_enum *e)
{
    (void)target;
    (void)e;
    if (!json_is_number(v) || json_number_value(v) != floor(json_number_value(v)))
        return cn_read_wrong_type(r, v, where, "an integer");
    if (json_number_value(v) < 0)
        return cn_fail_at(r->err, CN_EINVAL, where,
                          "%.0f is negative: leave the seed out to have one drawn",
                          json_number_value(v));
    if (json_is_integer(v))
        r->spec->seed = (uint64_t)json_integer_value(v);
    else if (json_real_value(v) <= 9007199254740992.0) /* what a double tells exactly */
        r->spec->seed = (uint64_t)json_real_value(v);
    else
        return cn_fail_at(r->err, CN_EINVAL, where, "must be an integer between 0 and 2^63-1");
    r->spec->has_seed = true;
    return CN_OK;
}

/* As a seed is. */
static int read_subseed(struct cn_reader *r, const json_t *v, const char *where, void *target,
                        const struct cn_enum *e)
{
    struct cn_spec *s = r->spec;
    uint64_t seed = s->seed;
    bool had = s->has_seed;
    int rc = read_seed(r, v, where, target, e);

    if (rc == CN_OK) {
        s->subseed = s->seed;
        s->has_subseed = true;
    }
    s->seed = seed;
    s->has_seed = had;
    return rc;
}

/* ---- controls ---- */

static int read_weights(struct cn_reader *r, const json_t *v, const char *where, void *target,
                        const struct cn_enum *e)
{
    static const char expected[] = "\"uniform\", \"soft\", \"resolution\" or a list of numbers, "
                                   "one for each level (13 in SD 1.5)";
    struct cn_spec_control *c = target;
    const char *word = json_string_value(v);
    char at[96];

    (void)e;
    if (word != NULL) {
        int i = cn_enum_find(&cn_enum_weights, word);

        if (i < 0 || i == CN_W_CUSTOM)
            return cn_fail_at(r->err, CN_EINVAL, where,
                              "there are no weights \"%.60s\": expected %s", word, expected);
        c->weights = (enum cn_weighting)i;
        return CN_OK;
    }
    if (!json_is_array(v))
        return cn_read_wrong_type(r, v, where, expected);
    if (json_array_size(v) == 0 || json_array_size(v) > CN_CONTROL_LEVELS)
        return cn_fail_at(r->err, CN_EINVAL, where, "%zu numbers: expected 1 to %d",
                          json_array_size(v), CN_CONTROL_LEVELS);
    c->weights = CN_W_CUSTOM;
    c->n_weights = (int)json_array_size(v);
    for (size_t i = 0; i < json_array_size(v); i++) {
        snprintf(at, sizeof(at), "%s/%zu", where, i);
        if (cn_read_real(r, json_array_get(v, i), at, &c->weight[i], NULL) < 0)
            return r->err->code;
    }
    return CN_OK;
}

/* The names are the annotator's own, which only the worker's list knows. */
static int read_params(struct cn_reader *r, const json_t *v, const char *where, void *target,
                       const struct cn_enum *e)
{
    struct cn_spec_control *c = target;
    const char *name;
    json_t *value;
    char at[96];

    (void)e;
    if (!json_is_object(v))
        return cn_read_wrong_type(r, v, where, "an object of numbers");
    json_object_foreach((json_t *)v, name, value)
    {
        struct cn_annotator_value *p = &c->param[c->n_params];

        snprintf(at, sizeof(at), "%s/%.*s", where, CN_PARAM_NAME, name);
        if (json_is_null(value))
            continue;
        if (c->n_params == CN_MAX_ANNOTATOR_PARAMS || strlen(name) >= sizeof(p->name))
            return cn_fail_at(r->err, CN_EINVAL, at, "no annotator has such a parameter");
        if (cn_read_real(r, value, at, &p->value, NULL) < 0)
            return r->err->code;
        snprintf(p->name, sizeof(p->name), "%s", name);
        c->n_params++;
    }
    return CN_OK;
}

static int read_resolution(struct cn_reader *r, const json_t *v, const char *where, void *target,
                           const struct cn_enum *e)
{
    (void)e;
    if (json_is_string(v) && strcmp(json_string_value(v), "pixel_perfect") == 0) {
        *(int *)target = CN_RESOLUTION_PIXEL_PERFECT;
        return CN_OK;
    }
    if (!json_is_number(v))
        return cn_read_wrong_type(r, v, where, "a number of pixels or \"pixel_perfect\"");
    if (json_number_value(v) < 0)
        return cn_fail_at(r->err, CN_EINVAL, where, "%g is out of range", json_number_value(v));
    return cn_read_int(r, v, where, target, NULL);
}

#define IN_CONTROL(field) offsetof(struct cn_spec_control, field)

static const struct cn_member control_members[] = {
    {"model", cn_read_text, IN_CONTROL(model), NULL},
    {"image", cn_read_image, IN_CONTROL(image), NULL},
    {"annotator", cn_read_text, IN_CONTROL(annotator), NULL},
    {"strength", cn_read_real, IN_CONTROL(strength), NULL},
    {"start", cn_read_real, IN_CONTROL(start), NULL},
    {"end", cn_read_real, IN_CONTROL(end), NULL},
    {"branch", cn_read_enum, IN_CONTROL(branch), &cn_enum_branch},
    {"weights", read_weights, 0, NULL},
    {"resize", cn_read_enum, IN_CONTROL(resize), &cn_enum_resize},
    {"params", read_params, 0, NULL},
    {"mask", cn_read_image, IN_CONTROL(mask), NULL},
    {"resolution", read_resolution, IN_CONTROL(resolution), NULL},
    {"rules", cn_read_enum, IN_CONTROL(rules), &cn_enum_map_rules},
    {"return_map", cn_read_bool, IN_CONTROL(return_map), NULL},
    {"passes", cn_read_enum, IN_CONTROL(passes), &cn_enum_passes},
};

int cn_read_controls(struct cn_reader *r, const json_t *v, const char *where, void *target,
                     const struct cn_enum *e)
{
    char at[48];

    (void)target;
    (void)e;
    if (!json_is_array(v))
        return cn_read_wrong_type(r, v, where, "a list");
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *item = json_array_get(v, i);
        struct cn_spec_control *c;

        snprintf(at, sizeof(at), "%s/%zu", where, i);
        if (!json_is_object(item))
            return cn_read_wrong_type(r, item, at, "an object");
        c = cn_spec_add_control(r->spec);
        if (c == NULL)
            return cn_fail_at(r->err, CN_EINVAL, where, "%zu controls: at most %d are accepted",
                              json_array_size(v), r->in->limits->max_controls);
        if (cn_read_members(r, item, control_members, CN_LEN(control_members), at, c) < 0)
            return r->err->code;
    }
    return CN_OK;
}

/* ---- sizes that a model is told ---- */

static int read_pair(struct cn_reader *r, const json_t *v, const char *where,
                     const struct cn_member m[2], bool both)
{
    if (!json_is_object(v))
        return cn_read_wrong_type(r, v, where, "an object");
    for (int i = 0; i < 2 && both; i++)
        if (!json_is_number(json_object_get(v, m[i].name)))
            return cn_fail_at(r->err, CN_EINVAL, where, "\"%s\" and \"%s\" come together",
                              m[0].name, m[1].name);
    return cn_read_members(r, v, m, 2, where, &r->spec->sizes);
}

#define IN_SIZES(field) offsetof(struct cn_spec_sizes, field)

static int read_original_size(struct cn_reader *r, const json_t *v, const char *where,
                              void *target, const struct cn_enum *e)
{
    static const struct cn_member m[] = {{"width", cn_read_int, IN_SIZES(original_width), NULL},
                                         {"height", cn_read_int, IN_SIZES(original_height), NULL}};

    (void)target;
    (void)e;
    return read_pair(r, v, where, m, true);
}

static int read_crop(struct cn_reader *r, const json_t *v, const char *where, void *target,
                     const struct cn_enum *e)
{
    static const struct cn_member m[] = {{"left", cn_read_int, IN_SIZES(crop_left), NULL},
                                         {"top", cn_read_int, IN_SIZES(crop_top), NULL}};

    (void)target;
    (void)e;
    return read_pair(r, v, where, m, false);
}

static int read_target_size(struct cn_reader *r, const json_t *v, const char *where, void *target,
                            const struct cn_enum *e)
{
    static const struct cn_member m[] = {{"width", cn_read_int, IN_SIZES(target_width), NULL},
                                         {"height", cn_read_int, IN_SIZES(target_height), NULL}};

    (void)target;
    (void)e;
    return read_pair(r, v, where, m, true);
}

/* ---- the second pass ---- */

/* ---- adapters ---- */

static int read_text_strength(struct cn_reader *r, const json_t *v, const char *where,
                              void *target, const struct cn_enum *e)
{
    struct cn_spec_adapter *a = target;

    a->has_text = true;
    return cn_read_real(r, v, where, &a->text_strength, e);
}

static int read_block_weights(struct cn_reader *r, const json_t *v, const char *where,
                              void *target, const struct cn_enum *e)
{
    struct cn_spec_adapter *a = target;
    char at[96];

    (void)e;
    if (!json_is_array(v))
        return cn_read_wrong_type(r, v, where, "a list of 12, 17, 20 or 26 numbers");
    if (json_array_size(v) > CN_BLOCK_WEIGHTS ||
        !cn_spec_block_count_ok((int)json_array_size(v)))
        return cn_fail_at(r->err, CN_EINVAL, where, "%zu numbers: 12, 17, 20 or 26 are accepted",
                          json_array_size(v));
    a->n_blocks = (int)json_array_size(v);
    for (int i = 0; i < a->n_blocks; i++) {
        snprintf(at, sizeof(at), "%s/%d", where, i);
        if (cn_read_real(r, json_array_get(v, (size_t)i), at, &a->block[i], NULL) < 0)
            return r->err->code;
    }
    return CN_OK;
}

#define IN_ADAPTER(field) offsetof(struct cn_spec_adapter, field)

static const struct cn_member adapter_members[] = {
    {"name", cn_read_text, IN_ADAPTER(name), NULL},
    {"strength", cn_read_real, IN_ADAPTER(strength), NULL},
    {"text_strength", read_text_strength, 0, NULL},
    {"block_weights", read_block_weights, 0, NULL},
};

static int read_adapters(struct cn_reader *r, const json_t *v, const char *where, void *target,
                         const struct cn_enum *e)
{
    char at[48];

    (void)target;
    (void)e;
    if (!json_is_array(v))
        return cn_read_wrong_type(r, v, where, "a list");
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *item = json_array_get(v, i);
        struct cn_spec_adapter *a;

        snprintf(at, sizeof(at), "%s/%zu", where, i);
        if (!json_is_object(item))
            return cn_read_wrong_type(r, item, at, "an object");
        a = cn_spec_add_adapter(r->spec);
        if (a == NULL)
            return cn_fail_at(r->err, CN_EINVAL, where, "%zu adapters: at most %d are accepted",
                              json_array_size(v), CN_MAX_ADAPTERS);
        if (cn_read_members(r, item, adapter_members, CN_LEN(adapter_members), at, a) < 0)
            return r->err->code;
    }
    return CN_OK;
}

/* ---- the second pass ---- */

#define IN_HIRES(field) offsetof(struct cn_spec_hires, field)

static const struct cn_member hires_members[] = {
    {"scale", cn_read_real, IN_HIRES(scale), NULL},
    {"width", cn_read_int, IN_HIRES(width), NULL},
    {"height", cn_read_int, IN_HIRES(height), NULL},
    {"steps", cn_read_int, IN_HIRES(steps), NULL},
    {"strength", cn_read_real, IN_HIRES(strength), NULL},
    {"upscaler", cn_read_enum, IN_HIRES(upscaler), &cn_enum_upscaler},
    {"sampler", cn_read_enum, IN_HIRES(sampler), &cn_enum_sampler},
    {"schedule", cn_read_enum, IN_HIRES(schedule), &cn_enum_schedule},
    {"prompt", cn_read_text, IN_HIRES(prompt), NULL},
    {"negative_prompt", cn_read_text, IN_HIRES(negative_prompt), NULL},
    {"guidance_scale", cn_read_real, IN_HIRES(guidance_scale), NULL},
};

static int read_hires(struct cn_reader *r, const json_t *v, const char *where, void *target,
                      const struct cn_enum *e)
{
    struct cn_spec_hires *h = target;

    (void)e;
    if (!json_is_object(v))
        return cn_read_wrong_type(r, v, where, "an object");
    h->on = true;
    if (cn_read_members(r, v, hires_members, CN_LEN(hires_members), where, h) < 0)
        return r->err->code;
    h->has_guidance = json_is_number(json_object_get(v, "guidance_scale"));
    if ((h->width != 0 || h->height != 0) && json_is_number(json_object_get(v, "scale")))
        return cn_fail_at(r->err, CN_EINVAL, "/hires/scale",
                          "\"width\" and \"height\" come together, or \"scale\" alone");
    return CN_OK;
}

/* ---- the webhook ---- */

static const struct cn_member webhook_members[] = {
    {"url", cn_read_text, offsetof(struct cn_api_webhook, url), NULL},
    {"context", cn_read_text, offsetof(struct cn_api_webhook, context), NULL},
};

/* It is no part of what is drawn: it goes beside the description. */
static int read_webhook(struct cn_reader *r, const json_t *v, const char *where, void *target,
                        const struct cn_enum *e)
{
    struct cn_api_webhook *w;

    (void)target;
    (void)e;
    if (!r->takes_webhook)
        return cn_fail_at(r->err, CN_EINVAL, where,
                          "only jobs of POST /v1/jobs have one: here the answer tells the end");
    w = &r->in->beside->webhook;
    if (!json_is_object(v))
        return cn_read_wrong_type(r, v, where, "an object");
    if (cn_read_members(r, v, webhook_members, CN_LEN(webhook_members), where, w) < 0)
        return r->err->code;
    if (w->url == NULL)
        return cn_fail_at(r->err, CN_EINVAL, "/webhook/url", "it is missing");
    if (w->context != NULL && strlen(w->context) > CN_API_CONTEXT_MAX)
        return cn_fail_at(r->err, CN_ETOOBIG, "/webhook/context",
                          "%zu bytes: at most %d are accepted", strlen(w->context),
                          CN_API_CONTEXT_MAX);
    return CN_OK;
}

/* ---- the request ---- */

/* Another kind has another route, whose members are others. */
static int read_kind(struct cn_reader *r, const json_t *v, const char *where, void *target,
                     const struct cn_enum *e)
{
    int kind = CN_KIND_DRAW;

    (void)target;
    (void)e;
    if (cn_read_enum(r, v, where, &kind, &cn_enum_job_kind) < 0)
        return r->err->code;
    if (kind != CN_KIND_DRAW)
        return cn_fail_at(r->err, CN_EINVAL, where, "this route is for \"draw\" alone");
    return CN_OK;
}

#define IN_SPEC(field) offsetof(struct cn_spec, field)

static const struct cn_member spec_members[] = {
    {"kind", read_kind, 0, NULL},
    {"model", cn_read_text, IN_SPEC(model), NULL},
    {"vae", cn_read_text, IN_SPEC(vae), NULL},
    {"prompt", cn_read_text, IN_SPEC(prompt), NULL},
    {"negative_prompt", cn_read_text, IN_SPEC(negative_prompt), NULL},
    {"zero_negative", cn_read_bool, IN_SPEC(zero_negative), NULL},
    {"prompt_syntax", cn_read_enum, IN_SPEC(prompt_syntax), &cn_enum_prompt_syntax},
    {"width", cn_read_int, IN_SPEC(width), NULL},
    {"height", cn_read_int, IN_SPEC(height), NULL},
    {"original_size", read_original_size, 0, NULL},
    {"crop", read_crop, 0, NULL},
    {"target_size", read_target_size, 0, NULL},
    {"steps", cn_read_int, IN_SPEC(steps), NULL},
    {"guidance_scale", read_guidance, 0, NULL},
    {"guidance_rescale", cn_read_real, IN_SPEC(guidance_rescale), NULL},
    {"pag_scale", cn_read_real, IN_SPEC(pag_scale), NULL},
    {"pag_adaptive_scale", cn_read_real, IN_SPEC(pag_adaptive_scale), NULL},
    {"sampler", cn_read_enum, IN_SPEC(sampler), &cn_enum_sampler},
    {"schedule", cn_read_enum, IN_SPEC(schedule), &cn_enum_schedule},
    {"spacing", cn_read_enum, IN_SPEC(spacing), &cn_enum_spacing},
    {"rng", cn_read_enum, IN_SPEC(rng), &cn_enum_rng},
    {"eta", cn_read_real, IN_SPEC(eta), NULL},
    {"seed", read_seed, 0, NULL},
    {"subseed", read_subseed, 0, NULL},
    {"subseed_strength", cn_read_real, IN_SPEC(subseed_strength), NULL},
    {"seed_width", cn_read_int, IN_SPEC(seed_width), NULL},
    {"seed_height", cn_read_int, IN_SPEC(seed_height), NULL},
    {"n", cn_read_int, IN_SPEC(n), NULL},
    {"clip_skip", cn_read_int, IN_SPEC(clip_skip), NULL},
    {"init_image", cn_read_image, IN_SPEC(init_image), NULL},
    {"mask", cn_read_image, IN_SPEC(mask), NULL},
    {"depth", cn_read_image, IN_SPEC(depth), NULL},
    {"resize", cn_read_enum, IN_SPEC(resize), &cn_enum_resize},
    {"mask_alpha", cn_read_enum, IN_SPEC(mask_alpha), &cn_enum_mask_alpha},
    {"mask_invert", cn_read_bool, IN_SPEC(mask_invert), NULL},
    {"mask_blur", cn_read_real, IN_SPEC(mask_blur), NULL},
    {"mask_fill", cn_read_enum, IN_SPEC(mask_fill), &cn_enum_mask_fill},
    {"mask_only", cn_read_bool, IN_SPEC(mask_only), NULL},
    {"mask_padding", cn_read_int, IN_SPEC(mask_padding), NULL},
    {"picture_rules", cn_read_enum, IN_SPEC(picture_rules), &cn_enum_map_rules},
    {"paste_back", cn_read_bool, IN_SPEC(paste_back), NULL},
    {"denoise", cn_read_real, IN_SPEC(denoise), NULL},
    {"hires", read_hires, IN_SPEC(hires), NULL},
    {"decoder", cn_read_enum, IN_SPEC(decoder), &cn_enum_decoder},
    {"format", cn_read_enum, IN_SPEC(format), &cn_enum_format},
    {"quality", cn_read_int, IN_SPEC(quality), NULL},
    {"metadata", cn_read_bool, IN_SPEC(metadata), NULL},
    {"same_seed", cn_read_bool, IN_SPEC(same_seed), NULL},
    {"preview_every", cn_read_int, IN_SPEC(preview_every), NULL},
    {"priority", cn_read_int, IN_SPEC(priority), NULL},
    {"timeout_s", cn_read_int, IN_SPEC(timeout_s), NULL},
    {"controls", cn_read_controls, 0, NULL},
    {"adapters", read_adapters, 0, NULL},
    {"webhook", read_webhook, 0, NULL},
};

/* Parts that nobody named are a mistake, as unknown members are. */
static int check(struct cn_reader *r)
{
    for (int i = 0; i < r->in->n_parts; i++)
        if (!r->in->part[i].used)
            return cn_fail(r->err, CN_EINVAL, "part \"%.60s\" is not named by the parameters",
                           r->in->part[i].name);
    return cn_spec_check(r->spec, r->in->limits, r->err);
}

/* A picture that is to be changed says how large the result is, as far as the limits go. */
static void choose_size(struct cn_spec *s, const struct cn_limits *l)
{
    double k = 1;
    int w, h;

    if (s->init_image.len == 0 || s->width != 0 || s->height != 0 ||
        !cn_picture_size(s->init_image.data, s->init_image.len, &w, &h))
        return;
    if (l->max_side > 0)
        k = fmin(k, (double)l->max_side / CN_MAX(w, h));
    if (l->max_pixels > 0)
        k = fmin(k, sqrt((double)l->max_pixels / ((double)w * h)));
    s->width = CN_MAX((int)(w * k) / 8 * 8, 8);
    s->height = CN_MAX((int)(h * k) / 8 * 8, 8);
}

static int read_root(struct cn_reader *r, const json_t *root)
{
    if (cn_read_members(r, root, spec_members, CN_LEN(spec_members), "", r->spec) < 0)
        return r->err->code;
    /* One that is there is encoded, and only what is left out is zeros. */
    if (json_is_string(json_object_get(root, "negative_prompt")) &&
        !json_is_boolean(json_object_get(root, "zero_negative")))
        r->spec->zero_negative = false;
    choose_size(r->spec, r->in->limits);
    return check(r);
}

int cn_api_read_images(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err)
{
    return cn_reader_run(in, read_root, ret, err);
}

static int read_job(struct cn_reader *r, const json_t *root)
{
    r->takes_webhook = true;
    return read_root(r, root);
}

int cn_api_read_jobs(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err)
{
    return cn_reader_run(in, read_job, ret, err);
}

/* ---- an annotation: the members of a control, and some of the request ---- */

static const struct cn_member annotation_of_control[] = {
    {"annotator", cn_read_text, IN_CONTROL(annotator), NULL},
    {"image", cn_read_image, IN_CONTROL(image), NULL},
    {"mask", cn_read_image, IN_CONTROL(mask), NULL},
    {"params", read_params, 0, NULL},
    {"resize", cn_read_enum, IN_CONTROL(resize), &cn_enum_resize},
    {"resolution", read_resolution, IN_CONTROL(resolution), NULL},
};

static const struct cn_member annotation_of_spec[] = {
    {"width", cn_read_int, IN_SPEC(width), NULL},
    {"height", cn_read_int, IN_SPEC(height), NULL},
    {"format", cn_read_enum, IN_SPEC(format), &cn_enum_format},
    {"quality", cn_read_int, IN_SPEC(quality), NULL},
    {"priority", cn_read_int, IN_SPEC(priority), NULL},
    {"timeout_s", cn_read_int, IN_SPEC(timeout_s), NULL},
};

static bool is_of_control(const char *name)
{
    for (size_t i = 0; i < CN_LEN(annotation_of_control); i++)
        if (strcmp(annotation_of_control[i].name, name) == 0)
            return true;
    return false;
}

/* The members for the control and the others, each to their table. */
static int read_halves(struct cn_reader *r, const json_t *root, struct cn_spec_control *c)
{
    json_t *half[2] = {json_object(), json_object()}, *v;
    const char *name;
    int rc;

    json_object_foreach((json_t *)root, name, v)
        json_object_set(half[is_of_control(name) ? 0 : 1], name, v);
    rc = cn_read_members(r, half[0], annotation_of_control, CN_LEN(annotation_of_control), "", c);
    if (rc == CN_OK)
        rc = cn_read_members(r, half[1], annotation_of_spec, CN_LEN(annotation_of_spec), "",
                             r->spec);
    json_decref(half[0]);
    json_decref(half[1]);
    return rc;
}

static int read_annotation(struct cn_reader *r, const json_t *root)
{
    struct cn_spec_control *c = cn_spec_add_control(r->spec);

    r->spec->kind = CN_KIND_ANNOTATE;
    r->spec->steps = 1;
    r->spec->seed = 0; /* it draws no random numbers */
    r->spec->has_seed = true;
    free(c->annotator);
    c->annotator = cn_xstrdup("");
    if (read_halves(r, root, c) < 0)
        return r->err->code;
    if (c->annotator[0] == '\0')
        return cn_fail_at(r->err, CN_EINVAL, "/annotator", "the name of an annotator is required");
    if ((r->spec->width == 0) != (r->spec->height == 0))
        return cn_fail_at(r->err, CN_EINVAL, r->spec->width == 0 ? "/width" : "/height",
                          "\"width\" and \"height\" come together, or none of them");
    return check(r);
}

int cn_api_read_annotation(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err)
{
    return cn_reader_run(in, read_annotation, ret, err);
}
