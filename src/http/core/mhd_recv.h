/* Puts the scanner (byte_scan.h) in front of libmicrohttpd. Loop thread only.
 *
 * The library has no hook between its socket and its parser. It calls recv(), and the dynamic
 * linker takes a program's own definition before that of the C library: mhd_recv.c defines one,
 * which does for all other descriptors what recv() does.
 *
 *     conn->recv = cn_recv_attach(fd, on_head, arg);       -- NULL: there is no place for it
 *     cn_recv_detach(conn->recv);
 */
#ifndef CN_HTTP_CORE_MHD_RECV_H
#define CN_HTTP_CORE_MHD_RECV_H

#include "base/base.h"
#include "http/core/byte_scan.h"

#include <sys/types.h>

struct cn_recv;

/* on_head(arg): a part of a head has come and is held back until the rest has. */
struct cn_recv *cn_recv_attach(int fd, void (*on_head)(void *arg), void *arg);
void cn_recv_detach(struct cn_recv *r);

/* What is wrong with the request that is the nth of its connection (from 1), as far as its bytes
 * have come; NULL: nothing. */
const char *cn_recv_fault(const struct cn_recv *r, int nth, enum cn_problem_kind *ret_kind);

/* The library reads a connection when it was resumed, before it does anything else; and then
 * watches it again, and is told whether there is something. So that one reading finds nothing,
 * without asking: from the resuming (true) to the library's next call of ours (false). */
void cn_recv_skip(struct cn_recv *r, bool skips);

/* What the library calls. */
ssize_t recv(int fd, void *buf, size_t len, int flags);

#endif
