/* What a request's head must look like before anything else reads it.
 *
 * libmicrohttpd 0.9.75 is loose enough to smuggle requests behind a proxy: it takes Content-Length
 * together with Transfer-Encoding, either of them twice, two Hosts, blanks in names, ends values at
 * a NUL, and sends its own errors twice. Here each of these is a fault, which becomes an answer 400
 * and the end of the connection. byte_scan.c shows it every line. Any thread.
 *
 *     struct cn_head_check h = {0};
 *     cn_head_check_request_line(&h, line, len); cn_head_check_header(&h, line, len); ...
 *     if ((fault = cn_head_check_verdict(&h)) != NULL) ...
 */
#ifndef CN_HTTP_CORE_HEAD_CHECK_H
#define CN_HTTP_CORE_HEAD_CHECK_H

#include "base/base.h"

enum {
    CN_HEAD_MAX_HEADERS = 64,
    CN_HEAD_MAX_URI = 8192,
    CN_HEAD_ITEM = 64 /* bytes that the library needs for an argument or a cookie */
};

struct cn_head_check {
    const char *fault;    /* the last; NULL: none */
    bool is_request_read; /* the request line was */
    bool is_11;
    bool too_large;       /* with fault: the body that is announced */
    bool target_too_long; /* with fault */
    int n_content_length, n_transfer_encoding, n_host, n_headers;
    uint64_t content_length;
    size_t extra; /* bytes that the library needs besides the head's own */
};

/* Lines without their CR LF. */
void cn_head_check_request_line(struct cn_head_check *h, const char *line, size_t len);
void cn_head_check_header(struct cn_head_check *h, const char *line, size_t len);

/* After all lines. NULL when all is well, else the reason, to go on "the request has". */
const char *cn_head_check_verdict(struct cn_head_check *h);

#endif
