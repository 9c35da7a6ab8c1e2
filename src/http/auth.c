/* API keys. */
#include "base/base.h"
#include "http/auth.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MIN_KEY = 16, MAX_FILE = 1 << 20, MAX_KEY = 512 };

void cn_keys_release(struct cn_keys *k)
{
    for (size_t i = 0; i < k->n; i++) {
        free(k->key[i].name);
        free(k->key[i].key);
    }
    free(k->key);
    *k = (struct cn_keys){NULL, 0, 0};
}

static int add_line(struct cn_keys *k, char *line, const char *path, int number, struct cn_err *err)
{
    char *colon = strchr(line, ':');

    line[strcspn(line, "\r")] = '\0';
    if (line[0] == '\0' || line[0] == '#')
        return CN_OK;
    if (colon == NULL || colon == line)
        return cn_fail(err, CN_EFORMAT, "%s:%d: expected \"name:key\"", path, number);
    *colon = '\0';
    if (strlen(colon + 1) < MIN_KEY || strlen(colon + 1) > MAX_KEY)
        return cn_fail(err, CN_EINVAL, "%s:%d: the key of \"%.60s\" has not %d to %d characters",
                       path, number, line, MIN_KEY, MAX_KEY);
    k->key = cn_grow(k->key, k->n, &k->cap, sizeof(*k->key));
    k->key[k->n++] = (struct cn_key){cn_xstrdup(line), cn_xstrdup(colon + 1)};
    return CN_OK;
}

int cn_keys_load(struct cn_keys *k, const char *path, struct cn_err *err)
{
    struct cn_buf b;
    char *rest;
    int rc, number = 0;

    *k = (struct cn_keys){NULL, 0, 0};
    cn_buf_init(&b, MAX_FILE);
    rc = cn_file_read(path, &b, err);
    rest = (char *)b.data;
    while (rc == CN_OK && rest != NULL) {
        char *line = strsep(&rest, "\n");

        rc = add_line(k, line, path, ++number, err);
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

/* Looks at every byte of what was given, whatever the key is. */
static bool equal(const char *given, size_t len, const char *key)
{
    size_t key_len = strlen(key);
    volatile unsigned char diff = (unsigned char)(len != key_len);

    for (size_t i = 0; i < len; i++)
        diff = (unsigned char)(diff | (given[i] ^ key[key_len == 0 ? 0 : i % key_len]));
    return diff == 0;
}

const char *cn_keys_check(const struct cn_keys *k, const char *credentials)
{
    const char *found = NULL;
    size_t len;

    if (credentials == NULL)
        return NULL;
    if (strncasecmp(credentials, "Bearer ", 7) == 0)
        credentials += 7;
    len = strlen(credentials);
    for (size_t i = 0; i < k->n; i++)
        if (equal(credentials, len, k->key[i].key))
            found = k->key[i].name;
    return found;
}
