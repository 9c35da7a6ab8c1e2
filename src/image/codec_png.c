/* PNG by libspng. */
#include "base/base.h"
#include "image/codec.h"
#include "image/codec_priv.h"
#include "base/mem.h"

#include <spng.h>
#include <stdlib.h>
#include <string.h>

/* Text, profiles and the like: what one chunk may become when it is inflated, and what all of them
 * may take. Against iCCP and zTXt bombs. The library stops at 1000 chunks by itself. */
enum { CHUNK_BYTES = 1 << 20, CHUNKS_BYTES = 2 << 20, TEXTS_MAX = 100 };

static int png_error(int spng_code, struct cn_err *err)
{
    if (spng_code == SPNG_EMEM)
        return cn_fail(err, CN_ENOMEM, "no memory to read a PNG");
    if (spng_code == SPNG_ECHUNK_LIMITS)
        return cn_fail(err, CN_ETOOBIG, "the PNG has too much text or other side data");
    if (spng_code == SPNG_IO_EOF || spng_code == SPNG_EOF)
        return cn_fail(err, CN_EFORMAT, "the PNG ends early");
    return cn_fail(err, CN_EFORMAT, "damaged PNG: %s", spng_strerror(spng_code));
}

/* A reader that has seen the header and found it within the limits. */
static int png_open(const struct cn_codec_file *file, spng_ctx **ret, struct spng_ihdr *ret_ihdr,
                    struct cn_err *err)
{
    spng_ctx *ctx = spng_ctx_new(0);
    int rc, code;

    if (ctx == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory to read a PNG");
    rc = spng_set_crc_action(ctx, SPNG_CRC_ERROR, SPNG_CRC_ERROR);
    if (rc == 0)
        rc = spng_set_chunk_limits(ctx, CHUNK_BYTES, CHUNKS_BYTES);
    if (rc == 0)
        rc = spng_set_png_buffer(ctx, file->data, file->len);
    if (rc == 0)
        rc = spng_get_ihdr(ctx, ret_ihdr);
    code = rc != 0 ? png_error(rc, err)
                   : cn_codec_check_size(file, ret_ihdr->width, ret_ihdr->height, err);
    if (code < 0) {
        spng_ctx_free(ctx);
        return code;
    }
    *ret = ctx;
    return CN_OK;
}

/* Reads the chunks before the pixels. */
static int has_alpha(spng_ctx *ctx, const struct spng_ihdr *ihdr, bool *ret, struct cn_err *err)
{
    struct spng_trns trns;
    int rc = spng_get_trns(ctx, &trns);

    if (rc != 0 && rc != SPNG_ECHUNKAVAIL)
        return png_error(rc, err);
    *ret = rc == 0 || ihdr->color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA ||
           ihdr->color_type == SPNG_COLOR_TYPE_TRUECOLOR_ALPHA;
    return CN_OK;
}

int cn_codec_png_info(const struct cn_codec_file *file, struct cn_image_info *ret,
                      struct cn_err *err)
{
    struct spng_ihdr ihdr;
    spng_ctx *ctx;
    bool alpha = false;
    int rc = png_open(file, &ctx, &ihdr, err);

    if (rc < 0)
        return rc;
    rc = has_alpha(ctx, &ihdr, &alpha, err);
    spng_ctx_free(ctx);
    if (rc == CN_OK) {
        ret->w = (int)ihdr.width;
        ret->h = (int)ihdr.height;
        ret->c = alpha ? 4 : 3;
    }
    return rc;
}

/* The chunks after the pixels are read as well: only IEND proves that the file is whole. */
static int png_pixels(spng_ctx *ctx, struct cn_image *img, struct cn_err *err)
{
    bool alpha = img->c == 4;
    int rc =
        spng_decode_image(ctx, img->px, cn_image_bytes(img), alpha ? SPNG_FMT_RGBA8 : SPNG_FMT_RGB8,
                          alpha ? SPNG_DECODE_TRNS : 0);

    if (rc == 0)
        rc = spng_decode_chunks(ctx);
    return rc == 0 ? CN_OK : png_error(rc, err);
}

int cn_codec_png_decode(const struct cn_codec_file *file, struct cn_image *ret, struct cn_err *err)
{
    struct cn_image img = CN_IMAGE_NONE;
    struct spng_ihdr ihdr;
    spng_ctx *ctx;
    bool alpha = false;
    int rc = png_open(file, &ctx, &ihdr, err);

    if (rc < 0)
        return rc;
    rc = has_alpha(ctx, &ihdr, &alpha, err);
    if (rc == CN_OK)
        rc = cn_image_init(&img, (int)ihdr.width, (int)ihdr.height, alpha ? 4 : 3, err);
    if (rc == CN_OK)
        rc = png_pixels(ctx, &img, err);
    spng_ctx_free(ctx);
    if (rc < 0)
        cn_image_release(&img);
    else
        *ret = img;
    return rc;
}

/* One code point of well-formed UTF-8; -1 for anything else. *s is moved behind it. */
static int32_t next_code_point(const char **s)
{
    static const int32_t least[4] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)*s;
    int more = p[0] < 0x80       ? 0
               : p[0] >> 5 == 6  ? 1
               : p[0] >> 4 == 14 ? 2
               : p[0] >> 3 == 30 ? 3
                                 : -1;
    int32_t c;

    if (more < 0)
        return -1;
    c = more == 0 ? p[0] : p[0] & (0x3f >> more);
    for (int i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return -1;
        c = c << 6 | (p[i] & 0x3f);
    }
    *s += more + 1;
    return c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? -1 : c;
}

/* Latin-1 as PNG allows it in text: printable, or a line feed. */
static bool is_png_latin1(int32_t c)
{
    return c == '\n' || (c >= 32 && c <= 126) || (c >= 161 && c <= 255);
}

/* UTF-8 to Latin-1 into out, which is at least as long; false when it cannot be expressed. */
static bool to_latin1(const char *utf8, char *out)
{
    while (*utf8 != 0) {
        int32_t c = next_code_point(&utf8);

        if (!is_png_latin1(c))
            return false;
        *out++ = (char)c;
    }
    *out = 0;
    return true;
}

static bool is_utf8(const char *s)
{
    while (*s != 0)
        if (next_code_point(&s) < 0)
            return false;
    return true;
}

static char empty[] = "";

/* t->text is the caller's to free, also after an error. */
static int png_text(const struct cn_png_text *from, struct spng_text *t, struct cn_err *err)
{
    size_t n = strlen(from->text);
    char key[4 * sizeof(t->keyword)];

    *t = (struct spng_text){.type = SPNG_TEXT, .language_tag = empty, .translated_keyword = empty};
    if (strlen(from->key) >= sizeof(key) || !to_latin1(from->key, key) || key[0] == 0 ||
        strlen(key) >= sizeof(t->keyword) || strchr(key, '\n') != NULL)
        return cn_fail(err, CN_EINVAL, "\"%s\" cannot be the key of a PNG text", from->key);
    memcpy(t->keyword, key, strlen(key) + 1);
    t->text = cn_try_alloc(n + 1);
    if (t->text == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for a PNG text of %zu bytes", n);
    if (!to_latin1(from->text, t->text)) {
        if (!is_utf8(from->text))
            return cn_fail(err, CN_EINVAL, "the PNG text \"%s\" is not UTF-8", from->key);
        t->type = SPNG_ITXT;
        memcpy(t->text, from->text, n + 1);
    }
    t->length = strlen(t->text);
    return CN_OK;
}

/* Where the encoder's bytes go. */
struct sink {
    struct cn_buf *out;
    struct cn_err *err;
    int rc;
};

static int to_sink(spng_ctx *ctx, void *user, void *src, size_t len)
{
    struct sink *sink = user;

    (void)ctx;
    sink->rc = cn_buf_add(sink->out, src, len, sink->err);
    return sink->rc == CN_OK ? 0 : SPNG_IO_ERROR;
}

/* Level 1 is made for photographs: one filter and runs only. On photographs of 512 x 512 that is a
 * quarter of the time of level 4 (11 ms to 42 ms on one core) at the same size; drawings with
 * repeated shapes become several times larger than at level 2. */
static int set_effort(spng_ctx *ctx, int level)
{
    enum { RUNS = 3 }; /* Z_RLE of zlib */
    int rc = spng_set_option(ctx, SPNG_IMG_COMPRESSION_LEVEL, level);

    if (rc == 0 && level == 1)
        rc = spng_set_option(ctx, SPNG_IMG_COMPRESSION_STRATEGY, RUNS);
    if (rc == 0 && level == 1)
        rc = spng_set_option(ctx, SPNG_FILTER_CHOICE, SPNG_FILTER_CHOICE_PAETH);
    return rc;
}

static int png_write(spng_ctx *ctx, const struct cn_image *img, struct spng_text *text,
                     size_t n_text, int level)
{
    struct spng_ihdr ihdr = {.width = (uint32_t)img->w, .height = (uint32_t)img->h, .bit_depth = 8};
    int rc;

    ihdr.color_type = img->c == 1   ? SPNG_COLOR_TYPE_GRAYSCALE
                      : img->c == 3 ? SPNG_COLOR_TYPE_TRUECOLOR
                                    : SPNG_COLOR_TYPE_TRUECOLOR_ALPHA;
    rc = spng_set_ihdr(ctx, &ihdr);
    if (rc == 0)
        rc = set_effort(ctx, level);
    if (rc == 0 && n_text > 0)
        rc = spng_set_text(ctx, text, (uint32_t)n_text);
    if (rc == 0)
        rc = spng_encode_image(ctx, img->px, cn_image_bytes(img), SPNG_FMT_PNG,
                               SPNG_ENCODE_FINALIZE);
    return rc;
}

static int png_to_buf(const struct cn_image *img, struct spng_text *text, size_t n_text, int level,
                      struct cn_buf *out, struct cn_err *err)
{
    struct sink sink = {.out = out, .err = err};
    size_t before = out->len;
    spng_ctx *ctx = spng_ctx_new(SPNG_CTX_ENCODER);
    int rc;

    if (ctx == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory to write a PNG");
    rc = spng_set_png_stream(ctx, to_sink, &sink);
    if (rc == 0)
        rc = png_write(ctx, img, text, n_text, level);
    spng_ctx_free(ctx);
    if (rc == 0)
        return CN_OK;
    cn_codec_rewind(out, before);
    if (sink.rc < 0)
        return sink.rc;
    return cn_fail(err, rc == SPNG_EMEM ? CN_ENOMEM : CN_EINVAL, "cannot write a PNG: %s",
                   spng_strerror(rc));
}

int cn_png_encode(const struct cn_image *img, const struct cn_png_text *text, size_t n_text,
                  int level, struct cn_buf *out, struct cn_err *err)
{
    struct spng_text *t;
    size_t done = 0;
    int rc = CN_OK;

    if (level < 0 || level > 9)
        return cn_fail(err, CN_EINVAL, "the PNG level must be 0 to 9, not %d", level);
    if (n_text > TEXTS_MAX)
        return cn_fail(err, CN_EINVAL, "more than %d texts for a PNG", TEXTS_MAX);
    t = cn_xcalloc(n_text, sizeof(*t));
    for (size_t i = 0; rc == CN_OK && i < n_text; i++)
        if (text[i].text[0] != 0) /* libspng refuses empty ones */
            rc = png_text(&text[i], &t[done++], err);
    if (rc == CN_OK)
        rc = png_to_buf(img, t, done, level, out, err);
    while (done > 0)
        free(t[--done].text);
    free(t);
    return rc;
}

/* Latin-1 to UTF-8; out holds 2 * n + 1 bytes. Returns the end of the string. */
static char *from_latin1(const char *s, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c >= 0x80)
            *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
    }
    *out = 0;
    return out;
}

/* Both strings of one text behind each other at p; returns the first free byte. */
static char *put_text(const struct spng_text *t, struct cn_png_text *item, char *p)
{
    size_t n = strnlen(t->text, t->length);

    item->key = p;
    p = from_latin1(t->keyword, strlen(t->keyword), p) + 1;
    item->text = p;
    if (t->type != SPNG_ITXT)
        return from_latin1(t->text, n, p) + 1;
    memcpy(p, t->text, n);
    p[n] = 0;
    return p + n + 1;
}

/* One block holds the items and, behind them, their strings. iTXt that is not UTF-8 is left out. */
static int collect_texts(const struct spng_text *t, uint32_t n, struct cn_png_texts *ret,
                         struct cn_err *err)
{
    size_t size = n * sizeof(struct cn_png_text);
    struct cn_png_texts all = {0};
    char *p;

    for (uint32_t i = 0; i < n; i++)
        size += 2 * (sizeof(t->keyword) + t[i].length + 1);
    all.item = cn_try_alloc(size);
    if (all.item == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for PNG text of %zu bytes", size);
    p = (char *)(all.item + n);
    for (uint32_t i = 0; i < n; i++) {
        p = put_text(&t[i], &all.item[all.n], p);
        all.n += is_utf8(all.item[all.n].text);
    }
    *ret = all;
    return CN_OK;
}

int cn_png_read_text(const void *data, size_t len, struct cn_png_texts *ret, struct cn_err *err)
{
    static const struct cn_image_limits no_limits = {0};
    const struct cn_codec_file file = {data, len, &no_limits};
    struct spng_text *t = NULL;
    struct spng_ihdr ihdr;
    spng_ctx *ctx;
    uint32_t n = 0;
    int rc = png_open(&file, &ctx, &ihdr, err);

    if (rc < 0)
        return rc;
    rc = spng_get_text(ctx, NULL, &n);
    if (rc == 0)
        t = cn_xcalloc(n, sizeof(*t)); /* at most 1000 */
    if (rc == 0)
        rc = spng_get_text(ctx, t, &n);
    if (rc == 0)
        rc = collect_texts(t, n, ret, err);
    else if (rc == SPNG_ECHUNKAVAIL)
        rc = collect_texts(NULL, 0, ret, err);
    else
        rc = png_error(rc, err);
    free(t);
    spng_ctx_free(ctx);
    return rc;
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
