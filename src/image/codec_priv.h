/* Shared by the codecs: one reader per format behind the sniffing of codec.c. Any thread. */
#ifndef CN_IMAGE_CODEC_PRIV_H
#define CN_IMAGE_CODEC_PRIV_H

#include "base/picture_head.h"
#include "image/codec.h"

/* A file in memory, borrowed, and what it may grow to. */
struct cn_codec_file {
    const uint8_t *data;
    size_t len;
    const struct cn_image_limits *limits;
};

/* CN_ETOOBIG when a picture of w by h is over the limits. */
int cn_codec_check_size(const struct cn_codec_file *file, size_t w, size_t h, struct cn_err *err);

int cn_codec_png_info(const struct cn_codec_file *file, struct cn_image_info *ret,
                      struct cn_err *err);
int cn_codec_png_decode(const struct cn_codec_file *file, struct cn_image *ret, struct cn_err *err);
int cn_codec_jpeg_info(const struct cn_codec_file *file, struct cn_image_info *ret,
                       struct cn_err *err);
int cn_codec_jpeg_decode(const struct cn_codec_file *file, struct cn_image *ret,
                         struct cn_err *err);
int cn_codec_webp_info(const struct cn_codec_file *file, struct cn_image_info *ret,
                       struct cn_err *err);
int cn_codec_webp_decode(const struct cn_codec_file *file, struct cn_image *ret,
                         struct cn_err *err);

/* Encoders append to out; this takes back what a failed one left. */
void cn_codec_rewind(struct cn_buf *out, size_t len);

/* *img becomes upright; orientation 1..8. CN_ENOMEM leaves it as it was. */
int cn_exif_turn(struct cn_image *img, int orientation, struct cn_err *err);

#endif
