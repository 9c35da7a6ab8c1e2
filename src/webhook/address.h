/* Which network addresses a request that somebody else chose may go to.
 *
 * Any thread. Nothing allocates. A name says nothing about where it leads (DNS rebinding), so the
 * address is judged that a connection is really made to.
 *
 *     struct cn_network home;
 *     cn_network_parse("10.1.0.0/16", &home, &err);
 *     if (!cn_address_is_public(sa) && !cn_network_has(&home, sa)) ... refuse
 */
#ifndef CN_WEBHOOK_ADDRESS_H
#define CN_WEBHOOK_ADDRESS_H

#include "base/base.h"

#include <sys/socket.h>

/* The first bits of an IPv6 address; IPv4 is held as ::ffff:a.b.c.d. */
struct cn_network {
    unsigned char prefix[16];
    int bits; /* 0 .. 128 */
};

/* "10.1.0.0/16", "fd12::/16", or one address. CN_EINVAL for anything else, for bits that are set
 * behind the prefix, and for link-local networks, where clouds answer for their credentials. */
int cn_network_parse(const char *text, struct cn_network *ret, struct cn_err *err);

/* AF_INET and AF_INET6; any other family is in no network. */
bool cn_network_has(const struct cn_network *n, const struct sockaddr *sa);

/* Reached over the public Internet: none of the networks that IANA registers for special purposes
 * (loopback, private, link-local, shared, documentation, benchmarks, multicast, reserved), and no
 * IPv6 address that carries an IPv4 address of these. */
bool cn_address_is_public(const struct sockaddr *sa);

/* 169.254.0.0/16 and fe80::/10, in whatever spelling. */
bool cn_address_is_link_local(const struct sockaddr *sa);

#endif
