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
    int step = a->window.step[1], before = a->window.left - u * a->window.spread[1];
    int last = a->w - 1 + before;
    int lo = before > 0 ? (before + step - 1) / step : 0;
    int hi = last < 0 ? 0 : last / step + 1;

    *from = lo > t->ox ? lo - t->ox : 0;
    *to = hi - t->ox < t->columns ? hi - t->ox : t->columns;
}

/* One tap: w points at the weight of the first channel; the next channel's is `step` further. */
static void add_tap(const struct cnk_conv2d *a, struct tile *t, const float *row, int u,
                    const float *w, size_t step)
{
    const struct cnk_window *k = &a->window;
    double x[TILE];
    int from, to;

    inside(a, t, u, &from, &to);
    for (int j = from; j < to; j++)
        x[j] = row[(t->ox + j) * k->step[1] - k->left + u * k->spread[1]];
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
    const struct cnk_window *k = &a->window;

    for (int v = 0; v < k->k[0]; v++) {
        int iy = t->oy * k->step[0] - k->top + v * k->spread[0];

        if (iy < 0 || iy >= a->h)
            continue;
        for (int u = 0; u < k->k[1]; u++)
            add_tap(a, t, plane + (size_t)iy * a->w, u, w + v * k->k[1] + u, step);
    }
}

static void tile_start(struct tile *t, const float *bias)
{
    for (int c = 0; c < t->channels; c++)
        for (int j = 0; j < t->columns; j++)
            t->sum[c][j] = bias != NULL ? bias[t->co + c] : 0.0;
}

static void tile_finish(const struct cnk_conv2d *a, const struct tile *t, float *y,
                        const float *residual)
{
    for (int c = 0; c < t->channels; c++) {
        size_t at = (((size_t)t->n * a->co + t->co + c) * a->oh + t->oy) * a->ow + t->ox;

        for (int j = 0; j < t->columns; j++) {
            double v = t->sum[c][j];

            if (residual != NULL)
                v += residual[at + j];
            y[at + j] = (float)cnk_ref_activate(v, a->act, a->slope);
        }
    }
}

/* One tile: the channels stand in one group, which sees its own part of the input. */
static void sum_tile(const struct cnk_conv2d *a, struct tile *t, float *y, const float *x,
                     const float *w, const float *bias, const float *residual)
{
    int taps = a->window.k[0] * a->window.k[1], inputs = a->ci / a->groups;
    int first = t->co / (a->co / a->groups) * inputs;
    size_t step = (size_t)taps * inputs, plane = (size_t)a->h * a->w;

    tile_start(t, bias);
    for (int i = 0; i < inputs; i++)
        add_channel(a, t, x + ((size_t)t->n * a->ci + first + i) * plane,
                    w + t->co * step + (size_t)i * taps, step);
    tile_finish(a, t, y, residual);
}

void cnk_ref_conv2d(float *y, const float *x, const float *w, const float *bias,
                    const float *residual, const struct cnk_conv2d *a)
{
    int per_group = a->co / a->groups, blocks = (per_group + BLOCK - 1) / BLOCK;
    double work = (double)a->co * a->ci / a->groups * a->window.k[0] * a->window.k[1] * a->oh;

    CNK_OMP(omp parallel for collapse(4) schedule(static) if (work * a->ow > CNK_SMALL))
    for (int n = 0; n < a->n; n++)
        for (int b = 0; b < a->groups * blocks; b++)
            for (int oy = 0; oy < a->oh; oy++)
                for (int ox = 0; ox < a->ow; ox += TILE) {
                    int at = b % blocks * BLOCK; /* in the group */
                    struct tile t;

                    t.n = n;
                    t.co = b / blocks * per_group + at;
                    t.oy = oy;
                    t.ox = ox;
                    t.channels = per_group - at < BLOCK ? per_group - at : BLOCK;
                    t.columns = a->ow - ox < TILE ? a->ow - ox : TILE;
                    sum_tile(a, &t, y, x, w, bias, residual);
                }
}

/* The position of x whose tap u reaches i, along one side; -1: none. */
static int reaches(const struct cnk_window *k, int side, int i, int u, int extent)
{
    int at = i + (side ? k->left : k->top) - u * k->spread[side];

    return at >= 0 && at % k->step[side] == 0 && at / k->step[side] < extent ? at / k->step[side]
                                                                             : -1;
}

/* What one input channel adds to one element: plane [h,w], w [kh,kw]. */
static double transposed_taps(const struct cnk_conv2d *a, const float *plane, const float *w, int i,
                              int j)
{
    const struct cnk_window *k = &a->window;
    double sum = 0.0;

    for (int u = 0; u < k->k[0]; u++) {
        int p = reaches(k, 0, i, u, a->h);

        for (int v = 0; v < k->k[1] && p >= 0; v++) {
            int q = reaches(k, 1, j, v, a->w);

            if (q >= 0)
                sum += (double)w[u * k->k[1] + v] * plane[(size_t)p * a->w + q];
        }
    }
    return sum;
}

void cnk_ref_conv_transpose(float *y, const float *x, const float *w, const float *bias,
                            const struct cnk_conv2d *a)
{
    int outputs = a->co / a->groups, inputs = a->ci / a->groups;
    size_t taps = (size_t)a->window.k[0] * a->window.k[1];

    CNK_OMP(omp parallel for collapse(3) schedule(static)
            if ((double)a->co * inputs * taps * a->oh * a->ow > CNK_SMALL))
    for (int n = 0; n < a->n; n++)
        for (int co = 0; co < a->co; co++)
            for (int i = 0; i < a->oh; i++)
                for (int j = 0; j < a->ow; j++) {
                    int first = co / outputs * inputs;
                    double sum = bias != NULL ? bias[co] : 0.0;

                    for (int ci = first; ci < first + inputs; ci++)
                        sum +=
                            transposed_taps(a, x + ((size_t)n * a->ci + ci) * a->h * a->w,
                                            w + ((size_t)ci * outputs + co % outputs) * taps, i, j);
                    y[(((size_t)n * a->co + co) * a->oh + i) * a->ow + j] = (float)sum;
                }
}
