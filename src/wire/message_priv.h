/* Shared by message.c and message_serve.c: a frame being written, a payload being read. */
#ifndef CN_WIRE_MESSAGE_PRIV_H
#define CN_WIRE_MESSAGE_PRIV_H

#include "wire/message.h"
#include "wire/pack.h"

struct cn_writer {
    struct cn_pack p;
    size_t at, start;
};

struct cn_pack *cn_writer_begin(struct cn_writer *w, struct cn_buf *b, enum cn_frame_type type,
                                struct cn_err *err);

/* A frame that could not be written leaves no half of it behind. */
int cn_writer_end(struct cn_writer *w, struct cn_err *err);

struct cn_unpack cn_reader(const struct cn_frame *f);

#endif
