/* Header fields that are more than a word. Any thread; nothing here allocates.
 *
 *     struct cn_prefer p = CN_PREFER_INIT;
 *     cn_prefer_add(&p, "respond-async, wait=10");        -- once for each field line
 *     if (cn_idempotency_key(value, key, &err) < 0) ...
 *     switch (cn_range_read(value, size, &first, &len)) ...
 */
#ifndef CN_HTTP_CORE_FIELDS_H
#define CN_HTTP_CORE_FIELDS_H

#include "base/base.h"

/* Prefer (RFC 7240): what a server does not know or cannot read is ignored, and the first of two
 * preferences of one name counts. */
struct cn_prefer {
    bool respond_async;
    int wait_s; /* -1: not said */
};

#define CN_PREFER_INIT                                                                             \
    {                                                                                              \
        false, -1                                                                                  \
    }

void cn_prefer_add(struct cn_prefer *p, const char *value);

enum { CN_IDEMPOTENCY_KEY = 256 }; /* with the NUL */

/* Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a string as structured fields have
 * it ("8e03978e"), or the bare word that most clients send. CN_EINVAL with a message otherwise. */
int cn_idempotency_key(const char *value, char key[CN_IDEMPOTENCY_KEY], struct cn_err *err);

/* Range (RFC 9110 section 14): one range of bytes is served, everything else is ignored. */
enum cn_range { CN_RANGE_WHOLE, CN_RANGE_PART, CN_RANGE_OUTSIDE };

enum cn_range cn_range_read(const char *value, uint64_t size, uint64_t *ret_first,
                            uint64_t *ret_len);

/* Is etag (with its quotes) in the list of If-None-Match? weak: W/ before it does not matter. */
bool cn_etag_listed(const char *value, const char *etag, bool weak);

#endif
