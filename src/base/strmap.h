/* Map from string to pointer, insertion order kept. Keys are copied; values are the caller's.
 * Any thread, one at a time. */
#ifndef CN_BASE_STRMAP_H
#define CN_BASE_STRMAP_H

#include "base/base.h"

struct cn_strmap_item {
    char *key;
    void *value;
};

struct cn_strmap {
    struct cn_strmap_item *item; /* count of them, in insertion order */
    size_t count, cap;
    uint32_t *slot; /* open addressing: index + 1 */
    size_t slots;
};

void cn_strmap_init(struct cn_strmap *m);
void cn_strmap_release(struct cn_strmap *m);

/* False, and no change, when the key is there already. */
bool cn_strmap_add(struct cn_strmap *m, const char *key, void *value);

/* NULL when absent. */
void *cn_strmap_get(const struct cn_strmap *m, const char *key);

#endif
