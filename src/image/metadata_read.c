/* The text that a picture's file says of how it was made. */
#include "base/base.h"
#include "image/metadata.h"
#include "base/mem.h"
#include "base/tiff.h"
#include "base/utf8.h"
#include "image/codec.h"
#include "image/riff.h"

#include <stdlib.h>
#include <string.h>

enum { SET_BYTES = 8, TAG_EXIF = 0x8769, TAG_COMMENT = 0x9286 };

static const char unicode[SET_BYTES] = "UNICODE\0";

static char *from_utf16(const struct cn_tiff *t, size_t at, size_t len, bool big_endian)
{
    struct cn_tiff text = {t->data, t->len, big_endian};
    char *out = cn_try_alloc(len / 2 * 3 + 4), *to = out;

    for (size_t i = at; out != NULL && i + 2 <= at + len; i += 2) {
        uint32_t c = (uint32_t)cn_tiff_number(&text, i, 2);

        if (c >= 0xd800 && c < 0xdc00 && i + 4 <= at + len) {
            c = 0x10000 + ((c - 0xd800) << 10) +
                (uint32_t)(cn_tiff_number(&text, i + 2, 2) - 0xdc00);
            i += 2;
        }
        if (c == 0)
            break;
        if (c != 0xfeff && c < 0x110000 && (c < 0xd800 || c >= 0xe000))
            to += cn_utf8_put(to, c);
    }
    if (out != NULL)
        *to = '\0';
    return out;
}

static char *copy_utf8(const uint8_t *s, size_t len)
{
    char *out;

    while (len > 0 && (s[len - 1] == 0 || s[len - 1] == ' '))
        len--;
    if (cn_utf8_check(s, len) != len || memchr(s, 0, len) != NULL)
        return NULL;
    out = cn_try_alloc(len + 1);
    if (out != NULL) {
        memcpy(out, s, len);
        out[len] = '\0';
    }
    return out;
}

/* Some writers use the other byte order than the block's: text is rather Latin than not. */
static bool is_big_endian(const struct cn_tiff *t, size_t at, size_t len)
{
    size_t first = 0, second = 0;

    for (size_t i = at; i + 2 <= at + len; i += 2) {
        first += t->data[i] == 0;
        second += t->data[i + 1] == 0;
    }
    return first == second ? t->big_endian : first > second;
}

static char *read_block(const uint8_t *data, size_t len)
{
    struct cn_tiff t;
    size_t entry, at, n;

    if (!cn_tiff_open(&t, data, len))
        return NULL;
    entry = cn_tiff_find(&t, cn_tiff_number(&t, 4, 4), TAG_EXIF);
    entry = entry == 0 ? 0 : cn_tiff_find(&t, cn_tiff_number(&t, entry + 8, 4), TAG_COMMENT);
    if (entry == 0)
        return NULL;
    n = cn_tiff_number(&t, entry + 4, 4);
    at = cn_tiff_number(&t, entry + 8, 4);
    if (n < SET_BYTES || at > t.len || t.len - at < n)
        return NULL;
    if (memcmp(t.data + at, unicode, SET_BYTES) == 0)
        return from_utf16(&t, at + SET_BYTES, n - SET_BYTES,
                          is_big_endian(&t, at + SET_BYTES, n - SET_BYTES));
    return copy_utf8(t.data + at + SET_BYTES, n - SET_BYTES);
}

static char *read_jpeg(const uint8_t *p, size_t len)
{
    size_t at = 2;

    while (at + 4 <= len && p[at] == 0xff && p[at + 1] != 0xda) {
        size_t n = (size_t)p[at + 2] << 8 | p[at + 3];

        if (n < 2 || n > len - at - 2)
            return NULL;
        if (p[at + 1] == 0xe1 && n >= 8 && memcmp(p + at + 4, "Exif\0", 6) == 0)
            return read_block(p + at + 4, n - 2);
        at += 2 + n;
    }
    return NULL;
}

static char *read_webp(const uint8_t *data, size_t len)
{
    struct cn_riff_walk walk;
    struct cn_riff_chunk chunk;

    cn_riff_walk_init(&walk, data, len);
    while (cn_riff_walk_next(&walk, &chunk))
        if (memcmp(chunk.type, "EXIF", 4) == 0)
            return read_block(chunk.data, chunk.len);
    return NULL;
}

static char *read_png(const void *data, size_t len)
{
    struct cn_png_texts texts;
    const char *found;
    char *copy = NULL;

    if (cn_png_read_text(data, len, &texts, NULL) < 0)
        return NULL;
    found = cn_png_text_find(&texts, "parameters");
    if (found != NULL)
        copy = cn_xstrdup(found);
    cn_png_texts_release(&texts);
    return copy;
}

char *cn_metadata_read(const void *data, size_t len)
{
    const uint8_t *p = data;

    if (len > 12 && memcmp(p, "\x89PNG", 4) == 0)
        return read_png(data, len);
    if (len > 4 && p[0] == 0xff && p[1] == 0xd8)
        return read_jpeg(p, len);
    return read_webp(p, len);
}
