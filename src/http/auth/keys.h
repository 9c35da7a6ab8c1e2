/* API keys: a file with one key per line. Loop thread only.
 *
 *     name:sha256=HEX [option=value]...          -- the digest of the key; "controlnetd keys add"
 *     name:KEY [option=value]...                 -- the key itself: still read
 *
 *     id=ID               what people call the key by; a part of it
 *     scopes=LIST         what it may do, separated by commas: submit, read, metrics, admin
 *     role=user|admin     older: submit,read,metrics (also without any of the two); admin
 *     expires=TIME        it is refused from then on: 2027-01-31 or 2027-01-31T12:00:00Z
 *     created=TIME        for people
 *     models=LIST         the models that its jobs may use, separated by commas; any without
 *     requests_per_minute=N
 *     tenant=NAME         whose jobs these are; the key's own name when it is left out
 *     weight=1..1000      share of the devices, against other tenants' weights
 *     max_queued=N        jobs of the tenant that may wait
 *     max_running=N       jobs of the tenant that run at a time; 0: no cap
 *     max_priority=-10..10   highest priority that its requests may ask for
 *
 * Several keys may stand for one tenant. The limits behind "tenant" belong to it: two of its keys
 * may not contradict each other.
 *
 *     if (cn_keys_load(&keys, path, &err) < 0) ...
 *     key = cn_keys_check(&keys, authorization);      -- NULL: there is none such
 *     cn_keys_release(&keys);
 */
#ifndef CN_HTTP_AUTH_KEYS_H
#define CN_HTTP_AUTH_KEYS_H

#include "base/base.h"
#include "base/sha256.h"
#include "job/tenant.h"

enum {
    CN_KEY_NAME = 64,      /* bytes of a name, with the NUL */
    CN_KEY_ID = 24,        /* bytes of an id, with the NUL */
    CN_KEY_FILE = 1 << 20, /* bytes of a file */
    CN_KEY_UNSET = -100    /* an option that no line of the tenant has */
};

enum cn_scope {
    CN_SCOPE_SUBMIT = 1,  /* submits and cancels jobs */
    CN_SCOPE_READ = 2,    /* sees jobs, pictures, models */
    CN_SCOPE_METRICS = 4, /* /metrics */
    CN_SCOPE_ADMIN = 8,   /* all of these, for all tenants; loads and unloads models */
    CN_SCOPE_USER = CN_SCOPE_SUBMIT | CN_SCOPE_READ | CN_SCOPE_METRICS,
    CN_SCOPE_ALL = CN_SCOPE_USER | CN_SCOPE_ADMIN
};

struct cn_key {
    char name[CN_KEY_NAME], tenant[CN_KEY_NAME];
    char id[CN_KEY_ID]; /* "": it has none */
    unsigned char digest[CN_SHA256_BYTES];
    unsigned scopes;              /* enum cn_scope; with CN_SCOPE_ADMIN all are set */
    int64_t expires_s, created_s; /* since 1970; 0: never, unknown */
    char *models;                 /* separated by commas; NULL: any */
    int requests_per_minute;      /* CN_KEY_UNSET: any number */
    int weight, max_queued, max_running, max_priority; /* CN_KEY_UNSET: the configuration's */
    bool is_plain;                                     /* the key itself stands in the file */
    int line;                                          /* in it, from 1 */
    int64_t window_ns; /* when the running minute of requests began; 0: none runs */
    int requests;      /* in it */
};

struct cn_keys {
    struct cn_key *key;
    size_t n, cap;
};

/* The first line of files that "controlnetd keys" has written. */
#define CN_KEYS_HEADER "# Keys of controlnetd, written by \"controlnetd keys\": see controlnetd(8)."

/* Empty lines and lines that begin with # are skipped. Keys have at least 16 characters. A file
 * without keys is an error (it was cut, or is another one), unless it begins with CN_KEYS_HEADER:
 * then the last one was revoked, and nobody may come in. */
int cn_keys_load(struct cn_keys *k, const char *path, struct cn_err *err);
int cn_keys_parse(struct cn_keys *k, const char *path, const char *text, size_t len,
                  struct cn_err *err);
void cn_keys_release(struct cn_keys *k);

/* Takes over what each key has used of its minute: k was read anew. */
void cn_keys_keep_counts(struct cn_keys *k, const struct cn_keys *old);

/* The key in "Bearer KEY", in "Basic base64(user:KEY)" (or of KEY:), or in KEY alone, in a time
 * that does not depend on how much of it is right, nor on which key it is. NULL when there is none
 * such. Borrowed from k; expired keys are found too. */
struct cn_key *cn_keys_check(const struct cn_keys *k, const char *credentials);

/* The same for an id (or, without one, a name) in a ticket. */
struct cn_key *cn_keys_find(const struct cn_keys *k, const char *id);

/* Names travel in logs, metrics and URLs: 1 to CN_KEY_NAME - 1 letters, digits and . _ @ - */
bool cn_key_name_is_good(const char *name);

/* What a ticket names it by. */
const char *cn_key_label(const struct cn_key *key);

bool cn_key_is_expired(const struct cn_key *key, int64_t wall_s);

/* "submit,read" to enum cn_scope and back; -1: a word that is none. */
int cn_scopes_read(const char *text);
void cn_scopes_write(unsigned scopes, char *text, size_t size);

/* 2027-01-31 or 2027-01-31T12:00:00Z; -1: neither. */
int64_t cn_key_time(const char *text);

/* The limits of all tenants that have keys: one rule each, what the keys do not say from preset.
 * *ret has *ret_n of them; free(). */
void cn_keys_rules(const struct cn_keys *k, const struct cn_tenant_limits *preset,
                   struct cn_tenant_rule **ret, size_t *ret_n);

#endif
