/* PNG by libspng.
 *
 * The library is shown only what it needs to draw: critical chunks and tRNS. Text, profiles, EXIF
 * and animation frames never reach it, so that no bomb in them can go off; and version 0.7.3 frees
 * wild pointers when memory runs out while it stores text.
 */
#include "base/base.h"
#include "image/codec.h"
#include "image/codec_priv.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "image/png_chunk.h"
#include "image/png_text.h"

#include <spng.h>
#include <stdlib.h>
#include <string.h>

enum { TEXTS_MAX = 100 };

/* The file as the library sees it: its signature, then those chunks. */
struct view {
    struct cn_png_walk walk;
    const uint8_t *p; /* the rest of the signature or chunk that is being read */
    size_t left;
};

static bool is_shown(const struct cn_png_chunk *chunk)
{
    return (chunk->type[0] & 0x20) == 0 || cn_png_chunk_is(chunk, "tRNS");
}

static int view_next(struct view *v)
{
    struct cn_png_chunk chunk;

    do {
        if (cn_png_walk_next(&v->walk, &chunk, NULL) < 0)
            return SPNG_IO_EOF;
    } while (!is_shown(&chunk));
    v->p = chunk.type - 4;
    v->left = chunk.len + CN_PNG_CHUNK_FRAME;
    return 0;
}

static int view_read(spng_ctx *ctx, void *user, void *dest, size_t len)
{
    struct view *v = user;
    uint8_t *to = dest;

    (void)ctx;
    while (len > 0) {
        size_t n = CN_MIN(len, v->left);

        if (n == 0 && view_next(v) != 0)
            return SPNG_IO_EOF;
        memcpy(to, v->p, n);
        v->p += n;
        v->left -= n;
        to += n;
        len -= n;
    }
    return 0;
}

struct reader {
    spng_ctx *ctx;
    struct spng_ihdr ihdr;
    struct view view;
    bool alpha;
    int orientation; /* EXIF's, 1..8 */
};

static int png_error(int spng_code, struct cn_err *err)
{
    if (spng_code == SPNG_EMEM || spng_code == SPNG_EZLIB_INIT)
        return cn_fail(err, CN_ENOMEM, "no memory to read a PNG");
    if (spng_code == SPNG_IO_EOF || spng_code == SPNG_EOF)
        return cn_fail(err, CN_EFORMAT, "the PNG ends early");
    return cn_fail(err, CN_EFORMAT, "damaged PNG: %s", spng_strerror(spng_code));
}

/* All chunks are there, up to the one that says so. On the way: how it was held. */
static int check_whole(struct reader *r, const struct cn_codec_file *file, struct cn_err *err)
{
    struct cn_png_chunk chunk = {0};
    struct cn_png_walk walk;
    int rc = cn_png_walk_init(&walk, file->data, file->len, err);

    do {
        if (rc == CN_OK)
            rc = cn_png_walk_next(&walk, &chunk, err);
        if (rc == CN_OK && cn_png_chunk_is(&chunk, "eXIf"))
            r->orientation = cn_exif_orientation(chunk.data, chunk.len);
    } while (rc == CN_OK && !cn_png_chunk_is(&chunk, "IEND"));
    return rc;
}

static int read_ihdr(struct reader *r, const struct cn_codec_file *file, struct cn_err *err)
{
    int rc = cn_png_walk_init(&r->view.walk, file->data, file->len, err);

    if (rc < 0)
        return rc;
    r->view.p = file->data;
    r->view.left = CN_PNG_SIGNATURE;
    rc = spng_set_crc_action(r->ctx, SPNG_CRC_ERROR, SPNG_CRC_ERROR);
    if (rc == 0)
        rc = spng_set_png_stream(r->ctx, view_read, &r->view);
    if (rc == 0)
        rc = spng_get_ihdr(r->ctx, &r->ihdr);
    return rc == 0 ? CN_OK : png_error(rc, err);
}

/* Reads the chunks before the pixels. */
static int read_alpha(struct reader *r, struct cn_err *err)
{
    struct spng_trns trns;
    int rc = spng_get_trns(r->ctx, &trns);

    if (rc != 0 && rc != SPNG_ECHUNKAVAIL)
        return png_error(rc, err);
    r->alpha = rc == 0 || r->ihdr.color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA ||
               r->ihdr.color_type == SPNG_COLOR_TYPE_TRUECOLOR_ALPHA;
    return CN_OK;
}

/* The size is checked before anything else is looked at. r->ctx is the caller's to free, also after
 * an error. */
static int open_png(struct reader *r, const struct cn_codec_file *file, struct cn_err *err)
{
    int rc;

    *r = (struct reader){.ctx = spng_ctx_new(0), .orientation = 1};
    if (r->ctx == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory to read a PNG");
    rc = read_ihdr(r, file, err);
    if (rc == CN_OK)
        rc = cn_codec_check_size(file, r->ihdr.width, r->ihdr.height, err);
    if (rc == CN_OK)
        rc = check_whole(r, file, err);
    return rc == CN_OK ? read_alpha(r, err) : rc;
}

int cn_codec_png_info(const struct cn_codec_file *file, struct cn_image_info *ret,
                      struct cn_err *err)
{
    struct reader r;
    int rc = open_png(&r, file, err);

    spng_ctx_free(r.ctx);
    if (rc == CN_OK) {
        ret->w = (int)(r.orientation >= 5 ? r.ihdr.height : r.ihdr.width);
        ret->h = (int)(r.orientation >= 5 ? r.ihdr.width : r.ihdr.height);
        ret->c = r.alpha ? 4 : 3;
    }
    return rc;
}

static int png_pixels(struct reader *r, struct cn_image *img, struct cn_err *err)
{
    int format = r->alpha ? SPNG_FMT_RGBA8 : SPNG_FMT_RGB8;
    int flags = r->alpha ? SPNG_DECODE_TRNS : 0;
    int rc = spng_decode_image(r->ctx, img->px, cn_image_bytes(img), format, flags);

    if (rc == 0)
        rc = spng_decode_chunks(r->ctx); /* else the last checksum would not be looked at */
    return rc == 0 ? CN_OK : png_error(rc, err);
}

int cn_codec_png_decode(const struct cn_codec_file *file, struct cn_image *ret, struct cn_err *err)
{
    struct cn_image img = CN_IMAGE_NONE;
    struct reader r;
    int rc = open_png(&r, file, err);

    if (rc == CN_OK)
        rc = cn_image_init(&img, (int)r.ihdr.width, (int)r.ihdr.height, r.alpha ? 4 : 3, err);
    if (rc == CN_OK)
        rc = png_pixels(&r, &img, err);
    spng_ctx_free(r.ctx);
    if (rc == CN_OK)
        rc = cn_exif_turn(&img, r.orientation, err);
    if (rc < 0)
        cn_image_release(&img);
    else
        *ret = img;
    return rc;
}

static char empty[] = "";

/* t->text is the caller's to free, also after an error. */
static int png_text(const struct cn_png_text *from, struct spng_text *t, struct cn_err *err)
{
    size_t n = strlen(from->text);
    char key[4 * sizeof(t->keyword)];

    *t = (struct spng_text){.type = SPNG_TEXT, .language_tag = empty, .translated_keyword = empty};
    if (strlen(from->key) >= sizeof(key) || !cn_png_latin1(from->key, key) || key[0] == 0 ||
        strlen(key) >= sizeof(t->keyword) || strchr(key, '\n') != NULL)
        return cn_fail(err, CN_EINVAL, "\"%s\" cannot be the key of a PNG text", from->key);
    memcpy(t->keyword, key, strlen(key) + 1);
    t->text = cn_try_alloc(n + 1);
    if (t->text == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for a PNG text of %zu bytes", n);
    if (!cn_png_latin1(from->text, t->text)) {
        if (cn_utf8_check(from->text, n) != n)
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

enum { GROUP = 4, SLOTS = 1 << 12 }; /* pixels that are looked up together; where they were seen */

/* Looks up GROUP pixels from pixel i on, and notes where they are. Were they seen before, near
 * enough for deflate's window? at: in pixels, 0 for nowhere. */
static bool seen_before(const struct cn_image *img, size_t i, uint32_t at[SLOTS])
{
    enum { WINDOW = 32768 };
    size_t c = (size_t)img->c, last;
    const uint8_t *p = img->px + i * c;
    uint32_t hash = 0, word;

    for (size_t k = 0; k < c; k++) { /* GROUP * c bytes in words of 4 */
        memcpy(&word, p + 4 * k, 4);
        hash = (hash ^ word) * 2654435761u;
    }
    last = at[hash >> 20];
    at[hash >> 20] = (uint32_t)i;
    return last != 0 && (i - last) * c < WINDOW && memcmp(p, img->px + last * c, GROUP * c) == 0;
}

/* Whether shapes of the picture repeat, other than as runs of one colour: then deflate's search for
 * matches pays. Looked at is every fourth band of 32 rows.
 *
 * On 140 pictures (photographs, drawings, icons, screenshots) level 1 is 0.8 % larger than level 4
 * on average, and 7 % at most, where fewer than 1 group in 16 was seen before; elsewhere it is 17 %
 * larger on average and up to 149 %. Level 1 takes a third of the time.
 */
static bool has_repeats(const struct cn_image *img)
{
    size_t w = (size_t)img->w, h = (size_t)img->h, c = (size_t)img->c, groups = 0, seen = 0;
    uint32_t at[SLOTS] = {0};

    for (size_t y = 0; y < h; y++) {
        if (y / 32 % 4 != 0)
            continue;
        for (size_t i = y * w + 1; i < (y + 1) * w && i + GROUP <= w * h; i++) {
            const uint8_t *p = img->px + i * c;

            if (memcmp(p, p - c, c) == 0)
                continue;
            groups++;
            seen += seen_before(img, i, at) ? 1 : 0;
        }
    }
    return seen * 16 > groups;
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
    return cn_fail(err, rc == SPNG_EMEM || rc == SPNG_EZLIB_INIT ? CN_ENOMEM : CN_EINVAL,
                   "cannot write a PNG: %s", spng_strerror(rc));
}

int cn_png_encode(const struct cn_image *img, const struct cn_png_text *text, size_t n_text,
                  int level, struct cn_buf *out, struct cn_err *err)
{
    struct spng_text *t;
    size_t done = 0;
    int rc = CN_OK;

    if (level == CN_PNG_AUTO)
        level = has_repeats(img) ? 4 : 1;
    if (level < 0 || level > 9)
        return cn_fail(err, CN_EINVAL, "the PNG level must be 0 to 9, not %d", level);
    if (n_text > TEXTS_MAX)
        return cn_fail(err, CN_EINVAL, "more than %d texts for a PNG", TEXTS_MAX);
    t = cn_try_alloc(n_text * sizeof(*t));
    if (t == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory to write a PNG");
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
