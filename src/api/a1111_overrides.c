/* Settings of the web UI that a request overrides, and that POST /sdapi/v1/options keeps
 * (modules/shared_options.py): those that mean something here. */
#include "base/base.h"
#include "api/a1111.h"
#include "api/a1111_priv.h"

#include <string.h>
#include <strings.h>

#define IN_SPEC(field) offsetof(struct cn_spec, field)

static int read_checkpoint(struct cn_reader *r, const json_t *v, const char *where, void *target,
                           const struct cn_enum *e)
{
    if (json_is_string(v) && json_string_length(v) == 0)
        return CN_OK;
    if (cn_read_text(r, v, where, target, e) < 0)
        return r->err->code;
    cn_a1111_strip_hash(*(char **)target);
    return CN_OK;
}

/* "Automatic" is kept until the settings have been asked: it is not the same as nothing. */
static int read_vae(struct cn_reader *r, const json_t *v, const char *where, void *target,
                    const struct cn_enum *e)
{
    return json_is_string(v) && json_string_length(v) == 0 ? CN_OK
                                                           : cn_read_text(r, v, where, target, e);
}

static int read_samples_format(struct cn_reader *r, const json_t *v, const char *where,
                               void *target, const struct cn_enum *e)
{
    static const struct {
        const char *name;
        enum cn_format format;
    } names[] = {{"png", CN_PNG}, {"jpg", CN_JPEG}, {"jpeg", CN_JPEG}, {"webp", CN_WEBP}};
    const char *name = json_string_value(v);

    (void)target;
    (void)e;
    for (size_t i = 0; name != NULL && i < CN_LEN(names); i++)
        if (strcasecmp(names[i].name, name) == 0) {
            r->spec->format = names[i].format;
            r->in->beside->has_format = true;
            return CN_OK;
        }
    return cn_fail_at(r->err, CN_EINVAL, where, "expected \"png\", \"jpg\" or \"webp\"");
}

/* Whose random numbers: those of a CUDA device are the same on all of them. */
static int read_randn_source(struct cn_reader *r, const json_t *v, const char *where, void *target,
                             const struct cn_enum *e)
{
    const char *name = json_string_value(v);

    (void)target;
    (void)e;
    if (name == NULL || (strcasecmp(name, "CPU") != 0 && strcasecmp(name, "GPU") != 0 &&
                         strcasecmp(name, "NV") != 0))
        return cn_fail_at(r->err, CN_EINVAL, where, "expected \"GPU\", \"CPU\" or \"NV\"");
    r->spec->rng = strcasecmp(name, "CPU") == 0 ? CN_RNG_CPU : CN_RNG_CUDA;
    r->in->beside->has_rng = true;
    return CN_OK;
}

static int read_quality(struct cn_reader *r, const json_t *v, const char *where, void *target,
                        const struct cn_enum *e)
{
    (void)target;
    r->in->beside->has_quality = true;
    return cn_read_int(r, v, where, &r->spec->quality, e);
}

static const struct cn_member overrides[] = {
    {"sd_model_checkpoint", read_checkpoint, IN_SPEC(model), NULL},
    {"sd_vae", read_vae, IN_SPEC(vae), NULL},
    {"CLIP_stop_at_last_layers", cn_read_int, IN_SPEC(clip_skip), NULL},
    {"sdxl_crop_left", cn_read_int, IN_SPEC(sizes.crop_left), NULL},
    {"sdxl_crop_top", cn_read_int, IN_SPEC(sizes.crop_top), NULL},
    {"samples_format", read_samples_format, 0, NULL},
    {"jpeg_quality", read_quality, 0, NULL},
    {"randn_source", read_randn_source, 0, NULL},
};

int cn_a1111_read_overrides(struct cn_reader *r, const json_t *v, const char *where, void *target,
                            const struct cn_enum *e)
{
    (void)target;
    (void)e;
    if (!json_is_object(v))
        return json_is_array(v) && json_array_size(v) == 0
                   ? CN_OK
                   : cn_read_wrong_type(r, v, where, "an object");
    return cn_read_members(r, v, overrides, CN_LEN(overrides), where, r->spec);
}

/* All of them may be sent back: those without a meaning here are nobody's warning. They are held
 * against their ranges here, for they join requests that were checked before. */
static int read_settings(struct cn_reader *r, const json_t *root)
{
    static const struct cn_limits limits = CN_LIMITS_DEFAULTS;
    struct cn_warnings *w = &r->in->beside->warnings;
    int rc;

    r->is_loose = true;
    rc = cn_read_members(r, root, overrides, CN_LEN(overrides), "", r->spec);
    cn_warnings_release(w);
    return rc == CN_OK ? cn_spec_check(r->spec, &limits, r->err) : rc;
}

int cn_api_read_overrides(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err)
{
    return cn_reader_run(in, read_settings, ret, err);
}
