/* Products of two tensors, and sums over dimensions. */
#include "kernels/ref/ref_priv.h"

#include <math.h>

void cnk_ref_matmul(float *y, const float *x, const float *z, const struct cnk_matmul *a)
{
    int64_t xi = a->transpose_x ? 1 : a->k, xk = a->transpose_x ? a->m : 1;
    int64_t zk = a->transpose_z ? 1 : a->n, zj = a->transpose_z ? a->k : 1;

    CNK_OMP(omp parallel for collapse(2) schedule(static)
            if ((double)a->batch * a->m * a->k * a->n > CNK_SMALL))
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t i = 0; i < a->m; i++) {
            const float *row = x + b * a->m * a->k + i * xi;
            const float *mat = z + (a->shared ? 0 : b * a->k * a->n);

            for (int64_t j = 0; j < a->n; j++) {
                double sum = 0.0;

                for (int64_t k = 0; k < a->k; k++)
                    sum += (double)row[k * xk] * mat[k * zk + j * zj];
                y[(b * a->m + i) * a->n + j] = (float)(a->alpha * sum);
            }
        }
}

static float reduce_line(const float *x, const struct cnk_reduce *a)
{
    double sum = 0.0, most = -INFINITY;

    for (int64_t r = 0; r < a->count; r++) {
        double v = x[r * a->inner];

        sum += v;
        if (!(v <= most) && !isnan(most)) /* NaN wins, and stays */
            most = v;
    }
    return (float)(a->kind == CNK_MAX ? most : a->kind == CNK_MEAN ? sum / a->count : sum);
}

void cnk_ref_reduce(float *y, const float *x, const struct cnk_reduce *a)
{
    CNK_OMP(omp parallel for collapse(2) schedule(static)
            if ((double)a->outer * a->count * a->inner > CNK_SMALL))
    for (int64_t o = 0; o < a->outer; o++)
        for (int64_t i = 0; i < a->inner; i++)
            y[o * a->inner + i] = reduce_line(x + o * a->count * a->inner + i, a);
}
