/* API keys: a file with one key per line. Loop thread only.
 *
 *     name:KEY [option=value]...
 *     name:sha256=HEX [option=value]...          -- the digest of the key instead of the key
 *
 *     tenant=NAME         whose jobs these are; the key's own name when it is left out
 *     weight=1..1000      share of the devices, against other tenants' weights
 *     max_queued=N        jobs of the tenant that may wait
 *     max_running=N       jobs of the tenant that run at a time; 0: no cap
 *     max_priority=-10..10   highest priority that its requests may ask for
 *     role=user|admin
 *
 * Several keys may stand for one tenant. The limits belong to the tenant: two of its keys may not
 * contradict each other.
 *
 *     if (cn_keys_load(&keys, path, &err) < 0) ...
 *     key = cn_keys_check(&keys, authorization);      -- NULL: refused
 *     cn_keys_release(&keys);
 */
#ifndef CN_HTTP_AUTH_KEYS_H
#define CN_HTTP_AUTH_KEYS_H

#include "base/base.h"
#include "base/sha256.h"
#include "job/tenant.h"

enum {
    CN_KEY_NAME = 64,   /* bytes of a name, with the NUL */
    CN_KEY_UNSET = -100 /* an option that no line of the tenant has */
};

struct cn_key {
    char name[CN_KEY_NAME], tenant[CN_KEY_NAME];
    unsigned char digest[CN_SHA256_BYTES];
    int weight, max_queued, max_running, max_priority; /* CN_KEY_UNSET: the configuration's */
    bool admin;
};

struct cn_keys {
    struct cn_key *key;
    size_t n, cap;
};

/* Empty lines and lines that begin with # are skipped. Keys have at least 16 characters. */
int cn_keys_load(struct cn_keys *k, const char *path, struct cn_err *err);
void cn_keys_release(struct cn_keys *k);

/* The key in "Bearer KEY" (or in KEY alone), in a time that does not depend on how much of it is
 * right, nor on which key it is. NULL when there is none such. Borrowed from k. */
const struct cn_key *cn_keys_check(const struct cn_keys *k, const char *credentials);

/* The limits of all tenants that have keys: one rule each, what the keys do not say from preset.
 * *ret has *ret_n of them; free(). */
void cn_keys_rules(const struct cn_keys *k, const struct cn_tenant_limits *preset,
                   struct cn_tenant_rule **ret, size_t *ret_n);

#endif
