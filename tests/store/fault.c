/* Disks that fail on demand. The VFS passes everything on to the default one. */
#include "base/base.h"
#include "fault.h"
#include "base/mem.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct cn_fault_watch watch;
static atomic_int counted, failed, plan_at, plan_error;
static atomic_bool plan_lasting;

void cn_fault_plan(int at, int error, bool lasting)
{
    atomic_store(&plan_at, 0);
    atomic_store(&counted, 0);
    atomic_store(&failed, 0);
    atomic_store(&plan_error, error);
    atomic_store(&plan_lasting, lasting);
    atomic_store(&plan_at, at);
}

static atomic_bool stall;
static atomic_int stalled;

void cn_fault_stall(bool on)
{
    atomic_store(&stall, on);
    while (!on && atomic_load(&stalled) > 0)
        usleep(1000);
}

int cn_fault_stalled(void)
{
    return atomic_load(&stalled);
}

int cn_fault_count(void)
{
    return atomic_load(&counted);
}

int cn_fault_failed(void)
{
    return atomic_load(&failed);
}

/* Counts one operation; true: it is one of the plan. */
static bool is_due(void)
{
    int now, at;

    atomic_fetch_add(&stalled, 1);
    while (atomic_load(&stall))
        usleep(1000);
    atomic_fetch_sub(&stalled, 1);
    now = atomic_fetch_add(&counted, 1) + 1;
    at = atomic_load(&plan_at);

    if (at == 0 || (now != at && !(now > at && atomic_load(&plan_lasting))))
        return false;
    atomic_fetch_add(&failed, 1);
    return true;
}

/* True: the operation that is due fails, with errno set. */
static bool strikes(void)
{
    int error = atomic_load(&plan_error);

    if (error == CN_FAULT_SLOW)
        usleep(3000);
    if (error < 0)
        return false;
    errno = error;
    return true;
}

static bool fails(void)
{
    return is_due() && strikes();
}

/* ---- files ---- */

static int fault_open(const char *path, int flags, mode_t mode)
{
    return (flags & O_CREAT) != 0 && fails() ? -1 : open(path, flags, mode);
}

/* A disk that is full takes a part. */
static ssize_t fault_write(int fd, const void *data, size_t len)
{
    if (!is_due())
        return write(fd, data, len);
    if (atomic_load(&plan_error) == CN_FAULT_SHORT)
        return write(fd, data, CN_MAX(len / 2, (size_t)1));
    if (!strikes())
        return write(fd, data, len);
    if (len > 1 && write(fd, data, len / 2) < 0)
        return -1;
    errno = atomic_load(&plan_error);
    return -1;
}

static void flushed(const char *path)
{
    if (watch.flushed != NULL && path != NULL)
        watch.flushed(path);
}

static int fault_fsync(int fd)
{
    char link[64], path[512];
    ssize_t n;

    if (fails() || fsync(fd) < 0)
        return -1;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    path[n < 0 ? 0 : n] = '\0';
    flushed(n < 0 ? NULL : path);
    return 0;
}

static int fault_rename(const char *from, const char *to)
{
    return fails() ? -1 : rename(from, to);
}

static int fault_unlink(const char *path)
{
    return unlink(path);
}

const struct cn_store_io cn_fault_io = {fault_open, fault_write, fault_fsync, fault_rename,
                                        fault_unlink};

/* ---- SQLite ---- */

struct file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this struct */
    const char *name;   /* SQLite's */
};

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct file *)f)->real;
}

static int write_code(void)
{
    return atomic_load(&plan_error) == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int v_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}

static int v_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}

/* A write that fails has written a part. */
static int v_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    if (!fails())
        return real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
    real_of(f)->pMethods->xWrite(real_of(f), p, n / 2, at);
    return write_code();
}

static int v_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int v_sync(sqlite3_file *f, int flags)
{
    int rc = fails() ? SQLITE_IOERR_FSYNC : real_of(f)->pMethods->xSync(real_of(f), flags);

    if (rc == SQLITE_OK)
        flushed(((struct file *)f)->name);
    return rc;
}

static int v_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int v_lock(sqlite3_file *f, int how)
{
    return real_of(f)->pMethods->xLock(real_of(f), how);
}

static int v_unlock(sqlite3_file *f, int how)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), how);
}

static int v_check(sqlite3_file *f, int *ret)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), ret);
}

static int v_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int v_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int v_device(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int v_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **ret)
{
    if (extend && fails()) {
        *ret = NULL;
        return SQLITE_IOERR_SHMSIZE;
    }
    return real_of(f)->pMethods->xShmMap(real_of(f), region, size, extend, ret);
}

static int v_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}

static void v_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int v_shm_unmap(sqlite3_file *f, int remove)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
}

static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = v_close,
                                           .xRead = v_read,
                                           .xWrite = v_write,
                                           .xTruncate = v_truncate,
                                           .xSync = v_sync,
                                           .xFileSize = v_size,
                                           .xLock = v_lock,
                                           .xUnlock = v_unlock,
                                           .xCheckReservedLock = v_check,
                                           .xFileControl = v_control,
                                           .xSectorSize = v_sector,
                                           .xDeviceCharacteristics = v_device,
                                           .xShmMap = v_shm_map,
                                           .xShmLock = v_shm_lock,
                                           .xShmBarrier = v_shm_barrier,
                                           .xShmUnmap = v_shm_unmap};

static int v_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
    sqlite3_vfs *real = vfs->pAppData;
    struct file *file = (struct file *)f;
    int rc;

    file->base.pMethods = NULL;
    file->real = (sqlite3_file *)(file + 1);
    file->name = name;
    if ((flags & SQLITE_OPEN_CREATE) != 0 && fails()) /* what is there can be opened */
        return SQLITE_CANTOPEN;
    rc = real->xOpen(real, name, file->real, flags, ret_flags);
    if (rc == SQLITE_OK)
        file->base.pMethods = &methods;
    return rc;
}

static int v_delete(sqlite3_vfs *vfs, const char *name, int flush_folder)
{
    sqlite3_vfs *real = vfs->pAppData;
    int rc = real->xDelete(real, name, flush_folder);

    if (rc == SQLITE_OK && flush_folder && watch.removed != NULL)
        watch.removed(name);
    return rc;
}

void cn_fault_watch(const struct cn_fault_watch *w)
{
    watch = *w;
}

void cn_fault_register(void)
{
    static sqlite3_vfs vfs;
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);

    if (vfs.zName != NULL)
        return;
    vfs = *real;
    vfs.zName = "fault";
    vfs.pAppData = real;
    vfs.szOsFile = (int)sizeof(struct file) + real->szOsFile;
    vfs.xOpen = v_open;
    vfs.xDelete = v_delete;
    vfs.pNext = NULL;
    sqlite3_vfs_register(&vfs, 0);
}
