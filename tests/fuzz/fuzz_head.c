/* The lines of a request's head. What passes has one host, one length at most, and no length beside
 * chunks; a byte that HTTP does not have in a line never passes. */
#include "base/base.h"
#include "http/core/head_check.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool has_control(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < ' ' && line[i] != '\t')
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char *p = (const char *)data, *end = p + len;
    struct cn_head_check h = {0};
    bool control = false;

    for (int n = 0; p < end; n++) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        size_t line = (size_t)((eol == NULL ? end : eol) - p);

        control = control || has_control(p, line);
        if (n == 0)
            cn_head_check_request_line(&h, p, line);
        else
            cn_head_check_header(&h, p, line);
        p += line + 1;
    }
    if (cn_head_check_verdict(&h) != NULL)
        return 0;
    CN_ASSERT(!control);
    CN_ASSERT(h.n_content_length + h.n_transfer_encoding <= 1);
    CN_ASSERT(h.n_host <= 1 && (!h.is_11 || h.n_host == 1));
    CN_ASSERT(h.n_headers <= CN_HEAD_MAX_HEADERS);
    return 0;
}
