/* WebP by libwebp: still pictures, lossy on the way out. */
#include "base/base.h"
#include "image/codec.h"
#include "image/codec_priv.h"
#include "image/riff.h"
#include "image/convert.h"

#include <string.h>
#include <webp/decode.h>
#include <webp/encode.h>

static int webp_error(VP8StatusCode status, struct cn_err *err)
{
    switch (status) {
    case VP8_STATUS_OK:
        return CN_OK;
    case VP8_STATUS_OUT_OF_MEMORY:
        return cn_fail(err, CN_ENOMEM, "no memory to read a WebP");
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
        return cn_fail(err, CN_EFORMAT, "the WebP ends early");
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return cn_fail(err, CN_EFORMAT, "the WebP uses a feature that is not supported");
    default:
        return cn_fail(err, CN_EFORMAT, "damaged WebP");
    }
}

/* The container says how long it is. The decoder stops where the pixels end and would not miss what
 * should follow. */
static int check_length(const struct cn_codec_file *file, struct cn_err *err)
{
    const uint8_t *d = file->data;
    size_t riff = d[4] | (size_t)d[5] << 8 | (size_t)d[6] << 16 | (size_t)d[7] << 24;

    if (riff > file->len - 8)
        return cn_fail(err, CN_EFORMAT, "the WebP ends early");
    return CN_OK;
}

static int features(const struct cn_codec_file *file, WebPBitstreamFeatures *ret,
                    struct cn_err *err)
{
    int rc = webp_error(WebPGetFeatures(file->data, file->len, ret), err);

    if (rc == CN_OK && ret->has_animation)
        return cn_fail(err, CN_EFORMAT, "an animated WebP is not supported");
    if (rc == CN_OK)
        rc = cn_codec_check_size(file, (size_t)ret->width, (size_t)ret->height, err);
    return rc;
}

/* EXIF's orientation, 1..8, in a chunk of the RIFF file. */
static int orientation(const struct cn_codec_file *file)
{
    struct cn_riff_walk walk;
    struct cn_riff_chunk chunk;

    cn_riff_walk_init(&walk, file->data, file->len);
    while (cn_riff_walk_next(&walk, &chunk))
        if (memcmp(chunk.type, "EXIF", 4) == 0)
            return cn_exif_orientation(chunk.data, chunk.len);
    return 1;
}

int cn_codec_webp_info(const struct cn_codec_file *file, struct cn_image_info *ret,
                       struct cn_err *err)
{
    WebPBitstreamFeatures f;
    int rc = features(file, &f, err);

    if (rc == CN_OK) {
        ret->w = orientation(file) >= 5 ? f.height : f.width;
        ret->h = orientation(file) >= 5 ? f.width : f.height;
        ret->c = f.has_alpha ? 4 : 3;
    }
    return rc;
}

static int webp_pixels(const struct cn_codec_file *file, struct cn_image *img, struct cn_err *err)
{
    WebPDecoderConfig config;

    if (!WebPInitDecoderConfig(&config))
        return cn_fail(err, CN_EINTERNAL, "libwebp has another version than its headers");
    config.output.colorspace = img->c == 4 ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = img->px;
    config.output.u.RGBA.stride = img->w * img->c;
    config.output.u.RGBA.size = cn_image_bytes(img);
    return webp_error(WebPDecode(file->data, file->len, &config), err);
}

int cn_codec_webp_decode(const struct cn_codec_file *file, struct cn_image *ret, struct cn_err *err)
{
    struct cn_image img = CN_IMAGE_NONE;
    WebPBitstreamFeatures f;
    int rc = features(file, &f, err);

    if (rc == CN_OK)
        rc = check_length(file, err);
    if (rc == CN_OK)
        rc = cn_image_init(&img, f.width, f.height, f.has_alpha ? 4 : 3, err);
    if (rc == CN_OK)
        rc = webp_pixels(file, &img, err);
    if (rc == CN_OK)
        rc = cn_exif_turn(&img, orientation(file), err);
    if (rc < 0)
        cn_image_release(&img);
    else
        *ret = img;
    return rc;
}

/* Where the encoder's bytes go. */
struct sink {
    struct cn_buf *out;
    struct cn_err *err;
    int rc;
};

static int to_sink(const uint8_t *data, size_t len, const WebPPicture *picture)
{
    struct sink *sink = picture->custom_ptr;

    sink->rc = cn_buf_add(sink->out, data, len, sink->err);
    return sink->rc == CN_OK;
}

/* The library has two codes for want of memory, and at some places none: then it is VP8_ENC_OK. */
static int code_of(WebPEncodingError e)
{
    switch (e) {
    case VP8_ENC_OK:
    case VP8_ENC_ERROR_OUT_OF_MEMORY:
    case VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY:
        return CN_ENOMEM;
    case VP8_ENC_ERROR_PARTITION0_OVERFLOW:
    case VP8_ENC_ERROR_PARTITION_OVERFLOW:
    case VP8_ENC_ERROR_FILE_TOO_BIG:
        return CN_ETOOBIG;
    default:
        return CN_EINVAL;
    }
}

static int write_picture(const struct cn_image *img, const WebPConfig *config, struct sink *sink)
{
    WebPPicture picture;
    int stride = img->w * img->c;
    bool ok;

    if (!WebPPictureInit(&picture))
        return cn_fail(sink->err, CN_EINTERNAL, "libwebp has another version than its headers");
    picture.width = img->w;
    picture.height = img->h;
    picture.writer = to_sink;
    picture.custom_ptr = sink;
    ok = img->c == 4 ? WebPPictureImportRGBA(&picture, img->px, stride)
                     : WebPPictureImportRGB(&picture, img->px, stride);
    ok = ok && WebPEncode(config, &picture);
    WebPPictureFree(&picture);
    if (ok)
        return CN_OK;
    if (sink->rc < 0)
        return sink->rc;
    return cn_fail(sink->err, code_of(picture.error_code),
                   "cannot write a WebP of %d by %d pixels", img->w, img->h);
}

int cn_webp_encode(const struct cn_image *img, int quality, struct cn_buf *out, struct cn_err *err)
{
    struct sink sink = {.out = out, .err = err};
    struct cn_image rgb = CN_IMAGE_NONE;
    size_t before = out->len;
    WebPConfig config;
    int rc = CN_OK;

    if (quality < 1 || quality > 100)
        return cn_fail(err, CN_EINVAL, "the WebP quality must be 1 to 100, not %d", quality);
    if (!WebPConfigInit(&config))
        return cn_fail(err, CN_EINTERNAL, "libwebp has another version than its headers");
    config.quality = (float)quality;
    if (img->c == 1)
        rc = cn_image_to_rgb(img, 0, &rgb, err);
    if (rc == CN_OK)
        rc = write_picture(img->c == 1 ? &rgb : img, &config, &sink);
    cn_image_release(&rgb);
    if (rc < 0)
        cn_codec_rewind(out, before);
    return rc;
}
