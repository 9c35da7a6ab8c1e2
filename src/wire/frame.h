/* Frames on a stream: how bytes between front and worker are cut into messages.
 *
 *     offset  0  u16  type     enum cn_frame_type
 *             2  u16  flags    0; anything else is refused
 *             4  u32  length   of the payload, at most CN_FRAME_MAX
 *             8  ...  payload
 *
 * All little-endian. Magic and version travel in the first frame (HELLO). Any thread, one decoder
 * per stream.
 *
 *     cn_frame_decoder_init(&d);
 *     cn_frame_feed(&d, bytes, n, &err);
 *     while ((rc = cn_frame_next(&d, &frame, &err)) > 0) ...
 *                                       -- frame.data lives until the next call
 *     cn_frame_decoder_release(&d);
 */
#ifndef CN_WIRE_FRAME_H
#define CN_WIRE_FRAME_H

#include "base/base.h"
#include "base/buf.h"

#define CN_FRAME_HEAD ((size_t)8)
#define CN_FRAME_MAX  ((size_t)256 << 20)

enum cn_frame_type {
    /* worker to front */
    CN_FRAME_HELLO = 1,
    CN_FRAME_STATE = 2,
    CN_FRAME_PROGRESS = 3,
    CN_FRAME_IMAGE = 4,
    CN_FRAME_DONE = 5,
    CN_FRAME_FAILED = 6,
    CN_FRAME_PONG = 7,
    CN_FRAME_GAUGES = 8,
    CN_FRAME_PREVIEW = 9,
    CN_FRAME_BEAT = 10,
    CN_FRAME_MODEL = 11,
    CN_FRAME_MANAGED = 12,
    CN_FRAME_WARNING = 13,
    CN_FRAME_CATALOG = 14,
    /* front to worker */
    CN_FRAME_JOB = 32,
    CN_FRAME_CANCEL = 33,
    CN_FRAME_PING = 34,
    CN_FRAME_SHUTDOWN = 35,
    CN_FRAME_MANAGE = 36
};

struct cn_frame {
    enum cn_frame_type type;
    const unsigned char *data;
    size_t len;
};

struct cn_frame_decoder {
    struct cn_buf buf;
    size_t done; /* bytes of frames handed out already */
};

void cn_frame_decoder_init(struct cn_frame_decoder *d);
void cn_frame_decoder_release(struct cn_frame_decoder *d);
int cn_frame_feed(struct cn_frame_decoder *d, const void *data, size_t len, struct cn_err *err);

/* 1: *ret is a frame; 0: more bytes are needed; negative: the stream cannot be read any further. */
int cn_frame_next(struct cn_frame_decoder *d, struct cn_frame *ret, struct cn_err *err);

/* Writing: begin, append the payload to b, end. A cn_buf may hold several frames. */
int cn_frame_begin(struct cn_buf *b, enum cn_frame_type type, size_t *ret_at, struct cn_err *err);
int cn_frame_end(struct cn_buf *b, size_t at, struct cn_err *err);

#endif
