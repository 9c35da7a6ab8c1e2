/* The account of outgoing bytes: owners in a small hash table, each counted once however many
 * answers send its bytes. See outflight.h. */
#include "base/base.h"
#include "http/core/outflight.h"
#include "base/mem.h"

#include <stdlib.h>

struct cn_outflight_owner {
    const void *owner;
    size_t bytes;
    int answers;
    struct cn_outflight_owner *next;
};

/* The link that points to the owner's entry, or to the end of its bucket. */
static struct cn_outflight_owner **find(struct cn_outflight *out, const void *owner)
{
    uint64_t h = (uint64_t)(uintptr_t)owner * UINT64_C(0x9e3779b97f4a7c15);
    struct cn_outflight_owner **at = &out->bucket[h >> 56];

    while (*at != NULL && (*at)->owner != owner)
        at = &(*at)->next;
    return at;
}

void cn_outflight_hold(struct cn_outflight *out, const void *owner, size_t bytes)
{
    struct cn_outflight_owner **at = find(out, owner), *o = *at;

    if (o == NULL) {
        o = *at = cn_xcalloc(1, sizeof(*o));
        o->owner = owner;
    }
    o->answers++;
    if (bytes > o->bytes) {
        out->bytes += bytes - o->bytes;
        o->bytes = bytes;
    }
}

void cn_outflight_drop(struct cn_outflight *out, const void *owner)
{
    struct cn_outflight_owner **at = find(out, owner), *o = *at;

    CN_ASSERT(o != NULL);
    if (--o->answers > 0)
        return;
    out->bytes -= o->bytes;
    *at = o->next;
    free(o);
}

void cn_outflight_add(struct cn_outflight *out, size_t bytes)
{
    out->bytes += bytes;
}

void cn_outflight_remove(struct cn_outflight *out, size_t bytes)
{
    out->bytes -= bytes;
}

bool cn_outflight_full(const struct cn_outflight *out)
{
    return out->bytes >= out->max;
}
