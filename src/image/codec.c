/* Pictures in files: the format is told by the first bytes, and its codec does the rest. */
#include "base/base.h"
#include "image/codec.h"
#include "image/codec_priv.h"
#include "image/profile.h"

#include <string.h>

typedef int (*info_fn)(const struct cn_codec_file *file, struct cn_image_info *ret,
                       struct cn_err *err);
typedef int (*decode_fn)(const struct cn_codec_file *file, struct cn_image *ret,
                         struct cn_err *err);

/* Magic bytes stand at offset 0, for WebP also at 8 (the size of the RIFF lies between). */
static const struct codec {
    enum cn_format format;
    const char *magic, *magic8;
    info_fn info;
    decode_fn decode;
} codecs[] = {
    {CN_PNG, "\x89PNG\r\n\x1a\n", "", cn_codec_png_info, cn_codec_png_decode},
    {CN_JPEG, "\xff\xd8\xff", "", cn_codec_jpeg_info, cn_codec_jpeg_decode},
    {CN_WEBP, "RIFF", "WEBP", cn_codec_webp_info, cn_codec_webp_decode},
};

static const struct cn_image_limits default_limits = CN_IMAGE_LIMITS_DEFAULTS;

static bool matches(const struct codec *c, const uint8_t *data, size_t len)
{
    size_t n = strlen(c->magic), n8 = strlen(c->magic8);

    return len >= n && memcmp(data, c->magic, n) == 0 &&
           (n8 == 0 || (len >= 8 + n8 && memcmp(data + 8, c->magic8, n8) == 0));
}

static int sniff(const struct cn_codec_file *file, const struct codec **ret, struct cn_err *err)
{
    if (file->len == 0)
        return cn_fail(err, CN_EFORMAT, "the image is empty");
    if (file->limits->max_bytes != 0 && file->len > file->limits->max_bytes)
        return cn_fail(err, CN_ETOOBIG, "an image file of %zu bytes is over the limit of %zu",
                       file->len, file->limits->max_bytes);
    for (size_t i = 0; i < CN_LEN(codecs); i++)
        if (matches(&codecs[i], file->data, file->len)) {
            *ret = &codecs[i];
            return CN_OK;
        }
    return cn_fail(err, CN_EFORMAT, "not a PNG, JPEG or WebP image");
}

int cn_image_info(const void *data, size_t len, const struct cn_image_limits *limits,
                  struct cn_image_info *ret, struct cn_err *err)
{
    struct cn_codec_file file = {data, len, limits != NULL ? limits : &default_limits};
    struct cn_image_info info = {0};
    const struct codec *c = NULL;
    int rc = sniff(&file, &c, err);

    if (rc == CN_OK)
        rc = c->info(&file, &info, err);
    if (rc == CN_OK) {
        info.format = c->format;
        *ret = info;
    }
    return rc;
}

int cn_image_decode(const void *data, size_t len, const struct cn_image_limits *limits,
                    struct cn_image *ret, struct cn_err *err)
{
    struct cn_codec_file file = {data, len, limits != NULL ? limits : &default_limits};
    struct cn_image img = CN_IMAGE_NONE;
    const struct codec *c = NULL;
    int rc = sniff(&file, &c, err);

    if (rc < 0 || (rc = c->decode(&file, &img, err)) < 0)
        return rc;
    rc = cn_profile_apply(data, len, &img, err);
    if (rc < 0)
        cn_image_release(&img);
    else
        *ret = img;
    return rc;
}
