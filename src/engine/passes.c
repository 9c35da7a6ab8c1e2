/* Two passes over a picture: small, then larger from the first one's latent.
 *
 * DESIGN. Each pass is a job of its own, with a description derived from the request's: it has its
 * own size, plans, hints and batch. Both are made at the beginning, so that whatever is wrong with
 * either is told then. The second waits inside of the first, outside of the engine's list. When all
 * images of the first are drawn their latents are with the second, which takes its place; the first
 * goes without a word. Callbacks are told of one job: steps are counted over both.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/mem.h"

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
    return s;
}

static struct cn_spec *second_spec(const struct cn_spec *spec, const struct cn_job *first)
{
    struct cn_spec *s = first_spec(spec);

    cn_spec_final_size(spec, first->width, first->height, &s->width, &s->height);
    s->steps = cn_spec_hires_levels(spec);
    s->denoise = spec->hires.strength;
    return s;
}

static int add_second(struct cn_job *first, const struct cn_spec *spec, struct cn_err *err)
{
    struct cn_job *second;
    size_t n;
    int rc = new_pass(first->e, second_spec(spec, first), &first->cb, spec->steps, &second, err);

    if (rc < 0) {
        if (err != NULL &&
            (strcmp(err->where, "/width") == 0 || strcmp(err->where, "/height") == 0))
            snprintf(err->where, sizeof(err->where), "/hires");
        return rc;
    }
    first->second = second;
    second->drawn_size = (struct cn_latent_size){first->channels, first->h, first->w};
    second->warned = true; /* the first one tells */
    if (!cn_mul_size(first->latent, (size_t)spec->n, &n))
        return cn_fail_at(err, CN_ETOOBIG, "/n", "%d images are too many", spec->n);
    if ((rc = cn_job_floats(second, n, &second->drawn, err)) < 0 ||
        (rc = count_calls(first, &second->calls_before, err)) < 0)
        return rc;
    return count_calls(second, &first->calls_after, err);
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
