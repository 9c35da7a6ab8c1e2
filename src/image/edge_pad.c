/* Padding by the edges. */
#include "base/base.h"
#include "image/edge_pad.h"

#include <math.h>
#include <string.h>

/* The picture's first pixel goes to (left, top). */
static int surround(const struct cn_image *img, int left, int top, int w, int h,
                    struct cn_image *ret, struct cn_err *err)
{
    size_t c = (size_t)img->c;
    int rc = cn_image_init(ret, w, h, img->c, err);

    for (int y = 0; rc == CN_OK && y < h; y++)
        for (int x = 0; x < w; x++) {
            size_t from_x = (size_t)CN_MIN(CN_MAX(x - left, 0), img->w - 1);
            size_t from_y = (size_t)CN_MIN(CN_MAX(y - top, 0), img->h - 1);

            memcpy(ret->px + ((size_t)y * (size_t)w + (size_t)x) * c,
                   img->px + (from_y * (size_t)img->w + from_x) * c, c);
        }
    return rc;
}

int cn_edge_pad_fit(const struct cn_image *src, int w, int h, enum cn_resize mode,
                    enum cn_filter filter, struct cn_image *ret, struct cn_err *err)
{
    const struct cn_fit fit = {.mode = mode, .filter = filter};
    double k = fmin((double)w / src->w, (double)h / src->h);
    struct cn_image inner;
    int rc;

    if (mode != CN_PAD)
        return cn_image_fit(src, w, h, &fit, ret, err);
    rc = cn_image_resize(src, (int)fmax(rint(src->w * k), 1), (int)fmax(rint(src->h * k), 1),
                         filter, &inner, err);
    if (rc == CN_OK) {
        rc = surround(&inner, (w - inner.w) / 2, (h - inner.h) / 2, w, h, ret, err);
        cn_image_release(&inner);
    }
    return rc;
}

int cn_edge_pad_extend(const struct cn_image *src, int w, int h, struct cn_image *ret,
                       struct cn_err *err)
{
    return surround(src, 0, 0, w, h, ret, err);
}

int cn_edge_pad_cut(const struct cn_image *src, int w, int h, struct cn_image *ret,
                    struct cn_err *err)
{
    return surround(src, 0, 0, w, h, ret, err);
}
