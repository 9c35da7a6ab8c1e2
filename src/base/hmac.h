/* HMAC with SHA-256 (RFC 2104, RFC 4231): signatures of tickets, links and webhooks. Any thread.
 *
 *     unsigned char mac[CN_SHA256_BYTES];
 *     cn_hmac_sha256(key, key_len, text, len, mac);
 *     if (!cn_hmac_equal(mac, theirs)) ...
 *
 * A message that comes in parts: cn_hmac_init, cn_hmac_add, cn_hmac_end.
 */
#ifndef CN_BASE_HMAC_H
#define CN_BASE_HMAC_H

#include "base/base.h"
#include "base/sha256.h"

struct cn_hmac {
    struct cn_sha256 inner;
    unsigned char outer_key[64];
};

void cn_hmac_init(struct cn_hmac *h, const void *key, size_t key_len);
void cn_hmac_add(struct cn_hmac *h, const void *data, size_t len);
void cn_hmac_end(struct cn_hmac *h, unsigned char mac[CN_SHA256_BYTES]);

/* All three in one. */
void cn_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                    unsigned char mac[CN_SHA256_BYTES]);

/* In a time that does not depend on where they differ. */
bool cn_hmac_equal(const unsigned char a[CN_SHA256_BYTES], const unsigned char b[CN_SHA256_BYTES]);

#endif
