/* Shared by the files of src/api that write JSON with jansson. Any thread.
 *
 * What takes a value takes it also on failure; when there is no memory the whole is dropped and
 * NULL is left, which cn_json_put_take() reports: an answer is whole or it is an error.
 */
#ifndef CN_API_JSON_PRIV_H
#define CN_API_JSON_PRIV_H

#include "base/base.h"
#include "base/buf.h"
#include "base/spec.h"
#include "base/warnings.h"

#include <jansson.h>

/* A number with three digits behind the point: the others are noise. */
json_t *cn_json_rounded(double v);

void cn_json_set(json_t **object, const char *name, json_t *v);
void cn_json_add(json_t **list, json_t *v);
int cn_json_put_take(struct cn_buf *out, json_t *v, struct cn_err *err);

/* A list of {code, pointer, detail}. */
json_t *cn_json_warnings(const struct cn_warnings *w);

/* The parameters in force. Images are not repeated: only how many bytes they had. */
json_t *cn_json_spec(const struct cn_spec *s);

#endif
