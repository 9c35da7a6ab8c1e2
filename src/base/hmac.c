/* HMAC: a digest that only who has the key can make, H((K ^ opad) || H((K ^ ipad) || message)). */
#include "base/base.h"
#include "base/hmac.h"

#include <string.h>

enum { BLOCK = 64 }; /* bytes of a block of SHA-256 */

void cn_hmac_init(struct cn_hmac *h, const void *key, size_t key_len)
{
    unsigned char padded[BLOCK] = {0};

    if (key_len > BLOCK)
        cn_sha256(key, key_len, padded);
    else if (key_len > 0)
        memcpy(padded, key, key_len);
    for (int i = 0; i < BLOCK; i++) {
        h->outer_key[i] = padded[i] ^ 0x5c;
        padded[i] ^= 0x36;
    }
    cn_sha256_init(&h->inner);
    cn_sha256_add(&h->inner, padded, BLOCK);
}

void cn_hmac_add(struct cn_hmac *h, const void *data, size_t len)
{
    cn_sha256_add(&h->inner, data, len);
}

void cn_hmac_end(struct cn_hmac *h, unsigned char mac[CN_SHA256_BYTES])
{
    struct cn_sha256 outer;

    cn_sha256_end(&h->inner, mac);
    cn_sha256_init(&outer);
    cn_sha256_add(&outer, h->outer_key, BLOCK);
    cn_sha256_add(&outer, mac, CN_SHA256_BYTES);
    cn_sha256_end(&outer, mac);
}

void cn_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                    unsigned char mac[CN_SHA256_BYTES])
{
    struct cn_hmac h;

    cn_hmac_init(&h, key, key_len);
    cn_hmac_add(&h, data, len);
    cn_hmac_end(&h, mac);
}

bool cn_hmac_equal(const unsigned char a[CN_SHA256_BYTES], const unsigned char b[CN_SHA256_BYTES])
{
    unsigned char differs = 0;

    for (int i = 0; i < CN_SHA256_BYTES; i++)
        differs |= a[i] ^ b[i];
    return differs == 0;
}
