/* The digest of a job description: two requests that ask for the same have the same one. Any
 * thread. */
#ifndef CN_BASE_SPEC_DIGEST_H
#define CN_BASE_SPEC_DIGEST_H

#include "base/base.h"
#include "base/sha256.h"
#include "base/spec.h"

/* Over every field as the request gave it, images included; how it was written (spaces, the order
 * of members, multipart or base64) does not matter. */
void cn_spec_digest(const struct cn_spec *s, unsigned char digest[CN_SHA256_BYTES]);

#endif
