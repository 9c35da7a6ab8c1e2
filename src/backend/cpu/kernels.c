/* Kernels on feature maps.
 *
 * The unit of work is a block of channels [c0, c0 + len) that lie together at a pixel, for all
 * pixels of one row n. Where channels lie in blocks of 16, or all together and a multiple of 16, it
 * is 16 channels and the inner loops vectorise; for anything else it is one channel.
 */
#include "base/base.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/simd.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 16 };

/* First element of channel c of row n, and the distance from pixel to pixel. */
struct block {
    float *at;
    int64_t step;
};

static struct block block_at(const struct cn_fmap *m, int64_t n, int64_t c)
{
    int64_t hw = m->h * m->w;

    return (struct block){
        m->data + (n * (m->c / m->block) + c / m->block) * hw * m->block + c % m->block, m->block};
}

static bool is_blocked16(const struct cn_fmap *m)
{
    return m->c % BLOCK == 0 && m->block % BLOCK == 0;
}

static bool same_layout(const struct cn_fmap *a, const struct cn_fmap *b)
{
    /* One pixel or one channel: all layouts coincide. */
    return a->block == b->block || a->h * a->w == 1 || a->c == 1;
}

CN_SIMD static void copy_block(float *d, int64_t ds, const float *x, int64_t xs, int64_t pixels)
{
    for (int64_t p = 0; p < pixels; p++)
        for (int i = 0; i < BLOCK; i++)
            d[p * ds + i] = x[p * xs + i];
}

CN_SIMD static void add_block(float *d, int64_t ds, const float *x, int64_t xs, const float *y,
                            int64_t ys, int64_t pixels, float w)
{
    for (int64_t p = 0; p < pixels; p++)
        for (int i = 0; i < BLOCK; i++)
            d[p * ds + i] = x[p * xs + i] + w * y[p * ys + i];
}

CN_SIMD static void add_flat(float *d, const float *x, const float *y, int64_t count, float w)
{
    for (int64_t i = 0; i < count; i++)
        d[i] = x[i] + w * y[i];
}

/* y is not read where the weight is 0: x stays bit for bit, whatever y holds (ADD_ROWS). */
static void add_part(float *d, const float *x, const float *y, int64_t count, float w)
{
    if (w != 0)
        add_flat(d, x, y, count, w);
    else if (d != x)
        memcpy(d, x, (size_t)count * sizeof(*d));
}

static void add_channels(const struct block *d, const struct block *x, const struct block *y,
                         int64_t pixels, bool blocks, float w)
{
    if (blocks && w != 0)
        add_block(d->at, d->step, x->at, x->step, y->at, y->step, pixels, w);
    else if (blocks)
        copy_block(d->at, d->step, x->at, x->step, pixels);
    else
        for (int64_t p = 0; p < pixels; p++)
            d->at[p * d->step] =
                x->at[p * x->step] + (w != 0 ? w * y->at[p * y->step] : -0.0f);
}

/* d = x + w * y for one row n, layouts free. */
static void add_row(const struct cn_fmap *d, const struct cn_fmap *x, const struct cn_fmap *y,
                    const float *w, int64_t stride)
{
    int64_t pixels = d->h * d->w, image = d->c * pixels;
    bool flat = same_layout(d, x) && same_layout(d, y);
    bool blocks = is_blocked16(d) && is_blocked16(x) && is_blocked16(y);
    int64_t len = blocks ? BLOCK : 1;

    if (flat) {
#pragma omp parallel for collapse(2) schedule(static)
        for (int64_t n = 0; n < d->n; n++)
            for (int64_t part = 0; part < 16; part++) {
                int64_t from = image * part / 16, to = image * (part + 1) / 16;

                add_part(d->data + n * image + from, x->data + n * image + from,
                         y->data + n * image + from, to - from, w ? w[n * stride] : 1.0f);
            }
        return;
    }
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < d->n; n++)
        for (int64_t c = 0; c < d->c; c += len) {
            struct block rd = block_at(d, n, c), rx = block_at(x, n, c), ry = block_at(y, n, c);

            add_channels(&rd, &rx, &ry, pixels, blocks, w ? w[n * stride] : 1.0f);
        }
}

void cn_cpu_add(const struct cn_fmap *dst, const struct cn_fmap *x, const struct cn_fmap *y)
{
    add_row(dst, x, y, NULL, 0);
}

void cn_cpu_add_rows(const struct cn_fmap *dst, const struct cn_fmap *x, const struct cn_fmap *y,
                     const float *w, int64_t stride)
{
    add_row(dst, x, y, w, stride);
}

/* y = act(x * scale + shift), per channel of a block. */
#define AFFINE_BLOCK(name, expr)                                                                   \
    CN_SIMD static void affine_##name(float *d, int64_t ds, const float *x, int64_t xs,            \
                                      int64_t pixels, const float *scale, const float *shift,      \
                                      float slope)                                                 \
    {                                                                                              \
        (void)slope;                                                                               \
        for (int64_t p = 0; p < pixels; p++)                                                       \
            for (int i = 0; i < BLOCK; i++) {                                                      \
                float v = x[p * xs + i] * scale[i] + shift[i];                                     \
                                                                                                   \
                d[p * ds + i] = (expr);                                                            \
            }                                                                                      \
    }

AFFINE_BLOCK(none, v)
AFFINE_BLOCK(silu, cn_simd_silu(v))
AFFINE_BLOCK(gelu, cn_simd_gelu(v))
AFFINE_BLOCK(quick_gelu, cn_simd_quick_gelu(v))
AFFINE_BLOCK(relu, v > 0 ? v : 0)
AFFINE_BLOCK(sigmoid, cn_simd_sigmoid(v))
AFFINE_BLOCK(tanh, cn_simd_tanh(v))
AFFINE_BLOCK(leaky_relu, cn_simd_leaky_relu(v, slope))

typedef void (*affine_fn)(float *, int64_t, const float *, int64_t, int64_t, const float *,
                          const float *, float);

static affine_fn affine(enum cn_activation act)
{
    static const affine_fn fn[CN_ACTIVATION_COUNT] = {
        [CN_NONE] = affine_none,
        [CN_SILU] = affine_silu,
        [CN_GELU] = affine_gelu,
        [CN_QUICK_GELU] = affine_quick_gelu,
        [CN_RELU] = affine_relu,
        [CN_SIGMOID] = affine_sigmoid,
        [CN_TANH] = affine_tanh,
        [CN_LEAKY_RELU] = affine_leaky_relu,
    };

    return fn[act];
}

static float activate(float v, enum cn_activation act, float slope)
{
    switch (act) {
    case CN_SILU:
        return cn_simd_silu(v);
    case CN_GELU:
        return cn_simd_gelu(v);
    case CN_QUICK_GELU:
        return cn_simd_quick_gelu(v);
    case CN_RELU:
        return v > 0 ? v : 0;
    case CN_SIGMOID:
        return cn_simd_sigmoid(v);
    case CN_TANH:
        return cn_simd_tanh(v);
    case CN_LEAKY_RELU:
        return cn_simd_leaky_relu(v, slope);
    default:
        return v;
    }
}

/* d = act(x * scale[n, c] + shift[n, c]) */
static void affine_map(const struct cn_fmap *d, const struct cn_fmap *x, const float *scale,
                       const float *shift, const struct cn_cpu_norm *norm)
{
    int64_t pixels = d->h * d->w;
    bool blocks = is_blocked16(d) && is_blocked16(x);
    int64_t len = blocks ? BLOCK : 1;
    affine_fn fn = affine(norm->act);

#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < d->n; n++)
        for (int64_t c = 0; c < d->c; c += len) {
            struct block rd = block_at(d, n, c), rx = block_at(x, n, c);
            const float *s = scale + n * d->c + c, *t = shift + n * d->c + c;

            if (blocks)
                fn(rd.at, rd.step, rx.at, rx.step, pixels, s, t, norm->slope);
            else
                for (int64_t p = 0; p < pixels; p++)
                    rd.at[p * rd.step] = activate(rx.at[p * rx.step] * *s + *t, norm->act,
                                                  norm->slope);
        }
}

/* Sums of x - x[0] and its square over the pixels, for each channel of a block. Partial sums of 256
 * pixels in float, then double: the error stays below 1e-7 of the standard deviation. */
CN_SIMD static void sums_block(const float *x, int64_t step, int64_t pixels, double *sum,
                               double *sq)
{
    float first[BLOCK];

    memcpy(first, x, sizeof(first));
    for (int i = 0; i < BLOCK; i++)
        sum[i] = sq[i] = 0;
    for (int64_t from = 0; from < pixels; from += 256) {
        int64_t to = from + 256 < pixels ? from + 256 : pixels;
        float s[BLOCK] = {0}, q[BLOCK] = {0};

        for (int64_t p = from; p < to; p++)
            for (int i = 0; i < BLOCK; i++) {
                float v = x[p * step + i] - first[i];

                s[i] += v;
                q[i] += v * v;
            }
        for (int i = 0; i < BLOCK; i++) {
            sum[i] += s[i];
            sq[i] += q[i];
        }
    }
}

static void sums_one(const float *x, int64_t step, int64_t pixels, double *sum, double *sq)
{
    *sum = *sq = 0;
    for (int64_t p = 0; p < pixels; p++) {
        double v = (double)x[p * step] - x[0];

        *sum += v;
        *sq += v * v;
    }
}

/* mean[n, c] and var[n, c] of every channel. */
static void channel_stats(const struct cn_fmap *x, float *mean, float *var)
{
    int64_t pixels = x->h * x->w;
    bool blocks = is_blocked16(x);
    int64_t len = blocks ? BLOCK : 1;

#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < x->n; n++)
        for (int64_t c = 0; c < x->c; c += len) {
            struct block r = block_at(x, n, c);
            double sum[BLOCK], sq[BLOCK];

            if (blocks)
                sums_block(r.at, r.step, pixels, sum, sq);
            else
                sums_one(r.at, r.step, pixels, sum, sq);
            for (int64_t i = 0; i < len; i++) {
                double m = sum[i] / (double)pixels;

                mean[n * x->c + c + i] = (float)(m + r.at[i]);
                var[n * x->c + c + i] = (float)fmax(sq[i] / (double)pixels - m * m, 0);
            }
        }
}

/* From channel statistics to the affine map of each channel: y = x * scale + shift. */
static void norm_coefficients(const struct cn_fmap *x, const struct cn_cpu_norm *p, float *mean,
                              float *var, float *scale, float *shift)
{
    int64_t per = x->c / p->groups;

    for (int64_t n = 0; n < x->n; n++)
        for (int64_t g = 0; g < p->groups; g++) {
            int64_t from = n * x->c + g * per;
            const float *t = p->t ? p->t + n * p->t_stride + g * per : NULL;
            double m = 0, v = 0, inv;

            for (int64_t i = 0; i < per; i++)
                m += (double)mean[from + i] + (t ? t[i] : 0);
            m /= (double)per;
            for (int64_t i = 0; i < per; i++) {
                double off = (double)mean[from + i] + (t ? t[i] : 0) - m;

                v += var[from + i] + off * off;
            }
            inv = 1 / sqrt(v / (double)per + p->eps);
            for (int64_t i = 0; i < per; i++) {
                double s = p->gamma ? p->gamma[g * per + i] * inv : inv;
                double b = p->beta ? p->beta[g * per + i] : 0;

                scale[from + i] = (float)s;
                shift[from + i] = (float)(b + ((t ? t[i] : 0) - m) * s);
            }
        }
}

void cn_cpu_group_norm(const struct cn_fmap *dst, const struct cn_fmap *x,
                       const struct cn_cpu_norm *p, float *scratch)
{
    int64_t nc = x->n * x->c;
    float *mean = scratch, *var = scratch + nc, *scale = scratch + 2 * nc, *shift = scale + nc;

    channel_stats(x, mean, var);
    norm_coefficients(x, p, mean, var, scale, shift);
    affine_map(dst, x, scale, shift, p);
}

/* Channels [0, x->c) of x to channels [at, at + x->c) of dst. */
static void copy_channels(const struct cn_fmap *dst, int64_t at, const struct cn_fmap *x)
{
    int64_t pixels = x->h * x->w;
    bool blocks = is_blocked16(dst) && is_blocked16(x) && at % BLOCK == 0;
    int64_t len = blocks ? BLOCK : 1;

#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < x->n; n++)
        for (int64_t c = 0; c < x->c; c += len) {
            struct block rd = block_at(dst, n, at + c), rx = block_at(x, n, c);

            if (blocks)
                copy_block(rd.at, rd.step, rx.at, rx.step, pixels);
            else
                for (int64_t p = 0; p < pixels; p++)
                    rd.at[p * rd.step] = rx.at[p * rx.step];
        }
}

void cn_cpu_copy(const struct cn_fmap *dst, const struct cn_fmap *src)
{
    if (!same_layout(dst, src))
        copy_channels(dst, 0, src);
    else if (dst->data != src->data)
        memcpy(dst->data, src->data, (size_t)(src->n * src->c * src->h * src->w) * sizeof(float));
}

void cn_cpu_concat(const struct cn_fmap *dst, int64_t at, const struct cn_fmap *x)
{
    copy_channels(dst, at, x);
}

void cn_cpu_add_channel(const struct cn_fmap *dst, const struct cn_fmap *x, const float *t,
                        int64_t stride)
{
    int64_t pixels = x->h * x->w;

#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < x->n; n++)
        for (int64_t c = 0; c < x->c; c++) {
            struct block rd = block_at(dst, n, c), rx = block_at(x, n, c);

            for (int64_t p = 0; p < pixels; p++)
                rd.at[p * rd.step] = rx.at[p * rx.step] + t[n * stride + c];
        }
}

void cn_cpu_upsample(const struct cn_fmap *dst, const struct cn_fmap *x)
{
    bool blocks = is_blocked16(dst) && is_blocked16(x);
    int64_t len = blocks ? BLOCK : 1;

#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < x->n; n++)
        for (int64_t c = 0; c < x->c; c += len) {
            struct block rd = block_at(dst, n, c), rx = block_at(x, n, c);

            for (int64_t y = 0; y < dst->h; y++)
                for (int64_t i = 0; i < dst->w; i++) {
                    int64_t from = (y * x->h / dst->h) * x->w + i * x->w / dst->w;

                    memcpy(rd.at + (y * dst->w + i) * rd.step, rx.at + from * rx.step,
                           (size_t)len * sizeof(float));
                }
        }
}

void cn_cpu_pool_hw(const struct cn_fmap *dst, const struct cn_fmap *x)
{
    int64_t pixels = x->h * x->w;

#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < x->n; n++)
        for (int64_t c = 0; c < x->c; c++) {
            struct block rd = block_at(dst, n, c), rx = block_at(x, n, c);
            double sum = 0;

            for (int64_t p = 0; p < pixels; p++)
                sum += rx.at[p * rx.step];
            for (int64_t p = 0; p < pixels; p++)
                rd.at[p * rd.step] = (float)(sum / (double)pixels);
        }
}
