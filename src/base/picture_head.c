/* How large a picture is, and how it was held (EXIF 2.3, tag 0x0112). */
#include "base/base.h"
#include "base/picture_head.h"
#include "base/tiff.h"

#include <string.h>

enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, TYPE_LONG = 4 };

int cn_exif_orientation(const uint8_t *exif, size_t len)
{
    struct cn_tiff t;
    size_t entry, type, v;

    if (!cn_tiff_open(&t, exif, len))
        return 1;
    entry = cn_tiff_find(&t, cn_tiff_number(&t, 4, 4), TAG_ORIENTATION);
    type = entry == 0 ? 0 : cn_tiff_number(&t, entry + 2, 2);
    if (type != TYPE_SHORT && type != TYPE_LONG)
        return 1;
    v = cn_tiff_number(&t, entry + 8, type == TYPE_LONG ? 4 : 2);
    return v >= 1 && v <= 8 ? (int)v : 1;
}

/* ---- sizes ---- */

/* Where a picture's head was looked for. */
struct head {
    const uint8_t *data;
    size_t len;
    int orientation;
    size_t w, h;
};

/* n bytes at an offset; 0 beyond the end. */
static size_t big(const struct head *f, size_t at, size_t n)
{
    return cn_tiff_number(&(struct cn_tiff){f->data, f->len, true}, at, n);
}

static size_t little(const struct head *f, size_t at, size_t n)
{
    return cn_tiff_number(&(struct cn_tiff){f->data, f->len, false}, at, n);
}

static bool has(const struct head *f, size_t at, const char *mark, size_t n)
{
    return at <= f->len && f->len - at >= n && memcmp(f->data + at, mark, n) == 0;
}

static void look_for_exif(struct head *f, size_t at, size_t n)
{
    if (at <= f->len && n <= f->len - at)
        f->orientation = cn_exif_orientation(f->data + at, n);
}

static void read_png(struct head *f)
{
    size_t at = 8;

    f->w = big(f, 16, 4);
    f->h = big(f, 20, 4);
    while (f->len - at >= 12 && !has(f, at + 4, "IEND", 4)) {
        size_t n = big(f, at, 4);

        if (n > f->len - at - 12)
            return;
        if (has(f, at + 4, "eXIf", 4))
            look_for_exif(f, at + 8, n);
        at += 12 + n;
    }
}

/* A frame's head is any mark from C0 to CF but three. */
static bool is_frame(unsigned mark)
{
    return mark >= 0xc0 && mark <= 0xcf && mark != 0xc4 && mark != 0xc8 && mark != 0xcc;
}

static void read_jpeg(struct head *f)
{
    size_t at = 2;

    while (at + 4 <= f->len && f->data[at] == 0xff) {
        unsigned mark = f->data[at + 1];
        size_t n = big(f, at + 2, 2);

        if (mark == 0xff) { /* fill */
            at++;
            continue;
        }
        if (n < 2)
            return;
        if (mark == 0xe1 && has(f, at + 4, "Exif\0", 6))
            look_for_exif(f, at + 4, n - 2);
        if (is_frame(mark)) {
            f->h = big(f, at + 5, 2);
            f->w = big(f, at + 7, 2);
            return;
        }
        at += 2 + n;
    }
}

static void read_webp(struct head *f)
{
    if (has(f, 12, "VP8X", 4)) {
        f->w = little(f, 24, 3) + 1;
        f->h = little(f, 27, 3) + 1;
    } else if (has(f, 12, "VP8L", 4)) {
        size_t bits = little(f, 21, 4);

        f->w = (bits & 0x3fff) + 1;
        f->h = (bits >> 14 & 0x3fff) + 1;
    } else if (has(f, 12, "VP8 ", 4)) {
        f->w = little(f, 26, 2) & 0x3fff;
        f->h = little(f, 28, 2) & 0x3fff;
    }
    for (size_t at = 12, n; at < f->len && f->len - at >= 8; at += 8 + n + (n & 1)) {
        n = little(f, at + 4, 4);
        if (n > f->len - at - 8)
            return;
        if (has(f, at, "EXIF", 4))
            look_for_exif(f, at + 8, n);
    }
}

bool cn_picture_size(const void *data, size_t len, int *ret_width, int *ret_height)
{
    enum { SIDE_MAX = 65535 };
    struct head f = {.data = data, .len = len, .orientation = 1};

    if (has(&f, 0, "\x89PNG\r\n\x1a\n", 8))
        read_png(&f);
    else if (has(&f, 0, "\xff\xd8\xff", 3))
        read_jpeg(&f);
    else if (has(&f, 0, "RIFF", 4) && has(&f, 8, "WEBP", 4))
        read_webp(&f);
    if (f.w == 0 || f.h == 0 || f.w > SIDE_MAX || f.h > SIDE_MAX)
        return false;
    *ret_width = (int)(f.orientation >= 5 ? f.h : f.w);
    *ret_height = (int)(f.orientation >= 5 ? f.w : f.h);
    return true;
}
