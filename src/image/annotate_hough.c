/* Straight lines of an edge map: the progressive probabilistic Hough transform (Matas, Galambos,
 * Kittler 2000), with the steps and the random numbers of OpenCV's HoughLinesP, and its
 * drawing of lines. */
#include "base/base.h"
#include "image/annotate.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    ANGLES = 180, /* of half a turn: one degree each */
    SHIFT = 16    /* bits of a fraction while a line is walked along */
};

struct hough {
    int w, h, rhos;
    int threshold, min_length, max_gap;
    uint8_t *mask;   /* [h, w]: edge pixels that belong to no line yet */
    int *votes;      /* [ANGLES, rhos] */
    uint32_t *point; /* [n_points]: y * w + x, in no order */
    size_t n_points;
    float cosine[ANGLES], sine[ANGLES];
    uint64_t random;
};

/* A way through the picture: one coordinate goes by whole pixels, the other one by fractions. */
struct walk {
    int x, y, dx, dy;
    bool by_columns;
};

/* Multiply with carry. */
static uint32_t random_below(struct hough *s, uint32_t n)
{
    s->random = (uint64_t)(uint32_t)s->random * 4164903690u + (s->random >> 32);
    return (uint32_t)s->random % n;
}

static void hough_release(struct hough *s)
{
    free(s->mask);
    free(s->votes);
    free(s->point);
}

static int hough_init(struct hough *s, const uint8_t *edges)
{
    size_t n = (size_t)s->w * (size_t)s->h;

    s->rhos = (s->w + s->h) * 2 + 1;
    s->random = UINT64_MAX;
    s->mask = cn_try_alloc(n);
    s->votes = cn_try_alloc((size_t)ANGLES * (size_t)s->rhos * sizeof(*s->votes));
    s->point = cn_try_alloc(n * sizeof(*s->point));
    if (s->mask == NULL || s->votes == NULL || s->point == NULL)
        return CN_ENOMEM;
    memset(s->votes, 0, (size_t)ANGLES * (size_t)s->rhos * sizeof(*s->votes));
    for (int i = 0; i < ANGLES; i++) {
        double angle = (double)i * (double)(float)(M_PI / ANGLES);

        s->cosine[i] = (float)cos(angle);
        s->sine[i] = (float)sin(angle);
    }
    for (size_t i = 0; i < n; i++) {
        s->mask[i] = edges[i] != 0;
        if (edges[i] != 0)
            s->point[s->n_points++] = (uint32_t)i;
    }
    return CN_OK;
}

static int *votes_for(struct hough *s, int angle, int x, int y)
{
    int rho = (int)lrintf((float)x * s->cosine[angle] + (float)y * s->sine[angle]);

    return &s->votes[(size_t)angle * (size_t)s->rhos + (size_t)(rho + (s->rhos - 1) / 2)];
}

/* The pixel votes for all lines through it. The angle of the first with most votes, or -1 when none
 * reaches the threshold. */
static int vote(struct hough *s, int x, int y)
{
    int most = s->threshold - 1, best = -1;

    for (int i = 0; i < ANGLES; i++) {
        int n = ++*votes_for(s, i, x, y);

        if (n > most) {
            most = n;
            best = i;
        }
    }
    return best;
}

static void unvote(struct hough *s, int x, int y)
{
    for (int i = 0; i < ANGLES; i++)
        --*votes_for(s, i, x, y);
}

static struct walk walk_along(const struct hough *s, int angle, int x, int y)
{
    float a = -s->sine[angle], b = s->cosine[angle];
    struct walk w = {.x = x, .y = y, .by_columns = fabsf(a) > fabsf(b)};

    if (w.by_columns) {
        w.dx = a > 0 ? 1 : -1;
        w.dy = (int)lrint((double)(b * (1 << SHIFT)) / fabs((double)a));
        w.y = (y << SHIFT) + (1 << (SHIFT - 1));
    } else {
        w.dy = b > 0 ? 1 : -1;
        w.dx = (int)lrint((double)(a * (1 << SHIFT)) / fabs((double)b));
        w.x = (x << SHIFT) + (1 << (SHIFT - 1));
    }
    return w;
}

static void turn_round(struct walk *w)
{
    w->dx = -w->dx;
    w->dy = -w->dy;
}

/* False: outside of the picture. */
static bool place(const struct hough *s, const struct walk *w, int *ret_x, int *ret_y)
{
    *ret_x = w->by_columns ? w->x : w->x >> SHIFT;
    *ret_y = w->by_columns ? w->y >> SHIFT : w->y;
    return *ret_x >= 0 && *ret_x < s->w && *ret_y >= 0 && *ret_y < s->h;
}

static uint8_t *mask_at(struct hough *s, int x, int y)
{
    return &s->mask[(size_t)y * (size_t)s->w + (size_t)x];
}

/* The last edge pixel before a gap that is too wide, or the border. */
static void find_end(struct hough *s, struct walk w, int end[2])
{
    int x, y, gap = 0;

    for (; place(s, &w, &x, &y); w.x += w.dx, w.y += w.dy) {
        if (*mask_at(s, x, y) != 0) {
            gap = 0;
            end[0] = x;
            end[1] = y;
        } else if (++gap > s->max_gap) {
            return;
        }
    }
}

/* Its pixels can be part of no other line. Those of a line that is drawn take their votes back. */
static void consume(struct hough *s, struct walk w, const int end[2], bool is_line)
{
    int x, y;

    for (; place(s, &w, &x, &y); w.x += w.dx, w.y += w.dy) {
        if (*mask_at(s, x, y) != 0) {
            if (is_line)
                unvote(s, x, y);
            *mask_at(s, x, y) = 0;
        }
        if (x == end[0] && y == end[1])
            return;
    }
}

/* Bresenham's from the left end on, as OpenCV draws: halfway between two pixels it keeps to the one
 * where it is. */
static void draw_line(uint8_t *out, int w, const int from[2], const int to[2])
{
    const int *left = from[0] <= to[0] ? from : to, *right = left == from ? to : from;
    int dx = right[0] - left[0], dy = abs(right[1] - left[1]);
    ptrdiff_t down = right[1] < left[1] ? -w : w;
    int major = CN_MAX(dx, dy), minor = CN_MIN(dx, dy), error = major - 2 * minor;
    ptrdiff_t step = dx >= dy ? 1 : down, side = dx >= dy ? down : 1;
    uint8_t *px = out + (ptrdiff_t)left[1] * w + left[0];

    for (int i = 0; i <= major; i++) {
        *px = 255;
        if (i < major)
            px += error < 0 ? step + side : step;
        error += error < 0 ? 2 * (major - minor) : -2 * minor;
    }
}

static void try_point(struct hough *s, int x, int y, uint8_t *out)
{
    int angle = vote(s, x, y), end[2][2] = {{x, y}, {x, y}};
    struct walk w;
    bool is_line;

    if (angle < 0)
        return;
    w = walk_along(s, angle, x, y);
    for (int k = 0; k < 2; k++, turn_round(&w))
        find_end(s, w, end[k]);
    is_line =
        abs(end[1][0] - end[0][0]) >= s->min_length || abs(end[1][1] - end[0][1]) >= s->min_length;
    for (int k = 0; k < 2; k++, turn_round(&w))
        consume(s, w, end[k], is_line);
    if (is_line)
        draw_line(out, s->w, end[0], end[1]);
}

int cn_hough_lines(const uint8_t *edges, int w, int h, int threshold, int min_length, int max_gap,
                   uint8_t *out)
{
    struct hough s = {
        .w = w, .h = h, .threshold = threshold, .min_length = min_length, .max_gap = max_gap};
    int rc;

    if (w < 1 || h < 1 || w > INT16_MAX || h > INT16_MAX)
        return CN_EINVAL; /* a place and its fraction share 32 bits */
    rc = hough_init(&s, edges);
    if (rc == CN_OK)
        memset(out, 0, (size_t)w * (size_t)h);
    while (rc == CN_OK && s.n_points > 0) {
        size_t i = random_below(&s, (uint32_t)s.n_points);
        uint32_t at = s.point[i];

        s.point[i] = s.point[--s.n_points];
        if (s.mask[at] != 0)
            try_point(&s, (int)(at % (uint32_t)w), (int)(at / (uint32_t)w), out);
    }
    hough_release(&s);
    return rc;
}
