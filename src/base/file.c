/* Reading files without trusting them to stay as they are, and writing them so that others may. */
#include "base/base.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_regular(const char *path, struct stat *st, struct cn_err *err)
{
    /* O_NONBLOCK: a FIFO must not hang us before fstat can refuse it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return cn_fail(err, errno == ENOENT || errno == ENOTDIR ? CN_ENOTFOUND : CN_EIO,
                       "cannot open \"%s\": %s", path, strerror(errno));
    if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode)) {
        close(fd);
        return cn_fail(err, CN_EFORMAT, "\"%s\" is not a regular file", path);
    }
    return fd;
}

static int read_all(int fd, const char *path, unsigned char *p, size_t len, struct cn_err *err)
{
    while (len > 0) {
        ssize_t n = read(fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cn_fail(err, CN_EIO, "cannot read \"%s\": %s", path, strerror(errno));
        if (n == 0)
            return cn_fail(err, CN_EIO, "\"%s\" became shorter while it was read", path);
        p += n;
        len -= (size_t)n;
    }
    return CN_OK;
}

int cn_file_read(const char *path, struct cn_buf *out, struct cn_err *err)
{
    struct stat st;
    unsigned char *p;
    int fd = open_regular(path, &st, err), rc;

    if (fd < 0)
        return fd;
    rc = cn_buf_reserve(out, (size_t)st.st_size, &p, NULL);
    if (rc == CN_OK)
        rc = read_all(fd, path, p, (size_t)st.st_size, err);
    else
        cn_fail(err, rc, "\"%s\" is too big: %lld bytes, at most %zu are accepted", path,
                (long long)st.st_size, out->max);
    close(fd);
    return rc;
}

int cn_write_all(cn_write_fn how, int fd, const void *data, size_t len)
{
    const unsigned char *p = data;

    while (len > 0) {
        ssize_t n = how(fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = EIO;
        if (n <= 0)
            return -1;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int cn_file_write(const char *path, const void *data, size_t len, struct cn_err *err)
{
    char *tmp = cn_xprintf("%s.%ld.tmp", path, (long)getpid());
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), rc = CN_OK;

    if (fd < 0 || cn_write_all(write, fd, data, len) < 0 || fsync(fd) < 0)
        rc = cn_fail(err, CN_EIO, "cannot write \"%s\": %s", path, strerror(errno));
    if (fd >= 0 && close(fd) < 0 && rc == CN_OK)
        rc = cn_fail(err, CN_EIO, "cannot write \"%s\": %s", path, strerror(errno));
    if (rc == CN_OK && rename(tmp, path) < 0)
        rc = cn_fail(err, CN_EIO, "cannot write \"%s\": %s", path, strerror(errno));
    if (rc != CN_OK)
        unlink(tmp);
    free(tmp);
    return rc;
}

int cn_make_dirs(const char *path, unsigned mode)
{
    char *copy = cn_xstrdup(path);
    int rc = 0;

    for (char *p = copy + 1; rc == 0 && copy[0] != '\0' && (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        if (mkdir(copy, 0755) < 0 && errno != EEXIST)
            rc = -1;
        *p = '/';
    }
    if (rc == 0 && mkdir(copy, (mode_t)mode) < 0 && errno != EEXIST)
        rc = -1;
    free(copy);
    return rc;
}

bool cn_file_exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool cn_dir_exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void identify(const struct stat *st, struct cn_file_id *ret)
{
    *ret = (struct cn_file_id){.dev = (uint64_t)st->st_dev,
                               .ino = (uint64_t)st->st_ino,
                               .size = (int64_t)st->st_size,
                               .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 +
                                           (int64_t)st->st_mtim.tv_nsec};
}

bool cn_file_is_same(const struct cn_file_id *a, const struct cn_file_id *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns;
}

int cn_file_identify(const char *path, struct cn_file_id *ret, struct cn_err *err)
{
    struct stat st;
    int fd = open_regular(path, &st, err);

    if (fd < 0)
        return fd;
    close(fd);
    identify(&st, ret);
    return CN_OK;
}

static int check_id(int fd, const char *path, const struct cn_file_id *id, struct cn_err *err)
{
    struct cn_file_id now;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return cn_fail(err, CN_EIO, "cannot read \"%s\": %s", path, strerror(errno));
    identify(&st, &now);
    if (cn_file_is_same(&now, id))
        return CN_OK;
    return cn_fail(err, CN_EIO, "\"%s\" was %s after it had been opened", path,
                   now.dev != id->dev || now.ino != id->ino ? "replaced"
                   : now.size < id->size                    ? "made shorter"
                                                            : "changed");
}

static int pread_all(int fd, const char *path, uint64_t offset, unsigned char *p, size_t len,
                     struct cn_err *err)
{
    while (len > 0) {
        ssize_t n = pread(fd, p, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cn_fail(err, CN_EIO, "cannot read \"%s\": %s", path, strerror(errno));
        if (n == 0)
            return cn_fail(err, CN_EIO, "\"%s\" was made shorter after it had been opened", path);
        p += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return CN_OK;
}

/* ---- files that stay open ---- */

static atomic_int n_kept;

void cn_file_keep(const char *path, struct cn_file_id *id)
{
    struct stat st;
    int fd;

    if (id->kept > 0)
        return;
    fd = atomic_fetch_add(&n_kept, 1) < CN_FILES_KEPT ? open_regular(path, &st, NULL) : -1;
    if (fd >= 0 && check_id(fd, path, id, NULL) == CN_OK) {
        id->kept = fd + 1;
        return;
    }
    if (fd >= 0)
        close(fd);
    atomic_fetch_sub(&n_kept, 1);
}

void cn_file_let_go(struct cn_file_id *id)
{
    if (id->kept == 0)
        return;
    close(id->kept - 1);
    id->kept = 0;
    atomic_fetch_sub(&n_kept, 1);
}

int cn_file_read_part(const char *path, const struct cn_file_id *id, uint64_t offset, void *ret,
                      size_t len, struct cn_err *err)
{
    struct stat st;
    int fd = id->kept > 0 ? id->kept - 1 : open_regular(path, &st, err), rc;

    if (fd < 0)
        return fd;
    rc = check_id(fd, path, id, err);
    if (rc == CN_OK)
        rc = pread_all(fd, path, offset, ret, len, err);
    if (rc == CN_OK) /* a writer may have come while we read */
        rc = check_id(fd, path, id, err);
    if (id->kept == 0)
        close(fd);
    return rc;
}
