/* Text that came from outside, made safe for JSON; UTF-8 checks. Any thread.
 *
 *     cn_escape_json(&buf, "a \"b\"\n", 6, NULL);       -- appends "a \"b\"\n" with the quotes
 */
#ifndef CN_BASE_ESCAPE_H
#define CN_BASE_ESCAPE_H

#include "base/base.h"
#include "base/buf.h"

/* Strict: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool cn_utf8_valid(const char *s, size_t len);

/* Appends a JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD, one each;
 * U+2028 and U+2029 are escaped because line readers split there. */
int cn_escape_json(struct cn_buf *out, const char *s, size_t len, struct cn_err *err);

#endif
