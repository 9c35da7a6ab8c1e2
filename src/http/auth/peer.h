/* Who is at the other end: an address as far as it tells one client from another.
 *
 * Of IPv6 the first 64 bits count, because a single client has all the rest to choose from. Behind
 * a proxy of http.trusted_proxies the client is who X-Forwarded-For says: the last address there
 * that is no trusted proxy itself. What stands before it anybody may have written. Any thread.
 */
#ifndef CN_HTTP_AUTH_PEER_H
#define CN_HTTP_AUTH_PEER_H

#include "base/base.h"

#include <sys/socket.h>

struct cn_peer {
    unsigned char address[16]; /* IPv6, of IPv4 the mapped one; zeros for a Unix socket */
    bool is_unix;
};

void cn_peer_of(const struct sockaddr *sa, struct cn_peer *ret);

/* "192.0.2.1", "2001:db8::1", also in brackets and with a port. */
bool cn_peer_read(const char *text, size_t len, struct cn_peer *ret);

/* In a list of addresses and networks (10.0.0.0/8, fd00::/8), and "unix" for Unix sockets,
 * separated by blanks. */
bool cn_peer_is_in(const struct cn_peer *p, const char *list);

/* The client behind trusted proxies. forwarded_for: all X-Forwarded-For headers, joined by commas
 * in their order; NULL: there are none. */
void cn_peer_resolve(struct cn_peer *p, const char *forwarded_for, const char *proxies);

/* Whether the list may be http.trusted_proxies. */
int cn_peer_check_list(const char *list, struct cn_err *err);

/* The bits that count, as 8 bytes (IPv4: 4 of them, marked). */
uint64_t cn_peer_key(const struct cn_peer *p);

enum { CN_PEER_TEXT = 64 };
void cn_peer_write(const struct cn_peer *p, char text[CN_PEER_TEXT]);

#endif
