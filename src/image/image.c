/* Pictures in memory: made within the limits of size, copied, released. */
#include "base/base.h"
#include "image/image.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

int cn_image_init(struct cn_image *img, int w, int h, int c, struct cn_err *err)
{
    uint8_t *px;
    size_t size;

    if (w < 1 || h < 1 || w > CN_IMAGE_MAX_SIDE || h > CN_IMAGE_MAX_SIDE)
        return cn_fail(err, CN_EINVAL, "a picture cannot have %d by %d pixels", w, h);
    if (c != 1 && c != 3 && c != 4)
        return cn_fail(err, CN_EINVAL, "a picture cannot have %d channels", c);
    size = (size_t)w * (size_t)h * (size_t)c;
    px = cn_try_alloc(size);
    if (px == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for a picture of %d by %d pixels", w, h);
    *img = (struct cn_image){.w = w, .h = h, .c = c, .px = px};
    return CN_OK;
}

void cn_image_release(struct cn_image *img)
{
    free(img->px);
    *img = (struct cn_image)CN_IMAGE_NONE;
}

size_t cn_image_bytes(const struct cn_image *img)
{
    return (size_t)img->w * (size_t)img->h * (size_t)img->c;
}

int cn_image_copy(const struct cn_image *src, struct cn_image *ret, struct cn_err *err)
{
    int rc = cn_image_init(ret, src->w, src->h, src->c, err);

    if (rc == CN_OK)
        memcpy(ret->px, src->px, cn_image_bytes(src));
    return rc;
}
