/* Moves without arithmetic. */
#include "kernels/ref/ref_priv.h"

#include <string.h>

void cnk_ref_concat(float *y, const float *x, const float *z, const struct cnk_concat *a)
{
    size_t row_x = a->cx * a->inner, row_z = a->cz * a->inner;

    for (int n = 0; n < a->n; n++) {
        float *out = y + n * (row_x + row_z);

        memcpy(out, x + n * row_x, row_x * sizeof(*y));
        memcpy(out + row_x, z + n * row_z, row_z * sizeof(*y));
    }
}

/* y[n,j,i] = x[n,i,j]. x [n,rows,columns] */
static void transpose(float *y, const float *x, int n, int rows, int columns)
{
    CNK_OMP(omp parallel for collapse(2) schedule(static)
            if ((double)n * rows * columns > CNK_SMALL))
    for (int b = 0; b < n; b++)
        for (int j = 0; j < columns; j++) {
            const float *in = x + (size_t)b * rows * columns + j;
            float *out = y + ((size_t)b * columns + j) * rows;

            for (int i = 0; i < rows; i++)
                out[i] = in[(size_t)i * columns];
        }
}

void cnk_ref_to_tokens(float *y, const float *x, int n, int c, int hw)
{
    transpose(y, x, n, c, hw);
}

void cnk_ref_from_tokens(float *y, const float *x, int n, int c, int hw)
{
    transpose(y, x, n, hw, c);
}
