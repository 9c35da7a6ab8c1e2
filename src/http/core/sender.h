/* Sending an answer, for the transport. Loop thread only. */
#ifndef CN_HTTP_CORE_SENDER_H
#define CN_HTTP_CORE_SENDER_H

#include "base/base.h"
#include "http/core/request.h"

/* The answer of q begins to go out: its reader is watched from now on. */
void cn_sender_begin(struct cn_request *q);

/* The next bytes of q->answer: their number; CN_SOURCE_WAIT: the request is suspended until there
 * are some; CN_SOURCE_END, CN_SOURCE_BROKEN. */
ssize_t cn_sender_pull(struct cn_request *q, void *buf, size_t max);

/* Bytes of the answer that the client's side has taken, as far as the kernel tells. handed: what
 * the kernel was given of it. */
uint64_t cn_sender_taken(const struct cn_request *q, uint64_t handed);

#endif
