/* A byte buffer that grows by doubling, up to the maximum it was born with. */
#include "base/base.h"
#include "base/buf.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cn_buf_init(struct cn_buf *b, size_t max)
{
    *b = (struct cn_buf){.max = max};
}

void cn_buf_release(struct cn_buf *b)
{
    free(b->data);
    *b = (struct cn_buf){.max = b->max};
}

void cn_buf_clear(struct cn_buf *b)
{
    b->len = 0;
    b->failed = CN_OK;
    if (b->data != NULL)
        b->data[0] = 0;
}

static int fails(struct cn_buf *b, int code)
{
    if (b->failed == CN_OK)
        b->failed = code;
    return code;
}

int cn_buf_whole(const struct cn_buf *b, struct cn_err *err)
{
    if (b->failed == CN_OK)
        return CN_OK;
    return b->failed == CN_ETOOBIG ? cn_fail(err, CN_ETOOBIG, "more than %zu bytes", b->max)
                                   : cn_fail(err, b->failed, "no memory for text");
}

int cn_buf_reserve(struct cn_buf *b, size_t len, unsigned char **ret, struct cn_err *err)
{
    size_t need;

    if (!cn_add_size(b->len, len, &need) || need > b->max)
        return fails(b, cn_fail(err, CN_ETOOBIG, "more than %zu bytes", b->max));
    if (need + 1 > b->cap) {
        size_t cap = CN_MAX(b->cap * 2, need + 1);
        unsigned char *p;

        cap = CN_MAX(CN_MIN(cap, b->max + 1), (size_t)64);
        p = realloc(b->data, cap);
        if (p == NULL)
            return fails(b, cn_fail(err, CN_ENOMEM, "no memory for a buffer of %zu bytes", cap));
        b->data = p;
        b->cap = cap;
    }
    *ret = b->data + b->len;
    b->len = need;
    b->data[need] = 0;
    return CN_OK;
}

int cn_buf_add(struct cn_buf *b, const void *data, size_t len, struct cn_err *err)
{
    unsigned char *p;
    int rc = cn_buf_reserve(b, len, &p, err);

    if (rc == CN_OK && len > 0)
        memcpy(p, data, len);
    return rc;
}

int cn_buf_adds(struct cn_buf *b, const char *s, struct cn_err *err)
{
    return cn_buf_add(b, s, strlen(s), err);
}

int cn_buf_printf(struct cn_buf *b, struct cn_err *err, const char *fmt, ...)
{
    va_list ap;
    char *s = NULL;
    int n, rc;

    va_start(ap, fmt);
    n = vasprintf(&s, fmt, ap);
    va_end(ap);
    if (n < 0)
        return fails(b, cn_fail(err, CN_ENOMEM, "no memory for text"));
    rc = cn_buf_add(b, s, (size_t)n, err);
    free(s);
    return rc;
}

void cn_buf_consume(struct cn_buf *b, size_t n)
{
    CN_ASSERT(n <= b->len);
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n + 1);
    b->len -= n;
}

unsigned char *cn_buf_steal(struct cn_buf *b, size_t *ret_len)
{
    unsigned char *p = b->data;

    if (p == NULL)
        p = cn_xcalloc(1, 1);
    *ret_len = b->len;
    b->data = NULL;
    b->len = b->cap = 0;
    b->failed = CN_OK;
    return p;
}
