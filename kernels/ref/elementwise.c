/* Sums and products of tensors of one shape, or with one factor per channel or row. */
#include "kernels/ref/ref_priv.h"

#include <math.h>
#include <string.h>

void cnk_ref_add(float *y, const float *x, const float *z, size_t count)
{
    CNK_OMP(omp parallel for schedule(static) if (count > CNK_SMALL))
    for (size_t i = 0; i < count; i++)
        y[i] = x[i] + z[i]; /* one rounding either way: binary64 would not change it */
}

void cnk_ref_mul(float *y, const float *x, const float *z, size_t count)
{
    CNK_OMP(omp parallel for schedule(static) if (count > CNK_SMALL))
    for (size_t i = 0; i < count; i++)
        y[i] = x[i] * z[i];
}

void cnk_ref_scale(float *y, const float *x, size_t count, float alpha)
{
    CNK_OMP(omp parallel for schedule(static) if (count > CNK_SMALL))
    for (size_t i = 0; i < count; i++)
        y[i] = alpha * x[i];
}

void cnk_ref_bias_act(float *y, const float *x, const float *bias, const float *residual,
                      const struct cnk_bias_act *a)
{
    for (size_t r = 0; r < a->rows; r++)
        for (size_t c = 0; c < (size_t)a->c; c++) {
            size_t i = r * (size_t)a->c + c;
            double v = (double)a->alpha * x[i];

            v += bias != NULL ? bias[c] : 0.0;
            v += residual != NULL ? residual[i] : 0.0;
            y[i] = (float)cnk_ref_activate(v, a->act, a->slope);
        }
}

void cnk_ref_add_channel(float *y, const float *x, const float *t, const struct cnk_add_channel *a)
{
    CNK_OMP(omp parallel for collapse(2) schedule(static) if ((double)a->c * a->hw > CNK_SMALL))
    for (int n = 0; n < a->n; n++)
        for (int c = 0; c < a->c; c++) {
            size_t at = ((size_t)n * a->c + c) * a->hw;
            float add = t[(size_t)n * a->t_width + a->t_offset + c];

            for (int p = 0; p < a->hw; p++)
                y[at + p] = x[at + p] + add;
        }
}

void cnk_ref_add_rows(float *y, const float *x, const float *z, const float *w,
                      const struct cnk_add_rows *a)
{
    for (int n = 0; n < a->n; n++) {
        double factor = w[(size_t)n * a->w_width + a->w_offset];
        size_t at = (size_t)n * a->row;

        if (factor == 0.0) {
            memcpy(y + at, x + at, a->row * sizeof(*y));
            continue;
        }
        CNK_OMP(omp parallel for schedule(static) if (a->row > CNK_SMALL))
        for (size_t i = 0; i < a->row; i++)
            y[at + i] = (float)(x[at + i] + factor * z[at + i]);
    }
}
