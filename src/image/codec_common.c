/* What the codecs of all formats need: the limits on a picture's size, and taking back the output
 * of an encoder that failed. */
#include "base/base.h"
#include "image/codec_priv.h"

int cn_codec_check_size(const struct cn_codec_file *file, size_t w, size_t h, struct cn_err *err)
{
    const struct cn_image_limits *l = file->limits;
    size_t side = l->max_side > 0 ? (size_t)l->max_side : CN_IMAGE_MAX_SIDE;

    if (w == 0 || h == 0)
        return cn_fail(err, CN_EFORMAT, "the image has no pixels");
    side = CN_MIN(side, (size_t)CN_IMAGE_MAX_SIDE);
    if (w > side || h > side)
        return cn_fail(err, CN_ETOOBIG,
                       "an image of %zu by %zu pixels is over the limit of %zu "
                       "pixels a side",
                       w, h, side);
    if (l->max_pixels != 0 && w * h > l->max_pixels)
        return cn_fail(err, CN_ETOOBIG,
                       "an image of %zu by %zu pixels is over the limit of %zu "
                       "pixels",
                       w, h, l->max_pixels);
    return CN_OK;
}

void cn_codec_rewind(struct cn_buf *out, size_t len)
{
    out->len = len;
    if (out->data != NULL)
        out->data[len] = 0;
}
