/* GET /v1/jobs/{id}/images/{index}: a picture of a job, whole or in part. */
#include "base/base.h"
#include "base/text.h"
#include "http/core/core.h"
#include "http/core/fields.h"
#include "http/routes/picture.h"
#include "http/routes/routes_priv.h"

#include <stdio.h>

enum { PICTURE_CACHE_S = 86400 /* a picture never changes */ };

struct image {
    struct cn_picture picture;
    bool closing; /* the server */
};

/* A picture never changes: its name is its tag. Only what carries it, or stands for it, says so. */
static void add_validators(struct cn_request *q, const char *etag)
{
    cn_answer_field(q, "ETag", "%s", etag);
    cn_answer_field(q, "Cache-Control", "private, max-age=%d, immutable", PICTURE_CACHE_S);
}

/* Range means something for GET only (RFC 9110 section 14.2). */
static enum cn_range range_of(struct cn_request *q, const char *etag, uint64_t size,
                              uint64_t *ret_first, uint64_t *ret_len)
{
    const char *wanted = q->method == CN_GET ? cn_request_header(q, "Range") : NULL;
    const char *if_range = cn_request_header(q, "If-Range");

    *ret_first = 0;
    *ret_len = size;
    if (wanted == NULL || (if_range != NULL && !cn_etag_listed(if_range, etag, false)))
        return CN_RANGE_WHOLE;
    return cn_range_read(wanted, size, ret_first, ret_len);
}

static void send_picture(struct cn_request *q, const char *etag)
{
    struct image *m = q->ctx;
    const struct cn_image_file f = m->picture.file;
    uint64_t first, len;
    enum cn_range range = range_of(q, etag, f.meta.bytes, &first, &len);

    if (range == CN_RANGE_OUTSIDE) {
        cn_answer_field(q, "Content-Range", "bytes */%zu", f.meta.bytes);
        cn_answer_problem(q, CN_PROBLEM_RANGE, NULL, NULL);
        return;
    }
    if (f.fd < 0 && cn_outflight_full(&q->core->out)) {
        cn_answer_problem(q, CN_PROBLEM_OVERLOADED,
                          "the answers on their way out take all the memory they may", NULL);
        return;
    }
    if (range == CN_RANGE_PART)
        cn_answer_field(q, "Content-Range", "bytes %lu-%lu/%zu", (unsigned long)first,
                        (unsigned long)(first + len - 1), f.meta.bytes);
    add_validators(q, etag);
    cn_answer_field(q, "Accept-Ranges", "bytes");
    cn_answer_field(q, "Controlnetd-Seed", "%lu", (unsigned long)f.meta.seed);
    cn_answer(q, range == CN_RANGE_PART ? 206 : 200, cn_media_of(f.meta.format),
              cn_picture_source(&m->picture, q, first, len));
}

static void answer(struct cn_request *q)
{
    struct image *m = q->ctx;
    char etag[64];

    if (m->closing) {
        cn_answer_problem(q, CN_PROBLEM_DRAINING, "the server is shutting down", NULL);
    } else if (!m->picture.done) {
        cn_request_suspend(q, true);
    } else if (m->picture.err.code == CN_EBUSY) {
        cn_answer_later(q, CN_PROBLEM_NOT_FINISHED, m->picture.err.msg, 1);
    } else if (m->picture.err.code != 0) {
        cn_answer_no_picture(q, &m->picture.err);
    } else {
        cn_request_set_subject(q, q->arg[0]);
        snprintf(etag, sizeof(etag), "\"%s-%s\"", q->arg[0], q->arg[1]);
        if (cn_etag_listed(cn_request_header(q, "If-None-Match"), etag, true)) {
            add_validators(q, etag);
            cn_answer_empty(q, 304);
        } else {
            send_picture(q, etag);
        }
    }
}

static void wake(void *arg)
{
    cn_request_resume(arg);
}

static void start(struct cn_request *q)
{
    struct image *m = q->ctx;
    int k = (int)cn_decimal(q->arg[1]); /* the route takes no more than three digits */

    snprintf(q->arg[1], sizeof(q->arg[1]), "%d", k); /* "07" is 7 */
    cn_picture_ask(&m->picture, q, NULL, q->arg[0], k, wake, q);
    answer(q);
}

static void on_shutdown(struct cn_request *q)
{
    ((struct image *)q->ctx)->closing = true;
    cn_request_resume(q);
}

static void dispose(struct cn_request *q)
{
    cn_picture_drop(&((struct image *)q->ctx)->picture);
}

const struct cn_handler cn_get_image = {.ctx_size = sizeof(struct image),
                                        .start = start,
                                        .resume = answer,
                                        .shutdown = on_shutdown,
                                        .dispose = dispose};
