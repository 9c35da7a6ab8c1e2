/* Embeddings of timesteps. */
#include "kernels/ref/ref_priv.h"

#include <math.h>

void cnk_ref_timestep(float *y, const float *t, const struct cnk_timestep *a)
{
    int half = a->dim / 2, cosine = a->cos_first ? 0 : half, sine = half - cosine;
    float scale = -9.210340371976184f; /* -ln(10000) */

    for (int n = 0; n < a->n; n++) {
        float *out = y + (size_t)n * a->dim;

        for (int i = 0; i < half; i++) {
            float exponent = scale * (float)i / (float)(half - a->freq_shift);
            float angle = t[n] * (float)exp(exponent);

            out[cosine + i] = (float)cos(angle);
            out[sine + i] = (float)sin(angle);
        }
        if (a->dim % 2 != 0)
            out[a->dim - 1] = 0.0f;
    }
}
