/* UserComment (EXIF 2.3, tag 0x9286): eight bytes that name the character set, and the text;
 * Unicode is UTF-16 in the byte order of the block, which is big-endian here. */
#include "base/base.h"
#include "image/metadata.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "image/codec.h"
#include "image/riff.h"

#include <stdlib.h>
#include <string.h>

enum {
    TIFF_BYTES = 44, /* of the block before the comment: head, two directories of one entry each */
    SET_BYTES = 8,
    JPEG_MAX = 65533 - 6, /* of a segment, behind its mark */
    TAG_EXIF = 0x8769,
    TAG_COMMENT = 0x9286,
    TYPE_LONG = 4,
    TYPE_UNDEFINED = 7,
    BLOCK_MAX = 4 << 20
};

static const char unicode[SET_BYTES] = "UNICODE\0";

static void put16(struct cn_buf *b, unsigned v)
{
    const uint8_t bytes[2] = {(uint8_t)(v >> 8), (uint8_t)v};

    cn_buf_add(b, bytes, 2, NULL);
}

static void put32(struct cn_buf *b, size_t v)
{
    put16(b, (unsigned)(v >> 16));
    put16(b, (unsigned)(v & 0xffff));
}

/* ---- writing ---- */

static void put_utf16(struct cn_buf *b, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t len = strlen(text);
    uint32_t c;

    for (size_t n; len > 0; s += n, len -= n) {
        n = cn_utf8_next(s, len, &c);
        if (n == 0) {
            n = 1;
            c = 0xfffd;
        }
        if (c >= 0x10000) {
            put16(b, 0xd800 + ((c - 0x10000) >> 10));
            c = 0xdc00 + ((c - 0x10000) & 0x3ff);
        }
        put16(b, c);
    }
}

static void put_entry(struct cn_buf *b, unsigned tag, unsigned type, size_t count, size_t value)
{
    put16(b, 1); /* entries of the directory */
    put16(b, tag);
    put16(b, type);
    put32(b, count);
    put32(b, value);
    put32(b, 0); /* no further directory */
}

/* The block without a mark. */
static void put_block(struct cn_buf *b, const char *text)
{
    struct cn_buf comment;

    cn_buf_init(&comment, BLOCK_MAX);
    cn_buf_add(&comment, unicode, SET_BYTES, NULL);
    put_utf16(&comment, text);
    cn_buf_add(b, "MM\0*", 4, NULL);
    put32(b, 8);
    put_entry(b, TAG_EXIF, TYPE_LONG, 1, 8 + 18);
    put_entry(b, TAG_COMMENT, TYPE_UNDEFINED, comment.len, TIFF_BYTES);
    cn_buf_add(b, comment.data, comment.len, NULL);
    cn_buf_release(&comment);
}

/* insert goes to file at an offset. */
static int splice(struct cn_buf *file, size_t at, const struct cn_buf *insert, struct cn_err *err)
{
    size_t tail = file->len - at;
    int rc = cn_buf_add(file, insert->data, insert->len, err);

    if (rc < 0)
        return rc;
    memmove(file->data + at + insert->len, file->data + at, tail);
    memcpy(file->data + at, insert->data, insert->len);
    return CN_OK;
}

/* Behind JFIF's segment, which comes first. */
static int add_to_jpeg(struct cn_buf *file, const struct cn_buf *block, struct cn_err *err)
{
    const uint8_t *p = file->data;
    size_t at = 2;
    struct cn_buf b;
    int rc;

    if (block->len > JPEG_MAX)
        return CN_OK;
    if (file->len > 6 && p[2] == 0xff && p[3] == 0xe0)
        at = 4 + ((size_t)p[4] << 8 | p[5]);
    cn_buf_init(&b, JPEG_MAX + 64);
    put16(&b, 0xffe1);
    put16(&b, (unsigned)(block->len + 8));
    cn_buf_add(&b, "Exif\0", 6, NULL);
    cn_buf_add(&b, block->data, block->len, NULL);
    rc = splice(file, CN_MIN(at, file->len), &b, err);
    cn_buf_release(&b);
    return rc;
}

static void set_little_endian(uint8_t *p, size_t v, int bytes)
{
    for (int i = 0; i < bytes; i++, v >>= 8)
        p[i] = (uint8_t)v;
}

/* The simple form has no place for EXIF: it becomes the extended one. */
static int extend_webp(struct cn_buf *file, struct cn_err *err)
{
    enum { ALPHA = 0x10 };
    uint8_t head[18] = "VP8X";
    struct cn_image_info info;
    struct cn_buf b;
    int rc = cn_image_info(file->data, file->len, &(struct cn_image_limits){0}, &info, err);

    if (rc < 0 || memcmp(file->data + 12, "VP8X", 4) == 0)
        return rc;
    set_little_endian(head + 4, 10, 4);
    head[8] = info.c == 4 ? ALPHA : 0;
    set_little_endian(head + 12, (size_t)info.w - 1, 3);
    set_little_endian(head + 15, (size_t)info.h - 1, 3);
    cn_buf_init(&b, sizeof(head));
    cn_buf_add(&b, head, sizeof(head), NULL);
    rc = splice(file, 12, &b, err);
    cn_buf_release(&b);
    return rc;
}

static int add_to_webp(struct cn_buf *file, const struct cn_buf *block, struct cn_err *err)
{
    enum { HAS_EXIF = 0x08 };
    uint8_t head[8] = "EXIF";
    int rc = extend_webp(file, err);

    if (rc < 0)
        return rc;
    set_little_endian(head + 4, block->len, 4);
    if ((rc = cn_buf_add(file, head, sizeof(head), err)) < 0 ||
        (rc = cn_buf_add(file, block->data, block->len, err)) < 0 ||
        (block->len % 2 != 0 && (rc = cn_buf_add(file, "", 1, err)) < 0))
        return rc;
    file->data[20] |= HAS_EXIF;
    set_little_endian(file->data + 4, file->len - 8, 4);
    return CN_OK;
}

int cn_metadata_add(struct cn_buf *file, enum cn_format format, const char *text,
                    struct cn_err *err)
{
    struct cn_buf block;
    int rc = CN_OK;

    cn_buf_init(&block, BLOCK_MAX);
    put_block(&block, text);
    if (cn_buf_whole(&block, NULL) == CN_OK && format == CN_JPEG)
        rc = add_to_jpeg(file, &block, err);
    else if (cn_buf_whole(&block, NULL) == CN_OK && format == CN_WEBP)
        rc = add_to_webp(file, &block, err);
    cn_buf_release(&block);
    return rc;
}
