/* Fuzz target: image files into pixels. PNG is tried twice, the second time with right checksums:
 * without them no change behind the first chunk would get past the door. */
#include "base/base.h"
#include "base/mem.h"
#include "image/codec.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* CRC-32 of PNG (ISO 3309), bit by bit. */
static uint32_t crc32(const uint8_t *p, size_t n)
{
    uint32_t crc = 0xffffffff;

    while (n-- > 0) {
        crc ^= *p++;
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
    }
    return ~crc;
}

static void mend_checksums(uint8_t *png, size_t len)
{
    for (size_t at = 8; at + 12 <= len;) {
        uint8_t *p = png + at;
        size_t n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        uint32_t crc;

        if (n > len - at - 12)
            return;
        crc = crc32(p + 4, n + 4);
        for (size_t i = 0; i < 4; i++)
            p[8 + n + i] = (uint8_t)(crc >> (24 - 8 * i));
        at += n + 12;
    }
}

static void try_all(const uint8_t *data, size_t len)
{
    static const struct cn_image_limits limits = {.max_side = 512, .max_pixels = 1 << 16};
    struct cn_err err = CN_ERR_INIT;
    struct cn_image img = CN_IMAGE_NONE;
    struct cn_image_info info = {0};
    struct cn_png_texts texts = {0};
    int seen = cn_image_info(data, len, &limits, &info, NULL);
    int rc = cn_image_decode(data, len, &limits, &img, &err);

    CN_ASSERT(err.code == rc && (rc == CN_OK) == (img.px != NULL));
    if (rc == CN_OK)
        CN_ASSERT(seen == CN_OK && info.w == img.w && info.h == img.h && info.c == img.c);
    cn_image_release(&img);
    if (cn_png_read_text(data, len, &texts, NULL) == CN_OK)
        CN_ASSERT(cn_png_text_find(&texts, "no such key") == NULL);
    cn_png_texts_release(&texts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t *copy;

    try_all(data, len);
    if (len < 8 || memcmp(data, "\x89PNG", 4) != 0)
        return 0;
    copy = cn_xmalloc(len);
    memcpy(copy, data, len);
    mend_checksums(copy, len);
    try_all(copy, len);
    free(copy);
    return 0;
}
