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

/* Parts of more than one message. */
void cn_put_model_info(struct cn_pack *p, const struct cn_model_info *m);
void cn_get_model_info(struct cn_unpack *u, struct cn_model_info *m);
void cn_put_embeddings(struct cn_pack *p, const struct cn_embedding_info *e, int n);
struct cn_embedding_info *cn_get_embeddings(struct cn_unpack *u, int *ret_n); /* the caller's */
void cn_put_adapters(struct cn_pack *p, const struct cn_adapter_info *a, int n);
struct cn_adapter_info *cn_get_adapters(struct cn_unpack *u, int *ret_n); /* the caller's to free */

struct cn_unpack cn_reader(const struct cn_frame *f);

#endif
