/* What OpenAI's clients are answered: pictures, events of a stream, errors. */
#include "base/base.h"
#include "api/openai.h"
#include "api/json_priv.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* Nothing is counted: programs read it all the same. */
#define USAGE                                                                                      \
    "\"usage\":{\"total_tokens\":0,\"input_tokens\":0,\"output_tokens\":0,"                        \
    "\"input_tokens_details\":{\"text_tokens\":0,\"image_tokens\":0}}"

static int64_t now_s(void)
{
    return cn_wall_us() / 1000000;
}

/* "background", "output_format", "quality", "size", as they are told of every picture. */
static int put_facts(const struct cn_spec *s, struct cn_buf *out, struct cn_err *err)
{
    int w, h;

    cn_spec_final_size(s, s->width, s->height, &w, &h);
    return cn_buf_printf(out, err,
                         "\"background\":\"opaque\",\"output_format\":\"%s\",\"quality\":\"high\","
                         "\"size\":\"%dx%d\"," USAGE,
                         cn_enum_format.name[s->format], w, h);
}

static int put_begin(const struct cn_result *r, struct cn_buf *out, struct cn_err *err)
{
    (void)r;
    return cn_buf_printf(out, err, "{\"created\":%lld,\"data\":[", (long long)now_s());
}

static int put_image(const struct cn_result *r, const struct cn_image_meta *m, int nth, int index,
                     struct cn_buf *out, struct cn_err *err)
{
    const struct cn_api_beside *b = r->beside;
    int rc =
        cn_buf_printf(out, err, "%s{\"seed\":%lu", nth == 0 ? "" : ",", (unsigned long)m->seed);

    if (rc == CN_OK && b->as_url)
        rc = cn_buf_printf(out, err, ",\"url\":\"%s/v1/jobs/%s/images/%d?ticket=%s\"",
                           b->link_server, r->id, index, b->link_ticket);
    if (rc == CN_OK && b->as_base64)
        rc = cn_buf_adds(out, ",\"b64_json\":\"", err);
    return rc;
}

static int put_image_end(const struct cn_result *r, struct cn_buf *out, struct cn_err *err)
{
    return cn_buf_adds(out, r->beside->as_base64 ? "\"}" : "}", err);
}

static int put_end(const struct cn_result *r, struct cn_buf *out, struct cn_err *err)
{
    struct cn_warnings all = {0};
    int rc = cn_buf_adds(out, "],", err);

    cn_warnings_add_all(&all, &r->beside->warnings);
    if (r->warnings != NULL)
        cn_warnings_add_all(&all, r->warnings);
    if (rc == CN_OK)
        rc = put_facts(r->spec, out, err);
    if (rc == CN_OK)
        rc = cn_buf_adds(out, ",\"warnings\":", err);
    if (rc == CN_OK)
        rc = cn_json_put_take(out, cn_json_warnings(&all), err);
    cn_warnings_release(&all);
    return rc == CN_OK ? cn_buf_adds(out, "}\n", err) : rc;
}

const struct cn_result_form cn_result_openai = {
    .begin = put_begin, .image = put_image, .image_end = put_image_end, .end = put_end};

/* ---- streams ---- */

static const char *type_of(const struct cn_openai_event *e)
{
    if (e->partial >= 0)
        return e->is_edit ? "image_edit.partial_image" : "image_generation.partial_image";
    return e->is_edit ? "image_edit.completed" : "image_generation.completed";
}

int cn_openai_event_begin(const struct cn_openai_event *e, struct cn_buf *out, struct cn_err *err)
{
    return cn_buf_printf(out, err, "event: %s\ndata: {\"type\":\"%s\",\"b64_json\":\"", type_of(e),
                         type_of(e));
}

int cn_openai_event_end(const struct cn_openai_event *e, struct cn_buf *out, struct cn_err *err)
{
    int rc = cn_buf_printf(out, err, "\",\"created_at\":%lld,", (long long)now_s());

    if (rc == CN_OK && e->partial >= 0)
        rc = cn_buf_printf(out, err, "\"partial_image_index\":%d,", e->partial);
    if (rc == CN_OK && e->partial < 0)
        rc = cn_buf_printf(out, err, "\"seed\":%lu,", (unsigned long)e->seed);
    if (rc == CN_OK)
        rc = put_facts(e->spec, out, err);
    return rc == CN_OK ? cn_buf_adds(out, "}\n\n", err) : rc;
}

/* ---- errors ---- */

static const char *error_type(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 429:
        return "rate_limit_error";
    default:
        return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

/* Theirs, where programs look at it; else our own type. */
static const char *error_code(const struct cn_problem *p)
{
    if (p->status == 401)
        return "invalid_api_key";
    if (p->status == 429)
        return "rate_limit_exceeded";
    if (p->pointer != NULL && strcmp(p->pointer, "/model") == 0)
        return "model_not_found";
    return p->type;
}

/* From a pointer into the description to the member it was read from. */
static void put_param(const char *pointer, struct cn_buf *out)
{
    static const char *const names[][2] = {
        {"init_image", "image"}, {"denoise", "strength"},           {"width", "size"},
        {"height", "size"},      {"quality", "output_compression"}, {"format", "output_format"}};
    const char *name = pointer + 1;

    for (size_t i = 0; i < CN_LEN(names); i++)
        if (strcmp(names[i][0], name) == 0)
            name = names[i][1];
    cn_escape_json(out, name, strlen(name), NULL);
}

static void put_error(const struct cn_problem *p, struct cn_buf *out)
{
    char *text = cn_xstrdup(p->detail == NULL || p->detail[0] == '\0' ? p->title : p->detail);

    cn_hide_paths(text);
    cn_buf_adds(out, "{\"message\":", NULL);
    cn_escape_json(out, text, strlen(text), NULL);
    free(text);
    cn_buf_printf(out, NULL, ",\"type\":\"%s\",\"param\":", error_type(p->status));
    if (p->pointer != NULL && p->pointer[0] == '/')
        put_param(p->pointer, out);
    else
        cn_buf_adds(out, "null", NULL);
    cn_buf_printf(out, NULL, ",\"code\":\"%s\"}", error_code(p));
}

void cn_openai_put_problem(const struct cn_problem *p, struct cn_buf *out)
{
    cn_buf_adds(out, "{\"error\":", NULL);
    put_error(p, out);
    cn_buf_adds(out, "}\n", NULL);
}

int cn_openai_event_error(const struct cn_problem *p, struct cn_buf *out, struct cn_err *err)
{
    cn_buf_adds(out, "event: error\ndata: {\"type\":\"error\",\"error\":", NULL);
    put_error(p, out);
    return cn_buf_adds(out, "}\n\n", err);
}
