/* String map: FNV-1a, open addressing, never more than half full. */
#include "base/base.h"
#include "base/strmap.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash(const char *s)
{
    uint64_t h = 14695981039346656037u;

    for (; *s != '\0'; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h ^ h >> 32;
}

void cn_strmap_init(struct cn_strmap *m)
{
    *m = (struct cn_strmap){0};
}

void cn_strmap_release(struct cn_strmap *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->item[i].key);
    free(m->item);
    free(m->slot);
    cn_strmap_init(m);
}

/* The slot that holds key, or the free one where it belongs. slots is a power of two. */
static size_t probe(const struct cn_strmap *m, const char *key)
{
    size_t i = hash(key) & (m->slots - 1);

    while (m->slot[i] != 0 && strcmp(m->item[m->slot[i] - 1].key, key) != 0)
        i = (i + 1) & (m->slots - 1);
    return i;
}

static void rehash(struct cn_strmap *m)
{
    m->slots = m->slots ? m->slots * 2 : 16;
    free(m->slot);
    m->slot = cn_xcalloc(m->slots, sizeof(*m->slot));
    for (size_t i = 0; i < m->count; i++)
        m->slot[probe(m, m->item[i].key)] = (uint32_t)i + 1;
}

bool cn_strmap_add(struct cn_strmap *m, const char *key, void *value)
{
    size_t s;

    if ((m->count + 1) * 2 > m->slots)
        rehash(m);
    s = probe(m, key);
    if (m->slot[s] != 0)
        return false;
    m->item = cn_grow(m->item, m->count, &m->cap, sizeof(*m->item));
    m->item[m->count] = (struct cn_strmap_item){cn_xstrdup(key), value};
    m->slot[s] = (uint32_t)++m->count;
    return true;
}

void *cn_strmap_get(const struct cn_strmap *m, const char *key)
{
    size_t s;

    if (m->slots == 0)
        return NULL;
    s = probe(m, key);
    return m->slot[s] ? m->item[m->slot[s] - 1].value : NULL;
}
