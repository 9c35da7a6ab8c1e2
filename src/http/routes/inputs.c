/* POST /v1/inputs, GET and DELETE /v1/inputs/{id}: pictures that are uploaded once and named in
 * many requests, as "input:ID".
 *
 * Files are written and read in libuv's pool; the connection is suspended meanwhile. A task holds a
 * reference of its request: when the client hangs up, it goes as soon as its thread is done. */
#include "base/base.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "http/core/core.h"
#include "http/core/multipart.h"
#include "http/routes/routes_priv.h"
#include "inputs/inputs.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum operation { PUT, STAT, REMOVE };

struct task {
    uv_work_t work;
    struct cn_request *q;
    struct cn_inputs *inputs;
    enum operation operation;
    char tenant[CN_IDENTITY_NAME];
    char id[CN_PATH_ARG];
    struct cn_buf body;                   /* PUT: counted in core's inflight */
    char boundary[CN_MULTIPART_BOUNDARY]; /* PUT: of multipart, else "" */
    size_t max_image;
    bool done, dropped;
    int rc;
    struct cn_input input;
    const char *media; /* PUT: what the bytes are */
    bool is_no_picture, is_no_multipart;
    struct cn_err err;
};

struct input_ctx {
    struct task *task;
    bool closing;
};

/* ---- in the pool ---- */

/* By the first bytes: what the decoders of a worker take. Whether it is whole is seen there. */
static const char *media_of_bytes(const unsigned char *p, size_t n)
{
    static const unsigned char png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

    if (n >= sizeof(png) && memcmp(p, png, sizeof(png)) == 0)
        return "image/png";
    if (n >= 3 && p[0] == 0xff && p[1] == 0xd8 && p[2] == 0xff)
        return "image/jpeg";
    if (n >= 12 && memcmp(p, "RIFF", 4) == 0 && memcmp(p + 8, "WEBP", 4) == 0)
        return "image/webp";
    return NULL;
}

/* The picture in the body: all of it, or the one part that there has to be. */
static int find_picture(struct task *t, const unsigned char **ret, size_t *ret_len)
{
    struct cn_part part[CN_MULTIPART_MAX_PARTS];
    int n;

    *ret = t->body.data;
    *ret_len = t->body.len;
    if (t->boundary[0] == '\0')
        return CN_OK;
    t->is_no_multipart = true;
    n = cn_multipart_parse(t->boundary, t->body.data, t->body.len, part, CN_MULTIPART_MAX_PARTS,
                           &t->err);
    if (n < 0)
        return n;
    if (n != 1)
        return cn_fail(&t->err, CN_EFORMAT, "expected one part, the picture: there are %d", n);
    t->is_no_multipart = false;
    *ret = part[0].data;
    *ret_len = part[0].len;
    return CN_OK;
}

static int put(struct task *t)
{
    const unsigned char *data;
    size_t len;
    int rc = find_picture(t, &data, &len);

    if (rc < 0)
        return rc;
    t->media = media_of_bytes(data, len);
    t->is_no_picture = t->media == NULL;
    if (t->is_no_picture)
        return cn_fail(&t->err, CN_EFORMAT, "the body is no PNG, JPEG or WebP file");
    if (len > t->max_image)
        return cn_fail(&t->err, CN_EFORMAT, "a picture may have at most %zu MiB",
                       t->max_image >> 20);
    return cn_inputs_put(t->inputs, t->tenant, data, len, &t->input, &t->err);
}

static void on_work(uv_work_t *work)
{
    struct task *t = work->data;

    if (t->operation == PUT)
        t->rc = put(t);
    else if (t->operation == STAT)
        t->rc = cn_inputs_stat(t->inputs, t->tenant, t->id, &t->input, &t->err);
    else
        t->rc = cn_inputs_remove(t->inputs, t->tenant, t->id, &t->err);
}

/* ---- on the loop ---- */

static void task_end(struct task *t)
{
    cn_request_return_body(t->q, &t->body);
    cn_request_unref(t->q);
    free(t);
}

static void on_worked(uv_work_t *work, int status)
{
    struct task *t = work->data;

    (void)status;
    t->done = true;
    if (t->dropped)
        task_end(t);
    else
        cn_request_resume(t->q);
}

/* The tenant's own: an administrator uses its own inputs like everybody. */
static struct task *task_start(struct cn_request *q, enum operation operation)
{
    struct task *t = cn_xcalloc(1, sizeof(*t));

    t->q = cn_request_ref(q);
    t->inputs = cn_app_of(q)->o.inputs;
    t->operation = operation;
    memcpy(t->tenant, q->who.tenant, sizeof(t->tenant));
    memcpy(t->id, q->arg[0], sizeof(t->id));
    t->max_image = cn_app_of(q)->o.max_image;
    t->work.data = t;
    return t;
}

static void put_input(struct cn_request *q, int status, const struct task *t)
{
    struct cn_buf b;
    char expires[CN_TIME_TEXT];
    struct cn_err err = CN_ERR_INIT;
    int rc;

    cn_buf_init(&b, 1024);
    rc = cn_buf_printf(&b, &err, "{\"id\":\"%s\",\"reference\":\"input:%s\",\"bytes\":%llu,",
                       t->input.id, t->input.id, (unsigned long long)t->input.bytes);
    if (rc == CN_OK && t->media != NULL)
        rc = cn_buf_printf(&b, &err, "\"media_type\":\"%s\",", t->media);
    cn_time_text(t->input.expires_s * 1000000, expires);
    if (rc == CN_OK)
        rc = cn_buf_printf(&b, &err, "\"expires_at\":\"%s\"}\n", expires);
    if (rc < 0)
        cn_answer_err(q, &err);
    else
        cn_answer_buf(q, status, "application/json", &b);
    cn_buf_release(&b);
}

static void refuse(struct cn_request *q, const struct task *t)
{
    if (t->is_no_multipart)
        cn_answer_problem(q, CN_PROBLEM_MULTIPART, t->err.msg, NULL);
    else if (t->is_no_picture)
        cn_answer_problem(q, CN_PROBLEM_MEDIA_TYPE, t->err.msg, NULL);
    else if (t->operation == PUT && t->rc == CN_EFORMAT)
        cn_answer_problem(q, CN_PROBLEM_TOO_LARGE, t->err.msg, NULL);
    else if (t->rc == CN_ETOOBIG)
        cn_answer_later(q, CN_PROBLEM_QUOTA, t->err.msg, CN_RETRY_AFTER_MAX_S);
    else if (t->rc == CN_EINVAL) /* no id has that form, so there is none */
        cn_answer_problem(q, CN_PROBLEM_NOT_FOUND, t->err.msg, NULL);
    else
        cn_answer_err(q, &t->err);
}

static void answer(struct cn_request *q, const struct task *t)
{
    if (t->rc < 0)
        refuse(q, t);
    else if (t->operation == REMOVE)
        cn_answer_empty(q, 204);
    else if (t->operation == STAT)
        put_input(q, 200, t);
    else {
        cn_answer_field(q, "Location", "/v1/inputs/%s", t->input.id);
        put_input(q, t->input.is_new ? 201 : 200, t);
    }
}

static void resume(struct cn_request *q)
{
    struct input_ctx *c = q->ctx;

    if (c->closing)
        cn_answer_problem(q, CN_PROBLEM_DRAINING, "the server is shutting down", NULL);
    else if (c->task->done)
        answer(q, c->task);
    else
        cn_request_suspend(q, true);
}

static void run(struct cn_request *q, struct task *t)
{
    struct input_ctx *c = q->ctx;

    c->task = t;
    if (uv_queue_work(q->core->o.loop, &t->work, on_work, on_worked) != 0) {
        on_work(&t->work);
        t->done = true;
    }
    resume(q);
}

static bool there_are_inputs(struct cn_request *q)
{
    if (cn_app_of(q)->o.inputs != NULL)
        return true;
    cn_answer_problem(q, CN_PROBLEM_NO_STORE, "this server keeps no inputs", NULL);
    return false;
}

static bool names_a_picture(const char *type)
{
    size_t n = strcspn(type, "; \t");

    return strncasecmp(type, "image/", 6) == 0 ||
           (n == 24 && strncasecmp(type, "application/octet-stream", n) == 0);
}

static void admit_upload(struct cn_request *q)
{
    const char *type = cn_request_header(q, "Content-Type");
    const char *coding = cn_request_header(q, "Content-Encoding");

    if (!there_are_inputs(q))
        return;
    if (type == NULL || (!names_a_picture(type) && !cn_multipart_is(type)))
        cn_answer_problem(q, CN_PROBLEM_MEDIA_TYPE,
                          "expected a picture (image/png, image/jpeg, image/webp) or "
                          "multipart/form-data with one",
                          NULL);
    else if (coding != NULL && strcasecmp(coding, "identity") != 0)
        cn_answer_problem(q, CN_PROBLEM_MEDIA_TYPE, "encoded bodies are not supported", NULL);
}

static void upload(struct cn_request *q)
{
    const char *type = cn_request_header(q, "Content-Type");
    char boundary[CN_MULTIPART_BOUNDARY] = "";
    struct cn_err err = CN_ERR_INIT;
    struct task *t;

    if (cn_multipart_is(type) && cn_multipart_boundary(type, boundary, &err) < 0) {
        cn_answer_problem(q, CN_PROBLEM_MULTIPART, err.msg, NULL);
        return;
    }
    t = task_start(q, PUT);
    memcpy(t->boundary, boundary, sizeof(boundary));
    cn_request_take_body(q, &t->body);
    run(q, t);
}

static void show(struct cn_request *q)
{
    if (there_are_inputs(q))
        run(q, task_start(q, STAT));
}

static void remove_input(struct cn_request *q)
{
    if (there_are_inputs(q))
        run(q, task_start(q, REMOVE));
}

static void on_shutdown(struct cn_request *q)
{
    ((struct input_ctx *)q->ctx)->closing = true;
    cn_request_resume(q);
}

static void dispose(struct cn_request *q)
{
    struct task *t = ((struct input_ctx *)q->ctx)->task;

    if (t == NULL)
        return;
    t->dropped = true;
    if (t->done)
        task_end(t);
}

const struct cn_handler cn_post_input = {.ctx_size = sizeof(struct input_ctx),
                                         .admit = admit_upload,
                                         .start = upload,
                                         .resume = resume,
                                         .shutdown = on_shutdown,
                                         .dispose = dispose};
const struct cn_handler cn_show_input = {.ctx_size = sizeof(struct input_ctx),
                                         .start = show,
                                         .resume = resume,
                                         .shutdown = on_shutdown,
                                         .dispose = dispose};
const struct cn_handler cn_delete_input = {.ctx_size = sizeof(struct input_ctx),
                                           .start = remove_input,
                                           .resume = resume,
                                           .shutdown = on_shutdown,
                                           .dispose = dispose};
