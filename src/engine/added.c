/* What a row is told beside its time where the network's configuration wants it ("text_time"): the
 * pooled vector of the text that it shows, and six sizes, each as a sinusoid. A vector for each
 * text of the job; ControlNets get the same as the UNet.
 */
#include "base/base.h"
#include "engine/job_priv.h"

#include <string.h>

/* Height and width that the picture is said to have had, top and left of what was cut out of it,
 * height and width that it is to have: what the request does not say is as if the picture had been
 * made at its own size. */
static void find_sizes(const struct cn_job *j, int ret[CN_ADD_NUMBERS])
{
    const struct cn_spec_sizes *s = &j->spec->sizes;

    ret[0] = s->original_height > 0 ? s->original_height : j->height;
    ret[1] = s->original_width > 0 ? s->original_width : j->width;
    ret[2] = s->crop_top;
    ret[3] = s->crop_left;
    ret[4] = s->target_height > 0 ? s->target_height : j->height;
    ret[5] = s->target_width > 0 ? s->target_width : j->width;
}

int cn_added_make(struct cn_job *j, const float *pooled, struct cn_err *err)
{
    const struct cn_unet_config *u = j->unet;
    size_t text = (size_t)j->pooled, number = (size_t)u->add_time_dim, add = (size_t)u->add_dim;
    int sizes[CN_ADD_NUMBERS], rc;

    if (u->add_dim == 0)
        return CN_OK;
    if ((rc = cn_job_floats(j, (size_t)j->n_texts * add, &j->added, err)) < 0)
        return rc;
    find_sizes(j, sizes);
    for (size_t i = 0; i < (size_t)j->n_texts; i++) {
        float *to = j->added + i * add;

        memcpy(to, pooled + i * text, text * sizeof(*to));
        for (size_t k = 0; k < CN_ADD_NUMBERS; k++)
            cn_number_embedding(sizes[k], u->add_time_dim, u->flip_sin_to_cos, u->freq_shift,
                                to + text + k * number);
    }
    return CN_OK;
}

const float *cn_added_of(const struct cn_job *j, int row, int call)
{
    return j->added + (size_t)cn_prompts_shown(j, row, call) * (size_t)j->unet->add_dim;
}
