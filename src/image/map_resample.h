/* Resampling with the arithmetic of OpenCV's resize of 8-bit pictures: tables of floats for areas,
 * and what it makes of INTER_AREA where a side grows. Control maps that were made with it, as the
 * ControlNet extension of AUTOMATIC1111's program does, come out the same.
 *
 * Cubic convolution is that of its usual builds for x86, which leave it to Intel's library: in
 * floats. A sum that lies halfway between two levels may be rounded to the other one (of scales
 * that are no simple fractions 1 value in 100,000). Other builds round the coefficients to
 * 1/2048, and are a level off in 4 of 100 values. Any thread.
 *
 *     cn_map_resample(&map, 512, 768, CN_MAP_AREA, &smaller, err);
 */
#ifndef CN_IMAGE_MAP_RESAMPLE_H
#define CN_IMAGE_MAP_RESAMPLE_H

#include "image/image.h"

enum cn_map_kernel { CN_MAP_NEAREST, CN_MAP_AREA, CN_MAP_CUBIC };

/* *ret [h, w, src->c]. CN_ENOMEM, CN_EINVAL. */
int cn_map_resample(const struct cn_image *src, int w, int h, enum cn_map_kernel kernel,
                    struct cn_image *ret, struct cn_err *err);

#endif
