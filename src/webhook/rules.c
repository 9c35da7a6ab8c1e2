/* The allow-list of webhooks: what an operator permits, held against what a client asks for. */
#include "base/base.h"
#include "webhook/rules.h"
#include "base/mem.h"
#include "webhook/address.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct target {
    char *scheme, *host, *port, *path; /* of libcurl: curl_free */
};

struct cn_webhook_rules {
    struct target *target;
    size_t n_targets;
    struct cn_network *network;
    size_t n_networks;
};

static void target_clear(struct target *t)
{
    curl_free(t->scheme);
    curl_free(t->host);
    curl_free(t->port);
    curl_free(t->path);
    *t = (struct target){NULL, NULL, NULL, NULL};
}

/* curl_url_get gives the path as it was normalised: "." and ".." are resolved. */
static int target_get(CURLU *u, struct target *ret, struct cn_err *err)
{
    struct target t = {NULL, NULL, NULL, NULL};

    if (curl_url_get(u, CURLUPART_SCHEME, &t.scheme, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_HOST, &t.host, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_PORT, &t.port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_PATH, &t.path, 0) != CURLUE_OK) {
        target_clear(&t);
        return cn_fail(err, CN_EINVAL, "the URL needs a scheme, a host and a path");
    }
    *ret = t;
    return CN_OK;
}

static bool has_part(CURLU *u, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(u, part, &text, 0) == CURLUE_OK;

    curl_free(text);
    return has;
}

/* Ways out of an allowed path, for servers that decode before they look for ".." and "/" (some of
 * them twice), or that drop what follows a ";" in a segment. */
static bool hides_a_segment(const char *path)
{
    static const char *const encoded[] = {"2e", "2f", "5c", "252e", "252f", "255c"};

    for (const char *p = path; (p = strchr(p, '%')) != NULL; p++)
        for (size_t i = 0; i < CN_LEN(encoded); i++)
            if (strncasecmp(p + 1, encoded[i], strlen(encoded[i])) == 0)
                return true;
    return strstr(path, "/..;") != NULL || strstr(path, "/.;") != NULL;
}

static int target_parse(const char *url, struct target *ret, struct cn_err *err)
{
    CURLU *u;
    struct target t = {NULL, NULL, NULL, NULL};
    CURLUcode uc;
    int rc;

    if (strlen(url) >= CN_WEBHOOK_URL)
        return cn_fail(err, CN_EINVAL, "a URL has at most %d bytes", CN_WEBHOOK_URL - 1);
    for (const char *p = url; *p != '\0'; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f || *p == '\\')
            return cn_fail(err, CN_EINVAL,
                           "a URL has no blanks, backslashes and bytes beyond "
                           "ASCII: they must be percent-encoded");
    u = curl_url();
    if (u == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for a URL");
    uc = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
    if (uc != CURLUE_OK)
        rc = uc == CURLUE_OUT_OF_MEMORY ? cn_fail(err, CN_ENOMEM, "no memory for a URL")
                                        : cn_fail(err, CN_EINVAL, "not a URL");
    else if (has_part(u, CURLUPART_USER) || has_part(u, CURLUPART_PASSWORD))
        rc = cn_fail(err, CN_EINVAL, "a URL with a user or a password");
    else if (strchr(url, '#') != NULL) /* also an empty one, which the parser drops */
        rc = cn_fail(err, CN_EINVAL, "a URL with a fragment");
    else if (strstr(url, "://") == NULL) /* the parser is lenient here */
        rc = cn_fail(err, CN_EINVAL, "not a URL");
    else
        rc = target_get(u, &t, err);
    curl_url_cleanup(u);
    if (rc == CN_OK && strcmp(t.scheme, "https") != 0 && strcmp(t.scheme, "http") != 0)
        rc = cn_fail(err, CN_EINVAL, "the scheme is neither https nor http");
    if (rc == CN_OK && hides_a_segment(t.path))
        rc =
            cn_fail(err, CN_EINVAL,
                    "the path has a way out of it: an encoded dot, slash or backslash, or \"..;\"");
    if (rc < 0) {
        target_clear(&t);
        return rc;
    }
    *ret = t;
    return CN_OK;
}

/* "/a" and "/a/" let /a, /a/ and /a/b pass, and not /ab. */
static bool path_begins_with(const char *path, const char *beginning)
{
    size_t n = strlen(beginning);

    if (n > 0 && beginning[n - 1] == '/')
        n--;
    return strncmp(path, beginning, n) == 0 &&
           (path[n] == '\0' || path[n] == '/' || path[n] == '?');
}

static bool is_below(const struct target *t, const struct target *allowed)
{
    return strcmp(t->scheme, allowed->scheme) == 0 && strcasecmp(t->host, allowed->host) == 0 &&
           strcmp(t->port, allowed->port) == 0 && path_begins_with(t->path, allowed->path);
}

/* Calls add for each word; stops at the first failure and puts the word before its message. */
static int each_word(const char *text, struct cn_webhook_rules *r,
                     int (*add)(struct cn_webhook_rules *, const char *, struct cn_err *),
                     struct cn_err *err)
{
    char word[CN_WEBHOOK_URL];
    int rc = CN_OK;

    while (rc == CN_OK && *(text += strspn(text, " \t")) != '\0') {
        size_t n = strcspn(text, " \t");

        if (n >= sizeof(word))
            return cn_fail(err, CN_EINVAL, "an entry has more than %d bytes", CN_WEBHOOK_URL - 1);
        memcpy(word, text, n);
        word[n] = '\0';
        text += n;
        rc = add(r, word, err);
        if (rc < 0)
            cn_err_prefix(err, "\"%.200s\"", word);
    }
    return rc;
}

static int add_target(struct cn_webhook_rules *r, const char *word, struct cn_err *err)
{
    struct target t;
    int rc = target_parse(word, &t, err);

    if (rc < 0)
        return rc;
    r->target = cn_xrealloc(r->target, (r->n_targets + 1) * sizeof(*r->target));
    r->target[r->n_targets++] = t;
    return CN_OK;
}

static int add_network(struct cn_webhook_rules *r, const char *word, struct cn_err *err)
{
    struct cn_network n;
    int rc = cn_network_parse(word, &n, err);

    if (rc < 0)
        return rc;
    r->network = cn_xrealloc(r->network, (r->n_networks + 1) * sizeof(*r->network));
    r->network[r->n_networks++] = n;
    return CN_OK;
}

int cn_webhook_rules_new(const char *allow, const char *networks, struct cn_webhook_rules **ret,
                         struct cn_err *err)
{
    struct cn_webhook_rules *r = cn_xcalloc(1, sizeof(*r));
    int rc = each_word(allow, r, add_target, err);

    if (rc == CN_OK)
        rc = each_word(networks, r, add_network, err);
    if (rc < 0) {
        cn_webhook_rules_free(r);
        return rc;
    }
    *ret = r;
    return CN_OK;
}

void cn_webhook_rules_free(struct cn_webhook_rules *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->n_targets; i++)
        target_clear(&r->target[i]);
    free(r->target);
    free(r->network);
    free(r);
}

bool cn_webhook_rules_allow_any(const struct cn_webhook_rules *r)
{
    return r->n_targets > 0;
}

int cn_webhook_rules_check(const struct cn_webhook_rules *r, const char *url, struct cn_err *err)
{
    struct target t;
    bool passes = false;
    int rc = target_parse(url, &t, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < r->n_targets && !passes; i++)
        passes = is_below(&t, &r->target[i]);
    target_clear(&t);
    if (!passes)
        return cn_fail(err, CN_ENOTFOUND, "this server may not call that URL");
    return CN_OK;
}

char *cn_webhook_host(const char *url)
{
    CURLU *u = curl_url();
    char *host = NULL, *copy;

    if (u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK)
        curl_url_get(u, CURLUPART_HOST, &host, 0);
    copy = cn_xstrdup(host == NULL ? "" : host);
    for (char *p = copy; *p != '\0'; p++)
        if (*p >= 'A' && *p <= 'Z') /* one host, however it is written */
            *p = (char)(*p - 'A' + 'a');
    curl_free(host);
    curl_url_cleanup(u);
    return copy;
}

bool cn_webhook_rules_pass(const struct cn_webhook_rules *r, const struct sockaddr *sa)
{
    if (cn_address_is_link_local(sa))
        return false;
    if (cn_address_is_public(sa))
        return true;
    for (size_t i = 0; i < r->n_networks; i++)
        if (cn_network_has(&r->network[i], sa))
            return true;
    return false;
}
