/* Turning a photograph upright, as people see it everywhere else. */
#include "base/base.h"
#include "image/codec_priv.h"

#include <string.h>

/* From 5 on rows become columns. */
int cn_exif_turn(struct cn_image *img, int orientation, struct cn_err *err)
{
    bool swap = orientation >= 5;
    size_t w = (size_t)img->w, h = (size_t)img->h, c = (size_t)img->c;
    struct cn_image turned;
    uint8_t *to;
    int rc;

    if (orientation == 1)
        return CN_OK;
    rc = cn_image_init(&turned, swap ? img->h : img->w, swap ? img->w : img->h, img->c, err);
    if (rc < 0)
        return rc;
    to = turned.px;
    for (size_t y = 0; y < (size_t)turned.h; y++)
        for (size_t x = 0; x < (size_t)turned.w; x++, to += c) {
            size_t sx = swap ? y : x, sy = swap ? x : y;

            /* 2 3 7 8 run from right to left in the source, 3 4 6 7 from bottom to top. */
            if (orientation == 2 || orientation == 3 || orientation >= 7)
                sx = w - 1 - sx;
            if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7)
                sy = h - 1 - sy;
            memcpy(to, img->px + (sy * w + sx) * c, c);
        }
    cn_image_release(img);
    *img = turned;
    return CN_OK;
}
