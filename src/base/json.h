/* Texts in JSON, read whole or not at all.
 *
 * jansson loses characters of a string without a word when there is no memory for them, so that a
 * prompt, or a token of a vocabulary, would come out as another one. Here each of its allocations
 * that fails is noticed. Any thread.
 *
 *     root = cn_json_load(text, len, JSON_REJECT_DUPLICATES, &why);
 *     if (root == NULL) return cn_json_fail(&why, path, err);
 */
#ifndef CN_BASE_JSON_H
#define CN_BASE_JSON_H

#include "base/base.h"

#include <jansson.h>

/* As json_loadb; NULL with json_error_out_of_memory also where jansson went on without. why may be
 * NULL. */
json_t *cn_json_load(const char *text, size_t len, size_t flags, json_error_t *why) CN_MUST_USE;

/* Of a file whose text could not be read: CN_ENOMEM, or CN_EFORMAT with the line. */
int cn_json_fail(const json_error_t *why, const char *path, struct cn_err *err);

#endif
