/* What the known names of a pickle would make of their arguments: storages, tensors, dicts. */
#include "base/base.h"
#include "checkpoint/pickle_priv.h"

#include <string.h>

/* Element i of a tuple or list when it is of this kind; NULL. */
static const struct cn_pickle_value *argument(const struct cn_pickle *p, uint32_t args, size_t i,
                                              enum cn_pickle_kind kind)
{
    const struct cn_pickle_value *t = &p->value[args], *v;

    if ((t->kind != CN_PICKLE_TUPLE && t->kind != CN_PICKLE_LIST) || i >= t->items.n)
        return NULL;
    v = &p->value[t->items.item[i]];
    return v->kind == kind ? v : NULL;
}

/* ---- storages ---- */

/* The part of it that is meant: (key, first, length) in the form before PyTorch 1.6; else all. */
static int storage_part(struct cn_pickle *p, const struct cn_pickle_value *view,
                        struct cn_pickle_storage *s)
{
    const struct cn_pickle_value *first, *length;
    uint32_t at;

    s->first = 0;
    s->length = s->elements;
    if (view == NULL || view->kind == CN_PICKLE_NONE)
        return CN_OK;
    at = (uint32_t)(view - p->value);
    first = argument(p, at, 1, CN_PICKLE_INT);
    length = argument(p, at, 2, CN_PICKLE_INT);
    if (first == NULL || length == NULL || first->number < 0 || length->number < 0 ||
        first->number > s->elements || length->number > s->elements - first->number)
        return cn_pickle_bad(p, "a part of a storage that is none of it");
    s->first = first->number;
    s->length = length->number;
    return CN_OK;
}

int cn_pickle_storage(struct cn_pickle *p, uint32_t id, uint32_t *ret)
{
    const struct cn_pickle_value *word = argument(p, id, 0, CN_PICKLE_TEXT);
    const struct cn_pickle_value *class = argument(p, id, 1, CN_PICKLE_NAME);
    const struct cn_pickle_value *key = argument(p, id, 2, CN_PICKLE_TEXT);
    const struct cn_pickle_value *count = argument(p, id, 4, CN_PICKLE_INT);
    const struct cn_pickle_items *all = &p->value[id].items;
    struct cn_pickle_storage s = {0};
    int rc;

    if (word == NULL || strcmp(word->text, "storage") != 0 || class == NULL || key == NULL ||
        count == NULL || count->number < 0)
        return cn_pickle_bad(p, "a reference to something that is no storage");
    if (class->name->role != CN_ROLE_STORAGE && class->name->role != CN_ROLE_UNTYPED_STORAGE)
        return cn_pickle_bad(p, "\"%s\" is no class of storages", class->name->name);
    s.key = key->text;
    s.type = class->name->type != NULL ? cn_tensor_type_find(class->name->type) : NULL;
    s.elements = count->number;
    rc = storage_part(p, all->n > 5 ? &p->value[all->item[5]] : NULL, &s);
    if (rc == CN_OK)
        rc = cn_pickle_add(p, CN_PICKLE_STORAGE, ret);
    if (rc == CN_OK)
        p->value[*ret].storage = s;
    return rc;
}

/* ---- tensors ---- */

/* The numbers of a tuple, at most CN_MAX_RANK of them and none below 0. */
static int numbers(struct cn_pickle *p, uint32_t args, size_t i, int *ret_n, const int64_t **ret)
{
    const struct cn_pickle_value *t = argument(p, args, i, CN_PICKLE_TUPLE);
    int64_t *v;

    if (t == NULL)
        t = argument(p, args, i, CN_PICKLE_LIST);
    if (t == NULL || t->items.n > CN_MAX_RANK)
        return cn_pickle_bad(p, "a tensor without a shape of at most %d dimensions", CN_MAX_RANK);
    v = cn_arena_alloc(&p->arena, CN_MAX(t->items.n, (size_t)1) * sizeof(*v));
    for (size_t k = 0; k < t->items.n; k++) {
        const struct cn_pickle_value *n = &p->value[t->items.item[k]];

        if (n->kind != CN_PICKLE_INT || n->number < 0)
            return cn_pickle_bad(p, "a tensor with a dimension that is no whole number from 0");
        v[k] = n->number;
    }
    *ret_n = (int)t->items.n;
    *ret = v;
    return CN_OK;
}

/* Every element must lie in the storage, and no more of them than it has: a tensor that repeats
 * itself may stand for any amount of memory. */
static int check_tensor(struct cn_pickle *p, const struct cn_pickle_tensor *t)
{
    const struct cn_pickle_storage *s = &p->value[t->storage].storage;
    int64_t length = s->length, n = 1, last = t->offset;

    if (s->type == NULL)
        length /= t->type->bits / 8;
    for (int i = 0; i < t->rank; i++) {
        int64_t step;

        if (__builtin_mul_overflow(n, t->dim[i], &n))
            return cn_pickle_bad(p, "a tensor whose number of elements overflows");
        if (t->dim[i] > 0 && (__builtin_mul_overflow(t->dim[i] - 1, t->stride[i], &step) ||
                              __builtin_add_overflow(last, step, &last)))
            return cn_pickle_bad(p, "a tensor whose strides overflow");
    }
    if (n > 0 && (last >= length || n > length))
        return cn_pickle_bad(p, "a tensor of %lld elements up to number %lld in a storage of %lld",
                             (long long)n, (long long)last, (long long)length);
    return CN_OK;
}

static int make_tensor(struct cn_pickle *p, uint32_t args, const struct cn_tensor_type *type,
                       uint32_t *ret)
{
    const struct cn_pickle_value *storage = argument(p, args, 0, CN_PICKLE_STORAGE);
    const struct cn_pickle_value *offset = argument(p, args, 1, CN_PICKLE_INT);
    struct cn_pickle_tensor t = {0};
    int rc, strides = 0;

    if (storage == NULL || offset == NULL || offset->number < 0)
        return cn_pickle_bad(p, "a tensor without a storage and a place in it");
    t.storage = (uint32_t)(storage - p->value);
    t.type = type != NULL ? type : storage->storage.type;
    t.offset = offset->number;
    if (t.type == NULL || (storage->storage.type != NULL && t.type != storage->storage.type))
        return cn_pickle_bad(p, "a tensor whose type is not that of its storage");
    rc = numbers(p, args, 2, &t.rank, &t.dim);
    if (rc == CN_OK)
        rc = numbers(p, args, 3, &strides, &t.stride);
    if (rc == CN_OK && strides != t.rank)
        rc = cn_pickle_bad(p, "a tensor of %d dimensions with %d strides", t.rank, strides);
    if (rc == CN_OK)
        rc = check_tensor(p, &t);
    if (rc == CN_OK)
        rc = cn_pickle_add(p, CN_PICKLE_TENSOR, ret);
    if (rc == CN_OK)
        p->value[*ret].tensor = t;
    return rc;
}

/* _rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, ...) */
static int make_typed(struct cn_pickle *p, uint32_t args, uint32_t *ret)
{
    const struct cn_pickle_value *type = argument(p, args, 6, CN_PICKLE_NAME);

    if (type == NULL || type->name->role != CN_ROLE_DTYPE)
        return cn_pickle_bad(p, "a tensor without a type");
    return make_tensor(p, args, cn_tensor_type_find(type->name->type), ret);
}

/* ---- the rest ---- */

/* OrderedDict(), or of a list of pairs as Python 2 wrote it. */
static int make_dict(struct cn_pickle *p, uint32_t args, uint32_t *ret)
{
    const struct cn_pickle_value *pairs;
    struct cn_pickle_items filled = {0};
    int rc = cn_pickle_add(p, CN_PICKLE_DICT, ret);

    if (rc < 0)
        return rc;
    pairs = argument(p, args, 0, CN_PICKLE_LIST);
    for (size_t i = 0; pairs != NULL && i < pairs->items.n; i++) {
        const struct cn_pickle_value *pair = &p->value[pairs->items.item[i]];

        if ((pair->kind != CN_PICKLE_TUPLE && pair->kind != CN_PICKLE_LIST) || pair->items.n != 2)
            rc = cn_pickle_bad(p, "a dict of something else than pairs");
        else if (p->copied++ == 2 * CN_MAX_TENSORS)
            rc = cn_fail(p->err, CN_ETOOBIG, "\"%s\": its dicts are too large", p->path);
        if (rc < 0)
            break;
        cn_pickle_append(&filled, pair->items.item[0]);
        cn_pickle_append(&filled, pair->items.item[1]);
    }
    p->value[*ret].items = filled;
    return rc;
}

static int make_object(struct cn_pickle *p, uint32_t *ret)
{
    int rc = cn_pickle_add(p, CN_PICKLE_OBJECT, ret);

    if (rc == CN_OK)
        p->value[*ret].state = *ret;
    return rc;
}

/* Whatever stands at place i of the arguments, when it is of this kind. */
static int pass_on(struct cn_pickle *p, uint32_t args, enum cn_pickle_kind kind, const char *what,
                   uint32_t *ret)
{
    const struct cn_pickle_value *v = argument(p, args, 0, kind);

    if (v == NULL)
        return cn_pickle_bad(p, "a %s of something else", what);
    *ret = (uint32_t)(v - p->value);
    return CN_OK;
}

static int make_simple(struct cn_pickle *p, const struct cn_pickle_name *name, uint32_t args,
                       uint32_t *ret)
{
    switch (name->role) {
    case CN_ROLE_TENSOR:
        return make_tensor(p, args, NULL, ret);
    case CN_ROLE_TENSOR_V3:
        return make_typed(p, args, ret);
    case CN_ROLE_PARAMETER:
        return pass_on(p, args, CN_PICKLE_TENSOR, "parameter", ret);
    case CN_ROLE_DICT:
        return make_dict(p, args, ret);
    case CN_ROLE_SIZE:
        return pass_on(p, args, CN_PICKLE_TUPLE, "size", ret);
    case CN_ROLE_NOTE:
        return make_object(p, ret);
    default:
        return cn_pickle_bad(p, "it calls \"%s\" as a function", name->name);
    }
}

int cn_pickle_call(struct cn_pickle *p, const struct cn_pickle_name *name, uint32_t args,
                   uint32_t *ret)
{
    const struct cn_pickle_value *function, *inner;

    if (name->role != CN_ROLE_SUBCLASS)
        return make_simple(p, name, args, ret);
    /* A tensor with attributes of its own: _rebuild_from_type_v2(function, class, arguments, ...).
     */
    function = argument(p, args, 0, CN_PICKLE_NAME);
    inner = argument(p, args, 2, CN_PICKLE_TUPLE);
    if (function == NULL || inner == NULL)
        return cn_pickle_bad(p, "a tensor of a class of its own without its parts");
    return make_simple(p, function->name, (uint32_t)(inner - p->value), ret);
}
