/* ICC profiles: "iCCP" of PNG, APP2 "ICC_PROFILE" of JPEG, "ICCP" of WebP; the arithmetic is Little
 * CMS's, with the perceptual intent, as Pillow's ImageCms has it. */
#include "base/base.h"
#include "image/profile.h"

#ifdef CN_HAVE_LCMS2

#include "base/buf.h"
#include "base/mem.h"
#include "image/png_chunk.h"
#include "image/riff.h"

#include <lcms2.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

enum { PROFILE_MAX = 4 << 20 }; /* tables of printers reach a megabyte */

void cn_profile_prepare(void)
{
    tzset();
    cmsSetLogErrorHandler(NULL);
}

/* ---- finding it ---- */

/* False: it does not inflate to a profile within the limit. */
static bool inflate_to(const uint8_t *data, size_t len, struct cn_buf *ret)
{
    unsigned char block[16384];
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)data, .avail_in = (unsigned)len};
    int rc = inflateInit(&z);
    bool good = rc == Z_OK;

    while (good && rc == Z_OK) {
        z.next_out = block;
        z.avail_out = sizeof(block);
        rc = inflate(&z, Z_NO_FLUSH);
        good = (rc == Z_OK || rc == Z_STREAM_END) &&
               (rc == Z_STREAM_END || z.avail_out < sizeof(block)) &&
               cn_buf_add(ret, block, sizeof(block) - z.avail_out, NULL) == CN_OK;
    }
    inflateEnd(&z);
    return good && rc == Z_STREAM_END;
}

/* Name, NUL, method 0, deflated profile. */
static bool find_in_png(const void *data, size_t len, struct cn_buf *ret)
{
    struct cn_png_chunk chunk;
    struct cn_png_walk walk;
    int rc = cn_png_walk_init(&walk, data, len, NULL);

    while (rc == CN_OK && (rc = cn_png_walk_next(&walk, &chunk, NULL)) == CN_OK) {
        const uint8_t *name_end;

        if (cn_png_chunk_is(&chunk, "IDAT"))
            return false;
        if (!cn_png_chunk_is(&chunk, "iCCP") || chunk.len > PROFILE_MAX)
            continue;
        name_end = memchr(chunk.data, 0, CN_MIN(chunk.len, (size_t)80));
        if (name_end == NULL || (size_t)(name_end - chunk.data) + 2 > chunk.len)
            return false;
        return inflate_to(name_end + 2, chunk.len - (size_t)(name_end - chunk.data) - 2, ret);
    }
    return false;
}

/* In segments that count themselves, from 1. */
static bool find_in_jpeg(const uint8_t *p, size_t len, struct cn_buf *ret)
{
    enum { MARK = 14 };
    unsigned next = 1, of = 0;

    for (size_t at = 2, n; at + 4 <= len && p[at] == 0xff && p[at + 1] != 0xda; at += 2 + n) {
        n = (size_t)p[at + 2] << 8 | p[at + 3];
        if (n < 2 || n > len - at - 2)
            return false;
        if (p[at + 1] != 0xe2 || n < 2 + MARK || memcmp(p + at + 4, "ICC_PROFILE", 12) != 0)
            continue;
        if (p[at + 16] != next++ || cn_buf_add(ret, p + at + 4 + MARK, n - 2 - MARK, NULL) < 0)
            return false;
        of = p[at + 17];
    }
    return of > 0 && next == of + 1;
}

static bool find_in_webp(const void *data, size_t len, struct cn_buf *ret)
{
    struct cn_riff_chunk chunk;
    struct cn_riff_walk walk;

    cn_riff_walk_init(&walk, data, len);
    while (cn_riff_walk_next(&walk, &chunk))
        if (memcmp(chunk.type, "ICCP", 4) == 0)
            return cn_buf_add(ret, chunk.data, chunk.len, NULL) == CN_OK;
    return false;
}

static bool find_profile(const void *data, size_t len, struct cn_buf *ret)
{
    const uint8_t *p = data;

    if (len > 4 && p[0] == 0xff && p[1] == 0xd8)
        return find_in_jpeg(p, len, ret);
    if (len > 4 && p[0] == 'R')
        return find_in_webp(data, len, ret);
    return find_in_png(data, len, ret);
}

/* ---- applying it ---- */

/* NULL: the profile is for other pixels, or is none. */
static cmsHTRANSFORM transform_of(cmsHPROFILE from, int channels)
{
    cmsHPROFILE to = cmsCreate_sRGBProfile();
    cmsHTRANSFORM t = NULL;

    if (cmsGetColorSpace(from) == cmsSigRgbData)
        t = cmsCreateTransform(from, channels == 4 ? TYPE_RGBA_8 : TYPE_RGB_8, to,
                               channels == 4 ? TYPE_RGBA_8 : TYPE_RGB_8, INTENT_PERCEPTUAL,
                               channels == 4 ? cmsFLAGS_COPY_ALPHA : 0);
    else if (cmsGetColorSpace(from) == cmsSigGrayData && channels == 3)
        t = cmsCreateTransform(from, TYPE_GRAY_8, to, TYPE_RGB_8, INTENT_PERCEPTUAL, 0);
    cmsCloseProfile(to);
    return t;
}

static int transform(cmsHTRANSFORM t, bool grey, struct cn_image *img)
{
    size_t w = (size_t)img->w, row = w * (size_t)img->c;
    uint8_t *line = cn_try_alloc(row);

    if (line == NULL)
        return CN_ENOMEM;
    for (size_t y = 0; y < (size_t)img->h; y++) {
        uint8_t *px = img->px + y * row;

        if (grey) /* it was spread over three channels */
            for (size_t x = 0; x < w; x++)
                line[x] = px[3 * x];
        else
            memcpy(line, px, row);
        cmsDoTransform(t, line, px, (cmsUInt32Number)w);
    }
    free(line);
    return CN_OK;
}

int cn_profile_apply(const void *data, size_t len, struct cn_image *img, struct cn_err *err)
{
    cmsHPROFILE profile = NULL;
    cmsHTRANSFORM t = NULL;
    struct cn_buf b;
    int rc = CN_OK;

    cn_buf_init(&b, PROFILE_MAX);
    if (find_profile(data, len, &b))
        profile = cmsOpenProfileFromMem(b.data, (cmsUInt32Number)b.len);
    if (profile != NULL)
        t = transform_of(profile, img->c);
    if (t != NULL)
        rc = transform(t, cmsGetColorSpace(profile) == cmsSigGrayData, img);
    if (t != NULL)
        cmsDeleteTransform(t);
    if (profile != NULL)
        cmsCloseProfile(profile);
    cn_buf_release(&b);
    return rc < 0 ? cn_fail(err, rc, "no memory for the colours of a picture") : CN_OK;
}

#else

void cn_profile_prepare(void)
{
}

int cn_profile_apply(const void *data, size_t len, struct cn_image *img, struct cn_err *err)
{
    (void)data;
    (void)len;
    (void)img;
    (void)err;
    return CN_OK;
}

#endif
