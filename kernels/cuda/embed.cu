/* Embeddings of tokens and of timesteps. Twins: embed.c. */
#include "kernels/cuda/cuda_priv.cuh"

#include <math.h>

namespace
{

template <class T> struct embed_op {
    T *y;
    const int32_t *ids;
    const T *table, *position;
    int32_t *outside;
    uint32_t s, d, vocab;

    template <int V, class I> __device__ void at(I i) const
    {
        I token = i / d;
        uint32_t k = (uint32_t)(i - token * d), id = (uint32_t)ids[token];
        cnk_vec<T, V> out;

        if (id < vocab) { /* as unsigned: negative ids are large */
            cnk_vec<T, V> word = cnk_load<V>(table + (size_t)id * d + k);
            cnk_vec<T, V> place = cnk_load<V>(position + (size_t)(token % s) * d + k);
#pragma unroll
            for (int j = 0; j < V; j++)
                out.v[j] = cnk_to<T>(cnk_float(word.v[j]) + cnk_float(place.v[j]));
        } else {
#pragma unroll
            for (int j = 0; j < V; j++)
                out.v[j] = cnk_to<T>(0.0f);
            if (k == 0 && outside != NULL)
                atomicAdd(outside, 1);
        }
        cnk_store<V>(y + i, out);
    }
};

template <class T>
int embed(void *y, const int32_t *ids, const void *table, const void *position, int32_t *outside,
          const struct cnk_embed *a, struct CUstream_st *stream)
{
    embed_op<T> op = {(T *)y,  ids,           (const T *)table, (const T *)position,
                      outside, (uint32_t)a->s, (uint32_t)a->d,   (uint32_t)a->vocab};
    bool wide = cnk_aligned(y) && cnk_aligned(table) && cnk_aligned(position) &&
                a->d % cnk_width<T> == 0;

    return cnk_map<cnk_width<T>>(op, (uint64_t)a->n * (uint64_t)a->s * (uint64_t)a->d, wide,
                                 stream);
}

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

int cnk_embed(enum cn_dtype dt, void *y, const int32_t *ids, const void *table,
              const void *position, int32_t *outside, const struct cnk_embed *a,
              struct CUstream_st *stream)
{
    return CNK_DISPATCH(dt, embed, y, ids, table, position, outside, a, stream);
}

int cnk_timestep(enum cn_dtype dt, void *y, const float *t, const struct cnk_timestep *a,
                 struct CUstream_st *stream)
{
    return CNK_DISPATCH(dt, timestep, y, t, a, stream);
}
