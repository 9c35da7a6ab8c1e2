/* The pictures that come with a request: control maps, initial image, mask. On the reading thread,
 * which has the job to itself; between two pictures it looks whether anybody still wants it. */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"

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
    if (j->spec->init_image.len > 0 && (rc = cn_job_read_painting(j, err)) < 0)
        return rc;
    if (cn_unet_extra(j->unet, j->channels) == CN_UNET_SEES_DEPTH &&
        (rc = cn_job_read_depth(j, err)) < 0)
        return rc;
    cn_job_stage(j, CN_ENGINE_DECODE, &start);
    return CN_OK;
}
