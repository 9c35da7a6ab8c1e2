/* Text in PNG files, which says how a picture was made: between UTF-8 and Latin-1, and reading it
 * back. */
#include "base/base.h"
#include "image/png_text.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "image/codec.h"
#include "image/png_chunk.h"

#include <stdlib.h>
#include <string.h>

/* What one picture may carry. Workflows that some programs store reach a few hundred kilobytes. */
enum { TEXTS_MAX = 1000, TEXT_BYTES_MAX = 2 << 20, KEY_MAX = 79 };

/* One text chunk in the file. */
struct span {
    const uint8_t *key, *text;
    size_t key_len, text_len;
    bool latin1; /* tEXt; else UTF-8 */
};

/* Latin-1 as PNG allows it in text: printable, or a line feed. */
static bool is_png_latin1(uint32_t c)
{
    return c == '\n' || (c >= 32 && c <= 126) || (c >= 161 && c <= 255);
}

bool cn_png_latin1(const char *utf8, char *out)
{
    const unsigned char *s = (const unsigned char *)utf8;
    size_t len = strlen(utf8);
    uint32_t c;

    for (size_t n; len > 0; s += n, len -= n) {
        n = cn_utf8_next(s, len, &c);
        if (n == 0 || !is_png_latin1(c))
            return false;
        *out++ = (char)c;
    }
    *out = 0;
    return true;
}

static bool is_utf8(const char *s)
{
    size_t len = strlen(s);

    return cn_utf8_check(s, len) == len;
}

/* Moves *p behind the next NUL and gives the string before it. */
static bool cut_string(const uint8_t **p, size_t *left, const uint8_t **ret, size_t *ret_len)
{
    const uint8_t *nul = *left > 0 ? memchr(*p, 0, *left) : NULL;

    if (nul == NULL)
        return false;
    *ret = *p;
    *ret_len = (size_t)(nul - *p);
    *left -= *ret_len + 1;
    *p = nul + 1;
    return true;
}

/* iTXt behind its key: compression flag and method, language, translated key, text. */
static bool skip_itxt_fields(const uint8_t **p, size_t *left)
{
    const uint8_t *unused;
    size_t n;

    if (*left < 2 || (*p)[0] != 0)
        return false;
    *p += 2;
    *left -= 2;
    return cut_string(p, left, &unused, &n) && cut_string(p, left, &unused, &n);
}

/* False for what is no text, or compressed, or out of shape. */
static bool parse_text(const struct cn_png_chunk *chunk, struct span *ret)
{
    const uint8_t *p = chunk->data;
    size_t left = chunk->len;

    ret->latin1 = cn_png_chunk_is(chunk, "tEXt");
    if (!ret->latin1 && !cn_png_chunk_is(chunk, "iTXt"))
        return false;
    if (!cut_string(&p, &left, &ret->key, &ret->key_len) || ret->key_len > KEY_MAX)
        return false;
    if (!ret->latin1 && !skip_itxt_fields(&p, &left))
        return false;
    ret->text = p;
    ret->text_len = left;
    return true;
}

/* The next text before the pixels: 1, 0 when there is none, or an error. */
static int next_text(struct cn_png_walk *walk, struct span *ret, struct cn_err *err)
{
    struct cn_png_chunk chunk;
    int rc;

    while ((rc = cn_png_walk_next(walk, &chunk, err)) == CN_OK) {
        if (cn_png_chunk_is(&chunk, "IDAT") || cn_png_chunk_is(&chunk, "IEND"))
            return 0;
        if (!parse_text(&chunk, ret))
            continue;
        if (chunk.len > TEXT_BYTES_MAX)
            return cn_fail(err, CN_ETOOBIG, "the PNG has too much text");
        if (!cn_png_chunk_sound(&chunk))
            return cn_fail(err, CN_EFORMAT, "the text of the PNG has a wrong checksum");
        return 1;
    }
    return rc;
}

/* Latin-1 to UTF-8; out holds 2 * n + 1 bytes. Returns the byte behind the NUL. */
static char *from_latin1(const uint8_t *s, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        out += cn_utf8_put(out, s[i]);
    *out = 0;
    return out + 1;
}

/* Both strings behind each other at p; returns the first free byte. */
static char *put_text(const struct span *t, struct cn_png_text *item, char *p)
{
    item->key = p;
    p = from_latin1(t->key, t->key_len, p);
    item->text = p;
    if (t->latin1)
        return from_latin1(t->text, t->text_len, p);
    memcpy(p, t->text, t->text_len);
    p[t->text_len] = 0;
    return p + t->text_len + 1;
}

/* How many texts there are, and how many bytes their strings take at most. */
static int measure(struct cn_png_walk walk, size_t *ret_n, size_t *ret_size, struct cn_err *err)
{
    size_t n = 0, size = 0;
    struct span t;
    int rc;

    while ((rc = next_text(&walk, &t, err)) == 1) {
        n++;
        size += 2 * (t.key_len + t.text_len + 1);
        if (n > TEXTS_MAX || size > 2 * TEXT_BYTES_MAX)
            return cn_fail(err, CN_ETOOBIG, "the PNG has too much text");
    }
    *ret_n = n;
    *ret_size = size;
    return rc;
}

/* One block holds the items and, behind them, their strings. */
int cn_png_read_text(const void *data, size_t len, struct cn_png_texts *ret, struct cn_err *err)
{
    struct cn_png_texts all = {0};
    struct cn_png_walk walk;
    struct span t;
    size_t n = 0, size = 0;
    char *p;
    int rc = cn_png_walk_init(&walk, data, len, err);

    if (rc == CN_OK)
        rc = measure(walk, &n, &size, err);
    if (rc < 0)
        return rc;
    all.item = cn_try_alloc(n * sizeof(*all.item) + size);
    if (all.item == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for PNG text of %zu bytes", size);
    p = (char *)(all.item + n);
    while (next_text(&walk, &t, NULL) == 1) {
        p = put_text(&t, &all.item[all.n], p);
        all.n += is_utf8(all.item[all.n].text);
    }
    *ret = all;
    return CN_OK;
}

void cn_png_texts_release(struct cn_png_texts *t)
{
    free(t->item);
    *t = (struct cn_png_texts){0};
}

const char *cn_png_text_find(const struct cn_png_texts *t, const char *key)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->item[i].key, key) == 0)
            return t->item[i].text;
    return NULL;
}
