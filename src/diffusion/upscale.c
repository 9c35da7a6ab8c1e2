/* Latents resized, cell by cell. */
#include "base/base.h"
#include "diffusion/upscale.h"

/* Where cell i of n lies among `from` cells: the two neighbours, and the share of the second. */
struct place {
    int first, second;
    float share;
};

static struct place place_of(enum cn_upscaler kind, int i, int n, int from)
{
    float at = ((float)i + 0.5f) * ((float)from / (float)n) - 0.5f;
    struct place p = {.first = 0};

    if (kind == CN_UP_LATENT_NEAREST) {
        p.first = p.second = (int)((int64_t)i * from / n);
        return p;
    }
    if (at > 0) {
        p.first = CN_MIN((int)at, from - 1);
        p.share = at - (float)p.first;
    }
    p.second = CN_MIN(p.first + 1, from - 1);
    return p;
}

void cn_latent_upscale(enum cn_upscaler kind, const float *from, const struct cn_latent_size *a,
                       float *to, const struct cn_latent_size *b)
{
    bool wide = (int64_t)a->w * b->h < (int64_t)a->h * b->w; /* the width decides */
    int w = wide ? b->w : (int)((int64_t)b->h * a->w / a->h);
    int h = wide ? (int)((int64_t)b->w * a->h / a->w) : b->h;

    w = CN_MAX(w, b->w);
    h = CN_MAX(h, b->h);
    for (int c = 0; c < b->channels; c++)
        for (int y = 0; y < b->h; y++) {
            struct place v = place_of(kind, y + (h - b->h) / 2, h, a->h);
            const float *top = from + (size_t)(c * a->h + v.first) * (size_t)a->w;
            const float *bottom = from + (size_t)(c * a->h + v.second) * (size_t)a->w;

            for (int x = 0; x < b->w; x++) {
                struct place u = place_of(kind, x + (w - b->w) / 2, w, a->w);
                float one = top[u.first] + u.share * (top[u.second] - top[u.first]);
                float two = bottom[u.first] + u.share * (bottom[u.second] - bottom[u.first]);

                *to++ = one + v.share * (two - one);
            }
        }
}
