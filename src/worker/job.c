/* Progress, stages, previews and pictures of a job, on their way to the daemon. */
#include "base/base.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/infotext.h"
#include "image/codec.h"
#include "image/convert.h"
#include "image/metadata.h"
#include "worker/job.h"

#include <stdio.h>
#include <stdlib.h>

static bool cancelled(void *ctx)
{
    return cn_worker_cancelled(ctx);
}

static void progress(void *ctx, int image, int step, int steps)
{
    cn_worker_progress(ctx, CN_STAGE_UNET, image, step, steps);
}

static void warning(void *ctx, enum cn_warning_code code, const char *field, const char *text)
{
    cn_worker_warn(ctx, code, field, text);
}

static void stage(void *ctx, enum cn_engine_stage s, double ms)
{
    static const enum cn_stage map[CN_ENGINE_STAGE_COUNT] = {
        [CN_ENGINE_LOAD] = CN_STAGE_LOAD,          [CN_ENGINE_DECODE] = CN_STAGE_DECODE,
        [CN_ENGINE_PREPARE] = CN_STAGE_PREPROCESS, [CN_ENGINE_TEXT] = CN_STAGE_TEXT,
        [CN_ENGINE_HINT] = CN_STAGE_CONTROLNET,    [CN_ENGINE_CONTROL] = CN_STAGE_CONTROLNET,
        [CN_ENGINE_UNET] = CN_STAGE_UNET,          [CN_ENGINE_VAE] = CN_STAGE_VAE,
    };

    cn_worker_stage(ctx, map[s], ms);
}

/* A map with parts missing: JPEG has no alpha. */
static int encode_flat(const struct cn_image *img, int quality, struct cn_buf *out,
                       struct cn_err *err)
{
    struct cn_image rgb;
    int rc;

    if (img->c != 4)
        return cn_jpeg_encode(img, quality, out, err);
    if ((rc = cn_image_to_rgb(img, 0, &rgb, err)) < 0)
        return rc;
    rc = cn_jpeg_encode(&rgb, quality, out, err);
    cn_image_release(&rgb);
    return rc;
}

/* What its file says of a picture that was drawn: *ret is the caller's; NULL: nothing. */
static int text_of(const struct cn_spec *s, const struct cn_engine_image *m,
                   char *(*text)(const struct cn_spec *s, const struct cn_infotext_facts *f),
                   char **ret, struct cn_err *err)
{
    struct cn_infotext_facts f = {s->model, m->image->w, m->image->h, m->seed, m->index};

    *ret = NULL;
    if (!s->metadata || cn_spec_map_of(s, m->index) >= 0)
        return CN_OK;
    *ret = text(s, &f);
    return *ret != NULL ? CN_OK : cn_fail(err, CN_ENOMEM, "no memory for the picture's metadata");
}

static int encode_png(const struct cn_spec *spec, const struct cn_engine_image *m,
                      struct cn_err *err)
{
    char *parameters = NULL, *json = NULL;
    int rc = text_of(spec, m, cn_infotext, &parameters, err);

    if (rc == CN_OK)
        rc = text_of(spec, m, cn_infotext_json, &json, err);
    if (rc == CN_OK) {
        const struct cn_png_text text[] = {{CN_INFOTEXT_KEY, parameters},
                                           {CN_INFOTEXT_JSON_KEY, json}};

        rc = cn_png_encode(m->image, text, parameters == NULL ? 0 : 2, CN_PNG_AUTO, m->file, err);
    }
    free(parameters);
    free(json);
    return rc;
}

/* The pixels' file, and then what it says: the formats but PNG have it put in afterwards. */
static int encode(const struct cn_spec *spec, const struct cn_engine_image *m, struct cn_err *err)
{
    char *text;
    int rc;

    if (spec->format == CN_PNG)
        return encode_png(spec, m, err);
    rc = spec->format == CN_JPEG ? encode_flat(m->image, spec->quality, m->file, err)
                                 : cn_webp_encode(m->image, spec->quality, m->file, err);
    if (rc < 0 || (rc = text_of(spec, m, cn_infotext, &text, err)) < 0)
        return rc;
    if (text != NULL)
        rc = cn_metadata_add(m->file, spec->format, text, err);
    free(text);
    return rc;
}

static int encode_image(void *ctx, const struct cn_engine_image *m, struct cn_err *err)
{
    const struct cn_spec *spec = cn_worker_spec(ctx);
    struct cn_err why = CN_ERR_INIT;
    double start = cn_now_s();
    int rc = encode(spec, m, &why);

    if (rc == CN_ETOOBIG)
        cn_fail_at(err, rc, "/format",
                   "image %d has more than %d MiB as %s: ask for a smaller picture, or one of less "
                   "bytes",
                   m->index, CN_ENGINE_MAX_FILE >> 20, cn_enum_format.name[spec->format]);
    else if (rc < 0)
        *err = why;
    cn_worker_stage(ctx, CN_STAGE_ENCODE, (cn_now_s() - start) * 1e3);
    return rc;
}

static int send_image(void *ctx, const struct cn_engine_image *m, struct cn_err *err)
{
    struct cn_msg_image msg = {
        .index = m->index,
        .meta = {.seed = m->seed,
                 .format = cn_worker_spec(ctx)->format,
                 .width = m->image->w,
                 .height = m->image->h,
                 .bytes = m->file->len},
        .data = m->file->data,
    };

    return cn_worker_image(ctx, &msg, err);
}

/* As good as it gets in the bytes that a preview may have. */
static int encode_preview(const struct cn_image *img, struct cn_buf *out)
{
    static const int quality[] = {80, 60, 40, 20};
    int rc = CN_ETOOBIG;

    for (size_t i = 0; i < CN_LEN(quality) && rc == CN_ETOOBIG; i++)
        rc = cn_jpeg_encode(img, quality[i], out, NULL);
    return rc;
}

static void send_preview(void *ctx, const struct cn_engine_image *m, int step)
{
    struct cn_buf file;

    cn_buf_init(&file, CN_WIRE_MAX_PREVIEW);
    if (encode_preview(m->image, &file) == CN_OK) {
        struct cn_msg_preview msg = {.index = m->index,
                                     .step = step,
                                     .format = CN_JPEG,
                                     .width = m->image->w,
                                     .height = m->image->h,
                                     .data = file.data,
                                     .len = file.len};

        cn_worker_preview(ctx, &msg);
    }
    cn_buf_release(&file);
}

static void end(void *ctx, int rc, const struct cn_err *err)
{
    cn_worker_end(ctx, rc, err);
}

struct cn_engine_cb worker_job_hooks(struct cn_worker_job *job)
{
    return (struct cn_engine_cb){.ctx = job,
                                 .cancelled = cancelled,
                                 .progress = progress,
                                 .warning = warning,
                                 .preview = send_preview,
                                 .encode = encode_image,
                                 .image = send_image,
                                 .stage = stage,
                                 .end = end};
}
