/* Elements that go to other places, and sums over dimensions: views that a layout cannot express,
 * joined values, gathered rows, reductions.
 *
 * Moves: one thread per 16-byte vector of what is written, where strides allow it; blocks of 256, a
 * stride over the grid; no shared memory. Reductions: one thread per result, or one block where
 * what it sums lies together and is long. Twins in kernels/ref: layout.c, matmul.c. */
#include "kernels/cuda/cuda_priv.cuh"

/* ---- moves ---- */

template <class T> struct strided_op {
    T *y;
    const T *x;
    struct cnk_strided a;

    template <int V, class I> __device__ void at(I i) const
    {
        I rest = i;
        int64_t from = a.offset;
#pragma unroll
        for (int d = CNK_STRIDED - 1; d >= 0; d--) {
            I outer = rest / (I)a.dim[d];

            from += (int64_t)(rest - outer * (I)a.dim[d]) * a.stride[d];
            rest = outer;
        }
        cnk_store<V>(y + i, cnk_load<V>(x + from));
    }
};

/* Whether vectors of v elements lie together on both sides. */
static bool lies_together(const struct cnk_strided *a, int v)
{
    int last = CNK_STRIDED - 1;

    while (last > 0 && a->dim[last] == 1)
        last--;
    if (a->stride[last] != 1 || a->dim[last] % v != 0 || a->offset % v != 0)
        return false;
    for (int d = 0; d < last; d++)
        if (a->dim[d] > 1 && a->stride[d] % v != 0)
            return false;
    return true;
}

template <class T>
static int strided(void *y, const void *x, const struct cnk_strided *a, struct CUstream_st *stream)
{
    strided_op<T> op = {(T *)y, (const T *)x, *a};
    bool wide = cnk_aligned(y) && cnk_aligned(x) && lies_together(a, cnk_width<T>);
    uint64_t count = 1;

    for (int d = 0; d < CNK_STRIDED; d++)
        count *= (uint64_t)a->dim[d];
    return cnk_map<cnk_width<T>>(op, count, wide, stream);
}

int cnk_strided(enum cn_dtype dt, void *y, const void *x, const struct cnk_strided *a,
                struct CUstream_st *stream)
{
    return CNK_DISPATCH(dt, strided, y, x, a, stream);
}

template <class T> struct place_op {
    T *y; /* of this part */
    const T *x;
    size_t width, whole;

    template <int V, class I> __device__ void at(I i) const
    {
        I row = i / (I)width;

        cnk_store<V>(y + (size_t)row * whole + (size_t)(i - row * (I)width), cnk_load<V>(x + i));
    }
};

template <class T>
static int place(void *y, const void *x, size_t outer, size_t width, size_t whole, size_t at,
                 struct CUstream_st *stream)
{
    place_op<T> op = {(T *)y + at, (const T *)x, width, whole};
    size_t v = cnk_width<T>;
    bool wide = cnk_aligned(y) && cnk_aligned(x) && width % v == 0 && whole % v == 0 && at % v == 0;

    return cnk_map<cnk_width<T>>(op, (uint64_t)outer * width, wide, stream);
}

int cnk_place(enum cn_dtype dt, void *y, const void *x, size_t outer, size_t width, size_t whole,
              size_t at, struct CUstream_st *stream)
{
    if (at > whole || width > whole - at)
        return (int)cudaErrorInvalidValue;
    return CNK_DISPATCH(dt, place, y, x, outer, width, whole, at, stream);
}

template <class T> struct gather_op {
    T *y;
    const T *x;
    const int32_t *ids;
    uint32_t s, t, d;

    template <int V, class I> __device__ void at(I i) const
    {
        I row = i / d;
        int32_t id = ids[row];
        cnk_vec<T, V> v;
#pragma unroll
        for (int j = 0; j < V; j++)
            v.v[j] = cnk_to<T>(0.0f);
        if (id >= 0 && (uint32_t)id < s)
            v = cnk_load<V>(x + ((size_t)(row / t) * s + (uint32_t)id) * d + (size_t)(i - row * d));
        cnk_store<V>(y + i, v);
    }
};

template <class T>
static int gather(void *y, const void *x, const int32_t *ids, const struct cnk_gather *a,
                  struct CUstream_st *stream)
{
    gather_op<T> op = {(T *)y, (const T *)x, ids, (uint32_t)a->s, (uint32_t)a->t, (uint32_t)a->d};
    bool wide = cnk_aligned(y) && cnk_aligned(x) && a->d % cnk_width<T> == 0;

    return cnk_map<cnk_width<T>>(op, (uint64_t)a->n * (uint64_t)a->t * (uint64_t)a->d, wide,
                                 stream);
}

int cnk_gather(enum cn_dtype dt, void *y, const void *x, const int32_t *ids,
               const struct cnk_gather *a, struct CUstream_st *stream)
{
    return CNK_DISPATCH(dt, gather, y, x, ids, a, stream);
}

/* ---- reductions ---- */

static __device__ __forceinline__ int64_t offset_of(uint64_t i, const int64_t *dim,
                                                    const int64_t *stride)
{
    int64_t at = 0;

    for (int d = CNK_REDUCED - 1; d >= 0; d--) {
        uint64_t outer = i / (uint64_t)dim[d];

        at += (int64_t)(i - outer * (uint64_t)dim[d]) * stride[d];
        i = outer;
    }
    return at;
}

/* A running sum or maximum. What a sum loses by rounding is carried along (Kahan 1965): one thread
 * may add a million numbers. */
struct running {
    float value, lost;
    bool max;

    __device__ explicit running(bool m) : value(m ? -INFINITY : 0.0f), lost(0.0f), max(m) {}

    __device__ void add(float x)
    {
        if (max) {
            if (!(x <= value) && value == value) /* NaN wins, and stays */
                value = x;
            return;
        }
        float y = x - lost, sum = value + y;

        lost = sum - value - y;
        lost = lost == lost ? lost : 0.0f; /* infinities */
        value = sum;
    }
};

template <class T> struct reduce_op {
    T *y;
    const T *x;
    struct cnk_strided_reduce a;
    uint64_t count;

    template <int V, class I> __device__ void at(I i) const
    {
        const T *from = x + offset_of(i, a.kept, a.kept_stride);
        running r(a.kind == CNK_MAX);

        for (uint64_t k = 0; k < count; k++)
            r.add(cnk_float(from[offset_of(k, a.reduced, a.reduced_stride)]));
        y[i] = cnk_to<T>(a.kind == CNK_MEAN ? r.value / (float)count : r.value);
    }
};

/* Every thread of a block gets it; `room` holds 32 floats. NaN wins. */
static __device__ __forceinline__ float block_max(float x, float *room)
{
    float nan = cnk_block_sum(x == x ? 0.0f : 1.0f, room);
    unsigned warps = blockDim.x / CNK_WARP, lane = threadIdx.x % CNK_WARP;

    x = cnk_warp_max(x == x ? x : -INFINITY);
    __syncthreads();
    if (lane == 0)
        room[threadIdx.x / CNK_WARP] = x;
    __syncthreads();
    x = cnk_warp_max(lane < warps ? room[lane] : -INFINITY);
    return nan > 0.0f ? NAN : x;
}

template <class T>
static __global__ void reduce_kernel(T *y, const T *x, struct cnk_strided_reduce a, uint64_t count)
{
    CNK_SHARED(float, room, 32);
    const T *from = x + offset_of(blockIdx.x, a.kept, a.kept_stride);
    running r(a.kind == CNK_MAX);
    float all;

    for (uint64_t k = threadIdx.x; k < count; k += blockDim.x)
        r.add(cnk_float(from[offset_of(k, a.reduced, a.reduced_stride)]));
    all = a.kind == CNK_MAX ? block_max(r.value, room) : cnk_block_sum(r.value, room);
    if (threadIdx.x == 0)
        y[blockIdx.x] = cnk_to<T>(a.kind == CNK_MEAN ? all / (float)count : all);
}

template <class T>
static int reduce(void *y, const void *x, const struct cnk_strided_reduce *a, uint64_t results,
                  uint64_t count, struct CUstream_st *stream)
{
    enum { BLOCK = 256 };
    bool together = false;

    if (results == 0)
        return 0;
    for (int d = 0; d < CNK_REDUCED; d++)
        together = together || (a->reduced[d] > 1 && a->reduced_stride[d] == 1);
    if (together && count >= BLOCK && results < (UINT64_C(1) << 31))
        return cnk_launch(reduce_kernel<T>, (unsigned)results, BLOCK, 0, stream, (T *)y,
                          (const T *)x, *a, count);
    return cnk_map<1>(reduce_op<T>{(T *)y, (const T *)x, *a, count}, results, false, stream);
}

int cnk_reduce(enum cn_dtype dt, void *y, const void *x, const struct cnk_strided_reduce *a,
               struct CUstream_st *stream)
{
    uint64_t results = 1, count = 1;

    for (int d = 0; d < CNK_REDUCED; d++) {
        results *= (uint64_t)a->kept[d];
        count *= (uint64_t)a->reduced[d];
    }
    if (count == 0)
        return (int)cudaErrorInvalidValue;
    return CNK_DISPATCH(dt, reduce, y, x, a, results, count, stream);
}
