/* Encoding of numbers and strings. */
#include "base/base.h"
#include "wire/pack.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void put_raw(struct cn_pack *p, const void *data, size_t len)
{
    if (p->rc == CN_OK)
        p->rc = cn_buf_add(p->buf, data, len, p->err);
}

static void put_le(struct cn_pack *p, uint64_t v, size_t bytes)
{
    unsigned char b[8];

    for (size_t i = 0; i < bytes; i++)
        b[i] = (unsigned char)(v >> (8 * i));
    put_raw(p, b, bytes);
}

void cn_put_u8(struct cn_pack *p, unsigned v)
{
    put_le(p, v, 1);
}

void cn_put_u16(struct cn_pack *p, unsigned v)
{
    put_le(p, v, 2);
}

void cn_put_u32(struct cn_pack *p, uint32_t v)
{
    put_le(p, v, 4);
}

void cn_put_u64(struct cn_pack *p, uint64_t v)
{
    put_le(p, v, 8);
}

void cn_put_i32(struct cn_pack *p, int v)
{
    put_le(p, (uint32_t)v, 4);
}

void cn_put_f64(struct cn_pack *p, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    put_le(p, bits, 8);
}

void cn_put_bytes(struct cn_pack *p, const void *data, size_t len)
{
    if (p->rc == CN_OK && len > UINT32_MAX)
        p->rc = cn_fail(p->err, CN_ETOOBIG, "%zu bytes in one field", len);
    cn_put_u32(p, (uint32_t)len);
    put_raw(p, data, len);
}

void cn_put_str(struct cn_pack *p, const char *s)
{
    cn_put_bytes(p, s == NULL ? "" : s, s == NULL ? 0 : strlen(s));
}

void cn_unpack_fault(struct cn_unpack *u, int rc, const char *why)
{
    if (u->rc != CN_OK)
        return;
    u->rc = rc;
    u->why = why;
}

/* NULL after a fault or when fewer than len bytes are left. */
static const unsigned char *take(struct cn_unpack *u, size_t len)
{
    const unsigned char *p = u->p;

    if (u->rc == CN_OK && u->left < len)
        cn_unpack_fault(u, CN_EFORMAT, "the bytes end too early");
    if (u->rc != CN_OK)
        return NULL;
    u->p += len;
    u->left -= len;
    return p;
}

static uint64_t get_le(struct cn_unpack *u, size_t bytes)
{
    const unsigned char *p = take(u, bytes);
    uint64_t v = 0;

    for (size_t i = 0; p != NULL && i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

unsigned cn_get_u8(struct cn_unpack *u)
{
    return (unsigned)get_le(u, 1);
}

unsigned cn_get_u16(struct cn_unpack *u)
{
    return (unsigned)get_le(u, 2);
}

uint32_t cn_get_u32(struct cn_unpack *u)
{
    return (uint32_t)get_le(u, 4);
}

uint64_t cn_get_u64(struct cn_unpack *u)
{
    return get_le(u, 8);
}

int cn_get_i32(struct cn_unpack *u)
{
    return (int32_t)(uint32_t)get_le(u, 4);
}

double cn_get_f64(struct cn_unpack *u)
{
    uint64_t bits = get_le(u, 8);
    double v;

    memcpy(&v, &bits, sizeof(v));
    if (isfinite(v))
        return v;
    cn_unpack_fault(u, CN_EFORMAT, "a number is not finite");
    return 0;
}

const unsigned char *cn_get_borrow(struct cn_unpack *u, size_t max, size_t *ret_len)
{
    size_t len = cn_get_u32(u);
    const unsigned char *p;

    *ret_len = 0;
    if (u->rc == CN_OK && len > max)
        cn_unpack_fault(u, CN_ETOOBIG, "a field is too long");
    p = take(u, len);
    if (p != NULL)
        *ret_len = len;
    return p;
}

char *cn_get_str(struct cn_unpack *u, size_t max)
{
    size_t len;
    const unsigned char *p = cn_get_borrow(u, max, &len);
    char *s;

    if (p != NULL && memchr(p, 0, len) != NULL)
        cn_unpack_fault(u, CN_EFORMAT, "a text contains NUL");
    if (p == NULL || u->rc != CN_OK)
        len = 0;
    s = cn_xmalloc(len + 1); /* bounded by max, which is ours */
    if (len > 0)
        memcpy(s, p, len);
    s[len] = '\0';
    return s;
}

void cn_get_text(struct cn_unpack *u, char *text, size_t size)
{
    size_t len;
    const unsigned char *p = cn_get_borrow(u, size - 1, &len);

    if (p != NULL && memchr(p, 0, len) != NULL)
        cn_unpack_fault(u, CN_EFORMAT, "a text contains NUL");
    if (p == NULL || u->rc != CN_OK)
        len = 0;
    if (len > 0)
        memcpy(text, p, len);
    text[len] = '\0';
    for (size_t i = 0; (i += cn_utf8_check(text + i, len - i)) < len; i++)
        text[i] = '?';
}

struct cn_blob cn_get_blob(struct cn_unpack *u, size_t max)
{
    struct cn_blob b = {NULL, 0};
    size_t len;
    const unsigned char *p = cn_get_borrow(u, max, &len);

    if (p == NULL || len == 0)
        return b;
    b.data = cn_try_alloc(len);
    if (b.data == NULL) {
        cn_unpack_fault(u, CN_ENOMEM, "no memory for a field");
        return b;
    }
    memcpy(b.data, p, len);
    b.len = len;
    return b;
}

int cn_get_enum(struct cn_unpack *u, int count)
{
    unsigned v = cn_get_u8(u);

    if (v < (unsigned)count)
        return (int)v;
    cn_unpack_fault(u, CN_EFORMAT, "an enumeration is out of range");
    return 0;
}

int cn_get_range(struct cn_unpack *u, int lo, int hi)
{
    int v = cn_get_i32(u);

    if (v >= lo && v <= hi)
        return v;
    cn_unpack_fault(u, CN_EFORMAT, "a number is out of range");
    return lo;
}

int cn_unpack_end(struct cn_unpack *u, const char *what, struct cn_err *err)
{
    if (u->rc == CN_OK && u->left != 0)
        cn_unpack_fault(u, CN_EFORMAT, "bytes are left over");
    if (u->rc == CN_OK)
        return CN_OK;
    return cn_fail(err, u->rc, "cannot read %s: %s", what, u->why);
}
