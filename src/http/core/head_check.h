/* What a request's head must look like before anything else reads it.
 *
 * libmicrohttpd 0.9.75 is loose enough to smuggle requests behind a proxy: it takes Content-Length
 * together with Transfer-Encoding, either of them twice, two Hosts, blanks in names. Here each of
 * these is an answer 400 and the end of the connection. Any thread.
 */
#ifndef CN_HTTP_CORE_HEAD_CHECK_H
#define CN_HTTP_CORE_HEAD_CHECK_H

#include "base/base.h"

#include <microhttpd.h>

enum { CN_HEAD_MAX_HEADERS = 64, CN_HEAD_MAX_URI = 8192 };

/* raw_uri: as received, before MHD unescaped it. NULL when all is well, else the reason. */
const char *cn_head_check(struct MHD_Connection *c, const char *version, const char *raw_uri);

/* The parts of it, for tests. */
const char *cn_head_check_uri(const char *raw_uri);

struct cn_head_check_count {
    int content_length, transfer_encoding, host, headers;
    const char *fault;
};

void cn_head_check_header(struct cn_head_check_count *g, const char *name, size_t name_len,
                          const char *value, size_t value_len);
const char *cn_head_check_verdict(const struct cn_head_check_count *g, const char *version);

#endif
