/* What is known of a picture beside its bytes: one struct from worker to client. Plain data. */
#ifndef CN_BASE_IMAGE_META_H
#define CN_BASE_IMAGE_META_H

#include "base/base.h"
#include "base/spec.h"

struct cn_image_meta {
    uint64_t seed;
    enum cn_format format;
    int width, height; /* pixels */
    size_t bytes;      /* of the encoded file */
};

#endif
