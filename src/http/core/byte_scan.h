/* The bytes of a connection, looked at before libmicrohttpd sees them.
 *
 * DESIGN. The scanner follows the framing of HTTP/1.1 (RFC 9112): heads, bodies by length, chunks,
 * trailers. A head is handed on whole, and only when head_check.c has nothing against it; lines of
 * chunks and trailers are handed on whole, and only when they end in CR LF and hold no control
 * character. So what the library parses has one reading, and it never sees the requests that it
 * would refuse with answers of its own.
 *
 * At a fault the scanner gives a substitute instead of what was wrong: a harmless head, or the end
 * of the body. The library then calls for an answer as for any request, and `fault` says that it
 * has to be a refusal. It belongs to the request with the number fault_head (from 1): those before
 * it on the connection are answered as if nothing were. Nothing behind a fault is handed on.
 *
 * Any thread, one at a time; no allocation.
 *
 *     n = cn_scan(&s, data, len);     -- n bytes may be handed on; the rest is incomplete: show it
 *                                        again with what comes after it
 *     if (s.fault != NULL) ...        -- the rest is to be replaced by s.substitute
 */
#ifndef CN_HTTP_CORE_BYTE_SCAN_H
#define CN_HTTP_CORE_BYTE_SCAN_H

#include "base/base.h"
#include "http/core/head_check.h"
#include "api/problem_kind.h"

enum {
    CN_SCAN_MAX_HEAD = 24 * 1024, /* with the lines' ends: what fits into a connection's memory */
    CN_SCAN_MAX_LINE = 4096       /* of a chunk or a trailer */
};

enum cn_scan_state {
    CN_SCAN_HEAD,
    CN_SCAN_BODY,
    CN_SCAN_CHUNK_LINE,
    CN_SCAN_CHUNK_DATA,
    CN_SCAN_CHUNK_END,
    CN_SCAN_TRAILER,
    CN_SCAN_DEAD
};

struct cn_scan {
    enum cn_scan_state state;
    struct cn_head_check head; /* of the head, or of the trailers */
    size_t at;                 /* bytes of the head whose lines were looked at */
    uint64_t left;             /* bytes of the body, or of the chunk */
    unsigned heads;            /* handed on, substitutes included */
    const char *fault;         /* goes on "the request has"; NULL: none */
    enum cn_problem_kind kind; /* of the fault */
    unsigned fault_head;
    const char *substitute;
};

size_t cn_scan(struct cn_scan *s, const char *data, size_t len);

/* A part of a head has come, and not all of it. */
bool cn_scan_is_in_head(const struct cn_scan *s);

#endif
