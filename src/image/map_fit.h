/* Control maps of another size, by the rules of the ControlNet extension of AUTOMATIC1111's
 * program: what filter a map can bear is seen in the map itself.
 *
 * A map of few colours (segments, poses) is resampled without new colours; black and white stays
 * black and white; lines of one pixel are found again after the resampling and thinned, so that
 * they are as strong at 512 pixels as they were at 2048, where an average would have made them
 * faint. Everything else is averaged when it shrinks, and cubic when it grows. Any thread.
 *
 *     cn_map_fit(&map, 512, 768, CN_PAD, &fitted, err);
 */
#ifndef CN_IMAGE_MAP_FIT_H
#define CN_IMAGE_MAP_FIT_H

#include "base/spec.h"
#include "image/image.h"

/* src is RGB or RGBA (transparent is missing). CN_PAD surrounds it by the median of its border;
 * that of RGBA by what is missing. */
int cn_map_fit(const struct cn_image *src, int w, int h, enum cn_resize mode, struct cn_image *ret,
               struct cn_err *err);

/* Exactly w by h, without regard to proportions. */
int cn_map_resize(const struct cn_image *src, int w, int h, struct cn_image *ret,
                  struct cn_err *err);

/* Black and white, in lines of about one pixel: what an average makes fade. */
bool cn_map_is_thin(const struct cn_image *map);

/* The shorter side at which an annotator sees as many pixels as the map will have ("pixel
 * perfect"): w0 x h0 becomes w x h. */
int cn_map_resolution(int w0, int h0, int w, int h, enum cn_resize mode);

/* img, RGB or RGBA, in the middle of w x h, surrounded by colour [c]. */
int cn_map_surround(const struct cn_image *img, int w, int h, const uint8_t *colour,
                    struct cn_image *ret, struct cn_err *err);

/* Per channel the median of the pixels at the border, rounded down. */
int cn_map_border(const struct cn_image *img, uint8_t colour[4]);

#endif
