/* The version of a model's files: a hash over what the file system says of them. */
#include "base/base.h"
#include "runtime/version.h"
#include "base/mem.h"
#include "base/table.h"
#include "checkpoint/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 4 }; /* model/component/file, and one more */

static uint64_t add_number(uint64_t h, uint64_t v)
{
    char text[24];

    snprintf(text, sizeof(text), "%llx,", (unsigned long long)v);
    return cn_hash_text(h, text);
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static uint64_t add_path(uint64_t h, const char *path, int depth);

static uint64_t add_folder(uint64_t h, const char *path, int depth)
{
    struct dirent **list = NULL;
    int n = scandir(path, &list, visible, alphasort);

    if (n < 0)
        return add_number(h, (uint64_t)errno);
    for (int i = 0; i < n; i++) {
        char *child = cn_xprintf("%s/%s", path, list[i]->d_name);

        h = cn_hash_text(h, list[i]->d_name);
        h = add_path(h, child, depth + 1);
        free(child);
        free(list[i]);
    }
    free(list);
    return h;
}

/* The times of directories say nothing that their files do not. */
static uint64_t add_path(uint64_t h, const char *path, int depth)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return add_number(h, (uint64_t)errno);
    h = add_number(add_number(h, (uint64_t)st.st_dev), (uint64_t)st.st_ino);
    if (S_ISDIR(st.st_mode))
        return depth < DEPTH_MAX ? add_folder(h, path, depth) : h;
    h = add_number(add_number(h, (uint64_t)st.st_size), (uint64_t)st.st_mtim.tv_sec);
    return add_number(add_number(h, (uint64_t)st.st_mtim.tv_nsec), st.st_mode);
}

/* What lies beside a file and may be a part of it: NAME.json, NAME.vae.pt, and what all files of a
 * folder share; but not NAME with another ending of weights, which is another model. */
static bool may_belong(const char *name, const char *stem, size_t len)
{
    return strncmp(name, "vae", 3) == 0 || strncmp(name, "text_encoder", 12) == 0 ||
           (strncmp(name, stem, len) == 0 && name[len] == '.' &&
            strlen(name) - cn_checkpoint_ending(name) != len);
}

static uint64_t add_neighbours(uint64_t h, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(name, '.');
    size_t stem = dot == NULL ? strlen(name) : (size_t)(dot - name);
    char *dir = slash == NULL ? cn_xstrdup(".") : cn_xprintf("%.*s", (int)(slash - path) + 1, path);
    struct dirent **list = NULL;
    int n = scandir(dir, &list, visible, alphasort);

    for (int i = 0; i < n; i++) {
        char *other = cn_xprintf("%s/%s", dir, list[i]->d_name);

        if (may_belong(list[i]->d_name, name, stem)) {
            h = cn_hash_text(h, list[i]->d_name);
            h = add_path(h, other, DEPTH_MAX - 1);
        }
        free(other);
        free(list[i]);
    }
    free(list);
    free(dir);
    return h;
}

uint64_t cn_files_version(const char *path)
{
    uint64_t h = add_path(CN_HASH_INIT, path, 0);
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? h : add_neighbours(h, path);
}
