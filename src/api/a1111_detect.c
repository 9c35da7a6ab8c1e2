/* POST /controlnet/detect: the map that a preprocessor makes of an image, as a job of its own
 * (scripts/api.py of the extension). */
#include "base/base.h"
#include "api/a1111.h"
#include "api/a1111_names.h"
#include "api/a1111_priv.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
    char *module;
    double resolution, threshold[CN_A1111_SLIDERS];
};

/* One, or a list of one. */
static int read_one(struct cn_reader *r, const json_t *v, const char *where, struct cn_blob *blob)
{
    const json_t *first = json_is_array(v) ? json_array_get(v, 0) : v;

    if (first == NULL || json_is_null(first) ||
        (json_is_string(first) && json_string_length(first) == 0))
        return CN_OK;
    if (json_is_array(v) && json_array_size(v) > 1)
        return cn_fail_at(r->err, CN_EINVAL, where, "%zu images: one at a time is taken",
                          json_array_size(v));
    return cn_read_image(r, first, where, blob, NULL);
}

static int read_images(struct cn_reader *r, const json_t *v, const char *where, void *target,
                       const struct cn_enum *e)
{
    (void)target;
    (void)e;
    return read_one(r, v, where, &r->spec->control[0].image);
}

static int read_masks(struct cn_reader *r, const json_t *v, const char *where, void *target,
                      const struct cn_enum *e)
{
    (void)target;
    (void)e;
    return read_one(r, v, where, &r->spec->control[0].mask);
}

#define IN(field) offsetof(struct request, field)

static const struct cn_member members[] = {
    {"controlnet_module", cn_read_text, IN(module), NULL},
    {"controlnet_input_images", read_images, 0, NULL},
    {"controlnet_images", read_images, 0, NULL}, /* as webuiapi calls them */
    {"controlnet_masks", read_masks, 0, NULL},
    {"controlnet_processor_res", cn_read_real, IN(resolution), NULL},
    {"controlnet_threshold_a", cn_read_real, IN(threshold[0]), NULL},
    {"controlnet_threshold_b", cn_read_real, IN(threshold[1]), NULL},
    {"low_vram", cn_read_nothing, 0, NULL},
};

static int finish(struct cn_reader *r, const struct request *a)
{
    struct cn_spec_control *c = &r->spec->control[0];

    if (c->image.len == 0)
        return cn_fail_at(r->err, CN_EINVAL, "/controlnet_input_images", "No image selected");
    return cn_a1111_set_module(r, c, a->module, "/controlnet_module", a->resolution, a->threshold);
}

static int read_root(struct cn_reader *r, const json_t *root)
{
    struct request a = {.resolution = -1, .threshold = {-1, -1}};
    struct cn_spec_control *c = cn_spec_add_control(r->spec);
    int rc;

    r->is_loose = true;
    r->spec->kind = CN_KIND_ANNOTATE;
    r->spec->steps = 1;
    r->spec->has_seed = true; /* it draws no random numbers */
    c->rules = CN_MAP_A1111;
    a.module = cn_xstrdup("none");
    rc = cn_read_members(r, root, members, CN_LEN(members), "", &a);
    if (rc == CN_OK)
        rc = finish(r, &a);
    free(a.module);
    return rc == CN_OK ? cn_spec_check(r->spec, r->in->limits, r->err) : rc;
}

int cn_api_read_detect(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err)
{
    return cn_reader_run(in, read_root, ret, err);
}
