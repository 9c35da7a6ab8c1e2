/* The bytes of a connection: what is handed on does not depend on the pieces in which they come,
 * and is read by the scanner itself as whole requests without a fault. */
#include "base/base.h"
#include "base/buf.h"
#include "http/core/byte_scan.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct cn_scan feed(const uint8_t *data, size_t len, size_t piece, struct cn_buf *out)
{
    struct cn_scan s = {0};
    size_t given = 0, seen = 0;

    cn_buf_init(out, 1 << 24);
    while (seen < len && s.fault == NULL) {
        seen = CN_MIN(seen + piece, len);
        size_t n = cn_scan(&s, (const char *)data + given, seen - given);

        cn_buf_add(out, data + given, n, NULL);
        given += n;
    }
    if (s.fault != NULL)
        cn_buf_adds(out, s.substitute, NULL);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cn_buf whole, pieces, again;
    struct cn_scan a = feed(data, len, len + 1, &whole), b = feed(data, len, 3, &pieces), c;

    CN_ASSERT((a.fault == NULL) == (b.fault == NULL) && a.fault_head == b.fault_head);
    CN_ASSERT(whole.len == pieces.len &&
              (whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0));
    c = feed(whole.data, whole.len, whole.len + 1, &again);
    CN_ASSERT(c.fault == NULL && again.len == whole.len);
    if (a.fault != NULL)
        CN_ASSERT(c.heads == a.fault_head && cn_scan_is_in_head(&c));
    cn_buf_release(&whole);
    cn_buf_release(&pieces);
    cn_buf_release(&again);
    return 0;
}
