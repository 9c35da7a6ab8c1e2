/* Control maps of another size, by what they look like, and where they go in a picture. */
#include "base/base.h"
#include "image/map_fit.h"
#include "base/mem.h"
#include "image/annotate.h"
#include "image/map_resample.h"
#include "image/map_thin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what kind of map ---- */

struct look {
    int colours; /* at most FEW */
    bool binary; /* black and white */
    bool thin;   /* and in lines of one pixel */
};

enum { FEW = 200 };

/* Counts up to FEW different colours. */
static int count_colours(const struct cn_image *img)
{
    uint32_t seen[FEW], last = UINT32_MAX;
    size_t pixels = (size_t)img->w * (size_t)img->h, c = (size_t)img->c;
    int n = 0;

    for (size_t i = 0; i < pixels && n < FEW; i++) {
        const uint8_t *px = img->px + i * c;
        uint32_t v = (uint32_t)px[0] << 16 | (uint32_t)px[1] << 8 | px[2];
        int k = 0;

        if (v == last)
            continue;
        last = v;
        while (k < n && seen[k] != v)
            k++;
        if (k == n)
            seen[n++] = v;
    }
    return n;
}

static void find_range(const struct cn_image *img, uint8_t *low, uint8_t *high)
{
    size_t pixels = (size_t)img->w * (size_t)img->h, c = (size_t)img->c;

    *low = 255;
    *high = 0;
    for (size_t i = 0; i < pixels; i++)
        for (size_t k = 0; k < 3; k++) {
            *low = CN_MIN(*low, img->px[i * c + k]);
            *high = CN_MAX(*high, img->px[i * c + k]);
        }
}

/* [h, w]: the mean of the three channels, rounded down. NULL: no memory. */
static uint8_t *mean_of(const struct cn_image *img)
{
    size_t pixels = (size_t)img->w * (size_t)img->h, c = (size_t)img->c;
    uint8_t *mean = cn_try_alloc(pixels);

    for (size_t i = 0; mean != NULL && i < pixels; i++) {
        const uint8_t *px = img->px + i * c;

        mean[i] = (uint8_t)((px[0] + px[1] + px[2]) / 3);
    }
    return mean;
}

static bool is_grey(const struct cn_image *img)
{
    size_t c = (size_t)img->c, n = cn_image_bytes(img);

    for (size_t i = 0; i < n; i += c)
        if (img->px[i] != img->px[i + 1] || img->px[i] != img->px[i + 2])
            return false;
    return true;
}

/* Most of what is bright goes when it is eroded and grown again. Channels count each. */
static int is_thin(const struct cn_image *img, bool *ret)
{
    size_t pixels = (size_t)img->w * (size_t)img->h, c = (size_t)img->c, gone = 0, white = 0;
    int channels = is_grey(img) ? 1 : 3, rc = CN_OK;
    uint8_t *opened = cn_try_alloc(pixels);

    if (opened == NULL)
        return CN_ENOMEM;
    for (int k = 0; k < channels && rc == CN_OK; k++) {
        const uint8_t *px = img->px + k;

        for (size_t i = 0; i < pixels; i++)
            opened[i] = px[i * c];
        rc = cn_map_open(opened, img->w, img->h);
        for (size_t i = 0; i < pixels; i++) {
            gone += opened[i] < px[i * c];
            white += px[i * c] > 127;
        }
    }
    *ret = 2 * gone > white;
    free(opened);
    return rc;
}

static int look_at(const struct cn_image *img, struct look *ret)
{
    uint8_t low, high;

    *ret = (struct look){.colours = count_colours(img)};
    if (ret->colours != 2)
        return CN_OK;
    find_range(img, &low, &high);
    ret->binary = low < 16 && high > 240;
    return ret->binary ? is_thin(img, &ret->thin) : CN_OK;
}

bool cn_map_is_thin(const struct cn_image *map)
{
    struct look look;

    return look_at(map, &look) == CN_OK && look.thin;
}

/* ---- resizing ---- */

/* Black and white again, after a filter has made greys. */
static int sharpen(struct cn_image *img, const struct look *look, bool grew)
{
    size_t pixels = (size_t)img->w * (size_t)img->h, c = (size_t)img->c;
    uint8_t *px = mean_of(img);
    int rc = px == NULL ? CN_ENOMEM : CN_OK, t;

    if (rc == CN_OK && look->thin)
        rc = cn_map_ridges(px, img->w, img->h);
    if (rc == CN_OK) {
        t = cn_otsu(px, pixels);
        for (size_t i = 0; i < pixels; i++)
            px[i] = px[i] > t ? 255 : 0;
    }
    if (rc == CN_OK && look->thin)
        rc = cn_map_thin(px, img->w, img->h, grew);
    for (size_t i = 0; rc == CN_OK && i < pixels; i++)
        memset(img->px + i * c, px[i], 3);
    free(px);
    return rc;
}

/* What hides is what counts: halves of a pixel are rounded as those of a mask of what is missing.
 */
static void turn_alpha(struct cn_image *img)
{
    for (size_t i = 3; img->c == 4 && i < cn_image_bytes(img); i += 4)
        img->px[i] = (uint8_t)(255 - img->px[i]);
}

static int resample_hiding(const struct cn_image *src, int w, int h, enum cn_map_kernel kernel,
                           struct cn_image *ret, struct cn_err *err)
{
    struct cn_image turned;
    int rc;

    if (src->c != 4)
        return cn_map_resample(src, w, h, kernel, ret, err);
    if ((rc = cn_image_copy(src, &turned, err)) < 0)
        return rc;
    turn_alpha(&turned);
    rc = cn_map_resample(&turned, w, h, kernel, ret, err);
    cn_image_release(&turned);
    if (rc < 0)
        return rc;
    for (size_t i = 3; i < cn_image_bytes(ret); i += 4)
        ret->px[i] = ret->px[i] > 127 ? 0 : 255;
    return CN_OK;
}

int cn_map_resize(const struct cn_image *src, int w, int h, struct cn_image *ret,
                  struct cn_err *err)
{
    bool grows = (double)w * h >= (double)src->w * src->h;
    struct look look;
    enum cn_map_kernel kernel;
    int rc;

    if (w == src->w && h == src->h)
        return cn_image_copy(src, ret, err);
    if ((rc = look_at(src, &look)) < 0)
        return cn_fail(err, rc, "no memory for a control map");
    kernel = grows ? CN_MAP_CUBIC : CN_MAP_AREA;
    if (look.colours > 2 && look.colours < FEW)
        kernel = CN_MAP_NEAREST;
    if ((rc = resample_hiding(src, w, h, kernel, ret, err)) < 0)
        return rc;
    if (look.binary)
        rc = sharpen(ret, &look, grows);
    if (rc < 0) {
        cn_image_release(ret);
        return cn_fail(err, rc, "no memory for a control map");
    }
    return CN_OK;
}

/* ---- fitting ---- */

int cn_map_resolution(int w0, int h0, int w, int h, enum cn_resize mode)
{
    double kh = (double)h / h0, kw = (double)w / w0;
    double k = mode == CN_PAD ? fmin(kh, kw) : fmax(kh, kw);

    return (int)rint(k * CN_MIN(w0, h0));
}

static int compare_bytes(const void *a, const void *b)
{
    return *(const uint8_t *)a - *(const uint8_t *)b;
}

/* Value k of the pixels at the border, in reading order of top, bottom, left and right. */
static uint8_t border_value(const struct cn_image *img, size_t i, size_t k)
{
    size_t w = (size_t)img->w, h = (size_t)img->h, c = (size_t)img->c, x, y;

    if (i < 2 * w) {
        x = i % w;
        y = i < w ? 0 : h - 1;
    } else {
        x = i - 2 * w < h ? 0 : w - 1;
        y = (i - 2 * w) % h;
    }
    return img->px[(y * w + x) * c + k];
}

int cn_map_border(const struct cn_image *img, uint8_t colour[4])
{
    size_t n = 2 * ((size_t)img->w + (size_t)img->h);
    uint8_t *v = cn_try_alloc(n);

    for (size_t k = 0; v != NULL && k < (size_t)img->c; k++) {
        for (size_t i = 0; i < n; i++)
            v[i] = border_value(img, i, k);
        qsort(v, n, 1, compare_bytes);
        colour[k] = (uint8_t)((v[n / 2 - 1] + v[n / 2]) / 2);
    }
    free(v);
    return v == NULL ? CN_ENOMEM : CN_OK;
}

int cn_map_surround(const struct cn_image *img, int w, int h, const uint8_t *colour,
                    struct cn_image *ret, struct cn_err *err)
{
    size_t c = (size_t)img->c, pixels = (size_t)w * (size_t)h, row = (size_t)img->w * c;
    size_t left = (size_t)CN_MAX((w - img->w) / 2, 0), top = (size_t)CN_MAX((h - img->h) / 2, 0);
    int rc = cn_image_init(ret, w, h, img->c, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < pixels; i++)
        memcpy(ret->px + i * c, colour, c);
    for (size_t y = 0; y < (size_t)img->h; y++)
        memcpy(ret->px + ((top + y) * (size_t)w + left) * c, img->px + y * row, row);
    return CN_OK;
}

static int cut(const struct cn_image *img, int w, int h, struct cn_image *ret, struct cn_err *err)
{
    size_t c = (size_t)img->c;
    size_t left = (size_t)CN_MAX((img->w - w) / 2, 0), top = (size_t)CN_MAX((img->h - h) / 2, 0);
    int rc = cn_image_init(ret, w, h, img->c, err);

    for (size_t y = 0; rc == CN_OK && y < (size_t)h; y++)
        memcpy(ret->px + y * (size_t)w * c, img->px + ((top + y) * (size_t)img->w + left) * c,
               (size_t)w * c);
    return rc;
}

int cn_map_fit(const struct cn_image *src, int w, int h, enum cn_resize mode, struct cn_image *ret,
               struct cn_err *err)
{
    double kw = (double)w / src->w, kh = (double)h / src->h;
    double k = mode == CN_PAD ? fmin(kw, kh) : fmax(kw, kh);
    int inner_w = CN_MAX((int)rint(src->w * k), 1), inner_h = CN_MAX((int)rint(src->h * k), 1);
    uint8_t ground[4] = {0};
    struct cn_image inner;
    int rc;

    if (mode == CN_STRETCH)
        return cn_map_resize(src, w, h, ret, err);
    if (mode == CN_CROP) { /* a rounded side may be short of a pixel */
        inner_w = CN_MAX(inner_w, w);
        inner_h = CN_MAX(inner_h, h);
    } else {
        inner_w = CN_MIN(inner_w, w);
        inner_h = CN_MIN(inner_h, h);
        if ((rc = cn_map_border(src, ground)) < 0)
            return cn_fail(err, rc, "no memory for a control map");
        ground[3] = 0;
    }
    if ((rc = cn_map_resize(src, inner_w, inner_h, &inner, err)) < 0)
        return rc;
    rc = mode == CN_CROP ? cut(&inner, w, h, ret, err)
                         : cn_map_surround(&inner, w, h, ground, ret, err);
    cn_image_release(&inner);
    return rc;
}
