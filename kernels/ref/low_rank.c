/* What low-rank adapters add to the results of linear layers and convolutions. */
#include "kernels/ref/ref_priv.h"

void cnk_ref_add_low_rank(float *y, const float *t, const float *up, const struct cnk_low_rank *a)
{
    CNK_OMP(omp parallel for collapse(2) schedule(static)
            if ((double)a->n * a->out * a->rank * a->positions > CNK_SMALL))
    for (int n = 0; n < a->n; n++)
        for (int o = 0; o < a->out; o++)
            for (int p = 0; p < a->positions; p++) {
                size_t map = (size_t)n * a->positions + p;
                size_t plane = (size_t)n * a->rank * a->positions + p;
                double sum = 0.0;

                for (int r = 0; r < a->rank; r++)
                    sum += (double)up[(size_t)o * a->rank + r] *
                           (a->tokens ? t[map * a->rank + r]
                                      : t[plane + (size_t)r * a->positions]);
                y[a->tokens ? map * a->out + o
                            : ((size_t)n * a->out + o) * a->positions + p] +=
                    (float)(a->strength * sum);
            }
}
