/* The scanner of raw bytes: see byte_scan.h. */
#include "base/base.h"
#include "http/core/byte_scan.h"

#include <string.h>

enum { MAX_EMPTY_LINES = 4 /* before a request line: RFC 9112 section 2.2 asks for one */ };

static const char end_of_chunk[] = "\r\n0\r\n\r\n";
static const char harmless[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

static void fail(struct cn_scan *s, const char *fault, enum cn_problem_kind kind)
{
    switch (s->state) {
    case CN_SCAN_HEAD:
        s->substitute = harmless;
        s->heads++;
        break;
    case CN_SCAN_CHUNK_END:
        s->substitute = end_of_chunk;
        break;
    case CN_SCAN_CHUNK_LINE:
        s->substitute = end_of_chunk + 2;
        break;
    default:
        s->substitute = "\r\n"; /* the end of the trailers */
    }
    s->fault = fault;
    s->kind = kind;
    s->fault_head = s->heads;
    s->state = CN_SCAN_DEAD;
}

static void fail_bad(struct cn_scan *s, const char *fault)
{
    fail(s, fault, CN_PROBLEM_BAD_REQUEST);
}

/* The length of the first line of data with its end; 0: it is incomplete, or there is a fault. */
static size_t whole_line(struct cn_scan *s, const char *data, size_t len)
{
    const char *end = memchr(data, '\n', len);

    if (end == NULL)
        return 0;
    if (end == data || end[-1] != '\r') {
        fail_bad(s, "a line that does not end in CR LF");
        return 0;
    }
    if (memchr(data, '\0', (size_t)(end - data)) != NULL) {
        fail_bad(s, "a NUL byte outside of its body");
        return 0;
    }
    return (size_t)(end - data) + 1;
}

/* ---- heads ---- */

static enum cn_problem_kind kind_of(const struct cn_head_check *h)
{
    if (h->target_too_long)
        return CN_PROBLEM_TARGET_TOO_LONG;
    return h->too_large ? CN_PROBLEM_TOO_LARGE : CN_PROBLEM_BAD_REQUEST;
}

static void end_head(struct cn_scan *s)
{
    const char *fault = cn_head_check_verdict(&s->head);

    if (fault != NULL) {
        fail(s, fault, kind_of(&s->head));
        return;
    }
    s->heads++;
    s->left = s->head.content_length;
    if (s->head.n_transfer_encoding > 0)
        s->state = CN_SCAN_CHUNK_LINE;
    else if (s->left > 0)
        s->state = CN_SCAN_BODY;
}

static void begin_head(struct cn_scan *s)
{
    s->state = CN_SCAN_HEAD;
    s->head = (struct cn_head_check){0};
    s->at = 0;
}

/* Bytes of the head, when it is complete; 0 otherwise. data begins with it. */
static size_t scan_head(struct cn_scan *s, const char *data, size_t len)
{
    bool too_large = false;

    while (s->at < len) {
        size_t n = whole_line(s, data + s->at, len - s->at);
        const char *line = data + s->at;

        if (n == 0)
            break;
        s->at += n;
        if (n > 2 && !s->head.is_request_read) {
            cn_head_check_request_line(&s->head, line, n - 2);
        } else if (n > 2) {
            cn_head_check_header(&s->head, line, n - 2);
        } else if (s->head.is_request_read) {
            n = s->at;
            if (n + s->head.extra > CN_SCAN_MAX_HEAD) {
                too_large = true;
                break;
            }
            end_head(s);
            return s->fault != NULL ? 0 : n;
        } else if (s->at > MAX_EMPTY_LINES * 2) {
            fail_bad(s, "empty lines before it");
            return 0;
        }
    }
    if (s->fault == NULL && (too_large || len > CN_SCAN_MAX_HEAD)) {
        bool long_target = !s->head.is_request_read || s->head.target_too_long;

        fail(s, long_target ? "a target that is too long" : "a head that is too large",
             long_target ? CN_PROBLEM_TARGET_TOO_LONG : CN_PROBLEM_HEAD_TOO_LARGE);
    }
    return 0;
}

bool cn_scan_is_in_head(const struct cn_scan *s)
{
    return s->state == CN_SCAN_HEAD;
}

/* ---- bodies ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "1a" or "1a;name=value". The size goes to s->left. */
static void read_chunk_line(struct cn_scan *s, const char *line, size_t len)
{
    size_t n = 0;

    for (s->left = 0; n < len && hex_digit(line[n]) >= 0; n++)
        s->left = n < 15 ? s->left << 4 | (uint64_t)hex_digit(line[n]) : s->left;
    if (n == 0 || n > 15) {
        fail_bad(s, "a chunk without a size");
        return;
    }
    if (n < len && line[n] != ';')
        fail_bad(s, "a chunk whose size is no number");
    for (; s->fault == NULL && n < len; n++)
        if (((unsigned char)line[n] < 0x20 && line[n] != '\t') || line[n] == 0x7f)
            fail_bad(s, "a control character in the line of a chunk");
}

static size_t scan_chunk_line(struct cn_scan *s, const char *data, size_t len)
{
    size_t n = whole_line(s, data, len);

    if (n > CN_SCAN_MAX_LINE || (n == 0 && s->fault == NULL && len > CN_SCAN_MAX_LINE))
        fail_bad(s, "a line of a chunk that is too long");
    if (n == 0 || s->fault != NULL)
        return 0;
    read_chunk_line(s, data, n - 2);
    if (s->fault != NULL)
        return 0;
    s->state = s->left > 0 ? CN_SCAN_CHUNK_DATA : CN_SCAN_TRAILER;
    s->head = (struct cn_head_check){0};
    return n;
}

static size_t scan_chunk_end(struct cn_scan *s, const char *data, size_t len)
{
    if (data[0] != '\r' || (len > 1 && data[1] != '\n'))
        fail_bad(s, "a chunk that does not end in CR LF");
    if (s->fault != NULL || len < 2)
        return 0;
    s->state = CN_SCAN_CHUNK_LINE;
    return 2;
}

static size_t scan_trailer(struct cn_scan *s, const char *data, size_t len)
{
    size_t n = whole_line(s, data, len);

    if (n > CN_SCAN_MAX_LINE || (n == 0 && s->fault == NULL && len > CN_SCAN_MAX_LINE))
        fail_bad(s, "a trailer that is too long");
    if (n == 0 || s->fault != NULL)
        return 0;
    if (n == 2) {
        begin_head(s);
        return n;
    }
    cn_head_check_header(&s->head, data, n - 2);
    if (s->head.fault != NULL || s->head.n_headers > CN_HEAD_MAX_HEADERS)
        fail_bad(s, s->head.fault != NULL ? s->head.fault : "too many trailers");
    return s->fault != NULL ? 0 : n;
}

static size_t scan_data(struct cn_scan *s, size_t len)
{
    size_t n = (size_t)CN_MIN(s->left, (uint64_t)len);

    s->left -= n;
    if (s->left == 0 && s->state == CN_SCAN_BODY)
        begin_head(s);
    else if (s->left == 0)
        s->state = CN_SCAN_CHUNK_END;
    return n;
}

size_t cn_scan(struct cn_scan *s, const char *data, size_t len)
{
    size_t good = 0, n = 1;

    while (good < len && n > 0 && s->state != CN_SCAN_DEAD) {
        const char *p = data + good;

        switch (s->state) {
        case CN_SCAN_HEAD:
            n = scan_head(s, p, len - good);
            if (n > 0 && s->state == CN_SCAN_HEAD) /* it has no body: the next one follows */
                begin_head(s);
            break;
        case CN_SCAN_CHUNK_LINE:
            n = scan_chunk_line(s, p, len - good);
            break;
        case CN_SCAN_CHUNK_END:
            n = scan_chunk_end(s, p, len - good);
            break;
        case CN_SCAN_TRAILER:
            n = scan_trailer(s, p, len - good);
            break;
        default:
            n = scan_data(s, len - good);
        }
        good += n;
    }
    return good;
}
