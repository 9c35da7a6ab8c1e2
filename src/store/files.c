/* The directory: its lock, the pictures' files, and what crashes leave in it. */
#include "base/base.h"
#include "store/sqlite_priv.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const suffix[CN_FORMAT_COUNT] = {"png", "jpg", "webp"};

/* ---- the directory ---- */

int cn_store_system_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

/* Fills err with what could not be done and errno's reason. */
static enum cn_store_outcome refused(struct cn_err *err, const char *what, const char *path)
{
    enum cn_store_outcome o = cn_store_outcome_of_errno(errno);

    cn_fail(err, CN_ESTORAGE, "cannot %s \"%s\": %s", what, path,
            o == CN_STORE_NO_ROOM ? "the disk is full" : strerror(errno));
    return o;
}

static int fsync_dir(const struct cn_store_io *io, const char *path)
{
    int fd = io->open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), rc, e;

    if (fd < 0)
        return -1;
    rc = io->fsync(fd);
    e = errno;
    close(fd);
    errno = e;
    return rc;
}

/* A folder, and first those that it is in; each new one is on the disk before anything is in it. */
static enum cn_store_outcome make_dir(struct cn_sqlite *s, const char *path, mode_t mode,
                                      struct cn_err *err)
{
    const char *slash = strrchr(path, '/');
    char *parent = slash == NULL || slash == path ? cn_xstrdup(slash == NULL ? "." : "/")
                                                  : cn_xprintf("%.*s", (int)(slash - path), path);
    enum cn_store_outcome o = CN_STORE_OK;
    bool made = mkdir(path, mode) == 0;

    if (!made && errno == ENOENT && strcmp(parent, path) != 0) {
        o = make_dir(s, parent, 0755, err);
        made = o == CN_STORE_OK && mkdir(path, mode) == 0;
    }
    if (o == CN_STORE_OK && !made && errno != EEXIST)
        o = refused(err, "make", path);
    if (o == CN_STORE_OK && made && fsync_dir(&s->io, parent) < 0)
        o = refused(err, "flush", parent);
    free(parent);
    return o;
}

/* What is in a folder is on the disk only when the folder is, in its parent. */
enum cn_store_outcome cn_store_make_dirs(struct cn_sqlite *s, struct cn_err *err)
{
    static const char *const name[] = {"", "/tmp", "/results"};
    enum cn_store_outcome o = CN_STORE_OK;

    for (size_t i = 0; i < CN_LEN(name) && o == CN_STORE_OK; i++) {
        char *path = cn_xprintf("%s%s", s->base.dir, name[i]);

        o = make_dir(s, path, 0700, err);
        free(path);
    }
    if (o == CN_STORE_OK && fsync_dir(&s->io, s->base.dir) < 0)
        o = refused(err, "flush", s->base.dir);
    s->w_results_dirty = true; /* an earlier life may have made folders and not flushed them */
    return o;
}

enum cn_store_outcome cn_store_lock(struct cn_sqlite *s, bool *ret_busy, struct cn_err *err)
{
    char *path = cn_xprintf("%s/lock", s->base.dir);
    enum cn_store_outcome o = CN_STORE_OK;

    *ret_busy = false;
    if (s->w_lock_fd < 0)
        s->w_lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->w_lock_fd < 0)
        o = refused(err, "open", path);
    else if (flock(s->w_lock_fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        *ret_busy = true;
    else if (flock(s->w_lock_fd, LOCK_EX | LOCK_NB) < 0)
        o = refused(err, "lock", path);
    free(path);
    return o;
}

/* Calls visit for each file of a directory, except what begins with a dot. */
static void each_file(const char *dir, void (*visit)(struct cn_sqlite *s, const char *path),
                      struct cn_sqlite *s)
{
    DIR *d = opendir(dir);
    const struct dirent *e;

    if (d == NULL)
        return;
    while ((e = readdir(d)) != NULL) {
        char *path;

        if (e->d_name[0] == '.')
            continue;
        path = cn_xprintf("%s/%s", dir, e->d_name);
        visit(s, path);
        free(path);
    }
    closedir(d);
}

static void remove_file(struct cn_sqlite *s, const char *path)
{
    s->io.unlink(path);
}

void cn_store_clean_tmp(struct cn_sqlite *s)
{
    char *dir = cn_xprintf("%s/tmp", s->base.dir);

    each_file(dir, remove_file, s);
    free(dir);
}

bool cn_store_disk_is_full(const struct cn_sqlite *s)
{
    struct statvfs v;

    return statvfs(s->base.dir, &v) == 0 && v.f_blocks > 0 &&
           (uint64_t)v.f_bavail * v.f_frsize < 256 * 1024;
}

void cn_store_free_space(struct cn_sqlite *s)
{
    uint64_t free_bytes = 0, total = 0;
    struct statvfs v;

    if (statvfs(s->base.dir, &v) == 0) {
        free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
        total = (uint64_t)v.f_blocks * v.f_frsize;
    }
    uv_mutex_lock(&s->base.lock);
    s->base.facts.free_bytes = free_bytes;
    s->base.facts.total_bytes = total;
    uv_mutex_unlock(&s->base.lock);
}

/* ---- writing a picture ---- */

char *cn_store_result_path(const struct cn_sqlite *s, const char *id, int k, enum cn_format f)
{
    return cn_xprintf("%s/results/%.2s/%s-%d.%s", s->base.dir, id, id, k, suffix[f]);
}

int cn_store_picture_cached(struct cn_store *base, const char *id, int k, enum cn_format f)
{
    struct cn_sqlite *s = (struct cn_sqlite *)base;
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW, .resolve = RESOLVE_CACHED};
    char *path;
    int fd;

    if (s->io.open != cn_store_system_open)
        return -1; /* whoever stands between wants to see it opened */
    path = cn_store_result_path(s, id, k, f);
    fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
    free(path);
    return fd;
}

/* The folder of a picture. A new one is on the disk before anything is in it: also when the flush
 * failed at first, and somebody comes again. */
static int make_folder(struct cn_sqlite *s, const char *path)
{
    char *folder = cn_xprintf("%.*s", (int)(strrchr(path, '/') - path), path), *results;
    int rc = 0;

    if (mkdir(folder, 0700) == 0)
        s->w_results_dirty = true;
    else if (errno != EEXIST)
        rc = -1;
    free(folder);
    if (rc < 0 || !s->w_results_dirty)
        return rc;
    results = cn_xprintf("%s/results", s->base.dir);
    rc = fsync_dir(&s->io, results);
    if (rc == 0)
        s->w_results_dirty = false;
    free(results);
    return rc;
}

static int write_tmp(struct cn_sqlite *s, const char *tmp, const struct cn_op *op)
{
    int fd = s->io.open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), rc, e;

    if (fd < 0)
        return -1;
    rc = cn_write_all(s->io.write, fd, op->data, op->result.meta.bytes);
    if (rc == 0)
        rc = s->io.fsync(fd);
    e = errno;
    if (close(fd) < 0 && rc == 0) {
        rc = -1;
        e = errno;
    }
    errno = e;
    return rc;
}

/* op->path is set when the file stands under its name; the folder is not flushed yet. */
enum cn_store_outcome cn_store_write_result(struct cn_sqlite *s, struct cn_op *op,
                                            struct cn_err *err)
{
    char *path = cn_store_result_path(s, op->id, op->result.k, op->result.meta.format);
    char *tmp = cn_xprintf("%s/tmp/%s-%d", s->base.dir, op->id, op->result.k);
    enum cn_store_outcome o = CN_STORE_OK;

    free(op->path);
    op->path = NULL;
    if (write_tmp(s, tmp, op) < 0 || make_folder(s, path) < 0 || s->io.rename(tmp, path) < 0) {
        o = cn_store_outcome_of_errno(errno);
        cn_fail(err, CN_ESTORAGE, "picture %d cannot be kept: %s", op->result.k,
                o == CN_STORE_NO_ROOM ? "the disk is full" : strerror(errno));
        s->io.unlink(tmp);
        free(path);
    } else {
        op->path = path;
    }
    free(tmp);
    return o;
}

/* Flushes the folders of n operations' files, each folder once. */
enum cn_store_outcome cn_store_sync_dirs(struct cn_sqlite *s, struct cn_op *const *op, size_t n)
{
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        bool first = op[i]->path != NULL && op[i]->pending;
        char *folder;

        for (size_t j = 0; j < i && first; j++)
            first = op[j]->path == NULL || !op[j]->pending || strncmp(op[j]->id, op[i]->id, 2) != 0;
        if (!first)
            continue;
        folder = cn_xprintf("%s/results/%.2s", s->base.dir, op[i]->id);
        rc = fsync_dir(&s->io, folder);
        free(folder);
    }
    return rc == 0 ? CN_STORE_OK : cn_store_outcome_of_errno(errno);
}

/* ---- removing ----
 *
 * A commit that failed may still be found by the recovery after a crash, until the next commit
 * overwrites it in the WAL. A file that such a commit named is removed only after that. */

void cn_store_doom(struct cn_sqlite *s, const char *path)
{
    struct cn_doomed *d = cn_xcalloc(1, sizeof(*d));

    d->path = cn_xstrdup(path);
    SLIST_INSERT_HEAD(&s->w_doomed, d, link);
}

/* ---- files without a row ---- */

/* A file is kept when the database has a row of that name. Names that are none of ours are left. */
static void check_file(struct cn_sqlite *s, const char *path)
{
    const char *name = strrchr(path, '/') + 1, *dash = strchr(name, '-');
    char id[CN_STORE_ID];
    sqlite3_stmt *st;
    int k, rc;

    if (dash == NULL || dash - name != CN_STORE_ID - 1 || sscanf(dash + 1, "%d.", &k) != 1)
        return;
    memcpy(id, name, CN_STORE_ID - 1);
    id[CN_STORE_ID - 1] = '\0';
    st = cn_db_bind(&s->w_db, CN_SQL_HAS_RESULT, NULL, "ti", id, (int64_t)k);
    if (st == NULL)
        return;
    rc = cn_db_step(&s->w_db, st, NULL);
    if (rc == 0)
        s->io.unlink(path);
    else
        sqlite3_reset(st);
}

void cn_store_remove_doomed(struct cn_sqlite *s)
{
    struct cn_doomed *d;

    while ((d = SLIST_FIRST(&s->w_doomed)) != NULL) {
        SLIST_REMOVE_HEAD(&s->w_doomed, link);
        check_file(s, d->path); /* a later attempt may have made it good */
        free(d->path);
        free(d);
    }
}

void cn_store_orphans_begin(struct cn_sqlite *s)
{
    char *dir = cn_xprintf("%s/results", s->base.dir);

    s->w_orphans = opendir(dir);
    free(dir);
}

/* One folder of the scan. */
void cn_store_orphans_step(struct cn_sqlite *s)
{
    const struct dirent *e;
    char *folder;

    do
        e = readdir(s->w_orphans);
    while (e != NULL && e->d_name[0] == '.');
    if (e == NULL) {
        closedir(s->w_orphans);
        s->w_orphans = NULL;
        return;
    }
    folder = cn_xprintf("%s/results/%s", s->base.dir, e->d_name);
    each_file(folder, check_file, s);
    free(folder);
}
