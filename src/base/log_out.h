/* Writes the lines of the log without ever waiting for who reads them.
 *
 * A pipe or a socket that nobody reads would stop the writer, which here is a loop that serves
 * others. What does not go out at once waits in a buffer of CN_LOG_PENDING bytes, in order; what
 * does not fit there is dropped, whole lines only, and counted. Nothing is written in parts between
 * others' lines as long as there is room for the part.
 *
 * One thread at a time (log.c has a lock).
 */
#ifndef CN_BASE_LOG_OUT_H
#define CN_BASE_LOG_OUT_H

#include "base/base.h"

enum { CN_LOG_PENDING = 256 * 1024 };

struct cn_log_out {
    int fd;  /* where to, -1: nowhere */
    int own; /* an open file of our own for the same pipe, which does not block; -1: none */
    bool is_socket, may_block;
    char *data; /* waits; NULL: nothing ever did */
    size_t begin, len;
    long dropped; /* lines, since the start */
    long untold;  /* of these, since cn_log_out_untold() */
};

#define CN_LOG_OUT_INIT                                                                            \
    {                                                                                              \
        .fd = -1, .own = -1                                                                        \
    }

/* What waits for another descriptor is dropped. Nothing happens when it is the same one. */
void cn_log_out_open(struct cn_log_out *o, int fd);
void cn_log_out_close(struct cn_log_out *o);

/* Tries to get rid of what waits. */
void cn_log_out_push(struct cn_log_out *o);

/* One line with its end. False: dropped. */
bool cn_log_out_line(struct cn_log_out *o, const void *line, size_t len);

/* Lines that were dropped since the last call, when there is room for others again; else 0. */
long cn_log_out_untold(struct cn_log_out *o);

/* Waits until all is out, at most so long. */
void cn_log_out_flush(struct cn_log_out *o, int timeout_ms);

#endif
