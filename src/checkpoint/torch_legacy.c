/* What torch.save() wrote before PyTorch 1.6: pickles of a magic number, of the version, of what
 * machine it was and of the object, one of the list of storages; then each storage's number of
 * elements (8 bytes) and its elements, in the order of that list. */
#include "base/base.h"
#include "checkpoint/pickle_priv.h"

#include <stdlib.h>
#include <string.h>

struct place {
    const char *key;
    uint64_t at, bytes;
};

struct legacy {
    const struct cn_tensor_source *s;
    struct place *place; /* by key */
    size_t n;
};

/* The number that begins such a file, 0x1950a86a20f9469cfc6c, as a pickle has it. */
static const unsigned char magic[10] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

static const struct cn_pickle_value *entry(const struct cn_pickle *p, uint32_t dict,
                                           const char *key)
{
    const struct cn_pickle_value *d = &p->value[dict];

    for (size_t i = 0; d->kind == CN_PICKLE_DICT && i + 1 < d->items.n; i += 2) {
        const struct cn_pickle_value *k = &p->value[d->items.item[i]];

        if (k->kind == CN_PICKLE_TEXT && strcmp(k->text, key) == 0)
            return &p->value[d->items.item[i + 1]];
    }
    return NULL;
}

/* Any pickle may begin as these do, so what it names is said before what it is not. */
static int read_head(struct cn_pickle *p, uint32_t *ret_root, struct cn_err *err)
{
    const struct cn_pickle_value *v, *little;
    uint32_t first, version, machine;
    int rc = cn_pickle_run(p, &first);

    if (rc < 0)
        return rc;
    v = &p->value[first];
    if (v->kind != CN_PICKLE_TEXT || v->len != sizeof(magic) ||
        memcmp(v->text, magic, sizeof(magic)) != 0)
        return cn_fail(err, CN_EFORMAT, "\"%s\" is a pickle that torch.save() did not write",
                       p->path);
    if ((rc = cn_pickle_run(p, &version)) < 0 || (rc = cn_pickle_run(p, &machine)) < 0)
        return rc;
    little = entry(p, machine, "little_endian");
    if (p->value[version].kind != CN_PICKLE_INT || p->value[version].number != 1001)
        return cn_pickle_bad(p, "a version of the format that is not known");
    if (little != NULL && little->kind == CN_PICKLE_BOOL && little->number == 0)
        return cn_pickle_bad(p, "its numbers are big-endian");
    return cn_pickle_run(p, ret_root);
}

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    return strcmp(x->key, y->key);
}

/* Storages of the object, sorted by key: the file itself does not say how large their elements
 * are. */
struct kind {
    const char *key;
    uint64_t element; /* bytes */
};

static int compare_kinds(const void *a, const void *b)
{
    const struct kind *x = a, *y = b;

    return strcmp(x->key, y->key);
}

static struct kind *find_kinds(const struct cn_pickle *p, size_t *ret_n)
{
    struct kind *k = NULL;
    size_t n = 0, cap = 0;

    for (size_t i = 0; i < p->n; i++) {
        const struct cn_pickle_storage *s = &p->value[i].storage;

        if (p->value[i].kind != CN_PICKLE_STORAGE)
            continue;
        k = cn_grow(k, n, &cap, sizeof(*k));
        k[n++] = (struct kind){s->key, s->type != NULL ? s->type->bits / 8 : 1};
    }
    if (n > 0)
        qsort(k, n, sizeof(*k), compare_kinds);
    *ret_n = n;
    return k;
}

static int bad_storage(const struct cn_pickle *p, const char *key, struct cn_err *err,
                       const char *what)
{
    return cn_fail(err, CN_EFORMAT, "\"%s\": storage \"%.40s\" %s", p->path, key, what);
}

/* One storage at *at, and past it. */
static int place_storage(struct legacy *l, const struct cn_pickle *p, const struct kind *kinds,
                         size_t n, const char *key, uint64_t *at, struct cn_err *err)
{
    struct kind want = {.key = key};
    const struct kind *k = n > 0 ? bsearch(&want, kinds, n, sizeof(want), compare_kinds) : NULL;
    unsigned char count[8];
    uint64_t bytes;
    int rc;

    if (k == NULL)
        return bad_storage(p, key, err, "is of no tensor");
    if (l->s->size - *at < 8)
        return bad_storage(p, key, err, "is missing: the file is cut off");
    rc = cn_source_read(l->s, *at, count, 8, err);
    if (rc < 0)
        return rc;
    *at += 8;
    if (__builtin_mul_overflow(cn_little(count, 8), k->element, &bytes) || bytes > l->s->size - *at)
        return bad_storage(p, key, err, "ends behind the end of the file: it is cut off");
    l->place[l->n++] = (struct place){key, *at, bytes};
    *at += bytes;
    return CN_OK;
}

/* keys: the list of them. */
static int place_all(struct legacy *l, const struct cn_pickle *p, uint32_t keys, struct cn_err *err)
{
    const struct cn_pickle_value *list = &p->value[keys];
    uint64_t at = (uint64_t)(p->at - p->begin);
    struct kind *kinds;
    size_t n;
    int rc = CN_OK;

    if (list->kind != CN_PICKLE_LIST)
        return cn_fail(err, CN_EFORMAT, "\"%s\": the list of storages is missing", p->path);
    if (list->items.n > CN_MAX_TENSORS)
        return cn_fail(err, CN_ETOOBIG, "\"%s\": more than %d storages", p->path, CN_MAX_TENSORS);
    kinds = find_kinds(p, &n);
    l->place = cn_xcalloc(list->items.n, sizeof(*l->place));
    for (size_t i = 0; rc == CN_OK && i < list->items.n; i++) {
        const struct cn_pickle_value *key = &p->value[list->items.item[i]];

        if (key->kind != CN_PICKLE_TEXT)
            rc = cn_fail(err, CN_EFORMAT, "\"%s\": a storage without a name", p->path);
        else
            rc = place_storage(l, p, kinds, n, key->text, &at, err);
    }
    free(kinds);
    if (l->n > 0)
        qsort(l->place, l->n, sizeof(*l->place), compare_places);
    for (size_t i = 1; rc == CN_OK && i < l->n; i++)
        if (strcmp(l->place[i - 1].key, l->place[i].key) == 0)
            rc = bad_storage(p, l->place[i].key, err, "is there twice");
    return rc;
}

static int find_storage(void *ctx, const struct cn_pickle_storage *s, uint64_t *ret_at,
                        uint64_t *ret_bytes, struct cn_err *err)
{
    const struct legacy *l = ctx;
    struct place want = {.key = s->key}, *found;

    found = l->n > 0 ? bsearch(&want, l->place, l->n, sizeof(want), compare_places) : NULL;
    if (found == NULL)
        return cn_fail(err, CN_EFORMAT, "\"%s\": storage \"%.40s\" is missing", l->s->path, s->key);
    *ret_at = found->at;
    *ret_bytes = found->bytes;
    return CN_OK;
}

int cn_torch_legacy_read(const struct cn_tensor_source *s, struct cn_tensor_table *ret,
                         struct cn_err *err)
{
    size_t len = (size_t)CN_MIN(s->size, (uint64_t)CN_MAX_HEADER);
    struct legacy l = {.s = s};
    struct cn_pickle p;
    unsigned char *bytes;
    uint32_t root, keys;
    int rc = cn_source_load(s, 0, len, &bytes, err);

    if (rc < 0)
        return rc;
    cn_pickle_init(&p, s->path, bytes, len, err);
    rc = read_head(&p, &root, err);
    if (rc == CN_OK)
        rc = cn_pickle_run(&p, &keys);
    if (rc == CN_OK)
        rc = place_all(&l, &p, keys, err);
    if (rc == CN_OK)
        rc = cn_torch_table(&p, root, s->size, find_storage, &l, ret, err);
    cn_pickle_release(&p);
    free(l.place);
    free(bytes);
    return rc;
}
