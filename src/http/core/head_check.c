/* The strict reading of a head, line by line: see head_check.h. */
#include "base/base.h"
#include "http/core/head_check.h"
#include "base/text.h"

#include <string.h>
#include <strings.h>

static bool is_token(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!cn_is_token_char(s[i]))
            return false;
    return n > 0;
}

static bool is_text(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)s[i] < 0x20 && s[i] != '\t') || s[i] == 0x7f)
            return false;
    return true;
}

static bool is_name(const char *name, size_t len, const char *want)
{
    return len == strlen(want) && strncasecmp(name, want, len) == 0;
}

/* ---- the request line ---- */

static bool begins(const char *s, size_t n, const char *what)
{
    size_t m = strlen(what);

    return n >= m && strncasecmp(s, what, m) == 0;
}

static const char *target_fault(const char *s, size_t n, size_t *ret_arguments)
{
    bool parent = false, slash = false, query = false;
    size_t arguments = 0;

    if (n == 0 || s[0] != '/')
        return "a target that does not begin with a slash";
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c <= 0x20 || c >= 0x7f)
            return "a target with a character that must be escaped";
        /* %00 to %1f: unescaped, a NUL would end the string */
        if (c == '%' && i + 1 < n && (s[i + 1] == '0' || s[i + 1] == '1'))
            return "an escaped control character in the target";
        arguments += c == '&';
        query = query || c == '?';
        slash = slash || (c == '%' && !query && begins(s + i, n - i, "%2f"));
        parent = parent || (c == '/' && begins(s + i, n - i, "/..")) ||
                 (c == '%' && begins(s + i, n - i, "%2e%2e"));
    }
    *ret_arguments = arguments;
    /* Unescaped it would be a separator: a proxy that looks at paths and this server would see
     * different ones. No name of a model, a job or an upload has one. */
    if (slash)
        return "an escaped slash in the path";
    return parent ? "a target with a parent segment" : NULL;
}

void cn_head_check_request_line(struct cn_head_check *h, const char *line, size_t len)
{
    const char *target = memchr(line, ' ', len), *version;
    size_t rest, arguments = 0;

    h->is_request_read = true;
    if (target == NULL || !is_token(line, (size_t)(target - line))) {
        h->fault = "a request line that is none";
        return;
    }
    target++;
    rest = len - (size_t)(target - line);
    version = memrchr(target, ' ', rest);
    if (version == NULL) {
        h->fault = "a request line without a version";
        return;
    }
    h->fault = target_fault(target, (size_t)(version - target), &arguments);
    h->extra += arguments * CN_HEAD_ITEM;
    if (version - target > CN_HEAD_MAX_URI) {
        h->fault = "a target that is too long";
        h->target_too_long = true;
    }
    version++;
    rest = len - (size_t)(version - line);
    h->is_11 = rest == 8 && memcmp(version, "HTTP/1.1", 8) == 0;
    if (h->fault == NULL && !h->is_11 && (rest != 8 || memcmp(version, "HTTP/1.0", 8) != 0))
        h->fault = "an HTTP version other than 1.0 and 1.1";
}

/* ---- headers ---- */

/* 18 digits fit in 63 bits; what has more is more than any body may have. */
static void read_content_length(struct cn_head_check *h, const char *s, size_t n)
{
    size_t i = 0;

    h->n_content_length++;
    while (i < n && s[i] >= '0' && s[i] <= '9')
        i++;
    if (n == 0 || i < n) {
        h->fault = "a Content-Length that is no number";
    } else if (n > 18) {
        h->fault = "a Content-Length that is too large";
        h->too_large = true;
    } else {
        for (i = 0, h->content_length = 0; i < n; i++)
            h->content_length = h->content_length * 10 + (uint64_t)(s[i] - '0');
    }
}

void cn_head_check_header(struct cn_head_check *h, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len), *value;
    size_t n;

    h->n_headers++;
    if (colon == line) {
        h->fault = "a header without a name";
        return;
    }
    if (colon == NULL || !is_token(line, (size_t)(colon - line))) {
        h->fault = "a header name that is no token";
        return;
    }
    value = colon + 1;
    n = len - (size_t)(value - line);
    if (!is_text(value, n))
        h->fault = "a control character in a header";
    for (; n > 0 && (*value == ' ' || *value == '\t'); n--)
        value++;
    while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'))
        n--;
    len = (size_t)(colon - line);
    if (is_name(line, len, "Content-Length")) {
        read_content_length(h, value, n);
    } else if (is_name(line, len, "Transfer-Encoding")) {
        h->n_transfer_encoding++;
        if (!is_name(value, n, "chunked"))
            h->fault = "a Transfer-Encoding other than chunked";
    } else if (is_name(line, len, "Host")) {
        h->n_host++;
    } else if (is_name(line, len, "Cookie")) {
        h->extra += n; /* the library copies them */
        for (size_t i = 0; i < n; i++)
            h->extra += value[i] == ';' ? CN_HEAD_ITEM : 0;
    }
}

const char *cn_head_check_verdict(struct cn_head_check *h)
{
    if (h->fault != NULL)
        return h->fault;
    if (h->n_headers > CN_HEAD_MAX_HEADERS)
        h->fault = "too many headers";
    else if (h->n_content_length > 1)
        h->fault = "more than one Content-Length";
    else if (h->n_transfer_encoding > 1)
        h->fault = "more than one Transfer-Encoding";
    else if (h->n_content_length > 0 && h->n_transfer_encoding > 0)
        h->fault = "both Content-Length and Transfer-Encoding";
    else if (h->n_transfer_encoding > 0 && !h->is_11)
        h->fault = "Transfer-Encoding outside of HTTP/1.1";
    else if (h->n_host > 1 || (h->is_11 && h->n_host != 1))
        h->fault = "not exactly one Host";
    return h->fault;
}
