/* A multipart request: the first line is the content type, the rest the body. Parts must lie inside
 * the body, in order, and have different names. */
#include "base/base.h"
#include "http/core/multipart.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(const struct cn_part *part, int n, const uint8_t *body, size_t len)
{
    const uint8_t *at = body;

    for (int i = 0; i < n; i++) {
        CN_ASSERT(part[i].name[0] != '\0');
        CN_ASSERT(part[i].data >= at && part[i].len <= len - (size_t)(part[i].data - body));
        at = part[i].data + part[i].len; /* two may have one name */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cn_part part[CN_MULTIPART_MAX_PARTS];
    char type[512], boundary[CN_MULTIPART_BOUNDARY];
    const uint8_t *eol = len == 0 ? NULL : memchr(data, '\n', CN_MIN(len, sizeof(type) - 1));
    size_t head;
    int n;

    if (eol == NULL)
        return 0;
    head = (size_t)(eol - data);
    memcpy(type, data, head);
    type[head] = '\0';
    if (!cn_multipart_is(type) || cn_multipart_boundary(type, boundary, NULL) < 0)
        return 0;
    CN_ASSERT(boundary[0] != '\0' && strlen(boundary) <= 70);
    n = cn_multipart_parse(boundary, eol + 1, len - head - 1, part, CN_MULTIPART_MAX_PARTS, NULL);
    if (n > 0)
        check(part, n, eol + 1, len - head - 1);
    return 0;
}
