/* Two passes over a picture: small, then larger from the first one's latent.
 *
 * DESIGN. Each pass is a job of its own, with a description derived from the request's: it has its
 * own size, plans, hints and batch. Both are made at the beginning, so that whatever is wrong with
 * either is told then. The second waits inside of the first, outside of the engine's list. When all
 * images of the first are drawn their latents are with the second, or their pictures, which the
 * decoding thread has enlarged and each lane encodes when it begins; it takes the first one's
 * place, which goes without a word. Callbacks are told of one job: steps are counted over both.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/mem.h"
#include "image/resize.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A job with a description of its own, which is taken. Texts and images stay the request's. */
static int new_pass(struct cn_engine *e, struct cn_spec *own, const struct cn_engine_cb *cb,
                    int steps_before, struct cn_job **ret, struct cn_err *err)
{
    int rc = cn_job_new(e, own, cb, steps_before, ret, err);

    if (rc < 0)
        free(own);
    else
        (*ret)->own_spec = own;
    return rc;
}

static int count_calls(const struct cn_job *j, int *ret, struct cn_err *err)
{
    struct cn_sampler_state *s;
    int rc = cn_lane_sampler(j, 1, &s, err);

    if (rc < 0)
        return rc;
    *ret = cn_sampler_calls(s);
    cn_sampler_free(s);
    return CN_OK;
}

static struct cn_spec *first_spec(const struct cn_spec *spec)
{
    struct cn_spec *s = cn_xmalloc(sizeof(*s));

    *s = *spec;
    s->hires.on = false;
    for (int i = 0; i < s->n_controls; i++) {
        s->control[i].return_map = false; /* the one that is returned is the second pass's */
        if (s->control[i].passes == CN_PASSES_SECOND)
            s->control[i].strength = 0;
    }
    return s;
}

static struct cn_spec *second_spec(const struct cn_spec *spec, const struct cn_job *first)
{
    struct cn_spec *s = cn_xmalloc(sizeof(*s));

    cn_spec_second(spec, s);
    cn_spec_final_size(spec, first->width, first->height, &s->width, &s->height);
    return s;
}

/* What of the second pass the request calls otherwise. Its model, its controls and its number of
 * images are those of the first, which would have complained. */
static void rename_field(const struct cn_spec *spec, struct cn_err *err)
{
    const struct cn_spec_hires *h = &spec->hires;
    const struct {
        const char *from, *to;
        bool own;
    } field[] = {{"/width", "/hires", true},
                 {"/height", "/hires", true},
                 {"/sampler", "/hires/sampler", h->sampler != CN_HIRES_SAME},
                 {"/schedule", "/hires/schedule", h->schedule != CN_HIRES_SAME},
                 {"/steps", "/hires/steps", h->steps > 0},
                 {"/denoise", "/hires/strength", true}};

    for (size_t i = 0; i < CN_LEN(field) && err != NULL; i++)
        if (field[i].own && strcmp(err->where, field[i].from) == 0) {
            snprintf(err->where, sizeof(err->where), "%s", field[i].to);
            return;
        }
}

static int check_encoder(const struct cn_job *first, const struct cn_spec *spec, struct cn_err *err)
{
    if (!cn_upscaler_is_pixel(spec->hires.upscaler) || !first->vae->decoder_only)
        return CN_OK;
    return cn_fail_at(err, CN_EINVAL, "/hires/upscaler",
                      "the autoencoder of model \"%s\" has no encoder, which \"%s\" needs",
                      first->vae_model->name, cn_enum_upscaler.name[spec->hires.upscaler]);
}

/* Where what the first pass drew is kept. */
static int make_room(struct cn_job *second, const struct cn_job *first, const struct cn_spec *spec,
                     struct cn_err *err)
{
    size_t n;

    if (cn_upscaler_is_pixel(spec->hires.upscaler)) {
        second->drawn_picture = cn_xcalloc((size_t)spec->n, sizeof(*second->drawn_picture));
        return cn_job_floats(second, 2 * second->latent, &second->drawn_moments, err);
    }
    if (!cn_mul_size(first->latent, (size_t)spec->n, &n))
        return cn_fail_at(err, CN_ETOOBIG, "/n", "%d images are too many", spec->n);
    return cn_job_floats(second, n, &second->drawn, err);
}

static int add_second(struct cn_job *first, const struct cn_spec *spec, struct cn_err *err)
{
    int before = spec->steps * cn_spec_calls_per_step(spec->sampler);
    struct cn_job *second;
    int rc = check_encoder(first, spec, err);

    if (rc < 0)
        return rc;
    rc = new_pass(first->e, second_spec(spec, first), &first->cb, before, &second, err);
    if (rc < 0) {
        rename_field(spec, err);
        return rc;
    }
    first->second = second;
    second->drawn_size = (struct cn_latent_size){first->channels, first->h, first->w};
    if ((rc = make_room(second, first, spec, err)) < 0 ||
        (rc = count_calls(first, &second->calls_before, err)) < 0)
        return rc;
    rc = count_calls(second, &first->calls_after, err);
    if (rc < 0)
        rename_field(spec, err);
    return rc;
}

int cn_passes_new(struct cn_engine *e, const struct cn_spec *spec, const struct cn_engine_cb *cb,
                  struct cn_job **ret, struct cn_err *err)
{
    struct cn_job *j;
    int rc;

    if (!spec->hires.on)
        return cn_job_new(e, spec, cb, 0, ret, err);
    if ((rc = new_pass(e, first_spec(spec), cb, 0, &j, err)) < 0)
        return rc;
    rc = add_second(j, spec, err);
    if (rc < 0)
        cn_job_free(j);
    else
        *ret = j;
    return rc;
}

void cn_passes_keep(const struct cn_lane *l)
{
    const struct cn_job *j = l->job;

    memcpy(j->second->drawn + (size_t)l->image * j->latent, l->x, j->latent * sizeof(*l->x));
}

bool cn_passes_by_picture(const struct cn_job *first)
{
    return first->second != NULL && first->second->drawn_picture != NULL;
}

/* The middle of a picture that is as large or larger. */
static int cut_middle(const struct cn_image *from, int w, int h, struct cn_image *ret,
                      struct cn_err *err)
{
    struct cn_image to;
    int rc = cn_image_init(&to, w, h, from->c, err);
    size_t row = (size_t)w * (size_t)from->c, pitch = (size_t)from->w * (size_t)from->c;
    const uint8_t *at;

    if (rc < 0)
        return rc;
    at = from->px + (size_t)((from->h - h) / 2) * pitch +
         (size_t)((from->w - w) / 2) * (size_t)from->c;
    for (int y = 0; y < h; y++)
        memcpy(to.px + (size_t)y * row, at + (size_t)y * pitch, row);
    *ret = to;
    return CN_OK;
}

/* As large as the latent would be, in pixels. */
int cn_passes_keep_picture(const struct cn_job *first, int image, const struct cn_image *picture,
                           struct cn_err *err)
{
    static const enum cn_filter filters[CN_UPSCALER_COUNT] = {[CN_UP_NEAREST] = CN_NEAREST,
                                                              [CN_UP_BICUBIC] = CN_BICUBIC,
                                                              [CN_UP_LANCZOS] = CN_LANCZOS};
    const struct cn_job *second = first->second;
    struct cn_latent_size size = {second->channels, second->h, second->w};
    struct cn_image covering = CN_IMAGE_NONE;
    int cell = second->width / second->w, w, h, rc;

    cn_latent_cover(&second->drawn_size, &size, &w, &h);
    rc = cn_image_resize(picture, w * cell, h * cell, filters[second->spec->hires.upscaler],
                         &covering, err);
    if (rc == CN_OK)
        rc = cut_middle(&covering, second->width, second->height, &second->drawn_picture[image],
                        err);
    cn_image_release(&covering);
    return rc;
}

struct cn_job *cn_passes_take_second(struct cn_job *first)
{
    struct cn_job *second = first->second;

    first->second = NULL;
    second->outcome = first->outcome;
    second->preview_s = first->preview_s;
    for (int i = 0; i < CN_ENGINE_STAGE_COUNT; i++)
        second->ms[i] += first->ms[i];
    return second;
}
