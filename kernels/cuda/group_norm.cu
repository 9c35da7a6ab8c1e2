/* Group norm, with the addition of a time embedding before it and an activation after it.
 *
 * Twin: cnk_ref_group_norm. t shifts a channel, so it is added to the channel's mean and changes no
 * variance: x + t is never rounded to the storage type.
 *
 * resident_kernel, for groups that fit into shared memory (8x8 to 32x32 in SD 1.5): grid (groups,
 * n), one block per group; mean, then variance, from shared memory: x is read once and y written
 * once, in one launch.
 *
 * Else statistics_kernel and apply_kernel: grid (pieces of the map, n, slabs of channels), blocks
 * of 512 in rows: a thread keeps its vector of channels and walks over positions, so that loads are
 * whole lines. Moves 2 reads and 1 write per element; the second read mostly hits the L2 cache.
 *
 * Variance. Sums of squares lose it where the mean is large beside it, and the VAE's maps are such.
 * So each thread keeps Welford's running mean and squared deviation per channel, and parts are
 * joined by Chan's rule: m2 = sum of (m2_i + count_i (mean_i - mean)^2). The order is fixed, and
 * nothing depends on the number of rows. */
#include "kernels/cuda/cuda_priv.cuh"

namespace
{

enum {
    BLOCK = 512,
    RESIDENT_BYTES = 46 * 1024, /* of 48: room of cnk_block_sum, and 1 KiB that CUDA keeps */
    SLAB = 4096,                /* channels: BLOCK vectors of 8; 32 KiB of partial statistics */
    PIECE = 16384,              /* elements per block, about */
    MAX_PARTS = 128,            /* every block of apply_kernel reads the statistics of all parts */
    MAX_PIECES = 1024
};

/* What the kernels need to know; the same for all blocks. */
struct map_shape {
    uint32_t c, hw, groups, per_group;
    uint32_t slab_groups;  /* of a slab; the last may have fewer */
    uint32_t part, parts;  /* positions in a part of the statistics, how many parts */
    uint32_t piece;        /* positions per block of apply_kernel */
    uint32_t t_width;
    float eps;
    enum cn_activation act;
    float slope;
};

struct moments {
    float mean, m2;
};

/* ---- one block per group ---- */

/* Thread number -> a vector of the group's channels, the same for all positions that it visits. */
struct place {
    uint32_t k, step_k; /* vectors */
    uint32_t p, step_p; /* positions */
};

__device__ __forceinline__ place place_of(uint32_t lanes, uint32_t hw)
{
    uint32_t rows = blockDim.x / lanes, row = threadIdx.x / lanes;

    return {threadIdx.x % lanes, lanes, row < rows ? row : hw, rows}; /* some are left over */
}

template <int V>
__device__ __forceinline__ cnk_vec<float, V> params_or_zero(const float *p, uint32_t k)
{
    return p != NULL ? cnk_params<V>(p + k) : cnk_vec<float, V>();
}

/* lanes: threads over the vectors of a group. */
template <class T, int V>
__global__ void resident_kernel(T *y, const T *x, const float *gamma, const float *beta,
                                const float *t, map_shape s, uint32_t lanes)
{
    CNK_DYNAMIC_SHARED(bytes);
    CNK_SHARED(float, room, CNK_WARP);
    T *kept = reinterpret_cast<T *>(bytes);            /* [hw, per_group] */
    uint32_t first = blockIdx.x * s.per_group;         /* channel */
    const place at = place_of(lanes, s.hw);
    const float *add = t != NULL ? t + (size_t)blockIdx.y * s.t_width + first : NULL;
    float count = (float)s.hw * (float)s.per_group, sum = 0.0f, square = 0.0f;

    x += (size_t)blockIdx.y * s.hw * s.c + first;
    y += (size_t)blockIdx.y * s.hw * s.c + first;
    for (uint32_t k = at.k * V; k < s.per_group; k += at.step_k * V) {
        cnk_vec<float, V> shift = params_or_zero<V>(add, k);

        for (uint32_t p = at.p; p < s.hw; p += at.step_p) {
            cnk_vec<T, V> in = cnk_load<V>(x + (size_t)p * s.c + k);

            cnk_store<V>(kept + p * s.per_group + k, in);
#pragma unroll
            for (int j = 0; j < V; j++)
                sum += cnk_float(in.v[j]) + shift.v[j];
        }
    }
    float mean = cnk_block_sum(sum, room) / count;

    for (uint32_t k = at.k * V; k < s.per_group; k += at.step_k * V) {
        cnk_vec<float, V> shift = params_or_zero<V>(add, k);

        for (uint32_t p = at.p; p < s.hw; p += at.step_p) {
            cnk_vec<T, V> in = cnk_load<V>(kept + p * s.per_group + k);
#pragma unroll
            for (int j = 0; j < V; j++) {
                float d = cnk_float(in.v[j]) - (mean - shift.v[j]);

                square += d * d;
            }
        }
    }
    float scale = 1.0f / sqrtf(cnk_block_sum(square, room) / count + s.eps);

    for (uint32_t k = at.k * V; k < s.per_group; k += at.step_k * V) {
        cnk_vec<float, V> shift = params_or_zero<V>(add, k);
        cnk_vec<float, V> g = cnk_params_or<V>(gamma, first + k, 1.0f);
        cnk_vec<float, V> b = cnk_params_or<V>(beta, first + k, 0.0f);

        for (uint32_t p = at.p; p < s.hw; p += at.step_p) {
            cnk_vec<T, V> in = cnk_load<V>(kept + p * s.per_group + k);
#pragma unroll
            for (int j = 0; j < V; j++) {
                float d = cnk_float(in.v[j]) - (mean - shift.v[j]);

                in.v[j] = cnk_to<T>(cnk_activate(d * (scale * g.v[j]) + b.v[j], s.act, s.slope));
            }
            cnk_store<V>(y + (size_t)p * s.c + k, in);
        }
    }
}

/* ---- two kernels ---- */

/* threadIdx.x: vector of channels; threadIdx.y: position. Blocks are whole warps. */

/* Welford over positions from, from + step .. of V channels at x. */
template <class T, int V>
__device__ void walk(const T *x, size_t c, uint32_t from, uint32_t to, uint32_t step, moments *ret)
{
    enum { AHEAD = 2 }; /* loads in flight; with 4, registers spill */
    float count = 0.0f;

#pragma unroll
    for (int j = 0; j < V; j++)
        ret[j].mean = ret[j].m2 = 0.0f;
    x += from * c;
    for (uint32_t p = from; p < to; p += AHEAD * step) {
        cnk_vec<T, V> in[AHEAD];
#pragma unroll
        for (uint32_t u = 0; u < AHEAD; u++, x += step * c)
            if (p + u * step < to)
                in[u] = cnk_load<V>(x);
#pragma unroll
        for (uint32_t u = 0; u < AHEAD; u++) {
            if (p + u * step >= to)
                break;
            count += 1.0f;
            float share = 1.0f / count;
#pragma unroll
            for (int j = 0; j < V; j++) {
                float v = cnk_float(in[u].v[j]), d = v - ret[j].mean;

                ret[j].mean += d * share;
                ret[j].m2 += d * (v - ret[j].mean);
            }
        }
    }
}

/* Joins parts, a warp's lanes together; every lane gets the whole. total: sum of the counts. */
template <class Part>
__device__ moments join(const Part &part, uint32_t parts, float total)
{
    uint32_t lane = (threadIdx.y * blockDim.x + threadIdx.x) % CNK_WARP;
    float sum = 0.0f, m2 = 0.0f;

    for (uint32_t i = lane; i < parts; i += CNK_WARP)
        sum += part.count(i) * part.at(i).mean;
    float mean = cnk_warp_sum(sum) / total;

    for (uint32_t i = lane; i < parts; i += CNK_WARP) {
        moments m = part.at(i);
        float d = m.mean - mean;

        m2 += m.m2 + part.count(i) * d * d;
    }
    return {mean, cnk_warp_sum(m2)};
}

/* A part per row of threads and channel of a group. */
struct thread_parts {
    const moments *all; /* [rows of threads, channels of the slab], of the group's first channel */
    const float *add;   /* [channels of the group] or NULL */
    uint32_t width, per_group, positions, rows;

    __device__ float count(uint32_t i) const /* positions that this row of threads has seen */
    {
        uint32_t y = i / per_group;

        return y < positions ? (float)((positions - y + rows - 1) / rows) : 0.0f;
    }
    __device__ moments at(uint32_t i) const
    {
        uint32_t y = i / per_group, k = i - y * per_group;
        moments m = all[y * width + k];

        m.mean += add != NULL ? add[k] : 0.0f;
        return m;
    }
};

/* parts of the map, each with all its positions. */
struct map_parts {
    const moments *all; /* [parts, groups], of the group */
    uint32_t groups, part, hw, per_group;

    __device__ float count(uint32_t i) const
    {
        uint32_t left = hw - i * part;

        return (float)(left < part ? left : part) * (float)per_group;
    }
    __device__ moments at(uint32_t i) const
    {
        return all[(size_t)i * groups];
    }
};

__device__ __forceinline__ uint32_t groups_here(const map_shape &s)
{
    uint32_t left = s.groups - blockIdx.z * s.slab_groups;

    return left < s.slab_groups ? left : s.slab_groups;
}

/* ret [n, parts, groups]. Two blocks per multiprocessor: with one, the 160 blocks of two rows of
 * 64x64x320 would come in two waves on 132 of them. */
template <class T, int V>
__global__ void __launch_bounds__(BLOCK, 2)
    statistics_kernel(moments *ret, const T *x, const float *t, map_shape s)
{
    CNK_DYNAMIC_SHARED(bytes);
    moments *mine = reinterpret_cast<moments *>(bytes); /* [blockDim.y, width] */
    uint32_t groups = groups_here(s), width = groups * s.per_group;
    uint32_t first = blockIdx.z * s.slab_groups * s.per_group; /* channel */
    uint32_t from = blockIdx.x * s.part, to = from + s.part < s.hw ? from + s.part : s.hw;
    uint32_t warps = blockDim.x * blockDim.y / CNK_WARP;

    x += (size_t)blockIdx.y * s.hw * s.c + first;
    for (uint32_t k = threadIdx.x * V; k < width; k += blockDim.x * V) {
        moments m[V];

        walk<T, V>(x + k, s.c, from + threadIdx.y, to, blockDim.y, m);
#pragma unroll
        for (int j = 0; j < V; j++)
            mine[threadIdx.y * width + k + j] = m[j];
    }
    __syncthreads();
    ret += ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * s.groups + blockIdx.z * s.slab_groups;
    for (uint32_t g = (threadIdx.y * blockDim.x + threadIdx.x) / CNK_WARP; g < groups; g += warps) {
        const float *add = t != NULL ? t + (size_t)blockIdx.y * s.t_width + first : NULL;
        thread_parts parts = {mine + g * s.per_group,
                              add != NULL ? add + g * s.per_group : NULL,
                              width,
                              s.per_group,
                              to - from,
                              blockDim.y};
        moments m = join(parts, blockDim.y * s.per_group,
                         (float)(to - from) * (float)s.per_group);

        if ((threadIdx.y * blockDim.x + threadIdx.x) % CNK_WARP == 0)
            ret[g] = m;
    }
}

template <class T, int V>
__global__ void apply_kernel(T *y, const T *x, const moments *statistics, const float *gamma,
                             const float *beta, const float *t, map_shape s)
{
    CNK_DYNAMIC_SHARED(bytes);
    moments *group = reinterpret_cast<moments *>(bytes); /* m2: now 1 / sqrt(variance + eps) */
    uint32_t groups = groups_here(s), width = groups * s.per_group;
    uint32_t first = blockIdx.z * s.slab_groups * s.per_group;
    uint32_t from = blockIdx.x * s.piece, to = from + s.piece < s.hw ? from + s.piece : s.hw;
    uint32_t warps = blockDim.x * blockDim.y / CNK_WARP;
    const float *add = t != NULL ? t + (size_t)blockIdx.y * s.t_width : NULL;
    float count = (float)s.hw * (float)s.per_group;

    statistics += (size_t)blockIdx.y * s.parts * s.groups + blockIdx.z * s.slab_groups;
    for (uint32_t g = (threadIdx.y * blockDim.x + threadIdx.x) / CNK_WARP; g < groups; g += warps) {
        map_parts parts = {statistics + g, s.groups, s.part, s.hw, s.per_group};
        moments m = join(parts, s.parts, count);

        if ((threadIdx.y * blockDim.x + threadIdx.x) % CNK_WARP == 0)
            group[g] = {m.mean, 1.0f / sqrtf(m.m2 / count + s.eps)};
    }
    __syncthreads();
    x += (size_t)blockIdx.y * s.hw * s.c + first;
    y += (size_t)blockIdx.y * s.hw * s.c + first;
    for (uint32_t k = threadIdx.x * V; k < width; k += blockDim.x * V) {
        cnk_vec<float, V> scale = cnk_params_or<V>(gamma, first + k, 1.0f);
        cnk_vec<float, V> shift = cnk_params_or<V>(beta, first + k, 0.0f);
        cnk_vec<float, V> mean = params_or_zero<V>(add, first + k);

#pragma unroll
        for (int j = 0; j < V; j++) {
            moments m = group[(k + j) / s.per_group];

            mean.v[j] = m.mean - mean.v[j];
            scale.v[j] *= m.m2;
        }
        for (uint32_t p = from + threadIdx.y; p < to; p += blockDim.y) {
            cnk_vec<T, V> in = cnk_load<V>(x + (size_t)p * s.c + k);
#pragma unroll
            for (int j = 0; j < V; j++) {
                float d = cnk_float(in.v[j]) - mean.v[j];

                in.v[j] = cnk_to<T>(cnk_activate(d * scale.v[j] + shift.v[j], s.act, s.slope));
            }
            cnk_store<V>(y + (size_t)p * s.c + k, in);
        }
    }
}

/* ---- launches ---- */

uint32_t cut(uint64_t elements, uint32_t hw, uint32_t most)
{
    uint64_t pieces = elements / PIECE;

    pieces = pieces < 1 ? 1 : pieces > most ? most : pieces;
    return (uint32_t)((hw + pieces - 1) / pieces);
}

map_shape shape_of(const struct cnk_group_norm *a)
{
    map_shape s = {};
    uint64_t elements = (uint64_t)a->c * (uint64_t)a->hw;

    s.c = (uint32_t)a->c;
    s.hw = (uint32_t)a->hw;
    s.groups = (uint32_t)a->groups;
    s.per_group = s.c / s.groups;
    s.slab_groups = s.c <= SLAB ? s.groups : SLAB / s.per_group;
    s.part = cut(elements, s.hw, MAX_PARTS);
    s.parts = (s.hw + s.part - 1) / s.part;
    s.piece = cut(elements, s.hw, MAX_PIECES);
    s.t_width = (uint32_t)a->t_width;
    s.eps = a->eps;
    s.act = a->act;
    s.slope = a->slope;
    return s;
}

bool possible(const struct cnk_group_norm *a)
{
    return a->groups > 0 && a->c % a->groups == 0 && a->c / a->groups <= SLAB && a->n <= 65535;
}

bool is_resident(const struct cnk_group_norm *a, size_t element)
{
    return (uint64_t)(a->c / a->groups) * (uint64_t)a->hw * element <= RESIDENT_BYTES;
}

bool is_empty(const struct cnk_group_norm *a)
{
    return a->n <= 0 || a->hw <= 0 || a->c <= 0;
}

struct pointers {
    void *y;
    const void *x;
    const float *gamma, *beta, *t;
    moments *scratch;
};

template <class T, int V>
int launch_resident(const pointers &p, const map_shape &s, int n, struct CUstream_st *stream)
{
    uint32_t vectors = s.per_group / V, items = s.hw * vectors;
    unsigned block = items < BLOCK ? (items + CNK_WARP - 1) / CNK_WARP * CNK_WARP : (unsigned)BLOCK;
    size_t shared = (size_t)s.hw * s.per_group * sizeof(T);

    return cnk_launch(resident_kernel<T, V>, dim3(s.groups, (unsigned)n), block, shared, stream,
                      (T *)p.y, (const T *)p.x, p.gamma, p.beta, p.t, s,
                      vectors < block ? vectors : block);
}

template <class T, int V>
int launch_split(const pointers &p, const map_shape &s, int n, struct CUstream_st *stream)
{
    unsigned width = s.slab_groups * s.per_group, vectors = width / V;
    unsigned lanes = vectors < BLOCK ? vectors : (unsigned)BLOCK;
    unsigned slabs = (s.groups + s.slab_groups - 1) / s.slab_groups, rows;
    int rc;

    while (BLOCK / lanes * lanes % CNK_WARP != 0) /* whole warps: idle lanes do no harm */
        lanes++;
    rows = BLOCK / lanes;
    rc = cnk_launch(statistics_kernel<T, V>, dim3(s.parts, (unsigned)n, slabs), dim3(lanes, rows),
                    (size_t)rows * width * sizeof(moments), stream, p.scratch, (const T *)p.x, p.t,
                    s);
    if (rc != 0)
        return rc;
    return cnk_launch(apply_kernel<T, V>, dim3((s.hw + s.piece - 1) / s.piece, (unsigned)n, slabs),
                      dim3(lanes, rows), s.slab_groups * sizeof(moments), stream, (T *)p.y,
                      (const T *)p.x, p.scratch, p.gamma, p.beta, p.t, s);
}

template <class T>
int group_norm(const pointers &p, const struct cnk_group_norm *a, struct CUstream_st *stream)
{
    constexpr int width = cnk_width<T>;
    map_shape s = shape_of(a);
    bool aligned = cnk_aligned(p.y) && cnk_aligned(p.x);

    if (!is_resident(a, sizeof(T))) {
        bool wide = aligned && s.c % width == 0 && s.slab_groups * s.per_group % width == 0;

        return wide ? launch_split<T, width>(p, s, a->n, stream)
                    : launch_split<T, 1>(p, s, a->n, stream);
    }
    if (!aligned || s.per_group % 2 != 0)
        return launch_resident<T, 1>(p, s, a->n, stream);
    if (s.per_group % width == 0)
        return launch_resident<T, width>(p, s, a->n, stream);
    if (s.per_group % 4 == 0)
        return launch_resident<T, 4>(p, s, a->n, stream);
    return launch_resident<T, 2>(p, s, a->n, stream);
}

} /* namespace */

size_t cnk_group_norm_scratch(enum cn_dtype dt, const struct cnk_group_norm *a)
{
    if (is_empty(a) || !possible(a) || is_resident(a, dt == CN_F32 ? 4 : 2))
        return 0;
    return (size_t)a->n * shape_of(a).parts * (size_t)a->groups * sizeof(moments);
}

int cnk_group_norm(enum cn_dtype dt, void *y, const void *x, const float *gamma,
                   const float *beta, const float *t, void *scratch,
                   const struct cnk_group_norm *a, struct CUstream_st *stream)
{
    pointers p = {y, x, gamma, beta, t != NULL ? t + a->t_offset : NULL, (moments *)scratch};

    if (!possible(a))
        return cudaErrorInvalidValue;
    if (is_empty(a))
        return 0;
    return CNK_DISPATCH(dt, group_norm, p, a, stream);
}
