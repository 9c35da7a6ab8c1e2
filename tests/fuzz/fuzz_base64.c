/* Base64: what is read is written back as the same text, and whatever is written is read. */
#include "base/base.h"
#include "base/base64.h"
#include "base/buf.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void read_text(const char *text, size_t len)
{
    unsigned char *bytes;
    struct cn_buf b;
    size_t n;

    if (cn_base64_decode(text, len, 1 << 20, &bytes, &n, NULL) < 0)
        return;
    cn_buf_init(&b, 1 << 22);
    CN_ASSERT(cn_base64_encode(&b, bytes, n, NULL) == CN_OK);
    CN_ASSERT(b.len == len && (len == 0 || memcmp(b.data, text, len) == 0));
    cn_buf_release(&b);
    free(bytes);
}

static void write_bytes(const uint8_t *data, size_t len)
{
    unsigned char *bytes;
    struct cn_buf b;
    size_t n;

    cn_buf_init(&b, 1 << 23);
    CN_ASSERT(cn_base64_encode(&b, data, len, NULL) == CN_OK);
    CN_ASSERT(cn_base64_decode(b.data == NULL ? "" : (const char *)b.data, b.len, len, &bytes, &n,
                               NULL) == CN_OK);
    CN_ASSERT(n == len && (len == 0 || memcmp(bytes, data, len) == 0));
    if (len > 0)
        CN_ASSERT(cn_base64_decode((const char *)b.data, b.len, len - 1, &bytes, &n, NULL) ==
                  CN_ETOOBIG);
    free(bytes);
    cn_buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    read_text((const char *)data, len);
    write_bytes(data, len);
    return 0;
}
