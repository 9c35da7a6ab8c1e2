/* Readings of text that do not depend on the locale, as the functions of <ctype.h> do. */
#include "base/base.h"
#include "base/text.h"

#include <string.h>

bool cn_is_token_char(char c)
{
    static const bool is_token[256] = {
        ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['!'] = true,
        ['#' ... '\''] = true, ['*'] = true,        ['+'] = true,        ['-'] = true,
        ['.'] = true,         ['^' ... '`'] = true, ['|'] = true,        ['~'] = true};

    return is_token[(unsigned char)c];
}

const char *cn_skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

int64_t cn_decimal(const char *text)
{
    size_t n = strspn(text, "0123456789");
    int64_t v = 0;

    if (n == 0 || n > 18 || text[n] != '\0')
        return -1;
    for (size_t i = 0; i < n; i++)
        v = v * 10 + (text[i] - '0');
    return v;
}

/* Where a path in the text may begin: at its beginning, behind a blank, a bracket or a quote. */
static bool may_begin(const char *text, const char *p)
{
    return p == text || strchr(" \t\n\"'`([{<=:,", p[-1]) != NULL;
}

/* Between quotes it goes to the other one, and may have blanks. */
static size_t path_length(const char *text, const char *p)
{
    const char quote[2] = {p == text ? '\0' : p[-1], '\0'};

    if (quote[0] == '"' || quote[0] == '\'' || quote[0] == '`')
        return strcspn(p, quote);
    return strcspn(p, " \t\n\"'`)]}>,;:");
}

void cn_hide_paths(char *text)
{
    char *out = text;
    const char *p = text;

    while (*p != '\0') {
        size_t n, last, whole;

        if (*p != '/' || !may_begin(text, p) || strncmp(p, "/v1/", 4) == 0) {
            *out++ = *p++;
            continue;
        }
        whole = n = path_length(text, p);
        while (n > 1 && p[n - 1] == '/')
            n--;
        last = n == 1 ? 0 : n;
        while (last > 0 && p[last - 1] != '/')
            last--;
        memmove(out, p + last, n - last);
        out += n - last;
        p += whole;
    }
    *out = '\0';
}

void cn_hex_encode(const void *data, size_t n, char *text)
{
    static const char digit[] = "0123456789abcdef";
    const unsigned char *p = data;

    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digit[p[i] >> 4];
        text[2 * i + 1] = digit[p[i] & 15];
    }
    text[2 * n] = '\0';
}

/* -1: it is none. */
static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool cn_hex_decode(const char *text, void *ret, size_t n)
{
    unsigned char *p = ret;

    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(text[2 * i]);
        int low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);

        if (low < 0)
            return false;
        p[i] = (unsigned char)(high << 4 | low);
    }
    return text[2 * n] == '\0';
}
