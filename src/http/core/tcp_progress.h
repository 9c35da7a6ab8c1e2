/* How far the other end of a connection has come. Any thread. */
#ifndef CN_HTTP_CORE_TCP_PROGRESS_H
#define CN_HTTP_CORE_TCP_PROGRESS_H

#include "base/base.h"

/* Bytes that the peer has acknowledged since the connection began. False: the socket is none of
 * TCP, or the kernel does not tell. */
bool cn_acked_bytes(int fd, uint64_t *ret);

/* Bytes in the socket that are not acknowledged (TCP) or not read (file system); 0: none. */
int cn_unsent_bytes(int fd);

#endif
