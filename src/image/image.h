/* A picture in memory: tightly packed 8-bit sRGB rows.
 *
 * px is [h, w, c] bytes, interleaved, no padding between rows, c = 1 (grey), 3 (RGB) or 4 (RGBA,
 * alpha not premultiplied). Owned by the struct. Any thread, one at a time.
 *
 *     struct cn_image img = CN_IMAGE_NONE;
 *     if (cn_image_init(&img, 512, 512, 3, err) < 0) ...
 *     cn_image_release(&img);
 *
 * Functions that give a picture back (ret) write it only on success, and do not release what was
 * there before.
 */
#ifndef CN_IMAGE_IMAGE_H
#define CN_IMAGE_IMAGE_H

#include "base/base.h"

/* The side of a picture fits 16 bits in every format that is read here; w * h * 4 then fits a
 * size_t, and x * c an int. */
enum { CN_IMAGE_MAX_SIDE = 65535 };

struct cn_image {
    int w, h, c;
    uint8_t *px;
};

#define CN_IMAGE_NONE                                                                              \
    {                                                                                              \
        0, 0, 0, NULL                                                                              \
    }

/* Pixels are left undefined. CN_EINVAL for impossible sizes, CN_ENOMEM without memory. */
int cn_image_init(struct cn_image *img, int w, int h, int c, struct cn_err *err);
void cn_image_release(struct cn_image *img);

size_t cn_image_bytes(const struct cn_image *img); /* w * h * c */
int cn_image_copy(const struct cn_image *src, struct cn_image *ret, struct cn_err *err);

#endif
