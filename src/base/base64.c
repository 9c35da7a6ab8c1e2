/* Base64 as RFC 4648 has it, and nothing more lenient: what two readers could take differently is
 * refused. */
#include "base/base.h"
#include "base/base64.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int cn_base64_encode(struct cn_buf *out, const void *data, size_t len, struct cn_err *err)
{
    const unsigned char *s = data;
    unsigned char *d;
    int rc;

    if (len > SIZE_MAX / 2)
        return cn_fail(err, CN_ETOOBIG, "%zu bytes are too many for base64", len);
    if ((rc = cn_buf_reserve(out, (len + 2) / 3 * 4, &d, err)) < 0)
        return rc;
    for (; len >= 3; len -= 3, s += 3) {
        *d++ = (unsigned char)alphabet[s[0] >> 2];
        *d++ = (unsigned char)alphabet[(s[0] & 3) << 4 | s[1] >> 4];
        *d++ = (unsigned char)alphabet[(s[1] & 15) << 2 | s[2] >> 6];
        *d++ = (unsigned char)alphabet[s[2] & 63];
    }
    if (len > 0) {
        unsigned second = len == 2 ? s[1] : 0;

        *d++ = (unsigned char)alphabet[s[0] >> 2];
        *d++ = (unsigned char)alphabet[(s[0] & 3) << 4 | second >> 4];
        *d++ = len == 2 ? (unsigned char)alphabet[(second & 15) << 2] : '=';
        *d++ = '=';
    }
    return CN_OK;
}

/* value + 1 of each character; 0: not in the alphabet. */
static void fill_table(unsigned char table[256])
{
    memset(table, 0, 256);
    for (int i = 0; i < 64; i++)
        table[(unsigned char)alphabet[i]] = (unsigned char)(i + 1);
}

/* Reads the characters up to len or "="; returns bytes written, or CN_EFORMAT with the place. */
static int decode_body(const char *text, size_t len, unsigned char *out, size_t *ret_chars,
                       size_t *ret_at)
{
    unsigned char table[256];
    uint32_t acc = 0;
    size_t chars = 0, at = 0;

    fill_table(table);
    for (; at < len && text[at] != '='; at++) {
        unsigned v = table[(unsigned char)text[at]];

        if (v == 0) {
            *ret_at = at;
            return CN_EFORMAT;
        }
        acc = acc << 6 | (v - 1);
        if (++chars % 4 == 0) {
            *out++ = (unsigned char)(acc >> 16);
            *out++ = (unsigned char)(acc >> 8);
            *out++ = (unsigned char)acc;
        }
    }
    *ret_at = at;
    *ret_chars = chars;
    if (chars % 4 == 2) {
        *out++ = (unsigned char)(acc >> 4);
        return acc & 15 ? CN_EFORMAT : CN_OK;
    }
    if (chars % 4 == 3) {
        *out++ = (unsigned char)(acc >> 10);
        *out++ = (unsigned char)(acc >> 2);
        return acc & 3 ? CN_EFORMAT : CN_OK;
    }
    return chars % 4 == 1 ? CN_EFORMAT : CN_OK;
}

int cn_base64_decode(const char *text, size_t len, size_t max, unsigned char **ret, size_t *ret_len,
                     struct cn_err *err)
{
    size_t chars = 0, at = 0;
    unsigned char *out;

    if (len / 4 > max / 3 + 1)
        return cn_fail(err, CN_ETOOBIG, "more than %zu bytes", max);
    out = cn_try_alloc(len / 4 * 3 + 3);
    if (out == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for %zu bytes", len);
    if (decode_body(text, len, out, &chars, &at) < 0) {
        free(out);
        return cn_fail(err, CN_EFORMAT, "not base64: wrong at character %zu of %zu", at, len);
    }
    size_t padding = (4 - chars % 4) % 4;

    if (len - at != padding || (padding == 2 && text[at + 1] != '=')) {
        free(out);
        return cn_fail(err, CN_EFORMAT, "not base64: the end is cut or not padded");
    }
    *ret_len = chars / 4 * 3 + (padding == 0 ? 0 : 3 - padding);
    if (*ret_len > max) {
        free(out);
        return cn_fail(err, CN_ETOOBIG, "%zu bytes: at most %zu are accepted", *ret_len, max);
    }
    *ret = out;
    return CN_OK;
}

/* The text in the strict form, without blanks; NULL: no memory. */
static char *tidy(const char *text, size_t len, size_t *ret_len)
{
    char *out = cn_try_alloc(len + 4);
    size_t n = 0, body;

    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
            continue;
        out[n++] = c == '-' ? '+' : c == '_' ? '/' : c;
    }
    for (body = n; body > 0 && out[body - 1] == '=' && n - body < 2; body--)
        ;
    if (body == n) /* not padded */
        while (n % 4 != 0 && n - body < 2)
            out[n++] = '=';
    *ret_len = n;
    return out;
}

int cn_base64_decode_loose(const char *text, size_t len, size_t max, unsigned char **ret,
                           size_t *ret_len, struct cn_err *err)
{
    struct cn_err why = CN_ERR_INIT;
    size_t n;
    char *tidied;
    int rc;

    /* mostly it is in order, and needs no copy */
    rc = cn_base64_decode(text, len, max, ret, ret_len, &why);
    if (rc != CN_EFORMAT) {
        if (rc < 0 && err != NULL)
            *err = why;
        return rc;
    }
    tidied = tidy(text, len, &n);
    if (tidied == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for %zu bytes", len);
    rc = cn_base64_decode(tidied, n, max, ret, ret_len, err);
    free(tidied);
    return rc;
}
