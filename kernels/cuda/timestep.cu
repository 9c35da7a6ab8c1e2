/* Embeddings of timesteps. Twins: timestep.c. */
#include "kernels/cuda/cuda_priv.cuh"

#include <math.h>

namespace
{

/* One thread per frequency. The exponential and the sines are taken in binary64 and rounded, which
 * is the correctly rounded binary32 result nearly always: an error of one unit in the frequency,
 * times t = 999, would be 6e-5 in the sine. A row has some hundred elements: time is no matter. */
template <class T> struct timestep_op {
    T *y;
    const float *t;
    uint32_t half, dim, cosine, sine;
    int freq_shift;

    template <int V, class I> __device__ void at(I i) const
    {
        uint32_t per_row = half + dim % 2, n = (uint32_t)(i / per_row);
        uint32_t k = (uint32_t)(i - (I)n * per_row);
        T *out = y + (size_t)n * dim;

        if (k == half) { /* odd dim */
            out[dim - 1] = cnk_to<T>(0.0f);
            return;
        }
        float exponent = -9.210340371976184f * (float)k / (float)((int)half - freq_shift);
        float angle = t[n] * (float)exp((double)exponent);

        out[cosine + k] = cnk_to<T>((float)cos((double)angle));
        out[sine + k] = cnk_to<T>((float)sin((double)angle));
    }
};

template <class T>
int timestep(void *y, const float *t, const struct cnk_timestep *a, struct CUstream_st *stream)
{
    uint32_t half = (uint32_t)a->dim / 2, cosine = a->cos_first ? 0 : half;
    timestep_op<T> op = {(T *)y, t, half, (uint32_t)a->dim, cosine, half - cosine, a->freq_shift};

    return cnk_map<1>(op, (uint64_t)a->n * (half + (uint32_t)a->dim % 2), false, stream);
}

} /* namespace */

int cnk_timestep(enum cn_dtype dt, void *y, const float *t, const struct cnk_timestep *a,
                 struct CUstream_st *stream)
{
    return CNK_DISPATCH(dt, timestep, y, t, a, stream);
}
