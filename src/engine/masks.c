/* Masks of requests, as people have them: white on black, strokes on transparent ground, pictures
 * with transparent holes. On the reading thread. */
#include "base/base.h"
#include "engine/job_priv.h"
#include "diffusion/inpaint.h"
#include "image/annotate.h"
#include "image/convert.h"
#include "image/edge_pad.h"

#include <string.h>

/* What transparency means: nothing; nothing beside black and white, which speak for themselves;
 * that strokes are on it; or that it is a hole. */
enum meaning { OPAQUE, COLOURS, STROKES, HOLES };

static unsigned luma(const uint8_t *px)
{
    return (px[0] * 299u + px[1] * 587u + px[2] * 114u) / 1000;
}

/* Is the border more seen than not? Strokes are drawn on an empty canvas; holes are cut in a
 * picture. */
static bool border_is_opaque(const struct cn_image *img)
{
    size_t w = (size_t)img->w, h = (size_t)img->h, sum = 0;

    for (size_t x = 0; x < w; x++)
        sum += (size_t)img->px[4 * x + 3] + img->px[4 * ((h - 1) * w + x) + 3];
    for (size_t y = 0; y < h; y++)
        sum += (size_t)img->px[4 * y * w + 3] + img->px[4 * (y * w + w - 1) + 3];
    return sum > 255 * (w + h);
}

static enum meaning meaning_of(const struct cn_image *img, enum cn_mask_alpha alpha)
{
    enum { BLACK = 16, WHITE = 239 };
    size_t n = (size_t)img->w * (size_t)img->h, opaque = 0, black = 0, white = 0, clear = 0;

    for (size_t i = 0; img->c == 4 && i < n; i++) {
        const uint8_t *px = img->px + 4 * i;
        unsigned v = luma(px);

        clear += px[3] < 255;
        if (px[3] < 128)
            continue;
        opaque++;
        black += v <= BLACK;
        white += v >= WHITE;
    }
    if (clear == 0)
        return OPAQUE;
    if (alpha != CN_MASK_AUTO)
        return alpha == CN_MASK_TRANSPARENT ? HOLES : STROKES;
    if (black > 0 && white > 0 && black + white >= opaque - opaque / 50)
        return COLOURS;
    return border_is_opaque(img) ? HOLES : STROKES;
}

/* c = 1: what is to be painted is white. */
static int levels_of(const struct cn_image *img, enum cn_mask_alpha alpha, struct cn_image *ret,
                     struct cn_err *err)
{
    enum meaning meaning = meaning_of(img, alpha);
    struct cn_image rgb;
    int rc;

    if (meaning == STROKES || meaning == HOLES) {
        rc = cn_image_init(ret, img->w, img->h, 1, err);
        for (size_t i = 0; rc == CN_OK && i < (size_t)img->w * (size_t)img->h; i++)
            ret->px[i] = meaning == HOLES ? (uint8_t)(255 - img->px[4 * i + 3])
                                          : img->px[4 * i + 3];
        return rc;
    }
    rc = cn_image_to_rgb(img, 0, &rgb, err);
    if (rc == CN_OK) {
        rc = cn_image_to_grey(&rgb, ret, err);
        cn_image_release(&rgb);
    }
    return rc;
}

/* A stroke is not to vanish when the mask shrinks: a pixel is painted when any part of it is. */
static int fit_levels(const struct cn_image *levels, enum cn_resize mode, int w, int h, bool exact,
                      struct cn_image *ret, struct cn_err *err)
{
    struct cn_image copy;
    bool shrinks = levels->w > w || levels->h > h;
    int rc;

    if (exact || !shrinks)
        return cn_edge_pad_fit(levels, w, h, mode, CN_LANCZOS, ret, err);
    if ((rc = cn_image_copy(levels, &copy, err)) < 0)
        return rc;
    for (size_t i = 0; i < cn_image_bytes(&copy); i++)
        copy.px[i] = copy.px[i] > 127 ? 255 : 0;
    rc = cn_edge_pad_fit(&copy, w, h, mode, CN_BOX, ret, err);
    cn_image_release(&copy);
    for (size_t i = 0; rc == CN_OK && i < cn_image_bytes(ret); i++)
        ret->px[i] = ret->px[i] > 0 ? 255 : 0;
    return rc;
}

static bool is_webui(const struct cn_job *j)
{
    return j->spec->picture_rules == CN_MAP_A1111;
}

int cn_mask_read(struct cn_job *j, const struct cn_blob *file, enum cn_mask_alpha alpha,
                 enum cn_resize mode, int w, int h, struct cn_image *ret, struct cn_err *err)
{
    struct cn_image raw = CN_IMAGE_NONE, levels = CN_IMAGE_NONE;
    int rc = cn_job_decode(j, file, &raw, err);

    if (rc == CN_OK)
        rc = levels_of(&raw, alpha, &levels, err);
    if (rc == CN_OK && raw.c == 4 && is_webui(j)) /* transparent or not */
        for (size_t i = 0; i < cn_image_bytes(&levels); i++)
            levels.px[i] = levels.px[i] > 128 ? 255 : 0;
    if (rc == CN_OK)
        rc = fit_levels(&levels, mode, w, h, !j->spec->paste_back, ret, err);
    cn_image_release(&raw);
    cn_image_release(&levels);
    return rc;
}

/* The web UI shrinks the picture's mask as Pillow does, and rounds. */
static int shrink(struct cn_job *j, const struct cn_image *levels, struct cn_err *err)
{
    struct cn_image cells;
    int rc = cn_image_resize(levels, j->w, j->h, CN_BICUBIC, &cells, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < cn_image_bytes(&cells); i++)
        j->mask[i] = cells.px[i] > 127;
    cn_image_release(&cells);
    return CN_OK;
}

/* Cells of the latent. As diffusers samples them where nothing is pasted back; otherwise each of
 * which a part is to be painted: what was not is put back as it was. */
static int mask_cells(struct cn_job *j, const struct cn_image *levels, struct cn_err *err)
{
    size_t cells = (size_t)j->h * (size_t)j->w, n = 0;
    int rc = CN_OK;

    if (is_webui(j))
        rc = shrink(j, levels, err);
    else
        cn_inpaint_mask(j->mask_level, j->width, j->height, j->w, j->h, j->mask);
    for (size_t i = 0; i < cells; i++)
        n += j->mask[i] > 0;
    if ((j->spec->paste_back && !is_webui(j)) || n == 0) /* no stroke between samples is nothing */
        cn_inpaint_cover(j->mask_level, j->width, j->height, j->w, j->h, j->mask);
    return rc;
}

/* In place. */
static int soften(const struct cn_job *j, struct cn_image *levels, struct cn_err *err)
{
    struct cn_image soft;
    int rc;

    if (j->spec->mask_blur <= 0)
        return CN_OK;
    if (is_webui(j))
        return cn_webui_blur(levels, j->spec->mask_blur, j->spec->mask_blur, err);
    rc = cn_image_init(&soft, levels->w, levels->h, 1, err);
    if (rc < 0)
        return rc;
    rc = cn_blur_picture(levels->px, levels->w, levels->h, 1, j->spec->mask_blur, soft.px);
    cn_image_release(levels);
    *levels = soft;
    return rc < 0 ? cn_fail(err, rc, "no memory to soften a mask") : rc;
}

int cn_mask_levels(struct cn_job *j, enum cn_resize mode, int w, int h, struct cn_image *ret,
                   struct cn_err *err)
{
    struct cn_image levels = CN_IMAGE_NONE;
    int rc = cn_mask_read(j, &j->spec->mask, j->spec->mask_alpha, mode, w, h, &levels, err);

    for (size_t i = 0; rc == CN_OK && j->spec->mask_invert && i < cn_image_bytes(&levels); i++)
        levels.px[i] = (uint8_t)(255 - levels.px[i]);
    if (rc == CN_OK)
        rc = soften(j, &levels, err);
    if (rc < 0) {
        cn_image_release(&levels);
        return cn_job_blame_field(err, "/mask");
    }
    *ret = levels;
    return CN_OK;
}

int cn_job_set_mask(struct cn_job *j, const struct cn_image *levels, struct cn_err *err)
{
    size_t pixels = (size_t)j->width * (size_t)j->height, painted = 0;
    int rc;

    if ((rc = cn_job_floats(j, pixels, &j->mask_level, err)) < 0 ||
        (rc = cn_job_floats(j, (size_t)j->h * (size_t)j->w, &j->mask, err)) < 0 ||
        (rc = cn_job_floats(j, 3 * pixels, &j->masked_pixels, err)) < 0)
        return rc;
    for (size_t i = 0; i < pixels; i++)
        j->mask_level[i] = (float)levels->px[i] / 255.0f;
    if ((rc = mask_cells(j, levels, err)) < 0)
        return rc;
    for (size_t i = 0; i < 3 * pixels; i++)
        j->masked_pixels[i] = j->mask_level[i % pixels] < 0.5f ? j->init_pixels[i] : 0.0f;
    for (size_t i = 0; i < pixels; i++)
        painted += j->mask_level[i] >= 0.5f;
    j->mask_is_empty = painted == 0;
    return CN_OK;
}
