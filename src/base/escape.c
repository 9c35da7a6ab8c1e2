/* Strings of strangers as JSON: what is not UTF-8 or would break a line is escaped or replaced. */
#include "base/base.h"
#include "base/escape.h"

#include <stdio.h>
#include <string.h>

/* Bytes of the character at s (n are there), 0 when they are no UTF-8 (RFC 3629 table 3-7). */
static size_t utf8_len(const unsigned char *s, size_t n)
{
    size_t len;
    unsigned char lo = 0x80, hi = 0xbf;

    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        len = 2;
    else if (s[0] >= 0xe0 && s[0] <= 0xef)
        len = 3;
    else if (s[0] >= 0xf0 && s[0] <= 0xf4)
        len = 4;
    else
        return 0;
    if (s[0] == 0xe0)
        lo = 0xa0;
    else if (s[0] == 0xed)
        hi = 0x9f;
    else if (s[0] == 0xf0)
        lo = 0x90;
    else if (s[0] == 0xf4)
        hi = 0x8f;
    if (n < len || s[1] < lo || s[1] > hi)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

bool cn_utf8_valid(const char *s, size_t len)
{
    size_t at = 0;

    while (at < len) {
        size_t n = utf8_len((const unsigned char *)s + at, len - at);

        if (n == 0)
            return false;
        at += n;
    }
    return true;
}

/* Appends the escape of the character of n bytes at s, or the character itself. */
static int put_char(struct cn_buf *out, const unsigned char *s, size_t n, struct cn_err *err)
{
    static const char two[] = "\"\"\\\\\nn\rr\tt";
    char text[8];

    if (n == 0)
        return cn_buf_adds(out, "\\ufffd", err);
    for (const char *p = two; n == 1 && *p != '\0'; p += 2)
        if (s[0] == (unsigned char)p[0]) {
            text[0] = '\\';
            text[1] = p[1];
            return cn_buf_add(out, text, 2, err);
        }
    if (n == 1 && (s[0] < 0x20 || s[0] == 0x7f)) {
        snprintf(text, sizeof(text), "\\u%04x", s[0]);
        return cn_buf_add(out, text, 6, err);
    }
    if (n == 3 && s[0] == 0xe2 && s[1] == 0x80 && (s[2] == 0xa8 || s[2] == 0xa9))
        return cn_buf_adds(out, s[2] == 0xa8 ? "\\u2028" : "\\u2029", err);
    return cn_buf_add(out, s, n, err);
}

int cn_escape_json(struct cn_buf *out, const char *s, size_t len, struct cn_err *err)
{
    const unsigned char *p = (const unsigned char *)s;
    int rc = cn_buf_add(out, "\"", 1, err);

    for (size_t at = 0; rc == CN_OK && at < len;) {
        size_t n = utf8_len(p + at, len - at);

        rc = put_char(out, p + at, n, err);
        at += n == 0 ? 1 : n;
    }
    return rc == CN_OK ? cn_buf_add(out, "\"", 1, err) : rc;
}
