/* A file as a source: read block by block without ever waiting for the disk on the loop.
 *
 * DESIGN. A block is first asked for with RWF_NOWAIT, which answers at once when its pages are in
 * memory. When they are not (or the file system does not know the flag) the block is read in
 * libuv's pool, and kept until it was pulled. A small file is read as a whole before it is sent. A
 * larger one, which goes by its descriptor (sendfile), is brought into memory before: `prepare`
 * looks whether its pages are there, and reads those that are not in the pool. A source that ends
 * while the pool still works for it is freed by the last.
 */
#include "base/base.h"
#include "http/core/source.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define ONES UINT64_C(0x0101010101010101) /* eight pages that are there, for mincore() */

enum { BLOCK = 32 * 1024, WARM_BLOCK = 256 * 1024, SMALL = 64 * 1024 };

struct file {
    struct cn_source base;
    uv_loop_t *loop;
    uv_work_t work;
    int fd; /* -1: given away */
    uint64_t at, end;
    unsigned char *whole; /* a small file, for `bytes`; NULL: it was not read */
    unsigned char *ahead; /* BLOCK bytes that the pool reads, or has read; NULL: none */
    size_t n_ahead, taken;
    int error;
    bool working, freed, warm;
};

static void end_file(struct file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    free(f->ahead);
    free(f->whole);
    free(f);
}

/* ---- in the pool ---- */

static void read_ahead(uv_work_t *work)
{
    struct file *f = work->data;
    size_t want = CN_MIN(f->end - f->at, (uint64_t)BLOCK);
    ssize_t n;

    do
        n = pread(f->fd, f->ahead, want, (off_t)f->at);
    while (n < 0 && errno == EINTR);
    f->error = n < 0 ? errno : 0;
    f->n_ahead = n < 0 ? 0 : (size_t)n;
}

/* What is read stays in the page cache; nobody looks at it here. */
static void read_all(uv_work_t *work)
{
    struct file *f = work->data;
    unsigned char *block = malloc(WARM_BLOCK);

    for (uint64_t at = f->at; block != NULL && at < f->end;) {
        ssize_t n = pread(f->fd, block, CN_MIN(f->end - at, (uint64_t)WARM_BLOCK), (off_t)at);

        if (n <= 0)
            break; /* whoever sends it will see the same */
        at += (uint64_t)n;
    }
    free(block);
}

static void on_worked(uv_work_t *work, int status)
{
    struct file *f = work->data;

    (void)status;
    f->working = false;
    if (f->freed)
        end_file(f);
    else
        cn_source_wake(&f->base);
}

static bool work(struct file *f, uv_work_cb do_work)
{
    f->work.data = f;
    f->working = uv_queue_work(f->loop, &f->work, do_work, on_worked) == 0;
    return f->working;
}

/* ---- on the loop ---- */

static ssize_t read_now(const struct file *f, void *buf, size_t max)
{
    struct iovec v = {buf, CN_MIN(f->end - f->at, (uint64_t)max)};

    return preadv2(f->fd, &v, 1, (off_t)f->at, RWF_NOWAIT);
}

static ssize_t take_ahead(struct file *f, void *buf, size_t max)
{
    size_t n = CN_MIN(f->n_ahead - f->taken, max);

    if (n == 0)
        return CN_SOURCE_BROKEN; /* an error, or the file is shorter than it was */
    memcpy(buf, f->ahead + f->taken, n);
    f->taken += n;
    f->at += n;
    if (f->taken == f->n_ahead) {
        free(f->ahead);
        f->ahead = NULL;
    }
    return (ssize_t)n;
}

static ssize_t file_pull(struct cn_source *s, void *buf, size_t max)
{
    struct file *f = (struct file *)s;
    ssize_t n;

    if (f->working)
        return CN_SOURCE_WAIT;
    if (f->at == f->end)
        return CN_SOURCE_END;
    if (f->ahead != NULL)
        return take_ahead(f, buf, max);
    n = read_now(f, buf, max);
    if (n > 0) {
        f->at += (uint64_t)n;
        return n;
    }
    if (n == 0 || (errno != EAGAIN && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINTR))
        return CN_SOURCE_BROKEN;
    f->n_ahead = f->taken = 0;
    if ((f->ahead = malloc(BLOCK)) == NULL || !work(f, read_ahead))
        return CN_SOURCE_BROKEN;
    return CN_SOURCE_WAIT;
}

static void file_dispose(struct cn_source *s)
{
    struct file *f = (struct file *)s;

    f->freed = true;
    if (!f->working)
        end_file(f);
}

static int file_give(struct cn_source *s, uint64_t *ret_offset)
{
    struct file *f = (struct file *)s;
    int fd = f->fd;

    *ret_offset = f->at;
    f->fd = -1;
    return fd;
}

/* Of mapped pages: nobody can tell counts as there. */
static bool has_all_pages(const struct file *f)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), from = f->at / page * page;
    size_t len = (size_t)(f->end - from), pages = (len + page - 1) / page;
    uint64_t all = ONES, eight;
    unsigned char *known = malloc(pages + sizeof(eight));
    void *map =
        known == NULL ? MAP_FAILED : mmap(NULL, len, PROT_READ, MAP_SHARED, f->fd, (off_t)from);
    bool told = map != MAP_FAILED && mincore(map, len, known) == 0;

    if (told)
        memset(known + pages, 1, sizeof(eight));
    for (size_t i = 0; told && i < pages; i += sizeof(eight)) {
        memcpy(&eight, known + i, sizeof(eight));
        all &= eight;
    }
    if (map != MAP_FAILED)
        munmap(map, len);
    free(known);
    return !told || (all & ONES) == ONES;
}

/* What is small is sent with its head, when it can be read without waiting. */
static bool read_whole(struct file *f)
{
    size_t len = (size_t)(f->end - f->at);

    if (f->whole == NULL)
        f->whole = malloc(len);
    if (f->whole != NULL && read_now(f, f->whole, len) == (ssize_t)len)
        return true;
    free(f->whole);
    f->whole = NULL;
    return false;
}

static bool is_near(struct file *f)
{
    return f->end - f->at <= SMALL ? read_whole(f) : has_all_pages(f);
}

static const void *file_bytes(struct cn_source *s)
{
    return ((struct file *)s)->whole;
}

static bool file_prepare(struct cn_source *s)
{
    struct file *f = (struct file *)s;

    if (f->working)
        return false;
    if (f->at == f->end || is_near(f) || f->warm)
        return true;
    f->warm = true; /* once: what does not stay in memory cannot be held there */
    return !work(f, read_all);
}

struct cn_source *cn_source_file(uv_loop_t *loop, int fd, uint64_t offset, uint64_t len)
{
    static const struct cn_source_kind kind = {.pull = file_pull,
                                               .dispose = file_dispose,
                                               .bytes = file_bytes,
                                               .file = file_give,
                                               .prepare = file_prepare};
    struct file *f = cn_xcalloc(1, sizeof(*f));

    f->base.kind = &kind;
    f->base.length = (int64_t)len;
    f->loop = loop;
    f->fd = fd;
    f->at = offset;
    f->end = offset + len;
    return &f->base;
}
