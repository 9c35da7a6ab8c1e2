/* Hash tables of structs that carry their own node: chains, twice as many when there are more
 * entries than chains. */
#include "base/base.h"
#include "base/table.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SIZE = 16 };

uint64_t cn_hash(uint64_t h, const void *data, size_t len)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

uint64_t cn_hash_text(uint64_t h, const char *text)
{
    return cn_hash(h, text, strlen(text) + 1);
}

/* The low bits of FNV-1a are its weakest. */
static struct cn_table_node **chain_of(const struct cn_table *t, uint64_t hash)
{
    return &t->bucket[(hash ^ hash >> 32) & (t->n_buckets - 1)];
}

static void resize(struct cn_table *t, size_t n)
{
    struct cn_table_node **old = t->bucket;
    size_t n_old = t->n_buckets;

    t->bucket = cn_xcalloc(n, sizeof(*t->bucket));
    t->n_buckets = n;
    for (size_t i = 0; i < n_old; i++)
        for (struct cn_table_node *p = old[i], *next; p != NULL; p = next) {
            struct cn_table_node **at = chain_of(t, p->hash);

            next = p->next;
            p->next = *at;
            *at = p;
        }
    free(old);
}

void cn_table_add(struct cn_table *t, struct cn_table_node *node, uint64_t hash)
{
    struct cn_table_node **at;

    if (t->n >= t->n_buckets)
        resize(t, t->n_buckets == 0 ? FIRST_SIZE : t->n_buckets * 2);
    at = chain_of(t, hash);
    node->hash = hash;
    node->next = *at;
    *at = node;
    t->n++;
}

void cn_table_remove(struct cn_table *t, struct cn_table_node *node)
{
    struct cn_table_node **at = chain_of(t, node->hash);

    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    node->next = NULL;
    t->n--;
}

static struct cn_table_node *with_hash(struct cn_table_node *node, uint64_t hash)
{
    while (node != NULL && node->hash != hash)
        node = node->next;
    return node;
}

struct cn_table_node *cn_table_first(const struct cn_table *t, uint64_t hash)
{
    return t->n == 0 ? NULL : with_hash(*chain_of(t, hash), hash);
}

struct cn_table_node *cn_table_next(const struct cn_table_node *node)
{
    return with_hash(node->next, node->hash);
}

void cn_table_visit(const struct cn_table *t, void (*visit)(struct cn_table_node *node, void *arg),
                    void *arg)
{
    for (size_t i = 0; i < t->n_buckets; i++)
        for (struct cn_table_node *p = t->bucket[i], *next; p != NULL; p = next) {
            next = p->next;
            visit(p, arg);
        }
}

void cn_table_release(struct cn_table *t)
{
    free(t->bucket);
    memset(t, 0, sizeof(*t));
}
