/* The pictures that come with a request: control maps, initial image, mask. On the reading thread,
 * which has the job to itself; between two pictures it looks whether anybody still wants it. */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"
#include "image/codec.h"
#include "image/convert.h"
#include "image/edge_pad.h"

static int read_init(struct cn_job *j, struct cn_err *err)
{
    struct cn_image raw = CN_IMAGE_NONE, rgb = CN_IMAGE_NONE;
    int rc = cn_job_decode(j, &j->spec->init_image, &raw, err);

    if (rc == CN_OK)
        rc = cn_image_to_rgb(&raw, 255, &rgb, err);
    if (rc == CN_OK)
        rc = cn_edge_pad_fit(&rgb, j->width, j->height, j->spec->resize, CN_LANCZOS,
                             &j->init_image, err);
    cn_image_release(&raw);
    cn_image_release(&rgb);
    if (rc < 0)
        return cn_job_blame_field(err, "/init_image");
    rc = cn_job_floats(j, (size_t)3 * (size_t)j->width * (size_t)j->height, &j->init_pixels, err);
    if (rc == CN_OK)
        cn_image_to_planar(&j->init_image, j->init_pixels, 2.0f / 255, -1);
    return rc;
}

static int go_on(const struct cn_job *j, struct cn_err *err)
{
    return cn_job_cancelled(j) ? cn_fail(err, CN_ECANCELED, "cancelled while pictures were read")
                               : CN_OK;
}

int cn_job_read_inputs(struct cn_job *j, struct cn_err *err)
{
    double start;
    int rc;

    for (int i = 0; i < j->n_controls; i++)
        if ((rc = go_on(j, err)) < 0 || (rc = cn_job_read_map(j, i, err)) < 0)
            return rc;
    if ((rc = go_on(j, err)) < 0 || j->spec->kind == CN_KIND_ANNOTATE)
        return rc;
    start = cn_now_s();
    if (j->spec->init_image.len > 0 && (rc = read_init(j, err)) < 0)
        return rc;
    if (j->spec->mask.len > 0 && (rc = cn_job_read_mask(j, err)) < 0)
        return rc;
    if (cn_unet_extra(j->unet, j->channels) == CN_UNET_SEES_DEPTH &&
        (rc = cn_job_read_depth(j, err)) < 0)
        return rc;
    cn_job_stage(j, CN_ENGINE_DECODE, &start);
    return CN_OK;
}
