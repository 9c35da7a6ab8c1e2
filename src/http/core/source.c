/* Sources that need nothing but memory: bytes, base64 of another source, one source after another.
 * See source.h; files are in source_file.c. */
#include "base/base.h"
#include "http/core/source.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { RAW_BLOCK = 24 * 1024 }; /* of a base64 text: 32 KiB of it */

ssize_t cn_source_pull(struct cn_source *s, void *buf, size_t max)
{
    return s->kind->pull(s, buf, max);
}

void cn_source_free(struct cn_source *s)
{
    if (s != NULL)
        s->kind->dispose(s);
}

void cn_source_wake(struct cn_source *s)
{
    if (s->wake != NULL)
        s->wake(s->arg);
}

/* ---- bytes ---- */

struct bytes {
    struct cn_source base;
    const unsigned char *data;
    size_t at;
    struct cn_outflight *account;
    const void *owner;
    void (*release)(void *arg);
    void *arg;
};

static ssize_t bytes_pull(struct cn_source *s, void *buf, size_t max)
{
    struct bytes *b = (struct bytes *)s;
    size_t n = CN_MIN((size_t)s->length - b->at, max);

    if (n == 0)
        return CN_SOURCE_END;
    memcpy(buf, b->data + b->at, n);
    b->at += n;
    return (ssize_t)n;
}

static void bytes_dispose(struct cn_source *s)
{
    struct bytes *b = (struct bytes *)s;

    if (b->account != NULL && b->owner != NULL)
        cn_outflight_drop(b->account, b->owner);
    else if (b->account != NULL)
        cn_outflight_remove(b->account, (size_t)s->length);
    if (b->release != NULL)
        b->release(b->arg);
    free(b);
}

static const void *bytes_all(struct cn_source *s)
{
    return ((struct bytes *)s)->data;
}

struct cn_source *cn_source_counted(struct cn_outflight *account, const void *owner,
                                    const void *data, size_t len, void (*release)(void *arg),
                                    void *arg)
{
    static const struct cn_source_kind kind = {
        .pull = bytes_pull, .dispose = bytes_dispose, .bytes = bytes_all};
    struct bytes *b = cn_xcalloc(1, sizeof(*b));

    b->base.kind = &kind;
    b->base.length = (int64_t)len;
    b->data = data;
    b->account = account;
    b->owner = owner;
    b->release = release;
    b->arg = arg;
    if (account != NULL && owner != NULL)
        cn_outflight_hold(account, owner, len);
    else if (account != NULL)
        cn_outflight_add(account, len);
    return &b->base;
}

struct cn_source *cn_source_bytes(const void *data, size_t len, void (*release)(void *arg),
                                  void *arg)
{
    return cn_source_counted(NULL, NULL, data, len, release, arg);
}

struct cn_source *cn_source_take(struct cn_outflight *account, struct cn_buf *b)
{
    size_t len;
    unsigned char *data = cn_buf_steal(b, &len);

    return cn_source_counted(account, NULL, data, len, free, data);
}

/* ---- base64 ---- */

/* Groups of three bytes become four characters. What is left of a block that is no whole group
 * stays in `rest` for the next one. */
struct base64 {
    struct cn_source base;
    struct cn_source *raw;
    uint64_t left; /* raw bytes that are still to come */
    unsigned char rest[2];
    size_t n_rest;
};

uint64_t cn_source_base64_length(uint64_t bytes)
{
    return (bytes + 2) / 3 * 4;
}

static char *put_group(char *out, const unsigned char *in, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned v = (unsigned)in[0] << 16 | (n > 1 ? (unsigned)in[1] << 8 : 0U) | (n > 2 ? in[2] : 0U);

    *out++ = digit[v >> 18];
    *out++ = digit[v >> 12 & 63];
    *out++ = n > 1 ? digit[v >> 6 & 63] : '=';
    *out++ = n > 2 ? digit[v & 63] : '=';
    return out;
}

static ssize_t base64_pull(struct cn_source *s, void *buf, size_t max)
{
    static unsigned char block[RAW_BLOCK]; /* of the loop's thread: nobody keeps anything in it */
    struct base64 *b = (struct base64 *)s;
    size_t room = CN_MIN(max / 4 * 3, (size_t)RAW_BLOCK), n, used;
    char *out = buf;
    ssize_t got;

    CN_ASSERT(max >= 4);
    while (out == (char *)buf) {
        if (b->left == 0)
            return CN_SOURCE_END;
        memcpy(block, b->rest, b->n_rest);
        got = cn_source_pull(b->raw, block + b->n_rest, room - b->n_rest);
        if (got <= 0)
            return got == CN_SOURCE_END ? CN_SOURCE_BROKEN : got;
        n = b->n_rest + (size_t)got;
        b->left -= (uint64_t)got;
        used = b->left == 0 ? n : n / 3 * 3;
        for (size_t i = 0; i < used; i += 3)
            out = put_group(out, block + i, CN_MIN(used - i, (size_t)3));
        b->n_rest = n - used;
        memcpy(b->rest, block + used, b->n_rest);
    }
    return out - (char *)buf;
}

static void base64_dispose(struct cn_source *s)
{
    cn_source_free(((struct base64 *)s)->raw);
    free(s);
}

static void pass_wake(void *arg)
{
    cn_source_wake(arg);
}

struct cn_source *cn_source_base64(struct cn_source *raw)
{
    static const struct cn_source_kind kind = {.pull = base64_pull, .dispose = base64_dispose};
    struct base64 *b = cn_xcalloc(1, sizeof(*b));

    CN_ASSERT(raw->length >= 0);
    b->base.kind = &kind;
    b->base.length = (int64_t)cn_source_base64_length((uint64_t)raw->length);
    b->raw = raw;
    b->left = (uint64_t)raw->length;
    raw->wake = pass_wake;
    raw->arg = b;
    return &b->base;
}

/* ---- one after another ---- */

struct chain {
    struct cn_source base;
    struct cn_source *now; /* NULL: the next has to be asked for */
    cn_source_next_fn next;
    void (*release)(void *arg);
    void *arg;
};

static ssize_t chain_pull(struct cn_source *s, void *buf, size_t max)
{
    struct chain *c = (struct chain *)s;

    for (;;) {
        ssize_t n;
        int rc;

        if (c->now == NULL) {
            if ((rc = c->next(c->arg, &c->now)) <= 0)
                return rc;
            c->now->wake = pass_wake;
            c->now->arg = s;
        }
        n = cn_source_pull(c->now, buf, max);
        if (n != CN_SOURCE_END)
            return n;
        cn_source_free(c->now);
        c->now = NULL;
    }
}

static void chain_dispose(struct cn_source *s)
{
    struct chain *c = (struct chain *)s;

    cn_source_free(c->now);
    if (c->release != NULL)
        c->release(c->arg);
    free(c);
}

struct cn_source *cn_source_chain(int64_t length, cn_source_next_fn next,
                                  void (*release)(void *arg), void *arg)
{
    static const struct cn_source_kind kind = {.pull = chain_pull, .dispose = chain_dispose};
    struct chain *c = cn_xcalloc(1, sizeof(*c));

    c->base.kind = &kind;
    c->base.length = length;
    c->next = next;
    c->release = release;
    c->arg = arg;
    return &c->base;
}
