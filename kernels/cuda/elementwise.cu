/* Elementwise kernels: epilogues, products, PReLU, GEGLU, channel and row additions, conversions.
 *
 * One thread per 16-byte vector of the result, blocks of 256, a stride over the grid; no shared
 * memory. Bytes moved: each tensor once, so memory decides the time. Twins in kernels/ref:
 * elementwise.c, act.c. */
#include "kernels/cuda/cuda_priv.cuh"

template <class T> struct bias_act_op {
    T *y;
    const T *x, *residual;
    const float *bias;
    uint32_t c;
    float alpha, slope;
    enum cn_activation act;

    template <int V, class I> __device__ void at(I i) const
    {
        cnk_vec<T, V> in = cnk_load<V>(x + i), out, extra = in;
        cnk_vec<float, V> add = {};

        if (bias != NULL)
            add = cnk_params<V>(bias + (uint32_t)(i % c));
        if (residual != NULL)
            extra = cnk_load<V>(residual + i);
#pragma unroll
        for (int k = 0; k < V; k++) {
            float value = alpha * cnk_float(in.v[k]);

            if (bias != NULL)
                value += add.v[k];
            if (residual != NULL)
                value += cnk_float(extra.v[k]);
            out.v[k] = cnk_to<T>(cnk_activate(value, act, slope));
        }
        cnk_store<V>(y + i, out);
    }
};

template <class T>
static int bias_act(void *y, const void *x, const float *bias, const void *residual,
                    const struct cnk_bias_act *a, struct CUstream_st *stream)
{
    bias_act_op<T> op = {(T *)y, (const T *)x, (const T *)residual, bias, (uint32_t)a->c, a->alpha,
                         a->slope, a->act};
    bool wide = cnk_aligned(y) && cnk_aligned(x) && cnk_aligned(residual) &&
                (bias == NULL || a->c % cnk_width<T> == 0);

    return cnk_map<cnk_width<T>>(op, (uint64_t)a->rows * (uint64_t)a->c, wide, stream);
}

int cnk_bias_act(enum cn_dtype dt, void *y, const void *x, const float *bias,
                 const void *residual, const struct cnk_bias_act *a, struct CUstream_st *stream)
{
    return CNK_DISPATCH(dt, bias_act, y, x, bias, residual, a, stream);
}

template <class T> struct mul_op {
    T *y;
    const T *x, *z;

    template <int V, class I> __device__ void at(I i) const
    {
        cnk_vec<T, V> in = cnk_load<V>(x + i), other = cnk_load<V>(z + i);
#pragma unroll
        for (int k = 0; k < V; k++)
            in.v[k] = cnk_to<T>(cnk_float(in.v[k]) * cnk_float(other.v[k]));
        cnk_store<V>(y + i, in);
    }
};

template <class T>
static int mul(void *y, const void *x, const void *z, size_t count, struct CUstream_st *stream)
{
    mul_op<T> op = {(T *)y, (const T *)x, (const T *)z};

    return cnk_map<cnk_width<T>>(op, count, cnk_aligned(y) && cnk_aligned(x) && cnk_aligned(z),
                                 stream);
}

int cnk_mul(enum cn_dtype dt, void *y, const void *x, const void *z, size_t count,
            struct CUstream_st *stream)
{
    return CNK_DISPATCH(dt, mul, y, x, z, count, stream);
}

template <class T> struct prelu_op {
    T *y;
    const T *x;
    const float *slope;
    uint32_t c, inner, slopes; /* channel of element i: i / inner % c */

    template <int V, class I> __device__ void at(I i) const
    {
        cnk_vec<T, V> in = cnk_load<V>(x + i);
#pragma unroll
        for (int k = 0; k < V; k++) {
            float f = cnk_float(in.v[k]);
            uint32_t channel = slopes > 1 ? (uint32_t)((i + (I)k) / (I)inner % (I)c) : 0;

            in.v[k] = cnk_to<T>(f > 0.0f ? f : slope[channel] * f);
        }
        cnk_store<V>(y + i, in);
    }
};

template <class T>
static int prelu(void *y, const void *x, const float *slope, const struct cnk_prelu *a, int inner,
                 struct CUstream_st *stream)
{
    prelu_op<T> op = {(T *)y,          (const T *)x,       slope,
                      (uint32_t)a->c, (uint32_t)inner, (uint32_t)a->slopes};

    return cnk_map<cnk_width<T>>(op, (uint64_t)a->n * (uint64_t)a->c * (uint64_t)a->p,
                                 cnk_aligned(y) && cnk_aligned(x), stream);
}

int cnk_prelu(enum cn_dtype dt, void *y, const void *x, const float *slope,
              const struct cnk_prelu *a, int inner, struct CUstream_st *stream)
{
    return CNK_DISPATCH(dt, prelu, y, x, slope, a, inner, stream);
}

/* Element i of the result, in row i / d, is at i + (i / d) d of the input; its gate d further. */
template <class T> struct geglu_op {
    T *y;
    const T *x;
    uint32_t d;

    template <int V, class I> __device__ void at(I i) const
    {
        size_t from = (size_t)i + (size_t)(i / d) * d;
        cnk_vec<T, V> value = cnk_load<V>(x + from), gate = cnk_load<V>(x + from + d);
#pragma unroll
        for (int k = 0; k < V; k++)
            value.v[k] = cnk_to<T>(cnk_float(value.v[k]) * cnk_gelu(cnk_float(gate.v[k])));
        cnk_store<V>(y + i, value);
    }
};

template <class T>
static int geglu(void *y, const void *x, size_t rows, int d, struct CUstream_st *stream)
{
    geglu_op<T> op = {(T *)y, (const T *)x, (uint32_t)d};
    bool wide = cnk_aligned(y) && cnk_aligned(x) && d % cnk_width<T> == 0;

    return cnk_map<cnk_width<T>>(op, (uint64_t)rows * (uint64_t)d, wide, stream);
}

int cnk_geglu(enum cn_dtype dt, void *y, const void *x, size_t rows, int d,
              struct CUstream_st *stream)
{
    return CNK_DISPATCH(dt, geglu, y, x, rows, d, stream);
}

template <class T> struct add_channel_op {
    T *y;
    const T *x;
    const float *t; /* of row 0, channel 0 */
    uint32_t c, hw, t_width;

    template <int V, class I> __device__ void at(I i) const
    {
        I position = i / c;
        cnk_vec<float, V> add = cnk_params<V>(t + (size_t)(position / hw) * t_width +
                                              (uint32_t)(i - position * c));
        cnk_vec<T, V> in = cnk_load<V>(x + i);
#pragma unroll
        for (int k = 0; k < V; k++)
            in.v[k] = cnk_to<T>(cnk_float(in.v[k]) + add.v[k]);
        cnk_store<V>(y + i, in);
    }
};

template <class T>
static int add_channel(void *y, const void *x, const float *t, const struct cnk_add_channel *a,
                       struct CUstream_st *stream)
{
    add_channel_op<T> op = {(T *)y,         (const T *)x,       t + a->t_offset, (uint32_t)a->c,
                            (uint32_t)a->hw, (uint32_t)a->t_width};
    bool wide = cnk_aligned(y) && cnk_aligned(x) && a->c % cnk_width<T> == 0;

    return cnk_map<cnk_width<T>>(op, (uint64_t)a->n * (uint64_t)a->hw * (uint64_t)a->c, wide,
                                 stream);
}

int cnk_add_channel(enum cn_dtype dt, void *y, const void *x, const float *t,
                    const struct cnk_add_channel *a, struct CUstream_st *stream)
{
    return CNK_DISPATCH(dt, add_channel, y, x, t, a, stream);
}

/* z is not read where its weight is 0: x + 0 z would be NaN where z is not finite, and -0 + 0 is
 * +0. */
template <class T> struct add_rows_op {
    T *y;
    const T *x, *z;
    const float *w; /* of row 0 */
    size_t row;
    uint32_t w_width;

    template <int V, class I> __device__ void at(I i) const
    {
        float factor = w[(size_t)(i / (I)row) * w_width];

        if (factor == 0.0f && y == x)
            return;
        cnk_vec<T, V> in = cnk_load<V>(x + i);

        if (factor != 0.0f) {
            cnk_vec<T, V> add = cnk_load<V>(z + i);
#pragma unroll
            for (int k = 0; k < V; k++)
                in.v[k] = cnk_to<T>(cnk_float(in.v[k]) + factor * cnk_float(add.v[k]));
        }
        cnk_store<V>(y + i, in);
    }
};

template <class T>
static int add_rows(void *y, const void *x, const void *z, const float *w,
                    const struct cnk_add_rows *a, struct CUstream_st *stream)
{
    add_rows_op<T> op = {(T *)y,          (const T *)x, (const T *)z,
                         w + a->w_offset, a->row,       (uint32_t)a->w_width};
    bool wide = cnk_aligned(y) && cnk_aligned(x) && cnk_aligned(z) && a->row % cnk_width<T> == 0;

    return cnk_map<cnk_width<T>>(op, (uint64_t)a->n * a->row, wide, stream);
}

int cnk_add_rows(enum cn_dtype dt, void *y, const void *x, const void *z, const float *w,
                 const struct cnk_add_rows *a, struct CUstream_st *stream)
{
    return CNK_DISPATCH(dt, add_rows, y, x, z, w, a, stream);
}

template <class Y, class X> struct convert_op {
    Y *y;
    const X *x;

    template <int V, class I> __device__ void at(I i) const
    {
        cnk_vec<X, V> in = cnk_load<V>(x + i);
        cnk_vec<Y, V> out;
#pragma unroll
        for (int k = 0; k < V; k++)
            out.v[k] = cnk_to<Y>(cnk_float(in.v[k]));
        cnk_store<V>(y + i, out);
    }
};

/* As many elements as 16 bytes of the wider type hold. */
template <class Y, class X>
static int convert(void *y, const void *x, size_t count, struct CUstream_st *stream)
{
    convert_op<Y, X> op = {(Y *)y, (const X *)x};
    constexpr int width = 16 / (int)(sizeof(Y) > sizeof(X) ? sizeof(Y) : sizeof(X));

    return cnk_map<width>(op, count, cnk_aligned(y) && cnk_aligned(x), stream);
}

int cnk_convert(enum cn_dtype ydt, void *y, enum cn_dtype xdt, const void *x, size_t count,
                struct CUstream_st *stream)
{
    return CNK_DISPATCH2(ydt, xdt, convert, y, x, count, stream);
}
