/* Hash tables of structs that carry their own node. Grows with what is in it; nothing is allocated
 * for an entry. Owned by whoever holds the struct.
 *
 *     struct thing { struct cn_table_node by_name; char *name; };
 *     cn_table_add(&t, &thing->by_name, cn_hash_text(CN_HASH_INIT, thing->name));
 *     CN_TABLE_EACH (&t, hash, node)
 *         if (strcmp(CN_TABLE_OF(node, struct thing, by_name)->name, name) == 0) ...
 *     cn_table_remove(&t, &thing->by_name);
 *     cn_table_release(&t);                          -- the entries are their owners'
 */
#ifndef CN_BASE_TABLE_H
#define CN_BASE_TABLE_H

#include "base/base.h"

#include <stddef.h>

struct cn_table_node {
    struct cn_table_node *next;
    uint64_t hash;
};

/* Zeroed: empty. */
struct cn_table {
    struct cn_table_node **bucket;
    size_t n_buckets, n;
};

#define CN_TABLE_OF(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* FNV-1a, 64 bits; pass the result on to hash several parts. A text counts with its end, so that
 * "a", "bc" and "ab", "c" differ. */
#define CN_HASH_INIT UINT64_C(0xcbf29ce484222325)
uint64_t cn_hash(uint64_t h, const void *data, size_t len);
uint64_t cn_hash_text(uint64_t h, const char *text);

void cn_table_add(struct cn_table *t, struct cn_table_node *node, uint64_t hash);
void cn_table_remove(struct cn_table *t, struct cn_table_node *node); /* it is in the table */

/* Entries of a hash, one after the other; NULL at the end. */
struct cn_table_node *cn_table_first(const struct cn_table *t, uint64_t hash);
struct cn_table_node *cn_table_next(const struct cn_table_node *node);

#define CN_TABLE_EACH(t, h, node)                                                                  \
    for (struct cn_table_node *node = cn_table_first(t, h); node != NULL;                          \
         node = cn_table_next(node))

/* Calls visit for all entries. It may remove the one that it gets, and add or remove no other. */
void cn_table_visit(const struct cn_table *t, void (*visit)(struct cn_table_node *node, void *arg),
                    void *arg);

void cn_table_release(struct cn_table *t);

#endif
