/* The picture that is painted over and its mask: from files to what is drawn, and to what the
 * result is put back into. On the reading thread.
 *
 * By diffusers' rules both get the picture's size, and the mask is softened there. By those of
 * AUTOMATIC1111's web UI (modules/processing.py) the mask is softened as large as it came, and then
 * both are resized. With "mask_only" the part around the mask is drawn, as large as the request
 * says, and what comes out is as large as init_image. */
#include "base/base.h"
#include "engine/job_priv.h"
#include "image/convert.h"
#include "image/edge_pad.h"

/* While they are read. */
struct painting {
    struct cn_image whole, levels; /* init_image as it came; its mask, c = 1 */
    struct cn_image drawn, drawn_levels; /* as large as what is drawn */
};

static void painting_release(struct painting *p)
{
    cn_image_release(&p->whole);
    cn_image_release(&p->levels);
    cn_image_release(&p->drawn);
    cn_image_release(&p->drawn_levels);
}

static bool is_webui(const struct cn_job *j)
{
    return j->spec->picture_rules == CN_MAP_A1111;
}

static int fit(const struct cn_job *j, const struct cn_image *img, enum cn_resize mode,
               struct cn_image *ret, struct cn_err *err)
{
    return is_webui(j) ? cn_webui_fit(img, j->width, j->height, mode, ret, err)
                       : cn_edge_pad_fit(img, j->width, j->height, mode, CN_LANCZOS, ret, err);
}

static int read_whole(struct cn_job *j, struct cn_image *ret, struct cn_err *err)
{
    struct cn_image raw = CN_IMAGE_NONE;
    int rc = cn_job_decode(j, &j->spec->init_image, &raw, err);

    if (rc == CN_OK)
        rc = cn_image_to_rgb(&raw, 255, ret, err);
    cn_image_release(&raw);
    return rc < 0 ? cn_job_blame_field(err, "/init_image") : rc;
}

/* The whole picture is drawn. */
static int fit_whole(struct cn_job *j, struct painting *p, struct cn_err *err)
{
    int rc = fit(j, &p->whole, j->spec->resize, &p->drawn, err);

    return rc < 0 ? rc : cn_image_copy(&p->drawn, &j->init_image, err);
}

/* The web UI puts back what its mask spares; half painted is painted. */
static void double_levels(struct cn_image *levels)
{
    for (size_t i = 0; i < cn_image_bytes(levels); i++)
        levels->px[i] = (uint8_t)CN_MIN(2 * levels->px[i], 255);
}

static int with_whole_mask(struct cn_job *j, struct painting *p, struct cn_err *err)
{
    int rc = fit_whole(j, p, err);

    if (rc == CN_OK && is_webui(j))
        rc = fit(j, &p->levels, j->spec->resize, &p->drawn_levels, err);
    else if (rc == CN_OK)
        rc = cn_mask_levels(j, j->spec->resize, j->width, j->height, &p->drawn_levels, err);
    if (rc == CN_OK)
        rc = cn_image_copy(&p->drawn_levels, &j->paste_level, err);
    if (rc == CN_OK && is_webui(j))
        double_levels(&j->paste_level);
    return rc;
}

static int cut_and_fit(const struct cn_job *j, const struct cn_image *img, struct cn_image *ret,
                       struct cn_err *err)
{
    struct cn_image cut;
    int rc = cn_webui_cut(img, &j->part, &cut, err);

    if (rc == CN_OK) {
        rc = cn_webui_fit(&cut, j->width, j->height, CN_PAD, ret, err);
        cn_image_release(&cut);
    }
    return rc;
}

static int with_part(struct cn_job *j, struct painting *p, struct cn_err *err)
{
    int rc = cut_and_fit(j, &p->whole, &p->drawn, err);

    if (rc == CN_OK)
        rc = cut_and_fit(j, &p->levels, &p->drawn_levels, err);
    j->init_image = p->whole;
    j->paste_level = p->levels;
    p->whole = p->levels = (struct cn_image)CN_IMAGE_NONE;
    return rc;
}

/* A mask of nothing is none: then the web UI draws the whole picture anew, and so is it here by its
 * rules. */
static int with_mask(struct cn_job *j, struct painting *p, struct cn_err *err)
{
    const struct cn_spec *s = j->spec;
    int rc = CN_OK;

    if (s->mask_only || is_webui(j))
        rc = cn_mask_levels(j, CN_STRETCH, p->whole.w, p->whole.h, &p->levels, err);
    if (rc < 0)
        return rc;
    if (!s->mask_only)
        return with_whole_mask(j, p, err);
    if (cn_webui_region(&p->levels, s->mask_padding, j->width, j->height, &j->part))
        return with_part(j, p, err);
    if (is_webui(j)) {
        j->mask_is_empty = true;
        return fit_whole(j, p, err);
    }
    return with_whole_mask(j, p, err);
}

static int to_floats(struct cn_job *j, struct painting *p, struct cn_err *err)
{
    bool filled = j->spec->mask_fill != CN_FILL_ORIGINAL && p->drawn_levels.px != NULL;
    int rc = filled ? cn_webui_fill(&p->drawn, &p->drawn_levels, err) : CN_OK;

    if (rc == CN_OK)
        rc = cn_job_floats(j, 3 * (size_t)j->width * (size_t)j->height, &j->init_pixels, err);
    if (rc == CN_OK)
        cn_image_to_planar(&p->drawn, j->init_pixels, 2.0f / 255, -1);
    if (rc == CN_OK && p->drawn_levels.px != NULL)
        rc = cn_job_set_mask(j, &p->drawn_levels, err);
    return rc;
}

int cn_job_read_painting(struct cn_job *j, struct cn_err *err)
{
    struct painting p = {0};
    int rc = read_whole(j, &p.whole, err);

    if (rc < 0)
        return rc;
    rc = j->spec->mask.len > 0 ? with_mask(j, &p, err) : fit_whole(j, &p, err);
    if (rc == CN_OK)
        rc = to_floats(j, &p, err);
    painting_release(&p);
    return rc < 0 ? cn_job_blame_field(err, "/init_image") : rc;
}

/* ---- back into the picture ---- */

/* The part that was drawn becomes the whole picture. */
static int put_part(const struct cn_job *j, struct cn_image *picture, struct cn_err *err)
{
    const struct cn_region *r = &j->part;
    struct cn_image part, whole;
    int rc = cn_webui_fit(picture, r->w, r->h, CN_CROP, &part, err);

    if (rc < 0)
        return rc;
    rc = cn_image_copy(&j->init_image, &whole, err);
    if (rc == CN_OK) {
        cn_webui_put(&part, r->x, r->y, &whole);
        cn_image_release(picture);
        *picture = whole;
    }
    cn_image_release(&part);
    return rc;
}

int cn_job_paste_back(const struct cn_job *j, struct cn_image *picture, struct cn_err *err)
{
    const struct cn_image *init = &j->init_image, *level = &j->paste_level;
    int rc = j->part.w > 0 ? put_part(j, picture, err) : CN_OK;

    if (rc < 0 || !j->spec->paste_back || level->px == NULL)
        return rc;
    for (size_t i = 0; i < (size_t)init->w * (size_t)init->h; i++)
        for (size_t k = 3 * i; k < 3 * i + 3; k++) {
            float part = (float)level->px[i] / 255.0f;

            picture->px[k] = (uint8_t)((float)picture->px[k] * part +
                                       (float)init->px[k] * (1 - part) + 0.5f);
        }
    return CN_OK;
}
