/* Guidance and the samplers' update, as tables of numbers: cnk_types.h. */
#include "kernels/ref/ref_priv.h"

/* One element of one lane: what the tables multiply, and where results go. */
struct element {
    double in[CNK_LANE_IN];
    float *out[CNK_LANE_OUT]; /* NULL: the caller keeps no such array */
};

static double combine(const float *m, const struct element *e)
{
    double sum = 0.0;

    for (int i = 0; i < CNK_LANE_IN; i++)
        if (m[i] != 0.0f) /* what has no weight may be NaN */
            sum += (double)m[i] * e->in[i];
    return sum;
}

static double answer(const float *e, const struct cnk_lane *lane, const struct cnk_update *a,
                     size_t p, size_t c)
{
    double with = e[((size_t)lane->row * a->pixels + p) * a->e_stride + c], without;

    if (lane->row_uncond < 0)
        return with;
    without = e[((size_t)lane->row_uncond * a->pixels + p) * a->e_stride + c];
    return without + lane->guidance * (with - without);
}

static void show(float *in, int row, const struct cnk_update *a, size_t p, size_t c, double x)
{
    if (in != NULL && row >= 0)
        in[((size_t)row * a->pixels + p) * a->in_stride + c] = (float)x;
}

void cnk_ref_update(float *x, float *h, const float *z, const float *e, float *in,
                    const struct cnk_lane *lanes, const struct cnk_update *a)
{
    size_t count = (size_t)a->pixels * a->c;

    for (int l = 0; l < a->lanes; l++)
        for (size_t i = 0; i < count && lanes[l].row >= 0; i++) {
            size_t p = i / (size_t)a->c, c = i % (size_t)a->c, at = l * count + i;
            struct element v = {.out = {&x[at]}};
            double result[CNK_LANE_OUT];

            v.in[0] = x[at];
            v.in[1] = answer(e, &lanes[l], a, p, c);
            v.in[2] = z != NULL ? z[at] : 0.0;
            for (int k = 0; k < CNK_HISTORY && h != NULL; k++) {
                v.out[1 + k] = &h[((size_t)l * CNK_HISTORY + k) * count + i];
                v.in[3 + k] = *v.out[1 + k];
            }
            for (int o = 0; o < CNK_LANE_OUT; o++)
                result[o] = combine(lanes[l].m[o], &v);
            for (int o = 0; o < CNK_LANE_OUT; o++)
                if (v.out[o] != NULL)
                    *v.out[o] = (float)result[o];
            show(in, lanes[l].row, a, p, c, result[0] * lanes[l].in_scale);
            show(in, lanes[l].row_uncond, a, p, c, result[0] * lanes[l].in_scale);
        }
}
