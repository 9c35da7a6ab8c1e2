/* API keys. */
#include "base/base.h"
#include "http/auth/keys.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MIN_KEY = 16, MAX_FILE = 1 << 20, MAX_KEY = 512 };

struct place {
    const char *path;
    int line;
    struct cn_err *err;
};

struct option {
    const char *name;
    size_t offset;
    int lo, hi;
};

static const struct option number_options[] = {
    {"weight", offsetof(struct cn_key, weight), 1, 1000},
    {"max_queued", offsetof(struct cn_key, max_queued), 0, 1000000},
    {"max_running", offsetof(struct cn_key, max_running), 0, 1000000},
    {"max_priority", offsetof(struct cn_key, max_priority), -10, 10},
};

void cn_keys_release(struct cn_keys *k)
{
    if (k->key != NULL)
        explicit_bzero(k->key, k->n * sizeof(*k->key));
    free(k->key);
    *k = (struct cn_keys){NULL, 0, 0};
}

static int *number_of(struct cn_key *key, const struct option *o)
{
    return (int *)((char *)key + o->offset);
}

/* Names travel in logs, metrics and URLs. */
static bool is_name(const char *s)
{
    static const char ok[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@-";

    return s[0] != '\0' && strlen(s) < CN_KEY_NAME && s[strspn(s, ok)] == '\0';
}

static int read_hex(const char *text, unsigned char digest[CN_SHA256_BYTES])
{
    static const char digit[] = "0123456789abcdef";

    if (strlen(text) != (size_t)2 * CN_SHA256_BYTES)
        return CN_EFORMAT;
    for (size_t i = 0; i < (size_t)2 * CN_SHA256_BYTES; i++) {
        char c = text[i] >= 'A' && text[i] <= 'F' ? (char)(text[i] + 32) : text[i];
        const char *at = c == '\0' ? NULL : strchr(digit, c);

        if (at == NULL)
            return CN_EFORMAT;
        digest[i / 2] = (unsigned char)(digest[i / 2] << 4 | (unsigned char)(at - digit));
    }
    return CN_OK;
}

static int read_secret(struct cn_key *key, const char *text, const struct place *at)
{
    if (strncmp(text, "sha256=", 7) == 0) {
        if (read_hex(text + 7, key->digest) < 0)
            return cn_fail(at->err, CN_EFORMAT, "%s:%d: the digest of \"%s\" has not 64 hex digits",
                           at->path, at->line, key->name);
        return CN_OK;
    }
    if (strlen(text) < MIN_KEY || strlen(text) > MAX_KEY)
        return cn_fail(at->err, CN_EINVAL, "%s:%d: the key of \"%s\" has not %d to %d characters",
                       at->path, at->line, key->name, MIN_KEY, MAX_KEY);
    cn_sha256(text, strlen(text), key->digest);
    return CN_OK;
}

static int read_number(struct cn_key *key, const struct option *o, const char *value,
                       const struct place *at)
{
    char *end;
    long v;

    errno = 0;
    v = strtol(value, &end, 10);
    if (end == value || *end != '\0' || errno != 0 || v < o->lo || v > o->hi)
        return cn_fail(at->err, CN_EINVAL, "%s:%d: %s: \"%.60s\" is no number from %d to %d",
                       at->path, at->line, o->name, value, o->lo, o->hi);
    *number_of(key, o) = (int)v;
    return CN_OK;
}

static int read_option(struct cn_key *key, char *word, const struct place *at)
{
    char *value = strchr(word, '=');

    if (value == NULL)
        return cn_fail(at->err, CN_EFORMAT, "%s:%d: expected option=value, found \"%.60s\"",
                       at->path, at->line, word);
    *value++ = '\0';
    for (size_t i = 0; i < CN_LEN(number_options); i++)
        if (strcmp(word, number_options[i].name) == 0)
            return read_number(key, &number_options[i], value, at);
    if (strcmp(word, "tenant") == 0 && is_name(value)) {
        memcpy(key->tenant, value, strlen(value) + 1);
        return CN_OK;
    }
    if (strcmp(word, "role") == 0 && (strcmp(value, "user") == 0 || strcmp(value, "admin") == 0)) {
        key->admin = value[0] == 'a';
        return CN_OK;
    }
    if (strcmp(word, "tenant") == 0 || strcmp(word, "role") == 0)
        return cn_fail(at->err, CN_EINVAL, "%s:%d: %s: \"%.60s\" is not acceptable", at->path,
                       at->line, word, value);
    return cn_fail(at->err, CN_EINVAL, "%s:%d: there is no option \"%.60s\"", at->path, at->line,
                   word);
}

/* What another key of the same tenant says holds for this one too. */
static int agree(struct cn_key *a, struct cn_key *b, const struct place *at)
{
    for (size_t i = 0; i < CN_LEN(number_options); i++) {
        int *x = number_of(a, &number_options[i]), *y = number_of(b, &number_options[i]);

        if (*x != CN_KEY_UNSET && *y != CN_KEY_UNSET && *x != *y)
            return cn_fail(at->err, CN_EINVAL, "%s:%d: %s of tenant \"%s\" was %d before", at->path,
                           at->line, number_options[i].name, b->tenant, *x);
        if (*x == CN_KEY_UNSET)
            *x = *y;
        else
            *y = *x;
    }
    return CN_OK;
}

static int check_others(struct cn_keys *k, struct cn_key *key, const struct place *at)
{
    for (size_t i = 0; i < k->n; i++) {
        if (memcmp(k->key[i].digest, key->digest, CN_SHA256_BYTES) == 0)
            return cn_fail(at->err, CN_EINVAL, "%s:%d: \"%s\" has the same key as \"%s\"", at->path,
                           at->line, key->name, k->key[i].name);
        if (strcmp(k->key[i].tenant, key->tenant) == 0 && agree(&k->key[i], key, at) < 0)
            return CN_EINVAL;
    }
    return CN_OK;
}

static int read_line(struct cn_key *key, char *line, const struct place *at)
{
    char *rest = strchr(line, ':'), *word;
    int rc;

    if (rest != NULL)
        *rest++ = '\0';
    if (rest == NULL || !is_name(line))
        return cn_fail(at->err, CN_EFORMAT,
                       "%s:%d: expected \"name:key\" with a name of letters, digits and . _ @ -",
                       at->path, at->line);
    *key = (struct cn_key){.weight = CN_KEY_UNSET,
                           .max_queued = CN_KEY_UNSET,
                           .max_running = CN_KEY_UNSET,
                           .max_priority = CN_KEY_UNSET};
    memcpy(key->name, line, strlen(line) + 1);
    memcpy(key->tenant, line, strlen(line) + 1);
    word = strsep(&rest, " \t");
    rc = read_secret(key, word, at);
    while (rc == CN_OK && (word = strsep(&rest, " \t")) != NULL)
        if (word[0] != '\0')
            rc = read_option(key, word, at);
    return rc;
}

static int add_line(struct cn_keys *k, char *line, const struct place *at)
{
    struct cn_key key;
    int rc;

    line[strcspn(line, "\r")] = '\0';
    if (line[0] == '\0' || line[0] == '#')
        return CN_OK;
    if ((rc = read_line(&key, line, at)) < 0 || (rc = check_others(k, &key, at)) < 0)
        return rc;
    k->key = cn_grow(k->key, k->n, &k->cap, sizeof(*k->key));
    k->key[k->n++] = key;
    return CN_OK;
}

int cn_keys_load(struct cn_keys *k, const char *path, struct cn_err *err)
{
    struct place at = {path, 0, err};
    struct cn_buf b;
    char *rest;
    int rc;

    *k = (struct cn_keys){NULL, 0, 0};
    cn_buf_init(&b, MAX_FILE);
    rc = cn_file_read(path, &b, err);
    rest = (char *)b.data;
    while (rc == CN_OK && rest != NULL) {
        char *line = strsep(&rest, "\n");

        at.line++;
        rc = add_line(k, line, &at);
    }
    if (rc == CN_OK && k->n == 0)
        rc = cn_fail(err, CN_EINVAL, "%s: there is no key in it", path);
    if (rc < 0)
        cn_keys_release(k);
    if (b.data != NULL)
        explicit_bzero(b.data, b.len);
    cn_buf_release(&b);
    return rc;
}

/* Looks at every byte, whatever the first ones are. */
static bool equal(const unsigned char *a, const unsigned char *b)
{
    volatile unsigned char diff = 0;

    for (size_t i = 0; i < CN_SHA256_BYTES; i++)
        diff = (unsigned char)(diff | (a[i] ^ b[i]));
    return diff == 0;
}

const struct cn_key *cn_keys_check(const struct cn_keys *k, const char *credentials)
{
    const struct cn_key *found = NULL;
    unsigned char digest[CN_SHA256_BYTES];

    if (credentials == NULL)
        return NULL;
    if (strncasecmp(credentials, "Bearer ", 7) == 0)
        credentials += 7;
    cn_sha256(credentials, strlen(credentials), digest);
    for (size_t i = 0; i < k->n; i++)
        if (equal(digest, k->key[i].digest))
            found = &k->key[i];
    return found;
}

static bool ruled(const struct cn_tenant_rule *rule, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(rule[i].name, name) == 0)
            return true;
    return false;
}

static int said(int value, int preset)
{
    return value == CN_KEY_UNSET ? preset : value;
}

void cn_keys_rules(const struct cn_keys *k, const struct cn_tenant_limits *preset,
                   struct cn_tenant_rule **ret, size_t *ret_n)
{
    struct cn_tenant_rule *rule = cn_xcalloc(CN_MAX(k->n, 1), sizeof(*rule));
    size_t n = 0;

    for (size_t i = 0; i < k->n; i++) {
        const struct cn_key *key = &k->key[i];
        struct cn_tenant_limits *l = &rule[n].limits;

        if (ruled(rule, n, key->tenant))
            continue;
        *l = *preset;
        memcpy(rule[n++].name, key->tenant, sizeof(rule->name));
        if (key->weight != CN_KEY_UNSET)
            l->weight = key->weight;
        l->max_queued = said(key->max_queued, preset->max_queued);
        l->max_running = said(key->max_running, preset->max_running);
        l->max_priority = said(key->max_priority, preset->max_priority);
    }
    *ret = rule;
    *ret_n = n;
}
