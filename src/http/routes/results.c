/* What POST /v1/images answers at the end of its job: the picture, JSON with all of them, or one
 * part after the other while the job still draws. */
#include "base/base.h"
#include "http/routes/submit_priv.h"
#include "api/problem.h"
#include "api/result.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *cn_media_of(enum cn_format format)
{
    static const char *const media[CN_FORMAT_COUNT] = {"image/png", "image/jpeg", "image/webp"};

    return media[format];
}

enum cn_fault cn_fault_of_end(enum cn_job_state state, const struct cn_err *err)
{
    switch (state) {
    case CN_JOB_EXPIRED:
        return CN_FAULT_DEADLINE;
    case CN_JOB_CANCELLED:
        return CN_FAULT_CANCELLED;
    default:
        return cn_fault_of(err);
    }
}

/* ---- pictures ---- */

/* One picture in memory, until drop_picture. */
struct picture {
    struct cn_job_image image; /* data is not to be freed */
    struct cn_image_file file;
    unsigned char *own;
};

static void drop_picture(struct picture *p)
{
    if (p->file.fd >= 0)
        close(p->file.fd);
    cn_job_unref(p->file.job);
    free(p->own);
}

static int read_file(int fd, unsigned char *data, size_t len, struct cn_err *err)
{
    size_t at = 0;

    while (at < len) {
        ssize_t n = pread(fd, data + at, len - at, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return cn_fail(err, CN_ESTORAGE, "a stored picture cannot be read: %s",
                           n < 0 ? strerror(errno) : "it is too short");
        at += (size_t)n;
    }
    return CN_OK;
}

static int take_picture(struct cn_request *q, int k, struct picture *p, struct cn_err *err)
{
    const struct cn_call *c = q->call;
    int rc;

    *p = (struct picture){.file = {.fd = -1}};
    if (c->job != NULL && k < c->job->spec.n && c->job->image[k].data != NULL) {
        p->image = c->job->image[k];
        return CN_OK;
    }
    rc = cn_jobs_open_image(q->e->s->o.jobs, q->tenant, c->id, k, &p->file, err);
    if (rc < 0) {
        p->file = (struct cn_image_file){.fd = -1};
        return rc;
    }
    p->image = (struct cn_job_image){.len = p->file.size,
                                     .seed = p->file.seed,
                                     .format = p->file.format,
                                     .width = p->file.width,
                                     .height = p->file.height};
    if (p->file.fd < 0) {
        p->image.data = (unsigned char *)p->file.data;
        return CN_OK;
    }
    if ((p->own = cn_try_alloc(p->file.size)) == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for a picture of %zu bytes", p->file.size);
    p->image.data = p->own;
    return read_file(p->file.fd, p->own, p->file.size, err);
}

/* ---- the end ---- */

static enum MHD_Result reply_picture(struct cn_request *q)
{
    const struct cn_call *c = q->call;
    struct cn_err err = CN_ERR_INIT;
    enum MHD_Result rc;
    struct picture p;

    if (take_picture(q, 0, &p, &err) < 0) {
        rc = cn_reply_err(q, &err);
    } else {
        cn_reply_field(q, "Cache-Control", "no-store");
        cn_reply_field(q, "Controlnetd-Job", "%s", c->id);
        cn_reply_field(q, "Controlnetd-Seed", "%lu", (unsigned long)p.image.seed);
        cn_reply_field(q, "Vary", "Accept");
        rc = cn_reply_copy(q, 200, cn_media_of(p.image.format), p.image.data, p.image.len);
    }
    drop_picture(&p);
    return rc;
}

static double ms_between(int64_t from_us, int64_t to_us)
{
    return from_us == 0 || to_us == 0 ? 0 : (double)(to_us - from_us) / 1000;
}

/* The result of a kept job: from its record and its files. */
static int write_kept(struct cn_request *q, struct cn_buf *b, struct cn_err *err)
{
    const struct cn_call *c = q->call;
    struct cn_job_image *image;
    struct picture *p;
    struct cn_job_view v;
    int rc = cn_jobs_view(q->e->s->o.jobs, q->tenant, c->id, &v, err), n = 0;

    if (rc < 0)
        return rc;
    p = cn_xcalloc((size_t)v.n, sizeof(*p));
    image = cn_xcalloc((size_t)v.n, sizeof(*image));
    for (; rc == CN_OK && n < v.n; n++) {
        rc = take_picture(q, n, &p[n], err);
        image[n] = p[n].image;
    }
    if (rc == CN_OK && v.spec == NULL)
        rc = cn_fail(err, CN_EGONE, "the job's description is not known any more");
    if (rc == CN_OK) {
        struct cn_result r = {.id = c->id,
                              .spec = v.spec,
                              .image = image,
                              .queue_ms = ms_between(v.created_us, v.started_us),
                              .run_ms = ms_between(v.started_us, v.ended_us),
                              .total_ms = ms_between(v.created_us, v.ended_us),
                              .stage_ms = v.stage_ms};

        rc = cn_result_write(&r, b, err);
    }
    while (n > 0)
        drop_picture(&p[--n]);
    free(image);
    free(p);
    cn_job_view_release(&v);
    return rc;
}

static enum MHD_Result reply_json(struct cn_request *q)
{
    const struct cn_call *c = q->call;
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;
    enum MHD_Result rc;
    int written;

    cn_buf_init(&b, CN_RESULT_MAX);
    written = c->durable ? write_kept(q, &b, &err) : cn_result_job(c->job, &b, &err);
    if (written < 0)
        rc = cn_reply_err(q, &err);
    else
        rc = cn_reply_take(q, 200, "application/json", &b);
    cn_buf_release(&b);
    return rc;
}

enum MHD_Result cn_reply_end(struct cn_request *q)
{
    const struct cn_call *c = q->call;

    cn_reply_field(q, "X-Job-Id", "%s", c->id);
    if (c->state != CN_JOB_SUCCEEDED)
        return cn_reply_fault(q, cn_fault_of_end(c->state, &c->err), c->err.msg, c->err.where);
    if (c->in_parts)
        return cn_reply_parts(q);
    return c->as_json ? reply_json(q) : reply_picture(q);
}

/* ---- parts ---- */

static int put_part(struct cn_request *q, int k, struct cn_buf *out)
{
    struct cn_call *c = q->call;
    struct cn_err err = CN_ERR_INIT;
    struct picture p;
    int rc = take_picture(q, k, &p, &err);

    if (rc == CN_OK)
        rc = cn_buf_printf(out, &err,
                           "--%s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                           "Controlnetd-Index: %d\r\nControlnetd-Seed: %lu\r\n\r\n",
                           c->id, cn_media_of(p.image.format), p.image.len, k,
                           (unsigned long)p.image.seed);
    if (rc == CN_OK && (rc = cn_buf_add(out, p.image.data, p.image.len, &err)) == CN_OK)
        rc = cn_buf_adds(out, "\r\n", &err);
    drop_picture(&p);
    if (rc < 0)
        c->err = err;
    c->sent[k] = true;
    return rc;
}

/* The status is on its way already: a part has to say what went wrong. */
static void put_problem(struct cn_request *q, struct cn_buf *out)
{
    const struct cn_call *c = q->call;
    const struct cn_fault_info *f = cn_fault_info(cn_fault_of_end(c->state, &c->err));
    struct cn_problem p = {.type = f->type,
                           .title = f->title,
                           .status = f->status,
                           .detail = c->err.msg,
                           .pointer = c->err.where,
                           .request_id = q->id};

    cn_buf_printf(out, NULL, "--%s\r\nContent-Type: application/problem+json\r\n\r\n", c->id);
    cn_problem_write(&p, out, NULL);
    cn_buf_adds(out, "\r\n", NULL);
}

/* A picture that is known to be there and was not sent; -1: none. */
static int next_part(struct cn_call *c)
{
    struct cn_job_event e;

    if (c->first_image >= 0) {
        int k = c->first_image;

        c->first_image = -1;
        return k;
    }
    while (!c->ended && cn_watch_next(c->watch, &e)) {
        if (e.kind == CN_EVENT_IMAGE && e.index < c->n && !c->sent[e.index])
            return e.index;
        if (e.kind != CN_EVENT_DONE)
            continue;
        c->ended = true;
        c->state = e.state;
        c->err = e.err;
    }
    for (int k = 0; c->ended && c->state == CN_JOB_SUCCEEDED && k < c->n; k++)
        if (!c->sent[k])
            return k;
    return -1;
}

static int pull_part(void *arg, struct cn_buf *own, struct cn_text **ret)
{
    struct cn_request *q = arg;
    struct cn_call *c = q->call;
    int k;

    (void)ret;
    if (c->closed)
        return -1;
    if (c->cut && !c->ended) {
        c->ended = true;
        c->state = CN_JOB_FAILED;
        cn_fail(&c->err, CN_EBUSY, "the server is shutting down, and the job is kept");
    }
    if ((k = next_part(c)) >= 0) {
        if (put_part(q, k, own) == CN_OK)
            return 1;
        cn_buf_clear(own);
        c->ended = true;
        c->state = CN_JOB_FAILED;
    }
    if (!c->ended)
        return 0;
    if (c->state != CN_JOB_SUCCEEDED)
        put_problem(q, own);
    cn_buf_printf(own, NULL, "--%s--\r\n", c->id);
    c->closed = true;
    return 1;
}

enum MHD_Result cn_reply_parts(struct cn_request *q)
{
    static const struct cn_stream_source source = {.pull = pull_part, .beat = NULL, .bye = NULL};
    struct cn_call *c = q->call;
    char type[80];

    if (cn_streams_full(q->e->s))
        return cn_reply_fault(q, CN_FAULT_OVERLOADED, "there are too many streams", NULL);
    c->sent = cn_xcalloc((size_t)c->n, sizeof(*c->sent));
    snprintf(type, sizeof(type), "multipart/mixed; boundary=%s", c->id);
    if (!c->ended)
        cn_reply_field(q, "X-Job-Id", "%s", c->id);
    cn_reply_field(q, "Cache-Control", "no-store");
    return cn_stream_reply(q, 200, type, &source, q);
}
