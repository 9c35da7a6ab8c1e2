/* The account of outgoing bytes: owners in a small hash table, each counted once however many
 * answers send its bytes. See outflight.h. */
#include "base/base.h"
#include "http/core/outflight.h"
#include "base/mem.h"

#include <stdlib.h>

struct owner {
    struct cn_table_node node;
    const void *owner;
    size_t bytes;
    int answers;
};

static uint64_t hash_of(const void *owner)
{
    return cn_hash(CN_HASH_INIT, &owner, sizeof(owner));
}

static struct owner *find(const struct cn_outflight *out, const void *owner)
{
    CN_TABLE_EACH(&out->owners, hash_of(owner), node)
    {
        struct owner *o = CN_TABLE_OF(node, struct owner, node);

        if (o->owner == owner)
            return o;
    }
    return NULL;
}

void cn_outflight_release(struct cn_outflight *out)
{
    CN_ASSERT(out->owners.n == 0);
    cn_table_release(&out->owners);
}

void cn_outflight_hold(struct cn_outflight *out, const void *owner, size_t bytes)
{
    struct owner *o = find(out, owner);

    if (o == NULL) {
        o = cn_xcalloc(1, sizeof(*o));
        o->owner = owner;
        cn_table_add(&out->owners, &o->node, hash_of(owner));
    }
    o->answers++;
    if (bytes > o->bytes) {
        out->bytes += bytes - o->bytes;
        o->bytes = bytes;
    }
}

void cn_outflight_drop(struct cn_outflight *out, const void *owner)
{
    struct owner *o = find(out, owner);

    CN_ASSERT(o != NULL);
    if (--o->answers > 0)
        return;
    out->bytes -= o->bytes;
    cn_table_remove(&out->owners, &o->node);
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
