/* Addresses that a server must not be talked into calling: its own, its network's, its cloud's.
 * The tables follow IANA's registries of special-purpose addresses (RFC 6890 and its updates). */
#include "base/base.h"
#include "webhook/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const unsigned char mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* Of IPv4, the number of bits counted in IPv4. */
static const struct {
    unsigned char prefix[4];
    int bits;
} special_v4[] = {
    {{0, 0, 0, 0}, 8},       /* "this network" */
    {{10, 0, 0, 0}, 8},      /* private */
    {{100, 64, 0, 0}, 10},   /* shared by the customers of a provider */
    {{127, 0, 0, 0}, 8},     /* loopback */
    {{169, 254, 0, 0}, 16},  /* link-local; metadata of clouds */
    {{172, 16, 0, 0}, 12},   /* private */
    {{192, 0, 0, 0}, 24},    /* protocol assignments */
    {{192, 0, 2, 0}, 24},    /* documentation */
    {{192, 88, 99, 0}, 24},  /* relays to 6to4, withdrawn */
    {{192, 168, 0, 0}, 16},  /* private */
    {{198, 18, 0, 0}, 15},   /* benchmarks */
    {{198, 51, 100, 0}, 24}, /* documentation */
    {{203, 0, 113, 0}, 24},  /* documentation */
    {{224, 0, 0, 0}, 4},     /* multicast */
    {{240, 0, 0, 0}, 4},     /* reserved; broadcast */
};

/* Of IPv6 only 2000::/3 is in use at all; inside it these are special. */
static const struct {
    unsigned char prefix[4];
    int bits;
} special_v6[] = {
    {{0x20, 0x01, 0x00, 0x00}, 23}, /* protocol assignments, Teredo among them */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
    {{0x3f, 0xff, 0x00, 0x00}, 20}, /* documentation */
};

static bool has_prefix(const unsigned char *address, const unsigned char *prefix, int bits)
{
    int whole = bits / 8, rest = bits % 8;

    if (memcmp(address, prefix, (size_t)whole) != 0)
        return false;
    return rest == 0 || (address[whole] ^ prefix[whole]) >> (8 - rest) == 0;
}

/* false: neither IPv4 nor IPv6. */
static bool to_bytes(const struct sockaddr *sa, unsigned char ret[16])
{
    if (sa->sa_family == AF_INET) {
        memcpy(ret, mapped_prefix, sizeof(mapped_prefix));
        memcpy(ret + 12, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
        return true;
    }
    if (sa->sa_family == AF_INET6) {
        memcpy(ret, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
        return true;
    }
    return false;
}

static bool v4_is_public(const unsigned char v4[4])
{
    for (size_t i = 0; i < CN_LEN(special_v4); i++)
        if (has_prefix(v4, special_v4[i].prefix, special_v4[i].bits))
            return false;
    return true;
}

/* The IPv4 address to which the packets go in the end; NULL: none. */
static const unsigned char *inner_v4(const unsigned char a[16])
{
    static const unsigned char zeros[12] = {0};
    static const unsigned char nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    static const unsigned char local_nat64[6] = {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01};

    if (memcmp(a, mapped_prefix, sizeof(mapped_prefix)) == 0 ||
        memcmp(a, nat64, sizeof(nat64)) == 0 ||             /* RFC 6052: translated on the way */
        memcmp(a, local_nat64, sizeof(local_nat64)) == 0 || /* RFC 8215 */
        memcmp(a, zeros, sizeof(zeros)) == 0)               /* "compatible", withdrawn */
        return a + 12;
    return a[0] == 0x20 && a[1] == 0x02 ? a + 2 : NULL; /* 6to4, RFC 3056 */
}

static bool v6_is_public(const unsigned char a[16])
{
    static const unsigned char nat64[12] = {0x00, 0x64, 0xff, 0x9b};

    if (memcmp(a, nat64, sizeof(nat64)) == 0 || (a[0] == 0x20 && a[1] == 0x02))
        return v4_is_public(inner_v4(a));
    if (a[0] >> 5 != 1)
        return false;
    for (size_t i = 0; i < CN_LEN(special_v6); i++)
        if (has_prefix(a, special_v6[i].prefix, special_v6[i].bits))
            return false;
    return true;
}

static bool bytes_are_link_local(const unsigned char a[16])
{
    const unsigned char *v4 = inner_v4(a);

    if (v4 != NULL)
        return v4[0] == 169 && v4[1] == 254;
    return a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
}

bool cn_address_is_public(const struct sockaddr *sa)
{
    unsigned char a[16];

    if (!to_bytes(sa, a))
        return false;
    if (memcmp(a, mapped_prefix, sizeof(mapped_prefix)) == 0)
        return v4_is_public(a + 12);
    return v6_is_public(a);
}

bool cn_address_is_link_local(const struct sockaddr *sa)
{
    unsigned char a[16];

    return to_bytes(sa, a) && bytes_are_link_local(a);
}

bool cn_network_has(const struct cn_network *n, const struct sockaddr *sa)
{
    unsigned char a[16];

    return to_bytes(sa, a) && has_prefix(a, n->prefix, n->bits);
}

static bool is_clean_behind(const unsigned char a[16], int bits)
{
    for (int i = bits; i < 128; i++)
        if ((a[i / 8] >> (7 - i % 8)) & 1)
            return false;
    return true;
}

int cn_network_parse(const char *text, struct cn_network *ret, struct cn_err *err)
{
    struct cn_network n = {{0}, 128};
    char host[INET6_ADDRSTRLEN];
    size_t len = strcspn(text, "/");
    int first = 0;

    if (len >= sizeof(host))
        return cn_fail(err, CN_EINVAL, "\"%s\" is not a network such as 10.1.0.0/16", text);
    memcpy(host, text, len);
    host[len] = '\0';
    if (inet_pton(AF_INET, host, n.prefix + 12) == 1) {
        memcpy(n.prefix, mapped_prefix, sizeof(mapped_prefix));
        first = 96;
    } else if (inet_pton(AF_INET6, host, n.prefix) != 1)
        return cn_fail(err, CN_EINVAL, "\"%s\" is not a network such as 10.1.0.0/16", text);
    if (text[len] == '/') {
        size_t digits = strspn(text + len + 1, "0123456789");
        long bits = strtol(text + len + 1, NULL, 10);

        if (digits == 0 || digits > 3 || text[len + 1 + digits] != '\0' || bits > 128 - first)
            return cn_fail(err, CN_EINVAL, "\"%s\": the bits of a network are 0 to %d", text,
                           128 - first);
        n.bits = first + (int)bits;
    }
    if (!is_clean_behind(n.prefix, n.bits))
        return cn_fail(err, CN_EINVAL, "\"%s\": bits are set behind the first %d", text,
                       n.bits - first);
    if (bytes_are_link_local(n.prefix))
        return cn_fail(err, CN_EINVAL, "\"%s\" is link-local: it is never called", text);
    *ret = n;
    return CN_OK;
}
