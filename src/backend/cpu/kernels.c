/* Kernels on feature maps.
 *
 * The unit of work is a "run": the channels [c0, c0 + len) that lie together at a pixel, for all
 * pixels of one row n. For b = 16 and b = c with c a multiple of 16 a run is 16 channels and the
 * inner loops vectorise; for anything else it is one channel.
 */
#include "base/base.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/simd.h"

#include <math.h>
#include <string.h>

enum { RUN = 16 };

/* First element of channel c of row n, and the distance from pixel to pixel. */
struct run {
    float *at;
    int64_t step;
};

static struct run run_of(const struct cn_fmap *m, int64_t n, int64_t c)
{
    int64_t hw = m->h * m->w;

    return (struct run){m->data + (n * (m->c / m->b) + c / m->b) * hw * m->b + c % m->b, m->b};
}

static bool wide(const struct cn_fmap *m)
{
    return m->c % RUN == 0 && m->b % RUN == 0;
}

static bool same_layout(const struct cn_fmap *a, const struct cn_fmap *b)
{
    /* One pixel or one channel: all layouts coincide. */
    return a->b == b->b || a->h * a->w == 1 || a->c == 1;
}

CN_SIMD static void add_run(float *d, int64_t ds, const float *x, int64_t xs, const float *y,
                            int64_t ys, int64_t pixels, float w)
{
    for (int64_t p = 0; p < pixels; p++)
        for (int i = 0; i < RUN; i++)
            d[p * ds + i] = x[p * xs + i] + w * y[p * ys + i];
}

CN_SIMD static void add_flat(float *d, const float *x, const float *y, int64_t count, float w)
{
    for (int64_t i = 0; i < count; i++)
        d[i] = x[i] + w * y[i];
}

/* d = x + w * y for one row n, layouts free. */
static void add_row(const struct cn_fmap *d, const struct cn_fmap *x, const struct cn_fmap *y,
                    const float *w, int64_t stride)
{
    int64_t pixels = d->h * d->w, image = d->c * pixels;
    bool flat = same_layout(d, x) && same_layout(d, y), runs = wide(d) && wide(x) && wide(y);
    int64_t len = runs ? RUN : 1;

    if (flat) {
#pragma omp parallel for collapse(2) schedule(static)
        for (int64_t n = 0; n < d->n; n++)
            for (int64_t part = 0; part < 16; part++) {
                int64_t from = image * part / 16, to = image * (part + 1) / 16;

                add_flat(d->data + n * image + from, x->data + n * image + from,
                         y->data + n * image + from, to - from, w ? w[n * stride] : 1.0f);
            }
        return;
    }
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < d->n; n++)
        for (int64_t c = 0; c < d->c; c += len) {
            struct run rd = run_of(d, n, c), rx = run_of(x, n, c), ry = run_of(y, n, c);
            float f = w ? w[n * stride] : 1.0f;

            if (runs)
                add_run(rd.at, rd.step, rx.at, rx.step, ry.at, ry.step, pixels, f);
            else
                for (int64_t p = 0; p < pixels; p++)
                    rd.at[p * rd.step] = rx.at[p * rx.step] + f * ry.at[p * ry.step];
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

/* y = act(x * scale + shift), per channel of a run. */
#define AFFINE_RUN(name, expr)                                                                     \
    CN_SIMD static void affine_##name(float *d, int64_t ds, const float *x, int64_t xs,            \
                                      int64_t pixels, const float *scale, const float *shift)      \
    {                                                                                              \
        for (int64_t p = 0; p < pixels; p++)                                                       \
            for (int i = 0; i < RUN; i++) {                                                        \
                float v = x[p * xs + i] * scale[i] + shift[i];                                     \
                                                                                                   \
                d[p * ds + i] = (expr);                                                            \
            }                                                                                      \
    }

AFFINE_RUN(none, v)
AFFINE_RUN(silu, cn_simd_silu(v))
AFFINE_RUN(gelu, cn_simd_gelu(v))
AFFINE_RUN(quick_gelu, cn_simd_quick_gelu(v))
AFFINE_RUN(relu, v > 0 ? v : 0)

typedef void (*affine_fn)(float *, int64_t, const float *, int64_t, int64_t, const float *,
                          const float *);

static affine_fn affine(enum cn_activation act)
{
    switch (act) {
    case CN_SILU:
        return affine_silu;
    case CN_GELU:
        return affine_gelu;
    case CN_QUICK_GELU:
        return affine_quick_gelu;
    case CN_RELU:
        return affine_relu;
    default:
        return affine_none;
    }
}

static float activate(float v, enum cn_activation act)
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
    default:
        return v;
    }
}

/* d = act(x * scale[n, c] + shift[n, c]) */
static void affine_map(const struct cn_fmap *d, const struct cn_fmap *x, const float *scale,
                       const float *shift, enum cn_activation act)
{
    int64_t pixels = d->h * d->w;
    bool runs = wide(d) && wide(x);
    int64_t len = runs ? RUN : 1;
    affine_fn fn = affine(act);

#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < d->n; n++)
        for (int64_t c = 0; c < d->c; c += len) {
            struct run rd = run_of(d, n, c), rx = run_of(x, n, c);
            const float *s = scale + n * d->c + c, *t = shift + n * d->c + c;

            if (runs)
                fn(rd.at, rd.step, rx.at, rx.step, pixels, s, t);
            else
                for (int64_t p = 0; p < pixels; p++)
                    rd.at[p * rd.step] = activate(rx.at[p * rx.step] * *s + *t, act);
        }
}

/* Sums of x - x[0] and its square over the pixels, for each channel of a run. Partial sums of 256
 * pixels in float, then double: the error stays below 1e-7 of the standard deviation. */
CN_SIMD static void sums_run(const float *x, int64_t step, int64_t pixels, double *sum, double *sq)
{
    float first[RUN];

    memcpy(first, x, sizeof(first));
    for (int i = 0; i < RUN; i++)
        sum[i] = sq[i] = 0;
    for (int64_t from = 0; from < pixels; from += 256) {
        int64_t to = from + 256 < pixels ? from + 256 : pixels;
        float s[RUN] = {0}, q[RUN] = {0};

        for (int64_t p = from; p < to; p++)
            for (int i = 0; i < RUN; i++) {
                float v = x[p * step + i] - first[i];

                s[i] += v;
                q[i] += v * v;
            }
        for (int i = 0; i < RUN; i++) {
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
    bool runs = wide(x);
    int64_t len = runs ? RUN : 1;

#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < x->n; n++)
        for (int64_t c = 0; c < x->c; c += len) {
            struct run r = run_of(x, n, c);
            double sum[RUN], sq[RUN];

            if (runs)
                sums_run(r.at, r.step, pixels, sum, sq);
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
                double s = p->gamma[g * per + i] * inv;

                scale[from + i] = (float)s;
                shift[from + i] = (float)(p->beta[g * per + i] + ((t ? t[i] : 0) - m) * s);
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
    affine_map(dst, x, scale, shift, p->act);
}

CN_SIMD static void copy_run(float *d, int64_t ds, const float *x, int64_t xs, int64_t pixels)
{
    for (int64_t p = 0; p < pixels; p++)
        for (int i = 0; i < RUN; i++)
            d[p * ds + i] = x[p * xs + i];
}

/* Channels [0, x->c) of x to channels [at, at + x->c) of dst. */
static void copy_channels(const struct cn_fmap *dst, int64_t at, const struct cn_fmap *x)
{
    int64_t pixels = x->h * x->w;
    bool runs = wide(dst) && wide(x) && at % RUN == 0;
    int64_t len = runs ? RUN : 1;

#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < x->n; n++)
        for (int64_t c = 0; c < x->c; c += len) {
            struct run rd = run_of(dst, n, at + c), rx = run_of(x, n, c);

            if (runs)
                copy_run(rd.at, rd.step, rx.at, rx.step, pixels);
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

void cn_cpu_concat(const struct cn_fmap *dst, const struct cn_fmap *x, const struct cn_fmap *y)
{
    copy_channels(dst, 0, x);
    copy_channels(dst, x->c, y);
}

void cn_cpu_add_channel(const struct cn_fmap *dst, const struct cn_fmap *x, const float *t,
                        int64_t stride)
{
    int64_t pixels = x->h * x->w;

#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < x->n; n++)
        for (int64_t c = 0; c < x->c; c++) {
            struct run rd = run_of(dst, n, c), rx = run_of(x, n, c);

            for (int64_t p = 0; p < pixels; p++)
                rd.at[p * rd.step] = rx.at[p * rx.step] + t[n * stride + c];
        }
}

void cn_cpu_upsample(const struct cn_fmap *dst, const struct cn_fmap *x)
{
    bool runs = wide(dst) && wide(x);
    int64_t len = runs ? RUN : 1;

#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t n = 0; n < x->n; n++)
        for (int64_t c = 0; c < x->c; c += len) {
            struct run rd = run_of(dst, n, c), rx = run_of(x, n, c);

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
            struct run rd = run_of(dst, n, c), rx = run_of(x, n, c);
            double sum = 0;

            for (int64_t p = 0; p < pixels; p++)
                sum += rx.at[p * rx.step];
            for (int64_t p = 0; p < pixels; p++)
                rd.at[p * rd.step] = (float)(sum / (double)pixels);
        }
}
