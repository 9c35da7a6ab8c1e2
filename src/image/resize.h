/* Resampling, bit for bit as Pillow does it: published hints and training pictures were made with
 * Pillow, and a picture that differs by one level here is a different picture in the end.
 *
 * Any thread.
 *
 *     cn_image_resize(&photo, 512, 512, CN_LANCZOS, &small, err);
 *     cn_image_fit(&map, 512, 768, &(struct cn_fit){.mode = CN_PAD, .filter = CN_LANCZOS}, &hint,
 * err);
 */
#ifndef CN_IMAGE_RESIZE_H
#define CN_IMAGE_RESIZE_H

#include "base/spec.h"
#include "image/image.h"

enum cn_filter { CN_NEAREST, CN_BOX, CN_BILINEAR, CN_BICUBIC, CN_LANCZOS, CN_FILTER_COUNT };

/* Widened by the scale when it shrinks (antialiasing). RGBA is filtered premultiplied. */
int cn_image_resize(const struct cn_image *src, int w, int h, enum cn_filter filter,
                    struct cn_image *ret, struct cn_err *err);

struct cn_fit {
    enum cn_resize mode; /* stretch; crop the centre; pad around the centre */
    enum cn_filter filter;
    uint8_t pad[4]; /* colour of the border: black (transparent black for RGBA) when zeroed */
};

#define CN_FIT_DEFAULTS                                                                            \
    {                                                                                              \
        .mode = CN_CROP, .filter = CN_LANCZOS                                                      \
    }

/* The result is exactly w by h, with the channels of src. */
int cn_image_fit(const struct cn_image *src, int w, int h, const struct cn_fit *fit,
                 struct cn_image *ret, struct cn_err *err);

#endif
