/* Header fields of the jobs' routes: Prefer, Idempotency-Key, Range, lists of ETags. */
#include "base/base.h"
#include "base/text.h"
#include "http/core/fields.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_key(const char *text)
{
    char key[CN_IDEMPOTENCY_KEY], again[CN_IDEMPOTENCY_KEY], quoted[2 * CN_IDEMPOTENCY_KEY + 2];
    size_t n = 0;

    if (cn_idempotency_key(text, key, NULL) < 0)
        return;
    CN_ASSERT(key[0] != '\0' && strlen(key) < CN_IDEMPOTENCY_KEY);
    quoted[n++] = '"';
    for (const char *p = key; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\')
            quoted[n++] = '\\';
        quoted[n++] = *p;
    }
    quoted[n++] = '"';
    quoted[n] = '\0';
    CN_ASSERT(cn_idempotency_key(quoted, again, NULL) == CN_OK && strcmp(key, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cn_prefer p = CN_PREFER_INIT;
    uint64_t first, n, size = len % 7 * 13;
    char text[1024];

    if (len >= sizeof(text))
        return 0;
    memcpy(text, data, len);
    text[len] = '\0';
    cn_prefer_add(&p, text);
    CN_ASSERT(p.wait_s >= -1 && p.wait_s <= 86400);
    check_key(text);
    if (cn_range_read(text, size, &first, &n) == CN_RANGE_PART)
        CN_ASSERT(n > 0 && first < size && n <= size - first);
    cn_etag_listed(text, "\"a-0\"", true);
    CN_ASSERT(cn_decimal(text) >= -1);
    return 0;
}
