/* multipart/form-data (RFC 7578), strict: what is not exactly right is an error, because a parser
 * that guesses loses the end of an image without a word. Whole bodies only; parts point into the
 * body. Any thread.
 *
 *     if (cn_multipart_boundary(content_type, boundary, &err) < 0) ...
 *     n = cn_multipart_parse(boundary, body, len, part, CN_MULTIPART_MAX_PARTS, &err);
 */
#ifndef CN_HTTP_CORE_MULTIPART_H
#define CN_HTTP_CORE_MULTIPART_H

#include "base/base.h"

enum {
    CN_MULTIPART_MAX_PARTS = 16,
    CN_MULTIPART_MAX_HEADERS = 8,
    CN_MULTIPART_MAX_LINE = 1024,
    CN_MULTIPART_BOUNDARY = 71 /* RFC 2046: at most 70 characters */
};

/* A file name, where given, is checked for form and otherwise ignored: it is never a path here. */
struct cn_part {
    char name[64]; /* [A-Za-z0-9._-]+ */
    const unsigned char *data;
    size_t len;
};

/* True when the media type is multipart/form-data. */
bool cn_multipart_is(const char *content_type);

int cn_multipart_boundary(const char *content_type, char boundary[CN_MULTIPART_BOUNDARY],
                          struct cn_err *err);

/* Number of parts, or CN_EFORMAT / CN_ETOOBIG. */
int cn_multipart_parse(const char *boundary, const void *body, size_t len, struct cn_part *part,
                       int max_parts, struct cn_err *err);

#endif
