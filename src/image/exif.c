/* How a photograph was held (EXIF 2.3, tag 0x0112), and turning it upright, as people see it
 * everywhere else. */
#include "base/base.h"
#include "image/codec_priv.h"

#include <string.h>

enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, TYPE_LONG = 4, ENTRY_BYTES = 12 };

/* The TIFF inside of an APP1 segment; every offset in it comes from the file. */
struct tiff {
    const uint8_t *data;
    size_t len;
    bool big_endian;
};

/* n = 2 or 4 bytes at an offset; 0 beyond the end. */
static size_t number(const struct tiff *t, size_t at, size_t n)
{
    size_t v = 0;

    if (at > t->len || t->len - at < n)
        return 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | t->data[at + (t->big_endian ? i : n - 1 - i)];
    return v;
}

int cn_exif_orientation(const uint8_t *exif, size_t len)
{
    bool marked = len >= 6 && memcmp(exif, "Exif\0", 6) == 0;
    struct tiff t = {.data = marked ? exif + 6 : exif, .len = marked ? len - 6 : len};
    size_t ifd, entries;

    if (t.len < 8)
        return 1;
    t.big_endian = memcmp(t.data, "MM\0*", 4) == 0;
    if (!t.big_endian && memcmp(t.data, "II*\0", 4) != 0)
        return 1;
    ifd = number(&t, 4, 4);
    entries = number(&t, ifd, 2);
    for (size_t i = 0; i < entries; i++) {
        size_t at = ifd + 2 + i * ENTRY_BYTES, type = number(&t, at + 2, 2);
        size_t v = number(&t, at + 8, type == TYPE_LONG ? 4 : 2);

        if (number(&t, at, 2) == TAG_ORIENTATION && (type == TYPE_SHORT || type == TYPE_LONG))
            return v >= 1 && v <= 8 ? (int)v : 1;
    }
    return 1;
}

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
