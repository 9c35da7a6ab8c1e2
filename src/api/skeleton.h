/* A JSON body without its images: what keeps jansson's memory small.
 *
 * jansson needs up to 77 bytes for one byte of "[{},{}," and copies every string. So a body is
 * scanned first: its structure is counted and limited, and every long string is taken out, with a
 * name nobody can guess in its place. The strings stay where they are, in the body, until someone
 * decodes them as images, or complains that they are no text.
 *
 * Any thread.
 *
 *     if (cn_skeleton_make(&sk, body, len, &err) < 0) ...     -- CN_EFORMAT, CN_ETOOBIG
 *     root = json_loadb(sk.text.data, sk.text.len, ...);
 *     slot = cn_skeleton_slot(&sk, json_string_value(v));      -- NULL: an ordinary string
 *     cn_skeleton_release(&sk);
 */
#ifndef CN_API_SKELETON_H
#define CN_API_SKELETON_H

#include "base/base.h"
#include "base/buf.h"

enum {
    CN_JSON_MAX_DEPTH = 32,
    CN_JSON_MAX_STRUCTURE = 10000, /* brackets, braces, commas, colons outside of strings */
    CN_JSON_MAX_TEXT = 256 * 1024, /* bytes that are left for jansson */
    CN_JSON_LONG_BASE64 = 4096,    /* a string of base64 that is longer is taken out, */
    CN_JSON_LONG_STRING = 65536,   /* and any other: no text may be so long */
    CN_JSON_MAX_SLOTS = 32
};

/* The raw inside of a JSON string, with its escapes. Borrowed from the body. */
struct cn_slice {
    const char *data;
    size_t len;
};

struct cn_skeleton {
    struct cn_buf text;
    char prefix[40]; /* random: a request cannot name a slot of its own. Of the first slot on */
    struct cn_slice slot[CN_JSON_MAX_SLOTS];
    int n;
};

int cn_skeleton_make(struct cn_skeleton *sk, const char *body, size_t len, struct cn_err *err);
const struct cn_slice *cn_skeleton_slot(const struct cn_skeleton *sk, const char *string);
void cn_skeleton_release(struct cn_skeleton *sk);

#endif
