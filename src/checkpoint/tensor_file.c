/* Files of named tensors, whatever their form: told apart by their first bytes, read into a table,
 * and then read one tensor at a time from the file that was opened and no other. */
#include "base/base.h"
#include "checkpoint/tensor_file.h"
#include "checkpoint/tensor_file_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cn_tensor_file {
    char *path;
    struct cn_tensor_source source;
    struct cn_tensor_table table; /* entries sorted by name */
};

enum { SNIFF = 16 };

/* The forms of files, and what people have instead of files, by their first bytes. */
static const struct {
    const char *begin;
    size_t len;
    int (*read)(const struct cn_tensor_source *s, struct cn_tensor_table *ret, struct cn_err *err);
    const char *what; /* why it is refused */
} forms[] = {
    {"PK\3\4", 4, cn_torch_zip_read, NULL},
    {"PK\5\6", 4, NULL, "an empty archive"},
    {"\x80\x02", 2, cn_torch_legacy_read, NULL},
    {"\x80\x03", 2, cn_torch_legacy_read, NULL},
    {"\x80\x04", 2, cn_torch_legacy_read, NULL},
    {"\x80\x05", 2, cn_torch_legacy_read, NULL},
    {"GGUF", 4, NULL, "a GGUF file, whose quantized weights are not supported"},
    {"version https://", 16, NULL, "a pointer of Git LFS: the model itself was not downloaded"},
    {"<!DOCTYPE", 9, NULL, "a web page, not a model: the download failed"},
    {"<!doctype", 9, NULL, "a web page, not a model: the download failed"},
    {"<html", 5, NULL, "a web page, not a model: the download failed"},
    {"<?xml", 5, NULL, "an XML document, not a model: the download failed"},
    {"Rar!", 4, NULL, "a RAR archive: unpack it first"},
    {"7z\xbc\xaf", 4, NULL, "a 7z archive: unpack it first"},
    {"\x1f\x8b", 2, NULL, "compressed with gzip: unpack it first"},
    {"\x89PNG", 4, NULL, "a picture, not a model"},
    {"\x89HDF", 4, NULL, "an HDF5 file, which is not supported"},
};

/* A header's length may begin with any of the bytes above: what has the other marks of a
 * safetensors file is one. */
static bool is_safetensors(const unsigned char *p, size_t len)
{
    static const unsigned char none[4];

    return len > 8 && memcmp(p + 4, none, 4) == 0 && p[8] == '{';
}

/* Whatever sent it instead of a model: a page with blanks before it, a message in JSON. */
static bool is_text(const unsigned char *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i] >= 127 || (p[i] < ' ' && p[i] != '\n' && p[i] != '\r' && p[i] != '\t'))
            return false;
    return len >= 8;
}

static int read_table(const struct cn_tensor_source *s, struct cn_tensor_table *ret,
                      struct cn_err *err)
{
    unsigned char first[SNIFF];
    size_t len = (size_t)CN_MIN(s->size, (uint64_t)SNIFF);
    int rc = cn_source_read(s, 0, first, len, err);

    for (size_t i = 0; rc == CN_OK && i < CN_LEN(forms) && !is_safetensors(first, len); i++) {
        if (len < forms[i].len || memcmp(first, forms[i].begin, forms[i].len) != 0)
            continue;
        if (forms[i].read != NULL)
            return forms[i].read(s, ret, err);
        return cn_fail(err, CN_EFORMAT, "\"%s\" is %s", s->path, forms[i].what);
    }
    if (rc == CN_OK && is_text(first, len))
        return cn_fail(err, CN_EFORMAT, "\"%s\" is a text, not a model: the download failed",
                       s->path);
    return rc < 0 ? rc : cn_safetensors_read(s, ret, err);
}

static int finish_open(struct cn_tensor_file *f, struct cn_tensor_file **ret, struct cn_err *err)
{
    int rc = read_table(&f->source, &f->table, err);

    if (rc == CN_OK)
        rc = cn_tensor_table_sort(&f->table, f->path, err);
    if (rc < 0)
        cn_tensor_file_close(f);
    else
        *ret = f;
    return rc;
}

static struct cn_tensor_file *new_file(const char *path)
{
    struct cn_tensor_file *f = cn_xcalloc(1, sizeof(*f));

    f->source.path = f->path = cn_xstrdup(path);
    cn_arena_init(&f->table.arena);
    return f;
}

int cn_tensor_file_parse(const char *path, const void *data, size_t len,
                         struct cn_tensor_file **ret, struct cn_err *err)
{
    struct cn_tensor_file *f = new_file(path);

    f->source.data = data;
    f->source.size = len;
    return finish_open(f, ret, err);
}

int cn_tensor_file_open(const char *path, struct cn_tensor_file **ret, struct cn_err *err)
{
    struct cn_tensor_file *f = new_file(path);
    int rc = cn_file_identify(path, &f->source.id, err);

    if (rc < 0) {
        cn_tensor_file_close(f);
        return rc;
    }
    cn_file_keep(path, &f->source.id);
    f->source.size = (uint64_t)f->source.id.size;
    return finish_open(f, ret, err);
}

void cn_tensor_file_close(struct cn_tensor_file *f)
{
    if (f == NULL)
        return;
    cn_tensor_table_release(&f->table);
    cn_file_let_go(&f->source.id);
    free(f->path);
    free(f);
}

bool cn_tensor_file_is_current(const struct cn_tensor_file *f)
{
    struct cn_file_id now;

    return cn_file_identify(f->path, &now, NULL) == CN_OK && cn_file_is_same(&now, &f->source.id);
}

const char *cn_tensor_file_path(const struct cn_tensor_file *f)
{
    return f->path;
}

size_t cn_tensor_file_count(const struct cn_tensor_file *f)
{
    return f->table.count;
}

static void view(const struct cn_tensor_file *f, const struct cn_tensor_entry *e,
                 struct cn_tensor_view *ret)
{
    *ret = (struct cn_tensor_view){
        .name = e->name,
        .dtype = e->type->dtype,
        .rank = e->rank,
        .stride = e->stride,
        .in = f,
        .offset = e->begin,
        .data = f->source.data != NULL ? f->source.data + e->begin : NULL,
        .bytes = (size_t)(e->end - e->begin),
        .file = f->path,
        .type = e->type->name,
        .form = e->type->widen != NULL ? e->type : NULL,
    };
    memcpy(ret->dim, e->dim, sizeof(ret->dim));
    if (e->type->dtype != CN_DTYPE_COUNT)
        ret->bytes = cn_view_elements(ret) * cn_dtype_size(e->type->dtype);
    else if (e->stride != NULL)
        ret->bytes = cn_view_elements(ret) * (e->type->bits / 8);
}

void cn_tensor_file_at(const struct cn_tensor_file *f, size_t i, struct cn_tensor_view *ret)
{
    CN_ASSERT(i < f->table.count);
    view(f, &f->table.entry[i], ret);
}

static int compare_names(const void *a, const void *b)
{
    const struct cn_tensor_entry *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static const struct cn_tensor_entry *lookup(const struct cn_tensor_file *f, const char *name)
{
    struct cn_tensor_entry key = {.name = name};

    if (f->table.count == 0)
        return NULL;
    return bsearch(&key, f->table.entry, f->table.count, sizeof(key), compare_names);
}

bool cn_tensor_file_view(const struct cn_tensor_file *f, const char *name,
                         struct cn_tensor_view *ret)
{
    const struct cn_tensor_entry *e = lookup(f, name);

    if (e != NULL)
        view(f, e, ret);
    return e != NULL;
}

bool cn_tensor_file_has(const struct cn_tensor_file *f, const char *name)
{
    return lookup(f, name) != NULL;
}

int cn_tensor_file_find(const struct cn_tensor_file *f, const char *name,
                        struct cn_tensor_view *ret, struct cn_err *err)
{
    const struct cn_tensor_entry *e = lookup(f, name);

    if (e == NULL)
        return cn_fail(err, CN_ENOTFOUND, "no tensor \"%s\" in \"%s\"", name, f->path);
    if (e->type->dtype == CN_DTYPE_COUNT)
        return cn_fail(err, CN_EFORMAT,
                       "tensor \"%s\" in \"%s\" has the type %s, which is not "
                       "supported",
                       name, f->path, e->type->name);
    view(f, e, ret);
    return CN_OK;
}

const char *cn_tensor_file_metadata(const struct cn_tensor_file *f, const char *key)
{
    for (size_t i = 0; i < f->table.pairs; i++)
        if (strcmp(f->table.pair[i].key, key) == 0)
            return f->table.pair[i].value;
    return NULL;
}

size_t cn_tensor_file_metadata_count(const struct cn_tensor_file *f)
{
    return f->table.pairs;
}

void cn_tensor_file_metadata_at(const struct cn_tensor_file *f, size_t i, const char **ret_key,
                                const char **ret_value)
{
    CN_ASSERT(i < f->table.pairs);
    *ret_key = f->table.pair[i].key;
    *ret_value = f->table.pair[i].value;
}

size_t cn_view_elements(const struct cn_tensor_view *v)
{
    size_t n = 1;

    for (int i = 0; i < v->rank; i++)
        n *= (size_t)v->dim[i];
    return n;
}

/* Bytes of one element of a view that has some, as it is stored. */
static size_t stored_size(const struct cn_tensor_view *v)
{
    return v->form != NULL ? v->form->bits / 8 : v->bytes / cn_view_elements(v);
}

size_t cn_view_stored(const struct cn_tensor_view *v)
{
    return v->form != NULL ? cn_view_elements(v) * (v->form->bits / 8) : v->bytes;
}

/* The bytes from offset on, in the order of the file. */
static int read_part(const struct cn_tensor_view *v, void *ret, size_t bytes, struct cn_err *err)
{
    struct cn_err why = CN_ERR_INIT;
    int rc;

    if (v->data != NULL) {
        memcpy(ret, v->data, bytes);
        return CN_OK;
    }
    rc = cn_source_read(&v->in->source, v->offset, ret, bytes, &why);
    return rc < 0 ? cn_fail(err, rc, "cannot read tensor \"%.120s\": %s", v->name, why.msg) : rc;
}

/* Puts the elements of a strided view into row-major order. */
static void gather(const struct cn_tensor_view *v, const unsigned char *from, unsigned char *to,
                   size_t element)
{
    int64_t at[CN_MAX_RANK] = {0};

    for (size_t n = cn_view_elements(v); n > 0; n--, to += element) {
        size_t offset = 0;

        for (int i = 0; i < v->rank; i++)
            offset += (size_t)(at[i] * v->stride[i]);
        memcpy(to, from + offset * element, element);
        for (int i = v->rank - 1; i >= 0 && ++at[i] == v->dim[i]; i--)
            at[i] = 0;
    }
}

/* What lies from the first to the last element is read whole. */
static int read_strided(const struct cn_tensor_view *v, void *ret, struct cn_err *err)
{
    size_t element = stored_size(v), last = 0;
    unsigned char *p;
    int rc;

    for (int i = 0; i < v->rank; i++)
        last += (size_t)((v->dim[i] - 1) * v->stride[i]);
    p = cn_try_alloc((last + 1) * element);
    if (p == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for tensor \"%.120s\"", v->name);
    rc = read_part(v, p, (last + 1) * element, err);
    if (rc == CN_OK)
        gather(v, p, ret, element);
    free(p);
    return rc;
}

/* Halves, in the second half of ret, to floats, from the front. */
static void scale_halves(void *ret, size_t n, float scale)
{
    const unsigned char *from = (const unsigned char *)ret + n * 2;
    unsigned char *to = ret;

    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        float x;

        memcpy(&half, from + 2 * i, sizeof(half));
        x = cn_f16_to_f32(half) * scale;
        memcpy(to + 4 * i, &x, sizeof(x));
    }
}

int cn_view_read(const struct cn_tensor_view *v, void *ret, struct cn_err *err)
{
    unsigned char *stored = ret, *wide = ret;
    size_t n = cn_view_elements(v);
    int rc;

    if (v->bytes == 0)
        return CN_OK;
    stored += v->bytes - cn_view_stored(v);
    rc = v->stride != NULL ? read_strided(v, stored, err)
                           : read_part(v, stored, cn_view_stored(v), err);
    if (v->scale != 0)
        wide += 2 * n;
    if (rc == CN_OK && v->form != NULL)
        v->form->widen(wide, stored, n);
    if (rc == CN_OK && v->scale != 0)
        scale_halves(ret, n, v->scale);
    return rc;
}

int cn_view_scale(struct cn_tensor_view *v, float scale, struct cn_err *err)
{
    if (v->form == NULL || v->form->bits != 8 || v->dtype != CN_F16)
        return cn_fail(err, CN_EFORMAT,
                       "\"%s\": tensor \"%.100s\" has a scale and is no float of 8 bits (%s)",
                       v->file, v->name, v->type);
    v->bytes = cn_view_elements(v) * sizeof(float);
    v->dtype = CN_F32;
    v->scale = scale;
    return CN_OK;
}

void cn_view_rows(struct cn_tensor_view *v, int64_t first, int64_t n)
{
    size_t offset = 0;

    CN_ASSERT(v->rank > 0 && first >= 0 && n >= 0 && n <= v->dim[0] && first <= v->dim[0] - n);
    if (v->bytes > 0 && v->stride != NULL)
        offset = (size_t)(first * v->stride[0]) * stored_size(v);
    else if (v->bytes > 0)
        offset = (size_t)first * (cn_view_stored(v) / (size_t)v->dim[0]);
    if (v->dim[0] > 0)
        v->bytes = (size_t)n * (v->bytes / (size_t)v->dim[0]);
    v->offset += offset;
    v->dim[0] = n;
    if (v->data != NULL)
        v->data = (const char *)v->data + offset;
}

void cn_view_transpose(struct cn_tensor_view *v, int64_t stride[2])
{
    int64_t rows = v->dim[0];

    CN_ASSERT(v->rank == 2);
    stride[0] = v->stride != NULL ? v->stride[1] : 1;
    stride[1] = v->stride != NULL ? v->stride[0] : v->dim[1];
    v->dim[0] = v->dim[1];
    v->dim[1] = rows;
    v->stride = stride;
}

void cn_view_shape(const struct cn_tensor_view *v, char *text, size_t size)
{
    size_t n = 0;

    for (int i = 0; i < v->rank && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%lld", i ? ", " : "[", (long long)v->dim[i]);
    if (n < size)
        snprintf(text + n, size - n, v->rank ? "]" : "[]");
}
