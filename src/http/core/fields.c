/* Parsers of header fields with a grammar of their own: Prefer, Idempotency-Key, Range, entity
 * tags. Each takes what its RFC allows and nothing else. */
#include "base/base.h"
#include "http/core/fields.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- Prefer ---- */

/* A token or a quoted string at p; *ret_end is behind it, NULL when it is neither. */
static void word(const char *p, char *out, size_t size, const char **ret_end)
{
    bool quoted = *p == '"';
    size_t n = 0;

    for (p += quoted; quoted ? *p != '"' && *p != '\0' : cn_is_token_char(*p); p++) {
        if (quoted && *p == '\\' && p[1] != '\0')
            p++;
        if (n + 1 < size)
            out[n++] = *p;
    }
    out[n] = '\0';
    *ret_end = quoted ? (*p == '"' ? p + 1 : NULL) : (n > 0 ? p : NULL);
}

static void prefer(struct cn_prefer *p, const char *name, const char *value)
{
    if (strcasecmp(name, "respond-async") == 0) {
        p->respond_async = true;
    } else if (strcasecmp(name, "wait") == 0 && p->wait_s < 0) {
        int64_t s = cn_decimal(value);

        if (s >= 0)
            p->wait_s = (int)CN_MIN(s, 86400);
    }
}

void cn_prefer_add(struct cn_prefer *p, const char *value)
{
    while (*value != '\0') {
        char name[32], text[32] = "";
        const char *end;

        value += strspn(value, " \t,");
        if (*value == '\0')
            return;
        word(value, name, sizeof(name), &end);
        if (end == NULL)
            return;
        end = cn_skip_blanks(end);
        if (*end == '=') {
            word(cn_skip_blanks(end + 1), text, sizeof(text), &end);
            if (end == NULL)
                return;
        }
        prefer(p, name, text);
        while (*end != '\0' && *end != ',') { /* parameters: skipped, quoted commas too */
            if (*end == '"') {
                word(end, text, sizeof(text), &end);
                if (end == NULL)
                    return;
            } else {
                end++;
            }
        }
        value = end;
    }
}

/* ---- Idempotency-Key ---- */

static int bad_key(struct cn_err *err, const char *why)
{
    return cn_fail(err, CN_EINVAL, "the Idempotency-Key %s", why);
}

/* The inside of "..."; structured fields know the escapes \" and \\ only. */
static int quoted_key(const char *p, char *key, struct cn_err *err)
{
    size_t n = 0;

    for (p++; *p != '"'; p++) {
        if (*p == '\\' && *++p != '"' && *p != '\\')
            return bad_key(err, "has an unknown escape");
        if (*p < 0x20 || *p > 0x7e)
            return bad_key(err, *p == '\0' ? "has no closing quote" : "is not printable ASCII");
        if (n + 1 == CN_IDEMPOTENCY_KEY)
            return bad_key(err, "has more than 255 characters");
        key[n++] = *p;
    }
    if (*cn_skip_blanks(p + 1) != '\0')
        return bad_key(err, "is more than one string");
    key[n] = '\0';
    return n == 0 ? bad_key(err, "is empty") : CN_OK;
}

int cn_idempotency_key(const char *value, char key[CN_IDEMPOTENCY_KEY], struct cn_err *err)
{
    /* what RFC 9110 calls a token, and what base64 and URIs need */
    static const char bare[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                               "!#$%&'*+-.^_`|~:/=@";
    size_t n = 0;

    value = cn_skip_blanks(value);
    if (*value == '"')
        return quoted_key(value, key, err);
    for (; *value != '\0' && strchr(bare, *value) != NULL; value++) {
        if (n + 1 == CN_IDEMPOTENCY_KEY)
            return bad_key(err, "has more than 255 characters");
        key[n++] = *value;
    }
    key[n] = '\0';
    if (*cn_skip_blanks(value) != '\0')
        return bad_key(err, "is neither a string in quotes nor one word");
    return n == 0 ? bad_key(err, "is empty") : CN_OK;
}

/* ---- Range, ETag ---- */

/* Digits at *p up to a character that is none; false when there are none or too many. */
static bool digits(const char **p, uint64_t *ret)
{
    size_t n = strspn(*p, "0123456789");

    *ret = 0;
    if (n == 0 || n > 18)
        return false;
    for (size_t i = 0; i < n; i++)
        *ret = *ret * 10 + (uint64_t)((*p)[i] - '0');
    *p += n;
    return true;
}

enum cn_range cn_range_read(const char *value, uint64_t size, uint64_t *ret_first,
                            uint64_t *ret_len)
{
    uint64_t first, last = UINT64_MAX;
    bool has_first;

    *ret_first = 0;
    *ret_len = size;
    if (value == NULL || strncasecmp(value, "bytes=", 6) != 0)
        return CN_RANGE_WHOLE;
    value = cn_skip_blanks(value + 6);
    has_first = digits(&value, &first);
    if (*value++ != '-')
        return CN_RANGE_WHOLE;
    if (!digits(&value, &last) && !has_first)
        return CN_RANGE_WHOLE;
    if (*cn_skip_blanks(value) != '\0') /* several ranges, or none */
        return CN_RANGE_WHOLE;
    if (!has_first) { /* the last so many bytes */
        if (last == 0 || size == 0)
            return CN_RANGE_OUTSIDE;
        *ret_len = CN_MIN(last, size);
        *ret_first = size - *ret_len;
        return CN_RANGE_PART;
    }
    if (last == 0 && value[-1] == '-')
        last = UINT64_MAX; /* "5-" */
    if (last < first)
        return CN_RANGE_WHOLE; /* invalid: as if it were not there */
    if (first >= size)
        return CN_RANGE_OUTSIDE;
    *ret_first = first;
    *ret_len = CN_MIN(last, size - 1) - first + 1;
    return CN_RANGE_PART;
}

bool cn_etag_listed(const char *value, const char *etag, bool weak)
{
    size_t n = strlen(etag);

    if (value == NULL)
        return false;
    for (;;) {
        bool is_weak;

        value += strspn(value, " \t,");
        if (*value == '*')
            return weak;
        is_weak = strncmp(value, "W/", 2) == 0;
        value += is_weak ? 2 : 0;
        if (*value != '"')
            return false;
        if (strncmp(value, etag, n) == 0 && (weak || !is_weak))
            return true;
        value = strchr(value + 1, '"');
        if (value == NULL)
            return false;
        value++;
    }
}
