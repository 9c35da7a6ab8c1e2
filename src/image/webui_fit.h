/* The picture to be painted over, and its mask, as AUTOMATIC1111's web UI prepares them
 * (modules/images.py, masking.py, processing.py): sizes of whole pixels rounded down, and the part
 * around a mask that is drawn alone. Any thread.
 *
 *     cn_webui_fit(&init, 512, 512, CN_PAD, &fitted, err);
 *     if (cn_webui_region(&mask, 32, 512, 512, &part)) -- then cut, fit as CN_PAD, draw, put back
 */
#ifndef CN_IMAGE_WEBUI_FIT_H
#define CN_IMAGE_WEBUI_FIT_H

#include "base/spec.h"
#include "image/image.h"

struct cn_region {
    int x, y, w, h;
};

/* Stretched; the middle of it; or all of it, and its edges repeated. */
int cn_webui_fit(const struct cn_image *src, int w, int h, enum cn_resize mode,
                 struct cn_image *ret, struct cn_err *err);

/* mask [h, w, 1]: the part that is not 0, with so many pixels around it, widened to the proportions
 * of w x h as far as the picture goes. False: there is none. */
bool cn_webui_region(const struct cn_image *mask, int padding, int w, int h,
                     struct cn_region *ret);

int cn_webui_cut(const struct cn_image *src, const struct cn_region *part, struct cn_image *ret,
                 struct cn_err *err);

/* src at (left, top) of dst, which has as many channels; what lies beyond is left out. */
void cn_webui_put(const struct cn_image *src, int left, int top, struct cn_image *dst);

/* In place: mask [h, w, 1] softened as cv2.GaussianBlur with 2 int(2.5 sigma + 0.5) + 1 taps does
 * it, first along rows and then along columns. */
int cn_webui_blur(struct cn_image *mask, double sigma_x, double sigma_y, struct cn_err *err);

/* In place: what the mask [h, w, 1] hides of a picture [h, w, 3] is painted with colours from
 * around it ("fill"). */
int cn_webui_fill(struct cn_image *img, const struct cn_image *mask, struct cn_err *err);

#endif
