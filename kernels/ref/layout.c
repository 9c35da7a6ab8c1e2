/* Moves without arithmetic. */
#include "kernels/ref/ref_priv.h"

#include <math.h>
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

void cnk_ref_to_nhwc(float *y, const float *x, const struct cnk_layout *a)
{
    for (int n = 0; n < a->n; n++)
        for (int p = 0; p < a->hw; p++)
            for (int c = 0; c < a->stride; c++)
                *y++ = c < a->c ? x[((size_t)n * a->c + c) * a->hw + p] : 0.0f;
}

void cnk_ref_from_nhwc(float *y, const float *x, const struct cnk_layout *a)
{
    for (int n = 0; n < a->n; n++)
        for (int c = 0; c < a->c; c++)
            for (int p = 0; p < a->hw; p++)
                *y++ = x[((size_t)n * a->hw + p) * a->stride + c];
}

void cnk_ref_copy_rows(void *y, const int32_t *to, const void *x, const int32_t *from, int rows,
                       size_t bytes)
{
    for (int r = 0; r < rows; r++) {
        int out = to != NULL ? to[r] : r, in = from != NULL ? from[r] : r;

        if (out >= 0 && in >= 0)
            memcpy((char *)y + (size_t)out * bytes, (const char *)x + (size_t)in * bytes, bytes);
    }
}

void cnk_ref_quantize(uint8_t *y, const float *x, const struct cnk_quantize *a)
{
    for (int n = 0; n < a->n; n++)
        for (int p = 0; p < a->hw; p++)
            for (int c = 0; c < 3; c++) {
                size_t at = a->planar ? ((size_t)n * 3 + c) * a->hw + p
                                      : ((size_t)n * a->hw + p) * a->stride + c;
                float v = x[at] * 0.5f + 0.5f;

                *y++ = !(v > 0) ? 0 : (uint8_t)lrintf((v < 1 ? v : 1) * 255);
            }
}
