/* API keys: a file with one "name:key" per line. Loop thread only.
 *
 *     if (cn_keys_load(&keys, path, &err) < 0) ...
 *     name = cn_keys_check(&keys, authorization);      -- NULL: refused
 *     cn_keys_release(&keys);
 */
#ifndef CN_HTTP_AUTH_H
#define CN_HTTP_AUTH_H

#include "base/base.h"

struct cn_key {
    char *name, *key;
};

struct cn_keys {
    struct cn_key *key;
    size_t n, cap;
};

/* Empty lines and lines that begin with # are skipped. Keys have at least 16 characters. */
int cn_keys_load(struct cn_keys *k, const char *path, struct cn_err *err);
void cn_keys_release(struct cn_keys *k);

/* The name of the key in "Bearer KEY" (or in KEY alone), in a time that does not depend on how much
 * of it is right. NULL when there is none such. */
const char *cn_keys_check(const struct cn_keys *k, const char *credentials);

#endif
