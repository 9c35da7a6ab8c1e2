/* Group norm, layer norm, softmax. */
#include "kernels/ref/ref_priv.h"

#include <math.h>

static double channel_add(const struct cnk_group_norm *a, const float *t, int n, int c)
{
    return t != NULL ? t[(size_t)n * a->t_width + a->t_offset + c] : 0.0;
}

struct statistics {
    double mean, scale; /* scale: 1 / sqrt(variance + eps) */
};

/* Of one group. Two passes: the difference of two large sums
 * would lose the variance of a group far from zero. */
static struct statistics group_statistics(const struct cnk_group_norm *a, const float *x,
                                          const float *t, int n, int group)
{
    int per_group = a->c / a->groups, first = group * per_group;
    double mean = 0.0, var = 0.0, count = (double)per_group * a->hw;

    for (int c = first; c < first + per_group; c++) {
        const float *plane = x + ((size_t)n * a->c + c) * a->hw;
        double add = channel_add(a, t, n, c);

        for (int p = 0; p < a->hw; p++)
            mean += plane[p] + add;
    }
    mean /= count;
    for (int c = first; c < first + per_group; c++) {
        const float *plane = x + ((size_t)n * a->c + c) * a->hw;
        double add = channel_add(a, t, n, c) - mean;

        for (int p = 0; p < a->hw; p++)
            var += (plane[p] + add) * (plane[p] + add);
    }
    return (struct statistics){mean, 1.0 / sqrt(var / count + a->eps)};
}

void cnk_ref_group_norm(float *y, const float *x, const float *gamma, const float *beta,
                        const float *t, const struct cnk_group_norm *a)
{
    int per_group = a->c / a->groups;

    CNK_OMP(omp parallel for collapse(2) schedule(static) if ((double)a->c * a->hw > CNK_SMALL))
    for (int n = 0; n < a->n; n++)
        for (int group = 0; group < a->groups; group++) {
            struct statistics st = group_statistics(a, x, t, n, group);

            for (int c = group * per_group; c < (group + 1) * per_group; c++) {
                size_t at = ((size_t)n * a->c + c) * a->hw;
                double add = channel_add(a, t, n, c) - st.mean;
                double s = gamma != NULL ? st.scale * gamma[c] : st.scale;
                double b = beta != NULL ? beta[c] : 0.0;

                for (int p = 0; p < a->hw; p++)
                    y[at + p] =
                        (float)cnk_ref_activate((x[at + p] + add) * s + b, a->act, a->slope);
            }
        }
}

void cnk_ref_layer_norm(float *y, const float *x, const float *gamma, const float *beta,
                        const struct cnk_layer_norm *a)
{
    CNK_OMP(omp parallel for schedule(static) if ((double)a->rows * a->d > CNK_SMALL))
    for (int r = 0; r < a->rows; r++) {
        const float *in = x + (size_t)r * a->d;
        float *out = y + (size_t)r * a->d;
        double mean = 0.0, var = 0.0, scale;

        for (int i = 0; i < a->d; i++)
            mean += in[i];
        mean /= a->d;
        for (int i = 0; i < a->d; i++)
            var += (in[i] - mean) * (in[i] - mean);
        scale = 1.0 / sqrt(var / a->d + a->eps);
        for (int i = 0; i < a->d; i++)
            out[i] = (float)((in[i] - mean) * scale * gamma[i] + beta[i]);
    }
}

void cnk_ref_softmax(float *y, const float *x, size_t rows, int columns, float scale)
{
    for (size_t r = 0; r < rows; r++) {
        const float *in = x + r * columns;
        float *out = y + r * columns;
        double max = -INFINITY, sum = 0.0;

        for (int i = 0; i < columns; i++)
            max = fmax(max, (double)scale * in[i]);
        for (int i = 0; i < columns; i++)
            sum += exp((double)scale * in[i] - max);
        for (int i = 0; i < columns; i++)
            out[i] = (float)(exp((double)scale * in[i] - max) / sum);
    }
}
