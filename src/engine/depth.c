/* The depth map of a depth-to-image model: grey levels at the latent's size, [-1, 1] over the whole
 * map, as diffusers' StableDiffusionDepth2ImgPipeline makes it. On the reading thread. */
#include "base/base.h"
#include "diffusion/upscale.h"
#include "engine/job_priv.h"
#include "base/mem.h"
#include "image/convert.h"

#include <math.h>
#include <stdlib.h>

static int read_levels(struct cn_job *j, struct cn_image *ret, struct cn_err *err)
{
    struct cn_image raw = CN_IMAGE_NONE, rgb = CN_IMAGE_NONE;
    int rc = cn_job_decode(j, &j->spec->depth, &raw, err);

    if (rc == CN_OK)
        rc = cn_image_to_rgb(&raw, 0, &rgb, err);
    if (rc == CN_OK)
        rc = cn_image_to_grey(&rgb, ret, err);
    cn_image_release(&raw);
    cn_image_release(&rgb);
    return rc;
}

/* Levels of any size to cells of the latent: bicubic, from the four next to each, with no regard to
 * how much smaller it becomes. */
static int shrink(struct cn_job *j, const struct cn_image *levels, struct cn_err *err)
{
    const struct cn_latent_size from = {1, levels->h, levels->w}, to = {1, j->h, j->w};
    size_t n = cn_image_bytes(levels);
    float *x = cn_try_alloc(n * sizeof(*x));

    if (x == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for a depth map of %d x %d", levels->w,
                       levels->h);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)levels->px[i];
    cn_latent_stretch(CN_UP_LATENT_BICUBIC, x, &from, j->depth, &to);
    free(x);
    return CN_OK;
}

static int spread(struct cn_job *j, struct cn_err *err)
{
    size_t cells = (size_t)j->h * (size_t)j->w;
    float least = j->depth[0], most = j->depth[0];

    for (size_t i = 1; i < cells; i++) {
        least = fminf(least, j->depth[i]);
        most = fmaxf(most, j->depth[i]);
    }
    if (!(most > least))
        return cn_fail(err, CN_EINVAL, "the depth map is of one grey");
    for (size_t i = 0; i < cells; i++)
        j->depth[i] = 2.0f * (j->depth[i] - least) / (most - least) - 1.0f;
    return CN_OK;
}

int cn_job_read_depth(struct cn_job *j, struct cn_err *err)
{
    struct cn_image levels = CN_IMAGE_NONE;
    int rc = cn_job_floats(j, (size_t)j->h * (size_t)j->w, &j->depth, err);

    if (rc == CN_OK)
        rc = read_levels(j, &levels, err);
    if (rc == CN_OK)
        rc = shrink(j, &levels, err);
    if (rc == CN_OK)
        rc = spread(j, err);
    cn_image_release(&levels);
    return rc < 0 ? cn_job_blame_field(err, "/depth") : rc;
}
