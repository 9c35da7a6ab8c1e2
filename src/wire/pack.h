/* Numbers, strings and byte runs in a fixed encoding: little-endian, nothing aligned, nothing
 * dumped.
 *
 * Any thread. Writing appends to a cn_buf whose maximum is the limit; the first failure sticks in
 * the cn_pack, so callers write everything and ask once. Reading never goes past the end; the first
 * failure sticks as well and later reads give zeros.
 *
 *     struct cn_pack p = {.buf = &buf};              struct cn_unpack u = {.p = data, .left = len};
 *     cn_put_u32(&p, 7);                             uint32_t v = cn_get_u32(&u);
 *     cn_put_str(&p, "name");                        char *s = cn_get_str(&u, 256);   -- free()
 *     if (p.rc < 0) ...                              if (cn_unpack_end(&u, "job", err) < 0) ...
 */
#ifndef CN_WIRE_PACK_H
#define CN_WIRE_PACK_H

#include "base/base.h"
#include "base/buf.h"
#include "base/spec.h"

struct cn_pack {
    struct cn_buf *buf;
    struct cn_err *err; /* may be NULL */
    int rc;
};

struct cn_unpack {
    const unsigned char *p;
    size_t left;
    int rc;          /* CN_EFORMAT, CN_ETOOBIG or CN_ENOMEM after the first fault */
    const char *why; /* static text of that fault */
};

void cn_put_u8(struct cn_pack *p, unsigned v);
void cn_put_u16(struct cn_pack *p, unsigned v);
void cn_put_u32(struct cn_pack *p, uint32_t v);
void cn_put_u64(struct cn_pack *p, uint64_t v);
void cn_put_i32(struct cn_pack *p, int v);
void cn_put_f64(struct cn_pack *p, double v);                       /* IEEE 754 binary64 */
void cn_put_bytes(struct cn_pack *p, const void *data, size_t len); /* u32 length, bytes */
void cn_put_str(struct cn_pack *p, const char *s);                  /* NULL as "" */

unsigned cn_get_u8(struct cn_unpack *u);
unsigned cn_get_u16(struct cn_unpack *u);
uint32_t cn_get_u32(struct cn_unpack *u);
uint64_t cn_get_u64(struct cn_unpack *u);
int cn_get_i32(struct cn_unpack *u);
double cn_get_f64(struct cn_unpack *u); /* infinities and NaN are faults */

/* A string of at most max bytes without NUL; malloc'd, never NULL ("" after a fault). */
char *cn_get_str(struct cn_unpack *u, size_t max);

/* As cn_get_str, cut into a fixed buffer; longer than the buffer is a fault. Bytes that are not
 * UTF-8 become "?", one each: what comes out can be put into JSON. */
void cn_get_text(struct cn_unpack *u, char *text, size_t size);

/* A byte run of at most max bytes, copied (data NULL when empty or after a fault). */
struct cn_blob cn_get_blob(struct cn_unpack *u, size_t max);

/* The same without a copy: points into the payload. */
const unsigned char *cn_get_borrow(struct cn_unpack *u, size_t max, size_t *ret_len);

/* A number below count, for enumerations. */
int cn_get_enum(struct cn_unpack *u, int count);

/* A number in [lo, hi]. */
int cn_get_range(struct cn_unpack *u, int lo, int hi);

/* Marks a fault found by the caller. */
void cn_unpack_fault(struct cn_unpack *u, int rc, const char *why);

/* Everything read, nothing left over, no fault: CN_OK. what names the message. */
int cn_unpack_end(struct cn_unpack *u, const char *what, struct cn_err *err);

#endif
