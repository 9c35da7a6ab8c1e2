/* What looks at a window of a feature map, channels last: pools, bilinear resize, reflected
 * borders, and the convolutions that cuDNN does not take.
 *
 * One thread per 16-byte vector of channels of the result (one channel in the convolutions), blocks
 * of 256, a stride over the grid; no shared memory. Neighbouring threads read neighbouring
 * channels. The convolutions read each input as often as it is used, through the caches: they are
 * the way that always works, not the fast one. Twins in kernels/ref: resample.c, conv.c. */
#include "kernels/cuda/cuda_priv.cuh"

/* Where element i of a map [n,oh,ow,c] is. */
template <class I> struct place {
    I n;
    uint32_t y, x, c;

    __device__ place(I i, uint32_t channels, uint32_t oh, uint32_t ow)
    {
        I position = i / channels, row = position / ow;

        c = (uint32_t)(i - position * channels);
        x = (uint32_t)(position - row * ow);
        n = row / oh;
        y = (uint32_t)(row - n * oh);
    }
};

/* ---- pools ---- */

template <class T> struct pool_op {
    T *y;
    const T *x;
    struct cnk_pool a;
    uint32_t c;

    template <int V, class I> __device__ void at(I i) const
    {
        const struct cnk_window &k = a.window;
        place<I> p(i, c, (uint32_t)a.oh, (uint32_t)a.ow);
        float sum[V];
        cnk_vec<T, V> out;
#pragma unroll
        for (int j = 0; j < V; j++)
            sum[j] = a.max ? -INFINITY : 0.0f;
        for (int u = 0; u < k.k[0]; u++)
            for (int v = 0; v < k.k[1]; v++) {
                int iy = (int)p.y * k.step[0] + u * k.spread[0] - k.top;
                int ix = (int)p.x * k.step[1] + v * k.spread[1] - k.left;

                if (iy < 0 || iy >= a.h || ix < 0 || ix >= a.w)
                    continue;
                cnk_vec<T, V> in = cnk_load<V>(
                    x + (((size_t)p.n * (size_t)a.h + (size_t)iy) * (size_t)a.w + (size_t)ix) * c +
                    p.c);
#pragma unroll
                for (int j = 0; j < V; j++) {
                    float f = cnk_float(in.v[j]);

                    if (!a.max)
                        sum[j] += f;
                    else if (!(f <= sum[j]) && sum[j] == sum[j]) /* NaN wins, and stays */
                        sum[j] = f;
                }
            }
#pragma unroll
        for (int j = 0; j < V; j++)
            out.v[j] = cnk_to<T>(a.max ? sum[j] : sum[j] / (float)(k.k[0] * k.k[1]));
        cnk_store<V>(y + i, out);
    }
};

template <class T>
static int pool(void *y, const void *x, const struct cnk_pool *a, int c, struct CUstream_st *stream)
{
    pool_op<T> op = {(T *)y, (const T *)x, *a, (uint32_t)c};
    bool wide = cnk_aligned(y) && cnk_aligned(x) && c % cnk_width<T> == 0;

    return cnk_map<cnk_width<T>>(op, (uint64_t)a->planes * (uint64_t)a->oh * (uint64_t)a->ow, wide,
                                 stream);
}

int cnk_pool(enum cn_dtype dt, void *y, const void *x, const struct cnk_pool *a, int c,
             struct CUstream_st *stream)
{
    return CNK_DISPATCH(dt, pool, y, x, a, c, stream);
}

/* ---- bilinear ---- */

/* Two neighbours along one side, and how much of the second. */
struct between {
    int first, second;
    float part;

    __device__ between(int i, int in, int out, int align_corners)
    {
        float at = ((float)i + 0.5f) * ((float)in / (float)out) - 0.5f;

        if (align_corners)
            at = out > 1 ? (float)i * ((float)(in - 1) / (float)(out - 1)) : 0.0f;
        at = at < 0.0f ? 0.0f : at;
        first = (int)at < in - 1 ? (int)at : in - 1;
        second = first < in - 1 ? first + 1 : first;
        part = at - (float)first;
    }
};

template <class T> struct resize_op {
    T *y;
    const T *x;
    struct cnk_resize a;
    uint32_t c;

    template <int V, class I> __device__ void at(I i) const
    {
        place<I> p(i, c, (uint32_t)a.oh, (uint32_t)a.ow);
        between v((int)p.y, a.h, a.oh, a.align_corners), u((int)p.x, a.w, a.ow, a.align_corners);
        const T *upper = x + ((size_t)p.n * (size_t)a.h + (size_t)v.first) * (size_t)a.w * c + p.c;
        const T *lower = x + ((size_t)p.n * (size_t)a.h + (size_t)v.second) * (size_t)a.w * c + p.c;
        cnk_vec<T, V> in[4] = {cnk_load<V>(upper + (size_t)u.first * c),
                               cnk_load<V>(upper + (size_t)u.second * c),
                               cnk_load<V>(lower + (size_t)u.first * c),
                               cnk_load<V>(lower + (size_t)u.second * c)};
        cnk_vec<T, V> out;
#pragma unroll
        for (int j = 0; j < V; j++) {
            float a0 = cnk_float(in[0].v[j]), a1 = cnk_float(in[1].v[j]);
            float b0 = cnk_float(in[2].v[j]), b1 = cnk_float(in[3].v[j]);
            float top = a0 + u.part * (a1 - a0), low = b0 + u.part * (b1 - b0);

            out.v[j] = cnk_to<T>(top + v.part * (low - top));
        }
        cnk_store<V>(y + i, out);
    }
};

template <class T>
static int resize(void *y, const void *x, const struct cnk_resize *a, int c,
                  struct CUstream_st *stream)
{
    resize_op<T> op = {(T *)y, (const T *)x, *a, (uint32_t)c};
    bool wide = cnk_aligned(y) && cnk_aligned(x) && c % cnk_width<T> == 0;

    return cnk_map<cnk_width<T>>(op, (uint64_t)a->planes * (uint64_t)a->oh * (uint64_t)a->ow, wide,
                                 stream);
}

int cnk_resize(enum cn_dtype dt, void *y, const void *x, const struct cnk_resize *a, int c,
               struct CUstream_st *stream)
{
    return CNK_DISPATCH(dt, resize, y, x, a, c, stream);
}

/* ---- reflected borders ---- */

static __device__ __forceinline__ int mirrored(int i, int before, int n)
{
    i -= before;
    i = i < 0 ? -i : i;
    return i < n ? i : 2 * (n - 1) - i;
}

template <class T> struct pad_reflect_op {
    T *y;
    const T *x;
    struct cnk_pad_reflect a;
    uint32_t c, oh, ow;

    template <int V, class I> __device__ void at(I i) const
    {
        place<I> p(i, c, oh, ow);
        size_t iy = (size_t)mirrored((int)p.y, a.top, a.h);
        size_t ix = (size_t)mirrored((int)p.x, a.left, a.w);

        cnk_store<V>(y + i, cnk_load<V>(x + (((size_t)p.n * (size_t)a.h + iy) * (size_t)a.w + ix) *
                                                c + p.c));
    }
};

template <class T>
static int pad_reflect(void *y, const void *x, const struct cnk_pad_reflect *a, int c,
                       struct CUstream_st *stream)
{
    pad_reflect_op<T> op = {(T *)y, (const T *)x, *a, (uint32_t)c,
                            (uint32_t)(a->top + a->h + a->bottom),
                            (uint32_t)(a->left + a->w + a->right)};
    bool wide = cnk_aligned(y) && cnk_aligned(x) && c % cnk_width<T> == 0;

    return cnk_map<cnk_width<T>>(op, (uint64_t)a->planes * op.oh * op.ow, wide, stream);
}

int cnk_pad_reflect(enum cn_dtype dt, void *y, const void *x, const struct cnk_pad_reflect *a,
                    int c, struct CUstream_st *stream)
{
    return CNK_DISPATCH(dt, pad_reflect, y, x, a, c, stream);
}

/* ---- convolutions ---- */

template <class T> struct conv_op {
    T *y;
    const T *x, *w;
    struct cnk_conv_nhwc a;
    uint32_t inputs, outputs; /* of a group */

    template <int V, class I> __device__ void at(I i) const
    {
        const struct cnk_window &k = a.window;
        place<I> p(i, (uint32_t)a.co, (uint32_t)a.oh, (uint32_t)a.ow);
        const T *filter = w + (size_t)p.c * (size_t)k.k[0] * (size_t)k.k[1] * inputs;
        float sum = 0.0f;

        for (int u = 0; u < k.k[0]; u++)
            for (int v = 0; v < k.k[1]; v++) {
                int iy = (int)p.y * k.step[0] + u * k.spread[0] - k.top;
                int ix = (int)p.x * k.step[1] + v * k.spread[1] - k.left;

                if (iy < 0 || iy >= a.h || ix < 0 || ix >= a.w)
                    continue;
                const T *in = x + (((size_t)p.n * (size_t)a.h + (size_t)iy) * (size_t)a.w +
                                   (size_t)ix) * (size_t)a.ci + p.c / outputs * inputs;
                const T *tap = filter + ((size_t)u * (size_t)k.k[1] + (size_t)v) * inputs;

                for (uint32_t ci = 0; ci < inputs; ci++)
                    sum += cnk_float(tap[ci]) * cnk_float(in[ci]);
            }
        y[i] = cnk_to<T>(sum);
    }
};

/* The position of x whose tap u reaches i, along one side; -1: none. */
static __device__ __forceinline__ int reaches(int i, int before, int u, int spread, int step,
                                              int extent)
{
    int at = i + before - u * spread;

    return at >= 0 && at % step == 0 && at / step < extent ? at / step : -1;
}

template <class T> struct conv_transpose_op {
    T *y;
    const T *x, *w;
    struct cnk_conv_nhwc a;
    uint32_t inputs, outputs; /* of a group */

    template <int V, class I> __device__ void at(I i) const
    {
        const struct cnk_window &k = a.window;
        place<I> p(i, (uint32_t)a.co, (uint32_t)a.oh, (uint32_t)a.ow);
        uint32_t group = p.c / outputs;
        size_t filter = (size_t)k.k[0] * (size_t)k.k[1] * outputs; /* of one input channel */
        float sum = 0.0f;

        for (int u = 0; u < k.k[0]; u++)
            for (int v = 0; v < k.k[1]; v++) {
                int iy = reaches((int)p.y, k.top, u, k.spread[0], k.step[0], a.h);
                int ix = reaches((int)p.x, k.left, v, k.spread[1], k.step[1], a.w);

                if (iy < 0 || ix < 0)
                    continue;
                const T *in = x + (((size_t)p.n * (size_t)a.h + (size_t)iy) * (size_t)a.w +
                                   (size_t)ix) * (size_t)a.ci + group * inputs;
                const T *tap = w + (size_t)(group * inputs) * filter +
                               ((size_t)u * (size_t)k.k[1] + (size_t)v) * outputs +
                               (p.c - group * outputs);

                for (uint32_t ci = 0; ci < inputs; ci++)
                    sum += cnk_float(tap[ci * filter]) * cnk_float(in[ci]);
            }
        y[i] = cnk_to<T>(sum);
    }
};

template <class T, class Op>
static int convolve(void *y, const void *x, const void *w, const struct cnk_conv_nhwc *a,
                    struct CUstream_st *stream)
{
    Op op = {(T *)y, (const T *)x, (const T *)w, *a, (uint32_t)(a->ci / a->groups),
             (uint32_t)(a->co / a->groups)};

    return cnk_map<1>(op, (uint64_t)a->n * (uint64_t)a->oh * (uint64_t)a->ow * (uint64_t)a->co,
                      false, stream);
}

template <class T>
static int conv(void *y, const void *x, const void *w, const struct cnk_conv_nhwc *a,
                struct CUstream_st *stream)
{
    return convolve<T, conv_op<T>>(y, x, w, a, stream);
}

template <class T>
static int conv_transpose(void *y, const void *x, const void *w, const struct cnk_conv_nhwc *a,
                          struct CUstream_st *stream)
{
    return convolve<T, conv_transpose_op<T>>(y, x, w, a, stream);
}

static bool groups_fit(const struct cnk_conv_nhwc *a)
{
    return a->groups > 0 && a->ci % a->groups == 0 && a->co % a->groups == 0;
}

int cnk_conv(enum cn_dtype dt, void *y, const void *x, const void *w, const struct cnk_conv_nhwc *a,
             struct CUstream_st *stream)
{
    return !groups_fit(a) ? (int)cudaErrorInvalidValue : CNK_DISPATCH(dt, conv, y, x, w, a, stream);
}

int cnk_conv_transpose(enum cn_dtype dt, void *y, const void *x, const void *w,
                       const struct cnk_conv_nhwc *a, struct CUstream_st *stream)
{
    return !groups_fit(a) ? (int)cudaErrorInvalidValue
                          : CNK_DISPATCH(dt, conv_transpose, y, x, w, a, stream);
}
