/* What clients of OpenAI's images API are answered. Any thread. */
#ifndef CN_API_OPENAI_H
#define CN_API_OPENAI_H

#include "base/base.h"
#include "api/result.h"

/* {created, data: [{b64_json, url, seed}], ...}; the links come from beside. */
extern const struct cn_result_form cn_result_openai;

/* One event of a stream, without the base64 between the two. partial: the number of the preview;
 * -1: the finished picture of that seed. */
struct cn_openai_event {
    bool is_edit;
    int partial;
    const struct cn_spec *spec;
    uint64_t seed;
};

int cn_openai_event_begin(const struct cn_openai_event *e, struct cn_buf *out, struct cn_err *err);
int cn_openai_event_end(const struct cn_openai_event *e, struct cn_buf *out, struct cn_err *err);
int cn_openai_event_error(const struct cn_problem *p, struct cn_buf *out, struct cn_err *err);

/* {"error": {message, type, param, code}} */
void cn_openai_put_problem(const struct cn_problem *p, struct cn_buf *out);

#endif
