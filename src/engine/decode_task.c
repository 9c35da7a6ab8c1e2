/* A finished latent on its way to a picture: the autoencoder's decoder.
 *
 * Made and freed by the owner, run on the decoding thread as a concurrent plan. A decoder that is
 * stored in a type of small range may overflow where the latent is bright or the model unsuited
 * (that of SDXL is known for it): pixels that are not numbers are never a picture. The owner then
 * gives the task a plan of wider range, and an error when there is none.
 *
 * A large picture is decoded in bands of rows (runtime/bands.h), layer by layer: the owner prepares
 * a layer, the decoding thread runs it, and so on until the picture is there.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"
#include "base/mem.h"
#include "image/convert.h"

#include <stdlib.h>

static bool is_tiny(const struct cn_decode_task *f)
{
    return f->job->spec->decoder == CN_DECODER_TAESD;
}

/* The plan, with its buffers. On failure the task has none. */
static int take_plan(struct cn_decode_task *f, struct cn_err *err)
{
    struct cn_job *j = f->job;
    struct cn_plan_entry *plan;
    double start = cn_now_s();
    int rc = is_tiny(f)
                 ? cn_tiny_decoder_plan(j->e->tiny, j->e->rt.backend, j->h, j->w,
                                        CN_PLAN_CONCURRENT, &plan, err)
                 : cn_plan_for_decoder(j->vae_model, j->h, j->w, CN_PLAN_CONCURRENT, &plan, err);

    cn_job_stage(j, CN_ENGINE_LOAD, &start);
    if (rc < 0)
        return rc == CN_ENOTFOUND || rc == CN_EFORMAT
                   ? cn_job_blame_model(j, &j->vae_model->vae, err)
                   : rc;
    f->plan = plan;
    f->plan->pins++;
    rc = cn_plan_input(plan, 0, &f->in, err);
    return rc < 0 ? rc : cn_plan_output(plan, 0, &f->out, err);
}

static bool cancelled(void *ctx)
{
    return cn_job_cancelled(ctx);
}

/* The first layer of the bands. On failure the task may have some. */
static int take_bands(struct cn_decode_task *f, struct cn_err *err)
{
    struct cn_job *j = f->job;
    struct cn_bands_opts opts = CN_BANDS_DEFAULTS;
    int rc;

    opts.store = f->store;
    opts.flags = CN_PLAN_CONCURRENT;
    opts.cancelled = cancelled;
    opts.ctx = j;
    rc = cn_bands_for_decoder(j->vae_model, j->h, j->w, &opts, &f->bands, err);
    if (rc < 0)
        return rc;
    f->band_bytes = cn_bands_expected_bytes(f->bands);
    j->e->band_bytes += f->band_bytes;
    rc = cn_bands_write(f->bands, f->latent, err);
    return rc < 0 ? rc : cn_decode_task_go_on(f, err);
}

static void drop_plan(struct cn_decode_task *f)
{
    if (f->plan != NULL)
        f->plan->pins--;
    cn_buffer_free(f->in);
    cn_buffer_free(f->out);
    cn_bands_free(f->bands);
    f->job->e->band_bytes -= f->band_bytes;
    f->band_bytes = 0;
    f->plan = NULL;
    f->in = f->out = NULL;
    f->bands = NULL;
    f->more = false;
}

int cn_decode_task_go_on(struct cn_decode_task *f, struct cn_err *err)
{
    struct cn_job *j = f->job;
    double start = cn_now_s();
    int rc = cn_bands_next(f->bands, err);

    cn_job_stage(j, CN_ENGINE_LOAD, &start);
    f->more = false;
    if (rc == CN_ENOTFOUND || rc == CN_EFORMAT)
        return cn_job_blame_model(j, &j->vae_model->vae, err);
    return rc < 0 ? rc : CN_OK;
}

int cn_decode_task_split(struct cn_decode_task *f, struct cn_err *err)
{
    if (f->bands != NULL || f->latent == NULL || is_tiny(f))
        return CN_ENOTFOUND;
    f->err = (struct cn_err)CN_ERR_INIT;
    drop_plan(f);
    return take_bands(f, err);
}

static int new_arrays(struct cn_decode_task *f, struct cn_err *err)
{
    const struct cn_job *j = f->job;

    f->latent = cn_try_alloc(j->latent * sizeof(*f->latent));
    f->pixels = cn_try_alloc((size_t)3 * (size_t)f->width * (size_t)f->height * sizeof(float));
    if (f->latent == NULL || f->pixels == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for the picture");
    return CN_OK;
}

struct cn_decode_task *cn_decode_task_new(struct cn_lane *l, struct cn_err *err)
{
    struct cn_decode_task *f = cn_xcalloc(1, sizeof(*f));
    struct cn_job *j = l->job;
    const struct cn_vae_config *c = j->vae;
    int rc;

    f->job = j;
    f->index = l->image;
    f->seed = l->seed;
    f->width = j->width;
    f->height = j->height;
    f->picture = (struct cn_image)CN_IMAGE_NONE;
    cn_buf_init(&f->file, CN_ENGINE_MAX_FILE);
    f->store = CN_F16;
    if (new_arrays(f, err) < 0) {
        cn_decode_task_free(f);
        return NULL;
    }
    for (size_t i = 0; i < j->latent; i++)
        f->latent[i] =
            is_tiny(f) ? l->x[i] : l->x[i] / (float)c->scaling_factor + (float)c->shift_factor;
    if (!is_tiny(f) && cn_engine_wants_bands(j->e, cn_decoder_bytes(j->vae_model, j->h, j->w)))
        rc = take_bands(f, err);
    else
        rc = take_plan(f, err);
    if (rc < 0) {
        cn_decode_task_free(f);
        return NULL;
    }
    return f;
}

struct cn_decode_task *cn_decode_task_ready(struct cn_job *j, int index,
                                            struct cn_image *picture_take)
{
    struct cn_decode_task *f = cn_xcalloc(1, sizeof(*f));

    f->job = j;
    f->index = index;
    f->seed = cn_spec_seed_of(j->spec, index);
    f->width = picture_take->w;
    f->height = picture_take->h;
    f->picture = *picture_take;
    *picture_take = (struct cn_image)CN_IMAGE_NONE;
    cn_buf_init(&f->file, CN_ENGINE_MAX_FILE);
    return f;
}

void cn_decode_task_free(struct cn_decode_task *f)
{
    drop_plan(f);
    free(f->latent);
    free(f->pixels);
    cn_image_release(&f->picture);
    cn_buf_release(&f->file);
    free(f);
}

int cn_decode_task_widen(struct cn_decode_task *f, struct cn_err *err)
{
    struct cn_model *m = f->job->vae_model;

    if (f->bands != NULL && f->store != CN_F32) {
        cn_model_widen_vae(m, f->job->e->rt.backend);
        f->store = CN_F32;
        f->not_finite = false;
        f->err = (struct cn_err)CN_ERR_INIT;
        drop_plan(f);
        return take_bands(f, err);
    }
    if (f->bands != NULL || is_tiny(f)) {
        if (err != NULL)
            *err = f->err;
        return f->rc;
    }
    /* Another picture's task may have changed the model's type in the meantime. */
    if (f->plan->dtype == m->vae.dtype && !cn_model_widen_vae(m, f->job->e->rt.backend)) {
        if (err != NULL)
            *err = f->err;
        return f->rc;
    }
    f->not_finite = false;
    f->err = (struct cn_err)CN_ERR_INIT;
    drop_plan(f);
    return take_plan(f, err);
}

static int run_plan(struct cn_decode_task *f)
{
    int rc;

    cn_buffer_write(f->in, f->latent);
    rc = cn_plan_run(f->plan->plan, &f->in, &f->out, &f->err);
    if (rc < 0)
        return rc;
    cn_buffer_read(f->out, f->pixels);
    for (size_t i = 0; i < (size_t)3 * (size_t)f->width * (size_t)f->height && is_tiny(f); i++)
        f->pixels[i] = f->pixels[i] * 2 - 1;
    return cn_backend_check(f->job->e->rt.backend, &f->err);
}

static int run_bands(struct cn_decode_task *f)
{
    int rc = cn_bands_run(f->bands, &f->err);

    if (rc < 0)
        return rc;
    if (cn_bands_not_finite(f->bands)) {
        f->not_finite = true;
        return cn_fail(&f->err, CN_EINTERNAL,
                       "the autoencoder of model \"%s\" made image %d of values that are not "
                       "numbers",
                       f->job->vae_model->name, f->index);
    }
    f->more = !cn_bands_at_end(f->bands);
    if (!f->more)
        cn_bands_read(f->bands, f->pixels);
    return CN_OK;
}

int cn_decode_task_run(struct cn_decode_task *f)
{
    size_t bad;
    int rc = f->bands != NULL ? run_bands(f) : run_plan(f);

    if (rc < 0 || f->more)
        return rc;
    rc = cn_image_from_planar(f->pixels, f->width, f->height, &f->picture, &bad, &f->err);
    if (rc == CN_OK && bad == 0 && cn_passes_by_picture(f->job))
        return cn_passes_keep_picture(f->job, f->index, &f->picture, &f->err);
    if (rc == CN_OK && bad == 0)
        rc = cn_job_paste_back(f->job, &f->picture, &f->err);
    if (rc < 0 || bad == 0)
        return rc;
    f->not_finite = true;
    cn_image_release(&f->picture);
    return cn_fail(&f->err, CN_EINTERNAL,
                   "the autoencoder of model \"%s\" made image %d of values that are not numbers "
                   "(%zu of %zu)",
                   f->job->vae_model->name, f->index, bad,
                   (size_t)3 * (size_t)f->width * (size_t)f->height);
}
