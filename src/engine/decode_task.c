/* A finished latent on its way to a picture: the autoencoder's decoder.
 *
 * Made and freed by the owner, run on the decoding thread as a concurrent plan.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"
#include "base/mem.h"
#include "image/convert.h"

#include <stdlib.h>

struct cn_decode_task *cn_decode_task_new(struct cn_lane *l, struct cn_err *err)
{
    struct cn_decode_task *f = cn_xcalloc(1, sizeof(*f));
    struct cn_job *j = l->job;
    const struct cn_vae_config *c = j->vae;
    double start = cn_now_s();
    int rc = cn_plan_for_decoder(j->base, j->h, j->w, CN_PLAN_CONCURRENT, &f->plan, err);

    cn_job_stage(j, CN_ENGINE_LOAD, &start);
    *f = (struct cn_decode_task){.job = j,
                                 .plan = f->plan,
                                 .image = l->image,
                                 .seed = l->seed,
                                 .width = j->width,
                                 .height = j->height};
    if (rc == CN_ENOTFOUND || rc == CN_EFORMAT)
        cn_job_blame_model(j, &j->base->vae, err);
    if (rc < 0) {
        free(f);
        return NULL;
    }
    f->plan->pins++;
    f->latent = cn_try_alloc(j->latent * sizeof(*f->latent));
    f->pixels = cn_try_alloc((size_t)3 * (size_t)j->width * (size_t)j->height * sizeof(float));
    if (f->latent == NULL || f->pixels == NULL)
        rc = cn_fail(err, CN_ENOMEM, "no memory for the picture");
    if (rc < 0 || cn_plan_input(f->plan, 0, &f->in, err) < 0 ||
        cn_plan_output(f->plan, 0, &f->out, err) < 0) {
        cn_decode_task_free(f);
        return NULL;
    }
    for (size_t i = 0; i < j->latent; i++)
        f->latent[i] = l->x[i] / (float)c->scaling_factor + (float)c->shift_factor;
    return f;
}

void cn_decode_task_free(struct cn_decode_task *f)
{
    f->plan->pins--;
    cn_buffer_free(f->in);
    cn_buffer_free(f->out);
    free(f->latent);
    free(f->pixels);
    free(f);
}

int cn_decode_task_run(struct cn_decode_task *f, struct cn_image *ret)
{
    int rc;

    cn_buffer_write(f->in, f->latent);
    rc = cn_plan_run(f->plan->plan, &f->in, &f->out, &f->err);
    if (rc < 0)
        return rc;
    cn_buffer_read(f->out, f->pixels);
    rc = cn_backend_check(f->job->e->rt.backend, &f->err);
    if (rc < 0)
        return rc;
    return cn_image_from_planar(f->pixels, f->width, f->height, ret, NULL, &f->err);
}
