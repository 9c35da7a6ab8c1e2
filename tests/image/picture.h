/* The synthetic picture of tests/data/image/golden.py, and its hash. */
#ifndef CN_TEST_IMAGE_PICTURE_H
#define CN_TEST_IMAGE_PICTURE_H

#include "image/image.h"

struct cn_image picture(int w, int h, int c);
uint64_t fnv(const void *data, size_t len);
uint64_t image_hash(const struct cn_image *img);

#endif
