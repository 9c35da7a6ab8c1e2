/* safetensors files: the header's JSON is read by safetensors_header.c; here it is held against the
 * rest of the file and the rules of the format. */
#include "base/base.h"
#include "checkpoint/tensor_file_priv.h"

#include <stdlib.h>
#include <string.h>

static int compare_offsets(const void *a, const void *b)
{
    const struct cn_tensor_entry *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int check_size(const char *path, const struct cn_tensor_entry *e, struct cn_err *err)
{
    uint64_t n = 1, bits;

    for (int i = 0; i < e->rank; i++)
        if (__builtin_mul_overflow(n, (uint64_t)e->dim[i], &n))
            return cn_tensor_bad(path, e, err, "the number of elements overflows");
    if (__builtin_mul_overflow(n, (uint64_t)e->type->bits, &bits))
        return cn_tensor_bad(path, e, err, "the number of bytes overflows");
    if (bits % 8 != 0)
        return cn_tensor_bad(path, e, err, "not a whole number of bytes");
    if (bits / 8 != e->end - e->begin)
        return cn_fail(err, CN_EFORMAT,
                       "\"%s\": tensor \"%.120s\": the shape needs %llu bytes of %s, data_offsets "
                       "give %llu",
                       path, e->name, (unsigned long long)(bits / 8), e->type->name,
                       (unsigned long long)(e->end - e->begin));
    return CN_OK;
}

/* Every byte of the data area belongs to exactly one tensor. Sorts by offset. */
static int check_tiling(const char *path, struct cn_tensor_table *h, uint64_t len,
                        struct cn_err *err)
{
    uint64_t at = 0;

    if (h->count > 0)
        qsort(h->entry, h->count, sizeof(*h->entry), compare_offsets);
    for (size_t i = 0; i < h->count; i++) {
        const struct cn_tensor_entry *e = &h->entry[i];
        int rc = check_size(path, e, err);

        if (rc < 0)
            return rc;
        if (e->begin != at)
            return cn_tensor_bad(path, e, err,
                                 e->begin < at ? "overlaps the tensor before it"
                                               : "a hole before its data");
        if (e->end > len)
            return cn_tensor_bad(path, e, err, "ends behind the end of the file, which is cut off");
        at = e->end;
    }
    if (at != len)
        return cn_fail(err, CN_EFORMAT, "\"%s\": %llu bytes after the last tensor", path,
                       (unsigned long long)(len - at));
    return CN_OK;
}

/* The length of the header by its first 8 bytes; len is that of the whole file. */
static int header_length(const char *path, const unsigned char first[8], uint64_t len, size_t *ret,
                         struct cn_err *err)
{
    uint64_t n = cn_little(first, 8);

    if (n > CN_MAX_HEADER)
        return cn_fail(err, CN_ETOOBIG,
                       "\"%s\": neither a file of torch.save() nor a safetensors file, whose "
                       "header of %llu bytes would be over the limit of %d",
                       path, (unsigned long long)n, CN_MAX_HEADER);
    if (n > len - 8)
        return cn_fail(err, CN_EFORMAT,
                       "\"%s\": the header of %llu bytes ends behind the end of "
                       "the file",
                       path, (unsigned long long)n);
    *ret = (size_t)n;
    return CN_OK;
}

static int load(const struct cn_tensor_source *s, size_t n, struct cn_tensor_table *t,
                struct cn_err *err)
{
    unsigned char *json;
    int rc = cn_source_load(s, 8, n, &json, err);

    if (rc < 0)
        return rc;
    rc = cn_safetensors_header(t, s->path, json, n, err);
    free(json);
    if (rc == CN_OK)
        rc = check_tiling(s->path, t, s->size - 8 - n, err);
    for (size_t i = 0; rc == CN_OK && i < t->count; i++) {
        t->entry[i].begin += 8 + n;
        t->entry[i].end += 8 + n;
    }
    return rc;
}

int cn_safetensors_read(const struct cn_tensor_source *s, struct cn_tensor_table *ret,
                        struct cn_err *err)
{
    unsigned char first[8];
    size_t n = 0;
    int rc;

    if (s->size < 8)
        return cn_fail(err, CN_EFORMAT, "\"%s\": %llu bytes are too few for a safetensors file",
                       s->path, (unsigned long long)s->size);
    rc = cn_source_read(s, 0, first, sizeof(first), err);
    if (rc == CN_OK)
        rc = header_length(s->path, first, s->size, &n, err);
    return rc == CN_OK ? load(s, n, ret, err) : rc;
}
