/* A TIFF block as EXIF has it in picture files. Every offset in it comes from the file: whatever it
 * says, nothing outside of the block is read. Any thread; it borrows the block.
 *
 *     if (cn_tiff_open(&t, block, len))
 *         entry = cn_tiff_find(&t, cn_tiff_number(&t, 4, 4), TAG);
 */
#ifndef CN_BASE_TIFF_H
#define CN_BASE_TIFF_H

#include "base/base.h"

struct cn_tiff {
    const uint8_t *data;
    size_t len;
    bool big_endian;
};

/* With or without "Exif" before it. False: it is none. */
bool cn_tiff_open(struct cn_tiff *t, const void *block, size_t len);

/* n = 1 to 4 bytes at an offset; 0 beyond the end. */
size_t cn_tiff_number(const struct cn_tiff *t, size_t at, size_t n);

/* Where the directory at an offset has the entry of a tag (tag, type, count, value: 2 + 2 + 4 + 4
 * bytes); 0: nowhere. */
size_t cn_tiff_find(const struct cn_tiff *t, size_t directory, size_t tag);

#endif
