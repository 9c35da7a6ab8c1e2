/* What POST /v1/images answers when its job has succeeded: the picture, or JSON with all of them.
 *
 * DESIGN. The JSON is never built whole. Its text without the pictures is made at once (a few
 * kilobytes), and with it the length of everything. While it is sent, pieces of that text and
 * pictures in base64 take turns; a picture is looked for when its turn comes, so that an answer
 * holds one open file, however many pictures there are.
 */
#include "base/base.h"
#include "api/result.h"
#include "base/mem.h"
#include "http/core/core.h"
#include "http/routes/submit_priv.h"

#include <stdlib.h>

enum { TEXT_MAX = 1 << 20 };

void cn_answer_warnings(struct cn_request *q)
{
    const struct cn_submit_ctx *c = q->ctx;
    char text[CN_WARNINGS_FIELD];

    if (c->warnings.n == 0)
        return;
    cn_warnings_field(&c->warnings, text, sizeof(text));
    cn_answer_field(q, "Controlnetd-Warnings", "%s", text);
}

void cn_answer_result_picture(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;
    const struct cn_image_file f = c->picture.file;

    cn_answer_field(q, "Controlnetd-Seed", "%lu", (unsigned long)f.meta.seed);
    cn_answer_field(q, "Vary", "Accept");
    cn_answer_warnings(q);
    cn_answer(q, 200, cn_media_of(f.meta.format),
              cn_picture_source(&c->picture, q, 0, f.meta.bytes));
}

/* ---- JSON ---- */

struct document {
    struct cn_request *q;
    struct cn_buf text;
    int *index;    /* n: which of the job's pictures */
    size_t *end;   /* n + 1: where the piece before the k-th of them ends, and the last one */
    size_t *bytes; /* n: of the pictures */
    int n, at;     /* pieces of text and pictures that were begun */
    struct cn_picture picture;
    bool asked;
};

static void release(void *arg)
{
    struct document *d = arg;

    if (d->asked)
        cn_picture_drop(&d->picture);
    cn_buf_release(&d->text);
    free(d->index);
    free(d->end);
    free(d->bytes);
    free(d);
}

static void wake(void *arg)
{
    struct document *d = arg;

    cn_request_resume(d->q);
}

/* 1: *ret is the picture's text; 0: it is not there yet. */
static int next_picture(struct document *d, int k, struct cn_source **ret)
{
    struct cn_submit_ctx *c = d->q->ctx;

    if (!d->asked) {
        d->asked = true;
        cn_picture_ask(&d->picture, d->q, c->job, c->id, d->index[k], wake, d);
    }
    if (!d->picture.done)
        return 0;
    if (d->picture.err.code != 0 || d->picture.file.meta.bytes != d->bytes[k])
        return CN_SOURCE_BROKEN; /* removed meanwhile: the length was told, so the client sees it */
    *ret = cn_source_base64(cn_picture_source(&d->picture, d->q, 0, d->bytes[k]));
    d->asked = false;
    return 1;
}

static int next_piece(void *arg, struct cn_source **ret)
{
    struct document *d = arg;
    int k = d->at / 2, rc = 1;

    if (k > d->n || (k == d->n && d->at % 2 == 1))
        return CN_SOURCE_END;
    if (d->at % 2 == 0) {
        size_t from = k == 0 ? 0 : d->end[k - 1];

        *ret = cn_source_bytes(d->text.data + from, d->end[k] - from, NULL, NULL);
    } else if (d->bytes[k] > 0) {
        rc = next_picture(d, k, ret);
    } else {
        *ret = cn_source_bytes("", 0, NULL, NULL); /* only a link to it */
    }
    if (rc > 0)
        d->at++;
    return rc;
}

static const struct cn_image_meta *meta_of(const struct cn_submit_ctx *c, int k)
{
    return c->viewed ? &c->view.image[k].meta : &c->job->image[k].meta;
}

/* Those that are there: of a job that was interrupted not all are. */
static void choose_pictures(struct document *d, int n)
{
    const struct cn_submit_ctx *c = d->q->ctx;

    d->index = cn_xcalloc((size_t)n, sizeof(*d->index));
    for (int k = 0; k < n && !c->beside.no_images; k++)
        if (meta_of(c, k)->bytes > 0)
            d->index[d->n++] = k;
    d->end = cn_xcalloc((size_t)d->n + 1, sizeof(*d->end));
    d->bytes = cn_xcalloc((size_t)d->n + 1, sizeof(*d->bytes));
}

/* All but the pictures; the length of the whole with them in *ret. */
static int write_text(struct document *d, const struct cn_result *r, int64_t *ret,
                      struct cn_err *err)
{
    const struct cn_submit_ctx *c = d->q->ctx;
    const struct cn_result_form *form = c->ask->json;
    uint64_t pictures = 0;
    int rc = form->begin(r, &d->text, err);

    for (int k = 0; rc == CN_OK && k < d->n; k++) {
        const struct cn_image_meta *m = meta_of(c, d->index[k]);

        if (k > 0)
            rc = form->image_end(r, &d->text, err);
        if (rc == CN_OK)
            rc = form->image(r, m, k, d->index[k], &d->text, err);
        d->bytes[k] = c->beside.as_url && !c->beside.as_base64 ? 0 : m->bytes;
        d->end[k] = d->text.len;
        pictures += cn_source_base64_length(d->bytes[k]);
    }
    if (rc == CN_OK && d->n > 0)
        rc = form->image_end(r, &d->text, err);
    if (rc == CN_OK)
        rc = form->end(r, &d->text, err);
    if (rc == CN_OK)
        rc = cn_buf_whole(&d->text, err);
    d->end[d->n] = d->text.len;
    *ret = (int64_t)(d->text.len + pictures);
    return rc;
}

static double ms_between(int64_t from_us, int64_t to_us)
{
    return from_us == 0 || to_us == 0 ? 0 : (double)(to_us - from_us) / 1000;
}

static struct cn_result result_of(const struct cn_submit_ctx *c)
{
    const struct cn_job_view *v = &c->view;

    if (!c->viewed) {
        struct cn_result r = cn_result_of_job(c->job);

        r.beside = &c->beside;
        return r;
    }
    return (struct cn_result){.id = c->id,
                              .spec = v->spec,
                              .beside = &c->beside,
                              .warnings = &v->warnings,
                              .queue_ms = ms_between(v->created_us, v->started_us),
                              .run_ms = ms_between(v->started_us, v->ended_us),
                              .total_ms = ms_between(v->created_us, v->ended_us),
                              .stage_ms = v->stage_ms};
}

void cn_answer_result_json(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;
    struct cn_result r;
    struct cn_err err = CN_ERR_INIT;
    struct document *d;
    int64_t length;

    if (c->ask->before_json != NULL)
        c->ask->before_json(q);
    r = result_of(c);
    if (r.spec == NULL) {
        cn_fail(&err, CN_EGONE, "the job's description is not known any more");
        cn_answer_err(q, &err);
        return;
    }
    d = cn_xcalloc(1, sizeof(*d));
    d->q = q;
    choose_pictures(d, c->viewed ? c->view.n : cn_spec_pictures(r.spec));
    cn_buf_init(&d->text, TEXT_MAX);
    if (write_text(d, &r, &length, &err) < 0) {
        release(d);
        cn_answer_err(q, &err);
        return;
    }
    cn_answer(q, 200, "application/json", cn_source_chain(length, next_piece, release, d));
}
