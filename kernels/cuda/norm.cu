/* Layer norm and softmax: statistics along rows that lie dense in memory.
 *
 * Layer norm: one warp per row, 4 rows per block; a row of up to 1280 elements stays in registers
 * (all of SD 1.5 and 2), so that x is read once; wider rows are read three times, from the first
 * level cache. Mean first, then deviations: no squares of large numbers. Twin: cnk_ref_layer_norm.
 *
 * Softmax: one block of 256 per row; maximum and sum in one pass, rescaled when a larger value
 * appears (Milakov and Gimelshein 2018, arXiv:1805.02867), then a second pass writes. 2 reads, 1
 * write. Twin: cnk_ref_softmax. */
#include "kernels/cuda/cuda_priv.cuh"

#include <math.h>

namespace
{

enum { WARPS = 4, KEPT = 40 /* elements per lane */, SOFTMAX_BLOCK = 256 };

/* ---- layer norm ---- */

/* The row's vectors in lane order: v[u] is vector u 32 + lane. */
template <class T, int V>
__global__ void kept_kernel(T *y, const T *x, const float *gamma, const float *beta, uint32_t rows,
                            uint32_t d, float eps)
{
    enum { VECTORS = KEPT / V };
    uint32_t row = blockIdx.x * WARPS + threadIdx.x / CNK_WARP, lane = threadIdx.x % CNK_WARP;
    float v[VECTORS][V], sum = 0.0f, square = 0.0f;

    if (row >= rows) /* the whole warp */
        return;
    x += (size_t)row * d;
    y += (size_t)row * d;
#pragma unroll
    for (uint32_t u = 0; u < VECTORS; u++) {
        uint32_t i = (u * CNK_WARP + lane) * V;

        if (i < d) {
            cnk_vec<T, V> in = cnk_load<V>(x + i);
#pragma unroll
            for (int j = 0; j < V; j++) {
                v[u][j] = cnk_float(in.v[j]);
                sum += v[u][j];
            }
        }
    }
    float mean = cnk_warp_sum(sum) / (float)d;
#pragma unroll
    for (uint32_t u = 0; u < VECTORS; u++)
        if ((u * CNK_WARP + lane) * V < d)
#pragma unroll
            for (int j = 0; j < V; j++)
                square += (v[u][j] - mean) * (v[u][j] - mean);
    float scale = 1.0f / sqrtf(cnk_warp_sum(square) / (float)d + eps);
#pragma unroll
    for (uint32_t u = 0; u < VECTORS; u++) {
        uint32_t i = (u * CNK_WARP + lane) * V;

        if (i < d) {
            cnk_vec<float, V> g = cnk_params<V>(gamma + i), b = cnk_params<V>(beta + i);
            cnk_vec<T, V> out;
#pragma unroll
            for (int j = 0; j < V; j++)
                out.v[j] = cnk_to<T>((v[u][j] - mean) * scale * g.v[j] + b.v[j]);
            cnk_store<V>(y + i, out);
        }
    }
}

/* Any width. In place is fine: a lane writes what only it has read. */
template <class T, int V>
__global__ void wide_kernel(T *y, const T *x, const float *gamma, const float *beta, uint32_t rows,
                            uint32_t d, float eps)
{
    uint32_t row = blockIdx.x * WARPS + threadIdx.x / CNK_WARP;
    uint32_t lane = threadIdx.x % CNK_WARP * V;
    float sum = 0.0f, square = 0.0f;

    if (row >= rows)
        return;
    x += (size_t)row * d;
    y += (size_t)row * d;
    for (uint32_t i = lane; i < d; i += CNK_WARP * V) {
        cnk_vec<T, V> in = cnk_load<V>(x + i);
#pragma unroll
        for (int j = 0; j < V; j++)
            sum += cnk_float(in.v[j]);
    }
    float mean = cnk_warp_sum(sum) / (float)d;

    for (uint32_t i = lane; i < d; i += CNK_WARP * V) {
        cnk_vec<T, V> in = cnk_load<V>(x + i);
#pragma unroll
        for (int j = 0; j < V; j++)
            square += (cnk_float(in.v[j]) - mean) * (cnk_float(in.v[j]) - mean);
    }
    float scale = 1.0f / sqrtf(cnk_warp_sum(square) / (float)d + eps);

    for (uint32_t i = lane; i < d; i += CNK_WARP * V) {
        cnk_vec<float, V> g = cnk_params<V>(gamma + i), b = cnk_params<V>(beta + i);
        cnk_vec<T, V> in = cnk_load<V>(x + i);
#pragma unroll
        for (int j = 0; j < V; j++)
            in.v[j] = cnk_to<T>((cnk_float(in.v[j]) - mean) * scale * g.v[j] + b.v[j]);
        cnk_store<V>(y + i, in);
    }
}

template <class T, int V>
int layer_norm_width(void *y, const void *x, const float *gamma, const float *beta,
                     const struct cnk_layer_norm *a, struct CUstream_st *stream)
{
    unsigned grid = ((unsigned)a->rows + WARPS - 1) / WARPS;

    return cnk_launch(a->d <= KEPT * CNK_WARP ? kept_kernel<T, V> : wide_kernel<T, V>, grid,
                      WARPS * CNK_WARP, 0, stream, (T *)y, (const T *)x, gamma, beta, a->rows, a->d,
                      a->eps);
}

template <class T>
int layer_norm(void *y, const void *x, const float *gamma, const float *beta,
               const struct cnk_layer_norm *a, struct CUstream_st *stream)
{
    bool wide = cnk_aligned(y) && cnk_aligned(x) && a->d % cnk_width<T> == 0;

    if (a->rows <= 0 || a->d <= 0)
        return 0;
    return wide ? layer_norm_width<T, cnk_width<T>>(y, x, gamma, beta, a, stream)
                : layer_norm_width<T, 1>(y, x, gamma, beta, a, stream);
}

/* ---- softmax ---- */

struct peak {
    float max, sum; /* sum of exp(x - max) */
};

/* Of two parts of a row; -infinity and 0 is the empty part. */
__device__ __forceinline__ peak join(peak a, peak b)
{
    float max = fmaxf(a.max, b.max);

    if (max == -INFINITY)
        return a;
    return {max, a.sum * expf(a.max - max) + b.sum * expf(b.max - max)};
}

__device__ peak join_warp(peak p)
{
    for (int lane = CNK_WARP / 2; lane > 0; lane /= 2)
        p = join(p, {__shfl_xor_sync(0xffffffffu, p.max, lane),
                     __shfl_xor_sync(0xffffffffu, p.sum, lane)});
    return p;
}

template <class T, int V> __device__ peak find_peak(const T *x, uint32_t columns, float scale)
{
    peak p = {-INFINITY, 0.0f};

    for (uint32_t i = threadIdx.x * V; i < columns; i += blockDim.x * V) {
        cnk_vec<T, V> in = cnk_load<V>(x + i);
        float max = p.max, sum = 0.0f;
#pragma unroll
        for (int j = 0; j < V; j++)
            max = fmaxf(max, scale * cnk_float(in.v[j]));
#pragma unroll
        for (int j = 0; j < V; j++)
            sum += expf(scale * cnk_float(in.v[j]) - max);
        p = {max, p.sum * expf(p.max - max) + sum};
    }
    return p;
}

template <class Y, class X, int V>
__global__ void softmax_kernel(Y *y, const X *x, uint32_t columns, float scale)
{
    CNK_SHARED(peak, room, SOFTMAX_BLOCK / CNK_WARP);
    uint32_t lane = threadIdx.x % CNK_WARP;
    peak p;

    x += (size_t)blockIdx.x * columns;
    y += (size_t)blockIdx.x * columns;
    p = join_warp(find_peak<X, V>(x, columns, scale));
    if (lane == 0)
        room[threadIdx.x / CNK_WARP] = p;
    __syncthreads();
    p = {-INFINITY, 0.0f};
    if (lane < SOFTMAX_BLOCK / CNK_WARP)
        p = room[lane];
    p = join_warp(p);
    float factor = 1.0f / p.sum;

    for (uint32_t i = threadIdx.x * V; i < columns; i += blockDim.x * V) {
        cnk_vec<X, V> in = cnk_load<V>(x + i);
        cnk_vec<Y, V> out;
#pragma unroll
        for (int j = 0; j < V; j++)
            out.v[j] = cnk_to<Y>(expf(scale * cnk_float(in.v[j]) - p.max) * factor);
        cnk_store<V>(y + i, out);
    }
}

template <class Y, class X>
int softmax(void *y, const void *x, size_t rows, int columns, float scale,
            struct CUstream_st *stream)
{
    constexpr int width = 16 / (int)(sizeof(Y) > sizeof(X) ? sizeof(Y) : sizeof(X));
    bool wide = cnk_aligned(y) && cnk_aligned(x) && columns % width == 0;

    if (rows == 0 || columns <= 0)
        return 0;
    if (rows > 0x7fffffffu)
        return cudaErrorInvalidValue;
    return cnk_launch(wide ? softmax_kernel<Y, X, width> : softmax_kernel<Y, X, 1>, (unsigned)rows,
                      SOFTMAX_BLOCK, 0, stream, (Y *)y, (const X *)x, columns, scale);
}

} /* namespace */

int cnk_layer_norm(enum cn_dtype dt, void *y, const void *x, const float *gamma,
                   const float *beta, const struct cnk_layer_norm *a, struct CUstream_st *stream)
{
    return CNK_DISPATCH(dt, layer_norm, y, x, gamma, beta, a, stream);
}

int cnk_softmax(enum cn_dtype ydt, void *y, enum cn_dtype xdt, const void *x, size_t rows,
                int columns, float scale, struct CUstream_st *stream)
{
    return CNK_DISPATCH2(ydt, xdt, softmax, y, x, rows, columns, scale, stream);
}
