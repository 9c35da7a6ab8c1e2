/* From the image of a control to its map, on the reading thread; networks are left to the owner.
 *
 * The image gets the picture's size (or that of "resolution"), is annotated, and only then padded:
 * an edge detector would see the border of a padding as an edge. By the rules of the ControlNet
 * extension (CN_MAP_A1111) one without a resolution is annotated as large as it came. */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"
#include "image/annotate.h"
#include "image/convert.h"
#include "image/edge_pad.h"
#include "image/map_fit.h"
#include "image/map_resample.h"
#include "image/resize.h"

#include <math.h>
#include <string.h>

static bool is_map(const struct cn_job_control *c)
{
    return strcmp(c->spec->annotator, "none") == 0;
}

static bool hides(const struct cn_annotator_entry *a)
{
    return a->is.function != NULL && a->is.function->hides;
}

/* ---- what hides ---- */

/* Alpha 0 where the mask is white: *img becomes RGBA. Takes *img. */
static int hide(struct cn_job *j, const struct cn_blob *mask, bool invert, struct cn_image *img,
                struct cn_err *err)
{
    struct cn_image levels = CN_IMAGE_NONE, rgba;
    enum cn_mask_alpha alpha = mask == &j->spec->mask ? j->spec->mask_alpha : CN_MASK_AUTO;
    int rc = cn_mask_read(j, mask, alpha, CN_STRETCH, img->w, img->h, &levels, err);

    if (rc == CN_OK)
        rc = cn_image_to_rgba(img, &rgba, err);
    if (rc == CN_OK) {
        for (size_t i = 0; i < (size_t)img->w * (size_t)img->h; i++)
            if ((levels.px[i] > 127) != invert)
                rgba.px[4 * i + 3] = 0;
        cn_image_release(img);
        *img = rgba;
    }
    cn_image_release(&levels);
    return rc;
}

/* Transparency hides; a mask of the control's own, or that of the request, hides as well. */
static int apply_mask(struct cn_job *j, int i, struct cn_image *img, struct cn_err *err)
{
    const struct cn_spec_control *c = j->control[i].spec;
    bool own = c->mask.len > 0, clear = false;
    char where[48];
    int rc = CN_OK;

    cn_spec_control_where(j->spec, i, "mask", where, sizeof(where));
    for (size_t k = 3; img->c == 4 && k < cn_image_bytes(img) && !clear; k += 4)
        clear = img->px[k] < 128;
    if (own || j->spec->mask.len > 0)
        rc = hide(j, own ? &c->mask : &j->spec->mask, !own && j->spec->mask_invert, img, err);
    else if (!clear)
        rc = cn_fail_at(err, CN_EINVAL, where,
                        "annotator \"%s\" needs a mask, or an image with transparent parts",
                        j->control[i].annotator->is.name);
    return rc < 0 ? cn_job_blame_field(err, own ? where : "/mask") : rc;
}

/* ---- annotating ---- */

static int annotate(const struct cn_job_control *c, const struct cn_image *img,
                    struct cn_image *ret, struct cn_err *err)
{
    const struct cn_annotator *a = c->annotator->is.function;
    struct cn_annotator_params p;
    int rc = CN_OK;

    cn_annotator_defaults(a, &p);
    for (int i = 0; i < c->spec->n_params && rc == CN_OK; i++)
        rc = cn_annotator_set(a, &p, c->spec->param[i].name, c->spec->param[i].value, err);
    return rc < 0 ? rc : cn_annotate(a->name, &p, img, ret, err);
}

/* The extension's preprocessors of a resolution look at sides of whole 64 pixels. */
static bool widened(const struct cn_job_control *c)
{
    return c->spec->rules == CN_MAP_A1111 && c->spec->resolution != 0 && !hides(c->annotator);
}

/* The right and lower edges are repeated, and what is made of that is cut off again. */
static int annotate_widened(const struct cn_job_control *c, const struct cn_image *img,
                            struct cn_image *ret, struct cn_err *err)
{
    enum { CELL = 64 };
    int w = (img->w + CELL - 1) / CELL * CELL, h = (img->h + CELL - 1) / CELL * CELL;
    struct cn_image wide = CN_IMAGE_NONE, map = CN_IMAGE_NONE;
    int rc;

    if (w == img->w && h == img->h)
        return annotate(c, img, ret, err);
    rc = cn_edge_pad_extend(img, w, h, &wide, err);
    if (rc == CN_OK)
        rc = annotate(c, &wide, &map, err);
    if (rc == CN_OK)
        rc = cn_edge_pad_cut(&map, img->w, img->h, ret, err);
    cn_image_release(&wide);
    cn_image_release(&map);
    return rc;
}

/* The shorter side at which the annotator looks; 0: as the picture is drawn, or the image came. */
static int resolution_of(const struct cn_job *j, const struct cn_job_control *c,
                         const struct cn_image *img)
{
    if (c->spec->resolution != CN_RESOLUTION_PIXEL_PERFECT)
        return c->spec->resolution;
    return j->width == 0 ? 0
                         : cn_map_resolution(img->w, img->h, j->width, j->height, c->spec->resize);
}

static int scale_to(const struct cn_image *img, int side, struct cn_image *ret, struct cn_err *err)
{
    double k = (double)side / CN_MIN(img->w, img->h);

    if (fmax(img->w, img->h) * k > 4.0 * CN_MAX_RESOLUTION)
        return cn_fail(err, CN_ETOOBIG,
                       "an image of %d by %d pixels is too long for a resolution of %d", img->w,
                       img->h, side);
    return cn_map_resample(img, CN_MAX((int)rint(img->w * k), 1), CN_MAX((int)rint(img->h * k), 1),
                           k > 1 ? CN_MAP_CUBIC : CN_MAP_AREA, ret, err);
}

/* Before it is annotated: no padding, and white behind what is transparent. */
static int scale_image(const struct cn_job *j, const struct cn_job_control *c,
                       const struct cn_image *img, struct cn_image *ret, struct cn_err *err)
{
    struct cn_fit fit = CN_FIT_DEFAULTS;
    int side = resolution_of(j, c, img), w = j->width, h = j->height;
    double k;

    if (side > 0)
        return scale_to(img, side, ret, err);
    if (w == 0 || c->spec->rules == CN_MAP_A1111)
        return cn_image_copy(img, ret, err);
    if (c->spec->resize == CN_PAD) {
        k = fmin((double)w / img->w, (double)h / img->h);
        w = (int)fmax(rint(img->w * k), 1);
        h = (int)fmax(rint(img->h * k), 1);
    }
    fit.mode = c->spec->resize == CN_PAD ? CN_STRETCH : c->spec->resize;
    return cn_image_fit(img, w, h, &fit, ret, err);
}

/* A map that was annotated, or is one already, gets the picture's size. */
static int fit_map(const struct cn_job *j, const struct cn_job_control *c,
                   const struct cn_image *map, struct cn_image *ret, struct cn_err *err)
{
    struct cn_fit fit = CN_FIT_DEFAULTS;

    if (j->width == 0)
        return cn_image_copy(map, ret, err);
    fit.mode = c->spec->resize;
    if (c->spec->rules == CN_MAP_DIFFUSERS && is_map(c) && !cn_map_is_thin(map))
        return cn_image_fit(map, j->width, j->height, &fit, ret, err);
    return cn_map_fit(map, j->width, j->height, fit.mode, ret, err);
}

/* Grey and what is transparent become RGB; what hides keeps its holes. */
static int channels_of(struct cn_job *j, int i, struct cn_image *img, struct cn_err *err)
{
    struct cn_job_control *c = &j->control[i];
    struct cn_image rgb;
    int rc;

    if (hides(c->annotator))
        return apply_mask(j, i, img, err);
    rc = cn_image_to_rgb(img, is_map(c) ? 0 : 255, &rgb, err);
    if (rc == CN_OK) {
        cn_image_release(img);
        *img = rgb;
    }
    return rc;
}

static int make(const struct cn_job *j, struct cn_job_control *c, const struct cn_image *img,
                struct cn_image *ret, struct cn_err *err)
{
    struct cn_image scaled = CN_IMAGE_NONE, map = CN_IMAGE_NONE;
    int rc;

    if (is_map(c))
        return fit_map(j, c, img, ret, err);
    rc = scale_image(j, c, img, &scaled, err);
    if (rc == CN_OK && c->annotator->is.graph != NULL) {
        /* a network sees the picture as large as the map will be */
        rc = fit_map(j, c, &scaled, ret, err);
        cn_image_release(&scaled);
        return rc;
    }
    if (rc == CN_OK)
        rc = widened(c) ? annotate_widened(c, &scaled, &map, err)
                        : annotate(c, &scaled, &map, err);
    if (rc == CN_OK)
        rc = fit_map(j, c, &map, ret, err);
    cn_image_release(&scaled);
    cn_image_release(&map);
    return rc;
}

/* *ret = the picture [3, H, W] in [0,1]; what is missing is -1. */
static int to_floats(struct cn_job *j, const struct cn_image *img, float **ret, struct cn_err *err)
{
    size_t n = (size_t)img->w * (size_t)img->h, c = (size_t)img->c;
    int rc = cn_job_floats(j, 3 * n, ret, err);

    if (rc == CN_OK && c == 3)
        cn_image_to_planar(img, *ret, 1.0f / 255, 0);
    for (size_t i = 0; rc == CN_OK && c == 4 && i < n; i++)
        for (size_t k = 0; k < 3; k++)
            (*ret)[k * n + i] =
                img->px[4 * i + 3] < 128 ? -1 : (float)img->px[4 * i + k] * (1.0f / 255);
    return rc;
}

int cn_job_read_map(struct cn_job *j, int i, struct cn_err *err)
{
    struct cn_job_control *c = &j->control[i];
    struct cn_image img = CN_IMAGE_NONE, map = CN_IMAGE_NONE;
    double start = cn_now_s();
    char where[64];
    int rc;

    cn_spec_control_where(j->spec, i, "image", where, sizeof(where));
    rc = cn_job_decode(j, &c->spec->image, &img, err);
    if (rc == CN_OK)
        rc = channels_of(j, i, &img, err);
    cn_job_stage(j, CN_ENGINE_DECODE, &start);
    if (rc < 0) {
        cn_image_release(&img);
        return cn_job_blame_field(err, where);
    }
    cn_spec_control_where(j->spec, i, is_map(c) ? "image" : "annotator", where, sizeof(where));
    rc = make(j, c, &img, &map, err);
    cn_image_release(&img);
    if (rc == CN_OK && j->width == 0) {
        j->width = map.w;
        j->height = map.h;
    }
    if (rc == CN_OK)
        rc = to_floats(j, &map, c->annotator->is.graph != NULL ? &c->picture : &c->pixels, err);
    if (rc == CN_OK && c->annotator->is.graph == NULL && cn_job_keeps_map(j, i))
        c->map = map;
    else
        cn_image_release(&map);
    cn_job_stage(j, CN_ENGINE_PREPARE, &start);
    return rc < 0 ? cn_job_blame_field(err, where) : rc;
}
