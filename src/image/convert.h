/* Channels, alpha, and the way between bytes and the floats of a network. Any thread.
 *
 *     cn_image_to_rgb(&img, 255, &rgb, err);              -- alpha composited on white
 *     cn_image_to_planar(&rgb, hint, 1 / 255.0f, 0);      -- [3, h, w] in [0,1]
 *     cn_image_from_planar(decoded, w, h, &img, &bad, err); -- [3, h, w] in [-1,1]
 */
#ifndef CN_IMAGE_CONVERT_H
#define CN_IMAGE_CONVERT_H

#include "image/image.h"

/* c = 3. Grey is replicated, alpha composited on a ground of this grey level, rounding down. */
int cn_image_to_rgb(const struct cn_image *src, uint8_t ground, struct cn_image *ret,
                    struct cn_err *err);

/* c = 4: opaque where src has no alpha. */
int cn_image_to_rgba(const struct cn_image *src, struct cn_image *ret, struct cn_err *err);

/* c = 1, ITU-R 601 luma in the arithmetic of Pillow's mode "L"; alpha is ignored. */
int cn_image_to_grey(const struct cn_image *src, struct cn_image *ret, struct cn_err *err);

/* dst is [c, h, w]: px * scale + offset. */
void cn_image_to_planar(const struct cn_image *src, float *dst, float scale, float offset);

/* planar is [3, h, w] in [-1,1]: clamp(y / 2 + 0.5) * 255, half to even (diffusers). NaN is black.
 * *ret_nonfinite, which may be NULL, is how many of the floats are infinite or NaN: what a network
 * gives that is broken, or does not fit into the numbers it is computed with. */
int cn_image_from_planar(const float *planar, int w, int h, struct cn_image *ret,
                         size_t *ret_nonfinite, struct cn_err *err);

#endif
