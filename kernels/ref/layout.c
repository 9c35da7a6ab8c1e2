/* Moves without arithmetic. */
#include "kernels/ref/ref_priv.h"

#include <math.h>
#include <string.h>

void cnk_ref_concat(float *y, const float *x, const struct cnk_concat *a)
{
    CNK_OMP(omp parallel for schedule(static) if (a->outer * a->width > CNK_SMALL))
    for (size_t o = 0; o < a->outer; o++)
        memcpy(y + o * a->whole + a->at, x + o * a->width, a->width * sizeof(*y));
}

void cnk_ref_strided(float *y, const float *x, const struct cnk_strided *a)
{
    const int64_t *d = a->dim, *s = a->stride;
    int64_t inner = d[3] * d[4] * d[5];

    CNK_OMP(omp parallel for collapse(3) schedule(static)
            if ((double)d[0] * d[1] * d[2] * inner > CNK_SMALL))
    for (int64_t i = 0; i < d[0]; i++)
        for (int64_t j = 0; j < d[1]; j++)
            for (int64_t k = 0; k < d[2]; k++) {
                const float *from = x + a->offset + i * s[0] + j * s[1] + k * s[2];
                float *to = y + ((i * d[1] + j) * d[2] + k) * inner;

                for (int64_t l = 0; l < d[3]; l++)
                    for (int64_t m = 0; m < d[4]; m++)
                        for (int64_t n = 0; n < d[5]; n++)
                            *to++ = from[l * s[3] + m * s[4] + n * s[5]];
            }
}

int cnk_ref_gather(float *y, const float *x, const int32_t *ids, const struct cnk_gather *a)
{
    int outside = 0;

    for (int n = 0; n < a->n; n++)
        for (int t = 0; t < a->t; t++) {
            float *to = y + ((size_t)n * a->t + t) * a->d;
            int32_t id = ids[(size_t)n * a->t + t];

            if (id < 0 || id >= a->s) {
                memset(to, 0, (size_t)a->d * sizeof(*to));
                outside++;
            } else {
                memcpy(to, x + ((size_t)n * a->s + id) * a->d, (size_t)a->d * sizeof(*to));
            }
        }
    return outside;
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
