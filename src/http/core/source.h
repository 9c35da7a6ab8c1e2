/* Bodies of answers as sources that are pulled: bytes in memory, a file, base64 of another source,
 * several after each other, pieces that appear as things happen.
 *
 * DESIGN. Loop thread only. Whoever sends an answer pulls its source whenever the connection has
 * room, so an answer holds one block and not its whole text, and a slow reader costs what a fast
 * one does. A source that has nothing yet says CN_SOURCE_WAIT and calls wake() later: a file whose
 * pages are not in memory is read in libuv's pool, events have not happened yet. What lies in
 * memory as a whole, or in a file, says so (bytes, file), and can be sent without a copy.
 *
 * A source owns what it was made of, others included: cn_source_free ends all of it.
 *
 *     struct cn_source *s = cn_source_base64(cn_source_file(loop, fd, 0, size));
 *     s->wake = go_on; s->arg = me;
 *     while ((n = cn_source_pull(s, block, sizeof(block))) > 0) ...
 *     cn_source_free(s);
 */
#ifndef CN_HTTP_CORE_SOURCE_H
#define CN_HTTP_CORE_SOURCE_H

#include "base/base.h"
#include "base/buf.h"
#include "http/core/outflight.h"

#include <uv.h>

enum {
    CN_SOURCE_WAIT = 0,   /* nothing now; wake() is called when there is */
    CN_SOURCE_END = -1,   /* that was all */
    CN_SOURCE_BROKEN = -2 /* the rest cannot be had: the connection has to be cut */
};

struct cn_source;

struct cn_source_kind {
    /* Writes up to max bytes (base64: at least 4): their number, or one of the above. */
    ssize_t (*pull)(struct cn_source *s, void *buf, size_t max);
    void (*dispose)(struct cn_source *s); /* with the struct itself */
    /* All `length` bytes, as long as the source lives; NULL: they do not lie together. May be NULL.
     */
    const void *(*bytes)(struct cn_source *s);
    /* A descriptor with all of it from *ret_offset on, which becomes the caller's, and from then on
     * nothing can be pulled; -1: it is no file. May be NULL. */
    int (*file)(struct cn_source *s, uint64_t *ret_offset);
    /* Brings near what `file` would otherwise wait for. False: wake() comes. May be NULL. */
    bool (*prepare)(struct cn_source *s);
};

struct cn_source {
    const struct cn_source_kind *kind;
    int64_t length; /* in all; -1: nobody knows */
    void (*wake)(void *arg);
    void *arg;
};

ssize_t cn_source_pull(struct cn_source *s, void *buf, size_t max);
void cn_source_free(struct cn_source *s); /* NULL is no source */

/* For those who make sources: there may be something now. */
void cn_source_wake(struct cn_source *s);

/* Borrowed bytes; release(arg) (may be NULL) when nobody needs them any more. With an account the
 * bytes are on their way out for owner, however many sources share them; NULL: they are this
 * source's alone. */
struct cn_source *cn_source_bytes(const void *data, size_t len, void (*release)(void *arg),
                                  void *arg);
struct cn_source *cn_source_counted(struct cn_outflight *account, const void *owner,
                                    const void *data, size_t len, void (*release)(void *arg),
                                    void *arg);

/* The contents of the buffer, which is empty afterwards. Counted when there is an account. */
struct cn_source *cn_source_take(struct cn_outflight *account, struct cn_buf *b);

/* len bytes of a file from offset. Takes fd. */
struct cn_source *cn_source_file(uv_loop_t *loop, int fd, uint64_t offset, uint64_t len);

/* The base64 text of a source whose length is known. Takes it. */
struct cn_source *cn_source_base64(struct cn_source *raw);

/* Source after source: next puts the following one into *ret and returns 1; 0: none now, wake() of
 * the chain is to be called; negative: CN_SOURCE_END or CN_SOURCE_BROKEN. length: of all together,
 * or -1. release(arg) at the end. */
typedef int (*cn_source_next_fn)(void *arg, struct cn_source **ret);
struct cn_source *cn_source_chain(int64_t length, cn_source_next_fn next,
                                  void (*release)(void *arg), void *arg);

/* Characters of the base64 text of so many bytes. */
uint64_t cn_source_base64_length(uint64_t bytes);

#endif
