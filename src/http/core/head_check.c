/* Header gate. */
#include "base/base.h"
#include "http/core/head_check.h"
#include "base/text.h"

#include <string.h>
#include <strings.h>

static bool is_name(const char *name, size_t len, const char *want)
{
    return len == strlen(want) && strncasecmp(name, want, len) == 0;
}

static bool digits(const char *s, size_t len)
{
    /* 18 digits fit in 63 bits; longer is nonsense, and 2^64-1 means "unknown" to MHD */
    if (len == 0 || len > 18)
        return false;
    for (size_t i = 0; i < len; i++)
        if (s[i] < '0' || s[i] > '9')
            return false;
    return true;
}

void cn_head_check_header(struct cn_head_check_count *g, const char *name, size_t name_len,
                          const char *value, size_t value_len)
{
    g->headers++;
    if (name_len == 0)
        g->fault = "a header without a name";
    for (size_t i = 0; i < name_len; i++)
        if (!cn_is_token_char(name[i]))
            g->fault = "a header name that is no token";
    for (size_t i = 0; i < value_len; i++)
        if (((unsigned char)value[i] < 0x20 && value[i] != '\t') || value[i] == 0x7f)
            g->fault = "a control character in a header";
    if (is_name(name, name_len, "Content-Length")) {
        g->content_length++;
        if (!digits(value, value_len))
            g->fault = "a Content-Length that is no number";
    } else if (is_name(name, name_len, "Transfer-Encoding")) {
        g->transfer_encoding++;
        if (!is_name(value, value_len, "chunked"))
            g->fault = "a Transfer-Encoding other than chunked";
    } else if (is_name(name, name_len, "Host")) {
        g->host++;
    }
}

const char *cn_head_check_verdict(const struct cn_head_check_count *g, const char *version)
{
    bool is_11 = strcmp(version, "HTTP/1.1") == 0;

    if (g->fault != NULL)
        return g->fault;
    if (g->headers > CN_HEAD_MAX_HEADERS)
        return "too many headers";
    if (g->content_length > 1)
        return "more than one Content-Length";
    if (g->transfer_encoding > 1)
        return "more than one Transfer-Encoding";
    if (g->content_length > 0 && g->transfer_encoding > 0)
        return "both Content-Length and Transfer-Encoding";
    if (g->transfer_encoding > 0 && !is_11)
        return "Transfer-Encoding outside of HTTP/1.1";
    if (g->host > 1 || (is_11 && g->host != 1))
        return "not exactly one Host";
    if (!is_11 && strcmp(version, "HTTP/1.0") != 0)
        return "an HTTP version other than 1.0 and 1.1";
    return NULL;
}

const char *cn_head_check_uri(const char *uri)
{
    if (uri[0] != '/')
        return "a target that does not begin with a slash";
    if (strlen(uri) > CN_HEAD_MAX_URI)
        return "a target that is too long";
    for (const char *p = uri; *p != '\0'; p++) {
        if ((unsigned char)*p <= 0x20 || *p == 0x7f || (unsigned char)*p >= 0x80)
            return "a target with a character that must be escaped";
        /* %00 to %1f: MHD would unescape a NUL into the end of the string */
        if (*p == '%' && (p[1] == '0' || p[1] == '1'))
            return "an escaped control character in the target";
    }
    if (strstr(uri, "/..") != NULL || strcasestr(uri, "%2e%2e") != NULL)
        return "a target with a parent segment";
    return NULL;
}

static enum MHD_Result on_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                 size_t name_len, const char *value, size_t value_len)
{
    (void)kind;
    cn_head_check_header(arg, name, name_len, value == NULL ? "" : value, value_len);
    return MHD_YES;
}

const char *cn_head_check(struct MHD_Connection *c, const char *version, const char *raw_uri)
{
    struct cn_head_check_count g = {0};
    const char *fault;

    MHD_get_connection_values_n(c, MHD_HEADER_KIND, on_header, &g);
    fault = cn_head_check_verdict(&g, version);
    return fault != NULL ? fault : cn_head_check_uri(raw_uri);
}
