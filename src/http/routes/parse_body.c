/* From a body to a job description, off the loop when the body is large.
 *
 * DESIGN. Scanning and decoding 40 MiB of base64 takes a tenth of a second, in which nobody else
 * would be answered. So a large body moves into a cn_parse, and a thread of libuv's pool reads it
 * while the connection is suspended. The thread looks at nothing but the cn_parse: the limits are
 * copied into it, because a reload may change them meanwhile. It holds a reference of its request;
 * when the client hangs up it goes as soon as its thread is done.
 */
#include "base/base.h"
#include "http/routes/parse_body.h"
#include "base/mem.h"
#include "base/spec_digest.h"
#include "http/core/core.h"
#include "http/core/multipart.h"
#include "http/routes/submit_priv.h"
#include "inputs/inputs.h"

#include <stdlib.h>
#include <string.h>

enum { LARGE = 256 * 1024 };

struct cn_parse {
    uv_work_t work;
    struct cn_request *q;
    struct cn_buf body; /* counted in core's inflight */
    struct cn_limits limits;
    size_t max_image, max_body;
    struct cn_inputs *inputs;
    char tenant[CN_IDENTITY_NAME]; /* whose inputs the request may name */
    char *type;
    bool done, dropped, with_digest;
    int rc;
    struct cn_spec spec;         /* when rc is CN_OK */
    struct cn_api_beside beside; /* and then */
    const struct cn_ask *ask;
    unsigned char digest[CN_SHA256_BYTES]; /* of both, if wanted */
    enum cn_problem_kind kind;
    struct cn_err err;
    struct cn_api_part image[CN_MULTIPART_MAX_PARTS];
};

/* Splits the parts into the JSON ("params") and the images. */
static int sort_parts(const struct cn_part *part, int n, struct cn_api_input *in,
                      struct cn_api_part *image, struct cn_err *err)
{
    for (int i = 0; i < n; i++) {
        if (strpbrk(part[i].name, "[]") != NULL)
            return cn_fail(err, CN_EFORMAT, "a part's name has brackets");
        for (int k = 0; k < i; k++)
            if (strcmp(part[i].name, part[k].name) == 0)
                return cn_fail(err, CN_EFORMAT, "two parts are called \"%s\"", part[i].name);
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

static void take_parts(const struct cn_part *part, int n, struct cn_api_input *in,
                       struct cn_api_part *image)
{
    for (int i = 0; i < n; i++)
        image[in->n_parts++] = (struct cn_api_part){part[i].name, part[i].data, part[i].len, false};
    in->part = image;
}

static int read_multipart(struct cn_parse *r, struct cn_api_input *in)
{
    struct cn_part part[CN_MULTIPART_MAX_PARTS];
    char boundary[CN_MULTIPART_BOUNDARY];
    int n, rc = cn_multipart_boundary(r->type, boundary, &r->err);

    r->kind = CN_PROBLEM_MULTIPART;
    if (rc < 0)
        return rc;
    n = cn_multipart_parse(boundary, r->body.data, r->body.len, part, CN_MULTIPART_MAX_PARTS,
                           &r->err);
    if (n < 0)
        return n;
    if (r->ask->has_form)
        take_parts(part, n, in, r->image);
    else if ((rc = sort_parts(part, n, in, r->image, &r->err)) < 0)
        return rc;
    r->kind = CN_PROBLEM_KIND_COUNT;
    return r->ask->read(in, &r->spec, &r->err);
}

static int fetch_input(void *arg, const char *id, struct cn_buf *ret, struct cn_err *err)
{
    const struct cn_parse *r = arg;

    return cn_inputs_get(r->inputs, r->tenant, id, ret, err);
}

/* Any thread. */
static int read_body(struct cn_parse *r)
{
    struct cn_api_input in = {
        .limits = &r->limits, .max_image = r->max_image, .max_total = r->max_body};

    if (r->inputs != NULL) {
        in.fetch = fetch_input;
        in.arg = r;
    }
    in.beside = &r->beside;
    r->kind = CN_PROBLEM_KIND_COUNT; /* by the error's code */
    if (r->body.len == 0 && !r->ask->is_loose)
        return cn_fail(&r->err, CN_EFORMAT, "the body is empty");
    if (r->body.len == 0) {
        in.json = "{}";
        in.json_len = 2;
        return r->ask->read(&in, &r->spec, &r->err);
    }
    if (!r->ask->is_loose && cn_multipart_is(r->type))
        return read_multipart(r, &in);
    in.json = (const char *)r->body.data;
    in.json_len = r->body.len;
    return r->ask->read(&in, &r->spec, &r->err);
}

static void end(struct cn_parse *r)
{
    cn_request_return_body(r->q, &r->body);
    if (r->rc == CN_OK)
        cn_spec_release(&r->spec);
    cn_api_beside_release(&r->beside);
    cn_request_unref(r->q);
    free(r->type);
    free(r);
}

/* Of the whole request. Without a webhook it is that of the description: keys that were kept before
 * there were any stay good. */
static void make_digest(struct cn_parse *r)
{
    const struct cn_api_webhook *w = &r->beside.webhook;
    struct cn_sha256 h;

    cn_spec_digest(&r->spec, r->digest);
    if (w->url == NULL)
        return;
    cn_sha256_init(&h);
    cn_sha256_add(&h, r->digest, sizeof(r->digest));
    cn_sha256_add(&h, w->url, strlen(w->url) + 1);
    if (w->context != NULL)
        cn_sha256_add(&h, w->context, strlen(w->context));
    cn_sha256_end(&h, r->digest);
}

static void do_work(struct cn_parse *r)
{
    r->rc = read_body(r);
    if (r->rc == CN_OK && r->with_digest)
        make_digest(r);
}

static void on_work(uv_work_t *work)
{
    do_work(work->data);
}

static void on_worked(uv_work_t *work, int status)
{
    struct cn_parse *r = work->data;

    (void)status;
    r->done = true;
    if (r->dropped)
        end(r);
    else
        cn_request_resume(r->q);
}

/* It takes long, or reads files. */
static bool wants_a_thread(const struct cn_parse *r)
{
    return r->body.len >= LARGE || (r->inputs != NULL && r->body.len > 0 &&
                                    memmem(r->body.data, r->body.len, "input:", 6) != NULL);
}

struct cn_parse *cn_parse_start(struct cn_request *q, const struct cn_ask *ask, bool with_digest)
{
    const struct cn_app *app = cn_app_of(q);
    struct cn_parse *r = cn_xcalloc(1, sizeof(*r));
    const char *type;

    r->q = cn_request_ref(q);
    cn_request_take_body(q, &r->body);
    r->limits = app->o.limits;
    r->max_image = app->o.max_image;
    r->inputs = app->o.inputs;
    memcpy(r->tenant, q->who.tenant, sizeof(r->tenant));
    r->max_body = q->core->o.max_body;
    type = cn_request_header(q, "Content-Type");
    r->type = cn_xstrdup(type == NULL ? "" : type);
    r->work.data = r;
    r->with_digest = with_digest;
    r->ask = ask;
    if (!wants_a_thread(r) || uv_queue_work(q->core->o.loop, &r->work, on_work, on_worked) != 0) {
        do_work(r);
        r->done = true;
    }
    return r;
}

bool cn_parse_done(const struct cn_parse *r)
{
    return r->done;
}

int cn_parse_take(struct cn_parse *r, struct cn_spec *ret, struct cn_api_beside *ret_beside,
                  unsigned char ret_digest[CN_SHA256_BYTES], enum cn_problem_kind *ret_kind,
                  struct cn_err *err)
{
    int rc = r->rc;

    CN_ASSERT(r->done);
    *ret_kind = r->kind;
    *err = r->err;
    if (rc == CN_OK) {
        *ret = r->spec;
        *ret_beside = r->beside;
        memset(&r->beside, 0, sizeof(r->beside));
        memcpy(ret_digest, r->digest, sizeof(r->digest));
        r->rc = CN_EINTERNAL; /* it is the caller's now */
    }
    end(r);
    return rc;
}

void cn_parse_drop(struct cn_parse *r)
{
    if (r == NULL)
        return;
    r->dropped = true;
    if (r->done)
        end(r);
}
