/* The table of tensors that a reader fills, and the bytes that it reads from. */
#include "base/base.h"
#include "checkpoint/tensor_file_priv.h"

#include <stdlib.h>
#include <string.h>

/* Floats of 8 bits (Micikevicius et al. 2022, arXiv:2209.05433): each of them is a binary16. */

static uint16_t from_e4m3(unsigned char x)
{
    unsigned sign = (x & 0x80u) << 8, exponent = (x >> 3) & 15, fraction = x & 7;

    if ((x & 0x7f) == 0x7f) /* the only one that is no number: there are no infinities */
        return (uint16_t)(sign | 0x7e00u);
    if (exponent > 0)
        return (uint16_t)(sign | (exponent + 8) << 10 | fraction << 7);
    return (uint16_t)(sign | cn_f32_to_f16((float)fraction * 0x1p-9f));
}

static void widen_e4m3(void *ret, const unsigned char *stored, size_t n)
{
    uint16_t table[256], *out = ret;

    for (unsigned i = 0; i < 256; i++)
        table[i] = from_e4m3((unsigned char)i);
    for (size_t i = 0; i < n; i++)
        out[i] = table[stored[i]];
}

/* The upper half of a binary16. */
static void widen_e5m2(void *ret, const unsigned char *stored, size_t n)
{
    uint16_t *out = ret;

    for (size_t i = 0; i < n; i++)
        out[i] = (uint16_t)(stored[i] << 8);
}

static const struct cn_tensor_type types[] = {
    {"F32", 32, CN_F32, NULL},
    {"F16", 16, CN_F16, NULL},
    {"BF16", 16, CN_BF16, NULL},
    {"F64", 64, CN_F64, NULL},
    {"I64", 64, CN_I64, NULL},
    {"I32", 32, CN_I32, NULL},
    {"U8", 8, CN_U8, NULL},
    {"BOOL", 8, CN_DTYPE_COUNT, NULL},
    {"I8", 8, CN_DTYPE_COUNT, NULL},
    {"I16", 16, CN_DTYPE_COUNT, NULL},
    {"U16", 16, CN_DTYPE_COUNT, NULL},
    {"U32", 32, CN_DTYPE_COUNT, NULL},
    {"U64", 64, CN_DTYPE_COUNT, NULL},
    {"C64", 64, CN_DTYPE_COUNT, NULL},
    {"F8_E4M3", 8, CN_F16, widen_e4m3},
    {"F8_E5M2", 8, CN_F16, widen_e5m2},
    {"F8_E8M0", 8, CN_DTYPE_COUNT, NULL},
    {"F8_E4M3FNUZ", 8, CN_DTYPE_COUNT, NULL},
    {"F8_E5M2FNUZ", 8, CN_DTYPE_COUNT, NULL},
    {"F6_E2M3", 6, CN_DTYPE_COUNT, NULL},
    {"F6_E3M2", 6, CN_DTYPE_COUNT, NULL},
    {"F4", 4, CN_DTYPE_COUNT, NULL},
};

const struct cn_tensor_type *cn_tensor_type_find(const char *name)
{
    for (size_t i = 0; i < CN_LEN(types); i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

int cn_tensor_bad(const char *path, const struct cn_tensor_entry *e, struct cn_err *err,
                  const char *what)
{
    return cn_fail(err, CN_EFORMAT, "\"%s\": tensor \"%.120s\": %s", path, e->name, what);
}

int cn_tensor_table_add(struct cn_tensor_table *t, const char *path,
                        const struct cn_tensor_entry *e, struct cn_err *err)
{
    if (t->count == CN_MAX_TENSORS)
        return cn_fail(err, CN_ETOOBIG, "\"%s\": more than %d tensors", path, CN_MAX_TENSORS);
    t->entry = cn_grow(t->entry, t->count, &t->cap, sizeof(*t->entry));
    t->entry[t->count++] = *e;
    return CN_OK;
}

void cn_tensor_table_add_pair(struct cn_tensor_table *t, const char *key, const char *value)
{
    t->pair = cn_grow(t->pair, t->pairs, &t->pair_cap, sizeof(*t->pair));
    t->pair[t->pairs++] = (struct cn_tensor_pair){key, value};
}

void cn_tensor_table_release(struct cn_tensor_table *t)
{
    free(t->text);
    free(t->entry);
    free(t->pair);
    cn_arena_release(&t->arena);
    *t = (struct cn_tensor_table){0};
}

static int compare_names(const void *a, const void *b)
{
    const struct cn_tensor_entry *x = a, *y = b;

    return strcmp(x->name, y->name);
}

int cn_tensor_table_sort(struct cn_tensor_table *t, const char *path, struct cn_err *err)
{
    if (t->count > 0)
        qsort(t->entry, t->count, sizeof(*t->entry), compare_names);
    for (size_t i = 1; i < t->count; i++)
        if (strcmp(t->entry[i - 1].name, t->entry[i].name) == 0)
            return cn_tensor_bad(path, &t->entry[i], err, "is there twice");
    return CN_OK;
}

int cn_source_read(const struct cn_tensor_source *s, uint64_t offset, void *ret, size_t len,
                   struct cn_err *err)
{
    CN_ASSERT(offset <= s->size && len <= s->size - offset);
    if (s->data == NULL)
        return cn_file_read_part(s->path, &s->id, offset, ret, len, err);
    if (len > 0)
        memcpy(ret, s->data + offset, len);
    return CN_OK;
}

int cn_source_load(const struct cn_tensor_source *s, uint64_t offset, size_t len,
                   unsigned char **ret, struct cn_err *err)
{
    unsigned char *p = cn_try_alloc(len);
    int rc;

    if (p == NULL)
        return cn_fail(err, CN_ENOMEM, "\"%s\": no memory for %zu bytes of it", s->path, len);
    rc = cn_source_read(s, offset, p, len, err);
    if (rc < 0)
        free(p);
    else
        *ret = p;
    return rc;
}

uint64_t cn_little(const unsigned char *p, int bytes)
{
    uint64_t v = 0;

    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}
