/* Base64 (RFC 4648 section 4), strict. Any thread.
 *
 *     cn_base64_encode(&buf, data, len, err);
 *     if (cn_base64_decode(text, strlen(text), max, &blob, &blob_len, err) < 0) ...
 */
#ifndef CN_BASE_BASE64_H
#define CN_BASE_BASE64_H

#include "base/base.h"
#include "base/buf.h"

/* Appends the text, padded. */
int cn_base64_encode(struct cn_buf *out, const void *data, size_t len, struct cn_err *err);

/* *ret is malloc'd (free()). The padding must be there; line breaks, other characters and set
 * bits behind the last byte are CN_EFORMAT; more than max bytes are CN_ETOOBIG. */
int cn_base64_decode(const char *text, size_t len, size_t max, unsigned char **ret,
                     size_t *ret_len, struct cn_err *err);

/* The same, as people's programs write it: spaces and line breaks anywhere, the alphabet for URLs
 * ("-" and "_"), padding or none. */
int cn_base64_decode_loose(const char *text, size_t len, size_t max, unsigned char **ret,
                           size_t *ret_len, struct cn_err *err);

#endif
