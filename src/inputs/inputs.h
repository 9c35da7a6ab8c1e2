/* Pictures that are uploaded once and named in many requests.
 *
 * DESIGN. A folder with one subfolder for each tenant, and in it one file for each input, named by
 * the SHA-256 of its bytes: the same picture is kept once per tenant, and nobody reaches another
 * tenant's by knowing its digest. An input lives for ttl_s after its last use; the time of the file
 * is the time of that use. Jobs hold copies: an input that goes takes nothing from them.
 *
 * Any thread: the functions read and write files, so they belong into a pool of threads. One lock
 * guards the counts and the moment in which a file appears or goes; nothing is read or written
 * under it. Two processes may have the folder for a while (a restart that hands over): each counts
 * again at every sweep.
 *
 *     cn_inputs_open(&options, &inputs, &err);
 *     cn_inputs_put(inputs, "alice", data, len, &input, &err);       -- input.id
 *     cn_inputs_get(inputs, "alice", id, &buf, &err);                -- buf's maximum is the limit
 *     cn_inputs_sweep(inputs);                                       -- every minute
 *     cn_inputs_close(inputs);
 */
#ifndef CN_INPUTS_INPUTS_H
#define CN_INPUTS_INPUTS_H

#include "base/base.h"
#include "base/buf.h"

struct cn_inputs;

enum { CN_INPUT_ID = 65 }; /* 64 hexadecimal digits, lower case, and the NUL */

struct cn_inputs_limits {
    int ttl_s;
    uint64_t max_bytes; /* of all tenants together */
    uint64_t tenant_max_bytes;
    int tenant_max_count;
};

struct cn_inputs_options {
    const char *dir; /* is made, with its parents */
    struct cn_inputs_limits limits;
};

struct cn_input {
    char id[CN_INPUT_ID];
    uint64_t bytes;
    int64_t expires_s; /* since 1970, unless it is used before */
    bool is_new;       /* of cn_inputs_put: it was not there yet */
};

struct cn_inputs_totals {
    int count;
    uint64_t bytes;
};

/* Counts what is there. CN_ESTORAGE: the folder cannot be used. */
int cn_inputs_open(const struct cn_inputs_options *o, struct cn_inputs **ret, struct cn_err *err);

/* No other call is under way. */
void cn_inputs_close(struct cn_inputs *in);

void cn_inputs_set_limits(struct cn_inputs *in, const struct cn_inputs_limits *limits);

/* Kept when it returns: the file and its name are flushed. CN_ETOOBIG: the tenant has as many, or
 * as many bytes, as it may; CN_ESTORAGE: all tenants together have, or the disk is full or fails.
 */
int cn_inputs_put(struct cn_inputs *in, const char *tenant, const void *data, size_t len,
                  struct cn_input *ret, struct cn_err *err);

/* Appends the bytes; that counts as a use. CN_EINVAL: no id has that form; CN_ENOTFOUND: this
 * tenant has no such input (any more); CN_EFORMAT: the file was changed; CN_ETOOBIG: over ret's
 * maximum. */
int cn_inputs_get(struct cn_inputs *in, const char *tenant, const char *id, struct cn_buf *ret,
                  struct cn_err *err);

/* What is known of it without using it. */
int cn_inputs_stat(struct cn_inputs *in, const char *tenant, const char *id, struct cn_input *ret,
                   struct cn_err *err);

int cn_inputs_remove(struct cn_inputs *in, const char *tenant, const char *id, struct cn_err *err);

/* Removes what was not used for ttl_s and what a crash left behind, and counts again. */
void cn_inputs_sweep(struct cn_inputs *in);

void cn_inputs_totals(struct cn_inputs *in, struct cn_inputs_totals *ret);

bool cn_input_id_is_valid(const char *id);

#endif
