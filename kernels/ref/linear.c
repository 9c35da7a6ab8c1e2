/* Linear layers. */
#include "kernels/ref/ref_priv.h"

/* Rows that pass one weight row while it is in the first-level cache. */
enum { ROWS = 16 };

double cnk_ref_dot(const float *x, const float *y, int n)
{
    double sum = 0.0;

    CNK_OMP(omp simd reduction(+ : sum))
    for (int i = 0; i < n; i++)
        sum += (double)x[i] * y[i];
    return sum;
}

static void column(float *y, const float *x, const float *w, double start, const float *residual,
                   const struct cnk_linear *a, int rows)
{
    for (int r = 0; r < rows; r++) {
        size_t at = (size_t)r * a->out;
        double v = start + cnk_ref_dot(x + (size_t)r * a->k, w, a->k);

        if (residual != NULL)
            v += residual[at];
        y[at] = (float)cnk_ref_activate(v, a->act, a->slope);
    }
}

void cnk_ref_linear(float *y, const float *x, const float *w, const float *bias,
                    const float *residual, const struct cnk_linear *a)
{
    CNK_OMP(omp parallel for collapse(2) schedule(static)
            if ((double)a->rows * a->k * a->out > CNK_SMALL))
    for (int r = 0; r < a->rows; r += ROWS)
        for (int o = 0; o < a->out; o++) {
            size_t at = (size_t)r * a->out + o;
            int rows = a->rows - r < ROWS ? a->rows - r : ROWS;

            column(y + at, x + (size_t)r * a->k, w + (size_t)o * a->k,
                   bias != NULL ? bias[o] : 0.0, residual != NULL ? residual + at : NULL, a, rows);
        }
}
