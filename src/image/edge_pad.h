/* A picture of another size, whose padding repeats its edges: no new colour, no border. Any thread.
 */
#ifndef CN_IMAGE_EDGE_PAD_H
#define CN_IMAGE_EDGE_PAD_H

#include "image/resize.h"

/* As cn_image_fit(), but CN_PAD repeats the pixels at the edge. */
int cn_edge_pad_fit(const struct cn_image *src, int w, int h, enum cn_resize mode,
                    enum cn_filter filter, struct cn_image *ret, struct cn_err *err);

/* src at the left and upper border of w x h, which is no smaller; its right and lower edges are
 * repeated. And back: the part at the left and upper border. */
int cn_edge_pad_extend(const struct cn_image *src, int w, int h, struct cn_image *ret,
                       struct cn_err *err);
int cn_edge_pad_cut(const struct cn_image *src, int w, int h, struct cn_image *ret,
                    struct cn_err *err);

#endif
