/* Image files in and out: PNG, JPEG, WebP.
 *
 * Decoders take bytes from strangers. Whatever they are given they return a picture or an error;
 * size limits are checked against the file's header before anything of that size is allocated, and
 * a file that ends early or is damaged is refused, never half drawn. Colour profiles are applied
 * (profile.h), gamma is ignored. Any thread.
 *
 *     struct cn_image img = CN_IMAGE_NONE;
 *     if (cn_image_decode(body, len, NULL, &img, err) < 0)
 *         return err->code;          -- CN_EFORMAT, CN_ETOOBIG or CN_ENOMEM
 *     cn_png_encode(&img, texts, 1, CN_PNG_LEVEL, &out, err);
 */
#ifndef CN_IMAGE_CODEC_H
#define CN_IMAGE_CODEC_H

#include "base/buf.h"
#include "base/spec.h"
#include "image/image.h"

/* Zero means no limit. */
struct cn_image_limits {
    int max_side;      /* pixels */
    size_t max_pixels; /* width * height */
    size_t max_bytes;  /* of the file */
};

/* 4096 pixels a side: twice what a job may ask for by default, and 64 MiB as RGBA. */
#define CN_IMAGE_LIMITS_DEFAULTS                                                                   \
    {                                                                                              \
        .max_side = 4096, .max_pixels = 4096u * 4096, .max_bytes = 32u << 20                       \
    }

struct cn_image_info {
    enum cn_format format;
    int w, h; /* as cn_image_decode returns them: after EXIF orientation */
    int c;    /* 3, or 4 when there is transparency */
};

/* Without decoding the pixels. limits NULL: the defaults. */
int cn_image_info(const void *data, size_t len, const struct cn_image_limits *limits,
                  struct cn_image_info *ret, struct cn_err *err);

/* c = 3 or 4: grey and palettes become RGB, 16 bits become 8 (the high byte), CMYK becomes RGB,
 * transparency of any kind becomes an alpha channel, a JPEG is turned upright. Animated WebP is
 * refused; of an animated PNG the still picture is read. */
int cn_image_decode(const void *data, size_t len, const struct cn_image_limits *limits,
                    struct cn_image *ret, struct cn_err *err);

/* Both strings are UTF-8; key has 1 to 79 characters of Latin-1. */
struct cn_png_text {
    const char *key, *text;
};

/* Deflate effort 0..9. Level 1 is fast and as small as any on photographs; drawings, whose shapes
 * repeat, want 4. CN_PNG_AUTO looks at the picture and takes one of the two. */
enum { CN_PNG_LEVEL = 1, CN_PNG_AUTO = -1 };

/* The file is appended to out; CN_ETOOBIG when it does not fit under the maximum of out, which is
 * then left as it was. Text goes to tEXt when it is Latin-1, else to iTXt; empty text is left out.
 */
int cn_png_encode(const struct cn_image *img, const struct cn_png_text *text, size_t n_text,
                  int level, struct cn_buf *out, struct cn_err *err);

/* quality 1..100. A JPEG cannot hold c = 4; WebP is lossy here at every quality. */
int cn_jpeg_encode(const struct cn_image *img, int quality, struct cn_buf *out, struct cn_err *err);
int cn_webp_encode(const struct cn_image *img, int quality, struct cn_buf *out, struct cn_err *err);

/* Text of a PNG, owned by the struct. */
struct cn_png_texts {
    struct cn_png_text *item;
    size_t n;
};

/* Text before the pixels, which is where every writer of generation parameters puts it. Compressed
 * text is left out, as is iTXt that is not UTF-8. At most 2 MiB. No text is not an error. */
int cn_png_read_text(const void *data, size_t len, struct cn_png_texts *ret, struct cn_err *err);
void cn_png_texts_release(struct cn_png_texts *t);

/* The text with this key, or NULL. Lives as long as t. */
const char *cn_png_text_find(const struct cn_png_texts *t, const char *key);

#endif
