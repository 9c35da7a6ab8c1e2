/* Holds Host and Origin of a request against the server's names and the origins it allows. The
 * comparison follows the "same origin" of RFC 6454, with one tolerance: behind a proxy that ends
 * TLS the scheme of the outside is unknown, so that a Host without a port matches the default port
 * of either scheme. */
#include "base/base.h"
#include "http/auth/site.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

enum { NO_PORT = -1, MAX_HOST = 255 };

struct authority {
    char host[MAX_HOST + 1]; /* IPv6 without its brackets */
    bool brackets;
    int port; /* NO_PORT: none was given */
};

/* ":8080", ":" or "" to the end of the text. */
static bool read_port(const char *p, int *ret)
{
    *ret = NO_PORT;
    if (*p == '\0')
        return true;
    if (*p++ != ':')
        return false;
    if (*p == '\0')
        return true; /* RFC 3986: the port may be empty */
    *ret = 0;
    for (; *p >= '0' && *p <= '9' && *ret <= 65535; p++)
        *ret = *ret * 10 + (*p - '0');
    return *p == '\0' && *ret <= 65535;
}

/* "host[:port]" or "[ipv6][:port]". */
static bool read_authority(const char *text, struct authority *ret)
{
    const char *start = text;
    size_t n;

    ret->brackets = *text == '[';
    if (ret->brackets)
        start++;
    n = strcspn(start, ret->brackets ? "]" : ":");
    if (n == 0 || n > MAX_HOST || strcspn(start, " \t,/@?#\\") < n)
        return false;
    if (ret->brackets && start[n] != ']')
        return false;
    memcpy(ret->host, start, n);
    ret->host[n] = '\0';
    return read_port(start + n + (ret->brackets ? 1 : 0), &ret->port);
}

static bool is_local(const struct authority *a)
{
    struct in6_addr v6;
    struct in_addr v4;

    if (a->brackets)
        return inet_pton(AF_INET6, a->host, &v6) == 1;
    return inet_pton(AF_INET, a->host, &v4) == 1 || strcasecmp(a->host, "localhost") == 0;
}

bool cn_site_is_local_name(const char *host)
{
    struct authority a;

    return read_authority(host, &a) && is_local(&a);
}

/* The next word of a list separated by blanks or commas; NULL at its end. */
static const char *next_word(const char **list, size_t *ret_len)
{
    const char *p = *list + strspn(*list, " ,\t");

    *ret_len = strcspn(p, " ,\t");
    *list = p + *ret_len;
    return *ret_len == 0 ? NULL : p;
}

/* One of http.hosts, which names a host at any port or one with its port. */
static bool is_listed_host(const struct authority *a, const char *hosts)
{
    const char *word;
    size_t n;

    while ((word = next_word(&hosts, &n)) != NULL) {
        char text[MAX_HOST + 16];
        struct authority b;

        if (n >= sizeof(text))
            continue;
        memcpy(text, word, n);
        text[n] = '\0';
        if (read_authority(text, &b) && a->brackets == b.brackets &&
            strcasecmp(a->host, b.host) == 0 && (b.port == NO_PORT || b.port == a->port))
            return true;
    }
    return false;
}

bool cn_site_is_own(const char *origin, const char *host)
{
    struct authority a, b;
    int preset;

    if (strncmp(origin, "http://", 7) == 0)
        preset = 80;
    else if (strncmp(origin, "https://", 8) == 0)
        preset = 443;
    else
        return false;
    if (!read_authority(strstr(origin, "://") + 3, &a) || !read_authority(host, &b))
        return false;
    if (a.port == NO_PORT)
        a.port = preset;
    if (b.port == NO_PORT)
        b.port = preset;
    return a.brackets == b.brackets && strcasecmp(a.host, b.host) == 0 && a.port == b.port;
}

bool cn_site_is_listed(const char *origin, const char *origins)
{
    const char *word;
    size_t n, len = strlen(origin);

    if (strcmp(origins, "*") == 0)
        return true;
    while ((word = next_word(&origins, &n)) != NULL)
        if (n == len && memcmp(word, origin, n) == 0)
            return true;
    return false;
}

enum cn_site_verdict cn_site_check(const struct cn_site_request *q, const struct cn_site_rules *r)
{
    struct authority host;

    if (!r->has_keys && !q->over_unix && q->host != NULL &&
        (!read_authority(q->host, &host) || (!is_local(&host) && !is_listed_host(&host, r->hosts))))
        return CN_SITE_HOST;
    if (q->changes && q->origin != NULL && !cn_site_is_listed(q->origin, r->origins) &&
        (q->host == NULL || !cn_site_is_own(q->origin, q->host)))
        return CN_SITE_ORIGIN;
    return CN_SITE_OK;
}

int cn_site_check_hosts(const char *hosts, struct cn_err *err)
{
    const char *word;
    size_t n;

    while ((word = next_word(&hosts, &n)) != NULL) {
        char text[MAX_HOST + 16] = "";
        struct authority a;

        if (n < sizeof(text))
            memcpy(text, word, n);
        if (!read_authority(text, &a) || strchr(a.host, '*') != NULL)
            return cn_fail(err, CN_EINVAL,
                           "http.hosts: \"%.*s\" is no name of a host, or name:port",
                           (int)CN_MIN(n, 80), word);
    }
    return CN_OK;
}
