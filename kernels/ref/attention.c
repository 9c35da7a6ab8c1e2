/* Attention, streaming: no score matrix is kept. A 128x128 latent's would take 1 GiB.
 *
 * Running maximum, sum and weighted values are rescaled when a larger score appears (Milakov and
 * Gimelshein 2018, arXiv:1805.02867). Heads wider than WIDTH are done in pieces, whose scores are
 * computed again each time. */
#include "kernels/ref/ref_priv.h"

#include <math.h>

enum { WIDTH = 256, KEYS = 64 };

struct head {
    const float *q, *k, *v; /* q [dh]; k, v [t] rows of stride d */
    int d, dh, keys;        /* keys: how many this query sees */
    double scale;
};

struct stream {
    double max, sum, out[WIDTH];
};

static void add_value(struct stream *st, double p, const float *v, int width)
{
    st->sum += p;
    CNK_OMP(omp simd)
    for (int i = 0; i < width; i++)
        st->out[i] += p * v[i];
}

static void rescale(struct stream *st, double max, int width)
{
    double factor = exp(st->max - max); /* 0 at first: max starts at -infinity */

    st->max = max;
    st->sum *= factor;
    for (int i = 0; i < width; i++)
        st->out[i] *= factor;
}

/* Keys [from, from + count), value columns [column, column + width) of the head. */
static void add_keys(struct stream *st, const struct head *h, int from, int count, int column,
                     int width)
{
    double score[KEYS], max = st->max;

    for (int j = 0; j < count; j++) {
        score[j] = h->scale * cnk_ref_dot(h->q, h->k + (size_t)(from + j) * h->d, h->dh);
        max = score[j] > max ? score[j] : max;
    }
    if (max > st->max)
        rescale(st, max, width);
    for (int j = 0; j < count; j++)
        add_value(st, exp(score[j] - max), h->v + (size_t)(from + j) * h->d + column, width);
}

static void attend(float *y, const struct head *h)
{
    for (int column = 0; column < h->dh; column += WIDTH) {
        struct stream st = {.max = -INFINITY};
        int width = h->dh - column < WIDTH ? h->dh - column : WIDTH;

        for (int from = 0; from < h->keys; from += KEYS)
            add_keys(&st, h, from, h->keys - from < KEYS ? h->keys - from : KEYS, column, width);
        for (int i = 0; i < width; i++)
            y[column + i] = (float)(st.out[i] / st.sum);
    }
}

void cnk_ref_attention(float *y, const float *q, const float *k, const float *v,
                       const struct cnk_attention *a)
{
    int dh = a->d / a->heads;

    CNK_OMP(omp parallel for collapse(3) schedule(static)
            if ((double)a->s * a->t * a->d > CNK_SMALL))
    for (int n = 0; n < a->n; n++)
        for (int m = 0; m < a->heads; m++)
            for (int i = 0; i < a->s; i++) {
                size_t query = ((size_t)n * a->s + i) * a->d + (size_t)m * dh;
                size_t key = (size_t)n * a->t * a->d + (size_t)m * dh;
                struct head h = {.q = q + query, .k = k + key, .v = v + key, .d = a->d, .dh = dh,
                                 .keys = a->causal && i + 1 < a->t ? i + 1 : a->t,
                                 .scale = a->scale};

                attend(y + query, &h);
            }
}
