/* Content-addressed files of tenants: written once, found by their digest, gone when unused. */
#include "base/base.h"
#include "inputs/inputs.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "base/strmap.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    STALE_TMP_S = 600, /* a temporary file this old has no writer any more */
    FOLDER_NAME = 33   /* of a tenant: half of the digest of its name, and the NUL */
};

struct tenant {
    char folder[FOLDER_NAME];
    int count, reserved_count; /* reserved: by writers that are at it */
    uint64_t bytes, reserved_bytes;
};

struct cn_inputs {
    char *dir;
    pthread_mutex_t lock; /* guards all below, and that files appear and go */
    struct cn_inputs_limits limits;
    struct cn_strmap tenants; /* by folder: struct tenant */
    unsigned long next_tmp;
};

/* ---- names ---- */

static bool is_hex(const char *text, size_t n)
{
    return strspn(text, "0123456789abcdef") == n && text[n] == '\0';
}

bool cn_input_id_is_valid(const char *id)
{
    return is_hex(id, CN_INPUT_ID - 1);
}

/* Names of tenants may hold what names of files may not: hence a digest. */
static void folder_of(const char *tenant, char ret[FOLDER_NAME])
{
    unsigned char digest[CN_SHA256_BYTES];

    cn_sha256(tenant, strlen(tenant), digest);
    cn_hex_encode(digest, (FOLDER_NAME - 1) / 2, ret);
}

static char *path_of(const struct cn_inputs *in, const char *folder, const char *name)
{
    return cn_xprintf("%s/%s/%s", in->dir, folder, name);
}

/* Under the lock. */
static struct tenant *tenant_by_folder(struct cn_inputs *in, const char *folder)
{
    struct tenant *t = cn_strmap_get(&in->tenants, folder);

    if (t == NULL) {
        t = cn_xcalloc(1, sizeof(*t));
        snprintf(t->folder, sizeof(t->folder), "%s", folder);
        cn_strmap_add(&in->tenants, folder, t);
    }
    return t;
}

/* ---- counting ---- */

static uint64_t bytes_of_all(const struct cn_inputs *in)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < in->tenants.count; i++) {
        const struct tenant *t = in->tenants.item[i].value;

        sum += t->bytes + t->reserved_bytes;
    }
    return sum;
}

/* Under the lock: room for one more input of len bytes is taken, or refused. */
static int reserve(struct cn_inputs *in, struct tenant *t, size_t len, struct cn_err *err)
{
    const struct cn_inputs_limits *l = &in->limits;

    if (l->max_bytes == 0)
        return cn_fail(err, CN_ESTORAGE, "this server keeps no inputs");
    if (t->count + t->reserved_count >= l->tenant_max_count)
        return cn_fail(err, CN_ETOOBIG, "there may be at most %d inputs", l->tenant_max_count);
    if (len > l->tenant_max_bytes ||
        t->bytes + t->reserved_bytes > l->tenant_max_bytes - (uint64_t)len)
        return cn_fail(err, CN_ETOOBIG, "inputs may have at most %llu MiB together",
                       (unsigned long long)(l->tenant_max_bytes >> 20));
    if (len > l->max_bytes || bytes_of_all(in) > l->max_bytes - (uint64_t)len)
        return cn_fail(err, CN_ESTORAGE, "there is no room for inputs now");
    t->reserved_count++;
    t->reserved_bytes += len;
    return CN_OK;
}

static void unreserve(struct tenant *t, size_t len)
{
    t->reserved_count--;
    t->reserved_bytes -= len;
}

/* ---- files ---- */

static int storage_error(const char *what, struct cn_err *err)
{
    if (errno == ENOSPC || errno == EDQUOT)
        return cn_fail(err, CN_ESTORAGE, "the disk is full");
    return cn_fail(err, CN_ESTORAGE, "cannot %s an input: %s", what, strerror(errno));
}

static int flush_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

    if (fd < 0)
        return -1;
    rc = fsync(fd);
    close(fd);
    return rc;
}

static int write_tmp(const char *path, const void *data, size_t len, struct cn_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc = CN_OK;

    if (fd < 0)
        return storage_error("write", err);
    if (cn_write_all(write, fd, data, len) < 0 || fsync(fd) < 0)
        rc = storage_error("write", err);
    if (close(fd) < 0 && rc == CN_OK)
        rc = storage_error("write", err);
    if (rc < 0)
        unlink(path);
    return rc;
}

/* Under the lock. Whether an input is there and its time is not over. */
static bool is_alive(const struct cn_inputs *in, const char *path, struct stat *ret)
{
    return stat(path, ret) == 0 && S_ISREG(ret->st_mode) &&
           ret->st_mtime + in->limits.ttl_s > time(NULL);
}

/* Under the lock: a use begins its time anew. */
static void touch(const char *path)
{
    utimensat(AT_FDCWD, path, NULL, 0);
}

static void describe(const struct cn_inputs *in, const char *id, uint64_t bytes, int64_t used_s,
                     bool is_new, struct cn_input *ret)
{
    snprintf(ret->id, sizeof(ret->id), "%s", id);
    ret->bytes = bytes;
    ret->expires_s = used_s + in->limits.ttl_s;
    ret->is_new = is_new;
}

/* ---- what is over ---- */

/* Under the lock. Removes the file if its time is over; true: it stays, and is an input. */
static bool keep_file(const struct cn_inputs *in, const char *path, const char *name,
                      struct stat *ret)
{
    if (cn_input_id_is_valid(name)) {
        if (is_alive(in, path, ret))
            return true;
        unlink(path);
    } else if (strncmp(name, "tmp-", 4) == 0 && stat(path, ret) == 0 &&
               ret->st_mtime + STALE_TMP_S < time(NULL))
        unlink(path);
    return false;
}

/* Under the lock: removes what is over in a folder, which has tenant_max_count files and whose
 * names alone are read (some milliseconds), and counts what stays. */
static void sweep_folder(struct cn_inputs *in, const char *folder)
{
    char *dir = path_of(in, folder, "");
    struct tenant sum = {.count = 0}, *t;
    const struct dirent *e;
    DIR *d = opendir(dir);

    while (d != NULL && (e = readdir(d)) != NULL) {
        char *path = cn_xprintf("%s%s", dir, e->d_name);
        struct stat st;

        if (e->d_name[0] != '.' && keep_file(in, path, e->d_name, &st)) {
            sum.count++;
            sum.bytes += (uint64_t)st.st_size;
        }
        free(path);
    }
    if (d != NULL) {
        closedir(d);
        t = tenant_by_folder(in, folder);
        t->count = sum.count;
        t->bytes = sum.bytes;
    }
    free(dir);
}

/* ---- the five operations ---- */

/* Of a file that is written: gives it its name, unless another writer was faster. */
static int give_name(struct cn_inputs *in, struct tenant *t, const char *tmp, const char *path,
                     size_t len, bool *ret_new, struct cn_err *err)
{
    struct stat st;
    int rc = CN_OK;

    pthread_mutex_lock(&in->lock);
    unreserve(t, len);
    *ret_new = stat(path, &st) < 0;
    if (rename(tmp, path) < 0) {
        rc = storage_error("keep", err);
        unlink(tmp);
    } else if (*ret_new) {
        t->count++;
        t->bytes += len;
    }
    pthread_mutex_unlock(&in->lock);
    return rc;
}

static int write_new(struct cn_inputs *in, struct tenant *t, const char *path, const void *data,
                     size_t len, bool *ret_new, struct cn_err *err)
{
    char *folder = path_of(in, t->folder, ""), *tmp;
    unsigned long number;
    int rc;

    pthread_mutex_lock(&in->lock);
    number = in->next_tmp++;
    pthread_mutex_unlock(&in->lock);
    tmp = cn_xprintf("%stmp-%ld-%lu", folder, (long)getpid(), number);
    if (mkdir(folder, 0700) == 0 && flush_dir(in->dir) < 0)
        rc = storage_error("keep", err);
    else
        rc = write_tmp(tmp, data, len, err);
    if (rc < 0) {
        pthread_mutex_lock(&in->lock);
        unreserve(t, len);
        pthread_mutex_unlock(&in->lock);
    } else if ((rc = give_name(in, t, tmp, path, len, ret_new, err)) == CN_OK &&
               flush_dir(folder) < 0)
        rc = storage_error("keep", err);
    free(tmp);
    free(folder);
    return rc;
}

/* Under the lock: what is over is no reason to refuse, nor what a new input is told to be. */
static int make_room(struct cn_inputs *in, struct tenant *t, const char *path, size_t len,
                     struct cn_err *err)
{
    if (access(path, F_OK) == 0)
        sweep_folder(in, t->folder);
    if (reserve(in, t, len, NULL) == CN_OK)
        return CN_OK;
    sweep_folder(in, t->folder);
    return reserve(in, t, len, err);
}

int cn_inputs_put(struct cn_inputs *in, const char *tenant, const void *data, size_t len,
                  struct cn_input *ret, struct cn_err *err)
{
    unsigned char digest[CN_SHA256_BYTES];
    char id[CN_INPUT_ID], folder[FOLDER_NAME], *path;
    struct tenant *t;
    struct stat st;
    bool is_there, is_new = false;
    int rc = CN_OK;

    cn_sha256(data, len, digest);
    cn_hex_encode(digest, sizeof(digest), id);
    folder_of(tenant, folder);
    path = path_of(in, folder, id);
    pthread_mutex_lock(&in->lock);
    t = tenant_by_folder(in, folder);
    is_there = is_alive(in, path, &st) && (uint64_t)st.st_size == len;
    if (is_there)
        touch(path);
    else
        rc = make_room(in, t, path, len, err);
    pthread_mutex_unlock(&in->lock);
    if (rc == CN_OK && !is_there)
        rc = write_new(in, t, path, data, len, &is_new, err);
    if (rc == CN_OK)
        describe(in, id, len, time(NULL), is_new, ret);
    free(path);
    return rc;
}

static int check_id(const char *id, struct cn_err *err)
{
    if (cn_input_id_is_valid(id))
        return CN_OK;
    return cn_fail(err, CN_EINVAL, "the id of an input is 64 hexadecimal digits in lower case");
}

static int unknown(struct cn_err *err)
{
    return cn_fail(err, CN_ENOTFOUND, "there is no such input, or its time is over");
}

/* The path of an input of the tenant that is there, to be freed; NULL: err. */
static char *find(struct cn_inputs *in, const char *tenant, const char *id, bool use,
                  struct stat *ret, struct cn_err *err)
{
    char folder[FOLDER_NAME], *path;
    bool is_there;

    if (check_id(id, err) < 0)
        return NULL;
    folder_of(tenant, folder);
    path = path_of(in, folder, id);
    pthread_mutex_lock(&in->lock);
    is_there = is_alive(in, path, ret);
    if (is_there && use)
        touch(path);
    pthread_mutex_unlock(&in->lock);
    if (is_there)
        return path;
    free(path);
    unknown(err);
    return NULL;
}

static int check_digest(const char *id, const unsigned char *data, size_t len, struct cn_err *err)
{
    unsigned char digest[CN_SHA256_BYTES];
    char hex[CN_INPUT_ID];

    cn_sha256(data, len, digest);
    cn_hex_encode(digest, sizeof(digest), hex);
    if (strcmp(hex, id) == 0)
        return CN_OK;
    return cn_fail(err, CN_EFORMAT, "the input was damaged on the disk: upload it again");
}

int cn_inputs_get(struct cn_inputs *in, const char *tenant, const char *id, struct cn_buf *ret,
                  struct cn_err *err)
{
    struct cn_err inner = CN_ERR_INIT;
    struct stat st;
    size_t before = ret->len;
    char *path = find(in, tenant, id, true, &st, &inner);
    int rc;

    if (path == NULL)
        return cn_fail(err, inner.code, "%s", inner.msg);
    rc = cn_file_read(path, ret, &inner);
    if (rc == CN_ENOTFOUND) /* removed in between */
        rc = unknown(err);
    else if (rc < 0) /* its message names the path */
        rc = cn_fail(err, rc, "the input cannot be read%s",
                     rc == CN_ETOOBIG ? ": it is too large" : "");
    else
        rc = check_digest(id, ret->data + before, ret->len - before, err);
    free(path);
    return rc;
}

int cn_inputs_stat(struct cn_inputs *in, const char *tenant, const char *id, struct cn_input *ret,
                   struct cn_err *err)
{
    struct cn_err inner = CN_ERR_INIT;
    struct stat st;
    char *path = find(in, tenant, id, false, &st, &inner);

    if (path == NULL)
        return cn_fail(err, inner.code, "%s", inner.msg);
    describe(in, id, (uint64_t)st.st_size, st.st_mtime, false, ret);
    free(path);
    return CN_OK;
}

int cn_inputs_remove(struct cn_inputs *in, const char *tenant, const char *id, struct cn_err *err)
{
    char folder[FOLDER_NAME], *path;
    struct stat st;
    struct tenant *t;
    bool was_there, was_alive;

    if (check_id(id, err) < 0)
        return CN_EINVAL;
    folder_of(tenant, folder);
    path = path_of(in, folder, id);
    pthread_mutex_lock(&in->lock);
    t = tenant_by_folder(in, folder);
    was_alive = is_alive(in, path, &st);
    was_there = stat(path, &st) == 0 && unlink(path) == 0;
    if (was_there) {
        t->count--;
        t->bytes -= CN_MIN((uint64_t)st.st_size, t->bytes);
    }
    pthread_mutex_unlock(&in->lock);
    free(path);
    return was_alive && was_there ? CN_OK : unknown(err);
}

/* ---- sweeping ---- */

void cn_inputs_sweep(struct cn_inputs *in)
{
    DIR *d = opendir(in->dir);
    const struct dirent *e;

    if (d == NULL)
        return;
    while ((e = readdir(d)) != NULL)
        if (is_hex(e->d_name, FOLDER_NAME - 1)) {
            pthread_mutex_lock(&in->lock);
            sweep_folder(in, e->d_name);
            pthread_mutex_unlock(&in->lock);
        }
    closedir(d);
}

void cn_inputs_totals(struct cn_inputs *in, struct cn_inputs_totals *ret)
{
    *ret = (struct cn_inputs_totals){0, 0};
    pthread_mutex_lock(&in->lock);
    for (size_t i = 0; i < in->tenants.count; i++) {
        const struct tenant *t = in->tenants.item[i].value;

        ret->count += t->count;
        ret->bytes += t->bytes;
    }
    pthread_mutex_unlock(&in->lock);
}

/* ---- life ---- */

void cn_inputs_set_limits(struct cn_inputs *in, const struct cn_inputs_limits *limits)
{
    pthread_mutex_lock(&in->lock);
    in->limits = *limits;
    pthread_mutex_unlock(&in->lock);
}

int cn_inputs_open(const struct cn_inputs_options *o, struct cn_inputs **ret, struct cn_err *err)
{
    struct cn_inputs *in = cn_xcalloc(1, sizeof(*in));
    int rc = CN_OK;

    if (cn_make_dirs(o->dir, 0700) < 0)
        rc = cn_fail(err, CN_ESTORAGE, "cannot make \"%s\": %s", o->dir, strerror(errno));
    in->dir = cn_xstrdup(o->dir);
    in->limits = o->limits;
    pthread_mutex_init(&in->lock, NULL);
    cn_strmap_init(&in->tenants);
    if (rc < 0) {
        cn_inputs_close(in);
        return rc;
    }
    cn_inputs_sweep(in);
    *ret = in;
    return CN_OK;
}

void cn_inputs_close(struct cn_inputs *in)
{
    for (size_t i = 0; i < in->tenants.count; i++)
        free(in->tenants.item[i].value);
    cn_strmap_release(&in->tenants);
    pthread_mutex_destroy(&in->lock);
    free(in->dir);
    free(in);
}
