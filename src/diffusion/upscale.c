/* Latents resized, cell by cell, as PyTorch's interpolate does it. */
#include "base/base.h"
#include "diffusion/upscale.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_TAPS = 5 }; /* cells of the smaller latent that one of the larger is made of */

struct taps {
    int n, at[MAX_TAPS];
    float weight[MAX_TAPS];
};

/* The kernel of cubic convolution (Keys 1981): a is PyTorch's -0.75, and -0.5 with antialiasing. */
static double cubic(double a, double x)
{
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static double triangle(double x)
{
    return fmax(1 - fabs(x), 0);
}

static void add_tap(struct taps *t, int at, double weight)
{
    t->at[t->n] = at;
    t->weight[t->n++] = (float)weight;
}

/* Neighbours beyond the edge are the cell at the edge. */
static struct taps smooth(enum cn_upscaler kind, double center, int from)
{
    int first = (int)floor(center - 0.5), reach = kind == CN_UP_LATENT ? 0 : 1;
    struct taps t = {0};

    for (int i = first - reach; i <= first + 1 + reach; i++) {
        double x = i + 0.5 - center;

        add_tap(&t, CN_MIN(CN_MAX(i, 0), from - 1), reach == 0 ? triangle(x) : cubic(-0.75, x));
    }
    return t;
}

/* With antialiasing, which has no effect on sizes that grow but for this: neighbours beyond the
 * edge are left out, and the others' weights brought to a sum of 1. */
static struct taps antialiased(enum cn_upscaler kind, double center, int from)
{
    bool linear = kind == CN_UP_LATENT_ANTIALIASED;
    int reach = linear ? 1 : 2, first = CN_MAX((int)floor(center - reach + 0.5), 0);
    int end = CN_MIN((int)floor(center + reach + 0.5), from);
    struct taps t = {0};
    double sum = 0;

    for (int i = first; i < end; i++)
        sum += linear ? triangle(i + 0.5 - center) : cubic(-0.5, i + 0.5 - center);
    for (int i = first; i < end; i++) {
        double x = i + 0.5 - center;

        add_tap(&t, i, (linear ? triangle(x) : cubic(-0.5, x)) / sum);
    }
    return t;
}

/* What cell i of n is made of, of `from` cells. */
static struct taps taps_of(enum cn_upscaler kind, int i, int n, int from)
{
    struct taps t = {0};

    switch (kind) {
    case CN_UP_LATENT_NEAREST:
        add_tap(&t, (int)((int64_t)i * from / n), 1);
        return t;
    case CN_UP_LATENT_NEAREST_EXACT:
        add_tap(&t, (int)((2 * (int64_t)i + 1) * from / (2 * n)), 1);
        return t;
    case CN_UP_LATENT_ANTIALIASED:
    case CN_UP_LATENT_BICUBIC_ANTIALIASED:
        return antialiased(kind, (i + 0.5) * from / n, from);
    default:
        return smooth(kind, (i + 0.5) * from / n, from);
    }
}

static float sum_of(const float *from, int width, const struct taps *v, const struct taps *u)
{
    float sum = 0;

    for (int k = 0; k < v->n; k++) {
        const float *row = from + (size_t)v->at[k] * (size_t)width;
        float part = 0;

        for (int i = 0; i < u->n; i++)
            part += u->weight[i] * row[u->at[i]];
        sum += v->weight[k] * part;
    }
    return sum;
}

void cn_latent_cover(const struct cn_latent_size *a, const struct cn_latent_size *b, int *ret_w,
                     int *ret_h)
{
    bool wide = (int64_t)a->w * b->h < (int64_t)a->h * b->w; /* the width decides */

    *ret_w = wide ? b->w : CN_MAX((int)((int64_t)b->h * a->w / a->h), b->w);
    *ret_h = wide ? CN_MAX((int)((int64_t)b->w * a->h / a->w), b->h) : b->h;
}

/* from, enlarged to w x h, of which b is the middle. */
static void resample(enum cn_upscaler kind, const float *from, const struct cn_latent_size *a,
                     float *to, const struct cn_latent_size *b, int w, int h)
{
    struct taps *u = cn_xcalloc((size_t)b->w, sizeof(*u));

    for (int x = 0; x < b->w; x++)
        u[x] = taps_of(kind, x + (w - b->w) / 2, w, a->w);
    for (int c = 0; c < b->channels; c++)
        for (int y = 0; y < b->h; y++) {
            struct taps v = taps_of(kind, y + (h - b->h) / 2, h, a->h);

            for (int x = 0; x < b->w; x++)
                *to++ = sum_of(from + (size_t)c * (size_t)a->h * (size_t)a->w, a->w, &v, &u[x]);
        }
    free(u);
}

void cn_latent_upscale(enum cn_upscaler kind, const float *from, const struct cn_latent_size *a,
                       float *to, const struct cn_latent_size *b)
{
    int w, h;

    cn_latent_cover(a, b, &w, &h);
    resample(kind, from, a, to, b, w, h);
}

void cn_latent_stretch(enum cn_upscaler kind, const float *from, const struct cn_latent_size *a,
                       float *to, const struct cn_latent_size *b)
{
    resample(kind, from, a, to, b, b->w, b->h);
}
