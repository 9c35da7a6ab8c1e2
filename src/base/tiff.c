/* TIFF 6.0, section 2. */
#include "base/base.h"
#include "base/tiff.h"

#include <string.h>

enum { ENTRY_BYTES = 12 };

bool cn_tiff_open(struct cn_tiff *t, const void *block, size_t len)
{
    const uint8_t *data = block;
    bool marked = len >= 6 && memcmp(data, "Exif\0", 6) == 0;

    *t = (struct cn_tiff){.data = marked ? data + 6 : data, .len = marked ? len - 6 : len};
    if (t->len < 8)
        return false;
    t->big_endian = memcmp(t->data, "MM\0*", 4) == 0;
    return t->big_endian || memcmp(t->data, "II*\0", 4) == 0;
}

size_t cn_tiff_number(const struct cn_tiff *t, size_t at, size_t n)
{
    size_t v = 0;

    if (at > t->len || t->len - at < n)
        return 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | t->data[at + (t->big_endian ? i : n - 1 - i)];
    return v;
}

size_t cn_tiff_find(const struct cn_tiff *t, size_t directory, size_t tag)
{
    size_t n = cn_tiff_number(t, directory, 2);

    /* no further than the block: a file has many of them, each of which may claim 65535 entries */
    for (size_t i = 0, at = directory + 2; i < n && at < t->len; i++, at += ENTRY_BYTES)
        if (cn_tiff_number(t, at, 2) == tag)
            return at;
    return 0;
}
