/* Walks over the chunks of a PNG (W3C PNG specification, section 5), to choose which of them the
 * library is shown. */
#include "base/base.h"
#include "image/png_chunk.h"

#include <string.h>

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

int cn_png_walk_init(struct cn_png_walk *walk, const void *data, size_t len, struct cn_err *err)
{
    if (len < CN_PNG_SIGNATURE || memcmp(data, "\x89PNG\r\n\x1a\n", CN_PNG_SIGNATURE) != 0)
        return cn_fail(err, CN_EFORMAT, "not a PNG");
    walk->p = (const uint8_t *)data + CN_PNG_SIGNATURE;
    walk->left = len - CN_PNG_SIGNATURE;
    return CN_OK;
}

int cn_png_walk_next(struct cn_png_walk *walk, struct cn_png_chunk *ret, struct cn_err *err)
{
    size_t len = walk->left >= CN_PNG_CHUNK_FRAME ? big_endian(walk->p) : SIZE_MAX;

    if (walk->left < CN_PNG_CHUNK_FRAME || len > walk->left - CN_PNG_CHUNK_FRAME)
        return cn_fail(err, CN_EFORMAT, "the PNG ends early");
    *ret = (struct cn_png_chunk){.type = walk->p + 4, .data = walk->p + 8, .len = len};
    walk->p += CN_PNG_CHUNK_FRAME + len;
    walk->left -= CN_PNG_CHUNK_FRAME + len;
    return CN_OK;
}

bool cn_png_chunk_is(const struct cn_png_chunk *chunk, const char *type)
{
    return memcmp(chunk->type, type, 4) == 0;
}

/* CRC-32 of ISO 3309 over type and data, bit by bit: only for small chunks. */
bool cn_png_chunk_sound(const struct cn_png_chunk *chunk)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < chunk->len + 4; i++) {
        crc ^= chunk->type[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
    }
    return ~crc == big_endian(chunk->data + chunk->len);
}
