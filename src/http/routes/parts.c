/* POST /v1/images with Accept: multipart/mixed: each picture is a part, sent when it is drawn while
 * others still are. What the job warned of, and what went wrong, come as last parts, because the
 * head is long sent. */
#include "base/base.h"
#include "api/result.h"
#include "base/mem.h"
#include "http/routes/submit_priv.h"

#include <stdio.h>
#include <stdlib.h>

enum { HEAD_MAX = 4096, END_MAX = 1 << 16 };

struct parts {
    struct cn_request *q;
    bool *sent; /* of each picture */
    int k;      /* that is asked for; -1: none */
    struct cn_picture picture;
    bool has_head; /* the head of part k was sent, the picture is next */
    bool has_body; /* and what ends it */
    bool closed;   /* the last boundary was sent */
};

static void release(void *arg)
{
    struct parts *p = arg;

    if (p->k >= 0)
        cn_picture_drop(&p->picture);
    free(p->sent);
    free(p);
}

static void wake(void *arg)
{
    struct parts *p = arg;

    cn_request_resume(p->q);
}

/* A picture that is known to be there and was not sent; -1: none. */
static int next_image(struct parts *p)
{
    struct cn_submit_ctx *c = p->q->ctx;
    int k = c->first_image;

    c->first_image = -1;
    if (k >= 0 && !p->sent[k])
        return k;
    while (!c->ended && cn_submit_next_event(c, &k))
        if (!c->ended && !p->sent[k])
            return k;
    for (k = 0; c->ended && c->state == CN_JOB_SUCCEEDED && k < c->n; k++)
        if (!p->sent[k])
            return k;
    return -1;
}

static int text(struct cn_buf *b, struct cn_source **ret)
{
    if (cn_buf_whole(b, NULL) < 0) {
        cn_buf_release(b);
        return CN_SOURCE_BROKEN;
    }
    *ret = cn_source_take(NULL, b);
    return 1;
}

static int put_head(struct parts *p, struct cn_source **ret)
{
    const struct cn_submit_ctx *c = p->q->ctx;
    const struct cn_image_file *f = &p->picture.file;
    struct cn_buf b;

    cn_buf_init(&b, HEAD_MAX);
    cn_buf_printf(&b, NULL,
                  "--%s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nControlnetd-Index: %d\r\n"
                  "Controlnetd-Seed: %lu\r\n\r\n",
                  c->id, cn_media_of(f->meta.format), f->meta.bytes, p->k,
                  (unsigned long)f->meta.seed);
    p->has_head = true;
    return text(&b, ret);
}

static int put_end(struct parts *p, struct cn_source **ret)
{
    const struct cn_submit_ctx *c = p->q->ctx;
    struct cn_buf b;

    cn_buf_init(&b, END_MAX);
    if (c->warnings.n > 0) {
        cn_buf_printf(&b, NULL, "--%s\r\nContent-Type: application/json\r\n\r\n", c->id);
        cn_result_warnings(c->id, &c->warnings, &b, NULL);
        cn_buf_adds(&b, "\r\n", NULL);
    }
    if (c->state != CN_JOB_SUCCEEDED) {
        struct cn_problem problem = cn_problem_document(c->state, &c->err);

        problem.request_id = p->q->id;
        cn_buf_printf(&b, NULL, "--%s\r\nContent-Type: application/problem+json\r\n\r\n", c->id);
        cn_problem_write(&problem, &b, NULL);
        cn_buf_adds(&b, "\r\n", NULL);
    }
    cn_buf_printf(&b, NULL, "--%s--\r\n", c->id);
    p->closed = true;
    return text(&b, ret);
}

static void fail(struct cn_submit_ctx *c, const struct cn_err *err)
{
    c->ended = true;
    c->state = CN_JOB_FAILED;
    c->err = *err;
}

/* Of the picture that was asked for. */
static int next_of_part(struct parts *p, struct cn_source **ret)
{
    if (!p->has_head)
        return put_head(p, ret);
    if (!p->has_body) {
        *ret = cn_picture_source(&p->picture, p->q, 0, p->picture.file.meta.bytes);
        p->has_body = true;
        return 1;
    }
    p->k = -1;
    p->has_head = p->has_body = false;
    *ret = cn_source_bytes("\r\n", 2, NULL, NULL);
    return 1;
}

static int next(void *arg, struct cn_source **ret)
{
    struct parts *p = arg;
    struct cn_submit_ctx *c = p->q->ctx;
    struct cn_err err = CN_ERR_INIT;

    if (p->closed)
        return CN_SOURCE_END;
    if (c->cut && !c->ended && p->k < 0) {
        cn_fail(&err, CN_EBUSY, "the server is shutting down, and the job is kept");
        fail(c, &err);
    }
    if (p->k < 0 && (p->k = next_image(p)) >= 0) {
        p->sent[p->k] = true;
        cn_picture_ask(&p->picture, p->q, c->job, c->id, p->k, wake, p);
    }
    if (p->k >= 0) {
        if (!p->picture.done)
            return 0;
        if (p->picture.err.code == 0)
            return next_of_part(p, ret);
        p->k = -1;
        fail(c, &p->picture.err);
    }
    return c->ended ? put_end(p, ret) : 0;
}

void cn_answer_parts(struct cn_request *q)
{
    struct cn_submit_ctx *c = q->ctx;
    struct parts *p = cn_xcalloc(1, sizeof(*p));
    char type[80];

    p->q = q;
    p->k = -1;
    p->sent = cn_xcalloc((size_t)c->n, sizeof(*p->sent));
    snprintf(type, sizeof(type), "multipart/mixed; boundary=%s", c->id);
    cn_answer_field(q, "Content-Type", "%s", type);
    cn_answer_stream(q, NULL, cn_source_chain(-1, next, release, p), NULL);
}
