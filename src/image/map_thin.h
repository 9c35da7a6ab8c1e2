/* Lines one pixel wide: finding the ridges of grey ones, and thinning what is wider. Plain arrays
 * [h, w] of bytes. Any thread. CN_OK or CN_ENOMEM. */
#ifndef CN_IMAGE_MAP_THIN_H
#define CN_IMAGE_MAP_THIN_H

#include "base/base.h"

/* What is a maximum along none of the four directions becomes 0. In place. */
int cn_map_ridges(uint8_t *px, int w, int h);

/* Hit-or-miss thinning; above 127 is set. prune: short spurs are cut once. In place. */
int cn_map_thin(uint8_t *px, int w, int h, bool prune);

/* Erosion, then dilation, by 3 x 3. In place. */
int cn_map_open(uint8_t *px, int w, int h);

#endif
