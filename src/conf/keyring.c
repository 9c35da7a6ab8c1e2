/* Loads the file of keys, and notices when it changes. */
#include "base/base.h"
#include "conf/keyring.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

char *cn_keyring_path(const char *file, const char *state_dir)
{
    return file[0] != '\0' ? cn_xstrdup(file) : cn_xprintf("%s/keys", state_dir);
}

/* A state folder that may not be entered is another service's, not ours. */
static bool is_absent(const char *path)
{
    struct stat st;

    return stat(path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR || errno == EACCES);
}

static void look(struct cn_keyring *r)
{
    if (stat(r->path, &r->seen) < 0)
        memset(&r->seen, 0, sizeof(r->seen));
}

int cn_keyring_open(struct cn_keyring *r, const char *file, const char *state_dir,
                    struct cn_err *err)
{
    int rc = CN_OK;

    *r = (struct cn_keyring){.path = cn_keyring_path(file, state_dir)};
    look(r); /* before it is read: a change in between is seen later */
    r->on = file[0] != '\0' || !is_absent(r->path);
    if (r->on && (rc = cn_keys_load(&r->keys, r->path, err)) < 0)
        cn_keyring_close(r);
    return rc;
}

void cn_keyring_close(struct cn_keyring *r)
{
    cn_keys_release(&r->keys);
    free(r->path);
    *r = (struct cn_keyring){.path = NULL};
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

int cn_keyring_refresh(struct cn_keyring *r, struct cn_err *err)
{
    struct stat before = r->seen;
    struct cn_keys keys;
    int rc;

    look(r);
    if (is_same(&before, &r->seen) || (!r->on && is_absent(r->path)))
        return 0;
    if ((rc = cn_keys_load(&keys, r->path, err)) < 0)
        return rc;
    cn_keys_keep_counts(&keys, &r->keys);
    cn_keys_release(&r->keys);
    r->keys = keys;
    r->on = true;
    return 1;
}

int cn_keyring_plain(const struct cn_keyring *r)
{
    int n = 0;

    for (size_t i = 0; i < r->keys.n; i++)
        n += r->keys.key[i].is_plain;
    return n;
}
