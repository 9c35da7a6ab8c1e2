/* Characters of the prompt grammar: white space, words and numbers as Python's re and float have
 * them, digits in ASCII only. */
#include "base/base.h"
#include "text/prompt_priv.h"
#include "base/utf8.h"
#include "text/text_priv.h"
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int cn_prompt_check(const char *text, size_t len, struct cn_err *err)
{
    size_t bad;

    if (len > CN_MAX_TOKENIZE)
        return cn_fail(err, CN_ETOOBIG, "the text has %zu bytes, at most %d are accepted", len,
                       CN_MAX_TOKENIZE);
    bad = cn_utf8_check(text, len);
    if (bad < len)
        return cn_fail(err, CN_EINVAL, "the text is not UTF-8: byte %zu is 0x%02x", bad,
                       (unsigned char)text[bad]);
    return CN_OK;
}

static size_t next(const char *s, size_t at, size_t len, uint32_t *cp)
{
    return at + cn_utf8_next((const unsigned char *)s + at, len - at, cp);
}

/* Where the character before `at` begins. */
static size_t previous(const char *s, size_t at, uint32_t *cp)
{
    size_t from = at - 1;

    while (((unsigned char)s[from] & 0xc0) == 0x80)
        from--;
    next(s, from, at, cp);
    return from;
}

static bool is_space(uint32_t cp)
{
    return (cp >= 9 && cp <= 13) || (cp >= 0x1c && cp <= 0x20) || cp == 0x85 || cp == 0xa0 ||
           cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 ||
           cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

static bool is_word(uint32_t cp)
{
    enum cn_uc_class class = cn_uc_class(cp, CN_UC_PYTHON);

    return class == CN_UC_LETTER || class == CN_UC_NUMBER || cp == '_';
}

size_t cn_prompt_skip_space(const char *s, size_t at, size_t len)
{
    uint32_t cp;

    while (at < len) {
        size_t after = next(s, at, len, &cp);

        if (!is_space(cp))
            break;
        at = after;
    }
    return at;
}

size_t cn_prompt_trim_space(const char *s, size_t from, size_t at)
{
    uint32_t cp;

    while (at > from) {
        size_t before = previous(s, at, &cp);

        if (!is_space(cp))
            break;
        at = before;
    }
    return at;
}

bool cn_prompt_ends_with_word(const char *s, size_t at)
{
    uint32_t cp = 0;

    if (at == 0)
        return false;
    previous(s, at, &cp);
    return is_word(cp);
}

bool cn_prompt_begins_with_word(const char *s, size_t len)
{
    uint32_t cp = 0;

    if (len == 0)
        return false;
    next(s, 0, len, &cp);
    return is_word(cp);
}

size_t cn_prompt_find_word(const char *s, size_t at, size_t len, const char *word)
{
    size_t n = strlen(word);

    for (uint32_t cp; at + n <= len; at++) {
        const char *found = memchr(s + at, word[0], len - at);

        if (found == NULL)
            break;
        at = (size_t)(found - s);
        if (at + n > len || memcmp(found, word, n) != 0)
            continue;
        if (at > 0 && (previous(s, at, &cp), is_word(cp)))
            continue;
        if (at + n < len && (next(s, at + n, len, &cp), is_word(cp)))
            continue;
        return at;
    }
    return len;
}

int cn_prompt_number(const char *s, size_t len, double *ret)
{
    size_t i = len > 0 && (s[0] == '+' || s[0] == '-'), digits = 0, points = 0;
    char *end;

    for (; i < len; i++) {
        digits += s[i] >= '0' && s[i] <= '9';
        points += s[i] == '.';
    }
    if (digits == 0 || points > 1)
        return CN_EINVAL;
    *ret = strtod(s, &end);
    return end == s + len ? CN_OK : CN_EINVAL;
}
