/* Changes of spatial resolution. */
#include "kernels/ref/ref_priv.h"

#include <math.h>

void cnk_ref_upsample(float *y, const float *x, const struct cnk_upsample *a)
{
    CNK_OMP(omp parallel for collapse(2) schedule(static)
            if ((double)a->planes * a->oh * a->ow > CNK_SMALL))
    for (int p = 0; p < a->planes; p++)
        for (int i = 0; i < a->oh; i++) {
            const float *row = x + ((size_t)p * a->h + (int64_t)i * a->h / a->oh) * a->w;
            float *out = y + ((size_t)p * a->oh + i) * a->ow;

            for (int j = 0; j < a->ow; j++)
                out[j] = row[(int64_t)j * a->w / a->ow];
        }
}

void cnk_ref_pool_hw(float *y, const float *x, int planes, int hw)
{
    CNK_OMP(omp parallel for schedule(static) if ((double)planes * hw > CNK_SMALL))
    for (int p = 0; p < planes; p++) {
        size_t at = (size_t)p * hw;
        double sum = 0.0;

        for (int i = 0; i < hw; i++)
            sum += x[at + i];
        for (int i = 0; i < hw; i++)
            y[at + i] = (float)(sum / hw);
    }
}

/* Two neighbours along one side, and how much of the second. */
struct between {
    int first, second;
    double part;
};

static struct between source_of(int i, int in, int out, int align_corners)
{
    double at = align_corners ? (out > 1 ? (double)i * (in - 1) / (out - 1) : 0.0)
                              : (i + 0.5) * in / out - 0.5;
    struct between b;

    at = at < 0.0 ? 0.0 : at;
    b.first = (int)at < in - 1 ? (int)at : in - 1;
    b.second = b.first < in - 1 ? b.first + 1 : b.first;
    b.part = at - b.first;
    return b;
}

void cnk_ref_resize(float *y, const float *x, const struct cnk_resize *a)
{
    CNK_OMP(omp parallel for collapse(2) schedule(static)
            if ((double)a->planes * a->oh * a->ow > CNK_SMALL))
    for (int p = 0; p < a->planes; p++)
        for (int i = 0; i < a->oh; i++) {
            struct between v = source_of(i, a->h, a->oh, a->align_corners);
            const float *upper = x + ((size_t)p * a->h + v.first) * a->w;
            const float *lower = x + ((size_t)p * a->h + v.second) * a->w;

            for (int j = 0; j < a->ow; j++) {
                struct between u = source_of(j, a->w, a->ow, a->align_corners);
                double top = upper[u.first] + u.part * ((double)upper[u.second] - upper[u.first]);
                double low = lower[u.first] + u.part * ((double)lower[u.second] - lower[u.first]);

                y[((size_t)p * a->oh + i) * a->ow + j] = (float)(top + v.part * (low - top));
            }
        }
}

static float pool_at(const float *plane, const struct cnk_pool *a, int i, int j)
{
    const struct cnk_window *k = &a->window;
    double sum = 0.0, most = -INFINITY;

    for (int u = 0; u < k->k[0]; u++)
        for (int v = 0; v < k->k[1]; v++) {
            int p = i * k->step[0] + u * k->spread[0] - k->top;
            int q = j * k->step[1] + v * k->spread[1] - k->left;

            if (p < 0 || p >= a->h || q < 0 || q >= a->w)
                continue;
            sum += plane[(size_t)p * a->w + q];
            /* NaN wins, and stays */
            if (!(plane[(size_t)p * a->w + q] <= most) && !isnan(most))
                most = plane[(size_t)p * a->w + q];
        }
    return (float)(a->max ? most : sum / (k->k[0] * k->k[1]));
}

void cnk_ref_pool(float *y, const float *x, const struct cnk_pool *a)
{
    CNK_OMP(omp parallel for collapse(2) schedule(static)
            if ((double)a->planes * a->oh * a->ow * a->window.k[0] * a->window.k[1] > CNK_SMALL))
    for (int p = 0; p < a->planes; p++)
        for (int i = 0; i < a->oh; i++)
            for (int j = 0; j < a->ow; j++)
                y[((size_t)p * a->oh + i) * a->ow + j] =
                    pool_at(x + (size_t)p * a->h * a->w, a, i, j);
}

/* Position i - before of a line of n, mirrored. */
static int mirrored(int i, int before, int n)
{
    i -= before;
    if (i < 0)
        i = -i;
    return i < n ? i : 2 * (n - 1) - i;
}

void cnk_ref_pad_reflect(float *y, const float *x, const struct cnk_pad_reflect *a)
{
    int oh = a->top + a->h + a->bottom, ow = a->left + a->w + a->right;

    CNK_OMP(omp parallel for collapse(2) schedule(static)
            if ((double)a->planes * oh * ow > CNK_SMALL))
    for (int p = 0; p < a->planes; p++)
        for (int i = 0; i < oh; i++) {
            const float *row = x + ((size_t)p * a->h + mirrored(i, a->top, a->h)) * a->w;

            for (int j = 0; j < ow; j++)
                y[((size_t)p * oh + i) * ow + j] = row[mirrored(j, a->left, a->w)];
        }
}
