/* Writes problem documents (RFC 9457). Whatever the message was made from, no path of the server's
 * leaves with it: strangers learn nothing of its disks. */
#include "base/base.h"
#include "api/problem.h"
#include "base/escape.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

static void member(struct cn_buf *out, const char *name, const char *value)
{
    cn_buf_printf(out, NULL, ",\"%s\":", name);
    cn_escape_json(out, value, strlen(value), NULL);
}

static void put_detail(struct cn_buf *out, const char *text)
{
    char *copy = cn_xstrdup(text);

    cn_hide_paths(copy);
    member(out, "detail", copy);
    free(copy);
}

int cn_problem_put(const struct cn_problem *p, struct cn_buf *out, struct cn_err *err)
{
    const char *place = p->parameter != NULL ? p->parameter : p->pointer;

    cn_buf_printf(out, NULL, "{\"type\":\"" CN_PROBLEM_BASE "%s\"", p->type);
    member(out, "title", p->title);
    cn_buf_printf(out, NULL, ",\"status\":%d", p->status);
    if (p->detail != NULL && p->detail[0] != '\0')
        put_detail(out, p->detail);
    if (p->request_id != NULL) {
        cn_buf_printf(out, NULL, ",\"instance\":\"urn:request:%s\"", p->request_id);
        member(out, "request_id", p->request_id);
    }
    if (place != NULL && place[0] != '\0') {
        cn_buf_printf(out, NULL,
                      ",\"errors\":[{\"%s\":", p->parameter != NULL ? "parameter" : "pointer");
        cn_escape_json(out, place, strlen(place), NULL);
        put_detail(out, p->detail == NULL ? p->title : p->detail);
        cn_buf_adds(out, "}]", NULL);
    }
    if (p->retry_after_s > 0)
        cn_buf_printf(out, NULL, ",\"retry_after\":%d", p->retry_after_s);
    cn_buf_adds(out, "}", NULL);
    return cn_buf_whole(out, err);
}

int cn_problem_write(const struct cn_problem *p, struct cn_buf *out, struct cn_err *err)
{
    int rc = cn_problem_put(p, out, err);

    return rc < 0 ? rc : cn_buf_adds(out, "\n", err);
}
