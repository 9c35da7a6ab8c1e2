/* Chunks of RIFF: type, length (little-endian), data, padded to even lengths. */
#include "base/base.h"
#include "image/riff.h"

#include <string.h>

enum { HEAD = 12, CHUNK_HEAD = 8 };

static size_t little_endian(const uint8_t *p)
{
    return (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
}

void cn_riff_walk_init(struct cn_riff_walk *walk, const void *data, size_t len)
{
    const uint8_t *p = data;
    size_t n;

    *walk = (struct cn_riff_walk){p, 0};
    if (len < HEAD || memcmp(p, "RIFF", 4) != 0 || memcmp(p + 8, "WEBP", 4) != 0)
        return;
    n = little_endian(p + 4);
    walk->p = p + HEAD;
    walk->left = n < 4 ? 0 : CN_MIN(len - HEAD, n - 4);
}

bool cn_riff_walk_next(struct cn_riff_walk *walk, struct cn_riff_chunk *ret)
{
    size_t len, whole;

    if (walk->left < CHUNK_HEAD)
        return false;
    len = little_endian(walk->p + 4);
    if (len > walk->left - CHUNK_HEAD)
        return false;
    *ret = (struct cn_riff_chunk){walk->p, walk->p + CHUNK_HEAD, len};
    whole = CN_MIN(CHUNK_HEAD + len + (len & 1), walk->left);
    walk->p += whole;
    walk->left -= whole;
    return true;
}
