/* Writes safetensors files in the order and with the padding of the reference writer, for tools
 * and tests. */
#include "base/base.h"
#include "base/buf.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/checkpoint_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The order of the reference writer: large element types first (so that all stay aligned), then
 * by name. */
static int compare(const void *a, const void *b)
{
    const struct cn_tensor_view *const *x = a, *const *y = b;
    size_t sx = cn_dtype_size((*x)->dtype), sy = cn_dtype_size((*y)->dtype);

    if (sx != sy)
        return sx > sy ? -1 : 1;
    return strcmp((*x)->name, (*y)->name);
}

static int compare_names(const void *a, const void *b)
{
    const struct cn_tensor_view *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static int add_string(struct cn_buf *b, const char *s, struct cn_err *err)
{
    int rc = cn_buf_adds(b, "\"", err);

    for (; rc == CN_OK && *s != '\0'; s++) {
        if ((unsigned char)*s < 0x20)
            rc = cn_buf_printf(b, err, "\\u%04x", *s);
        else if (*s == '"' || *s == '\\')
            rc = cn_buf_printf(b, err, "\\%c", *s);
        else
            rc = cn_buf_add(b, s, 1, err);
    }
    return rc == CN_OK ? cn_buf_adds(b, "\"", err) : rc;
}

static int add_metadata(struct cn_buf *b, const char *const *metadata, struct cn_err *err)
{
    int rc = cn_buf_adds(b, "\"__metadata__\":{", err);

    for (size_t i = 0; rc == CN_OK && metadata[i] != NULL; i += 2) {
        if (i > 0)
            rc = cn_buf_adds(b, ",", err);
        if (rc == CN_OK)
            rc = add_string(b, metadata[i], err);
        if (rc == CN_OK)
            rc = cn_buf_adds(b, ":", err);
        if (rc == CN_OK)
            rc = add_string(b, metadata[i + 1], err);
    }
    return rc == CN_OK ? cn_buf_adds(b, "}", err) : rc;
}

static int add_tensor(struct cn_buf *b, const struct cn_tensor_view *v, uint64_t at,
                      struct cn_err *err)
{
    int rc = add_string(b, v->name, err);

    if (rc == CN_OK)
        rc = cn_buf_printf(b, err, ":{\"dtype\":\"%s\",\"shape\":[", cn_dtype_name(v->dtype));
    for (int i = 0; rc == CN_OK && i < v->rank; i++)
        rc = cn_buf_printf(b, err, "%s%lld", i ? "," : "", (long long)v->dim[i]);
    if (rc == CN_OK)
        rc = cn_buf_printf(b, err, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                           (unsigned long long)(at + v->bytes));
    return rc;
}

static int build_header(struct cn_buf *b, const struct cn_tensor_view *const *view, size_t n,
                        const char *const *metadata, struct cn_err *err)
{
    uint64_t at = 0;
    int rc = cn_buf_add(b, "\0\0\0\0\0\0\0\0{", 9, err);

    if (rc == CN_OK && metadata != NULL)
        rc = add_metadata(b, metadata, err);
    for (size_t i = 0; rc == CN_OK && i < n; i++) {
        if (i > 0 || metadata != NULL)
            rc = cn_buf_adds(b, ",", err);
        if (rc == CN_OK)
            rc = add_tensor(b, view[i], at, err);
        at += view[i]->bytes;
    }
    if (rc == CN_OK)
        rc = cn_buf_adds(b, "}", err);
    while (rc == CN_OK && b->len % 8 != 0)
        rc = cn_buf_adds(b, " ", err);
    if (rc == CN_OK)
        for (size_t i = 0, len = b->len - 8; i < 8; i++, len >>= 8)
            b->data[i] = (unsigned char)(len & 0xff);
    return rc;
}

/* *ret_ok: everything was written. Fails when the tensor cannot be read. */
static int write_tensor(FILE *f, const struct cn_tensor_view *v, bool *ret_ok, struct cn_err *err)
{
    void *copy = NULL;
    int rc;

    if (v->bytes == 0)
        return CN_OK;
    if (v->data != NULL) {
        *ret_ok = fwrite(v->data, 1, v->bytes, f) == v->bytes;
        return CN_OK;
    }
    copy = cn_try_alloc(v->bytes);
    if (copy == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for tensor \"%s\"", v->name);
    rc = cn_view_read(v, copy, err);
    *ret_ok = rc == CN_OK && fwrite(copy, 1, v->bytes, f) == v->bytes;
    free(copy);
    return rc;
}

static int write_file(const char *path, const struct cn_buf *header,
                      const struct cn_tensor_view *const *view, size_t n, struct cn_err *err)
{
    char *tmp = cn_xprintf("%s.%ld.tmp", path, (long)getpid());
    FILE *f = fopen(tmp, "wbe");
    bool ok = f != NULL && fwrite(header->data, 1, header->len, f) == header->len;
    int rc = CN_OK;

    for (size_t i = 0; ok && rc == CN_OK && i < n; i++)
        rc = write_tensor(f, view[i], &ok, err);
    ok = ok && fflush(f) == 0 && fsync(fileno(f)) == 0;
    if (f != NULL && fclose(f) != 0)
        ok = false;
    if (rc == CN_OK && (!ok || rename(tmp, path) < 0))
        rc = cn_fail(err, CN_EIO, "cannot write \"%s\": %s", path, strerror(errno));
    if (rc < 0)
        unlink(tmp);
    free(tmp);
    return rc;
}

static int check_view(const struct cn_tensor_view *v, struct cn_err *err)
{
    size_t n = 1;

    if ((unsigned)v->dtype >= CN_DTYPE_COUNT || v->rank < 0 || v->rank > CN_MAX_RANK)
        return cn_fail(err, CN_EINVAL, "tensor \"%s\": type or rank cannot be written", v->name);
    for (int i = 0; i < v->rank; i++)
        if (v->dim[i] < 0 || !cn_mul_size(n, (size_t)v->dim[i], &n))
            return cn_fail(err, CN_EINVAL, "tensor \"%s\": bad shape", v->name);
    if (!cn_mul_size(n, cn_dtype_size(v->dtype), &n) || n != v->bytes)
        return cn_fail(err, CN_EINVAL, "tensor \"%s\": %zu bytes do not fit the shape", v->name,
                       v->bytes);
    return CN_OK;
}

int cn_safetensors_write(const char *path, const struct cn_tensor_view *views, size_t n,
                         const char *const *metadata, struct cn_err *err)
{
    const struct cn_tensor_view **sorted = cn_xcalloc(n, sizeof(struct cn_tensor_view *));
    struct cn_buf header;
    int rc = CN_OK;

    cn_buf_init(&header, CN_MAX_HEADER);
    for (size_t i = 0; rc == CN_OK && i < n; i++) {
        sorted[i] = &views[i];
        rc = check_view(&views[i], err);
    }
    if (rc < 0)
        goto out;
    qsort(sorted, n, sizeof(*sorted), compare_names);
    for (size_t i = 1; rc == CN_OK && i < n; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            rc = cn_fail(err, CN_EINVAL, "two tensors are named \"%s\"", sorted[i]->name);
    qsort(sorted, n, sizeof(*sorted), compare);
    if (rc == CN_OK)
        rc = build_header(&header, sorted, n, metadata, err);
    if (rc == CN_OK)
        rc = write_file(path, &header, sorted, n, err);
out:
    cn_buf_release(&header);
    free(sorted);
    return rc;
}
