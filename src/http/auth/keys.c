/* Reads the file of API keys, and finds the key that a request brings. Of the keys only digests are
 * kept; a comparison takes the same time whatever the key is. */
#include "base/base.h"
#include "http/auth/keys.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { MIN_KEY = 16, MAX_KEY = 512, MAX_BASIC = 2 * MAX_KEY };

struct place {
    const char *path;
    int line;
    struct cn_err *err;
};

struct option {
    const char *name;
    size_t offset;
    int lo, hi;
    bool of_tenant; /* else of the key */
};

static const struct option number_options[] = {
    {"weight", offsetof(struct cn_key, weight), 1, 1000, true},
    {"max_queued", offsetof(struct cn_key, max_queued), 0, 1000000, true},
    {"max_running", offsetof(struct cn_key, max_running), 0, 1000000, true},
    {"max_priority", offsetof(struct cn_key, max_priority), -10, 10, true},
    {"requests_per_minute", offsetof(struct cn_key, requests_per_minute), 1, 1000000, false},
};

static const struct {
    const char *name;
    unsigned scopes; /* what it includes */
} scope_names[] = {
    {"submit", CN_SCOPE_SUBMIT},
    {"read", CN_SCOPE_READ},
    {"metrics", CN_SCOPE_METRICS},
    {"admin", CN_SCOPE_ALL},
};

static const char name_chars[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@-";

void cn_keys_release(struct cn_keys *k)
{
    for (size_t i = 0; i < k->n; i++)
        free(k->key[i].models);
    if (k->key != NULL)
        explicit_bzero(k->key, k->n * sizeof(*k->key));
    free(k->key);
    *k = (struct cn_keys){NULL, 0, 0};
}

/* ---- scopes and times ---- */

int cn_scopes_read(const char *text)
{
    unsigned scopes = 0;

    for (;; text++) {
        size_t n = strcspn(text, ","), i = 0;

        while (i < CN_LEN(scope_names) &&
               (strlen(scope_names[i].name) != n || memcmp(scope_names[i].name, text, n) != 0))
            i++;
        if (i == CN_LEN(scope_names))
            return -1;
        scopes |= scope_names[i].scopes;
        text += n;
        if (*text == '\0')
            return (int)scopes;
    }
}

void cn_scopes_write(unsigned scopes, char *text, size_t size)
{
    size_t n = 0;

    if (scopes & CN_SCOPE_ADMIN)
        scopes = CN_SCOPE_ADMIN;
    text[0] = '\0';
    for (size_t i = 0; i < CN_LEN(scope_names) && n < size; i++) {
        unsigned bit = i == CN_LEN(scope_names) - 1 ? CN_SCOPE_ADMIN : scope_names[i].scopes;

        if (scopes & bit)
            n += (size_t)snprintf(text + n, size - n, "%s%s", n == 0 ? "" : ",",
                                  scope_names[i].name);
    }
}

int64_t cn_key_time(const char *text)
{
    int64_t us = cn_time_parse(text);

    return us < 0 ? -1 : us / CN_SECOND_US;
}

bool cn_key_is_expired(const struct cn_key *key, int64_t wall_s)
{
    return key->expires_s != 0 && wall_s >= key->expires_s;
}

const char *cn_key_label(const struct cn_key *key)
{
    return key->id[0] != '\0' ? key->id : key->name;
}

/* ---- a line of the file ---- */

static int *number_of(struct cn_key *key, const struct option *o)
{
    return (int *)((char *)key + o->offset);
}

static bool is_name(const char *s, size_t size)
{
    return s[0] != '\0' && strlen(s) < size && s[strspn(s, name_chars)] == '\0';
}

bool cn_key_name_is_good(const char *name)
{
    return is_name(name, CN_KEY_NAME);
}

static int read_secret(struct cn_key *key, const char *text, const struct place *at)
{
    if (strncmp(text, "sha256=", 7) == 0) {
        if (!cn_hex_decode(text + 7, key->digest, CN_SHA256_BYTES))
            return cn_fail(at->err, CN_EFORMAT, "%s:%d: the digest of \"%s\" has not 64 hex digits",
                           at->path, at->line, key->name);
        return CN_OK;
    }
    if (strlen(text) < MIN_KEY || strlen(text) > MAX_KEY)
        return cn_fail(at->err, CN_EINVAL, "%s:%d: the key of \"%s\" has not %d to %d characters",
                       at->path, at->line, key->name, MIN_KEY, MAX_KEY);
    cn_sha256(text, strlen(text), key->digest);
    key->is_plain = true;
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
        return cn_fail(at->err, CN_EINVAL, "%s:%d: %s: \"%.60s\" is not a number from %d to %d",
                       at->path, at->line, o->name, value, o->lo, o->hi);
    *number_of(key, o) = (int)v;
    return CN_OK;
}

static bool set_role(struct cn_key *key, const char *value)
{
    if (strcmp(value, "user") != 0 && strcmp(value, "admin") != 0)
        return false;
    key->scopes = value[0] == 'a' ? CN_SCOPE_ALL : CN_SCOPE_USER;
    return true;
}

static bool set_scopes(struct cn_key *key, const char *value)
{
    int scopes = cn_scopes_read(value);

    if (scopes >= 0)
        key->scopes = (unsigned)scopes;
    return scopes >= 0;
}

static bool set_time(int64_t *ret, const char *value)
{
    *ret = cn_key_time(value);
    return *ret > 0;
}

/* No name of a list may be empty: a comma too many would allow less, or more, than was meant. */
static bool set_models(struct cn_key *key, const char *value)
{
    size_t n = strlen(value);

    if (n == 0 || value[0] == ',' || value[n - 1] == ',' || strstr(value, ",,") != NULL)
        return false;
    free(key->models);
    key->models = cn_xstrdup(value);
    return true;
}

static bool set_name(char *ret, size_t size, const char *value)
{
    if (is_name(value, size))
        memcpy(ret, value, strlen(value) + 1);
    return is_name(value, size);
}

/* -1: there is no option of this name; 0: the value is not acceptable. */
static int set_text(struct cn_key *key, const char *name, const char *value)
{
    if (strcmp(name, "tenant") == 0)
        return set_name(key->tenant, sizeof(key->tenant), value);
    if (strcmp(name, "id") == 0)
        return set_name(key->id, sizeof(key->id), value);
    if (strcmp(name, "role") == 0)
        return set_role(key, value);
    if (strcmp(name, "scopes") == 0)
        return set_scopes(key, value);
    if (strcmp(name, "expires") == 0)
        return set_time(&key->expires_s, value);
    if (strcmp(name, "created") == 0)
        return set_time(&key->created_s, value);
    return strcmp(name, "models") == 0 ? set_models(key, value) : -1;
}

static int read_option(struct cn_key *key, char *word, const struct place *at)
{
    char *value = strchr(word, '=');
    int known;

    if (value == NULL)
        return cn_fail(at->err, CN_EFORMAT, "%s:%d: expected option=value, found \"%.60s\"",
                       at->path, at->line, word);
    *value++ = '\0';
    for (size_t i = 0; i < CN_LEN(number_options); i++)
        if (strcmp(word, number_options[i].name) == 0)
            return read_number(key, &number_options[i], value, at);
    known = set_text(key, word, value);
    if (known == 0)
        return cn_fail(at->err, CN_EINVAL, "%s:%d: %s: \"%.60s\" is not acceptable", at->path,
                       at->line, word, value);
    if (known < 0)
        return cn_fail(at->err, CN_EINVAL, "%s:%d: there is no option \"%.60s\"", at->path,
                       at->line, word);
    return CN_OK;
}

/* What another key of the same tenant says holds for this one too. */
static int merge_tenant_limits(struct cn_key *a, struct cn_key *b, const struct place *at)
{
    for (size_t i = 0; i < CN_LEN(number_options); i++) {
        int *x = number_of(a, &number_options[i]), *y = number_of(b, &number_options[i]);

        if (!number_options[i].of_tenant)
            continue;
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
        if (key->id[0] != '\0' && strcmp(k->key[i].id, key->id) == 0)
            return cn_fail(at->err, CN_EINVAL, "%s:%d: the id \"%s\" was in line %d already",
                           at->path, at->line, key->id, k->key[i].line);
        if (strcmp(k->key[i].tenant, key->tenant) == 0 &&
            merge_tenant_limits(&k->key[i], key, at) < 0)
            return CN_EINVAL;
    }
    return CN_OK;
}

static int read_line(struct cn_key *key, char *line, const struct place *at)
{
    char *rest = strchr(line, ':'), *word;
    int rc;

    *key = (struct cn_key){.scopes = CN_SCOPE_USER,
                           .requests_per_minute = CN_KEY_UNSET,
                           .weight = CN_KEY_UNSET,
                           .max_queued = CN_KEY_UNSET,
                           .max_running = CN_KEY_UNSET,
                           .max_priority = CN_KEY_UNSET,
                           .line = at->line};
    if (rest != NULL)
        *rest++ = '\0';
    if (rest == NULL || !is_name(line, sizeof(key->name)))
        return cn_fail(at->err, CN_EFORMAT,
                       "%s:%d: expected \"name:key\" with a name of letters, digits and . _ @ -",
                       at->path, at->line);
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
    if ((rc = read_line(&key, line, at)) < 0 || (rc = check_others(k, &key, at)) < 0) {
        free(key.models);
        return rc;
    }
    k->key = cn_grow(k->key, k->n, &k->cap, sizeof(*k->key));
    k->key[k->n++] = key;
    return CN_OK;
}

/* ---- the file ---- */

int cn_keys_parse(struct cn_keys *k, const char *path, const char *text, size_t len,
                  struct cn_err *err)
{
    struct place at = {path, 0, err};
    char *copy = cn_try_alloc(len + 1), *rest = copy;
    int rc = CN_OK;

    *k = (struct cn_keys){NULL, 0, 0};
    if (copy == NULL)
        return cn_fail(err, CN_ENOMEM, "%s: there is no memory to read it", path);
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    if (strlen(copy) != len)
        rc = cn_fail(err, CN_EFORMAT, "%s: there are NUL bytes in it", path);
    while (rc == CN_OK && rest != NULL) {
        char *line = strsep(&rest, "\n");

        at.line++;
        rc = add_line(k, line, &at);
    }
    if (rc == CN_OK && k->n == 0 &&
        (len < strlen(CN_KEYS_HEADER) || memcmp(text, CN_KEYS_HEADER, strlen(CN_KEYS_HEADER)) != 0))
        rc = cn_fail(err, CN_EINVAL, "%s: there is no key in it", path);
    if (rc < 0)
        cn_keys_release(k);
    explicit_bzero(copy, len);
    free(copy);
    return rc;
}

int cn_keys_load(struct cn_keys *k, const char *path, struct cn_err *err)
{
    struct cn_buf b;
    int rc;

    *k = (struct cn_keys){NULL, 0, 0};
    cn_buf_init(&b, CN_KEY_FILE);
    rc = cn_file_read(path, &b, err);
    if (rc == CN_OK)
        rc = cn_keys_parse(k, path, (const char *)b.data, b.len, err);
    if (b.data != NULL)
        explicit_bzero(b.data, b.len);
    cn_buf_release(&b);
    return rc;
}

void cn_keys_keep_counts(struct cn_keys *k, const struct cn_keys *old)
{
    for (size_t i = 0; i < k->n; i++)
        for (size_t j = 0; j < old->n; j++)
            if (memcmp(k->key[i].digest, old->key[j].digest, CN_SHA256_BYTES) == 0) {
                k->key[i].window_ns = old->key[j].window_ns;
                k->key[i].requests = old->key[j].requests;
            }
}

/* ---- finding one ---- */

/* Looks at every byte, whatever the first ones are. */
static bool equal(const unsigned char *a, const unsigned char *b)
{
    volatile unsigned char diff = 0;

    for (size_t i = 0; i < CN_SHA256_BYTES; i++)
        diff = (unsigned char)(diff | (a[i] ^ b[i]));
    return diff == 0;
}

static struct cn_key *find_secret(const struct cn_keys *k, const char *secret, size_t len)
{
    unsigned char digest[CN_SHA256_BYTES];
    struct cn_key *found = NULL;

    cn_sha256(secret, len, digest);
    for (size_t i = 0; i < k->n; i++)
        if (equal(digest, k->key[i].digest))
            found = &k->key[i];
    return found;
}

/* base64 of "user:password": the password is the key, or the user when there is no password (as
 * "curl -u KEY:" sends it). RFC 7617. */
static struct cn_key *check_basic(const struct cn_keys *k, const char *text)
{
    struct cn_key *found = NULL;
    unsigned char *raw;
    const char *colon;
    size_t len;

    if (cn_base64_decode(text, strlen(text), MAX_BASIC, &raw, &len, NULL) < 0)
        return NULL;
    colon = memchr(raw, ':', len);
    if (colon != NULL) {
        const char *end = (const char *)raw + len;

        found = colon + 1 < end ? find_secret(k, colon + 1, (size_t)(end - colon - 1))
                                : find_secret(k, (const char *)raw, len - 1);
    }
    explicit_bzero(raw, len);
    free(raw);
    return found;
}

struct cn_key *cn_keys_check(const struct cn_keys *k, const char *credentials)
{
    if (credentials == NULL)
        return NULL;
    if (strncasecmp(credentials, "Basic ", 6) == 0)
        return check_basic(k, credentials + 6);
    if (strncasecmp(credentials, "Bearer ", 7) == 0)
        credentials += 7;
    return find_secret(k, credentials, strlen(credentials));
}

struct cn_key *cn_keys_find(const struct cn_keys *k, const char *id)
{
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(cn_key_label(&k->key[i]), id) == 0)
            return &k->key[i];
    return NULL;
}

/* ---- tenants ---- */

static bool has_rule(const struct cn_tenant_rule *rule, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(rule[i].name, name) == 0)
            return true;
    return false;
}

static int value_or(int value, int preset)
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

        if (has_rule(rule, n, key->tenant))
            continue;
        *l = *preset;
        memcpy(rule[n++].name, key->tenant, sizeof(rule->name));
        if (key->weight != CN_KEY_UNSET)
            l->weight = key->weight;
        l->max_queued = value_or(key->max_queued, preset->max_queued);
        l->max_running = value_or(key->max_running, preset->max_running);
        l->max_priority = value_or(key->max_priority, preset->max_priority);
    }
    *ret = rule;
    *ret_n = n;
}
