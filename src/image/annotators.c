/* Which annotators there are, with their options and ranges, and those that look at single pixels.
 */
#include "base/base.h"
#include "image/annotate.h"
#include "base/mem.h"
#include "image/convert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t pixels(const struct cn_image *img)
{
    return (size_t)img->w * (size_t)img->h;
}

/* Spreads a one-channel map, which lies in the first third of the pixels, over three channels;
 * from the end, so that nothing is overwritten before it is read. */
static void spread(struct cn_image *map)
{
    for (size_t i = pixels(map); i-- > 0;) {
        uint8_t v = map->px[i];

        memset(map->px + 3 * i, v, 3);
    }
}

static int none(const struct cn_annotator_params *p, const struct cn_image *src,
                struct cn_image *ret)
{
    (void)p;
    memcpy(ret->px, src->px, cn_image_bytes(src));
    return CN_OK;
}

static int invert(const struct cn_annotator_params *p, const struct cn_image *src,
                  struct cn_image *ret)
{
    size_t n = cn_image_bytes(src);

    (void)p;
    for (size_t i = 0; i < n; i++)
        ret->px[i] = (uint8_t)(255 - src->px[i]);
    return CN_OK;
}

static int canny(const struct cn_annotator_params *p, const struct cn_image *src,
                 struct cn_image *ret)
{
    int rc =
        cn_canny(src->px, src->w, src->h, 3, (int)p->v[0], (int)p->v[1], p->v[2] != 0, ret->px);

    if (rc == CN_OK)
        spread(ret);
    return rc;
}

static int scribble(const struct cn_annotator_params *p, const struct cn_image *src,
                    struct cn_image *ret)
{
    int rc = cn_scribble_xdog(src->px, src->w, src->h, (int)p->v[0], ret->px);

    if (rc == CN_OK)
        spread(ret);
    return rc;
}

static int lineart_standard(const struct cn_annotator_params *p, const struct cn_image *src,
                            struct cn_image *ret)
{
    int rc = cn_lineart_standard(src->px, src->w, src->h, ret->px);

    (void)p;
    if (rc == CN_OK)
        spread(ret);
    return rc;
}

/* White where even the darkest channel is above the threshold. */
static int threshold(const struct cn_annotator_params *p, const struct cn_image *src,
                     struct cn_image *ret)
{
    const uint8_t *px = src->px;
    int t = (int)p->v[0];

    for (size_t i = 0; i < pixels(src); i++, px += 3)
        ret->px[i] = px[0] > t && px[1] > t && px[2] > t ? 255 : 0;
    spread(ret);
    return CN_OK;
}

/* Luma with OpenCV's 15-bit weights (cvtColor RGB2GRAY); Pillow's 16-bit ones differ by one level
 * now and then, and the published maps were made with OpenCV. */
static void luma(const struct cn_image *src, uint8_t *out)
{
    const uint8_t *px = src->px;

    for (size_t i = 0; i < pixels(src); i++, px += 3)
        out[i] = (uint8_t)((px[0] * 9798u + px[1] * 19235u + px[2] * 3735u + 0x4000u) >> 15);
}

static int grey(const struct cn_annotator_params *p, const struct cn_image *src,
                struct cn_image *ret)
{
    (void)p;
    luma(src, ret->px);
    spread(ret);
    return CN_OK;
}

/* Ink becomes white: 0 and 255 ask for Otsu's threshold. */
static int binary(const struct cn_annotator_params *p, const struct cn_image *src,
                  struct cn_image *ret)
{
    int t = (int)p->v[0];

    luma(src, ret->px);
    if (t == 0 || t == 255)
        t = cn_otsu(ret->px, pixels(src));
    for (size_t i = 0; i < pixels(src); i++)
        ret->px[i] = ret->px[i] > t ? 0 : 255;
    spread(ret);
    return CN_OK;
}

/* Norms of the gradient reach 2040 (L1), so thresholds above 255 make sense. */
const struct cn_annotator cn_annotators[] = {
    {"none", "the image is a control map already", 0, {{0}}, none},
    {"canny",
     "edges with hysteresis (Canny)",
     3,
     {{"low", "gradient from which an edge goes on", 0, 2040, 100},
      {"high", "gradient from which an edge starts", 0, 2040, 200},
      {"l2", "1: Euclidean norm of the gradient, 0: sum of magnitudes", 0, 1, 0}},
     canny},
    {"scribble",
     "strong lines (extended difference of Gaussians)",
     1,
     {{"threshold", "how dark a line must be against its surroundings", 1, 64, 32}},
     scribble},
    {"lineart_standard",
     "dark lines on a light ground, with their strength",
     0,
     {{0}},
     lineart_standard},
    {"invert", "dark lines on white become white lines on black", 0, {{0}}, invert},
    {"threshold",
     "white where every channel is brighter than the threshold",
     1,
     {{"threshold", "brightness", 0, 255, 127}},
     threshold},
    {"binary",
     "dark becomes white, light becomes black",
     1,
     {{"threshold", "brightness; 0 and 255: found from the image (Otsu)", 0, 255, 0}},
     binary},
    {"grey", "without colour", 0, {{0}}, grey},
};

const int cn_n_annotators = (int)CN_LEN(cn_annotators);

const struct cn_annotator *cn_annotator_find(const char *name)
{
    for (int i = 0; i < cn_n_annotators; i++)
        if (strcmp(cn_annotators[i].name, name) == 0)
            return &cn_annotators[i];
    return NULL;
}

void cn_annotator_defaults(const struct cn_annotator *a, struct cn_annotator_params *ret)
{
    for (int i = 0; i < CN_ANNOTATOR_PARAMS; i++)
        ret->v[i] = a->param[i].def;
}

static int check_value(const struct cn_annotator *a, int i, double value, struct cn_err *err)
{
    const struct cn_annotator_param *p = &a->param[i];
    char where[64];

    if (value >= p->min && value <= p->max && value == floor(value))
        return CN_OK;
    snprintf(where, sizeof(where), "/%s", p->name);
    return cn_fail_at(err, CN_EINVAL, where,
                      "\"%s\" of annotator \"%s\" must be a whole number from %g to %g, not %g",
                      p->name, a->name, p->min, p->max, value);
}

int cn_annotator_set(const struct cn_annotator *a, struct cn_annotator_params *p, const char *name,
                     double value, struct cn_err *err)
{
    int rc;

    for (int i = 0; i < a->n_params; i++) {
        if (strcmp(a->param[i].name, name) != 0)
            continue;
        rc = check_value(a, i, value, err);
        if (rc == CN_OK)
            p->v[i] = value;
        return rc;
    }
    return cn_fail(err, CN_EINVAL, "annotator \"%s\" has no parameter \"%s\"", a->name, name);
}

/* Runs a with checked parameters on an RGB picture. */
static int make_map(const struct cn_annotator *a, const struct cn_annotator_params *p,
                    const struct cn_image *rgb, struct cn_image *ret, struct cn_err *err)
{
    struct cn_image map;
    int rc = cn_image_init(&map, rgb->w, rgb->h, 3, err);

    if (rc < 0)
        return rc;
    rc = a->fn(p, rgb, &map);
    if (rc < 0) {
        cn_image_release(&map);
        return cn_fail(err, rc, "annotator \"%s\" failed on a picture of %d by %d pixels: %s",
                       a->name, rgb->w, rgb->h, cn_code_name(rc));
    }
    *ret = map;
    return CN_OK;
}

int cn_annotate(const char *name, const struct cn_annotator_params *params,
                const struct cn_image *src, struct cn_image *ret, struct cn_err *err)
{
    const struct cn_annotator *a = cn_annotator_find(name);
    struct cn_annotator_params defaults;
    struct cn_image rgb;
    int rc = CN_OK;

    if (a == NULL)
        return cn_fail(err, CN_ENOTFOUND, "there is no annotator \"%s\"", name);
    if (params == NULL) {
        cn_annotator_defaults(a, &defaults);
        params = &defaults;
    }
    for (int i = 0; rc == CN_OK && i < a->n_params; i++)
        rc = check_value(a, i, params->v[i], err);
    if (rc < 0 || src->c == 3)
        return rc < 0 ? rc : make_map(a, params, src, ret, err);
    rc = cn_image_to_rgb(src, 255, &rgb, err);
    if (rc < 0)
        return rc;
    rc = make_map(a, params, &rgb, ret, err);
    cn_image_release(&rgb);
    return rc;
}
