/* Bytes that nobody can guess. Any thread.
 *
 * The kernel is asked for a stock at a time, one for each thread: a request needs some tens of
 * bytes in several pieces. What was given out is gone from the stock. Not for a child between
 * fork() and exec(), which would give out what its parent does.
 */
#ifndef CN_BASE_RANDOM_H
#define CN_BASE_RANDOM_H

#include "base/base.h"

void cn_random_bytes(void *out, size_t n);

enum { CN_RANDOM_HEX_MAX = 64 };

/* n lower-case hexadecimal digits, an even number of them, and a NUL. */
void cn_random_hex(char *text, size_t n);

#endif
