/* Changes of spatial resolution. */
#include "kernels/ref/ref_priv.h"

void cnk_ref_upsample(float *y, const float *x, const struct cnk_upsample *a)
{
    CNK_OMP(omp parallel for collapse(2) schedule(static)
            if ((double)a->planes * a->oh * a->ow > CNK_SMALL))
    for (int p = 0; p < a->planes; p++)
        for (int i = 0; i < a->oh; i++) {
            const float *row = x + ((size_t)p * a->h + (int64_t)i * a->h / a->oh) * a->w;
            float *out = y + ((size_t)p * a->oh + i) * a->ow;

            for (int j = 0; j < a->ow; j++)
                out[j] = row[(int64_t)j * a->w / a->ow];
        }
}

void cnk_ref_pool_hw(float *y, const float *x, int planes, int hw)
{
    CNK_OMP(omp parallel for schedule(static) if ((double)planes * hw > CNK_SMALL))
    for (int p = 0; p < planes; p++) {
        size_t at = (size_t)p * hw;
        double sum = 0.0;

        for (int i = 0; i < hw; i++)
            sum += x[at + i];
        for (int i = 0; i < hw; i++)
            y[at + i] = (float)(sum / hw);
    }
}
