/* The second pass over a larger picture: its size and steps, by the rules of AUTOMATIC1111's
 * program (modules/processing.py, hires fix). */
#include "base/base.h"
#include "base/spec.h"

#include <string.h>

enum { CELL = 8, MAX_SCALE = 8 };

void cn_spec_final_size(const struct cn_spec *s, int width, int height, int *ret_width,
                        int *ret_height)
{
    const struct cn_spec_hires *h = &s->hires;

    *ret_width = width;
    *ret_height = height;
    if (!h->on)
        return;
    *ret_width = h->width > 0 ? h->width : (int)(width * h->scale) / CELL * CELL;
    *ret_height = h->height > 0 ? h->height : (int)(height * h->scale) / CELL * CELL;
}

bool cn_upscaler_is_pixel(enum cn_upscaler upscaler)
{
    return upscaler >= CN_UP_NEAREST;
}

/* Lines of a few pixels hold a larger picture too hard: the ControlNet extension weighs such maps
 * softly in the second pass, whatever the mode. */
static void adjust_controls(struct cn_spec *second)
{
    for (int i = 0; i < second->n_controls; i++) {
        struct cn_spec_control *c = &second->control[i];

        if (c->passes == CN_PASSES_FIRST)
            c->strength = 0;
        if (c->rules == CN_MAP_A1111 && c->weights == CN_W_UNIFORM &&
            (strcmp(c->annotator, "canny") == 0 || strcmp(c->annotator, "hough") == 0))
            c->weights = CN_W_SOFT;
    }
}

void cn_spec_second(const struct cn_spec *s, struct cn_spec *ret)
{
    const struct cn_spec_hires *h = &s->hires;

    *ret = *s;
    ret->hires.on = false;
    ret->steps = cn_spec_hires_levels(s);
    ret->hires.steps = h->steps > 0 ? h->steps : s->steps;
    ret->denoise = h->strength;
    if (h->sampler != CN_HIRES_SAME)
        ret->sampler = (enum cn_sampler)h->sampler;
    if (h->schedule != CN_HIRES_SAME)
        ret->schedule = (enum cn_schedule)h->schedule;
    if (h->prompt != NULL)
        ret->prompt = h->prompt;
    if (h->negative_prompt != NULL) {
        ret->negative_prompt = h->negative_prompt;
        ret->zero_negative = false;
    }
    if (h->has_guidance)
        ret->guidance_scale = h->guidance_scale;
    adjust_controls(ret);
}

/* Such a job takes int(levels * strength) steps. */
int cn_spec_hires_levels(const struct cn_spec *s)
{
    int steps = s->hires.steps > 0 ? s->hires.steps : s->steps;
    double exact = steps / s->hires.strength;
    int levels;

    if (!(exact <= CN_MAX_STEPS))
        return CN_MAX_STEPS + 1;
    levels = CN_MAX((int)exact, steps);
    while ((int)(levels * s->hires.strength) < steps)
        levels++;
    return levels;
}

static int check_side(const char *where, int v, struct cn_err *err)
{
    if (v < 0 || v % CELL != 0)
        return cn_fail_at(err, CN_EINVAL, where, "%d is not a multiple of %d", v, CELL);
    return CN_OK;
}

static int check_size(const struct cn_spec *s, const struct cn_limits *l, struct cn_err *err)
{
    const struct cn_spec_hires *h = &s->hires;
    int most = l->max_side ? l->max_side : 16384, width, height, rc;

    if ((rc = check_side("/hires/width", h->width, err)) < 0 ||
        (rc = check_side("/hires/height", h->height, err)) < 0)
        return rc;
    if ((h->width == 0) != (h->height == 0))
        return cn_fail_at(err, CN_EINVAL, h->width == 0 ? "/hires/width" : "/hires/height",
                          "\"width\" and \"height\" come together, or \"scale\" alone");
    if (!(h->scale >= 1 && h->scale <= MAX_SCALE))
        return cn_fail_at(err, CN_EINVAL, "/hires/scale",
                          "%g is out of range: 1 to %d are accepted", h->scale, MAX_SCALE);
    cn_spec_final_size(s, s->width, s->height, &width, &height);
    if (width == 0 || height == 0) /* the model's own: looked at again when they are filled in */
        return CN_OK;
    if (CN_MAX(width, height) > most)
        return cn_fail_at(err, CN_EINVAL, "/hires",
                          "the second pass would be %d x %d: sides of at most %d are accepted",
                          width, height, most);
    if (l->max_pixels != 0 && (long)width * height > l->max_pixels)
        return cn_fail_at(err, CN_EINVAL, "/hires",
                          "the second pass would be %d x %d: at most %ld pixels are accepted",
                          width, height, l->max_pixels);
    if (s->width > 0 && s->height > 0 && (width < s->width || height < s->height))
        return cn_fail_at(err, CN_EINVAL, "/hires",
                          "the second pass would be %d x %d: no side may be smaller than in the "
                          "first, which is %d x %d",
                          width, height, s->width, s->height);
    return CN_OK;
}

static int check_text(const char *where, const char *s, const struct cn_limits *l,
                      struct cn_err *err)
{
    if (s != NULL && l->max_prompt != 0 && strlen(s) > l->max_prompt)
        return cn_fail_at(err, CN_ETOOBIG, where, "%zu bytes of text: at most %zu are accepted",
                          strlen(s), l->max_prompt);
    return CN_OK;
}

/* What it has of its own. */
static int check_own(const struct cn_spec_hires *h, const struct cn_limits *l, struct cn_err *err)
{
    int rc;

    if (h->has_guidance && !(h->guidance_scale >= 0 && h->guidance_scale <= 100))
        return cn_fail_at(err, CN_EINVAL, "/hires/guidance_scale",
                          "%g is out of range: 0 to 100 are accepted", h->guidance_scale);
    rc = check_text("/hires/prompt", h->prompt, l, err);
    return rc < 0 ? rc : check_text("/hires/negative_prompt", h->negative_prompt, l, err);
}

int cn_spec_hires_check(const struct cn_spec *s, const struct cn_limits *l, struct cn_err *err)
{
    const struct cn_spec_hires *h = &s->hires;
    int most = l->max_steps ? l->max_steps : CN_MAX_STEPS, rc;

    if (!h->on)
        return CN_OK;
    if (s->init_image.len > 0)
        return cn_fail_at(err, CN_EINVAL, "/hires", "it does not go with an \"init_image\"");
    if (h->steps < 0 || h->steps > most)
        return cn_fail_at(err, CN_EINVAL, "/hires/steps",
                          "%d is out of range: 0 to %d are accepted", h->steps, most);
    if (!(h->strength > 0 && h->strength <= 1))
        return cn_fail_at(err, CN_EINVAL, "/hires/strength",
                          "%g is out of range: above 0 and up to 1 is accepted", h->strength);
    if (cn_spec_hires_levels(s) > CN_MAX_STEPS)
        return cn_fail_at(err, CN_EINVAL, "/hires/strength",
                          "%g is too little for %d steps: they would be %d levels of noise apart",
                          h->strength, h->steps > 0 ? h->steps : s->steps, CN_MAX_STEPS);
    rc = check_own(h, l, err);
    return rc < 0 ? rc : check_size(s, l, err);
}
