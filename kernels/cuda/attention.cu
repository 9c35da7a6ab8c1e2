/* Attention for head dimensions and masks that cuDNN does not take. Twin: cnk_ref_attention.
 *
 * Grid (tiles of 16 queries, heads, n), blocks of 4 warps, 4 queries per warp. Keys and values pass
 * in tiles of 32 tokens by 64 columns through shared memory, so that heads of any size up to 512
 * fit. Scores: a lane has a key, and its dot products with the warp's 4 queries (shared memory,
 * read by all lanes at once). Values: a lane has columns, and adds 32 weighted rows. Running
 * maximum and sum are rescaled tile by tile (Milakov and Gimelshein 2018, arXiv:1805.02867).
 *
 * Shared memory: queries 16 x 64 CHUNKS floats, tile 32 x 65 (a row more than 64, so that the lanes
 * of a column use different banks), weights 16 x 32: at most 42.3 KiB. No tensor cores: where time
 * matters (self and cross attention of UNet and ControlNet) cuDNN does the work; what is left is
 * CLIP's causal mask over 77 tokens, and odd sizes. */
#include "kernels/cuda/cuda_priv.cuh"

#include <math.h>

namespace
{

enum {
    WARPS = 4,
    PER_WARP = 4, /* queries */
    QUERIES = WARPS * PER_WARP,
    KEYS = CNK_WARP,
    CHUNK = 64,
    PITCH = CHUNK + 1
};

/* Tokens [first, first + KEYS) by columns [column, column + CHUNK) of a head; zeros outside. All
 * threads; waits before, for readers of what the tile held, and after. */
template <class T>
__device__ void load_tile(float *tile, const T *x, size_t stride, int first, int tokens, int column,
                          int dh)
{
    __syncthreads();
    for (unsigned i = threadIdx.x; i < KEYS * CHUNK; i += WARPS * CNK_WARP) {
        int token = (int)(i / CHUNK), k = (int)(i % CHUNK);
        bool inside = first + token < tokens && column + k < dh;

        tile[token * PITCH + k] =
            inside ? cnk_float(x[(size_t)(first + token) * stride + (size_t)(column + k)]) : 0.0f;
    }
    __syncthreads();
}

/* What a warp knows of its queries. */
template <int CHUNKS> struct running {
    float max[PER_WARP], sum[PER_WARP];
    float out[PER_WARP][2 * CHUNKS]; /* columns 32 i + lane */
};

/* score of the lane's key: exp(score - max) goes to weight[q][lane] */
template <int CHUNKS>
__device__ void absorb(running<CHUNKS> *r, const float *score, float *weight, unsigned lane)
{
#pragma unroll
    for (int q = 0; q < PER_WARP; q++) {
        float max = fmaxf(r->max[q], cnk_warp_max(score[q]));
        float p = expf(score[q] - max), keep = expf(r->max[q] - max);

        r->max[q] = max;
        r->sum[q] = r->sum[q] * keep + cnk_warp_sum(p);
#pragma unroll
        for (int i = 0; i < 2 * CHUNKS; i++)
            r->out[q][i] *= keep;
        weight[q * KEYS + (int)lane] = p;
    }
}

template <class T, int CHUNKS>
__global__ void attention_kernel(T *y, const T *q, const T *k, const T *v,
                                 cnk_strided_attention a)
{
    CNK_SHARED(float, query, QUERIES * CHUNKS * CHUNK);
    CNK_SHARED(float, tile, KEYS * PITCH);
    CNK_SHARED(float, all_weights, QUERIES * KEYS);
    unsigned warp = threadIdx.x / CNK_WARP, lane = threadIdx.x % CNK_WARP;
    int first = (int)blockIdx.x * QUERIES, mine = first + (int)warp * PER_WARP;
    int last = first + QUERIES < a.s ? first + QUERIES : a.s; /* query after the tile's last */
    int keys = a.causal && last < a.t ? last : a.t;
    const float *own = query + warp * PER_WARP * CHUNKS * CHUNK;
    float *weight = all_weights + warp * PER_WARP * KEYS;
    running<CHUNKS> r;

    q += (size_t)blockIdx.z * a.s * a.q_stride + (size_t)blockIdx.y * a.dh;
    k += (size_t)blockIdx.z * a.t * a.k_stride + (size_t)blockIdx.y * a.dh;
    v += (size_t)blockIdx.z * a.t * a.v_stride + (size_t)blockIdx.y * a.dh;
    y += (size_t)blockIdx.z * a.s * a.y_stride + (size_t)blockIdx.y * a.dh;
    for (unsigned i = threadIdx.x; i < QUERIES * CHUNKS * CHUNK; i += WARPS * CNK_WARP) {
        int token = first + (int)(i / (CHUNKS * CHUNK)), column = (int)(i % (CHUNKS * CHUNK));
        bool inside = token < a.s && column < a.dh;

        query[i] = inside ? a.scale * cnk_float(q[(size_t)token * a.q_stride + column]) : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < PER_WARP; i++) {
        r.max[i] = -INFINITY;
        r.sum[i] = 0.0f;
#pragma unroll
        for (int c = 0; c < 2 * CHUNKS; c++)
            r.out[i][c] = 0.0f;
    }
    for (int from = 0; from < keys; from += KEYS) {
        int key = from + (int)lane;
        float score[PER_WARP] = {};

#pragma unroll
        for (int c = 0; c < CHUNKS; c++) {
            load_tile(tile, k, (size_t)a.k_stride, from, a.t, c * CHUNK, a.dh);
#pragma unroll 8
            for (int i = 0; i < CHUNK; i++)
#pragma unroll
                for (int j = 0; j < PER_WARP; j++)
                    score[j] +=
                        own[(j * CHUNKS + c) * CHUNK + i] * tile[(int)lane * PITCH + i];
        }
#pragma unroll
        for (int j = 0; j < PER_WARP; j++) /* the first key is never masked: max stays finite */
            if (key >= a.t || (a.causal && key > mine + j))
                score[j] = -INFINITY;
        absorb(&r, score, weight, lane);
#pragma unroll
        for (int c = 0; c < CHUNKS; c++) {
            load_tile(tile, v, (size_t)a.v_stride, from, a.t, c * CHUNK, a.dh);
#pragma unroll 8
            for (int i = 0; i < KEYS; i++)
#pragma unroll
                for (int j = 0; j < PER_WARP; j++) {
                    r.out[j][2 * c] += weight[j * KEYS + i] * tile[i * PITCH + (int)lane];
                    r.out[j][2 * c + 1] +=
                        weight[j * KEYS + i] * tile[i * PITCH + (int)lane + CNK_WARP];
                }
        }
    }
#pragma unroll
    for (int j = 0; j < PER_WARP; j++)
#pragma unroll
        for (int c = 0; c < 2 * CHUNKS; c++) {
            int column = c * CNK_WARP + (int)lane;

            if (mine + j < a.s && column < a.dh)
                y[(size_t)(mine + j) * a.y_stride + column] = cnk_to<T>(r.out[j][c] / r.sum[j]);
        }
}

template <class T, int CHUNKS>
int launch(void *y, const void *q, const void *k, const void *v,
           const struct cnk_strided_attention *a, struct CUstream_st *stream)
{
    dim3 grid(((unsigned)a->s + QUERIES - 1) / QUERIES, (unsigned)a->heads, (unsigned)a->n);

    return cnk_launch(attention_kernel<T, CHUNKS>, grid, WARPS * CNK_WARP, 0, stream, (T *)y,
                      (const T *)q, (const T *)k, (const T *)v, *a);
}

template <class T>
int attention(void *y, const void *q, const void *k, const void *v,
              const struct cnk_strided_attention *a, struct CUstream_st *stream)
{
    if (a->dh <= CHUNK)
        return launch<T, 1>(y, q, k, v, a, stream);
    if (a->dh <= 2 * CHUNK)
        return launch<T, 2>(y, q, k, v, a, stream);
    if (a->dh <= 3 * CHUNK)
        return launch<T, 3>(y, q, k, v, a, stream);
    if (a->dh <= 4 * CHUNK)
        return launch<T, 4>(y, q, k, v, a, stream);
    return launch<T, 8>(y, q, k, v, a, stream);
}

} /* namespace */

int cnk_attention(enum cn_dtype dt, void *y, const void *q, const void *k, const void *v,
                  const struct cnk_strided_attention *a, struct CUstream_st *stream)
{
    if (a->n <= 0 || a->s <= 0 || a->heads <= 0 || a->dh <= 0)
        return 0;
    if (a->t <= 0 || a->dh > CNK_MAX_HEAD || a->n > 65535 || a->heads > 65535)
        return cudaErrorInvalidValue;
    return CNK_DISPATCH(dt, attention, y, q, k, v, a, stream);
}
