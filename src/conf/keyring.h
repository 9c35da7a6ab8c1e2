/* The keys in force, and the file they come from, which is looked at now and then: a key that was
 * revoked must not wait for a reload. Loop thread only.
 *
 *     cn_keyring_open(&ring, file, state_dir, &err);      -- file "": the one in the state folder
 *     if (ring.on) ... &ring.keys ...                      -- off: there is no such file
 *     rc = cn_keyring_refresh(&ring, &err);                -- 1: it has changed, and was read
 *     cn_keyring_close(&ring);
 */
#ifndef CN_KEYRING_H
#define CN_KEYRING_H

#include "base/base.h"
#include "http/auth/keys.h"

#include <sys/stat.h>

struct cn_keyring {
    char *path;
    bool on; /* authentication is: also when nobody has a key any more */
    struct cn_keys keys;
    struct stat seen; /* the file, when it was read last, or tried */
};

/* Where the keys are: file, or the default in the state folder. free(). */
char *cn_keyring_path(const char *file, const char *state_dir);

/* Without a file of one's own the default need not exist: then authentication is off. */
int cn_keyring_open(struct cn_keyring *r, const char *file, const char *state_dir,
                    struct cn_err *err);
void cn_keyring_close(struct cn_keyring *r);

/* Reads the file again when it is another one than before, or its size or times are others. 0: the
 * same; 1: read; negative, once for each change: it cannot be used, and the keys stay as they are.
 * A file that comes into being switches authentication on; one that goes does not switch it off. */
int cn_keyring_refresh(struct cn_keyring *r, struct cn_err *err);

/* Keys that stand in the file themselves, instead of their digests. */
int cn_keyring_plain(const struct cn_keyring *r);

#endif
