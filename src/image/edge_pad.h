/* A picture of another size, whose padding repeats its edges: no new colour, no border. Any thread.
 */
#ifndef CN_IMAGE_EDGE_PAD_H
#define CN_IMAGE_EDGE_PAD_H

#include "image/resize.h"

/* As cn_image_fit(), but CN_PAD repeats the pixels at the edge. */
int cn_edge_pad_fit(const struct cn_image *src, int w, int h, enum cn_resize mode,
                    enum cn_filter filter, struct cn_image *ret, struct cn_err *err);

#endif
