/* What the files of kernels/cuda share: conversions, vectors, launches, sums over warps and blocks.
 *
 * The same files are compiled by nvcc for a device and, for the tests, by a C++ compiler against
 * tests/kernels/emu. So: no <<<>>>, launches go through cnk_launch(); shared memory is declared
 * with CNK_SHARED and CNK_DYNAMIC_SHARED, which the tests replace; nothing of the C++ library is
 * used, so that programs written in C can link the archive. */
#ifndef CNK_CUDA_PRIV_CUH
#define CNK_CUDA_PRIV_CUH

#include "kernels/cnk.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#ifndef CNK_SHARED
#define CNK_SHARED(type, name, count) __shared__ type name[count]
#define CNK_DYNAMIC_SHARED(name)                                                                   \
    extern __shared__ uint4 cnk_dynamic_shared[];                                                  \
    unsigned char *name = reinterpret_cast<unsigned char *>(cnk_dynamic_shared)
#endif

/* From here on indices are 64 bits wide: a division by a number known at run time then costs
 * several times as much. The tests lower it. */
#ifndef CNK_INDEX_LIMIT
#define CNK_INDEX_LIMIT (UINT64_C(1) << 31)
#endif

enum { CNK_WARP = 32 };

/* ---- elements ---- */

static __device__ __forceinline__ float cnk_float(float x)
{
    return x;
}

static __device__ __forceinline__ float cnk_float(__half x)
{
    return __half2float(x);
}

static __device__ __forceinline__ float cnk_float(__nv_bfloat16 x)
{
    return __bfloat162float(x);
}

/* Rounds to nearest even. The second argument only selects the type. */
static __device__ __forceinline__ float cnk_round(float x, float)
{
    return x;
}

static __device__ __forceinline__ __half cnk_round(float x, __half)
{
    return __float2half_rn(x);
}

static __device__ __forceinline__ __nv_bfloat16 cnk_round(float x, __nv_bfloat16)
{
    return __float2bfloat16_rn(x);
}

template <class T> static __device__ __forceinline__ T cnk_to(float x)
{
    return cnk_round(x, T());
}

/* V elements that move in one instruction. */
template <class T, int V> struct alignas(sizeof(T) * V) cnk_vec {
    T v[V];
};

template <int V, class T>
static __device__ __forceinline__ cnk_vec<T, V> cnk_load(const T *p)
{
    return *reinterpret_cast<const cnk_vec<T, V> *>(p);
}

template <int V, class T>
static __device__ __forceinline__ void cnk_store(T *p, const cnk_vec<T, V> &v)
{
    *reinterpret_cast<cnk_vec<T, V> *>(p) = v;
}

/* V parameters, of any alignment. One at a time, 32 lanes that lie V apart would cost the first
 * level cache more than the tensor does: in vectors where that goes, which is the same for all. */
template <int V> static __device__ __forceinline__ cnk_vec<float, V> cnk_params(const float *p)
{
    cnk_vec<float, V> all;

    if (V % 4 == 0 && reinterpret_cast<uintptr_t>(p) % 16 == 0) {
#pragma unroll
        for (int j = 0; j + 4 <= V; j += 4) {
            cnk_vec<float, 4> part = cnk_load<4>(p + j);
#pragma unroll
            for (int k = 0; k < 4; k++)
                all.v[j + k] = part.v[k];
        }
        return all;
    }
#pragma unroll
    for (int j = 0; j < V; j++)
        all.v[j] = p[j];
    return all;
}

/* The same from element `at` on; without parameters, so many times `otherwise`. */
template <int V>
static __device__ __forceinline__ cnk_vec<float, V> cnk_params_or(const float *p, size_t at,
                                                                  float otherwise)
{
    cnk_vec<float, V> all;

    if (p != NULL)
        return cnk_params<V>(p + at);
#pragma unroll
    for (int j = 0; j < V; j++)
        all.v[j] = otherwise;
    return all;
}

/* How many elements of a type 16 bytes hold. */
template <class T> constexpr int cnk_width = 16 / (int)sizeof(T);

static inline bool cnk_aligned(const void *p)
{
    return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

/* ---- arithmetic ---- */

static __device__ __forceinline__ float cnk_gelu(float x)
{
    return 0.5f * x * (1.0f + erff(x * 0.70710678f));
}

/* expf, not its fast variant: what limits these kernels is memory. Below x = -88 the exponential
 * is infinite and the quotient 0, as it should be. */
static __device__ __forceinline__ float cnk_activate(float x, enum cn_activation act, float slope)
{
    switch (act) {
    case CN_SILU:
        return x / (1.0f + expf(-x));
    case CN_GELU:
        return cnk_gelu(x);
    case CN_QUICK_GELU:
        return x / (1.0f + expf(-1.702f * x));
    case CN_RELU:
        return x < 0.0f ? 0.0f : x; /* NaN stays NaN */
    case CN_SIGMOID:
        return 1.0f / (1.0f + expf(-x));
    case CN_TANH:
        return tanhf(x);
    case CN_LEAKY_RELU:
        return x > 0.0f ? x : slope * x;
    default:
        return x;
    }
}

/* Every lane gets the sum; its order is fixed. */
static __device__ __forceinline__ float cnk_warp_sum(float x)
{
    for (int lane = CNK_WARP / 2; lane > 0; lane /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, lane);
    return x;
}

static __device__ __forceinline__ float cnk_warp_max(float x)
{
    for (int lane = CNK_WARP / 2; lane > 0; lane /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lane));
    return x;
}

/* Sum over a block of whole warps, at most 1024 threads; every thread gets it. `room` holds 32
 * floats and may be used again right away: the first barrier is for those who still read it. */
static __device__ __forceinline__ float cnk_block_sum(float x, float *room)
{
    unsigned warps = blockDim.x / CNK_WARP, lane = threadIdx.x % CNK_WARP;

    x = cnk_warp_sum(x);
    __syncthreads();
    if (lane == 0)
        room[threadIdx.x / CNK_WARP] = x;
    __syncthreads();
    return cnk_warp_sum(lane < warps ? room[lane] : 0.0f);
}

/* ---- launches ---- */

template <class... P, class... A>
static inline int cnk_launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                             struct CUstream_st *stream, A... argument)
{
    cudaLaunchConfig_t config = {};

    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    return (int)cudaLaunchKernelEx(&config, kernel, static_cast<P>(argument)...);
}

/* f<type>(...) for the type that dt names. */
#define CNK_DISPATCH(dt, f, ...)                                                                   \
    ((dt) == CN_F32    ? f<float>(__VA_ARGS__)                                                    \
     : (dt) == CN_F16  ? f<__half>(__VA_ARGS__)                                                   \
     : (dt) == CN_BF16 ? f<__nv_bfloat16>(__VA_ARGS__)                                            \
                        : (int)cudaErrorInvalidValue)

/* The same for f<type, U>(...) */
#define CNK_DISPATCH_WITH(dt, f, U, ...)                                                           \
    ((dt) == CN_F32    ? f<float, U>(__VA_ARGS__)                                                 \
     : (dt) == CN_F16  ? f<__half, U>(__VA_ARGS__)                                                \
     : (dt) == CN_BF16 ? f<__nv_bfloat16, U>(__VA_ARGS__)                                         \
                        : (int)cudaErrorInvalidValue)

/* f<first, second>(...) for two types. */
#define CNK_DISPATCH2(first, second, f, ...)                                                       \
    ((second) == CN_F32    ? CNK_DISPATCH_WITH(first, f, float, __VA_ARGS__)                      \
     : (second) == CN_F16  ? CNK_DISPATCH_WITH(first, f, __half, __VA_ARGS__)                     \
     : (second) == CN_BF16 ? CNK_DISPATCH_WITH(first, f, __nv_bfloat16, __VA_ARGS__)              \
                            : (int)cudaErrorInvalidValue)

/* Blocks for that many items when a loop strides over the grid. The bound is some waves of the
 * largest device: more blocks would only be started, more work per block costs nothing. */
static inline unsigned cnk_blocks(uint64_t items, unsigned block)
{
    uint64_t blocks = (items + block - 1) / block;

    return (unsigned)(blocks < 8192 ? blocks : 8192);
}

/* ---- maps: one output vector per step, no thread needs another ---- */

/* Op::at<V, I>(i) writes elements i .. i + V - 1. What is left behind the last whole vector is done
 * one at a time. */
template <class Op, int V, class I> static __global__ void cnk_map_kernel(Op op, I vectors, I count)
{
    I first = (I)blockIdx.x * blockDim.x + threadIdx.x, step = (I)gridDim.x * blockDim.x;

    for (I i = first; i < vectors; i += step)
        op.template at<V, I>(i * V);
    for (I i = vectors * V + first; i < count; i += step)
        op.template at<1, I>(i);
}

template <int V, class Op>
static inline int cnk_map_width(const Op &op, uint64_t count, struct CUstream_st *stream)
{
    enum { BLOCK = 256 };
    unsigned grid = cnk_blocks((count + V - 1) / V, BLOCK);

    if (count < CNK_INDEX_LIMIT)
        return cnk_launch(cnk_map_kernel<Op, V, uint32_t>, grid, BLOCK, 0, stream, op, count / V,
                          count);
    return cnk_launch(cnk_map_kernel<Op, V, uint64_t>, grid, BLOCK, 0, stream, op, count / V,
                      count);
}

/* wide: every tensor of the op is aligned, and the op may see V elements at once. */
template <int V, class Op>
static inline int cnk_map(const Op &op, uint64_t count, bool wide, struct CUstream_st *stream)
{
    if (count == 0)
        return 0;
    return wide ? cnk_map_width<V>(op, count, stream) : cnk_map_width<1>(op, count, stream);
}

#endif
