/* The values of a pickle's machine: made, counted, freed. */
#include "base/base.h"
#include "checkpoint/pickle_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cn_pickle_init(struct cn_pickle *p, const char *path, const unsigned char *bytes, size_t n,
                    struct cn_err *err)
{
    *p =
        (struct cn_pickle){.path = path, .begin = bytes, .at = bytes, .end = bytes + n, .err = err};
    cn_arena_init(&p->arena);
}

void cn_pickle_release(struct cn_pickle *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->value[i].kind == CN_PICKLE_TUPLE || p->value[i].kind == CN_PICKLE_LIST ||
            p->value[i].kind == CN_PICKLE_DICT)
            free(p->value[i].items.item);
        else if (p->value[i].kind == CN_PICKLE_OBJECT)
            free(p->value[i].entries.item);
    }
    free(p->value);
    free(p->stack);
    free(p->mark);
    free(p->memo);
    cn_arena_release(&p->arena);
}

int cn_pickle_bad(struct cn_pickle *p, const char *fmt, ...)
{
    char what[240];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    return cn_fail(p->err, CN_EFORMAT, "\"%s\": pickle: %s (byte %zu)", p->path, what,
                   (size_t)(p->at - p->begin));
}

int cn_pickle_add(struct cn_pickle *p, enum cn_pickle_kind kind, uint32_t *ret)
{
    if (p->n == CN_PICKLE_VALUES)
        return cn_fail(p->err, CN_ETOOBIG, "\"%s\": pickle: more than %d values", p->path,
                       CN_PICKLE_VALUES);
    p->value = cn_grow(p->value, p->n, &p->cap, sizeof(*p->value));
    memset(&p->value[p->n], 0, sizeof(*p->value));
    p->value[p->n].kind = kind;
    *ret = (uint32_t)p->n++;
    return CN_OK;
}

void cn_pickle_append(struct cn_pickle_items *l, uint32_t v)
{
    l->item = cn_grow(l->item, l->n, &l->cap, sizeof(*l->item));
    l->item[l->n++] = v;
}
