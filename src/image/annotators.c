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

static int hough(const struct cn_annotator_params *p, const struct cn_image *src,
                 struct cn_image *ret)
{
    enum { LOW = 100, HIGH = 200 }; /* of Canny's edges, as is usual */
    uint8_t *edges = cn_try_alloc(pixels(src));
    int rc = edges == NULL ? CN_ENOMEM
                           : cn_canny(src->px, src->w, src->h, 3, LOW, HIGH, false, edges);

    if (rc == CN_OK)
        rc = cn_hough_lines(edges, src->w, src->h, (int)p->v[0], (int)p->v[1], (int)p->v[2],
                            ret->px);
    free(edges);
    if (rc == CN_OK)
        spread(ret);
    return rc;
}

/* Ink, however it is coloured, becomes white. */
static int drawing(const struct cn_annotator_params *p, const struct cn_image *src,
                   struct cn_image *ret)
{
    const uint8_t *px = src->px;
    int t = (int)p->v[0];

    for (size_t i = 0; i < pixels(src); i++, px += 3)
        ret->px[i] = CN_MIN(px[0], CN_MIN(px[1], px[2])) < t ? 255 : 0;
    spread(ret);
    return CN_OK;
}

static int blur(const struct cn_annotator_params *p, const struct cn_image *src,
                struct cn_image *ret)
{
    return cn_blur_picture(src->px, src->w, src->h, 3, p->v[0], ret->px);
}

static int tile(const struct cn_annotator_params *p, const struct cn_image *src,
                struct cn_image *ret)
{
    return cn_tile_picture(src, p->v[0], ret);
}

static int shuffle(const struct cn_annotator_params *p, const struct cn_image *src,
                   struct cn_image *ret)
{
    return cn_shuffle_picture(src, (int)p->v[0], (uint64_t)p->v[1], ret);
}

static int colour(const struct cn_annotator_params *p, const struct cn_image *src,
                  struct cn_image *ret)
{
    return cn_colour_grid(src, (int)p->v[0], ret);
}

static int segments(const struct cn_annotator_params *p, const struct cn_image *src,
                    struct cn_image *ret)
{
    return cn_segments(src, (int)p->v[0], ret);
}

/* What is to be painted is transparent, here as in the hint. */
static int inpaint(const struct cn_annotator_params *p, const struct cn_image *src,
                   struct cn_image *ret)
{
    (void)p;
    for (size_t i = 0; i < pixels(src); i++) {
        const uint8_t *px = src->px + 4 * i;
        bool missing = px[3] < 128;

        memcpy(ret->px + 4 * i, missing ? (const uint8_t[]){0, 0, 0} : px, 3);
        ret->px[4 * i + 3] = missing ? 0 : 255;
    }
    return CN_OK;
}

#define WHOLE(n, h, lo, hi, d)                                                                     \
    {                                                                                              \
        .name = n, .help = h, .min = lo, .max = hi, .def = d                                       \
    }
#define REAL(n, h, lo, hi, d)                                                                      \
    {                                                                                              \
        .name = n, .help = h, .min = lo, .max = hi, .def = d, .real = true                         \
    }

/* Norms of the gradient reach 2040 (L1), so thresholds above 255 make sense. */
const struct cn_annotator cn_annotators[] = {
    {.name = "none", .help = "the image is a control map already", .fn = none},
    {.name = "canny",
     .help = "edges with hysteresis (Canny)",
     .fn = canny,
     .n_params = 3,
     .param = {WHOLE("low", "gradient from which an edge goes on", 0, 2040, 100),
               WHOLE("high", "gradient from which an edge starts", 0, 2040, 200),
               WHOLE("l2", "1: Euclidean norm of the gradient, 0: sum of magnitudes", 0, 1, 0)}},
    {.name = "scribble",
     .help = "strong lines (extended difference of Gaussians)",
     .fn = scribble,
     .n_params = 1,
     .param = {WHOLE("threshold", "how dark a line must be against its surroundings", 1, 64, 32)}},
    {.name = "drawing",
     .help = "ink of any colour on a light ground becomes white on black",
     .fn = drawing,
     .n_params = 1,
     .param = {WHOLE("threshold", "darkest channel below which it is ink", 1, 255, 127)}},
    {.name = "lineart_standard",
     .help = "dark lines on a light ground, with their strength",
     .fn = lineart_standard},
    {.name = "hough",
     .help = "straight lines (Canny and a probabilistic Hough transform)",
     .fn = hough,
     .n_params = 3,
     .param = {WHOLE("threshold", "edge pixels that a line needs", 1, 1000, 50),
               WHOLE("min_length", "pixels of the shortest line", 0, 1000, 30),
               WHOLE("max_gap", "pixels that may be missing in a line", 0, 1000, 5)}},
    {.name = "invert", .help = "dark lines on white become white lines on black", .fn = invert},
    {.name = "threshold",
     .help = "white where every channel is brighter than the threshold",
     .fn = threshold,
     .n_params = 1,
     .param = {WHOLE("threshold", "brightness", 0, 255, 127)}},
    {.name = "binary",
     .help = "dark becomes white, light becomes black",
     .fn = binary,
     .n_params = 1,
     .param = {WHOLE("threshold", "brightness; 0 and 255: found from the image (Otsu)", 0, 255,
                     0)}},
    {.name = "grey", .help = "without colour", .fn = grey},
    {.name = "blur",
     .help = "out of focus (Gaussian)",
     .fn = blur,
     .n_params = 1,
     .param = {REAL("sigma", "pixels", 0.1, 64, 9)}},
    {.name = "tile",
     .help = "without fine details, for drawing new ones",
     .fn = tile,
     .n_params = 1,
     .param = {REAL("factor", "how much smaller the picture without them is", 1, 8, 1)}},
    {.name = "shuffle",
     .help = "the colours in other places",
     .fn = shuffle,
     .n_params = 2,
     .param = {WHOLE("size", "pixels from one place to the next", 16, 1024, 256),
               WHOLE("seed", "of the random field", 0, 4294967295, 0)}},
    {.name = "color",
     .help = "a coarse grid of colours",
     .fn = colour,
     .n_params = 1,
     .param = {WHOLE("cell", "pixels of a cell's side", 8, 256, 64)}},
    {.name = "segment",
     .help = "regions of alike colours, each in its mean colour",
     .fn = segments,
     .n_params = 1,
     .param = {WHOLE("colors", "how many, at most", 2, 32, 8)}},
    {.name = "inpaint",
     .help = "the picture without what the mask (or transparency) hides",
     .fn = inpaint,
     .hides = true},
};

const int cn_n_annotators = (int)CN_LEN(cn_annotators);

const struct cn_annotator *cn_annotator_find(const char *name)
{
    for (int i = 0; i < cn_n_annotators; i++)
        if (strcmp(cn_annotators[i].name, name) == 0)
            return &cn_annotators[i];
    return NULL;
}

const char *cn_annotator_of_model(const char *name)
{
    const char *last = name;

    for (const char *p = name; *p != '\0'; p++)
        if (*p == '-' || *p == '_')
            last = p + 1;
    return last != name && cn_annotator_find(last) != NULL ? cn_annotator_find(last)->name : "";
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

    if (value >= p->min && value <= p->max && (p->real || value == floor(value)))
        return CN_OK;
    snprintf(where, sizeof(where), "/%s", p->name);
    return cn_fail_at(err, CN_EINVAL, where,
                      "\"%s\" of annotator \"%s\" must be a%s number from %.10g to %.10g, not %g",
                      p->name, a->name, p->real ? "" : " whole", p->min, p->max, value);
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

/* Runs a with checked parameters on a picture of the channels that it wants. */
static int make_map(const struct cn_annotator *a, const struct cn_annotator_params *p,
                    const struct cn_image *rgb, struct cn_image *ret, struct cn_err *err)
{
    struct cn_image map;
    int rc = cn_image_init(&map, rgb->w, rgb->h, rgb->c, err);

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
    if (rc < 0 || src->c == (a->hides ? 4 : 3))
        return rc < 0 ? rc : make_map(a, params, src, ret, err);
    rc = a->hides ? cn_image_to_rgba(src, &rgb, err) : cn_image_to_rgb(src, 255, &rgb, err);
    if (rc < 0)
        return rc;
    rc = make_map(a, params, &rgb, ret, err);
    cn_image_release(&rgb);
    return rc;
}
