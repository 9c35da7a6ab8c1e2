/* Sizes are held against the limits, pixels copied, words stripped of what is not printable. */
#include "base/base.h"
#include "decoding/reply.h"

#include <unistd.h>

bool cn_decoding_reply_is_sound(const struct cn_decoding_reply *r, const struct cn_image_limits *l)
{
    if (r->type != CN_DECODING_REPLY)
        return false;
    if (r->rc == CN_OK)
        return r->w > 0 && r->h > 0 && r->w <= l->max_side && r->h <= l->max_side &&
               (size_t)r->w * (size_t)r->h <= l->max_pixels && (r->c == 3 || r->c == 4);
    return r->rc == CN_ENOMEM || r->rc == CN_EFORMAT || r->rc == CN_ETOOBIG;
}

/* Its words, as far as they are some. */
static int repeat(struct cn_decoding_reply *r, struct cn_err *err)
{
    r->msg[sizeof(r->msg) - 1] = '\0';
    for (char *p = r->msg; *p != '\0'; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
    return cn_fail(err, r->rc, "%s", r->msg);
}

int cn_decoding_take_reply(struct cn_decoding_reply *r, int fd, struct cn_image *ret,
                           struct cn_err *err)
{
    struct cn_image img = CN_IMAGE_NONE;
    size_t len, at = 0;
    int rc;

    if (r->rc != CN_OK)
        return repeat(r, err);
    rc = cn_image_init(&img, r->w, r->h, r->c, err);
    if (rc < 0)
        return rc;
    len = cn_image_bytes(&img);
    while (at < len) {
        ssize_t n = pread(fd, img.px + at, len - at, (off_t)at);

        if (n <= 0) {
            cn_image_release(&img);
            return cn_fail(err, CN_EIO, "cannot read the pixels of an image");
        }
        at += (size_t)n;
    }
    *ret = img;
    return CN_OK;
}
