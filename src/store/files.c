/* The directory: its lock, the pictures' files, and what crashes leave in it. */
#include "base/base.h"
#include "store/store_priv.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char *const suffix[CN_FORMAT_COUNT] = {"png", "jpg", "webp"};

/* ---- the directory ---- */

static int make_dir(const char *path, struct cn_err *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return CN_OK;
    return cn_fail(err, CN_ESTORAGE, "cannot make \"%s\": %s", path, strerror(errno));
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

/* What is in a folder is on the disk only when the folder is, in its parent. */
int cn_store_make_dirs(struct cn_store *s, struct cn_err *err)
{
    static const char *const name[] = {"", "/tmp", "/results"};
    int rc = CN_OK;

    for (size_t i = 0; i < CN_LEN(name) && rc == CN_OK; i++) {
        char *path = cn_xprintf("%s%s", s->dir, name[i]);

        rc = make_dir(path, err);
        free(path);
    }
    if (rc == CN_OK && fsync_dir(&s->io, s->dir) < 0)
        rc = cn_fail(err, CN_ESTORAGE, "cannot flush \"%s\": %s", s->dir, strerror(errno));
    return rc;
}

int cn_store_lock(struct cn_store *s, bool *ret_busy, struct cn_err *err)
{
    char *path = cn_xprintf("%s/lock", s->dir);
    int rc = CN_OK;

    *ret_busy = false;
    if (s->w_lock_fd < 0)
        s->w_lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->w_lock_fd < 0)
        rc = cn_fail(err, CN_ESTORAGE, "cannot open \"%s\": %s", path, strerror(errno));
    else if (flock(s->w_lock_fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        *ret_busy = true;
    else if (flock(s->w_lock_fd, LOCK_EX | LOCK_NB) < 0)
        rc = cn_fail(err, CN_ESTORAGE, "cannot lock \"%s\": %s", path, strerror(errno));
    free(path);
    return rc;
}

/* Calls visit for each file of a directory, except what begins with a dot. */
static void each_file(const char *dir, void (*visit)(struct cn_store *s, const char *path),
                      struct cn_store *s)
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

static void remove_file(struct cn_store *s, const char *path)
{
    s->io.unlink(path);
}

void cn_store_clean_tmp(struct cn_store *s)
{
    char *dir = cn_xprintf("%s/tmp", s->dir);

    each_file(dir, remove_file, s);
    free(dir);
}

void cn_store_free_space(struct cn_store *s)
{
    uint64_t free_bytes = 0, total = 0;
    struct statvfs v;

    if (statvfs(s->dir, &v) == 0) {
        free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
        total = (uint64_t)v.f_blocks * v.f_frsize;
    }
    uv_mutex_lock(&s->lock);
    s->facts.free_bytes = free_bytes;
    s->facts.total_bytes = total;
    uv_mutex_unlock(&s->lock);
}

/* ---- writing a picture ---- */

char *cn_store_result_path(const struct cn_store *s, const char *id, int k, enum cn_format f)
{
    return cn_xprintf("%s/results/%.2s/%s-%d.%s", s->dir, id, id, k, suffix[f]);
}

static int write_all(const struct cn_store_io *io, int fd, const unsigned char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = io->write(fd, p, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return -1;
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

/* The folder of a picture; a new one is on the disk before anything is in it. */
static int make_folder(struct cn_store *s, const char *path)
{
    char *folder = cn_xprintf("%.*s", (int)(strrchr(path, '/') - path), path), *results;
    int rc = 0;

    if (mkdir(folder, 0700) == 0) {
        results = cn_xprintf("%s/results", s->dir);
        rc = fsync_dir(&s->io, results);
        free(results);
    } else if (errno != EEXIST) {
        rc = -1;
    }
    free(folder);
    return rc;
}

static int write_tmp(struct cn_store *s, const char *tmp, const struct cn_op *op)
{
    int fd = s->io.open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), rc, e;

    if (fd < 0)
        return -1;
    rc = write_all(&s->io, fd, op->data, op->result.bytes);
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
int cn_store_write_result(struct cn_store *s, struct cn_op *op, struct cn_err *err)
{
    char *path = cn_store_result_path(s, op->id, op->result.k, op->result.format);
    char *tmp = cn_xprintf("%s/tmp/%s-%d", s->dir, op->id, op->result.k);
    int rc = CN_OK;

    if (write_tmp(s, tmp, op) < 0 || make_folder(s, path) < 0 || s->io.rename(tmp, path) < 0) {
        rc = cn_fail(err, CN_ESTORAGE, "picture %d cannot be kept: %s", op->result.k,
                     strerror(errno));
        s->io.unlink(tmp);
        free(path);
    } else {
        op->path = path;
    }
    free(tmp);
    return rc;
}

/* Flushes the folders of n operations' files, each folder once. */
int cn_store_sync_dirs(struct cn_store *s, struct cn_op *const *op, size_t n)
{
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        bool first = op[i]->path != NULL;
        char *folder;

        for (size_t j = 0; j < i && first; j++)
            first = op[j]->path == NULL || strncmp(op[j]->id, op[i]->id, 2) != 0;
        if (!first)
            continue;
        folder = cn_xprintf("%s/results/%.2s", s->dir, op[i]->id);
        rc = fsync_dir(&s->io, folder);
        free(folder);
    }
    return rc;
}

/* ---- removing ----
 *
 * A commit that failed may still be found by the recovery after a crash, until the next commit
 * overwrites it in the WAL. A file that such a commit named is removed only after that. */

void cn_store_doom(struct cn_store *s, const char *path)
{
    struct cn_doomed *d = cn_xcalloc(1, sizeof(*d));

    d->path = cn_xstrdup(path);
    d->next = s->w_doomed;
    s->w_doomed = d;
}

/* ---- files without a row ---- */

/* A file is kept when the database has a row of that name. Names that are none of ours are left. */
static void check_file(struct cn_store *s, const char *path)
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

void cn_store_remove_doomed(struct cn_store *s)
{
    struct cn_doomed *d;

    while ((d = s->w_doomed) != NULL) {
        s->w_doomed = d->next;
        check_file(s, d->path); /* a later attempt may have made it good */
        free(d->path);
        free(d);
    }
}

void cn_store_orphans_begin(struct cn_store *s)
{
    char *dir = cn_xprintf("%s/results", s->dir);

    s->w_orphans = opendir(dir);
    free(dir);
}

/* One folder of the scan. */
void cn_store_orphans_step(struct cn_store *s)
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
    folder = cn_xprintf("%s/results/%s", s->dir, e->d_name);
    each_file(folder, check_file, s);
    free(folder);
}
