/* Memory of the stand-in: blocks of its devices, which the host may not touch, and pinned ones. */
#include "base/base.h"
#include "tests/standin/standin_priv.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   __asan_poison_memory_region(p, n)
#define UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

struct block {
    unsigned char *data;
    size_t bytes;
    int device; /* or STANDIN_PINNED */
};

static struct block *block;
static int n_blocks;
static size_t block_cap, live_bytes[STANDIN_MAX_DEVICES];
static bool shown;

size_t standin_free_bytes(void)
{
    size_t live = live_bytes[standin_current()], most = standin_device_bytes();

    return live < most ? most - live : 0;
}

static const struct block *find_block(const void *p)
{
    const unsigned char *at = p;

    for (int i = n_blocks - 1; i >= 0; i--)
        if (at >= block[i].data && at < block[i].data + block[i].bytes)
            return &block[i];
    return NULL;
}

bool standin_inside(const void *p, size_t bytes, int device, const char *what)
{
    const struct block *b = find_block(p);
    bool good = b != NULL && b->device == device &&
                bytes <= (size_t)(b->data + b->bytes - (const unsigned char *)p);

    if (!good && device == STANDIN_PINNED)
        standin_complain("%s: %zu bytes at %p are not pinned memory", what, bytes, p);
    else if (!good)
        standin_complain("%s: %zu bytes at %p are not memory of device %d", what, bytes, p, device);
    return good;
}

bool standin_on_device(const void *p, size_t bytes, int device, const char *what)
{
    return bytes == 0 || standin_inside(p, bytes, device, what);
}

/* The host may not look at device memory: only while work runs it is there. */
void standin_show_memory(bool show)
{
    shown = show;
    for (int i = 0; i < n_blocks; i++)
        if (block[i].device != STANDIN_PINNED) {
            if (show)
                UNPOISON(block[i].data, block[i].bytes);
            else
                POISON(block[i].data, block[i].bytes);
        }
}

int standin_add_block(void **ret, size_t bytes, bool pinned)
{
    void *data = NULL;

    if (!pinned && bytes > standin_free_bytes())
        return cudaErrorMemoryAllocation;
    if (posix_memalign(&data, 256, CN_MAX(bytes, (size_t)1)) != 0)
        return cudaErrorMemoryAllocation;
    if (!pinned)
        memset(data, 0xff, bytes); /* NaN in every type */
    block = cn_grow(block, (size_t)n_blocks, &block_cap, sizeof(*block));
    block[n_blocks++] = (struct block){data, bytes, pinned ? STANDIN_PINNED : standin_make_here()};
    if (pinned) {
        standin_now.live_objects++;
    } else {
        standin_now.live_bytes += bytes;
        live_bytes[standin_current()] += bytes;
    }
    if (!pinned && !shown)
        POISON(data, bytes);
    *ret = data;
    return cudaSuccess;
}

int standin_remove_block(void *p, bool pinned)
{
    for (int i = 0; i < n_blocks; i++) {
        if (block[i].data != p || (block[i].device == STANDIN_PINNED) != pinned)
            continue;
        if (pinned) {
            standin_now.live_objects--;
        } else {
            standin_now.live_bytes -= block[i].bytes;
            live_bytes[block[i].device] -= block[i].bytes;
        }
        UNPOISON(block[i].data, block[i].bytes);
        free(block[i].data);
        block[i] = block[--n_blocks];
        if (n_blocks == 0) { /* nothing is left behind for leak checkers */
            free(block);
            block = NULL;
            block_cap = 0;
        }
        return cudaSuccess;
    }
    standin_complain("freeing %p, which is no block", p);
    return cudaErrorInvalidValue;
}
