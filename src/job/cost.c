/* Cost of a job. */
#include "base/base.h"
#include "job/cost.h"

#include <math.h>

/* Text encoders and the VAE's decoder, as calls of the network for one row: measured at SD 1.5's
 * sizes the decoder does 1.24 TMAC and a row of the UNet 0.34. */
#define OVERHEAD 4.0

static double calls_of(const struct cn_spec *s)
{
    double calls = (double)s->steps * cn_spec_calls_per_step(s->sampler);

    if (s->init_image.len > 0 && s->denoise < 1)
        calls = ceil(calls * s->denoise);
    return calls;
}

/* Its steps are larger ones, and may have other rows. */
static double second_pass(const struct cn_spec *s, double nets)
{
    struct cn_spec second;
    int width, height;

    if (!s->hires.on)
        return 0;
    cn_spec_second(s, &second);
    cn_spec_final_size(s, s->width, s->height, &width, &height);
    return (double)width * height * 1e-6 *
           (nets * cn_spec_rows(&second) * second.hires.steps *
                cn_spec_calls_per_step(second.sampler) +
            OVERHEAD);
}

static double cost_of_drawing(const struct cn_spec *s)
{
    double pixels = (double)s->width * s->height * 1e-6, nets = 1;
    double rows = cn_spec_rows(s);

    for (int i = 0; i < s->n_controls; i++)
        nets += CN_MIN(CN_MAX(s->control[i].end - s->control[i].start, 0), 1);
    return s->n * (pixels * (rows * calls_of(s) * nets + OVERHEAD) +
                   second_pass(s, nets));
}

/* A pass over the pixels or a few; a network would be one call. Sides of 0 are the picture's own,
 * which nobody knows yet. */
static double cost_of_annotating(const struct cn_spec *s)
{
    enum { USUAL = 1024 * 1024 };
    double pixels = (double)s->width * s->height;

    return (pixels > 0 ? pixels : USUAL) * 1e-6 * 0.1;
}

double cn_cost(const struct cn_spec *s)
{
    static double (*const cost_of[CN_JOB_KIND_COUNT])(const struct cn_spec *) = {
        [CN_KIND_DRAW] = cost_of_drawing, [CN_KIND_ANNOTATE] = cost_of_annotating};

    return CN_MAX(cost_of[s->kind](s), 1e-6);
}
