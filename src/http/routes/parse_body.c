/* From a body to a job description, off the loop when the body is large.
 *
 * DESIGN. Scanning and decoding 40 MiB of base64 takes a tenth of a second, in which nobody else
 * would be answered. So a large body moves into a cn_reading, the connection is suspended, and a
 * thread of libuv's pool reads it; the loop takes over again in on_read. The reading holds a
 * reference of its request. A client that hangs up meanwhile ends the request at once; the reading
 * goes when its thread is done.
 */
#include "base/base.h"
#include "http/http_priv.h"
#include "api/request.h"
#include "base/mem.h"
#include "base/spec_digest.h"
#include "http/core/multipart.h"

#include <stdlib.h>
#include <string.h>

enum { LARGE = 256 * 1024 };

struct cn_reading {
    uv_work_t work;
    struct cn_request *q;
    struct cn_buf body; /* counted in the server's inflight */
    char *type;
    bool done, with_digest;
    int rc;
    struct cn_spec spec;                   /* when rc is CN_OK */
    unsigned char digest[CN_SHA256_BYTES]; /* of spec, if wanted */
    enum cn_fault fault;
    struct cn_err err;
    struct cn_api_part image[CN_MULTIPART_MAX_PARTS];
};

/* Splits the parts into the JSON ("params") and the images. */
static int sort_parts(const struct cn_part *part, int n, struct cn_api_input *in,
                      struct cn_api_part *image, struct cn_err *err)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(part[i].name, "params") == 0) {
            in->json = (const char *)part[i].data;
            in->json_len = part[i].len;
            continue;
        }
        image[in->n_parts++] = (struct cn_api_part){part[i].name, part[i].data, part[i].len, false};
    }
    if (in->json == NULL)
        return cn_fail(err, CN_EFORMAT, "there is no part \"params\"");
    in->part = image;
    return CN_OK;
}

static int read_multipart(struct cn_reading *r, struct cn_api_input *in)
{
    struct cn_part part[CN_MULTIPART_MAX_PARTS];
    char boundary[CN_MULTIPART_BOUNDARY];
    int n, rc = cn_multipart_boundary(r->type, boundary, &r->err);

    r->fault = CN_FAULT_MULTIPART;
    if (rc < 0)
        return rc;
    n = cn_multipart_parse(boundary, r->body.data, r->body.len, part, CN_MULTIPART_MAX_PARTS,
                           &r->err);
    if (n < 0)
        return n;
    if ((rc = sort_parts(part, n, in, r->image, &r->err)) < 0)
        return rc;
    r->fault = CN_FAULT_COUNT;
    return cn_api_read_images(in, &r->spec, &r->err);
}

/* Any thread: looks at nothing but r and options that do not change. */
static int read_body(struct cn_reading *r)
{
    const struct cn_server_options *o = &r->q->e->s->o;
    struct cn_api_input in = {
        .limits = &o->limits, .max_image = o->max_image, .max_total = o->max_body};

    r->fault = CN_FAULT_COUNT; /* by the error's code */
    if (r->body.len == 0)
        return cn_fail(&r->err, CN_EFORMAT, "the body is empty");
    if (cn_multipart_is(r->type))
        return read_multipart(r, &in);
    in.json = (const char *)r->body.data;
    in.json_len = r->body.len;
    return cn_api_read_images(&in, &r->spec, &r->err);
}

/* Loop thread. */
static void drop(struct cn_reading *r)
{
    struct cn_request *q = r->q;

    q->e->s->inflight -= r->body.len;
    cn_buf_release(&r->body);
    if (r->rc == CN_OK)
        cn_spec_release(&r->spec);
    free(r->type);
    free(r);
    q->reading = NULL;
    cn_request_unref(q);
}

static void do_work(struct cn_reading *r)
{
    r->rc = read_body(r);
    if (r->rc == CN_OK && r->with_digest)
        cn_spec_digest(&r->spec, r->digest);
}

static void on_work(uv_work_t *work)
{
    do_work(work->data);
}

static void on_read(uv_work_t *work, int status)
{
    struct cn_reading *r = work->data;

    (void)status;
    r->done = true;
    if (r->q->over)
        drop(r);
    else
        cn_request_resume(r->q);
}

bool cn_reading_start(struct cn_request *q, bool with_digest, cn_next_fn next)
{
    struct cn_reading *r = cn_xcalloc(1, sizeof(*r));

    r->q = cn_request_ref(q);
    r->body = q->body; /* with its count in inflight */
    cn_buf_init(&q->body, 0);
    r->type = cn_xstrdup(cn_request_header(q, "Content-Type"));
    r->work.data = r;
    r->with_digest = with_digest;
    q->reading = r;
    if (r->body.len >= LARGE && uv_queue_work(q->e->s->o.loop, &r->work, on_work, on_read) == 0) {
        cn_request_suspend(q, next, true);
        return true;
    }
    do_work(r);
    r->done = true;
    return false;
}

int cn_reading_take(struct cn_request *q, struct cn_spec *ret,
                    unsigned char ret_digest[CN_SHA256_BYTES], enum cn_fault *ret_fault,
                    struct cn_err *err)
{
    struct cn_reading *r = q->reading;
    int rc = r->rc;

    CN_ASSERT(r->done);
    *ret_fault = r->fault;
    *err = r->err;
    if (rc == CN_OK) {
        *ret = r->spec;
        memcpy(ret_digest, r->digest, sizeof(r->digest));
        r->rc = CN_EINTERNAL; /* it is the caller's now */
    }
    drop(r);
    return rc;
}

void cn_reading_abandon(struct cn_request *q)
{
    if (q->reading != NULL && q->reading->done)
        drop(q->reading);
}
