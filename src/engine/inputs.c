/* The pictures that come with a request: control maps, initial image, mask. On the reading thread,
 * which has the job to itself; between two pictures it looks whether anybody still wants it. */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"
#include "diffusion/inpaint.h"
#include "image/annotate.h"
#include "image/codec.h"
#include "image/convert.h"
#include "image/resize.h"

#include <stdio.h>
#include <string.h>

/* Says which field of the request the image was in. */
static int blame(struct cn_err *err, const char *where)
{
    if (err != NULL && err->where[0] == '\0')
        snprintf(err->where, sizeof(err->where), "%s", where);
    return err != NULL ? err->code : CN_EINVAL;
}

static int decode(const struct cn_engine *e, const struct cn_blob *blob, struct cn_image *ret,
                  struct cn_err *err)
{
    const struct cn_engine_hooks *h = &e->opts.hooks;

    return h->decode != NULL ? h->decode(h->ctx, blob->data, blob->len, ret, err)
                             : cn_image_decode(blob->data, blob->len, NULL, ret, err);
}

/* File to RGB of exactly w x h. Alpha is laid on `ground`. */
static int load_rgb(const struct cn_blob *blob, const struct cn_job *j, enum cn_resize mode,
                    uint8_t ground, struct cn_image *ret, struct cn_err *err)
{
    struct cn_image raw = CN_IMAGE_NONE, rgb = CN_IMAGE_NONE;
    struct cn_fit fit = CN_FIT_DEFAULTS;
    int rc = decode(j->e, blob, &raw, err);

    fit.mode = mode;
    memset(fit.pad, ground, 3);
    if (rc == CN_OK)
        rc = cn_image_to_rgb(&raw, ground, &rgb, err);
    if (rc == CN_OK)
        rc = cn_image_fit(&rgb, j->width, j->height, &fit, ret, err);
    cn_image_release(&raw);
    cn_image_release(&rgb);
    return rc;
}

/* *ret = the picture [3, H, W] in [0,1] */
static int to_floats(struct cn_job *j, const struct cn_image *img, float **ret, struct cn_err *err)
{
    int rc = cn_job_floats(j, (size_t)3 * (size_t)j->width * (size_t)j->height, ret, err);

    if (rc == CN_OK)
        cn_image_to_planar(img, *ret, 1.0f / 255, 0);
    return rc;
}

/* The control map of a picture, unless a network makes it: that is the owner's to run. */
static int make_map(struct cn_job *j, struct cn_job_control *c, const struct cn_image *picture,
                    struct cn_err *err)
{
    struct cn_image map = CN_IMAGE_NONE;
    int rc;

    c->annotator = cn_annotator_named(j->e, c->spec->annotator);
    if (c->annotator == NULL)
        return cn_fail(err, CN_ENOTFOUND, "there is no annotator \"%s\"", c->spec->annotator);
    if (c->annotator->is.graph != NULL)
        return to_floats(j, picture, &c->picture, err);
    rc = cn_annotate(c->annotator->is.name, NULL, picture, &map, err);
    if (rc == CN_OK)
        rc = to_floats(j, &map, &c->pixels, err);
    cn_image_release(&map);
    return rc;
}

static int read_control(struct cn_job *j, int i, struct cn_err *err)
{
    struct cn_job_control *c = &j->control[i];
    struct cn_image fitted = CN_IMAGE_NONE;
    bool ready = strcmp(c->spec->annotator, "none") == 0;
    double start = cn_now_s();
    char where[48];
    int rc;

    snprintf(where, sizeof(where), "/controls/%d/image", i);
    /* A control map stands on black; a photograph, or a drawing, on white. */
    rc = load_rgb(&c->spec->image, j, c->spec->resize, ready ? 0 : 255, &fitted, err);
    if (rc < 0)
        return blame(err, where);
    cn_job_stage(j, CN_ENGINE_DECODE, &start);
    rc = make_map(j, c, &fitted, err);
    cn_image_release(&fitted);
    if (rc < 0) {
        snprintf(where, sizeof(where), "/controls/%d/annotator", i);
        return blame(err, where);
    }
    cn_job_stage(j, CN_ENGINE_PREPARE, &start);
    return rc;
}

static int read_init(struct cn_job *j, struct cn_err *err)
{
    struct cn_image img = CN_IMAGE_NONE;
    int rc = load_rgb(&j->spec->init_image, j, CN_STRETCH, 255, &img, err);

    if (rc < 0)
        return blame(err, "/init_image");
    rc = cn_job_floats(j, (size_t)3 * (size_t)j->width * (size_t)j->height, &j->init_pixels, err);
    if (rc == CN_OK)
        cn_image_to_planar(&img, j->init_pixels, 2.0f / 255, -1);
    cn_image_release(&img);
    return rc;
}

/* Grey levels of the mask file as floats in [0,1], picture size. */
static int mask_levels(struct cn_job *j, float *ret, struct cn_err *err)
{
    struct cn_image rgb = CN_IMAGE_NONE, grey = CN_IMAGE_NONE;
    int rc = load_rgb(&j->spec->mask, j, CN_STRETCH, 0, &rgb, err);

    if (rc == CN_OK)
        rc = cn_image_to_grey(&rgb, &grey, err);
    if (rc == CN_OK)
        for (size_t i = 0; i < (size_t)j->width * (size_t)j->height; i++)
            ret[i] = (float)grey.px[i] / 255.0f;
    cn_image_release(&rgb);
    cn_image_release(&grey);
    return rc;
}

static int read_mask(struct cn_job *j, struct cn_err *err)
{
    size_t pixels = (size_t)j->width * (size_t)j->height;
    float *level;
    int rc;

    if ((rc = cn_job_floats(j, pixels, &level, err)) < 0 ||
        (rc = cn_job_floats(j, (size_t)j->h * (size_t)j->w, &j->mask, err)) < 0 ||
        (rc = cn_job_floats(j, 3 * pixels, &j->masked_pixels, err)) < 0)
        return rc;
    if (mask_levels(j, level, err) < 0)
        return blame(err, "/mask");
    cn_inpaint_mask(level, j->width, j->height, j->w, j->h, j->mask);
    for (size_t i = 0; i < 3 * pixels; i++)
        j->masked_pixels[i] = level[i % pixels] < 0.5f ? j->init_pixels[i] : 0.0f;
    return CN_OK;
}

static int go_on(const struct cn_job *j, struct cn_err *err)
{
    return cn_job_cancelled(j) ? cn_fail(err, CN_ECANCELED, "cancelled while pictures were read")
                               : CN_OK;
}

int cn_job_read_inputs(struct cn_job *j, struct cn_err *err)
{
    double start = cn_now_s();
    int rc;

    for (int i = 0; i < j->n_controls; i++)
        if ((rc = go_on(j, err)) < 0 || (rc = read_control(j, i, err)) < 0)
            return rc;
    if ((rc = go_on(j, err)) < 0)
        return rc;
    start = cn_now_s();
    if (j->spec->init_image.len > 0 && (rc = read_init(j, err)) < 0)
        return rc;
    if (j->spec->mask.len > 0 && (rc = read_mask(j, err)) < 0)
        return rc;
    cn_job_stage(j, CN_ENGINE_DECODE, &start);
    return CN_OK;
}
