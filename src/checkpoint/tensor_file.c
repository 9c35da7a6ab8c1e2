/* The safetensors reader: opens a file, holds its header against the rules of the format, finds
 * tensors, and reads them one at a time from the file that was opened and no other. */
#include "base/base.h"
#include "checkpoint/tensor_file.h"
#include "checkpoint/checkpoint_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cn_tensor_file {
    char *path;
    struct cn_file_id id;
    uint64_t data_at;           /* where the data area begins, from the start of the file */
    const unsigned char *data;  /* the data area when the bytes are the caller's; else NULL */
    struct cn_st_header header; /* entries sorted by name */
};

static int compare_offsets(const void *a, const void *b)
{
    const struct cn_st_entry *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int compare_names(const void *a, const void *b)
{
    const struct cn_st_entry *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static int bad_tensor(const char *path, const struct cn_st_entry *e, struct cn_err *err,
                      const char *what)
{
    return cn_fail(err, CN_EFORMAT, "\"%s\": tensor \"%.120s\": %s", path, e->name, what);
}

static int check_size(const char *path, const struct cn_st_entry *e, struct cn_err *err)
{
    uint64_t n = 1, bits;

    for (int i = 0; i < e->rank; i++)
        if (__builtin_mul_overflow(n, (uint64_t)e->dim[i], &n))
            return bad_tensor(path, e, err, "the number of elements overflows");
    if (__builtin_mul_overflow(n, (uint64_t)e->type->bits, &bits))
        return bad_tensor(path, e, err, "the number of bytes overflows");
    if (bits % 8 != 0)
        return bad_tensor(path, e, err, "not a whole number of bytes");
    if (bits / 8 != e->end - e->begin)
        return cn_fail(err, CN_EFORMAT,
                       "\"%s\": tensor \"%.120s\": the shape needs %llu bytes of %s, data_offsets "
                       "give %llu",
                       path, e->name, (unsigned long long)(bits / 8), e->type->name,
                       (unsigned long long)(e->end - e->begin));
    return CN_OK;
}

/* Every byte of the data area belongs to exactly one tensor. Sorts by offset. */
static int check_tiling(const char *path, struct cn_st_header *h, uint64_t len, struct cn_err *err)
{
    uint64_t at = 0;

    if (h->count > 0)
        qsort(h->entry, h->count, sizeof(*h->entry), compare_offsets);
    for (size_t i = 0; i < h->count; i++) {
        const struct cn_st_entry *e = &h->entry[i];
        int rc = check_size(path, e, err);

        if (rc < 0)
            return rc;
        if (e->begin != at)
            return bad_tensor(path, e, err,
                              e->begin < at ? "overlaps the tensor before it"
                                            : "a hole before its data");
        if (e->end > len)
            return bad_tensor(path, e, err, "ends behind the end of the file");
        at = e->end;
    }
    if (at != len)
        return cn_fail(err, CN_EFORMAT, "\"%s\": %llu bytes after the last tensor", path,
                       (unsigned long long)(len - at));
    return CN_OK;
}

/* Sorts by name, for the search and to see duplicates. */
static int check_names(const char *path, struct cn_st_header *h, struct cn_err *err)
{
    if (h->count > 0)
        qsort(h->entry, h->count, sizeof(*h->entry), compare_names);
    for (size_t i = 1; i < h->count; i++)
        if (strcmp(h->entry[i - 1].name, h->entry[i].name) == 0)
            return bad_tensor(path, &h->entry[i], err, "is there twice");
    return CN_OK;
}

static uint64_t little64(const unsigned char *p)
{
    uint64_t v = 0;

    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

/* The length of the header by its first 8 bytes; len is that of the whole file. */
static int header_length(const char *path, const unsigned char first[8], uint64_t len, size_t *ret,
                         struct cn_err *err)
{
    uint64_t n = little64(first);

    if (n > CN_MAX_HEADER)
        return cn_fail(err, CN_ETOOBIG,
                       "\"%s\": not a safetensors file, or its header of %llu bytes is over the "
                       "limit of %d",
                       path, (unsigned long long)n, CN_MAX_HEADER);
    if (n > len - 8)
        return cn_fail(err, CN_EFORMAT,
                       "\"%s\": the header of %llu bytes ends behind the end of "
                       "the file",
                       path, (unsigned long long)n);
    *ret = (size_t)n;
    return CN_OK;
}

static int too_short(const char *path, uint64_t len, struct cn_err *err)
{
    return cn_fail(err, CN_EFORMAT, "\"%s\": %llu bytes are too few for a safetensors file", path,
                   (unsigned long long)len);
}

/* json: the n bytes of the header; len is that of the whole file. */
static int read_header(struct cn_tensor_file *st, const unsigned char *json, size_t n, uint64_t len,
                       struct cn_err *err)
{
    int rc = cn_st_header_parse(&st->header, st->path, json, n, err);

    st->data_at = 8 + n;
    if (rc == CN_OK)
        rc = check_tiling(st->path, &st->header, len - 8 - n, err);
    if (rc == CN_OK)
        rc = check_names(st->path, &st->header, err);
    return rc;
}

static int parse_memory(struct cn_tensor_file *st, const unsigned char *p, size_t len,
                        struct cn_err *err)
{
    size_t n;
    int rc;

    if (len < 8)
        return too_short(st->path, len, err);
    rc = header_length(st->path, p, len, &n, err);
    if (rc < 0)
        return rc;
    st->data = p + 8 + n;
    return read_header(st, p + 8, n, len, err);
}

static int parse_file(struct cn_tensor_file *st, struct cn_err *err)
{
    unsigned char first[8], *json;
    size_t n;
    int rc = cn_file_identify(st->path, &st->id, err);

    if (rc < 0)
        return rc;
    if (st->id.size < 8)
        return too_short(st->path, (uint64_t)st->id.size, err);
    rc = cn_file_read_part(st->path, &st->id, 0, first, sizeof(first), err);
    if (rc == CN_OK)
        rc = header_length(st->path, first, (uint64_t)st->id.size, &n, err);
    if (rc < 0)
        return rc;
    json = cn_try_alloc(n);
    if (json == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for the header of \"%s\"", st->path);
    rc = cn_file_read_part(st->path, &st->id, 8, json, n, err);
    if (rc == CN_OK)
        rc = read_header(st, json, n, (uint64_t)st->id.size, err);
    free(json);
    return rc;
}

static int finish_open(struct cn_tensor_file *st, int rc, struct cn_tensor_file **ret)
{
    if (rc < 0)
        cn_tensor_file_close(st);
    else
        *ret = st;
    return rc;
}

int cn_tensor_file_parse(const char *path, const void *data, size_t len,
                         struct cn_tensor_file **ret, struct cn_err *err)
{
    struct cn_tensor_file *st = cn_xcalloc(1, sizeof(*st));

    st->path = cn_xstrdup(path);
    return finish_open(st, parse_memory(st, data, len, err), ret);
}

int cn_tensor_file_open(const char *path, struct cn_tensor_file **ret, struct cn_err *err)
{
    struct cn_tensor_file *st = cn_xcalloc(1, sizeof(*st));

    st->path = cn_xstrdup(path);
    return finish_open(st, parse_file(st, err), ret);
}

void cn_tensor_file_close(struct cn_tensor_file *st)
{
    if (st == NULL)
        return;
    cn_st_header_release(&st->header);
    free(st->path);
    free(st);
}

const char *cn_tensor_file_path(const struct cn_tensor_file *st)
{
    return st->path;
}

size_t cn_tensor_file_count(const struct cn_tensor_file *st)
{
    return st->header.count;
}

static void view(const struct cn_tensor_file *st, const struct cn_st_entry *e,
                 struct cn_tensor_view *ret)
{
    *ret = (struct cn_tensor_view){
        .name = e->name,
        .dtype = e->type->dtype,
        .rank = e->rank,
        .in = st,
        .offset = e->begin,
        .data = st->data != NULL ? st->data + e->begin : NULL,
        .bytes = (size_t)(e->end - e->begin),
        .file = st->path,
        .type = e->type->name,
    };
    memcpy(ret->dim, e->dim, sizeof(ret->dim));
}

void cn_tensor_file_at(const struct cn_tensor_file *st, size_t i, struct cn_tensor_view *ret)
{
    CN_ASSERT(i < st->header.count);
    view(st, &st->header.entry[i], ret);
}

static const struct cn_st_entry *lookup(const struct cn_tensor_file *st, const char *name)
{
    struct cn_st_entry key = {.name = name};

    if (st->header.count == 0)
        return NULL;
    return bsearch(&key, st->header.entry, st->header.count, sizeof(key), compare_names);
}

bool cn_tensor_file_view(const struct cn_tensor_file *st, const char *name,
                         struct cn_tensor_view *ret)
{
    const struct cn_st_entry *e = lookup(st, name);

    if (e != NULL)
        view(st, e, ret);
    return e != NULL;
}

bool cn_tensor_file_has(const struct cn_tensor_file *st, const char *name)
{
    return lookup(st, name) != NULL;
}

int cn_tensor_file_find(const struct cn_tensor_file *st, const char *name,
                        struct cn_tensor_view *ret, struct cn_err *err)
{
    const struct cn_st_entry *e = lookup(st, name);

    if (e == NULL)
        return cn_fail(err, CN_ENOTFOUND, "no tensor \"%s\" in \"%s\"", name, st->path);
    if (e->type->dtype == CN_DTYPE_COUNT)
        return cn_fail(err, CN_EFORMAT,
                       "tensor \"%s\" in \"%s\" has the type %s, which is not "
                       "supported",
                       name, st->path, e->type->name);
    view(st, e, ret);
    return CN_OK;
}

const char *cn_tensor_file_metadata(const struct cn_tensor_file *st, const char *key)
{
    for (size_t i = 0; i < st->header.pairs; i++)
        if (strcmp(st->header.pair[i].key, key) == 0)
            return st->header.pair[i].value;
    return NULL;
}

size_t cn_tensor_file_metadata_count(const struct cn_tensor_file *st)
{
    return st->header.pairs;
}

void cn_tensor_file_metadata_at(const struct cn_tensor_file *st, size_t i, const char **ret_key,
                                const char **ret_value)
{
    CN_ASSERT(i < st->header.pairs);
    *ret_key = st->header.pair[i].key;
    *ret_value = st->header.pair[i].value;
}

int cn_view_read(const struct cn_tensor_view *v, void *ret, struct cn_err *err)
{
    struct cn_err why = CN_ERR_INIT;
    int rc;

    if (v->data != NULL || v->bytes == 0) {
        if (v->bytes > 0)
            memcpy(ret, v->data, v->bytes);
        return CN_OK;
    }
    rc =
        cn_file_read_part(v->in->path, &v->in->id, v->in->data_at + v->offset, ret, v->bytes, &why);
    return rc < 0 ? cn_fail(err, rc, "cannot read tensor \"%.120s\": %s", v->name, why.msg) : rc;
}

void cn_view_slice(struct cn_tensor_view *v, size_t offset, size_t bytes)
{
    CN_ASSERT(offset <= v->bytes && bytes <= v->bytes - offset);
    v->offset += offset;
    v->bytes = bytes;
    if (v->data != NULL)
        v->data = (const char *)v->data + offset;
}

size_t cn_view_elements(const struct cn_tensor_view *v)
{
    size_t n = 1;

    for (int i = 0; i < v->rank; i++)
        n *= (size_t)v->dim[i];
    return n;
}

void cn_view_shape(const struct cn_tensor_view *v, char *text, size_t size)
{
    size_t n = 0;

    for (int i = 0; i < v->rank && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%lld", i ? ", " : "[", (long long)v->dim[i]);
    if (n < size)
        snprintf(text + n, size - n, v->rank ? "]" : "[]");
}
