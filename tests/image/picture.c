/* A picture with slopes, a disc, lines and noise, by integer arithmetic only. */
#include "base/base.h"
#include "picture.h"

static int level(int x, int y, int k)
{
    int v = (3 * x + 2 * y + 40 * k) & 255;

    if ((x - 40) * (x - 40) + (y - 30) * (y - 30) < 400)
        v = 230 - 50 * k;
    return (x + 2 * y) % 23 == 0 ? 20 : v;
}

struct cn_image picture(int w, int h, int c)
{
    struct cn_image img;
    uint32_t state = 12345;
    uint8_t *px;

    CN_ASSERT(cn_image_init(&img, w, h, c, NULL) == CN_OK);
    px = img.px;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int k = 0; k < c; k++) {
                int v;

                state = state * 1664525u + 1013904223u;
                v = level(x, y, k) + (int)(state >> 28);
                *px++ = (uint8_t)CN_MIN(v, 255);
            }
    return img;
}

uint64_t fnv(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

uint64_t image_hash(const struct cn_image *img)
{
    return fnv(img->px, cn_image_bytes(img));
}
