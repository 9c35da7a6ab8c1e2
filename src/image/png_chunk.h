/* The chunks of a PNG file in memory, one after the other. Any thread.
 *
 *     struct cn_png_walk walk;
 *     rc = cn_png_walk_init(&walk, data, len, err);
 *     while (rc == CN_OK && (rc = cn_png_walk_next(&walk, &chunk, err)) == CN_OK)
 *         if (cn_png_chunk_is(&chunk, "IEND"))
 *             break;
 */
#ifndef CN_IMAGE_PNG_CHUNK_H
#define CN_IMAGE_PNG_CHUNK_H

#include "base/base.h"

enum {
    CN_PNG_SIGNATURE = 8,
    CN_PNG_CHUNK_FRAME = 12
}; /* bytes; the frame: length, type, checksum */

struct cn_png_chunk {
    const uint8_t *type; /* [4]; the length stands in the four bytes before */
    const uint8_t *data; /* [len], the checksum behind it */
    size_t len;
};

struct cn_png_walk {
    const uint8_t *p;
    size_t left;
};

int cn_png_walk_init(struct cn_png_walk *walk, const void *data, size_t len, struct cn_err *err);

/* CN_EFORMAT when the file ends before the next chunk does. Types and checksums are not checked. */
int cn_png_walk_next(struct cn_png_walk *walk, struct cn_png_chunk *ret, struct cn_err *err);

bool cn_png_chunk_is(const struct cn_png_chunk *chunk, const char *type);

/* Is the checksum right? */
bool cn_png_chunk_sound(const struct cn_png_chunk *chunk);

#endif
