/* A growable byte buffer with a maximum: nothing that a peer sends can grow without end.
 *
 * Any thread, one at a time. The bytes are always followed by a NUL that is not counted. What finds
 * no room is not added, in no part; the buffer remembers it, so that a text of many pieces is asked
 * once, at its end, whether it is whole (cn_buf_whole).
 *
 *     struct cn_buf b;
 *     cn_buf_init(&b, 1 << 20);
 *     if (cn_buf_add(&b, data, len, err) < 0) ...        -- CN_ETOOBIG over the maximum
 *     cn_buf_release(&b);
 */
#ifndef CN_BASE_BUF_H
#define CN_BASE_BUF_H

#include "base/base.h"

struct cn_buf {
    unsigned char *data;
    size_t len, cap, max;
    int failed; /* CN_OK, or why an addition since the last clear found no room */
};

void cn_buf_init(struct cn_buf *b, size_t max);
void cn_buf_release(struct cn_buf *b);
void cn_buf_clear(struct cn_buf *b); /* len = 0, memory kept */

/* CN_OK, or what the first addition that found no room returned. */
int cn_buf_whole(const struct cn_buf *b, struct cn_err *err);

int cn_buf_add(struct cn_buf *b, const void *data, size_t len, struct cn_err *err);
int cn_buf_adds(struct cn_buf *b, const char *s, struct cn_err *err);
int cn_buf_printf(struct cn_buf *b, struct cn_err *err, const char *fmt, ...) CN_PRINTF(3, 4);

/* Room for len more bytes, counted at once; the caller fills *ret. */
int cn_buf_reserve(struct cn_buf *b, size_t len, unsigned char **ret, struct cn_err *err);

/* Removes the first n bytes. */
void cn_buf_consume(struct cn_buf *b, size_t n);

/* The bytes become the caller's (free()); the buffer is empty afterwards. */
unsigned char *cn_buf_steal(struct cn_buf *b, size_t *ret_len);

#endif
