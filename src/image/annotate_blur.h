/* Gaussian blur of 8-bit rows into float rows, one row at a time.
 *
 * The arithmetic of OpenCV's GaussianBlur for float pictures: kernel of round(8 sigma + 1) | 1
 * taps, taps rounded to float, border reflect-101 (edge pixel not repeated), rows before columns.
 * Only as many rows are kept as the kernel is high. One thread at a time.
 *
 *     struct cn_blur b;
 *     rc = cn_blur_init(&b, px, w, h, 3, 5.0);
 *     for (int y = 0; rc == CN_OK && y < h; y++)
 *         cn_blur_row(&b, y, row);          -- y must not go down
 *     cn_blur_release(&b);                  -- also after a failed init
 */
#ifndef CN_IMAGE_ANNOTATE_BLUR_H
#define CN_IMAGE_ANNOTATE_BLUR_H

#include "base/base.h"

struct cn_blur {
    const uint8_t *px; /* [h, w, c], borrowed */
    int w, h, c;
    int radius;     /* the kernel has 2 * radius + 1 taps */
    int rows, done; /* rows in the ring; rows filtered so far */
    float *tap;     /* [radius + 1], from the centre outwards */
    float *padded;  /* [w + 2 * radius, c]: one source row with its borders */
    float *ring;    /* [rows, w, c]: row y lies at y % rows */
};

int cn_blur_init(struct cn_blur *b, const uint8_t *px, int w, int h, int c, double sigma);
void cn_blur_release(struct cn_blur *b);

/* out is [w, c]. */
void cn_blur_row(struct cn_blur *b, int y, float *out);

#endif
