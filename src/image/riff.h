/* The chunks of a WebP file in memory, one after the other. Any thread.
 *
 *     cn_riff_walk_init(&walk, data, len);
 *     while (cn_riff_walk_next(&walk, &chunk))
 *         if (memcmp(chunk.type, "EXIF", 4) == 0) ...
 */
#ifndef CN_IMAGE_RIFF_H
#define CN_IMAGE_RIFF_H

#include "base/base.h"

struct cn_riff_chunk {
    const uint8_t *type; /* [4] */
    const uint8_t *data; /* [len] */
    size_t len;
};

struct cn_riff_walk {
    const uint8_t *p;
    size_t left;
};

/* A file that is no WebP has no chunks. */
void cn_riff_walk_init(struct cn_riff_walk *walk, const void *data, size_t len);
bool cn_riff_walk_next(struct cn_riff_walk *walk, struct cn_riff_chunk *ret);

#endif
