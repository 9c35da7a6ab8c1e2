/* Convolution.
 *
 * One tile of work is a block of output channels and a piece of one output row, summed tap by tap
 * (input channel, kernel row, kernel column: the same order for every output element), so that an
 * input value is converted to binary64 once per block. */
#include "kernels/ref/ref_priv.h"

enum { BLOCK = 8, TILE = 32 };

struct tile {
    int n, co, oy, ox;     /* first channel and column */
    int channels, columns; /* how many of each */
    double sum[BLOCK][TILE];
};

/* Columns [*from, *to) of the tile for which kernel column u reads inside the row. */
static void inside(const struct cnk_conv2d *a, const struct tile *t, int u, int *from, int *to)
{
    int before = a->left - u, last = a->w - 1 + before;
    int lo = before > 0 ? (before + a->stride - 1) / a->stride : 0;
    int hi = last < 0 ? 0 : last / a->stride + 1;

    *from = lo > t->ox ? lo - t->ox : 0;
    *to = hi - t->ox < t->columns ? hi - t->ox : t->columns;
}

/* One tap: w points at the weight of the first channel; the next channel's is `step` further. */
static void add_tap(const struct cnk_conv2d *a, struct tile *t, const float *row, int u,
                    const float *w, size_t step)
{
    double x[TILE];
    int from, to;

    inside(a, t, u, &from, &to);
    for (int j = from; j < to; j++)
        x[j] = row[(t->ox + j) * a->stride - a->left + u];
    for (int c = 0; c < t->channels; c++) {
        double weight = w[(size_t)c * step], *sum = t->sum[c];

        CNK_OMP(omp simd)
        for (int j = from; j < to; j++)
            sum[j] += weight * x[j];
    }
}

static void add_channel(const struct cnk_conv2d *a, struct tile *t, const float *plane,
                        const float *w, size_t step)
{
    for (int v = 0; v < a->k; v++) {
        int iy = t->oy * a->stride - a->top + v;

        if (iy < 0 || iy >= a->h)
            continue;
        for (int u = 0; u < a->k; u++)
            add_tap(a, t, plane + (size_t)iy * a->w, u, w + v * a->k + u, step);
    }
}

static void start(struct tile *t, const float *bias)
{
    for (int c = 0; c < t->channels; c++)
        for (int j = 0; j < t->columns; j++)
            t->sum[c][j] = bias != NULL ? bias[t->co + c] : 0.0;
}

static void finish(const struct cnk_conv2d *a, const struct tile *t, float *y,
                   const float *residual)
{
    for (int c = 0; c < t->channels; c++) {
        size_t at = (((size_t)t->n * a->co + t->co + c) * a->oh + t->oy) * a->ow + t->ox;

        for (int j = 0; j < t->columns; j++) {
            double v = t->sum[c][j];

            if (residual != NULL)
                v += residual[at + j];
            y[at + j] = (float)cnk_ref_activate(v, a->act);
        }
    }
}

void cnk_ref_conv2d(float *y, const float *x, const float *w, const float *bias,
                    const float *residual, const struct cnk_conv2d *a)
{
    size_t taps = (size_t)a->k * a->k, step = taps * a->ci, plane = (size_t)a->h * a->w;

    CNK_OMP(omp parallel for collapse(4) schedule(static)
            if ((double)a->co * step * a->oh * a->ow > CNK_SMALL))
    for (int n = 0; n < a->n; n++)
        for (int co = 0; co < a->co; co += BLOCK)
            for (int oy = 0; oy < a->oh; oy++)
                for (int ox = 0; ox < a->ow; ox += TILE) {
                    struct tile t;

                    t.n = n;
                    t.co = co;
                    t.oy = oy;
                    t.ox = ox;
                    t.channels = a->co - co < BLOCK ? a->co - co : BLOCK;
                    t.columns = a->ow - ox < TILE ? a->ow - ox : TILE;
                    start(&t, bias);
                    for (int ci = 0; ci < a->ci; ci++)
                        add_channel(a, &t, x + ((size_t)n * a->ci + ci) * plane,
                                    w + co * step + ci * taps, step);
                    finish(a, &t, y, residual);
                }
}
