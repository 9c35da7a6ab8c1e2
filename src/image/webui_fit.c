/* Sizes and parts of pictures, as the web UI computes them. */
#include "base/base.h"
#include "image/webui_fit.h"
#include "base/mem.h"
#include "image/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void cn_webui_put(const struct cn_image *src, int left, int top, struct cn_image *dst)
{
    size_t c = (size_t)src->c;

    for (int y = CN_MAX(0, -top); y < src->h && y + top < dst->h; y++) {
        int x = CN_MAX(0, -left), n = CN_MIN(src->w, dst->w - left) - x;

        if (n > 0)
            memcpy(dst->px + ((size_t)(y + top) * (size_t)dst->w + (size_t)(x + left)) * c,
                   src->px + ((size_t)y * (size_t)src->w + (size_t)x) * c, (size_t)n * c);
    }
}

/* A pixel of the edge, and the one behind it: Pillow's bicubic of a strip of no height. */
static uint8_t beyond(uint8_t edge, uint8_t behind)
{
    int v = (9 * edge - behind + 4) >> 3;

    return (uint8_t)CN_MIN(CN_MAX(v, 0), 255);
}

/* *ret [1, n or n, 1] continues src's side: its last line, and the one before, step bytes back. */
static int beyond_line(const struct cn_image *src, bool is_row, size_t at, ptrdiff_t behind,
                       struct cn_image *ret, struct cn_err *err)
{
    size_t c = (size_t)src->c, pitch = is_row ? c : (size_t)src->w * c;
    int n = is_row ? src->w : src->h;
    int rc = cn_image_init(ret, is_row ? n : 1, is_row ? 1 : n, src->c, err);

    for (size_t i = 0; rc == CN_OK && i < (size_t)n; i++)
        for (size_t k = 0; k < c; k++) {
            const uint8_t *px = src->px + at + i * pitch + k;

            ret->px[i * c + k] = beyond(px[0], px[behind]);
        }
    return rc;
}

/* As many lines on either side, so that one stays black where their number is odd. */
static int repeat_edge(const struct cn_image *src, bool is_row, int n, struct cn_image *dst,
                       struct cn_err *err)
{
    size_t c = (size_t)src->c, row = (size_t)src->w * c;
    size_t last = is_row ? (size_t)(src->h - 1) * row : row - c;
    ptrdiff_t step = (is_row ? src->h : src->w) > 1 ? (ptrdiff_t)(is_row ? row : c) : 0;
    struct cn_image head = CN_IMAGE_NONE, tail = CN_IMAGE_NONE;
    int rc = beyond_line(src, is_row, 0, step, &head, err);

    if (rc == CN_OK)
        rc = beyond_line(src, is_row, last, -step, &tail, err);
    for (int i = 0; rc == CN_OK && i < n; i++) {
        int far = n + (is_row ? src->h : src->w) + i;

        cn_webui_put(&head, is_row ? 0 : i, is_row ? i : 0, dst);
        cn_webui_put(&tail, is_row ? 0 : far, is_row ? far : 0, dst);
    }
    cn_image_release(&head);
    cn_image_release(&tail);
    return rc;
}

/* Its size when it covers w x h, or fits in it. */
static void inner_size(const struct cn_image *src, int w, int h, bool covers, int *ret_w,
                       int *ret_h)
{
    double ratio = (double)w / h, own = (double)src->w / src->h;
    bool by_width = covers ? ratio > own : ratio < own;
    bool by_height = covers ? ratio <= own : ratio >= own;

    *ret_w = by_width ? w : CN_MAX((int)((int64_t)src->w * h / src->h), 1);
    *ret_h = by_height ? h : CN_MAX((int)((int64_t)src->h * w / src->w), 1);
}

int cn_webui_fit(const struct cn_image *src, int w, int h, enum cn_resize mode,
                 struct cn_image *ret, struct cn_err *err)
{
    struct cn_image inner;
    int in_w, in_h, left, top, rc;

    if (mode == CN_STRETCH)
        return cn_image_resize(src, w, h, CN_LANCZOS, ret, err);
    inner_size(src, w, h, mode == CN_CROP, &in_w, &in_h);
    if ((int64_t)in_w * in_h > (int64_t)64 * w * h) /* a strip: its middle is all that is seen */
        return cn_image_fit(src, w, h, &(struct cn_fit){.mode = CN_CROP, .filter = CN_LANCZOS}, ret,
                            err);
    if ((rc = cn_image_resize(src, in_w, in_h, CN_LANCZOS, &inner, err)) < 0)
        return rc;
    left = w / 2 - in_w / 2;
    top = h / 2 - in_h / 2;
    if ((rc = cn_image_init(ret, w, h, src->c, err)) == CN_OK) {
        memset(ret->px, 0, cn_image_bytes(ret));
        cn_webui_put(&inner, left, top, ret);
    }
    if (rc == CN_OK && mode == CN_PAD && (top > 0 || left > 0)) {
        rc = repeat_edge(&inner, top > 0, CN_MAX(top, left), ret, err);
        if (rc < 0)
            cn_image_release(ret);
    }
    cn_image_release(&inner);
    return rc;
}

/* ---- the part around a mask ---- */

static bool bounds(const struct cn_image *mask, struct cn_region *ret)
{
    int x0 = mask->w, y0 = mask->h, x1 = -1, y1 = -1;

    for (int y = 0; y < mask->h; y++)
        for (int x = 0; x < mask->w; x++)
            if (mask->px[(size_t)y * (size_t)mask->w + (size_t)x] != 0) {
                x0 = CN_MIN(x0, x);
                x1 = CN_MAX(x1, x);
                y0 = CN_MIN(y0, y);
                y1 = y;
            }
    *ret = (struct cn_region){x0, y0, x1 - x0 + 1, y1 - y0 + 1};
    return x1 >= 0;
}

/* from and size, along one side of the picture, get that much more. */
static void widen(int *from, int *size, int more, int picture)
{
    int begin = *from - more / 2, end = *from + *size + more - more / 2;

    if (end >= picture) {
        begin -= end - picture;
        end = picture;
    }
    if (begin < 0) {
        end -= begin;
        begin = 0;
    }
    end = CN_MIN(end, picture);
    *from = begin;
    *size = end - begin;
}

bool cn_webui_region(const struct cn_image *mask, int padding, int w, int h,
                     struct cn_region *ret)
{
    double ratio = (double)w / h;
    struct cn_region r;
    int x1, y1;

    if (!bounds(mask, &r))
        return false;
    x1 = CN_MIN(r.x + r.w + padding, mask->w);
    y1 = CN_MIN(r.y + r.h + padding, mask->h);
    r.x = CN_MAX(r.x - padding, 0);
    r.y = CN_MAX(r.y - padding, 0);
    r.w = x1 - r.x;
    r.h = y1 - r.y;
    if ((double)r.w / r.h > ratio)
        widen(&r.y, &r.h, (int)(r.w / ratio - r.h), mask->h);
    else
        widen(&r.x, &r.w, (int)(r.h * ratio - r.w), mask->w);
    *ret = r;
    return true;
}

int cn_webui_cut(const struct cn_image *src, const struct cn_region *part, struct cn_image *ret,
                 struct cn_err *err)
{
    int rc = cn_image_init(ret, part->w, part->h, src->c, err);

    if (rc == CN_OK)
        cn_webui_put(src, -part->x, -part->y, ret);
    return rc;
}

/* ---- soft masks ---- */

/* Beyond the border the picture goes back, without its last pixel once more. */
static int reflected(int i, int n)
{
    if (n == 1)
        return 0;
    i %= 2 * n - 2;
    i = i < 0 ? i + 2 * n - 2 : i;
    return i < n ? i : 2 * n - 2 - i;
}

/* [2 r + 1] whole numbers of sum 256, of 8-bit pictures in OpenCV: what is lost by rounding one tap
 * goes to the next, and what is left to the middle. */
static int *taps_of(double sigma, int r)
{
    int *tap = cn_try_alloc((size_t)(2 * r + 1) * sizeof(*tap)), left = 256;
    double sum = 1, lost = 0;

    if (tap == NULL)
        return NULL;
    for (int i = 1; i <= r; i++)
        sum += 2 * exp(-i * i / (2 * sigma * sigma));
    for (int i = r; i > 0; i--) {
        double exact = 256 * exp(-i * i / (2 * sigma * sigma)) / sum + lost;
        int v = (int)rint(exact);

        lost = exact - v;
        tap[r - i] = tap[r + i] = v;
        left -= 2 * v;
    }
    tap[r] = left;
    return tap;
}

/* One line of n bytes that lie pitch apart. line [n] is scratch. */
static void blur_line(uint8_t *px, int n, size_t pitch, const int *tap, int r, uint8_t *line)
{
    for (int i = 0; i < n; i++)
        line[i] = px[(size_t)i * pitch];
    for (int i = 0; i < n; i++) {
        int sum = 128;

        for (int k = -r; k <= r; k++)
            sum += tap[k + r] * line[reflected(i + k, n)];
        px[(size_t)i * pitch] = (uint8_t)CN_MIN(CN_MAX(sum >> 8, 0), 255);
    }
}

static int blur_lines(struct cn_image *mask, double sigma, bool rows)
{
    int r = (int)(2.5 * sigma + 0.5), n = rows ? mask->w : mask->h;
    size_t pitch = rows ? 1 : (size_t)mask->w, next = rows ? (size_t)mask->w : 1;
    uint8_t *line = cn_try_alloc((size_t)n);
    int *tap = taps_of(sigma, r);
    int rc = line == NULL || tap == NULL ? CN_ENOMEM : CN_OK;

    for (int i = 0; rc == CN_OK && i < (rows ? mask->h : mask->w); i++)
        blur_line(mask->px + (size_t)i * next, n, pitch, tap, r, line);
    free(line);
    free(tap);
    return rc;
}

int cn_webui_blur(struct cn_image *mask, double sigma_x, double sigma_y, struct cn_err *err)
{
    int rc = sigma_x > 0 ? blur_lines(mask, sigma_x, true) : CN_OK;

    if (rc == CN_OK && sigma_y > 0)
        rc = blur_lines(mask, sigma_y, false);
    return rc < 0 ? cn_fail(err, rc, "no memory to soften a mask") : rc;
}
