/* Decodes UTF-8 (RFC 3629) one character at a time, strictly. */
#include "base/base.h"
#include "base/utf8.h"

static size_t tail_ok(const unsigned char *s, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

size_t cn_utf8_next(const unsigned char *s, size_t len, uint32_t *ret_cp)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    uint32_t cp;

    if (n == 1) {
        *ret_cp = s[0];
        return 1;
    }
    if (n == 0 || s[0] > 0xf4 || n > len || tail_ok(s, n) == 0)
        return 0;
    cp = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++)
        cp = cp << 6 | (s[i] & 0x3fu);
    if ((n == 3 && cp < 0x800) || (n == 4 && cp < 0x10000) || cp > 0x10ffff ||
        (cp >= 0xd800 && cp <= 0xdfff))
        return 0;
    *ret_cp = cp;
    return n;
}

size_t cn_utf8_check(const void *s, size_t len)
{
    const unsigned char *p = s;
    uint32_t cp;
    size_t i = 0, n;

    while (i < len) {
        n = cn_utf8_next(p + i, len - i, &cp);
        if (n == 0)
            return i;
        i += n;
    }
    return len;
}

size_t cn_utf8_put(char *s, uint32_t cp)
{
    size_t n = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;

    if (n == 1) {
        s[0] = (char)cp;
        return 1;
    }
    for (size_t i = n - 1; i > 0; i--) {
        s[i] = (char)(0x80 | (cp & 0x3f));
        cp >>= 6;
    }
    s[0] = (char)((0xf00u >> n & 0xff) | cp);
    return n;
}
