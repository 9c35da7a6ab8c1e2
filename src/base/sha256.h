/* SHA-256 (FIPS 180-4): digests of keys, of request bodies, of results. Any thread.
 *
 *     struct cn_sha256 h;
 *     cn_sha256_init(&h);
 *     cn_sha256_add(&h, data, len);
 *     cn_sha256_end(&h, digest);
 */
#ifndef CN_BASE_SHA256_H
#define CN_BASE_SHA256_H

#include "base/base.h"

enum { CN_SHA256_BYTES = 32 };

struct cn_sha256 {
    uint32_t state[8];
    uint64_t total; /* bytes so far */
    unsigned char block[64];
};

void cn_sha256_init(struct cn_sha256 *h);
void cn_sha256_add(struct cn_sha256 *h, const void *data, size_t len);
void cn_sha256_end(struct cn_sha256 *h, unsigned char digest[CN_SHA256_BYTES]);

/* All three in one. */
void cn_sha256(const void *data, size_t len, unsigned char digest[CN_SHA256_BYTES]);

#endif
