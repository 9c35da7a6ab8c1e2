/* Collects bytes until a frame is whole; refuses types, flags and lengths that cannot be. */
#include "base/base.h"
#include "wire/frame.h"

#include <string.h>

static uint32_t get32(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool known(unsigned type)
{
    return (type >= CN_FRAME_HELLO && type <= CN_FRAME_CATALOG) ||
           (type >= CN_FRAME_JOB && type <= CN_FRAME_MANAGE);
}

void cn_frame_decoder_init(struct cn_frame_decoder *d)
{
    /* One whole frame, and what a read of 64 KiB brought of the next ones. */
    cn_buf_init(&d->buf, CN_FRAME_HEAD + CN_FRAME_MAX + (1 << 20));
    d->done = 0;
}

void cn_frame_decoder_release(struct cn_frame_decoder *d)
{
    cn_buf_release(&d->buf);
    d->done = 0;
}

int cn_frame_feed(struct cn_frame_decoder *d, const void *data, size_t len, struct cn_err *err)
{
    cn_buf_consume(&d->buf, d->done);
    d->done = 0;
    return cn_buf_add(&d->buf, data, len, err);
}

int cn_frame_next(struct cn_frame_decoder *d, struct cn_frame *ret, struct cn_err *err)
{
    const unsigned char *p;
    size_t have = d->buf.len - d->done, len;
    unsigned type;

    if (have < CN_FRAME_HEAD)
        return 0;
    p = d->buf.data + d->done;
    type = p[0] | (unsigned)p[1] << 8;
    len = get32(p + 4);
    if (!known(type))
        return cn_fail(err, CN_EFORMAT, "unknown frame type %u", type);
    if (p[2] != 0 || p[3] != 0)
        return cn_fail(err, CN_EFORMAT, "frame of type %u with unknown flags", type);
    if (len > CN_FRAME_MAX)
        return cn_fail(err, CN_ETOOBIG, "frame of type %u with %zu bytes", type, len);
    if (have - CN_FRAME_HEAD < len)
        return 0;
    *ret = (struct cn_frame){(enum cn_frame_type)type, p + CN_FRAME_HEAD, len};
    d->done += CN_FRAME_HEAD + len;
    return 1;
}

int cn_frame_begin(struct cn_buf *b, enum cn_frame_type type, size_t *ret_at, struct cn_err *err)
{
    unsigned char head[CN_FRAME_HEAD] = {(unsigned char)type, (unsigned char)(type >> 8)};

    *ret_at = b->len;
    return cn_buf_add(b, head, sizeof(head), err);
}

int cn_frame_end(struct cn_buf *b, size_t at, struct cn_err *err)
{
    size_t len = b->len - at - CN_FRAME_HEAD;

    if (len > CN_FRAME_MAX)
        return cn_fail(err, CN_ETOOBIG, "frame with %zu bytes", len);
    for (size_t i = 0; i < 4; i++)
        b->data[at + 4 + i] = (unsigned char)(len >> (8 * i));
    return CN_OK;
}
