/* Moves between layouts, concatenation. Twins: layout.c.
 *
 * Transpositions go through a 32x32 tile in shared memory (one column more, so that a column lies
 * in 32 banks), blocks of 32x8, grid (tiles of positions, tiles of channels, n). With few channels
 * (latents, pictures) most of a tile would be empty: there a thread takes one position. */
#include "kernels/cuda/cuda_priv.cuh"

namespace
{

enum { TILE = 32, TILE_ROWS = 8, NARROW = 16, BLOCK = 256 };

template <class Y, class X> struct to_nhwc_op { /* element: one position of one row */
    Y *y;
    const X *x;
    uint32_t c, hw, stride;

    template <int V, class I> __device__ void at(I i) const
    {
        size_t n = i / hw, p = i - (I)n * hw;

        for (uint32_t k = 0; k < stride; k++)
            y[(size_t)i * stride + k] =
                cnk_to<Y>(k < c ? cnk_float(x[(n * c + k) * hw + p]) : 0.0f);
    }
};

template <class Y, class X> struct from_nhwc_op {
    Y *y;
    const X *x;
    uint32_t c, hw, stride;

    template <int V, class I> __device__ void at(I i) const
    {
        size_t n = i / hw, p = i - (I)n * hw;

        for (uint32_t k = 0; k < c; k++)
            y[(n * c + k) * hw + p] = cnk_to<Y>(cnk_float(x[(size_t)i * stride + k]));
    }
};

/* x [n,rows,from] -> y [n,columns,to]: y[j][i] = x[i][j] where i < rows, 0 where rows <= i < to. */
struct transposition {
    uint32_t n, rows, columns, from, to;
};

template <class Y, class X> __global__ void transpose_kernel(Y *y, const X *x, transposition s)
{
    CNK_SHARED(float, tile, TILE * (TILE + 1));
    uint32_t row = blockIdx.y * TILE, column = blockIdx.x * TILE;

    x += (size_t)blockIdx.z * s.rows * s.from;
    y += (size_t)blockIdx.z * s.columns * s.to;
    for (uint32_t k = threadIdx.y; k < TILE; k += TILE_ROWS) {
        uint32_t i = row + k, j = column + threadIdx.x;
        bool inside = i < s.rows && j < s.columns;

        tile[k * (TILE + 1) + threadIdx.x] =
            inside ? cnk_float(x[(size_t)i * s.from + j]) : 0.0f;
    }
    __syncthreads();
    for (uint32_t k = threadIdx.y; k < TILE; k += TILE_ROWS) {
        uint32_t i = row + threadIdx.x, j = column + k;

        if (i < s.to && j < s.columns)
            y[(size_t)j * s.to + i] = cnk_to<Y>(tile[threadIdx.x * (TILE + 1) + k]);
    }
}

template <class Y, class X>
int transpose(void *y, const void *x, const transposition &s, struct CUstream_st *stream)
{
    unsigned down = ((s.to > s.rows ? s.to : s.rows) + TILE - 1) / TILE;
    dim3 grid((s.columns + TILE - 1) / TILE, down, s.n);

    if (down > 65535 || s.n > 65535)
        return cudaErrorInvalidValue;
    return cnk_launch(transpose_kernel<Y, X>, grid, dim3(TILE, TILE_ROWS), 0, stream, (Y *)y,
                      (const X *)x, s);
}

bool is_empty(const struct cnk_layout *a)
{
    return a->n <= 0 || a->c <= 0 || a->hw <= 0;
}

template <class Y, class X>
int to_nhwc(void *y, const void *x, const struct cnk_layout *a, struct CUstream_st *stream)
{
    uint32_t n = (uint32_t)a->n, c = (uint32_t)a->c, hw = (uint32_t)a->hw;
    uint32_t stride = (uint32_t)a->stride;

    if (a->stride > NARROW)
        return transpose<Y, X>(y, x, {n, c, hw, hw, stride}, stream);
    return cnk_map<1>(to_nhwc_op<Y, X>{(Y *)y, (const X *)x, c, hw, stride}, (uint64_t)n * hw,
                      false, stream);
}

template <class Y, class X>
int from_nhwc(void *y, const void *x, const struct cnk_layout *a, struct CUstream_st *stream)
{
    uint32_t n = (uint32_t)a->n, c = (uint32_t)a->c, hw = (uint32_t)a->hw;
    uint32_t stride = (uint32_t)a->stride;

    if (a->c > NARROW)
        return transpose<Y, X>(y, x, {n, hw, c, stride, hw}, stream);
    return cnk_map<1>(from_nhwc_op<Y, X>{(Y *)y, (const X *)x, c, hw, stride}, (uint64_t)n * hw,
                      false, stream);
}

/* ---- concatenation ---- */

template <class T> struct concat_op {
    T *y;
    const T *x, *z;
    uint64_t cx, cz;

    template <int V, class I> __device__ void at(I i) const
    {
        I row = i / (I)(cx + cz), column = i - row * (I)(cx + cz);

        if (column < cx)
            cnk_store<V>(y + i, cnk_load<V>(x + (size_t)row * cx + column));
        else
            cnk_store<V>(y + i, cnk_load<V>(z + (size_t)row * cz + (column - cx)));
    }
};

template <class T>
int concat(void *y, const void *x, const void *z, uint64_t rows, uint64_t cx, uint64_t cz,
           struct CUstream_st *stream)
{
    constexpr int width = cnk_width<T>;
    concat_op<T> op = {(T *)y, (const T *)x, (const T *)z, cx, cz};
    bool wide = cnk_aligned(y) && cnk_aligned(x) && cnk_aligned(z) && cx % width == 0 &&
                cz % width == 0;

    return cnk_map<width>(op, rows * (cx + cz), wide, stream);
}

} /* namespace */

int cnk_to_nhwc(enum cn_dtype ydt, void *y, enum cn_dtype xdt, const void *x,
                const struct cnk_layout *a, struct CUstream_st *stream)
{
    if (a->stride < a->c)
        return cudaErrorInvalidValue;
    return is_empty(a) ? 0 : CNK_DISPATCH2(ydt, xdt, to_nhwc, y, x, a, stream);
}

int cnk_from_nhwc(enum cn_dtype ydt, void *y, enum cn_dtype xdt, const void *x,
                  const struct cnk_layout *a, struct CUstream_st *stream)
{
    if (a->stride < a->c)
        return cudaErrorInvalidValue;
    return is_empty(a) ? 0 : CNK_DISPATCH2(ydt, xdt, from_nhwc, y, x, a, stream);
}

int cnk_concat(enum cn_dtype dt, void *y, const void *x, const void *z, size_t rows, size_t cx,
               size_t cz, struct CUstream_st *stream)
{
    if (cx + cz == 0)
        return 0;
    return dt == CN_F32 ? concat<uint32_t>(y, x, z, rows, cx, cz, stream)
                         : concat<uint16_t>(y, x, z, rows, cx, cz, stream);
}
