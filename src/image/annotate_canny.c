/* Canny edge detector with the arithmetic of OpenCV's plain C++ path (modules/imgproc canny.cpp):
 * Sobel 3x3 in int16 with replicated borders, L1 or squared L2 norm, the steepest of the channels,
 * non-maximum suppression in four directions by integer tangents, hysteresis over 8 neighbours.
 * Published ControlNet weights were trained with exactly these maps.
 */
#include "base/base.h"
#include "image/annotate.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum {
    TAN_SHIFT = 15,
    TAN_22 = 13573 /* round(tan(22.5 deg) * 2^15); tan 67.5 deg is 2 more */
};

enum { CANDIDATE, NOTHING, EDGE };

/* Three rows of gradients at a time; norms have a zero on both sides. */
struct canny {
    const uint8_t *px; /* [h, w, c] */
    int w, h, c;
    int low, high; /* norms; squared for L2 */
    bool l2;
    int *norm[3];            /* ring by row, [w + 2] each */
    int16_t *dx[3], *dy[3];  /* ring by row, [w] each */
    int16_t *smooth, *slope; /* [w + 2, c]: column sums 1 2 1 and differences of three rows */
    uint8_t *map;            /* [h + 2, w + 2] of CANDIDATE, NOTHING, EDGE */
    uint32_t *stack;         /* positions in map whose neighbours are to be visited */
    size_t depth;
};

static void canny_release(struct canny *s)
{
    free(s->norm[0]);
    free(s->dx[0]);
    free(s->smooth);
    free(s->map);
    free(s->stack);
}

static int canny_init(struct canny *s)
{
    size_t w = (size_t)s->w, h = (size_t)s->h, c = (size_t)s->c;

    s->norm[0] = cn_try_alloc(3 * (w + 2) * sizeof(int));
    s->dx[0] = cn_try_alloc(6 * w * sizeof(int16_t));
    s->smooth = cn_try_alloc(2 * (w + 2) * c * sizeof(int16_t));
    s->map = cn_try_alloc((w + 2) * (h + 2));
    s->stack = cn_try_alloc(w * h * sizeof(uint32_t)); /* a pixel enters once */
    if (!s->norm[0] || !s->dx[0] || !s->smooth || !s->map || !s->stack)
        return CN_ENOMEM;
    memset(s->norm[0], 0, 3 * (w + 2) * sizeof(int));
    memset(s->map, NOTHING, (w + 2) * (h + 2));
    s->slope = s->smooth + (w + 2) * c;
    for (size_t i = 0; i < 3; i++) {
        s->norm[i] = s->norm[0] + i * (w + 2);
        s->dx[i] = s->dx[0] + 2 * i * w;
        s->dy[i] = s->dx[i] + w;
    }
    return CN_OK;
}

/* Vertical halves of both Sobel kernels, with one replicated pixel on the left and the right. */
static void sobel_columns(struct canny *s, int y)
{
    size_t n = (size_t)s->w * (size_t)s->c, c = (size_t)s->c;
    const uint8_t *mid = s->px + (size_t)y * n;
    const uint8_t *up = y > 0 ? mid - n : mid;
    const uint8_t *down = y + 1 < s->h ? mid + n : mid;
    int16_t *smooth = s->smooth + c, *slope = s->slope + c;

    for (size_t i = 0; i < n; i++) {
        smooth[i] = (int16_t)(up[i] + 2 * mid[i] + down[i]);
        slope[i] = (int16_t)(down[i] - up[i]);
    }
    memcpy(s->smooth, smooth, c * sizeof(int16_t));
    memcpy(s->slope, slope, c * sizeof(int16_t));
    memcpy(smooth + n, smooth + n - c, c * sizeof(int16_t));
    memcpy(slope + n, slope + n - c, c * sizeof(int16_t));
}

/* Fills ring row y % 3: per pixel the channel with the largest norm, the first one on ties. */
static void gradient_row(struct canny *s, int y)
{
    int *norm = s->norm[y % 3] + 1, c = s->c;
    int16_t *dx = s->dx[y % 3], *dy = s->dy[y % 3];

    sobel_columns(s, y);
    for (int x = 0; x < s->w; x++) {
        const int16_t *a = s->smooth + x * c, *b = s->slope + x * c;

        norm[x] = -1;
        for (int k = 0; k < c; k++) {
            int gx = a[k + 2 * c] - a[k];
            int gy = b[k] + 2 * b[k + c] + b[k + 2 * c];
            int m = s->l2 ? gx * gx + gy * gy : abs(gx) + abs(gy);

            if (m > norm[x]) {
                norm[x] = m;
                dx[x] = (int16_t)gx;
                dy[x] = (int16_t)gy;
            }
        }
    }
}

/* Is the norm at x a maximum along its gradient? The asymmetric comparisons keep one pixel of a
 * plateau of two. up, mid, down point at column 0 of norm rows. */
static bool is_maximum(const int *up, const int *mid, const int *down, int x, int dx, int dy)
{
    int m = mid[x], ax = abs(dx), ay = abs(dy) << TAN_SHIFT;
    int t22 = ax * TAN_22, t67 = t22 + (ax << (TAN_SHIFT + 1)), side;

    if (ay < t22)
        return m > mid[x - 1] && m >= mid[x + 1];
    if (ay > t67)
        return m > up[x] && m >= down[x];
    side = (dx ^ dy) < 0 ? -1 : 1;
    return m > up[x - side] && m > down[x + side];
}

static void push(struct canny *s, size_t at)
{
    s->map[at] = EDGE;
    s->stack[s->depth++] = (uint32_t)at;
}

/* Classifies row y; norm rows y - 1, y and y + 1 are in the ring (zeros outside the picture). */
static void suppress_row(struct canny *s, int y)
{
    const int *up = s->norm[(y + 2) % 3] + 1, *mid = s->norm[y % 3] + 1;
    const int *down = s->norm[(y + 1) % 3] + 1;
    const int16_t *dx = s->dx[y % 3], *dy = s->dy[y % 3];
    size_t row = (size_t)(y + 1) * (size_t)(s->w + 2) + 1;

    for (int x = 0; x < s->w; x++) {
        if (mid[x] <= s->low || !is_maximum(up, mid, down, x, dx[x], dy[x]))
            continue;
        if (mid[x] > s->high)
            push(s, row + (size_t)x);
        else
            s->map[row + (size_t)x] = CANDIDATE;
    }
}

/* Edges grow into the candidates that touch them. */
static void flood(struct canny *s)
{
    size_t pitch = (size_t)s->w + 2;

    while (s->depth > 0) {
        size_t at = s->stack[--s->depth];
        const size_t next[8] = {at - pitch - 1, at - pitch,     at - pitch + 1, at - 1,
                                at + 1,         at + pitch - 1, at + pitch,     at + pitch + 1};

        for (int i = 0; i < 8; i++)
            if (s->map[next[i]] == CANDIDATE)
                push(s, next[i]);
    }
}

static void canny_run(struct canny *s)
{
    gradient_row(s, 0);
    for (int y = 0; y < s->h; y++) {
        if (y + 1 < s->h)
            gradient_row(s, y + 1);
        else
            memset(s->norm[(y + 1) % 3], 0, ((size_t)s->w + 2) * sizeof(int));
        suppress_row(s, y);
    }
    flood(s);
}

static void canny_write(const struct canny *s, uint8_t *edges)
{
    size_t w = (size_t)s->w;

    for (size_t y = 0; y < (size_t)s->h; y++)
        for (size_t x = 0; x < w; x++)
            edges[y * w + x] = s->map[(y + 1) * (w + 2) + x + 1] == EDGE ? 255 : 0;
}

/* OpenCV squares positive thresholds for L2, after it has cut them to 16 bits. */
static int threshold(int t, bool l2)
{
    if (!l2 || t <= 0)
        return t;
    t = CN_MIN(t, INT16_MAX);
    return t * t;
}

int cn_canny(const uint8_t *rgb, int w, int h, int c, int low, int high, bool l2, uint8_t *edges)
{
    struct canny s = {.px = rgb, .w = w, .h = h, .c = c, .l2 = l2};
    int rc;

    if (w < 1 || h < 1 || w > CN_IMAGE_MAX_SIDE - 2 || h > CN_IMAGE_MAX_SIDE - 2 || c < 1 || c > 4)
        return CN_EINVAL;
    s.low = threshold(CN_MIN(low, high), l2);
    s.high = threshold(CN_MAX(low, high), l2);
    rc = canny_init(&s);
    if (rc == CN_OK) {
        canny_run(&s);
        canny_write(&s, edges);
    }
    canny_release(&s);
    return rc;
}
