/* Words that stand for vectors: a list, searched from its beginning. */
#include "base/base.h"
#include "text/triggers.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct cn_triggers {
    struct cn_trigger *item;
    size_t n, cap;
};

struct cn_triggers *cn_triggers_new(void)
{
    return cn_xcalloc(1, sizeof(struct cn_triggers));
}

void cn_triggers_free(struct cn_triggers *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->n; i++) {
        free(t->item[i].name);
        free(t->item[i].token);
        free(t->item[i].id);
    }
    free(t->item);
    free(t);
}

void cn_triggers_add(struct cn_triggers *t, const char *name, const int32_t *id, int n_ids,
                     const char *token, int32_t first, int n)
{
    struct cn_trigger *x;

    t->item = cn_grow(t->item, t->n, &t->cap, sizeof(*t->item));
    x = &t->item[t->n++];
    *x = (struct cn_trigger){.name = cn_xstrdup(name),
                             .token = cn_xstrdup(token),
                             .token_len = strlen(token),
                             .id = cn_xcalloc((size_t)n_ids + 1, sizeof(*x->id)),
                             .n_ids = n_ids,
                             .first = CN_FIRST_VECTOR + first,
                             .n = n};
    memcpy(x->id, id, (size_t)n_ids * sizeof(*id));
}

const struct cn_trigger *cn_triggers_at_ids(const struct cn_triggers *t, const int32_t *id, int n)
{
    const struct cn_trigger *best = NULL;

    for (size_t i = 0; t != NULL && i < t->n; i++) {
        const struct cn_trigger *x = &t->item[i];

        if (x->n_ids > 0 && x->n_ids <= n && x->id[0] == id[0] &&
            memcmp(x->id, id, (size_t)x->n_ids * sizeof(*id)) == 0 &&
            (best == NULL || x->n_ids > best->n_ids))
            best = x;
    }
    return best;
}

const struct cn_trigger *cn_triggers_at_text(const struct cn_triggers *t, const char *text,
                                             size_t len)
{
    const struct cn_trigger *best = NULL;

    for (size_t i = 0; t != NULL && i < t->n; i++) {
        const struct cn_trigger *x = &t->item[i];

        if (x->token_len > 0 && x->token_len <= len && x->token[0] == text[0] &&
            memcmp(x->token, text, x->token_len) == 0 &&
            (best == NULL || x->token_len > best->token_len))
            best = x;
    }
    return best;
}
