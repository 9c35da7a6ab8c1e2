/* Nearest upsampling and the mean over a map. Twins: resample.c.
 *
 * Upsampling: one thread per 16-byte vector of the result; every input element is read from the
 * cache as often as it is repeated, and written once.
 *
 * Mean: blocks of 32x8 threads, a slab of 32 vectors of channels each, over all positions; sums of
 * the 8 rows are joined in shared memory. 1 read, 1 write, few blocks: it runs once per ControlNet
 * with global pooling. */
#include "kernels/cuda/cuda_priv.cuh"

namespace
{

enum { LANES = 32, ROWS = 8, MAX_SIDE = 65535 };

template <class T> struct upsample_op {
    T *y;
    const T *x;
    uint32_t h, w, c, oh, ow;

    /* products of sides stay below 2^32: MAX_SIDE */
    template <int V, class I> __device__ void at(I i) const
    {
        I position = i / c, line = position / ow;
        uint32_t k = (uint32_t)(i - position * c), ox = (uint32_t)(position - line * ow);
        size_t n = line / oh;
        uint32_t oy = (uint32_t)(line - (I)n * oh);
        size_t from = (n * h + oy * h / oh) * w + ox * w / ow;

        cnk_store<V>(y + i, cnk_load<V>(x + from * c + k));
    }
};

template <class T>
int upsample(void *y, const void *x, const struct cnk_upsample_nhwc *a, struct CUstream_st *stream)
{
    upsample_op<T> op = {(T *)y,         (const T *)x,   (uint32_t)a->h, (uint32_t)a->w,
                         (uint32_t)a->c, (uint32_t)a->oh, (uint32_t)a->ow};
    bool wide = cnk_aligned(y) && cnk_aligned(x) && a->c % cnk_width<T> == 0;
    uint64_t positions = (uint64_t)a->n * (uint64_t)a->oh * (uint64_t)a->ow;

    return cnk_map<cnk_width<T>>(op, positions * (uint64_t)a->c, wide, stream);
}

template <class T, int V> __global__ void pool_kernel(T *y, const T *x, uint32_t hw, uint32_t c)
{
    CNK_SHARED(float, part, ROWS * LANES * V); /* [ROWS, LANES, V] */
    uint32_t k = (blockIdx.x * LANES + threadIdx.x) * V;
    size_t row = (size_t)blockIdx.y * hw * c;
    cnk_vec<float, V> sum = {};
    cnk_vec<T, V> out;

    if (k < c)
        for (uint32_t p = threadIdx.y; p < hw; p += ROWS) {
            cnk_vec<T, V> in = cnk_load<V>(x + row + (size_t)p * c + k);
#pragma unroll
            for (int j = 0; j < V; j++)
                sum.v[j] += cnk_float(in.v[j]);
        }
#pragma unroll
    for (int j = 0; j < V; j++)
        part[(threadIdx.y * LANES + threadIdx.x) * V + j] = sum.v[j];
    __syncthreads();
    if (k >= c)
        return;
#pragma unroll
    for (int j = 0; j < V; j++) {
        float all = 0.0f;

        for (uint32_t r = 0; r < ROWS; r++)
            all += part[(r * LANES + threadIdx.x) * V + j];
        out.v[j] = cnk_to<T>(all / (float)hw);
    }
    for (uint32_t p = threadIdx.y; p < hw; p += ROWS)
        cnk_store<V>(y + row + (size_t)p * c + k, out);
}

template <class T, int V>
int pool_width(void *y, const void *x, int n, int hw, int c, struct CUstream_st *stream)
{
    unsigned slabs = ((unsigned)c / V + LANES - 1) / LANES;

    return cnk_launch(pool_kernel<T, V>, dim3(slabs, (unsigned)n), dim3(LANES, ROWS), 0, stream,
                      (T *)y, (const T *)x, hw, c);
}

template <class T> int pool(void *y, const void *x, int n, int hw, int c,
                            struct CUstream_st *stream)
{
    bool wide = cnk_aligned(y) && cnk_aligned(x) && c % cnk_width<T> == 0;

    return wide ? pool_width<T, cnk_width<T>>(y, x, n, hw, c, stream)
                : pool_width<T, 1>(y, x, n, hw, c, stream);
}

} /* namespace */

int cnk_upsample(enum cn_dtype dt, void *y, const void *x, const struct cnk_upsample_nhwc *a,
                 struct CUstream_st *stream)
{
    if (a->n <= 0 || a->h <= 0 || a->w <= 0 || a->c <= 0 || a->oh <= 0 || a->ow <= 0)
        return 0;
    if (a->h > MAX_SIDE || a->w > MAX_SIDE || a->oh > MAX_SIDE || a->ow > MAX_SIDE)
        return cudaErrorInvalidValue;
    return dt == CN_F32 ? upsample<uint32_t>(y, x, a, stream)
                         : upsample<uint16_t>(y, x, a, stream);
}

int cnk_pool_hw(enum cn_dtype dt, void *y, const void *x, int n, int hw, int c,
                struct CUstream_st *stream)
{
    if (n > 65535)
        return cudaErrorInvalidValue;
    if (n <= 0 || hw <= 0 || c <= 0)
        return 0;
    return CNK_DISPATCH(dt, pool, y, x, n, hw, c, stream);
}
